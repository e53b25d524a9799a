//! Who calls the service while things break: callers that register payments, tell what became of them and ask, and keep
//! every acknowledgement; and beside them a bare client of the database that does nothing but insert rows, to know how
//! long the database itself was away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

/// Callers at the same time.
const CALLERS: usize = 8;
/// The pause after an answer that is none.
const PAUSE: Duration = Duration::from_millis(100);
/// No caller waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// When something was acknowledged, in the order it happened.
#[derive(Default)]
pub struct Times(Mutex<Vec<Instant>>);

impl Times {
    fn now(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    /// The longest time without any, from `since` on; the time up to now counts too.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let mut last = since;
        let mut longest = Duration::ZERO;
        let times = self.0.lock().unwrap();
        for at in times.iter().copied().filter(|at| *at > since) {
            longest = longest.max(at - last);
            last = at;
        }
        longest.max(last.elapsed())
    }

    /// Whether any came after `since`.
    pub fn any_since(&self, since: Instant) -> bool {
        self.0.lock().unwrap().last().is_some_and(|at| *at > since)
    }
}

/// What all callers know.
pub struct Shared {
    /// Where the instances are; one that is started again keeps its address.
    pub bases: Vec<String>,
    pub key: String,
    pub callbacks: String,
    pub callback_times: Times,
    pub read_times: Times,
    /// Conversation ids of acknowledged callbacks.
    acknowledged: Mutex<Vec<String>>,
    registered: Mutex<Vec<String>>,
    /// Answers that must never be.
    wrong: Mutex<Vec<String>>,
    refused: AtomicUsize,
    stop: AtomicBool,
}

/// The callers at work.
pub struct Callers {
    pub shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Callers {
    pub fn start(bases: Vec<String>, key: String, callbacks: String) -> Self {
        let shared = Arc::new(Shared {
            bases,
            key,
            callbacks,
            callback_times: Times::default(),
            read_times: Times::default(),
            acknowledged: Mutex::default(),
            registered: Mutex::default(),
            wrong: Mutex::default(),
            refused: AtomicUsize::default(),
            stop: AtomicBool::default(),
        });
        let tasks = (0..CALLERS)
            .map(|number| tokio::spawn(call(Arc::clone(&shared), number)))
            .collect();
        Self { shared, tasks }
    }

    /// Lets everybody finish the payment at hand.
    pub async fn stop(self) -> Arc<Shared> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.shared
    }
}

/// One client each, so that a connection to a dead instance is nobody else's.
fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

/// A life each: registered, told, asked about; at one instance after the other, and again until it is answered.
async fn call(shared: Arc<Shared>, number: usize) {
    let client = client();
    let mut turn = number;
    for count in 0_i64.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("F{number}-{count}");
        let register = json!({
            "client_request_id": id, "conversation_id": id, "msisdn": "254712345678", "amount": "10.50",
        });
        shared
            .until(&mut turn, &[200, 201], |base| {
                let request = client.post(format!("{base}/api/ussd/transactions"));
                request.header("x-api-key", &shared.key).json(&register)
            })
            .await;
        shared.registered.lock().unwrap().push(id.clone());
        let body = result(&id);
        shared
            .until(&mut turn, &[200], |base| {
                let request = client.post(format!("{base}{}", shared.callbacks));
                request.json(&body)
            })
            .await;
        shared.callback_times.now();
        shared.acknowledged.lock().unwrap().push(id.clone());
        let answer = shared
            .until(&mut turn, &[200], |base| {
                let path = "/api/ussd/transaction-status?stats=none&conversation_id=";
                let request = client.get(format!("{base}{path}{id}"));
                request.header("x-api-key", &shared.key)
            })
            .await;
        shared.read_times.now();
        if answer["transactions"][0]["status"] != "success" {
            shared.wrong(format!("{id} was acknowledged, and then: {answer}"));
        }
        // A later page, which a replica may answer: never without what was registered before.
        let page = shared
            .until(&mut turn, &[200], |base| {
                let path = "/api/ussd/transaction-status?stats=none&limit=1&offset=1";
                let request = client.get(format!("{base}{path}"));
                request.header("x-api-key", &shared.key)
            })
            .await;
        let total = page["pagination"]["total"].as_i64();
        if total <= Some(count) {
            shared.wrong(format!("{count} and more, but a page says: {page}"));
        }
    }
}

