//! Silent providers are asked: when, how fast, by whom, and when it ends; against a provider that follows a script.

mod command;
mod leases;
mod load;
mod script;
mod service;

use std::collections::HashSet;
use std::sync::Arc;

use chrono::Duration;
use ussd_status::domain::asking::AskSchedule;
use ussd_status::domain::clock::Instant;
use ussd_status::domain::identity::{AccountId, PartnerId};
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::ResultClass;
use ussd_status::domain::timeline::TimelineKind;
use ussd_status::domain::transaction::Transaction;
use ussd_status::reconciliation::breaker::{FAILURES_TO_OPEN, FIRST_REST};
use ussd_status::reconciliation::pace::FIRST_PAUSE;
use ussd_status::reconciliation::{HELD, PARTNER_HELD, Reconciler, Step};

use crate::support::TestStore;
use crate::support::build::{registration_with, stk};
use script::{Script, Scripts, down, news, nothing, throttled, will_tell};

on_both_databases!(
    a_lost_callback_is_made_good_by_a_question,
    pauses_grow_until_asking_ends_and_what_is_stuck_is_told,
    what_ended_while_the_service_was_away_is_asked_about_before_it_is_given_up,
    nobody_is_asked_before_the_time_or_after_news,
    an_unconfirmed_failure_is_asked_about_until_it_was_heard_once,
    a_question_that_failed_never_overturns_a_final_state,
    a_rate_answer_slows_its_own_account_alone,
    a_provider_that_is_down_is_left_alone_and_then_asked_once,
    two_workers_ask_about_each_transaction_once,
    what_is_held_is_bounded_however_much_is_due,
    a_stopping_worker_gives_back_what_it_did_not_come_to,
    without_an_account_nothing_is_asked_and_it_ends_stuck,
);

const AFTER: Duration = Duration::seconds(60);

/// A store, a partner with an account, and the worker that asks its script.
struct Scene {
    db: TestStore,
    partner: PartnerId,
    script: Arc<Script>,
    lines: Arc<Scripts>,
    worker: Reconciler,
}

impl Scene {
    async fn new(db: TestStore, script: Arc<Script>) -> Self {
        let partner = db.partner().await;
        let lines = Arc::new(Scripts::default());
        lines.set(partner, AccountId::new(db.now()), &script);
        let worker = worker(&db, &lines);
        Self {
            db,
            partner,
            script,
            lines,
            worker,
        }
    }

    async fn payment(&self, name: &str) -> Transaction {
        self.db
            .register(registration_with(self.partner, name, name))
            .await
    }

    async fn payments(&self, count: usize) {
        for number in 0..count {
            self.payment(&format!("c{number}")).await;
        }
    }

    /// Asks about all that is due now; what all steps did together.
    async fn ask(&mut self) -> Step {
        all_due(&mut self.worker).await
    }

    /// A worker of another process.
    async fn another_worker(&self) -> Reconciler {
        Reconciler::new(
            self.db.another_store().await,
            self.db.clock.clone(),
            self.lines.clone(),
            AskSchedule::new(AFTER, Duration::hours(48)),
        )
    }

    async fn ask_at(&self, of: &Transaction) -> Vec<i64> {
        let at = self.db.micros("ask_at");
        let from = format!("FROM open_transactions WHERE transaction_id = '{}'", of.id);
        let rows = self.db.rows(&[&at], &from).await;
        rows.iter().map(|row| row[0].as_i64().unwrap()).collect()
    }
}

fn worker(db: &TestStore, lines: &Arc<Scripts>) -> Reconciler {
    let schedule = AskSchedule::new(AFTER, Duration::hours(48));
    Reconciler::new(db.store.clone(), db.clock.clone(), lines.clone(), schedule)
}

async fn all_due(worker: &mut Reconciler) -> Step {
    let mut all = Step::default();
    worker.run_once(|step| add(&mut all, step)).await.unwrap();
    all
}

fn add(all: &mut Step, step: &Step) {
    all.claimed += step.claimed;
    all.asked += step.asked;
    all.answered += step.answered;
    all.postponed += step.postponed;
    all.settled.extend(step.settled.iter().copied());
    all.stuck.extend(step.stuck.iter().copied());
}

fn micros(at: Instant) -> Vec<i64> {
    vec![at.timestamp_micros()]
}

