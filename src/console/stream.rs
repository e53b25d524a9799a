//! The live part of a page: the lines of transactions that changed, as server-sent events. On connecting, the first page is
//! sent once more, so that nothing is missed between the page and its stream, or while a browser slept.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use futures_util::stream::unfold;
use tokio::sync::OwnedSemaphorePermit;

use super::rows::{self, Row};
use super::transactions::{Filters, first_page};
use super::viewer::Viewer;
use super::{Console, guard};
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::partner::{Partner, Scope};
use crate::domain::search::{BulkLookup, Filter, MAX_BULK_IDS, Search};
use crate::domain::transaction::{IdField, Transaction};
use crate::http::{ApiError, ErrorCode, State};
use crate::store::StoreError;

/// Streams at the same time; one more is asked to come again, and its page stays as it is.
pub const STREAMS_MAX: usize = 200;
/// The pause between two looks at what changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks after which it is asked whether the session lasts still; each also keeps the connection from looking dead.
const LOOKS_A_CHECK: u32 = 5;
/// Events of one partner that a look reads; of more, the newest.
const EVENTS_MAX: i64 = 100;
/// How long a browser waits before it connects again, milliseconds.
const RETRY_MS: u32 = 3_000;

struct Stream {
    request: HttpRequest,
    state: Data<State>,
    viewer: Viewer,
    search: Search,
    /// Named in the lines, where several partners' are shown.
    partners: Option<Vec<Partner>>,
    /// How far each partner's feed was told.
    heads: HashMap<PartnerId, i64>,
    looks: u32,
    _place: OwnedSemaphorePermit,
}

/// The stream.
pub async fn follow(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    let search = Filters::parse(request.query_string()).search()?;
    let place = Arc::clone(&console.streams)
        .try_acquire_owned()
        .map_err(|_| ApiError {
            retry_after: Some(u64::from(RETRY_MS / 1_000)),
            ..ApiError::new(ErrorCode::TooMany, "Too many pages are live already")
        })?;
    let partners = rows::partners(state.store.as_ref(), &viewer).await?;
    let mut stream = Stream {
        request,
        state,
        viewer,
        search,
        partners,
        heads: HashMap::new(),
        looks: 0,
        _place: place,
    };
    // The heads first: what changes after them is told.
    stream.heads = stream.read_heads().await?;
    let first = stream.first().await?;
    let body = unfold((Some(first), stream), |(first, mut stream)| async move {
        let chunk = match first {
            Some(first) => first,
            None => stream.next().await?,
        };
        Some((Ok::<_, Infallible>(Bytes::from(chunk)), (None, stream)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(body))
}

impl Stream {
    async fn read_heads(&self) -> Result<HashMap<PartnerId, i64>, StoreError> {
        let partners = match (self.viewer.partner(), &self.partners) {
            (Some(partner), _) => vec![partner.id],
            (None, Some(partners)) => partners.iter().map(|partner| partner.id).collect(),
            (None, None) => Vec::new(),
        };
        let heads = self.state.store.list_feed_heads(partners).await?;
        Ok(heads.into_iter().collect())
    }

    /// The first page, the oldest line first, as each is put on top.
    async fn first(&self) -> Result<String, StoreError> {
        let found = first_page(
            &self.state,
            &self.viewer,
            self.partners.as_deref(),
            &self.search,
        )
        .await?;
        let mut text = format!("retry: {RETRY_MS}\n\n");
        for transaction in found.iter().rev() {
            self.tell(&mut text, transaction);
        }
        text.push_str("event: ready\ndata:\n\n");
        Ok(text)
    }

    /// What changed since the last look; nothing when the stream is over.
    async fn next(&mut self) -> Option<String> {
        loop {
            tokio::select! {
                () = self.state.feed.released() => return None,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.looks += 1;
            let mut text = String::new();
            if self.looks.is_multiple_of(LOOKS_A_CHECK) {
                if !matches!(guard::identify(&self.request).await, Ok(Some(_))) {
                    return None;
                }
                text.push_str(": still here\n\n");
            }
            // That the database is away ends the stream; the browser comes again.
            for transaction in self.look().await.ok()? {
                self.tell(&mut text, &transaction);
            }
            if !text.is_empty() {
                return Some(text);
            }
        }
    }

    /// The transactions that changed, the oldest first.
    async fn look(&mut self) -> Result<Vec<Transaction>, StoreError> {
        let heads = self.read_heads().await?;
        let mut changed = Vec::new();
        for (partner, head) in heads {
            // A partner that was not there before is told of from its beginning.
            let known = self.heads.insert(partner, head).unwrap_or_default();
            if head > known {
                let after = known.max(head - EVENTS_MAX);
                changed.extend(self.read_changed(partner, after).await?);
            }
        }
        changed.sort_unstable_by_key(|one| (one.created_at, one.id));
        Ok(changed)
    }

    async fn read_changed(
        &self,
        partner: PartnerId,
        after: i64,
    ) -> Result<Vec<Transaction>, StoreError> {
        let store = &self.state.store;
        let page = store.list_events(partner, after, EVENTS_MAX).await?;
        let mut ids: Vec<TransactionId> = page
            .events
            .iter()
            .map(|event| event.transaction_id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(MAX_BULK_IDS);
        let lookup = BulkLookup {
            transaction_ids: ids,
            ..BulkLookup::default()
        };
        Ok(store.find_transactions(partner, lookup).await?.transactions)
    }

    /// A line that belongs to the page, or that a line belongs there no more.
    fn tell(&self, text: &mut String, transaction: &Transaction) {
        let (event, data) = if matches(&self.search.filter, transaction) {
            let row = Row::new(transaction, self.partners.as_deref());
            ("row", row.render().unwrap_or_default())
        } else {
            ("gone", transaction.id.to_string())
        };
        let _ = writeln!(text, "event: {event}");
        for line in data.lines() {
            let _ = writeln!(text, "data: {line}");
        }
        text.push('\n');
    }
}

/// Whether a transaction is among those that the filter asks for.
fn matches(filter: &Filter, transaction: &Transaction) -> bool {
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    let has_id = filter.conversation_id.as_deref().is_none_or(|wanted| {
        IdField::GIVEN
            .into_iter()
            .any(|field| transaction.ids.value(field) == Some(wanted))
    });
    let has_number = filter.msisdns.is_empty()
        || transaction
            .msisdn
            .as_ref()
            .is_some_and(|msisdn| filter.msisdns.contains(msisdn));
    has_id
        && has_number
        && is(
            &filter.client_request_id,
            transaction.client_request_id.as_deref(),
        )
        && is(&filter.transaction_receipt, transaction.receipt.as_deref())
        && filter.transaction_id.is_none_or(|id| id == transaction.id)
        && filter
            .status
            .is_none_or(|status| status == transaction.status)
        && filter
            .from
            .is_none_or(|from| transaction.created_at >= from)
        && filter.to.is_none_or(|to| transaction.created_at <= to)
}
