//! What a storm happens on: a partner with an account at each provider and two endpoints, both providers in the
//! simulator, and one address for the service, in this process or as the real binary.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use ussd_status::domain::clock::{Clock, SystemClock};
use ussd_status::domain::transaction::Provider;
use ussd_status::reconciliation::LEASE;
use ussd_status::simulator::receiver::{Fault as Misbehaviour, ReceivedWebhook, Receiver};
use ussd_status::simulator::{
    Application, Fault, FaultPlan, Now, RunningSimulator, Simulator, SimulatorSettings,
};
use ussd_status::vault::new_master_key;

use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};
use crate::support::gate::Gate;
use crate::support::program::{Place, Program, client};

/// The partner's endpoints.
pub const ENDPOINTS: [&str; 2] = ["books", "screens"];
/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often something is looked for that nobody tells of.
const LOOK: Duration = Duration::from_millis(25);
const CERTIFICATE: &str = include_str!("../../fixtures/keys/mpesa-test-certificate.pem");

/// How often each fault comes.
const FAULTS: [(Fault, f64); 22] = [
    (Fault::LostCallback, 0.12),
    (Fault::LateCallback, 0.1),
    (Fault::Doubled, 0.1),
    (Fault::Reordered, 0.1),
    (Fault::Early, 0.1),
    (Fault::AnswerLost, 0.06),
    (Fault::CutBefore, 0.03),
    (Fault::NonJson, 0.06),
    (Fault::NonJsonBefore, 0.03),
    (Fault::ServerErrorBefore, 0.03),
    (Fault::ExpiredToken, 0.1),
    (Fault::InvalidatedToken, 0.06),
    (Fault::SlowAnswer, 0.1),
    (Fault::ContradictingQuery, 0.15),
    (Fault::QueryThrottled, 0.1),
    (Fault::QueryFailed, 0.1),
    (Fault::WrongAmount, 0.1),
    (Fault::PartialShape, 0.1),
    (Fault::QueueTimeout, 0.1),
    (Fault::Failed, 0.1),
    (Fault::Refused, 0.03),
    (Fault::Throttled, 0.03),
];