async fn a_lost_callback_is_made_good_by_a_question(db: TestStore) {
    let script = Script::new(|question| news(question, ResultClass::Success));
    let mut scene = Scene::new(db, script).await;
    let payment = scene.payment("c").await;
    scene.db.advance(AFTER);
    let step = scene.ask().await;
    assert_eq!((step.asked, step.answered), (1, 1));
    assert_eq!(step.settled, [(payment.id, Status::Success)]);
    let (found, timeline) = scene.db.find(&payment).await;
    assert_eq!(found.status, Status::Success);
    assert_eq!(timeline.last().unwrap().source, "query:stk_push");
    scene.db.advance(Duration::hours(72));
    assert_eq!(scene.ask().await, Step::default());
}

async fn pauses_grow_until_asking_ends_and_what_is_stuck_is_told(db: TestStore) {
    let mut scene = Scene::new(db, Script::new(|_| nothing())).await;
    let payment = scene.payment("c").await;
    let mut minutes = Vec::new();
    for minute in 1..=48 * 60 {
        scene.db.advance(Duration::minutes(1));
        // Looking for what is due is cheap, but not two days of it.
        let is_near = minute < 10 || minute % 4 == 0;
        if is_near && scene.ask().await.asked > 0 {
            minutes.push(minute);
        }
    }
    assert_eq!(minutes[..6], [1, 2, 4, 8, 16, 32]);
    assert!(minutes.windows(2).all(|pair| pair[1] - pair[0] <= 64));
    let (found, timeline) = scene.db.find(&payment).await;
    assert_eq!(found.status, payment.status, "never guessed");
    let told = timeline
        .iter()
        .filter(|line| line.kind == TimelineKind::Stuck);
    assert_eq!(told.count(), 1);
    let stuck = scene.db.store.list_stuck(None, 10).await.unwrap();
    assert_eq!(stuck[0].0.id, payment.id);
    let backlog = scene.db.store.count_backlog().await.unwrap();
    assert_eq!(backlog.stuck_transactions, 1);
    let asked = scene.script.asked().len();
    scene.db.advance(Duration::hours(48));
    assert_eq!(scene.ask().await, Step::default());
    assert_eq!(scene.script.asked().len(), asked, "asking is over");
}

async fn what_ended_while_the_service_was_away_is_asked_about_before_it_is_given_up(db: TestStore) {
    let script = Script::new(|question| match question.ids.conversation_id.as_deref() {
        Some("paid") => news(question, ResultClass::Success),
        _ => nothing(),
    });
    let mut scene = Scene::new(db, script).await;
    let paid = scene.payment("paid").await;
    let silent = scene.payment("silent").await;
    scene.db.advance(Duration::hours(72));
    scene.worker.resume();
    let step = scene.ask().await;
    assert_eq!(step.asked, 2);
    assert_eq!(step.settled, [(paid.id, Status::Success)]);
    assert_eq!(step.stuck, []);
    scene.db.advance(AskSchedule::LONGEST_PAUSE);
    let step = scene.ask().await;
    assert_eq!((step.asked, step.stuck), (1, vec![]));
    scene.db.advance(AskSchedule::LATE_FOR);
    let step = scene.ask().await;
    assert_eq!((step.asked, step.stuck), (0, vec![silent.id]));
}

async fn nobody_is_asked_before_the_time_or_after_news(db: TestStore) {
    let mut scene = Scene::new(db, Script::new(|_| nothing())).await;
    let payment = scene.payment("c").await;
    scene.db.advance(AFTER - Duration::milliseconds(1));
    assert_eq!(scene.ask().await.claimed, 0);
    let told = stk(scene.partner, "c", ResultClass::Success, scene.db.now());
    scene.db.receive(told).await;
    scene.db.advance(AFTER);
    assert_eq!(scene.ask().await.claimed, 0);
    assert!(scene.ask_at(&payment).await.is_empty());
}

async fn an_unconfirmed_failure_is_asked_about_until_it_was_heard_once(db: TestStore) {
    let mut scene = Scene::new(db, Script::new(|_| down())).await;
    let payment = scene.payment("c").await;
    let told = stk(scene.partner, "c", ResultClass::Unconfirmed, scene.db.now());
    scene.db.receive(told).await;
    assert_eq!(scene.ask().await.asked, 1, "at once");
    scene.db.advance(AFTER);
    scene.script.says(|_| will_tell());
    assert_eq!(scene.ask().await.asked, 1, "nobody had heard the first");
    scene.db.advance(Duration::hours(24));
    assert_eq!(scene.ask().await.asked, 0);
    assert_eq!(scene.db.find(&payment).await.0.status, Status::Failed);
    // What the question asked for comes by its callback.
    let told = stk(scene.partner, "c", ResultClass::Success, scene.db.now());
    scene.db.receive(told).await;
    assert_eq!(scene.db.find(&payment).await.0.status, Status::Success);
}

