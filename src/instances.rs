//! Who else works on this database: every instance says every other second that it lives, and learns how many do. What
//! must happen once only is done by the eldest; what is shared out is cut in as many parts.
//!
//! An instance counts itself alone only after it has seen nobody for as long as a silent one is believed to live, and
//! never when it starts. So at most one instance at a time holds itself for the only one while another has just begun.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, CorrectedClock};
use crate::domain::identity::InstanceId;
use crate::store::{Others, Store, StoreError};

/// How often an instance says that it lives.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);
/// How long a request waits for what is counted over all instances before its own counts by itself.
pub const COUNT_PATIENCE: Duration = Duration::from_secs(1);
/// How often an instance looks whether its clock agrees with the database's.
pub const TIME_EVERY: Duration = Duration::from_secs(10);
/// After so many looks in a row that found nobody an instance is alone.
pub const LOOKS_TO_BE_ALONE: u32 = 6;

/// This instance among the others. Cheap to clone.
#[derive(Clone)]
pub struct Instances(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    id: InstanceId,
    seen: watch::Sender<Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Unknown until the first answer.
    others: Option<Others>,
    looks_alone: u32,
}

/// Which part of the work is this instance's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    place: u32,
    of: u32,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { place: 0, of: 1 };

    /// Our part of `total`, such that the parts of all make exactly `total`; of a small total some have nothing, and
    /// `seed` says who, so that it is not always the same.
    pub fn share_of(self, total: usize, seed: u128) -> usize {
        let of = u128::from(self.of.max(1));
        let total = u128::try_from(total).unwrap_or_default();
        let place = (u128::from(self.place) + seed % of) % of;
        let share = total / of + u128::from(place < total % of);
        usize::try_from(share).unwrap_or(usize::MAX)
    }
}

impl Instances {
    /// An instance that nobody knows of yet.
    pub fn new(store: Arc<dyn Store>, clock: &dyn Clock) -> Self {
        Self(Arc::new(Inner {
            store,
            id: InstanceId::new(clock.now()),
            seen: watch::Sender::default(),
        }))
    }

    /// Whether no other instance can be at work.
    pub fn is_alone(&self) -> bool {
        self.0.store.is_embedded() || self.0.seen.borrow().looks_alone >= LOOKS_TO_BE_ALONE
    }

    /// How many instances live, this one among them; one until it knows better.
    pub fn count(&self) -> u32 {
        self.others()
            .map_or(1, |others| others.live.saturating_add(1))
    }

    /// Which part of the shared work is ours; all of it until we know better.
    pub fn part(&self) -> Part {
        self.others().map_or(Part::WHOLE, |others| Part {
            place: others.before,
            of: others.live.saturating_add(1),
        })
    }

    /// Whether what must be done once only is ours to do: the eldest does it.
    pub fn is_eldest(&self) -> bool {
        let is_first = |others: Others| others.before == 0;
        self.0.store.is_embedded() || self.others().is_some_and(is_first)
    }

    fn others(&self) -> Option<Others> {
        self.0.seen.borrow().others
    }

    /// Returns as soon as it is known who else lives.
    pub async fn known(&self) {
        if !self.0.store.is_embedded() {
            // The sender is ours: it cannot be gone.
            let mut seen = self.0.seen.subscribe();
            let _ = seen.wait_for(|seen| seen.others.is_some()).await;
        }
    }

    /// Says that we live, and learns who else does.
    ///
    /// # Errors
    /// The database's; then what was known before stands.
    pub async fn beat(&self) -> Result<(), StoreError> {
        if self.0.store.is_embedded() {
            return Ok(());
        }
        let others = self.0.store.record_alive(self.0.id).await?;
        self.0.seen.send_modify(|seen| {
            seen.looks_alone = match others.live {
                0 => seen.looks_alone.saturating_add(1),
                _ => 0,
            };
            seen.others = Some(others);
        });
        metrics::gauge!("ussd_status_instances").set(f64::from(others.live.saturating_add(1)));
        Ok(())
    }

    /// Beats until cancelled; then says that we live no more.
    pub async fn run(self, cancel: CancellationToken) {
        if self.0.store.is_embedded() {
            return;
        }
        let mut troubled = false;
        while !cancel.is_cancelled() {
            match self.beat().await {
                Ok(()) => troubled = false,
                Err(reason) => {
                    if !troubled {
                        tracing::warn!(%reason, "the other instances are not told that this one lives");
                    }
                    troubled = true;
                }
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(BEAT_EVERY) => {}
            }
        }
        if let Err(reason) = self.0.store.record_gone(self.0.id).await {
            tracing::debug!(%reason, "the others will notice by themselves");
        }
    }
}

/// Sets a clock by that of the database that instances share: a lease that one takes must not have run out for another
/// whose machine's clock is wrong.
///
/// # Errors
/// The database's; then the clock goes on as it was.
pub async fn set_time(store: &dyn Store, clock: &CorrectedClock) -> Result<(), StoreError> {
    if store.is_embedded() {
        return Ok(());
    }
    let before = clock.own();
    let theirs = store.read_clock().await?;
    if let Some(ahead) = clock.correct((before, clock.own()), theirs) {
        let seconds = ahead.as_seconds_f64();
        if ahead.is_zero() {
            tracing::info!("this machine's clock agrees with the database's again");
        } else {
            tracing::warn!(
                seconds,
                "the database's clock is so far ahead of this machine's; it is gone by"
            );
        }
    }
    Ok(())
}

/// The same, again and again, until cancelled.
pub async fn keep_time(
    store: Arc<dyn Store>,
    clock: Arc<CorrectedClock>,
    cancel: CancellationToken,
) {
    while !store.is_embedded() && !cancel.is_cancelled() {
        if let Err(reason) = set_time(store.as_ref(), &clock).await {
            tracing::debug!(%reason, "the database's clock");
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(TIME_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LIVE_FOR;

    #[test]
    fn who_fell_silent_at_the_first_of_these_looks_does_not_live_at_the_last() {
        assert!(BEAT_EVERY * (LOOKS_TO_BE_ALONE - 1) >= LIVE_FOR);
    }

    #[test]
    fn the_parts_of_all_make_the_whole() {
        for of in 1..6 {
            for total in 0..20 {
                for seed in [0, 1, 7, u128::MAX] {
                    let parts = (0..of).map(|place| Part { place, of }.share_of(total, seed));
                    let (sum, most) = parts.fold((0, 0), |(sum, most), part| {
                        (sum + part, usize::max(most, part))
                    });
                    assert_eq!(sum, total, "{of} {total} {seed}");
                    assert!(most <= total.div_ceil(usize::try_from(of).unwrap()));
                }
            }
        }
        assert_eq!(Part::WHOLE.share_of(8, 99), 8);
    }
}
