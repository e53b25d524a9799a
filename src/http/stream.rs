//! `GET /api/ussd/transaction-status/stream`: the partner's status events as they happen, as Server-Sent Events. It is the
//! feed, read for as long as the caller listens: each event has its number in the feed as its id, and whoever comes back
//! with the last one misses nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::stream;
use tokio::time::Instant as Moment;

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::ApiError;
use super::events::next_after;
use super::request::{Query, quote};
use crate::domain::identity::{KeyId, PartnerId};
use crate::domain::partner::Scope;
use crate::domain::watch::WatchKey;
use crate::feed::Watch;
use crate::store::EventPage;
use crate::webhooks::body::EventBody;

/// Streams that one API key may have open in this process.
pub const STREAMS_PER_KEY: usize = 10;
/// A stream is never silent for longer: proxies close what is, and one whose listener is gone is noticed.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How often a stream asks whether its key still lets it in; with the time that keys are remembered, below 5 s.
const KEY_CHECKED_EVERY: Duration = Duration::from_millis(900);
/// How long a listener should wait before it comes back, milliseconds.
const RETRY_MS: u32 = 5_000;
/// How long one should wait that has too many open, seconds: by then those nobody listens to are gone.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Events that are read, and written, at a time: what a slow listener has not taken is not read.
const EVENTS_AT_ONCE: i64 = 50;
/// The pause after the database failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

const LAST_EVENT_ID: &str = "last-event-id";
const AFTER: &str = "after";

/// The open streams, by key.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<KeyId, usize>>>);

/// An open stream's place; given back when it is dropped.
struct Place {
    streams: Streams,
    key: KeyId,
}

