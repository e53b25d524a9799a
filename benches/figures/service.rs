//! The service as its operator runs it: the release binary, its settings in the environment, its command line.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::Value;

use super::load;

/// How to run the program.
pub struct Program {
    pub binary: PathBuf,
    settings: Vec<(String, String)>,
    folder: PathBuf,
}

impl Program {
    pub fn new(binary: PathBuf, database_url: &str, folder: PathBuf) -> Self {
        let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        let settings = [
            ("DATABASE_URL", database_url),
            ("MASTER_KEY", &key),
            ("RATE_LIMIT_GET", "1000000"),
            ("RATE_LIMIT_POST", "1000000"),
            ("RATE_LIMIT_WRITE", "1000000"),
            ("WEBHOOK_ALLOW_PRIVATE", "true"),
            // The rows that are measured must stay.
            ("RETENTION_CALLBACKS", "3000d"),
            ("RETENTION_DELIVERIES", "3000d"),
            ("RETENTION_EVENTS", "3000d"),
            ("RUST_LOG", "warn"),
        ];
        Self {
            binary,
            settings: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            folder,
        }
    }

    /// Writes a file into the program's folder; its name.
    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.folder.join(name), text).unwrap();
        name.to_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .envs(self.settings.iter().cloned())
            .current_dir(&self.folder);
        command
    }

    /// Runs one of the short commands with `--json`; what it printed.
    pub fn run(&self, arguments: &[&str]) -> Value {
        let done = self
            .command()
            .args(arguments)
            .arg("--json")
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// Starts the service and waits until it is ready.
    pub fn serve(&self) -> Service {
        self.start(&["serve"], "/readyz")
    }

    /// The same program with another setting.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut settings = self.settings.clone();
        settings.retain(|(other, _)| other != name);
        settings.push((name.to_owned(), value.to_owned()));
        Self {
            binary: self.binary.clone(),
            settings,
            folder: self.folder.clone(),
        }
    }

    /// Starts the simulator, whose callbacks come at once.
    pub fn simulate(&self) -> Service {
        self.simulate_between("1ms", "20ms")
    }

    /// Starts the simulator, whose callbacks come after a while of this length.
    pub fn simulate_between(&self, shortest: &str, longest: &str) -> Service {
        let delays = ["simulator", "--min-delay", shortest, "--max-delay", longest];
        self.start(&delays, "/simulator")
    }

    fn start(&self, arguments: &[&str], ready: &str) -> Service {
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        let started = Instant::now();
        let child = self
            .command()
            .args(arguments)
            .args(["--listen", &address.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let request = format!("GET {ready} HTTP/1.1\r\nhost: figures\r\n\r\n").into_bytes();
        while !load::ask_once(address, &request).is_ok_and(|answer| answer.status == 200) {
            assert!(started.elapsed() < Duration::from_secs(30), "never ready");
            std::thread::sleep(Duration::from_millis(1));
        }
        Service {
            address,
            ready_after: started.elapsed(),
            child,
        }
    }
}

/// The running service; stopped with this value.
pub struct Service {
    pub address: SocketAddr,
    pub ready_after: Duration,
    child: Child,
}

impl Service {
    /// The processor time it has used, all threads.
    pub fn cpu(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let text = text.unwrap_or_default();
        // After the name, which may contain anything: user and system time, in hundredths of a second.
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = [11, 12].map(|at| fields[at].parse::<u64>().unwrap());
        Duration::from_millis(10 * (ticks[0] + ticks[1]))
    }

    /// A line of its memory, in megabytes: `VmRSS` now, `VmHWM` at most so far.
    pub fn memory(&self, name: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
            .map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}
