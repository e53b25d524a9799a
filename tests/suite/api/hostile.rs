//! Whatever is sent, nothing panics, nothing is a 5xx, and every callback that was acknowledged was kept.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ussd_status::domain::account::Account;
use ussd_status::domain::transaction::Provider;

use super::{STATUS, TRANSACTIONS, fixture, page, states};
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};

on_both_databases!(
    mutated_callbacks_are_all_acknowledged_and_kept,
    mutated_requests_are_refused_or_taken_and_never_break,
);

/// How many mutants of each kind.
const MUTANTS: usize = 200;
/// Posts under way at once.
const AT_ONCE: usize = 16;

const KINDS: [(&str, &[&str]); 12] = [
    ("stk", &["mpesa-stk-success-1", "mpesa-stk-cancelled-1"]),
    ("b2c-result", &["mpesa-b2c-success-1", "mpesa-b2c-failed-1"]),
    (
        "b2c-timeout",
        &["mpesa-b2c-queuetimeout-1", "mpesa-b2c-queuetimeout-3"],
    ),
    ("reversal-result", &["mpesa-reversal-success-1"]),
    ("reversal-timeout", &["mpesa-reversal-queuetimeout-1"]),
    (
        "balance-result",
        &["mpesa-balance-success-1", "mpesa-balance-map-1"],
    ),
    ("balance-timeout", &["mpesa-balance-queuetimeout-1"]),
    (
        "status-result",
        &["mpesa-status-completed-1", "mpesa-status-spacedkeys-1"],
    ),
    ("status-timeout", &["mpesa-status-queuetimeout-1"]),
    ("c2b-validation", &["mpesa-c2b-validation-1"]),
    (
        "c2b-confirmation",
        &["mpesa-c2b-confirmation-1", "mpesa-c2b-confirmation-hash-1"],
    ),
    (
        "clickpesa",
        &[
            "clickpesa-webhook-payment-received-2",
            "clickpesa-webhook-payout-reversed-1",
        ],
    ),
];

/// Values that readers trip over.
fn odd_value(random: &mut StdRng) -> String {
    let odd = [
        "null".to_owned(),
        "true".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "\"\"".to_owned(),
        "0".to_owned(),
        "-0".to_owned(),
        "-1".to_owned(),
        "1e999".to_owned(),
        "-1e-999".to_owned(),
        "1e99999999999999999999".to_owned(),
        "9".repeat(400),
        format!("0.{}1", "0".repeat(400)),
        "9223372036854775808".to_owned(),
        "99999999999999.99".to_owned(),
        "92233720368547758.07".to_owned(),
        "\"92233720368547758.08\"".to_owned(),
        "\"\\u0000\"".to_owned(),
        "\"a\\u0000b\"".to_owned(),
        "\"\\ud800\"".to_owned(),
        "\"\\udc00\\ud800\"".to_owned(),
        "\"\u{0}\"".to_owned(),
        "\"\u{feff}\u{202e}\u{1F4A9}\"".to_owned(),
        format!("\"{}\"", "x".repeat(5_000)),
        format!("\"{}\"", "\u{1F4A9}".repeat(300)),
        format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000)),
        format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100)),
        "{\"$serde_json::private::Number\":\"1e5\"}".to_owned(),
        "{\"$serde_json::private::Number\":\"x\"}".to_owned(),
        "{\"$serde_json::private::RawValue\":\"[[[\"}".to_owned(),
        "[{\"Key\":\"a\"},5,null,[[]],{\"Name\":{},\"Value\":[]}]".to_owned(),
        "\"99999999999999\"".to_owned(),
        "\"31.02.2024 25:61:61\"".to_owned(),
        "\"A|B|C|D|E|F|G&&|&A|KES|1|2|3|4\"".to_owned(),
        "\"-999999999999999999999|KES|--1|1.|.1|NaN\"".to_owned(),
        "\"254712345678\"".to_owned(),
        "\"%s%n${jndi:ldap://x}' OR 1=1 --\"".to_owned(),
    ];
    odd[random.random_range(0..odd.len())].clone()
}

