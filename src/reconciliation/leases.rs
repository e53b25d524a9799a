//! The leases on what is held: short, so that another instance soon asks about what a killed one held, and renewed all
//! together while this one lives, however long a provider takes to answer.

use std::collections::{HashMap, HashSet};

use chrono::Duration;

use super::Reconciler;
use crate::domain::asking::AskLease;
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::store::StoreError;

/// How long nobody else asks about what was claimed.
pub const LEASE: Duration = Duration::seconds(30);
/// How often leases are renewed: twice may fail before one runs out.
pub const RENEW_EVERY: Duration = Duration::seconds(10);
/// How much of a lease must be left to begin a question. What has less was not renewed when the others were: it has news,
/// or the database is away, and then somebody else may be asking soon.
pub const LEASE_LEFT: Duration = Duration::seconds(15);

/// A transaction of a partner.
pub(super) type Key = (PartnerId, TransactionId);

/// Until when what is held is held.
pub(super) struct Leases {
    until: HashMap<Key, Instant>,
    renew_at: Instant,
}

impl Leases {
    /// None; the first are renewed not before `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            until: HashMap::new(),
            renew_at: now,
        }
    }

    /// Nobody else takes it before `until`.
    pub fn take(&mut self, key: Key, until: Instant) {
        self.until.insert(key, until);
    }

    /// Whether an answer can be waited for.
    pub fn may_begin(&self, key: Key, now: Instant) -> bool {
        self.until
            .get(&key)
            .is_some_and(|until| *until - now >= LEASE_LEFT)
    }

    /// Whether nothing should be begun before they are renewed.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.renew_at
    }

    fn held(&self) -> Vec<AskLease> {
        let lease = |(key, until): (&Key, &Instant)| AskLease {
            partner_id: key.0,
            transaction_id: key.1,
            until: *until,
        };
        self.until.iter().map(lease).collect()
    }
}

impl Reconciler {
    /// Renews the leases of all that is held, if it is time.
    pub(super) async fn renew(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if !self.leases.is_due(now) {
            return Ok(());
        }
        let held: HashSet<Key> = self.held_keys().collect();
        // What has run out is anybody's.
        self.leases
            .until
            .retain(|key, until| held.contains(key) && now < *until);
        if !self.leases.until.is_empty() {
            let until = now + LEASE;
            let renewed = self.store.renew_questions(self.leases.held(), until);
            let renewed: HashSet<TransactionId> = renewed.await?.into_iter().collect();
            for (key, at) in &mut self.leases.until {
                if renewed.contains(&key.1) {
                    *at = until;
                }
            }
        }
        self.leases.renew_at = now + RENEW_EVERY;
        Ok(())
    }
}
