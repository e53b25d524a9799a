//! Takes due deliveries out of the outbox: leases them, has each attempted in a task of its own, and records what came
//! of it. A commit wakes it; looking again every now and then is what guarantees that nothing stays behind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::seq::SliceRandom;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::attempt::{Attempted, Means};
use super::breaker::Breakers;
use super::pace::Starts;
use super::recorder::Recorder;
use super::sender::Sender;
use crate::domain::clock::{Clock, Instant};
use crate::domain::delivery::{Attempt, AttemptVerdict, DueEndpoint};
use crate::domain::identity::{DeliveryId, EndpointId};
use crate::instances::{Instances, Part};
use crate::store::{Capacity, CommitNotice, Store, StoreError};
use crate::vault::Vault;

/// Requests at the same time in all.
pub const MAX_IN_FLIGHT: usize = 512;
/// How long the loop sleeps at most, milliseconds; by chance, so that several instances do not look together.
const LOOK_AGAIN_MS: std::ops::RangeInclusive<u64> = 250..=500;
/// How long a stopping dispatcher waits for requests under way: a little more than the longest may take.
const FAREWELL: Duration = Duration::from_secs(20);
/// How long it then tries to record what came of them.
const LAST_RECORDING: Duration = Duration::from_secs(5);

/// The worker.
pub struct Dispatcher {
    store: Arc<dyn Store>,
    means: Means,
    sends: JoinSet<Attempted>,
    /// What each task is about.
    under_way: HashMap<Id, (DeliveryId, EndpointId)>,
    recorder: Recorder,
    /// Endpoints whose last attempt failed.
    breakers: Breakers,
    /// When deliveries to endpoints with a limit a second were begun.
    starts: Starts,
    /// Who else delivers.
    instances: Option<Instances>,
}

impl Dispatcher {
    /// A dispatcher that has not begun. Without a vault nothing can be signed, and every attempt fails as such.
    pub fn new(
        store: Arc<dyn Store>,
        vault: Option<Arc<Vault>>,
        clock: Arc<dyn Clock>,
        sender: Sender,
    ) -> Self {
        Self {
            store,
            means: Means {
                vault,
                clock,
                sender,
            },
            sends: JoinSet::new(),
            under_way: HashMap::new(),
            recorder: Recorder::default(),
            breakers: Breakers::default(),
            starts: Starts::default(),
            instances: None,
        }
    }

    /// Shares what an endpoint may have at a time, or a second, with the other instances.
    pub fn among(mut self, instances: Instances) -> Self {
        self.instances = Some(instances);
        self
    }

