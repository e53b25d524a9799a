//! Nothing that a run wrote holds a secret of its own in any form, nor, in logs and metrics, a whole number.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::stage::Stage;

/// Every column that bodies, notes and answers end up in.
const COLUMNS: [(&str, &str); 14] = [
    ("body", "callbacks"),
    ("note", "callbacks"),
    ("news", "callbacks"),
    ("note", "transaction_events"),
    ("source", "transaction_events"),
    ("result_description", "transaction_events"),
    ("message", "payments"),
    ("customer_message", "payments"),
    ("reference", "payments"),
    ("result_description", "transactions"),
    ("provider_status", "transactions"),
    ("error", "delivery_attempts"),
    ("response", "delivery_attempts"),
    ("subject", "audit_log"),
];

/// A text as it is, in hex, and in base64 wherever it may begin in a group of three.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(hex.to_uppercase());
    forms.push(hex);
    for shift in 0..3 {
        let padded = [&b"xxx"[..shift], secret.as_bytes()].concat();
        for encoded in [
            STANDARD_NO_PAD.encode(&padded),
            URL_SAFE_NO_PAD.encode(&padded),
        ] {
            // The first group holds what came before, the last what comes after.
            let from = if shift == 0 { 0 } else { 4 };
            let upto = padded.len() / 3 * 4;
            forms.push(encoded[from..upto].to_owned());
        }
    }
    forms
}

/// Looks through all that was kept, and through the database.
pub async fn nothing_was_written(stage: &Stage) {
    let mut texts = std::mem::take(&mut *stage.written.lock().unwrap());
    for (column, table) in COLUMNS {
        texts.extend(stored(stage, column, table).await);
    }
    let mut secrets = stage.secrets.clone();
    let tokens = stage.simulator.issued_tokens();
    assert!(!tokens.is_empty());
    for token in tokens {
        let bare = token.strip_prefix("Bearer ").unwrap_or(&token).to_owned();
        secrets.push(("access token".to_owned(), bare));
    }
    let mut found = Vec::new();
    for (name, secret) in &secrets {
        for form in forms(secret) {
            found.extend(holding(&texts, &form).map(|text| (name.clone(), text)));
        }
    }
    let public = texts
        .iter()
        .filter(|(what, _)| ["log", "metrics"].contains(&what.as_str()));
    let public: Vec<_> = public.cloned().collect();
    assert!(!public.is_empty());
    for token in &stage.callback_tokens {
        found.extend(holding(&public, token).map(|text| ("callback token".to_owned(), text)));
    }
    for number in stage.numbers().await {
        found.extend(holding(&public, &number[3..]).map(|text| ("a number".to_owned(), text)));
    }
    let seed = stage.seed;
    found.truncate(10);
    assert!(found.is_empty(), "STORM_SEED={seed}: {found:#?}");
    no_password_is_kept(&texts);
    let read: usize = texts.iter().map(|(_, text)| text.len()).sum();
    println!(
        "{} texts of {read} bytes, {} secrets",
        texts.len(),
        secrets.len()
    );
}

async fn stored(stage: &Stage, column: &str, table: &str) -> Vec<(String, String)> {
    let text = match (column, stage.db.is_sqlite()) {
        ("body", true) => "CAST(body AS TEXT)",
        ("body", false) => "convert_from(body, 'UTF8')",
        _ => column,
    };
    let from = format!("FROM {table} WHERE {column} IS NOT NULL");
    let rows = stage.db.rows(&[text], &from).await;
    let what = format!("{table}.{column}");
    rows.iter()
        .map(|row| (what.clone(), row[0].as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// Where a text is found, with what stands around it.
fn holding(texts: &[(String, String)], wanted: &str) -> impl Iterator<Item = String> {
    texts.iter().filter_map(move |(what, text)| {
        let at = text.find(wanted)?;
        let before: String = text[..at].chars().rev().take(200).collect();
        let before: String = before.chars().rev().collect();
        Some(format!("{what}: {before}[HERE]"))
    })
}

/// A queue timeout echoes our request; its password is replaced before it is stored.
fn no_password_is_kept(texts: &[(String, String)]) {
    let mut echoes = 0;
    for (what, text) in texts {
        for name in ["\"SecurityCredential\":\"", "\"Password\":\""] {
            for (at, _) in text.match_indices(name) {
                let value = text[at + name.len()..].split('"').next().unwrap();
                assert!(value.len() < 32, "{what} keeps {name}{value}");
                echoes += 1;
            }
        }
    }
    println!("{echoes} replaced passwords");
}

#[test]
fn a_secret_is_found_in_every_form() {
    let secret = "Pass-word1";
    let hidden = [
        format!("key={secret}&"),
        STANDARD_NO_PAD.encode(format!("600966{secret}20260314")),
        STANDARD_NO_PAD.encode(format!("k:{secret}")),
        URL_SAFE_NO_PAD.encode(format!("a{secret}b")),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ];
    for text in hidden {
        let texts = [("log".to_owned(), text.clone())];
        let is_found = forms(secret)
            .iter()
            .any(|form| holding(&texts, form).count() > 0);
        assert!(is_found, "{text}");
    }
}
