//! The real binary: killed in the middle of its work, stopped politely, and set up through its own command line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use ussd_status::simulator::receiver::Receiver;
use ussd_status::store::DatabaseUrl;
use ussd_status::vault::new_master_key;

use crate::support::TestStore;

on_both_databases!(what_was_acknowledged_survives_a_kill);

/// The program's surroundings: a database, a master key, an empty folder.
struct Place {
    database: String,
    master_key: String,
    folder: TempDir,
}

impl Place {
    fn new(db: &TestStore) -> Self {
        Self {
            database: match db.url() {
                DatabaseUrl::Sqlite(path) => format!("sqlite://{path}"),
                DatabaseUrl::Postgres(url) => url,
            },
            master_key: new_master_key().unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ussd-status"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("DATABASE_URL", &self.database)
            .env("MASTER_KEY", &self.master_key)
            .env("LOG_FORMAT", "json")
            .env("WEBHOOK_ALLOW_PRIVATE", "true")
            .env("RATE_LIMIT_WRITE", "100000")
            .env("RATE_LIMIT_GET", "100000")
            .env("SHUTDOWN_GRACE", "15s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// The one JSON object that a command prints.
    fn json(&self, arguments: &[&str], input: &str) -> Value {
        let output = self.run(arguments, input);
        let text = String::from_utf8(output.stdout).unwrap();
        let problem = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {problem}");
        let value: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(value.is_object(), "{text}");
        value
    }

    /// What a command that must fail says, with its exit code.
    fn fails(&self, code: i32, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let problem = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {problem}");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "",
            "answers only on standard output"
        );
        problem
    }

    fn serve(&self) -> Program {
        let mut child = self
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        let address = loop {
            let from = log.len();
            assert!(lines.read_line(&mut log).unwrap() > 0, "it ended: {log}");
            let Ok(line) = serde_json::from_str::<Value>(&log[from..]) else {
                continue;
            };
            if line["message"] == "listening" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        // Somebody must read on, or the program would block on a full pipe.
        let reader = std::thread::spawn(move || {
            let _ = lines.read_to_string(&mut log);
            log
        });
        Program {
            child,
            address,
            log: Some(reader),
        }
    }
}

/// The service as a process of its own; killed with this value.
struct Program {
    child: Child,
    address: String,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Program {
    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end; the exit code and the log.
    fn end(&mut self, patience: Duration) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < patience, "it does not end");
            std::thread::park_timeout(Duration::from_millis(20));
        };
        (status.code(), self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A partner with an account, made as an operator makes them.
struct Customer {
    key: String,
    id: String,
    callbacks: String,
}

const CREDENTIALS: &str = r#"{"environment":"sandbox","shortcode":"600966","consumer_key":"ck","consumer_secret":"TOPSECRET"}"#;

fn customer(place: &Place) -> Customer {
    let partner = place.json(&["partner", "create", "--name", "Kilimo", "--json"], "");
    let id = partner["id"].as_str().unwrap().to_owned();
    let arguments = [
        "account",
        "create",
        "--partner",
        &id,
        "--provider",
        "mpesa",
        "--credentials",
        "-",
        "--json",
    ];
    let account = place.json(&arguments, CREDENTIALS);
    let token = account["callback_token"].as_str().unwrap();
    Customer {
        key: partner["api_key"].as_str().unwrap().to_owned(),
        callbacks: format!("/callbacks/{token}/b2c-result"),
        id,
    }
}

/// What callers know to have been taken.
#[derive(Default)]
struct Known {
    acknowledged: Mutex<BTreeSet<String>>,
    registered: Mutex<BTreeSet<String>>,
    next: AtomicUsize,
    count: AtomicUsize,
    progress: Notify,
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

fn registration(name: &str) -> String {
    json!({"client_request_id": name, "conversation_id": name, "msisdn": "254712345678", "amount": "10.50"}).to_string()
}

/// Registers and posts callbacks, in both orders, until the other side is gone.
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
                    .body(crate::api::b2c_result(&name, 0))
            } else {
                let url = format!("{base}/api/ussd/transactions");
                client
                    .post(url)
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
            known.count.fetch_add(1, Ordering::Relaxed);
            known.progress.notify_one();
        }
    }
}

async fn what_was_acknowledged_survives_a_kill(db: TestStore) {
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
    for round in 1..=2 {
        let mut program = place.serve();
        let workers: Vec<_> = (0..8)
            .map(|_| {
                tokio::spawn(customer_at_work(
                    program.base(),
                    customer.clone(),
                    known.clone(),
                ))
            })
            .collect();
        while known.count.load(Ordering::Relaxed) < round * 150 {
            let progress = tokio::time::timeout(Duration::from_secs(20), known.progress.notified());
            progress.await.expect("work goes on");
        }
        program.signal("-KILL");
        for worker in workers {
            worker.await.unwrap();
        }
        assert_eq!(
            program.end(Duration::from_secs(10)).0,
            None,
            "killed, not ended"
        );
    }
    let program = place.serve();
    let client = client();
    let acknowledged = known.acknowledged.lock().unwrap().clone();
    let registered = known.registered.lock().unwrap().clone();
    assert!(acknowledged.len() > 100 && registered.len() > 100);
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
            body["Result"]["ConversationID"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert!(
        acknowledged.is_subset(&kept),
        "{:?}",
        acknowledged.difference(&kept)
    );
    // A partner that did not hear back asks again: the same transaction, or a new one that its callback waits for.
    for name in acknowledged.union(&registered) {
        let url = format!("{}/api/ussd/transactions", program.base());
        let answer = client
            .post(url)
            .header("x-api-key", &customer.key)
            .body(registration(name))
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(
            if registered.contains(name) {
                status == 200
            } else {
                matches!(status, 200 | 201)
            },
            "{name}: {body}"
        );
        if kept.contains(name) {
            assert_eq!(body["transaction"]["status"], "success", "{name}: {body}");
        }
    }
    // Each was applied exactly once.
    let events = db
        .rows(&["t.conversation_id", "COUNT(*)"], "FROM transaction_events e JOIN transactions t ON t.id = e.transaction_id WHERE e.to_status = 'success' GROUP BY t.conversation_id")
        .await;
    let applied: BTreeMap<&str, i64> = events
        .iter()
        .map(|row| (row[0].as_str().unwrap(), row[1].as_i64().unwrap()))
        .collect();
    for name in &acknowledged {
        assert_eq!(applied.get(name.as_str()), Some(&1), "{name}");
    }
    assert!(applied.values().all(|count| *count == 1));
    // The feed has no gap, and the statistics agree with the rows.
    let feed = db
        .rows(
            &["COUNT(*)", "MIN(sequence)", "MAX(sequence)"],
            "FROM transaction_events WHERE sequence IS NOT NULL",
        )
        .await;
    assert_eq!((&feed[0][0], &feed[0][1]), (&feed[0][2], &json!(1)));
    let url = format!("{}/api/ussd/transaction-status?limit=1", program.base());
    let answer = client
        .get(url)
        .header("x-api-key", &customer.key)
        .send()
        .await
        .unwrap();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let rows = db.count("FROM transactions").await;
    assert_eq!(body["pagination"]["total"], rows);
    let statistics = &body["statistics"];
    assert_eq!(statistics["total_transactions"], rows);
    assert_eq!(statistics["successful_transactions"], applied.len());
    let cents = 1_050 * applied.len();
    assert_eq!(
        statistics["successful_amount"].to_string(),
        format!("{}.{:02}", cents / 100, cents % 100)
    );
    // The partner hears of every success, whatever was in flight at the kill: a lease holds 30 s at most.
    let mut heard: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(75);
    while heard.len() < applied.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        let webhook = tokio::time::timeout(left, arrivals.recv())
            .await
            .expect("every webhook")
            .unwrap();
        assert!(webhook.verified);
        if webhook.status.as_deref() == Some("success") {
            heard
                .entry(webhook.transaction_id.unwrap())
                .or_default()
                .insert(webhook.webhook_id);
        }
    }
    assert!(
        heard.values().all(|ids| ids.len() == 1),
        "one event each, however often it was sent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polite_stop_answers_what_is_in_flight() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let customer = customer(&place);
    let mut program = place.serve();
    let body = registration("C1");
    let head = format!(
        "POST /api/ussd/transactions HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n",
        customer.key,
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(&program.address)
        .await
        .unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..10]).await.unwrap();
    // One more request on another connection: when it is answered, the first is under way too.
    let ready = client()
        .get(format!("{}/readyz", program.base()))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 200);
    drop(ready);
    let begun = Instant::now();
    program.signal("-TERM");
    while std::net::TcpStream::connect(&program.address).is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it accepts still"
        );
        tokio::task::yield_now().await;
    }
    stream.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (code, log) = program.end(Duration::from_secs(15));
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("\"stopped\"")
            && !log.contains("254712345678")
            && !log.contains(&customer.key),
        "{log}"
    );
    assert_eq!(db.count("FROM transactions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_to_start_on_what_it_cannot_work_with() {
    let db = TestStore::sqlite_unmigrated().await;
    let place = Place::new(&db);
    let problem = place.fails(1, &["serve", "--listen", "127.0.0.1:0", "--no-migrate"], "");
    assert!(
        problem.contains("migrations are pending") && problem.contains("ussd-status migrate"),
        "{problem}"
    );
    let applied = place.json(&["migrate", "--json"], "");
    assert!(!applied["applied"].as_array().unwrap().is_empty());
    assert_eq!(
        place.json(&["migrate", "--json"], ""),
        json!({"applied": []})
    );
    let with = |name: &str, value: Option<&str>, arguments: &[&str]| {
        let mut command = place.command(arguments);
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
        let output = command.output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{name}={value:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.stdout.is_empty());
        let problem = String::from_utf8(output.stderr).unwrap();
        assert!(problem.contains(name), "{problem}");
        problem
    };
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for arguments in [
        &serve[..],
        &[
            "account",
            "create",
            "--partner",
            "00000000-0000-7000-8000-000000000000",
            "--provider",
            "mpesa",
            "--credentials",
            "-",
        ],
    ] {
        assert!(with("MASTER_KEY", None, arguments).contains("openssl rand -base64 32"));
        with("MASTER_KEY", Some("c2hvcnQ="), arguments);
    }
    for (name, value, words) in [
        (
            "DATABASE_URL",
            "mysql://user:hunter2@host/x",
            "sqlite://PATH",
        ),
        ("RATE_LIMIT_GET", "many", "\"many\""),
        ("SHUTDOWN_GRACE", "25", "\"25\""),
        ("TRUSTED_PROXIES", "everyone", "CIDR"),
        ("LISTEN_ADDR", "localhost", "127.0.0.1:8080"),
    ] {
        let arguments: &[&str] = if name == "LISTEN_ADDR" {
            &["serve"]
        } else {
            &serve
        };
        let problem = with(name, Some(value), arguments);
        assert!(
            problem.contains(words) && !problem.contains("hunter2"),
            "{problem}"
        );
    }
    for arguments in [
        &["serve", "--nonsense"][..],
        &["nonsense"],
        &["partner", "create"],
        &["key", "revoke", "not-a-uuid"],
    ] {
        place.fails(2, arguments, "");
    }
    let problem = place.fails(
        1,
        &[
            "key",
            "revoke",
            "00000000-0000-7000-8000-000000000000",
            "--json",
        ],
        "",
    );
    assert!(problem.contains("there is no key"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_answers_one_object() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let partner = place.json(
        &[
            "partner",
            "create",
            "--name",
            "Kilimo",
            "--currency",
            "TZS",
            "--json",
        ],
        "",
    );
    assert_eq!(keys(&partner), "api_key id name");
    let id = partner["id"].as_str().unwrap();
    let listed = place.json(&["partner", "list", "--json"], "");
    assert_eq!(
        (
            &listed["partners"][0]["id"],
            &listed["partners"][0]["currency"]
        ),
        (&partner["id"], &json!("TZS"))
    );
    assert!(
        !listed
            .to_string()
            .contains(partner["api_key"].as_str().unwrap())
    );
    let done = json!({"id": id, "done": true});
    assert_eq!(place.json(&["partner", "suspend", id, "--json"], ""), done);
    assert_eq!(place.json(&["partner", "resume", id, "--json"], ""), done);
    let key = place.json(
        &[
            "key",
            "create",
            "--partner",
            id,
            "--scope",
            "status:read",
            "--expires-in",
            "90d",
            "--json",
        ],
        "",
    );
    assert_eq!(keys(&key), "api_key expires_at id scopes");
    assert_eq!(key["scopes"], json!(["status:read"]));
    let usual = place.json(&["key", "create", "--partner", id, "--json"], "");
    assert_eq!(
        (&usual["scopes"], &usual["expires_at"]),
        (
            &json!(["status:read", "payments:write", "webhooks:write"]),
            &Value::Null
        )
    );
    let key_id = key["id"].as_str().unwrap();
    assert_eq!(
        place.json(&["key", "revoke", key_id, "--json"], ""),
        json!({"id": key_id, "done": true})
    );
    assert_eq!(
        place.json(&["key", "list", "--partner", id, "--json"], "")["keys"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    for (arguments, word) in [
        (["--scope", "everything"], "msisdn:reveal"),
        (["--expires-in", "90"], "90d"),
    ] {
        let arguments = ["key", "create", "--partner", id, arguments[0], arguments[1]];
        assert!(place.fails(2, &arguments, "").contains(word));
    }
    // Accounts: what is wrong is named, what is secret is never shown.
    let create = |provider: &str, credentials: &str| {
        let arguments = [
            "account",
            "create",
            "--partner",
            id,
            "--provider",
            provider,
            "--credentials",
            "-",
            "--json",
        ];
        place.run(&arguments, credentials)
    };
    for (provider, credentials, named) in [
        (
            "mpesa",
            r#"{"environment":"sandbox","shortcode":"1","consumer_key":"TOPSECRET"}"#,
            "consumer_secret is missing",
        ),
        (
            "mpesa",
            r#"{"environment":"sandbox","shortcode":"1","consumer_key":"TOPSECRET","consumer_secret":"TOPSECRET","pass_key":"TOPSECRET"}"#,
            "\"pass_key\"",
        ),
        (
            "mpesa",
            r#"{"environment":"test","shortcode":"1","consumer_key":"TOPSECRET","consumer_secret":"TOPSECRET"}"#,
            "sandbox or production",
        ),
        (
            "mpesa",
            r#"{"environment":"sandbox","shortcode":1,"consumer_key":"TOPSECRET","consumer_secret":"TOPSECRET"}"#,
            "shortcode",
        ),
        (
            "mpesa",
            r#"{"environment":"sandbox","shortcode":"1","consumer_key":"","consumer_secret":"TOPSECRET"}"#,
            "consumer_key",
        ),
        (
            "clickpesa",
            r#"{"environment":"sandbox","client_id":"TOPSECRET"}"#,
            "api_key is missing",
        ),
        ("clickpesa", r#"["TOPSECRET"]"#, "JSON object"),
        ("clickpesa", r#"{"api_key":"TOPSECRET"#, "JSON object"),
        ("paypal", "{}", "mpesa, clickpesa"),
    ] {
        let output = create(provider, credentials);
        let problem = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{problem}");
        assert!(
            problem.contains(named) && !problem.contains("TOPSECRET"),
            "{problem}"
        );
    }
    for (provider, credentials, kinds) in [
        ("mpesa", CREDENTIALS, 11),
        (
            "clickpesa",
            r#"{"environment":"sandbox","client_id":"c","api_key":"TOPSECRET"}"#,
            1,
        ),
    ] {
        let output = create(provider, credentials);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("TOPSECRET"));
        let account: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(keys(&account), "callback_token callback_urls id");
        let token = account["callback_token"].as_str().unwrap();
        assert!(
            token.len() == 32
                && token
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        );
        let urls = account["callback_urls"].as_object().unwrap();
        assert_eq!(urls.len(), kinds);
        assert!(urls.iter().all(|(kind, url)| {
            url.as_str()
                .unwrap()
                .ends_with(&format!("/callbacks/{token}/{kind}"))
        }));
    }
    let text = place.json(&["account", "list", "--json"], "").to_string();
    assert!(text.contains("600966") && !text.contains("TOPSECRET"));
    assert_eq!(db.count("FROM provider_accounts").await, 2);
    // Webhooks.
    let webhook = place.json(
        &[
            "webhook",
            "create",
            "--partner",
            id,
            "--url",
            "http://127.0.0.1:9/hook",
            "--json",
        ],
        "",
    );
    assert_eq!(keys(&webhook), "id secret url");
    assert!(webhook["secret"].as_str().unwrap().starts_with("whsec_"));
    let mut strict = place.command(&[
        "webhook",
        "create",
        "--partner",
        id,
        "--url",
        "http://127.0.0.1:9/hook",
    ]);
    assert_eq!(
        strict
            .env("WEBHOOK_ALLOW_PRIVATE", "false")
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
    let listed = place.json(&["webhook", "list", "--partner", id, "--json"], "");
    assert!(!listed.to_string().contains("whsec_"));
    let webhook_id = webhook["id"].as_str().unwrap();
    assert_eq!(
        place.json(&["webhook", "remove", webhook_id, "--json"], ""),
        json!({"id": webhook_id, "done": true})
    );
    let audited = db.count("FROM audit_log").await;
    assert!(audited >= 9, "{audited}");
}
