//! Programs of partners against the service: the status API document's examples as they are printed there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use tokio::sync::OnceCell;

use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};

/// The conversation id that the examples ask for.
const CONVERSATION: &str = "AG_20250110_1234567890";
/// The one that the fixture is about.
const FIXTURE_CONVERSATION: &str = "AG_20240706_2010364430d9bbdaf872";

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

/// A partner whose payment, the one that the examples ask for, has succeeded.
async fn with_a_successful_payment() -> (TestApp, TestPartner) {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    pay(&app, &partner).await;
    (app, partner)
}

pub async fn pay(app: &TestApp, partner: &TestPartner) {
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
pub async fn run(command: Command, input: &str) -> String {
    let about = format!("{command:?}");
    let output = output(command, input).await;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{about}\n{printed}{complaint}");
    printed
}

pub async fn output(mut command: Command, input: &str) -> Output {
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

pub fn require(program: &str, install: &str) {
    let found = Command::new(program).arg("--version").output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "{program} is missing; install it: {install}"
    );
}

/// A Python with what `tests/clients/requirements.txt` lists, made once for all runs.
pub async fn python() -> PathBuf {
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
