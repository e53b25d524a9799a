//! Where providers post: every kind, both families of paths, and what must not be believed.

use reqwest::Method;
use serde_json::{Value, json};
use ussd_status::domain::transaction::Provider;
use ussd_status::providers::clickpesa::checksum;

use super::{
    STATUS, TRANSACTIONS, acknowledged, b2c_result, fixture, kinds, page, registered, start,
    states, stk_callback, tokenless,
};
use crate::support::TestStore;
use crate::support::app::TestApp;
use crate::support::build::audit;

on_both_databases!(
    every_kind_is_taken_on_its_own_path,
    the_guides_own_paths_find_the_account_by_the_ids,
    ids_that_several_partners_have_move_nothing_without_a_token,
    an_early_one_without_a_token_waits_only_for_a_single_account,
    early_callbacks_wait_for_a_registration_or_a_patch,
    duplicates_change_nothing_and_contradictions_are_noted,
    a_late_success_overturns_an_unconfirmed_failure,
    a_reversal_moves_its_original_with_and_without_parameters,
    c2b_confirmations_create_their_transaction,
    queue_timeouts_change_no_status,
    what_cannot_be_read_is_kept_and_acknowledged,
    secrets_are_never_stored,
    clickpesa_bodies_carry_a_checksum_where_there_is_a_key,
    what_cannot_be_checked_under_this_master_key_is_not_acknowledged,
    without_a_token_one_of_the_partners_keys_must_have_signed,
    another_amount_is_noted_and_does_not_stop_the_payment,
);

