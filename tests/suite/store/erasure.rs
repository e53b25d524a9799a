//! A phone number is blanked wherever it stands, and nothing else is.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ussd_status::domain::identity::PartnerId;
use ussd_status::domain::ledger::Arrival;
use ussd_status::domain::status_update::ResultClass;
use ussd_status::domain::timeline::TimelineKind;
use ussd_status::store::ERASURE_BATCH;

use crate::support::TestStore;
use crate::support::build::{
    everything, msisdn, partner as new_partner, registration, registration_with, stk,
};
use crate::support::program::Place;

on_both_databases!(
    a_number_is_blanked_everywhere,
    what_may_still_change_keeps_its_number_until_it_is_final,
    an_id_that_holds_the_number_stays_and_is_told_of,
    more_rows_than_one_batch_are_gone_through,
);

const NUMBER: &str = "254712345678";

fn digest() -> String {
    Sha256::digest(NUMBER)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Literals that differ between the databases.
fn now(db: &TestStore) -> &'static str {
    if db.is_sqlite() {
        "1700000000000000"
    } else {
        "to_timestamp(1700000000)"
    }
}

fn bytes(db: &TestStore, text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    if db.is_sqlite() {
        format!("x'{hex}'")
    } else {
        format!("'\\x{hex}'")
    }
}

/// Everything of a partner's rows (`Some`), or of rows without one, as text.
async fn everything_of(db: &TestStore, partner: Option<PartnerId>) -> String {
    let condition = partner.map_or("IS NULL".to_owned(), |id| format!("= '{id}'"));
    let body = if db.is_sqlite() {
        "CAST(body AS TEXT)"
    } else {
        "encode(body, 'escape')"
    };
    let mut all = String::new();
    let inbox = format!("{body}, note, news, digest");
    for (table, columns) in [
        (
            "transactions",
            "msisdn, payer_key, account_reference, customer_id, tenant_id, result_description",
        ),
        ("transaction_events", "msisdn, note, result_description"),
        ("payments", "digest, reference, message, customer_message"),
        ("delivery_attempts", "error, response"),
        ("callbacks", inbox.as_str()),
        ("audit_log", "subject, action"),
    ] {
        let from = format!("FROM {table} WHERE partner_id {condition}");
        for row in db.rows(&[columns], &from).await {
            all.push_str(&format!("{table} {}\n", Value::from(row)));
        }
    }
    all
}

fn erase(place: &Place, partner: PartnerId) -> Value {
    let id = partner.to_string();
    place.json(
        &[
            "partner",
            "erase-msisdn",
            "--partner",
            &id,
            "--msisdn",
            "+254 712 345 678",
            "--json",
        ],
        "",
    )
}

async fn callback(db: &TestStore, partner: Option<PartnerId>, body: &str) {
    let partner = partner.map_or("NULL".to_owned(), |id| format!("'{id}'"));
    db.execute(&format!(
        "INSERT INTO callbacks (id, partner_id, provider, kind, state, received_at, digest, body, note) \
         VALUES ('{}', {partner}, 'mpesa', 'stk', 'applied', {}, 'old digest', {}, 'from 0712345678')",
        uuid::Uuid::now_v7(),
        now(db),
        bytes(db, body)
    ))
    .await;
}

