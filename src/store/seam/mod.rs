//! What the rest of the house asks of the database, a trait a subject; [`Store`] is all of them. Each method is one atomic
//! act; time is always a parameter; absence is an `Option`.

mod accounts;
mod audit;
mod console;
mod deliveries;
mod endpoints;
mod event_page;
mod instances;
mod ledger;
mod oversight;
mod partners;
mod payments;
mod transactions;
mod upkeep;

pub use accounts::{AccountStore, SealedToken};
pub use audit::{Actor, Audit};
pub use console::{ConsoleStore, SessionHolder};
pub use deliveries::{Capacity, DeliveryStore};
pub use endpoints::EndpointStore;
pub use event_page::EventPage;
pub use instances::{InstanceStore, Others};
pub use ledger::{CommitNotice, LedgerStore, Move};
pub use oversight::OversightStore;
pub use partners::{KeyHolder, PartnerStore};
pub use payments::PaymentStore;
pub use transactions::{BulkFound, Listing, TransactionStore};
pub use upkeep::{ERASURE_BATCH, ErasedTable, ErasureStep, Sealed, SealedColumn, Upkeep};

use async_trait::async_trait;

use crate::domain::clock::Instant;
use crate::store::StoreError;

/// What is older than these is removed.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Inbox rows received before.
    pub callbacks_before: Instant,
    /// Finished deliveries and their attempts created before.
    pub deliveries_before: Instant,
    /// Timeline lines and feed events before.
    pub events_before: Instant,
    /// Hour counters that ended before.
    pub hours_before: Instant,
    /// Counts of minutes that ended before.
    pub minutes_before: Instant,
}

/// Figures for `/metrics` and `/status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Transactions that are not final.
    pub open_transactions: i64,
    /// Deliveries not yet made.
    pub pending_deliveries: i64,
    /// Kept callbacks whose id nobody knows yet.
    pub waiting_callbacks: i64,
    /// Transactions that are asked about no more, though nobody knows what became of them.
    pub stuck_transactions: i64,
}

/// Everything the rest of the house asks of the database.
#[async_trait]
pub trait Store:
    LedgerStore
    + TransactionStore
    + PaymentStore
    + AccountStore
    + PartnerStore
    + EndpointStore
    + DeliveryStore
    + InstanceStore
    + ConsoleStore
    + OversightStore
    + Upkeep
    + Send
    + Sync
    + 'static
{
    /// Keeps a line of the audit log for what changes nothing here.
    async fn record_audit(&self, audit: Audit) -> Result<(), StoreError>;
    /// Removes a small batch of what is old; the number of rows removed.
    async fn remove_expired(&self, retention: Retention) -> Result<u64, StoreError>;
    /// Counts what is waiting.
    async fn count_backlog(&self) -> Result<Backlog, StoreError>;
    /// The database's own clock.
    async fn read_clock(&self) -> Result<Instant, StoreError>;
    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
    /// Runs pending migrations; their names.
    async fn migrate(&self) -> Result<Vec<String>, StoreError>;
    /// The names of migrations that have not run.
    async fn list_pending_migrations(&self) -> Result<Vec<String>, StoreError>;
    /// Whether this is the embedded database, which no other machine shares.
    fn is_embedded(&self) -> bool;
}
