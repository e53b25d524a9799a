//! What the customer sees: a screen of text, and the same sentences in `display`; in both languages, in every state.

use chrono::Duration;
use serde_json::{Value, json};
use ussd_status::domain::account::Account;
use ussd_status::domain::clock::Instant;
use ussd_status::domain::ledger::{Command, ProviderAnswer, Word};
use ussd_status::providers::catalogue::{LINE_MAX, septets};

use super::{
    STATUS, TRANSACTIONS, acknowledged, b2c_result, page, registered, start, stk_callback, waiting,
};
use crate::support::TestStore;
use crate::support::app::{Answer, TestApp, TestPartner};
use crate::support::paying::{Paying, order};

on_both_databases!(
    a_screen_follows_a_payment_in_both_languages,
    a_screen_says_what_went_wrong_and_whether_to_pay_again,
    every_kind_has_its_own_words,
    silence_turns_into_do_not_pay_again,
    a_screen_waits_for_the_end,
    a_screen_is_there_before_the_callers_deadline,
    a_screen_is_of_somebody_and_of_this_partner_only,
    a_page_carries_texts_and_timelines,
    a_timeline_on_a_page_is_the_transactions_own,
    the_next_question_comes_when_payments_usually_end,
    what_cannot_be_expanded_is_named,
);

const SCREEN: &str = "/api/ussd/transaction-status/screen";
const KEYS: [&str; 2] = ["\n1. Check again\n0. Exit", "\n1. Angalia tena\n0. Ondoka"];

/// A screen's text in English and in Swahili.
async fn screens(app: &TestApp, partner: &TestPartner, query: &str) -> [String; 2] {
    let english = screen(app, partner, query).await;
    let named = screen(app, partner, &format!("{query}&lang=en")).await;
    assert_eq!(english, named, "English unless told");
    [
        english,
        screen(app, partner, &format!("{query}&lang=sw")).await,
    ]
}

async fn screen(app: &TestApp, partner: &TestPartner, query: &str) -> String {
    shown(&app.get(partner, &format!("{SCREEN}?{query}")).await)
}

fn shown(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(
        septets(&answer.text).unwrap() <= LINE_MAX,
        "{}",
        answer.text
    );
    answer.text.clone()
}

async fn push(app: &TestApp, partner: &TestPartner, checkout: &str) -> Value {
    let fields = json!({"kind": "stk_push", "conversation_id": checkout});
    app.register(partner, fields).await["transaction_id"].clone()
}

async fn a_screen_follows_a_payment_in_both_languages(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let query = "msisdn=0712345678";
    assert_eq!(
        screens(&app, &partner, query).await,
        [
            "END No payment was found.",
            "END Hakuna malipo yaliyopatikana."
        ]
    );
    let fields = json!({"kind": "stk_push", "client_request_id": "C1"});
    let row = app.register(&partner, fields).await;
    let shown = screens(&app, &partner, query).await;
    assert_eq!(
        shown[0],
        format!(
            "CON Your payment of Ksh 1,200.00 is being sent to your phone. Please wait.{}",
            KEYS[0]
        )
    );
    assert!(
        shown[1].starts_with("CON Malipo yako ya Ksh 1,200.00 yanatumwa"),
        "{}",
        shown[1]
    );
    let path = format!("{TRANSACTIONS}/{}", row["transaction_id"].as_str().unwrap());
    let ids = json!({"conversation_id": "ws_CO_1"});
    app.patch(&partner, &path, &ids).await.expect(200);
    assert_eq!(
        screens(&app, &partner, "client_request_id=C1").await,
        [
            format!(
                "CON Enter your M-Pesa PIN on your phone to pay Ksh 1,200.00.{}",
                KEYS[0]
            ),
            format!(
                "CON Weka PIN yako ya M-Pesa kwenye simu yako kulipa Ksh 1,200.00.{}",
                KEYS[1]
            ),
        ]
    );
    let paid = stk_callback("ws_CO_1", 0, "1200.00", "SKE52PAWR9");
    acknowledged(&app, &account, "stk", paid).await;
    for query in [
        query,
        "conversation_id=ws_CO_1",
        "transaction_receipt=SKE52PAWR9",
        "status=success",
        "from=2020-01-01T00:00:00Z",
    ] {
        assert_eq!(
            screens(&app, &partner, query).await,
            [
                "END Payment of Ksh 1,200.00 received. Receipt SKE52PAWR9.",
                "END Malipo ya Ksh 1,200.00 yamepokelewa. Risiti SKE52PAWR9.",
            ],
            "{query}"
        );
    }
    // The newest match.
    push(&app, &partner, "ws_CO_2").await;
    assert!(screen(&app, &partner, query).await.starts_with("CON "));
}

