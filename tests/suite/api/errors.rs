//! Every error of the contract's table: code, status, text, shape, and what is checked before what.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use ussd_status::domain::partner::Scope;

use super::{STATUS, TRANSACTIONS, acknowledged, b2c_result, page};
use crate::support::TestStore;
use crate::support::app::{Answer, TestApp, TestPartner};
use crate::support::build::audit;

on_both_databases!(
    revoked_expired_and_unknown_keys_are_told_the_same,
    a_suspended_partner_is_refused_while_its_callbacks_are_applied,
    controls_and_odd_texts_never_reach_the_database,
    a_broken_database_is_told_without_its_words,
);

async fn start() -> (TestApp, TestPartner) {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    (app, partner)
}

async fn raw_post(
    app: &TestApp,
    partner: &TestPartner,
    path: &str,
    media: Option<&str>,
    body: &[u8],
) -> Answer {
    let mut headers = vec![("x-api-key", partner.key.as_str())];
    headers.extend(media.map(|media| ("content-type", media)));
    app.send(Method::POST, path, &headers, Some(body.to_vec()))
        .await
}

/// What every error answer of `/api` has.
fn check_shape(answer: &Answer) {
    let body = answer.json();
    assert_eq!(body["success"], json!(false));
    assert!(!body["error"].as_str().unwrap().is_empty());
    assert_eq!(body["request_id"], answer.header("x-request-id"));
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json")
    );
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_missing_or_wrong() {
    let (app, partner) = start().await;
    for headers in [
        &[][..],
        &[("x-api-key", "")],
        &[("x-api-key", "  ")],
        &[("authorization", "Basic dXNlcjpwYXNz")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer")],
    ] {
        let answer = app.send(Method::GET, STATUS, headers, None).await;
        assert_eq!(
            answer.refused(401, "AUTH_1001"),
            "API key is required",
            "{headers:?}"
        );
        check_shape(&answer);
        assert_eq!(answer.header("ratelimit"), "");
    }
    let long = "x".repeat(5_000);
    for key in [
        "wrong",
        &format!("{}x", partner.key),
        &partner.key.to_uppercase(),
        long.as_str(),
    ] {
        let answer = app
            .send(Method::GET, STATUS, &[("x-api-key", key)], None)
            .await;
        assert_eq!(answer.refused(401, "AUTH_1002"), "Invalid API key");
        check_shape(&answer);
    }
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {}", partner.key);
        app.send(Method::GET, STATUS, &[("authorization", &value)], None)
            .await
            .expect(200);
    }
    let both = [
        ("x-api-key", "wrong"),
        ("authorization", &format!("Bearer {}", partner.key)),
    ];
    app.send(Method::GET, STATUS, &both, None)
        .await
        .refused(401, "AUTH_1002");
}

async fn revoked_expired_and_unknown_keys_are_told_the_same(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let now = app.db.now();
    let hour = chrono::Duration::hours(1);
    let revoked = app
        .another_key(partner.id, &Scope::DEFAULT, |key| {
            key.revoked_at = Some(now)
        })
        .await;
    let expired = app
        .another_key(partner.id, &Scope::DEFAULT, |key| {
            key.expires_at = Some(now)
        })
        .await;
    let expiring = app
        .another_key(partner.id, &Scope::DEFAULT, |key| {
            key.expires_at = Some(now + hour)
        })
        .await;
    let mut answers = Vec::new();
    for key in [&revoked, &expired, "us_unknown"] {
        let answer = app
            .send(
                Method::GET,
                STATUS,
                &[("x-api-key", key), ("x-request-id", "same")],
                None,
            )
            .await;
        answer.refused(401, "AUTH_1002");
        answers.push((answer.text, answer.headers.len()));
    }
    assert!(
        answers.windows(2).all(|pair| pair[0] == pair[1]),
        "{answers:?}"
    );
    let with = async |app: &TestApp, key: &str| {
        app.send(Method::GET, STATUS, &[("x-api-key", key)], None)
            .await
    };
    with(&app, &expiring).await.expect(200);
    // An expiry needs no question to the database; a revocation is seen by a process that does not remember the key.
    app.db.advance(hour);
    with(&app, &expiring).await.refused(401, "AUTH_1002");
    with(&app, &partner.key).await.expect(200);
    let key = &app.db.store.list_keys(partner.id).await.unwrap()[0];
    assert!(
        app.db
            .store
            .revoke_key(key.id, app.db.now(), audit())
            .await
            .unwrap()
    );
    with(&app.beside(&[]).await, &partner.key)
        .await
        .refused(401, "AUTH_1002");
}

