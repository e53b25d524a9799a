//! Long polls: what one costs while nothing happens, how soon a commit answers it, alone and among thousands, in this
//! process and in another; and how many customers one key can serve with the real limits, waiting and polling.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::database::block_on;
use super::load::{Client, Measured};
use super::payments::Till;
use super::service::{Program, Service};

/// The longest wait there is, seconds.
const WAIT: u64 = 25;
/// Connections that are opened at a time: more than that would be lost before they are accepted.
const OPENED_AT_ONCE: usize = 500;
/// Waiters that are answered one by one, of however many there are.
const SAMPLES: usize = 100;
/// No more of them are told after so long: the others would soon have waited long enough.
const TELL_FOR: Duration = Duration::from_secs(15);
/// How long nothing happens while the processor time is taken.
const QUIET: Duration = Duration::from_secs(5);
/// How long customers come.
const SHIFT: Duration = Duration::from_secs(60);
/// Customers at the same time: more than one key can serve in either way.
const CUSTOMERS: usize = 150;
/// The pause between two polls of the customer's client.
const POLL_EVERY: Duration = Duration::from_secs(3);

/// What so many waiters came to.
pub struct Waited {
    /// Kilobytes each, its connection included.
    pub memory: f64,
    /// Of one processor, while nothing happens.
    pub cpu: f64,
    /// From sending what is committed to the answer of the one it concerns.
    pub own: Measured,
    /// The same to the commit's own answer.
    pub acknowledged: Measured,
    /// From sending one commit that concerns all to each of their answers.
    pub all: Measured,
}

/// A partner that asks.
#[derive(Clone)]
pub struct Asker {
    pub key: String,
}

impl Asker {
    fn get(&self, query: &str) -> Vec<u8> {
        format!(
            "GET /api/ussd/transaction-status?{query} HTTP/1.1\r\nhost: figures\r\nx-api-key: {}\r\n\r\n",
            self.key
        )
        .into_bytes()
    }

    fn post(&self, path: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        format!(
            "POST {path} HTTP/1.1\r\nhost: figures\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
        .into_bytes()
    }

    fn register(&self, id: &str, msisdn: &str) -> Vec<u8> {
        let body = json!({"client_request_id": id, "msisdn": msisdn, "amount": 120});
        self.post("/api/ussd/transactions", &body)
    }
}

/// As many open files as the system grants.
pub fn allow_many_connections() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
}

/// Measures `count` waiters on `listening`, told by commits on `committing`.
pub fn measure(asker: &Asker, listening: &Service, committing: &Service, count: usize) -> Waited {
    let tag = format!("{count}-{}", listening.address.port());
    block_on(async {
        let before = listening.memory("VmRSS");
        let own =
            |number: usize| format!("wait={WAIT}&client_request_id=W{tag}-{number}&stats=none");
        let mut waiters = begin(asker, listening.address, count, own).await;
        let memory = (listening.memory("VmRSS") - before) * 1024.0 / count as f64;
        let used = listening.cpu();
        tokio::time::sleep(QUIET).await;
        let cpu = (listening.cpu() - used).as_secs_f64() / QUIET.as_secs_f64();
        let (own, acknowledged) =
            one_by_one(asker, committing.address, &tag, count, &mut waiters).await;
        // Who was not told asks no more.
        waiters.abort_all();
        while waiters.join_next().await.is_some() {}

        let number = 10_000_000 + count;
        let msisdn = format!("2547{number}");
        let query = |_| format!("wait={WAIT}&msisdn={msisdn}");
        let mut waiters = begin(asker, listening.address, count, query).await;
        let mut teller = Client::connect(committing.address).await.unwrap();
        let sent = Instant::now();
        let request = asker.register(&format!("ALL{tag}"), &msisdn);
        assert_eq!(teller.ask(&request).await.unwrap().0, 201);
        let mut all = Vec::new();
        while let Some(answered) = waiters.join_next().await {
            all.push(answered.unwrap().1 - sent);
        }
        Waited {
            memory,
            cpu,
            own,
            acknowledged,
            all: Measured::of(all, sent.elapsed()),
        }
    })
}