async fn every_kind_is_taken_on_its_own_path(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let clickpesa = app
        .account(partner.id, Provider::Clickpesa, json!({"api_key": "k"}))
        .await;
    for fields in [
        json!({"kind": "stk_push", "conversation_id": "ws_CO_191220191020363925", "client_request_id": "stk"}),
        json!({"conversation_id": "AG_20240706_2010364430d9bbdaf872", "client_request_id": "b2c"}),
        json!({"kind": "reversal", "conversation_id": "AG_20211114_201018edbbf9f1582eaa", "client_request_id": "reversal"}),
        json!({"originator_conversation_id": "3211-416020-3", "client_request_id": "status"}),
        json!({"provider": "clickpesa", "order_reference": "ORD123456", "client_request_id": "clickpesa"}),
    ] {
        app.register(&partner, fields).await;
    }
    for (kind, name) in [
        ("stk", "mpesa-stk-success-1"),
        ("b2c-result", "mpesa-b2c-success-1"),
        ("b2c-timeout", "mpesa-b2c-queuetimeout-1"),
        ("reversal-result", "mpesa-reversal-success-1"),
        ("reversal-timeout", "mpesa-reversal-queuetimeout-1"),
        ("balance-result", "mpesa-balance-success-1"),
        ("balance-timeout", "mpesa-balance-queuetimeout-1"),
        ("status-result", "mpesa-status-completed-1"),
        ("status-timeout", "mpesa-status-queuetimeout-1"),
        ("c2b-confirmation", "mpesa-c2b-confirmation-1"),
    ] {
        acknowledged(&app, &account, kind, fixture(name)).await;
    }
    acknowledged(
        &app,
        &clickpesa,
        "clickpesa",
        fixture("clickpesa-webhook-payment-received-2"),
    )
    .await;
    let validation = app
        .callback(
            &account,
            "c2b-validation",
            fixture("mpesa-c2b-confirmation-clear-1"),
        )
        .await;
    assert_eq!(
        validation.text,
        r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#
    );
    for (id, receipt) in [
        ("stk", "NLJ7RT61SV"),
        ("b2c", "SG632NMUAB"),
        ("reversal", "SKE52PAWR9"),
        ("status", "MBN31H462N"),
        ("clickpesa", "abc123def456ghi789"),
    ] {
        let row = page(&app, &partner, &format!("client_request_id={id}")).await["transactions"][0]
            .clone();
        assert_eq!(
            (&row["status"], &row["transaction_receipt"]),
            (&json!("success"), &json!(receipt)),
            "{id}"
        );
    }
    let kept = app
        .db
        .rows(
            &["kind", "state", "content_type", "source"],
            "FROM callbacks ORDER BY kind",
        )
        .await;
    assert_eq!(kept.len(), 12);
    assert!(
        kept.iter()
            .all(|row| row[2] == "application/json;charset=UTF-8" && row[3] == "127.0.0.1")
    );
    assert!(kept.iter().all(|row| row[1] != "unreadable"), "{kept:?}");
    assert_eq!(
        app.db
            .store
            .list_balances(partner.id, account.id)
            .await
            .unwrap()
            .len(),
        5
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_addresses_are_404_and_keep_nothing() {
    let (app, partner, account) = start(TestStore::sqlite().await).await;
    let clickpesa = app
        .account(partner.id, Provider::Clickpesa, json!({}))
        .await;
    let token = &account.callback_token;
    for path in [
        "/callbacks/00000000000000000000000000000000/stk".to_owned(),
        format!("/callbacks/{}/stk", token.to_uppercase().replace('0', "O")),
        format!("/callbacks/{token}/nonsense"),
        format!("/callbacks/{token}/STK"),
        format!("/callbacks/{token}/clickpesa"),
        format!("/callbacks/{}/stk", clickpesa.callback_token),
        format!("/callbacks/{token}/stk/nonsense"),
        format!("/callbacks/{token}/stk/%20"),
        format!("/callbacks/{token}%00/stk"),
    ] {
        let answer = tokenless(&app, &path, fixture("mpesa-stk-success-1")).await;
        assert_eq!(
            answer.refused(404, "NOT_FOUND_1001"),
            "No such callback address",
            "{path}"
        );
    }
    assert!(states(&app.db).await.is_empty());
    // A removed account's address stops working.
    assert!(
        app.db
            .store
            .remove_account(account.id, audit())
            .await
            .unwrap()
    );
    let fresh = app.beside(&[]).await;
    fresh
        .callback(&account, "stk", fixture("mpesa-stk-success-1"))
        .await
        .refused(404, "NOT_FOUND_1001");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_providers_addresses_may_post_without_a_token() {
    let settings = [("CALLBACK_ALLOWED_IPS", "196.201.214.200, 10.1.0.0/16")];
    let app = TestApp::start_with(TestStore::sqlite().await, &settings).await;
    let body = fixture("mpesa-b2c-success-1");
    let from = async |app: &TestApp, forwarded: &str| {
        let headers = [("x-forwarded-for", forwarded)];
        app.send(
            Method::POST,
            "/api/v1/mpesa/b2c/result",
            &headers,
            Some(body.clone().into_bytes()),
        )
        .await
    };
    // From nobody we trust, the header is just words.
    for forwarded in ["", "196.201.214.200", "196.201.214.200, 127.0.0.1"] {
        from(&app, forwarded).await.refused(403, "AUTH_1003");
    }
    for path in [
        "/api/v1/mpesa/callback",
        "/api/v1/mpesa/b2c/timeout",
        "/api/v1/mpesa/reversal/result",
        "/api/v1/mpesa/reversal/timeout",
        "/api/v1/mpesa/balance/result",
        "/api/v1/mpesa/balance/timeout",
        "/api/v1/clickpesa/callback",
    ] {
        tokenless(&app, path, "{}").await.refused(403, "AUTH_1003");
    }
    assert!(states(&app.db).await.is_empty());
    let trusted = app
        .beside(&[settings[0], ("TRUSTED_PROXIES", "127.0.0.0/8, 192.168.0.1")])
        .await;
    for (forwarded, status) in [
        ("196.201.214.200", 200),
        ("10.1.2.3", 200),
        ("1.2.3.4, 10.1.2.3", 200),
        ("10.1.2.3, 192.168.0.1", 200),
        ("10.1.2.3, 127.0.0.1,192.168.0.1", 200),
        ("::ffff:10.1.2.3", 200),
        ("", 403),
        ("1.2.3.4", 403),
        ("10.1.2.3, 1.2.3.4", 403),
        ("10.1.2.3, nonsense", 403),
        ("10.2.0.1", 403),
    ] {
        assert_eq!(
            from(&trusted, forwarded).await.status,
            status,
            "{forwarded}"
        );
    }
    let sources = app
        .db
        .rows(&["source"], "FROM callbacks ORDER BY received_at, id")
        .await;
    assert_eq!(sources.len(), 6);
    assert_eq!(
        (&sources[0][0], &sources[2][0]),
        (&json!("196.201.214.200"), &json!("10.1.2.3"))
    );
    // With a token the source is recorded, and no reason to refuse.
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    acknowledged(&app, &account, "b2c-result", body.clone()).await;
}

async fn the_guides_own_paths_find_the_account_by_the_ids(db: TestStore) {
    let app = TestApp::start(db).await;
    let (partner, other) = (app.partner().await, app.partner().await);
    for owner in [&partner, &other] {
        app.mpesa_account(owner.id).await;
        app.account(owner.id, Provider::Clickpesa, json!({})).await;
    }
    for fields in [
        json!({"client_request_id": "stk", "kind": "stk_push", "conversation_id": "ws_CO_191220191020363925"}),
        json!({"client_request_id": "b2c", "originator_conversation_id": "53e3-4aa8-9fe0-8fb5e4092cdd3533373"}),
        json!({"client_request_id": "reversal", "kind": "reversal", "conversation_id": "AG_20211114_201018edbbf9f1582eaa"}),
        json!({"client_request_id": "clickpesa", "provider": "clickpesa", "order_reference": "ORD123456"}),
    ] {
        app.register(&partner, fields).await;
    }
    for (path, name) in [
        ("/api/v1/mpesa/callback", "mpesa-stk-success-1"),
        ("/api/v1/mpesa/b2c/result", "mpesa-b2c-success-1"),
        ("/api/v1/mpesa/b2c/timeout", "mpesa-b2c-queuetimeout-1"),
        ("/api/v1/mpesa/reversal/result", "mpesa-reversal-success-1"),
        (
            "/api/v1/mpesa/reversal/timeout",
            "mpesa-reversal-queuetimeout-1",
        ),
        ("/api/v1/mpesa/balance/result", "mpesa-balance-success-1"),
        (
            "/api/v1/mpesa/balance/timeout",
            "mpesa-balance-queuetimeout-1",
        ),
        (
            "/api/v1/clickpesa/callback",
            "clickpesa-webhook-payment-received-2",
        ),
    ] {
        let answer = tokenless(&app, path, fixture(name)).await;
        assert_eq!(
            answer.text, r#"{"ResultCode":0,"ResultDesc":"Accepted"}"#,
            "{path}"
        );
    }
    for id in ["stk", "b2c", "reversal", "clickpesa"] {
        let row = page(&app, &partner, &format!("client_request_id={id}")).await["transactions"][0]
            .clone();
        assert_eq!(row["status"], "success", "{id}");
    }
    assert_eq!(app.db.count("FROM callbacks").await, 8);
    assert_eq!(page(&app, &other, "").await["pagination"]["total"], 0);
}

async fn ids_that_several_partners_have_move_nothing_without_a_token(db: TestStore) {
    let app = TestApp::start(db).await;
    let (one, two) = (app.partner().await, app.partner().await);
    let account = app.mpesa_account(one.id).await;
    let first = registered(&app, &one, "AG1").await;
    let second = registered(&app, &two, "AG1").await;
    assert_eq!(
        tokenless(&app, "/api/v1/mpesa/b2c/result", b2c_result("AG1", 0))
            .await
            .status,
        200
    );
    let kept = app
        .db
        .rows(&["state", "note", "partner_id"], "FROM callbacks")
        .await;
    assert_eq!(
        (&kept[0][0], &kept[0][2]),
        (&json!("unmatched"), &Value::Null)
    );
    assert!(kept[0][1].as_str().unwrap().contains("2 partners"));
    assert_eq!(app.transaction(&one, &first).await["status"], "accepted");
    // The token tells whose it is.
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    assert_eq!(app.transaction(&one, &first).await["status"], "success");
    assert_eq!(app.transaction(&two, &second).await["status"], "accepted");
}

async fn an_early_one_without_a_token_waits_only_for_a_single_account(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let path = "/api/v1/mpesa/b2c/result";
    tokenless(&app, path, b2c_result("AG0", 0))
        .await
        .expect(200);
    app.mpesa_account(partner.id).await;
    tokenless(&app, path, b2c_result("AG1", 0))
        .await
        .expect(200);
    app.mpesa_account(partner.id).await;
    tokenless(&app, path, b2c_result("AG2", 0))
        .await
        .expect(200);
    assert_eq!(states(&app.db).await, ["unmatched", "waiting", "unmatched"]);
    for (conversation, status) in [("AG0", "accepted"), ("AG1", "success"), ("AG2", "accepted")] {
        let row = app
            .register(&partner, json!({"conversation_id": conversation}))
            .await;
        assert_eq!(row["status"], status, "{conversation}");
    }
}

async fn early_callbacks_wait_for_a_registration_or_a_patch(db: TestStore) {
    let (app, partner, account) = start(db).await;
    for name in ["AG1", "AG2"] {
        acknowledged(&app, &account, "b2c-result", b2c_result(name, 0)).await;
    }
    acknowledged(
        &app,
        &account,
        "stk",
        stk_callback("ws_CO_1", 1032, "1", ""),
    )
    .await;
    assert_eq!(states(&app.db).await, ["waiting"; 3]);
    assert_eq!(page(&app, &partner, "").await["pagination"]["total"], 0);
    app.db.advance(chrono::Duration::seconds(2));
    let row = app
        .register(&partner, json!({"conversation_id": "AG1"}))
        .await;
    assert_eq!(
        (&row["status"], &row["transaction_receipt"]),
        (&json!("success"), &json!("RAG1"))
    );
    // The status it starts in, then the move: two events in one commit.
    let told = app.transaction(&partner, &row["transaction_id"]).await;
    assert_eq!(kinds(&told), ["registered", "status_changed"]);
    assert_eq!(
        (&told["timeline"][0]["to"], &told["timeline"][1]["source"]),
        (&json!("accepted"), &json!("callback:b2c-result"))
    );
    let queued = app.register(&partner, json!({})).await;
    let path = format!(
        "{TRANSACTIONS}/{}",
        queued["transaction_id"].as_str().unwrap()
    );
    // By the originator conversation id that only the callback knows together with the other.
    let patched = app
        .patch(
            &partner,
            &path,
            &json!({"originator_conversation_id": "O-AG2"}),
        )
        .await
        .expect(200);
    assert_eq!(
        (
            &patched["transaction"]["status"],
            &patched["transaction"]["conversation_id"]
        ),
        (&json!("success"), &json!("AG2"))
    );
    let stk = app
        .register(
            &partner,
            json!({"kind": "stk_push", "conversation_id": "ws_CO_1"}),
        )
        .await;
    assert_eq!(
        (&stk["status"], &stk["result_code"]),
        (&json!("failed"), &json!("1032"))
    );
    assert_eq!(states(&app.db).await, ["applied"; 3]);
    assert_eq!(app.db.count("FROM waiting_callbacks").await, 0);
}

async fn duplicates_change_nothing_and_contradictions_are_noted(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let id = registered(&app, &partner, "AG1").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let stands = app.transaction(&partner, &id).await;
    app.db.advance(chrono::Duration::seconds(5));
    for _ in 0..3 {
        acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    }
    assert_eq!(app.transaction(&partner, &id).await, stands);
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 2001)).await;
    acknowledged(
        &app,
        &account,
        "b2c-result",
        b2c_result("AG1", 0).replace("RAG1", "OTHER"),
    )
    .await;
    let now = app.transaction(&partner, &id).await;
    assert_eq!(
        kinds(&now),
        ["registered", "status_changed", "conflict", "conflict"]
    );
    for name in ["status", "transaction_receipt", "result_code", "updated_at"] {
        assert_eq!(now[name], stands[name], "{name}");
    }
    // A confirmed failure is final too.
    let failed = registered(&app, &partner, "AG2").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG2", 2001)).await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG2", 0)).await;
    let failed = app.transaction(&partner, &failed).await;
    assert_eq!(
        (&failed["status"], &failed["transaction_receipt"]),
        (&json!("failed"), &Value::Null)
    );
    assert_eq!(kinds(&failed), ["registered", "status_changed", "conflict"]);
    // Ids that point at different transactions move neither, and both say so.
    let (one, two) = (
        registered(&app, &partner, "AG3").await,
        registered(&app, &partner, "AG4").await,
    );
    let path = format!("b2c-result/{}", one.as_str().unwrap());
    acknowledged(&app, &account, &path, b2c_result("AG4", 0)).await;
    for id in [one, two] {
        let row = app.transaction(&partner, &id).await;
        assert_eq!(
            (&row["status"], kinds(&row)),
            (&json!("accepted"), vec!["registered", "conflict"])
        );
    }
    assert_eq!(
        states(&app.db).await,
        [
            "applied",
            "duplicate",
            "duplicate",
            "duplicate",
            "conflict",
            "conflict",
            "applied",
            "conflict",
            "conflict"
        ]
    );
}

