//! Partners and their keys.

use async_trait::async_trait;

use crate::domain::clock::Instant;
use crate::domain::identity::{KeyId, PartnerId};
use crate::domain::partner::{ApiKey, Partner};
use crate::store::{Audit, StoreError};

/// A key together with its partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// The key.
    pub key: ApiKey,
    /// Whose.
    pub partner: Partner,
}

/// Who may ask, and by which key.
#[async_trait]
pub trait PartnerStore: Send + Sync + 'static {
    /// Keeps a new partner and its first key.
    async fn insert_partner(
        &self,
        partner: Partner,
        key: ApiKey,
        audit: Audit,
    ) -> Result<(), StoreError>;
    /// All partners, oldest first.
    async fn list_partners(&self) -> Result<Vec<Partner>, StoreError>;
    /// Suspends a partner at an instant, or resumes it; false if there is none.
    async fn set_partner_suspended(
        &self,
        id: PartnerId,
        at: Option<Instant>,
        audit: Audit,
    ) -> Result<bool, StoreError>;
    /// Keeps a new key.
    async fn insert_key(&self, key: ApiKey, audit: Audit) -> Result<(), StoreError>;
    /// A partner's keys, oldest first.
    async fn list_keys(&self, partner: PartnerId) -> Result<Vec<ApiKey>, StoreError>;
    /// Revokes a key; false if there is none.
    async fn revoke_key(&self, id: KeyId, at: Instant, audit: Audit) -> Result<bool, StoreError>;
    /// The key with this digest, valid or not, and its partner.
    async fn find_key(&self, digest: String) -> Result<Option<KeyHolder>, StoreError>;
}
