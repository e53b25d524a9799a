//! What many silent transactions cost: `RECONCILE_ROWS=100000 cargo test --release --test suite -- reconciliation::load
//! --nocapture` prints the cost of a question and the memory before, at most, and after. Without the variable a
//! small number is asked about, so that the test itself is tested.

use std::time::Instant;

use chrono::Duration;
use ussd_status::domain::status_update::ResultClass;
use ussd_status::reconciliation::{HELD, Step};

use super::script::{Script, news};
use super::{AFTER, Scene};
use crate::support::TestStore;

on_both_databases!(silent_transactions_cost_little_and_hold_no_memory);

/// How much more memory asking may take than was in use before, KiB, however many rows there are.
const MEMORY_KIB: u64 = 96 * 1_024;

fn rows() -> usize {
    let rows = std::env::var("RECONCILE_ROWS").ok();
    rows.and_then(|rows| rows.parse().ok()).unwrap_or(1_500)
}

/// Resident memory, KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or_default()
}

async fn silent_transactions_cost_little_and_hold_no_memory(db: TestStore) {
    let count = rows();
    let name = if db.is_sqlite() {
        "SQLite"
    } else {
        "PostgreSQL"
    };
    let script = Script::new(|question| news(question, ResultClass::Pending));
    let mut scene = Scene::new(db, script).await;
    fill(&scene, count).await;
    scene.db.advance(AFTER + Duration::seconds(1));
    let (before, started) = (memory(), Instant::now());
    let (mut total, mut steps, mut most) = (Step::default(), 0_u32, before);
    scene
        .worker
        .run_once(|step| {
            assert!(step.claimed <= HELD);
            super::add(&mut total, step);
            steps += 1;
            if steps.is_multiple_of(100) {
                most = most.max(memory());
            }
        })
        .await
        .unwrap();
    let took = started.elapsed();
    assert_eq!((total.asked, total.answered), (count, count));
    let asked: std::collections::HashSet<_> = scene.script.asked().into_iter().collect();
    assert_eq!(asked.len(), count, "each once");
    println!(
        "{name}: {count} silent transactions, {:.1} s, {:.0} µs a question, {steps} steps; \
         memory {} MiB before, {} MiB at most, {} MiB after",
        took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / count as f64,
        before / 1_024,
        most / 1_024,
        memory() / 1_024,
    );
    assert!(most.saturating_sub(before) < MEMORY_KIB);
}

/// Rows as registrations would have written them, as far as asking reads them; of one partner.
async fn fill(scene: &Scene, count: usize) {
    let template = scene.payment("template").await;
    let number = if scene.db.is_sqlite() {
        "printf('%012d', i)"
    } else {
        "lpad(CAST(i AS TEXT), 12, '0')"
    };
    let cast = if scene.db.is_sqlite() { "" } else { "::uuid" };
    let rest = "partner_id, provider, kind, origin, registered_ids, msisdn, currency, amount_minor, status, \
                unconfirmed, created_at, updated_at";
    let series = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})",
        count - 1
    );
    let id = format!("('01a1fc70-0000-7000-8000-' || {number}){cast}");
    let of = format!("WHERE t.id = '{}'", template.id);
    scene
        .db
        .execute(&format!(
            "INSERT INTO transactions (id, conversation_id, client_request_id, {rest}) {series} \
             SELECT {id}, 'c' || i, 'r' || i, {rest} FROM n CROSS JOIN transactions t {of}; \
             INSERT INTO open_transactions (partner_id, status, created_at, transaction_id, ask_at) {series} \
             SELECT t.partner_id, t.status, t.created_at, {id}, o.ask_at FROM n CROSS JOIN transactions t \
             JOIN open_transactions o ON o.transaction_id = t.id {of}"
        ))
        .await;
}