impl Streams {
    fn take(&self, key: KeyId) -> Result<Place, ApiError> {
        let mut open = self.lock();
        let count = open.entry(key).or_default();
        if *count >= STREAMS_PER_KEY {
            return Err(ApiError::too_many(RETRY_AFTER));
        }
        *count += 1;
        metrics::gauge!("ussd_status_open_streams").increment(1.0);
        Ok(Place {
            streams: self.clone(),
            key,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.streams.lock().entry(self.key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        metrics::gauge!("ussd_status_open_streams").decrement(1.0);
    }
}

/// Events written out, and where they end.
#[derive(Debug, Clone)]
pub struct Frames {
    text: Bytes,
    next_after: i64,
}

/// One who listens.
struct Listener {
    state: Data<State>,
    partner: AuthenticatedPartner,
    watch: Watch,
    after: i64,
    may_have_more: bool,
    key_check_at: Moment,
    heartbeat_at: Moment,
    stage: Stage,
    _place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Listening,
    Ended,
}

/// The handler.
///
/// # Errors
/// RATE_1001 for too many streams; VALIDATION_1002 for a place that is none; the database's.
pub async fn open(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let place = state.streams.take(partner.key_id)?;
    let query = Query::parse(request.query_string(), &[AFTER])?;
    let asked = query.whole_number(AFTER, 0..=i64::MAX)?;
    // A browser comes back to the same address, with the header besides.
    let asked = last_event_id(&request)?.or(asked);
    let id = partner.partner.id;
    // Before the head is read, so that nothing happens between the two.
    let watch = state.feed.watch(id, vec![WatchKey::partner(id)]);
    let after = match asked {
        Some(after) => after,
        None => head(&state, id).await?,
    };
    let now = Moment::now();
    let listener = Listener {
        state,
        partner,
        watch,
        after,
        may_have_more: true,
        key_check_at: now + KEY_CHECKED_EVERY,
        heartbeat_at: now + HEARTBEAT_EVERY,
        stage: Stage::Greeting,
        _place: place,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        // Some proxies collect an answer before they pass it on.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream::unfold(listener, Listener::next)))
}

fn last_event_id(request: &HttpRequest) -> Result<Option<i64>, ApiError> {
    let Some(value) = request.headers().get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|_| is_plain);
    id.map(Some).ok_or_else(|| {
        ApiError::field(
            "Last-Event-ID",
            format!("is {}; accepted is the id of an event", quote(&text)),
        )
    })
}

async fn head(state: &State, partner: PartnerId) -> Result<i64, ApiError> {
    let heads = state.store.list_feed_heads(vec![partner]).await?;
    Ok(heads.first().map_or(0, |(_, head)| *head))
}

impl Listener {
    /// What is said next. It is asked for only when what was said before has been taken.
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        let said = match self.stage {
            // An id without an event: who is cut off before the first one knows where it stood.
            Stage::Greeting => {
                self.stage = Stage::Listening;
                format!("retry: {RETRY_MS}\nid: {}\n\n", self.after).into()
            }
            Stage::Listening => self.listen().await,
            Stage::Ended => return None,
        };
        self.heartbeat_at = Moment::now() + HEARTBEAT_EVERY;
        Some((Ok(said), self))
    }

    async fn listen(&mut self) -> Bytes {
        loop {
            if self.state.feed.is_released() {
                return self.end(": the service stops; come back\n\n");
            }
            if Moment::now() >= self.key_check_at {
                if !self
                    .partner
                    .is_still_admitted(&self.state, Scope::StatusRead)
                    .await
                {
                    return self.end(": this API key is not accepted any more\n\n");
                }
                self.key_check_at = Moment::now() + KEY_CHECKED_EVERY;
            }
            if self.may_have_more {
                match self.read().await {
                    Ok(Some(text)) => return text,
                    Ok(None) => self.may_have_more = false,
                    Err(reason) => {
                        tracing::debug!(%reason, cause = reason.cause, "a stream waits for the database");
                        tokio::time::sleep(FAILURE_PAUSE).await;
                    }
                }
            } else if Moment::now() >= self.heartbeat_at {
                return Bytes::from_static(b":\n\n");
            } else {
                let until = self.key_check_at.min(self.heartbeat_at);
                self.may_have_more = self.watch.moved(until).await;
            }
        }
    }

    fn end(&mut self, word: &'static str) -> Bytes {
        self.stage = Stage::Ended;
        Bytes::from_static(word.as_bytes())
    }

    /// The next events; read once for all streams that stand at the same place.
    async fn read(&mut self) -> Result<Option<Bytes>, ApiError> {
        let (state, after) = (&self.state, self.after);
        let partner = self.partner.partner.id;
        let read = async || {
            let page = state.store.list_events(partner, after, EVENTS_AT_ONCE);
            Ok(frames(&page.await?, after))
        };
        let (turn, pages) = (state.feed.turn(), &state.shared.pages);
        let frames = pages.read(&(partner, after), turn, read).await?;
        self.after = frames.next_after;
        Ok(Some(frames.text).filter(|text| !text.is_empty()))
    }
}

fn frames(page: &EventPage, after: i64) -> Frames {
    let mut text = String::new();
    // Writing to a string cannot fail; nor has an event's body a line break or anything that JSON does not know.
    if let Some(oldest) = page.oldest {
        let _ = write!(
            text,
            "id: {}\nevent: gap\ndata: {{\"oldest\":{oldest}}}\n\n",
            oldest - 1
        );
    }
    for event in &page.events {
        let body = serde_json::to_string(&EventBody::from(event)).unwrap_or_default();
        let (id, name) = (event.sequence, event.event_type());
        let _ = write!(text, "id: {id}\nevent: {name}\ndata: {body}\n\n");
    }
    Frames {
        text: text.into(),
        next_after: next_after(page, after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    #[test]
    fn a_key_has_so_many_streams_and_gets_each_place_back() {
        let streams = Streams::default();
        let now = SystemClock.now();
        let (key, other) = (KeyId::new(now), KeyId::new(now));
        let mut places: Vec<Place> = (0..STREAMS_PER_KEY)
            .map(|_| streams.take(key).unwrap())
            .collect();
        let refused = streams.take(key).err().unwrap();
        assert_eq!(refused.retry_after, Some(RETRY_AFTER.as_secs()));
        assert!(streams.take(other).is_ok());
        places.pop();
        places.push(streams.take(key).unwrap());
        drop(places);
        assert!(streams.lock().is_empty());
    }

    #[test]
    fn a_gap_is_an_event_whose_id_stands_behind_it() {
        let page = EventPage {
            events: Vec::new(),
            oldest: Some(7),
        };
        let frames = frames(&page, 2);
        assert_eq!(frames.next_after, 6);
        assert_eq!(frames.text, "id: 6\nevent: gap\ndata: {\"oldest\":7}\n\n");
    }
}
