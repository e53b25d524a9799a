//! The service and the simulator: what was lost on the way is found out by asking.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use ussd_status::domain::transaction::Provider;
use ussd_status::simulator::{
    Application, Fault, FaultPlan, RunningSimulator, Simulator, SimulatorSettings, Truth,
};

use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};

on_both_databases!(
    a_lost_prompt_callback_is_found_out_by_its_query,
    a_lost_payout_callback_is_found_out_by_a_query_whose_answer_is_posted,
    a_lost_clickpesa_webhook_is_found_out_by_its_order_reference,
    an_unconfirmed_failure_is_asked_about_once,
    a_late_success_overturns_the_failure,
    a_query_that_contradicts_and_one_that_is_throttled_are_asked_again,
    a_provider_that_never_tells_leaves_it_stuck,
);

const CERTIFICATE: &str = include_str!("../../fixtures/keys/mpesa-test-certificate.pem");
/// A hanging test is a failing test.
const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    app: TestApp,
    partner: TestPartner,
    simulator: RunningSimulator,
}

impl Stage {
    async fn new(db: TestStore) -> Self {
        let mut settings = SimulatorSettings::new("127.0.0.1:0".parse().unwrap());
        settings.callback_delay = Duration::from_millis(1)..=Duration::from_millis(20);
        let clock = db.clock.clone();
        settings.now = Arc::new(move || ussd_status::domain::clock::Clock::now(clock.as_ref()));
        let simulator = Simulator::start(settings).await.unwrap();
        let url = simulator.url();
        let app = TestApp::start_with(
            db,
            &[("MPESA_BASE_URL", &url), ("CLICKPESA_BASE_URL", &url)],
        )
        .await;
        let partner = app.partner().await;
        let mpesa = json!({
            "environment": "sandbox",
            "shortcode": "600997",
            "consumer_key": "consumer-key",
            "consumer_secret": "consumer-secret",
            "passkey": "bfb279f9aa9bdbcf",
            "initiator_name": "testapi",
            "initiator_password": "Safaricom123!",
            "certificate": CERTIFICATE,
        });
        app.account(partner.id, Provider::Mpesa, mpesa).await;
        let clickpesa = json!({"environment": "sandbox", "client_id": "client", "api_key": "key"});
        let account = app
            .account(partner.id, Provider::Clickpesa, clickpesa)
            .await;
        let webhook_url = format!(
            "{}/callbacks/{}/clickpesa",
            app.base, account.callback_token
        );
        simulator.set_clickpesa_application(
            "client",
            Application {
                webhook_url,
                checksum_key: None,
            },
        );
        Self {
            app,
            partner,
            simulator,
        }
    }

    /// Starts a payment to or from a number that ends so; its id.
    async fn pay(&self, provider: &str, kind: &str, ending: &str) -> Value {
        let country = if provider == "mpesa" {
            "25471234"
        } else {
            "25571234"
        };
        let body = json!({
            "provider": provider,
            "kind": kind,
            "msisdn": format!("{country}{ending}"),
            "amount": 1500,
            "client_request_id": format!("{kind}-{ending}"),
        });
        let answer = self
            .app
            .post(&self.partner, "/api/ussd/payments", &body)
            .await;
        let id = answer.expect(201)["transaction"]["transaction_id"].clone();
        assert!(id.is_string(), "{}", answer.text);
        self.simulator.until_quiet().await;
        id
    }

    async fn status(&self, id: &Value) -> String {
        let transaction = self.app.transaction(&self.partner, id).await;
        transaction["status"].as_str().unwrap().to_owned()
    }

