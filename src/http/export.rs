//! `GET /api/ussd/transactions/export`: a statement, streamed while it is read. Whoever goes away ends the walk.

use actix_web::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::ApiError;
use super::request::{Query, quote};
use super::status_search;
use crate::statements::{Format, Statement};

/// Counts a statement while it is written: to its end, or until its reader goes away.
struct Writing {
    statement: Statement,
    is_whole: bool,
}

impl Writing {
    fn begin(statement: Statement) -> Self {
        metrics::gauge!("ussd_status_exports_open").increment(1.0);
        Self {
            statement,
            is_whole: false,
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        metrics::gauge!("ussd_status_exports_open").decrement(1.0);
        let ended = if self.is_whole { "whole" } else { "broken off" };
        metrics::counter!("ussd_status_exports_total", "ended" => ended).increment(1);
        let rows = u64::try_from(self.statement.totals().count()).unwrap_or_default();
        metrics::counter!("ussd_status_exported_rows_total").increment(rows);
    }
}

/// The handler.
///
/// # Errors
/// VALIDATION_1002 for a parameter or a format that is not written; the database's, as far as it fails at once.
pub async fn export(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &status_search::FILTERS)?;
    let filter = status_search::filter(&query)?;
    let format = format(&request)?;
    let now = state.clock.now();
    let statement = state
        .statements
        .statement(partner.partner.id, filter, format, now);
    let mut writing = Writing::begin(statement);
    // The first piece before the answer begins: a database that is away is an error like everywhere else.
    let first = writing.statement.next().await?.unwrap_or_default();
    let rest = stream::try_unfold(writing, |mut writing| async move {
        let piece = writing.statement.next().await.inspect_err(|error| {
            tracing::error!(%error, "an export broke off");
        })?;
        writing.is_whole = piece.is_none();
        Ok::<_, ApiError>(piece.map(|piece| (Bytes::from(piece), writing)))
    });
    let body = stream::once(std::future::ready(Ok(Bytes::from(first))));
    let name = format!(
        "transactions-{}.{}",
        now.format("%Y%m%dT%H%M%SZ"),
        format.as_str()
    );
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, format.media_type()))
        .insert_header((
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ))
        .streaming(futures_util::StreamExt::chain(body, rest)))
}

/// The format the caller likes best; CSV where it has no preference.
fn format(request: &HttpRequest) -> Result<Format, ApiError> {
    let accept: Vec<&str> = request
        .headers()
        .get_all(ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .collect();
    let accept = accept.join(",");
    preferred(&accept).ok_or_else(|| {
        ApiError::field(
            "Accept",
            format!(
                "is {}; accepted are text/csv and application/x-ndjson",
                quote(&accept)
            ),
        )
    })
}

fn preferred(accept: &str) -> Option<Format> {
    if accept.trim().is_empty() {
        return Some(Format::Csv);
    }
    let liking = |format: Format| {
        let ranges = accept.split(',').filter_map(|range| liking(range, format));
        // Of several ranges the most exact one holds.
        ranges
            .max_by_key(|(exactness, _)| *exactness)
            .map_or(0, |(_, quality)| quality)
    };
    let (csv, ndjson) = (liking(Format::Csv), liking(Format::Ndjson));
    match (csv, ndjson) {
        (0, 0) => None,
        (csv, ndjson) if csv >= ndjson => Some(Format::Csv),
        _ => Some(Format::Ndjson),
    }
}

/// How exactly a media range speaks of the format, and how much it is liked, in thousandths.
fn liking(range: &str, format: Format) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let exactness = match (name.as_str(), format) {
        ("text/csv", Format::Csv)
        | ("application/x-ndjson" | "application/ndjson" | "application/jsonl", Format::Ndjson) => {
            2
        }
        ("text/*", Format::Csv) | ("application/*", Format::Ndjson) => 1,
        ("*/*", _) => 0,
        _ => return None,
    };
    let quality = parts
        .find_map(|parameter| parameter.strip_prefix("q="))
        .map_or(1_000, thousandths);
    Some((exactness, quality))
}

/// `0.5` in thousandths; what is no quality is none.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<3}");
    digits.parse::<u16>().map_or(0, |all| all.min(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_liked_best() {
        for (accept, expected) in [
            ("", Some(Format::Csv)),
            ("*/*", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            ("text/csv", Some(Format::Csv)),
            ("Text/CSV; charset=utf-8", Some(Format::Csv)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("application/ndjson", Some(Format::Ndjson)),
            ("application/jsonl, */*;q=0.1", Some(Format::Ndjson)),
            ("application/*", Some(Format::Ndjson)),
            ("text/csv;q=0.5, application/x-ndjson", Some(Format::Ndjson)),
            ("text/csv;q=0, */*", Some(Format::Ndjson)),
            ("text/csv, application/x-ndjson", Some(Format::Csv)),
            ("text/csv, application/problem+json", Some(Format::Csv)),
            ("application/json", None),
            ("text/html, image/*", None),
            ("text/csv;q=0", None),
            ("nonsense", None),
        ] {
            assert_eq!(preferred(accept), expected, "{accept}");
        }
    }
}
