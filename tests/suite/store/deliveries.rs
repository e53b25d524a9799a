//! The outbox: claims, leases, order, and what attempts lead to; and forgetting what is old.

use std::collections::HashSet;

use chrono::Duration;
use futures_util::future::join_all;
use ussd_status::domain::clock::Instant;
use ussd_status::domain::delivery::{
    Attempt, AttemptVerdict, ClaimedDelivery, LEASE, ORDER_PATIENCE,
};
use ussd_status::domain::identity::{EndpointId, PartnerId};
use ussd_status::domain::status_update::ResultClass;
use ussd_status::store::{Capacity, Retention, Store};

use crate::support::TestStore;
use crate::support::build::{audit, event_of, everything, registration, registration_with, stk};

on_both_databases!(
    a_claim_carries_all_a_sender_needs,
    an_outbox_that_has_just_filled_is_claimed_from_at_once,
    two_claimers_never_take_the_same_delivery,
    deliveries_of_a_transaction_go_in_order,
    a_late_delivery_is_overtaken_after_five_minutes,
    a_lease_that_runs_out_gives_the_delivery_back,
    leases_are_given_back_at_once_when_asked,
    an_endpoint_takes_no_more_than_its_capacity,
    a_retry_waits_and_a_dead_letter_stays,
    a_late_verdict_does_not_undo_a_delivery,
    a_delivery_whose_event_is_gone_ends,
    a_gone_endpoint_is_disabled,
    a_removed_endpoint_is_owed_nothing,
    an_endpoint_that_ends_while_payments_move_is_owed_nothing,
    an_endpoint_hears_only_what_happens_after_it,
    housekeeping_removes_only_what_is_old,
    housekeeping_goes_in_small_batches,
    what_waits_is_never_left_without_its_callback,
);

fn take(partner_id: PartnerId, endpoint_id: EndpointId, free: i64) -> Vec<Capacity> {
    vec![Capacity {
        endpoint_id,
        partner_id,
        free,
    }]
}

fn attempt(of: &ClaimedDelivery, at: Instant, verdict: AttemptVerdict) -> Attempt {
    Attempt {
        delivery_id: of.id,
        endpoint_id: of.endpoint.id,
        partner_id: of.endpoint.partner_id,
        number: of.attempts + 1,
        at,
        duration_ms: 12,
        status: Some(200),
        error: None,
        response: Some("o\0k".to_owned()),
        verdict,
        failing_since: of.endpoint.failing_since,
    }
}

async fn claim(db: &TestStore, capacities: Vec<Capacity>) -> Vec<ClaimedDelivery> {
    db.store
        .claim_deliveries(capacities, db.now())
        .await
        .unwrap()
}

async fn record(db: &TestStore, of: &[ClaimedDelivery], verdict: AttemptVerdict) {
    let attempts = of
        .iter()
        .map(|delivery| attempt(delivery, db.now(), verdict))
        .collect();
    db.store.record_attempts(attempts).await.unwrap();
}

/// Of a table that has just filled the planner knows nothing: a claim must not compare every delivery with every other.
async fn an_outbox_that_has_just_filled_is_claimed_from_at_once(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration(partner, "a")).await;
    let (id, numbers) = if db.store.is_embedded() {
        (
            "printf('00000000-0000-7000-8000-%012x', i)",
            "(WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 10000) SELECT i FROM g)",
        )
    } else {
        ("gen_random_uuid()", "generate_series(1, 10000) AS g(i)")
    };
    db.execute(&format!(
        "INSERT INTO transaction_events (partner_id, transaction_id, id, at, kind, from_status, to_status, source, \
         sequence, amount_minor, currency) SELECT partner_id, {id}, {id}, at, kind, from_status, to_status, source, \
         sequence + i, amount_minor, currency FROM transaction_events, {numbers}"
    ))
    .await;
    db.execute(&format!(
        "INSERT INTO deliveries (partner_id, id, endpoint_id, transaction_id, sequence, state, attempts, due_at, \
         is_leased, created_at) SELECT partner_id, {id}, endpoint_id, {id}, sequence + i, state, attempts, due_at, \
         is_leased, created_at FROM deliveries, {numbers}"
    ))
    .await;
    let started = std::time::Instant::now();
    let claimed = claim(&db, take(partner, endpoint, 8)).await;
    assert_eq!(claimed.len(), 8);
    record(&db, &claimed, AttemptVerdict::Delivered).await;
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

