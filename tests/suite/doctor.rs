//! `doctor` as an operator runs it: the real program, on a database that is ready or not, with accounts that work or not.

use std::net::SocketAddr;

use serde_json::{Value, json};
use ussd_status::simulator::{CERTIFICATE, Simulator, SimulatorSettings};
use ussd_status::vault::new_master_key;

use crate::support::TestStore;
use crate::support::program::Place;

struct Examination {
    code: i32,
    text: String,
    findings: Vec<Value>,
}

impl Examination {
    fn of(place: &Place, environment: &[(&str, &str)]) -> Self {
        let mut command = place.command(&["doctor", "--json"]);
        command.envs(environment.iter().copied());
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let object: Value = serde_json::from_str(&text).unwrap();
        Self {
            code: output.status.code().unwrap(),
            findings: object["findings"].as_array().unwrap().clone(),
            text,
        }
    }

    /// The verdicts of a check, with the reasons.
    fn verdicts(&self, check: &str) -> Vec<(String, String)> {
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
        self.findings
            .iter()
            .filter(|finding| text(finding, "check").starts_with(check))
            .map(|finding| (text(finding, "verdict"), text(finding, "why")))
            .collect()
    }

    fn says(&self, check: &str, verdict: &str, why: &str) {
        assert!(
            self.verdicts(check)
                .iter()
                .any(|(found, reason)| found == verdict && reason.contains(why)),
            "{check} should be {verdict} for {why:?}: {}",
            self.text
        );
    }
}

fn mpesa(secret: &str) -> Value {
    json!({"environment": "sandbox", "shortcode": "174379", "consumer_key": "key", "consumer_secret": secret,
        "passkey": "passkey-of-the-test", "initiator_name": "api", "initiator_password": "password-of-the-test",
        "certificate": CERTIFICATE})
}

async fn what_doctor_says(db: TestStore) {
    let simulator = Simulator::start(SimulatorSettings::new(SocketAddr::from((
        [127, 0, 0, 1],
        0,
    ))))
    .await
    .unwrap();
    let url = simulator.url();
    let providers = [
        ("MPESA_BASE_URL", url.as_str()),
        ("CLICKPESA_BASE_URL", url.as_str()),
    ];
    let place = Place::new(&db);

    let fresh = Examination::of(&place, &providers);
    assert_eq!(fresh.code, 1);
    fresh.says("migrations", "failing", "0001_initial");

    place.json(&["migrate", "--json"], "");
    let partner = place.json(&["partner", "create", "--name", "Kilimo", "--json"], "");
    let partner = partner["id"].as_str().unwrap().to_owned();
    let create = |provider: &str, credentials: &Value| {
        let arguments = [
            "account",
            "create",
            "--partner",
            &partner,
            "--provider",
            provider,
        ];
        let arguments: Vec<&str> = arguments
            .into_iter()
            .chain(["--credentials", "-", "--json"])
            .collect();
        place.json(&arguments, &credentials.to_string())["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let good = create("mpesa", &mpesa("secret-of-the-test"));
    let well = Examination::of(&place, &providers);
    assert_eq!(well.code, 0, "{}", well.text);
    for check in ["settings", "master key", "database", "migrations", "clock"] {
        assert_eq!(well.verdicts(check)[0].0, "ok", "{}", well.text);
    }
    well.says(&format!("account {good}"), "ok", "gave a token");
    well.says("callback URL", "warning", "PUBLIC_URL is not set");
    well.says("production", "warning", "sandbox");

    let wrong = create("mpesa", &mpesa("wrong"));
    let clickpesa = create(
        "clickpesa",
        &json!({"environment": "production", "client_id": "ID", "api_key": "key-of-the-test"}),
    );
    let ill = Examination::of(
        &place,
        &[
            providers[0],
            providers[1],
            ("PUBLIC_URL", "http://127.0.0.1:9"),
        ],
    );
    assert_eq!(ill.code, 1);
    ill.says(&format!("account {wrong}"), "failing", "refuses");
    ill.says(&format!("account {clickpesa}"), "warning", "checksum_key");
    ill.says(
        &format!("production, account {clickpesa}"),
        "warning",
        "ever succeeded",
    );
    ill.says("callback URL", "failing", "not https");
    assert!(!ill.text.contains("of-the-test"), "{}", ill.text);

    let other_key = new_master_key().unwrap();
    let locked = Examination::of(
        &place,
        &[providers[0], providers[1], ("MASTER_KEY", &other_key)],
    );
    assert_eq!(locked.code, 1);
    locked.says(&format!("account {good}"), "failing", "cannot be opened");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_is_wrong_on_sqlite() {
    what_doctor_says(TestStore::sqlite_unmigrated().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_is_wrong_on_postgres() {
    what_doctor_says(TestStore::postgres_unmigrated().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_cannot_be_read_is_a_finding() {
    let place = Place::new(&TestStore::sqlite_unmigrated().await);
    let examined = Examination::of(&place, &[("RECONCILE_AFTER", "soon")]);
    assert_eq!(examined.code, 1);
    examined.says("settings", "failing", "RECONCILE_AFTER");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_could_never_work_are_refused_when_they_are_saved() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let partner = place.json(&["partner", "create", "--name", "Kilimo", "--json"], "");
    let partner = partner["id"].as_str().unwrap().to_owned();
    let mut credentials = mpesa("secret-of-the-test");
    credentials["certificate"] = json!("no certificate");
    let arguments = [
        "account",
        "create",
        "--partner",
        &partner,
        "--provider",
        "mpesa",
        "--credentials",
        "-",
    ];
    let problem = place.fails(2, &arguments, &credentials.to_string());
    assert!(problem.contains("certificate"), "{problem}");
    assert!(!problem.contains("of-the-test"), "{problem}");
    assert_eq!(db.count("FROM provider_accounts").await, 0);
}