/// Where the values of a document begin and end, roughly: what stands between a colon and the next comma, bracket or line.
fn a_value(text: &str, random: &mut StdRng) -> Option<(usize, usize)> {
    let colons: Vec<usize> = text.match_indices(':').map(|(at, _)| at + 1).collect();
    let begin = *colons.get(random.random_range(0..colons.len().max(1)))?;
    let rest = &text[begin..];
    let blank = rest.len() - rest.trim_start().len();
    let value = rest.trim_start();
    let length = match value.as_bytes().first()? {
        b'"' => value[1..].find('"')? + 2,
        b'{' | b'[' => 1,
        _ => value.find([',', '}', ']', '\n'])?,
    };
    Some((begin + blank, begin + blank + length))
}

fn mutant(body: &str, number: usize, random: &mut StdRng) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    match number % 8 {
        0 => {
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
            bytes
        }
        1 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            bytes
        }
        2..=5 => match a_value(body, random) {
            Some((begin, end)) => {
                format!("{}{}{}", &body[..begin], odd_value(random), &body[end..]).into_bytes()
            }
            None => bytes,
        },
        6 => {
            // A member twice, with another value first or last.
            let again = format!("{{\"ResultCode\":{},", odd_value(random));
            body.replacen('{', &again, random.random_range(1..3))
                .into_bytes()
        }
        _ => {
            let junk: Vec<u8> = (0..random.random_range(1..40))
                .map(|_| random.random())
                .collect();
            let at = random.random_range(0..bytes.len());
            bytes.splice(at..at, junk);
            bytes
        }
    }
}

/// Rows for the mutants to hit.
async fn targets(app: &TestApp, partner: &TestPartner) {
    for fields in [
        json!({"kind": "stk_push", "conversation_id": "ws_CO_191220191020363925"}),
        json!({"conversation_id": "AG_20240706_2010364430d9bbdaf872"}),
        json!({"kind": "reversal", "conversation_id": "AG_20211114_201018edbbf9f1582eaa"}),
        json!({"originator_conversation_id": "3211-416020-3"}),
        json!({"originator_conversation_id": "600997_Test_32et3241ed8yu"}),
        json!({"provider": "clickpesa", "kind": "payout", "order_reference": "order_123456"}),
    ] {
        app.register(partner, fields).await;
    }
}

