//! A partner sees and touches only its own rows, whatever it sends: a test for every route and every kind of id.

use serde_json::{Value, json};
use ussd_status::domain::account::Account;

use super::{STATUS, TRANSACTIONS, acknowledged, b2c_result, ids, kinds, page};
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};

on_both_databases!(
    filters_find_nothing_of_another_partner,
    bulk_lists_find_nothing_of_another_partner,
    one_transaction_cannot_be_read_or_patched_by_another_partner,
    cursors_of_another_partner_name_a_place_in_the_own_list,
    statistics_count_the_own_rows_only,
    a_reversal_cannot_name_another_partners_transaction,
    callbacks_move_nothing_of_another_partner,
);

/// Two partners with the same ids at the same provider.
struct Two {
    app: TestApp,
    mine: TestPartner,
    theirs: TestPartner,
    account: Account,
    row: Value,
}

/// What the other partner registered, and I did not.
const FIELDS: &str = r#"{"client_request_id":"SECRET","conversation_id":"AG1","originator_conversation_id":"O-AG1",
    "order_reference":"ORD1","msisdn":"254799999999","amount":777}"#;

async fn two(db: TestStore) -> Two {
    let app = TestApp::start(db).await;
    let (mine, theirs) = (app.partner().await, app.partner().await);
    let account = app.mpesa_account(theirs.id).await;
    app.mpesa_account(mine.id).await;
    let row = app
        .register(&theirs, serde_json::from_str(FIELDS).unwrap())
        .await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    Two {
        app,
        mine,
        theirs,
        account,
        row,
    }
}

async fn filters_find_nothing_of_another_partner(db: TestStore) {
    let Two {
        app,
        mine,
        theirs,
        row,
        ..
    } = two(db).await;
    let id = row["transaction_id"].as_str().unwrap();
    for query in [
        String::new(),
        format!("transaction_id={id}"),
        "conversation_id=AG1".to_owned(),
        "conversation_id=O-AG1".to_owned(),
        "conversation_id=ORD1".to_owned(),
        "client_request_id=SECRET".to_owned(),
        "msisdn=254799999999".to_owned(),
        "msisdn=0799999999".to_owned(),
        "transaction_receipt=RAG1".to_owned(),
        "status=success".to_owned(),
        "from=2020-01-01T00:00:00Z".to_owned(),
        "limit=100".to_owned(),
    ] {
        assert_eq!(
            page(&app, &theirs, &query).await["pagination"]["total"],
            1,
            "{query}"
        );
        let answer = app.get(&mine, &format!("{STATUS}?{query}")).await;
        let body = answer.expect(200);
        assert_eq!(
            (&body["pagination"]["total"], &body["transactions"]),
            (&json!(0), &json!([])),
            "{query}"
        );
        assert_eq!(body["partner"]["id"], mine.id.to_string());
        assert!(!answer.text.contains("777"), "{query}");
    }
}

async fn bulk_lists_find_nothing_of_another_partner(db: TestStore) {
    let Two {
        app,
        mine,
        theirs,
        row,
        ..
    } = two(db).await;
    for body in [
        json!({"transaction_ids": [row["transaction_id"]]}),
        json!({"conversation_ids": ["AG1"]}),
        json!({"conversation_ids": ["O-AG1"]}),
        json!({"conversation_ids": ["ORD1"]}),
        json!({"client_request_ids": ["SECRET"]}),
    ] {
        assert_eq!(
            app.post(&theirs, STATUS, &body).await.expect(200)["count"],
            1,
            "{body}"
        );
        let found = app.post(&mine, STATUS, &body).await.expect(200);
        assert_eq!(
            (&found["count"], &found["transactions"]),
            (&json!(0), &json!([]))
        );
        assert_eq!(found["not_found"], found["query"]);
    }
}

