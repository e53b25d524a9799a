//! The real binary, killed while partners have its requests before them and have not answered.

use std::collections::BTreeMap;
use std::time::Duration;

use ussd_status::simulator::receiver::{Fault, ReceivedWebhook, Receiver};

use crate::support::TestStore;
use crate::support::program::{Customer, Place, Program, client, customer, registration};

on_both_databases!(what_was_under_way_is_sent_again_in_order_and_under_its_id);

const PAYMENTS: usize = 12;
/// Each is registered, and succeeds.
const EVENTS: usize = 2 * PAYMENTS;
/// What an endpoint gets at once unless it asks for something else.
const AT_ONCE: usize = 8;
/// A dead process's lease holds 30 s where others might be alive.
const PATIENCE: Duration = Duration::from_secs(75);

async fn pay(program: &Program, customer: &Customer) {
    let client = client();
    for number in 0..PAYMENTS {
        let name = format!("HELD-{number}");
        let register = client
            .post(format!("{}/api/ussd/transactions", program.base()))
            .header("x-api-key", &customer.key)
            .body(registration(&name));
        let result = client
            .post(format!("{}{}", program.base(), customer.callbacks))
            .body(crate::api::b2c_result(&name, 0));
        for request in [register, result] {
            assert!(request.send().await.unwrap().status().is_success());
        }
    }
}

async fn what_was_under_way_is_sent_again_in_order_and_under_its_id(db: TestStore) {
    let place = Place::new(&db);
    let customer = customer(&place);
    let address = ([127, 0, 0, 1], 0).into();
    let (receiver, mut arrivals) = Receiver::start(address, ussd_status::simulator::system_time())
        .await
        .unwrap();
    let url = receiver.url("kilimo");
    let arguments = [
        "webhook",
        "create",
        "--partner",
        &customer.id,
        "--url",
        &url,
    ];
    let webhook = place.json(&[&arguments[..], &["--json"]].concat(), "");
    assert!(receiver.set_secrets("kilimo", &[webhook["secret"].as_str().unwrap()]));
    receiver.set_fault("kilimo", Fault::Hang(PATIENCE * 4), None);

    let mut next = async || {
        let webhook = tokio::time::timeout(PATIENCE, arrivals.recv()).await;
        let webhook = webhook.expect("every webhook").unwrap();
        assert!(webhook.verified, "{webhook:?}");
        webhook
    };
    let mut program = place.serve();
    pay(&program, &customer).await;
    let mut held: BTreeMap<String, ReceivedWebhook> = BTreeMap::new();
    while held.len() < AT_ONCE {
        let webhook = next().await;
        held.insert(webhook.webhook_id.clone(), webhook);
    }
    program.signal("-KILL");
    assert_eq!(program.end(Duration::from_secs(10)).0, None);
    receiver.clear_fault("kilimo");

    // The partner had them all, and nobody knows: each comes again, the same, and what follows it after it.
    let program = place.serve();
    let mut heard: BTreeMap<String, Vec<ReceivedWebhook>> = BTreeMap::new();
    let mut again = 0;
    for _ in 0..EVENTS {
        let webhook = next().await;
        if let Some(before) = held.remove(&webhook.webhook_id) {
            assert_eq!((webhook.attempt, &webhook.body), (2, &before.body));
            again += 1;
        } else {
            assert_eq!(webhook.attempt, 1, "{webhook:?}");
        }
        let transaction = webhook.transaction_id.clone().unwrap();
        heard.entry(transaction).or_default().push(webhook);
    }
    assert_eq!((again, heard.len()), (AT_ONCE, PAYMENTS));
    for events in heard.values() {
        let types: Vec<_> = events.iter().map(|one| one.event_type.as_deref()).collect();
        let expected = [Some("transaction.registered"), Some("transaction.success")];
        assert_eq!(types, expected);
        assert!(events[0].sequence < events[1].sequence);
        assert_ne!(events[0].webhook_id, events[1].webhook_id);
    }
    drop(program);
}
