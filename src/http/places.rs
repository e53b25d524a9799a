//! So many at once, refilled at a rate (GCRA), by who it is. Against guessing, a place is taken before a guess is looked at
//! and given back if it was right, so that many guesses at once cannot slip through.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant as Timer};

/// So many are remembered at most; beyond it, who is nearest to having all places again is forgotten first.
const REMEMBERED: usize = 100_000;

/// The places of everybody: of each address, name or session.
pub struct Places<K> {
    /// One place is refilled in this time.
    interval: Duration,
    /// How far ahead of now the next place may be.
    tolerance: Duration,
    remembered_max: usize,
    arrivals: Mutex<Arrivals<K>>,
}

/// When each has all places again, by who it is and in the order of that time, so that neither a look nor forgetting
/// costs more than a few steps however many there are.
struct Arrivals<K> {
    next: HashMap<K, Timer>,
    in_order: BTreeSet<(Timer, K)>,
}

impl<K: Clone + Eq + Hash + Ord> Arrivals<K> {
    fn set(&mut self, who: &K, next: Timer) {
        self.forget(who);
        self.next.insert(who.clone(), next);
        self.in_order.insert((next, who.clone()));
    }

    fn forget(&mut self, who: &K) {
        if let Some((who, next)) = self.next.remove_entry(who) {
            self.in_order.remove(&(next, who));
        }
    }

    /// Forgets who has all places again, two at a time (one comes with each call), and if there is no room even so, the first.
    fn make_room(&mut self, now: Timer, remembered_max: usize) {
        for _ in 0..2 {
            match self.in_order.first().cloned() {
                Some((next, who)) if next <= now || self.next.len() >= remembered_max => {
                    self.forget(&who);
                }
                _ => return,
            }
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Places<K> {
    /// `at_once` places each, refilled one an `interval`.
    pub fn new(at_once: u32, interval: Duration) -> Self {
        Self {
            interval,
            tolerance: interval * at_once.saturating_sub(1),
            remembered_max: REMEMBERED,
            arrivals: Mutex::new(Arrivals {
                next: HashMap::new(),
                in_order: BTreeSet::new(),
            }),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// How long to wait, if there is none.
    pub fn reserve(&self, who: K) -> Result<(), Duration> {
        let now = Timer::now();
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let known = arrivals.next.get(&who).copied();
        let next = known.unwrap_or(now).max(now);
        let ahead = next.duration_since(now);
        if ahead > self.tolerance {
            return Err(ahead.saturating_sub(self.tolerance));
        }
        if known.is_none() {
            arrivals.make_room(now, self.remembered_max);
        }
        arrivals.set(&who, next + self.interval);
        Ok(())
    }

    /// Others count too: all places are there again in `whole_in`, or later if we know better.
    pub fn learn(&self, who: &K, whole_in: Duration) {
        let now = Timer::now();
        let next = now + whole_in;
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        match arrivals.next.get(who) {
            Some(known) if *known >= next => {}
            Some(_) => arrivals.set(who, next),
            None => {
                arrivals.make_room(now, self.remembered_max);
                arrivals.set(who, next);
            }
        }
    }

    /// Gives a place back.
    pub fn give_back(&self, who: &K) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = arrivals.next.get(who)
            && let Some(earlier) = next.checked_sub(self.interval)
        {
            arrivals.set(who, earlier);
        }
    }
}

/// Whom an address stands for: an IPv6 caller owns its whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: u32 = 20;

    fn places() -> Places<IpAddr> {
        Places::new(AT_ONCE, Duration::from_secs(3))
    }

    fn address(text: &str) -> IpAddr {
        network(text.parse().unwrap())
    }

    #[test]
    fn so_many_at_once_and_no_more() {
        let places = places();
        for _ in 0..AT_ONCE {
            assert!(places.reserve(address("192.0.2.1")).is_ok());
        }
        let wait = places.reserve(address("192.0.2.1")).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(3));
        assert!(places.reserve(address("192.0.2.2")).is_ok());
    }

    #[test]
    fn who_was_right_gives_its_place_back() {
        let places = places();
        for _ in 0..200 {
            places.reserve(address("192.0.2.1")).unwrap();
            places.give_back(&address("192.0.2.1"));
        }
    }

    #[test]
    fn what_others_counted_counts_here_and_never_less_than_our_own() {
        let places = places();
        places.learn(&address("192.0.2.1"), Duration::from_secs(58));
        let wait = places.reserve(address("192.0.2.1")).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        for _ in 0..AT_ONCE {
            places.reserve(address("192.0.2.2")).unwrap();
        }
        places.learn(&address("192.0.2.2"), Duration::from_secs(3));
        assert!(places.reserve(address("192.0.2.2")).is_err());
    }

    #[test]
    fn a_full_memory_refuses_nobody_unseen_and_forgets_who_failed_least() {
        let places = Places {
            remembered_max: 3,
            ..places()
        };
        for _ in 0..AT_ONCE {
            places.reserve(address("192.0.2.1")).unwrap();
        }
        for host in 2..=200 {
            let unseen = format!("192.0.2.{host}");
            assert!(places.reserve(address(&unseen)).is_ok(), "{unseen}");
            let arrivals = places.arrivals.lock().unwrap();
            assert!(arrivals.next.len() <= 3);
            assert_eq!(arrivals.next.len(), arrivals.in_order.len());
        }
        assert!(places.reserve(address("192.0.2.1")).is_err());
        assert!(places.arrivals.lock().unwrap().next.len() == 3);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_the_limit() {
        let places = places();
        for host in 0..AT_ONCE {
            places
                .reserve(address(&format!("2001:db8::{host:x}")))
                .unwrap();
        }
        assert!(places.reserve(address("2001:db8::ffff")).is_err());
        assert!(places.reserve(address("2001:db8:0:1::1")).is_ok());
    }
}
