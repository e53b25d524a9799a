//! What goes wrong on demand: how often each fault comes, for everybody, for one account or for one number.
//! Which payment gets which fault follows from the seed and the payment's own number and amount alone, so
//! that requests which overtake one another change nothing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::world::{Recent, locked};

/// How long a late callback is kept back, if the plan does not say.
const LATE_CALLBACK: u64 = 10_000;
/// How long a slow answer takes, if the plan does not say.
const SLOW_ANSWER: u64 = 30_000;

/// One way to misbehave. In JSON: `lost_callback` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The callback is never posted.
    LostCallback,
    /// The callback is posted `late_callback_ms` later than it would be.
    LateCallback,
    /// Every callback is posted twice.
    Doubled,
    /// An older word about the payment is posted after the final one.
    Reordered,
    /// The callback is posted before the request is answered.
    Early,
    /// The payment is made, and the connection is cut without an answer.
    AnswerLost,
    /// Nothing is made, and the connection is cut without an answer.
    CutBefore,
    /// The payment is made, and the answer is a page of HTML or empty.
    NonJson,
    /// Nothing is made, and the answer is a page of HTML or empty.
    NonJsonBefore,
    /// Nothing is made, and the answer is the provider's own internal error.
    ServerErrorBefore,
    /// A token that is given out has expired already.
    ExpiredToken,
    /// The account's token ends just before the request, which is refused for it.
    InvalidatedToken,
    /// The payment is made, and the answer takes `slow_answer_ms`.
    SlowAnswer,
    /// The first question about the payment is answered as if it did not exist.
    ContradictingQuery,
    /// A question (a query or a balance) is refused for coming too soon.
    QueryThrottled,
    /// A question gets an internal error, no JSON, or no answer at all.
    QueryFailed,
    /// Another amount than asked is paid.
    WrongAmount,
    /// Callbacks leave out fields, say numbers as text, or have one object where a list is due.
    PartialShape,
    /// M-Pesa's queue-timeout URL is told first, the result comes later.
    QueueTimeout,
    /// The payment is accepted and fails.
    Failed,
    /// The payment is refused at once.
    Refused,
    /// The request is refused for coming too soon.
    Throttled,
}

impl Fault {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 22] = [
        Self::LostCallback,
        Self::LateCallback,
        Self::Doubled,
        Self::Reordered,
        Self::Early,
        Self::AnswerLost,
        Self::CutBefore,
        Self::NonJson,
        Self::NonJsonBefore,
        Self::ServerErrorBefore,
        Self::ExpiredToken,
        Self::InvalidatedToken,
        Self::SlowAnswer,
        Self::ContradictingQuery,
        Self::QueryThrottled,
        Self::QueryFailed,
        Self::WrongAmount,
        Self::PartialShape,
        Self::QueueTimeout,
        Self::Failed,
        Self::Refused,
        Self::Throttled,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::LostCallback => "lost_callback",
            Self::LateCallback => "late_callback",
            Self::Doubled => "doubled",
            Self::Reordered => "reordered",
            Self::Early => "early",
            Self::AnswerLost => "answer_lost",
            Self::CutBefore => "cut_before",
            Self::NonJson => "non_json",
            Self::NonJsonBefore => "non_json_before",
            Self::ServerErrorBefore => "server_error_before",
            Self::ExpiredToken => "expired_token",
            Self::InvalidatedToken => "invalidated_token",
            Self::SlowAnswer => "slow_answer",
            Self::ContradictingQuery => "contradicting_query",
            Self::QueryThrottled => "query_throttled",
            Self::QueryFailed => "query_failed",
            Self::WrongAmount => "wrong_amount",
            Self::PartialShape => "partial_shape",
            Self::QueueTimeout => "queue_timeout",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
        }
    }
}

/// How often each fault comes, and to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Another seed strikes other payments.
    #[serde(default = "first_seed")]
    pub seed: u64,
    /// From 0 (never) to 1 (always); each fault is drawn by itself.
    #[serde(default)]
    pub rates: BTreeMap<Fault, f64>,
    /// The consumer key or client id it is meant for; everybody if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The number it is meant for; every number if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<String>,
    /// How long a late callback is kept back, in milliseconds.
    #[serde(default = "late_callback")]
    pub late_callback_ms: u64,
    /// How long a slow answer takes, in milliseconds.
    #[serde(default = "slow_answer")]
    pub slow_answer_ms: u64,
}

