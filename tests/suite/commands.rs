//! The real binary through its own command line: stopped politely, refused, and set up.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::TestStore;
use crate::support::program::{CREDENTIALS, Place, client, customer, registration};

#[tokio::test(flavor = "multi_thread")]
async fn a_polite_stop_answers_what_is_in_flight() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let customer = customer(&place);
    let mut program = place.serve();
    let body = registration("C1");
    let head = format!(
        "POST /api/ussd/transactions HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n",
        customer.key,
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(&program.address)
        .await
        .unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..10]).await.unwrap();
    // One more request on another connection: when it is answered, the first is under way too.
    let ready = client()
        .get(format!("{}/readyz", program.base()))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 200);
    drop(ready);
    let begun = Instant::now();
    program.signal("-TERM");
    while std::net::TcpStream::connect(&program.address).is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it accepts still"
        );
        tokio::task::yield_now().await;
    }
    stream.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (code, log) = program.end(Duration::from_secs(15));
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("\"stopped\"")
            && !log.contains("254712345678")
            && !log.contains(&customer.key),
        "{log}"
    );
    assert_eq!(db.count("FROM transactions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_to_start_on_what_it_cannot_work_with() {
    let db = TestStore::sqlite_unmigrated().await;
    let place = Place::new(&db);
    let problem = place.fails(1, &["serve", "--listen", "127.0.0.1:0", "--no-migrate"], "");
    assert!(
        problem.contains("migrations are pending") && problem.contains("ussd-status migrate"),
        "{problem}"
    );
    let applied = place.json(&["migrate", "--json"], "");
    assert!(!applied["applied"].as_array().unwrap().is_empty());
    assert_eq!(
        place.json(&["migrate", "--json"], ""),
        json!({"applied": []})
    );
    let with = |name: &str, value: Option<&str>, arguments: &[&str]| {
        let mut command = place.command(arguments);
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
        let output = command.output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{name}={value:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.stdout.is_empty());
        let problem = String::from_utf8(output.stderr).unwrap();
        assert!(problem.contains(name), "{problem}");
        problem
    };
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for arguments in [
        &serve[..],
        &[
            "account",
            "create",
            "--partner",
            "00000000-0000-7000-8000-000000000000",
            "--provider",
            "mpesa",
            "--credentials",
            "-",
        ],
    ] {
        assert!(with("MASTER_KEY", None, arguments).contains("openssl rand -base64 32"));
        with("MASTER_KEY", Some("c2hvcnQ="), arguments);
    }
    for (name, value, words) in [
        (
            "DATABASE_URL",
            "mysql://user:hunter2@host/x",
            "sqlite://PATH",
        ),
        ("RATE_LIMIT_GET", "many", "\"many\""),
        ("SHUTDOWN_GRACE", "25", "\"25\""),
        ("TRUSTED_PROXIES", "everyone", "CIDR"),
        ("RUST_LOG", "ussd_status=loud", "info,ussd_status=debug"),
        ("LISTEN_ADDR", "localhost", "127.0.0.1:8080"),
    ] {
        let arguments: &[&str] = if name == "LISTEN_ADDR" {
            &["serve"]
        } else {
            &serve
        };
        let problem = with(name, Some(value), arguments);
        assert!(
            problem.contains(words) && !problem.contains("hunter2"),
            "{problem}"
        );
    }
    for arguments in [
        &["serve", "--nonsense"][..],
        &["nonsense"],
        &["partner", "create"],
        &["key", "revoke", "not-a-uuid"],
    ] {
        place.fails(2, arguments, "");
    }
    let problem = place.fails(
        1,
        &[
            "key",
            "revoke",
            "00000000-0000-7000-8000-000000000000",
            "--json",
        ],
        "",
    );
    assert!(problem.contains("there is no key"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_has_one_serve_and_a_server_several() {
    let arguments = ["serve", "--listen", "127.0.0.1:0"];
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let first = place.serve();
    let refused = place.fails(1, &arguments, "");
    assert!(refused.contains("another serve"), "{refused}");
    // Other commands go on beside it, and a killed one holds nobody up.
    customer(&place);
    drop(first);
    drop(place.serve());
    let db = TestStore::postgres().await;
    let place = Place::new(&db);
    let _first = place.serve();
    drop(place.serve());
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_refuses_a_master_key_that_does_not_open_what_is_kept() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let customer = customer(&place);
    let other = ussd_status::vault::new_master_key().unwrap();
    let refused = || {
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
        let output = command.env("MASTER_KEY", &other).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let problem = refused();
    assert!(
        problem.contains("MASTER_KEY: ") && problem.contains("credentials of account:"),
        "{problem}"
    );
    db.execute("UPDATE provider_accounts SET removed_at = created_at")
        .await;
    let url = "http://127.0.0.1:9/hook";
    place.json(
        &[
            "webhook",
            "create",
            "--partner",
            &customer.id,
            "--url",
            url,
            "--json",
        ],
        "",
    );
    let problem = refused();
    assert!(problem.contains("signing secret of endpoint:"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_needs_no_settings_and_keeps_its_key_to_itself() {
    use std::os::unix::fs::PermissionsExt;
    let db = TestStore::sqlite_unmigrated().await;
    let place = Place::new(&db);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "not a line of settings\n").unwrap();
    let output = place
        .command(&[
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--duration",
            "1s",
            "--data-dir",
            "d",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{problem}");
    let key = std::fs::metadata(folder.path().join("d/demo-master.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_answers_one_object() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let partner = place.json(
        &[
            "partner",
            "create",
            "--name",
            "Kilimo",
            "--currency",
            "TZS",
            "--json",
        ],
        "",
    );
    assert_eq!(keys(&partner), "api_key id name");
    let id = partner["id"].as_str().unwrap();
    let listed = place.json(&["partner", "list", "--json"], "");
    assert_eq!(
        (
            &listed["partners"][0]["id"],
            &listed["partners"][0]["currency"]
        ),
        (&partner["id"], &json!("TZS"))
    );
    assert!(
        !listed
            .to_string()
            .contains(partner["api_key"].as_str().unwrap())
    );
    let done = json!({"id": id, "done": true});
    assert_eq!(place.json(&["partner", "suspend", id, "--json"], ""), done);
    assert_eq!(place.json(&["partner", "resume", id, "--json"], ""), done);
    let key = place.json(
        &[
            "key",
            "create",
            "--partner",
            id,
            "--scope",
            "status:read",
            "--expires-in",
            "90d",
            "--json",
        ],
        "",
    );
    assert_eq!(keys(&key), "api_key expires_at id scopes");
    assert_eq!(key["scopes"], json!(["status:read"]));
    let usual = place.json(&["key", "create", "--partner", id, "--json"], "");
    assert_eq!(
        (&usual["scopes"], &usual["expires_at"]),
        (
            &json!(["status:read", "payments:write", "webhooks:write"]),
            &Value::Null
        )
    );
    let key_id = key["id"].as_str().unwrap();
    assert_eq!(
        place.json(&["key", "revoke", key_id, "--json"], ""),
        json!({"id": key_id, "done": true})
    );
    let used_at = db.now();
    db.store
        .record_key_use(key_id.parse().unwrap(), used_at)
        .await
        .unwrap();
    let listed = place.json(&["key", "list", "--partner", id, "--json"], "");
    let listed = listed["keys"].as_array().unwrap();
    assert_eq!(listed.len(), 3);
    let used_at = used_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    for one in listed {
        let wanted = match one["id"] == key["id"] {
            true => json!(used_at),
            false => Value::Null,
        };
        assert_eq!(one["last_used_at"], wanted, "{one}");
    }
    let table = place.run(&["key", "list", "--partner", id], "").stdout;
    let table = String::from_utf8(table).unwrap();
    assert_eq!(table.matches("never used").count(), 2, "{table}");
    assert!(
        table.contains(&format!("revoked  last used {used_at}")),
        "{table}"
    );
    for (arguments, word) in [
        (["--scope", "everything"], "msisdn:reveal"),
        (["--expires-in", "90"], "90d"),
    ] {
        let arguments = ["key", "create", "--partner", id, arguments[0], arguments[1]];
        assert!(place.fails(2, &arguments, "").contains(word));
    }
    // Accounts: what is wrong is named, what is secret is never shown.
    let create = |provider: &str, credentials: &str| {
        let arguments = [
            "account",
            "create",
            "--partner",
            id,
            "--provider",
            provider,
            "--credentials",
            "-",
            "--json",
        ];
        place.run(&arguments, credentials)
    };
    for (provider, credentials, named) in [
        (
            "mpesa",
            r#"{"environment":"sandbox","shortcode":"1","consumer_key":"TOPSECRET"}"#,
            "consumer_secret is missing",
        ),
        (
            "mpesa",
            r#"{"environment":"sandbox","shortcode":"1","consumer_key":"TOPSECRET","consumer_secret":"TOPSECRET","pass_key":"TOPSECRET"}"#,
            "\"pass_key\"",
        ),
        (
            "mpesa",
            r#"{"environment":"test","shortcode":"1","consumer_key":"TOPSECRET","consumer_secret":"TOPSECRET"}"#,
            "sandbox or production",
        ),
        (
            "mpesa",
            r#"{"environment":"sandbox","shortcode":1,"consumer_key":"TOPSECRET","consumer_secret":"TOPSECRET"}"#,
            "shortcode",
        ),
        (
            "mpesa",
            r#"{"environment":"sandbox","shortcode":"1","consumer_key":"","consumer_secret":"TOPSECRET"}"#,
            "consumer_key",
        ),
        (
            "clickpesa",
            r#"{"environment":"sandbox","client_id":"TOPSECRET"}"#,
            "api_key is missing",
        ),
        ("clickpesa", r#"["TOPSECRET"]"#, "JSON object"),
        ("clickpesa", r#"{"api_key":"TOPSECRET"#, "JSON object"),
        ("paypal", "{}", "mpesa, clickpesa"),
    ] {
        let output = create(provider, credentials);
        let problem = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{problem}");
        assert!(
            problem.contains(named) && !problem.contains("TOPSECRET"),
            "{problem}"
        );
    }
    for (provider, credentials, kinds) in [
        ("mpesa", CREDENTIALS, 11),
        (
            "clickpesa",
            r#"{"environment":"sandbox","client_id":"c","api_key":"TOPSECRET"}"#,
            1,
        ),
    ] {
        let output = create(provider, credentials);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("TOPSECRET"));
        let account: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(keys(&account), "callback_token callback_urls id");
        let token = account["callback_token"].as_str().unwrap();
        assert!(
            token.len() == 32
                && token
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        );
        let urls = account["callback_urls"].as_object().unwrap();
        assert_eq!(urls.len(), kinds);
        assert!(urls.iter().all(|(kind, url)| {
            url.as_str()
                .unwrap()
                .ends_with(&format!("/callbacks/{token}/{kind}"))
        }));
    }
    let text = place.json(&["account", "list", "--json"], "").to_string();
    assert!(text.contains("600966") && !text.contains("TOPSECRET"));
    assert_eq!(db.count("FROM provider_accounts").await, 2);
    // Webhooks.
    let webhook = place.json(
        &[
            "webhook",
            "create",
            "--partner",
            id,
            "--url",
            "http://127.0.0.1:9/hook",
            "--json",
        ],
        "",
    );
    assert_eq!(keys(&webhook), "id secret url");
    assert!(webhook["secret"].as_str().unwrap().starts_with("whsec_"));
    let mut strict = place.command(&[
        "webhook",
        "create",
        "--partner",
        id,
        "--url",
        "http://127.0.0.1:9/hook",
    ]);
    assert_eq!(
        strict
            .env("WEBHOOK_ALLOW_PRIVATE", "false")
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
    trusts_no_wrong_authorities(&place, id);
    let listed = place.json(&["webhook", "list", "--partner", id, "--json"], "");
    assert!(!listed.to_string().contains("whsec_"));
    let webhook_id = webhook["id"].as_str().unwrap();
    webhooks_are_managed(&place, id, webhook_id);
    assert_eq!(
        place.json(&["webhook", "remove", webhook_id, "--json"], ""),
        json!({"id": webhook_id, "done": true})
    );
    let audited = db.count("FROM audit_log").await;
    assert!(audited >= 9, "{audited}");
}

fn webhooks_are_managed(place: &Place, partner: &str, id: &str) {
    let done = json!({"id": id, "done": true});
    let update = [
        "webhook",
        "update",
        id,
        "--event",
        "transaction.failed",
        "--concurrency",
        "2",
        "--rate",
        "5",
        "--json",
    ];
    assert_eq!(place.json(&update, ""), done);
    assert_eq!(place.json(&["webhook", "disable", id, "--json"], ""), done);
    let listed = place.json(&["webhook", "list", "--partner", partner, "--json"], "");
    let endpoint = &listed["endpoints"][0];
    assert_eq!(endpoint["events"], json!(["transaction.failed"]));
    assert_eq!(
        (
            &endpoint["enabled"],
            &endpoint["concurrency"],
            &endpoint["rate_per_second"]
        ),
        (&json!(false), &json!(2), &json!(5))
    );
    let range = [
        "webhook",
        "replay",
        id,
        "--since",
        "2026-01-01T00:00:00Z",
        "--json",
    ];
    let refused = place.command(&range).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("webhook enable"));
    assert_eq!(place.json(&["webhook", "enable", id, "--json"], ""), done);
    let replayed = place.json(&range, "");
    assert_eq!(
        (&replayed["count"], &replayed["done"]),
        (&json!(0), &json!(true))
    );
    let rotated = place.json(&["webhook", "rotate-secret", id, "--json"], "");
    assert!(rotated["previous_secret_until"].is_string());
    assert!(rotated["secret"].as_str().unwrap().starts_with("whsec_"));
    let changed = place.json(
        &["webhook", "update", id, "--signature", "v1a", "--json"],
        "",
    );
    let public = changed["public_key"].as_str().unwrap();
    assert!(public.starts_with("whpk_"), "{changed}");
    assert_eq!(changed.get("secret"), None);
    let listed = place.json(&["webhook", "list", "--partner", partner, "--json"], "");
    let shown = listed["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["id"] == *id);
    let shown = shown.unwrap();
    assert_eq!(
        (&shown["signature"], &shown["public_key"]),
        (&json!("v1a"), &json!(public))
    );
    let rotated = place.json(&["webhook", "rotate-secret", id, "--json"], "");
    assert_ne!(rotated["public_key"], json!(public));
    assert_eq!(rotated.get("secret"), None);
    let unknown = ["webhook", "update", id, "--signature", "v2"];
    let problem = place.fails(2, &unknown, "");
    assert!(
        problem.contains("v2") && problem.contains("v1, v1a"),
        "{problem}"
    );
    let deliveries = place.json(
        &["webhook", "deliveries", id, "--state", "dead", "--json"],
        "",
    );
    assert_eq!(deliveries, json!({"deliveries": [], "next_cursor": null}));
    // Nobody listens there: the object says so, and the exit too.
    let tested = place
        .command(&["webhook", "test", id, "--json"])
        .output()
        .unwrap();
    assert_eq!(tested.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&tested.stdout).unwrap();
    assert_eq!(
        (&said["delivered"], &said["status"]),
        (&json!(false), &Value::Null)
    );
    for wrong in [
        vec!["webhook", "update", id],
        vec!["webhook", "update", id, "--event", "transaction.lost"],
        vec!["webhook", "update", id, "--concurrency", "65"],
        vec!["webhook", "update", id, "--rate", "1001"],
        vec!["webhook", "deliveries", id, "--state", "lost"],
        vec!["webhook", "deliveries", id, "--limit", "101"],
        vec!["webhook", "replay", id],
    ] {
        let output = place.command(&wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

/// A file of authorities that cannot be used ends whatever would send webhooks, before it does anything.
fn trusts_no_wrong_authorities(place: &Place, partner: &str) {
    let url = "http://127.0.0.1:9/hook";
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["webhook", "create", "--partner", partner, "--url", url],
    ] {
        for (file, found) in [
            ("no-such.pem", "cannot be read"),
            ("/dev/null", "no certificate"),
        ] {
            let mut command = place.command(arguments);
            let output = command.env("WEBHOOK_CA_FILE", file).output().unwrap();
            let problem = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{problem}");
            for part in ["WEBHOOK_CA_FILE", file, found, "in PEM is accepted"] {
                assert!(problem.contains(part), "{problem}");
            }
        }
    }
}
