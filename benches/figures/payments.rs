//! Payments a second: through the service to the simulator in a process of its own, until every callback of theirs is
//! applied; and the same prompts sent to the simulator directly, which is what the machine could do at best.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ussd_status::domain::clock::{Clock, SystemClock};

use super::load::{self, Measured, Requests};
use super::receiver;
use super::service::{Program, Service};
use super::waiting::Asker;

/// What is ordered: the end of its path, and its name in the table.
pub const ROUTES: [(&str, &str); 3] = [
    ("stk-push", "prompts"),
    ("b2c", "payouts"),
    ("initiate-ussd-push", "USSD pushes"),
];
const CERTIFICATE: &str = include_str!("../../tests/fixtures/keys/mpesa-test-certificate.pem");
/// More than any machine does in a second.
const A_SECOND: f64 = 4_000.0;
/// The longest that callbacks may take after the last order.
const PATIENCE: Duration = Duration::from_secs(120);

/// A partner that pays through both providers.
pub struct Till {
    service: SocketAddr,
    simulator: SocketAddr,
    key: String,
    next: AtomicUsize,
}

impl Till {
    /// Makes the partner and its accounts, which lead to the simulator.
    pub fn open(program: &Program, service: &Service, simulator: &Service) -> Self {
        let made = program.run(&["partner", "create", "--name", "Till"]);
        let base = format!("http://{}", simulator.address);
        let partner = made["id"].as_str().unwrap();
        account(
            program,
            partner,
            "mpesa",
            &json!({
                "environment": "sandbox", "shortcode": "600966", "consumer_key": "till",
                "consumer_secret": "s", "passkey": "p", "initiator_name": "api",
                "initiator_password": "i", "certificate": CERTIFICATE, "base_url": base,
            }),
        );
        let clickpesa = account(
            program,
            partner,
            "clickpesa",
            &json!({
                "environment": "sandbox", "client_id": "till", "api_key": "k", "base_url": base,
            }),
        );
        let url = format!("http://{}/callbacks/{clickpesa}/clickpesa", service.address);
        let dashboard = json!({"client_id": "till", "url": url});
        let request = post("/simulator/clickpesa/webhook", "", &dashboard);
        assert_eq!(
            load::ask_once(simulator.address, &request).unwrap().status,
            200
        );
        Self {
            service: service.address,
            simulator: simulator.address,
            key: made["api_key"].as_str().unwrap().to_owned(),
            next: AtomicUsize::new(0),
        }
    }

    /// Orders over so many connections; how many a second came to their end, and what the orders took.
    pub fn push(&self, path: &str, connections: usize, span: Duration) -> (f64, Measured) {
        let key = format!("x-api-key: {}\r\n", self.key);
        let orders = self.numbers(span).map(|number| {
            let (path, body) = order(path, number);
            post(&path, &key, &body)
        });
        let requests = Requests::once(orders.collect());
        let before = self.successful();
        let started = Instant::now();
        let sent = load::run(self.service, connections, span, &requests);
        let all = before + i64::try_from(sent.count).unwrap();
        while self.successful() < all {
            assert!(started.elapsed() < span + PATIENCE, "callbacks are missing");
            std::thread::sleep(Duration::from_millis(5));
        }
        (sent.count as f64 / started.elapsed().as_secs_f64(), sent)
    }

    /// Prompts sent to the simulator itself, whose callbacks go to somebody who only says 200.
    pub fn alone(&self, connections: usize, span: Duration) -> Measured {
        let (callbacks, _arrivals) = receiver::start();
        let basic = STANDARD.encode("alone:s");
        let request = format!(
            "GET /oauth/v1/generate?grant_type=client_credentials HTTP/1.1\r\nhost: figures\r\n\
             authorization: Basic {basic}\r\n\r\n"
        );
        let answer = load::ask_once(self.simulator, request.as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let token = answer["access_token"].as_str().unwrap();
        let bearer = format!("authorization: Bearer {token}\r\n");
        let now = SystemClock.now() + chrono::Duration::hours(3);
        let now = now.format("%Y%m%d%H%M%S").to_string();
        let password = STANDARD.encode(format!("600966p{now}"));
        let prompts = self.numbers(span).map(|number| {
            let body = json!({
                "BusinessShortCode": "600966", "Timestamp": now, "Password": password,
                "TransactionType": "CustomerPayBillOnline", "Amount": 120,
                "PartyA": msisdn("254", number), "PartyB": "600966",
                "PhoneNumber": msisdn("254", number), "AccountReference": "RENT",
                "CallBackURL": format!("http://{callbacks}/{number}"), "TransactionDesc": "Rent",
            });
            post("/mpesa/stkpush/v1/processrequest", &bearer, &body)
        });
        let requests = Requests::once(prompts.collect());
        load::run(self.simulator, connections, span, &requests)
    }

    /// Its key, for whoever asks what became of a payment.
    pub fn asker(&self) -> Asker {
        Asker {
            key: self.key.clone(),
        }
    }

    fn numbers(&self, span: Duration) -> std::ops::Range<usize> {
        let count = (A_SECOND * span.as_secs_f64()) as usize;
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        first..first + count
    }

    fn successful(&self) -> i64 {
        let request = format!(
            "GET /api/ussd/transaction-status?limit=1 HTTP/1.1\r\nhost: figures\r\nx-api-key: {}\r\n\r\n",
            self.key
        );
        let answer = load::ask_once(self.service, request.as_bytes()).unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        body["statistics"]["successful_transactions"]
            .as_i64()
            .unwrap()
    }
}

/// The account's callback token.
fn account(program: &Program, partner: &str, provider: &str, credentials: &Value) -> String {
    let file = program.write("till.json", &credentials.to_string());
    let made = program.run(&[
        "account",
        "create",
        "--partner",
        partner,
        "--provider",
        provider,
        "--credentials",
        &file,
    ]);
    made["callback_token"].as_str().unwrap().to_owned()
}

/// A number that pays: none of the documented endings.
fn msisdn(country: &str, number: usize) -> String {
    format!("{country}7{:04}5678", number % 10_000)
}

fn order(path: &str, number: usize) -> (String, Value) {
    let key = format!("PAY{number}");
    match path {
        "stk-push" => (
            "/api/v1/mpesa/stk-push".to_owned(),
            json!({"phoneNumber": msisdn("254", number), "amount": 120, "client_request_id": key,
                "accountReference": "RENT", "transactionDesc": "Rent"}),
        ),
        "b2c" => (
            "/api/v1/mpesa/b2c".to_owned(),
            json!({"phoneNumber": msisdn("254", number), "amount": 120, "client_request_id": key,
                "remarks": "Refund"}),
        ),
        _ => (
            format!("/api/v1/clickpesa/{path}"),
            json!({"msisdn": msisdn("255", number), "amount": 1200, "client_request_id": key,
                "currency": "TZS", "reference": key}),
        ),
    }
}

fn post(path: &str, header: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: figures\r\ncontent-type: application/json\r\n{header}\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
