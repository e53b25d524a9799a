//! A database that falls silent, or that is another one of several hosts: what one instance does about it. A whole
//! cluster that loses its primary is in `tests/failover`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use ussd_status::simulator::RunningSimulator;
use ussd_status::store::DatabaseUrl;

use crate::api::{STATUS, b2c_result};
use crate::support::TestStore;
use crate::support::paying::{PAYMENTS, mpesa_credentials, order, simulator};
use crate::support::program::{
    Customer, Place, Program, client, customer, customer_with, registration,
};
use crate::support::wire::{MARK, Wire};

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

/// A service whose database is at the end of a wire, and its providers.
struct Payer {
    key: String,
    settings: Vec<(&'static str, String)>,
    scene: Scene,
    wire: Wire,
    simulator: RunningSimulator,
}

impl Payer {
    async fn start() -> Self {
        let db = TestStore::postgres().await;
        let simulator = simulator().await;
        let (url, address) = server(&db);
        let wire = Wire::to(address).await;
        let key = ussd_status::vault::new_master_key().unwrap();
        let place = Place::under(&key, &db, &[]);
        let customer = customer_with(&place, &mpesa_credentials("wire").to_string());
        let url = by_way_of(&url, &format!("127.0.0.1:{}", wire.port()));
        let settings = vec![
            ("DATABASE_URL", url),
            ("DATABASE_TIMEOUT", "1s".to_owned()),
            ("DATABASE_CONNECT_TIMEOUT", "300ms".to_owned()),
            ("MPESA_BASE_URL", simulator.url()),
        ];
        let scene = Scene {
            program: serve(&key, &db, &settings),
            customer,
            client: client(),
            db,
        };
        Self {
            key,
            settings,
            scene,
            wire,
            simulator,
        }
    }

    /// Pays, while the wire carries the commit but not its answer, and then nothing more.
    async fn pay_and_lose_the_answer(&self) {
        self.wire.lose_marked_commit();
        let cut = async {
            while !self.wire.has_lost_it() {
                tokio::task::yield_now().await;
            }
            self.wire.cut();
        };
        let (paid, ()) = tokio::join!(self.pay(), cut);
        assert_eq!(paid, 503);
        assert_eq!(self.sent(), 0);
        self.wire.mend();
    }

    async fn pay(&self) -> StatusCode {
        let url = format!("{}{PAYMENTS}", self.scene.program.base());
        let order = order("stk_push", MARK, "5678").to_string();
        let request = self.scene.client.post(url).body(order);
        let request = request.header("x-api-key", &self.scene.customer.key);
        self.scene.answer(request).await
    }

    /// Payments that the provider was asked for.
    fn sent(&self) -> usize {
        self.simulator.ledger().payments.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_commit_was_not_answered_is_sent_once_all_the_same() {
    let payer = Payer::start().await;
    payer.wire.lose_marked_commit();
    assert_eq!(payer.pay().await, 201);
    assert!(payer.wire.has_lost_it());
    assert_eq!(payer.pay().await, 200);
    assert_eq!(payer.sent(), 1);
    assert_eq!(payer.scene.db.count("FROM transactions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_commit_was_not_answered_is_sent_when_the_database_is_back() {
    let payer = Payer::start().await;
    payer.pay_and_lose_the_answer().await;
    let begun = Instant::now();
    while payer.sent() == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it is never sent"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What its caller does meanwhile, as it was told, makes no second one.
    while payer.pay().await != 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not known");
    }
    assert_eq!(payer.sent(), 1);
    assert_eq!(payer.scene.db.count("FROM transactions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_before_that_writes_that_nothing_was_sent() {
    let mut payer = Payer::start().await;
    payer.pay_and_lose_the_answer().await;
    payer.scene.program.signal("-TERM");
    let again = serve(&payer.key, &payer.scene.db, &payer.settings);
    let mut stopped = std::mem::replace(&mut payer.scene.program, again);
    let (code, log) = stopped.end(Duration::from_secs(30));
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(payer.pay().await, 502, "it may be made anew");
    assert_eq!(payer.sent(), 0);
    let failed = "FROM transactions WHERE status = 'failed'";
    assert_eq!(payer.scene.db.count(failed).await, 1);
}

fn serve(key: &str, db: &TestStore, settings: &[(&str, String)]) -> Program {
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    Place::under(key, db, &settings).serve()
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
