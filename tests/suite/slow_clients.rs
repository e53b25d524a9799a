//! Slow and hostile clients: others do not notice, what dawdles is cut off, and the memory comes back.
//!
//! `SLOW_CLIENTS` says how many (200 if unset). If it is set, the latency of the others is held to account too:
//! their p99 must stay within twice that of a quiet service.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kill::setting;
use crate::support::TestStore;
use crate::support::program::{Place, Program, client, customer, registration};

/// Longer than a head (10 s) or a body (15 s) may take.
const CUT_OFF_AFTER: Duration = Duration::from_secs(30);
/// What may stay behind: allocators keep some of what was used once.
const KEPT_KIB: u64 = 32 * 1024;
/// Requests that one measurement of the latency takes.
const MEASURED: usize = 1_000;

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

#[tokio::test(flavor = "multi_thread")]
async fn others_do_not_notice_slow_clients() {
    let in_full: Option<usize> = setting("SLOW_CLIENTS");
    let slow = in_full.unwrap_or(200);
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let customer = customer(&place);
    let program = place.serve();
    let client = client();
    let ask = async || {
        let url = format!("{}/api/ussd/transaction-status?limit=5", program.base());
        let begun = Instant::now();
        let answer = client
            .get(url)
            .header("x-api-key", &customer.key)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
        begun.elapsed()
    };
    let p99 = async |requests: usize| {
        let mut spent = Vec::with_capacity(requests);
        for _ in 0..requests {
            spent.push(ask().await);
        }
        spent.sort();
        spent[requests * 99 / 100]
    };
    let requests = if in_full.is_some() { MEASURED } else { 50 };
    p99(requests).await;
    let quiet = p99(requests).await;
    let before = memory_kib(&program);
    let dawdlers: Vec<_> = (0..slow)
        .map(|number| {
            tokio::spawn(dawdle(
                program.address.clone(),
                customer.key.clone(),
                number,
            ))
        })
        .collect();
    // They are all under way when one that comes after them is answered.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let busy = p99(requests).await;
    let at_most = memory_kib(&program);
    for name in ["AMONG-1", "AMONG-2"] {
        let url = format!("{}/api/ussd/transactions", program.base());
        let request = client
            .post(url)
            .header("x-api-key", &customer.key)
            .body(registration(name));
        assert_eq!(request.send().await.unwrap().status(), 201);
        let url = format!("{}{}", program.base(), customer.callbacks);
        let request = client.post(url).body(crate::api::b2c_result(name, 0));
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    for (number, dawdler) in dawdlers.into_iter().enumerate() {
        assert!(
            dawdler.await.unwrap(),
            "the client {number} was not cut off"
        );
    }
    ask().await;
    let after = memory_kib(&program);
    println!(
        "p99 {quiet:?} quiet, {busy:?} among {slow}; {before}, {at_most}, {after} KiB before, among and after"
    );
    assert!(after < before + KEPT_KIB, "{before} KiB became {after} KiB");
    if in_full.is_some() {
        assert!(busy <= 2 * quiet, "{busy:?} instead of {quiet:?}");
    }
    // What was sent in full was registered, whether or not anybody waited for the answer.
    let gone = (0..slow).filter(|number| number % 4 == 3).count();
    let kept = db
        .count("FROM transactions WHERE client_request_id LIKE 'GONE-%'")
        .await;
    assert_eq!(kept, i64::try_from(gone).unwrap());
    db.recount().await;
}
