//! A circuit breaker: an account whose provider was down several times in a row is left alone for a while that grows;
//! then a single question finds out whether it is back.

use chrono::Duration;

use super::slowdown::Slowdown;
use crate::domain::clock::Instant;

/// Answers in a row that say the provider is down, until it is left alone.
pub const FAILURES_TO_OPEN: u32 = 5;
/// How long it is left alone at first.
pub const FIRST_REST: Duration = Duration::seconds(10);
/// How long at most.
pub const LONGEST_REST: Duration = Duration::minutes(5);

/// The breaker of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    rest: Slowdown,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 0,
            rest: Slowdown::new(FIRST_REST, LONGEST_REST),
        }
    }
}

impl Breaker {
    /// The provider was down for a question that was sent at `asked_at`.
    pub fn record_down(&mut self, asked_at: Instant, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_TO_OPEN || self.rest.is_on() {
            self.rest.worsen(asked_at, now);
        }
    }

    /// The provider answered a question that was sent at `asked_at`, whatever it said.
    pub fn record_up(&mut self, asked_at: Instant) {
        self.failures = 0;
        self.rest.ease(asked_at);
    }

    /// Whether it is open, or waits for what its single question brings.
    pub fn is_open(&self) -> bool {
        self.rest.is_on()
    }

    /// Until when nothing is asked.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.rest.until(now)
    }

    /// Whether there is nothing to remember.
    pub fn is_at_rest(&self) -> bool {
        self.failures == 0 && !self.rest.is_on()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_TO_OPEN {
            assert!(!breaker.is_open());
            breaker.record_down(now, now);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_them_does_not_let_them() {
        let now = SystemClock.now();
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            breaker.record_down(now, now);
        }
        breaker.record_up(now);
        breaker.record_down(now, now);
        assert!(!breaker.is_open());
        assert_eq!(opened(now).until(now), Some(now + FIRST_REST));
    }

    #[test]
    fn a_failed_probe_doubles_the_rest_and_a_good_one_closes_it() {
        let mut now = SystemClock.now();
        let mut breaker = opened(now);
        for seconds in [20, 40, 80, 160, 300, 300] {
            now = breaker.until(now).unwrap();
            assert!(breaker.until(now).is_none() && breaker.is_open());
            breaker.record_down(now, now);
            assert_eq!(breaker.until(now), Some(now + Duration::seconds(seconds)));
        }
        now = breaker.until(now).unwrap();
        breaker.record_up(now);
        assert!(breaker.is_at_rest());
    }
}
