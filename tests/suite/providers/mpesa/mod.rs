//! The M-Pesa client against a Daraja that answers what a test tells it and keeps what it heard, and against the
//! simulator.

mod daraja;
mod outcomes;
mod questions;
mod requests;
mod simulator;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use ussd_status::domain::account::Account;
use ussd_status::domain::clock::{Clock, ManualClock};
use ussd_status::domain::identity::{AccountId, EnquiryId, PartnerId, TransactionId};
use ussd_status::domain::money::{Amount, Currency};
use ussd_status::domain::msisdn::Msisdn;
use ussd_status::domain::transaction::{Kind, Provider, ProviderIds};
use ussd_status::providers::client::HttpClient;
use ussd_status::providers::mpesa::client::Client;
use ussd_status::providers::payment_provider::{
    CallbackBase, Collection, CredentialsError, PayOut, Purpose, Question, ReversalRequest, Setup,
};

use crate::support::clock_at_start;

const CERTIFICATE: &str = include_str!("../../../fixtures/keys/mpesa-test-certificate.pem");
/// No answer of a test on one machine takes that long, and no test waits longer for one that never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every key an account may have, with `changes`; `null` takes a key away.
fn credentials(changes: &Value) -> Map<String, Value> {
    let mut whole = json!({
        "environment": "sandbox",
        "shortcode": "600997",
        "consumer_key": "consumer-key",
        "consumer_secret": "consumer-secret",
        "passkey": "bfb279f9aa9bdbcf",
        "initiator_name": "testapi",
        "initiator_password": "Safaricom123!",
        "certificate": CERTIFICATE,
    });
    let object = whole.as_object_mut().unwrap();
    object.extend(changes.as_object().unwrap().clone());
    object.clone()
}

fn open(
    url: &str,
    changes: &Value,
    clock: Arc<ManualClock>,
    timeout: Duration,
) -> Result<Client, CredentialsError> {
    let now = clock.now();
    let account = Account {
        id: AccountId::new(now),
        partner_id: PartnerId::new(now),
        provider: Provider::Mpesa,
        environment: "sandbox".to_owned(),
        shortcode: Some("600997".to_owned()),
        till_number: None,
        callback_token: "c0ffee".to_owned(),
        sealed_credentials: Vec::new(),
        created_at: now,
    };
    Client::open(Setup {
        account: &account,
        credentials: &credentials(changes),
        base_url: Some(&url.parse().unwrap()),
        http: HttpClient::with_timeout(timeout).unwrap(),
        clock,
        tokens: None,
    })
}

/// A client of a whole account.
fn client(url: &str) -> Client {
    client_with(url, &json!({}))
}

fn client_with(url: &str, changes: &Value) -> Client {
    open(url, changes, clock_at_start(), PATIENCE).unwrap()
}

fn transaction_id() -> TransactionId {
    "0198f0c4-5a5b-7c3d-8e9f-0a1b2c3d4e5f".parse().unwrap()
}

/// The address of a callback about that transaction.
fn callback_url(kind: &str) -> String {
    format!(
        "https://pay.example/callbacks/c0ffee/{kind}/{}",
        transaction_id()
    )
}

fn enquiry_id() -> EnquiryId {
    "0190c2a4-7c00-7000-8000-0000000000b1".parse().unwrap()
}

fn callbacks() -> CallbackBase {
    CallbackBase::new("https://pay.example".parse().unwrap(), "c0ffee")
}

fn collection() -> Collection {
    Collection {
        transaction_id: transaction_id(),
        msisdn: Msisdn::from_international("254708374149").unwrap(),
        amount: Amount(120_000),
        currency: Currency::kes(),
        reference: Some("Invoice-1234".to_owned()),
        description: Some("Rent".to_owned()),
        transaction_type: None,
        ids: ProviderIds::default(),
        callbacks: callbacks(),
    }
}

fn pay_out() -> PayOut {
    PayOut {
        transaction_id: transaction_id(),
        msisdn: Msisdn::from_international("254708374149").unwrap(),
        amount: Amount(1_000),
        currency: Currency::kes(),
        purpose: Purpose::Payout,
        remarks: None,
        occasion: None,
        ids: ProviderIds {
            originator_conversation_id: Some(transaction_id().to_string()),
            ..ProviderIds::default()
        },
        callbacks: callbacks(),
    }
}

fn reversal() -> ReversalRequest {
    ReversalRequest {
        transaction_id: transaction_id(),
        receipt: "NLJ7RT61SV".to_owned(),
        amount: Amount(120_000),
        remarks: None,
        callbacks: callbacks(),
    }
}

fn question(kind: Kind, ids: ProviderIds, receipt: Option<&str>) -> Question {
    Question {
        transaction_id: transaction_id(),
        kind,
        ids,
        receipt: receipt.map(str::to_owned),
        callbacks: callbacks(),
    }
}

fn checkout(id: &str) -> ProviderIds {
    ProviderIds {
        conversation_id: Some(id.to_owned()),
        ..ProviderIds::default()
    }
}

fn originator(id: &str) -> ProviderIds {
    ProviderIds {
        originator_conversation_id: Some(id.to_owned()),
        ..ProviderIds::default()
    }
}
