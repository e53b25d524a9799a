//! The two databases: a fresh SQLite file, and a fresh database on the PostgreSQL of `TEST_DATABASE_URL` or on a
//! private cluster of the installed binaries, with fsync and synchronous commits as in production.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use tempfile::TempDir;
use tokio_postgres::NoTls;
use ussd_status::domain::clock::SystemClock;
use ussd_status::store::{self, DatabaseLimits, DatabaseUrl, Store, StoreSettings};

/// What the store sets on its own connections.
pub const SQLITE_SET_UP: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";

/// An empty database for one run, and where to find it.
pub enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Database {
    /// As the program takes it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
            Self::Postgres(url) => url.clone(),
        }
    }

    pub fn store_url(&self) -> DatabaseUrl {
        self.url().parse().unwrap()
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Runs statements behind the service's back, not waiting for the disk.
    pub fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(path) => {
                let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
                conn.batch_execute("PRAGMA busy_timeout = 60000; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000; PRAGMA temp_store = MEMORY")
                    .unwrap();
                conn.batch_execute(sql).unwrap();
            }
            Self::Postgres(url) => block_on(async {
                let client = connect(url).await;
                client
                    .batch_execute("SET synchronous_commit = off; SET timezone = 'UTC'; SET work_mem = '256MB'")
                    .await
                    .unwrap();
                client.batch_execute(sql).await.unwrap();
            }),
        }
    }

    /// Leaves the tables as a database that has run for a while has them.
    pub fn settle(&self) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(url) => block_on(async {
                let client = connect(url).await;
                client.batch_execute("VACUUM ANALYZE").await.unwrap();
            }),
        }
        self.flush();
    }

    /// Waits until the disk has everything: what was written without waiting would go there in the middle of what is
    /// measured.
    pub fn flush(&self) {
        match self {
            Self::Sqlite(path) => {
                self.execute("PRAGMA wal_checkpoint(TRUNCATE)");
                std::fs::File::open(path).unwrap().sync_all().unwrap();
            }
            Self::Postgres(_) => self.execute("CHECKPOINT"),
        }
    }
}

/// The service's own way to the database, with one connection.
pub async fn open_store(database: &Database) -> Arc<dyn Store> {
    let settings = StoreSettings {
        url: database.store_url(),
        pool_size: 1,
        limits: DatabaseLimits::of(Duration::from_secs(60)),
        replica: None,
        reconcile_after: chrono::Duration::seconds(60),
    };
    store::open(settings, Arc::new(SystemClock)).await.unwrap()
}

/// Runs what is asynchronous on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A PostgreSQL server.
pub struct Server {
    url: String,
    cluster: Option<(Child, TempDir)>,
}

impl Server {
    pub fn start() -> Self {
        match std::env::var("TEST_DATABASE_URL") {
            Ok(url) => Self { url, cluster: None },
            Err(_) => private_cluster(),
        }
    }

    /// A new, empty database on it.
    pub fn database(&self, name: &str) -> Database {
        block_on(async {
            let admin = connect(&self.url).await;
            for sql in [
                format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
                format!("CREATE DATABASE {name}"),
            ] {
                admin.batch_execute(&sql).await.unwrap();
            }
        });
        let mut url = url::Url::parse(&self.url).unwrap();
        url.set_path(name);
        Database::Postgres(url.into())
    }

    /// Drops what [`Server::database`] made.
    pub fn drop_database(&self, name: &str) {
        block_on(async {
            let admin = connect(&self.url).await;
            let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            admin.batch_execute(&sql).await.unwrap();
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some((mut child, dir)) = self.cluster.take() else {
            return;
        };
        let pid = std::fs::read_to_string(dir.path().join("data/postmaster.pid")).ok();
        if let Some(pid) = pid.as_deref().and_then(|text| text.lines().next()) {
            let _ = Command::new("kill").args(["-INT", pid]).status();
        }
        let _ = child.wait();
    }
}

fn private_cluster() -> Server {
    let bin = binaries().expect(
        "PostgreSQL is not installed: apt-get install postgresql, or set TEST_DATABASE_URL",
    );
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    let dir = tempfile::Builder::new()
        .prefix("ussd-status-figures-")
        .tempdir()
        .unwrap();
    // PostgreSQL refuses to run as root.
    let command = |program: &str| {
        let mut command = if is_root {
            let mut command = Command::new("runuser");
            command
                .args(["-u", "postgres", "--"])
                .arg(bin.join(program));
            command
        } else {
            Command::new(bin.join(program))
        };
        command.current_dir(dir.path()).stdout(Stdio::null());
        command
    };
    if is_root {
        let owned = Command::new("chown")
            .arg("postgres")
            .arg(dir.path())
            .status();
        assert!(owned.is_ok_and(|status| status.success()));
    }
    let data = dir.path().join("data");
    let made = command("initdb")
        .args([
            "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale", "C", "-D",
        ])
        .arg(&data)
        .status()
        .unwrap();
    assert!(made.success());
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let mut server = command("postgres");
    server.arg("-D").arg(&data);
    for setting in [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={}", dir.path().display()),
        "max_connections=120".to_owned(),
        "shared_buffers=512MB".to_owned(),
        "max_wal_size=4GB".to_owned(),
        "fsync=on".to_owned(),
        "synchronous_commit=on".to_owned(),
    ] {
        server.args(["-c", &setting]);
    }
    let child = server.stderr(Stdio::null()).spawn().unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let started = Instant::now();
    while block_on(async { tokio_postgres::connect(&url, NoTls).await.is_err() }) {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "PostgreSQL did not start"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Server {
        url,
        cluster: Some((child, dir)),
    }
}

/// The folder of the server's programs: the newest of the usual places, else in the path.
fn binaries() -> Option<PathBuf> {
    let mut usual: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    usual.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    usual
        .into_iter()
        .rev()
        .chain(std::env::split_paths(&path))
        .find(|bin: &PathBuf| Path::new(&bin.join("initdb")).is_file())
}
