//! The console's figures: what was paid in a span of time, what is open, and what waits.

use super::clock::Instant;
use super::statistics::Statistics;
use super::status::Status;
use super::transaction::Provider;

/// Transactions that are looked at to tell providers and reasons apart: the newest of the span, of each partner its share.
pub const SAMPLE: i64 = 5_000;
/// Callbacks that are looked at to find each provider's newest.
pub const NEWEST_CALLBACKS: i64 = 2_000;

/// How far back the figures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Span {
    /// 24 hours, by the hour.
    #[default]
    Day,
    /// 7 days, by the day (UTC).
    Week,
    /// 30 days, by the day (UTC).
    Month,
}

impl Span {
    /// All of them, the shortest first.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// The word in an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// The span of a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.as_str() == text)
    }

    /// Whether its steps are hours; else they are days.
    pub fn is_by_hour(self) -> bool {
        self == Self::Day
    }

    /// How many steps it has, the one that runs now included.
    pub fn steps(self) -> i32 {
        match self {
            Self::Day => 24,
            Self::Week => 7,
            Self::Month => 30,
        }
    }

    /// How long a step is.
    pub fn step(self) -> chrono::Duration {
        if self.is_by_hour() {
            chrono::Duration::hours(1)
        } else {
            chrono::Duration::days(1)
        }
    }
}

/// What was created in one hour or day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Its end.
    pub ends_at: Instant,
    /// Paid.
    pub success: i64,
    /// Not paid, or paid back.
    pub failed: i64,
    /// Queued and accepted.
    pub pending: i64,
}

impl Step {
    /// An hour or day without transactions.
    pub fn empty(ends_at: Instant) -> Self {
        Self {
            ends_at,
            success: 0,
            failed: 0,
            pending: 0,
        }
    }

    /// Adds `count` transactions that stand so.
    pub fn add(&mut self, status: Status, count: i64) {
        match status {
            Status::Queued | Status::Accepted => self.pending += count,
            Status::Success => self.success += count,
            Status::Failed => self.failed += count,
        }
    }

    /// All of them.
    pub fn total(&self) -> i64 {
        self.success + self.failed + self.pending
    }
}

/// What was created in a span; reversals are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Step by step, the oldest first, those without transactions included.
    pub steps: Vec<Step>,
    /// By currency, of the same steps.
    pub statistics: Statistics,
    /// What was told apart.
    pub groups: Vec<Group>,
    /// Whether that is not all of them, but the newest.
    pub is_sample: bool,
}

/// Transactions of the sample that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their provider.
    pub provider: Provider,
    /// How they stand.
    pub status: Status,
    /// The provider's code, if it is final.
    pub result_code: Option<String>,
    /// What the provider says to it, of one of them.
    pub result_description: Option<String>,
    /// How many.
    pub count: i64,
}

/// How old open transactions are: younger than each of these, in this order, and what is older than the last.
pub const AGES: [chrono::Duration; 4] = [
    chrono::Duration::minutes(1),
    chrono::Duration::minutes(10),
    chrono::Duration::hours(1),
    chrono::Duration::hours(24),
];

/// What is open and what waits, now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Open transactions by age: see [`AGES`].
    pub by_age: [i64; 5],
    /// Of them, those that are asked about no more.
    pub stuck: i64,
    /// Deliveries not yet made.
    pub deliveries: i64,
    /// Since when the oldest of them is due.
    pub oldest_due_at: Option<Instant>,
    /// Deliveries given up.
    pub dead: i64,
    /// Each provider's newest callback, as far as the newest few thousand callbacks tell.
    pub newest_callbacks: Vec<(Provider, Instant)>,
}