async fn a_question_that_failed_never_overturns_a_final_state(db: TestStore) {
    let script = Script::new(|question| news(question, ResultClass::Failed));
    script.gate.forget_permits(usize::MAX);
    let mut scene = Scene::new(db, script).await;
    let payment = scene.payment("c").await;
    scene.db.advance(AFTER);
    let due = scene.db.now();
    assert_eq!(scene.worker.step(due).await.unwrap().asked, 1);
    // The callback comes while the question is under way.
    let told = stk(scene.partner, "c", ResultClass::Success, scene.db.now());
    scene.db.receive(told).await;
    scene.script.gate.add_permits(1);
    scene.worker.question_ended().await;
    let step = scene.worker.step(due).await.unwrap();
    assert_eq!((step.answered, step.settled.len()), (1, 0), "{step:?}");
    let (found, timeline) = scene.db.find(&payment).await;
    assert_eq!(found.status, Status::Success);
    assert_eq!(timeline.last().unwrap().kind, TimelineKind::Conflict);
}

async fn a_rate_answer_slows_its_own_account_alone(db: TestStore) {
    let mut scene = Scene::new(db, Script::new(|_| throttled())).await;
    let other = scene.db.partner().await;
    let answering = Script::new(|question| news(question, ResultClass::Success));
    let account = AccountId::new(scene.db.now());
    scene.lines.set(other, account, &answering);
    scene.payments(PARTNER_HELD).await;
    for number in 0..PARTNER_HELD {
        let name = format!("other {number}");
        let payment = registration_with(other, &name, &name);
        scene.db.register(payment).await;
    }
    scene.db.advance(AFTER);
    let step = scene.ask().await;
    assert_eq!(answering.asked().len(), PARTNER_HELD, "not slowed");
    assert_eq!(step.settled.len(), PARTNER_HELD);
    let burst = scene.script.asked().len();
    assert!((1..=4).contains(&burst), "{burst} questions");
    assert_eq!(step.postponed, PARTNER_HELD - burst, "put back, not asked");
    // The pauses double, and one question each finds out.
    let mut pause = FIRST_PAUSE;
    for round in 1..=4 {
        scene.db.advance(pause - Duration::milliseconds(1));
        assert_eq!(scene.ask().await.asked, 0, "round {round}");
        scene.db.advance(Duration::milliseconds(1));
        assert_eq!(scene.ask().await.asked, 1, "round {round}");
        pause = pause * 2;
    }
    // A good answer ends it.
    scene
        .script
        .says(|question| news(question, ResultClass::Success));
    scene.db.advance(Duration::minutes(5));
    let mut settled = 0;
    for _ in 0..4 {
        settled += scene.ask().await.settled.len();
        scene.db.advance(Duration::seconds(5));
    }
    assert_eq!(settled, PARTNER_HELD);
}

async fn a_provider_that_is_down_is_left_alone_and_then_asked_once(db: TestStore) {
    let mut scene = Scene::new(db, Script::new(|_| down())).await;
    scene.payments(3 * PARTNER_HELD).await;
    scene.db.advance(AFTER);
    let step = scene.ask().await;
    let limit = usize::try_from(FAILURES_TO_OPEN).unwrap();
    let asked = scene.script.asked().len();
    assert!((limit..limit + 4).contains(&asked), "{asked} questions");
    assert_eq!(step.postponed, 3 * PARTNER_HELD - asked);
    scene.db.advance(FIRST_REST - Duration::milliseconds(1));
    assert_eq!(scene.ask().await.asked, 0);
    scene.db.advance(Duration::milliseconds(1));
    assert_eq!(scene.ask().await.asked, 1, "one probe");
    scene.db.advance(FIRST_REST);
    assert_eq!(scene.ask().await.asked, 0, "the rest has doubled");
    scene
        .script
        .says(|question| news(question, ResultClass::Success));
    let mut settled = 0;
    for _ in 0..6 {
        scene.db.advance(AFTER);
        settled += scene.ask().await.settled.len();
    }
    assert_eq!(settled, 3 * PARTNER_HELD);
}