async fn a_number_is_blanked_everywhere(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    for owner in [partner, other] {
        let payment = db.register(registration_with(owner, "R1", "C1")).await;
        db.receive(stk(owner, "C1", ResultClass::Success, db.now()))
            .await;
        db.execute(&format!(
            "UPDATE transactions SET account_reference = '0712345678', customer_id = '+{NUMBER}', payer_key = '{}', \
             result_description = 'Paid by {NUMBER}.' WHERE partner_id = '{owner}' AND id = '{}'",
            digest(),
            payment.id
        ))
        .await;
        db.execute(&format!(
            "INSERT INTO payments (partner_id, transaction_id, account_id, digest, reference, outcome, code, message, \
             customer_message, is_retryable, created_at) VALUES ('{owner}', '{}', '{}', 'old digest', '0712345678', 'accepted', '0', \
             'sent to {NUMBER}', NULL, false, {})",
            payment.id,
            payment.id,
            now(&db)
        ))
        .await;
        db.execute(&format!(
            "INSERT INTO delivery_attempts (partner_id, delivery_id, number, at, duration_ms, status, error, response) \
             VALUES ('{owner}', '{}', 1, {}, 5, 200, NULL, '{{\"phone\": {NUMBER}}}')",
            payment.id,
            now(&db)
        ))
        .await;
        callback(
            &db,
            Some(owner),
            &format!("{{\"Phone\":{NUMBER},\"Till\":\"0712345678\"}}"),
        )
        .await;
    }
    callback(&db, None, &format!("MSISDN={}", digest().to_uppercase())).await;
    let mut stranger = registration(partner, "R2");
    stranger.msisdn = Some(msisdn(99_999_999));
    db.register(stranger).await;
    let held = everything_of(&db, Some(other)).await;
    let others = everything_of(&db, None).await;
    assert!(others.contains(&digest().to_uppercase()), "{others}");

    let place = Place::new(&db);
    let done = erase(&place, partner);
    assert_eq!(
        (&done["done"], &done["open"]),
        (&json!(true), &json!(0)),
        "{done}"
    );
    assert_eq!(
        done["erased"],
        json!({"transactions": 1, "events": 2, "payments": 1, "delivery_attempts": 1, "callbacks": 2})
    );
    let mine = everything_of(&db, Some(partner)).await + &everything_of(&db, None).await;
    for trace in [
        "712345678",
        &digest(),
        &digest().to_uppercase(),
        "old digest",
    ] {
        assert!(!mine.contains(trace), "{trace}: {mine}");
    }
    assert!(
        mine.contains("254799999999") && mine.contains("2547*****678"),
        "{mine}"
    );
    assert!(
        mine.contains(r#"{\"Phone\":null,\"Till\":\"**********\"}"#),
        "{mine}"
    );
    assert_eq!(
        everything_of(&db, Some(other)).await,
        held,
        "another partner's rows"
    );
    // Nothing is left to be done, and the status can still be asked for.
    assert!(
        erase(&place, partner)["erased"]
            .as_object()
            .unwrap()
            .values()
            .all(|count| *count == 0)
    );
    let listed = db.list(partner, everything()).await;
    assert_eq!(
        (listed.total, listed.transactions[1].msisdn.clone()),
        (2, None)
    );
}

async fn what_may_still_change_keeps_its_number_until_it_is_final(db: TestStore) {
    let partner = db.partner().await;
    let payment = db.register(registration_with(partner, "R1", "C1")).await;
    let early = stk(partner, "C2", ResultClass::Success, db.now());
    let early = Arrival {
        body: NUMBER.as_bytes().to_vec(),
        ..early
    };
    db.receive(early).await;
    let place = Place::new(&db);
    let kept = erase(&place, partner);
    assert_eq!(
        (&kept["done"], &kept["open"]),
        (&json!(false), &json!(1)),
        "{kept}"
    );
    assert_eq!(db.find(&payment).await.0.msisdn, Some(msisdn(12_345_678)));
    let body = everything_of(&db, Some(partner)).await;
    assert!(
        body.contains(NUMBER),
        "a callback that waits is kept whole: {body}"
    );

    db.receive(stk(partner, "C1", ResultClass::Success, db.now()))
        .await;
    db.register(registration_with(partner, "R2", "C2")).await;
    let done = erase(&place, partner);
    assert_eq!(
        (&done["done"], &done["open"]),
        (&json!(true), &json!(0)),
        "{done}"
    );
    assert_eq!(db.find(&payment).await.0.msisdn, None);
    let rest = everything_of(&db, Some(partner)).await;
    assert!(!rest.contains("712345678"), "{rest}");
}

/// M-Pesa's id of a payment, as newer ones are made: its time and the payer's digits.
const CHECKOUT_ID: &str = "ws_CO_26112026101112345712345678";

async fn an_id_that_holds_the_number_stays_and_is_told_of(db: TestStore) {
    let partner = db.partner().await;
    let payment = db
        .register(registration_with(partner, "R1", CHECKOUT_ID))
        .await;
    db.register(registration_with(partner, "R2", "C2")).await;
    let body = format!("{{\"CheckoutRequestID\":\"{CHECKOUT_ID}\",\"PhoneNumber\":{NUMBER}}}");
    let told = |class| Arrival {
        body: body.clone().into_bytes(),
        ..stk(partner, CHECKOUT_ID, class, db.now())
    };
    db.receive(told(ResultClass::Success)).await;
    db.receive(stk(partner, "C2", ResultClass::Success, db.now()))
        .await;
    let place = Place::new(&db);
    let done = erase(&place, partner);
    assert_eq!(
        (&done["done"], &done["ids_kept"]),
        (&json!(true), &json!(1)),
        "{done}"
    );
    let id = partner.to_string();
    let again = [
        "partner",
        "erase-msisdn",
        "--partner",
        &id,
        "--msisdn",
        NUMBER,
    ];
    let said = String::from_utf8(place.run(&again, "").stdout).unwrap();
    assert!(said.contains("1 transactions keep an id"), "{said}");
    let rest = everything_of(&db, Some(partner)).await;
    assert!(
        !rest.replace(CHECKOUT_ID, "").contains("712345678"),
        "{rest}"
    );
    // A late callback still finds its payment.
    db.receive(told(ResultClass::Failed)).await;
    let (found, timeline) = db.find(&payment).await;
    assert_eq!(timeline.last().unwrap().kind, TimelineKind::Conflict);
    assert_eq!(
        (found.msisdn, found.ids.conversation_id.as_deref()),
        (None, Some(CHECKOUT_ID))
    );
}

async fn more_rows_than_one_batch_are_gone_through(db: TestStore) {
    let partner = db.partner().await;
    let many = ERASURE_BATCH * 2 + 3;
    let id = uuid::Uuid::now_v7();
    let rows: Vec<String> = (1..=many)
        .map(|number| {
            format!(
                "('{partner}', '{id}', {number}, {}, 5, 500, '{NUMBER} is busy', NULL)",
                now(&db)
            )
        })
        .collect();
    let columns = "partner_id, delivery_id, number, at, duration_ms, status, error, response";
    db.execute(&format!(
        "INSERT INTO delivery_attempts ({columns}) VALUES {}",
        rows.join(", ")
    ))
    .await;
    let done = erase(&Place::new(&db), partner);
    assert_eq!(done["erased"]["delivery_attempts"], many);
    assert_eq!(
        db.count("FROM delivery_attempts WHERE error = '************ is busy'")
            .await,
        many
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_without_its_country_is_refused() {
    let db = TestStore::sqlite().await;
    let id = db.partner().await.to_string();
    let place = Place::new(&db);
    for (number, complaint) in [
        ("0712345678", "without its country"),
        ("12", "is not a phone number"),
    ] {
        let refused = place.fails(
            2,
            &[
                "partner",
                "erase-msisdn",
                "--partner",
                &id,
                "--msisdn",
                number,
            ],
            "",
        );
        assert!(refused.contains(complaint), "{refused}");
    }
    let nobody = new_partner(db.now()).id.to_string();
    let refused = place.fails(
        1,
        &[
            "partner",
            "erase-msisdn",
            "--partner",
            &nobody,
            "--msisdn",
            NUMBER,
        ],
        "",
    );
    assert!(refused.contains("there is no partner"), "{refused}");
    assert_eq!(
        db.count("FROM audit_log WHERE action = 'partner.erase_msisdn'")
            .await,
        0
    );
}
