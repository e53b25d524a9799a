//! Taking due webhooks out of the outbox, beside all that was delivered before: who has something due, and a lease on a few.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ussd_status::domain::clock::{Clock, SystemClock};
use ussd_status::store::{Capacity, Store};

use super::super::database::open_store;
use super::super::load::Measured;
use super::super::report::Goal;
use super::hostile::owe;
use super::{Run, text};

/// Deliveries that were made before, at most.
const DELIVERED: usize = 1_000_000;
/// Deliveries that are due at the same time.
const DUE: usize = 2_000;
/// As many as an endpoint gets at a time.
const TAKEN: i64 = 8;
/// Claims that are timed.
pub const CLAIMS: usize = 100;

/// The median time of one look and claim. No service may run meanwhile, which would claim too.
pub fn claims(run: &mut Run<'_>) {
    let outbox = Outbox::fill(run);
    let times: Vec<Duration> = (0..CLAIMS).map(|_| outbox.claim()).collect();
    let taken = times.iter().sum();
    let median = Measured::of(times, taken).quantile(0.5);
    run.figure("claim of 8 webhooks", median, "ms", None, Goal::Shown);
    outbox.empty(run);
}

/// An endpoint with much behind it and much due.
pub struct Outbox {
    runtime: tokio::runtime::Runtime,
    store: Arc<dyn Store>,
    endpoint: String,
    capacity: Capacity,
}

impl Outbox {
    pub fn fill(run: &Run<'_>) -> Self {
        let partner = &run.owner.partner;
        let create = [
            "webhook",
            "create",
            "--partner",
            partner,
            "--url",
            "http://127.0.0.1:9/",
        ];
        let endpoint = text(&run.program.run(&create), "id");
        owe(run.database, partner, &endpoint, DUE, "pending");
        owe(run.database, partner, &endpoint, DELIVERED, "delivered");
        run.database.settle();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            store: runtime.block_on(open_store(run.database)),
            runtime,
            capacity: Capacity {
                partner_id: partner.parse().unwrap(),
                endpoint_id: endpoint.parse().unwrap(),
                free: TAKEN,
            },
            endpoint,
        }
    }

    /// Looks who has something due and takes a few; how long both took.
    pub fn claim(&self) -> Duration {
        self.runtime.block_on(async {
            let now = SystemClock.now();
            let begun = Instant::now();
            assert_eq!(self.store.list_due_endpoints(now).await.unwrap().len(), 1);
            let claimed = self.store.claim_deliveries(vec![self.capacity], now).await;
            assert_eq!(i64::try_from(claimed.unwrap().len()).unwrap(), TAKEN);
            begun.elapsed()
        })
    }

    /// Leaves the database as it was before.
    pub fn empty(self, run: &Run<'_>) {
        drop(self.store);
        run.database.execute("DELETE FROM deliveries");
        run.program.run(&["webhook", "remove", &self.endpoint]);
        run.database.settle();
    }
}