async fn a_screen_says_what_went_wrong_and_whether_to_pay_again(db: TestStore) {
    let (app, partner, account) = start(db).await;
    for (code, safe, english, swahili) in [
        (
            1,
            true,
            "You do not have enough money",
            "Salio lako la M-Pesa halitoshi",
        ),
        (1032, true, "You cancelled", "Umeghairi malipo"),
        (
            2001,
            true,
            "PIN you entered is wrong",
            "PIN ya M-Pesa uliyoweka si sahihi",
        ),
        (
            17,
            false,
            "Check that it went through",
            "Hakikisha kama yamefanikiwa",
        ),
        (1037, false, "do not pay again yet", "usilipe tena kwa sasa"),
        (26, false, "do not pay again yet", "usilipe tena kwa sasa"),
    ] {
        let checkout = format!("ws_CO_{code}");
        push(&app, &partner, &checkout).await;
        let failed = stk_callback(&checkout, code, "1200.00", "");
        acknowledged(&app, &account, "stk", failed).await;
        let query = format!("conversation_id={checkout}");
        let [en, sw] = screens(&app, &partner, &query).await;
        assert!(en.starts_with("END ") && en.contains(english), "{en}");
        assert!(sw.starts_with("END ") && sw.contains(swahili), "{sw}");
        let display = displayed(&app, &partner, &query).await;
        assert_eq!(display["en"], en[4..]);
        assert_eq!(display["sw"], sw[4..]);
        assert_eq!(display["safe_to_retry"], safe, "{code}");
        assert_eq!(display["final"], true);
        assert_eq!(display["next_poll_after_ms"], Value::Null);
    }
    // A code that nobody knows moves nothing and is not guessed.
    push(&app, &partner, "ws_CO_X").await;
    acknowledged(
        &app,
        &account,
        "stk",
        stk_callback("ws_CO_X", 4711, "1200.00", ""),
    )
    .await;
    let display = displayed(&app, &partner, "conversation_id=ws_CO_X").await;
    assert_eq!(
        [&display["final"], &display["safe_to_retry"]],
        [false, false]
    );
    // Late truth: the failure that was not certain was paid after all.
    acknowledged(
        &app,
        &account,
        "stk",
        stk_callback("ws_CO_1037", 0, "1200.00", "LATE1"),
    )
    .await;
    let late = screen(&app, &partner, "conversation_id=ws_CO_1037").await;
    assert_eq!(late, "END Payment of Ksh 1,200.00 received. Receipt LATE1.");
}

async fn displayed(app: &TestApp, partner: &TestPartner, query: &str) -> Value {
    let page = page(app, partner, &format!("{query}&expand=display")).await;
    let row = &page["transactions"][0];
    assert_eq!(row["timeline"], Value::Null);
    row["display"].clone()
}

