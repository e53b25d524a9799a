//! What a living worker holds nobody else asks about, however long it takes; what a killed one held is soon asked about.

use chrono::Duration;
use ussd_status::domain::asking::AskLease;
use ussd_status::domain::status_update::ResultClass;
use ussd_status::domain::transaction::Transaction;
use ussd_status::reconciliation::pace::ACCOUNT_CONCURRENCY;
use ussd_status::reconciliation::{LEASE, LONGEST_WAIT, PARTNER_HELD, RENEW_EVERY, Step};

use super::script::{Script, news, nothing};
use super::{AFTER, Scene, all_due, micros, worker};
use crate::support::TestStore;
use crate::support::build::stk;

on_both_databases!(
    a_slow_answer_keeps_its_lease_and_nobody_asks_twice,
    a_worker_that_was_killed_delays_a_question_no_longer_than_its_lease,
    who_waits_for_a_turn_is_given_back_after_a_while,
    what_has_news_while_it_waits_is_not_asked_about,
    a_lease_is_renewed_only_as_it_was_taken,
);

/// A provider that answers when it is told to.
async fn slow(db: TestStore) -> Scene {
    let script = Script::new(|question| news(question, ResultClass::Success));
    script.gate.forget_permits(usize::MAX);
    Scene::new(db, script).await
}

/// Time passes while the worker looks every few seconds.
async fn work_for(scene: &mut Scene, span: Duration) {
    let until = scene.db.now() + span;
    while scene.db.now() < until {
        let part = (until - scene.db.now()).min(RENEW_EVERY / 2);
        scene.db.advance(part);
        let due = scene.db.now();
        scene.worker.step(due).await.unwrap();
    }
}

async fn a_slow_answer_keeps_its_lease_and_nobody_asks_twice(db: TestStore) {
    let mut scene = slow(db).await;
    scene.payments(3).await;
    scene.db.advance(AFTER);
    let due = scene.db.now();
    assert_eq!(scene.worker.step(due).await.unwrap().asked, 3);
    let mut another = scene.another_worker().await;
    for _ in 0..8 {
        work_for(&mut scene, LEASE / 2).await;
        assert_eq!(all_due(&mut another).await, Step::default());
    }
    scene.script.gate.add_permits(3);
    for _ in 0..3 {
        scene.worker.question_ended().await;
    }
    let due = scene.db.now();
    assert_eq!(scene.worker.step(due).await.unwrap().settled.len(), 3);
    assert_eq!(scene.script.asked().len(), 3, "each once");
}

async fn a_worker_that_was_killed_delays_a_question_no_longer_than_its_lease(db: TestStore) {
    assert!(LEASE <= Duration::seconds(30));
    let mut scene = slow(db).await;
    scene.payment("c").await;
    scene.db.advance(AFTER);
    let due = scene.db.now();
    assert_eq!(scene.worker.step(due).await.unwrap().asked, 1);
    work_for(&mut scene, LEASE * 2).await;
    drop(std::mem::replace(
        &mut scene.worker,
        worker(&scene.db, &scene.lines),
    ));
    scene.script.gate.add_permits(10);
    scene
        .db
        .advance(LEASE - RENEW_EVERY - Duration::milliseconds(1));
    assert_eq!(scene.ask().await.claimed, 0);
    scene.db.advance(RENEW_EVERY + Duration::milliseconds(1));
    assert_eq!(scene.ask().await.settled.len(), 1);
}

async fn who_waits_for_a_turn_is_given_back_after_a_while(db: TestStore) {
    let mut scene = slow(db).await;
    scene.payments(PARTNER_HELD).await;
    scene.db.advance(AFTER);
    let due = scene.db.now();
    let step = scene.worker.step(due).await.unwrap();
    assert_eq!(
        (step.claimed, step.asked),
        (PARTNER_HELD, ACCOUNT_CONCURRENCY)
    );
    let mut another = scene.another_worker().await;
    work_for(&mut scene, LONGEST_WAIT - Duration::seconds(1)).await;
    assert_eq!(all_due(&mut another).await.claimed, 0);
    // The worker that holds them gives them back, and the other one is there first.
    scene.db.advance(Duration::seconds(1));
    let due = scene.db.now();
    scene.worker.step(due).await.unwrap();
    assert_eq!(scene.worker.held(), ACCOUNT_CONCURRENCY);
    let step = another.step(due).await.unwrap();
    assert_eq!(
        (step.claimed, step.asked),
        (PARTNER_HELD - ACCOUNT_CONCURRENCY, ACCOUNT_CONCURRENCY)
    );
}

async fn what_has_news_while_it_waits_is_not_asked_about(db: TestStore) {
    let mut scene = slow(db).await;
    scene.payments(PARTNER_HELD).await;
    scene.db.advance(AFTER);
    let due = scene.db.now();
    let asked = scene.worker.step(due).await.unwrap().asked;
    assert_eq!(asked, ACCOUNT_CONCURRENCY);
    for number in 0..PARTNER_HELD {
        let name = format!("c{number}");
        let told = stk(scene.partner, &name, ResultClass::Success, scene.db.now());
        scene.db.receive(told).await;
    }
    work_for(&mut scene, LEASE).await;
    scene.script.gate.add_permits(asked);
    for _ in 0..asked {
        scene.worker.question_ended().await;
    }
    let due = scene.db.now();
    scene.worker.step(due).await.unwrap();
    assert_eq!(scene.worker.held(), 0);
    assert_eq!(scene.script.asked().len(), asked);
}

fn lease(of: &Transaction, until: chrono::DateTime<chrono::Utc>) -> AskLease {
    AskLease {
        partner_id: of.partner_id,
        transaction_id: of.id,
        until,
    }
}

async fn a_lease_is_renewed_only_as_it_was_taken(db: TestStore) {
    let scene = Scene::new(db, Script::new(|_| nothing())).await;
    let store = &scene.db.store;
    let (held, told) = (scene.payment("c1").await, scene.payment("c2").await);
    scene.db.advance(AFTER);
    let (now, until) = (scene.db.now(), scene.db.now() + LEASE);
    let claimed = store.claim_questions(scene.partner, 2, now, until).await;
    assert_eq!(claimed.unwrap().len(), 2);
    let news = stk(scene.partner, "c2", ResultClass::Unconfirmed, now);
    scene.db.receive(news).await;
    let after_news = scene.ask_at(&told).await;
    assert_ne!(after_news, micros(until));

    let later = until + RENEW_EVERY;
    let both = vec![lease(&held, until), lease(&told, until)];
    let renewed = store.renew_questions(both.clone(), later).await.unwrap();
    assert_eq!(renewed, [held.id]);
    assert_eq!(scene.ask_at(&held).await, micros(later));
    assert_eq!(scene.ask_at(&told).await, after_news);
    let again = store.renew_questions(both, later + LEASE).await.unwrap();
    assert!(again.is_empty(), "it is no longer so: {again:?}");
    let due = store
        .claim_questions(scene.partner, 2, until, until + LEASE)
        .await
        .unwrap();
    assert!(due.iter().all(|one| one.id != held.id));
    let mine = vec![lease(&held, later)];
    let renewed = store.renew_questions(mine, later + LEASE).await.unwrap();
    assert_eq!(renewed, [held.id]);
}
