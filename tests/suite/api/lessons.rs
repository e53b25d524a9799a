//! What went wrong in systems like this one (PROVIDERS 4): a test for each row that applies by now. Statistics and
//! empty bulk lists have theirs in `status.rs` and `errors.rs`, quotas in `limits.rs`, partners in `isolation.rs`.

use serde_json::json;

use super::{
    acknowledged, b2c_result, fixture, kinds, page, registered, start, states, stk_callback,
    tokenless,
};
use crate::support::TestStore;
use crate::support::app::TestApp;

on_both_databases!(
    statuses_are_never_stuck_because_a_callback_came_under_the_other_id,
    a_callback_before_its_row_is_not_lost,
    a_status_query_that_worked_is_not_a_payment_that_worked,
    codes_mean_what_their_own_api_says,
    receipts_arrive_from_every_shape,
    balances_are_read_by_name,
    a_repeated_callback_has_no_effect_twice,
    times_of_the_provider_are_not_ours,
    an_empty_id_matches_nobody,
);

/// "status stuck at accepted for ever": the callback was stored under the other id, or refused by the database.
async fn statuses_are_never_stuck_because_a_callback_came_under_the_other_id(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let by_conversation = registered(&app, &partner, "AG1").await;
    let by_originator = app
        .register(&partner, json!({"originator_conversation_id": "O-AG2"}))
        .await["transaction_id"]
        .clone();
    for name in ["AG1", "AG2"] {
        acknowledged(&app, &account, "b2c-result", b2c_result(name, 0)).await;
    }
    let by_path = app.register(&partner, json!({})).await["transaction_id"].clone();
    let path = format!("b2c-result/{}", by_path.as_str().unwrap());
    acknowledged(&app, &account, &path, b2c_result("AG3", 0)).await;
    for id in [by_conversation, by_originator, by_path] {
        let row = app.transaction(&partner, &id).await;
        assert_eq!(row["status"], "success");
        assert!(
            row["conversation_id"].is_string() && row["originator_conversation_id"].is_string()
        );
    }
}

/// "callback lost because the row was created after the provider call".
async fn a_callback_before_its_row_is_not_lost(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let pairs = (0..8).map(|number| {
        let (app, partner, account) = (&app, &partner, &account);
        async move {
            let name = format!("RACE{number}");
            let fields = json!({"conversation_id": name});
            let told = acknowledged(app, account, "b2c-result", b2c_result(&name, 0));
            let (row, ()) = tokio::join!(app.register(partner, fields), told);
            row["transaction_id"].clone()
        }
    });
    for id in futures_util::future::join_all(pairs).await {
        let row = app.transaction(&partner, &id).await;
        assert_eq!(
            (&row["status"], kinds(&row)),
            (&json!("success"), vec!["registered", "status_changed"])
        );
    }
}