async fn due(db: &TestStore) -> Vec<(PartnerId, EndpointId)> {
    let due = db.store.list_due_endpoints(db.now()).await.unwrap();
    due.into_iter()
        .map(|endpoint| (endpoint.partner_id, endpoint.endpoint_id))
        .collect()
}

async fn a_claim_carries_all_a_sender_needs(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    assert!(due(&db).await.is_empty());
    let row = db.register(registration_with(partner, "a", "c")).await;
    assert_eq!(due(&db).await, [(partner, endpoint)]);
    let claimed = claim(&db, take(partner, endpoint, 5)).await;
    assert_eq!(claimed.len(), 1);
    let one = &claimed[0];
    assert_eq!((one.endpoint.id, one.attempts), (endpoint, 0));
    assert_eq!(one.endpoint.sealed_secret, [1, 2, 3]);
    assert_eq!(one.endpoint.url, "https://partner.example/hook");
    assert_eq!(one.created_at, db.now());
    let event = event_of(one);
    assert_eq!(event.event_type(), "transaction.registered");
    assert_eq!((event.transaction_id, event.sequence), (row.id, 1));
    assert_eq!(event.conversation_id, row.ids.conversation_id);
    assert_eq!(event.client_request_id, row.client_request_id);
    assert_eq!((event.amount, &event.currency), (row.amount, &row.currency));
    assert_eq!((&event.msisdn, event.status), (&row.msisdn, row.status));
    assert_eq!(event.updated_at, row.updated_at);
    assert!(due(&db).await.is_empty(), "it is leased");
    record(&db, &claimed, AttemptVerdict::Delivered).await;
    db.advance(Duration::days(3));
    assert!(due(&db).await.is_empty());

    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    let paid = claim(&db, take(partner, endpoint, 5)).await;
    assert_eq!(event_of(&paid[0]).event_type(), "transaction.success");
    assert_eq!(event_of(&paid[0]).receipt.as_deref(), Some("Rc"));
    assert_eq!(event_of(&paid[0]).result_code.as_deref(), Some("0"));
    assert_eq!(event_of(&paid[0]).updated_at, db.now());
    assert!(event_of(&paid[0]).id > event.id);
    assert!(claim(&db, Vec::new()).await.is_empty());
}

async fn two_claimers_never_take_the_same_delivery(db: TestStore) {
    let partner = db.partner().await;
    let endpoints = [
        db.endpoint(partner, &[]).await,
        db.endpoint(partner, &[]).await,
    ];
    let names: Vec<String> = (0..120).map(|number| number.to_string()).collect();
    join_all(
        names
            .iter()
            .map(|name| db.register(registration(partner, name))),
    )
    .await;
    let stores = [db.store.clone(), db.another_store().await];
    let mut seen = HashSet::new();
    loop {
        let work = (0..8).map(|number| {
            let capacities = endpoints
                .iter()
                .flat_map(|endpoint| take(partner, *endpoint, 10))
                .collect();
            stores[number % 2].claim_deliveries(capacities, db.now())
        });
        let claimed: Vec<ClaimedDelivery> = join_all(work)
            .await
            .into_iter()
            .flat_map(Result::unwrap)
            .collect();
        if claimed.is_empty() && due(&db).await.is_empty() {
            break;
        }
        for delivery in &claimed {
            assert!(seen.insert(delivery.id), "taken twice");
        }
        record(&db, &claimed, AttemptVerdict::Delivered).await;
    }
    assert_eq!(seen.len(), 240);
}

async fn deliveries_of_a_transaction_go_in_order(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    for name in ["a", "b"] {
        db.register(registration_with(partner, name, name)).await;
        db.receive(stk(partner, name, ResultClass::Success, db.now()))
            .await;
    }
    let first = claim(&db, take(partner, endpoint, 9)).await;
    let sequences = |claimed: &[ClaimedDelivery]| -> Vec<i64> {
        claimed
            .iter()
            .map(|delivery| event_of(delivery).sequence)
            .collect()
    };
    assert_eq!(sequences(&first), [1, 3]);
    assert!(claim(&db, take(partner, endpoint, 9)).await.is_empty());
    record(&db, &first[..1], AttemptVerdict::Delivered).await;
    assert_eq!(
        sequences(&claim(&db, take(partner, endpoint, 9)).await),
        [2]
    );
    // A retry of the first holds the second back; a dead letter does not.
    let at = db.now() + Duration::seconds(5);
    record(&db, &first[1..], AttemptVerdict::RetryAt(at)).await;
    assert!(claim(&db, take(partner, endpoint, 9)).await.is_empty());
    db.advance(Duration::seconds(6));
    let again = claim(&db, take(partner, endpoint, 9)).await;
    assert_eq!((sequences(&again), again[0].attempts), (vec![3], 1));
    record(&db, &again, AttemptVerdict::Dead).await;
    assert_eq!(
        sequences(&claim(&db, take(partner, endpoint, 9)).await),
        [4]
    );
}

