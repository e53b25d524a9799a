//! `openapi.yaml` says what the service does, all of it and nothing else: every operation is called, every documented
//! status but the database's is seen, and every answer is held against its schema.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use ussd_status::domain::delivery::ENDPOINTS_MAX;
use ussd_status::domain::partner::Scope;
use ussd_status::domain::transaction::Provider;
use ussd_status::http::BODY_MAX;
use ussd_status::simulator::{Fault, FaultPlan, RunningSimulator};

use crate::support::TestStore;
use crate::support::app::{Answer, TestApp, TestPartner};
use crate::support::build::{audit, registration};
use crate::support::openapi::{Document, METHODS, Operation, examples, references, with_examples};
use crate::support::paying::{self, clickpesa_account, mpesa_credentials};

/// Where a name such as `{id}` stands in a path, what to put there.
type Names = Vec<(&'static str, String)>;

/// A service, a partner, and which documented answers were seen.
struct Walk<'a> {
    document: &'a Document,
    app: TestApp,
    partner: TestPartner,
    /// Both providers.
    simulator: RunningSimulator,
    /// The partner's accounts: M-Pesa's, ClickPesa's.
    accounts: [String; 2],
    names: Names,
    seen: &'a mut BTreeSet<(String, u16)>,
}

/// What a request has besides its path.
#[derive(Default)]
struct Call<'a> {
    key: Option<&'a str>,
    query: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Option<Vec<u8>>,
}

impl<'a> Walk<'a> {
    async fn start(
        document: &'a Document,
        settings: &[(&str, &str)],
        seen: &'a mut BTreeSet<(String, u16)>,
    ) -> Self {
        let simulator = paying::simulator().await;
        let url = simulator.url();
        let mut all = vec![
            ("MPESA_BASE_URL", url.as_str()),
            ("CLICKPESA_BASE_URL", url.as_str()),
            // Wrong keys are counted by address, and there are more operations than wrong keys an address may try.
            ("TRUSTED_PROXIES", "127.0.0.1"),
        ];
        all.retain(|(name, _)| settings.iter().all(|(other, _)| other != name));
        all.extend_from_slice(settings);
        let app = TestApp::start_with(TestStore::sqlite().await, &all).await;
        let partner = app.partner().await;
        let account = app
            .account(partner.id, Provider::Mpesa, mpesa_credentials("walk"))
            .await;
        let clickpesa = clickpesa_account(&app, &simulator, &partner, "walk").await;
        let accounts = [account.id.to_string(), clickpesa.id.to_string()];
        // Callbacks take any id; the walk puts a real one here as soon as it has one.
        let id = ussd_status::domain::identity::TransactionId::new(app.db.now());
        let names = vec![
            ("token", account.callback_token),
            ("kind", "stk".to_owned()),
            ("id", id.to_string()),
            ("transaction_id", id.to_string()),
            ("file", "index.html".to_owned()),
            ("orderReference", "06H1AB".to_owned()),
            ("webhook_id", String::new()),
            ("delivery_id", String::new()),
        ];
        let mut walk = Self {
            document,
            app,
            partner,
            simulator,
            accounts,
            names,
            seen,
        };
        walk.make_webhook("http://127.0.0.1:9/").await;
        walk
    }

    /// An endpoint that nobody answers at, and a delivery to it.
    async fn make_webhook(&mut self, url: &str) {
        let (id, _) = self.app.endpoint(self.partner.id, url).await;
        let name = format!("told to {id}");
        let db = &self.app.db;
        db.register(registration(self.partner.id, &name)).await;
        let from = format!("FROM deliveries WHERE endpoint_id = '{id}'");
        let rows = db.rows(&["id"], &from).await;
        let delivery = rows[0][0].as_str().unwrap().to_owned();
        self.name("webhook_id", &id.to_string());
        self.name("delivery_id", &delivery);
    }

    fn name(&mut self, name: &'static str, value: &str) {
        self.names.retain(|(other, _)| *other != name);
        self.names.push((name, value.to_owned()));
    }

