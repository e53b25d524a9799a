//! What a status event may be news about, as small numbers: whoever waits holds its own against those of each event.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::identity::{PartnerId, TransactionId};
use super::msisdn::Msisdn;
use super::timeline::StatusEvent;

/// Keys of one event.
pub const KEYS_OF_AN_EVENT: usize = 5;

/// Something of a partner's that may move. Two things may share a key by chance: then somebody looks in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchKey(u64);

#[derive(Hash)]
enum Subject<'a> {
    Partner,
    Transaction(TransactionId),
    Msisdn(&'a str),
    ClientRequest(&'a str),
    Conversation(&'a str),
}

impl WatchKey {
    fn new(partner: PartnerId, subject: &Subject<'_>) -> Self {
        let mut hasher = DefaultHasher::new();
        partner.hash(&mut hasher);
        subject.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Anything of the partner's.
    pub fn partner(partner: PartnerId) -> Self {
        Self::new(partner, &Subject::Partner)
    }

    /// One transaction.
    pub fn transaction(partner: PartnerId, id: TransactionId) -> Self {
        Self::new(partner, &Subject::Transaction(id))
    }

    /// The transactions of one number.
    pub fn msisdn(partner: PartnerId, msisdn: &Msisdn) -> Self {
        Self::new(partner, &Subject::Msisdn(msisdn.as_str()))
    }

    /// The transaction that has the partner's own id.
    pub fn client_request(partner: PartnerId, id: &str) -> Self {
        Self::new(partner, &Subject::ClientRequest(id))
    }

    /// The transactions whose conversation id this is. Events do not carry the other ids of a provider.
    pub fn conversation(partner: PartnerId, id: &str) -> Self {
        Self::new(partner, &Subject::Conversation(id))
    }

    /// All that an event is news about; for what it does not have, the transaction's key again.
    pub fn of(event: &StatusEvent) -> [Self; KEYS_OF_AN_EVENT] {
        let partner = event.partner_id;
        let transaction = Self::transaction(partner, event.transaction_id);
        [
            Self::partner(partner),
            transaction,
            event
                .msisdn
                .as_ref()
                .map_or(transaction, |msisdn| Self::msisdn(partner, msisdn)),
            event
                .client_request_id
                .as_ref()
                .map_or(transaction, |id| Self::client_request(partner, id)),
            event
                .conversation_id
                .as_ref()
                .map_or(transaction, |id| Self::conversation(partner, id)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    #[test]
    fn the_same_text_in_another_place_or_of_another_partner_is_another_key() {
        let now = SystemClock.now();
        let (one, other) = (PartnerId::new(now), PartnerId::new(now));
        let keys = [
            WatchKey::partner(one),
            WatchKey::partner(other),
            WatchKey::client_request(one, "a"),
            WatchKey::client_request(other, "a"),
            WatchKey::conversation(one, "a"),
            WatchKey::client_request(one, "b"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key), "{at}");
        }
        assert_eq!(keys[2], WatchKey::client_request(one, "a"));
    }
}
