//! `reconcile --once`, the real binary: asks about all that is due, says what came of it, and lists what is stuck.

use std::time::Duration;

use serde_json::{Value, json};
use ussd_status::domain::money::Currency;
use ussd_status::domain::msisdn::Msisdn;
use ussd_status::domain::transaction::{Kind, Provider, ProviderIds, Transaction};
use ussd_status::simulator::{Simulator, SimulatorSettings};

use crate::support::TestStore;
use crate::support::build::registration;
use crate::support::program::{Place, client};

on_both_databases!(once_asks_what_is_due_and_tells_what_is_stuck);

/// Everything is due: the store's clock stands months before the program's. Asked about for so long that it is not
/// stuck for that.
const FOR_A_YEAR: (&str, &str) = ("RECONCILE_FOR", "365d");

fn reconcile(place: &Place, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = place.command(&[&["reconcile", "--once"], arguments].concat());
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{problem}");
    String::from_utf8(output.stdout).unwrap()
}

/// Pays at the simulator, as another system does, and registers it.
async fn pay(db: &TestStore, partner: &str, url: &str, reference: &str) -> Transaction {
    let token: Value = client()
        .post(format!("{url}/third-parties/generate-token"))
        .header("client-id", "client")
        .header("api-key", "key")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let path = "third-parties/payments/initiate-ussd-push-request";
    let answer = client()
        .post(format!("{url}/{path}"))
        .header("authorization", token["token"].as_str().unwrap())
        .json(&json!({
            "amount": "1500", "currency": "TZS", "orderReference": reference, "phoneNumber": "255712340404",
        }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    register(db, partner, reference).await
}

async fn register(db: &TestStore, partner: &str, reference: &str) -> Transaction {
    let mut payment = registration(partner.parse().unwrap(), reference);
    payment.provider = Provider::Clickpesa;
    payment.kind = Kind::UssdPush;
    payment.currency = Currency::tzs();
    payment.msisdn = Msisdn::from_international("255712340404").ok();
    payment.ids = ProviderIds {
        order_reference: Some(reference.to_owned()),
        ..ProviderIds::default()
    };
    db.register(payment).await
}

async fn once_asks_what_is_due_and_tells_what_is_stuck(db: TestStore) {
    let mut settings = SimulatorSettings::new("127.0.0.1:0".parse().unwrap());
    settings.callback_delay = Duration::from_millis(1)..=Duration::from_millis(5);
    let simulator = Simulator::start(settings).await.unwrap();
    let url = simulator.url();
    let place = Place::new(&db);
    let partner = place.json(&["partner", "create", "--name", "Kilimo", "--json"], "");
    let partner = partner["id"].as_str().unwrap();
    let account = [
        "account",
        "create",
        "--partner",
        partner,
        "--provider",
        "clickpesa",
        "--credentials",
        "-",
        "--json",
    ];
    let credentials = r#"{"environment":"sandbox","client_id":"client","api_key":"key"}"#;
    place.json(&account, credentials);
    let environment = [FOR_A_YEAR, ("CLICKPESA_BASE_URL", url.as_str())];

    pay(&db, partner, &url, "RECON1").await;
    simulator.until_quiet().await;
    let said = reconcile(&place, &["--json"], &environment);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        said,
        json!({"asked": 1, "answered": 1, "settled": 1, "postponed": 0, "stuck_total": 0, "stuck": []})
    );
    let second = pay(&db, partner, &url, "RECON2").await;
    simulator.until_quiet().await;
    let said = reconcile(&place, &[], &environment);
    let line = format!("reconciled  {}  success\n", second.id);
    assert!(said.starts_with(&line), "{said}");

    let lost = register(&db, partner, "NOBODYKNOWS").await;
    let said = reconcile(&place, &["--json"], &environment[1..]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["asked"], &said["stuck_total"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(said["stuck"][0]["transaction_id"], lost.id.to_string());
    assert_eq!(said["stuck"][0]["provider"], "clickpesa");
    simulator.stop().await;
}