    /// Works until cancelled; then lets requests under way end and records them.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut commits = Some(self.store.commits());
        self.free_leases().await;
        let (mut may_have_more, mut trouble) = (true, Trouble::default());
        while !cancel.is_cancelled() {
            self.collect_ended();
            // While that is written others are claimed and sent.
            self.recorder.begin(record_into(&self.store));
            if may_have_more {
                let begun = self.begin_due().await.map(|_| ());
                // Reading may go well while writing fails.
                if begun.is_err() || !self.recorder.has_failed() {
                    trouble.note(begun);
                }
            }
            let pause = Duration::from_millis(rand::random_range(LOOK_AGAIN_MS));
            may_have_more = tokio::select! {
                () = cancel.cancelled() => break,
                () = next_notice(&mut commits) => true,
                Some(recorded) = self.recorder.written() => {
                    // It may have freed the next event of a transaction, and places of an endpoint.
                    trouble.note(recorded.map(|_| ()))
                }
                Some(ended) = self.sends.join_next_with_id() => {
                    // Its place is free when it is recorded.
                    self.collect(ended);
                    false
                }
                () = tokio::time::sleep(pause) => true,
            };
        }
        self.finish().await;
    }

    /// Waits until an attempt that is under way has ended. Returns at once if there is none.
    async fn send_ended(&mut self) {
        if let Some(ended) = self.sends.join_next_with_id().await {
            self.collect(ended);
        }
    }

    /// On the embedded database nobody else can hold a lease, so those of a killed process are given back at once.
    async fn free_leases(&self) {
        if !self.store.is_embedded() {
            return;
        }
        match self.store.requeue_leased(self.means.clock.now()).await {
            Ok(0) => {}
            Ok(count) => info!(count, "webhook deliveries of the last run are due again"),
            Err(reason) => warn!(%reason, "leases of the last run run out by themselves"),
        }
    }

    fn collect_ended(&mut self) {
        while let Some(ended) = self.sends.try_join_next_with_id() {
            self.collect(ended);
        }
    }

    fn collect(&mut self, ended: Result<(Id, Attempted), JoinError>) {
        match ended {
            Ok((task, attempted)) => {
                self.under_way.remove(&task);
                self.learn(&attempted);
                self.recorder.push(attempted.attempt);
            }
            Err(reason) => {
                // Its lease runs out, and it is tried again.
                let about = self.under_way.remove(&reason.id());
                let delivery = about.map(|(delivery, _)| delivery.to_string());
                error!(%reason, delivery, "a webhook attempt broke off");
            }
        }
    }

    /// What an attempt says of its endpoint.
    fn learn(&mut self, attempted: &Attempted) {
        let attempt = &attempted.attempt;
        let endpoint = attempt.endpoint_id;
        match attempt.verdict {
            AttemptVerdict::Delivered => self.breakers.record_success(endpoint),
            AttemptVerdict::Gone | AttemptVerdict::GivenUp => self.breakers.forget(endpoint),
            AttemptVerdict::RetryAt(_) | AttemptVerdict::Dead => {
                let (asked, now) = (attempted.retry_after, self.means.clock.now());
                if self
                    .breakers
                    .record_failure(endpoint, attempt.at, asked, now)
                {
                    metrics::counter!("ussd_status_webhook_pauses_total").increment(1);
                    warn!(%endpoint, "a webhook endpoint is left alone for a while");
                }
            }
        }
    }

    async fn record(&mut self) -> Result<usize, StoreError> {
        self.recorder.flush(record_into(&self.store)).await
    }

    async fn begin_due(&mut self) -> Result<usize, StoreError> {
        let now = self.means.clock.now();
        let paused = u32::try_from(self.breakers.count_paused(now)).unwrap_or(u32::MAX);
        metrics::gauge!("ussd_status_webhook_endpoints_paused").set(paused);
        let room = MAX_IN_FLIGHT.saturating_sub(self.under_way.len() + self.recorder.len());
        if room == 0 {
            return Ok(0);
        }
        let due = self.store.list_due_endpoints(now).await?;
        let limited: HashSet<EndpointId> = due
            .iter()
            .filter(|endpoint| endpoint.pace.rate_per_second.is_some())
            .map(|endpoint| endpoint.endpoint_id)
            .collect();
        let capacities = self.capacities(due, room, now);
        if capacities.is_empty() {
            return Ok(0);
        }
        let held: HashSet<DeliveryId> = self.held().map(|(delivery, _)| delivery).collect();
        let mut started = 0;
        for delivery in self.store.claim_deliveries(capacities, now).await? {
            // A lease may run out while the database cannot be told how the attempt ended.
            if held.contains(&delivery.id) {
                continue;
            }
            let about = (delivery.id, delivery.endpoint.id);
            if limited.contains(&about.1) {
                self.starts.began(about.1, self.means.clock.now());
            }
            let task = self.sends.spawn(self.means.clone().attempt(delivery));
            self.under_way.insert(task.id(), about);
            started += 1;
        }
        Ok(started)
    }

    /// What is being sent or waits to be recorded: it counts against its endpoint.
    fn held(&self) -> impl Iterator<Item = (DeliveryId, EndpointId)> {
        self.under_way.values().copied().chain(self.recorder.held())
    }

    /// Shares the room out: every endpoint that is due and neither full nor paused gets some, none more than its own
    /// limit.
    fn capacities(
        &mut self,
        due: Vec<DueEndpoint>,
        mut room: usize,
        now: Instant,
    ) -> Vec<Capacity> {
        let mut taken: HashMap<EndpointId, usize> = HashMap::new();
        for (_, endpoint) in self.held() {
            *taken.entry(endpoint).or_default() += 1;
        }
        let part = self.instances.as_ref().map_or(Part::WHOLE, Instances::part);
        let mut open = Vec::with_capacity(due.len());
        for endpoint in due {
            let id = endpoint.endpoint_id;
            let usual = usize::try_from(endpoint.pace.concurrency).unwrap_or(usize::MAX);
            let usual = part.share_of(usual, id.0.as_u128());
            let limit = self.breakers.limit(id, usual, now);
            let mut free = limit.saturating_sub(taken.get(&id).copied().unwrap_or_default());
            if let Some(rate) = endpoint.pace.rate_per_second {
                let rate = usize::try_from(rate).unwrap_or(usize::MAX);
                let rate = part.share_of(rate, id.0.as_u128());
                free = free.min(self.starts.free(id, rate, now));
            }
            if free > 0 {
                open.push((endpoint, free));
            }
        }
        // By chance, so that where there are more endpoints than room the same ones are not always last.
        open.shuffle(&mut rand::rng());
        let share = room.checked_div(open.len()).unwrap_or_default().max(1);
        let mut capacities = Vec::with_capacity(open.len());
        for (endpoint, free) in open {
            let free = free.min(share).min(room);
            if free > 0 {
                room -= free;
                capacities.push(Capacity {
                    partner_id: endpoint.partner_id,
                    endpoint_id: endpoint.endpoint_id,
                    free: i64::try_from(free).unwrap_or_default(),
                });
            }
        }
        capacities
    }

    /// Claims nothing more; what is under way ends and is recorded, within limits.
    async fn finish(&mut self) {
        let ending = async {
            while !self.sends.is_empty() {
                self.send_ended().await;
                // One that fails is tried again with the next, and at last below.
                let _ = self.record().await;
            }
        };
        if tokio::time::timeout(FAREWELL, ending).await.is_err() {
            warn!(
                count = self.sends.len(),
                "webhook attempts cut off; their leases run out within half a minute"
            );
        }
        let recording = async {
            while self.record().await.is_err() || self.recorder.len() > 0 {
                tokio::time::sleep(Duration::from_millis(*LOOK_AGAIN_MS.start())).await;
            }
        };
        if tokio::time::timeout(LAST_RECORDING, recording)
            .await
            .is_err()
        {
            error!(
                count = self.recorder.len(),
                "outcomes of webhook attempts could not be recorded: these deliveries will be made again"
            );
        }
    }
}

