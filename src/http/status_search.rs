//! What a search of the status API asks for, how its news are waited for, and how it is read: shared by everything that
//! takes the same filters.

use std::cell::OnceCell;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant as Moment;

use super::State;
use super::error::ApiError;
use super::rendered::Rendered;
use super::request::{Query, quote};
use super::stream::Frames;
use super::together::Together;
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::msisdn::{Country, MsisdnInput};
use crate::domain::search::{Cursor, DEFAULT_PAGE_LIMIT, Filter, MAX_PAGE_LIMIT, Position, Search};
use crate::domain::status::Status;
use crate::domain::transaction::Transaction;
use crate::domain::watch::WatchKey;
use crate::feed::Look;

/// The parameters that filter.
pub const FILTERS: [&str; 8] = [
    "conversation_id",
    "client_request_id",
    "msisdn",
    "transaction_id",
    "status",
    "transaction_receipt",
    "from",
    "to",
];

/// The filters among the parameters.
///
/// # Errors
/// VALIDATION_1002, naming the parameter.
pub fn filter(query: &Query) -> Result<Filter, ApiError> {
    let owned = |name: &str| query.value(name).map(str::to_owned);
    let msisdns = query
        .value("msisdn")
        .map(|text| {
            MsisdnInput::parse(text)
                .map_err(|error| ApiError::field("msisdn", format!("{} {error}", quote(text))))
        })
        .transpose()?
        .map(|input| match input {
            MsisdnInput::International(msisdn) => vec![msisdn],
            MsisdnInput::National(number) => vec![
                number.in_country(Country::Kenya),
                number.in_country(Country::Tanzania),
            ],
        })
        .unwrap_or_default();
    Ok(Filter {
        conversation_id: owned("conversation_id"),
        client_request_id: owned("client_request_id"),
        msisdns,
        transaction_id: query.parsed(
            "transaction_id",
            "a UUID such as bb8ab64c-e1aa-4f4f-aae3-54d9c84b0c26",
            |text| text.parse().ok(),
        )?,
        status: query.parsed("status", "queued, accepted, success or failed", |text| {
            text.parse().ok()
        })?,
        transaction_receipt: owned("transaction_receipt"),
        from: query.instant("from")?,
        to: query.instant("to")?,
    })
}

/// The whole search: filters, place and statistics.
///
/// # Errors
/// VALIDATION_1002, naming the parameter.
pub fn search(query: &Query) -> Result<Search, ApiError> {
    let filter = filter(query)?;
    let limit = query.whole_number("limit", 1..=MAX_PAGE_LIMIT)?;
    let offset = query.whole_number("offset", 0..=i64::MAX)?;
    let cursor = query.parsed(
        "cursor",
        "a next_cursor of an earlier answer",
        decode_cursor,
    )?;
    let position = match (cursor, offset) {
        (Some(_), Some(_)) => {
            return Err(ApiError::field(
                "offset",
                "cannot be combined with cursor; send one of them",
            ));
        }
        (Some(cursor), None) => Position::After(cursor),
        (None, offset) => Position::Offset(offset.unwrap_or_default()),
    };
    let without = query.parsed("stats", "none", |text| (text == "none").then_some(()))?;
    Ok(Search {
        filter,
        limit: limit.unwrap_or(DEFAULT_PAGE_LIMIT),
        position,
        with_statistics: without.is_none(),
    })
}

/// What of the newest match tells that it is another, or has changed.
type Seen = (TransactionId, Status, Instant);

fn seen(newest: &Transaction) -> Seen {
    (newest.id, newest.status, newest.updated_at)
}

/// Who asks what, for reads that are shared: the query string as it was sent says everything else.
pub type Question = (PartnerId, String);

/// The reads of those who have waited, each made once for all who ask the same.
#[derive(Default)]
pub struct Shared {
    /// Looks at the newest match.
    looks: Together<Question, Result<Option<Transaction>, ApiError>>,
    /// Whole answers, by whether they are to have all they can.
    pub answers: Together<(Question, bool), Result<Arc<Rendered>, ApiError>>,
    /// Stretches of a partner's feed after a place, for streams.
    pub pages: Together<(PartnerId, i64), Result<Frames, ApiError>>,
}

/// When whoever waits has waited enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The newest match is final, or a match has appeared or changed.
    Settled,
    /// A match has appeared or changed.
    Moved,
}

/// The news of a search, and what was seen of them so far.
pub struct News<'a> {
    state: &'a State,
    question: Question,
    filter: &'a Filter,
    seen: OnceCell<Option<Seen>>,
}

