//! A database that falls silent, or that is another one of several hosts: what one instance does about it. A whole
//! cluster that loses its primary is in `tests/failover`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use ussd_status::store::DatabaseUrl;

use crate::api::{STATUS, b2c_result};
use crate::support::TestStore;
use crate::support::program::{Customer, Place, Program, client, customer, registration};
use crate::support::wire::Wire;

/// Where the test's server really is.
fn server(db: &TestStore) -> (url::Url, SocketAddr) {
    let DatabaseUrl::Postgres(url) = db.url() else {
        unreachable!()
    };
    let url: url::Url = url.parse().unwrap();
    let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    (url, address.parse().unwrap())
}

/// The same database under other hosts.
fn by_way_of(url: &url::Url, hosts: &str) -> String {
    format!("postgres://{}@{hosts}{}", url.username(), url.path())
}

struct Scene {
    program: Program,
    customer: Customer,
    client: reqwest::Client,
    db: TestStore,
}

impl Scene {
    async fn start(db: TestStore, url: &str) -> Self {
        let key = ussd_status::vault::new_master_key().unwrap();
        let customer = customer(&Place::under(&key, &db, &[]));
        let settings = [
            ("DATABASE_URL", url),
            ("DATABASE_TIMEOUT", "1s"),
            ("DATABASE_CONNECT_TIMEOUT", "300ms"),
            ("DATABASE_POOL_SIZE", "3"),
        ];
        Self {
            program: Place::under(&key, &db, &settings).serve(),
            customer,
            client: client(),
            db,
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> StatusCode {
        let begun = Instant::now();
        let answer = request.send().await.unwrap();
        if answer.status() == 503 {
            assert!(answer.headers().contains_key("retry-after"));
        }
        // Two waits of a second each, and much for a busy machine.
        assert!(begun.elapsed() < Duration::from_secs(10));
        answer.status()
    }

    async fn read(&self, id: &str) -> StatusCode {
        let url = format!("{}{STATUS}?conversation_id={id}", self.program.base());
        let request = self.client.get(url).header("x-api-key", &self.customer.key);
        self.answer(request).await
    }

    async fn register(&self, id: &str) -> StatusCode {
        let url = format!("{}/api/ussd/transactions", self.program.base());
        let request = self.client.post(url).body(registration(id));
        self.answer(request.header("x-api-key", &self.customer.key))
            .await
    }

    async fn callback(&self, id: &str) -> StatusCode {
        let url = format!("{}{}", self.program.base(), self.customer.callbacks);
        self.answer(self.client.post(url).body(b2c_result(id, 0)))
            .await
    }

    async fn comes_back(&self) {
        let begun = Instant::now();
        while self.read("A").await != 200 || self.callback("A").await != 200 {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it does not come back"
            );
        }
    }
}

/// Longer than the pool is large, so that every connection would be lost if one could be.
const ROUNDS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_given_up_and_found_again() {
    let db = TestStore::postgres().await;
    let (url, address) = server(&db);
    let wire = Wire::to(address).await;
    let url = by_way_of(&url, &format!("127.0.0.1:{}", wire.port()));
    let scene = Scene::start(db, &url).await;
    assert_eq!(scene.register("A").await, 201);
    assert_eq!(scene.read("A").await, 200);
    wire.cut();
    let kept = scene.db.count("FROM callbacks").await;
    for round in 0..ROUNDS {
        let id = format!("B{round}");
        let (read, told, made) =
            tokio::join!(scene.read("A"), scene.callback(&id), scene.register(&id));
        // Never "not found", never acknowledged.
        assert_eq!([read, told, made].map(|status| status.as_u16()), [503; 3]);
    }
    assert_eq!(scene.db.count("FROM callbacks").await, kept);
    wire.mend();
    scene.comes_back().await;
    for round in 0..ROUNDS {
        assert_eq!(scene.callback(&format!("B{round}")).await, 200);
        assert_eq!(scene.read("A").await, 200);
    }
    // What had left before the cut may have been done after all: each callback once, whoever sent it again.
    assert_eq!(
        scene
            .db
            .count("FROM transactions WHERE status = 'success'")
            .await,
        1
    );
    scene.db.recount().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_one_that_takes_writes_is_found() {
    let db = TestStore::postgres().await;
    let (url, address) = server(&db);
    let (silent, wire) = (Wire::to(address).await, Wire::to(address).await);
    silent.cut();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hosts = format!(
        "127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}",
        silent.port(),
        gone.local_addr().unwrap().port(),
        wire.port()
    );
    drop(gone);
    let scene = Scene::start(db, &by_way_of(&url, &hosts)).await;
    assert_eq!(scene.register("A").await, 201);
    // The primary is another one from now on.
    wire.cut();
    silent.mend();
    scene.comes_back().await;
    assert_eq!(scene.register("A2").await, 201);
}
