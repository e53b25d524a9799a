//! Starting payments: what each outcome of the call is told as, what a repeat is, and what one partner can do to
//! another. The simulator stands in both providers' place.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use ussd_status::domain::partner::Scope;
use ussd_status::domain::status::Status;
use ussd_status::domain::transaction::Provider;
use ussd_status::simulator::{Fault, FaultPlan};

use super::{TRANSACTIONS, kinds};
use crate::support::TestStore;
use crate::support::build::audit;
use crate::support::paying::{PAYMENTS, Paying, clickpesa_credentials, mpesa_credentials, order};

on_both_databases!(
    every_kind_is_sent_once_and_ends_well,
    a_refused_payment_is_told_in_the_providers_words_and_told_again,
    a_throttled_payment_may_be_tried_again_and_is_not_by_us,
    a_lost_answer_leaves_the_payment_queued_until_its_own_callback,
    news_that_overtakes_the_answer_is_kept,
    the_same_order_again_is_the_same_payment,
    many_repeats_at_once_are_one_call_and_one_token,
    an_identical_prompt_without_a_key_is_stopped,
    another_partners_things_cannot_be_used,
    of_several_accounts_one_must_be_chosen,
    a_repeat_is_told_how_it_stands_whatever_became_of_the_account,
    without_a_token_nothing_was_sent_and_that_is_known,
    a_caller_that_hangs_up_does_not_stop_its_payment,
    a_suspended_partner_starts_nothing,
);

async fn every_kind_is_sent_once_and_ends_well(db: TestStore) {
    let paying = Paying::start(db).await;
    for kind in ["stk_push", "b2c", "ussd_push", "payout"] {
        let answer = paying.pay(order(kind, kind, "5678")).await.expect(201);
        assert_eq!(answer["success"], true);
        let id = &answer["transaction"]["transaction_id"];
        let paid = paying.settled(id).await;
        assert_eq!(paid["status"], "success", "{kind}: {paid}");
        assert_eq!(paid["kind"], kind);
        assert_eq!(paid["amount"].to_string(), "1200.00");
        assert_eq!(
            kinds(&paid)[..2],
            ["registered", "status_changed"],
            "{kind}"
        );
        assert_eq!(paid["timeline"][1]["source"], format!("call:{kind}"));
    }
    let b2c = paying
        .get("/api/ussd/transaction-status?client_request_id=b2c")
        .await
        .expect(200)["transactions"][0]
        .clone();
    let reversal = json!({
        "provider": "mpesa", "kind": "reversal", "amount": 1200, "client_request_id": "back",
        "original_transaction_id": b2c["transaction_id"], "remarks": "Wrong customer",
    });
    let answer = paying.pay(reversal.clone()).await.expect(201);
    let back = paying
        .settled(&answer["transaction"]["transaction_id"])
        .await;
    assert_eq!(back["status"], "success", "{back}");
    assert_eq!(back["original_transaction_id"], b2c["transaction_id"]);
    let original = paying
        .app
        .transaction(&paying.partner, &b2c["transaction_id"])
        .await;
    assert_eq!(original["status"], "failed");
    assert!(original["reversed_at"].is_string());
    // The original is no success any more; the same order again is still the same.
    paying.pay(reversal).await.expect(200);
    assert_eq!(paying.sent().len(), 5);
}

async fn a_refused_payment_is_told_in_the_providers_words_and_told_again(db: TestStore) {
    let paying = Paying::start(db).await;
    for kind in ["stk_push", "b2c", "ussd_push", "payout"] {
        for _ in 0..2 {
            let answer = paying.pay(order(kind, kind, "0007")).await;
            answer.refused(502, "PROVIDER_1001");
            let details = &answer.json()["details"][0];
            assert!(!details["message"].as_str().unwrap().is_empty());
            // Of all these only a busy phone may answer later.
            assert_eq!(details["retryable"], kind == "stk_push", "{details}");
            assert_eq!(details["safe_to_retry"], true);
            let id = &details["transaction_id"];
            let refused = paying.app.transaction(&paying.partner, id).await;
            assert_eq!(refused["status"], "failed");
            assert_eq!(refused["result_description"], details["message"]);
        }
    }
    let refused: u64 = paying
        .simulator
        .ledger()
        .requests
        .values()
        .flat_map(|requests| &requests.answered)
        .filter(|(status, _)| **status >= 400)
        .map(|(_, count)| count)
        .sum();
    assert_eq!(refused, 4);
}