async fn every_kind_has_its_own_words(db: TestStore) {
    let paying = Paying::start(db).await;
    for (kind, words, missing) in [
        (
            "stk_push",
            "END Payment of Ksh 1,200.00 received. Receipt ",
            "END You do not have enough",
        ),
        (
            "ussd_push",
            "END Payment of TSh 1,200.00 received. Receipt ",
            "END Your payment of TSh 1,200.00 did not go",
        ),
        (
            "b2c",
            "END Ksh 1,200.00 has been sent to you. Receipt ",
            "END Ksh 1,200.00 could not be sent to you.",
        ),
        (
            "payout",
            "END TSh 1,200.00 has been sent to you.",
            "END TSh 1,200.00 went back to the sender.",
        ),
    ] {
        for (ending, expected) in [("5678", words), ("0001", missing)] {
            let key = format!("{kind}-{ending}");
            paying.pay(order(kind, &key, ending)).await;
            paying.simulator.until_quiet().await;
            let query = format!("client_request_id={key}");
            let text = screen(&paying.app, &paying.partner, &query).await;
            assert!(text.starts_with(expected), "{key}: {text}");
        }
    }
    // A payout that is taken back, and the reversal itself.
    let paid = page(&paying.app, &paying.partner, "client_request_id=b2c-5678").await;
    let back = json!({
        "transactionId": paid["transactions"][0]["transaction_id"], "amount": 1200, "remarks": "Sent twice",
        "client_request_id": "BACK",
    });
    paying.post("/api/v1/mpesa/reverse", back).await.expect(200);
    paying.simulator.until_quiet().await;
    let taken = screen(&paying.app, &paying.partner, "client_request_id=b2c-5678").await;
    assert_eq!(taken, "END Ksh 1,200.00 went back to the sender.");
    let display = displayed(&paying.app, &paying.partner, "client_request_id=b2c-5678").await;
    assert_eq!(display["safe_to_retry"], false, "money moved");
    let reversal = screen(&paying.app, &paying.partner, "client_request_id=BACK").await;
    assert!(
        reversal.starts_with("END Ksh 1,200.00 has been returned to you."),
        "{reversal}"
    );
    // Refused when it was to be started.
    let refused = paying.pay(order("stk_push", "BUSY", "0503")).await;
    refused.refused(502, "PROVIDER_1001");
    let display = displayed(&paying.app, &paying.partner, "client_request_id=BUSY").await;
    assert_eq!(display["safe_to_retry"], true);
    assert!(
        display["en"]
            .as_str()
            .unwrap()
            .contains("You have paid nothing"),
        "{display}"
    );
}

async fn silence_turns_into_do_not_pay_again(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let id = push(&app, &partner, "ws_CO_1").await;
    let query = "conversation_id=ws_CO_1";
    assert!(
        screen(&app, &partner, query)
            .await
            .contains("Enter your M-Pesa PIN")
    );
    app.db.advance(Duration::minutes(5));
    let [en, sw] = screens(&app, &partner, query).await;
    assert!(
        en.starts_with("CON We do not know yet") && en.contains("Do not pay again"),
        "{en}"
    );
    assert!(
        sw.starts_with("CON Bado hatujui") && sw.contains("Usilipe tena"),
        "{sw}"
    );
    let command = Command::Answered(Box::new(ProviderAnswer {
        partner_id: partner.id,
        transaction_id: id.as_str().unwrap().parse().unwrap(),
        source: "reconciliation".to_owned(),
        was_unconfirmed: false,
        word: Word::Stuck {
            last_news: app.db.now(),
        },
    }));
    app.db.store.record(command).await.unwrap();
    let [en, sw] = screens(&app, &partner, query).await;
    assert!(en.starts_with("CON We could not find out"), "{en}");
    assert!(
        sw.starts_with("CON Hatujui matokeo") && sw.contains("Usilipe tena"),
        "{sw}"
    );
    let display = displayed(&app, &partner, query).await;
    assert_eq!(display["safe_to_retry"], false);
    assert_eq!(display["next_poll_after_ms"], 30_000);
}

async fn a_screen_waits_for_the_end(db: TestStore) {
    let (app, partner, account) = start(db).await;
    registered(&app, &partner, "AG1").await;
    let path = format!("{SCREEN}?conversation_id=AG1&lang=sw");
    let answer = waiting(&app, &partner, &path, "wait=25").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let answer = answer.await;
    assert_eq!(answer.header("preference-applied"), "wait=25");
    assert_eq!(shown(&answer), "END Umetumiwa Ksh 1,200.00. Risiti RAG1.");
    for header in ["ratelimit", "ratelimit-policy"] {
        assert!(
            answer.header(header).starts_with("\"get\";"),
            "{}",
            answer.header(header)
        );
    }
    let text = app.get(&partner, &format!("{path}&wait=26")).await;
    assert!(
        text.refused(400, "VALIDATION_1002")
            .starts_with("wait is \"26\"")
    );
}