fn first_seed() -> u64 {
    1
}

fn late_callback() -> u64 {
    LATE_CALLBACK
}

fn slow_answer() -> u64 {
    SLOW_ANSWER
}

impl FaultPlan {
    /// A plan for everybody, without any fault yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rates: BTreeMap::new(),
            account: None,
            msisdn: None,
            late_callback_ms: LATE_CALLBACK,
            slow_answer_ms: SLOW_ANSWER,
        }
    }

    /// The same plan with this fault at this rate.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: f64) -> Self {
        self.rates.insert(fault, rate);
        self
    }

    /// The same plan for one account (consumer key or client id).
    #[must_use]
    pub fn for_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// The same plan for one number.
    #[must_use]
    pub fn for_msisdn(mut self, msisdn: &str) -> Self {
        self.msisdn = Some(msisdn.to_owned());
        self
    }

    /// Reads one plan, or a JSON array of plans.
    ///
    /// # Errors
    /// If it is no JSON, has an unknown field or fault (the text lists those that are accepted), or a rate
    /// that is not between 0 and 1.
    pub fn read(json: &str) -> Result<Vec<Self>, String> {
        let plans = if json.trim_start().starts_with('[') {
            serde_json::from_str::<Vec<Self>>(json)
        } else {
            serde_json::from_str(json).map(|plan| vec![plan])
        };
        let plans = plans.map_err(|error| error.to_string())?;
        for (fault, rate) in plans.iter().flat_map(|plan| &plan.rates) {
            if !(0.0..=1.0).contains(rate) {
                let name = fault.name();
                return Err(format!("{name}: {rate} is sent, 0 to 1 is accepted"));
            }
        }
        Ok(plans)
    }

    fn same_scope(&self, other: &Self) -> bool {
        self.account == other.account && self.msisdn == other.msisdn
    }

    /// How closely it fits: the number counts for more than the account.
    fn fit(&self, account: &str, msisdn: &str) -> Option<u8> {
        let fits = |wanted: &Option<String>, is: &str, weight| match wanted {
            None => Some(0),
            Some(wanted) if wanted == is => Some(weight),
            Some(_) => None,
        };
        Some(fits(&self.msisdn, msisdn, 2)? + fits(&self.account, account, 1)?)
    }
}

/// What was drawn for one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Draw {
    pub(super) faults: Vec<Fault>,
    /// Chooses between the forms of a fault.
    pub(super) variant: u64,
    pub(super) late: Duration,
    pub(super) slow: Duration,
}

/// The plans in force.
#[derive(Default)]
pub(super) struct Plans {
    plans: Mutex<Vec<FaultPlan>>,
    /// How often the same thing was asked for: each time is drawn anew, or a payment that was turned away
    /// once would be turned away for ever.
    times: Mutex<Recent<u64>>,
}

impl Plans {
    /// Replaces the plan for the same account and number.
    pub(super) fn set(&self, plan: FaultPlan) {
        let mut plans = locked(&self.plans);
        plans.retain(|kept| !kept.same_scope(&plan));
        plans.push(plan);
    }

    pub(super) fn clear(&self) {
        locked(&self.plans).clear();
        *locked(&self.times) = Recent::default();
    }

    pub(super) fn list(&self) -> Vec<FaultPlan> {
        locked(&self.plans).clone()
    }

    /// What happens to a request. `what` names it as its sender would: kind and amount.
    pub(super) fn draw(&self, account: &str, msisdn: &str, what: &str) -> Draw {
        let plan = locked(&self.plans)
            .iter()
            .filter_map(|plan| Some((plan.fit(account, msisdn)?, plan)))
            .max_by_key(|(fit, _)| *fit)
            .map(|(_, plan)| plan.clone());
        let Some(plan) = plan else {
            return Draw::default();
        };
        let what = format!("{account}/{msisdn}/{what}");
        let mut times = locked(&self.times);
        let time = times.find(&what).copied().unwrap_or(0);
        times.insert(what.clone(), time.saturating_add(1));
        let faults = plan
            .rates
            .iter()
            .filter(|(fault, rate)| chance(plan.seed, fault.name(), &what, time) < **rate)
            .map(|(fault, _)| *fault)
            .collect();
        Draw {
            faults,
            variant: u64::from(roll(plan.seed, "variant", &what, time)),
            late: Duration::from_millis(plan.late_callback_ms),
            slow: Duration::from_millis(plan.slow_answer_ms),
        }
    }
}