/// Whether the database failed lately.
#[derive(Default)]
struct Trouble(bool);

impl Trouble {
    /// Says when it begins and when it ends; whether all is well.
    fn note(&mut self, outcome: Result<(), StoreError>) -> bool {
        match &outcome {
            Ok(()) if self.0 => info!("webhooks are being dispatched again"),
            Err(reason) if !self.0 => warn!(%reason, "webhooks cannot be dispatched now"),
            _ => {}
        }
        self.0 = outcome.is_err();
        outcome.is_ok()
    }
}

fn record_into(
    store: &Arc<dyn Store>,
) -> impl Fn(Vec<Attempt>) -> BoxFuture<'static, Result<(), StoreError>> + use<> {
    let store = Arc::clone(store);
    move |attempts| {
        let store = Arc::clone(&store);
        Box::pin(async move { store.record_attempts(attempts).await })
    }
}

/// Returns when a commit has something for an endpoint, or when notices were missed.
async fn next_notice(commits: &mut Option<Receiver<CommitNotice>>) {
    loop {
        let Some(receiver) = commits else {
            return std::future::pending().await;
        };
        match receiver.recv().await {
            Ok(notice) if notice.endpoints.is_empty() => {}
            Ok(_) | Err(RecvError::Lagged(_)) => break,
            Err(RecvError::Closed) => *commits = None,
        }
    }
    // What else has come is answered by the same look.
    if let Some(receiver) = commits {
        *receiver = receiver.resubscribe();
    }
}

#[cfg(test)]
#[path = "dispatcher_tests.rs"]
mod tests;