async fn a_late_success_overturns_an_unconfirmed_failure(db: TestStore) {
    let (app, partner, account) = start(db).await;
    for (code, overturned) in [
        (1037, true),
        (1036, true),
        (26, true),
        (1001, true),
        (9999, true),
        (1032, false),
        (1, false),
    ] {
        let checkout = format!("ws_CO_{code}");
        let id = app
            .register(
                &partner,
                json!({"kind": "stk_push", "conversation_id": checkout}),
            )
            .await["transaction_id"]
            .clone();
        acknowledged(
            &app,
            &account,
            "stk",
            stk_callback(&checkout, code, "1200", ""),
        )
        .await;
        let failed = app.transaction(&partner, &id).await;
        assert_eq!(
            (&failed["status"], &failed["result_code"]),
            (&json!("failed"), &json!(code.to_string()))
        );
        let receipt = format!("LATE{code}");
        acknowledged(
            &app,
            &account,
            "stk",
            stk_callback(&checkout, 0, "1200.00", &receipt),
        )
        .await;
        let row = app.transaction(&partner, &id).await;
        if overturned {
            assert_eq!(
                (&row["status"], &row["transaction_receipt"]),
                (&json!("success"), &json!(receipt))
            );
            assert_eq!(
                kinds(&row),
                ["registered", "status_changed", "late_success"],
                "{code}"
            );
            assert_eq!(row["result_code"], "0");
        } else {
            assert_eq!(
                (&row["status"], kinds(&row)),
                (
                    &json!("failed"),
                    vec!["registered", "status_changed", "conflict"]
                )
            );
        }
    }
    let statistics = &page(&app, &partner, "").await["statistics"];
    assert_eq!(
        (
            &statistics["successful_transactions"],
            &statistics["failed_transactions"]
        ),
        (&json!(5), &json!(2))
    );
}

