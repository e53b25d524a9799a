//! Several callers, and several processes, at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Duration;
use futures_util::future::join_all;
use ussd_status::domain::identity::TransactionId;
use ussd_status::domain::ledger::{Attachment, CallbackState, Command, Outcome};
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::{Correlation, News, ResultClass};
use ussd_status::domain::transaction::{IdField, ProviderIds};

use crate::support::TestStore;
use crate::support::build::{
    arrival, conversation, everything, registration, registration_with, stk, update,
};

on_both_databases!(
    one_of_many_identical_registrations_creates,
    no_callback_is_lost_that_races_its_registration,
    no_callback_is_lost_that_races_its_attachment,
    one_of_two_different_registrations_of_an_id_is_refused,
    many_callbacks_for_one_payment_move_it_once,
    a_kept_callback_may_bring_the_id_another_waits_for,
    a_timeline_follows_commit_order_across_processes,
    a_callback_that_names_another_partners_payment_moves_nothing,
    the_same_news_again_adds_no_line,
    commits_are_told_with_the_endpoints_they_owe,
);

/// Three stores on one database, as three processes have them.
async fn three(db: &TestStore) -> Vec<Arc<dyn ussd_status::store::Store>> {
    vec![
        db.store.clone(),
        db.another_store().await,
        db.another_store().await,
    ]
}

async fn one_of_many_identical_registrations_creates(db: TestStore) {
    let partner = db.partner().await;
    let stores = three(&db).await;
    for round in 0..5 {
        let name = format!("order {round}");
        let outcomes = join_all((0..30).map(|number| {
            let registration = registration_with(partner, &name, &name);
            stores[number % 3].record(Command::Register(Box::new(registration)))
        }))
        .await;
        let mut creations = 0;
        let mut rows: Vec<TransactionId> = Vec::new();
        for outcome in outcomes {
            let Outcome::Registered {
                transaction,
                created,
            } = outcome.unwrap()
            else {
                panic!("refused");
            };
            creations += i32::from(created);
            rows.push(transaction.id);
        }
        rows.dedup();
        assert_eq!((creations, rows.len()), (1, 1));
    }
    assert_eq!(db.count("FROM transactions").await, 5);
    assert_eq!(db.count("FROM transaction_events").await, 5);
}

async fn no_callback_is_lost_that_races_its_registration(db: TestStore) {
    let partner = db.partner().await;
    let stores = three(&db).await;
    let mut work = Vec::new();
    for number in 0..150 {
        let name = format!("c{number}");
        let told = stk(partner, &name, ResultClass::Success, db.now());
        let commands = [
            Command::Register(Box::new(registration_with(partner, &name, &name))),
            Command::Callback(Box::new(told)),
        ];
        for (place, command) in commands.into_iter().enumerate() {
            work.push(stores[(number + place) % 3].record(command));
        }
    }
    for outcome in join_all(work).await {
        outcome.unwrap();
    }
    all_paid(&db, 150).await;
}

async fn no_callback_is_lost_that_races_its_attachment(db: TestStore) {
    let partner = db.partner().await;
    let stores = three(&db).await;
    let names: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let rows = join_all(
        names
            .iter()
            .map(|name| db.register(registration(partner, name))),
    )
    .await;
    let mut work = Vec::new();
    for (number, (name, row)) in names.iter().zip(rows).enumerate() {
        let told = stk(partner, name, ResultClass::Success, db.now());
        let commands = [
            Command::Callback(Box::new(told)),
            Command::Attach(Attachment {
                partner_id: partner,
                transaction_id: row.id,
                ids: conversation(name),
            }),
        ];
        for (place, command) in commands.into_iter().enumerate() {
            work.push(stores[(number + place) % 3].record(command));
        }
    }
    for outcome in join_all(work).await {
        outcome.unwrap();
    }
    all_paid(&db, 100).await;
}

