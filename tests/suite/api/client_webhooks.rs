//! Real webhooks of ours against the libraries that partners verify them with: those of Standard Webhooks and of Svix, from
//! npm and from PyPI, and a public Ed25519 library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use ussd_status::domain::clock::{Clock, SystemClock};
use ussd_status::domain::delivery::ROTATION_OVERLAP;

use super::clients::{output, pay, python, require, run};
use super::webhook_management::WEBHOOKS;
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};
use crate::support::openapi::Document;

/// How long a webhook may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn the_official_libraries_believe_us_and_nobody_else() {
    let house = House::open(json!({})).await;
    pay(&house.app, &house.partner).await;
    let document = Document::read();
    let mut messages = Vec::new();
    for kind in ["transaction.registered", "transaction.success"] {
        let message = house.delivery().await;
        let event = serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
        document.expect_valid(&json!({"$ref": "#/components/schemas/Event"}), &event, kind);
        assert_eq!(event["type"], kind);
        messages.push(message);
    }
    documented_headers(&document, &messages[0]);

    let genuine = messages[1].clone();
    let mut tampered = genuine.clone();
    let body = genuine["body"].as_str().unwrap();
    tampered["body"] = json!(body.replace("1200.00", "9200.00"));
    assert_ne!(tampered, genuine);
    let mut renamed = genuine.clone();
    renamed["headers"]["webhook-id"] = messages[0]["headers"]["webhook-id"].clone();
    let mut younger = genuine.clone();
    let timestamp = genuine["headers"]["webhook-timestamp"].as_str().unwrap();
    let later = timestamp.parse::<i64>().unwrap() + 1;
    younger["headers"]["webhook-timestamp"] = json!(later.to_string());
    messages.extend([tampered, renamed, younger]);
    let mut checks: Vec<Value> = messages
        .iter()
        .map(|message| with(message, "secret", &house.secret))
        .collect();
    let wrong = house.secret.replace("whsec_", "whsec_AAAA");
    checks.push(with(&genuine, "secret", &wrong));
    expect(&checks, &[true, true, false, false, false, false]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_libraries_believe_the_right_secrets_before_during_and_after_a_rotation() {
    let house = House::open(json!({})).await;
    let old = house.secret.clone();
    let [before, during, after, rotated] = house.rotation(&[]).await;
    let new = rotated["secret"].as_str().unwrap().to_owned();
    let mut checks = Vec::new();
    for message in [&before, &during, &after] {
        let mut tampered = message.clone();
        let body = message["body"].as_str().unwrap();
        tampered["body"] = json!(body.replace("1200.00", "9200.00"));
        assert_ne!(&tampered, message);
        for secret in [&old, &new] {
            checks.push(with(message, "secret", secret));
            checks.push(with(&tampered, "secret", secret));
        }
    }
    let believed = [
        true, false, false, false, true, false, true, false, false, false, true, false,
    ];
    expect(&checks, &believed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_library_believes_the_right_keys_before_during_and_after_a_rotation() {
    let house = House::open(json!({"signature": "v1a"})).await;
    let key = |webhook: &Value| webhook["public_key"].as_str().unwrap().to_owned();
    let found = house.app.get(&house.partner, &house.path).await.expect(200);
    assert_eq!(found["webhook"]["signature"], "v1a");
    let old = key(&found["webhook"]);
    let [before, during, after, rotated] = house.rotation(&[]).await;
    assert_eq!(
        rotated["secret"],
        Value::Null,
        "the private half is nobody's business"
    );
    let new = key(&rotated["webhook"]);
    assert_ne!(old, new);
    let document = Document::read();
    let mut checks = Vec::new();
    for message in [&before, &during, &after] {
        documented_headers(&document, message);
        let mut tampered = message.clone();
        let body = message["body"].as_str().unwrap();
        tampered["body"] = json!(body.replace("1200.00", "9200.00"));
        for key in [&old, &new] {
            checks.push(with(message, "public_key", key));
            checks.push(with(&tampered, "public_key", key));
        }
    }
    let believed = [
        true, false, false, false, true, false, true, false, false, false, true, false,
    ];
    assert_eq!(publicly(&checks).await, believed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_changes_to_a_public_key_is_signed_for_in_both_ways_for_a_day() {
    let house = House::open(json!({})).await;
    let [before, during, after, changed] = house.rotation(&[("signature", "v1a")]).await;
    assert_eq!(changed["webhook"]["signature"], "v1a");
    let key = changed["webhook"]["public_key"].as_str().unwrap();
    let messages = [&before, &during, &after];
    let secrets = messages.map(|message| with(message, "secret", &house.secret));
    expect(&secrets, &[true, true, false]).await;
    let keys = messages.map(|message| with(message, "public_key", key));
    assert_eq!(publicly(&keys).await, [false, true, true]);
    documented_headers(&Document::read(), &during);

    // And back: the secret is a new one, shown this once.
    let back = json!({"signature": "v1"});
    let back = house
        .app
        .patch(&house.partner, &house.path, &back)
        .await
        .expect(200);
    let secret = back["secret"].as_str().unwrap();
    assert_ne!(secret, house.secret);
    assert_eq!(back["webhook"]["public_key"], Value::Null);
    let same = json!({"signature": "v1"});
    let again = house.app.patch(&house.partner, &house.path, &same).await;
    let shown = &again.expect(200)["secret"];
    assert_eq!(*shown, Value::Null, "nothing changed");
    let message = house.told().await;
    expect(&[with(&message, "secret", secret)], &[true]).await;
    assert_eq!(publicly(&[with(&message, "public_key", key)]).await, [true]);
}

/// A partner with one endpoint, at the real time: the libraries look at no other clock.
struct House {
    app: TestApp,
    partner: TestPartner,
    listener: TcpListener,
    path: String,
    secret: String,
}

impl House {
    async fn open(fields: Value) -> Self {
        let app = TestApp::start(TestStore::sqlite().await).await;
        app.db.advance(SystemClock.now() - app.db.now());
        let partner = app.partner().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut body = json!({"url": format!("http://{}/", listener.local_addr().unwrap())});
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = app.post(&partner, WEBHOOKS, &body).await.expect(201);
        Self {
            path: format!("{WEBHOOKS}/{}", made["webhook"]["id"].as_str().unwrap()),
            secret: made["secret"].as_str().unwrap_or_default().to_owned(),
            app,
            partner,
            listener,
        }
    }

    /// The next webhook that is delivered.
    async fn delivery(&self) -> Value {
        let arrival = tokio::time::timeout(PATIENCE, take_webhook(&self.listener));
        arrival.await.expect("a webhook in time")
    }

    /// What is delivered of a new payment.
    async fn told(&self) -> Value {
        self.app.register(&self.partner, json!({})).await;
        self.delivery().await
    }

    /// A delivery before, during and after a rotation, and its answer; with fields it is a change of these. It happens a
    /// day ago, so that each delivery is of just now.
    async fn rotation(&self, fields: &[(&str, &str)]) -> [Value; 4] {
        let before = self.told().await;
        self.app.db.advance(-ROTATION_OVERLAP);
        let answer = if fields.is_empty() {
            let path = format!("{}/rotate-secret", self.path);
            self.app.post(&self.partner, &path, &json!({})).await
        } else {
            let change: serde_json::Map<_, _> = fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            self.app
                .patch(&self.partner, &self.path, &Value::from(change))
                .await
        };
        let minute = chrono::Duration::minutes(1);
        self.app.db.advance(ROTATION_OVERLAP - minute);
        let during = self.told().await;
        self.app.db.advance(minute);
        [before, during, self.told().await, answer.expect(200)]
    }
}

/// A message, and what it is to be verified with.
fn with(message: &Value, name: &str, key: &str) -> Value {
    let mut check = message.clone();
    check[name] = json!(key);
    check
}

/// All four libraries say the same.
async fn expect(checks: &[Value], believed: &[bool]) {
    let input = json!(checks).to_string();
    let mut by_python = Command::new(python().await);
    by_python.arg("tests/clients/verify_webhooks.py");
    let mut by_node = Command::new("node");
    by_node.arg(node().await.join("verify_webhooks.mjs"));
    let mut wanted = Vec::new();
    for is_believed in believed {
        let verdict = if *is_believed { "verified" } else { "refused" };
        wanted.extend(["standardwebhooks", "svix"].map(|name| format!("{name} {verdict}")));
    }
    for command in [by_python, by_node] {
        let about = format!("{command:?}");
        let printed = run(command, &input).await;
        assert_eq!(printed.lines().collect::<Vec<_>>(), wanted, "{about}");
    }
}

/// What the public library says.
async fn publicly(checks: &[Value]) -> Vec<bool> {
    let mut command = Command::new(python().await);
    command.arg("tests/clients/verify_public_key.py");
    let printed = run(command, &json!(checks).to_string()).await;
    printed.lines().map(|line| line == "verified").collect()
}

/// A folder with the program for Node.js and what `tests/clients/package-lock.json` lists, made once for all runs.
async fn node() -> PathBuf {
    static NODE: OnceCell<PathBuf> = OnceCell::const_new();
    NODE.get_or_init(make_node).await.clone()
}

async fn make_node() -> PathBuf {
    require("node", "apt-get install -y nodejs");
    require("npm", "apt-get install -y npm");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients-node");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["package.json", "package-lock.json", "verify_webhooks.mjs"] {
        std::fs::copy(format!("tests/clients/{file}"), folder.join(file)).unwrap();
    }
    let lock = std::fs::read_to_string("tests/clients/package-lock.json").unwrap();
    // Written last: an installation that broke off is made anew.
    let installed = folder.join("installed.json");
    if std::fs::read_to_string(&installed).is_ok_and(|text| text == lock) {
        return folder;
    }
    let mut install = Command::new("npm");
    install
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder);
    let done = output(install, "").await;
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "npm ci failed in {}\n{complaint}",
        folder.display()
    );
    std::fs::write(installed, lock).unwrap();
    folder
}

/// What `openapi.yaml` says of a webhook's headers.
fn documented_headers(document: &Document, message: &Value) {
    let webhook = &document.0["webhooks"]["transactionChanged"]["post"];
    for parameter in webhook["parameters"].as_array().unwrap() {
        let name = parameter["name"].as_str().unwrap();
        document.expect_valid(&parameter["schema"], &message["headers"][name], name);
    }
}

/// Takes one POST, answers 200: its headers, names in lower case, and its body.
async fn take_webhook(listener: &TcpListener) -> Value {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    let (head, length, start) = loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "broken off");
        let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let headers: serde_json::Map<_, _> = head
            .lines()
            .skip(1)
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), json!(value)))
            .collect();
        let length = headers["content-length"].as_str().unwrap();
        break (headers.clone(), length.parse::<usize>().unwrap(), end + 4);
    };
    while bytes.len() < start + length {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "broken off");
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    json!({"headers": head, "body": std::str::from_utf8(&bytes[start..]).unwrap()})
}
