//! The whole state machine of a transaction.

use std::fmt;
use std::str::FromStr;

/// The four statuses of the status API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Known to us, not yet to the provider as far as we know.
    Queued,
    /// The provider has it.
    Accepted,
    /// Paid.
    Success,
    /// Not paid, or paid and given back.
    Failed,
}

impl Status {
    /// All, in the order of a payment's life.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Accepted, Self::Success, Self::Failed];

    /// The statuses a plain piece of news may move to `self` from. The two other moves are exceptions with a
    /// reason of their own: an *unconfirmed* failure → success, and success → failed when money went back.
    pub fn predecessors(self) -> &'static [Self] {
        match self {
            Self::Queued => &[],
            Self::Accepted => &[Self::Queued],
            Self::Success | Self::Failed => &[Self::Queued, Self::Accepted],
        }
    }

    /// Whether `self` may plainly follow `from`.
    pub fn may_follow(self, from: Self) -> bool {
        self.predecessors().contains(&from)
    }

    /// Whether the payment is over.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }

    /// The word in every answer and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Accepted => "accepted",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }
}

/// Not a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a status: accepted are queued, accepted, success, failed")]
pub struct StatusError;

impl FromStr for Status {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(StatusError)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_moves_are_allowed() {
        use Status::{Accepted, Failed, Queued, Success};
        let allowed = [
            (Queued, Accepted),
            (Queued, Success),
            (Queued, Failed),
            (Accepted, Success),
            (Accepted, Failed),
        ];
        for from in Status::ALL {
            for to in Status::ALL {
                assert_eq!(
                    to.may_follow(from),
                    allowed.contains(&(from, to)),
                    "{from} → {to}"
                );
            }
        }
    }
}
