//! When the database takes no writes, nothing is acknowledged and nothing is half written; when it takes them again,
//! the same process goes on.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use reqwest::StatusCode;
use ussd_status::store::DatabaseUrl;

use crate::support::TestStore;
use crate::support::program::{
    Customer, Place, Program, client, customer, registration, webhook_to_nobody,
};

/// A service with some payments, of which half have ended.
struct Scene {
    db: TestStore,
    place: Place,
    program: Program,
    customer: Customer,
    client: reqwest::Client,
}

const PAYMENTS: usize = 12;

impl Scene {
    async fn start(db: TestStore) -> Self {
        let place = Place::new(&db);
        let customer = customer(&place);
        webhook_to_nobody(&place, &customer);
        let scene = Self {
            program: place.serve_limitable(),
            place,
            db,
            customer,
            client: client(),
        };
        for number in 0..PAYMENTS {
            assert_eq!(scene.register(&format!("P{number}")).await, 201);
        }
        for number in 0..PAYMENTS / 2 {
            assert_eq!(scene.callback(&format!("P{number}")).await, 200);
        }
        scene
    }

    /// Sends; whatever is refused must say when to come again.
    async fn send(&self, request: reqwest::RequestBuilder) -> StatusCode {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        if status == 503 {
            assert_eq!(answer.headers()["retry-after"], "2");
        }
        let text = answer.text().await.unwrap();
        assert!(status.is_success() || status == 503, "{status}: {text}");
        status
    }

    async fn register(&self, name: &str) -> StatusCode {
        let url = format!("{}/api/ussd/transactions", self.program.base());
        let request = self
            .client
            .post(url)
            .header("x-api-key", &self.customer.key);
        self.send(request.body(registration(name))).await
    }

    async fn callback(&self, name: &str) -> StatusCode {
        let url = format!("{}{}", self.program.base(), self.customer.callbacks);
        let body = crate::api::b2c_result(name, 0);
        self.send(self.client.post(url).body(body)).await
    }

    async fn read(&self) -> StatusCode {
        let url = format!(
            "{}/api/ussd/transaction-status?limit=5",
            self.program.base()
        );
        let request = self.client.get(url).header("x-api-key", &self.customer.key);
        self.send(request).await
    }

    /// How many rows there are, in every table that a callback or a registration touches.
    async fn rows(&self) -> Vec<i64> {
        let mut all = Vec::new();
        for table in [
            "callbacks",
            "transactions",
            "transaction_events",
            "deliveries",
            "routes",
            "open_transactions",
            "waiting_callbacks",
            "transactions WHERE status = 'success'",
        ] {
            all.push(self.db.count(&format!("FROM {table}")).await);
        }
        all
    }

    /// Nothing is taken; what is read is still answered (once connections that were lost are replaced).
    async fn refuses(&self, waits: bool) {
        let before = self.rows().await;
        let half = PAYMENTS / 2;
        // Each wait for a lock takes seconds: then a few at once must do.
        let names: Vec<String> = (half..PAYMENTS)
            .map(|number| format!("P{number}"))
            .collect();
        let sent = names.iter().map(|name| self.callback(name));
        if waits {
            for status in futures_util::future::join_all(sent).await {
                assert_eq!(status, 503);
            }
        } else {
            for status in sent {
                assert_eq!(status.await, 503);
            }
            for name in ["NEW-1", "NEW-2"] {
                assert_eq!(self.register(name).await, 503);
                assert_eq!(self.callback(name).await, 503);
            }
        }
        let mut tries = 0;
        while self.read().await != 200 {
            tries += 1;
            assert!(tries < 20, "reading does not come back");
        }
        assert_eq!(self.rows().await, before, "something was half written");
        self.db.recount().await;
    }

    /// The same process takes the same again.
    async fn takes_again(&self) {
        let mut tries = 0;
        while self.callback(&format!("P{}", PAYMENTS - 1)).await != 200 {
            tries += 1;
            assert!(tries < 20, "writing does not come back");
        }
        for number in PAYMENTS / 2..PAYMENTS {
            assert_eq!(self.callback(&format!("P{number}")).await, 200);
        }
        for name in ["NEW-1", "NEW-2"] {
            assert_eq!(self.callback(name).await, 200);
            assert_eq!(self.register(name).await, 201);
        }
        assert_eq!(self.read().await, 200);
        let rows = self.rows().await;
        let all = i64::try_from(PAYMENTS).unwrap() + 2;
        assert_eq!((rows[1], rows[7]), (all, all), "every payment has ended");
        self.db.recount().await;
    }
}

/// A limit on the size of files stands for a full disk: it needs no privilege and can be lifted again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_not_acknowledged() {
    let scene = Scene::start(TestStore::sqlite().await).await;
    let limit = |bytes: &str| {
        let status = Command::new("prlimit")
            .args(["--pid", &scene.program.pid(), &format!("--fsize={bytes}:")])
            .status();
        assert!(status.unwrap().success(), "prlimit");
    };
    for bytes in ["4096", "6000", "100"] {
        limit(bytes);
        scene.refuses(false).await;
    }
    limit("unlimited");
    scene.takes_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_process_locks_is_not_acknowledged() {
    let scene = Scene::start(TestStore::sqlite().await).await;
    let DatabaseUrl::Sqlite(path) = scene.db.url() else {
        unreachable!()
    };
    let mut other = SqliteConnection::establish(&path).unwrap();
    other
        .batch_execute("PRAGMA busy_timeout = 5000; BEGIN EXCLUSIVE")
        .unwrap();
    scene.refuses(true).await;
    other.batch_execute("ROLLBACK").unwrap();
    scene.takes_again().await;
}

/// Permissions count when a file is opened; so the service meets them when it starts, and must notice when they change.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_file_is_not_acknowledged() {
    let mut scene = Scene::start(TestStore::sqlite().await).await;
    let DatabaseUrl::Sqlite(path) = scene.db.url() else {
        unreachable!()
    };
    let allow = |mode: u32| {
        for file in ["", "-wal", "-shm"] {
            let file = format!("{path}{file}");
            std::fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
        }
    };
    scene.program.signal("-KILL");
    scene.program.end(Duration::from_secs(10));
    allow(0o444);
    scene.program = scene.place.serve_bound_by_permissions();
    scene.refuses(false).await;
    allow(0o644);
    scene.takes_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_not_acknowledged() {
    let scene = Scene::start(TestStore::postgres().await).await;
    let DatabaseUrl::Postgres(url) = scene.db.url() else {
        unreachable!()
    };
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let turn = async |to: &str| {
        let sql = format!(
            "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {to}; COMMIT; \
             SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'ussd-status'"
        );
        scene.db.execute(&sql).await;
    };
    turn("on").await;
    scene.refuses(false).await;
    turn("off").await;
    scene.takes_again().await;
}
