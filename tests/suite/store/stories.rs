//! What stands beside the rows of a page: timelines of many transactions in one query, who is stuck, how long it took.

use chrono::Duration;
use ussd_status::domain::ledger::{Command, ProviderAnswer, Word};
use ussd_status::domain::status_update::ResultClass;
use ussd_status::domain::timeline::TimelineKind;
use ussd_status::domain::transaction::{Kind, Transaction};

use crate::support::TestStore;
use crate::support::build::{registration, registration_with, stk};

on_both_databases!(
    timelines_of_a_page_are_each_ones_own_and_bounded,
    only_the_stuck_are_among_the_stuck,
    completions_are_of_the_latest_endings,
);

async fn timelines_of_a_page_are_each_ones_own_and_bounded(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    let mut rows = Vec::new();
    for name in ["a", "b", "c"] {
        rows.push(db.register(registration_with(partner, name, name)).await);
    }
    let theirs = db.register(registration_with(other, "a", "a")).await;
    for class in [ResultClass::Unconfirmed, ResultClass::Success] {
        db.advance(Duration::seconds(1));
        db.receive(stk(partner, "a", class, db.now())).await;
    }
    let ids: Vec<_> = rows.iter().chain([&theirs]).map(|row| row.id).collect();
    let found = db
        .store
        .list_timelines(partner, ids.clone(), 100)
        .await
        .unwrap();
    assert_eq!(found.len(), 3, "another partner's stays its own");
    for row in &rows {
        assert_eq!(found[&row.id], db.find(row).await.1);
    }
    let whole = &found[&rows[0].id];
    assert_eq!(whole.last().unwrap().kind, TimelineKind::LateSuccess);
    let latest = db.store.list_timelines(partner, ids, 2).await.unwrap();
    assert_eq!(latest[&rows[0].id], whole[whole.len() - 2..]);
    assert_eq!(latest[&rows[1].id], found[&rows[1].id]);
    let none = db
        .store
        .list_timelines(partner, Vec::new(), 2)
        .await
        .unwrap();
    assert!(none.is_empty());
}

async fn only_the_stuck_are_among_the_stuck(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    let stuck = db.register(registration(partner, "stuck")).await;
    let open = db.register(registration(partner, "open")).await;
    let theirs = db.register(registration(other, "stuck")).await;
    for row in [&stuck, &theirs] {
        give_up(&db, row).await;
    }
    let ids = vec![stuck.id, open.id, theirs.id];
    let found = db.store.list_stuck_among(partner, ids).await.unwrap();
    assert_eq!(found, [stuck.id]);
    let found = db
        .store
        .list_stuck_among(partner, vec![open.id])
        .await
        .unwrap();
    assert!(found.is_empty());
}

async fn give_up(db: &TestStore, row: &Transaction) {
    let answer = ProviderAnswer {
        partner_id: row.partner_id,
        transaction_id: row.id,
        source: "reconciliation".to_owned(),
        was_unconfirmed: false,
        word: Word::Stuck {
            last_news: row.updated_at,
        },
    };
    db.record(Command::Answered(Box::new(answer))).await;
}

async fn completions_are_of_the_latest_endings(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    for (name, seconds, class) in [
        ("a", 5, ResultClass::Success),
        ("b", 7, ResultClass::Failed),
        ("c", 9, ResultClass::Pending),
    ] {
        db.register(registration_with(partner, name, name)).await;
        db.advance(Duration::seconds(seconds));
        db.receive(stk(partner, name, class, db.now())).await;
    }
    let found = db.store.list_completions(partner, 100).await.unwrap();
    let mut took: Vec<i64> = found.iter().map(|one| one.took.num_seconds()).collect();
    took.sort_unstable();
    assert_eq!(took, [5, 7]);
    assert!(found.iter().all(|one| one.kind == Kind::StkPush));
    // c's registration and b's ending are the last two events.
    let latest = db.store.list_completions(partner, 2).await.unwrap();
    let took: Vec<i64> = latest.iter().map(|one| one.took.num_seconds()).collect();
    assert_eq!(took, [7]);
    assert!(
        db.store
            .list_completions(other, 100)
            .await
            .unwrap()
            .is_empty()
    );
}
