//! When callers should ask again: from the times in which a partner's payments lately ended, read from its feed and kept
//! for a while. From the database and not from this process's own commits, so that it survives a restart and all
//! instances say about the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Duration;

use crate::domain::clock::Instant;
use crate::domain::completion::{CompletionTimes, next_poll};
use crate::domain::identity::PartnerId;
use crate::domain::transaction::Transaction;
use crate::store::Store;

/// How long a partner's times are believed.
pub const FRESH_FOR: Duration = Duration::seconds(30);
/// Events of a partner's feed that are looked at.
pub const EVENTS_LOOKED_AT: i64 = 300;
/// Partners whose times are kept; when there are more, those that are no longer fresh go, else all.
pub const PARTNERS_KEPT: usize = 1_000;

/// The times of partners that lately asked.
pub struct Polling {
    store: Arc<dyn Store>,
    kept: Mutex<HashMap<PartnerId, Kept>>,
}

struct Kept {
    at: Instant,
    times: Arc<CompletionTimes>,
}

impl Polling {
    /// Nothing known yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            kept: Mutex::default(),
        }
    }

    /// The partner's times. One caller reads them anew when they are no longer fresh; meanwhile the others get what was
    /// known, and if the database does not answer so does that one: a hint is not worth an error.
    pub async fn times(&self, partner: PartnerId, now: Instant) -> Arc<CompletionTimes> {
        let known = match self.claim(partner, now) {
            Ok(fresh) => return fresh,
            Err(known) => known,
        };
        match self.store.list_completions(partner, EVENTS_LOOKED_AT).await {
            Ok(completions) => {
                let times = Arc::new(CompletionTimes::of(&completions));
                if let Some(kept) = self.lock().get_mut(&partner) {
                    kept.times = Arc::clone(&times);
                }
                times
            }
            Err(error) => {
                tracing::debug!(%error, "completion times are those of before");
                known
            }
        }
    }

    /// The fresh times; or those of before, if it is the caller's turn to read them.
    fn claim(
        &self,
        partner: PartnerId,
        now: Instant,
    ) -> Result<Arc<CompletionTimes>, Arc<CompletionTimes>> {
        let mut all = self.lock();
        let is_fresh = |kept: &Kept| (now - kept.at).abs() < FRESH_FOR;
        if let Some(kept) = all.get_mut(&partner) {
            if is_fresh(kept) {
                return Ok(Arc::clone(&kept.times));
            }
            kept.at = now;
            return Err(Arc::clone(&kept.times));
        }
        if all.len() >= PARTNERS_KEPT {
            all.retain(|_, kept| is_fresh(kept));
        }
        if all.len() >= PARTNERS_KEPT {
            all.clear();
        }
        let times = Arc::<CompletionTimes>::default();
        let kept = Kept {
            at: now,
            times: Arc::clone(&times),
        };
        all.insert(partner, kept);
        Err(times)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PartnerId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many milliseconds from now to ask about a payment again; `None` once it is final.
pub fn next_poll_after_ms(row: &Transaction, times: &CompletionTimes, now: Instant) -> Option<u64> {
    if row.status.is_final() {
        return None;
    }
    let usual = times.usual(row.account_id, row.kind);
    u64::try_from(next_poll(usual, now - row.created_at).num_milliseconds()).ok()
}
