//! A new master key: everything sealed moves to it while the service runs with both.

use serde_json::Value;
use ussd_status::vault::new_master_key;

use crate::support::TestStore;
use crate::support::program::{Place, customer, webhook_to_nobody};

on_both_databases!(
    every_secret_moves_to_the_new_key,
    a_key_that_opens_nothing_changes_nothing
);

/// The previous key's line of `doctor`.
fn doctor(place: &Place) -> String {
    let output = place.command(&["doctor", "--json"]).output().unwrap();
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = object["findings"].as_array().unwrap();
    let line = findings
        .iter()
        .find(|finding| finding["check"] == "previous master key");
    line.map_or_else(String::new, |line| {
        format!("{} {}", line["verdict"], line["why"])
    })
}

async fn every_secret_moves_to_the_new_key(db: TestStore) {
    let (old, new) = (new_master_key().unwrap(), new_master_key().unwrap());
    let before = Place::under(&old, &db, &[]);
    let customer = customer(&before);
    webhook_to_nobody(&before, &customer);
    let listed = before.json(
        &["webhook", "list", "--partner", &customer.id, "--json"],
        "",
    );
    let endpoint = listed["endpoints"][0]["id"].as_str().unwrap();
    before.json(&["webhook", "rotate-secret", endpoint, "--json"], "");
    assert_eq!(doctor(&before), "");
    let without = before.fails(2, &["rekey"], "");
    assert!(without.contains("MASTER_KEY_PREVIOUS"), "{without}");

    let both = Place::under(&new, &db, &[("MASTER_KEY_PREVIOUS", &old)]);
    let service = both.serve();
    assert!(
        doctor(&both).contains("3 values are still sealed under it"),
        "{}",
        doctor(&both)
    );
    let done = both.json(&["rekey", "--json"], "");
    assert_eq!((&done["resealed"], &done["values"]), (&3.into(), &3.into()));
    assert!(doctor(&both).contains("nothing is sealed under it"));
    let again = both.json(&["rekey", "--json"], "");
    assert_eq!(
        (&again["resealed"], &again["values"]),
        (&0.into(), &3.into())
    );
    drop(service);

    // The new key alone opens everything, the old one nothing.
    drop(Place::under(&new, &db, &[]).serve());
    let refused = before.fails(2, &["serve", "--listen", "127.0.0.1:0"], "");
    assert!(refused.contains("does not open"), "{refused}");
    let lines = db
        .lines("SELECT subject AS line FROM audit_log WHERE action = 'rekey' ORDER BY id")
        .await;
    assert_eq!(lines, ["3 values", "0 values"]);
}

async fn a_key_that_opens_nothing_changes_nothing(db: TestStore) {
    let before = Place::new(&db);
    customer(&before);
    let sealed = "SELECT CAST(length(sealed_credentials) AS TEXT) || md AS line FROM \
         (SELECT sealed_credentials, callback_token AS md FROM provider_accounts) AS a";
    let kept = db.lines(sealed).await;
    let strangers = new_master_key().unwrap();
    let previous = new_master_key().unwrap();
    let place = Place::under(&strangers, &db, &[("MASTER_KEY_PREVIOUS", &previous)]);
    let refused = place.fails(1, &["rekey"], "");
    assert!(refused.contains("opens with neither"), "{refused}");
    assert_eq!(db.lines(sealed).await, kept);
    drop(before.serve());
}
