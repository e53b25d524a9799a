//! The ClickPesa client against the simulator, over a wire that keeps what is sent and can answer in ClickPesa's
//! place.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use ussd_status::domain::account::Account;
use ussd_status::domain::clock::{Clock, ManualClock};
use ussd_status::domain::identity::{AccountId, EnquiryId, PartnerId, TransactionId};
use ussd_status::domain::money::{Amount, Currency};
use ussd_status::domain::msisdn::Msisdn;
use ussd_status::domain::status_update::{Payer, ResultClass, StatusUpdate};
use ussd_status::domain::transaction::{Kind, Provider, ProviderIds};
use ussd_status::providers::answer::{
    Acceptance, Answer, BalanceAnswer, Outcome, Refusal, Reply, TokenError,
};
use ussd_status::providers::clickpesa::client::{Client, TOKEN_LIFETIME};
use ussd_status::providers::client::HttpClient;
use ussd_status::providers::payment_provider::{
    CallbackBase, Collection, CredentialsError, PayOut, PaymentProvider, Purpose, Question,
    ReversalRequest, Setup,
};
use ussd_status::simulator::{Application, RunningSimulator, Simulator, SimulatorSettings};

use super::wire::{Sent, Wire};
use crate::support::clock_at_start;

const CLIENT_ID: &str = "IDAPP1";
const API_KEY: &str = "SKverysecret";
const CHECKSUM_KEY: &str = "CHKverysecret";

const TOKEN: &str = "/third-parties/generate-token";
const INITIATE: &str = "/third-parties/payments/initiate-ussd-push-request";
const PAYOUT: &str = "/third-parties/payouts/create-mobile-money-payout";

/// A client, the wire and the simulator.
struct Bench {
    client: Client,
    wire: Wire,
    simulator: RunningSimulator,
    clock: Arc<ManualClock>,
}

impl Bench {
    async fn open() -> Self {
        Self::with(json!({})).await
    }

    /// With more credentials than it needs.
    async fn with(more: Value) -> Self {
        let clock = clock_at_start();
        let simulator_clock = Arc::clone(&clock);
        let simulator = Simulator::start(SimulatorSettings {
            callback_delay: Duration::ZERO..=Duration::from_millis(5),
            now: Arc::new(move || simulator_clock.now()),
            ..SimulatorSettings::new("127.0.0.1:0".parse().unwrap())
        })
        .await
        .unwrap();
        let (wire, url) = Wire::open(simulator.url()).await;
        let client = opened(more, &url, clock.clone()).unwrap();
        Self {
            client,
            wire,
            simulator,
            clock,
        }
    }

    fn sent(&self, path: &str) -> Vec<Sent> {
        let mut sent = self.wire.sent();
        sent.retain(|sent| sent.path == path);
        sent
    }

    /// What the dashboard does to checksums.
    fn set_checksum(&self, key: Option<&str>) {
        let application = Application {
            webhook_url: String::new(),
            checksum_key: key.map(str::to_owned),
        };
        self.simulator
            .set_clickpesa_application(CLIENT_ID, application);
    }

    fn collection(&self, number: &str) -> Collection {
        let transaction_id = TransactionId::new(self.clock.now());
        Collection {
            transaction_id,
            msisdn: msisdn(number),
            amount: Amount(1_000_000),
            currency: Currency::tzs(),
            reference: Some("INV 1".to_owned()),
            description: None,
            transaction_type: None,
            ids: self.client.own_ids(Kind::UssdPush, transaction_id),
            callbacks: callbacks(),
        }
    }

    fn payout(&self, number: &str) -> PayOut {
        let transaction_id = TransactionId::new(self.clock.now());
        PayOut {
            transaction_id,
            msisdn: msisdn(number),
            amount: Amount(250_050),
            currency: Currency::tzs(),
            purpose: Purpose::Salary,
            remarks: None,
            occasion: None,
            ids: self.client.own_ids(Kind::Payout, transaction_id),
            callbacks: callbacks(),
        }
    }

    async fn query(&self, kind: Kind, transaction_id: TransactionId) -> Answer {
        let question = Question {
            transaction_id,
            kind,
            ids: self.client.own_ids(kind, transaction_id),
            receipt: None,
            callbacks: callbacks(),
        };
        self.client.query(&question).await.unwrap()
    }
}

