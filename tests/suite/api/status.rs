//! The status API document, to the letter.

use serde_json::{Value, json};

use super::{STATUS, TRANSACTIONS, acknowledged, assert_order, b2c_result, fixture, ids, page};
use crate::support::TestStore;
use crate::support::app::TestApp;

on_both_databases!(
    an_answer_has_every_documented_field_in_its_type,
    every_documented_field_is_there_in_the_documented_order,
    unknown_values_are_null_and_an_empty_list_is_200,
    statistics_cover_the_whole_partner_and_leave_reversals_out,
    the_query_is_echoed_with_numbers_normalised,
    every_filter_alone_and_all_together,
    pages_walk_by_offset_and_by_cursor_to_the_same_rows,
    bulk_answers_in_the_order_asked_each_row_once,
    bulk_has_the_documented_shape,
);

async fn an_answer_has_every_documented_field_in_its_type(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    let registered = app
        .register(
            &partner,
            json!({
                "client_request_id": "KULMNA-2025-01-10-000123",
                "conversation_id": "AG_20240706_2010364430d9bbdaf872",
                "tenant_id": "KULMNA_TENANT",
                "customer_id": "CUST456",
            }),
        )
        .await;
    assert_eq!(registered["status"], "accepted");
    let body = std::fs::read("tests/fixtures/mpesa-b2c-success-1.json").unwrap();
    let answer = app.callback(&account, "b2c-result", body).await;
    assert_eq!(answer.text, r#"{"ResultCode":0,"ResultDesc":"Accepted"}"#);

    let answer = app
        .get(
            &partner,
            "/api/ussd/transaction-status?conversation_id=AG_20240706_2010364430d9bbdaf872",
        )
        .await;
    let body = answer.expect(200);
    let row = &body["transactions"][0];
    assert_eq!(row["status"], "success", "{}", answer.text);
    assert_eq!(row["transaction_receipt"], "SG632NMUAB");
    assert_eq!(row["result_code"], "0");
    assert!(
        answer.text.contains(r#""amount":1200.00"#),
        "{}",
        answer.text
    );
    assert_eq!(body["statistics"]["success_rate"], "100.00");
    assert_eq!(body["pagination"]["total"], 1);
    assert_eq!(body["message"], "Transaction status retrieved successfully");
    assert_eq!(body["query"]["client_request_id"], Value::Null);
}

/// The fifteen documented fields of a transaction.
const ROW: [&str; 15] = [
    "transaction_id",
    "conversation_id",
    "client_request_id",
    "origin",
    "tenant_id",
    "customer_id",
    "msisdn",
    "amount",
    "status",
    "result_code",
    "result_description",
    "transaction_receipt",
    "created_at",
    "updated_at",
    "partner_id",
];

/// `2025-01-10T12:34:56.789Z`.
fn is_timestamp(value: &Value) -> bool {
    let text = value.as_str().unwrap();
    text.len() == 24
        && text.ends_with('Z')
        && text.as_bytes()[19] == b'.'
        && chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

async fn every_documented_field_is_there_in_the_documented_order(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    let fields = json!({
        "client_request_id": "KULMNA-2025-01-10-000123",
        "conversation_id": "AG_20240706_2010364430d9bbdaf872",
        "tenant_id": "KULMNA_TENANT", "customer_id": "CUST456", "msisdn": "254700000000",
    });
    let registered = app.register(&partner, fields).await;
    app.db.advance(chrono::Duration::milliseconds(5_334));
    acknowledged(&app, &account, "b2c-result", fixture("mpesa-b2c-success-1")).await;
    let answer = app.get(&partner, STATUS).await;
    let body = answer.expect(200);
    let mut names = vec![
        "success",
        "message",
        "partner",
        "id",
        "name",
        "query",
        "conversation_id",
        "client_request_id",
        "msisdn",
        "transaction_id",
        "status",
        "limit",
        "offset",
        "pagination",
        "total",
        "limit",
        "offset",
        "has_more",
        "transactions",
    ];
    names.extend(ROW);
    names.extend([
        "statistics",
        "total_transactions",
        "successful_transactions",
        "pending_transactions",
        "failed_transactions",
        "success_rate",
        "total_amount",
        "successful_amount",
        "recent_activity_24h",
        "status_definitions",
        "queued",
        "accepted",
        "success",
        "failed",
        "timestamp",
    ]);
    assert_order(&answer, &names);
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json")
    );
    assert_eq!(body["success"], json!(true));
    let partner_id = json!(partner.id.to_string());
    assert_eq!(body["partner"], json!({"id": partner_id, "name": "Kilimo"}));
    let row = &body["transactions"][0];
    for (name, value) in [
        ("transaction_id", &registered["transaction_id"]),
        (
            "conversation_id",
            &json!("AG_20240706_2010364430d9bbdaf872"),
        ),
        ("client_request_id", &json!("KULMNA-2025-01-10-000123")),
        ("origin", &json!("ussd")),
        ("tenant_id", &json!("KULMNA_TENANT")),
        ("customer_id", &json!("CUST456")),
        ("msisdn", &json!("254700000000")),
        ("status", &json!("success")),
        ("result_code", &json!("0")),
        (
            "result_description",
            &json!("The service request is processed successfully."),
        ),
        ("transaction_receipt", &json!("SG632NMUAB")),
        ("created_at", &json!("2026-03-14T15:09:26.535Z")),
        ("updated_at", &json!("2026-03-14T15:09:31.869Z")),
        ("partner_id", &partner_id),
        ("currency", &json!("KES")),
        ("provider", &json!("mpesa")),
        ("kind", &json!("b2c")),
        ("provider_status", &Value::Null),
        ("reversed_at", &Value::Null),
        ("final", &json!(true)),
    ] {
        assert_eq!(&row[name], value, "{name}");
    }
    assert_eq!(
        row["transaction_id"].as_str().unwrap().as_bytes()[14],
        b'7',
        "a UUIDv7"
    );
    assert!(answer.text.contains(r#""amount":1200.00,"#));
    assert!(answer.text.contains(r#""paid_amount":10.00,"#));
    assert!(answer.text.contains(r#""total_amount":1200.00,"#));
    assert!(answer.text.contains(r#""successful_amount":1200.00,"#));
    assert!(is_timestamp(&body["timestamp"]));
    assert_eq!(
        body["status_definitions"],
        json!({
            "queued": "Transaction is queued for processing",
            "accepted": "Transaction accepted by M-Pesa, processing",
            "success": "Transaction completed successfully",
            "failed": "Transaction failed",
        })
    );
}

async fn unknown_values_are_null_and_an_empty_list_is_200(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let answer = app.get(&partner, STATUS).await;
    let body = answer.expect(200);
    assert_eq!(body["transactions"], json!([]));
    assert_eq!(
        body["pagination"],
        json!({"total": 0, "limit": 50, "offset": 0, "has_more": false, "next_cursor": null})
    );
    assert_eq!(answer.header("link"), "");
    assert!(answer.text.contains(concat!(
        r#""statistics":{"total_transactions":0,"successful_transactions":0,"pending_transactions":0,"#,
        r#""failed_transactions":0,"success_rate":"0.00","total_amount":0.00,"successful_amount":0.00,"#,
        r#""recent_activity_24h":0"#
    )));
    app.register(&partner, json!({"amount": "0.1"})).await;
    let answer = app.get(&partner, STATUS).await;
    let row = &answer.expect(200)["transactions"][0];
    let fields = row.as_object().unwrap();
    for name in ROW {
        assert!(fields.contains_key(name), "{name}");
    }
    for name in [
        "conversation_id",
        "tenant_id",
        "customer_id",
        "result_code",
        "result_description",
        "transaction_receipt",
        "paid_amount",
        "provider_status",
        "reversed_at",
    ] {
        assert!(fields[name].is_null(), "{name}");
    }
    assert_eq!(
        (&row["status"], &row["final"]),
        (&json!("queued"), &json!(false))
    );
    assert!(answer.text.contains(r#""amount":0.10,"#));
    let none = app.get(&partner, &format!("{STATUS}?stats=none")).await;
    assert!(none.text.contains(r#""statistics":null"#), "{}", none.text);
}

async fn statistics_cover_the_whole_partner_and_leave_reversals_out(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    for (name, amount) in [
        ("A1", json!("1200.10")),
        ("A2", json!(0.2)),
        ("A3", json!(5)),
    ] {
        let fields = json!({"conversation_id": name, "amount": amount});
        app.register(&partner, fields).await;
    }
    app.db
        .advance(chrono::Duration::hours(24) + chrono::Duration::milliseconds(1));
    acknowledged(&app, &account, "b2c-result", b2c_result("A1", 0)).await;
    acknowledged(&app, &account, "b2c-result", b2c_result("A2", 0)).await;
    acknowledged(&app, &account, "b2c-result", b2c_result("A3", 2001)).await;
    let queued = app.register(&partner, json!({"amount": 7})).await;
    app.register(&partner, json!({"kind": "reversal", "amount": 1_000_000}))
        .await;
    app.register(&partner, json!({"provider": "clickpesa", "amount": 900}))
        .await;
    let answer = app
        .get(
            &partner,
            &format!(
                "{STATUS}?transaction_id={}",
                queued["transaction_id"].as_str().unwrap()
            ),
        )
        .await;
    let body = answer.expect(200);
    assert_eq!(body["pagination"]["total"], 1);
    let statistics = &body["statistics"];
    for (name, value) in [
        ("total_transactions", json!(5)),
        ("successful_transactions", json!(2)),
        ("pending_transactions", json!(2)),
        ("failed_transactions", json!(1)),
        ("success_rate", json!("40.00")),
        ("recent_activity_24h", json!(2)),
    ] {
        assert_eq!(statistics[name], value, "{name} in {statistics}");
    }
    // The partner's own currency at the top, each currency apart below, and no sum of both.
    assert!(
        answer
            .text
            .contains(r#""total_amount":1212.30,"successful_amount":1200.30,"recent"#),
        "{}",
        answer.text
    );
    let shillings = &statistics["by_currency"]["TZS"];
    assert_eq!(
        (&shillings["total_transactions"], &shillings["success_rate"]),
        (&json!(1), &json!("0.00"))
    );
    assert_eq!(shillings["total_amount"].to_string(), "900.00");
    assert_eq!(
        statistics["by_currency"]["KES"]["total_amount"].to_string(),
        "1212.30"
    );
    assert!(!answer.text.contains("2112.30"));
    // The reversal is a row nevertheless.
    assert_eq!(
        page(&app, &partner, "limit=1").await["pagination"]["total"],
        6
    );
}

async fn the_query_is_echoed_with_numbers_normalised(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let kenyan = app
        .register(&partner, json!({"msisdn": "0712 345-678"}))
        .await;
    let tanzanian = app
        .register(
            &partner,
            json!({"msisdn": "0712345678", "provider": "clickpesa"}),
        )
        .await;
    assert_eq!(
        (&kenyan["msisdn"], &tanzanian["msisdn"]),
        (&json!("254712345678"), &json!("255712345678"))
    );
    for (sent, echoed, total) in [
        ("254712345678", "254712345678", 1),
        ("%2B254%20712%20345-678", "254712345678", 1),
        ("+254712345678", "254712345678", 1),
        ("255712345678", "255712345678", 1),
        ("0712345678", "254712345678", 2),
        ("0712%20345%20678", "254712345678", 2),
        ("254712345679", "254712345679", 0),
    ] {
        let body = page(&app, &partner, &format!("msisdn={sent}")).await;
        assert_eq!(body["query"]["msisdn"], echoed, "{sent}");
        assert_eq!(body["pagination"]["total"], total, "{sent}");
    }
    let body = page(
        &app,
        &partner,
        "status=failed&limit=7&offset=3&client_request_id=a%20b&conversation_id=c%2Fd&transaction_receipt=R",
    )
    .await;
    for (name, value) in [
        ("status", json!("failed")),
        ("limit", json!(7)),
        ("offset", json!(3)),
        ("client_request_id", json!("a b")),
        ("conversation_id", json!("c/d")),
        ("transaction_receipt", json!("R")),
        ("msisdn", Value::Null),
        ("transaction_id", Value::Null),
    ] {
        assert_eq!(body["query"][name], value, "{name}");
    }
}

async fn every_filter_alone_and_all_together(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    let wanted = app
        .register(
            &partner,
            json!({"client_request_id": "C1", "conversation_id": "AG1", "originator_conversation_id": "O-AG1",
                   "order_reference": "ORD1", "msisdn": "254700000001"}),
        )
        .await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    app.db.advance(chrono::Duration::seconds(10));
    app.register(
        &partner,
        json!({"client_request_id": "C2", "conversation_id": "AG2"}),
    )
    .await;
    let id = wanted["transaction_id"].as_str().unwrap();
    let all = [
        "conversation_id=AG1".to_owned(),
        "conversation_id=O-AG1".to_owned(),
        "conversation_id=ORD1".to_owned(),
        "client_request_id=C1".to_owned(),
        "msisdn=0700000001".to_owned(),
        format!("transaction_id={id}"),
        "status=success".to_owned(),
        "transaction_receipt=RAG1".to_owned(),
        "to=2026-03-14T15:09:30Z".to_owned(),
        "from=2026-03-14T15:09:00Z&to=2026-03-14T18:09:30%2B03:00".to_owned(),
    ];
    for query in &all {
        let body = page(&app, &partner, query).await;
        assert_eq!(ids(&body["transactions"]), [id], "{query}");
        assert_eq!(body["pagination"]["total"], 1, "{query}");
    }
    let together = [
        &all[2], &all[3], &all[4], &all[5], &all[6], &all[7], &all[9],
    ]
    .map(String::as_str)
    .join("&");
    assert_eq!(
        ids(&page(&app, &partner, &together).await["transactions"]),
        [id]
    );
    let other =
        format!("{together}&from=2026-03-14T15:09:30Z").replace("from=2026-03-14T15:09:00Z&", "");
    assert_eq!(page(&app, &partner, &other).await["pagination"]["total"], 0);
    for none in [
        "conversation_id=ag1",
        "client_request_id=C1%20",
        "status=queued",
        "transaction_receipt=AG1",
    ] {
        assert_eq!(
            page(&app, &partner, none).await["pagination"]["total"],
            0,
            "{none}"
        );
    }
}

async fn pages_walk_by_offset_and_by_cursor_to_the_same_rows(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        let row = app
            .register(&partner, json!({"msisdn": "254700000001"}))
            .await;
        expected.insert(0, row["transaction_id"].as_str().unwrap().to_owned());
        if number % 3 == 2 {
            app.db.advance(chrono::Duration::seconds(1));
        }
    }
    app.register(&partner, json!({"msisdn": "254700000002"}))
        .await;
    let mut by_offset = Vec::new();
    for offset in (0..).step_by(3) {
        let body = page(
            &app,
            &partner,
            &format!("msisdn=254700000001&limit=3&offset={offset}"),
        )
        .await;
        by_offset.extend(ids(&body["transactions"]));
        assert_eq!(body["pagination"]["total"], 7);
        assert_eq!(body["pagination"]["has_more"], json!(by_offset.len() < 7));
        assert_eq!(
            body["pagination"]["next_cursor"].is_null(),
            by_offset.len() == 7
        );
        if by_offset.len() == 7 {
            break;
        }
    }
    assert_eq!(by_offset, expected);
    let (mut by_cursor, mut path) = (
        Vec::new(),
        format!("{STATUS}?msisdn=254700000001&limit=3&offset=0"),
    );
    loop {
        let answer = app.get(&partner, &path).await;
        let body = answer.expect(200);
        by_cursor.extend(ids(&body["transactions"]));
        assert_eq!(body["pagination"]["total"], 7);
        assert_eq!(body["pagination"]["offset"], 0);
        let Some(cursor) = body["pagination"]["next_cursor"].as_str() else {
            assert_eq!(
                (answer.header("link"), &body["pagination"]["has_more"]),
                ("", &json!(false))
            );
            break;
        };
        assert_eq!(body["pagination"]["has_more"], json!(true));
        let link = answer.header("link");
        let (target, relation) = link.trim_start_matches('<').split_once('>').unwrap();
        assert_eq!(relation, "; rel=\"next\"");
        assert!(
            target.contains(&format!("cursor={cursor}")) && target.contains("msisdn=254700000001")
        );
        target.clone_into(&mut path);
    }
    assert_eq!(by_cursor, expected);
    // Full pages: has_more is exact.
    let exact = page(&app, &partner, "msisdn=254700000001&limit=7").await;
    assert_eq!(
        (
            &exact["pagination"]["has_more"],
            &exact["pagination"]["next_cursor"]
        ),
        (&json!(false), &Value::Null)
    );
    for offset in ["7", "1000000", "9223372036854775807"] {
        let past = page(
            &app,
            &partner,
            &format!("msisdn=254700000001&offset={offset}"),
        )
        .await;
        assert_eq!(past["transactions"], json!([]));
        assert_eq!(
            (
                &past["pagination"]["total"],
                &past["pagination"]["has_more"]
            ),
            (&json!(7), &json!(false))
        );
    }
}

async fn bulk_answers_in_the_order_asked_each_row_once(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let mut rows = Vec::new();
    for number in 0..6 {
        let fields = json!({"client_request_id": format!("C{number}"), "conversation_id": format!("AG{number}"),
                            "originator_conversation_id": format!("O{number}")});
        rows.push(
            app.register(&partner, fields).await["transaction_id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let unknown = "00000000-0000-7000-8000-000000000000";
    let body = json!({
        "transaction_ids": [rows[4], unknown, rows[1], rows[4]],
        "conversation_ids": ["O5", "AG4", "nobody", "AG0"],
        "client_request_ids": ["C3", "C1", "C9", "C3"],
    });
    let answer = app.post(&partner, STATUS, &body).await;
    let found = answer.expect(200);
    assert_eq!(
        ids(&found["transactions"]),
        [4, 1, 5, 0, 3].map(|at: usize| rows[at].clone())
    );
    assert_eq!(found["count"], 5);
    assert_eq!(found["query"], body);
    assert_eq!(
        found["not_found"],
        json!({"transaction_ids": [unknown], "conversation_ids": ["nobody"], "client_request_ids": ["C9"]})
    );
    // Reading is all it does.
    assert_eq!(app.db.count("FROM transaction_events").await, 6);
}

async fn bulk_has_the_documented_shape(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    app.register(&partner, json!({"client_request_id": "C1"}))
        .await;
    let answer = app
        .post(
            &partner,
            STATUS,
            &json!({"client_request_ids": ["C1"], "conversation_ids": null}),
        )
        .await;
    let body = answer.expect(200);
    let mut names = vec![
        "success",
        "message",
        "partner",
        "id",
        "name",
        "query",
        "transaction_ids",
        "conversation_ids",
        "client_request_ids",
        "count",
        "transactions",
    ];
    names.extend(ROW);
    names.push("timestamp");
    assert_order(&answer, &names);
    assert_eq!(
        body["message"],
        "Bulk transaction status retrieved successfully"
    );
    assert_eq!(
        body["query"],
        json!({"transaction_ids": [], "conversation_ids": [], "client_request_ids": ["C1"]})
    );
    assert!(answer.text.contains(r#""amount":1200.00,"#));
    assert!(is_timestamp(&body["timestamp"]));
    let nothing = app
        .post(&partner, STATUS, &json!({"client_request_ids": ["C2"]}))
        .await
        .expect(200);
    assert_eq!(
        (&nothing["count"], &nothing["transactions"]),
        (&json!(0), &json!([]))
    );
    // One row and the list agree to the byte.
    let listed = app.get(&partner, STATUS).await.expect(200)["transactions"][0].clone();
    assert_eq!(listed, body["transactions"][0]);
    let mut one = app.transaction(&partner, &listed["transaction_id"]).await;
    assert!(one.as_object_mut().unwrap().remove("timeline").is_some());
    assert_eq!(listed, one);
    let by_path = format!(
        "{TRANSACTIONS}/{}",
        listed["transaction_id"].as_str().unwrap()
    );
    let answer = app.get(&partner, &by_path).await;
    let mut names = vec!["success", "message", "transaction"];
    names.extend(ROW);
    names.push("timeline");
    assert_order(&answer, &names);
}