/// A B2C result as Daraja posts it.
fn result(id: &str) -> Value {
    json!({"Result": {
        "ResultType": 0, "ResultCode": 0, "ResultDesc": "Done.",
        "OriginatorConversationID": format!("O-{id}"), "ConversationID": id, "TransactionID": format!("R{id}"),
    }})
}

impl Shared {
    /// Sends to one instance after the other until the answer has one of these codes. Whatever else is answered must be
    /// 503 with `Retry-After`.
    async fn until(
        &self,
        turn: &mut usize,
        good: &[u16],
        request: impl Fn(&str) -> reqwest::RequestBuilder,
    ) -> Value {
        loop {
            let base = &self.bases[*turn % self.bases.len()];
            *turn += 1;
            if let Ok(answer) = request(base).send().await {
                let status = answer.status().as_u16();
                let waits = answer.headers().contains_key("retry-after");
                let text = answer.text().await.unwrap_or_default();
                if good.contains(&status) {
                    if let Ok(value) = serde_json::from_str(&text) {
                        return value;
                    }
                } else if status != 503 || !waits {
                    self.wrong(format!("{status} without reason: {text}"));
                }
            }
            self.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// Conversation ids of acknowledged callbacks.
    pub fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap().clone()
    }

    pub fn registered(&self) -> usize {
        self.registered.lock().unwrap().len()
    }

    /// Answers that must never be.
    pub fn wrongs(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Inserts a row at a time over a connection of its own, as often as it can; a broken connection is made anew.
pub struct Bare {
    pub times: Arc<Times>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Bare {
    pub async fn start(url: String) -> Self {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client
            .batch_execute("CREATE TABLE bare (id BIGINT)")
            .await
            .unwrap();
        drop(client);
        let _ = connection.await;
        let (times, stop) = (Arc::new(Times::default()), Arc::new(AtomicBool::new(false)));
        let tasks = (0..2)
            .map(|_| {
                let (url, times, stop) = (url.clone(), Arc::clone(&times), Arc::clone(&stop));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let _ = insert(&url, &times, &stop).await;
                        tokio::time::sleep(PAUSE).await;
                    }
                })
            })
            .collect();
        Self { times, stop, tasks }
    }

    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn insert(url: &str, times: &Times, stop: &AtomicBool) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    while !stop.load(Ordering::Relaxed) {
        let insert = client.batch_execute("INSERT INTO bare VALUES (1)");
        match tokio::time::timeout(PATIENCE, insert).await {
            Ok(inserted) => inserted?,
            Err(_) => return Ok(()),
        }
        times.now();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// How often each event of the partner's feed is there, and whether its numbers have no gap.
pub async fn doubled(url: &str) -> (BTreeMap<String, i64>, bool) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let doubled = client
        .query(
            "SELECT t.client_request_id, e.to_status, COUNT(*) FROM transaction_events e \
             JOIN transactions t ON t.partner_id = e.partner_id AND t.id = e.transaction_id \
             WHERE e.sequence IS NOT NULL GROUP BY 1, 2 HAVING COUNT(*) > 1",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| {
            (
                format!("{} {}", row.get::<_, String>(0), row.get::<_, String>(1)),
                row.get(2),
            )
        })
        .collect();
    let whole = client
        .query_one(
            "SELECT COUNT(*) = MAX(sequence) AND COUNT(*) = (SELECT MAX(last_sequence) FROM feed_heads) \
             FROM transaction_events WHERE sequence IS NOT NULL",
            &[],
        )
        .await
        .unwrap();
    (doubled, whole.get(0))
}