fn opened(more: Value, url: &str, clock: Arc<ManualClock>) -> Result<Client, CredentialsError> {
    let mut credentials = Map::new();
    credentials.insert("environment".to_owned(), json!("sandbox"));
    credentials.insert("client_id".to_owned(), json!(CLIENT_ID));
    credentials.insert("api_key".to_owned(), json!(API_KEY));
    credentials.extend(more.as_object().unwrap().clone());
    let now = clock.now();
    let account = Account {
        id: AccountId::new(now),
        partner_id: PartnerId::new(now),
        provider: Provider::Clickpesa,
        environment: "sandbox".to_owned(),
        shortcode: None,
        till_number: None,
        callback_token: "token".to_owned(),
        sealed_credentials: Vec::new(),
        created_at: now,
    };
    Client::open(Setup {
        account: &account,
        credentials: &credentials,
        base_url: Some(&url.parse().unwrap()),
        http: HttpClient::new().unwrap(),
        clock,
        tokens: None,
    })
}

fn msisdn(number: &str) -> Msisdn {
    Msisdn::from_international(number).unwrap()
}

fn enquiry_id() -> EnquiryId {
    "0190c2a4-7c00-7000-8000-0000000000b1".parse().unwrap()
}

fn callbacks() -> CallbackBase {
    CallbackBase::new("http://127.0.0.1:9".parse().unwrap(), "token")
}

