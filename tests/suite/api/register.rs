//! Registering what another system started, and attaching the provider's ids.

use serde_json::{Value, json};

use super::{STATUS, TRANSACTIONS, acknowledged, b2c_result, kinds, page};
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};

on_both_databases!(
    defaults_are_the_contracts,
    every_field_is_kept_as_given,
    the_same_again_is_the_same_transaction,
    another_content_under_the_same_id_names_the_field,
    amounts_are_read_digit_by_digit,
    numbers_of_both_countries_in_every_form,
    provider_ids_are_unique_per_partner_provider_and_field,
    patching_attaches_ids_once,
    racing_registrations_make_one_transaction,
);

fn body(id: &str) -> Value {
    json!({"client_request_id": id, "msisdn": "254712345678", "amount": 1200})
}

fn with(id: &str, fields: Value) -> Value {
    let mut body = body(id);
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn created(app: &TestApp, partner: &TestPartner, body: &Value) -> Value {
    app.post(partner, TRANSACTIONS, body).await.expect(201)["transaction"].clone()
}

fn path(transaction: &Value) -> String {
    format!(
        "{TRANSACTIONS}/{}",
        transaction["transaction_id"].as_str().unwrap()
    )
}

async fn defaults_are_the_contracts(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for (id, fields, kind, currency, msisdn) in [
        ("C1", json!({}), "b2c", "KES", "254712345678"),
        (
            "C2",
            json!({"provider": "mpesa"}),
            "b2c",
            "KES",
            "254712345678",
        ),
        (
            "C3",
            json!({"provider": "clickpesa", "msisdn": "0712345678"}),
            "ussd_push",
            "TZS",
            "255712345678",
        ),
        (
            "C4",
            json!({"provider": "clickpesa", "kind": "payout"}),
            "payout",
            "TZS",
            "254712345678",
        ),
        (
            "C5",
            json!({"currency": "UGX"}),
            "b2c",
            "UGX",
            "254712345678",
        ),
    ] {
        let answer = app.post(&partner, TRANSACTIONS, &with(id, fields)).await;
        let body = answer.expect(201);
        assert_eq!(body["success"], json!(true));
        assert!(body["message"].is_string());
        let row = &body["transaction"];
        for (name, value) in [
            ("kind", kind),
            ("currency", currency),
            ("msisdn", msisdn),
            ("origin", "ussd"),
            ("status", "queued"),
        ] {
            assert_eq!(row[name], value, "{id} {name}");
        }
        assert_eq!(row["partner_id"], partner.id.to_string());
        for name in [
            "conversation_id",
            "tenant_id",
            "customer_id",
            "account_reference",
            "order_reference",
            "result_code",
            "transaction_receipt",
        ] {
            assert!(row[name].is_null(), "{name}");
        }
    }
    for (field, words) in [
        ("provider", "mpesa, clickpesa"),
        ("kind", "stk_push, b2c, c2b, reversal, ussd_push, payout"),
        ("currency", "three capital letters"),
    ] {
        let text = app
            .post(&partner, TRANSACTIONS, &with("C9", json!({field: "kes"})))
            .await
            .refused(400, "VALIDATION_1002");
        assert!(text.contains(words) && text.contains("\"kes\""), "{text}");
    }
    for field in ["client_request_id", "msisdn", "amount"] {
        let mut body = body("C9");
        body.as_object_mut().unwrap().remove(field);
        let text = app
            .post(&partner, TRANSACTIONS, &body)
            .await
            .refused(400, "VALIDATION_1002");
        assert_eq!(text, format!("{field} is required"));
    }
    let text = app
        .post(
            &partner,
            TRANSACTIONS,
            &with("C9", json!({"status": "success"})),
        )
        .await
        .refused(400, "VALIDATION_1002");
    assert!(
        text.starts_with("\"status\"") && text.contains("originator_conversation_id"),
        "{text}"
    );
}

async fn every_field_is_kept_as_given(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let original = created(&app, &partner, &body("C0")).await;
    let fields = json!({
        "provider": "mpesa", "kind": "reversal", "currency": "KES", "origin": "web portal", "tenant_id": "T1",
        "customer_id": "CUST1", "account_reference": "INV-1", "conversation_id": "AG1",
        "originator_conversation_id": "O1", "order_reference": "ORD1",
        "original_transaction_id": original["transaction_id"],
    });
    let row = created(&app, &partner, &with("C1", fields.clone())).await;
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(&row[name], value, "{name}");
    }
    assert_eq!(row["status"], "accepted");
    let read = app.transaction(&partner, &row["transaction_id"]).await;
    assert_eq!(
        read["timeline"],
        json!([{"at": "2026-03-14T15:09:26.535Z", "kind": "registered", "from": null, "to": "accepted",
                "source": "api", "result_code": null, "note": null}])
    );
    // Any one of the provider's ids is an acceptance.
    for (id, field) in [
        ("D1", "conversation_id"),
        ("D2", "originator_conversation_id"),
        ("D3", "order_reference"),
    ] {
        let row = created(&app, &partner, &with(id, json!({field: id}))).await;
        assert_eq!(
            (&row["status"], &row[field]),
            (&json!("accepted"), &json!(id))
        );
    }
    let text = app
        .post(
            &partner,
            TRANSACTIONS,
            &with(
                "C2",
                json!({"original_transaction_id": original["transaction_id"]}),
            ),
        )
        .await
        .refused(400, "VALIDATION_1002");
    assert!(text.contains("reversal"), "{text}");
    let nobody = json!({"kind": "reversal", "original_transaction_id": "00000000-0000-7000-8000-000000000000"});
    app.post(&partner, TRANSACTIONS, &with("C2", nobody))
        .await
        .refused(400, "VALIDATION_1002");
}