async fn a_screen_is_there_before_the_callers_deadline(db: TestStore) {
    let (app, partner, _) = start(db).await;
    registered(&app, &partner, "AG1").await;
    let path = format!("{SCREEN}?conversation_id=AG1&wait=25");
    let key = ("x-api-key", partner.key.as_str());
    let begun = std::time::Instant::now();
    let headers = [key, ("x-deadline-ms", "2000")];
    let answer = app.send(reqwest::Method::GET, &path, &headers, None).await;
    // Not the 25 seconds; how much less is the machine's affair.
    assert!(begun.elapsed() < std::time::Duration::from_secs(15));
    assert!(shown(&answer).starts_with("CON "));
    let headers = [key, ("x-deadline-ms", "soon")];
    let answer = app.send(reqwest::Method::GET, &path, &headers, None).await;
    let text = answer.refused(400, "VALIDATION_1002");
    assert!(text.starts_with("X-Deadline-Ms is \"soon\""), "{text}");
}

async fn a_screen_is_of_somebody_and_of_this_partner_only(db: TestStore) {
    let (app, partner, _) = start(db).await;
    push(&app, &partner, "ws_CO_1").await;
    let other = app.partner().await;
    let nothing = screen(&app, &other, "conversation_id=ws_CO_1").await;
    assert_eq!(nothing, "END No payment was found.");
    for (query, named) in [
        ("", "conversation_id, client_request_id, msisdn"),
        ("lang=sw", "conversation_id, client_request_id, msisdn"),
        (
            "msisdn=0712345678&lang=fr",
            "lang is \"fr\"; accepted is en or sw",
        ),
        (
            "msisdn=0712345678&limit=1",
            "\"limit\" is not a parameter here",
        ),
        ("msisdn=12", "msisdn \"12\""),
    ] {
        let answer = app.get(&partner, &format!("{SCREEN}?{query}")).await;
        let text = answer.refused(400, "VALIDATION_1002");
        assert!(text.starts_with(named), "{query}: {text}");
    }
    let answer = app.send(reqwest::Method::GET, SCREEN, &[], None).await;
    answer.refused(401, "AUTH_1001");
    let answer = app.post(&partner, SCREEN, &json!({})).await;
    answer.refused(405, "METHOD_1001");
}