fn accepted(outcome: Outcome) -> Acceptance {
    match outcome {
        Outcome::Accepted(acceptance) => *acceptance,
        other => panic!("not accepted: {other:?}"),
    }
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn news(answer: Answer) -> StatusUpdate {
    match answer {
        Answer::News(update) => *update,
        other => panic!("no news: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_taken_asked_about_and_paid() {
    let bench = Bench::open().await;
    let request = bench.collection("255712345678");
    let reference = request.ids.order_reference.clone().unwrap();
    let taken = accepted(bench.client.collect(&request).await.unwrap());
    assert_eq!(taken.ids.order_reference.as_deref(), Some(&*reference));
    assert!(
        taken
            .ids
            .conversation_id
            .as_deref()
            .unwrap()
            .starts_with(&*reference)
    );
    assert_eq!(taken.update.unwrap().class, ResultClass::Pending);
    assert_eq!(taken.body.unwrap()["status"], "PROCESSING");
    let sent = &bench.sent(INITIATE)[0];
    assert_eq!(
        sent.body,
        json!({"amount": "10000", "currency": "TZS", "orderReference": reference, "phoneNumber": "255712345678"})
    );

    bench.simulator.until_quiet().await;
    let update = news(bench.query(Kind::UssdPush, request.transaction_id).await);
    assert_eq!(update.class, ResultClass::Success);
    assert_eq!(update.paid, Some(Amount(1_000_000)));
    assert_eq!(update.payer, Some(Payer::Msisdn(request.msisdn)));
    assert_eq!(update.receipt.unwrap().len(), 18);
    assert_eq!(
        update.correlation.conversation_id,
        taken.ids.conversation_id
    );
    assert_eq!(
        update.correlation.transaction_id,
        Some(request.transaction_id)
    );
    assert_eq!(update.unregistered, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_back_or_failed_is_told_as_that() {
    let bench = Bench::open().await;
    for (number, returned, paid) in [
        ("255712340009", true, false),
        ("255712341032", false, false),
    ] {
        let request = bench.collection(number);
        accepted(bench.client.collect(&request).await.unwrap());
        bench.simulator.until_quiet().await;
        let update = news(bench.query(Kind::UssdPush, request.transaction_id).await);
        assert_eq!(update.class, ResultClass::Failed);
        assert_eq!((update.returned, update.paid.is_some()), (returned, paid));
        assert_eq!(update.receipt, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_is_taken_and_asked_about() {
    let bench = Bench::with(json!({"checksum_key": CHECKSUM_KEY})).await;
    bench.set_checksum(Some(CHECKSUM_KEY));
    let request = bench.payout("255712345678");
    let taken = accepted(bench.client.pay_out(&request).await.unwrap());
    assert!(taken.ids.conversation_id.unwrap().starts_with("PAY"));
    assert_eq!(taken.body.unwrap()["status"], "AUTHORIZED");
    assert_eq!(taken.update.unwrap().class, ResultClass::Pending);
    // A number as JavaScript writes it: the simulator, as ClickPesa, counts the checksum over that.
    assert_eq!(bench.sent(PAYOUT)[0].body["amount"].to_string(), "2500.5");

    bench.simulator.until_quiet().await;
    let update = news(bench.query(Kind::Payout, request.transaction_id).await);
    assert_eq!(update.class, ResultClass::Success);
    // The simulator drops cents; and the fee is not part of it.
    assert_eq!(update.paid, Some(Amount(250_000)));
    let answer = bench.query(Kind::UssdPush, request.transaction_id).await;
    assert!(matches!(answer, Answer::Nothing(_)), "{answer:?}");

    let another = bench.payout("255712345678");
    match bench.client.preview_pay_out(&another).await.unwrap() {
        Reply::Body(body) => assert_eq!(body["fee"], 47),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_payments_at_once_fetch_one_token_and_send_it_as_it_came() {
    let bench = Bench::open().await;
    let pay_all = || async {
        let requests: Vec<_> = (0..64).map(|_| bench.collection("255712345678")).collect();
        let calls = requests.iter().map(|request| bench.client.collect(request));
        for outcome in futures_util::future::join_all(calls).await {
            accepted(outcome.unwrap());
        }
    };
    pay_all().await;
    assert_eq!(bench.sent(TOKEN).len(), 1);
    for sent in bench.sent(INITIATE) {
        assert_eq!(sent.authorization.matches("Bearer ").count(), 1);
        assert!(sent.authorization.starts_with("Bearer ey"));
    }

    // Its time over and no other to be had, nothing is sent; then one more is fetched.
    bench.wire.answer_next(TOKEN, 503, "{}");
    bench.clock.advance(TOKEN_LIFETIME);
    let refusal = refused(
        bench
            .client
            .collect(&bench.collection("255712345678"))
            .await
            .unwrap(),
    );
    assert!(refusal.retryable, "{refusal:?}");
    pay_all().await;
    assert_eq!(bench.sent(TOKEN).len(), 3);
    assert_eq!(bench.sent(INITIATE).len(), 2 * 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_dashboard_ended_is_replaced_once_and_the_payment_repeated_once() {
    let bench = Bench::with(json!({"checksum_key": CHECKSUM_KEY})).await;
    accepted(
        bench
            .client
            .collect(&bench.collection("255712345678"))
            .await
            .unwrap(),
    );
    bench.set_checksum(Some(CHECKSUM_KEY));
    let requests: Vec<_> = (0..64).map(|_| bench.collection("255712345678")).collect();
    let calls = requests.iter().map(|request| bench.client.collect(request));
    for outcome in futures_util::future::join_all(calls).await {
        accepted(outcome.unwrap());
    }
    assert_eq!(bench.sent(TOKEN).len(), 2);
    for request in &requests {
        let reference = request.ids.order_reference.clone().unwrap();
        let sent = bench.sent(INITIATE);
        let times = sent
            .iter()
            .filter(|sent| sent.body["orderReference"] == reference);
        assert!((1..=2).contains(&times.count()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_twice_is_a_refusal() {
    let bench = Bench::open().await;
    for _ in 0..2 {
        bench
            .wire
            .answer_next(INITIATE, 401, r#"{"message":"Unauthorized"}"#);
    }
    let refusal = refused(
        bench
            .client
            .collect(&bench.collection("255712345678"))
            .await
            .unwrap(),
    );
    assert_eq!((refusal.http_status, refusal.retryable), (Some(401), false));
    assert_eq!(refusal.message, "Unauthorized");
    assert_eq!(
        (bench.sent(INITIATE).len(), bench.sent(TOKEN).len()),
        (2, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checksum_is_the_one_that_is_wanted() {
    let bench = Bench::with(json!({"checksum_key": CHECKSUM_KEY})).await;
    bench.set_checksum(Some(CHECKSUM_KEY));
    let request = bench.collection("255712345678");
    match bench.client.preview_collection(&request).await.unwrap() {
        Reply::Body(body) => {
            assert_eq!(body["activeMethods"][0]["status"], "AVAILABLE");
            assert_eq!(body.get("sender"), None);
        }
        other => panic!("{other:?}"),
    }
    accepted(bench.client.collect(&request).await.unwrap());

    bench.set_checksum(Some("another"));
    let refusal = refused(
        bench
            .client
            .collect(&bench.collection("255712345678"))
            .await
            .unwrap(),
    );
    assert_eq!(refusal.message, "Invalid checksum");
    assert!(!refusal.retryable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_the_question_finds_the_payment() {
    let bench = Bench::open().await;
    let (push, payout) = (
        bench.collection("255712340500"),
        bench.payout("255712340500"),
    );
    for (outcome, kind, id, path) in [
        (
            bench.client.collect(&push).await,
            Kind::UssdPush,
            push.transaction_id,
            INITIATE,
        ),
        (
            bench.client.pay_out(&payout).await,
            Kind::Payout,
            payout.transaction_id,
            PAYOUT,
        ),
    ] {
        match outcome.unwrap() {
            Outcome::Unknown(no_answer) => {
                assert_eq!(
                    (no_answer.http_status, no_answer.is_down),
                    (Some(504), true)
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.sent(path).len(), 1, "never sent twice");
        bench.simulator.until_quiet().await;
        assert_eq!(
            news(bench.query(kind, id).await).class,
            ResultClass::Success
        );
    }
    // The same once more is no second payment, and still not known to be paid.
    match bench.client.collect(&push).await.unwrap() {
        Outcome::Unknown(no_answer) => {
            assert_eq!(
                (no_answer.http_status, no_answer.is_down),
                (Some(409), false)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_and_throttled_are_told_apart() {
    let bench = Bench::open().await;
    for (number, status, throttled) in [("255712340007", 400, false), ("255712340503", 429, true)] {
        for outcome in [
            bench.client.collect(&bench.collection(number)).await,
            bench.client.pay_out(&bench.payout(number)).await,
        ] {
            let refusal = refused(outcome.unwrap());
            assert_eq!(refusal.http_status, Some(status));
            assert_eq!(
                (refusal.throttled, refusal.retryable),
                (throttled, throttled)
            );
            assert!(!refusal.message.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_settle_nothing_are_unknown() {
    let bench = Bench::open().await;
    for (status, body, is_down) in [
        (
            500,
            r#"{"message":"Error validating fee, try again later"}"#,
            false,
        ),
        (500, r#"{"message":"Internal server error"}"#, true),
        (200, "<html>welcome</html>", false),
        (200, r#"{"message":"ok"}"#, false),
        (200, "[]", false),
        (302, "", false),
    ] {
        bench.wire.answer_next(INITIATE, status, body);
        let request = bench.collection("255712345678");
        match bench.client.collect(&request).await.unwrap() {
            Outcome::Unknown(no_answer) => assert_eq!(no_answer.is_down, is_down, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
        let answer = bench.query(Kind::UssdPush, request.transaction_id).await;
        assert!(matches!(
            answer,
            Answer::Nothing(Refusal {
                retryable: true,
                ..
            })
        ));
    }
    assert_eq!(bench.sent(INITIATE).len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_attempts_under_one_reference_the_paid_one_is_believed() {
    let bench = Bench::open().await;
    let id = TransactionId::new(bench.clock.now());
    let list = r#"[
        {"id":"b","status":"FAILED","createdAt":"2026-03-14T15:00:00.000Z"},
        {"id":"a","status":"SETTLED","createdAt":"2026-03-14T14:00:00.000Z","collectedAmount":1000.10},
        {"id":"c","status":"PROCESSING","createdAt":"2026-03-14T16:00:00.000Z"}]"#;
    bench
        .wire
        .answer_next("/third-parties/payments/", 200, list);
    let update = news(bench.query(Kind::UssdPush, id).await);
    assert_eq!(update.correlation.conversation_id.as_deref(), Some("a"));
    assert_eq!(update.paid, Some(Amount(100_010)));
    bench
        .wire
        .answer_next("/third-parties/payments/", 200, "[]");
    let answer = bench.query(Kind::UssdPush, id).await;
    assert!(matches!(answer, Answer::Nothing(_)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_reference_cannot_lead_to_another_path() {
    let bench = Bench::open().await;
    let mut question = Question {
        transaction_id: TransactionId::new(bench.clock.now()),
        kind: Kind::UssdPush,
        ids: ProviderIds::default(),
        receipt: None,
        callbacks: callbacks(),
    };
    for impossible in [None, Some(""), Some("."), Some("..")] {
        question.ids.order_reference = impossible.map(str::to_owned);
        let answer = bench.client.query(&question).await.unwrap();
        assert!(matches!(answer, Answer::Impossible(_)), "{impossible:?}");
    }
    assert!(bench.wire.sent().is_empty());
    question.ids.order_reference = Some("../account/balance?x#y".to_owned());
    bench.client.query(&question).await.unwrap();
    let path = "/third-parties/payments/..%2Faccount%2Fbalance%3Fx%23y";
    assert_eq!(bench.sent(path).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_come_at_once_and_a_new_account_has_none() {
    let bench = Bench::open().await;
    let balances = |answer| match answer {
        BalanceAnswer::Balances(balances) => balances,
        other => panic!("{other:?}"),
    };
    let told = balances(
        bench
            .client
            .balance(&callbacks(), enquiry_id())
            .await
            .unwrap(),
    );
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].currency, "TZS");
    assert_eq!(told[0].available, Some(Amount(500_000_000)));
    bench.wire.answer_next(
        "/third-parties/account/balance",
        404,
        r#"{"message":"Not Found"}"#,
    );
    assert!(
        balances(
            bench
                .client
                .balance(&callbacks(), enquiry_id())
                .await
                .unwrap()
        )
        .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clickpesa_has_not_is_refused_by_name_and_nothing_is_sent() {
    let bench = Bench::open().await;
    let registering = bench.client.register_callbacks(&callbacks()).await;
    assert_eq!(
        registering.unwrap_err().to_string(),
        "IPN registration not supported by this provider"
    );
    let request = ReversalRequest {
        transaction_id: TransactionId::new(bench.clock.now()),
        receipt: "PAY-XYZ-789".to_owned(),
        amount: Amount(100),
        remarks: None,
        callbacks: callbacks(),
    };
    let reversing = bench.client.reverse(&request).await;
    assert_eq!(
        reversing.unwrap_err().to_string(),
        "reversal not supported by this provider"
    );
    assert!(bench.wire.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_checked_and_never_shown() {
    let secrets = json!({"checksum_key": CHECKSUM_KEY});
    let good = Bench::with(secrets.clone()).await;
    good.client.check_credentials().await.unwrap();
    good.client.check_credentials().await.unwrap();
    assert_eq!(good.sent(TOKEN).len(), 2, "whatever is cached");
    assert_eq!(good.sent(TOKEN)[0].authorization, "");

    let bad = Bench::with(json!({"api_key": "wrong"})).await;
    match bad.client.check_credentials().await {
        Err(TokenError::Refused(refusal)) => {
            assert_eq!(refusal.http_status, Some(403));
            assert_eq!(refusal.message, "Invalid or Expired API-Key");
        }
        other => panic!("{other:?}"),
    }
    let refusal = refused(
        bad.client
            .collect(&bad.collection("255712345678"))
            .await
            .unwrap(),
    );
    assert_eq!((refusal.http_status, refusal.retryable), (Some(403), false));
    assert!(bad.sent(INITIATE).is_empty());

    let shown = format!("{:?} {:?}", good.client, bad.client);
    for secret in [CLIENT_ID, API_KEY, CHECKSUM_KEY, "Bearer"] {
        assert!(!shown.contains(secret));
    }
    // Nobody listens on port 9: the trouble is told without the address.
    let silent = opened(secrets, "http://127.0.0.1:9", good.clock.clone()).unwrap();
    match silent.check_credentials().await {
        Err(TokenError::Unknown(no_answer)) => {
            assert!(no_answer.is_down);
            assert_eq!(no_answer.reason, "no connection");
        }
        other => panic!("{other:?}"),
    }
}
