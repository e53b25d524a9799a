//! A partner and its API keys.

use std::fmt;
use std::str::FromStr;

use super::clock::Instant;
use super::identity::{KeyId, PartnerId};
use super::money::Currency;
use super::transaction::WordError;

/// Somebody whose payments we keep the truth of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// Its id.
    pub id: PartnerId,
    /// Its name, for people.
    pub name: String,
    /// The currency its statistics are told in.
    pub currency: Currency,
    /// Suspended: API calls are refused, callbacks and webhooks go on.
    pub suspended: bool,
    /// Since when.
    pub created_at: Instant,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Read statuses.
    StatusRead,
    /// Register and start payments.
    PaymentsWrite,
    /// Manage webhook endpoints.
    WebhooksWrite,
    /// See whole phone numbers in the console.
    MsisdnReveal,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [
        Self::StatusRead,
        Self::PaymentsWrite,
        Self::WebhooksWrite,
        Self::MsisdnReveal,
    ];

    /// What a key has unless told otherwise.
    pub const DEFAULT: [Self; 3] = [Self::StatusRead, Self::PaymentsWrite, Self::WebhooksWrite];

    /// The scope's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StatusRead => "status:read",
            Self::PaymentsWrite => "payments:write",
            Self::WebhooksWrite => "webhooks:write",
            Self::MsisdnReveal => "msisdn:reveal",
        }
    }
}

impl FromStr for Scope {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(WordError(
                "status:read, payments:write, webhooks:write, msisdn:reveal",
            ))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An API key as we keep it: never the key, only its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Whose.
    pub partner_id: PartnerId,
    /// The visible first characters, to recognise it by.
    pub prefix: String,
    /// SHA-256 of the whole key, lower-case hex.
    pub digest: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it stops working.
    pub expires_at: Option<Instant>,
    /// When it was revoked.
    pub revoked_at: Option<Instant>,
    /// Since when.
    pub created_at: Instant,
}

impl ApiKey {
    /// Whether it works at `now`.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}