async fn a_suspended_partner_is_refused_while_its_callbacks_are_applied(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    app.register(&partner, json!({"conversation_id": "AG1"}))
        .await;
    let suspend = async |at| {
        app.db
            .store
            .set_partner_suspended(partner.id, at, audit())
            .await
            .unwrap()
    };
    assert!(suspend(Some(app.db.now())).await);
    let later = app.beside(&[]).await;
    for (method, path) in [
        (Method::GET, STATUS),
        (Method::POST, STATUS),
        (Method::POST, TRANSACTIONS),
        (Method::GET, "/api/ussd/transactions/x"),
        (Method::PATCH, "/api/ussd/transactions/x"),
    ] {
        let answer = later
            .send(method, path, &[("x-api-key", &partner.key)], None)
            .await;
        assert_eq!(
            answer.refused(403, "AUTH_1003"),
            "This partner is suspended"
        );
        check_shape(&answer);
    }
    acknowledged(&later, &account, "b2c-result", b2c_result("AG1", 0)).await;
    assert!(suspend(None).await);
    let rows = page(&app.beside(&[]).await, &partner, "").await;
    assert_eq!(rows["transactions"][0]["status"], "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_the_scope_is_refused_by_name() {
    let (app, partner) = start().await;
    for (scope, passes) in [
        (Scope::StatusRead, [true, true, false]),
        (Scope::PaymentsWrite, [false, false, true]),
    ] {
        let key = app.another_key(partner.id, &[scope], |_| {}).await;
        let narrow = TestPartner {
            id: partner.id,
            key,
        };
        let answers = [
            app.get(&narrow, STATUS).await,
            app.post(&narrow, STATUS, &json!({"client_request_ids": ["C"]}))
                .await,
            app.post(&narrow, TRANSACTIONS, &json!({})).await,
        ];
        for (answer, passes) in answers.iter().zip(passes) {
            if passes {
                assert!(matches!(answer.status.as_u16(), 200 | 400));
            } else {
                let text = answer.refused(403, "AUTH_1003");
                assert!(text.contains(":read") || text.contains(":write"), "{text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_come_before_methods_before_keys_before_bodies() {
    let (app, partner) = start().await;
    let key = ("x-api-key", partner.key.as_str());
    let wrong = ("x-api-key", "wrong");
    let big = Some(vec![b'x'; 300 * 1024]);
    let send = async |method, path: &str, header, body| {
        app.send(
            method,
            path,
            &[header, ("content-type", "text/plain")],
            body,
        )
        .await
    };
    for path in [
        "/",
        "/api",
        "/api/ussd",
        "/api/ussd/transaction-statuses",
        "/api/ussd/transaction-status/",
        "/API/ussd/transaction-status",
        "/api/ussd/transactions/a/b",
        "/callbacks",
        "/callbacks/x",
        "/api/v1/mpesa",
        "/nonsense%00",
        "/%ff",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = send(method, path, wrong, None).await;
            assert_eq!(
                answer.refused(404, "NOT_FOUND_1001"),
                "No such route",
                "{path}"
            );
        }
    }
    for (path, allow, methods) in [
        (
            STATUS,
            "GET, POST",
            vec![Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS],
        ),
        (TRANSACTIONS, "POST", vec![Method::GET, Method::PUT]),
        (
            "/api/ussd/transactions/x",
            "GET, PATCH",
            vec![Method::POST, Method::DELETE],
        ),
        ("/api/v1/mpesa/callback", "POST", vec![Method::GET]),
        ("/callbacks/x/stk", "POST", vec![Method::GET, Method::PUT]),
        ("/livez", "GET", vec![Method::POST]),
        ("/openapi.yaml", "GET", vec![Method::POST]),
        ("/api-docs", "GET", vec![Method::POST]),
    ] {
        for method in methods {
            let answer = send(method, path, wrong, None).await;
            answer.refused(405, "METHOD_1001");
            assert_eq!(answer.header("allow"), allow, "{path}");
        }
    }
    send(Method::POST, STATUS, wrong, big.clone())
        .await
        .refused(401, "AUTH_1002");
    let key_text = app
        .another_key(partner.id, &[Scope::WebhooksWrite], |_| {})
        .await;
    send(Method::POST, STATUS, ("x-api-key", &key_text), big.clone())
        .await
        .refused(403, "AUTH_1003");
    send(Method::POST, STATUS, key, big.clone())
        .await
        .refused(413, "PAYLOAD_1001");
    send(Method::POST, STATUS, key, Some(b"not json".to_vec()))
        .await
        .refused(415, "MEDIA_1001");
    send(
        Method::PATCH,
        &format!("{TRANSACTIONS}/x"),
        key,
        Some(b"not json".to_vec()),
    )
    .await
    .refused(415, "MEDIA_1001");
    let limited = app.beside(&[("RATE_LIMIT_POST", "1")]).await;
    limited
        .post(&partner, STATUS, &json!({}))
        .await
        .refused(400, "VALIDATION_1001");
    limited
        .send(
            Method::POST,
            STATUS,
            &[key, ("content-type", "text/plain")],
            big,
        )
        .await
        .refused(429, "RATE_1001");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_requests_are_echoed_or_made() {
    let (app, partner) = start().await;
    let longest = "~".repeat(128);
    for id in ["a", "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~", longest.as_str()] {
        for path in [STATUS, "/nowhere", "/livez"] {
            let headers = [("x-api-key", partner.key.as_str()), ("x-request-id", id)];
            assert_eq!(
                app.send(Method::GET, path, &headers, None)
                    .await
                    .header("x-request-id"),
                id
            );
        }
    }
    let too_long = "x".repeat(129);
    let mut made = Vec::new();
    for id in ["", "a b", "a\tb", "caf\u{e9}", too_long.as_str()] {
        let headers = [("x-api-key", partner.key.as_str()), ("x-request-id", id)];
        let answer = app.send(Method::GET, STATUS, &headers, None).await;
        made.push(answer.header("x-request-id").to_owned());
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        // What has an entity tag may be kept by its own caller.
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        let headers = [("x-request-id", id)];
        let refused = app.send(Method::GET, STATUS, &headers, None).await;
        assert_eq!(refused.header("cache-control"), "no-store");
    }
    assert!(made.iter().all(|id| id.len() == 36), "{made:?}");
    made.dedup();
    assert_eq!(made.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn problem_details_for_who_asks() {
    let (app, partner) = start().await;
    for accept in [
        "application/problem+json",
        "application/problem+json, application/json;q=0.5",
    ] {
        let headers = [
            ("x-api-key", partner.key.as_str()),
            ("accept", accept),
            ("x-request-id", "r1"),
        ];
        let answer = app
            .send(Method::GET, &format!("{STATUS}?limit=0"), &headers, None)
            .await;
        let text = answer.refused(400, "VALIDATION_1002");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let body = answer.json();
        assert_eq!(
            body,
            json!({
                "type": "about:blank", "title": "Bad Request", "status": 400, "detail": text,
                "success": false, "error": text, "error_code": "VALIDATION_1002", "request_id": "r1",
                "details": [{"field": "limit", "message": text.strip_prefix("limit ").unwrap()}],
            })
        );
    }
    let answer = app
        .send(
            Method::GET,
            "/nowhere",
            &[("accept", "application/problem+json")],
            None,
        )
        .await;
    assert_eq!(answer.refused(404, "NOT_FOUND_1001"), "No such route");
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named_with_what_was_sent_and_what_is_accepted() {
    let (app, partner) = start().await;
    for (query, field, words) in [
        ("limit=0", "limit", &["\"0\"", "1 to 100"][..]),
        ("limit=101", "limit", &["\"101\"", "1 to 100"]),
        ("limit=-1", "limit", &["\"-1\""]),
        ("limit=1.5", "limit", &["\"1.5\"", "whole number"]),
        ("limit=10.0", "limit", &["whole number"]),
        ("limit=1e1", "limit", &["whole number"]),
        ("limit=%2B5", "limit", &["\"+5\""]),
        ("limit=ten", "limit", &["\"ten\""]),
        ("limit=99999999999999999999", "limit", &["1 to 100"]),
        ("limit=%D9%A1", "limit", &["whole number"]),
        ("offset=-1", "offset", &["\"-1\"", "from 0"]),
        ("offset=1.0", "offset", &["whole number"]),
        ("offset=9223372036854775808", "offset", &["whole number"]),
        (
            "status=done",
            "status",
            &["\"done\"", "queued, accepted, success or failed"],
        ),
        ("status=SUCCESS", "status", &["accepted"]),
        ("transaction_id=123", "transaction_id", &["\"123\"", "UUID"]),
        (
            "transaction_id=bb8ab64ce1aa4f4faae354d9c84b0c26",
            "transaction_id",
            &["UUID"],
        ),
        ("msisdn=12345", "msisdn", &["\"12345\"", "254712345678"]),
        ("msisdn=256712345678", "msisdn", &["255"]),
        ("from=yesterday", "from", &["\"yesterday\"", "RFC 3339"]),
        ("to=2026-03-14", "to", &["RFC 3339"]),
        ("to=2026-03-14T00:00:00+03:00", "to", &["%2B"]),
        ("cursor=abc", "cursor", &["\"abc\"", "next_cursor"]),
        ("stats=all", "stats", &["\"all\"", "none"]),
        ("limit=", "limit", &["empty"]),
        ("limit", "limit", &["empty"]),
        ("msisdn=%20", "msisdn", &["empty"]),
        ("limit=5&limit=5", "limit", &["more than once"]),
        (
            "status=failed&status=success",
            "status",
            &["more than once"],
        ),
        (
            "Limit=5",
            "\"Limit\"",
            &["conversation_id, client_request_id"],
        ),
        ("client_request=1", "\"client_request\"", &["accepted"]),
        ("=1", "\"\"", &["accepted"]),
        ("conversation_id=a%00b", "conversation_id", &["control"]),
        ("conversation_id=a%0Ab", "conversation_id", &["control"]),
        ("conversation_id=%FF", "conversation_id", &["UTF-8"]),
    ] {
        let answer = app.get(&partner, &format!("{STATUS}?{query}")).await;
        let text = answer.refused(400, "VALIDATION_1002");
        check_shape(&answer);
        assert!(text.starts_with(field), "{query}: {text}");
        for word in words {
            assert!(text.contains(word), "{query}: {text}");
        }
        let detail = &answer.json()["details"][0];
        assert_eq!(detail["field"], field, "{query}");
        assert!(text.ends_with(detail["message"].as_str().unwrap()));
    }
    let long = format!("{STATUS}?conversation_id={}", "x".repeat(201));
    assert!(
        app.get(&partner, &long)
            .await
            .refused(400, "VALIDATION_1002")
            .contains("200 characters")
    );
    // Nothing that was sent comes back whole if it is long, nor as a line of its own.
    let text = app
        .get(&partner, &format!("{STATUS}?limit={}", "9".repeat(150)))
        .await
        .refused(400, "VALIDATION_1002");
    assert!(text.len() < 200, "{text}");
    // Odd percent-encoding stands for itself.
    for odd in [
        "conversation_id=100%",
        "conversation_id=%zz",
        "conversation_id=%2",
        "&&conversation_id=a&",
    ] {
        page(&app, &partner, odd).await;
    }
    let query = page(&app, &partner, "conversation_id=100%").await["query"].clone();
    assert_eq!(query["conversation_id"], "100%");
    // A cursor excludes an offset, 0 included; other routes take no parameters.
    app.register(&partner, json!({})).await;
    app.register(&partner, json!({})).await;
    let cursor = page(&app, &partner, "limit=1").await["pagination"]["next_cursor"].clone();
    let both = format!(
        "{STATUS}?limit=1&offset=0&cursor={}",
        cursor.as_str().unwrap()
    );
    let text = app
        .get(&partner, &both)
        .await
        .refused(400, "VALIDATION_1002");
    assert!(text.contains("offset") && text.contains("cursor"));
    let bulk = json!({"client_request_ids": ["C"]});
    for (method, path, body) in [
        (
            Method::POST,
            format!("{STATUS}?limit=5"),
            Some(bulk.to_string().into_bytes()),
        ),
        (
            Method::POST,
            format!("{TRANSACTIONS}?dry_run=true"),
            Some(b"{}".to_vec()),
        ),
        (
            Method::GET,
            format!("{TRANSACTIONS}/00000000-0000-7000-8000-000000000000?limit=1"),
            None,
        ),
    ] {
        let answer = app
            .send(method, &path, &[("x-api-key", &partner.key)], body)
            .await;
        assert!(
            answer
                .refused(400, "VALIDATION_1002")
                .contains("is not a parameter here"),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_must_be_json_of_the_documented_shape() {
    let (app, partner) = start().await;
    for body in [
        &b""[..],
        b" ",
        b"{",
        b"not json",
        b"{\"client_request_ids\":[\"C\"]",
        b"{\"client_request_ids\":[\"C\"]} x",
        b"{'client_request_ids':['C']}",
        b"\xff\xfe",
        b"{\"client_request_ids\":[\"\\ud800\"]}",
        b"{\"client_request_ids\":[\"\xff\"]}",
        b"[]",
        b"null",
        b"\"text\"",
        b"5",
        b"{\"client_request_ids\":\"C\"}",
        b"{\"client_request_ids\":{\"a\":\"C\"}}",
        b"{\"client_request_ids\":[1]}",
        b"{\"client_request_ids\":[null]}",
        b"{\"client_request_ids\":[[\"C\"]]}",
        b"{\"transaction_ids\":5,\"client_request_ids\":[\"C\"]}",
        b"{\"conversation_ids\":true}",
    ] {
        let answer = raw_post(&app, &partner, STATUS, Some("application/json"), body).await;
        answer.refused(400, "VALIDATION_1003");
        check_shape(&answer);
    }
    let deep = format!("{{\"client_request_ids\":{}", "[".repeat(10_000));
    raw_post(&app, &partner, STATUS, None, deep.as_bytes())
        .await
        .refused(400, "VALIDATION_1003");
    for (body, place) in [
        (r#"{"client_request_ids":["a",1]}"#, "client_request_ids[1]"),
        (r#"{"conversation_ids":"a"}"#, "conversation_ids"),
    ] {
        let answer = raw_post(&app, &partner, STATUS, None, body.as_bytes()).await;
        assert!(answer.refused(400, "VALIDATION_1003").contains(place));
        assert_eq!(answer.json()["details"][0]["field"], place);
    }
    let register = |field: &str, value: Value| {
        let mut body = json!({"client_request_id": "C", "msisdn": "254712345678", "amount": 1});
        body[field] = value;
        body
    };
    for (field, value) in [
        ("client_request_id", json!(5)),
        ("msisdn", json!(254_712_345_678_i64)),
        ("amount", json!(true)),
        ("amount", json!([1])),
        ("amount", json!({"value": 1})),
        ("provider", json!(1)),
        ("tenant_id", json!({})),
        ("conversation_id", json!(["AG"])),
        ("original_transaction_id", json!(7)),
    ] {
        let answer = app
            .post(&partner, TRANSACTIONS, &register(field, value))
            .await;
        assert!(answer.refused(400, "VALIDATION_1003").starts_with(field));
    }
    // Null is absence, of optional and of required fields.
    app.post(&partner, TRANSACTIONS, &register("tenant_id", Value::Null))
        .await
        .expect(201);
    let text = app
        .post(&partner, TRANSACTIONS, &register("amount", Value::Null))
        .await
        .refused(400, "VALIDATION_1002");
    assert_eq!(text, "amount is required");
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_needs_ids_and_not_too_many() {
    let (app, partner) = start().await;
    let documented =
        "At least one of transaction_ids, conversation_ids, or client_request_ids is required";
    for body in [
        json!({}),
        json!({"transaction_ids": [], "conversation_ids": [], "client_request_ids": []}),
        json!({"transaction_ids": null, "conversation_ids": null}),
    ] {
        let answer = app.post(&partner, STATUS, &body).await;
        assert_eq!(answer.refused(400, "VALIDATION_1001"), documented);
        check_shape(&answer);
    }
    let uuid = "00000000-0000-7000-8000-000000000000";
    let hundred = json!({"client_request_ids": vec!["same"; 98], "conversation_ids": ["a"], "transaction_ids": [uuid]});
    app.post(&partner, STATUS, &hundred).await.expect(200);
    for body in [
        json!({"client_request_ids": vec!["same"; 101]}),
        json!({"client_request_ids": vec!["same"; 50], "conversation_ids": vec!["a"; 50], "transaction_ids": [uuid]}),
    ] {
        let text = app
            .post(&partner, STATUS, &body)
            .await
            .refused(400, "VALIDATION_1004");
        assert!(text.contains("101") && text.contains("100"), "{text}");
    }
    for (body, place) in [
        (
            json!({"transaction_ids": [uuid, "nonsense"]}),
            "transaction_ids[1]",
        ),
        (json!({"transaction_ids": [""]}), "transaction_ids[0]"),
        (
            json!({"transaction_ids": [uuid.replace('-', "")]}),
            "transaction_ids[0]",
        ),
        (
            json!({"conversation_ids": ["a", ""]}),
            "conversation_ids[1]",
        ),
        (
            json!({"client_request_ids": ["a\u{0}"]}),
            "client_request_ids[0]",
        ),
        (
            json!({"client_request_ids": ["x".repeat(201)]}),
            "client_request_ids[0]",
        ),
        (
            json!({"client_request_ids": ["a"], "clientRequestIds": ["a"]}),
            "\"clientRequestIds\"",
        ),
    ] {
        let answer = app.post(&partner, STATUS, &body).await;
        let text = answer.refused(400, "VALIDATION_1002");
        assert!(text.starts_with(place), "{text}");
        assert_eq!(answer.json()["details"][0]["field"], place);
    }
    let twice = br#"{"client_request_ids":["a"],"client_request_ids":["b"]}"#;
    let text = raw_post(&app, &partner, STATUS, None, twice)
        .await
        .refused(400, "VALIDATION_1002");
    assert!(text.contains("client_request_ids") && text.contains("more than once"));
}

#[tokio::test(flavor = "multi_thread")]
async fn media_types_that_are_json_and_those_that_are_not() {
    let (app, partner) = start().await;
    let body = br#"{"client_request_ids":["C"]}"#;
    for media in [
        None,
        Some("application/json"),
        Some("Application/JSON; charset=utf-8"),
        Some("application/json;charset=UTF-8"),
        Some("application/vnd.partner+json"),
    ] {
        raw_post(&app, &partner, STATUS, media, body)
            .await
            .expect(200);
    }
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "text/json",
        "application/jsonx",
        "multipart/form-data",
        "*/*",
    ] {
        let answer = raw_post(&app, &partner, STATUS, Some(media), body).await;
        assert!(answer.refused(415, "MEDIA_1001").contains(media), "{media}");
        check_shape(&answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_drained_so_that_the_answer_is_seen() {
    let (app, partner) = start().await;
    let padded = |size: usize| {
        let body = br#"{"client_request_ids":["C"]}"#;
        let mut padded = vec![b' '; size - body.len()];
        padded.extend_from_slice(body);
        padded
    };
    raw_post(&app, &partner, STATUS, None, &padded(256 * 1024))
        .await
        .expect(200);
    for size in [256 * 1024 + 1, 300 * 1024, 1024 * 1024] {
        for path in [STATUS, TRANSACTIONS] {
            let answer = raw_post(&app, &partner, path, None, &padded(size)).await;
            assert!(answer.refused(413, "PAYLOAD_1001").contains("256 KiB"));
            check_shape(&answer);
        }
    }
    // The connection lives on: the next request on it is answered.
    let head = format!(
        "POST {STATUS} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-length: 307200\r\n\r\n",
        partner.key
    );
    let mut stream = tokio::net::TcpStream::connect(app.base.trim_start_matches("http://"))
        .await
        .unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&padded(307_200)).await.unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 413") && text.contains("HTTP/1.1 200 OK"),
        "{text}"
    );
}

async fn controls_and_odd_texts_never_reach_the_database(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let with = |field: &str, value: &str| {
        let mut body = json!({"client_request_id": "C", "msisdn": "254712345678", "amount": 1});
        body[field] = json!(value);
        body
    };
    for field in [
        "client_request_id",
        "origin",
        "tenant_id",
        "customer_id",
        "account_reference",
        "conversation_id",
        "originator_conversation_id",
        "order_reference",
    ] {
        for value in [
            "",
            "  ",
            "a\u{0}b",
            "a\nb",
            "\u{7f}",
            "\u{85}",
            &"x".repeat(201),
        ] {
            let text = app
                .post(&partner, TRANSACTIONS, &with(field, value))
                .await
                .refused(400, "VALIDATION_1002");
            assert!(text.starts_with(field), "{text}");
        }
    }
    for field in [
        "msisdn",
        "amount",
        "provider",
        "kind",
        "currency",
        "original_transaction_id",
    ] {
        for value in ["", "a\u{0}b", "nonsense"] {
            let text = app
                .post(&partner, TRANSACTIONS, &with(field, value))
                .await
                .refused(400, "VALIDATION_1002");
            assert!(text.starts_with(field) && !text.contains('\u{0}'), "{text}");
        }
    }
    assert_eq!(app.db.count("FROM transactions").await, 0);
    // What is merely odd is kept and found as it was sent.
    let odd = "\u{1F4B8} O'Neill; DROP TABLE \"x\" -- %_\\ \u{202e}e\u{301}";
    app.post(&partner, TRANSACTIONS, &with("client_request_id", odd))
        .await
        .expect(201);
    let query: String = url::form_urlencoded::byte_serialize(odd.as_bytes()).collect();
    let found = page(&app, &partner, &format!("client_request_id={query}")).await;
    assert_eq!(found["transactions"][0]["client_request_id"], odd);
    assert_eq!(found["query"]["client_request_id"], odd);
    for wildcard in ["%25", "_", "*", "'", "%5C"] {
        let none = page(&app, &partner, &format!("client_request_id={wildcard}")).await;
        assert_eq!(none["pagination"]["total"], 0, "{wildcard}");
    }
}

async fn a_broken_database_is_told_without_its_words(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    let row = app
        .register(&partner, json!({"conversation_id": "AG1"}))
        .await;
    let one = format!("{TRANSACTIONS}/{}", row["transaction_id"].as_str().unwrap());
    app.db
        .execute("ALTER TABLE transactions RENAME TO hidden")
        .await;
    let body = json!({"client_request_id": "C", "msisdn": "0712345678", "amount": 1});
    let bulk = json!({"conversation_ids": ["AG1"]});
    for answer in [
        app.get(&partner, STATUS).await,
        app.get(&partner, &one).await,
        app.post(&partner, STATUS, &bulk).await,
        app.post(&partner, TRANSACTIONS, &body).await,
        app.patch(&partner, &one, &json!({"order_reference": "R"}))
            .await,
    ] {
        assert_eq!(
            answer.refused(500, "DB_1001"),
            "Failed to fetch transactions"
        );
        check_shape(&answer);
        assert!(!answer.text.contains("hidden") && !answer.text.contains("no such table"));
    }
    // What cannot be kept is not acknowledged.
    app.callback(&account, "b2c-result", b2c_result("AG1", 0))
        .await
        .refused(500, "DB_1001");
    assert_eq!(app.db.count("FROM callbacks").await, 0);
    app.db
        .execute("ALTER TABLE hidden RENAME TO transactions")
        .await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    assert_eq!(
        app.transaction(&partner, &row["transaction_id"]).await["status"],
        "success"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn https_and_pages_have_their_headers() {
    let (app, partner) = start().await;
    let plain = app.get(&partner, STATUS).await;
    assert_eq!(plain.header("strict-transport-security"), "");
    let public = app
        .beside(&[("PUBLIC_URL", "https://pay.example.com")])
        .await;
    for path in [STATUS, "/nowhere", "/livez"] {
        let answer = public.get(&partner, path).await;
        // Other names under this domain are not ours to bind.
        assert_eq!(
            answer.header("strict-transport-security"),
            "max-age=31536000",
            "{path}"
        );
    }
    let page = app.send(Method::GET, "/api-docs/", &[], None).await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert_eq!(
        (
            page.header("x-frame-options"),
            page.header("x-dns-prefetch-control")
        ),
        ("DENY", "off")
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    // Metrics are for callers on this machine.
    assert_eq!(
        app.send(Method::GET, "/metrics", &[], None).await.status,
        200
    );
    let proxied = app.beside(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let away = [("x-forwarded-for", "192.0.2.1")];
    proxied
        .send(Method::GET, "/metrics", &away, None)
        .await
        .refused(404, "NOT_FOUND_1001");
}
