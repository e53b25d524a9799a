//! Nothing acknowledged is lost: the real binary, killed again and again at random moments.
//!
//! `KILL_ROUNDS` says how often; unset it is 20 where these tests were asked for (`cargo test kill::`) and 3 where all
//! tests run, so that `cargo test` stays quick. `KILL_SEED` repeats the moments of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::Notify;
use ussd_status::simulator::receiver::Receiver;

use crate::support::TestStore;
use crate::support::program::{Customer, Place, Program, client, customer, registration};

on_both_databases!(what_was_acknowledged_survives_a_kill);

const WORKERS: usize = 8;
/// The longest a round works before its kill.
const ROUND: Duration = Duration::from_millis(1_500);
/// The longest that nothing at all is heard from a webhook: a dead process's lease holds 30 s.
const PATIENCE: Duration = Duration::from_secs(75);

/// A number from the environment.
pub fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Kills a database, if `KILL_ROUNDS` says nothing.
fn default_rounds() -> usize {
    let was_asked_for = std::env::args().skip(1).any(|word| word.contains("kill"));
    if was_asked_for { 20 } else { 3 }
}

/// What callers know to have been taken.
#[derive(Default)]
struct Known {
    acknowledged: Mutex<BTreeSet<String>>,
    registered: Mutex<BTreeSet<String>>,
    next: AtomicUsize,
    progress: Notify,
}

/// What a payment's callback says.
fn outcome(number: usize) -> (i64, &'static str) {
    if number % 5 == 4 {
        (2_001, "failed")
    } else {
        (0, "success")
    }
}

fn expected(name: &str) -> &'static str {
    outcome(name.strip_prefix("KILL-").unwrap().parse().unwrap()).1
}

async fn status_of(client: &reqwest::Client, base: &str, key: &str, query: &str) -> Option<Value> {
    let url = format!("{base}/api/ussd/transaction-status?{query}");
    let answer = client.get(url).header("x-api-key", key).send().await.ok()?;
    let status = answer.status();
    let text = answer.text().await.ok()?;
    assert!(status.is_success(), "{status}: {text}");
    Some(serde_json::from_str(&text).unwrap())
}

/// Registers and posts callbacks, in both orders, and reads, until the other side is gone.
async fn customer_at_work(base: String, customer: Arc<Customer>, known: Arc<Known>) {
    let client = client();
    loop {
        let number = known.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("KILL-{number}");
        for step in 0..2 {
            let is_callback = (number + step).is_multiple_of(2);
            let request = if is_callback {
                client
                    .post(format!("{base}{}", customer.callbacks))
                    .body(crate::api::b2c_result(&name, outcome(number).0))
            } else {
                client
                    .post(format!("{base}/api/ussd/transactions"))
                    .header("x-api-key", &customer.key)
                    .body(registration(&name))
            };
            let Ok(answer) = request.send().await else {
                return;
            };
            let status = answer.status();
            if answer.bytes().await.is_err() {
                return;
            }
            assert!(status.is_success(), "{status}");
            let list = if is_callback {
                &known.acknowledged
            } else {
                &known.registered
            };
            list.lock().unwrap().insert(name.clone());
            known.progress.notify_one();
        }
        let query = format!("client_request_id={name}");
        let Some(page) = status_of(&client, &base, &customer.key, &query).await else {
            return;
        };
        assert_eq!(page["transactions"][0]["status"], expected(&name), "{page}");
    }
}

/// Which events the partner was told of, and under which ids.
type Heard = BTreeMap<(String, u64), BTreeSet<String>>;

