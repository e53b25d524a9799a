//! Programs of partners against the service: the status API document's examples as they are printed there, and the
//! official library of Standard Webhooks.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use ussd_status::domain::clock::{Clock, SystemClock};
use ussd_status::domain::delivery::ROTATION_OVERLAP;

use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};
use crate::support::openapi::Document;

/// The conversation id that the examples ask for.
const CONVERSATION: &str = "AG_20250110_1234567890";
/// The one that the fixture is about.
const FIXTURE_CONVERSATION: &str = "AG_20240706_2010364430d9bbdaf872";
/// How long a webhook may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_example_works_as_printed() {
    require("node", "apt-get install -y nodejs");
    let (app, partner) = with_a_successful_payment().await;
    // Its last lines wait outside of a function: only a module may.
    let file = ("check_transaction_status.js", "check.mjs");
    succeeds(&app, &partner, Command::new("node"), file).await;
    complains_of_a_wrong_key(&app, Command::new("node"), file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_works_as_printed() {
    let python = python().await;
    let (app, partner) = with_a_successful_payment().await;
    let file = ("check_transaction_status.py", "check.py");
    succeeds(&app, &partner, Command::new(&python), file).await;
    complains_of_a_wrong_key(&app, Command::new(&python), file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_php_example_works_as_printed_where_php_is_installed() {
    if Command::new("php").arg("--version").output().is_err() {
        println!("php is not installed: its example was not run (apt-get install -y php-cli)");
        return;
    }
    let (app, partner) = with_a_successful_payment().await;
    let file = ("check_transaction_status.php", "check.php");
    succeeds(&app, &partner, Command::new("php"), file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_webhook_library_believes_us_and_nobody_else() {
    let python = python().await;
    let app = TestApp::start(TestStore::sqlite().await).await;
    // The library looks at the real clock.
    app.db.advance(SystemClock.now() - app.db.now());
    let partner = app.partner().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (_, secret) = app.endpoint(partner.id, &url).await;
    pay(&app, &partner).await;
    let document = Document::read();
    let schema = json!({"$ref": "#/components/schemas/Event"});
    let mut messages = Vec::new();
    for kind in ["transaction.registered", "transaction.success"] {
        let arrival = tokio::time::timeout(PATIENCE, take_webhook(&listener));
        let message = arrival.await.expect("a webhook in time");
        let event = serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
        document.expect_valid(&schema, &event, kind);
        assert_eq!(event["type"], kind);
        messages.push(message);
    }
    documented_headers(&document, &messages[0]);

    let genuine = messages[1].clone();
    let mut changed = genuine.clone();
    let body = genuine["body"].as_str().unwrap();
    changed["body"] = json!(body.replace("1200.00", "9200.00"));
    assert_ne!(changed, genuine);
    let mut renamed = genuine.clone();
    renamed["headers"]["webhook-id"] = messages[0]["headers"]["webhook-id"].clone();
    let mut younger = genuine.clone();
    let timestamp = genuine["headers"]["webhook-timestamp"].as_str().unwrap();
    let later = timestamp.parse::<i64>().unwrap() + 1;
    younger["headers"]["webhook-timestamp"] = json!(later.to_string());
    messages.extend([changed, renamed, younger]);
    let input = json!({"secret": secret, "messages": messages}).to_string();
    let mut command = Command::new(python);
    command.arg("tests/clients/verify_webhooks.py");
    let output = run(command, &input).await;
    let lines: Vec<_> = output.lines().collect();
    let [first, second, refused @ ..] = lines.as_slice() else {
        panic!("{output}")
    };
    assert_eq!(*first, "verified transaction.registered");
    assert_eq!(*second, "verified transaction.success");
    assert_eq!(refused, ["refused No matching signature found"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_webhook_library_believes_either_secret_during_a_rotation() {
    let python = python().await;
    let app = TestApp::start(TestStore::sqlite().await).await;
    // The library looks at the real clock: a day after the rotation is now.
    app.db
        .advance(SystemClock.now() - app.db.now() - ROTATION_OVERLAP);
    let partner = app.partner().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (id, old) = app.endpoint(partner.id, &url).await;
    let path = format!("/api/ussd/webhooks/{id}");
    let rotate = format!("{path}/rotate-secret");
    let rotated = app.post(&partner, &rotate, &json!({})).await.expect(200);
    let new = rotated["secret"].as_str().unwrap().to_owned();
    let minute = chrono::Duration::minutes(1);
    let mut said = Vec::new();
    for wait in [ROTATION_OVERLAP - minute, minute] {
        app.db.advance(wait);
        let test = format!("{path}/test");
        let (none, sent) = (json!({}), take_webhook(&listener));
        let (answer, message) = tokio::join!(app.post(&partner, &test, &none), sent);
        assert_eq!(answer.expect(200)["test"]["delivered"], true);
        for secret in [&old, &new] {
            let input = json!({"secret": secret, "messages": [message]}).to_string();
            let mut command = Command::new(&python);
            command.arg("tests/clients/verify_webhooks.py");
            said.push(run(command, &input).await.trim().to_owned());
        }
    }
    let (good, bad) = (
        "verified webhook.test",
        "refused No matching signature found",
    );
    assert_eq!(said, [good, good, bad, good]);
}

/// What `openapi.yaml` says of a webhook's headers.
fn documented_headers(document: &Document, message: &Value) {
    let webhook = &document.0["webhooks"]["transactionChanged"]["post"];
    for parameter in webhook["parameters"].as_array().unwrap() {
        let name = parameter["name"].as_str().unwrap();
        document.expect_valid(&parameter["schema"], &message["headers"][name], name);
    }
}

/// A partner whose payment, the one that the examples ask for, has succeeded.
async fn with_a_successful_payment() -> (TestApp, TestPartner) {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    pay(&app, &partner).await;
    (app, partner)
}

async fn pay(app: &TestApp, partner: &TestPartner) {
    let account = app.mpesa_account(partner.id).await;
    let fields = json!({"conversation_id": CONVERSATION});
    app.register(partner, fields).await;
    let body = std::fs::read_to_string("tests/fixtures/mpesa-b2c-success-1.json").unwrap();
    let body = body.replace(FIXTURE_CONVERSATION, CONVERSATION);
    app.callback(&account, "b2c-result", body).await.expect(200);
}

async fn succeeds(
    app: &TestApp,
    partner: &TestPartner,
    mut command: Command,
    (example, name): (&str, &str),
) {
    let folder = tempfile::tempdir().unwrap();
    command.arg(placed(
        folder.path(),
        example,
        name,
        &app.base,
        &partner.key,
    ));
    let output = run(command, "").await;
    assert_eq!(output.trim(), "Transaction status: success");
}

async fn complains_of_a_wrong_key(
    app: &TestApp,
    mut command: Command,
    (example, name): (&str, &str),
) {
    let folder = tempfile::tempdir().unwrap();
    command.arg(placed(folder.path(), example, name, &app.base, "us_wrong"));
    let output = output(command, "").await;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(complaint.contains("Invalid API key"), "{complaint}");
}

/// Writes an example with the address and the key of this test, and nothing else changed.
fn placed(folder: &Path, example: &str, name: &str, base: &str, key: &str) -> PathBuf {
    let text = std::fs::read_to_string(format!("tests/clients/{example}")).unwrap();
    for placeholder in ["https://your-domain.com", "your-api-key"] {
        assert_eq!(
            text.matches(placeholder).count(),
            1,
            "{example}: {placeholder}"
        );
    }
    let text = text
        .replace("https://your-domain.com", base)
        .replace("your-api-key", key);
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Runs a program that must succeed; what it printed.
async fn run(command: Command, input: &str) -> String {
    let about = format!("{command:?}");
    let output = output(command, input).await;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{about}\n{printed}{complaint}");
    printed
}

async fn output(mut command: Command, input: &str) -> Output {
    let input = input.to_owned();
    let wait = move || {
        let mut child = command
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        child.wait_with_output()
    };
    tokio::task::spawn_blocking(wait).await.unwrap().unwrap()
}

fn require(program: &str, install: &str) {
    let found = Command::new(program).arg("--version").output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "{program} is missing; install it: {install}"
    );
}

/// A Python with what `tests/clients/requirements.txt` lists, made once for all runs.
async fn python() -> PathBuf {
    static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();
    PYTHON.get_or_init(make_python).await.clone()
}

async fn make_python() -> PathBuf {
    require("python3", "apt-get install -y python3 python3-venv");
    let requirements = std::fs::read_to_string("tests/clients/requirements.txt").unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients-python");
    let python = folder.join("bin/python");
    // Written last: an installation that broke off is made anew.
    let installed = folder.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|text| text == requirements) {
        return python;
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    let made = output(make, "").await;
    assert!(
        made.status.success(),
        "python3 cannot make a virtual environment; install it: apt-get install -y python3-venv\n{}",
        String::from_utf8_lossy(&made.stdout)
    );
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "-r",
        "tests/clients/requirements.txt",
    ]);
    let about = format!(
        "{} -m pip install -r tests/clients/requirements.txt",
        python.display()
    );
    let done = output(install, "").await;
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "this failed: {about}\n{complaint}");
    std::fs::write(installed, requirements).unwrap();
    python
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