impl<'a> News<'a> {
    /// Nothing has been seen yet. `query` is the query string that made the filter.
    pub fn new(state: &'a State, partner: PartnerId, query: &str, filter: &'a Filter) -> Self {
        Self {
            state,
            question: (partner, query.to_owned()),
            filter,
            seen: OnceCell::new(),
        }
    }

    /// Looks once: what is there now is no news later.
    ///
    /// # Errors
    /// The database's.
    pub async fn begin(&self) -> Result<(), ApiError> {
        let newest = self.look().await?;
        self.seen.get_or_init(|| newest.as_ref().map(seen));
        Ok(())
    }

    /// Holds the caller until what it waits for, or the end of the time. Only the newest match is looked at meanwhile.
    /// "Changed" is since the first look, of an earlier wait too.
    ///
    /// # Errors
    /// The database's.
    pub async fn wait(&self, end: Moment, until: Until) -> Result<(), ApiError> {
        let partner = self.question.0;
        let look = async || {
            let newest = self.look().await?;
            let keys = watch_keys(partner, self.filter, newest.as_ref());
            let is_final = newest
                .as_ref()
                .is_some_and(|newest| newest.status.is_final());
            let now = newest.as_ref().map(seen);
            let is_news = *self.seen.get_or_init(|| now) != now;
            Ok::<_, ApiError>(if is_news || (is_final && until == Until::Settled) {
                Look::Enough(())
            } else {
                Look::NotYet((), keys)
            })
        };
        self.state.feed.until_enough(partner, end, look).await?;
        Ok(())
    }

    /// The newest match. The first look is one's own and at once: there may be an answer. Later ones came by a commit,
    /// which many heard.
    ///
    /// # Errors
    /// The database's.
    pub async fn look(&self) -> Result<Option<Transaction>, ApiError> {
        let partner = self.question.0;
        let read = async || {
            let newest = self.state.store.find_newest(partner, self.filter.clone());
            newest.await.map_err(ApiError::from)
        };
        if self.seen.get().is_none() {
            return read().await;
        }
        let (turn, looks) = (self.state.feed.turn(), &self.state.shared.looks);
        looks.read(&self.question, turn, read).await
    }
}

/// The keys of what could be news to this filter: of one condition, since all must hold.
fn watch_keys(partner: PartnerId, filter: &Filter, newest: Option<&Transaction>) -> Vec<WatchKey> {
    if let Some(id) = filter.transaction_id {
        return vec![WatchKey::transaction(partner, id)];
    }
    if let Some(id) = &filter.client_request_id {
        return vec![WatchKey::client_request(partner, id)];
    }
    if !filter.msisdns.is_empty() {
        let keys = filter.msisdns.iter();
        return keys
            .map(|msisdn| WatchKey::msisdn(partner, msisdn))
            .collect();
    }
    match (&filter.conversation_id, newest) {
        // A provider's id names one transaction, or none yet: then it may come in a field that events do not carry.
        (Some(id), Some(newest)) => vec![
            WatchKey::transaction(partner, newest.id),
            WatchKey::conversation(partner, id),
        ],
        _ => vec![WatchKey::partner(partner)],
    }
}

/// A cursor is the last row's creation (microseconds since 1970) and id, sealed from nobody: it names a place in the
/// partner's own list and nothing else.
pub fn encode_cursor(cursor: Cursor) -> String {
    let mut bytes = cursor.created_at.timestamp_micros().to_be_bytes().to_vec();
    bytes.extend_from_slice(cursor.id.0.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor; anything that [`encode_cursor`] would not write is none.
pub fn decode_cursor(text: &str) -> Option<Cursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (micros, id) = bytes.split_first_chunk::<8>()?;
    let created_at = chrono::DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    if !(1970..=9999).contains(&chrono::Datelike::year(&created_at)) {
        return None;
    }
    let id = uuid::Uuid::from_slice(id).ok()?;
    Some(Cursor {
        created_at,
        id: TransactionId(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::domain::identity::new_uuid;

    #[test]
    fn a_cursor_is_read_back_as_it_was() {
        let now = SystemClock.now();
        let cursor = Cursor {
            created_at: now,
            id: TransactionId(new_uuid(now)),
        };
        assert_eq!(decode_cursor(&encode_cursor(cursor)), Some(cursor));
        for wrong in [
            "",
            "!",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "f38AAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(decode_cursor(wrong), None, "{wrong}");
        }
    }
}
