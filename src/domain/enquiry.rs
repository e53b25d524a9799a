//! Questions about what is on an account: who asked, when, and what came of it.

use super::clock::Instant;
use super::identity::{AccountId, EnquiryId, PartnerId};
use super::status_update::Balance;

/// The newest so many of a partner's are kept.
pub const ENQUIRIES_KEPT: i64 = 50;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enquiry {
    /// Its id, which orders them; it names the question in the address at which it is answered.
    pub id: EnquiryId,
    /// Whose account.
    pub partner_id: PartnerId,
    /// The account at the provider.
    pub account_id: AccountId,
    /// Who asked, as the audit log names it.
    pub asked_by: String,
    /// When.
    pub asked_at: Instant,
    /// What came of it; nothing yet.
    pub answer: Option<EnquiryAnswer>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnquiryAnswer {
    /// When we heard.
    pub at: Instant,
    /// What.
    pub told: Told,
}

/// What a provider told. Balances take the place of a failure, and nothing takes theirs: who did not answer in time may
/// still do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// What is on the account, by name; a new account may have none.
    Balances(Vec<Balance>),
    /// Nothing, and why: the provider's words or ours.
    Nothing(String),
}
