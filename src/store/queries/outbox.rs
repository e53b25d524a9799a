//! The outbox: what workers claim and record is in `deliveries`, what partners look at and have sent again in `replay`.

use async_trait::async_trait;

use super::store::on;
use super::{Adapter, deliveries, notices, replay};
use crate::domain::clock::Instant;
use crate::domain::delivery::{Attempt, ClaimedDelivery, DueEndpoint};
use crate::domain::delivery_record::{
    DeliveryPage, DeliveryRecord, OneReplayed, RangeReplayed, ReplayRange,
};
use crate::domain::identity::{DeliveryId, EndpointId, PartnerId};
use crate::store::rows::endpoints::DueEndpointRow;
use crate::store::{Audit, Capacity, DeliveryStore, StoreError};

#[async_trait]
impl DeliveryStore for Adapter {
    async fn list_deliveries(
        &self,
        partner: PartnerId,
        endpoint: EndpointId,
        page: DeliveryPage,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        on!(
            self.reader,
            replay::list_deliveries(partner, endpoint, page)
        )
    }

    async fn find_delivery(
        &self,
        partner: PartnerId,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        on!(self.reader, replay::find_delivery(partner, id))
    }

    async fn requeue_delivery(
        &self,
        partner: PartnerId,
        id: DeliveryId,
        now: Instant,
        audit: Audit,
    ) -> Result<OneReplayed, StoreError> {
        on!(self.writer, replay::requeue_one(partner, id, now, audit))
    }

    async fn requeue_range(
        &self,
        partner: PartnerId,
        endpoint: EndpointId,
        range: ReplayRange,
        now: Instant,
        audit: Audit,
    ) -> Result<RangeReplayed, StoreError> {
        if range.dry_run {
            return on!(
                self.reader,
                replay::requeue_range(partner, endpoint, range, now, audit)
            );
        }
        on!(
            self.writer,
            replay::requeue_range(partner, endpoint, range, now, audit)
        )
    }

    async fn list_due_endpoints(&self, now: Instant) -> Result<Vec<DueEndpoint>, StoreError> {
        let rows = self
            .rows::<DueEndpointRow, _>(deliveries::due_endpoints(now))
            .await?;
        Ok(rows.into_iter().map(DueEndpoint::from).collect())
    }

    async fn claim_deliveries(
        &self,
        capacities: Vec<Capacity>,
        now: Instant,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        on!(self.writer, deliveries::take(capacities, now))
    }

    async fn record_attempts(&self, attempts: Vec<Attempt>) -> Result<(), StoreError> {
        if attempts
            .iter()
            .any(|attempt| attempt.verdict.ends_endpoint())
        {
            return on!(self.writer, notices::record_ending(attempts));
        }
        let adapter = self.clone();
        self.run(async move {
            adapter.execute_all(deliveries::attempts(&attempts)).await?;
            Ok(())
        })
        .await
    }

    async fn requeue_leased(&self, now: Instant) -> Result<u64, StoreError> {
        self.execute_and_count(vec![deliveries::requeue(now)]).await
    }
}