    /// Lets time pass and waits until commits have made the status of a transaction this.
    async fn becomes(&self, id: &Value, status: &str, after: chrono::Duration) -> Value {
        let mut commits = self.app.db.store.commits();
        self.app.db.advance(after);
        let waiting = async {
            while self.status(id).await != status {
                commits.recv().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{}", self.app.transaction(&self.partner, id).await);
        }
        self.app.transaction(&self.partner, id).await
    }

    fn truth(&self) -> Truth {
        self.simulator.ledger().payments.last().unwrap().truth
    }
}

fn sources(transaction: &Value) -> Vec<&str> {
    let timeline = transaction["timeline"].as_array().unwrap();
    let sources = timeline.iter().map(|line| line["source"].as_str().unwrap());
    sources.collect()
}

fn minutes(count: i64) -> chrono::Duration {
    chrono::Duration::minutes(count)
}

async fn a_lost_prompt_callback_is_found_out_by_its_query(db: TestStore) {
    let stage = Stage::new(db).await;
    let id = stage.pay("mpesa", "stk_push", "0404").await;
    assert_eq!(stage.status(&id).await, "accepted");
    let found = stage.becomes(&id, "success", minutes(1)).await;
    assert_eq!(*sources(&found).last().unwrap(), "query:stk_push");
    assert_eq!(stage.truth(), Truth::Success);
}

async fn a_lost_payout_callback_is_found_out_by_a_query_whose_answer_is_posted(db: TestStore) {
    let stage = Stage::new(db).await;
    let id = stage.pay("mpesa", "b2c", "0404").await;
    assert_eq!(stage.status(&id).await, "accepted");
    let found = stage.becomes(&id, "success", minutes(1)).await;
    let told_by = *sources(&found).last().unwrap();
    assert!(told_by.contains("status-result"), "{told_by}");
    assert!(found["transaction_receipt"].is_string(), "{found}");
}

async fn a_lost_clickpesa_webhook_is_found_out_by_its_order_reference(db: TestStore) {
    let stage = Stage::new(db).await;
    for kind in ["ussd_push", "payout"] {
        let id = stage.pay("clickpesa", kind, "0404").await;
        let found = stage.becomes(&id, "success", minutes(1)).await;
        assert_eq!(*sources(&found).last().unwrap(), format!("query:{kind}"));
    }
}

async fn an_unconfirmed_failure_is_asked_about_once(db: TestStore) {
    let stage = Stage::new(db).await;
    let id = stage.pay("mpesa", "stk_push", "1037").await;
    assert_eq!(stage.status(&id).await, "failed");
    stage.until_asked(1).await;
    stage.app.db.advance(chrono::Duration::hours(3));
    // What is asked about later shows that there was time to ask again.
    let other = stage.pay("mpesa", "stk_push", "0404").await;
    stage.becomes(&other, "success", minutes(1)).await;
    assert_eq!(stage.requests(), 2);
    assert_eq!(stage.status(&id).await, "failed");
}

async fn a_late_success_overturns_the_failure(db: TestStore) {
    let stage = Stage::new(db).await;
    let id = stage.pay("mpesa", "stk_push", "0003").await;
    stage.becomes(&id, "success", minutes(1)).await;
    assert_eq!(stage.truth(), Truth::Success);
}

async fn a_query_that_contradicts_and_one_that_is_throttled_are_asked_again(db: TestStore) {
    let stage = Stage::new(db).await;
    for fault in [Fault::ContradictingQuery, Fault::QueryThrottled] {
        stage.simulator.clear_faults();
        let plan = FaultPlan::new(7).with(fault, 1.0);
        stage.simulator.set_faults(plan);
        let ending = if fault == Fault::QueryThrottled {
            "0404"
        } else {
            "1404"
        };
        if fault == Fault::ContradictingQuery {
            let plan = FaultPlan::new(7)
                .with(fault, 1.0)
                .with(Fault::LostCallback, 1.0);
            stage.simulator.set_faults(plan);
        }
        let id = stage.pay("mpesa", "stk_push", ending).await;
        let before = stage.requests();
        stage.app.db.advance(minutes(1));
        stage.until_asked(before + 1).await;
        assert_eq!(stage.status(&id).await, "accepted", "{fault:?}");
        stage.simulator.clear_faults();
        stage.becomes(&id, "success", minutes(5)).await;
    }
}

impl Stage {
    fn requests(&self) -> u64 {
        let requests = self.simulator.ledger().requests;
        let queries = requests
            .iter()
            .filter(|(path, _)| path.contains("stkpushquery"));
        queries.map(|(_, counted)| counted.received).sum()
    }

    async fn until_asked(&self, count: u64) {
        let waiting = async {
            while self.requests() < count {
                // The simulator tells of no event.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    }
}

async fn a_provider_that_never_tells_leaves_it_stuck(db: TestStore) {
    let stage = Stage::new(db).await;
    stage
        .simulator
        .set_faults(FaultPlan::new(7).with(Fault::QueryFailed, 1.0));
    let id = stage.pay("mpesa", "stk_push", "0404").await;
    stage.app.db.advance(chrono::Duration::hours(48));
    let stuck = async {
        loop {
            let found = stage.app.transaction(&stage.partner, &id).await;
            let kinds = found["timeline"].as_array().unwrap().iter();
            if kinds.clone().any(|line| line["kind"] == "stuck") {
                return found;
            }
            // A line that moves nothing is told to nobody.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, stuck).await.unwrap();
    assert_eq!(found["status"], "accepted");
}
