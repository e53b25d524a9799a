//! A country's worth of trouble: three database nodes under Patroni, three instances, callers that keep every
//! acknowledgement, and a primary that is killed under them. With FAILOVER_FAULTS=all a member of etcd
//! is killed first and stays away, the primary is killed twice, then an instance is killed, then the wire between an instance
//! and the database is cut. Its own command: cargo test --test failover
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that is surprised must stop, loudly; this one prints its report"
)]

mod callers;
mod cluster;
mod service;
#[path = "../suite/support/system.rs"]
mod system;
mod tools;
#[allow(dead_code, reason = "here no commit is lost on its way back")]
#[path = "../suite/support/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use callers::{Bare, Callers, Shared};
use cluster::{Cluster, DATABASE, PASSWORD, USER};
use service::{Instance, Place};
use tools::Tools;
use ussd_status::simulator::receiver::Receiver;
use wire::Wire;

/// The service may be away so much longer than the database itself.
const GRACE: Duration = Duration::from_secs(2);
/// How long calls go on before and after each fault.
const CALM: Duration = Duration::from_secs(3);
/// How long the wire stays cut: longer than any limit of the instance behind it.
const CUT: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() {
    let all = match std::env::var("FAILOVER_FAULTS").as_deref() {
        Ok("all") => true,
        Err(_) | Ok("" | "one") => false,
        Ok(other) => panic!("FAILOVER_FAULTS is one or all, not {other:?}"),
    };
    let begun = Instant::now();
    let mut stage = Stage::set(&Tools::find()).await;
    println!(
        "the cluster and three instances are up after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    if all {
        stage.lose_etcd().await;
    }
    stage.lose_primary("the primary is killed").await;
    if all {
        stage.lose_primary("the new primary is killed").await;
        stage.lose_instance().await;
        stage.cut_wire().await;
    }
    stage.close().await;
    println!("done in {:.0} s", begun.elapsed().as_secs_f64());
}

struct Stage {
    // Dropped in this order: who calls first, what is called last.
    callers: Callers,
    bare: Bare,
    instances: Vec<Instance>,
    wires: Vec<Wire>,
    place: Place,
    url: String,
    _receiver: Receiver,
    webhooks:
        tokio::sync::mpsc::UnboundedReceiver<ussd_status::simulator::receiver::ReceivedWebhook>,
    cluster: Cluster,
}

impl Stage {
    async fn set(tools: &Tools) -> Self {
        let cluster = Cluster::start(tools).await;
        let place = Place::new();
        let url = Cluster::url(&cluster.ports(), USER, PASSWORD, DATABASE);
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let now = ussd_status::simulator::system_time();
        let (receiver, webhooks) = Receiver::start(anywhere, now).await.unwrap();
        let customer = place.set_up(&url, &receiver.url("kilimo"));
        assert!(receiver.set_secrets("kilimo", &[&customer.webhook_secret]));
        // The third instance reaches the database over wires that can be cut.
        let mut wires = Vec::new();
        for port in cluster.ports() {
            wires.push(Wire::to(([127, 0, 0, 1], port).into()).await);
        }
        let ports: Vec<u16> = wires.iter().map(Wire::port).collect();
        let by_wire = Cluster::url(&ports, USER, PASSWORD, DATABASE);
        let instances: Vec<Instance> = [&url, &url, &by_wire]
            .map(|url| place.serve(url, &Cluster::read_url(&cluster.ports()), "127.0.0.1:0"))
            .into();
        let bases = instances.iter().map(|one| one.base.clone()).collect();
        Self {
            callers: Callers::start(bases, customer.key, customer.callbacks),
            bare: Bare::start(url.clone()).await,
            instances,
            wires,
            place,
            url,
            _receiver: receiver,
            webhooks,
            cluster,
        }
    }

    fn shared(&self) -> &Shared {
        &self.callers.shared
    }