async fn one_transaction_cannot_be_read_or_patched_by_another_partner(db: TestStore) {
    let Two {
        app,
        mine,
        theirs,
        row,
        ..
    } = two(db).await;
    let path = format!("{TRANSACTIONS}/{}", row["transaction_id"].as_str().unwrap());
    let nobodys = format!("{TRANSACTIONS}/00000000-0000-7000-8000-000000000000");
    let read = app.get(&mine, &path).await.refused(404, "NOT_FOUND_1001");
    assert_eq!(
        read,
        app.get(&mine, &nobodys)
            .await
            .refused(404, "NOT_FOUND_1001")
    );
    let ids = json!({"conversation_id": "AG1"});
    let patched = app
        .patch(&mine, &path, &ids)
        .await
        .refused(404, "NOT_FOUND_1001");
    assert_eq!(
        patched,
        app.patch(&mine, &nobodys, &ids)
            .await
            .refused(404, "NOT_FOUND_1001")
    );
    let stands = app.transaction(&theirs, &row["transaction_id"]).await;
    assert_eq!(kinds(&stands), ["registered", "status_changed"]);
    // Registering the other's ids is no conflict, and tells nothing.
    let own = app
        .register(&mine, serde_json::from_str(FIELDS).unwrap())
        .await;
    assert_ne!(own["transaction_id"], row["transaction_id"]);
    assert_eq!(own["status"], "accepted");
}

async fn cursors_of_another_partner_name_a_place_in_the_own_list(db: TestStore) {
    let Two {
        app, mine, theirs, ..
    } = two(db).await;
    app.register(&theirs, json!({})).await;
    app.register(&theirs, json!({})).await;
    let own = app.register(&mine, json!({})).await;
    app.register(&theirs, json!({})).await;
    let cursor = page(&app, &theirs, "limit=1").await["pagination"]["next_cursor"].clone();
    let body = page(
        &app,
        &mine,
        &format!("limit=100&cursor={}", cursor.as_str().unwrap()),
    )
    .await;
    assert_eq!(
        ids(&body["transactions"]),
        [own["transaction_id"].as_str().unwrap()]
    );
    assert_eq!(body["pagination"]["total"], 1);
}

async fn statistics_count_the_own_rows_only(db: TestStore) {
    let Two {
        app, mine, theirs, ..
    } = two(db).await;
    let empty = page(&app, &mine, "").await["statistics"].clone();
    assert_eq!(
        (&empty["total_transactions"], &empty["success_rate"]),
        (&json!(0), &json!("0.00"))
    );
    assert_eq!(
        (&empty["recent_activity_24h"], &empty["by_currency"]),
        (&json!(0), &json!({}))
    );
    app.register(&mine, json!({"amount": 3})).await;
    let own = page(&app, &mine, "").await["statistics"].clone();
    assert_eq!(
        (&own["total_transactions"], own["total_amount"].to_string()),
        (&json!(1), "3.00".to_owned())
    );
    let other = page(&app, &theirs, "").await["statistics"].clone();
    assert_eq!(
        (
            &other["total_transactions"],
            other["total_amount"].to_string()
        ),
        (&json!(1), "777.00".to_owned())
    );
}

async fn a_reversal_cannot_name_another_partners_transaction(db: TestStore) {
    let Two {
        app,
        mine,
        theirs,
        row,
        ..
    } = two(db).await;
    let body = json!({"client_request_id": "R", "msisdn": "0712345678", "amount": 1, "kind": "reversal",
                      "original_transaction_id": row["transaction_id"]});
    app.post(&mine, TRANSACTIONS, &body)
        .await
        .refused(400, "VALIDATION_1002");
    app.post(&theirs, TRANSACTIONS, &body).await.expect(201);
}

async fn callbacks_move_nothing_of_another_partner(db: TestStore) {
    let Two {
        app,
        mine,
        theirs,
        account,
        ..
    } = two(db).await;
    let own = app.mpesa_account(mine.id).await;
    let waiting = app
        .register(&theirs, json!({"conversation_id": "AG2"}))
        .await;
    let id = waiting["transaction_id"].as_str().unwrap();
    // Through my address, by their id and by their transaction's path: nothing moves, and both are told why.
    acknowledged(&app, &own, "b2c-result", b2c_result("AG2", 0)).await;
    acknowledged(
        &app,
        &own,
        &format!("b2c-result/{id}"),
        b2c_result("AG2", 0),
    )
    .await;
    let stands = app.transaction(&theirs, &waiting["transaction_id"]).await;
    assert_eq!(stands["status"], "accepted");
    assert_eq!(kinds(&stands).last(), Some(&"conflict"), "{stands}");
    assert_eq!(page(&app, &mine, "").await["pagination"]["total"], 0);
    acknowledged(&app, &account, "b2c-result", b2c_result("AG2", 0)).await;
    assert_eq!(
        app.transaction(&theirs, &waiting["transaction_id"]).await["status"],
        "success"
    );
}
