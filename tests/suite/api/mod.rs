//! The whole program over HTTP.

mod callbacks;
mod client_webhooks;
mod clients;
mod conditional;
mod errors;
mod events;
mod export;
mod hostile;
mod isolation;
mod lessons;
mod limits;
mod openapi;
mod payments;
mod payments_clickpesa;
mod payments_mpesa;
mod register;
mod screen;
mod status;
mod status_page;
mod stream;
mod ussd_menu;
mod waiting;
mod webhook_management;
mod webhook_replay;
mod webhooks;

use reqwest::Method;
use serde_json::{Value, json};
use ussd_status::domain::account::Account;

use crate::support::TestStore;
use crate::support::app::{Answer, TestApp, TestPartner};

/// The status API.
pub const STATUS: &str = "/api/ussd/transaction-status";
/// Registering.
pub const TRANSACTIONS: &str = "/api/ussd/transactions";

/// A provider's body from `tests/fixtures`.
pub fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("tests/fixtures/{name}.json")).unwrap()
}

/// A B2C result; with code 0 it carries a receipt of the conversation's name.
pub fn b2c_result(conversation: &str, code: i64) -> String {
    json!({"Result": {
        "ResultType": 0, "ResultCode": code, "ResultDesc": format!("B2C ended with {code}."),
        "OriginatorConversationID": format!("O-{conversation}"), "ConversationID": conversation,
        "TransactionID": format!("R{conversation}"),
    }})
    .to_string()
}

/// An STK callback; with code 0 it says what was paid.
fn stk_callback(checkout: &str, code: i64, amount: &str, receipt: &str) -> String {
    let amount: Value = serde_json::from_str(amount).unwrap();
    let mut callback = json!({
        "MerchantRequestID": "29115-1", "CheckoutRequestID": checkout,
        "ResultCode": code, "ResultDesc": format!("STK ended with {code}."),
    });
    if code == 0 {
        callback["CallbackMetadata"] = json!({"Item": [
            {"Name": "Amount", "Value": amount},
            {"Name": "MpesaReceiptNumber", "Value": receipt},
            {"Name": "Balance"},
            {"Name": "TransactionDate", "Value": 20_260_314_180_926_i64},
            {"Name": "PhoneNumber", "Value": 254_712_345_678_i64},
        ]});
    }
    json!({"Body": {"stkCallback": callback}}).to_string()
}

/// What became of the callbacks in the inbox, oldest first.
async fn states(db: &TestStore) -> Vec<String> {
    db.rows(&["state"], "FROM callbacks ORDER BY received_at, id")
        .await
        .iter()
        .map(|row| row[0].as_str().unwrap().to_owned())
        .collect()
}

/// The kinds of a transaction's timeline.
fn kinds(transaction: &Value) -> Vec<&str> {
    transaction["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect()
}

/// A page of the status API.
async fn page(app: &TestApp, partner: &TestPartner, query: &str) -> Value {
    app.get(partner, &format!("{STATUS}?{query}"))
        .await
        .expect(200)
}

/// A callback that must be acknowledged.
pub async fn acknowledged(app: &TestApp, account: &Account, kind: &str, body: impl Into<Vec<u8>>) {
    let answer = app.callback(account, kind, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.text, r#"{"ResultCode":0,"ResultDesc":"Accepted"}"#);
}

/// The ids of a list of transactions, in order.
fn ids(rows: &Value) -> Vec<String> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row["transaction_id"].as_str().unwrap().to_owned())
        .collect()
}

/// Checks that the names appear as keys in this order.
fn assert_order(answer: &Answer, names: &[&str]) {
    let mut at = 0;
    for name in names {
        let found = answer.text[at..].find(&format!("\"{name}\":"));
        let found =
            found.unwrap_or_else(|| panic!("{name} is missing or misplaced in {}", answer.text));
        at += found + 1;
    }
}

/// Asks with a wait, and returns when the service has begun to wait.
async fn waiting<'a>(
    app: &'a TestApp,
    partner: &'a TestPartner,
    path: &str,
    prefer: &'a str,
) -> impl Future<Output = Answer> + use<'a> {
    let before = app.feed.waiting();
    let path = path.to_owned();
    let mut asking = Box::pin(async move {
        let headers = [("x-api-key", partner.key.as_str()), ("prefer", prefer)];
        app.send(Method::GET, &path, &headers, None).await
    });
    tokio::select! {
        answer = &mut asking => panic!("answered at once: {}", answer.text),
        () = async { while app.feed.waiting() == before { tokio::task::yield_now().await; } } => {}
    }
    asking
}

/// A service with a partner that has an M-Pesa account.
async fn start(db: TestStore) -> (TestApp, TestPartner, Account) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    (app, partner, account)
}

/// Registers a payment under a conversation id; returns the transaction's id.
async fn registered(app: &TestApp, partner: &TestPartner, conversation: &str) -> Value {
    app.register(partner, json!({"conversation_id": conversation}))
        .await["transaction_id"]
        .clone()
}

/// A callback on one of the guide's paths, from where the settings allow it.
async fn tokenless(app: &TestApp, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    let headers = [("content-type", "application/json")];
    app.send(Method::POST, path, &headers, Some(body.into()))
        .await
}
