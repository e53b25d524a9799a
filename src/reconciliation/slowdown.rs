//! A pause that grows with every sign of trouble and ends with the first good sign. Signs of questions that were sent
//! before the pause began say nothing new: many are under way at once, and one burst must count once.

use chrono::Duration;

use crate::domain::clock::Instant;

/// One cause of slowing down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slowdown {
    first: Duration,
    longest: Duration,
    current: Option<Current>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Current {
    pause: Duration,
    since: Instant,
    until: Instant,
}

impl Slowdown {
    /// No slowdown yet; the first pause takes `first`, each further one twice the last, up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            current: None,
        }
    }

    /// A question that was sent at `asked_at` met the trouble.
    pub fn worsen(&mut self, asked_at: Instant, now: Instant) {
        let pause = match &self.current {
            Some(current) if asked_at <= current.since => return,
            Some(current) => (current.pause * 2).min(self.longest),
            None => self.first,
        };
        self.current = Some(Current {
            pause,
            since: now,
            until: now + pause,
        });
    }

    /// A question that was sent at `asked_at` went well.
    pub fn ease(&mut self, asked_at: Instant) {
        if self
            .current
            .as_ref()
            .is_some_and(|current| asked_at > current.since)
        {
            self.current = None;
        }
    }

    /// Whether the trouble was met and no good sign has come since.
    pub fn is_on(&self) -> bool {
        self.current.is_some()
    }

    /// When the pause ends, if it lasts still.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.current
            .as_ref()
            .map(|current| current.until)
            .filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    #[test]
    fn a_pause_doubles_up_to_the_longest_and_one_good_answer_ends_it() {
        let mut slowdown = Slowdown::new(Duration::seconds(1), Duration::minutes(5));
        let mut now = SystemClock.now();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            slowdown.worsen(now, now);
            let until = slowdown.until(now).unwrap();
            pauses.push((until - now).num_seconds());
            assert!(slowdown.until(until).is_none());
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        slowdown.ease(now);
        assert!(!slowdown.is_on());
        slowdown.worsen(now, now);
        assert_eq!(slowdown.until(now), Some(now + Duration::seconds(1)));
    }

    #[test]
    fn what_was_asked_before_the_pause_neither_doubles_nor_ends_it() {
        let mut slowdown = Slowdown::new(Duration::seconds(1), Duration::minutes(5));
        let now = SystemClock.now();
        for _ in 0..4 {
            slowdown.worsen(now, now);
        }
        slowdown.ease(now);
        assert_eq!(slowdown.until(now), Some(now + Duration::seconds(1)));
    }
}