/// Opens the connections, asks, and returns when all are surely waiting. A task ends with its number and its answer's
/// time.
async fn begin(
    asker: &Asker,
    address: SocketAddr,
    count: usize,
    query: impl Fn(usize) -> String,
) -> JoinSet<(usize, Instant)> {
    let mut waiters = JoinSet::new();
    let asked = Arc::new(AtomicUsize::new(0));
    for number in 0..count {
        let request = asker.get(&query(number));
        let told = Arc::clone(&asked);
        let mut connection = Client::connect(address).await.unwrap();
        waiters.spawn(async move {
            told.fetch_add(1, Ordering::Relaxed);
            let (status, _, body) = connection.ask(&request).await.unwrap();
            let at = Instant::now();
            assert_eq!(status, 200);
            assert!(!body.is_empty());
            (number, at)
        });
        while asked.load(Ordering::Relaxed) + OPENED_AT_ONCE < number {
            tokio::task::yield_now().await;
        }
    }
    // The last of them are read and looked up in this time; nobody who waits is asked.
    tokio::time::sleep(Duration::from_secs(1)).await;
    waiters
}

/// Tells single waiters, spread over all, each when the one before has its answer.
async fn one_by_one(
    asker: &Asker,
    address: SocketAddr,
    tag: &str,
    count: usize,
    waiters: &mut JoinSet<(usize, Instant)>,
) -> (Measured, Measured) {
    let mut teller = Client::connect(address).await.unwrap();
    let samples = SAMPLES.min(count);
    let begun = Instant::now();
    let (mut own, mut acknowledged) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        if begun.elapsed() > TELL_FOR {
            break;
        }
        let number = sample * count / samples;
        let request = asker.register(&format!("W{tag}-{number}"), "254712345678");
        let sent = Instant::now();
        let answered = async {
            let (woken, at) = waiters.join_next().await.unwrap().unwrap();
            assert_eq!(woken, number, "another one was answered");
            at - sent
        };
        let told = async {
            assert_eq!(teller.ask(&request).await.unwrap().0, 201);
            sent.elapsed()
        };
        let (latency, told) = tokio::join!(answered, told);
        own.push(latency);
        acknowledged.push(told);
    }
    let elapsed = begun.elapsed();
    (
        Measured::of(own, elapsed),
        Measured::of(acknowledged, elapsed),
    )
}

/// Customers who saw the end of their payment in a minute, by waiting or by polling, with one key and the real limits.
pub fn customers(program: &Program, by_waiting: bool) -> f64 {
    let service = program.with("RATE_LIMIT_GET", "100").serve();
    // As long as a person takes to enter a PIN.
    let simulator = program.simulate_between("5s", "15s");
    let asker = Till::open(program, &service, &simulator).asker();
    block_on(async {
        // The hundred that a key may ask at once are no steady state.
        let mut first = Client::connect(service.address).await.unwrap();
        while first.ask(&asker.get("limit=1")).await.unwrap().0 == 200 {}
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(AtomicUsize::new(0));
        let mut shift = JoinSet::new();
        for place in 0..CUSTOMERS {
            let (asker, over, seen) = (asker.clone(), Arc::clone(&over), Arc::clone(&seen));
            let mut connection = Client::connect(service.address).await.unwrap();
            shift.spawn(async move {
                for turn in 0.. {
                    let id = format!("C{by_waiting}-{place}-{turn}");
                    if !serve_one(&asker, &mut connection, &id, place, by_waiting, &over).await {
                        return;
                    }
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Until the first ones are paid, the shift is still filling.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let before = seen.load(Ordering::Relaxed);
        tokio::time::sleep(SHIFT).await;
        let served = seen.load(Ordering::Relaxed) - before;
        over.store(true, Ordering::Relaxed);
        shift.abort_all();
        served as f64 * 60.0 / SHIFT.as_secs_f64()
    })
}

/// One customer pays, and its client asks until it knows the end.
async fn serve_one(
    asker: &Asker,
    connection: &mut Client,
    id: &str,
    place: usize,
    by_waiting: bool,
    over: &AtomicBool,
) -> bool {
    let order = json!({
        "phoneNumber": format!("2547{place:04}5678"), "amount": 120, "client_request_id": id,
        "accountReference": "RENT", "transactionDesc": "Rent",
    });
    let order = asker.post("/api/v1/mpesa/stk-push", &order);
    let wait = if by_waiting { "&wait=20" } else { "" };
    let ask = asker.get(&format!("client_request_id={id}&stats=none{wait}"));
    if connection.ask(&order).await.unwrap().0 != 200 {
        tokio::time::sleep(POLL_EVERY).await;
        return !over.load(Ordering::Relaxed);
    }
    while !over.load(Ordering::Relaxed) {
        if !by_waiting {
            tokio::time::sleep(POLL_EVERY).await;
        }
        let (status, _, body) = connection.ask(&ask).await.unwrap();
        match status {
            200 if body.windows(12).any(|text| text == br#""final":true"#) => return true,
            200 => {}
            // Its key has asked too often: later.
            429 => tokio::time::sleep(POLL_EVERY).await,
            other => panic!("{other}: {}", String::from_utf8_lossy(body)),
        }
    }
    false
}
