//! Payments that nobody registered: kept while a registered one may be meant, then a transaction of their own.

use chrono::Duration;
use ussd_status::domain::ledger::{CallbackState, EARLY_SPAN, Registration};
use ussd_status::domain::money::{Amount, Currency};
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::{
    Api, CallbackKind, Correlation, News, ResultClass, StatusUpdate, Unregistered,
};
use ussd_status::domain::transaction::{Kind, Provider, ProviderIds};
use ussd_status::ingest::unclaimed;

use crate::support::TestStore;
use crate::support::build::{arrival, everything, registration};

on_both_databases!(
    an_early_callback_is_applied_by_the_patch_that_brings_its_id,
    an_unclaimed_payment_makes_its_transaction_when_its_time_is_over,
    a_sweep_settles_all_however_many_and_passes_over_what_cannot_be_read,
);

fn told(order_reference: &str) -> News {
    let correlation = Correlation {
        order_reference: Some(order_reference.to_owned()),
        ..Correlation::default()
    };
    let mut update = StatusUpdate::new(Api::ClickpesaPayment, ResultClass::Success, correlation);
    update.result_code = Some("SUCCESS".to_owned());
    update.unregistered = Some(Unregistered {
        kind: Kind::UssdPush,
        amount: Amount(500_000),
        currency: Currency::tzs(),
        shortcode: None,
    });
    News::Payment(Box::new(update))
}

async fn queued(db: &TestStore) -> Registration {
    Registration {
        provider: Provider::Clickpesa,
        kind: Kind::UssdPush,
        currency: Currency::tzs(),
        ..registration(db.partner().await, "a")
    }
}

fn order(reference: &str) -> ProviderIds {
    ProviderIds {
        order_reference: Some(reference.to_owned()),
        ..ProviderIds::default()
    }
}

async fn an_early_callback_is_applied_by_the_patch_that_brings_its_id(db: TestStore) {
    let transaction = db.register(queued(&db).await).await;
    let partner = transaction.partner_id;
    let early = arrival(partner, CallbackKind::Clickpesa, told("ORD1"), db.now());
    assert_eq!(db.receive(early).await, CallbackState::Waiting);
    db.attach(&transaction, order("ORD1")).await;
    assert_eq!(db.find(&transaction).await.0.status, Status::Success);
    db.advance(EARLY_SPAN + Duration::minutes(1));
    let store = db.store.as_ref();
    assert_eq!(unclaimed::sweep(store, db.clock.as_ref()).await.unwrap(), 0);
    assert_eq!(db.list(partner, everything()).await.total, 1);
}

async fn an_unclaimed_payment_makes_its_transaction_when_its_time_is_over(db: TestStore) {
    let transaction = db.register(queued(&db).await).await;
    let partner = transaction.partner_id;
    let early = arrival(partner, CallbackKind::Clickpesa, told("ORD2"), db.now());
    assert_eq!(db.receive(early).await, CallbackState::Waiting);
    let store = db.store.as_ref();
    assert_eq!(unclaimed::sweep(store, db.clock.as_ref()).await.unwrap(), 0);
    db.advance(EARLY_SPAN + Duration::minutes(1));
    assert_eq!(unclaimed::sweep(store, db.clock.as_ref()).await.unwrap(), 1);
    assert_eq!(unclaimed::sweep(store, db.clock.as_ref()).await.unwrap(), 0);
    let listing = db.list(partner, everything()).await;
    assert_eq!(listing.total, 2);
    assert_eq!(listing.transactions[0].status, Status::Success);
    assert_eq!(listing.transactions[0].ids, order("ORD2"));
    assert_eq!(db.count("FROM waiting_callbacks").await, 0);
    // The one that was queued is too old by now to be meant.
    let next = arrival(partner, CallbackKind::Clickpesa, told("ORD3"), db.now());
    assert_eq!(db.receive(next).await, CallbackState::Applied);
}

async fn a_sweep_settles_all_however_many_and_passes_over_what_cannot_be_read(db: TestStore) {
    const MANY: i64 = 230;
    let partner = db.register(queued(&db).await).await.partner_id;
    for number in 0..MANY {
        let news = told(&format!("ORD{number}"));
        let early = arrival(partner, CallbackKind::Clickpesa, news, db.now());
        assert_eq!(db.receive(early).await, CallbackState::Waiting);
    }
    // What another version of the program may have written.
    db.execute("UPDATE callbacks SET news = REPLACE(news, 'payment', 'unheard of') WHERE id = (SELECT id FROM callbacks ORDER BY id LIMIT 1)")
        .await;
    db.advance(EARLY_SPAN + Duration::minutes(1));
    let settled = unclaimed::sweep(db.store.as_ref(), db.clock.as_ref());
    assert_eq!(settled.await.unwrap(), 229);
    assert_eq!(db.list(partner, everything()).await.total, MANY);
}