async fn what_was_acknowledged_survives_a_kill(db: TestStore) {
    let rounds: usize = setting("KILL_ROUNDS").unwrap_or_else(default_rounds);
    let seed: u64 = setting("KILL_SEED").unwrap_or_else(rand::random);
    println!("KILL_ROUNDS={rounds} KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::new(&db);
    let customer = Arc::new(customer(&place));
    let (receiver, mut arrivals) = Receiver::start(
        ([127, 0, 0, 1], 0).into(),
        ussd_status::simulator::system_time(),
    )
    .await
    .unwrap();
    let url = receiver.url("kilimo");
    let webhook = place.json(
        &[
            "webhook",
            "create",
            "--partner",
            &customer.id,
            "--url",
            &url,
            "--json",
        ],
        "",
    );
    assert!(receiver.set_secrets("kilimo", &[webhook["secret"].as_str().unwrap()]));
    let known = Arc::new(Known::default());
    let mut heard = Heard::new();
    let mut checked = BTreeSet::new();
    let mut program = place.serve();
    for _ in 0..rounds {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let work = customer_at_work(program.base(), customer.clone(), known.clone());
                tokio::spawn(work)
            })
            .collect();
        tokio::time::timeout(Duration::from_secs(20), known.progress.notified())
            .await
            .expect("work begins");
        let moment = random.random_range(0..ROUND.as_micros());
        tokio::time::sleep(Duration::from_micros(u64::try_from(moment).unwrap())).await;
        program.signal("-KILL");
        for worker in workers {
            worker.await.unwrap();
        }
        assert_eq!(
            program.end(Duration::from_secs(10)).0,
            None,
            "killed, not ended"
        );
        db.recount().await;
        program = place.serve();
        what_was_taken_is_there(&db, &program, &customer, &known, &mut checked).await;
        while let Ok(webhook) = arrivals.try_recv() {
            note(&mut heard, webhook);
        }
    }
    // The partner hears of every transition, whatever was in flight at a kill.
    let feed = db
        .count("FROM transaction_events WHERE sequence IS NOT NULL")
        .await;
    while heard.len() < usize::try_from(feed).unwrap() {
        let webhook = tokio::time::timeout(PATIENCE, arrivals.recv()).await;
        note(&mut heard, webhook.expect("every webhook").unwrap());
    }
    program.signal("-KILL");
    program.end(Duration::from_secs(10));
    db.recount().await;
    let told: BTreeSet<(String, u64)> = db
        .rows(
            &["transaction_id", "sequence"],
            "FROM transaction_events WHERE sequence IS NOT NULL",
        )
        .await
        .iter()
        .map(|row| {
            (
                row[0].as_str().unwrap().to_owned(),
                row[1].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(heard.keys().cloned().collect::<BTreeSet<_>>(), told);
    assert!(
        heard.values().all(|ids| ids.len() == 1),
        "one event id each, however often it was sent"
    );
    let ids: BTreeSet<_> = heard.values().flatten().collect();
    assert_eq!(ids.len(), heard.len(), "no two events under one id");
    println!("{} transactions, {} events", checked.len(), heard.len());
}

fn note(heard: &mut Heard, webhook: ussd_status::simulator::receiver::ReceivedWebhook) {
    assert!(webhook.verified, "{webhook:?}");
    heard
        .entry((webhook.transaction_id.unwrap(), webhook.sequence.unwrap()))
        .or_default()
        .insert(webhook.webhook_id);
}

/// Checks what is new since the last kill one by one, and everything by its sums.
async fn what_was_taken_is_there(
    db: &TestStore,
    program: &Program,
    customer: &Customer,
    known: &Known,
    checked: &mut BTreeSet<String>,
) {
    let client = client();
    let acknowledged = known.acknowledged.lock().unwrap().clone();
    let registered = known.registered.lock().unwrap().clone();
    // Everything acknowledged is in the inbox.
    let text = if db.is_sqlite() {
        "CAST(body AS TEXT)"
    } else {
        "convert_from(body, 'UTF8')"
    };
    let kept: BTreeSet<String> = db
        .rows(&[text], "FROM callbacks")
        .await
        .iter()
        .map(|row| {
            let body: Value = serde_json::from_str(row[0].as_str().unwrap()).unwrap();
            let name = &body["Result"]["ConversationID"];
            name.as_str().unwrap().to_owned()
        })
        .collect();
    assert!(
        acknowledged.is_subset(&kept),
        "{:?}",
        acknowledged.difference(&kept)
    );
    // A partner that did not hear back asks again: the same transaction, or a new one that its callback waits for.
    let fresh: BTreeSet<String> = kept.union(&registered).cloned().collect();
    for name in fresh.difference(checked) {
        let answer = client
            .post(format!("{}/api/ussd/transactions", program.base()))
            .header("x-api-key", &customer.key)
            .body(registration(name))
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let is_right = status == 200 || status == 201 && !registered.contains(name);
        assert!(is_right, "{status} {name}: {body}");
        if kept.contains(name) {
            assert_eq!(body["transaction"]["status"], expected(name), "{body}");
        }
    }
    checked.extend(fresh);
    assert_eq!(db.count("FROM waiting_callbacks").await, 0);
    // Each was applied exactly once.
    let finals = db
        .rows(
            &["t.conversation_id", "e.to_status"],
            "FROM transaction_events e JOIN transactions t ON t.id = e.transaction_id WHERE e.to_status IN ('success', 'failed')",
        )
        .await;
    let mut applied = BTreeSet::new();
    let mut successes = 0_u64;
    for row in &finals {
        let name = row[0].as_str().unwrap();
        assert_eq!(row[1], expected(name), "{name}");
        assert!(applied.insert(name.to_owned()), "{name} was applied twice");
        successes += u64::from(row[1] == "success");
    }
    assert_eq!(applied, kept, "what is in the inbox was applied");
    // The statistics agree with the rows.
    let page = status_of(&client, &program.base(), &customer.key, "limit=1").await;
    let page = page.unwrap();
    let rows = db.count("FROM transactions").await;
    let statistics = &page["statistics"];
    assert_eq!(page["pagination"]["total"], rows);
    assert_eq!(statistics["total_transactions"], rows);
    assert_eq!(statistics["successful_transactions"], successes);
    assert_eq!(
        statistics["failed_transactions"],
        json!(u64::try_from(applied.len()).unwrap() - successes)
    );
    let cents = 1_050 * successes;
    assert_eq!(
        statistics["successful_amount"].to_string(),
        format!("{}.{:02}", cents / 100, cents % 100)
    );
}
