//! Slow and hostile clients: others do not notice, what dawdles is cut off, and the memory comes back.
//!
//! `SLOW_CLIENTS` says how many (200 if unset). If it is set, the latency of the others is held to account too: quiet
//! and loaded times alternate, and in the median of the pairs the p99 must stay within twice that of the quiet time.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::kill::setting;
use crate::support::TestStore;
use crate::support::program::{Place, Program, client, customer, registration, webhook_to_nobody};

/// Longer than a head (10 s) or a body (15 s) may take.
const CUT_OFF_AFTER: Duration = Duration::from_secs(30);
/// What may stay behind, and what every further crowd may add: caches fill, and allocators keep what was used once.
const KEPT_KIB: u64 = 32 * 1024;
/// What the allocator may keep of each connection of the first crowd, for the next: its two buffers and its task.
const KEPT_KIB_A_CLIENT: u64 = 20;
/// How often a quiet time and a loaded one are compared.
const PAIRS: usize = 3;
/// One request each, whether or not the last one is answered: a stall is felt by all that fall into it.
const PACE: Duration = Duration::from_millis(5);
/// From the first slow client's connection until the last one is cut off.
const LOADED: Duration = Duration::from_secs(16);
/// A quiet time.
const QUIET: Duration = Duration::from_secs(8);

fn memory_kib(program: &Program) -> u64 {
    let output = Command::new("ps")
        .args(["-o", "rss=", "-p", &program.pid()])
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// One client that means no good, until it is cut off; whether it was.
async fn dawdle(address: String, key: String, number: usize) -> bool {
    let head = |length: usize| {
        format!(
            "POST /api/ussd/transactions HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(&address).await.unwrap();
    match number % 4 {
        // A head, a byte a second.
        1 => {
            let (mut from, mut to) = stream.split();
            let write = async {
                for byte in head(10).bytes() {
                    if to.write_all(&[byte]).await.is_err() {
                        return true;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                false
            };
            let mut answer = Vec::new();
            let read = tokio::time::timeout(CUT_OFF_AFTER, from.read_to_end(&mut answer));
            return tokio::select! {
                cut_off = write => cut_off,
                ended = read => ended.is_ok(),
            };
        }
        // A body that stops half-way.
        2 => {
            stream.write_all(head(100).as_bytes()).await.unwrap();
            stream.write_all(b"{\"client_request_id\":").await.unwrap();
        }
        // Gone before the answer.
        3 => {
            let body = registration(&format!("GONE-{number}"));
            stream.write_all(head(body.len()).as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
            return true;
        }
        // Nothing at all.
        _ => {}
    }
    let mut answer = Vec::new();
    let cut_off = tokio::time::timeout(CUT_OFF_AFTER, stream.read_to_end(&mut answer)).await;
    cut_off.is_ok()
}

/// A caller who wants nothing but an answer.
#[derive(Clone)]
struct Caller {
    client: reqwest::Client,
    base: String,
    key: String,
}

impl Caller {
    async fn ask(&self) -> Duration {
        let url = format!("{}/api/ussd/transaction-status?limit=5", self.base);
        let request = self.client.get(url).header("x-api-key", &self.key);
        let begun = Instant::now();
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
        begun.elapsed()
    }

    /// Asks at a steady pace; the 99th percentile.
    async fn p99(&self, time: Duration) -> Duration {
        let mut due = tokio::time::interval(PACE);
        let mut asked = JoinSet::new();
        let begun = Instant::now();
        while begun.elapsed() < time {
            due.tick().await;
            let caller = self.clone();
            asked.spawn(async move { caller.ask().await });
        }
        let mut spent = asked.join_all().await;
        spent.sort();
        spent[spent.len() * 99 / 100]
    }

    /// Registers a payment and ends it.
    async fn pay(&self, name: &str, callbacks: &str) {
        let url = format!("{}/api/ussd/transactions", self.base);
        let request = self.client.post(url).header("x-api-key", &self.key);
        let answer = request.body(registration(name)).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let url = format!("{}{callbacks}", self.base);
        let request = self.client.post(url).body(crate::api::b2c_result(name, 0));
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_do_not_notice_slow_clients() {
    let in_full: Option<usize> = setting("SLOW_CLIENTS");
    let slow = in_full.unwrap_or(200);
    let pairs = if in_full.is_some() { PAIRS } else { 1 };
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let customer = customer(&place);
    webhook_to_nobody(&place, &customer);
    let program = place.serve();
    let caller = Caller {
        client: client(),
        base: program.base(),
        key: customer.key.clone(),
    };
    for _ in 0..50 {
        caller.ask().await;
    }
    let before = memory_kib(&program);
    let mut after = Vec::new();
    let mut times_as_long = Vec::new();
    for pair in 0..pairs {
        let quiet = match in_full {
            Some(_) => caller.p99(QUIET).await,
            None => Duration::MAX,
        };
        let dawdlers: Vec<_> = (pair * slow..(pair + 1) * slow)
            .map(|number| {
                let address = program.address.clone();
                tokio::spawn(dawdle(address, customer.key.clone(), number))
            })
            .collect();
        let loaded = match in_full {
            Some(_) => caller.p99(LOADED).await,
            None => Duration::ZERO,
        };
        caller
            .pay(&format!("AMONG-{pair}"), &customer.callbacks)
            .await;
        let at_most = memory_kib(&program);
        for (number, dawdler) in dawdlers.into_iter().enumerate() {
            let was_cut_off = dawdler.await.unwrap();
            assert!(was_cut_off, "the client {number} was not cut off");
        }
        caller.ask().await;
        after.push(memory_kib(&program));
        println!(
            "p99 {quiet:?} quiet, {loaded:?} among {slow}; {before}, {at_most}, {} KiB before, among and after",
            after[pair]
        );
        times_as_long.push(loaded.as_secs_f64() / quiet.as_secs_f64());
    }
    let kept = KEPT_KIB + KEPT_KIB_A_CLIENT * u64::try_from(slow).unwrap();
    let (first, last) = (after[0], after[pairs - 1]);
    assert!(first < before + kept, "{before} KiB became {first} KiB");
    assert!(last < first + KEPT_KIB, "{first} KiB became {last} KiB");
    times_as_long.sort_by(f64::total_cmp);
    let median = times_as_long[pairs / 2];
    assert!(median <= 2.0, "{times_as_long:?} times as long");
    // What was sent in full was registered, whether or not anybody waited for the answer.
    let gone = (0..pairs * slow).filter(|number| number % 4 == 3).count();
    let kept = db
        .count("FROM transactions WHERE client_request_id LIKE 'GONE-%'")
        .await;
    assert_eq!(kept, i64::try_from(gone).unwrap());
    db.recount().await;
}