/// "status-query result 0 marked as paid".
async fn a_status_query_that_worked_is_not_a_payment_that_worked(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let completed = fixture("mpesa-status-completed-1");
    for (number, (word, status)) in [
        ("Completed", "success"),
        ("Failed", "failed"),
        ("Cancelled", "failed"),
        ("Declined", "failed"),
        ("Expired", "failed"),
        ("Rejected", "failed"),
        ("Reversed", "failed"),
        ("Initiated", "accepted"),
        ("Authorized", "accepted"),
        ("Pending Authorized", "accepted"),
        ("Something New", "accepted"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("AG{number}");
        let id = registered(&app, &partner, &name).await;
        let body = completed
            .replace("Completed", word)
            .replace("AG_20180223_000041b09c22e613d6c9", &name)
            .replace("3211-416020-3", &format!("O-{name}"))
            .replace("MBN31H462N", &format!("R{name}"));
        acknowledged(&app, &account, "status-result", body).await;
        let row = app.transaction(&partner, &id).await;
        assert_eq!(row["status"], status, "{word}");
        assert_eq!(
            row["transaction_receipt"].is_string(),
            status == "success",
            "{word}"
        );
    }
    let id = registered(&app, &partner, "AGX").await;
    let path = format!("status-result/{}", id.as_str().unwrap());
    acknowledged(&app, &account, &path, fixture("mpesa-status-queryfailed-1")).await;
    assert_eq!(app.transaction(&partner, &id).await["status"], "accepted");
}

/// "code 1 shown as pending, 1032 as insufficient balance": one table an API.
async fn codes_mean_what_their_own_api_says(db: TestStore) {
    let (app, partner, account) = start(db).await;
    for (kind, code, status) in [
        ("stk", 1, "failed"),
        ("stk", 17, "failed"),
        ("stk", 1032, "failed"),
        ("stk", 1037, "failed"),
        ("stk", 2001, "failed"),
        ("stk", 4999, "accepted"),
        ("stk", 777, "accepted"),
        ("b2c-result", 1, "failed"),
        ("b2c-result", 17, "accepted"),
        ("b2c-result", 15, "accepted"),
        ("b2c-result", 2040, "failed"),
        ("b2c-result", 1037, "accepted"),
        ("b2c-result", -1, "accepted"),
    ] {
        let name = format!("{kind}{code}");
        let id = registered(&app, &partner, &name).await;
        let body = if kind == "stk" {
            stk_callback(&name, code, "1", "R")
        } else {
            b2c_result(&name, code)
        };
        acknowledged(&app, &account, kind, body).await;
        let row = app.transaction(&partner, &id).await;
        assert_eq!(row["status"], status, "{name}");
        // Code and words are those of a final result only.
        let is_final = status == "failed";
        assert_eq!(row["result_code"].is_string(), is_final, "{name}");
        assert_eq!(row["result_description"].is_string(), is_final, "{name}");
        assert_eq!(row["timeline"][1]["result_code"], json!(code.to_string()));
    }
}

/// "receipt always null".
async fn receipts_arrive_from_every_shape(db: TestStore) {
    let app = TestApp::start(db).await;
    for (kind, name) in [
        ("stk", "mpesa-stk-success-1"),
        ("stk", "mpesa-stk-success-2"),
        ("stk", "mpesa-stk-unwrapped-1"),
        ("b2c-result", "mpesa-b2c-success-1"),
        ("b2c-result", "mpesa-b2c-strings-1"),
        ("b2c-result", "mpesa-b2c-unwrapped-1"),
        ("b2c-result", "mpesa-b2c-oneparameter-1"),
    ] {
        let partner = app.partner().await;
        let account = app.mpesa_account(partner.id).await;
        // Some of these are one payment in several shapes.
        let body = fixture(name).replace("USSD7f3a9c1e", name);
        let key = if kind == "stk" {
            "\"CheckoutRequestID\""
        } else {
            "\"ConversationID\""
        };
        let (_, rest) = body.split_once(key).unwrap();
        let id = registered(&app, &partner, rest.split('"').nth(1).unwrap()).await;
        acknowledged(&app, &account, kind, body.clone()).await;
        let row = app.transaction(&partner, &id).await;
        assert_eq!(row["status"], "success", "{name} {row}");
        let receipt = row["transaction_receipt"].as_str().unwrap();
        assert!(
            receipt.len() == 10 && body.contains(receipt),
            "{name} {row}"
        );
    }
}

/// "balance shown as NaN; Utility and Working swapped".
async fn balances_are_read_by_name(db: TestStore) {
    let (app, partner, account) = start(db).await;
    for name in ["mpesa-balance-success-1", "mpesa-balance-failed-1"] {
        acknowledged(&app, &account, "balance-result", fixture(name)).await;
    }
    let balances = app
        .db
        .store
        .list_balances(partner.id, account.id)
        .await
        .unwrap();
    for (name, minor) in [
        ("Utility Account", 22_803_700),
        ("Working Account", 70_000_000),
        ("Charges Paid Account", -154_000),
    ] {
        let text = format!(
            "{:?}",
            balances
                .iter()
                .find(|balance| format!("{balance:?}").contains(name))
        );
        assert!(text.contains(&format!("Amount({minor})")), "{text}");
    }
    assert_eq!(balances.len(), 5);
}

/// "fee charged on failed payments, twice": effects only from an applied transition, once.
async fn a_repeated_callback_has_no_effect_twice(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let id = registered(&app, &partner, "AG1").await;
    let posts = (0..12).map(|_| acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)));
    futures_util::future::join_all(posts).await;
    assert_eq!(
        kinds(&app.transaction(&partner, &id).await),
        ["registered", "status_changed"]
    );
    assert_eq!(
        states(&app.db)
            .await
            .iter()
            .filter(|state| *state == "applied")
            .count(),
        1
    );
    assert_eq!(app.db.count("FROM callbacks").await, 12);
    let statistics = &page(&app, &partner, "").await["statistics"];
    assert_eq!(
        (
            &statistics["successful_transactions"],
            statistics["successful_amount"].to_string()
        ),
        (&json!(1), "1200.00".to_owned())
    );
}

/// "times wrong by three hours": what we say happened when is our own clock, UTC.
async fn times_of_the_provider_are_not_ours(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let id = registered(&app, &partner, "ws_CO_1").await;
    app.db.advance(chrono::Duration::seconds(3));
    acknowledged(
        &app,
        &account,
        "stk",
        stk_callback("ws_CO_1", 0, "1200", "R1"),
    )
    .await;
    let row = app.transaction(&partner, &id).await;
    assert_eq!(row["created_at"], "2026-03-14T15:09:26.535Z");
    assert_eq!(row["updated_at"], "2026-03-14T15:09:29.535Z");
    assert_eq!(row["timeline"][1]["at"], "2026-03-14T15:09:29.535Z");
}

/// "one partner saw another's callbacks": null partner ids; an empty id matched.
async fn an_empty_id_matches_nobody(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let id = app.register(&partner, json!({})).await["transaction_id"].clone();
    for body in [
        b2c_result("", 0).replace("O-", ""),
        b2c_result("  ", 0).replace("O-", ""),
        json!({"Result": {"ResultCode": 0, "ConversationID": null, "OriginatorConversationID": null}}).to_string(),
        json!({"Result": {"ResultCode": 0, "ConversationID": [], "OriginatorConversationID": {}}}).to_string(),
        json!({"Result": {"ResultCode": 0, "ConversationID": "\u{0}"}}).to_string(),
    ] {
        acknowledged(&app, &account, "b2c-result", body.clone()).await;
        tokenless(&app, "/api/v1/mpesa/b2c/result", body).await.expect(200);
    }
    assert_eq!(app.transaction(&partner, &id).await["status"], "queued");
    assert_eq!(page(&app, &partner, "").await["pagination"]["total"], 1);
    assert!(
        states(&app.db)
            .await
            .iter()
            .all(|state| state == "unreadable"),
        "{:?}",
        states(&app.db).await
    );
}