async fn a_throttled_payment_may_be_tried_again_and_is_not_by_us(db: TestStore) {
    let paying = Paying::start(db).await;
    for kind in ["stk_push", "ussd_push"] {
        let answer = paying.pay(order(kind, kind, "0503")).await;
        answer.refused(502, "PROVIDER_1001");
        let details = &answer.json()["details"][0];
        assert_eq!(details["retryable"], true, "{kind}: {details}");
        assert_eq!(details["safe_to_retry"], true);
    }
}

async fn a_lost_answer_leaves_the_payment_queued_until_its_own_callback(db: TestStore) {
    let paying = Paying::start(db).await;
    for kind in ["stk_push", "b2c"] {
        let answer = paying.pay(order(kind, kind, "0500")).await.expect(202);
        assert_eq!(answer["transaction"]["status"], "queued");
        let id = &answer["transaction"]["transaction_id"];
        let paid = paying.settled(id).await;
        assert_eq!(paid["status"], "success", "{paid}");
        // What it is now is what the same order is told.
        paying.pay(order(kind, kind, "0500")).await.expect(200);
    }
    assert_eq!(paying.sent().len(), 2);
}

async fn news_that_overtakes_the_answer_is_kept(db: TestStore) {
    let paying = Paying::start(db).await;
    for kind in ["stk_push", "b2c", "ussd_push"] {
        let answer = paying.pay(order(kind, kind, "0004")).await.expect(201);
        assert_eq!(answer["transaction"]["status"], "success", "{kind}");
        let paid = paying
            .settled(&answer["transaction"]["transaction_id"])
            .await;
        assert_eq!(paid["status"], "success");
    }
}

async fn the_same_order_again_is_the_same_payment(db: TestStore) {
    let paying = Paying::start(db).await;
    let mut first = order("b2c", "KEY", "5678");
    first["remarks"] = json!("Refund");
    let made = paying.pay(first.clone()).await.expect(201);
    paying.simulator.until_quiet().await;
    let again = paying.pay(first.clone()).await.expect(200);
    assert_eq!(
        again["transaction"]["transaction_id"],
        made["transaction"]["transaction_id"]
    );
    // The number in another form is the same number, the key in the header the same key.
    let mut other_form = first.clone();
    other_form["msisdn"] = json!("0712 345 678");
    other_form["amount"] = json!("1200.00");
    other_form
        .as_object_mut()
        .unwrap()
        .remove("client_request_id");
    let headers = [
        ("x-api-key", paying.partner.key.as_str()),
        ("idempotency-key", "KEY"),
    ];
    let body = Some(other_form.to_string().into_bytes());
    let by_header = paying
        .app
        .send(Method::POST, PAYMENTS, &headers, body)
        .await;
    assert_eq!(
        by_header.expect(200)["transaction"]["transaction_id"],
        made["transaction"]["transaction_id"]
    );
    for (field, value) in [("amount", json!(1300)), ("msisdn", json!("254712345679"))] {
        let mut changed = first.clone();
        changed[field] = value;
        let text = paying.pay(changed).await.refused(409, "CONFLICT_1001");
        assert!(text.contains(field), "{text}");
    }
    let mut changed = first.clone();
    changed["remarks"] = json!("Something else");
    paying.pay(changed).await.refused(409, "CONFLICT_1001");
    // A transaction that was only registered is not started by a payment under its key.
    let registered = json!({
        "client_request_id": "ELSEWHERE", "msisdn": "254712345678", "amount": 1200, "kind": "b2c",
    });
    paying.post(TRANSACTIONS, registered).await.expect(201);
    paying
        .pay(order("b2c", "ELSEWHERE", "5678"))
        .await
        .refused(409, "CONFLICT_1001");
    // Both places, and they differ.
    let headers = [
        ("x-api-key", paying.partner.key.as_str()),
        ("idempotency-key", "OTHER"),
    ];
    let body = Some(first.to_string().into_bytes());
    let differing = paying
        .app
        .send(Method::POST, PAYMENTS, &headers, body)
        .await;
    let text = differing.refused(400, "VALIDATION_1002");
    assert!(text.contains("Idempotency-Key"), "{text}");
    assert_eq!(paying.sent().len(), 1);
}