async fn the_same_again_is_the_same_transaction(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    let first = created(
        &app,
        &partner,
        &with("C1", json!({"conversation_id": "AG1"})),
    )
    .await;
    for again in [
        json!({"conversation_id": "AG1"}),
        json!({"conversation_id": "AG1", "amount": "1200.00", "msisdn": "0712 345 678"}),
        json!({"conversation_id": "AG1", "amount": 1200.0, "provider": "mpesa", "kind": "b2c", "currency": "KES", "origin": "ussd"}),
        json!({"conversation_id": "AG1", "tenant_id": null}),
    ] {
        let body = app
            .post(&partner, TRANSACTIONS, &with("C1", again))
            .await
            .expect(200);
        assert_eq!(body["transaction"], first);
    }
    // Also when it has moved on: the answer is how it stands.
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let body = app
        .post(
            &partner,
            TRANSACTIONS,
            &with("C1", json!({"conversation_id": "AG1"})),
        )
        .await
        .expect(200);
    assert_eq!(body["transaction"]["status"], "success");
    assert_eq!(page(&app, &partner, "").await["pagination"]["total"], 1);
    assert_eq!(
        app.db
            .count("FROM transaction_events WHERE sequence IS NOT NULL")
            .await,
        2
    );
    // The id is the partner's own: another partner may use it too.
    let other = app.partner().await;
    let theirs = created(&app, &other, &with("C1", json!({"conversation_id": "AG1"}))).await;
    assert_ne!(theirs["transaction_id"], first["transaction_id"]);
}

