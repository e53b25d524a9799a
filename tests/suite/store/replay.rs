//! Asking for deliveries again, and since when an endpoint fails.

use chrono::Duration;
use ussd_status::domain::delivery::{Attempt, AttemptVerdict, ClaimedDelivery, FAILING_PATIENCE};
use ussd_status::domain::delivery_record::{
    DeliveryPage, DeliveryState, OneReplayed, REPLAY_MAX, RangeReplayed, ReplayRange,
};
use ussd_status::domain::identity::{EndpointId, PartnerId};
use ussd_status::domain::status_update::ResultClass;
use ussd_status::store::Capacity;

use crate::support::TestStore;
use crate::support::build::{audit, event_of, registration, registration_with, stk};

on_both_databases!(
    a_replayed_transaction_is_told_in_order,
    a_long_range_goes_in_steps_and_says_where_the_next_begins,
    what_is_being_sent_is_left_to_its_sender,
    a_success_ends_since_when_an_endpoint_fails,
    an_endpoint_that_is_given_up_is_owed_nothing,
);

async fn claim(
    db: &TestStore,
    partner_id: PartnerId,
    endpoint_id: EndpointId,
) -> Vec<ClaimedDelivery> {
    let capacity = Capacity {
        endpoint_id,
        partner_id,
        free: 5_000,
    };
    let claimed = db.store.claim_deliveries(vec![capacity], db.now());
    claimed.await.unwrap()
}

async fn record(db: &TestStore, of: &[ClaimedDelivery], verdict: AttemptVerdict) {
    let attempts = of.iter().map(|delivery| Attempt {
        delivery_id: delivery.id,
        endpoint_id: delivery.endpoint.id,
        partner_id: delivery.endpoint.partner_id,
        number: delivery.attempts + 1,
        at: db.now(),
        duration_ms: 1,
        status: None,
        error: None,
        response: None,
        verdict,
        failing_since: delivery.endpoint.failing_since,
    });
    db.store.record_attempts(attempts.collect()).await.unwrap();
}

fn all(db: &TestStore, dry_run: bool) -> ReplayRange {
    ReplayRange {
        since: db.now() - Duration::days(30),
        until: db.now(),
        only_failed: false,
        dry_run,
    }
}

async fn replay(
    db: &TestStore,
    partner: PartnerId,
    endpoint: EndpointId,
    range: ReplayRange,
) -> RangeReplayed {
    let asked = db
        .store
        .requeue_range(partner, endpoint, range, db.now(), audit());
    asked.await.unwrap()
}

fn sequences(claimed: &[ClaimedDelivery]) -> Vec<i64> {
    claimed
        .iter()
        .map(|delivery| event_of(delivery).sequence)
        .collect()
}

async fn a_replayed_transaction_is_told_in_order(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration_with(partner, "a", "c")).await;
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    for sequence in [1, 2] {
        let claimed = claim(&db, partner, endpoint).await;
        assert_eq!(sequences(&claimed), [sequence]);
        record(&db, &claimed, AttemptVerdict::Delivered).await;
    }
    db.advance(Duration::days(1));
    let done = replay(&db, partner, endpoint, all(&db, false)).await;
    assert_eq!(
        done,
        RangeReplayed::Done {
            count: 2,
            next_since: None
        }
    );
    let first = claim(&db, partner, endpoint).await;
    assert_eq!((sequences(&first), first[0].attempts), (vec![1], 1));
    assert!(
        claim(&db, partner, endpoint).await.is_empty(),
        "the second waits for the first"
    );
    record(&db, &first, AttemptVerdict::Delivered).await;
    assert_eq!(sequences(&claim(&db, partner, endpoint).await), [2]);
}

async fn a_long_range_goes_in_steps_and_says_where_the_next_begins(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.advance(Duration::seconds(1));
    db.register(registration(partner, "first")).await;
    db.execute(&copies(REPLAY_MAX + 199, db.is_sqlite())).await;
    db.execute(&format!(
        "UPDATE feed_heads SET last_sequence = {}",
        REPLAY_MAX + 200
    ))
    .await;
    db.advance(Duration::days(1));
    let counted = replay(&db, partner, endpoint, all(&db, true)).await;
    // The very first is pending already.
    assert_eq!(
        counted,
        RangeReplayed::Done {
            count: REPLAY_MAX + 199,
            next_since: None
        }
    );
    let RangeReplayed::Done {
        count,
        next_since: Some(next),
    } = replay(&db, partner, endpoint, all(&db, false)).await
    else {
        panic!("one call took everything");
    };
    assert_eq!(count, REPLAY_MAX);
    let rest = ReplayRange {
        since: next,
        ..all(&db, false)
    };
    let done = replay(&db, partner, endpoint, rest).await;
    assert_eq!(
        done,
        RangeReplayed::Done {
            count: 199,
            next_since: None
        }
    );
    let pending = db.count("FROM deliveries WHERE state = 'pending'").await;
    assert_eq!(pending, REPLAY_MAX + 200);
}

