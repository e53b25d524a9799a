//! How many deliveries an endpoint that named a limit a second may still be sent.

use std::collections::{HashMap, VecDeque};

use chrono::Duration;

use crate::domain::clock::Instant;
use crate::domain::identity::EndpointId;

const WINDOW: Duration = Duration::seconds(1);

/// When deliveries were begun within the last second, by endpoint; only of endpoints with a limit.
#[derive(Debug, Default)]
pub struct Starts(HashMap<EndpointId, VecDeque<Instant>>);

impl Starts {
    /// How many more may begin at `now`, of `limit` a second.
    pub fn free(&mut self, endpoint: EndpointId, limit: usize, now: Instant) -> usize {
        let Some(starts) = self.0.get_mut(&endpoint) else {
            return limit;
        };
        // What began later than now began before the clock was set back: it would hold the endpoint up for long.
        starts.retain(|start| *start <= now && now - *start < WINDOW);
        let free = limit.saturating_sub(starts.len());
        if starts.is_empty() {
            self.0.remove(&endpoint);
        }
        free
    }

    /// One has begun.
    pub fn began(&mut self, endpoint: EndpointId, at: Instant) {
        self.0.entry(endpoint).or_default().push_back(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    #[test]
    fn in_no_second_begin_more_than_the_limit() {
        let mut starts = Starts::default();
        let (endpoint, begin) = (EndpointId::new(SystemClock.now()), SystemClock.now());
        let mut began = Vec::new();
        for step in 0..300 {
            let now = begin + Duration::milliseconds(step * 10);
            for _ in 0..starts.free(endpoint, 5, now) {
                starts.began(endpoint, now);
                began.push(now);
            }
        }
        assert_eq!(began.len(), 15, "three seconds of five");
        assert!(began.windows(6).all(|six| six[5] - six[0] >= WINDOW));
    }

    #[test]
    fn an_endpoint_that_is_quiet_is_forgotten() {
        let mut starts = Starts::default();
        let (endpoint, begin) = (EndpointId::new(SystemClock.now()), SystemClock.now());
        starts.began(endpoint, begin);
        assert_eq!(starts.free(endpoint, 2, begin), 1);
        assert_eq!(starts.free(endpoint, 2, begin + WINDOW), 2);
        assert!(starts.0.is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let mut starts = Starts::default();
        let (endpoint, begin) = (EndpointId::new(SystemClock.now()), SystemClock.now());
        starts.began(endpoint, begin);
        assert_eq!(starts.free(endpoint, 1, begin), 0);
        assert_eq!(starts.free(endpoint, 1, begin - Duration::hours(1)), 1);
    }
}