async fn a_late_delivery_is_overtaken_after_five_minutes(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration_with(partner, "a", "c")).await;
    let first = claim(&db, take(partner, endpoint, 9)).await;
    let later = db.now() + Duration::hours(1);
    record(&db, &first, AttemptVerdict::RetryAt(later)).await;
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    db.advance(ORDER_PATIENCE - Duration::milliseconds(1));
    assert!(claim(&db, take(partner, endpoint, 9)).await.is_empty());
    db.advance(Duration::milliseconds(1));
    let second = claim(&db, take(partner, endpoint, 9)).await;
    assert_eq!(event_of(&second[0]).sequence, 2);
}

async fn a_lease_that_runs_out_gives_the_delivery_back(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration(partner, "a")).await;
    let first = claim(&db, take(partner, endpoint, 9)).await;
    db.advance(LEASE - Duration::milliseconds(1));
    assert!(due(&db).await.is_empty());
    db.advance(Duration::milliseconds(1));
    assert_eq!(due(&db).await, [(partner, endpoint)]);
    let again = claim(&db, take(partner, endpoint, 9)).await;
    assert_eq!(again[0].id, first[0].id);
}

async fn leases_are_given_back_at_once_when_asked(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    for name in ["a", "b", "c"] {
        db.register(registration(partner, name)).await;
    }
    let claimed = claim(&db, take(partner, endpoint, 2)).await;
    record(
        &db,
        &claimed[..1],
        AttemptVerdict::RetryAt(db.now() + Duration::hours(1)),
    )
    .await;
    assert_eq!(db.store.requeue_leased(db.now()).await.unwrap(), 1);
    assert_eq!(
        claim(&db, take(partner, endpoint, 9)).await.len(),
        2,
        "the retry waits on"
    );
    assert_eq!(db.store.is_embedded(), db.is_sqlite());
}

async fn an_endpoint_takes_no_more_than_its_capacity(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    let slow = db.endpoint(partner, &[]).await;
    let quick = db.endpoint(other, &[]).await;
    for number in 0..6 {
        db.register(registration(partner, &number.to_string()))
            .await;
        db.register(registration(other, &number.to_string())).await;
    }
    let mut capacities = take(partner, slow, 2);
    capacities.extend(take(other, quick, 4));
    let claimed = claim(&db, capacities).await;
    let of = |endpoint: EndpointId| {
        let mut sequences: Vec<i64> = claimed
            .iter()
            .filter(|delivery| delivery.endpoint.id == endpoint)
            .map(|delivery| event_of(delivery).sequence)
            .collect();
        sequences.sort_unstable();
        sequences
    };
    assert_eq!(of(slow), [1, 2], "the oldest first");
    assert_eq!(of(quick), [1, 2, 3, 4]);
    assert!(claim(&db, take(partner, slow, 0)).await.is_empty());
    assert!(
        claim(&db, take(other, slow, 9)).await.is_empty(),
        "not its partner's"
    );
}

async fn a_retry_waits_and_a_dead_letter_stays(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration(partner, "a")).await;
    for number in 0..3 {
        let claimed = claim(&db, take(partner, endpoint, 9)).await;
        assert_eq!(claimed[0].attempts, number);
        let at = db.now() + Duration::minutes(5);
        record(&db, &claimed, AttemptVerdict::RetryAt(at)).await;
        db.advance(Duration::minutes(5));
    }
    let claimed = claim(&db, take(partner, endpoint, 9)).await;
    record(&db, &claimed, AttemptVerdict::Dead).await;
    db.advance(Duration::days(9));
    assert!(due(&db).await.is_empty());
    assert_eq!(
        db.store.count_backlog().await.unwrap().pending_deliveries,
        0
    );
    let attempts = db
        .rows(
            &["number", "status", "duration_ms", "response"],
            "FROM delivery_attempts ORDER BY number",
        )
        .await;
    assert_eq!(attempts.len(), 4);
    assert_eq!(
        attempts[3],
        [4.into(), 200.into(), 12.into(), "o\u{fffd}k".into()] as [serde_json::Value; 4]
    );
}