async fn many_repeats_at_once_are_one_call_and_one_token(db: TestStore) {
    let paying = Arc::new(Paying::start(db).await);
    let answers = join_all((0..64).map(|_| {
        let paying = Arc::clone(&paying);
        async move { paying.pay(order("b2c", "ONE", "5678")).await }
    }))
    .await;
    let ids: std::collections::BTreeSet<String> = answers
        .iter()
        .map(|answer| {
            assert!(answer.status.is_success(), "{}", answer.text);
            answer.json()["transaction"]["transaction_id"].to_string()
        })
        .collect();
    assert_eq!(ids.len(), 1);
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1);
    assert_eq!(paying.sent().len(), 1);
    let tokens: u64 = paying.simulator.ledger().token_requests.values().sum();
    assert_eq!(tokens, 1);
}

async fn an_identical_prompt_without_a_key_is_stopped(db: TestStore) {
    let paying = Paying::start(db).await;
    for (kind, ending) in [("stk_push", "5678"), ("ussd_push", "5678")] {
        let mut prompt = order(kind, "", ending);
        prompt.as_object_mut().unwrap().remove("client_request_id");
        let made = paying.pay(prompt.clone()).await.expect(201);
        let id = made["transaction"]["transaction_id"].as_str().unwrap();
        let text = paying
            .pay(prompt.clone())
            .await
            .refused(409, "CONFLICT_1001");
        assert!(text.contains(id), "{text}");
        // Another amount is another payment, and after two minutes so is the same.
        let mut other = prompt.clone();
        other["amount"] = json!(1300);
        paying.pay(other).await.expect(201);
        paying.app.db.advance(chrono::Duration::seconds(121));
        paying.pay(prompt).await.expect(201);
    }
    for kind in ["b2c", "payout"] {
        let mut order = order(kind, "", "5678");
        order.as_object_mut().unwrap().remove("client_request_id");
        let text = paying.pay(order).await.refused(400, "VALIDATION_1002");
        assert!(text.contains("client_request_id"), "{text}");
    }
    assert_eq!(paying.sent().len(), 6);
}

async fn another_partners_things_cannot_be_used(db: TestStore) {
    let paying = Paying::start(db).await;
    let other = paying.app.partner().await;
    let theirs = paying
        .app
        .account(other.id, Provider::Mpesa, mpesa_credentials("theirs"))
        .await;
    let mut order = order("b2c", "MINE", "5678");
    order["account_id"] = json!(theirs.id.to_string());
    let text = paying
        .pay(order.clone())
        .await
        .refused(400, "VALIDATION_1002");
    assert!(text.contains("account_id"), "{text}");
    // The same key is another payment of another partner.
    order["account_id"] = Value::Null;
    let mine = paying.pay(order.clone()).await.expect(201);
    let theirs = paying.app.post(&other, PAYMENTS, &order).await.expect(201);
    let id = &mine["transaction"]["transaction_id"];
    assert_ne!(id, &theirs["transaction"]["transaction_id"]);
    paying.simulator.until_quiet().await;
    let reversal = json!({
        "provider": "mpesa", "kind": "reversal", "amount": 1200, "client_request_id": "THEFT",
        "original_transaction_id": id,
    });
    let answer = paying.app.post(&other, PAYMENTS, &reversal).await;
    answer.refused(404, "NOT_FOUND_1001");
    for path in ["status", "status-detailed", "transactions"] {
        let path = format!("/api/v1/mpesa/{path}/{}", id.as_str().unwrap());
        paying.get(&path).await.expect(200);
        let answer = paying.app.get(&other, &path).await;
        answer.refused(404, "NOT_FOUND_1001");
    }
    let none = paying.app.partner().await;
    let text = paying.app.post(&none, PAYMENTS, &order).await;
    let text = text.refused(400, "VALIDATION_1002");
    assert!(text.contains("no account"), "{text}");
    let reads_only = paying
        .app
        .another_key(paying.partner.id, &[Scope::StatusRead], |_| {})
        .await;
    let headers = [("x-api-key", reads_only.as_str())];
    let body = Some(order.to_string().into_bytes());
    let answer = paying
        .app
        .send(Method::POST, PAYMENTS, &headers, body)
        .await;
    answer.refused(403, "AUTH_1003");
    assert_eq!(paying.sent().len(), 2);
}