/// The stage.
pub struct Stage {
    /// The database.
    pub db: Arc<TestStore>,
    /// Both providers.
    pub simulator: RunningSimulator,
    /// The service's address.
    pub gate: Gate,
    /// Who pays.
    pub partner: TestPartner,
    /// Its back end.
    pub client: reqwest::Client,
    /// What makes the run repeatable.
    pub seed: u64,
    /// Orders that were answered.
    pub answered: AtomicUsize,
    /// Told after each of them.
    pub progress: Notify,
    /// Every secret by its name.
    pub secrets: Vec<(String, String)>,
    /// The tokens in the callbacks' paths, which providers know and logs must not.
    pub callback_tokens: Vec<String>,
    /// All that was written so far: what it is, and its text.
    pub written: Mutex<Vec<(String, String)>>,
    master_key: String,
    arrivals: tokio::sync::Mutex<mpsc::UnboundedReceiver<ReceivedWebhook>>,
    settings: Vec<(&'static str, String)>,
    /// Moves the clock.
    ticking: Mutex<Ticking>,
    _receiver: Receiver,
}

fn credentials(secret: impl Fn(&str) -> String) -> (Value, Value) {
    let mpesa = json!({
        "environment": "sandbox", "shortcode": "600966", "consumer_key": "storm",
        "consumer_secret": secret("consumer_secret"), "passkey": secret("passkey"),
        "initiator_name": "api", "initiator_password": secret("initiator_password"),
        "certificate": CERTIFICATE,
    });
    let clickpesa = json!({
        "environment": "sandbox", "client_id": "storm", "api_key": secret("api_key"),
        "checksum_key": secret("checksum_key"),
    });
    (mpesa, clickpesa)
}

impl Stage {
    /// Sets it up. The clock is the machine's, `pace` times as fast.
    pub async fn set(db: TestStore, seed: u64, pace: i32) -> (Arc<Self>, TestApp) {
        let db = Arc::new(db);
        let simulator = start_simulator(&db, seed).await;
        let (receiver, arrivals) = Receiver::start(([127, 0, 0, 1], 0).into(), now_of(&db))
            .await
            .unwrap();
        let gate = Gate::open().await;
        let url = simulator.url();
        let settings = vec![
            ("MPESA_BASE_URL", url.clone()),
            ("CLICKPESA_BASE_URL", url),
            ("PUBLIC_URL", gate.url()),
            ("RATE_LIMIT_GET", "1000000".to_owned()),
            ("RATE_LIMIT_WRITE", "1000000".to_owned()),
            ("RECONCILE_AFTER", "1s".to_owned()),
        ];
        let master_key = new_master_key().unwrap();
        let app = TestApp::start_under(&master_key, db.clone(), &lent(&settings)).await;
        gate.lead_to(&app.base);
        let partner = app.partner().await;
        let mut secrets = vec![
            ("master key".to_owned(), master_key.clone()),
            ("API key".to_owned(), partner.key.clone()),
        ];
        let secret = |name: &str| format!("{}-{seed:016x}-Xq7Zw", name.replace('_', ""));
        for name in [
            "consumer_secret",
            "passkey",
            "initiator_password",
            "api_key",
            "checksum_key",
        ] {
            secrets.push((name.to_owned(), secret(name)));
        }
        let (mpesa, clickpesa) = credentials(secret);
        let mpesa = app.account(partner.id, Provider::Mpesa, mpesa).await;
        let account = app
            .account(partner.id, Provider::Clickpesa, clickpesa)
            .await;
        let dashboard = Application {
            webhook_url: format!(
                "{}/callbacks/{}/clickpesa",
                gate.url(),
                account.callback_token
            ),
            checksum_key: Some(secret("checksum_key")),
        };
        simulator.set_clickpesa_application("storm", dashboard);
        for name in ENDPOINTS {
            let (_, secret) = app.endpoint(partner.id, &receiver.url(name)).await;
            assert!(receiver.set_secrets(name, &[&secret]));
            secrets.push((format!("webhook secret of {name}"), secret));
        }
        // One of the two needs several attempts at first.
        receiver.set_fault(ENDPOINTS[1], Misbehaviour::Answer(503), Some(5));
        db.advance(SystemClock.now() - db.now());
        let ticking = Mutex::new(Ticking::start(&db, pace));
        let stage = Self {
            db,
            simulator,
            gate,
            partner,
            client: client(),
            seed,
            answered: AtomicUsize::new(0),
            progress: Notify::new(),
            secrets,
            callback_tokens: vec![mpesa.callback_token, account.callback_token],
            written: Mutex::default(),
            master_key,
            arrivals: tokio::sync::Mutex::new(arrivals),
            settings,
            ticking,
            _receiver: receiver,
        };
        (Arc::new(stage), app)
    }

    /// From now on everything goes wrong now and then.
    pub fn unleash(&self) {
        let mut plan = FaultPlan::new(self.seed);
        plan.late_callback_ms = 300;
        plan.slow_answer_ms = 150;
        for (fault, rate) in FAULTS {
            plan = plan.with(fault, rate);
        }
        self.simulator.set_faults(plan);
    }

    /// The service in this process.
    pub async fn app(&self) -> TestApp {
        let settings = lent(&self.settings);
        let app = TestApp::start_under(&self.master_key, self.db.clone(), &settings).await;
        self.gate.lead_to(&app.base);
        app
    }

    /// The service as a process of its own, which says all it can say.
    pub fn program(&self) -> Program {
        let mut settings = lent(&self.settings);
        settings.push(("RUST_LOG", "debug"));
        let program = Place::under(&self.master_key, &self.db, &settings).serve();
        self.gate.lead_to(&program.base());
        program
    }

    /// Keeps something that was written, to look through it later.
    pub fn keep(&self, what: &str, text: String) {
        self.written.lock().unwrap().push((what.to_owned(), text));
    }

    /// Keeps an error that a client was told.
    pub fn told(&self, error: &str) {
        self.keep("an error answer", error.to_owned());
    }

