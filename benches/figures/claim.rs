//! Taking due webhooks out of the outbox, beside all that was delivered before: who has something due, and a lease on a few.

use std::time::Instant;

use ussd_status::domain::clock::{Clock, SystemClock};
use ussd_status::domain::identity::{EndpointId, PartnerId};
use ussd_status::store::Capacity;

use super::super::database::{block_on, open_store};
use super::super::report::Goal;
use super::hostile::owe;
use super::{Run, text};

/// Deliveries that were made before, at most.
const DELIVERED: usize = 1_000_000;
/// Deliveries that are due at the same time.
const DUE: usize = 2_000;
/// As many as an endpoint gets at a time.
const TAKEN: i64 = 8;
const CLAIMS: usize = 100;

/// The median time of one look and claim. No service may run meanwhile, which would claim too.
pub fn claims(run: &mut Run<'_>) {
    let partner = run.owner.partner.clone();
    let create = [
        "webhook",
        "create",
        "--partner",
        &partner,
        "--url",
        "http://127.0.0.1:9/",
    ];
    let endpoint = text(&run.program.run(&create), "id");
    owe(run.database, &partner, &endpoint, DUE, "pending");
    owe(run.database, &partner, &endpoint, DELIVERED, "delivered");
    run.database.settle();
    let partner_id: PartnerId = partner.parse().unwrap();
    let endpoint_id: EndpointId = endpoint.parse().unwrap();
    let mut times: Vec<f64> = block_on(async {
        let store = open_store(run.database).await;
        let mut times = Vec::new();
        for _ in 0..CLAIMS {
            let now = SystemClock.now();
            let begun = Instant::now();
            assert_eq!(store.list_due_endpoints(now).await.unwrap().len(), 1);
            let capacity = Capacity {
                partner_id,
                endpoint_id,
                free: TAKEN,
            };
            let claimed = store.claim_deliveries(vec![capacity], now).await.unwrap();
            assert_eq!(i64::try_from(claimed.len()).unwrap(), TAKEN);
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        times
    });
    times.sort_by(f64::total_cmp);
    run.figure(
        "claim of 8 webhooks",
        times[CLAIMS / 2],
        "ms",
        None,
        Goal::Shown,
    );
    run.database.execute("DELETE FROM deliveries");
    run.program.run(&["webhook", "remove", &endpoint]);
    run.database.settle();
}