async fn another_content_under_the_same_id_names_the_field(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let one = created(&app, &partner, &body("O1")).await;
    let two = created(&app, &partner, &body("O2")).await;
    let first = json!({
        "kind": "reversal", "tenant_id": "T", "customer_id": "C", "account_reference": "A", "conversation_id": "AG1",
        "originator_conversation_id": "OR1", "order_reference": "ORD1", "original_transaction_id": one["transaction_id"],
    });
    let row = created(&app, &partner, &with("C1", first.clone())).await;
    let id = row["transaction_id"].as_str().unwrap();
    for (field, value) in [
        ("msisdn", json!("254712345679")),
        ("msisdn", json!("255712345678")),
        ("amount", json!("1200.01")),
        ("currency", json!("TZS")),
        ("origin", json!("web")),
        ("tenant_id", json!("t")),
        ("tenant_id", Value::Null),
        ("customer_id", json!("D")),
        ("account_reference", json!("B")),
        ("conversation_id", json!("AG2")),
        ("conversation_id", Value::Null),
        ("originator_conversation_id", json!("OR2")),
        ("order_reference", json!("ORD2")),
        ("original_transaction_id", two["transaction_id"].clone()),
        ("provider", json!("clickpesa")),
    ] {
        let mut again = with("C1", first.clone());
        again[field] = value;
        if field == "provider" {
            again["currency"] = json!("KES");
        }
        let answer = app.post(&partner, TRANSACTIONS, &again).await;
        let text = answer.refused(409, "CONFLICT_1001");
        assert!(
            text.starts_with("client_request_id") && text.contains(field) && text.contains(id),
            "{field}: {text}"
        );
        assert_eq!(answer.json()["details"][0]["field"], "client_request_id");
    }
    let mut other_kind = with("C1", first);
    other_kind["kind"] = json!("b2c");
    other_kind
        .as_object_mut()
        .unwrap()
        .remove("original_transaction_id");
    let text = app
        .post(&partner, TRANSACTIONS, &other_kind)
        .await
        .refused(409, "CONFLICT_1001");
    assert!(text.contains("kind"), "{text}");
    assert_eq!(
        app.transaction(&partner, &row["transaction_id"]).await["timeline"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

async fn amounts_are_read_digit_by_digit(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for (number, (sent, printed)) in [
        ("0.01", "0.01"),
        ("\"0.01\"", "0.01"),
        ("1", "1.00"),
        ("1.0", "1.00"),
        ("1.10", "1.10"),
        ("\"007.5\"", "7.50"),
        ("0.1", "0.10"),
        ("4503599627370497.5", ""),
        ("999999999999.99", "999999999999.99"),
        ("\"999999999999.99\"", "999999999999.99"),
        ("90071992547.41", "90071992547.41"),
        ("0", ""),
        ("\"0.00\"", ""),
        ("-0", ""),
        ("-1", ""),
        ("\"-0.01\"", ""),
        ("0.001", ""),
        ("1.000", ""),
        ("\"1.999\"", ""),
        ("1e3", ""),
        ("1E+3", ""),
        ("1.5e2", ""),
        ("\"1e3\"", ""),
        ("1000000000000", ""),
        ("1000000000000.00", ""),
        ("1e400", ""),
        ("99999999999999999999999999999999", ""),
        ("\"1,200\"", ""),
        ("\" 12\"", ""),
        ("\"+12\"", ""),
        ("\".5\"", ""),
        ("\"5.\"", ""),
        ("\"NaN\"", ""),
        ("\"\u{661}\"", ""),
        ("\"0x10\"", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let body =
            format!(r#"{{"client_request_id":"A{number}","msisdn":"0712345678","amount":{sent}}}"#);
        let headers = [("x-api-key", partner.key.as_str())];
        let answer = app
            .send(
                reqwest::Method::POST,
                TRANSACTIONS,
                &headers,
                Some(body.into_bytes()),
            )
            .await;
        if printed.is_empty() {
            let text = answer.refused(400, "VALIDATION_1002");
            assert!(
                text.starts_with("amount is") && text.contains("0.01 to 999999999999.99"),
                "{sent}: {text}"
            );
        } else {
            answer.expect(201);
            assert!(
                answer.text.contains(&format!("\"amount\":{printed},")),
                "{sent}: {}",
                answer.text
            );
        }
    }
    let answer = app.get(&partner, STATUS).await;
    // 0.01 + 0.01 + 1 + 1 + 1.10 + 7.50 + 0.10 + 2 × 999,999,999,999.99 + 90,071,992,547.41
    assert!(
        answer.text.contains(r#""total_amount":2090071992558.11"#),
        "{}",
        answer.text
    );
}

async fn numbers_of_both_countries_in_every_form(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for (number, (provider, sent, kept)) in [
        ("mpesa", "254712345678", "254712345678"),
        ("mpesa", "+254712345678", "254712345678"),
        ("mpesa", "+254 712-345-678", "254712345678"),
        ("mpesa", "0712345678", "254712345678"),
        ("mpesa", "0112 345 678", "254112345678"),
        ("mpesa", "255712345678", "255712345678"),
        ("clickpesa", "0612345678", "255612345678"),
        ("clickpesa", "+255 612 345 678", "255612345678"),
        ("clickpesa", "254712345678", "254712345678"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = with(
            &format!("M{number}"),
            json!({"provider": provider, "msisdn": sent}),
        );
        assert_eq!(
            created(&app, &partner, &body).await["msisdn"],
            kept,
            "{provider} {sent}"
        );
    }
    for wrong in [
        "712345678",
        "25471234567",
        "2547123456789",
        "256712345678",
        "+0712345678",
        "2547 ***** 126",
        "07123 45678x",
        "0712.345.678",
    ] {
        let text = app
            .post(&partner, TRANSACTIONS, &with("W", json!({"msisdn": wrong})))
            .await
            .refused(400, "VALIDATION_1002");
        assert!(
            text.starts_with("msisdn") && text.contains("+254 712 345 678"),
            "{text}"
        );
    }
}

async fn provider_ids_are_unique_per_partner_provider_and_field(db: TestStore) {
    let app = TestApp::start(db).await;
    let (partner, other) = (app.partner().await, app.partner().await);
    for (number, field) in [
        "conversation_id",
        "originator_conversation_id",
        "order_reference",
    ]
    .into_iter()
    .enumerate()
    {
        let first = created(
            &app,
            &partner,
            &with(&format!("A{number}"), json!({field: "X"})),
        )
        .await;
        let holder = first["transaction_id"].as_str().unwrap();
        let answer = app
            .post(
                &partner,
                TRANSACTIONS,
                &with(&format!("B{number}"), json!({field: "X"})),
            )
            .await;
        let text = answer.refused(409, "CONFLICT_1001");
        assert!(text.starts_with(field) && text.contains(holder), "{text}");
        assert_eq!(answer.json()["details"][0]["field"], field);
        let free = created(&app, &partner, &body(&format!("C{number}"))).await;
        let text = app
            .patch(&partner, &path(&free), &json!({field: "X"}))
            .await
            .refused(409, "CONFLICT_1001");
        assert!(text.starts_with(field) && text.contains(holder), "{text}");
        // Of another provider, or another partner, it is another id.
        created(
            &app,
            &partner,
            &with(
                &format!("D{number}"),
                json!({field: "X", "provider": "clickpesa"}),
            ),
        )
        .await;
        created(
            &app,
            &other,
            &with(&format!("A{number}"), json!({field: "X"})),
        )
        .await;
    }
    // Nothing of what was refused is left behind.
    assert_eq!(page(&app, &partner, "").await["pagination"]["total"], 9);
    assert_eq!(
        page(&app, &partner, "conversation_id=X").await["pagination"]["total"],
        6
    );
}

async fn patching_attaches_ids_once(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let row = created(&app, &partner, &body("C1")).await;
    app.db.advance(chrono::Duration::seconds(1));
    let patch = async |body: Value| app.patch(&partner, &path(&row), &body).await;
    for (body, code) in [
        (json!({}), "VALIDATION_1002"),
        (json!({"conversation_id": null}), "VALIDATION_1002"),
        (json!({"conversation_id": ""}), "VALIDATION_1002"),
        (json!({"status": "success"}), "VALIDATION_1002"),
        (
            json!({"conversation_id": "AG1", "amount": 5}),
            "VALIDATION_1002",
        ),
        (json!({"conversation_id": 5}), "VALIDATION_1003"),
        (json!([]), "VALIDATION_1003"),
    ] {
        patch(body).await.refused(400, code);
    }
    let patched = patch(json!({"conversation_id": "AG1"})).await.expect(200);
    assert_eq!(patched["success"], json!(true));
    let patched = &patched["transaction"];
    assert_eq!(
        (&patched["status"], &patched["conversation_id"]),
        (&json!("accepted"), &json!("AG1"))
    );
    assert_eq!(patched["updated_at"], "2026-03-14T15:09:27.535Z");
    app.db.advance(chrono::Duration::seconds(1));
    let again = patch(json!({"conversation_id": "AG1"})).await.expect(200);
    assert_eq!(&again["transaction"], patched);
    let text = patch(json!({"conversation_id": "AG2"}))
        .await
        .refused(409, "CONFLICT_1001");
    assert!(text.starts_with("conversation_id"), "{text}");
    // One wrong id among good ones attaches none.
    patch(json!({"order_reference": "ORD1", "conversation_id": "AG2"}))
        .await
        .refused(409, "CONFLICT_1001");
    let both = patch(json!({"order_reference": "ORD1", "originator_conversation_id": "O1"}))
        .await
        .expect(200);
    assert_eq!(both["transaction"]["order_reference"], "ORD1");
    let read = app.transaction(&partner, &row["transaction_id"]).await;
    assert_eq!(
        kinds(&read),
        ["registered", "status_changed", "ids_attached"]
    );
    assert_eq!(
        read["timeline"][1],
        json!({"at": "2026-03-14T15:09:27.535Z", "kind": "status_changed", "from": "queued", "to": "accepted",
               "source": "api", "result_code": null, "note": null})
    );
    for nobody in ["x", "00000000-0000-7000-8000-000000000000"] {
        let path = format!("{TRANSACTIONS}/{nobody}");
        app.patch(&partner, &path, &json!({"conversation_id": "AG9"}))
            .await
            .refused(404, "NOT_FOUND_1001");
        app.get(&partner, &path)
            .await
            .refused(404, "NOT_FOUND_1001");
    }
}

async fn racing_registrations_make_one_transaction(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let same = with("C1", json!({"conversation_id": "AG1"}));
    let rival = with("C2", json!({"conversation_id": "AG1"}));
    let answers = futures_util::future::join_all((0..16).map(|number| {
        let body = if number % 4 == 3 { &rival } else { &same };
        app.post(&partner, TRANSACTIONS, body)
    }))
    .await;
    let count = |status: u16| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!(count(201), 1, "{answers:?}");
    assert_eq!(count(200) + count(409), 15);
    assert!(matches!(count(409), 4 | 12));
    assert_eq!(page(&app, &partner, "").await["pagination"]["total"], 1);
}