    /// Waits until all is told and asked: first while everything still goes wrong, then in fair weather, then until
    /// asking ends.
    pub async fn quiet(&self) {
        // From here on time passes in steps: a machine that is slow must not make it fly.
        *self.ticking.lock().unwrap() = Ticking::start(&self.db, 1);
        self.simulator.until_quiet().await;
        for round in 0..8 {
            if round == 3 {
                self.simulator.clear_faults();
            }
            self.db.advance(chrono::Duration::minutes(61));
            // All must be heard, those too that are being asked about.
            self.until_none("due", || self.due()).await;
            self.simulator.until_quiet().await;
        }
        self.db.advance(chrono::Duration::hours(49));
        self.until_none("open", || {
            "FROM open_transactions WHERE stuck_at IS NULL".to_owned()
        })
        .await;
        let pending = "FROM deliveries WHERE state = 'pending'";
        for _ in 0..200 {
            if self.db.count(pending).await == 0 {
                return;
            }
            self.db.advance(chrono::Duration::seconds(6));
            tokio::time::sleep(LOOK).await;
        }
        self.until_none("undelivered", || pending.to_owned()).await;
    }

    /// What is due, and what was taken to be asked about: that is due at the end of its lease. What has had news a moment ago
    /// is asked about after seconds, and need not be waited for.
    fn due(&self) -> String {
        let [ask_at, news_at] = ["o.ask_at", "t.updated_at"].map(|column| self.db.micros(column));
        let now = self.db.now();
        let leased_until = (now + LEASE).timestamp_micros();
        let now = now.timestamp_micros();
        let silence = (LEASE * 2).num_microseconds().unwrap();
        format!(
            "FROM open_transactions o JOIN transactions t ON t.partner_id = o.partner_id AND t.id = o.transaction_id \
             WHERE o.stuck_at IS NULL AND ({ask_at} <= {now} \
             OR ({ask_at} <= {leased_until} AND {ask_at} - {news_at} > {silence}))"
        )
    }

    /// Lines that move nothing are told to nobody, so it is looked for.
    async fn until_none(&self, what: &str, from: impl Fn() -> String) {
        let begun = std::time::Instant::now();
        loop {
            let count = self.db.count(&from()).await;
            if count == 0 {
                return;
            }
            let seed = self.seed;
            assert!(
                begun.elapsed() < PATIENCE,
                "STORM_SEED={seed}: {count} are still {what}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the endpoints were told: endpoint, transaction, sequence, webhook id. Every word must be believed.
    pub async fn heard(&self) -> Vec<ReceivedWebhook> {
        let mut arrivals = self.arrivals.lock().await;
        std::iter::from_fn(|| arrivals.try_recv().ok()).collect()
    }

    /// Every number that was paid to or from.
    pub async fn numbers(&self) -> BTreeSet<String> {
        let rows = self
            .db
            .rows(&["msisdn"], "FROM transactions WHERE msisdn IS NOT NULL")
            .await;
        rows.iter()
            .map(|row| row[0].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn start_simulator(db: &Arc<TestStore>, seed: u64) -> RunningSimulator {
    let settings = SimulatorSettings {
        callback_delay: Duration::from_millis(5)..=Duration::from_millis(40),
        seed,
        now: now_of(db),
        ..SimulatorSettings::new(([127, 0, 0, 1], 0).into())
    };
    Simulator::start(settings).await.unwrap()
}

fn now_of(db: &Arc<TestStore>) -> Now {
    let clock = db.clock.clone();
    Arc::new(move || clock.now())
}

/// A clock that runs by itself for as long as this value lives.
struct Ticking(AbortHandle);

impl Ticking {
    /// So many times as fast as the machine's.
    fn start(db: &TestStore, pace: i32) -> Self {
        let clock = db.clock.clone();
        let mut last = std::time::Instant::now();
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let passed = last.elapsed();
                last += passed;
                clock.advance(chrono::Duration::from_std(passed).unwrap() * pace);
            }
        });
        Self(ticking.abort_handle())
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lent<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}
