//! A service that pays: a partner with an account at each provider, and the simulator in both providers' place.

use std::time::Duration;

use serde_json::{Value, json};
use ussd_status::domain::account::Account;
use ussd_status::domain::transaction::Provider;
use ussd_status::simulator::{
    Application, LedgerPayment, RunningSimulator, Simulator, SimulatorSettings,
};

use super::TestStore;
use super::app::{Answer, TestApp, TestPartner};

/// The one call over all providers.
pub const PAYMENTS: &str = "/api/ussd/payments";

/// Everything a payment needs.
pub struct Paying {
    /// The service.
    pub app: TestApp,
    /// Both providers.
    pub simulator: RunningSimulator,
    /// Who pays.
    pub partner: TestPartner,
    /// Its M-Pesa account.
    pub mpesa: Account,
}

/// A simulator whose callbacks come within a blink.
pub async fn simulator() -> RunningSimulator {
    let settings = SimulatorSettings {
        callback_delay: Duration::from_millis(5)..=Duration::from_millis(20),
        ..SimulatorSettings::new(([127, 0, 0, 1], 0).into())
    };
    Simulator::start(settings).await.unwrap()
}

/// Credentials of an M-Pesa account; `consumer_key` tells accounts apart.
pub fn mpesa_credentials(consumer_key: &str) -> Value {
    let certificate = std::fs::read_to_string("tests/fixtures/keys/mpesa-test-certificate.pem");
    json!({
        "environment": "sandbox", "shortcode": "600966", "consumer_key": consumer_key,
        "consumer_secret": "secret", "passkey": "passkey", "initiator_name": "api",
        "initiator_password": "password", "certificate": certificate.unwrap(),
    })
}

/// Credentials of a ClickPesa account.
pub fn clickpesa_credentials(client_id: &str) -> Value {
    json!({"environment": "sandbox", "client_id": client_id, "api_key": "key"})
}

impl Paying {
    /// Starts it all.
    pub async fn start(db: TestStore) -> Self {
        Self::start_with(db, &[]).await
    }

    /// The same with more settings.
    pub async fn start_with(db: TestStore, more: &[(&str, &str)]) -> Self {
        let simulator = simulator().await;
        let url = simulator.url();
        let mut settings = vec![
            ("MPESA_BASE_URL", url.as_str()),
            ("CLICKPESA_BASE_URL", url.as_str()),
        ];
        settings.extend_from_slice(more);
        let app = TestApp::start_with(db, &settings).await;
        let partner = app.partner().await;
        let mpesa = app
            .account(partner.id, Provider::Mpesa, mpesa_credentials("mine"))
            .await;
        clickpesa_account(&app, &simulator, &partner, "mine").await;
        Self {
            app,
            simulator,
            partner,
            mpesa,
        }
    }

    /// POSTs as the partner.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.app.post(&self.partner, path, &body).await
    }

    /// Orders a payment by the one call.
    pub async fn pay(&self, body: Value) -> Answer {
        self.post(PAYMENTS, body).await
    }

    /// GETs as the partner.
    pub async fn get(&self, path: &str) -> Answer {
        self.app.get(&self.partner, path).await
    }

    /// A transaction with its timeline, once every callback that is due has come.
    pub async fn settled(&self, id: &Value) -> Value {
        self.simulator.until_quiet().await;
        self.app.transaction(&self.partner, id).await
    }

    /// What the simulator knows of payments.
    pub fn sent(&self) -> Vec<LedgerPayment> {
        self.simulator.ledger().payments
    }
}

/// A ClickPesa account whose webhooks come to the service.
pub async fn clickpesa_account(
    app: &TestApp,
    simulator: &RunningSimulator,
    partner: &TestPartner,
    client_id: &str,
) -> Account {
    let credentials = clickpesa_credentials(client_id);
    let account = app
        .account(partner.id, Provider::Clickpesa, credentials)
        .await;
    let webhook = format!(
        "{}/callbacks/{}/clickpesa",
        app.base, account.callback_token
    );
    simulator.set_clickpesa_application(
        client_id,
        Application {
            webhook_url: webhook,
            checksum_key: None,
        },
    );
    account
}

/// An order of each kind that can be made from nothing.
pub fn order(kind: &str, key: &str, ending: &str) -> Value {
    let (provider, number) = match kind {
        "ussd_push" | "payout" => ("clickpesa", "25571234"),
        _ => ("mpesa", "25471234"),
    };
    json!({
        "provider": provider, "kind": kind, "msisdn": format!("{number}{ending}"), "amount": 1200,
        "client_request_id": key,
    })
}
