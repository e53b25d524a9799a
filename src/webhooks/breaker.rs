//! An endpoint that failed several times in a row is left alone for a while that grows; then a single delivery finds out
//! whether it is back. The others stay due meanwhile and use none of their attempts up. Each process learns for itself.

use std::collections::HashMap;

use chrono::Duration;

use crate::domain::clock::Instant;
use crate::domain::identity::EndpointId;

/// Failures in a row until an endpoint is left alone.
pub const FAILURES_TO_PAUSE: u32 = 5;
/// How long at first.
pub const FIRST_PAUSE: Duration = Duration::seconds(10);
/// How long at most, whatever its `Retry-After` says: a delivery's own next attempt waits longer where it asks so.
pub const LONGEST_PAUSE: Duration = Duration::minutes(5);
/// Requests at the same time to an endpoint whose last attempt failed, so that many hanging ones do not fill the house.
pub const FAILING_ENDPOINT_CONCURRENCY: usize = 1;
/// After so long without another failure nothing is remembered: longer than any pause between two attempts.
const MEMORY: Duration = Duration::hours(30);

/// The endpoints whose last attempt failed.
#[derive(Debug, Default)]
pub struct Breakers(HashMap<EndpointId, Breaker>);

#[derive(Debug)]
struct Breaker {
    failures: u32,
    last: Instant,
    pause: Option<Pause>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    since: Instant,
    until: Instant,
}

impl Pause {
    fn new(length: Duration, now: Instant) -> Self {
        Self {
            length,
            since: now,
            until: now + length,
        }
    }

    /// A clock that was set back ends it.
    fn lasts(&self, now: Instant) -> bool {
        (self.since..self.until).contains(&now)
    }
}

impl Breakers {
    /// Requests that the endpoint may have at the same time: none while it is paused, one while it fails, else `usual`.
    pub fn limit(&self, endpoint: EndpointId, usual: usize, now: Instant) -> usize {
        match self.0.get(&endpoint) {
            None => usual,
            Some(breaker) if breaker.is_paused(now) => 0,
            Some(_) => FAILING_ENDPOINT_CONCURRENCY.min(usual),
        }
    }

    /// An attempt succeeded.
    pub fn record_success(&mut self, endpoint: EndpointId) {
        self.0.remove(&endpoint);
    }

