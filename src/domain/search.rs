//! What a partner may ask for.

use super::clock::Instant;
use super::identity::TransactionId;
use super::msisdn::Msisdn;
use super::status::Status;
use super::transaction::Provider;

/// Rows of one page unless told otherwise.
pub const DEFAULT_PAGE_LIMIT: i64 = 50;
/// Rows of one page at most.
pub const MAX_PAGE_LIMIT: i64 = 100;
/// Ids of one bulk request at most, all three lists together.
pub const MAX_BULK_IDS: usize = 100;

/// Which transactions; conditions combine with AND.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Any of the provider's ids.
    pub conversation_id: Option<String>,
    /// The partner's own id.
    pub client_request_id: Option<String>,
    /// One number; a national form stands for both countries.
    pub msisdns: Vec<Msisdn>,
    /// Our id.
    pub transaction_id: Option<TransactionId>,
    /// The status.
    pub status: Option<Status>,
    /// The receipt.
    pub transaction_receipt: Option<String>,
    /// Created at or after.
    pub from: Option<Instant>,
    /// Created at or before.
    pub to: Option<Instant>,
}

impl Filter {
    /// Nothing but perhaps a status: what the counters can count.
    pub fn is_countable(&self) -> bool {
        let without_status = Self {
            status: None,
            ..self.clone()
        };
        without_status == Self::default()
    }
}

/// How a payment stands in the words of the provider routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Queued or accepted.
    Pending,
    /// Paid.
    Success,
    /// Not paid, or paid back.
    Failed,
}

/// Which of the transactions at one provider; conditions combine with AND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFilter {
    /// The provider.
    pub provider: Provider,
    /// How they stand.
    pub standing: Option<Standing>,
    /// The partner's own customer.
    pub customer_id: Option<String>,
    /// The number.
    pub msisdn: Option<Msisdn>,
    /// What the merchant named.
    pub account_reference: Option<String>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// After so many rows.
    Offset(i64),
    /// After this row.
    After(Cursor),
}

/// The last row of the page before: newest first, by creation, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Its creation.
    pub created_at: Instant,
    /// Its id.
    pub id: TransactionId,
}

/// A page of transactions, with or without statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Which.
    pub filter: Filter,
    /// How many rows at most.
    pub limit: i64,
    /// From where.
    pub position: Position,
    /// Whether the answer carries the partner's statistics.
    pub with_statistics: bool,
}

/// Ids to look up in one go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BulkLookup {
    /// Our ids.
    pub transaction_ids: Vec<TransactionId>,
    /// Any of the provider's ids.
    pub conversation_ids: Vec<String>,
    /// The partner's own ids.
    pub client_request_ids: Vec<String>,
    /// Receipts.
    pub transaction_receipts: Vec<String>,
}