/// So many more events like the first, without deliveries, the feed going on.
fn copies(count: i64, is_sqlite: bool) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= {count}) \
         INSERT INTO transaction_events (partner_id, transaction_id, id, at, kind, to_status, source, sequence, amount_minor, currency) \
         SELECT partner_id, transaction_id, {}, at, kind, to_status, source, n.i, amount_minor, currency \
         FROM transaction_events, n WHERE sequence = 1",
        "CAST('00000000-0000-7000-8000-' || SUBSTR('000000000000', 1, 12 - LENGTH(CAST(n.i AS TEXT))) || CAST(n.i AS TEXT) AS ID)"
            .replace("AS ID)", if is_sqlite { "AS TEXT)" } else { "AS UUID)" })
    )
}

async fn what_is_being_sent_is_left_to_its_sender(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration(partner, "a")).await;
    let claimed = claim(&db, partner, endpoint).await;
    let asked = db
        .store
        .requeue_delivery(partner, claimed[0].id, db.now(), audit())
        .await;
    assert_eq!(asked.unwrap(), OneReplayed::Done);
    assert!(
        claim(&db, partner, endpoint).await.is_empty(),
        "its lease still holds"
    );
    record(&db, &claimed, AttemptVerdict::Delivered).await;
    let asked = db
        .store
        .requeue_delivery(partner, claimed[0].id, db.now(), audit())
        .await;
    assert_eq!(asked.unwrap(), OneReplayed::Done);
    assert_eq!(claim(&db, partner, endpoint).await.len(), 1);
    let other = db.partner().await;
    let asked = db
        .store
        .requeue_delivery(other, claimed[0].id, db.now(), audit())
        .await;
    assert_eq!(asked.unwrap(), OneReplayed::Unknown);
    let page = DeliveryPage {
        state: Some(DeliveryState::Pending),
        before: None,
        limit: 5,
    };
    let listed = db
        .store
        .list_deliveries(partner, endpoint, page)
        .await
        .unwrap();
    assert_eq!((listed.len(), listed[0].attempts.len()), (1, 1));
    assert!(
        db.store
            .list_deliveries(other, endpoint, page)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        db.store
            .find_delivery(other, claimed[0].id)
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_success_ends_since_when_an_endpoint_fails(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    let since = async || {
        let found = db
            .store
            .find_endpoint(Some(partner), endpoint)
            .await
            .unwrap();
        found.unwrap().failing_since
    };
    db.register(registration(partner, "a")).await;
    let begin = db.now();
    let first = claim(&db, partner, endpoint).await;
    record(&db, &first, AttemptVerdict::RetryAt(db.now())).await;
    assert_eq!(since().await, Some(begin));
    db.advance(Duration::hours(1));
    let second = claim(&db, partner, endpoint).await;
    assert_eq!(second[0].endpoint.failing_since, Some(begin));
    record(&db, &second, AttemptVerdict::RetryAt(db.now())).await;
    assert_eq!(since().await, Some(begin), "the first failure counts");
    let third = claim(&db, partner, endpoint).await;
    record(&db, &third, AttemptVerdict::Delivered).await;
    assert_eq!(since().await, None);
}

async fn an_endpoint_that_is_given_up_is_owed_nothing(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration(partner, "a")).await;
    db.register(registration(partner, "b")).await;
    let claimed = claim(&db, partner, endpoint).await;
    let again = AttemptVerdict::RetryAt(db.now() + FAILING_PATIENCE);
    record(&db, &claimed, again).await;
    db.advance(FAILING_PATIENCE);
    let claimed = claim(&db, partner, endpoint).await;
    record(&db, &claimed[..1], AttemptVerdict::GivenUp).await;
    let found = db
        .store
        .find_endpoint(Some(partner), endpoint)
        .await
        .unwrap();
    assert_eq!(found.unwrap().disabled_at, Some(db.now()));
    assert_eq!(db.count("FROM deliveries WHERE state = 'dead'").await, 2);
    db.register(registration(partner, "c")).await;
    assert_eq!(db.count("FROM deliveries").await, 2);
}
