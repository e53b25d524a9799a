//! The ledger behind its queue, and the feeds it writes.

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{Adapter, DIALECT, feed};
use crate::domain::clock::Instant;
use crate::domain::identity::{AccountId, CallbackId, PartnerId};
use crate::domain::ledger::{Command, Outcome, Unclaimed};
use crate::domain::timeline::StatusEvent;
use crate::domain::transaction::{IdField, Provider};
use crate::store::ledger::load;
use crate::store::ledger::working_set::kept;
use crate::store::rows::IdRow;
use crate::store::rows::events::{EventRow, HeadRow};
use crate::store::rows::ledger::UnclaimedRow;
use crate::store::{CommitNotice, EventPage, LedgerStore, StoreError, search_sql};

#[async_trait]
impl LedgerStore for Adapter {
    async fn record(&self, command: Command) -> Result<Outcome, StoreError> {
        let partner = command.partner_id();
        let outcome = match &self.batcher {
            Some(batcher) => batcher.record(command).await,
            None => Err(StoreError::Unavailable("no writer is running".to_owned())),
        };
        if let Some(partner) = partner {
            self.record_write(partner);
        }
        outcome
    }

    async fn list_unclaimed(
        &self,
        before: Instant,
        after: CallbackId,
        limit: i64,
    ) -> Result<Vec<Unclaimed>, StoreError> {
        let rows = self
            .rows::<UnclaimedRow, _>(load::unclaimed(before, after, limit))
            .await?;
        // One row that cannot be read must not hold up the others.
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let account_id = row.account_id.map(|id| AccountId(id.0));
                let kept = kept(row.kept)
                    .inspect_err(|error| tracing::error!(%error, "a kept callback"))
                    .ok()??;
                Some(Unclaimed { kept, account_id })
            })
            .collect())
    }

    fn commits(&self) -> broadcast::Receiver<CommitNotice> {
        self.commits.subscribe()
    }

    async fn list_events(
        &self,
        partner: PartnerId,
        after: i64,
        limit: i64,
    ) -> Result<EventPage, StoreError> {
        // The head first: an event that is missing below it has been removed, it is not one to come.
        let heads = self.list_feed_heads(vec![partner]).await?;
        let head = heads.into_iter().next().map_or(0, |(_, head)| head);
        if head <= after {
            return Ok(EventPage::default());
        }
        let rows = self
            .rows::<EventRow, _>(feed::events(partner, after, limit))
            .await?;
        let events: Result<_, StoreError> = rows.into_iter().map(StatusEvent::try_from).collect();
        Ok(EventPage::new(after, head, events?))
    }

    async fn list_feed_heads(
        &self,
        partners: Vec<PartnerId>,
    ) -> Result<Vec<(PartnerId, i64)>, StoreError> {
        let rows = self.rows::<HeadRow, _>(feed::heads(&partners)).await?;
        let heads = rows.into_iter();
        Ok(heads
            .map(|row| (PartnerId(row.partner_id.0), row.last_sequence))
            .collect())
    }

    async fn list_route_owners(
        &self,
        provider: Provider,
        ids: Vec<(IdField, String)>,
    ) -> Result<Vec<PartnerId>, StoreError> {
        let statement = search_sql::route_owners(DIALECT, provider.as_str(), &ids);
        let rows = self.rows::<IdRow, _>(statement).await?;
        Ok(rows.into_iter().map(|row| PartnerId(row.id.0)).collect())
    }
}