async fn a_page_carries_texts_and_timelines(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let first = registered(&app, &partner, "AG1").await;
    let second = registered(&app, &partner, "AG2").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let plain = page(&app, &partner, "limit=2").await;
    assert!(plain["transactions"][0].get("display").is_none());
    let both = page(&app, &partner, "limit=2&expand=timeline,display").await;
    for (row, id) in both["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .zip([&second, &first])
    {
        assert_eq!(row["transaction_id"], *id);
        let alone = app.transaction(&partner, id).await;
        assert_eq!(row["timeline"], alone["timeline"]);
        assert_eq!(row["display"]["final"], row["final"]);
    }
    let names: Vec<&String> = both["transactions"][0]["timeline"][0]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    let mut sorted = ["at", "kind", "from", "to", "source", "result_code", "note"];
    sorted.sort_unstable();
    assert_eq!(names, sorted);
    let path = format!("{TRANSACTIONS}/{}?expand=display", first.as_str().unwrap());
    let alone = app.get(&partner, &path).await.expect(200)["transaction"].clone();
    assert_eq!(
        alone["display"]["en"],
        "Ksh 1,200.00 has been sent to you. Receipt RAG1."
    );
    assert_eq!(alone["timeline"].as_array().unwrap().len(), 2);
    let bulk = json!({"transaction_ids": [first, second], "expand": ["timeline", "display"]});
    let found = app.post(&partner, STATUS, &bulk).await.expect(200);
    assert_eq!(found["transactions"][0]["display"], alone["display"]);
    assert_eq!(found["transactions"][0]["timeline"], alone["timeline"]);
    assert_eq!(found["transactions"][1]["display"]["final"], false);
    let bulk = json!({"transaction_ids": [first], "expand": []});
    let found = app.post(&partner, STATUS, &bulk).await.expect(200);
    assert!(found["transactions"][0].get("timeline").is_none());
}

async fn a_timeline_on_a_page_is_the_transactions_own(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let other = app.partner().await;
    registered(&app, &partner, "AG1").await;
    let theirs = registered(&app, &other, "AG1").await;
    let page = page(&app, &partner, "expand=timeline").await;
    assert_eq!(page["pagination"]["total"], 1);
    assert_eq!(
        page["transactions"][0]["timeline"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let bulk = json!({"transaction_ids": [theirs], "expand": ["timeline"]});
    let found = app.post(&partner, STATUS, &bulk).await.expect(200);
    assert_eq!(found["count"], 0);
}

/// Registers a payment that ends `seconds` later.
async fn ended_after(
    app: &TestApp,
    partner: &TestPartner,
    account: &Account,
    name: &str,
    seconds: i64,
) {
    registered(app, partner, name).await;
    app.db.advance(Duration::seconds(seconds));
    acknowledged(app, account, "b2c-result", b2c_result(name, 0)).await;
}

async fn the_next_question_comes_when_payments_usually_end(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let wait = async |name: &str| {
        let row = displayed(&app, &partner, &format!("conversation_id={name}")).await;
        row["next_poll_after_ms"].as_i64().unwrap()
    };
    registered(&app, &partner, "NEW").await;
    assert_eq!(wait("NEW").await, 5_000, "nothing is known yet");
    for (name, seconds) in [("A", 20), ("B", 18), ("C", 3_600)] {
        ended_after(&app, &partner, &account, name, seconds).await;
    }
    registered(&app, &partner, "OPEN").await;
    let created: Instant = app.db.now();
    assert_eq!(wait("OPEN").await, 20_000, "the median");
    app.db.advance(Duration::seconds(15));
    assert_eq!(wait("OPEN").await, 5_000);
    app.db.advance(Duration::seconds(25));
    assert_eq!(app.db.now() - created, Duration::seconds(40));
    assert_eq!(wait("OPEN").await, 10_000, "then less and less often");
    // Another instance says the same, after a restart too.
    let beside = app.beside(&[]).await;
    let page = page(&beside, &partner, "conversation_id=OPEN&expand=display").await;
    assert_eq!(
        page["transactions"][0]["display"]["next_poll_after_ms"],
        10_000
    );
    // A hint that only the clock has moved makes no other answer.
    let path = format!("{STATUS}?conversation_id=OPEN&expand=display&stats=none");
    let first = app.get(&partner, &path).await;
    app.db.advance(Duration::seconds(8));
    let later = app.get(&partner, &path).await;
    assert_ne!(first.json()["transactions"], later.json()["transactions"]);
    assert_eq!(first.header("etag"), later.header("etag"));
    assert_ne!(first.header("etag"), "");
    // Of its own partner's payments alone.
    let other = app.partner().await;
    registered(&app, &other, "THEIRS").await;
    let row = displayed(&app, &other, "conversation_id=THEIRS").await;
    assert_eq!(row["next_poll_after_ms"], 5_000);
}

async fn what_cannot_be_expanded_is_named(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let id = app.register(&partner, json!({})).await["transaction_id"].clone();
    let one = format!("{TRANSACTIONS}/{}", id.as_str().unwrap());
    for path in [STATUS, &one] {
        for wrong in ["everything", "display,", "display,display", "Display"] {
            let answer = app.get(&partner, &format!("{path}?expand={wrong}")).await;
            let text = answer.refused(400, "VALIDATION_1002");
            let named = format!("expand is \"{wrong}\"; accepted is display and timeline");
            assert!(text.starts_with(&named), "{text}");
        }
    }
    for (wrong, code) in [
        (json!(["texts"]), "VALIDATION_1002"),
        (json!(["display", "display"]), "VALIDATION_1002"),
        (json!("display"), "VALIDATION_1003"),
    ] {
        let bulk = json!({"transaction_ids": [id], "expand": wrong});
        let answer = app.post(&partner, STATUS, &bulk).await;
        assert!(answer.refused(400, code).starts_with("expand "));
    }
}
