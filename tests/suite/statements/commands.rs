//! The whole program: a history in, its statistics, the statement out, the same again, the portal's file.

use serde_json::{Value, json};

use crate::support::TestStore;
use crate::support::program::{Place, client, customer};

on_both_databases!(
    a_history_goes_in_comes_out_and_stays_the_same,
    wrong_usage_is_told,
);

const HISTORY: &str = "client_request_id,msisdn,amount,status,transaction_receipt,created_at,kind\n\
    OLD-1,0712345678,1200,success,NLJ7RT61SV,2025-01-10T12:34:56.789Z,stk_push\n\
    OLD-2,0712345679,50.25,failed,,2025-01-11T08:00:00Z,b2c\n\
    OLD-3,0712345670,99,success,NLJ7RT61SW,2025-01-12T08:00:00Z,b2c\n\
    OLD-4,0712345670,99,success,NLJ7RT61SX,2025-01-12T09:00:00Z,reversal\n";

fn failing(place: &Place, arguments: &[&str], input: &str) -> Value {
    let output = place.run(arguments, input);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn a_history_goes_in_comes_out_and_stays_the_same(db: TestStore) {
    let place = Place::new(&db);
    let customer = customer(&place);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let id = customer.id.as_str();
    let import = ["import", "--partner", id, "-", "--json"];
    let dry = place.json(&[&import[..], &["--dry-run"]].concat(), HISTORY);
    assert_eq!(
        (&dry["imported"], &dry["dry_run"]),
        (&json!(4), &json!(true))
    );
    let done = place.json(&import, HISTORY);
    assert_eq!(
        (&done["imported"], &done["unchanged"], &done["refused"]),
        (&json!(4), &json!(0), &json!(0))
    );
    let again = place.run(&import[..4], HISTORY);
    assert_eq!(
        String::from_utf8(again.stdout).unwrap(),
        "4 transactions are here already: nothing to import\n"
    );

    // A running service sees it.
    let mut program = place.serve();
    let get = async |path: &str| {
        let request = client().get(format!("{}{path}", program.base()));
        let answer = request
            .header("x-api-key", &customer.key)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    let status: Value = serde_json::from_str(&get("/api/ussd/transaction-status").await).unwrap();
    let statistics = &status["statistics"];
    assert_eq!(
        statistics["total_transactions"], 3,
        "reversals are left out"
    );
    assert_eq!(statistics["successful_amount"].to_string(), "1299.00");
    assert_eq!(statistics["recent_activity_24h"], 0);
    assert_eq!(
        status["transactions"][3]["created_at"],
        "2025-01-10T12:34:56.789Z"
    );
    let over_http = get("/api/ussd/transactions/export").await;
    program.signal("-TERM");
    let (code, _) = program.end(std::time::Duration::from_secs(30));
    assert_eq!(code, Some(0));

    // The command writes what the service writes, and says what it comes to.
    let csv = path("books.csv");
    let export = ["export", "--partner", id, "--output", &csv, "--json"];
    let totals = place.json(&export, "")["totals"].clone();
    assert_eq!(totals["count"], 4);
    assert_eq!(
        totals["by_currency"]["KES"]["success"].to_string(),
        "{\"amount\":1299.00,\"count\":2}"
    );
    assert_eq!(
        totals["by_currency"]["KES"]["failed"].to_string(),
        "{\"amount\":50.25,\"count\":1}"
    );
    assert_eq!(
        totals["reversals"]["KES"]["success"].to_string(),
        "{\"amount\":99.00,\"count\":1}"
    );
    let written = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(written, over_http);
    let ndjson = [
        "export",
        "--partner",
        id,
        "--format",
        "ndjson",
        "--from",
        "2025-01-12T00:00:00Z",
    ];
    let lines = String::from_utf8(place.run(&ndjson, "").stdout).unwrap();
    assert_eq!(lines.lines().count(), 3);

    // What was exported changes nothing, here or under another partner's name the second time.
    for file in [&written, &lines] {
        let same = place.json(&import, file);
        assert_eq!(same["imported"], 0);
    }
    let other = place.json(&["partner", "create", "--name", "New", "--json"], "");
    let other = other["id"].as_str().unwrap();
    let moved = ["import", "--partner", other, &csv, "--json"];
    assert_eq!(place.json(&moved, "")["imported"], 4);
    assert_eq!(place.json(&moved, "")["unchanged"], 4);
    let check = ["export", "--partner", id, "--check", &csv, "--json"];
    let agreed = place.json(&check, "");
    assert_eq!(
        (&agreed["same"], &agreed["missing_total"]),
        (&json!(3), &json!(0))
    );

    // The portal knows better.
    let portal = path("portal.csv");
    let text = "Organization: Kilimo\n\nReceipt No.,Completion Time,Transaction Status,Paid In,Withdrawn\n\
                NLJ7RT61SV,10-01-2025 15:35:10,Completed,\"1,250.00\",\nNLJ7RT61SW,12-01-2025 11:00:00,Completed,,-99.00\n\
                NLJ7RT61SX,12-01-2025 11:00:00,Completed,99.00,\nUNKNOWN1,12-01-2025 11:00:00,Completed,5.00,\nBAD,,Completed,x,\n";
    std::fs::write(&portal, text).unwrap();
    let differs = failing(
        &place,
        &["export", "--partner", id, "--check", &portal, "--json"],
        "",
    );
    assert_eq!(
        (&differs["same"], &differs["missing"][0]["receipt"]),
        (&json!(2), &json!("UNKNOWN1"))
    );
    assert_eq!(differs["different"][0]["amount"], "1200.00");
    assert_eq!(
        differs["different"][0]["file"]["amounts"],
        json!(["1250.00"])
    );
    assert_eq!(differs["unread"][0]["line"], 8);

    // Refused lines are told, good ones stay.
    let mixed = format!(
        "{HISTORY}OLD-5,12,5,success,,2025-01-12T08:00:00Z,b2c\nOLD-6,,5,success,,2025-01-12T08:00:00Z,b2c\n"
    );
    let refused = failing(&place, &import, &mixed);
    assert_eq!(
        (&refused["imported"], &refused["refused"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(refused["problems"][0]["line"], 6);
    assert_eq!(refused["problems"][0]["field"], "msisdn");
    assert_eq!(refused["problems"][0]["sent"], "12");
    let audited = "FROM audit_log WHERE action IN ('transactions.import', 'transactions.export')";
    assert!(db.count(audited).await >= 6);
    db.recount().await;
}

async fn wrong_usage_is_told(db: TestStore) {
    let place = Place::new(&db);
    let id = customer(&place).id;
    let nobody = "01a1fc7f-b49d-74b2-bfaa-2da973a2a94e";
    for (code, arguments, told) in [
        (2, vec!["export", "--partner", &id, "--json"], "--output"),
        (
            2,
            vec!["export", "--partner", &id, "--format", "xml"],
            "csv, ndjson",
        ),
        (
            2,
            vec![
                "export",
                "--partner",
                &id,
                "--from",
                "2025-01-02T00:00:00Z",
                "--to",
                "2025-01-01T00:00:00Z",
            ],
            "--to is before --from",
        ),
        (
            1,
            vec!["export", "--partner", nobody],
            "there is no partner",
        ),
        (
            1,
            vec!["export", "--partner", &id, "--check", "no-such.csv"],
            "no-such.csv",
        ),
        (
            1,
            vec!["import", "--partner", &id, "no-such.csv"],
            "no-such.csv",
        ),
        (
            1,
            vec!["import", "--partner", nobody, "-"],
            "there is no partner",
        ),
    ] {
        let problem = place.fails(code, &arguments, "");
        assert!(problem.contains(told), "{arguments:?}: {problem}");
    }
    for (file, told) in [
        (
            "client_request_id,amount,status\n",
            "no column \"created_at\"",
        ),
        (
            "client_request_id,amount,status,created_at,colour\n",
            "\"colour\"",
        ),
        ("amount,amount,status,created_at\n", "twice"),
    ] {
        let problem = place.fails(1, &["import", "--partner", &id, "-"], file);
        assert!(problem.contains(told), "{problem}");
    }
}
