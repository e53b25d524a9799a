//! PostgreSQL for the tests: the server of `TEST_DATABASE_URL`, or a private cluster of the installed binaries that
//! all test processes of this target folder share and that stops by itself when none is left. One database a test,
//! copied from a template that was migrated once.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};
use ussd_status::store::{self, DatabaseUrl};

use super::system::{install, is_root, run};

/// A database of its own for one test; dropped with this value.
pub struct Database {
    pub url: String,
    server: &'static str,
    name: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Database {
    /// A migrated database.
    pub async fn migrated() -> Self {
        Self::create(Some(template().await)).await
    }

    /// An empty database.
    pub async fn empty() -> Self {
        Self::create(None).await
    }

    async fn create(template: Option<&str>) -> Self {
        let server = server().await;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ussd_test_{}_{number}", std::process::id());
        let admin = connect(server).await.unwrap();
        let _ = admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))
            .await;
        let from = template.map_or_else(String::new, |name| format!(" TEMPLATE {name}"));
        admin
            .batch_execute(&format!("CREATE DATABASE {name}{from}"))
            .await
            .unwrap();
        Self {
            url: with_database(server, &name),
            server,
            name,
        }
    }

    /// A connection to it.
    pub async fn client(&self) -> Client {
        connect(&self.url).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server, self.name.clone());
        let dropped = std::thread::spawn(move || {
            block_on(async {
                if let Ok(admin) = connect(server).await {
                    let _ = admin
                        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                        .await;
                }
            });
        });
        let _ = dropped.join();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn with_database(server: &str, name: &str) -> String {
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(name);
    url.into()
}

/// Runs what blocks on a thread of its own.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(|| std::thread::spawn(act).join().unwrap())
        .await
        .unwrap()
}

/// The name of the migrated template, made by whoever comes first.
async fn template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    let server = server().await;
    blocking(move || {
        TEMPLATE
            .get_or_init(|| block_on(make_template(server)))
            .as_str()
    })
    .await
}

async fn make_template(server: &str) -> String {
    let name = format!("ussd_template_{:016x}", migrations_digest());
    let admin = connect(server).await.unwrap();
    // Held until this connection closes.
    admin
        .batch_execute("SELECT pg_advisory_lock(7305838)")
        .await
        .unwrap();
    let ready = format!("{name}_ready");
    let known = admin
        .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&ready])
        .await
        .unwrap();
    if known.is_none() {
        admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
            .unwrap();
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let url = DatabaseUrl::Postgres(with_database(server, &name));
        let store = store::open(super::settings(url), super::clock_at_start())
            .await
            .unwrap();
        store.migrate().await.unwrap();
        drop(store);
        // A name of its own tells that the migration went through; nobody is connected to it any more.
        admin
            .batch_execute(&format!(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
            ))
            .await
            .unwrap();
        admin
            .batch_execute(&format!("ALTER DATABASE {name} RENAME TO {ready}"))
            .await
            .unwrap();
    }
    ready
}

fn migrations_digest() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for (name, text) in super::migration_files("postgres") {
        (name, text).hash(&mut hasher);
    }
    hasher.finish()
}

/// The server's URL.
async fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    blocking(|| {
        SERVER
            .get_or_init(|| {
                std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| private_cluster())
            })
            .as_str()
    })
    .await
}

/// What the state file says of a running cluster.
struct Cluster {
    port: u16,
    dir: PathBuf,
    supervisor: u32,
}

impl Cluster {
    fn read(state: &Path) -> Option<Self> {
        let text = fs::read_to_string(state).ok()?;
        let mut lines = text.lines();
        Some(Self {
            port: lines.next()?.parse().ok()?,
            dir: lines.next()?.into(),
            supervisor: lines.next()?.parse().ok()?,
        })
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Whether it answers, is ours (not another server on a reused port) and is being watched.
    fn is_alive(&self) -> bool {
        let data = self.dir.join("data");
        is_running(self.supervisor)
            && block_on(async {
                let client = connect(&self.url()).await.ok()?;
                let row = client.query_one("SHOW data_directory", &[]).await.ok()?;
                Some(row.get::<_, String>(0) == data.to_str()?)
            })
            .unwrap_or_default()
    }

    /// Ends what a killed supervisor may have left behind.
    fn clear_away(&self) {
        let pid = fs::read_to_string(self.dir.join("data/postmaster.pid")).ok();
        if let Some(pid) = pid.as_deref().and_then(|text| text.lines().next()) {
            let _ = run("kill", &["-INT", pid]);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn is_running(pid: u32) -> bool {
    run("kill", &["-0", &pid.to_string()])
}

/// Finds the cluster that other test processes run already, or starts it.
fn private_cluster() -> String {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres");
    let pids = home.join("pids");
    fs::create_dir_all(&pids).unwrap();
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    // Registered first, looked at second: the supervisor does it the other way round.
    fs::write(pids.join(std::process::id().to_string()), "").unwrap();
    let state = home.join("state");
    if let Some(cluster) = Cluster::read(&state) {
        if cluster.is_alive() {
            return cluster.url();
        }
        cluster.clear_away();
    }
    let cluster = start(&pids, &state);
    fs::write(
        &state,
        format!(
            "{}\n{}\n{}\n",
            cluster.port,
            cluster.dir.display(),
            cluster.supervisor
        ),
    )
    .unwrap();
    cluster.url()
}

#[allow(
    clippy::zombie_processes,
    reason = "the supervisor outlives this process on purpose"
)]
fn start(pids: &Path, state: &Path) -> Cluster {
    let is_root = is_root();
    let bin = binaries()
        .or_else(|| is_root.then(|| install("postgresql")).and_then(|()| binaries()))
        .unwrap_or_else(|| {
            panic!(
                "the tests need PostgreSQL: run `{}`, or set TEST_DATABASE_URL to a server on which databases may be created",
                if is_root {
                    "apt-get install -y postgresql"
                } else {
                    "sudo apt-get install -y postgresql"
                }
            )
        });
    // PostgreSQL refuses to run as root.
    let user = match is_root {
        false => "",
        true if run("id", &["postgres"]) => "postgres",
        true => "nobody",
    };
    let dir = tempfile::Builder::new()
        .prefix("ussd-status-postgres-")
        .tempdir()
        .unwrap()
        .keep();
    if is_root {
        assert!(run("chown", &[user, dir.to_str().unwrap()]));
    }
    let data = dir.join("data");
    let initdb = bin.join("initdb");
    let mut command = if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", user, "--"]).arg(&initdb);
        command
    } else {
        Command::new(&initdb)
    };
    let made = command
        .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8"])
        .args(["--locale", "C", "-D"])
        .arg(&data)
        .current_dir(&dir)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let supervisor = Command::new("sh")
        .args(["-c", include_str!("supervisor.sh"), "supervisor"])
        .args([&bin, &dir, pids, state])
        .args([&port.to_string(), user])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let cluster = Cluster {
        port,
        dir,
        supervisor: supervisor.id(),
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !cluster.is_alive() {
        assert!(
            Instant::now() < deadline && is_running(cluster.supervisor),
            "PostgreSQL did not start: {}",
            fs::read_to_string(cluster.dir.join("log")).unwrap_or_default()
        );
        std::thread::yield_now();
    }
    cluster
}

/// The folder of `initdb` and `postgres`: in the path, else the newest of the usual places.
fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut usual: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    let version = |bin: &PathBuf| {
        let version = bin.parent()?.file_name()?.to_str()?;
        version.parse::<u32>().ok()
    };
    usual.sort_by_key(version);
    usual.reverse();
    std::env::split_paths(&path)
        .chain(usual)
        .find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
}
