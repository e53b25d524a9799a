//! A quota of requests as GCRA counts it: the whole quota at once, refilled evenly. One instant a key says everything:
//! when its quota is whole again. The same numbers whether one process counts or a database for many.

use std::net::IpAddr;
use std::time::Duration;

use uuid::Uuid;

use super::identity::KeyId;

/// The window that quotas are stated for.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Whose requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Whoever has this key.
    Key(KeyId),
    /// Whoever calls from this address, or from the network it stands for.
    Address(IpAddr),
}

impl Caller {
    /// What tells it from others that are counted for the same. An address is as long as an id.
    pub fn id(self) -> Uuid {
        match self {
            Self::Key(key) => key.0,
            Self::Address(IpAddr::V4(address)) => {
                Uuid::from_u128(u128::from(address.to_ipv6_mapped()))
            }
            Self::Address(IpAddr::V6(address)) => Uuid::from_u128(u128::from(address)),
        }
    }
}

/// So many requests a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    per_minute: u32,
    interval: Duration,
}

/// Where a key stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the request passed.
    pub passed: bool,
    /// How long until the quota is whole again.
    pub whole_in: Duration,
}

impl Allowance {
    /// `per_minute` requests a minute; `None` for none at all.
    pub fn new(per_minute: u32) -> Option<Self> {
        let interval = WINDOW.checked_div(per_minute)?;
        (!interval.is_zero()).then_some(Self {
            per_minute,
            interval,
        })
    }

    /// Requests a minute.
    pub fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// The time in which one request is refilled.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// A request passes while no more than this is missing of the whole quota, as time.
    pub fn tolerance(&self) -> Duration {
        self.interval * (self.per_minute - 1)
    }

    /// One of `parts` equal parts of it, at least one request a minute.
    pub fn part(&self, parts: u32) -> Self {
        Self::new((self.per_minute / parts.max(1)).max(1)).unwrap_or(*self)
    }

    /// What becomes of a request when the quota will be whole in `whole_in`.
    pub fn take(&self, whole_in: Duration) -> Standing {
        let passed = whole_in <= self.tolerance();
        let more = if passed {
            self.interval
        } else {
            Duration::ZERO
        };
        Standing {
            passed,
            whole_in: whole_in + more,
        }
    }

    /// How many more requests would pass now.
    pub fn remaining(&self, standing: Standing) -> u32 {
        let whole = self.interval * self.per_minute;
        let left = whole.saturating_sub(standing.whole_in);
        u32::try_from(left.as_nanos() / self.interval.as_nanos())
            .unwrap_or(u32::MAX)
            .min(self.per_minute)
    }

    /// How long until the next request passes; zero if one would pass now.
    pub fn wait(&self, standing: Standing) -> Duration {
        standing.whole_in.saturating_sub(self.tolerance())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(passed: bool, milliseconds: u64) -> Standing {
        Standing {
            passed,
            whole_in: Duration::from_millis(milliseconds),
        }
    }

    #[test]
    fn the_whole_quota_at_once_and_then_one_an_interval() {
        let allowance = Allowance::new(100).unwrap();
        assert_eq!(allowance.interval(), Duration::from_millis(600));
        assert_eq!(allowance.remaining(standing(true, 600)), 99);
        assert_eq!(allowance.remaining(standing(true, 59_400)), 1);
        assert_eq!(allowance.wait(standing(true, 59_400)), Duration::ZERO);
        assert_eq!(allowance.remaining(standing(true, 60_000)), 0);
        assert_eq!(
            allowance.wait(standing(false, 60_000)),
            Duration::from_millis(600)
        );
        assert_eq!(allowance.remaining(standing(true, 0)), 100);
    }

    #[test]
    fn an_address_is_the_same_caller_in_either_form() {
        let id = |text: &str| Caller::Address(text.parse().unwrap()).id();
        assert_eq!(id("192.0.2.1"), id("::ffff:192.0.2.1"));
        assert_ne!(id("192.0.2.1"), id("192.0.2.2"));
        assert_ne!(id("2001:db8::"), id("2001:db8:1::"));
    }

    #[test]
    fn a_part_is_never_nothing() {
        let allowance = Allowance::new(50).unwrap();
        assert_eq!(allowance.part(3).per_minute(), 16);
        assert_eq!(allowance.part(1), allowance);
        assert_eq!(allowance.part(80).per_minute(), 1);
        assert_eq!(Allowance::new(0), None);
    }
}