async fn mutated_callbacks_are_all_acknowledged_and_kept(db: TestStore) {
    let app = Arc::new(TestApp::start(db).await);
    let partner = app.partner().await;
    let mpesa = app.mpesa_account(partner.id).await;
    let clickpesa = app
        .account(partner.id, Provider::Clickpesa, json!({}))
        .await;
    targets(&app, &partner).await;
    let mut random = StdRng::seed_from_u64(2_547);
    let mut posts: Vec<(Account, &str, Vec<u8>)> = Vec::new();
    for (kind, names) in KINDS {
        let account = if kind == "clickpesa" {
            &clickpesa
        } else {
            &mpesa
        };
        for number in 0..MUTANTS {
            let body = fixture(names[number % names.len()]);
            posts.push((account.clone(), kind, mutant(&body, number, &mut random)));
        }
    }
    let sent = posts.len();
    let answers: Vec<_> = stream::iter(posts)
        .map(|(account, kind, body)| {
            let app = app.clone();
            async move {
                let answer = app.callback(&account, kind, body.clone()).await;
                (kind, body, answer)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for (kind, body, answer) in &answers {
        let body = String::from_utf8_lossy(body);
        assert_eq!(answer.status, 200, "{kind}: {} for {body}", answer.text);
        assert!(answer.json()["ResultDesc"].is_string());
    }
    let kept = states(&app.db).await;
    assert_eq!(kept.len(), sent);
    // Most mutants are damaged somewhere harmless: the readers must not give up at the first oddity.
    let read = kept.iter().filter(|state| *state != "unreadable").count();
    assert!(read * 4 > sent, "{read} of {sent}");
    // Counters and rows still agree, and no amount went astray.
    let body = page(&app, &partner, "limit=100").await;
    let statistics = &body["statistics"];
    let reversals = app
        .db
        .count("FROM transactions WHERE kind = 'reversal'")
        .await;
    assert_eq!(
        body["pagination"]["total"].as_i64().unwrap() - reversals,
        statistics["total_transactions"].as_i64().unwrap()
    );
    let finals = app
        .db
        .count("FROM transactions WHERE kind <> 'reversal' AND status = 'success'")
        .await;
    assert_eq!(statistics["successful_transactions"], finals);
    assert_eq!(
        app.db
            .count("FROM transactions WHERE amount_minor < 0 OR paid_minor < 0")
            .await,
        0
    );
}

async fn mutated_requests_are_refused_or_taken_and_never_break(db: TestStore) {
    let app = Arc::new(
        TestApp::start_with(
            db,
            &[
                ("RATE_LIMIT_POST", "100000"),
                ("RATE_LIMIT_WRITE", "100000"),
                ("RATE_LIMIT_GET", "100000"),
            ],
        )
        .await,
    );
    let partner = app.partner().await;
    let row = app.register(&partner, json!({})).await;
    let one = format!("{TRANSACTIONS}/{}", row["transaction_id"].as_str().unwrap());
    let full = json!({
        "client_request_id": "C1", "msisdn": "254712345678", "amount": 1200.5, "provider": "mpesa", "kind": "reversal",
        "currency": "KES", "origin": "ussd", "tenant_id": "T", "customer_id": "C", "account_reference": "A",
        "conversation_id": "AG1", "originator_conversation_id": "O1", "order_reference": "R1",
        "original_transaction_id": row["transaction_id"],
    });
    let bulk = json!({"transaction_ids": [row["transaction_id"]], "conversation_ids": ["AG1"], "client_request_ids": ["C1"]});
    let ids = json!({"conversation_id": "AG2", "order_reference": "R2"});
    let mut random = StdRng::seed_from_u64(7);
    let mut requests: Vec<(Method, String, Option<Vec<u8>>)> = Vec::new();
    for (method, path, body) in [
        (Method::POST, TRANSACTIONS, full),
        (Method::POST, STATUS, bulk),
        (Method::PATCH, one.as_str(), ids),
    ] {
        let body = body.to_string();
        for number in 0..MUTANTS {
            requests.push((
                method.clone(),
                path.to_owned(),
                Some(mutant(&body, number, &mut random)),
            ));
        }
    }
    let query = "conversation_id=AG1&client_request_id=C1&msisdn=0712345678&status=success&from=2026-01-01T00:00:00Z&limit=5&offset=1";
    for _ in 0..MUTANTS {
        let mut bytes = query.as_bytes().to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            // What a URL may carry.
            bytes[at] = b"%&=+;0a-_.~!*'(),:@/?$T9\x2d"[random.random_range(0..25)];
        }
        requests.push((
            Method::GET,
            format!("{STATUS}?{}", String::from_utf8(bytes).unwrap()),
            None,
        ));
        let cursor: String = (0..random.random_range(1..40))
            .map(|_| char::from(b"AZaz09_-f8"[random.random_range(0..10)]))
            .collect();
        requests.push((Method::GET, format!("{STATUS}?cursor={cursor}"), None));
    }
    let answers: Vec<_> = stream::iter(requests)
        .map(|(method, path, body)| {
            let (app, key) = (app.clone(), partner.key.clone());
            async move {
                let answer = app
                    .send(method, &path, &[("x-api-key", &key)], body.clone())
                    .await;
                (path, body, answer)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for (path, body, answer) in answers {
        let sent = String::from_utf8_lossy(body.as_deref().unwrap_or_default()).into_owned();
        assert!(
            matches!(answer.status.as_u16(), 200 | 201 | 400 | 404 | 409),
            "{path} {sent}: {}",
            answer.text
        );
        assert_eq!(answer.json()["success"], json!(answer.status.is_success()));
    }
    assert_eq!(
        app.send(Method::GET, "/readyz", &[], None).await.status,
        200
    );
}

/// Sends bytes as they are, closes our side, and reads all that comes back.
async fn raw(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.base.trim_start_matches("http://"))
        .await
        .unwrap();
    // The service may answer and close before it has all of it.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(
        std::time::Duration::from_secs(20),
        stream.read_to_end(&mut answer),
    );
    let _ = reading.await.expect("an answer or an end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_http_gets_a_4xx_or_an_end() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    let callback = format!(
        "POST /callbacks/{}/stk HTTP/1.1\r\nhost: x\r\n",
        account.callback_token
    );
    let mut requests: Vec<Vec<u8>> = [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /\r\n\r\n",
        "get / http/1.1\r\n\r\n",
        "G\u{0}T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon here\r\n\r\n",
        "GET / HTTP/1.1\r\n: empty\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nbad\u{1}name: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nvalue: a\u{0}b\r\n\r\n",
        "GET /\u{e9}\u{0} HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET //// HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /%zz/%00/%ff/../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: x\r\n\r\n",
        "CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}",
        "GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "GET /livez HTTP/1.0\r\n\r\n",
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
        "half a requ",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    requests.push(format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(200_000)).into_bytes());
    requests.push(
        format!(
            "GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n",
            "x".repeat(200_000)
        )
        .into_bytes(),
    );
    requests.push(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(2_000)).into_bytes());
    requests.push(
        b"GET / HTTP/1.1\r\nhost: x\r\nx: \xff\xfe\x80\r\nconnection: close\r\n\r\n".to_vec(),
    );
    requests.push(vec![0; 100_000]);
    requests.push((0..=255).cycle().take(50_000).collect());
    for rest in [
        "content-length: nonsense\r\n\r\n{}",
        "content-length: -1\r\n\r\n{}",
        "content-length: +2\r\n\r\n{}",
        "content-length: 99999999999999999999999\r\n\r\n{}",
        "content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        "content-length: 100\r\n\r\nhalf a body",
        "transfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2\r\n{}",
        "transfer-encoding: chunked\r\n\r\n2\r\n{}X0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n-1\r\n",
        "transfer-encoding: gzip, chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: nonsense\r\n\r\n{}",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "content-encoding: gzip\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        "transfer-encoding: chunked\r\nconnection: close\r\n\r\n2;extension=\"x\"\r\n{}\r\n0\r\ntrailer: x\r\n\r\n",
    ] {
        requests.push(format!("{callback}{rest}").into_bytes());
    }
    let mut acknowledged = 0;
    for request in requests {
        let answer = raw(&app, &request).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        for (at, _) in answer.match_indices("HTTP/1.") {
            let status = &answer[at + 9..at + 12];
            assert!(status.starts_with(['1', '2', '4']), "{shown}: {answer}");
        }
        acknowledged += answer.matches("\"ResultDesc\":\"Accepted\"").count();
    }
    assert_eq!(states(&app.db).await.len(), acknowledged);
    assert!(acknowledged >= 2, "{acknowledged}");
    // It lives.
    let body: Value = app.get(&partner, STATUS).await.expect(200);
    assert_eq!(body["pagination"]["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_told_the_methods_and_gets_no_body() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    for (path, allow) in [
        ("/livez", "GET"),
        ("/openapi.yaml", "GET"),
        (STATUS, "GET, POST"),
        ("/api/ussd/transactions/x", "GET, PATCH"),
    ] {
        let request = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = raw(&app, request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 405 "), "{path}: {head}");
        assert!(
            head.contains(&format!("\r\nallow: {allow}\r\n").to_ascii_lowercase()),
            "{path}: {head}"
        );
        assert!(head.contains("\r\nx-request-id: "), "{path}: {head}");
        assert_eq!(body, "", "{path}");
    }
}
