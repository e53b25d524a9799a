//! Webhook endpoints.

use async_trait::async_trait;

use crate::domain::clock::Instant;
use crate::domain::delivery::{Endpoint, EndpointChange, EndpointKey};
use crate::domain::identity::{EndpointId, PartnerId};
use crate::store::{Audit, StoreError};

/// Where partners want to be told.
#[async_trait]
pub trait EndpointStore: Send + Sync + 'static {
    /// Keeps a new webhook endpoint.
    async fn insert_endpoint(&self, endpoint: Endpoint, audit: Audit) -> Result<(), StoreError>;
    /// Keeps a new webhook endpoint unless its partner has `max` already; whether it did.
    async fn insert_endpoint_within(
        &self,
        endpoint: Endpoint,
        max: i64,
        audit: Audit,
    ) -> Result<bool, StoreError>;
    /// A partner's endpoints, oldest first.
    async fn list_endpoints(&self, partner: PartnerId) -> Result<Vec<Endpoint>, StoreError>;
    /// One endpoint, of this partner if one is named. Those for one transaction only are not found.
    async fn find_endpoint(
        &self,
        partner: Option<PartnerId>,
        id: EndpointId,
    ) -> Result<Option<Endpoint>, StoreError>;
    /// Changes an endpoint; how it then stands. One that is disabled is owed nothing any more.
    async fn update_endpoint(
        &self,
        partner: PartnerId,
        id: EndpointId,
        change: EndpointChange,
        now: Instant,
        audit: Audit,
    ) -> Result<Option<Endpoint>, StoreError>;
    /// Puts a new key in the place of the present one, which goes on signing for a while.
    async fn rotate_endpoint_secret(
        &self,
        partner: PartnerId,
        id: EndpointId,
        key: EndpointKey,
        audit: Audit,
    ) -> Result<Option<Endpoint>, StoreError>;
    /// Removes an endpoint; false if there is none.
    async fn remove_endpoint(
        &self,
        id: EndpointId,
        at: Instant,
        audit: Audit,
    ) -> Result<bool, StoreError>;
}
