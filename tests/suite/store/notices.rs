//! What a partner's other endpoints are owed when one is disabled, in the commit that disables it.

use chrono::Duration;
use ussd_status::domain::delivery::{
    Attempt, AttemptVerdict, ClaimedDelivery, FAILING_PATIENCE, Message,
};
use ussd_status::domain::delivery_record::{DeliveryPage, DeliveryState, OneReplayed};
use ussd_status::domain::identity::{EndpointId, PartnerId};
use ussd_status::domain::notice::{DISABLED_NOTICE, DisabledNotice, DisabledReason};
use ussd_status::store::Capacity;

use crate::support::TestStore;
use crate::support::build::{audit, endpoint, registration};

on_both_databases!(
    the_partners_other_endpoints_are_owed_a_notice_and_nobody_else,
    an_endpoint_that_failed_for_long_is_told_of_with_since_when,
    an_endpoint_that_has_answered_since_is_not_given_up,
    one_endpoint_is_told_of_once_however_many_attempts_end_it,
    what_cannot_be_promised_disables_nothing,
    nobody_is_told_of_an_endpoint_of_one_payment,
    a_notice_is_tried_again_listed_and_replayed_like_an_event,
);

async fn claim(db: &TestStore, partner_id: PartnerId, to: EndpointId) -> Vec<ClaimedDelivery> {
    let capacity = Capacity {
        endpoint_id: to,
        partner_id,
        free: 9,
    };
    let claimed = db.store.claim_deliveries(vec![capacity], db.now());
    claimed.await.unwrap()
}

fn ended(of: &ClaimedDelivery, db: &TestStore, verdict: AttemptVerdict) -> Attempt {
    Attempt {
        delivery_id: of.id,
        endpoint_id: of.endpoint.id,
        partner_id: of.endpoint.partner_id,
        number: of.attempts + 1,
        at: db.now(),
        duration_ms: 12,
        status: Some(410),
        error: None,
        response: None,
        verdict,
        failing_since: of.endpoint.failing_since,
    }
}

/// What an endpoint is owed that is no event.
async fn notices(db: &TestStore, partner: PartnerId, to: EndpointId) -> Vec<DisabledNotice> {
    let claimed = claim(db, partner, to).await;
    claimed
        .into_iter()
        .filter_map(|delivery| match delivery.message {
            Message::Disabled(notice) => Some(*notice),
            Message::Event(_) => None,
        })
        .collect()
}

async fn the_partners_other_endpoints_are_owed_a_notice_and_nobody_else(db: TestStore) {
    let (partner, stranger) = (db.partner().await, db.partner().await);
    let mut gone = endpoint(partner, &[], db.now());
    gone.url = "https://partner.example/hook?token=theirs".to_owned();
    let gone_id = gone.id;
    db.store.insert_endpoint(gone, audit()).await.unwrap();
    let general = db.endpoint(partner, &[]).await;
    let choosy = db.endpoint(partner, &["transaction.failed"]).await;
    let mut disabled = endpoint(partner, &[], db.now());
    disabled.disabled_at = Some(db.now());
    let disabled_id = disabled.id;
    db.store.insert_endpoint(disabled, audit()).await.unwrap();
    let removed = db.endpoint(partner, &[]).await;
    let away = db.store.remove_endpoint(removed, db.now(), audit()).await;
    assert!(away.unwrap());
    let strangers = db.endpoint(stranger, &[]).await;
    db.register(registration(partner, "a")).await;
    db.advance(Duration::seconds(3));

    let claimed = claim(&db, partner, gone_id).await;
    let attempt = ended(&claimed[0], &db, AttemptVerdict::Gone);
    db.store.record_attempts(vec![attempt]).await.unwrap();
    let told = notices(&db, partner, general).await;
    let expected = DisabledNotice {
        id: told[0].id,
        endpoint_id: gone_id,
        url: "https://partner.example/hook".to_owned(),
        reason: DisabledReason::Gone,
        failing_since: Some(db.now()),
        disabled_at: db.now(),
    };
    assert_eq!(told, std::slice::from_ref(&expected));
    assert_eq!(notices(&db, partner, choosy).await, [expected]);
    for nobody in [gone_id, disabled_id, removed] {
        assert_eq!(claim(&db, partner, nobody).await, []);
    }
    assert_eq!(claim(&db, stranger, strangers).await, []);
    let page = db.store.list_events(partner, 0, 9).await.unwrap();
    assert_eq!(page.events.len(), 1, "the feed has no part in it");
    assert_eq!(
        db.count("FROM deliveries WHERE notice IS NOT NULL").await,
        2
    );
}