async fn a_reversal_moves_its_original_with_and_without_parameters(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let originals = [
        registered(&app, &partner, "AG1").await,
        registered(&app, &partner, "AG2").await,
    ];
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    acknowledged(
        &app,
        &account,
        "b2c-result",
        b2c_result("AG2", 0).replace("RAG2", "SKC82PACB8"),
    )
    .await;
    app.db.advance(chrono::Duration::minutes(1));
    // Without parameters only the registered link tells which; with them the receipt does.
    let linked = app
        .register(
            &partner,
            json!({"kind": "reversal", "original_transaction_id": originals[0],
                                   "conversation_id": "AG_20260307_2010364430d9bbdaf873"}),
        )
        .await;
    let unlinked = app
        .register(
            &partner,
            json!({"kind": "reversal", "conversation_id": "AG_20211114_201018edbbf9f1582eaa"}),
        )
        .await;
    acknowledged(
        &app,
        &account,
        "reversal-result",
        fixture("mpesa-reversal-noparameters-1"),
    )
    .await;
    acknowledged(
        &app,
        &account,
        "reversal-result",
        fixture("mpesa-reversal-success-1"),
    )
    .await;
    for (id, reversal) in originals.iter().zip([&linked, &unlinked]) {
        let row = app.transaction(&partner, id).await;
        assert_eq!(
            (&row["status"], &row["reversed_at"]),
            (&json!("failed"), &json!("2026-03-14T15:10:26.535Z"))
        );
        assert_eq!(kinds(&row), ["registered", "status_changed", "reversed"]);
        let reversal = app.transaction(&partner, &reversal["transaction_id"]).await;
        assert_eq!(
            (&reversal["status"], &reversal["original_transaction_id"]),
            (&json!("success"), id)
        );
    }
    let statistics = &page(&app, &partner, "").await["statistics"];
    assert_eq!(
        (
            &statistics["total_transactions"],
            &statistics["failed_transactions"]
        ),
        (&json!(2), &json!(2))
    );
    // A reversal that fails leaves everything as it is.
    let third = registered(&app, &partner, "AG3").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG3", 0)).await;
    app.register(
        &partner,
        json!({"kind": "reversal", "original_transaction_id": third, "conversation_id": "AG9"}),
    )
    .await;
    acknowledged(&app, &account, "reversal-result", b2c_result("AG9", 1)).await;
    assert_eq!(app.transaction(&partner, &third).await["status"], "success");
}