async fn all_paid(db: &TestStore, rows: i64) {
    let paid = db.count("FROM transactions WHERE status = 'success'").await;
    assert_eq!(paid, rows);
    assert_eq!(db.count("FROM waiting_callbacks").await, 0);
    let applied = db.count("FROM callbacks WHERE state = 'applied'").await;
    assert_eq!(applied, rows);
    let feed = db.rows(
        &["MIN(sequence)", "MAX(sequence)", "COUNT(*)"],
        "FROM transaction_events WHERE sequence IS NOT NULL",
    );
    let feed = &feed.await[0];
    assert_eq!(feed[0], 1);
    assert_eq!(feed[1], feed[2], "no gap");
}

async fn one_of_two_different_registrations_of_an_id_is_refused(db: TestStore) {
    let partner = db.partner().await;
    let stores = three(&db).await;
    for round in 0..10 {
        let id = format!("c{round}");
        let outcomes = join_all((0..6).map(|number| {
            let name = format!("{round}.{number}");
            let registration = registration_with(partner, &name, &id);
            stores[number % 3].record(Command::Register(Box::new(registration)))
        }))
        .await;
        let created = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Ok(Outcome::Registered { created: true, .. })));
        assert_eq!(created.count(), 1);
        assert!(outcomes.iter().all(Result::is_ok));
    }
    assert_eq!(db.count("FROM transactions").await, 10);
}

async fn many_callbacks_for_one_payment_move_it_once(db: TestStore) {
    let partner = db.partner().await;
    let stores = three(&db).await;
    let row = db.register(registration_with(partner, "a", "c")).await;
    let classes = [
        ResultClass::Success,
        ResultClass::Pending,
        ResultClass::Unknown,
        ResultClass::Success,
    ];
    let outcomes = join_all((0..60).map(|number| {
        let told = stk(partner, "c", classes[number % 4], db.now());
        stores[number % 3].record(Command::Callback(Box::new(told)))
    }))
    .await;
    let applied = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(Outcome::Recorded(CallbackState::Applied))));
    assert_eq!(applied.count(), 1);
    assert_eq!(db.find(&row).await.0.status, Status::Success);
    assert_eq!(db.count("FROM callbacks").await, 60);
    let listing = db.list(partner, everything()).await;
    assert_eq!(listing.statistics.unwrap().counts().successful, 1);
}

/// Two kept callbacks, of which only one has the id that the registration brings.
async fn a_kept_callback_may_bring_the_id_another_waits_for(db: TestStore) {
    let partner = db.partner().await;
    let by_conversation = stk(partner, "c", ResultClass::Success, db.now());
    assert_eq!(db.receive(by_conversation).await, CallbackState::Waiting);
    let mut both = update("c", ResultClass::Pending);
    both.correlation.originator_conversation_id = Some("o".to_owned());
    let kind = ussd_status::domain::status_update::CallbackKind::B2cResult;
    let both = arrival(partner, kind, News::Payment(Box::new(both)), db.now());
    assert_eq!(db.receive(both).await, CallbackState::Waiting);
    let mut payment = registration(partner, "a");
    payment.ids = ProviderIds {
        originator_conversation_id: Some("o".to_owned()),
        ..ProviderIds::default()
    };
    let row = db.register(payment).await;
    assert_eq!(row.status, Status::Success);
    assert_eq!(row, db.find(&row).await.0);
    assert_eq!(db.count("FROM waiting_callbacks").await, 0);
    assert_eq!(db.count("FROM callbacks WHERE news IS NOT NULL").await, 0);
}

async fn a_timeline_follows_commit_order_across_processes(db: TestStore) {
    let partner = db.partner().await;
    let stores = three(&db).await;
    // Time goes on while they wait for one another.
    let (clock, is_over) = (db.clock.clone(), Arc::new(AtomicBool::new(false)));
    let over = Arc::clone(&is_over);
    let ticking = std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            clock.advance(Duration::milliseconds(1));
            std::thread::yield_now();
        }
    });
    let work = stores.iter().enumerate().map(async |(place, store)| {
        for number in 0..60 {
            // Each payment is registered by one process and told of by the next, a few at a time.
            let name = format!("c{number}");
            let told = stk(partner, &name, ResultClass::Success, db.now());
            let command = match (number + place) % 3 {
                0 => Command::Register(Box::new(registration_with(partner, &name, &name))),
                1 => Command::Callback(Box::new(told)),
                _ => Command::Register(Box::new(registration(partner, &format!("other {name}")))),
            };
            store.record(command).await.unwrap();
        }
    });
    join_all(work).await;
    is_over.store(true, Ordering::Relaxed);
    ticking.join().unwrap();
    let listing = db.list(partner, everything()).await;
    assert_eq!(listing.total, 120);
    for row in listing.transactions {
        let (_, timeline) = db.find(&row).await;
        assert_eq!(timeline[0].kind.as_str(), "registered");
        assert!(timeline.is_sorted_by_key(|line| line.at));
    }
    let at = db.micros("at");
    let feed = db
        .rows(
            &[&at],
            "FROM transaction_events WHERE sequence IS NOT NULL ORDER BY sequence",
        )
        .await;
    assert!(
        feed.windows(2)
            .all(|pair| pair[0][0].as_i64() <= pair[1][0].as_i64()),
        "later sequences are not earlier"
    );
}