async fn an_endpoint_that_failed_for_long_is_told_of_with_since_when(db: TestStore) {
    let partner = db.partner().await;
    let failing = db.endpoint(partner, &[]).await;
    let other = db.endpoint(partner, &["transaction.failed"]).await;
    db.register(registration(partner, "a")).await;
    let since = db.now();
    let claimed = claim(&db, partner, failing).await;
    let again = AttemptVerdict::RetryAt(db.now() + Duration::days(5));
    let attempt = ended(&claimed[0], &db, again);
    db.store.record_attempts(vec![attempt]).await.unwrap();
    db.advance(Duration::days(5));
    let claimed = claim(&db, partner, failing).await;
    let attempt = ended(&claimed[0], &db, AttemptVerdict::GivenUp);
    db.store.record_attempts(vec![attempt]).await.unwrap();
    let told = notices(&db, partner, other).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].reason, DisabledReason::Failing);
    assert_eq!(told[0].failing_since, Some(since));
    assert_eq!(told[0].disabled_at, db.now());
}

/// Whichever comes first, and even in one commit: an attempt that began when all had failed for days says nothing any more.
async fn an_endpoint_that_has_answered_since_is_not_given_up(db: TestStore) {
    for together in [false, true] {
        let partner = db.partner().await;
        let failing = db.endpoint(partner, &[]).await;
        for name in ["a", "b", "c"] {
            db.register(registration(partner, name)).await;
        }
        let claimed = claim(&db, partner, failing).await;
        let again = AttemptVerdict::RetryAt(db.now() + FAILING_PATIENCE);
        let attempts = claimed.iter().map(|one| ended(one, &db, again)).collect();
        db.store.record_attempts(attempts).await.unwrap();
        db.advance(FAILING_PATIENCE);
        let claimed = claim(&db, partner, failing).await;
        assert_eq!(claimed.len(), 3);
        let good = ended(&claimed[0], &db, AttemptVerdict::Delivered);
        let late = ended(&claimed[1], &db, AttemptVerdict::GivenUp);
        if together {
            let attempts = vec![late, good];
            db.store.record_attempts(attempts).await.unwrap();
        } else {
            db.store.record_attempts(vec![good]).await.unwrap();
            db.store.record_attempts(vec![late]).await.unwrap();
        }
        let found = db
            .store
            .find_endpoint(Some(partner), failing)
            .await
            .unwrap();
        assert_eq!(found.unwrap().disabled_at, None);
        let pending =
            format!("FROM deliveries WHERE state = 'pending' AND partner_id = '{partner}'");
        assert_eq!(db.count(&pending).await, 2, "it is tried again");
        db.register(registration(partner, "d")).await;
        assert_eq!(db.count(&pending).await, 3, "and owed what comes");
    }
}

async fn one_endpoint_is_told_of_once_however_many_attempts_end_it(db: TestStore) {
    let partner = db.partner().await;
    let (gone, later) = (
        db.endpoint(partner, &[]).await,
        db.endpoint(partner, &[]).await,
    );
    let other = db.endpoint(partner, &["transaction.failed"]).await;
    for name in ["a", "b", "c"] {
        db.register(registration(partner, name)).await;
    }
    let claimed = claim(&db, partner, gone).await;
    let both = claimed[..2]
        .iter()
        .map(|of| ended(of, &db, AttemptVerdict::Gone));
    db.store.record_attempts(both.collect()).await.unwrap();
    let late = ended(&claimed[2], &db, AttemptVerdict::Gone);
    db.store.record_attempts(vec![late]).await.unwrap();
    assert_eq!(notices(&db, partner, other).await.len(), 1);
    // Another endpoint's end is another notice.
    let claimed = claim(&db, partner, later).await;
    let attempt = ended(&claimed[0], &db, AttemptVerdict::Gone);
    db.store.record_attempts(vec![attempt]).await.unwrap();
    let told = notices(&db, partner, other).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].endpoint_id, later);
    let sequences = db
        .rows(
            &["sequence"],
            &format!("FROM deliveries WHERE endpoint_id = '{other}' ORDER BY sequence"),
        )
        .await;
    assert_eq!(sequences, [[-2], [-1]]);
}