async fn of_several_accounts_one_must_be_chosen(db: TestStore) {
    let paying = Paying::start(db).await;
    let second = paying
        .app
        .account(
            paying.partner.id,
            Provider::Mpesa,
            mpesa_credentials("second"),
        )
        .await;
    let mut order = order("b2c", "KEY", "5678");
    let text = paying
        .pay(order.clone())
        .await
        .refused(400, "VALIDATION_1002");
    for account in [&paying.mpesa, &second] {
        assert!(text.contains(&account.id.to_string()), "{text}");
    }
    order["account_id"] = json!(second.id.to_string());
    paying.pay(order).await.expect(201);
    assert_eq!(paying.sent()[0].account, "second");
    // Credentials that cannot be used send nothing.
    let third = paying.app.partner().await;
    let broken = clickpesa_credentials("x");
    let broken = json!({"client_id": broken["client_id"]});
    paying
        .app
        .account(third.id, Provider::Clickpesa, broken)
        .await;
    let order = crate::support::paying::order("payout", "KEY", "5678");
    let answer = paying.app.post(&third, PAYMENTS, &order).await;
    answer.refused(502, "PROVIDER_1001");
    assert_eq!(paying.sent().len(), 1);
}

async fn a_repeat_is_told_how_it_stands_whatever_became_of_the_account(db: TestStore) {
    let paying = Paying::start(db).await;
    let known = order("b2c", "KNOWN", "5678");
    let made = paying.pay(known.clone()).await.expect(201);
    let unknown = order("stk_push", "UNKNOWN", "0500");
    let lost = paying.pay(unknown.clone()).await.expect(202);
    let same = async |order: &Value, made: &Value| {
        let again = paying.pay(order.clone()).await;
        assert!(
            [200, 202].contains(&again.status.as_u16()),
            "{}",
            again.text
        );
        assert_eq!(
            again.json()["transaction"]["transaction_id"],
            made["transaction"]["transaction_id"]
        );
    };
    // A second account: a new order must say which, a repeat need not.
    let credentials = mpesa_credentials("second");
    let app = &paying.app;
    let second = app
        .account(paying.partner.id, Provider::Mpesa, credentials)
        .await;
    let new = order("b2c", "NEW", "5678");
    paying.pay(new).await.refused(400, "VALIDATION_1002");
    same(&known, &made).await;
    same(&unknown, &lost).await;
    let mut elsewhere = known.clone();
    elsewhere["account_id"] = json!(second.id.to_string());
    paying.pay(elsewhere).await.refused(409, "CONFLICT_1001");
    // No account is left.
    for account in [&paying.mpesa, &second] {
        let store = &paying.app.db.store;
        assert!(store.remove_account(account.id, audit()).await.unwrap());
        same(&known, &made).await;
        same(&unknown, &lost).await;
    }
    assert_eq!(paying.sent().len(), 2);
}

async fn without_a_token_nothing_was_sent_and_that_is_known(db: TestStore) {
    // Nobody listens there.
    let nobody = "http://127.0.0.1:1";
    let nowhere = [("MPESA_BASE_URL", nobody), ("CLICKPESA_BASE_URL", nobody)];
    let paying = Paying::start_with(db, &nowhere).await;
    for kind in ["stk_push", "b2c", "ussd_push", "payout"] {
        for _ in 0..2 {
            let answer = paying.pay(order(kind, kind, "5678")).await;
            answer.refused(502, "PROVIDER_1001");
            let details = &answer.json()["details"][0];
            assert_eq!(details["retryable"], true, "{kind}: {details}");
        }
    }
}