async fn c2b_confirmations_create_their_transaction(db: TestStore) {
    let (app, partner, account) = start(db).await;
    for name in [
        "mpesa-c2b-confirmation-1",
        "mpesa-c2b-confirmation-hash-1",
        "mpesa-c2b-confirmation-1",
    ] {
        acknowledged(&app, &account, "c2b-confirmation", fixture(name)).await;
    }
    assert_eq!(states(&app.db).await, ["applied", "applied", "duplicate"]);
    for (receipt, payer, amount, reference) in [
        ("RKL51ZDR4F", "2547 ***** 126", "5.00", "Sample Transaction"),
        (
            "UC751ZDR4F",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "250.00",
            "INV-2026-7",
        ),
    ] {
        let answer = app
            .get(&partner, &format!("{STATUS}?transaction_receipt={receipt}"))
            .await;
        let row = answer.expect(200)["transactions"][0].clone();
        for (name, value) in [
            ("status", json!("success")),
            ("kind", json!("c2b")),
            ("msisdn", Value::Null),
            ("client_request_id", Value::Null),
            ("account_reference", json!(reference)),
            ("currency", json!("KES")),
        ] {
            assert_eq!(row[name], value, "{receipt} {name}");
        }
        let key = row["payer_key"].as_str().unwrap();
        assert_eq!(key.replace(' ', ""), payer.replace(' ', ""));
        assert!(answer.text.contains(&format!("\"amount\":{amount},")));
        assert!(answer.text.contains(&format!("\"paid_amount\":{amount},")));
    }
    // Another shortcode's money is kept, flagged, and nobody's row.
    let foreign = fixture("mpesa-c2b-confirmation-1")
        .replace("600966", "600134")
        .replace("RKL51ZDR4F", "RKL51ZDR4G");
    acknowledged(&app, &account, "c2b-confirmation", foreign).await;
    let last = app
        .db
        .rows(
            &["state", "note"],
            "FROM callbacks ORDER BY received_at DESC, id DESC LIMIT 1",
        )
        .await;
    assert_eq!(last[0][0], "unmatched");
    assert!(last[0][1].as_str().unwrap().contains("600134"));
    assert_eq!(page(&app, &partner, "").await["pagination"]["total"], 2);
    // A clear number is a number.
    let clear = fixture("mpesa-c2b-confirmation-1")
        .replace("2547 ***** 126", "254712345678")
        .replace("RKL51ZDR4F", "RKL51ZDR4H");
    acknowledged(&app, &account, "c2b-confirmation", clear).await;
    let row = page(&app, &partner, "msisdn=0712345678").await["transactions"][0].clone();
    assert_eq!(
        (&row["msisdn"], &row["payer_key"]),
        (&json!("254712345678"), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn c2b_validation_answers_with_safaricoms_codes() {
    let (app, _, account) = start(TestStore::sqlite().await).await;
    let good: Value = serde_json::from_str(&fixture("mpesa-c2b-confirmation-1")).unwrap();
    let changed = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    for (body, code) in [
        (good.to_string(), "0"),
        (
            changed(
                "MSISDN",
                json!("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            ),
            "0",
        ),
        (changed("MSISDN", Value::Null), "C2B00011"),
        (changed("BillRefNumber", json!("")), "C2B00012"),
        (changed("TransAmount", json!("ten")), "C2B00013"),
        (changed("BusinessShortCode", json!("600134")), "C2B00015"),
        ("not json".to_owned(), "C2B00016"),
        (String::new(), "C2B00016"),
    ] {
        let answer = app.callback(&account, "c2b-validation", body.clone()).await;
        assert_eq!(answer.expect(200)["ResultCode"], code, "{body}");
    }
    assert_eq!(app.db.count("FROM callbacks").await, 8);
    assert_eq!(app.db.count("FROM transactions").await, 0);
}

async fn queue_timeouts_change_no_status(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let id = app
        .register(
            &partner,
            json!({"originator_conversation_id": "600997_Test_32et3241ed8yu"}),
        )
        .await["transaction_id"]
        .clone();
    let path = format!("b2c-timeout/{}", id.as_str().unwrap());
    acknowledged(
        &app,
        &account,
        "b2c-timeout",
        fixture("mpesa-b2c-queuetimeout-1"),
    )
    .await;
    for name in [
        "mpesa-b2c-queuetimeout-2",
        "mpesa-b2c-queuetimeout-3",
        "mpesa-b2c-queuetimeout-4",
    ] {
        acknowledged(&app, &account, "b2c-timeout", fixture(name)).await;
    }
    acknowledged(&app, &account, &path, "anything at all").await;
    let row = app.transaction(&partner, &id).await;
    assert_eq!(
        (&row["status"], &row["result_code"]),
        (&json!("accepted"), &Value::Null)
    );
    assert_eq!(kinds(&row), ["registered", "timeout", "timeout"]);
    // The provider is asked soon: the row's turn is now.
    let due = app
        .db
        .rows(&[&app.db.micros("ask_at")], "FROM open_transactions")
        .await;
    assert!(due[0][0].as_i64().unwrap() <= app.db.now().timestamp_micros());
    // It was paid after all.
    let body = b2c_result("AG1", 0).replace("O-AG1", "600997_Test_32et3241ed8yu");
    acknowledged(&app, &account, "b2c-result", body).await;
    acknowledged(
        &app,
        &account,
        "b2c-timeout",
        fixture("mpesa-b2c-queuetimeout-1"),
    )
    .await;
    assert_eq!(app.transaction(&partner, &id).await["status"], "success");
}

async fn what_cannot_be_read_is_kept_and_acknowledged(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let path = format!("/callbacks/{}/b2c-result", account.callback_token);
    for (media, body) in [
        (Some("application/json"), &b""[..]),
        (None, b"{"),
        (
            Some("text/xml"),
            b"<Result><ResultCode>0</ResultCode></Result>",
        ),
        (
            Some("application/x-www-form-urlencoded"),
            b"ResultCode=0&ConversationID=AG1",
        ),
        (Some("multipart/form-data; boundary=x"), b"--x--"),
        (Some("application/octet-stream"), b"\x00\xff\xfe\x00"),
        (Some("nonsense"), b"[]"),
        (Some("application/json"), b"null"),
        (
            Some("application/json; charset=utf-16"),
            b"\xff\xfe{\x00}\x00",
        ),
    ] {
        let headers: Vec<_> = media
            .map(|media| ("content-type", media))
            .into_iter()
            .collect();
        let answer = app
            .send(Method::POST, &path, &headers, Some(body.to_vec()))
            .await;
        assert_eq!(
            answer.text, r#"{"ResultCode":0,"ResultDesc":"Accepted"}"#,
            "{media:?}"
        );
    }
    assert_eq!(states(&app.db).await, ["unreadable"; 9]);
    let hex = if app.db.is_sqlite() {
        "lower(hex(body))"
    } else {
        "encode(body, 'hex')"
    };
    let bodies = app
        .db
        .rows(&[hex], "FROM callbacks ORDER BY received_at, id")
        .await;
    assert_eq!(bodies[5][0], "00fffe00");
    assert_eq!(
        app.db
            .count(&format!(
                "FROM callbacks WHERE partner_id = '{}'",
                partner.id
            ))
            .await,
        9
    );
    // The largest body that is taken, and one byte more.
    let mut body = vec![b' '; 256 * 1024];
    assert_eq!(
        app.callback(&account, "b2c-result", body.clone())
            .await
            .status,
        200
    );
    body.push(b' ');
    app.callback(&account, "b2c-result", body.clone())
        .await
        .refused(413, "PAYLOAD_1001");
    app.callback(&account, "b2c-result", vec![b' '; 1024 * 1024])
        .await
        .refused(413, "PAYLOAD_1001");
    tokenless(&app, "/api/v1/mpesa/callback", body)
        .await
        .refused(413, "PAYLOAD_1001");
    assert_eq!(app.db.count("FROM callbacks").await, 10);
    // Another media type does not hide a good body.
    let id = registered(&app, &partner, "AG1").await;
    let headers = [("content-type", "text/plain")];
    app.send(
        Method::POST,
        &path,
        &headers,
        Some(b2c_result("AG1", 0).into_bytes()),
    )
    .await
    .expect(200);
    assert_eq!(app.transaction(&partner, &id).await["status"], "success");
}

async fn secrets_are_never_stored(db: TestStore) {
    let (app, _, account) = start(db).await;
    let clickpesa = app
        .account(account.partner_id, Provider::Clickpesa, json!({}))
        .await;
    let bodies = [
        fixture("mpesa-b2c-queuetimeout-1").replace("RC6E9WDxXR4b9X2c6z3gp0oC5Th ==", "TOPSECRET"),
        r#"{"Result":{"SecurityCredential":"TOPSECRET","ConversationID":"A"}}"#.to_owned(),
        r#"{"securitycredential": ["TOPSECRET"], "Password":"TOPSECRET","InitiatorPassword":5}"#
            .to_owned(),
        "Initiator=x&SecurityCredential=TOPSECRET&Remarks=y".to_owned(),
        r#"{"SecurityCredential":"TOPSECR"#.to_owned(),
    ];
    for body in bodies {
        acknowledged(&app, &account, "b2c-timeout", body.clone()).await;
        acknowledged(&app, &account, "b2c-result", body).await;
    }
    acknowledged(
        &app,
        &clickpesa,
        "clickpesa",
        r#"{"event":"X","api-key":"TOPSECRET"}"#,
    )
    .await;
    let text = if app.db.is_sqlite() {
        "CAST(body AS TEXT)"
    } else {
        "convert_from(body, 'UTF8')"
    };
    let kept = app.db.rows(&[text, "news", "note"], "FROM callbacks").await;
    assert_eq!(kept.len(), 11);
    for row in kept {
        assert!(!format!("{row:?}").contains("TOPSECR"), "{row:?}");
    }
}

async fn clickpesa_bodies_carry_a_checksum_where_there_is_a_key(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let key = "test_webhook_secret";
    let account = app
        .account(
            partner.id,
            Provider::Clickpesa,
            json!({"checksum_key": key}),
        )
        .await;
    let believed = app
        .account(partner.id, Provider::Clickpesa, json!({"api_key": "k"}))
        .await;
    let body: Value =
        serde_json::from_str(&fixture("clickpesa-webhook-payment-received-2")).unwrap();
    let signed = |body: &Value, method: Option<&str>, signature: &str| {
        let mut body = body.clone();
        body["checksum"] = json!(signature);
        if let Some(method) = method {
            body["checksumMethod"] = json!(method);
        }
        body.to_string()
    };
    let right = checksum::sign(&body, key);
    assert_eq!(
        right,
        "7204d81dc0422ffccc376e57cfdbe80a02c60b5bebe88bd0f5cce931a9ccd7bf"
    );
    let mut other = body.clone();
    other["data"]["collectedAmount"] = json!("10001");
    for wrong in [
        body.to_string(),
        signed(&body, None, ""),
        signed(&body, None, &"0".repeat(64)),
        signed(&body, None, &checksum::sign(&body, "another key")),
        signed(&other, None, &right),
        "not json".to_owned(),
        String::new(),
    ] {
        app.callback(&account, "clickpesa", wrong.clone())
            .await
            .refused(401, "AUTH_1002");
    }
    let path = format!("/callbacks/{}/clickpesa", account.callback_token);
    let header = async |name: &str, value: &str| {
        app.send(
            Method::POST,
            &path,
            &[(name, value)],
            Some(body.to_string().into_bytes()),
        )
        .await
    };
    header("x-clickpesa-signature", &"0".repeat(64))
        .await
        .refused(401, "AUTH_1002");
    assert_eq!(app.db.count("FROM callbacks").await, 0);
    assert_eq!(page(&app, &partner, "").await["pagination"]["total"], 0);
    acknowledged(&app, &account, "clickpesa", signed(&body, None, &right)).await;
    acknowledged(
        &app,
        &account,
        "clickpesa",
        signed(&body, Some("current"), &right.to_uppercase()),
    )
    .await;
    for name in ["x-clickpesa-signature", "x-clickpesa-checksum"] {
        header(name, &right).await.expect(200);
    }
    // The old method: the values of the top level, one after the other in the order of their keys.
    let flat = json!({"reference": "TX123", "amount": 100, "currency": "USD", "status": "SUCCESS"});
    acknowledged(&app, &believed, "clickpesa", body.to_string()).await;
    let old = hmac_hex(key, "100USDTX123SUCCESS");
    acknowledged(
        &app,
        &account,
        "clickpesa",
        signed(&flat, Some("old"), &old),
    )
    .await;
    assert_eq!(
        states(&app.db).await,
        [
            "applied",
            "duplicate",
            "duplicate",
            "duplicate",
            "duplicate",
            "applied"
        ]
    );
    // Money nobody registered is a transaction of the account's partner.
    let row = page(&app, &partner, "conversation_id=ORD123456").await["transactions"][0].clone();
    for (name, value) in [
        ("kind", "ussd_push"),
        ("status", "success"),
        ("msisdn", "255700000000"),
        ("currency", "TZS"),
        ("provider_status", "SUCCESS"),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
}

async fn what_cannot_be_checked_under_this_master_key_is_not_acknowledged(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app
        .account(
            partner.id,
            Provider::Clickpesa,
            json!({"checksum_key": "k"}),
        )
        .await;
    let stranger = app.under_another_master_key().await;
    let mut body: Value =
        serde_json::from_str(&fixture("clickpesa-webhook-payment-received-2")).unwrap();
    body["checksum"] = json!(checksum::sign(&body, "k"));
    for _ in 0..2 {
        let answer = stranger
            .callback(&account, "clickpesa", body.to_string())
            .await;
        answer.refused(503, "DB_1001");
        assert_ne!(answer.header("retry-after"), "");
    }
    assert_eq!(app.db.count("FROM callbacks").await, 0);
    acknowledged(&app, &account, "clickpesa", body.to_string()).await;
    assert_eq!(states(&app.db).await, ["applied"]);
}

async fn without_a_token_one_of_the_partners_keys_must_have_signed(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for key in ["key one", "key two"] {
        app.account(
            partner.id,
            Provider::Clickpesa,
            json!({"checksum_key": key}),
        )
        .await;
    }
    let row = app
        .register(
            &partner,
            json!({"provider": "clickpesa", "order_reference": "ORD123456"}),
        )
        .await;
    let mut body: Value =
        serde_json::from_str(&fixture("clickpesa-webhook-payment-received-2")).unwrap();
    let path = "/api/v1/clickpesa/callback";
    tokenless(&app, path, body.to_string())
        .await
        .refused(401, "AUTH_1002");
    body["checksum"] = json!(checksum::sign(&body, "key three"));
    tokenless(&app, path, body.to_string())
        .await
        .refused(401, "AUTH_1002");
    assert_eq!(app.db.count("FROM callbacks").await, 0);
    body.as_object_mut().unwrap().remove("checksum");
    body["checksum"] = json!(checksum::sign(&body, "key two"));
    tokenless(&app, path, body.to_string()).await.expect(200);
    assert_eq!(
        app.transaction(&partner, &row["transaction_id"]).await["status"],
        "success"
    );
}

fn hmac_hex(key: &str, text: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    ussd_status::domain::identity::hex(&mac.finalize().into_bytes())
}

async fn another_amount_is_noted_and_does_not_stop_the_payment(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let id = app
        .register(
            &partner,
            json!({"kind": "stk_push", "conversation_id": "ws_CO_1", "amount": "1200.50"}),
        )
        .await["transaction_id"]
        .clone();
    acknowledged(
        &app,
        &account,
        "stk",
        stk_callback("ws_CO_1", 0, "1201.00", "R1"),
    )
    .await;
    let answer = app
        .get(
            &partner,
            &format!("{TRANSACTIONS}/{}", id.as_str().unwrap()),
        )
        .await;
    let row = answer.expect(200)["transaction"].clone();
    assert_eq!(row["status"], "success");
    assert_eq!(
        kinds(&row),
        ["registered", "status_changed", "amount_mismatch"]
    );
    assert!(
        answer.text.contains(r#""amount":1200.50,"#)
            && answer.text.contains(r#""paid_amount":1201.00,"#)
    );
    let statistics = &page(&app, &partner, "").await["statistics"];
    assert_eq!(statistics["successful_amount"].to_string(), "1200.50");
}