    /// Waits until callbacks are acknowledged and payments read that were not before `since`.
    async fn until_answered(&self, since: Instant) {
        let shared = self.shared();
        while !(shared.callback_times.any_since(since) && shared.read_times.any_since(since)) {
            assert!(
                since.elapsed() < Duration::from_secs(90),
                "no answer any more"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How long nobody was answered since the fault: callbacks, then reads.
    fn report(&self, what: &str, since: Instant) -> Duration {
        let shared = self.shared();
        let callbacks = shared.callback_times.longest_gap(since);
        let reads = shared.read_times.longest_gap(since);
        let bare = self.bare.times.longest_gap(since);
        println!(
            "{what}: no callback acknowledged for {:.1} s, nothing read for {:.1} s; a bare client wrote nothing for {:.1} s",
            callbacks.as_secs_f64(),
            reads.as_secs_f64(),
            bare.as_secs_f64()
        );
        assert!(
            callbacks.max(reads) <= bare + GRACE,
            "the service was away longer than the database and {GRACE:?}"
        );
        callbacks
    }

    async fn lose_primary(&self, what: &str) {
        tokio::time::sleep(CALM).await;
        let primary = self.cluster.primary().await;
        let fault = Instant::now();
        self.cluster.kill(primary);
        // Both have written again, by way of the new primary.
        while self.cluster.primary().await.port == primary.port {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let promoted = Instant::now();
        self.until_answered(promoted).await;
        while !self.bare.times.any_since(promoted) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(CALM).await;
        self.report(what, fault);
        // The next fault comes when the killed node follows again: two at once are more than three nodes bear.
        self.cluster.until_whole().await;
    }

    /// The others keep the cluster's memory: nobody notices, and the faults that come after are borne without it.
    async fn lose_etcd(&self) {
        tokio::time::sleep(CALM).await;
        let fault = Instant::now();
        self.cluster.kill_etcd();
        self.until_answered(Instant::now()).await;
        tokio::time::sleep(CALM).await;
        self.report("a member of etcd is killed", fault);
    }

    async fn lose_instance(&mut self) {
        tokio::time::sleep(CALM).await;
        let fault = Instant::now();
        self.instances[0].kill();
        self.until_answered(Instant::now()).await;
        tokio::time::sleep(CALM).await;
        self.report("an instance is killed", fault);
        let address = self.instances[0].address().to_owned();
        self.instances[0] = self.place.serve(
            &self.url,
            &Cluster::read_url(&self.cluster.ports()),
            &address,
        );
    }

    /// One instance loses the database: it says so, the others go on, and it comes back by itself.
    async fn cut_wire(&self) {
        tokio::time::sleep(CALM).await;
        let fault = Instant::now();
        for wire in &self.wires {
            wire.cut();
        }
        tokio::time::sleep(CUT).await;
        let ready = format!("{}/readyz", self.instances[2].base);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let cut_off = client.get(&ready).send().await.unwrap();
        assert_eq!(cut_off.status(), 503, "it does not know that it is cut off");
        assert!(cut_off.headers().contains_key("retry-after"));
        for wire in &self.wires {
            wire.mend();
        }
        let mended = Instant::now();
        while client.get(&ready).send().await.unwrap().status() != 200 {
            assert!(
                mended.elapsed() < Duration::from_secs(30),
                "it does not come back"
            );
        }
        println!(
            "it answers {:.1} s after the wire is mended",
            mended.elapsed().as_secs_f64()
        );
        self.report("an instance is cut off", fault);
    }

    /// Everybody stops; then the books are read.
    async fn close(mut self) {
        tokio::time::sleep(CALM).await;
        let shared = self.callers.stop().await;
        self.bare.stop().await;
        let acknowledged = shared.acknowledged();
        let at_replicas = replica_reads(&self.instances).await;
        let lost = lost(&shared, &acknowledged, &self.instances[1].base).await;
        let (doubled, is_whole) = callers::doubled(&self.url).await;
        let repeats = repeated_webhooks(&mut self.webhooks, 2 * acknowledged.len()).await;
        println!(
            "callbacks acknowledged: {}; of these lost: {}; events doubled: {}; payments registered: {}; refused or broken \
             calls, each repeated: {}; webhooks that came again: {repeats}; pages read at replicas: {at_replicas}",
            acknowledged.len(),
            lost.len(),
            doubled.len(),
            shared.registered(),
            shared.refused(),
        );
        assert!(lost.is_empty(), "lost: {lost:?}");
        assert!(doubled.is_empty(), "doubled: {doubled:?}");
        assert!(is_whole, "the feed has a gap");
        assert!(shared.wrongs().is_empty(), "{:#?}", shared.wrongs());
        assert!(at_replicas > 0, "no replica was read");
        assert!(acknowledged.len() > 100, "too few to mean anything");
    }
}

/// Reads that replicas answered, by the instances' own metrics.
async fn replica_reads(instances: &[Instance]) -> u64 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut sum = 0;
    for instance in instances {
        let metrics = client.get(format!("{}/metrics", instance.base));
        let text = metrics.send().await.unwrap().text().await.unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("ussd_status_replica_reads_total "));
        sum += line.map_or(0, |number| number.parse::<u64>().unwrap());
    }
    sum
}

/// Acknowledged callbacks whose payment has not ended by them.
async fn lost(shared: &Shared, acknowledged: &[String], base: &str) -> Vec<String> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut lost = Vec::new();
    for id in acknowledged {
        let path = "/api/ussd/transaction-status?stats=none&conversation_id=";
        let request = client.get(format!("{base}{path}{id}"));
        let answer = request
            .header("x-api-key", &shared.key)
            .send()
            .await
            .unwrap();
        let found: serde_json::Value = answer.json().await.unwrap();
        let rows = found["transactions"].as_array().unwrap();
        if rows.len() != 1 || rows[0]["transaction_receipt"] != format!("R{id}") {
            lost.push(id.clone());
        }
    }
    lost
}

/// Waits for every webhook; how many came more than once. They may: an outcome that could not be recorded is tried again,
/// and the receiver knows it by its id.
async fn repeated_webhooks(
    webhooks: &mut tokio::sync::mpsc::UnboundedReceiver<
        ussd_status::simulator::receiver::ReceivedWebhook,
    >,
    wanted: usize,
) -> usize {
    let mut ids = std::collections::HashSet::new();
    let mut repeats = 0;
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while ids.len() < wanted {
        let next = tokio::time::timeout_at(until, webhooks.recv()).await;
        let Ok(Some(webhook)) = next else {
            panic!("{} webhooks of {wanted} came", ids.len());
        };
        repeats += usize::from(!ids.insert(webhook.webhook_id));
    }
    repeats
}
