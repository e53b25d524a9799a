//! What one instance remembers of quotas that several count together.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Timer};

use crate::domain::allowance::{Allowance, Standing};
use crate::domain::identity::KeyId;

/// Marks a request that this process does not count by itself.
#[derive(Debug, Clone, Copy)]
pub struct CountedTogether;

/// What one instance remembers of a quota that others count too.
#[derive(Debug, Default)]
pub struct SharedCount {
    /// Until when each key is refused without asking.
    refused: Mutex<HashMap<KeyId, Timer>>,
    /// When each key's part of the quota is whole, counted here while the database is away.
    whole: Mutex<HashMap<KeyId, Timer>>,
}

impl SharedCount {
    fn refused(&self) -> MutexGuard<'_, HashMap<KeyId, Timer>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn whole(&self) -> MutexGuard<'_, HashMap<KeyId, Timer>> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the key is still refused.
    pub fn wait(&self, key: KeyId, now: Timer) -> Option<Duration> {
        let until = self.refused().get(&key).copied()?;
        until
            .checked_duration_since(now)
            .filter(|wait| !wait.is_zero())
    }

    /// After a request: the next one is refused for so long.
    pub fn learn(&self, key: KeyId, wait: Duration, now: Timer) {
        let mut refused = self.refused();
        if wait.is_zero() {
            refused.remove(&key);
        } else {
            refused.insert(key, now + wait);
        }
    }

    /// Counts here.
    pub fn take(&self, key: KeyId, allowance: Allowance, now: Timer) -> Standing {
        let mut whole = self.whole();
        let known = whole.get(&key).copied().unwrap_or(now);
        let standing = allowance.take(known.saturating_duration_since(now));
        whole.insert(key, now + standing.whole_in);
        standing
    }

    /// Forgets what says nothing any more.
    pub fn forget_idle(&self) {
        let now = Timer::now();
        self.refused().retain(|_, until| *until > now);
        self.whole().retain(|_, at| *at > now);
    }
}