async fn a_late_verdict_does_not_undo_a_delivery(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration(partner, "a")).await;
    let slow = claim(&db, take(partner, endpoint, 9)).await;
    db.advance(LEASE);
    let quick = claim(&db, take(partner, endpoint, 9)).await;
    record(&db, &quick, AttemptVerdict::Delivered).await;
    record(&db, &slow, AttemptVerdict::RetryAt(db.now())).await;
    assert!(due(&db).await.is_empty());
    assert_eq!(
        db.count("FROM deliveries WHERE state = 'delivered'").await,
        1
    );
}

/// Housekeeping may take an event at the moment when its delivery is made pending again.
async fn a_delivery_whose_event_is_gone_ends(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    for name in ["a", "b"] {
        db.register(registration(partner, name)).await;
    }
    db.execute("DELETE FROM transaction_events WHERE sequence = 1")
        .await;
    assert_eq!(claim(&db, take(partner, endpoint, 9)).await.len(), 1);
    let left = db
        .rows(&["state"], "FROM deliveries ORDER BY sequence")
        .await;
    assert_eq!(left, [["dead"], ["pending"]]);
}

async fn a_gone_endpoint_is_disabled(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration(partner, "a")).await;
    db.register(registration(partner, "b")).await;
    let claimed = claim(&db, take(partner, endpoint, 1)).await;
    record(&db, &claimed, AttemptVerdict::Gone).await;
    assert!(due(&db).await.is_empty());
    let endpoints = db.store.list_endpoints(partner).await.unwrap();
    assert_eq!(endpoints[0].disabled_at, Some(db.now()));
    db.register(registration(partner, "c")).await;
    assert_eq!(db.count("FROM deliveries").await, 2, "it gets nothing new");
}

async fn a_removed_endpoint_is_owed_nothing(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration(partner, "a")).await;
    let removed = db.store.remove_endpoint(endpoint, db.now(), audit()).await;
    assert!(removed.unwrap());
    assert!(db.store.list_endpoints(partner).await.unwrap().is_empty());
    assert!(due(&db).await.is_empty());
    assert!(claim(&db, take(partner, endpoint, 9)).await.is_empty());
    assert_eq!(
        db.store.count_backlog().await.unwrap().pending_deliveries,
        0
    );
    db.register(registration(partner, "b")).await;
    assert_eq!(db.count("FROM deliveries").await, 1);
    let again = db.store.remove_endpoint(endpoint, db.now(), audit()).await;
    assert!(!again.unwrap());
}

async fn an_endpoint_that_ends_while_payments_move_is_owed_nothing(db: TestStore) {
    let partner = db.partner().await;
    for round in 0..30 {
        let endpoint = db.endpoint(partner, &[]).await;
        db.register(registration(partner, &format!("{round}")))
            .await;
        let claimed = claim(&db, take(partner, endpoint, 1)).await;
        let moves = join_all((0..8).map(|number| {
            let name = format!("{round}-{number}");
            let db = &db;
            async move { db.register(registration(partner, &name)).await }
        }));
        let ends = async {
            if round % 2 == 0 {
                let removed = db.store.remove_endpoint(endpoint, db.now(), audit());
                assert!(removed.await.unwrap());
            } else {
                record(&db, &claimed, AttemptVerdict::Gone).await;
            }
        };
        futures_util::future::join(moves, ends).await;
        let owed = db.count("FROM deliveries WHERE state = 'pending'").await;
        assert_eq!(owed, 0, "round {round}");
    }
}

async fn an_endpoint_hears_only_what_happens_after_it(db: TestStore) {
    let partner = db.partner().await;
    db.register(registration_with(partner, "a", "c")).await;
    let wants = ["transaction.success", "transaction.failed"];
    let endpoint = db.endpoint(partner, &wants).await;
    let listed = db.store.list_endpoints(partner).await.unwrap();
    assert_eq!(listed[0].events, wants);
    db.register(registration(partner, "b")).await;
    assert!(due(&db).await.is_empty());
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    assert_eq!(claim(&db, take(partner, endpoint, 9)).await.len(), 1);
}