/// At least 0 and less than 1.
fn chance(seed: u64, name: &str, what: &str, time: u64) -> f64 {
    f64::from(roll(seed, name, what, time)) / (f64::from(u32::MAX) + 1.0)
}

fn roll(seed: u64, name: &str, what: &str, time: u64) -> u32 {
    let digest = Sha256::digest(format!("{seed}/{name}/{what}/{time}"));
    digest
        .iter()
        .take(4)
        .fold(0, |number: u32, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, account: &str, numbers: impl Iterator<Item = u64>) -> Vec<(u64, bool)> {
        let plans = Plans::default();
        plans.set(FaultPlan::new(seed).with(Fault::LostCallback, 0.3));
        let mut drawn: Vec<_> = numbers
            .map(|number| {
                let draw = plans.draw(account, &number.to_string(), "stk_push/120");
                (number, !draw.faults.is_empty())
            })
            .collect();
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn the_order_of_requests_changes_nothing_and_the_seed_does() {
        let forwards = drawn(7, "key", 0..1_000);
        assert_eq!(drawn(7, "key", (0..1_000).rev()), forwards);
        assert_ne!(drawn(8, "key", 0..1_000), forwards);
        let struck = forwards.iter().filter(|(_, struck)| *struck).count();
        assert!((250..350).contains(&struck), "{struck}");
    }

    #[test]
    fn a_rate_of_one_always_strikes_and_of_zero_never() {
        let plans = Plans::default();
        plans.set(
            FaultPlan::new(3)
                .with(Fault::Early, 1.0)
                .with(Fault::Doubled, 0.0),
        );
        for number in 0..1_000 {
            let draw = plans.draw("key", &number.to_string(), "b2c/1");
            assert_eq!(draw.faults, [Fault::Early]);
        }
    }

    #[test]
    fn the_closest_plan_is_in_force() {
        let plans = Plans::default();
        plans.set(FaultPlan::new(1).with(Fault::Early, 1.0));
        plans.set(
            FaultPlan::new(1)
                .with(Fault::Doubled, 1.0)
                .for_account("key"),
        );
        plans.set(FaultPlan::new(1).for_msisdn("254700000001"));
        assert_eq!(plans.draw("other", "1", "x").faults, [Fault::Early]);
        assert_eq!(plans.draw("key", "1", "x").faults, [Fault::Doubled]);
        assert_eq!(plans.draw("key", "254700000001", "x").faults, []);
        plans.set(FaultPlan::new(1));
        assert_eq!(plans.list().len(), 3);
        assert_eq!(plans.draw("other", "1", "x").faults, []);
        plans.clear();
        assert_eq!(plans.draw("key", "1", "x").faults, []);
    }

    #[test]
    fn the_same_thing_asked_for_again_is_drawn_again() {
        let plans = Plans::default();
        plans.set(FaultPlan::new(5).with(Fault::Throttled, 0.5));
        let draws: Vec<bool> = (0..64)
            .map(|_| plans.draw("key", "1", "b2c/10").faults.is_empty())
            .collect();
        assert!(draws.contains(&true) && draws.contains(&false));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_is_accepted() {
        let error = FaultPlan::read(r#"{"rates":{"lost":1}}"#).unwrap_err();
        for fault in Fault::ALL {
            assert!(error.contains(&format!("`{}`", fault.name())), "{error}");
        }
        let error = FaultPlan::read(r#"[{"rates":{"early":1.5}}]"#).unwrap_err();
        assert_eq!(error, "early: 1.5 is sent, 0 to 1 is accepted");
        let error = FaultPlan::read(r#"{"rate":{}}"#).unwrap_err();
        assert!(error.contains("`rates`"), "{error}");
        let read = FaultPlan::read(r#"[{"seed":7,"rates":{"early":1}}, {"account":"a"}]"#).unwrap();
        assert_eq!(read[0], FaultPlan::new(7).with(Fault::Early, 1.0));
        assert_eq!(read[1], FaultPlan::new(1).for_account("a"));
    }
}
