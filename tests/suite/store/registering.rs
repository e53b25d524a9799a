//! Registering, attaching ids and receiving callbacks, as far as they are the database's business.

use ussd_status::domain::ledger::{CallbackState, Outcome, Refusal};
use ussd_status::domain::money::Amount;
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::ResultClass;

use crate::support::TestStore;
use crate::support::build::{conversation, everything, registration, registration_with, stk};

on_both_databases!(
    a_payment_is_told_from_registration_to_success,
    a_repeat_is_the_same_and_a_difference_is_refused,
);

async fn a_payment_is_told_from_registration_to_success(db: TestStore) {
    let partner = db.partner().await;
    db.endpoint(partner, &[]).await;
    let queued = db.register(registration(partner, "order 1")).await;
    assert_eq!(queued.status, Status::Queued);
    assert_eq!(queued, db.find(&queued).await.0);

    let Outcome::Attached(accepted) = db.attach(&queued, conversation("ws_CO_1")).await else {
        panic!("not attached");
    };
    assert_eq!(accepted.status, Status::Accepted);
    db.advance(chrono::Duration::seconds(20));
    let success = stk(partner, "ws_CO_1", ResultClass::Success, db.now());
    assert_eq!(db.receive(success.clone()).await, CallbackState::Applied);

    let (paid, timeline) = db.find(&queued).await;
    assert_eq!(paid.status, Status::Success);
    assert_eq!(paid.receipt.as_deref(), Some("Rws_CO_1"));
    assert_eq!(paid.updated_at, db.now());
    let kinds: Vec<&str> = timeline.iter().map(|line| line.kind.as_str()).collect();
    assert_eq!(kinds, ["registered", "status_changed", "status_changed"]);
    assert_eq!(db.count("FROM deliveries").await, 3);

    let listing = db.list(partner, everything()).await;
    assert_eq!(listing.transactions, [paid]);
    assert_eq!(listing.total, 1);
    let statistics = listing.statistics.unwrap().counts();
    assert_eq!((statistics.total, statistics.successful), (1, 1));
}

async fn a_repeat_is_the_same_and_a_difference_is_refused(db: TestStore) {
    let partner = db.partner().await;
    let first = db
        .register(registration_with(partner, "order 1", "ws_CO_1"))
        .await;
    let again = db
        .try_register(registration_with(partner, "order 1", "ws_CO_1"))
        .await;
    assert_eq!(
        again,
        Outcome::Registered {
            transaction: Box::new(first.clone()),
            created: false
        }
    );
    let mut other = registration_with(partner, "order 1", "ws_CO_1");
    other.amount = Amount(120_001);
    assert_eq!(
        db.try_register(other).await,
        Outcome::Refused(Refusal::Reused {
            field: "amount",
            transaction_id: first.id
        })
    );
    let held = db
        .try_register(registration_with(partner, "order 2", "ws_CO_1"))
        .await;
    assert!(
        matches!(held, Outcome::Refused(Refusal::Held { transaction_id, .. }) if transaction_id == first.id)
    );
    assert_eq!(db.count("FROM transactions").await, 1);
}
