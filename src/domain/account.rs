//! A partner's credentials at one provider.

use super::clock::Instant;
use super::identity::{AccountId, PartnerId};
use super::transaction::Provider;

/// An account. Its credentials are sealed: only the holder of the master key can open them.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Whose.
    pub partner_id: PartnerId,
    /// At which provider.
    pub provider: Provider,
    /// `sandbox` or `production`.
    pub environment: String,
    /// The paybill or till the money moves through (M-Pesa).
    pub shortcode: Option<String>,
    /// The till number of a Buy Goods account (M-Pesa).
    pub till_number: Option<String>,
    /// The secret part of the callback URLs, lower-case hex.
    pub callback_token: String,
    /// The encrypted credentials.
    pub sealed_credentials: Vec<u8>,
    /// Since when.
    pub created_at: Instant,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("partner_id", &self.partner_id)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// Whether money sent to `shortcode` is this account's.
    pub fn owns_shortcode(&self, shortcode: &str) -> bool {
        self.shortcode.as_deref() == Some(shortcode)
            || self.till_number.as_deref() == Some(shortcode)
    }
}
