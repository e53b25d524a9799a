//! `/status`: for people, without a key. Is it up, do the providers call back, does anything pile up; no figure of any
//! partner. Everybody within a few seconds sees the same reading, so that nobody can tire the database with it.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType, RETRY_AFTER, X_DNS_PREFETCH_CONTROL,
    X_FRAME_OPTIONS,
};
use actix_web::web::Data;
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Duration;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::State;
use super::error::{ApiError, DATABASE_RETRY_AFTER_SECONDS};
use crate::domain::clock::Instant;
use crate::domain::transaction::Provider;
use crate::store::StoreError;

/// How long a reading is shown to everybody.
pub const FRESH_FOR: Duration = Duration::seconds(5);
/// How often the page renews itself.
const REFRESH_SECONDS: u32 = 30;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1.05rem/1.5 system-ui,sans-serif;margin:0;background:Canvas;color:CanvasText}\
main{max-width:34rem;margin:0 auto;padding:1.5rem 1rem}\
h1{font-size:1.4rem;margin:0 0 1rem;padding:.8rem 1rem;border-radius:.5rem;color:#fff}\
h1.up{background:#15693b}h1.down{background:#a61b1b}\
h2{font-size:1rem;margin:1.5rem 0 .3rem}\
dl{margin:0}dl div{display:flex;justify-content:space-between;gap:1rem;padding:.4rem 0;border-bottom:1px solid GrayText}\
dt,dd{margin:0}dd{font-variant-numeric:tabular-nums;text-align:right}\
footer{margin-top:1.5rem;font-size:.85rem}";

/// Nothing but the page's own style, named by its digest: no script, no picture, no request to anywhere.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The last reading.
#[derive(Default)]
pub struct StatusPage(Mutex<Option<Reading>>);

#[derive(Clone)]
struct Reading {
    at: Instant,
    facts: Option<Facts>,
}

#[derive(Clone)]
struct Facts {
    callbacks: Vec<CallbackAge>,
    pending: i64,
    stuck: i64,
    webhooks: i64,
}

#[derive(Clone)]
struct CallbackAge {
    provider: &'static str,
    age: String,
}

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'a> {
    headline: &'static str,
    class: &'static str,
    facts: &'a Option<Facts>,
    at: String,
    style: &'static str,
    refresh_seconds: u32,
}

/// The handler: 200 while the database answers, else the same page with 503, for monitors that look at nothing else.
///
/// # Errors
/// SERVER_1001 if the page cannot be written.
pub async fn show(state: Data<State>) -> Result<HttpResponse, ApiError> {
    let reading = state.status_page.reading(&state).await;
    let (status, headline, class) = match &reading.facts {
        Some(_) => (StatusCode::OK, "Up and running", "up"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "Database away", "down"),
    };
    let page = Page {
        headline,
        class,
        facts: &reading.facts,
        at: reading.at.format("%Y-%m-%d %H:%M:%S").to_string(),
        style: STYLE,
        refresh_seconds: REFRESH_SECONDS,
    };
    let body = page.render().map_err(|error| ApiError {
        cause: Some(error.to_string().into()),
        ..ApiError::server()
    })?;
    let mut response = HttpResponse::build(status);
    if reading.facts.is_none() {
        response.insert_header((RETRY_AFTER, DATABASE_RETRY_AFTER_SECONDS));
    }
    Ok(response
        .insert_header((CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((X_DNS_PREFETCH_CONTROL, "off"))
        .insert_header((CACHE_CONTROL, "public, max-age=5"))
        .content_type(ContentType::html())
        .body(body))
}

impl StatusPage {
    /// A reading no older than [`FRESH_FOR`]. One caller reads, the others wait for it; that the database does not answer
    /// is a reading too.
    async fn reading(&self, state: &State) -> Reading {
        let mut kept = self.0.lock().await;
        let now = state.clock.now();
        if let Some(reading) = kept.as_ref()
            && (now - reading.at).abs() < FRESH_FOR
        {
            return reading.clone();
        }
        let facts = match read(state, now).await {
            Ok(facts) => Some(facts),
            Err(error) => {
                tracing::warn!(%error, "the status page has no figures");
                None
            }
        };
        kept.insert(Reading { at: now, facts }).clone()
    }
}

async fn read(state: &State, now: Instant) -> Result<Facts, StoreError> {
    let waiting = state.store.read_waiting(None, now).await?;
    // Among everybody's latest a quiet provider may have none: what this process took is remembered besides.
    let callbacks = Provider::ALL.map(|provider| {
        let stored = waiting
            .newest_callbacks
            .iter()
            .find(|(of, _)| *of == provider);
        let newest = stored.map(|(_, at)| *at).max(state.ingest.newest(provider));
        CallbackAge {
            provider: provider.name(),
            age: newest.map_or_else(|| "none lately".to_owned(), |at| age(now - at)),
        }
    });
    Ok(Facts {
        callbacks: callbacks.to_vec(),
        pending: waiting.by_age.iter().sum(),
        stuck: waiting.stuck,
        webhooks: waiting.deliveries,
    })
}

/// An age as people say it, in its largest unit.
fn age(span: Duration) -> String {
    let spans = [
        (span.num_days(), "day"),
        (span.num_hours(), "hour"),
        (span.num_minutes(), "minute"),
        (span.num_seconds(), "second"),
    ];
    match spans.into_iter().find(|(count, _)| *count > 0) {
        Some((1, unit)) => format!("1 {unit} ago"),
        Some((count, unit)) => format!("{count} {unit}s ago"),
        None => "just now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_their_largest_unit() {
        for (seconds, said) in [
            (-5, "just now"),
            (0, "just now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (119, "1 minute ago"),
            (7_200, "2 hours ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(age(Duration::seconds(seconds)), said);
        }
    }
}
