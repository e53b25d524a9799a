//! The whole program in this process, on a port of its own: methods are named after what a person does.

use std::sync::{Arc, Mutex, OnceLock};

use metrics_exporter_prometheus::PrometheusHandle;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ussd_status::app::Application;
use ussd_status::domain::account::Account;
use ussd_status::domain::delivery::{Endpoint, Pace};
use ussd_status::domain::identity::{AccountId, EndpointId, KeyId, PartnerId};
use ussd_status::domain::money::Currency;
use ussd_status::domain::partner::{ApiKey, Partner, Scope};
use ussd_status::domain::transaction::Provider;
use ussd_status::settings::{Settings, Sources};
use ussd_status::store::Store;
use ussd_status::vault::{Vault, new_master_key};
use ussd_status::webhooks::Secret;

use super::TestStore;
use super::build::audit;

/// The service on a database, with what callers need.
pub struct TestApp {
    /// The database behind it.
    pub db: Arc<TestStore>,
    /// `http://127.0.0.1:port`.
    pub base: String,
    /// Where its long polls wait.
    pub feed: ussd_status::feed::Feed,
    /// Who else works on its database.
    pub instances: ussd_status::instances::Instances,
    vault: Arc<Vault>,
    client: reqwest::Client,
    stop: CancellationToken,
    running: Mutex<Option<JoinHandle<()>>>,
}

/// A partner with its key.
#[derive(Clone)]
pub struct TestPartner {
    /// Its id.
    pub id: PartnerId,
    /// Its API key.
    pub key: String,
}

/// An answer: status, headers, body.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    /// A header's text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// The body of an answer that must have this status.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    /// Checks status, error code and the documented shape of an error; returns its text.
    pub fn refused(&self, status: u16, code: &str) -> String {
        let body = self.expect(status);
        assert_eq!(body["success"], json!(false), "{}", self.text);
        assert_eq!(body["error_code"], json!(code), "{}", self.text);
        body["error"].as_str().unwrap().to_owned()
    }
}

/// One recorder a process: the first one that is made renders for all.
fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS
        .get_or_init(ussd_status::telemetry::start_metrics)
        .clone()
}

impl TestApp {
    /// Starts the service with settings a test needs; `more` comes on top.
    pub async fn start_with(db: TestStore, more: &[(&str, &str)]) -> Self {
        let vault = Arc::new(Vault::new(&new_master_key().unwrap(), None).unwrap());
        Self::build(Arc::new(db), vault, more).await
    }

    /// Starts the service under a master key that other processes on its database have too.
    pub async fn start_under(master_key: &str, db: Arc<TestStore>, more: &[(&str, &str)]) -> Self {
        let vault = Arc::new(Vault::new(master_key, None).unwrap());
        Self::build(db, vault, more).await
    }

    /// Another process on the same database that cannot open what this one sealed.
    pub async fn under_another_master_key(&self) -> Self {
        let vault = Arc::new(Vault::new(&new_master_key().unwrap(), None).unwrap());
        Self::build(self.db.clone(), vault, &[]).await
    }

    /// Another process on the same database, with a memory of its own.
    pub async fn beside(&self, more: &[(&str, &str)]) -> Self {
        Self::build(self.db.clone(), self.vault.clone(), more).await
    }

    /// Another process on the same database that shares nothing with this one: it hears of no commit but its own.
    pub async fn elsewhere(&self) -> Self {
        let store = self.db.another_store().await;
        Self::build_on(store, self.db.clone(), self.vault.clone(), &[]).await
    }

    async fn build(db: Arc<TestStore>, vault: Arc<Vault>, more: &[(&str, &str)]) -> Self {
        Self::build_on(db.store.clone(), db, vault, more).await
    }

