//! The dispatcher over the embedded database, with partners' servers that answer when the test says so. Time is a
//! manual clock: nothing sleeps.

use std::collections::HashMap;

use chrono::TimeZone;
use standardwebhooks::Webhook;

use super::*;
use crate::domain::clock::{Instant, ManualClock, SystemClock};
use crate::domain::delivery::{Endpoint, Pace, RETRY_PAUSES_SECONDS};
use crate::domain::identity::{KeyId, PartnerId, TransactionId};
use crate::domain::ledger::{Attachment, Command, Outcome, Registration};
use crate::domain::money::{Amount, Currency};
use crate::domain::msisdn::Msisdn;
use crate::domain::partner::{ApiKey, Partner, Scope};
use crate::domain::transaction::{Kind, Provider, ProviderIds};
use crate::store::{self, Actor, Audit, DatabaseLimits, StoreSettings};
use crate::vault::new_master_key;
use crate::webhooks::breaker::{FAILING_ENDPOINT_CONCURRENCY, FAILURES_TO_PAUSE, FIRST_PAUSE};
use crate::webhooks::sender::Limits;
use crate::webhooks::signature::Secret;
use crate::webhooks::test_support::{PATIENCE, Receiver};

/// What an endpoint gets unless it asks for something else.
const ENDPOINT_CONCURRENCY: usize = 8;

struct House {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    vault: Arc<Vault>,
    partner: PartnerId,
    _folder: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        Self::at(chrono::Utc.with_ymd_and_hms(2026, 1, 30, 9, 0, 0).unwrap()).await
    }

    async fn at(start: Instant) -> Self {
        let clock = Arc::new(ManualClock::at(start));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let settings = StoreSettings {
            url: format!("sqlite://{}", path.display()).parse().unwrap(),
            pool_size: 2,
            limits: DatabaseLimits::of(PATIENCE),
            replica: None,
            reconcile_after: chrono::Duration::minutes(2),
        };
        let store = store::open(settings, clock.clone()).await.unwrap();
        store.migrate().await.unwrap();
        let now = clock.now();
        let partner = PartnerId::new(now);
        let house = Self {
            store,
            clock,
            vault: Arc::new(Vault::new(&new_master_key().unwrap(), None).unwrap()),
            partner,
            _folder: folder,
        };
        house.insert_partner(now).await;
        house
    }

    async fn insert_partner(&self, now: Instant) {
        let partner = Partner {
            id: self.partner,
            name: "Duka".to_owned(),
            currency: Currency::kes(),
            suspended: false,
            created_at: now,
        };
        let key = ApiKey {
            id: KeyId::new(now),
            partner_id: self.partner,
            prefix: "k".to_owned(),
            digest: "d".to_owned(),
            scopes: Scope::DEFAULT.to_vec(),
            expires_at: None,
            revoked_at: None,
            created_at: now,
        };
        let audit = self.audit("partner.create");
        self.store
            .insert_partner(partner, key, audit)
            .await
            .unwrap();
    }

    fn audit(&self, action: &'static str) -> Audit {
        Actor::new("test").audit(action, self.partner, self.partner)
    }

    async fn endpoint(&self, receiver: &Receiver) -> Secret {
        self.endpoint_at(receiver.url()).await
    }

    async fn endpoint_at(&self, url: &str) -> Secret {
        let now = self.clock.now();
        let (id, secret) = (EndpointId::new(now), Secret::generate().unwrap());
        let owner = format!("endpoint:{id}");
        let endpoint = Endpoint {
            id,
            partner_id: self.partner,
            url: url.to_owned(),
            events: Vec::new(),
            description: None,
            sealed_secret: self.vault.seal(&owner, secret.reveal().as_bytes()).unwrap(),
            disabled_at: None,
            transaction_id: None,
            created_at: now,
            previous_secret: None,
            failing_since: None,
            pace: Pace::default(),
            public_key: None,
        };
        let audit = self.audit("endpoint.create");
        self.store.insert_endpoint(endpoint, audit).await.unwrap();
        self.clock.advance(chrono::Duration::seconds(1));
        secret
    }

    async fn register(&self, name: &str) -> TransactionId {
        let registration = Registration {
            partner_id: self.partner,
            client_request_id: Some(name.to_owned()),
            provider: Provider::Mpesa,
            kind: Kind::StkPush,
            origin: "test".to_owned(),
            ids: ProviderIds::default(),
            msisdn: Some(Msisdn::from_international("254712345654").unwrap()),
            amount: Amount(120_000),
            currency: Currency::kes(),
            account_reference: None,
            tenant_id: None,
            customer_id: None,
            original_id: None,
            intent: None,
        };
        let command = Command::Register(Box::new(registration));
        match self.store.record(command).await.unwrap() {
            Outcome::Registered { transaction, .. } => transaction.id,
            other => panic!("{other:?}"),
        }
    }

    /// The second event of a queued transaction: its provider id makes it accepted.
    async fn accept(&self, transaction_id: TransactionId) {
        let attachment = Attachment {
            partner_id: self.partner,
            transaction_id,
            ids: ProviderIds {
                conversation_id: Some(format!("AG_{transaction_id}")),
                ..ProviderIds::default()
            },
        };
        let outcome = self
            .store
            .record(Command::Attach(attachment))
            .await
            .unwrap();
        assert!(matches!(outcome, Outcome::Attached(_)), "{outcome:?}");
    }

    fn dispatcher(&self) -> Dispatcher {
        self.dispatcher_with(Some(Arc::clone(&self.vault)))
    }

    fn dispatcher_with(&self, vault: Option<Arc<Vault>>) -> Dispatcher {
        Dispatcher::new(
            Arc::clone(&self.store),
            vault,
            self.clock.clone(),
            Sender::new(true, Limits::default()).unwrap(),
        )
    }

    async fn pending(&self) -> i64 {
        self.store.count_backlog().await.unwrap().pending_deliveries
    }
}

