//! A disk that is really full, while callbacks come in: what finds no room is answered 503 and leaves no trace, what was
//! acknowledged is there, and once there is room the same process goes on.
//!
//! It takes root to mount a small file system. Whoever is not root has `outage::a_full_disk_is_not_acknowledged`, where
//! a limit on the size of files stands for it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::support::TestStore;
use crate::support::program::{Customer, Place, client, customer, registration, webhook_to_nobody};

/// Enough for the database and its log, and quickly full.
const SIZE: &str = "size=12m";
const WORKERS: usize = 4;
/// What is taken before the disk is filled.
const TAKEN: usize = 40;
/// What is refused before there is room again.
const REFUSED: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

/// A small file system; gone with this value.
struct Disk(TempDir);

impl Disk {
    /// None for who may not mount one.
    fn mount() -> Option<Self> {
        let disk = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(disk.path())
            .output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        mounted.then_some(Self(disk))
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Until not one byte more finds room.
    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for size in [64 * 1024, 1] {
            let error = loop {
                if let Err(error) = file.write_all(&vec![1; size]) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// What callers know.
#[derive(Default)]
struct Known {
    registered: Mutex<BTreeSet<String>>,
    acknowledged: Mutex<BTreeSet<String>>,
    next: AtomicUsize,
    refused: AtomicUsize,
    ended: AtomicBool,
    progress: Notify,
}

/// A partner and its provider, each with one kind of request.
struct Callers {
    base: String,
    customer: Customer,
    client: reqwest::Client,
}

impl Callers {
    async fn send(&self, request: reqwest::RequestBuilder) -> StatusCode {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success() || status == 503, "{status}: {text}");
        status
    }

    async fn register(&self, name: &str) -> StatusCode {
        let url = format!("{}/api/ussd/transactions", self.base);
        let request = self
            .client
            .post(url)
            .header("x-api-key", &self.customer.key);
        self.send(request.body(registration(name))).await
    }

    async fn callback(&self, name: &str) -> StatusCode {
        let url = format!("{}{}", self.base, self.customer.callbacks);
        let body = crate::api::b2c_result(name, 0);
        self.send(self.client.post(url).body(body)).await
    }

    /// Registers and calls back, whatever is answered, until told to end.
    async fn work(&self, known: &Known) {
        while !known.ended.load(Ordering::Relaxed) {
            let name = format!("FULL-{}", known.next.fetch_add(1, Ordering::Relaxed));
            for (status, list) in [
                (self.register(&name).await, &known.registered),
                (self.callback(&name).await, &known.acknowledged),
            ] {
                if status == 503 {
                    known.refused.fetch_add(1, Ordering::Relaxed);
                } else {
                    list.lock().unwrap().insert(name.clone());
                }
                known.progress.notify_one();
            }
        }
    }
}

impl Known {
    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        let wait = async {
            while !what(self) {
                self.progress.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("in time");
    }
}

/// What is in the database, by name: registered payments, and callbacks in the inbox.
async fn kept(db: &TestStore) -> (BTreeSet<String>, BTreeSet<String>) {
    let rows = db.rows(&["client_request_id"], "FROM transactions").await;
    let registered = rows.iter().map(|row| row[0].as_str().unwrap().to_owned());
    let bodies = db.rows(&["CAST(body AS TEXT)"], "FROM callbacks").await;
    let called = bodies.iter().map(|row| {
        let body: Value = serde_json::from_str(row[0].as_str().unwrap()).unwrap();
        let name = &body["Result"]["ConversationID"];
        name.as_str().unwrap().to_owned()
    });
    (registered.collect(), called.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_is_not_acknowledged_and_recovers() {
    let Some(disk) = Disk::mount() else {
        println!(
            "not root: nothing can be mounted; outage::a_full_disk_is_not_acknowledged stands in"
        );
        return;
    };
    let db = TestStore::sqlite_in(disk.0.path()).await;
    let place = Place::new(&db);
    let customer = customer(&place);
    webhook_to_nobody(&place, &customer);
    let program = place.serve();
    let callers = Arc::new(Callers {
        base: program.base(),
        customer,
        client: client(),
    });
    let known = Arc::new(Known::default());
    let work = || {
        let (callers, known) = (callers.clone(), known.clone());
        tokio::spawn(async move { callers.work(&known).await })
    };
    let workers: Vec<_> = (0..WORKERS).map(|_| work()).collect();
    known.until(|known| known.acknowledged() >= TAKEN).await;
    assert_eq!(known.refused(), 0, "there is room");
    disk.fill();
    known.until(|known| known.refused() >= REFUSED).await;
    known.ended.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    // Not one more and not one less than was acknowledged.
    let (registered, called) = kept(&db).await;
    assert_eq!(registered, *known.registered.lock().unwrap());
    assert_eq!(called, *known.acknowledged.lock().unwrap());
    db.recount().await;
    // Room again: the same process takes what it refused.
    std::fs::remove_file(disk.filler()).unwrap();
    let mut tries = 0;
    while callers.callback("FULL-0").await != 200 {
        tries += 1;
        assert!(tries < 20, "writing does not come back");
    }
    let all = known.next.load(Ordering::Relaxed);
    for number in 0..all {
        let name = format!("FULL-{number}");
        assert!(callers.register(&name).await.is_success());
        assert_eq!(callers.callback(&name).await, 200);
    }
    let ended = "FROM transactions WHERE status = 'success'";
    assert_eq!(db.count(ended).await, i64::try_from(all).unwrap());
    db.recount().await;
    println!(
        "{} of {all} acknowledged beside the full disk",
        called.len()
    );
}
