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
    assert_eq!(unclaimed::step(store, db.clock.as_ref()).await.unwrap(), 0);
    assert_eq!(db.list(partner, everything()).await.total, 1);
}

async fn an_unclaimed_payment_makes_its_transaction_when_its_time_is_over(db: TestStore) {
    let transaction = db.register(queued(&db).await).await;
    let partner = transaction.partner_id;
    let early = arrival(partner, CallbackKind::Clickpesa, told("ORD2"), db.now());
    assert_eq!(db.receive(early).await, CallbackState::Waiting);
    let store = db.store.as_ref();
    assert_eq!(unclaimed::step(store, db.clock.as_ref()).await.unwrap(), 0);
    db.advance(EARLY_SPAN + Duration::minutes(1));
    assert_eq!(unclaimed::step(store, db.clock.as_ref()).await.unwrap(), 1);
    assert_eq!(unclaimed::step(store, db.clock.as_ref()).await.unwrap(), 0);
    let listing = db.list(partner, everything()).await;
    assert_eq!(listing.total, 2);
    assert_eq!(listing.transactions[0].status, Status::Success);
    assert_eq!(listing.transactions[0].ids, order("ORD2"));
    assert_eq!(db.count("FROM waiting_callbacks").await, 0);
    // The one that was queued is too old by now to be meant.
    let next = arrival(partner, CallbackKind::Clickpesa, told("ORD3"), db.now());
    assert_eq!(db.receive(next).await, CallbackState::Applied);
}
