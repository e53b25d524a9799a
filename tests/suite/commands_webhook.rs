//! `webhook listen` and `webhook check`, the real binary against a receiver that verifies.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use ussd_status::domain::clock::{Clock, SystemClock};
use ussd_status::domain::status_update::ResultClass;
use ussd_status::simulator::receiver::{Fault, ReceivedWebhook, Receiver, Rejection};
use ussd_status::vault::new_master_key;
use ussd_status::webhooks::Secret;

use crate::support::TestStore;
use crate::support::build::{registration_with, stk};
use crate::support::program::Place;
use crate::support::tls;

on_both_databases!(
    live_events_are_relayed_signed_and_in_order,
    a_receiver_that_refuses_is_tried_again_and_passed_over,
);

async fn receiver() -> (Receiver, UnboundedReceiver<ReceivedWebhook>) {
    let now = std::sync::Arc::new(|| SystemClock.now());
    Receiver::start(([127, 0, 0, 1], 0).into(), now)
        .await
        .unwrap()
}

async fn next(arrivals: &mut UnboundedReceiver<ReceivedWebhook>) -> ReceivedWebhook {
    tokio::time::timeout(Duration::from_secs(60), arrivals.recv())
        .await
        .expect("a webhook in time")
        .unwrap()
}

/// `webhook listen` at work; killed with this value.
struct Listening {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Listening {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut child = place
            .command(&[&["webhook", "listen"], arguments].concat())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut problem = String::new();
            let mut stderr = self.child.stderr.take().unwrap();
            stderr.read_to_string(&mut problem).unwrap();
            panic!("it ended: {problem}");
        }
        line.trim_end().to_owned()
    }

    /// Reads the secret and the line after it.
    fn secret(&mut self) -> String {
        let line = self.line();
        let secret = line.strip_prefix("secret ").unwrap().to_owned();
        secret.parse::<Secret>().unwrap();
        let ready = self.line();
        assert!(ready.starts_with("events after "), "{ready}");
        secret
    }

    fn interrupt(mut self) -> String {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap();
        assert!(sent.success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{rest}");
        rest
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn live_events_are_relayed_signed_and_in_order(db: TestStore) {
    let place = Place::new(&db);
    let partner = db.partner().await;
    db.register(registration_with(partner, "before", "before"))
        .await;
    let (receiver, mut arrivals) = receiver().await;
    let (id, url) = (partner.to_string(), receiver.url("dev"));
    let mut listening = Listening::start(&place, &["--partner", &id, "--forward-to", &url]);
    assert!(receiver.set_secrets("dev", &[&listening.secret()]));
    let row = db.register(registration_with(partner, "a", "c")).await;
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    let page = db.store.list_events(partner, 1, 10).await.unwrap();
    for event in &page.events {
        let webhook = next(&mut arrivals).await;
        assert!(webhook.verified, "{:?}", webhook.rejection);
        assert_eq!(webhook.webhook_id, format!("evt_{}", event.id));
        let body = ussd_status::webhooks::body::event_body(event);
        assert_eq!(webhook.body.as_bytes(), body);
        let line = listening.line();
        let start = format!(
            "{}  {}  {}  answered 200 in ",
            event.sequence,
            event.event_type(),
            row.id
        );
        assert!(line.starts_with(&start), "{line}");
    }
    assert_eq!(page.events.len(), 2);
    assert_eq!(listening.interrupt(), "go on with --after 3\n");

    // From the beginning, by another secret.
    let mut again = Listening::start(
        &place,
        &["--partner", &id, "--forward-to", &url, "--after", "0"],
    );
    let line = again.line();
    assert!(line.starts_with("secret "), "{line}");
    let first = next(&mut arrivals).await;
    assert_eq!(first.sequence, Some(1));
    assert_eq!(
        first.rejection,
        Some(Rejection::Signature),
        "every run has a secret of its own"
    );
}

async fn a_receiver_that_refuses_is_tried_again_and_passed_over(db: TestStore) {
    let place = Place::new(&db);
    let partner = db.partner().await;
    let (receiver, mut arrivals) = receiver().await;
    let (id, url) = (partner.to_string(), receiver.url("dev"));
    let mut listening = Listening::start(&place, &["--partner", &id, "--forward-to", &url]);
    assert!(receiver.set_secrets("dev", &[&listening.secret()]));
    receiver.set_fault("dev", Fault::Answer(503), Some(5));
    for name in ["a", "b"] {
        db.register(registration_with(partner, name, name)).await;
    }
    let mut seen = Vec::new();
    for _ in 0..6 {
        let webhook = next(&mut arrivals).await;
        seen.push((webhook.sequence.unwrap(), webhook.answered));
    }
    let wanted = [(1, 503), (1, 503), (1, 503), (1, 503), (2, 503), (2, 200)];
    assert_eq!(seen, wanted);
    let (first, second) = (listening.line(), listening.line());
    assert!(
        first.contains("answered 503") && first.ends_with(", not taken after 4 attempts"),
        "{first}"
    );
    assert!(second.ends_with(", taken at attempt 2"), "{second}");
    assert_eq!(listening.interrupt(), "go on with --after 2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_to_nobody_or_to_nowhere_is_refused() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let nobody = "00000000-0000-7000-8000-000000000000";
    let listen = ["webhook", "listen", "--partner", nobody, "--forward-to"];
    let with = |rest: &[&'static str]| [&listen[..], rest].concat();
    let problem = place.fails(1, &with(&["http://127.0.0.1:9/"]), "");
    assert!(problem.contains(nobody), "{problem}");
    for (rest, words) in [
        (
            vec!["ftp://127.0.0.1/"],
            "--forward-to: the URL begins with ftp:",
        ),
        (vec!["http://169.254.169.254/"], "metadata"),
        (vec!["http://127.0.0.1:9/", "--after", "-1"], "--after"),
    ] {
        let problem = place.fails(2, &with(&rest), "");
        assert!(problem.contains(words), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_verifies_passes_the_check() {
    let db = TestStore::sqlite_unmigrated().await;
    let place = Place::new(&db);
    let (receiver, mut arrivals) = receiver().await;
    let secret = Secret::generate().unwrap().reveal();
    assert!(receiver.set_secrets("dev", &[&secret]));
    let url = receiver.url("dev");
    let check = ["webhook", "check", url.as_str()];
    let by_flag = [&check[..], &["--secret", secret.as_str(), "--json"]].concat();
    let answer = place.json(&by_flag, "");
    assert_eq!(answer["passed"], true, "{answer}");
    let checks = answer["checks"].as_array().unwrap();
    let told: Vec<_> = checks
        .iter()
        .map(|one| {
            (
                one["check"].as_str().unwrap(),
                one["status"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("valid", 200),
            ("tampered", 401),
            ("old", 401),
            ("repeated", 200),
            ("unknown_type", 200)
        ]
    );
    let mut got = Vec::new();
    for _ in 0..5 {
        got.push(next(&mut arrivals).await);
    }
    let rejections: Vec<_> = got.iter().map(|webhook| webhook.rejection).collect();
    assert_eq!(
        rejections,
        [
            None,
            Some(Rejection::Signature),
            Some(Rejection::Timestamp),
            None,
            None
        ]
    );
    let repeats: Vec<_> = got.iter().map(|webhook| webhook.duplicate).collect();
    assert_eq!(repeats, [false, false, false, true, false]);

    // The secret on standard input, and lines for people.
    let output = place.run(&check, &format!("{}\n", secret.as_str()));
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.lines().all(|line| line.starts_with("ok ")), "{text}");
    assert!(!text.contains(secret.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_or_refuses_everything_fails_the_check() {
    let db = TestStore::sqlite_unmigrated().await;
    let place = Place::new(&db);
    let (receiver, _arrivals) = receiver().await;
    let url = receiver.url("dev");
    receiver.set_fault("dev", Fault::Answer(200), None);
    let output = place.run(&["webhook", "check", &url, "--json"], "");
    assert_eq!(output.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let passed: Vec<_> = answer["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["passed"].clone())
        .collect();
    assert_eq!(json!(passed), json!([true, false, false, true, true]));
    let problem = String::from_utf8(output.stderr).unwrap();
    assert!(problem.contains("secret whsec_"), "a fresh one: {problem}");

    receiver.clear_fault("dev");
    // It does not know the fresh secret, which comes first.
    let output = place.run(&["webhook", "check", &url], "\n");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("secret whsec_"), "{text}");
    assert!(text.contains("failing  valid: answered 401"), "{text}");
    assert!(text.contains("ok       tampered: answered 401"), "{text}");
    let wrong = place.fails(2, &["webhook", "check", &url, "--secret", "whsec_zz"], "");
    assert!(
        wrong.contains("--secret") && !wrong.contains("zz"),
        "{wrong}"
    );
    let nobody = place.run(&["webhook", "check", "http://127.0.0.1:9/"], "");
    let text = String::from_utf8(nobody.stdout).unwrap();
    assert!(text.contains("no connection"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_the_operators_own_is_trusted_by_both_commands_where_the_setting_says_so() {
    let db = TestStore::sqlite().await;
    let partner = db.partner().await.to_string();
    let url = format!("https://localhost:{}/", tls::server());
    let check = ["webhook", "check", url.as_str(), "--json"];
    let statuses = |place: &Place| -> Vec<serde_json::Value> {
        let answer: serde_json::Value =
            serde_json::from_slice(&place.run(&check, "").stdout).unwrap();
        let checks = answer["checks"].as_array().unwrap();
        checks.iter().map(|one| one["status"].clone()).collect()
    };
    let place_with = |file: &str| {
        let key = new_master_key().unwrap();
        Place::under(&key, &db, &[("WEBHOOK_CA_FILE", file)])
    };
    let stranger = statuses(&Place::new(&db));
    assert_eq!(stranger, vec![json!(null); 5]);
    let place = place_with(tls::fixture("authority.pem").to_str().unwrap());
    assert_eq!(statuses(&place), vec![json!(204); 5]);

    let listen = ["--partner", partner.as_str(), "--forward-to", url.as_str()];
    let mut listening = Listening::start(&place, &listen);
    listening.secret();
    db.register(registration_with(partner.parse().unwrap(), "a", "a"))
        .await;
    let line = listening.line();
    assert!(line.contains("answered 204"), "{line}");

    let place = place_with("nowhere.pem");
    for arguments in [&check[..], &[&["webhook", "listen"], &listen[..]].concat()] {
        let problem = place.fails(2, arguments, "");
        assert!(
            problem.contains("WEBHOOK_CA_FILE: nowhere.pem"),
            "{problem}"
        );
    }
}
