//! The service: several processes on one cluster, and a partner set up as an operator would.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use ussd_status::vault::new_master_key;

/// What the processes have in common.
pub struct Place {
    master_key: String,
    folder: tempfile::TempDir,
}

/// A partner with an account.
pub struct Customer {
    pub key: String,
    /// The path of its B2C results.
    pub callbacks: String,
    pub webhook_secret: String,
}

/// One process; killed with this value.
pub struct Instance {
    child: Child,
    pub base: String,
}

impl Place {
    pub fn new() -> Self {
        Self {
            master_key: new_master_key().unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ussd-status"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("DATABASE_URL", url)
            .env("DATABASE_POOL_SIZE", "6")
            .env("MASTER_KEY", &self.master_key)
            .env("LOG_FORMAT", "json")
            .env("RUST_LOG", "info")
            .env("RATE_LIMIT_GET", "1000000")
            .env("RATE_LIMIT_WRITE", "1000000")
            .env("WEBHOOK_ALLOW_PRIVATE", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The one JSON object that a command prints.
    fn json(&self, url: &str, arguments: &[&str], input: &str) -> Value {
        let mut child = self.command(url, arguments).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let problem = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {problem}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Migrates, and makes a partner with an account and a webhook endpoint.
    pub fn set_up(&self, url: &str, webhook: &str) -> Customer {
        self.json(url, &["migrate", "--json"], "");
        let partner = self.json(
            url,
            &["partner", "create", "--name", "Kilimo", "--json"],
            "",
        );
        let id = partner["id"].as_str().unwrap();
        let account = ["account", "create", "--partner", id, "--provider", "mpesa"];
        let account = [&account[..], &["--credentials", "-", "--json"]].concat();
        let credentials = r#"{"environment":"sandbox","shortcode":"600966","consumer_key":"ck","consumer_secret":"cs"}"#;
        let account = self.json(url, &account, credentials);
        let endpoint = [
            "webhook",
            "create",
            "--partner",
            id,
            "--url",
            webhook,
            "--json",
        ];
        let endpoint = self.json(url, &endpoint, "");
        Customer {
            webhook_secret: endpoint["secret"].as_str().unwrap().to_owned(),
            key: partner["api_key"].as_str().unwrap().to_owned(),
            callbacks: format!(
                "/callbacks/{}/b2c-result",
                account["callback_token"].as_str().unwrap()
            ),
        }
    }

    /// Starts the service, which reads at `replica` what it may; `listen` is an address, or `127.0.0.1:0` for any.
    pub fn serve(&self, url: &str, replica: &str, listen: &str) -> Instance {
        let arguments = ["serve", "--no-migrate", "--listen", listen];
        let mut command = self.command(url, &arguments);
        command.env("DATABASE_READ_URL", replica);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        let base = loop {
            let from = log.len();
            assert!(lines.read_line(&mut log).unwrap() > 0, "it ended: {log}");
            let Ok(line) = serde_json::from_str::<Value>(&log[from..]) else {
                continue;
            };
            if line["message"] == "listening" {
                break format!("http://{}", line["address"].as_str().unwrap());
            }
        };
        // Somebody must read on, or the process would block on a full pipe.
        std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = lines.read_to_string(&mut rest);
        });
        Instance { child, base }
    }
}

impl Instance {
    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Where it listened.
    pub fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}
