//! The list, the stories and the live stream: what is shown, to whom, and what is kept from view.

use serde_json::{Value, json};
use ussd_status::console::STREAMS_MAX;
use ussd_status::domain::partner::Scope;

use super::audit_lines;
use crate::api::{acknowledged, b2c_result};
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};
use crate::support::browser::{Browser, token};

on_both_databases!(
    the_list_has_the_apis_filters_and_pages,
    an_operator_sees_all_partners_merged_by_age,
    a_partner_sees_nothing_of_another,
    a_story_tells_what_came_in_and_what_went_out,
    a_whole_number_takes_the_scope_and_is_on_record,
    hostile_text_is_only_text,
);

const LIST: &str = "/console/transactions";

/// The ids of the lines of a page, in their order.
fn lines(page: &str) -> Vec<String> {
    page.split("data-id=\"")
        .skip(1)
        .map(|rest| rest.split_once('"').unwrap().0.to_owned())
        .collect()
}

fn id(row: &Value) -> String {
    row["transaction_id"].as_str().unwrap().to_owned()
}

fn story(partner: &TestPartner, row: &Value) -> String {
    format!("{LIST}/{}/{}", partner.id, id(row))
}

async fn the_list_has_the_apis_filters_and_pages(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let mut ids = Vec::new();
    for index in 0..60 {
        let fields = json!({"client_request_id": format!("R{index}"), "amount": 100 + index});
        ids.insert(0, id(&app.register(&partner, fields).await));
        app.db.clock.advance(chrono::Duration::seconds(1));
    }
    let browser = Browser::with_key(&app, &partner.key).await;
    let first = browser.page(LIST).await;
    assert_eq!(lines(&first), ids[..50]);
    assert!(
        first.contains("60 found") && first.contains("2547*****678"),
        "{first}"
    );
    assert!(!first.contains("254712345678"));
    let next = first.split_once("rel=\"next\" href=\"").unwrap().1;
    let next = next.split_once('"').unwrap().0.replace("&#38;", "&");
    let second = browser.page(&next).await;
    assert_eq!(lines(&second), ids[50..]);
    for (query, found) in [
        ("client_request_id=R7", 1),
        ("status=accepted", 0),
        ("msisdn=0712+345+678&status=&from=", 50),
        ("from=2999-01-01T00%3A00", 0),
        (&format!("transaction_id={}", ids[3]), 1),
    ] {
        let page = browser.page(&format!("{LIST}?{query}")).await;
        assert_eq!(lines(&page).len(), found, "{query}");
    }
    // What the API refuses is refused here in its words, on the page.
    for query in ["msisdn=12", "status=paid", "nonsense=1", "from=yesterday"] {
        let page = browser.page(&format!("{LIST}?{query}")).await;
        assert!(page.contains("role=\"alert\""), "{query}");
        assert!(lines(&page).is_empty());
    }
}

async fn an_operator_sees_all_partners_merged_by_age(db: TestStore) {
    let app = TestApp::start(db).await;
    let (one, two) = (app.partner().await, app.partner().await);
    let mut ids = Vec::new();
    for index in 0..60 {
        let partner = if index % 3 == 0 { &one } else { &two };
        ids.insert(0, id(&app.register(partner, json!({})).await));
        app.db.clock.advance(chrono::Duration::seconds(1));
    }
    let operator = Browser::of_operator(&app, "asha").await;
    let page = operator.page(LIST).await;
    assert_eq!(lines(&page), ids[..50]);
    assert!(page.contains("60 found") && page.contains("Kilimo"));
    let next = page.split_once("rel=\"next\" href=\"").unwrap().1;
    let next = next.split_once('"').unwrap().0.replace("&#38;", "&");
    assert_eq!(lines(&operator.page(&next).await), ids[50..]);
    let chosen = one.id.to_string();
    let answer = operator
        .send_form_of(
            "/console/partners",
            "/console/partners",
            &[("partner", &chosen)],
        )
        .await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text);
    assert_eq!(lines(&operator.page(LIST).await).len(), 20);
}

