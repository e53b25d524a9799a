//! `console-user` on the command line.

use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::json;

use crate::support::TestStore;
use crate::support::app::TestApp;
use crate::support::browser::{Browser, PASSWORD};
use crate::support::program::Place;

on_both_databases!(operators_are_made_listed_and_removed,);

async fn operators_are_made_listed_and_removed(db: TestStore) {
    let app = TestApp::start(db).await;
    let place = Place::new(&app.db);
    let create = ["console-user", "create", "--name", "Asha", "--json"];
    let made = place.json(&create, &format!("{PASSWORD}\n"));
    assert_eq!(made["name"], "asha");
    let listed = place.json(&["console-user", "list", "--json"], "");
    assert_eq!(listed["operators"][0]["id"], made["id"]);
    let problem = place.fails(1, &create, PASSWORD);
    assert!(problem.contains("an operator asha already"), "{problem}");

    let browser = Browser::new(&app);
    let wrong = browser
        .sign_in(&[("name", "asha"), ("password", "correct horse batterz")])
        .await;
    assert_eq!(wrong.status.as_u16(), 401);
    let right = browser
        .sign_in(&[("name", "asha"), ("password", PASSWORD)])
        .await;
    assert_eq!(right.status.as_u16(), 303);

    let remove = ["console-user", "remove", "--name", "asha", "--json"];
    assert_eq!(
        place.json(&remove, ""),
        json!({"name": "asha", "done": true})
    );
    assert_eq!(browser.get("/console").await.status.as_u16(), 303);
    let problem = place.fails(1, &remove, "");
    assert!(problem.contains("no operator asha"), "{problem}");
    let kept = app
        .db
        .rows(
            &["actor", "action", "detail"],
            "FROM audit_log WHERE action LIKE 'console_user%' ORDER BY id",
        )
        .await;
    assert_eq!(kept.len(), 2);
    assert_eq!(
        kept[0],
        [json!("cli"), json!("console_user.create"), json!("asha")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_passwords_that_are_not_accepted_are_told() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    for (name, password, problem) in [
        ("as ha", PASSWORD, "letters, digits"),
        ("", PASSWORD, "letters, digits"),
        ("asha", "short", "5 characters; 12 to 256"),
        ("asha", "", "0 characters"),
    ] {
        let told = place.fails(2, &["console-user", "create", "--name", name], password);
        assert!(told.contains(problem), "{told}");
    }
    let help = place.run(&["console-user", "create", "--help"], "");
    assert!(!String::from_utf8_lossy(&help.stdout).contains("--password"));
}

/// At a terminal, which `script` plays.
#[tokio::test(flavor = "multi_thread")]
async fn a_typed_password_is_asked_twice_and_not_shown() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    for (again, code) in [(PASSWORD, 0), ("correct horse batterz", 2)] {
        let (shown, status) = type_passwords(&place, again);
        assert_eq!(status, Some(code), "{shown}");
        assert!(!shown.contains("correct horse"), "{shown}");
    }
}

fn type_passwords(place: &Place, again: &str) -> (String, Option<i32>) {
    let program = env!("CARGO_BIN_EXE_ussd-status");
    let line = format!("{program} console-user create --name asha");
    let mut child = place
        .around("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut shown = String::new();
    let mut buffer = [0; 256];
    for (question, answer) in [("Password: ", PASSWORD), ("The same again: ", again)] {
        while !shown.contains(question) {
            let read = output.read(&mut buffer).unwrap();
            assert!(read > 0, "{shown}");
            shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        writeln!(input, "{answer}").unwrap();
    }
    output.read_to_string(&mut shown).unwrap();
    (shown, child.wait().unwrap().code())
}
