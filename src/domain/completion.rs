//! How long a partner's payments lately took to end, and when a caller that cannot wait on the line should ask again.

use std::collections::HashMap;

use chrono::Duration;

use super::identity::AccountId;
use super::transaction::Kind;

/// Endings of one account and kind before its own times are believed.
pub const SAMPLES_MIN: usize = 3;
/// The shortest time to the next question.
pub const POLL_MIN: Duration = Duration::seconds(1);
/// The longest.
pub const POLL_MAX: Duration = Duration::seconds(30);

/// A payment that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The account it went through, where known.
    pub account_id: Option<AccountId>,
    /// What it was.
    pub kind: Kind,
    /// From its registration to its ending.
    pub took: Duration,
}

/// The usual times by account and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompletionTimes(HashMap<(Option<AccountId>, Kind), Duration>);

impl CompletionTimes {
    /// The median of each account and kind that ended often enough: a few that hung for hours do not move it.
    pub fn of(completions: &[Completion]) -> Self {
        let mut grouped: HashMap<_, Vec<Duration>> = HashMap::new();
        for one in completions {
            let times = grouped.entry((one.account_id, one.kind)).or_default();
            times.push(one.took);
        }
        let medians = grouped.into_iter().filter_map(|(key, mut times)| {
            times.sort_unstable();
            let median = *times.get(times.len() / 2)?;
            (times.len() >= SAMPLES_MIN).then_some((key, median))
        });
        Self(medians.collect())
    }

    /// How long it usually takes; where too little is known, how long it takes at most people's.
    pub fn usual(&self, account: Option<AccountId>, kind: Kind) -> Duration {
        let known = self.0.get(&(account, kind));
        known.copied().unwrap_or_else(|| usual_anywhere(kind))
    }
}

/// Before anything is known of an account. A payer takes 10 to 17 seconds to find the PIN (observed on Daraja's sandbox);
/// what needs no person is quicker.
fn usual_anywhere(kind: Kind) -> Duration {
    match kind {
        Kind::StkPush | Kind::UssdPush => Duration::seconds(15),
        Kind::B2c | Kind::C2b | Kind::Reversal | Kind::Payout => Duration::seconds(5),
    }
}

/// When to ask again about a payment of age `elapsed`: when it is usually over, and after that in pauses that grow with
/// its age.
pub fn next_poll(usual: Duration, elapsed: Duration) -> Duration {
    let pause = if elapsed < usual {
        usual - elapsed
    } else {
        elapsed / 4
    };
    pause.clamp(POLL_MIN, POLL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    fn ended(account_id: Option<AccountId>, kind: Kind, seconds: i64) -> Completion {
        Completion {
            account_id,
            kind,
            took: Duration::seconds(seconds),
        }
    }

    #[test]
    fn each_account_and_kind_has_its_own_median() {
        let account = Some(AccountId::new(SystemClock.now()));
        let mut all = [2, 3, 9_000]
            .map(|s| ended(account, Kind::StkPush, s))
            .to_vec();
        all.extend([40, 50, 60, 70].map(|s| ended(None, Kind::StkPush, s)));
        all.extend([1, 1].map(|s| ended(account, Kind::B2c, s)));
        let times = CompletionTimes::of(&all);
        let usual = |account, kind| times.usual(account, kind).num_seconds();
        assert_eq!(usual(account, Kind::StkPush), 3);
        assert_eq!(usual(None, Kind::StkPush), 60);
        // Two are too few.
        assert_eq!(usual(account, Kind::B2c), 5);
        assert_eq!(usual(None, Kind::UssdPush), 15);
        assert_eq!(CompletionTimes::of(&[]), CompletionTimes::default());
    }

    #[test]
    fn the_first_question_comes_when_it_is_usually_over_and_then_they_get_rarer() {
        let poll =
            |elapsed| next_poll(Duration::seconds(12), Duration::seconds(elapsed)).num_seconds();
        assert_eq!([0, 5, 11].map(poll), [12, 7, 1]);
        assert_eq!([12, 40, 100, 4_000].map(poll), [3, 10, 25, 30]);
        // Clocks of two machines may differ.
        assert_eq!(poll(-60), 30);
        let at_once = next_poll(Duration::zero(), Duration::zero());
        assert_eq!(at_once, POLL_MIN);
    }
}
