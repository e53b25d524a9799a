//! The only source of "now". Instants are cut to milliseconds, the precision every answer prints, so that
//! what a caller reads back can be compared with what is stored.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Duration, SubsecRound, Utc};

/// A point in time, UTC.
pub type Instant = DateTime<Utc>;

/// Where "now" comes from.
pub trait Clock: Send + Sync + 'static {
    /// The current instant, UTC, whole milliseconds.
    fn now(&self) -> Instant;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one home of the system clock"
    )]
    fn now(&self) -> Instant {
        Utc::now().trunc_subsecs(3)
    }
}

/// A clock that is set right by another one, which others go by too.
pub struct CorrectedClock {
    own: Arc<dyn Clock>,
    /// How far ahead the other one is, in milliseconds; nothing while they agree.
    ahead_ms: AtomicI64,
}

impl CorrectedClock {
    /// How far two clocks may be apart and still agree: a correction changes what is called now, and is not worth it for
    /// less.
    pub const TOLERANCE: Duration = Duration::seconds(1);

    /// `own`, until it is corrected.
    pub fn new(own: Arc<dyn Clock>) -> Self {
        Self {
            own,
            ahead_ms: AtomicI64::new(0),
        }
    }

    /// The clock that is corrected.
    pub fn own(&self) -> Instant {
        self.own.now()
    }

    /// Takes note that the other clock showed `theirs` between two readings of our own; how far it is ahead, if that changes
    /// the correction. A reading that took longer than the tolerance says nothing.
    pub fn correct(
        &self,
        (before, after): (Instant, Instant),
        theirs: Instant,
    ) -> Option<Duration> {
        if after - before > Self::TOLERANCE {
            return None;
        }
        let ahead = theirs - (before + (after - before) / 2);
        let known = Duration::milliseconds(self.ahead_ms.load(Ordering::Relaxed));
        if (ahead - known).abs() <= Self::TOLERANCE {
            return None;
        }
        let correction = if ahead.abs() <= Self::TOLERANCE {
            Duration::zero()
        } else {
            ahead
        };
        self.ahead_ms
            .store(correction.num_milliseconds(), Ordering::Relaxed);
        Some(correction)
    }
}

impl Clock for CorrectedClock {
    fn now(&self) -> Instant {
        self.own.now() + Duration::milliseconds(self.ahead_ms.load(Ordering::Relaxed))
    }
}

/// A clock that moves only when told to, for tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<Instant>);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn at(start: Instant) -> Self {
        Self(Mutex::new(start.trunc_subsecs(3)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *now += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        *self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_corrected_by_what_is_more_than_a_second_and_only_when_that_changes() {
        let own = Arc::new(ManualClock::at(SystemClock.now()));
        let clock = CorrectedClock::new(own.clone());
        let reading = |ahead: Duration, took: Duration| {
            let before = own.now();
            clock.correct((before, before + took), before + took / 2 + ahead)
        };
        let (quick, slow) = (Duration::milliseconds(10), Duration::milliseconds(1_001));
        assert_eq!(reading(Duration::milliseconds(999), quick), None);
        assert_eq!(clock.now(), own.now());
        let forty = Duration::seconds(40);
        assert_eq!(reading(forty, slow), None, "who knows when it was read");
        assert_eq!(reading(forty, quick), Some(forty));
        assert_eq!(clock.now(), own.now() + forty);
        assert_eq!(reading(forty + Duration::milliseconds(900), quick), None);
        assert_eq!(clock.now(), own.now() + forty, "it does not tremble");
        assert_eq!(reading(-forty, quick), Some(-forty));
        assert_eq!(reading(Duration::zero(), quick), Some(Duration::zero()));
        assert_eq!(clock.now(), own.now());
    }
}
