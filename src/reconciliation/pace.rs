//! How fast one account's provider is asked: a few questions at once, none while it says that we ask too much or while
//! it is down, one alone to find out whether that is over. Other accounts are not slowed by it.

use chrono::Duration;

use super::breaker::Breaker;
use super::slowdown::Slowdown;
use crate::domain::clock::Instant;

/// Questions to one account's provider at the same time.
pub const ACCOUNT_CONCURRENCY: usize = 4;
/// The first pause after "you ask too much".
pub const FIRST_PAUSE: Duration = Duration::seconds(1);
/// The longest.
pub const LONGEST_PAUSE: Duration = Duration::minutes(5);
/// When the others look again while a single question finds out whether the trouble is over.
pub const PROBE_PATIENCE: Duration = Duration::seconds(5);

/// What an answer says about the provider, whatever it says about the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answers.
    Good,
    /// It says that we ask too much.
    Throttled,
    /// It could not be reached, or failed inside.
    Down,
    /// Nothing: it was not asked, or its answer could not be read.
    None,
}

/// What may be done with a question now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Ask.
    Ask,
    /// As many as may be are under way; soon there is room.
    Wait,
    /// Not before then.
    Later(Instant),
}

/// The pace of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    throttle: Slowdown,
    breaker: Breaker,
    under_way: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            throttle: Slowdown::new(FIRST_PAUSE, LONGEST_PAUSE),
            breaker: Breaker::default(),
            under_way: 0,
        }
    }
}

impl Pace {
    /// Whether one more question may be asked.
    pub fn turn(&self, now: Instant) -> Turn {
        let pause = self.throttle.until(now).max(self.breaker.until(now));
        if let Some(until) = pause {
            return Turn::Later(until);
        }
        let is_slowed = self.is_throttled() || self.is_broken();
        match (is_slowed, self.under_way) {
            (false, under_way) if under_way < ACCOUNT_CONCURRENCY => Turn::Ask,
            (false, _) => Turn::Wait,
            (true, 0) => Turn::Ask,
            // Not kept in memory meanwhile: other accounts' questions would find no room.
            (true, _) => Turn::Later(now + PROBE_PATIENCE),
        }
    }

    /// A question is sent.
    pub fn begin(&mut self) {
        self.under_way += 1;
    }

    /// The question that was sent at `asked_at` has ended.
    pub fn end(&mut self, sign: Sign, asked_at: Instant, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        match sign {
            Sign::Good => {
                self.throttle.ease(asked_at);
                self.breaker.record_up(asked_at);
            }
            Sign::Throttled => {
                self.throttle.worsen(asked_at, now);
                self.breaker.record_up(asked_at);
            }
            Sign::Down => self.breaker.record_down(asked_at, now),
            Sign::None => {}
        }
    }

    /// Whether the provider said that we ask too much, and nothing good since.
    pub fn is_throttled(&self) -> bool {
        self.throttle.is_on()
    }

    /// Whether the provider is taken for down.
    pub fn is_broken(&self) -> bool {
        self.breaker.is_open()
    }

    /// Whether there is nothing to remember.
    pub fn is_at_rest(&self) -> bool {
        self.under_way == 0 && !self.is_throttled() && self.breaker.is_at_rest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::reconciliation::breaker::{FAILURES_TO_OPEN, FIRST_REST};

    #[test]
    fn a_few_are_asked_at_once() {
        let (mut pace, now) = (Pace::default(), SystemClock.now());
        for _ in 0..ACCOUNT_CONCURRENCY {
            assert_eq!(pace.turn(now), Turn::Ask);
            pace.begin();
        }
        assert_eq!(pace.turn(now), Turn::Wait);
        pace.end(Sign::Good, now, now);
        assert_eq!(pace.turn(now), Turn::Ask);
    }

    #[test]
    fn after_a_rate_answer_all_wait_then_one_alone_asks_then_a_few_again() {
        let (mut pace, now) = (Pace::default(), SystemClock.now());
        pace.begin();
        pace.begin();
        pace.end(Sign::Throttled, now, now);
        pace.end(Sign::Good, now, now);
        assert_eq!(pace.turn(now), Turn::Later(now + FIRST_PAUSE));
        let later = now + FIRST_PAUSE;
        assert_eq!(pace.turn(later), Turn::Ask);
        pace.begin();
        assert_eq!(pace.turn(later), Turn::Later(later + PROBE_PATIENCE));
        pace.end(Sign::Good, later, later);
        assert!(pace.is_at_rest());
        assert_eq!(pace.turn(later), Turn::Ask);
    }

    #[test]
    fn the_longer_of_two_pauses_counts() {
        let (mut pace, now) = (Pace::default(), SystemClock.now());
        for _ in 0..FAILURES_TO_OPEN {
            pace.end(Sign::Down, now, now);
        }
        assert_eq!(pace.turn(now), Turn::Later(now + FIRST_REST));
        assert!(pace.is_broken() && !pace.is_throttled());
    }
}
