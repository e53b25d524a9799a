//! A line of the audit log: who did what to whose thing, and from where.

use crate::domain::identity::PartnerId;

/// A line for the audit log.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Who: `cli`, `key:ID` or `console:NAME`.
    pub actor: String,
    /// What: `partner.create`, `key.revoke`, …
    pub action: &'static str,
    /// Whose things were touched.
    pub partner_id: Option<PartnerId>,
    /// The id of what was touched.
    pub subject: String,
    /// The address it was asked from, where there is one.
    pub source: Option<String>,
    /// What else belongs to it, for people; never a secret, never a whole phone number.
    pub detail: Option<String>,
}

impl Audit {
    /// The same, of this partner's things.
    pub fn of(self, partner: PartnerId) -> Self {
        Self {
            partner_id: Some(partner),
            ..self
        }
    }

    /// The same, with what else belongs to it.
    pub fn with(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }
}

/// Who does it: `cli`, `key:ID` or `console:NAME`; and from which address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    source: Option<String>,
}

impl Actor {
    /// Somebody without an address.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: None,
        }
    }

    /// The same, asking from an address.
    pub fn from_address(self, source: Option<std::net::IpAddr>) -> Self {
        Self {
            source: source.map(|address| address.to_string()),
            ..self
        }
    }

    /// A line for the audit log.
    pub fn audit(
        &self,
        action: &'static str,
        partner: impl Into<Option<PartnerId>>,
        subject: impl ToString,
    ) -> Audit {
        Audit {
            actor: self.name.clone(),
            action,
            partner_id: partner.into(),
            subject: subject.to_string(),
            source: self.source.clone(),
            detail: None,
        }
    }
}