    /// An attempt failed that began at `began`; the answer asked to be left alone for `retry_after`. True if the
    /// endpoint is paused for it from now on.
    pub fn record_failure(
        &mut self,
        endpoint: EndpointId,
        began: Instant,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> bool {
        self.0.retain(|_, breaker| now - breaker.last < MEMORY);
        let breaker = self.0.entry(endpoint).or_insert(Breaker {
            failures: 0,
            last: now,
            pause: None,
        });
        breaker.failures = breaker.failures.saturating_add(1);
        breaker.last = now;
        let asked = retry_after.map(|wait| wait.clamp(Duration::zero(), LONGEST_PAUSE));
        let ours = match breaker.pause {
            // Of a burst under way when the pause began: it says nothing new.
            Some(pause) if began <= pause.since => None,
            Some(pause) if breaker.failures > FAILURES_TO_PAUSE => {
                Some((pause.length * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE))
            }
            _ if breaker.failures >= FAILURES_TO_PAUSE => Some(FIRST_PAUSE),
            _ => None,
        };
        let Some(length) = ours.max(asked) else {
            return false;
        };
        let pause = Pause::new(length, now);
        // What the endpoint asked for does not shorten what stands.
        if breaker.pause.is_some_and(|old| old.until >= pause.until) {
            return false;
        }
        breaker.pause = Some(pause);
        length > Duration::zero()
    }

    /// The endpoint gets nothing any more.
    pub fn forget(&mut self, endpoint: EndpointId) {
        self.0.remove(&endpoint);
    }

    /// Endpoints that are paused now.
    pub fn count_paused(&self, now: Instant) -> usize {
        let paused = self.0.values().filter(|breaker| breaker.is_paused(now));
        paused.count()
    }
}

impl Breaker {
    fn is_paused(&self, now: Instant) -> bool {
        self.pause.is_some_and(|pause| pause.lasts(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    const USUAL: usize = 8;

    struct Case {
        breakers: Breakers,
        endpoint: EndpointId,
        now: Instant,
    }

    impl Case {
        fn new() -> Self {
            let now = SystemClock.now();
            Self {
                breakers: Breakers::default(),
                endpoint: EndpointId::new(now),
                now,
            }
        }

        /// One attempt that begins now and fails at once.
        fn fails(&mut self) -> bool {
            self.fails_asking(None)
        }

        fn fails_asking(&mut self, seconds: Option<i64>) -> bool {
            let wait = seconds.map(Duration::seconds);
            self.breakers
                .record_failure(self.endpoint, self.now, wait, self.now)
        }

        fn limit(&self) -> usize {
            self.breakers.limit(self.endpoint, USUAL, self.now)
        }

        fn after(&mut self, seconds: i64) -> usize {
            self.now += Duration::seconds(seconds);
            self.limit()
        }
    }

    #[test]
    fn an_endpoint_is_paused_after_five_failures_and_then_probed() {
        let mut case = Case::new();
        assert_eq!(case.limit(), USUAL);
        for _ in 1..FAILURES_TO_PAUSE {
            assert!(!case.fails());
            assert_eq!(case.limit(), FAILING_ENDPOINT_CONCURRENCY);
        }
        assert!(case.fails());
        assert_eq!((case.limit(), case.breakers.count_paused(case.now)), (0, 1));
        assert_eq!(case.after(9), 0);
        assert_eq!(case.after(1), 1, "the probe");
        assert_eq!(case.breakers.count_paused(case.now), 0);
        case.breakers.record_success(case.endpoint);
        assert_eq!(case.limit(), USUAL);
    }

    #[test]
    fn every_probe_that_fails_doubles_the_pause_up_to_five_minutes() {
        let mut case = Case::new();
        for _ in 0..FAILURES_TO_PAUSE {
            case.fails();
        }
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(case.after(seconds - 1), 0, "{seconds}");
            assert_eq!(case.after(1), 1, "{seconds}");
            assert!(case.fails());
        }
    }

    #[test]
    fn a_burst_under_way_counts_once() {
        let mut case = Case::new();
        let began = case.now;
        case.now += Duration::seconds(15);
        let mut paused = 0;
        for _ in 0..USUAL {
            let failed = case
                .breakers
                .record_failure(case.endpoint, began, None, case.now);
            paused += usize::from(failed);
        }
        assert_eq!(paused, 1);
        assert_eq!(case.after(10), 1);
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew() {
        let mut case = Case::new();
        for _ in 0..3 {
            for _ in 1..FAILURES_TO_PAUSE {
                assert!(!case.fails());
            }
            case.breakers.record_success(case.endpoint);
        }
        assert_eq!(case.limit(), USUAL);
    }

    #[test]
    fn retry_after_pauses_the_endpoint_at_once_but_not_for_longer_than_the_longest_pause() {
        let mut case = Case::new();
        assert!(!case.fails_asking(Some(0)));
        assert_eq!(case.limit(), 1);
        assert!(case.fails_asking(Some(30)));
        assert!(!case.fails_asking(Some(2)), "it shortens nothing");
        assert_eq!(case.after(29), 0);
        assert_eq!(case.after(1), 1);
        assert!(case.fails_asking(Some(86_400)));
        assert_eq!(case.after(299), 0);
        assert_eq!(case.after(1), 1);
    }

    #[test]
    fn a_clock_set_back_ends_a_pause_and_old_failures_are_forgotten() {
        let mut case = Case::new();
        for _ in 0..FAILURES_TO_PAUSE {
            case.fails();
        }
        assert_eq!(case.after(-3_600), 1);
        let first = case.endpoint;
        case.now += MEMORY + Duration::hours(1);
        case.endpoint = EndpointId::new(case.now);
        case.fails();
        assert_eq!(case.breakers.limit(first, USUAL, case.now), USUAL);
    }
}