/// What one step did.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// Outcomes written to the database.
    recorded: usize,
    /// Attempts begun.
    started: usize,
}

impl Dispatcher {
    /// The parts of [`Dispatcher::run`] one after the other: what has ended is recorded, then what is due is begun.
    async fn step(&mut self) -> Result<Step, StoreError> {
        self.collect_ended();
        let recorded = self.record().await?;
        let started = self.begin_due().await?;
        Ok(Step { recorded, started })
    }
}

fn step(recorded: usize, started: usize) -> Step {
    Step { recorded, started }
}

/// One attempt, answered with `status` and recorded; the `webhook-id` it had.
async fn attempt(dispatcher: &mut Dispatcher, receiver: &mut Receiver, status: u16) -> String {
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 1));
    let request = receiver.next().await;
    let id = request.header("webhook-id").unwrap().to_owned();
    request.answer(status);
    dispatcher.send_ended().await;
    assert_eq!(dispatcher.step().await.unwrap(), step(1, 0));
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_delivered_once_and_its_signature_verifies() {
    let house = House::at(SystemClock.now()).await;
    let mut receiver = Receiver::start().await;
    let secret = house.endpoint(&receiver).await;
    let mut dispatcher = house.dispatcher();
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    let transaction = house.register("order-1").await;

    assert_eq!(dispatcher.step().await.unwrap(), step(0, 1));
    let request = receiver.next().await;
    let headers: HashMap<String, String> = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .into_iter()
        .map(|name| (name.to_owned(), request.header(name).unwrap().to_owned()))
        .collect();
    Webhook::new(&secret.reveal())
        .unwrap()
        .verify(&request.body, &(&headers).try_into().unwrap())
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["transaction_id"], transaction.to_string());
    assert_eq!(body["type"], "transaction.registered");
    assert_eq!(body["msisdn"], "254712345654");

    // While it is under way it is nobody else's.
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    request.answer(204);
    dispatcher.send_ended().await;
    assert_eq!(dispatcher.step().await.unwrap(), step(1, 0));
    house.clock.advance(chrono::Duration::days(3));
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    assert_eq!(house.pending().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_made_again_with_the_same_id_when_its_time_has_come() {
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    house.register("order-1").await;
    let mut dispatcher = house.dispatcher();

    let first = attempt(&mut dispatcher, &mut receiver, 500).await;
    house.clock.advance(chrono::Duration::milliseconds(4_900));
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    house.clock.advance(chrono::Duration::milliseconds(1_200));
    let second = attempt(&mut dispatcher, &mut receiver, 200).await;
    assert_eq!(first, second);
    assert_eq!(house.pending().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenth_failure_makes_a_dead_letter() {
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    house.register("order-1").await;
    let mut dispatcher = house.dispatcher();
    // Each pause with all its jitter, and no longer: in five days the whole endpoint would be given up.
    let pauses = RETRY_PAUSES_SECONDS.map(|seconds| seconds * 12 / 10 + 1);
    for pause in pauses.into_iter().chain([1]) {
        assert_eq!(house.pending().await, 1);
        attempt(&mut dispatcher, &mut receiver, 307).await;
        house.clock.advance(chrono::Duration::seconds(pause));
    }
    assert_eq!(house.pending().await, 0);
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_says_gone_gets_nothing_more() {
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    house.register("order-1").await;
    let mut dispatcher = house.dispatcher();
    attempt(&mut dispatcher, &mut receiver, 410).await;

    let endpoints = house.store.list_endpoints(house.partner).await.unwrap();
    assert!(endpoints[0].disabled_at.is_some());
    house.register("order-2").await;
    house.clock.advance(chrono::Duration::days(2));
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_for_a_disabled_endpoint_is_not_sent() {
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    let transaction = house.register("order-1").await;
    house.accept(transaction).await;
    let mut dispatcher = house.dispatcher();
    attempt(&mut dispatcher, &mut receiver, 410).await;
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    assert!(receiver.next_now().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_transaction_arrive_in_order() {
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    let transaction = house.register("order-1").await;
    house.accept(transaction).await;
    let mut dispatcher = house.dispatcher();

    attempt_of(
        &mut dispatcher,
        &mut receiver,
        500,
        "transaction.registered",
        0,
    )
    .await;
    // The later event waits for the earlier one's second attempt, and follows it at once.
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    house.clock.advance(chrono::Duration::seconds(7));
    attempt_of(
        &mut dispatcher,
        &mut receiver,
        200,
        "transaction.registered",
        1,
    )
    .await;
    let request = receiver.next().await;
    assert!(String::from_utf8_lossy(&request.body).contains("transaction.accepted"));
    request.answer(200);
    dispatcher.send_ended().await;
    dispatcher.step().await.unwrap();
    assert_eq!(house.pending().await, 0);
}

async fn attempt_of(
    dispatcher: &mut Dispatcher,
    receiver: &mut Receiver,
    status: u16,
    event_type: &str,
    started_after: usize,
) {
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 1));
    let request = receiver.next().await;
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["type"], event_type);
    request.answer(status);
    dispatcher.send_ended().await;
    assert_eq!(dispatcher.step().await.unwrap(), step(1, started_after));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_delays_no_other() {
    const PAYMENTS: usize = 30;
    let house = House::new().await;
    let (mut hanging, mut prompt) = (Receiver::start().await, Receiver::start().await);
    house.endpoint(&hanging).await;
    house.endpoint(&prompt).await;
    for number in 0..PAYMENTS {
        house.register(&format!("order-{number}")).await;
    }
    let cancel = CancellationToken::new();
    let running = tokio::spawn(house.dispatcher().run(cancel.clone()));

    for _ in 0..PAYMENTS {
        prompt.next().await.answer(200);
    }
    let mut held = vec![hanging.next().await];
    while let Some(request) = hanging.next_now() {
        held.push(request);
    }
    assert!(held.len() <= ENDPOINT_CONCURRENCY, "{}", held.len());

    // Stopping lets what is under way end, and keeps what came of it.
    cancel.cancel();
    for request in held.drain(..) {
        request.answer(200);
    }
    let rest = tokio::spawn(async move {
        loop {
            hanging.next().await.answer(200);
        }
    });
    tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap();
    rest.abort();
    let pending = usize::try_from(house.pending().await).unwrap();
    assert!(
        (PAYMENTS - ENDPOINT_CONCURRENCY..PAYMENTS).contains(&pending),
        "{pending}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_wakes_the_dispatcher_and_a_delivery_the_next() {
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    let cancel = CancellationToken::new();
    let running = tokio::spawn(house.dispatcher().run(cancel.clone()));
    let transaction = house.register("order-1").await;
    let first = receiver.next().await;
    house.accept(transaction).await;
    first.answer(200);
    let second = receiver.next().await;
    assert!(String::from_utf8_lossy(&second.body).contains("transaction.accepted"));
    cancel.cancel();
    second.answer(200);
    tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(house.pending().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_endpoint_gets_one_request_at_a_time_until_it_recovers() {
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    let mut dispatcher = house.dispatcher();
    house.register("order-0").await;
    attempt(&mut dispatcher, &mut receiver, 503).await;
    for number in 1..=20 {
        house.register(&format!("order-{number}")).await;
    }
    assert_eq!(
        dispatcher.step().await.unwrap(),
        step(0, FAILING_ENDPOINT_CONCURRENCY)
    );
    receiver.next().await.answer(200);
    dispatcher.send_ended().await;
    assert_eq!(
        dispatcher.step().await.unwrap(),
        step(1, ENDPOINT_CONCURRENCY)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_unsigned() {
    let house = House::new().await;
    let receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    house.register("order-1").await;
    let stranger = Arc::new(Vault::new(&new_master_key().unwrap(), None).unwrap());
    for vault in [None, Some(stranger)] {
        let mut dispatcher = house.dispatcher_with(vault);
        assert_eq!(dispatcher.step().await.unwrap(), step(0, 1));
        dispatcher.send_ended().await;
        assert_eq!(dispatcher.step().await.unwrap(), step(1, 0));
        house.clock.advance(chrono::Duration::minutes(7));
    }
    assert_eq!(receiver.connections(), 0);
    assert_eq!(house.pending().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_dispatchers_deliveries_are_due_at_the_next_start() {
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    house.register("order-1").await;
    let mut killed = house.dispatcher();
    assert_eq!(killed.step().await.unwrap(), step(0, 1));
    let unanswered = receiver.next().await;
    drop(killed);
    unanswered.answer(200);

    // The clock stands still: it is not the lease's end that frees it.
    let cancel = CancellationToken::new();
    let running = tokio::spawn(house.dispatcher().run(cancel.clone()));
    receiver.next().await.answer(200);
    cancel.cancel();
    tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(house.pending().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_goes_on_failing_is_left_alone_and_probed_with_one_delivery() {
    const WAITING: usize = 3;
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _local = metrics::set_default_local_recorder(&recorder);
    let paused = |count: u8| {
        let text = figures.render();
        assert!(
            text.contains(&format!("ussd_status_webhook_endpoints_paused {count}")),
            "{text}"
        );
    };
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    let mut dispatcher = house.dispatcher();
    for number in 0..FAILURES_TO_PAUSE {
        house.register(&format!("order-{number}")).await;
        attempt(&mut dispatcher, &mut receiver, 503).await;
    }
    for number in 0..WAITING {
        house.register(&format!("waiting-{number}")).await;
    }
    paused(1);
    // The failed ones fall due again meanwhile.
    let almost = FIRST_PAUSE - chrono::Duration::milliseconds(1);
    house.clock.advance(almost);
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    house.clock.advance(chrono::Duration::milliseconds(1));
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 1));
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    paused(0);
    // It is not back.
    receiver.next().await.answer(503);
    dispatcher.send_ended().await;
    assert_eq!(dispatcher.step().await.unwrap(), step(1, 0));
    house.clock.advance(FIRST_PAUSE);
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    house.clock.advance(FIRST_PAUSE);
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 1));
    // It is: everything else follows at once.
    receiver.next().await.answer(200);
    dispatcher.send_ended().await;
    let rest = usize::try_from(FAILURES_TO_PAUSE).unwrap() + WAITING - 1;
    assert_eq!(dispatcher.step().await.unwrap(), step(1, rest));
    for _ in 0..rest {
        receiver.next().await.answer(200);
    }
    for _ in 0..rest {
        dispatcher.send_ended().await;
    }
    assert_eq!(dispatcher.step().await.unwrap().started, 0);
    assert_eq!(house.pending().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_asks_to_be_left_alone_is_for_so_long() {
    let house = House::new().await;
    let mut receiver = Receiver::start().await;
    house.endpoint(&receiver).await;
    house.register("order-1").await;
    let mut dispatcher = house.dispatcher();
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 1));
    let busy = "HTTP/1.1 429 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n";
    receiver.next().await.answer_raw(busy);
    dispatcher.send_ended().await;
    house.register("order-2").await;
    assert_eq!(dispatcher.step().await.unwrap(), step(1, 0));
    house.clock.advance(chrono::Duration::seconds(119));
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 0));
    house.clock.advance(chrono::Duration::seconds(1));
    assert_eq!(dispatcher.step().await.unwrap(), step(0, 1));
    receiver.next().await.answer(200);
    dispatcher.send_ended().await;
    assert_eq!(dispatcher.step().await.unwrap(), step(1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_endpoints_that_hang_and_twenty_that_refuse_delay_no_other() {
    const EACH: usize = 20;
    const PAYMENTS: usize = 20;
    let house = House::new().await;
    let (mut hanging, mut refusing) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        let receiver = Receiver::start().await;
        house.endpoint(&receiver).await;
        hanging.push(receiver);
        // A port that is taken, and not listened at.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        house.endpoint_at(&url).await;
        refusing.push(socket);
    }
    let mut healthy = Receiver::start().await;
    house.endpoint(&healthy).await;
    let cancel = CancellationToken::new();
    let running = tokio::spawn(house.dispatcher().run(cancel.clone()));
    for number in 0..PAYMENTS {
        house.register(&format!("order-{number}")).await;
    }
    for _ in 0..PAYMENTS {
        healthy.next().await.answer(200);
    }
    // Nobody has answered the others, and none has more than it may.
    for receiver in &mut hanging {
        let mut held = vec![receiver.next().await];
        while let Some(request) = receiver.next_now() {
            held.push(request);
        }
        assert!(held.len() <= ENDPOINT_CONCURRENCY, "{}", held.len());
        assert!(receiver.connections() <= ENDPOINT_CONCURRENCY);
    }
    drop(hanging);
    cancel.cancel();
    tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap();
    let pending = usize::try_from(house.pending().await).unwrap();
    assert_eq!(pending, 2 * EACH * PAYMENTS, "nothing was given up");
}