    /// Calls an operation, and holds the answer against the document.
    async fn call(&mut self, operation: Operation<'_>, call: Call<'_>) -> Answer {
        let mut path = operation.path.to_owned();
        for (name, value) in &self.names {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let mut headers = call.headers;
        headers.extend(call.key.map(|key| ("x-api-key", key)));
        let answer = self
            .app
            .send(
                method(operation.method),
                &format!("{path}{}", call.query),
                &headers,
                call.body,
            )
            .await;
        self.document.check(operation, &answer);
        let status = answer.status.as_u16();
        self.seen.insert((operation.id().to_owned(), status));
        answer
    }

    /// A call that must fail with `code`, in both ways of writing an error.
    async fn refused(
        &mut self,
        operation: Operation<'_>,
        status: u16,
        code: &str,
        call: impl Fn() -> Call<'a>,
    ) {
        let answer = self.call(operation, call()).await;
        answer.refused(status, code);
        let mut call = call();
        call.headers.push(("accept", "application/problem+json"));
        let answer = self.call(operation, call).await;
        assert_eq!(answer.header("content-type"), "application/problem+json");
        answer.refused(status, code);
    }
}

fn method(name: &str) -> Method {
    name.to_ascii_uppercase().parse().unwrap()
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_as_documented() {
    let document = Document::read();
    let mut seen = BTreeSet::new();
    // Wrong keys are counted by address: each operation is asked from one of its own.
    let behind_a_proxy = [("TRUSTED_PROXIES", "127.0.0.1")];
    let mut walk = Walk::start(&document, &behind_a_proxy, &mut seen).await;
    as_the_examples_say(&mut walk).await;
    pays_as_documented(&mut walk).await;
    refuses_as_documented(&mut walk).await;
    takes_callbacks_as_documented(&mut walk).await;
    drop(walk);
    let narrow = [
        ("RATE_LIMIT_GET", "1"),
        ("RATE_LIMIT_POST", "1"),
        ("RATE_LIMIT_WRITE", "1"),
        ("CALLBACK_ALLOWED_IPS", "192.0.2.1"),
        ("ADMIN_LISTEN_ADDR", "127.0.0.1:0"),
    ];
    let mut walk = Walk::start(&document, &narrow, &mut seen).await;
    is_narrow_as_documented(&mut walk).await;
    drop(walk);
    let nobody = "http://127.0.0.1:1";
    let alone = [("MPESA_BASE_URL", nobody), ("CLICKPESA_BASE_URL", nobody)];
    let mut walk = Walk::start(&document, &alone, &mut seen).await;
    is_alone_as_documented(&mut walk).await;
    drop(walk);

    let unseen: Vec<String> = document
        .operations()
        .into_iter()
        .flat_map(|operation| {
            operation
                .statuses()
                .map(move |status| (operation.id().to_owned(), status))
        })
        .filter(|pair| !seen.contains(pair))
        // What needs a database that fails, or a body that breaks off.
        .filter(|(_, status)| !matches!(status, 500 | 503))
        .filter(|(id, status)| *status != 400 || !id.starts_with("receive"))
        .map(|(id, status)| format!("{id} → {status}"))
        .collect();
    assert!(unseen.is_empty(), "documented, but never seen: {unseen:?}");
}

/// Every example of a parameter and of a body, with a key where one is wanted.
async fn as_the_examples_say(walk: &mut Walk<'_>) {
    let document = walk.document;
    let key = leak(walk.partner.key.clone());
    let mut operations = document.operations();
    // What is registered first can be found and changed afterwards.
    operations.sort_by_key(|operation| match operation.id() {
        "registerTransaction" => 0,
        preview if preview.starts_with("preview") => 1,
        "payMpesaCustomer" | "initiateClickpesaPayment" | "createClickpesaPayout" => 2,
        "removeWebhook" => 4,
        _ => 3,
    });
    for operation in operations {
        walk.simulator.until_quiet().await;
        walk.name("orderReference", order_reference(operation));
        let mut queries = vec![String::new()];
        let parameters = document.parameters(operation);
        if parameters
            .iter()
            .any(|one| one["in"] == "query" && one["required"] == true)
        {
            queries.clear();
        }
        for parameter in document.parameters(operation) {
            if parameter["in"] == "query" {
                let is_account = parameter["name"] == "account_id";
                let account = usize::from(operation.path.contains("clickpesa"));
                let text = match examples(parameter)[0].clone() {
                    Value::String(_) if is_account => walk.accounts[account].clone(),
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                let name = parameter["name"].as_str().unwrap();
                queries.push(format!("?{name}={text}"));
            }
        }
        // A screen is of somebody.
        if operation.id() == "showTransactionStatusScreen" {
            queries.retain(|query| !query.is_empty());
            for query in &mut queries {
                if !query.contains("msisdn") {
                    query.push_str("&msisdn=254712345678");
                }
            }
        }
        let mut bodies: Vec<_> = document.bodies(operation).into_iter().map(Some).collect();
        if bodies.is_empty() {
            bodies.push(None);
        }
        for (query, body) in queries.iter().flat_map(|query| {
            let bodies = bodies.iter();
            bodies.map(move |body| (query, *body))
        }) {
            let body = match body {
                Some(body) => Some(with_a_real_receipt(walk, body).await),
                None => None,
            };
            let body = body.as_ref();
            let call = || Call {
                key: operation.wants_key().then_some(key),
                query,
                headers: vec![("content-type", "application/json")],
                body: body.map(|body| body.to_string().into_bytes()),
            };
            let answer = walk.call(operation, call()).await;
            let status = answer.status.as_u16();
            assert!(status < 400, "{} {query}: {}", operation.id(), answer.text);
            if operation.id() == "registerTransaction" {
                assert_eq!(status, 201);
                let id = answer.json()["transaction"]["transaction_id"].clone();
                walk.name("id", id.as_str().unwrap());
                walk.name("transaction_id", id.as_str().unwrap());
                let again = walk.call(operation, call()).await;
                assert_eq!(again.status, 200);
                // Without any provider id yet, so that one can be attached.
                if body.unwrap().get("conversation_id").is_none() {
                    let bulk = json!({"transaction_ids": [id], "client_request_ids": ["nobody's"]});
                    let find = operation_of(document, "findTransactionStatuses");
                    let call = Call {
                        key: Some(key),
                        body: Some(bulk.to_string().into_bytes()),
                        ..Call::default()
                    };
                    let found = walk.call(find, call).await.json();
                    assert_eq!(found["count"], 1);
                    assert_eq!(
                        found["not_found"]["client_request_ids"],
                        json!(["nobody's"])
                    );
                }
            }
        }
    }
    // With one transaction on a page there is a next one, with its link.
    let list = operation_of(document, "listTransactionStatus");
    let call = Call {
        key: Some(key),
        query: "?limit=1",
        ..Call::default()
    };
    let page = walk.call(list, call).await;
    assert_eq!(page.json()["pagination"]["has_more"], true);
    assert!(page.header("link").contains("rel=\"next\""));
    let call = Call {
        key: Some(key),
        query: "?limit=1",
        headers: vec![("if-none-match", page.header("etag"))],
        ..Call::default()
    };
    assert_eq!(walk.call(list, call).await.status, 304);
}

/// The order reference of the examples' payment, or payout.
fn order_reference(operation: Operation<'_>) -> &'static str {
    if operation.path.contains("payouts") {
        "PO1"
    } else {
        "06H1AB"
    }
}

/// A receipt that the document made up is exchanged for that of the payment in the b2c example.
async fn with_a_real_receipt(walk: &Walk<'_>, body: &Value) -> Value {
    let mut body = body.clone();
    if body.get("mpesaReceiptNumber").is_some() {
        let path = "/api/ussd/transaction-status?client_request_id=REFUND-1";
        let paid = walk.app.get(&walk.partner, path).await.expect(200);
        body["mpesaReceiptNumber"] = paid["transactions"][0]["transaction_receipt"].clone();
    }
    body
}

/// Payments that end at once, by the numbers of the simulator's table: refused, and unknown; and orders that contradict
/// an earlier one.
async fn pays_as_documented(walk: &mut Walk<'_>) {
    let document = walk.document;
    let key = leak(walk.partner.key.clone());
    let posted = |body: &Value| Call {
        key: Some(key),
        body: Some(body.to_string().into_bytes()),
        ..Call::default()
    };
    for id in [
        "createPayment",
        "pushMpesaPrompt",
        "payMpesaCustomer",
        "initiateClickpesaPrompt",
        "initiateClickpesaPayment",
        "createClickpesaPayout",
    ] {
        let operation = operation_of(document, id);
        let example = document.bodies(operation)[0].clone();
        let phone = if example.get("msisdn").is_some() {
            "msisdn"
        } else {
            "phoneNumber"
        };
        let unique = if example.get("orderReference").is_some() {
            "orderReference"
        } else {
            "client_request_id"
        };
        let country = if id.contains("Clickpesa") {
            "255"
        } else {
            "254"
        };
        for (ending, status) in [("0500", 202), ("0007", 502)] {
            let mut body = example.clone();
            body[phone] = json!(format!("{country}71234{ending}"));
            body[unique] = json!(format!("E{ending}{}", id.len()));
            let answer = walk.call(operation, posted(&body)).await;
            assert_eq!(answer.status.as_u16(), status, "{id}: {}", answer.text);
        }
        // Without a key the same prompt again is stopped; with one another amount is another order.
        let mut other = example.clone();
        if example.get(unique).is_some() {
            other["amount"] = json!(77);
        }
        let answer = walk.call(operation, posted(&other)).await;
        answer.refused(409, "CONFLICT_1001");
    }
    let create = operation_of(document, "createPayment");
    let again = document.bodies(create)[0].clone();
    let answer = walk.call(create, posted(&again)).await;
    assert_eq!(answer.status, 200);
    let reversal = json!({"kind": "reversal", "amount": 1, "client_request_id": "R",
        "original_transaction_id": "01a1fc7f-dc62-7089-83d4-a3d6e2490965"});
    let answer = walk.call(create, posted(&reversal)).await;
    answer.refused(404, "NOT_FOUND_1001");

    let reverse = operation_of(document, "reverseMpesaPayment");
    let example = document.bodies(reverse)[0].clone();
    let nobodys = walk.call(reverse, posted(&example)).await;
    nobodys.refused(404, "NOT_FOUND_1001");
    let mut changed = with_a_real_receipt(walk, &example).await;
    changed["remarks"] = json!("Another reason");
    let answer = walk.call(reverse, posted(&changed)).await;
    answer.refused(409, "CONFLICT_1001");
    // Another payment, taken back while the provider's answers get lost.
    let pay = operation_of(document, "payMpesaCustomer");
    let mut body = document.bodies(pay)[0].clone();
    body["client_request_id"] = json!("REFUND-2");
    let paid = walk.call(pay, posted(&body)).await.expect(200);
    walk.simulator.until_quiet().await;
    walk.simulator
        .set_faults(FaultPlan::new(1).with(Fault::NonJsonBefore, 1.0));
    let lost = json!({"transactionId": paid["data"]["transactionId"], "amount": 500,
        "client_request_id": "BACK-2"});
    let answer = walk.call(reverse, posted(&lost)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    walk.simulator.clear_faults();

    let query = operation_of(document, "queryMpesaStatus");
    let example = document.bodies(query)[0].clone();
    let answer = walk.call(query, posted(&example)).await;
    answer.refused(404, "NOT_FOUND_1001");
    walk.name("id", "ws_CO_nobodys");
    walk.name("orderReference", "NOBODYS");
    for operation in document.operations() {
        let is_documented = operation.statuses().any(|status| status == 404);
        if operation.path.starts_with("/api/v1/") && operation.method == "get" && is_documented {
            let call = Call {
                key: Some(key),
                query: if operation.id() == "queryClickpesaPayment" {
                    "?transaction_id=NOBODYS"
                } else {
                    ""
                },
                ..Call::default()
            };
            let answer = walk.call(operation, call).await;
            answer.refused(404, "NOT_FOUND_1001");
        }
    }
    // As it was: what was registered first.
    let path = "/api/ussd/transaction-status?client_request_id=HELLO-1";
    let first = walk.app.get(&walk.partner, path).await.expect(200);
    let id = first["transactions"][0]["transaction_id"].as_str().unwrap();
    walk.name("id", id);
}

/// Nobody answers at the providers' addresses.
async fn is_alone_as_documented(walk: &mut Walk<'_>) {
    let document = walk.document;
    let key = leak(walk.partner.key.clone());
    // A payment that succeeded, with a receipt, so that there is something to ask about and to take back.
    let fields = json!({"client_request_id": "REFUND-1", "conversation_id": "AG1", "amount": 500});
    walk.app.register(&walk.partner, fields).await;
    let token = walk.names.iter().find(|(name, _)| *name == "token");
    let path = format!("/callbacks/{}/b2c-result", token.unwrap().1);
    let result = Some(super::b2c_result("AG1", 0).into_bytes());
    let answer = walk.app.send(Method::POST, &path, &[], result).await;
    assert_eq!(answer.status, 200);
    for operation in document.operations() {
        if operation.statuses().any(|status| status == 502) {
            let body = match document.bodies(operation).first() {
                Some(body) if operation.takes_body() => {
                    let mut body = with_a_real_receipt(walk, body).await;
                    if body["client_request_id"] == "REFUND-1" {
                        body["client_request_id"] = json!("REFUND-3");
                    }
                    Some(body.to_string())
                }
                _ => None,
            };
            let call = Call {
                key: Some(key),
                body: body.map(String::into_bytes),
                ..Call::default()
            };
            let answer = walk.call(operation, call).await;
            answer.refused(502, "PROVIDER_1001");
        }
    }
}

fn operation_of<'a>(document: &'a Document, id: &str) -> Operation<'a> {
    let mut operations = document.operations().into_iter();
    operations.find(|operation| operation.id() == id).unwrap()
}

/// Keys, parameters, bodies, ids.
async fn refuses_as_documented(walk: &mut Walk<'_>) {
    let document = walk.document;
    let key = leak(walk.partner.key.clone());
    let scopes = [Scope::MsisdnReveal];
    let change = |_: &mut _| {};
    let idle = walk.app.another_key(walk.partner.id, &scopes, change).await;
    let idle = leak(idle);
    for (number, operation) in document.operations().into_iter().enumerate() {
        if !operation.wants_key() {
            continue;
        }
        let source = leak(format!("192.0.2.{number}"));
        let with = |key: &'static str| {
            move || Call {
                key: Some(key),
                ..Call::default()
            }
        };
        walk.refused(operation, 401, "AUTH_1001", Call::default)
            .await;
        let wrong = || Call {
            headers: vec![("x-forwarded-for", source)],
            ..with("us_wrong")()
        };
        walk.refused(operation, 401, "AUTH_1002", wrong).await;
        walk.refused(operation, 403, "AUTH_1003", with(idle)).await;
        if operation.takes_body() {
            for (status, code, media, body) in [
                (400, "VALIDATION_1003", "application/json", b"{".to_vec()),
                (400, "VALIDATION_1003", "application/json", b"[]".to_vec()),
                (
                    400,
                    "VALIDATION_1002",
                    "application/json",
                    br#"{"foo":1}"#.to_vec(),
                ),
                (
                    413,
                    "PAYLOAD_1001",
                    "application/json",
                    vec![b' '; BODY_MAX + 1],
                ),
                (415, "MEDIA_1001", "text/plain", b"{}".to_vec()),
            ] {
                let call = move || Call {
                    key: Some(key),
                    headers: vec![("content-type", media)],
                    body: Some(body.clone()),
                    ..Call::default()
                };
                walk.refused(operation, status, code, call).await;
            }
        } else {
            let call = || Call {
                key: Some(key),
                query: "?foo=1",
                ..Call::default()
            };
            walk.refused(operation, 400, "VALIDATION_1002", call).await;
        }
    }
    let posted = |body: Value| {
        move || Call {
            key: Some(key),
            body: Some(body.to_string().into_bytes()),
            ..Call::default()
        }
    };
    let ids: Vec<String> = (0..101).map(|number| format!("REQ-{number}")).collect();
    let bulk = operation_of(document, "findTransactionStatuses");
    for (code, body) in [
        ("VALIDATION_1001", json!({})),
        ("VALIDATION_1004", json!({"client_request_ids": ids})),
    ] {
        walk.refused(bulk, 400, code, posted(body)).await;
    }
    let register = operation_of(document, "registerTransaction");
    let mut changed = document.bodies(register)[0].clone();
    changed["amount"] = json!(7);
    walk.refused(register, 409, "CONFLICT_1001", posted(changed))
        .await;
    let attach = operation_of(document, "attachProviderIds");
    let other = json!({"conversation_id": "AG_another"});
    walk.refused(attach, 409, "CONFLICT_1001", posted(other.clone()))
        .await;
    refuses_webhooks_as_documented(walk, key).await;
    walk.name("file", "no-such-file");
    let page = operation_of(document, "readDocumentation");
    walk.refused(page, 404, "NOT_FOUND_1001", Call::default)
        .await;
    for unknown in ["01a1fc7f-dc62-7089-83d4-a3d6e2490965", "unknown"] {
        walk.name("id", unknown);
        let find = operation_of(document, "findTransaction");
        let call = || Call {
            key: Some(key),
            ..Call::default()
        };
        walk.refused(find, 404, "NOT_FOUND_1001", call).await;
        walk.refused(attach, 404, "NOT_FOUND_1001", posted(other.clone()))
            .await;
    }
}

/// Endpoints of nobody, disabled ones, and one too many.
async fn refuses_webhooks_as_documented(walk: &mut Walk<'_>, key: &'static str) {
    let document = walk.document;
    let call = |operation: Operation<'_>| {
        let body = document
            .bodies(operation)
            .first()
            .map(|body| body.to_string());
        move || Call {
            key: Some(key),
            body: body.clone().map(String::into_bytes),
            ..Call::default()
        }
    };
    walk.make_webhook("http://127.0.0.1:9/disabled").await;
    let change = operation_of(document, "changeWebhook");
    let disable = Call {
        key: Some(key),
        body: Some(br#"{"enabled":false}"#.to_vec()),
        ..Call::default()
    };
    assert_eq!(walk.call(change, disable).await.status, 200);
    for id in ["replayWebhook", "replayDelivery"] {
        let operation = operation_of(document, id);
        walk.refused(operation, 409, "CONFLICT_1001", call(operation))
            .await;
    }
    for _ in 0..ENDPOINTS_MAX {
        walk.app
            .endpoint(walk.partner.id, "http://127.0.0.1:9/")
            .await;
    }
    let create = operation_of(document, "createWebhook");
    walk.refused(create, 409, "CONFLICT_1001", call(create))
        .await;
    for unknown in ["01a1fc7f-dc62-7089-83d4-a3d6e2490965", "unknown"] {
        walk.name("webhook_id", unknown);
        walk.name("delivery_id", unknown);
        for operation in document.operations() {
            let path = operation.path;
            if path.contains("{webhook_id}") || path.contains("{delivery_id}") {
                walk.refused(operation, 404, "NOT_FOUND_1001", call(operation))
                    .await;
            }
        }
    }
}

/// Every kind, wrong addresses, wrong checksums, bodies too large.
async fn takes_callbacks_as_documented(walk: &mut Walk<'_>) {
    let document = walk.document;
    let mpesa = walk.names.iter().find(|(name, _)| *name == "token");
    let mpesa = mpesa.unwrap().1.clone();
    // An account without a checksum key would be believed on the path without a token.
    let keyless = walk.accounts[1].parse().unwrap();
    let removed = walk.app.db.store.remove_account(keyless, audit()).await;
    assert!(removed.unwrap());
    let credentials = json!({"client_id": "demo", "api_key": "demo", "checksum_key": "k"});
    let partner = walk.partner.id;
    let clickpesa = walk
        .app
        .account(partner, Provider::Clickpesa, credentials)
        .await;
    let body = || Call {
        body: Some(b"{}".to_vec()),
        ..Call::default()
    };
    let large = || Call {
        body: Some(vec![b' '; BODY_MAX + 1]),
        ..Call::default()
    };
    let posted: Vec<_> = document
        .operations()
        .into_iter()
        .filter(|operation| operation.value["requestBody"]["$ref"].is_string())
        .collect();
    assert_eq!(posted.len(), 10);
    for operation in posted {
        if !operation.path.contains("{kind}") {
            if operation.statuses().any(|status| status == 401) {
                walk.refused(operation, 401, "AUTH_1002", body).await;
            }
            walk.refused(operation, 413, "PAYLOAD_1001", large).await;
            continue;
        }
        let parameters = document.parameters(operation);
        let kind = parameters.iter().find(|one| one["name"] == "kind").unwrap();
        for kind in kind["schema"]["enum"].as_array().unwrap() {
            walk.name("kind", kind.as_str().unwrap());
            walk.name("token", &mpesa);
            if kind == "clickpesa" {
                walk.refused(operation, 404, "NOT_FOUND_1001", body).await;
                walk.name("token", &clickpesa.callback_token);
                walk.refused(operation, 401, "AUTH_1002", body).await;
            } else {
                let answer = walk.call(operation, body()).await;
                assert_eq!(answer.status, 200);
            }
            walk.refused(operation, 413, "PAYLOAD_1001", large).await;
        }
        walk.name("kind", "stk");
        walk.name("token", &"0".repeat(32));
        walk.refused(operation, 404, "NOT_FOUND_1001", body).await;
    }
}

/// Quotas used up, callbacks from elsewhere, metrics served at another address.
async fn is_narrow_as_documented(walk: &mut Walk<'_>) {
    let document = walk.document;
    for operation in document.operations() {
        if operation.wants_key() {
            // A key each: some operations share a quota.
            let change = |_: &mut _| {};
            let key = walk
                .app
                .another_key(walk.partner.id, &Scope::DEFAULT, change)
                .await;
            let key = leak(key);
            let call = || Call {
                key: Some(key),
                query: "?foo=1",
                ..Call::default()
            };
            walk.call(operation, call()).await;
            walk.refused(operation, 429, "RATE_1001", call).await;
        } else if operation.statuses().any(|status| status == 403) {
            walk.refused(operation, 403, "AUTH_1003", Call::default)
                .await;
        } else if operation.id() == "readMetrics" {
            walk.refused(operation, 404, "NOT_FOUND_1001", Call::default)
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_documented_is_not_accepted() {
    let document = Document::read();
    let app = TestApp::start(TestStore::sqlite().await).await;
    // No operation has this answer, so the document says it in words, at its head.
    let error = json!({"$ref": "#/components/schemas/Error"});
    let refusal = json!({
        "headers": {"Allow": {"required": true, "schema": {"type": "string"}}},
        "content": {"application/json": {"schema": error}},
    });
    for (path, item) in document.0["paths"].as_object().unwrap() {
        let documented: BTreeSet<_> = METHODS
            .into_iter()
            .filter(|method| item.get(method).is_some())
            .map(str::to_ascii_uppercase)
            .collect();
        for other in METHODS {
            if documented.contains(&other.to_ascii_uppercase()) {
                continue;
            }
            let address = path.replace(['{', '}'], "");
            let answer = app.send(method(other), &address, &[], None).await;
            let about = format!("{other} {path}");
            answer.refused(405, "METHOD_1001");
            document.check_response(&refusal, &answer, &about);
            let allowed = answer.header("allow").split(", ").map(str::to_owned);
            assert_eq!(allowed.collect::<BTreeSet<_>>(), documented, "{about}");
        }
    }
}

#[test]
fn every_route_is_documented_and_no_other() {
    let mut registered = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from("src/http")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix("src/http").unwrap().to_str().unwrap();
        // Whoever makes routes goes through `resource` in mod.rs, so that none escapes this test.
        let own = source.matches("web::resource(").count() + source.matches("web::scope(").count();
        assert_eq!(
            own,
            usize::from(name == "mod.rs"),
            "{name} makes routes by itself"
        );
        assert!(
            !source.contains(".route(\""),
            "{name} makes routes by itself"
        );
        if !source.contains("resource(") {
            continue;
        }
        // Paths are the texts that begin with a slash.
        for text in source.split('"').skip(1).step_by(2) {
            if text.starts_with('/') {
                registered.insert(text.to_owned());
            }
        }
    }
    // One route for the page and its files; to the page itself leads a redirect.
    assert!(registered.remove("/api-docs/"));
    assert!(registered.remove("/api-docs/{file:.*}"));
    registered.insert("/api-docs/{file}".to_owned());
    let document = Document::read();
    let paths = document.0["paths"].as_object().unwrap();
    assert_eq!(registered, paths.keys().cloned().collect());
}

#[test]
fn the_document_holds_together() {
    let document = Document::read();
    let root = &document.0;
    assert_eq!(root["openapi"], "3.1.0");
    assert_eq!(root["info"]["version"], env!("CARGO_PKG_VERSION"));
    let licence = &root["info"]["license"]["identifier"];
    assert_eq!(licence, env!("CARGO_PKG_LICENSE"));

    let mut named = BTreeSet::new();
    references(root, &mut named);
    for reference in &named {
        document.resolve(&json!({"$ref": reference}));
    }
    for (sort, components) in root["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys() {
            let reference = format!("#/components/{sort}/{name}");
            let is_used = named.contains(reference.as_str());
            let is_general = sort == "securitySchemes";
            assert!(is_used || is_general, "{reference} is used nowhere");
        }
    }

    let tags: Vec<_> = root["tags"].as_array().unwrap().iter().collect();
    let mut ids = BTreeSet::new();
    for operation in document.operations() {
        let id = operation.id();
        assert!(ids.insert(id), "{id} names two operations");
        for word in ["summary", "description"] {
            assert!(operation.value[word].is_string(), "{id} has no {word}");
        }
        for tag in operation.value["tags"].as_array().unwrap() {
            let is_declared = tags.iter().any(|declared| declared["name"] == *tag);
            assert!(is_declared, "{id} has the unknown tag {tag}");
        }
        let declared: BTreeSet<_> = document
            .parameters(operation)
            .into_iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let in_path = operation
            .path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        assert_eq!(declared, in_path.collect(), "{id}");
    }

    let mut all = Vec::new();
    with_examples(root, &mut all);
    assert!(all.len() > 40, "only {} examples were found", all.len());
    for holder in all {
        for example in examples(holder) {
            document.expect_valid(&holder["schema"], example, "an example");
        }
    }
}

#[test]
fn bodies_that_say_nothing_or_too_much_are_ruled_out_by_the_document() {
    let document = Document::read();
    let id = "01a1fc7f-dc62-7089-83d4-a3d6e2490965";
    let original = |kind: Value| {
        let mut body =
            json!({"client_request_id": "R", "msisdn": "0712345678", "amount": 1, "kind": kind});
        body["original_transaction_id"] = json!(id);
        body
    };
    for (name, good, bad) in [
        (
            "BulkLookup",
            json!({"transaction_ids": [id], "conversation_ids": []}),
            json!({"transaction_ids": []}),
        ),
        (
            "BulkLookup",
            json!({"transaction_ids": null, "client_request_ids": ["A"]}),
            json!({"transaction_ids": null}),
        ),
        (
            "Registration",
            original(json!("reversal")),
            original(json!("b2c")),
        ),
        (
            "Registration",
            original(json!("reversal")),
            original(Value::Null),
        ),
        (
            "Attachment",
            json!({"order_reference": "A"}),
            json!({"order_reference": null}),
        ),
    ] {
        let schema = &document.0["components"]["schemas"][name];
        document.expect_valid(schema, &good, name);
        assert!(!document.is_valid(schema, &bad), "{name} allows {bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_as_it_is() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let answer = app.send(Method::GET, "/openapi.yaml", &[], None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text,
        std::fs::read_to_string("openapi.yaml").unwrap()
    );
    assert_eq!(
        answer.header("content-type"),
        "application/yaml; charset=utf-8"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_page_is_made_of_local_files_only() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let get = async |path: &str| {
        let answer = app.send(Method::GET, path, &[], None).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none';"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("http"), "{path}: {policy}");
        assert!(
            !policy.contains("script-src 'self' 'unsafe"),
            "{path}: {policy}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        for (header, value) in [
            ("x-frame-options", "DENY"),
            ("x-dns-prefetch-control", "off"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(header), value, "{path}: {header}");
        }
        answer
    };
    let redirect = get("/api-docs").await;
    assert_eq!(redirect.status, 308);
    assert_eq!(redirect.header("location"), "/api-docs/");

    let page = get("/api-docs/").await;
    assert_eq!(page.status, 200);
    let mut files = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        for rest in page.text.split(attribute).skip(1) {
            files.push(rest.split('"').next().unwrap());
        }
    }
    assert!(files.len() >= 5, "{files:?}");
    assert!(!page.text.contains("://"), "{}", page.text);
    for file in files {
        assert!(!file.starts_with('/'), "{file}");
        let name = file.strip_prefix("./").unwrap_or(file);
        let answer = get(&format!("/api-docs/{name}")).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.header("content-type").is_empty(), "{file}");
        let is_bundle = name.starts_with("swagger-ui");
        let asks_elsewhere = ["url(http", "url(\"http", "url(//", "@import"]
            .iter()
            .any(|words| name.ends_with(".css") && answer.text.contains(words));
        assert!(!asks_elsewhere, "{file}");
        // The bundle has addresses of XML name spaces and links for readers; the policy keeps it from loading any.
        assert!(
            is_bundle || name.ends_with(".png") || !answer.text.contains("://"),
            "{file}"
        );
        if name == "swagger-initializer.js" {
            assert!(answer.text.contains("/openapi.yaml"), "{}", answer.text);
        }
    }
    get("/api-docs/no-such-file")
        .await
        .refused(404, "NOT_FOUND_1001");
}