async fn a_callback_that_names_another_partners_payment_moves_nothing(db: TestStore) {
    let (owner, other) = (db.partner().await, db.partner().await);
    let row = db.register(registration_with(owner, "a", "c")).await;
    let by_id = stk(other, "c", ResultClass::Success, db.now());
    assert_eq!(db.receive(by_id).await, CallbackState::Waiting);
    let mut news = update("unknown", ResultClass::Success);
    news.correlation = Correlation {
        transaction_id: Some(row.id),
        ..Correlation::default()
    };
    let kind = ussd_status::domain::status_update::CallbackKind::Stk;
    let by_path = arrival(other, kind, News::Payment(Box::new(news)), db.now());
    assert_eq!(db.receive(by_path).await, CallbackState::Conflict);
    let (found, timeline) = db.find(&row).await;
    assert_eq!(found, row);
    assert_eq!(timeline.len(), 2, "both are told of, in one line");
    // The other partner's own payment of that id is told by the callback that came before it was known.
    let own = db.register(registration_with(other, "b", "c")).await;
    assert_eq!(db.find(&own).await.0.status, Status::Success);
    assert_eq!(db.find(&row).await.1.len(), 2, "and not told again");
    let owners = db
        .store
        .list_route_owners(
            row.provider,
            vec![
                (IdField::Conversation, "c".to_owned()),
                (IdField::Receipt, "x".to_owned()),
            ],
        )
        .await
        .unwrap();
    assert_eq!(owners.len(), 2);
    // A receipt that reads as somebody's conversation id is not that.
    let ids = vec![(IdField::Receipt, "c".to_owned())];
    let owners = db.store.list_route_owners(row.provider, ids).await.unwrap();
    assert_eq!(owners, []);
}

async fn the_same_news_again_adds_no_line(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    let row = db.register(registration_with(partner, "a", "c")).await;
    let pending = || stk(partner, "c", ResultClass::Pending, db.now());
    let lines = async || db.find(&row).await.1.len();
    // Each in a commit of its own, then several in one.
    for _ in 0..3 {
        assert_eq!(db.receive(pending()).await, CallbackState::Noted);
        db.advance(Duration::seconds(1));
    }
    join_all((0..8).map(|_| db.receive(pending()))).await;
    assert_eq!(lines().await, 2);
    let mut unknown = pending();
    if let News::Payment(update) = &mut unknown.news {
        update.result_code = Some("another".to_owned());
    }
    db.receive(unknown).await;
    db.receive(pending()).await;
    assert_eq!(lines().await, 4, "other news in between");
    for _ in 0..3 {
        db.receive(stk(other, "c", ResultClass::Success, db.now()))
            .await;
    }
    assert_eq!(lines().await, 5, "nor does another account's");
    assert_eq!(db.find(&row).await.0.status, Status::Accepted);
    assert_eq!(db.count("FROM callbacks").await, 16, "all are kept");
}

async fn commits_are_told_with_the_endpoints_they_owe(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &["transaction.success"]).await;
    let mut commits = db.store.commits();
    db.register(registration_with(partner, "a", "c")).await;
    assert!(commits.recv().await.unwrap().endpoints.is_empty());
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    assert_eq!(*commits.recv().await.unwrap().endpoints, [endpoint]);
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    assert!(commits.is_empty(), "a duplicate is no news");
}
