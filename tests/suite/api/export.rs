//! Statements over HTTP: what a partner downloads is what the status API shows, whole or noticeably not.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::Method;
use serde_json::{Value, json};

use super::{STATUS, acknowledged, b2c_result, page};
use crate::support::TestStore;
use crate::support::app::{Answer, TestApp, TestPartner};

const EXPORT: &str = "/api/ussd/transactions/export";
/// Rows whose statement no socket's buffers hold.
const MANY: usize = 60_000;

on_both_databases!(
    a_statement_shows_what_the_status_api_shows,
    a_statement_is_the_partners_own,
    what_is_not_understood_is_refused_before_anything_is_sent,
);

async fn export(app: &TestApp, partner: &TestPartner, query: &str, accept: &str) -> Answer {
    let headers = [("x-api-key", partner.key.as_str()), ("accept", accept)];
    let path = format!("{EXPORT}{query}");
    app.send(Method::GET, &path, &headers, None).await
}

async fn a_statement_shows_what_the_status_api_shows(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    for (name, code) in [("AG1", 0), ("AG2", 2001), ("AG3", -1)] {
        let fields = json!({"conversation_id": name, "customer_id": "=cmd|'/c calc'!A1", "tenant_id": "a, \"b\""});
        app.register(&partner, fields).await;
        if code >= 0 {
            acknowledged(&app, &account, "b2c-result", b2c_result(name, code)).await;
        }
        app.db.advance(chrono::Duration::seconds(5));
    }
    let shown = page(&app, &partner, "").await;
    let answer = export(&app, &partner, "", "application/x-ndjson").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"transactions-20260314T150941Z.ndjson\""
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("ratelimit").starts_with("\"write\""));
    let lines: Vec<&str> = answer.text.lines().collect();
    let mut newest_first = shown["transactions"].as_array().unwrap().clone();
    newest_first.reverse();
    assert_eq!(lines.len(), 4);
    for (line, row) in lines.iter().zip(&newest_first) {
        assert_eq!(&serde_json::from_str::<Value>(line).unwrap(), row);
    }
    let status = app.get(&partner, STATUS).await;
    assert!(status.text.contains(lines[2]), "byte by byte");
    let totals: Value = serde_json::from_str(lines[3]).unwrap();
    let (totals, statistics) = (
        &totals["totals"]["by_currency"]["KES"],
        &shown["statistics"],
    );
    assert_eq!(
        totals["success"]["count"],
        statistics["successful_transactions"]
    );
    assert_eq!(totals["success"]["amount"], statistics["successful_amount"]);
    assert_eq!(totals["failed"]["count"], statistics["failed_transactions"]);
    assert_eq!(
        totals["accepted"]["count"],
        statistics["pending_transactions"]
    );

    let answer = export(&app, &partner, "?status=failed", "*/*").await;
    assert_eq!(
        answer.header("content-type"),
        "text/csv; charset=utf-8; header=present"
    );
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |record: &csv::StringRecord, name: &str| {
        let at = head.iter().position(|other| other == name).unwrap();
        record[at].to_owned()
    };
    assert_eq!(records.len(), 6);
    assert_eq!(cell(&records[0], "customer_id"), "'=cmd|'/c calc'!A1");
    assert_eq!(cell(&records[0], "tenant_id"), "a, \"b\"");
    assert_eq!(cell(&records[0], "amount"), "1200.00");
    assert_eq!(
        (cell(&records[4], "status"), cell(&records[4], "count")),
        ("failed".to_owned(), "1".to_owned())
    );
}

async fn a_statement_is_the_partners_own(db: TestStore) {
    let app = TestApp::start(db).await;
    let (mine, theirs) = (app.partner().await, app.partner().await);
    app.register(&theirs, json!({"conversation_id": "AG1"}))
        .await;
    for query in ["", "?conversation_id=AG1", "?msisdn=254712345678"] {
        let answer = export(&app, &mine, query, "application/x-ndjson").await;
        assert_eq!(answer.text.lines().count(), 1, "{}", answer.text);
    }
}

async fn what_is_not_understood_is_refused_before_anything_is_sent(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for (query, told) in [
        ("?limit=10", "\"limit\" is not a parameter here"),
        ("?cursor=AAAA", "\"cursor\" is not a parameter here"),
        ("?status=paid", "status is \"paid\""),
        ("?from=yesterday", "from is \"yesterday\""),
        ("?msisdn=12", "msisdn \"12\""),
    ] {
        let answer = export(&app, &partner, query, "text/csv").await;
        let text = answer.refused(400, "VALIDATION_1002");
        assert!(text.contains(told), "{text}");
    }
    let text = export(&app, &partner, "", "application/json")
        .await
        .refused(400, "VALIDATION_1002");
    assert!(
        text.contains("\"application/json\"") && text.contains("application/x-ndjson"),
        "{text}"
    );
    app.send(Method::GET, EXPORT, &[], None)
        .await
        .refused(401, "AUTH_1001");
}

/// Rows behind the store's back: the walk reads nothing but them.
async fn many(db: &TestStore, partner: &TestPartner) {
    db.execute(&format!(
        "INSERT INTO transactions (partner_id, id, provider, kind, origin, registered_ids, currency, amount_minor, status, \
         unconfirmed, result_description, created_at, updated_at) \
         WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {MANY}) \
         SELECT '{}', printf('00000000-0000-7000-8000-%012d', i), 'mpesa', 'b2c', 'ussd', 0, 'KES', 100, 'success', false, \
         'The service request is processed successfully.', 1700000000000000 + i * 1000, 1700000000000000 + i * 1000 FROM s",
        partner.id
    ))
    .await;
}

/// A figure of the metrics, which all tests of this process share.
async fn figure(app: &TestApp, name: &str) -> f64 {
    let metrics = app.send(Method::GET, "/metrics", &[], None).await.text;
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.map_or(0.0, |line| {
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    })
}

// On one database only: no other test may break a statement off meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_away_ends_the_walk() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    many(&app.db, &partner).await;
    let broken_off = "ussd_status_exports_total{ended=\"broken off\"}";
    let rows = "ussd_status_exported_rows_total";
    let (broken_before, rows_before) = (figure(&app, broken_off).await, figure(&app, rows).await);
    let address = app.base.strip_prefix("http://").unwrap().to_owned();
    let request = format!(
        "GET {EXPORT} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\n\r\n",
        partner.key
    );
    let begun = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut some = [0; 4_096];
        let read = stream.read(&mut some).unwrap();
        String::from_utf8_lossy(&some[..read]).into_owned()
    });
    let begun = begun.await.unwrap();
    assert!(begun.starts_with("HTTP/1.1 200"), "{begun}");
    while figure(&app, broken_off).await <= broken_before {
        tokio::task::yield_now().await;
    }
    let written = figure(&app, rows).await - rows_before;
    assert!(written < MANY as f64, "{written} rows were read for nobody");
    // One who stays gets them all.
    let whole = export(&app, &partner, "", "text/csv").await.text;
    assert_eq!(whole.lines().count(), MANY + 6);
    assert!(whole.ends_with(&format!(",{MANY}\r\n")));
}