async fn a_partner_sees_nothing_of_another(db: TestStore) {
    let app = TestApp::start(db).await;
    let (mine, theirs) = (app.partner().await, app.partner().await);
    let row = app.register(&theirs, json!({"amount": 777})).await;
    let browser = Browser::with_key(&app, &mine.key).await;
    assert!(lines(&browser.page(LIST).await).is_empty());
    let own_path = format!("{LIST}/{}/{}", mine.id, id(&row));
    let progress = format!("/console/progress/{}/{}", theirs.id, id(&row));
    for path in [
        story(&theirs, &row),
        own_path,
        progress.clone(),
        format!("{progress}/wait"),
        format!("{LIST}/nonsense/{}", id(&row)),
    ] {
        let answer = browser.get(&path).await;
        assert_eq!(answer.status.as_u16(), 404, "{path}");
        assert!(!answer.text.contains("777.00"), "{}", answer.text);
    }
    let reveal = format!("{}/reveal", story(&theirs, &row));
    let key = app.another_key(mine.id, &Scope::ALL, |_| {}).await;
    let revealing = Browser::with_key(&app, &key).await;
    let answer = revealing.send_form_of("/console", &reveal, &[]).await;
    assert_eq!(answer.status.as_u16(), 404, "{}", answer.text);
    assert!(audit_lines(&app, "msisdn.reveal").await.is_empty());
    let overview = browser.page("/console").await;
    assert!(overview.contains("<p class=\"figure\">0</p>"), "{overview}");
}

async fn a_story_tells_what_came_in_and_what_went_out(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    app.endpoint(partner.id, "http://127.0.0.1:9/never").await;
    let row = app
        .register(&partner, json!({"kind": "b2c", "conversation_id": "AG1"}))
        .await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 1)).await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 1)).await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 2001)).await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let page = browser.page(&story(&partner, &row)).await;
    for told in [
        "Accepted → Failed",
        "B2C ended with 1.",
        "callback:b2c-result",
        "applied",
        "duplicate",
        "&#34;ResultCode&#34;:1",
        "transaction.failed",
        "http://127.0.0.1:9/never",
        "lang=\"sw\"",
    ] {
        assert!(page.contains(told), "{told} is missing in {page}");
    }
    let conflict = page.contains("conflict") || page.contains("Conflict");
    assert!(conflict, "{page}");
    // The documents of the page in the order they happened: the last callback stands first.
    let inbox = page.split_once("Callbacks in").unwrap().1;
    assert!(inbox.find("2001").unwrap() < inbox.find("duplicate").unwrap());
}

async fn a_whole_number_takes_the_scope_and_is_on_record(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let row = app.register(&partner, json!({})).await;
    let path = story(&partner, &row);
    let reveal = format!("{path}/reveal");
    let usual = Browser::with_key(&app, &partner.key).await;
    let page = usual.page(&path).await;
    assert!(!page.contains("254712345678") && !page.contains("Show the whole number"));
    let refused = usual.send_form_of(&path, &reveal, &[]).await;
    assert_eq!(refused.status.as_u16(), 403);
    assert!(refused.text.contains("msisdn:reveal") && !refused.text.contains("254712345678"));
    assert!(audit_lines(&app, "msisdn.reveal").await.is_empty());

    let key = app
        .another_key(
            partner.id,
            &[Scope::StatusRead, Scope::MsisdnReveal],
            |_| {},
        )
        .await;
    let browser = Browser::with_key(&app, &key).await;
    assert!(browser.page(&path).await.contains("Show the whole number"));
    let shown = browser.send_form_of(&path, &reveal, &[]).await;
    assert_eq!(shown.status.as_u16(), 200);
    assert!(shown.text.contains("254712345678"));
    assert!(!browser.page(&path).await.contains("254712345678"));
    let line = &audit_lines(&app, "msisdn.reveal").await[0];
    assert_eq!(line[0], format!("key:{}", key.trim_start_matches("us_")));
    assert_eq!(line[1], partner.id.to_string());
    assert_eq!(line[2], id(&row));
    assert_eq!(line[3], "127.0.0.1");
}