async fn a_caller_that_hangs_up_does_not_stop_its_payment(db: TestStore) {
    let paying = Paying::start(db).await;
    let mut slow = FaultPlan::new(1).with(Fault::SlowAnswer, 1.0);
    slow.slow_answer_ms = 600;
    paying.simulator.set_faults(slow);
    let mut commits = paying.app.db.store.commits();
    let impatient = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let request = impatient
        .post(format!("{}{PAYMENTS}", paying.app.base))
        .header("x-api-key", &paying.partner.key)
        .body(order("stk_push", "KEY", "0404").to_string());
    assert!(request.send().await.unwrap_err().is_timeout());
    let accepted = async {
        loop {
            let notice = commits.recv().await.unwrap();
            let mut moves = notice.moves.iter();
            if moves.any(|one| one.status == Status::Accepted) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), accepted)
        .await
        .unwrap();
    paying
        .pay(order("stk_push", "KEY", "0404"))
        .await
        .expect(200);
    assert_eq!(paying.sent().len(), 1);
}

async fn a_suspended_partner_starts_nothing(db: TestStore) {
    let paying = Paying::start(db).await;
    let store = &paying.app.db.store;
    let now = Some(paying.app.db.now());
    let suspended = store.set_partner_suspended(paying.partner.id, now, audit());
    assert!(suspended.await.unwrap());
    for path in [PAYMENTS, "/api/v1/mpesa/stk-push", "/api/v1/mpesa/b2c"] {
        let answer = paying.post(path, order("b2c", "KEY", "5678")).await;
        answer.refused(403, "AUTH_1003");
    }
    assert!(paying.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kind_or_a_provider_has_not_is_refused_by_name() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    for (provider, kind, name) in [
        ("clickpesa", "reversal", "reversal"),
        ("clickpesa", "b2c", "B2C"),
        ("mpesa", "payout", "payout"),
        ("mpesa", "ussd_push", "USSD push"),
    ] {
        let body =
            json!({"provider": provider, "kind": kind, "amount": 1, "client_request_id": "K"});
        let text = paying.pay(body).await.refused(400, "VALIDATION_1002");
        assert_eq!(text, format!("{name} not supported by this provider"));
    }
    let mut order = order("stk_push", "K", "5678");
    order["remarks"] = json!("not of a prompt");
    let text = paying.pay(order).await.refused(400, "VALIDATION_1002");
    assert!(text.contains("remarks"), "{text}");
    assert!(paying.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_is_checked_before_anything_is_sent() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let long = |length: usize| json!("x".repeat(length));
    for (kind, field, good, bad) in [
        ("stk_push", "amount", json!(1), json!(0)),
        ("stk_push", "amount", json!(250_000), json!(250_001)),
        ("stk_push", "amount", json!("7.00"), json!(7.5)),
        ("b2c", "amount", json!(10), json!(9)),
        ("b2c", "amount", json!(250_000), json!(250_001)),
        ("ussd_push", "amount", json!("500.50"), json!("0.001")),
        ("stk_push", "msisdn", json!("0712345678"), json!("0712")),
        (
            "stk_push",
            "msisdn",
            json!("+254712345678"),
            json!("255712345678"),
        ),
        (
            "ussd_push",
            "msisdn",
            json!("0712345678"),
            json!("254712345678"),
        ),
        ("stk_push", "account_reference", long(12), long(13)),
        ("stk_push", "description", long(13), long(14)),
        ("b2c", "remarks", long(2), long(1)),
        ("b2c", "remarks", long(100), long(101)),
        ("b2c", "occasion", long(100), long(101)),
        ("b2c", "purpose", json!("salary"), json!("wages")),
        ("stk_push", "currency", json!("KES"), json!("TZS")),
        ("payout", "currency", json!("USD"), json!("KES")),
        (
            "stk_push",
            "transaction_type",
            json!("CustomerBuyGoodsOnline"),
            json!("CustomerGift"),
        ),
    ] {
        let sent = paying.sent().len();
        let key = format!("{kind} {field} {good}")
            .chars()
            .take(200)
            .collect::<String>();
        let mut body = order(kind, &key, "5678");
        body[field] = bad.clone();
        let text = paying
            .pay(body.clone())
            .await
            .refused(400, "VALIDATION_1002");
        assert!(text.starts_with(field), "{kind} {field} {bad}: {text}");
        assert_eq!(paying.sent().len(), sent, "{kind} {field} {bad}");
        body[field] = good;
        paying.pay(body).await.expect(201);
    }
}