async fn two_workers_ask_about_each_transaction_once(db: TestStore) {
    let script = Script::new(|question| news(question, ResultClass::Success));
    let mut scene = Scene::new(db, script).await;
    let count = 6 * PARTNER_HELD;
    scene.payments(count).await;
    scene.db.advance(AFTER);
    let another = scene.another_worker().await;
    let mut workers = [scene.worker, another];
    let due = scene.db.now();
    while scene.script.asked().len() < count {
        let [one, two] = &mut workers;
        let (one, two) = tokio::join!(one.step(due), two.step(due));
        one.unwrap();
        two.unwrap();
        let [one, two] = &mut workers;
        tokio::join!(one.question_ended(), two.question_ended());
    }
    for worker in &mut workers {
        all_due(worker).await;
    }
    let asked = scene.script.asked();
    assert_eq!(asked.len(), count);
    assert_eq!(asked.into_iter().collect::<HashSet<_>>().len(), count);
    let paid = "FROM transactions WHERE status = 'success'";
    assert_eq!(scene.db.count(paid).await, i64::try_from(count).unwrap());
    scene.worker = worker(&scene.db, &scene.lines);
    assert_eq!(scene.ask().await, Step::default());
}

async fn what_is_held_is_bounded_however_much_is_due(db: TestStore) {
    let script = Script::new(|_| nothing());
    script.gate.forget_permits(usize::MAX);
    let mut scene = Scene::new(db, script).await;
    scene.payments(3 * PARTNER_HELD).await;
    for partner in 0..7 {
        let id = scene.db.partner().await;
        scene
            .lines
            .set(id, AccountId::new(scene.db.now()), &scene.script);
        for number in 0..PARTNER_HELD {
            let name = format!("{partner}.{number}");
            scene.db.register(registration_with(id, &name, &name)).await;
        }
    }
    scene.db.advance(AFTER);
    let due = scene.db.now();
    assert_eq!(scene.worker.step(due).await.unwrap().claimed, HELD);
    assert_eq!(scene.worker.held(), HELD);
    assert_eq!(scene.worker.step(due).await.unwrap().claimed, 0);
    // Four an account, of at least five accounts.
    let claimed = "FROM (SELECT COUNT(*) AS held FROM open_transactions \
                   WHERE ask_at > (SELECT MIN(ask_at) FROM open_transactions) GROUP BY partner_id) AS of_partner \
                   WHERE held > 20";
    assert_eq!(scene.db.count(claimed).await, 0);
}

async fn a_stopping_worker_gives_back_what_it_did_not_come_to(db: TestStore) {
    let script = Script::new(|question| news(question, ResultClass::Success));
    script.gate.forget_permits(usize::MAX);
    let mut scene = Scene::new(db, script).await;
    scene.payments(PARTNER_HELD).await;
    scene.db.advance(AFTER);
    let cancel = tokio_util::sync::CancellationToken::new();
    let old = std::mem::replace(&mut scene.worker, worker(&scene.db, &scene.lines));
    let running = tokio::spawn(old.run(cancel.clone(), |_| {}));
    while scene.script.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    scene.script.gate.add_permits(1_000);
    running.await.unwrap();
    let step = scene.ask().await;
    assert!(step.claimed > 0, "{step:?}");
    let paid = "FROM transactions WHERE status = 'success'";
    assert_eq!(
        scene.db.count(paid).await,
        i64::try_from(PARTNER_HELD).unwrap()
    );
    assert_eq!(scene.script.asked().len(), PARTNER_HELD, "each once");
}

async fn without_an_account_nothing_is_asked_and_it_ends_stuck(db: TestStore) {
    let mut scene = Scene::new(db, Script::new(|_| nothing())).await;
    let stranger = scene.db.partner().await;
    let payment = registration_with(stranger, "c", "c");
    let payment = scene.db.register(payment).await;
    scene.db.advance(AFTER);
    let step = scene.ask().await;
    assert_eq!((step.claimed, step.asked), (1, 0));
    let again = payment.updated_at + AFTER * 2;
    assert_eq!(scene.ask_at(&payment).await, micros(again));
    scene.db.advance(Duration::hours(48));
    assert_eq!(scene.ask().await.stuck, [payment.id]);
}
