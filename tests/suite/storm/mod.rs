//! A storm: random payments of every kind by every route, through the service and the simulator over HTTP, while
//! everything goes wrong that can; then quiet, and both sides' books are held against each other.
//!
//! `STORM_PAYMENTS` says how many payments a database gets (unset: 80), `STORM_KILLS` how often the real binary is
//! killed meanwhile (unset: once), and `STORM_SEED` repeats the orders and faults of a run.

mod books;
mod client;
mod orders;
mod secrets;
mod stage;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use rand::RngExt;

use crate::kill::setting;
use crate::support::TestStore;
use crate::support::program::Program;
use orders::{Order, Orders};
use stage::Stage;

on_both_databases!(
    both_books_agree_after_a_storm,
    both_books_agree_after_a_storm_of_kills,
);

/// Payments at the same time.
const CLIENTS: usize = 16;
/// Payments for each kill.
const PAYMENTS_A_KILL: usize = 30;
/// How much faster than the machine's the clock runs, so that questions come due amid the storm.
const PACE: i32 = 20;
/// The longest that a killed service's orders stand still.
const PATIENCE: Duration = Duration::from_secs(60);
/// A kill comes at most so long after the payment that it waited for.
const HESITATION: Duration = Duration::from_millis(80);

fn seed() -> u64 {
    let seed = setting("STORM_SEED").unwrap_or_else(rand::random);
    println!("STORM_SEED={seed}");
    seed
}

/// Sends them all, some at the same time.
async fn order_all(stage: &Arc<Stage>, orders: Vec<Order>) {
    futures_util::stream::iter(orders)
        .for_each_concurrent(CLIENTS, async |order| client::send(stage, &order).await)
        .await;
}

/// Every third M-Pesa payment that succeeded is taken back.
async fn reversals(stage: &Stage, orders: &mut Orders) -> Vec<Order> {
    let all = books::reversible(stage).await;
    let chosen = all
        .iter()
        .filter(|_| orders.chance(0.34))
        .collect::<Vec<_>>();
    let made = chosen
        .into_iter()
        .map(|(id, amount)| orders.reversal(id, amount));
    made.collect()
}

async fn both_books_agree_after_a_storm(db: TestStore) {
    let count = setting("STORM_PAYMENTS").unwrap_or(80);
    let (stage, app) = Stage::set(db, seed(), PACE).await;
    stage.unleash();
    let mut orders = Orders::new(stage.seed);
    order_all(&stage, (0..count).map(|_| orders.payment()).collect()).await;
    stage.simulator.until_quiet().await;
    let back = reversals(&stage, &mut orders).await;
    order_all(&stage, back).await;
    stage.quiet().await;
    let metrics = stage
        .client
        .get(format!("{}/metrics", app.base))
        .send()
        .await;
    stage.keep("metrics", metrics.unwrap().text().await.unwrap());
    app.end().await;
    books::balance(&stage).await.print();
    books::every_transition_was_told_once(&stage, false).await;
    secrets::nothing_was_written(&stage).await;
}

async fn both_books_agree_after_a_storm_of_kills(db: TestStore) {
    let kills: usize = setting("STORM_KILLS").unwrap_or(1);
    let (stage, app) = Stage::set(db, seed(), 1).await;
    app.end().await;
    let mut program = stage.program();
    stage.unleash();
    let mut orders = Orders::new(stage.seed);
    let count = PAYMENTS_A_KILL * (kills + 1);
    let payments = (0..count).map(|_| orders.payment()).collect();
    let mut paying = tokio::spawn({
        let stage = stage.clone();
        async move { order_all(&stage, payments).await }
    });
    for kill in 1..=kills {
        until_answered(&stage, kill * PAYMENTS_A_KILL, &mut paying).await;
        let hesitation = rand::rng().random_range(Duration::ZERO..HESITATION);
        tokio::time::sleep(hesitation).await;
        note_metrics(&stage, &program).await;
        kill_and_restart(&stage, &mut program);
    }
    paying.await.unwrap();
    let back = reversals(&stage, &mut orders).await;
    order_all(&stage, back).await;
    note_metrics(&stage, &program).await;
    program.signal("-TERM");
    let (code, log) = program.end(Duration::from_secs(30));
    assert_eq!(code, Some(0), "it stops in order: {log}");
    stage.keep("log", log);
    // The rest of two days passes in this process, under a clock that can be moved.
    let app = stage.app().await;
    stage.quiet().await;
    app.end().await;
    books::balance(&stage).await.print();
    books::every_transition_was_told_once(&stage, true).await;
    secrets::nothing_was_written(&stage).await;
}

async fn until_answered(stage: &Stage, count: usize, paying: &mut tokio::task::JoinHandle<()>) {
    while stage.answered.load(Ordering::Relaxed) < count && !paying.is_finished() {
        let told = tokio::time::timeout(PATIENCE, stage.progress.notified());
        told.await.expect("payments go on");
    }
}

async fn note_metrics(stage: &Stage, program: &Program) {
    let metrics = stage
        .client
        .get(format!("{}/metrics", program.base()))
        .send()
        .await;
    stage.keep("metrics", metrics.unwrap().text().await.unwrap());
}

fn kill_and_restart(stage: &Stage, program: &mut Program) {
    program.signal("-KILL");
    let (code, log) = program.end(Duration::from_secs(10));
    assert_eq!(code, None, "killed, not ended");
    stage.gate.lead_nowhere();
    stage.keep("log", log);
    *program = stage.program();
}