async fn what_cannot_be_promised_disables_nothing(db: TestStore) {
    let partner = db.partner().await;
    let gone = db.endpoint(partner, &[]).await;
    let other = db.endpoint(partner, &["transaction.failed"]).await;
    db.register(registration(partner, "a")).await;
    let claimed = claim(&db, partner, gone).await;
    let attempt = ended(&claimed[0], &db, AttemptVerdict::Gone);
    db.execute("ALTER TABLE deliveries RENAME COLUMN notice TO elsewhere")
        .await;
    let refused = db.store.record_attempts(vec![attempt.clone()]).await;
    assert!(refused.is_err());
    let disabled = "FROM endpoints WHERE disabled_at IS NOT NULL";
    assert_eq!(db.count(disabled).await, 0);
    assert_eq!(db.count("FROM delivery_attempts").await, 0);
    db.execute("ALTER TABLE deliveries RENAME COLUMN elsewhere TO notice")
        .await;
    db.store.record_attempts(vec![attempt]).await.unwrap();
    assert_eq!(db.count(disabled).await, 1);
    assert_eq!(notices(&db, partner, other).await.len(), 1);
}

async fn nobody_is_told_of_an_endpoint_of_one_payment(db: TestStore) {
    let partner = db.partner().await;
    let other = db.endpoint(partner, &["transaction.failed"]).await;
    let payment = db.register(registration(partner, "a")).await;
    let own = db.endpoint(partner, &[]).await;
    db.execute(&format!(
        "UPDATE endpoints SET transaction_id = '{}' WHERE id = '{own}'",
        payment.id
    ))
    .await;
    let second = db.endpoint(partner, &[]).await;
    db.register(registration(partner, "b")).await;
    let mut claimed = claim(&db, partner, second).await;
    claimed[0].endpoint.id = own;
    let attempt = ended(&claimed[0], &db, AttemptVerdict::Gone);
    db.store.record_attempts(vec![attempt]).await.unwrap();
    assert_eq!(
        db.count("FROM endpoints WHERE disabled_at IS NOT NULL")
            .await,
        1
    );
    assert_eq!(claim(&db, partner, other).await, []);
}

async fn a_notice_is_tried_again_listed_and_replayed_like_an_event(db: TestStore) {
    let partner = db.partner().await;
    let (gone, other) = (
        db.endpoint(partner, &[]).await,
        db.endpoint(partner, &[]).await,
    );
    db.register(registration(partner, "a")).await;
    let claimed = claim(&db, partner, gone).await;
    let attempt = ended(&claimed[0], &db, AttemptVerdict::Gone);
    db.store.record_attempts(vec![attempt]).await.unwrap();

    let owed = claim(&db, partner, other).await;
    let [Message::Event(_), Message::Disabled(notice)] = [&owed[0].message, &owed[1].message]
    else {
        panic!("{owed:?}");
    };
    let at = db.now() + Duration::seconds(5);
    let attempt = ended(&owed[1], &db, AttemptVerdict::RetryAt(at));
    db.store.record_attempts(vec![attempt]).await.unwrap();
    db.advance(Duration::seconds(5));
    let again = claim(&db, partner, other).await;
    assert_eq!((again.len(), again[0].attempts), (1, 1));
    assert_eq!(again[0].message, Message::Disabled(notice.clone()));
    let attempt = ended(&again[0], &db, AttemptVerdict::Delivered);
    db.store.record_attempts(vec![attempt]).await.unwrap();

    let page = async |before| {
        let page = DeliveryPage {
            state: None,
            before,
            limit: 1,
        };
        let listed = db.store.list_deliveries(partner, other, page).await;
        listed.unwrap()
    };
    let event = &page(None).await[0];
    assert_eq!((event.place_in_feed(), event.sequence), (Some(1), 1));
    let listed = &page(Some(event.sequence)).await[0];
    assert_eq!(listed.event_type.as_deref(), Some(DISABLED_NOTICE));
    assert_eq!(
        (listed.place_in_feed(), listed.transaction_id),
        (None, None)
    );
    assert_eq!(
        (listed.state, listed.attempts.len()),
        (DeliveryState::Delivered, 2)
    );
    assert!(page(Some(listed.sequence)).await.is_empty());

    let asked = db
        .store
        .requeue_delivery(partner, listed.id, db.now(), audit());
    assert_eq!(asked.await.unwrap(), OneReplayed::Done);
    let again = claim(&db, partner, other).await;
    assert_eq!(again[0].message, Message::Disabled(notice.clone()));
}