    async fn build_on(
        store: Arc<dyn Store>,
        db: Arc<TestStore>,
        vault: Arc<Vault>,
        more: &[(&str, &str)],
    ) -> Self {
        let mut pairs = vec![
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("WEBHOOK_ALLOW_PRIVATE", "true"),
            ("CALLBACK_ALLOWED_IPS", "127.0.0.1"),
            ("SHUTDOWN_GRACE", "5s"),
        ];
        pairs.extend_from_slice(more);
        let settings = Settings::read(&Sources::from_pairs(&pairs)).unwrap();
        let application =
            Application::build(&settings, store, vault.clone(), db.clock.clone(), metrics())
                .unwrap();
        let base = format!("http://{}", application.address());
        let feed = application.feed().clone();
        let instances = application.instances().clone();
        let stop = CancellationToken::new();
        let running = tokio::spawn(application.run_until_stopped(stop.clone()));
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(60))
            .build()
            .unwrap();
        Self {
            db,
            base,
            feed,
            instances,
            vault,
            client,
            stop,
            running: Mutex::new(Some(running)),
        }
    }

    /// Stops as a signal would, and waits for the end.
    pub async fn end(&self) {
        self.stop.cancel();
        let running = self.running.lock().unwrap().take();
        if let Some(running) = running {
            running.await.unwrap();
        }
    }

    /// Starts the service.
    pub async fn start(db: TestStore) -> Self {
        Self::start_with(db, &[]).await
    }

    /// A new partner with a key of the usual scopes.
    pub async fn partner(&self) -> TestPartner {
        let now = self.db.now();
        let id = PartnerId::new(now);
        let (key, text) = self.new_key(id, &Scope::DEFAULT);
        let partner = Partner {
            id,
            name: "Kilimo".to_owned(),
            currency: Currency::kes(),
            suspended: false,
            created_at: now,
        };
        self.db
            .store
            .insert_partner(partner, key, audit())
            .await
            .unwrap();
        TestPartner { id, key: text }
    }

    fn new_key(&self, partner: PartnerId, scopes: &[Scope]) -> (ApiKey, String) {
        let now = self.db.now();
        let id = KeyId::new(now);
        let text = format!("us_{id}");
        let key = ApiKey {
            id,
            partner_id: partner,
            prefix: text.chars().take(11).collect(),
            digest: ussd_status::http::digest(&text),
            scopes: scopes.to_vec(),
            expires_at: None,
            revoked_at: None,
            created_at: now,
        };
        (key, text)
    }

    /// Another key of a partner; `change` may expire or revoke it.
    pub async fn another_key(
        &self,
        partner: PartnerId,
        scopes: &[Scope],
        change: impl FnOnce(&mut ApiKey),
    ) -> String {
        let (mut key, text) = self.new_key(partner, scopes);
        change(&mut key);
        self.db.store.insert_key(key, audit()).await.unwrap();
        text
    }

    /// A provider account; its credentials are the JSON object given.
    pub async fn account(
        &self,
        partner: PartnerId,
        provider: Provider,
        credentials: Value,
    ) -> Account {
        let now = self.db.now();
        let id = AccountId::new(now);
        let account = Account {
            id,
            partner_id: partner,
            provider,
            environment: "sandbox".to_owned(),
            shortcode: credentials["shortcode"].as_str().map(str::to_owned),
            till_number: credentials["till_number"].as_str().map(str::to_owned),
            callback_token: id.to_string().replace('-', ""),
            sealed_credentials: self
                .vault
                .seal(&format!("account:{id}"), credentials.to_string().as_bytes())
                .unwrap(),
            created_at: now,
        };
        self.db
            .store
            .insert_account(account.clone(), audit())
            .await
            .unwrap();
        account
    }

    /// An M-Pesa account with shortcode 600966.
    pub async fn mpesa_account(&self, partner: PartnerId) -> Account {
        self.account(partner, Provider::Mpesa, json!({"shortcode": "600966"}))
            .await
    }

    /// A webhook endpoint; returns its signing secret.
    pub async fn endpoint(&self, partner: PartnerId, url: &str) -> (EndpointId, String) {
        let secret = Secret::generate().unwrap().reveal().to_string();
        let now = self.db.now();
        let id = EndpointId::new(now);
        let endpoint = Endpoint {
            id,
            partner_id: partner,
            url: url.to_owned(),
            events: Vec::new(),
            description: None,
            sealed_secret: self
                .vault
                .seal(&format!("endpoint:{id}"), secret.as_bytes())
                .unwrap(),
            disabled_at: None,
            transaction_id: None,
            previous_secret: None,
            failing_since: None,
            pace: Pace::default(),
            public_key: None,
            created_at: now,
        };
        self.db
            .store
            .insert_endpoint(endpoint, audit())
            .await
            .unwrap();
        (id, secret)
    }

    /// Any request; `path` begins with `/`.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let kind = headers.get(reqwest::header::CONTENT_TYPE);
        // A stream has no end: its first piece stands for it.
        let text = if kind.is_some_and(|kind| kind == "text/event-stream") {
            let piece = answer.chunk().await.unwrap().unwrap();
            String::from_utf8(piece.to_vec()).unwrap()
        } else {
            answer.text().await.unwrap()
        };
        Answer {
            status,
            headers,
            text,
        }
    }

    /// GET of what comes bit by bit.
    pub async fn open(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.client.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// GET with a key.
    pub async fn get(&self, partner: &TestPartner, path: &str) -> Answer {
        self.send(Method::GET, path, &[("x-api-key", &partner.key)], None)
            .await
    }

    /// POST of JSON with a key.
    pub async fn post(&self, partner: &TestPartner, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, partner, path, body).await
    }

    /// PATCH of JSON with a key.
    pub async fn patch(&self, partner: &TestPartner, path: &str, body: &Value) -> Answer {
        self.json(Method::PATCH, partner, path, body).await
    }

    /// DELETE with a key.
    pub async fn delete(&self, partner: &TestPartner, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[("x-api-key", &partner.key)], None)
            .await
    }

    async fn json(
        &self,
        method: Method,
        partner: &TestPartner,
        path: &str,
        body: &Value,
    ) -> Answer {
        let headers = [
            ("x-api-key", partner.key.as_str()),
            ("content-type", "application/json"),
        ];
        self.send(method, path, &headers, Some(body.to_string().into_bytes()))
            .await
    }

    /// Registers a payment; `fields` come on top of a number, an amount and an id. Returns the transaction.
    pub async fn register(&self, partner: &TestPartner, fields: Value) -> Value {
        let mut body = json!({
            "client_request_id": format!("REQ-{}", EndpointId::new(self.db.now())),
            "msisdn": "254712345678",
            "amount": 1200,
        });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = self.post(partner, "/api/ussd/transactions", &body).await;
        answer.expect(201)["transaction"].clone()
    }

    /// One transaction with its timeline.
    pub async fn transaction(&self, partner: &TestPartner, id: &Value) -> Value {
        let path = format!("/api/ussd/transactions/{}", id.as_str().unwrap());
        self.get(partner, &path).await.expect(200)["transaction"].clone()
    }

    /// A callback on an account's own path: `kind` may have `/{transaction_id}` behind it.
    pub async fn callback(
        &self,
        account: &Account,
        kind: &str,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let path = format!("/callbacks/{}/{kind}", account.callback_token);
        let headers = [("content-type", "application/json;charset=UTF-8")];
        self.send(Method::POST, &path, &headers, Some(body.into()))
            .await
    }
}

impl TestApp {
    /// Stops the service politely; requests in flight are answered.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
