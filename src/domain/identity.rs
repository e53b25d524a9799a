//! Identifiers of our own making: UUIDv7, so that keys insert in order and sort by age.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use uuid::{ContextV7, NoContext, Timestamp, Uuid};

use super::clock::Instant;

static CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// A new UUIDv7 for `now`; within one process later calls give larger ids.
pub fn new_uuid(now: Instant) -> Uuid {
    let context = CONTEXT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(
        &*context,
        seconds,
        now.timestamp_subsec_nanos(),
    ))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier, increasing within this process.
            pub fn new(now: Instant) -> Self {
                Self(new_uuid(now))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            /// Only the hyphenated form is an identifier of ours.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let id = Uuid::try_parse(text)?;
                if text.len() == 36 { Ok(Self(id)) } else { Uuid::try_parse("").map(Self) }
            }
        }
    )+};
}

identifiers!(
    /// A partner.
    PartnerId,
    /// An API key (not the key itself).
    KeyId,
    /// A partner's credentials at one provider.
    AccountId,
    /// A payment, payout or reversal.
    TransactionId,
    /// A callback as it was received.
    CallbackId,
    /// A line of a transaction's timeline; for status events also the `webhook-id`.
    EventId,
    /// A partner's webhook endpoint.
    EndpointId,
    /// One event on its way to one endpoint.
    DeliveryId,
    /// A running `serve` process.
    InstanceId,
    /// Something a partner is told that is no event.
    NoticeId,
    /// An operator of the console.
    OperatorId,
    /// A line of the audit log.
    AuditId,
    /// A question about what is on an account.
    EnquiryId,
);

impl TransactionId {
    /// An identifier for a transaction of the past: it sorts among those of its own time, and rows that are read together
    /// lie together.
    pub fn of_age(created_at: Instant) -> Self {
        let seconds = u64::try_from(created_at.timestamp()).unwrap_or_default();
        Self(Uuid::new_v7(Timestamp::from_unix(
            NoContext,
            seconds,
            created_at.timestamp_subsec_nanos(),
        )))
    }
}

impl AccountId {
    /// Under which name the account's credentials are sealed.
    pub fn seal_owner(self) -> String {
        format!("account:{self}")
    }
}

impl EndpointId {
    /// Under which name the endpoint's secrets are sealed.
    pub fn seal_owner(self) -> String {
        format!("endpoint:{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    #[test]
    fn ids_increase_within_a_process() {
        let now = SystemClock.now();
        let ids: Vec<Uuid> = (0..1_000).map(|_| new_uuid(now)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn an_id_of_the_past_sorts_among_those_of_its_time() {
        let now = SystemClock.now();
        let ids =
            [3, 2, 1, 0].map(|hours| TransactionId::of_age(now - chrono::Duration::hours(hours)).0);
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        assert!(ids[2] < new_uuid(now));
    }

    #[test]
    fn only_the_hyphenated_form_is_an_identifier() {
        assert!(
            "bb8ab64c-e1aa-4f4f-aae3-54d9c84b0c26"
                .parse::<TransactionId>()
                .is_ok()
        );
        for wrong in [
            "",
            "bb8ab64ce1aa4f4faae354d9c84b0c26",
            "{bb8ab64c-e1aa-4f4f-aae3-54d9c84b0c26}",
            "urn:uuid:bb8ab64c-e1aa-4f4f-aae3-54d9c84b0c26",
            "nonsense",
        ] {
            assert!(wrong.parse::<TransactionId>().is_err(), "{wrong}");
        }
    }
}
