//! The real binary as a process of its own, and a partner set up through its command line.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use ussd_status::store::DatabaseUrl;
use ussd_status::vault::new_master_key;

use super::TestStore;

/// The program's surroundings: a database, a master key, an empty folder.
pub struct Place {
    database: String,
    master_key: String,
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Place {
    /// Around a test's database.
    pub fn new(db: &TestStore) -> Self {
        Self::under(&new_master_key().unwrap(), db, &[])
    }

    /// Around a database under a known master key, with more settings.
    pub fn under(master_key: &str, db: &TestStore, settings: &[(&str, &str)]) -> Self {
        Self {
            database: match db.url() {
                DatabaseUrl::Sqlite(path) => format!("sqlite://{path}"),
                DatabaseUrl::Postgres(url) => url,
            },
            master_key: master_key.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// The program with arguments, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ussd-status"));
        command.args(arguments);
        self.prepare(&mut command);
        command
    }

    /// Another program in the same surroundings.
    pub fn around(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.prepare(&mut command);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("DATABASE_URL", &self.database)
            .env("MASTER_KEY", &self.master_key)
            .env("LOG_FORMAT", "json")
            .env("WEBHOOK_ALLOW_PRIVATE", "true")
            .env("RATE_LIMIT_WRITE", "100000")
            .env("RATE_LIMIT_GET", "100000")
            .env("SHUTDOWN_GRACE", "15s")
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// The one JSON object that a command prints.
    pub fn json(&self, arguments: &[&str], input: &str) -> Value {
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
    pub fn fails(&self, code: i32, arguments: &[&str], input: &str) -> String {
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

    /// Starts the service.
    pub fn serve(&self) -> Program {
        Program::start(self.command(&["serve", "--listen", "127.0.0.1:0"]))
    }

    /// Starts it so that a file-size limit makes writes fail instead of ending it.
    pub fn serve_limitable(&self) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" serve --listen 127.0.0.1:0"]);
        command.arg(env!("CARGO_BIN_EXE_ussd-status"));
        self.prepare(&mut command);
        Program::start(command)
    }

    /// Starts it without root's privilege to write to what is read-only.
    pub fn serve_bound_by_permissions(&self) -> Program {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "drop=; [ \"$(id -u)\" != 0 ] || drop='setpriv --bounding-set -dac_override'; \
             exec $drop \"$0\" serve --listen 127.0.0.1:0",
        ]);
        command.arg(env!("CARGO_BIN_EXE_ussd-status"));
        self.prepare(&mut command);
        Program::start(command)
    }
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
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
pub struct Program {
    child: Child,
    /// Where it listens.
    pub address: String,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Program {
    /// `http://127.0.0.1:port`.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.pid();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end; the exit code and the log.
    pub fn end(&mut self, patience: Duration) -> (Option<i32>, String) {
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
pub struct Customer {
    /// Its API key.
    pub key: String,
    /// Its id.
    pub id: String,
    /// The path of its B2C results.
    pub callbacks: String,
}

/// An account's credentials.
pub const CREDENTIALS: &str = r#"{"environment":"sandbox","shortcode":"600966","consumer_key":"ck","consumer_secret":"TOPSECRET"}"#;

/// Makes one.
pub fn customer(place: &Place) -> Customer {
    customer_with(place, CREDENTIALS)
}

/// Makes one whose M-Pesa account has these credentials.
pub fn customer_with(place: &Place, credentials: &str) -> Customer {
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
    let account = place.json(&arguments, credentials);
    let token = account["callback_token"].as_str().unwrap();
    Customer {
        key: partner["api_key"].as_str().unwrap().to_owned(),
        callbacks: format!("/callbacks/{token}/b2c-result"),
        id,
    }
}

/// A webhook endpoint that nobody listens at, so that every event owes a delivery.
pub fn webhook_to_nobody(place: &Place, customer: &Customer) {
    let url = "http://127.0.0.1:9/hooks";
    let arguments = ["webhook", "create", "--partner", &customer.id, "--url", url];
    place.json(&[&arguments[..], &["--json"]].concat(), "");
}

/// A client with a time limit.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// A payment whose ids are all `name`.
pub fn registration(name: &str) -> String {
    json!({"client_request_id": name, "conversation_id": name, "msisdn": "254712345678", "amount": "10.50"}).to_string()
}
