//! Who looks into the console: an operator with a password, or a partner with one of its keys; and for how long.

use super::clock::Instant;
use super::identity::{KeyId, OperatorId, PartnerId};

/// How long a session lasts after the last page its holder asked for.
pub const SESSION_IDLE: chrono::Duration = chrono::Duration::minutes(60);
/// How long a session lasts at most, whatever its holder does.
pub const SESSION_ABSOLUTE: chrono::Duration = chrono::Duration::hours(12);
/// How much later a page must be asked for before it is written down that the holder is still there.
pub const SESSION_SEEN_EVERY: chrono::Duration = chrono::Duration::minutes(1);
/// The longest name of an operator, in characters.
pub const OPERATOR_NAME_MAX: usize = 64;

/// Somebody who looks after the service and sees every partner's things.
#[derive(Clone, PartialEq, Eq)]
pub struct Operator {
    /// Its id.
    pub id: OperatorId,
    /// Its name, unique.
    pub name: String,
    /// Argon2id in the PHC string format.
    pub password_hash: String,
    /// Since when.
    pub created_at: Instant,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A name as it is kept and compared: trimmed, in lower case. None if it has characters other than ASCII letters, digits
/// and `.`, `-`, `_`, `@`, or is empty or too long.
pub fn operator_name(text: &str) -> Option<String> {
    let name = text.trim().to_ascii_lowercase();
    let is_fine = (1..=OPERATOR_NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte));
    is_fine.then_some(name)
}

/// Whose a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOwner {
    /// An operator's.
    Operator(OperatorId),
    /// A partner's, signed in with this key.
    Key(KeyId),
}

/// Somebody signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its token, lower-case hex.
    pub digest: String,
    /// Whose.
    pub owner: SessionOwner,
    /// The one partner whose things an operator looks at; none means all.
    pub partner_id: Option<PartnerId>,
    /// The address it was begun from.
    pub source: Option<String>,
    /// When it was begun.
    pub created_at: Instant,
    /// When a page was last asked for, give or take [`SESSION_SEEN_EVERY`].
    pub seen_at: Instant,
}

impl Session {
    /// Whether it lasts still at `now`.
    pub fn is_valid(&self, now: Instant) -> bool {
        now < self.created_at + SESSION_ABSOLUTE && now < self.seen_at + SESSION_IDLE
    }

    /// Whether it must be written down that the holder is still there.
    pub fn is_stale(&self, now: Instant) -> bool {
        now >= self.seen_at + SESSION_SEEN_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    #[test]
    fn a_session_ends_when_idle_and_in_any_case_after_its_longest() {
        let start = SystemClock.now();
        let mut session = Session {
            digest: String::new(),
            owner: SessionOwner::Operator(OperatorId::new(start)),
            partner_id: None,
            source: None,
            created_at: start,
            seen_at: start,
        };
        let moment = chrono::Duration::milliseconds(1);
        assert!(session.is_valid(start + SESSION_IDLE - moment));
        assert!(!session.is_valid(start + SESSION_IDLE));
        session.seen_at = start + SESSION_ABSOLUTE - moment;
        assert!(session.is_valid(start + SESSION_ABSOLUTE - moment));
        assert!(!session.is_valid(start + SESSION_ABSOLUTE));
    }

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(
            operator_name(" Asha@Kilimo "),
            Some("asha@kilimo".to_owned())
        );
        for wrong in [
            "",
            " ",
            "a b",
            "a:b",
            "ünal",
            &"a".repeat(OPERATOR_NAME_MAX + 1),
        ] {
            assert_eq!(operator_name(wrong), None, "{wrong}");
        }
    }
}
