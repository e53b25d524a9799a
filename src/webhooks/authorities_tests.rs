//! A server whose certificate an authority of the operator's own has signed, and files that are no authorities.

use super::*;
use crate::domain::clock::{Clock, SystemClock};
use crate::settings::{Settings, Sources};
use crate::webhooks::sender::{SendResult, Sender};

#[path = "../../tests/suite/support/tls.rs"]
mod tls;

use tls::{fixture, server};

async fn post(port: u16, settings: &[(&str, &str)]) -> SendResult {
    let mut all = vec![("WEBHOOK_ALLOW_PRIVATE", "true")];
    all.extend_from_slice(settings);
    let settings = Settings::read(&Sources::from_pairs(&all)).unwrap();
    let url = format!("https://localhost:{port}/");
    Sender::from_settings(&settings)
        .unwrap()
        .send(&url, &[], b"{}".to_vec(), SystemClock.now())
        .await
}

#[tokio::test]
async fn an_authority_of_the_operators_own_is_trusted_where_the_setting_says_so() {
    let port = server();
    let stranger = post(port, &[]).await;
    assert_eq!(stranger.status, None);
    let error = stranger.error.unwrap();
    assert!(error.contains("certificate"), "{error}");

    let file = fixture("authority.pem").display().to_string();
    let known = post(port, &[("WEBHOOK_CA_FILE", &file)]).await;
    assert_eq!((known.status, known.error), (Some(204), None));
}

#[test]
fn a_file_that_is_no_authority_is_named_with_what_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authorities.pem");
    let missing = read(&path).unwrap_err().to_string();
    assert!(missing.contains("cannot be read"), "{missing}");
    let good = std::fs::read_to_string(fixture("authority.pem")).unwrap();
    let key = std::fs::read_to_string(fixture("localhost-key.pem")).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let broken = format!("{}\nAAAA\n{}\n", lines[0], lines[lines.len() - 1]);
    for (text, found) in [
        (String::new(), "has no certificate"),
        ("certificates".to_owned(), "has no certificate"),
        (key, "has no certificate"),
        (broken.clone(), "number 1, that is none"),
        (format!("{good}{broken}"), "number 2, that is none"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = read(&path).unwrap_err().to_string();
        for part in [
            "WEBHOOK_CA_FILE",
            "authorities.pem",
            found,
            "in PEM is accepted",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
    std::fs::write(&path, format!("{good}{good}")).unwrap();
    assert_eq!(read(&path).unwrap().len(), 2);
}