fn before(at: Instant) -> Retention {
    Retention {
        callbacks_before: at,
        deliveries_before: at,
        events_before: at,
        hours_before: at,
        minutes_before: at,
    }
}

async fn housekeeping_removes_only_what_is_old(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    for name in ["a", "b"] {
        db.register(registration_with(partner, name, name)).await;
        db.receive(stk(partner, name, ResultClass::Pending, db.now()))
            .await;
    }
    let waiting = stk(partner, "nobody's", ResultClass::Success, db.now());
    db.receive(waiting).await;
    // One is delivered, the other still owed.
    let claimed = claim(&db, take(partner, endpoint, 1)).await;
    record(&db, &claimed, AttemptVerdict::Delivered).await;
    db.advance(Duration::hours(72));
    db.register(registration_with(partner, "c", "c")).await;
    db.receive(stk(partner, "c", ResultClass::Pending, db.now()))
        .await;

    let old = db
        .store
        .remove_expired(before(crate::support::start()))
        .await;
    assert_eq!(old.unwrap(), 0, "nothing is that old");
    let cut = db.now() - Duration::hours(1);
    assert!(db.store.remove_expired(before(cut)).await.unwrap() > 0);
    let states = db.rows(&["state"], "FROM callbacks ORDER BY id").await;
    assert_eq!(states, [["noted"]], "one that waited too long goes too");
    assert_eq!(db.count("FROM waiting_callbacks").await, 0);
    assert_eq!(db.count("FROM delivery_attempts").await, 0);
    assert_eq!(
        db.count("FROM deliveries").await,
        2,
        "the owed one and the new one"
    );
    let events = db
        .rows(
            &["sequence"],
            "FROM transaction_events WHERE sequence IS NOT NULL ORDER BY 1",
        )
        .await;
    assert_eq!(events, [[2], [3]], "what is still owed can still be told");
    assert_eq!(db.count("FROM counters WHERE period = 'hour'").await, 1);
    let listing = db.list(partner, everything()).await;
    assert_eq!(listing.total, 3);
    assert_eq!(listing.statistics.unwrap().recent_activity_24h, 1);
    assert_eq!(claim(&db, take(partner, endpoint, 9)).await.len(), 2);
}

async fn housekeeping_goes_in_small_batches(db: TestStore) {
    let partner = db.partner().await;
    let store: &dyn Store = db.store.as_ref();
    let told = (0..600).map(|_| {
        let told = stk(partner, "c", ResultClass::Pending, db.now());
        db.receive(ussd_status::domain::ledger::Arrival {
            flagged: Some("test".to_owned()),
            ..told
        })
    });
    join_all(told).await;
    db.advance(Duration::hours(1));
    assert_eq!(store.remove_expired(before(db.now())).await.unwrap(), 500);
    assert_eq!(store.remove_expired(before(db.now())).await.unwrap(), 100);
    assert_eq!(store.remove_expired(before(db.now())).await.unwrap(), 0);
}

async fn what_waits_is_never_left_without_its_callback(db: TestStore) {
    let partner = db.partner().await;
    let waiting: Vec<_> = (0..700)
        .map(|number| {
            stk(
                partner,
                &format!("w{number}"),
                ResultClass::Success,
                db.now(),
            )
        })
        .collect();
    join_all(waiting.into_iter().map(|arrival| db.receive(arrival))).await;
    // Rows lie in no promised order: this one moves to the end.
    db.execute("UPDATE callbacks SET note = 'moved' WHERE id = (SELECT id FROM callbacks ORDER BY id LIMIT 1)")
        .await;
    db.advance(Duration::hours(1));
    let orphans = "FROM waiting_callbacks w WHERE NOT EXISTS (SELECT 1 FROM callbacks c WHERE c.id = w.callback_id)";
    let mut steps = 0;
    while db.store.remove_expired(before(db.now())).await.unwrap() > 0 {
        assert_eq!(db.count(orphans).await, 0, "step {steps}");
        steps += 1;
    }
    assert!(steps >= 2);
    assert_eq!(db.count("FROM waiting_callbacks").await, 0);
    assert_eq!(db.count("FROM callbacks").await, 0);
}
