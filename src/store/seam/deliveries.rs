//! The outbox: what is due, what came of it, and what is sent again.

use async_trait::async_trait;

use crate::domain::clock::Instant;
use crate::domain::delivery::{Attempt, ClaimedDelivery, DueEndpoint};
use crate::domain::delivery_record::{
    DeliveryPage, DeliveryRecord, OneReplayed, RangeReplayed, ReplayRange,
};
use crate::domain::identity::{DeliveryId, EndpointId, PartnerId};
use crate::store::{Audit, StoreError};

/// How many due deliveries an endpoint may take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Its partner.
    pub partner_id: PartnerId,
    /// How many.
    pub free: i64,
}

/// What endpoints are owed, from the commit that owes it to the last attempt.
#[async_trait]
pub trait DeliveryStore: Send + Sync + 'static {
    /// An endpoint's deliveries with their attempts, the latest event first.
    async fn list_deliveries(
        &self,
        partner: PartnerId,
        endpoint: EndpointId,
        page: DeliveryPage,
    ) -> Result<Vec<DeliveryRecord>, StoreError>;
    /// One delivery with its attempts.
    async fn find_delivery(
        &self,
        partner: PartnerId,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRecord>, StoreError>;
    /// Makes a delivery pending again; its attempts count on.
    async fn requeue_delivery(
        &self,
        partner: PartnerId,
        id: DeliveryId,
        now: Instant,
        audit: Audit,
    ) -> Result<OneReplayed, StoreError>;
    /// Makes an endpoint's deliveries of a range of events pending again, and makes those it never had, in the order of
    /// the feed; what is pending already stays as it is.
    async fn requeue_range(
        &self,
        partner: PartnerId,
        endpoint: EndpointId,
        range: ReplayRange,
        now: Instant,
        audit: Audit,
    ) -> Result<RangeReplayed, StoreError>;
    /// The endpoints that have a delivery due.
    async fn list_due_endpoints(&self, now: Instant) -> Result<Vec<DueEndpoint>, StoreError>;
    /// Takes a lease on due deliveries, up to each endpoint's capacity, in order within a transaction.
    async fn claim_deliveries(
        &self,
        capacities: Vec<Capacity>,
        now: Instant,
    ) -> Result<Vec<ClaimedDelivery>, StoreError>;
    /// Records how attempts ended and what follows.
    async fn record_attempts(&self, attempts: Vec<Attempt>) -> Result<(), StoreError>;
    /// Gives back every lease: on SQLite, at start, where no other process can hold one.
    async fn requeue_leased(&self, now: Instant) -> Result<u64, StoreError>;
}
