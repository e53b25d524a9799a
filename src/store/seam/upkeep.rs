//! What an operator does to a whole installation, now and then: sealing secrets anew, blanking a phone number, and
//! knowing whether a copy into this database came to its end.

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::erasure::Erasure;
use crate::domain::identity::{AccountId, EndpointId, PartnerId};
use crate::store::StoreError;

/// Rows that one step of an erasure looks at.
pub const ERASURE_BATCH: i64 = 500;

/// A column of sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedColumn {
    /// Credentials of provider accounts, removed ones too.
    Credentials,
    /// Signing secrets of endpoints.
    Secret,
    /// Those before the last rotation.
    PreviousSecret,
}

impl SealedColumn {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Credentials, Self::Secret, Self::PreviousSecret];

    /// Under which name the values of a row are sealed.
    pub fn owner(self, row: Uuid) -> String {
        match self {
            Self::Credentials => AccountId(row).seal_owner(),
            Self::Secret | Self::PreviousSecret => EndpointId(row).seal_owner(),
        }
    }
}

/// A sealed value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// In which column.
    pub column: SealedColumn,
    /// In which row.
    pub row: Uuid,
    /// As it is sealed.
    pub bytes: Vec<u8>,
}

/// A table that may hold a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasedTable {
    /// Payments themselves, and the digests of the orders that made them.
    Transactions,
    /// Timelines and the feed.
    Events,
    /// What providers answered to orders.
    Payments,
    /// What receivers answered to webhooks.
    Attempts,
    /// Callbacks as they came, those that nobody's transaction took included.
    Callbacks,
}

impl ErasedTable {
    /// Every one, in the order they are gone through.
    pub const ALL: [Self; 5] = [
        Self::Transactions,
        Self::Events,
        Self::Payments,
        Self::Attempts,
        Self::Callbacks,
    ];
}

/// One step of an erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureStep {
    /// Rows in which the number was blanked.
    pub erased: u64,
    /// Rows that keep it because their transaction may still change.
    pub kept: u64,
    /// Rows with an id that has the number's digits in it; ids stay.
    pub ids: u64,
    /// Where the next step begins; `None` at the table's end.
    pub next: Option<String>,
}

/// See the module. A part of [`super::Store`].
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// Whether `copy` has begun to fill this database and has not come to its end.
    async fn is_half_copied(&self) -> Result<bool, StoreError>;
    /// Sealed values of a column, by row, those after `after` only.
    async fn list_sealed(
        &self,
        column: SealedColumn,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<Sealed>, StoreError>;
    /// Puts `by` in the place of a sealed value, unless that has changed meanwhile; whether it did.
    async fn replace_sealed(&self, sealed: Sealed, by: Vec<u8>) -> Result<bool, StoreError>;
    /// Blanks a partner's number in the next [`ERASURE_BATCH`] rows of a table, from where the last step ended.
    async fn erase_msisdn(
        &self,
        partner: PartnerId,
        erasure: Erasure,
        table: ErasedTable,
        from: Option<String>,
    ) -> Result<ErasureStep, StoreError>;
}
