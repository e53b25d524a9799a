//! Any order of a payment's callbacks, with repetitions, before and after its registration and against everybody
//! else's, ends the same on both databases; and what is kept twice agrees afterwards.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use ussd_status::domain::identity::PartnerId;
use ussd_status::domain::ledger::Command;
use ussd_status::domain::status_update::ResultClass;

use crate::support::TestStore;
use crate::support::build::{registration_with, stk};

on_both_databases!(any_order_of_a_payments_callbacks_ends_the_same);

/// Payments, each with an order of its own.
const PAYMENTS: usize = 300;

/// What happens to one payment: what its provider says, in this order, and when it is registered among it.
#[derive(Debug, Clone)]
struct History {
    told: Vec<ResultClass>,
    registered_after: usize,
}

/// A permutation with repetition of what a provider may say of a payment that ends `end`.
fn history(end: ResultClass) -> impl Strategy<Value = History> {
    let word = prop::sample::select(vec![ResultClass::Pending, ResultClass::Unknown, end]);
    (prop::collection::vec(word, 0..8), 0..9_usize, 0..9_usize).prop_map(
        move |(mut told, ends_at, registered_after)| {
            told.insert(ends_at.min(told.len()), end);
            History {
                registered_after: registered_after.min(told.len()),
                told,
            }
        },
    )
}

fn histories() -> Vec<(String, History)> {
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(20_260_314),
        ..Config::default()
    });
    let mut make = |number: usize| {
        let (name, end) = if number.is_multiple_of(3) {
            ("failed", ResultClass::Failed)
        } else {
            ("success", ResultClass::Success)
        };
        let history = history(end).new_tree(&mut runner).unwrap().current();
        (format!("{name} {number}"), history)
    };
    (0..PAYMENTS).map(&mut make).collect()
}

async fn live(db: &TestStore, partner: PartnerId, name: &str, history: &History) {
    let register = || Command::Register(Box::new(registration_with(partner, name, name)));
    for (number, class) in history.told.iter().enumerate() {
        if number == history.registered_after {
            db.record(register()).await;
        }
        db.receive(stk(partner, name, *class, db.now())).await;
    }
    if history.registered_after == history.told.len() {
        db.record(register()).await;
    }
}

async fn any_order_of_a_payments_callbacks_ends_the_same(db: TestStore) {
    let partner = db.partner().await;
    db.endpoint(partner, &[]).await;
    let histories = histories();
    let lives = histories
        .iter()
        .map(|(name, history)| live(&db, partner, name, history));
    join_all(lives).await;
    let rows = db
        .rows(
            &["t.client_request_id", "t.status", "COUNT(e.sequence)"],
            "FROM transactions t JOIN transaction_events e ON e.transaction_id = t.id GROUP BY t.client_request_id, t.status",
        )
        .await;
    let ends: BTreeMap<&str, (&str, i64)> = rows
        .iter()
        .map(|row| {
            let events = row[2].as_i64().unwrap();
            (row[0].as_str().unwrap(), (row[1].as_str().unwrap(), events))
        })
        .collect();
    assert_eq!(ends.len(), PAYMENTS);
    for (name, history) in &histories {
        let (end, _) = name.split_once(' ').unwrap();
        // Registered, and ended: nothing else is news.
        assert_eq!(ends[name.as_str()], (end, 2), "{name}: {history:?}");
    }
    db.recount().await;
}