async fn hostile_text_is_only_text(db: TestStore) {
    const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    let fields = json!({
        "kind": "b2c", "client_request_id": HOSTILE, "account_reference": HOSTILE,
        "customer_id": HOSTILE, "tenant_id": HOSTILE, "origin": HOSTILE, "conversation_id": "AG9",
    });
    let row = app.register(&partner, fields).await;
    let mut result: Value = serde_json::from_str(&b2c_result("AG9", 1)).unwrap();
    result["Result"]["ResultDesc"] = json!(HOSTILE);
    acknowledged(&app, &account, "b2c-result", result.to_string()).await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let query = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect::<String>();
    for path in [
        LIST.to_owned(),
        story(&partner, &row),
        "/console".to_owned(),
        format!("{LIST}?client_request_id={query}"),
        format!("{LIST}?status={query}"),
    ] {
        let page = browser.page(&path).await;
        assert!(page.contains("&#60;script&#62;"), "{path}: {page}");
        assert!(
            !page.contains("<script>alert") && !page.contains("<img"),
            "{path}: {page}"
        );
    }
    let wrong = browser.get(&format!("/console?span={query}")).await;
    assert_eq!(wrong.status.as_u16(), 400);
    assert!(!wrong.text.contains("<script>alert"), "{}", wrong.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_sends_the_page_then_what_changes_until_the_session_ends() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let (partner, other) = (app.partner().await, app.partner().await);
    let account = app.mpesa_account(partner.id).await;
    let old = app.register(&partner, json!({})).await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let mut stream = Live::open(&browser, "status=").await;
    let first = stream.until("event: ready").await;
    assert!(
        first.contains(&id(&old)) && first.contains("retry: 3000"),
        "{first}"
    );
    app.register(&other, json!({"amount": 777})).await;
    let new = app
        .register(&partner, json!({"kind": "b2c", "conversation_id": "AG1"}))
        .await;
    let told = stream.until(&id(&new)).await;
    assert!(
        told.contains("tag accepted") && !told.contains("777.00"),
        "{told}"
    );
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let told = stream.until("tag success").await;
    assert!(
        told.contains(&id(&new)) && !told.contains("254712345678"),
        "{told}"
    );

    // A line that the filter no longer wants is taken away.
    let mut waiting = Live::open(&browser, "status=accepted").await;
    waiting.until("event: ready").await;
    let row = app
        .register(&partner, json!({"kind": "b2c", "conversation_id": "AG2"}))
        .await;
    waiting.until(&id(&row)).await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG2", 0)).await;
    waiting
        .until(&format!("event: gone\ndata: {}", id(&row)))
        .await;

    browser
        .send_form_of("/console", "/console/sign-out", &[])
        .await;
    assert!(stream.ends().await && waiting.ends().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_pages_are_counted_and_a_polite_stop_ends_them() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let mut open = Vec::new();
    let mut browser = Browser::with_key(&app, &partner.key).await;
    for opened in 0..STREAMS_MAX {
        // Nobody has so many pages open alone.
        if opened % 100 == 0 {
            browser = Browser::with_key(&app, &partner.key).await;
        }
        open.push(Live::open(&browser, "").await);
    }
    let browser = Browser::with_key(&app, &partner.key).await;
    let refused = browser.get("/console/stream").await;
    assert_eq!(refused.status.as_u16(), 429);
    assert_eq!(refused.header("retry-after"), "3");
    drop(open.pop());
    // The place is free as soon as the server has noticed; until then it is refused.
    let mut one_more = loop {
        let browser = Browser::with_key(&app, &partner.key).await;
        let answer = browser.open_stream("/console/stream").await;
        if answer.status().as_u16() == 200 {
            break Live(answer, String::new());
        }
    };
    app.end().await;
    assert!(one_more.ends().await);
}

/// A stream as it comes.
struct Live(reqwest::Response, String);

impl Live {
    async fn open(browser: &Browser<'_>, query: &str) -> Self {
        let answer = browser
            .open_stream(&format!("/console/stream?{query}"))
            .await;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self(answer, String::new())
    }

    /// Everything until `wanted` has come.
    async fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.1.find(wanted) {
                let end = self.1[at..].find("\n\n").map(|end| at + end + 2);
                if let Some(end) = end {
                    let rest = self.1.split_off(end);
                    return std::mem::replace(&mut self.1, rest);
                }
            }
            let chunk = self.0.chunk().await.unwrap();
            let chunk = chunk.unwrap_or_else(|| panic!("ended before {wanted}: {}", self.1));
            self.1.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Whether it comes to its end.
    async fn ends(&mut self) -> bool {
        loop {
            match self.0.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scope_there_is_no_page() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let key = app
        .another_key(partner.id, &[Scope::StatusRead], |_| {})
        .await;
    let reader = Browser::with_key(&app, &key).await;
    let page = reader.page(LIST).await;
    assert!(!page.contains("href=\"/console/pay\""));
    for path in ["/console/pay"] {
        let answer = reader.get(path).await;
        assert_eq!(answer.status.as_u16(), 403, "{path}");
        assert!(answer.text.contains("payments:write"));
    }
    let key = app
        .another_key(partner.id, &[Scope::PaymentsWrite], |_| {})
        .await;
    let payer = Browser::with_key(&app, &key).await;
    for path in [LIST, "/console", "/console/stream"] {
        let answer = payer.get(path).await;
        assert_eq!(answer.status.as_u16(), 403, "{path}");
        assert!(answer.text.contains("status:read"), "{}", answer.text);
    }
    // Even then there is a way out.
    let out = payer
        .send_form_of("/console/pay", "/console/sign-out", &[])
        .await;
    assert_eq!(out.status.as_u16(), 303);
    assert_ne!(token(&page), "");
}
