//! Every body we know and what it becomes; and bodies nobody knows, which must not hurt.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::clickpesa::checksum;
use super::{mpesa, parse_callback, redact};
use crate::domain::identity::TransactionId;
use crate::domain::status_update::{Api, CallbackKind, News, ResultClass, StatusUpdate};

/// The beginning of a fixture's name and the path it is posted to; the longer beginnings first.
const KINDS: &[(&str, CallbackKind)] = &[
    ("mpesa-stk-", CallbackKind::Stk),
    ("mpesa-b2c-queuetimeout-", CallbackKind::B2cTimeout),
    ("mpesa-b2c-", CallbackKind::B2cResult),
    // We send no B2B; its results have the same envelope and may be sent to the same URL.
    ("mpesa-b2b-", CallbackKind::B2cResult),
    (
        "mpesa-reversal-queuetimeout-",
        CallbackKind::ReversalTimeout,
    ),
    ("mpesa-reversal-", CallbackKind::ReversalResult),
    ("mpesa-balance-queuetimeout-", CallbackKind::BalanceTimeout),
    ("mpesa-balance-", CallbackKind::BalanceResult),
    ("mpesa-status-queuetimeout-", CallbackKind::StatusTimeout),
    ("mpesa-status-", CallbackKind::StatusResult),
    ("mpesa-c2b-validation-", CallbackKind::C2bValidation),
    ("mpesa-c2b-confirmation-", CallbackKind::C2bConfirmation),
    ("clickpesa-", CallbackKind::Clickpesa),
];

const TIMEOUTS: [CallbackKind; 4] = [
    CallbackKind::B2cTimeout,
    CallbackKind::ReversalTimeout,
    CallbackKind::BalanceTimeout,
    CallbackKind::StatusTimeout,
];

fn fixtures() -> Vec<(String, CallbackKind, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .filter_map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let (_, kind) = KINDS.iter().find(|(start, _)| name.starts_with(start))?;
            Some((name, *kind, fs::read(&path).unwrap()))
        })
        .collect();
    found.sort();
    found
}

fn path_id() -> TransactionId {
    "0198f0c4-5a5b-7c3d-8e9f-0a1b2c3d4e5f".parse().unwrap()
}

fn payment(news: News) -> StatusUpdate {
    match news {
        News::Payment(update) => *update,
        other => panic!("not about a payment: {other:?}"),
    }
}

fn result(kind: CallbackKind, code: &str) -> StatusUpdate {
    let body = serde_json::json!({"Result": {"ResultCode": code, "ConversationID": "AG_1", "TransactionID": "ABC"}});
    payment(parse_callback(kind, None, body.to_string().as_bytes()))
}

#[test]
fn every_known_body_becomes_what_its_snapshot_says() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 60, "only {} fixtures", fixtures.len());
    for (name, kind, body) in fixtures {
        insta::assert_debug_snapshot!(name, parse_callback(kind, None, &body));
    }
}

#[test]
fn the_transaction_of_the_path_is_in_whatever_is_about_a_payment() {
    for (name, kind, body) in fixtures() {
        let found = match parse_callback(kind, Some(path_id()), &body) {
            News::Payment(update) => update.correlation.transaction_id,
            News::Timeout(correlation) => correlation.transaction_id,
            News::Balances { .. } | News::Information(_) | News::Unreadable(_) => continue,
        };
        assert_eq!(found, Some(path_id()), "{name}");
    }
}

#[test]
fn only_a_success_has_a_receipt_and_a_paid_amount() {
    for (name, kind, body) in fixtures() {
        if let News::Payment(update) = parse_callback(kind, None, &body)
            && update.class != ResultClass::Success
        {
            assert_eq!((update.receipt, update.paid), (None, None), "{name}");
        }
    }
}

#[test]
fn a_timeout_needs_no_readable_body_if_its_path_says_what_it_is_about() {
    for kind in TIMEOUTS {
        for body in [
            "",
            "<html>504</html>",
            "{}",
            "null",
            "[1]",
            r#"{"Result":7}"#,
        ] {
            let news = parse_callback(kind, Some(path_id()), body.as_bytes());
            assert!(matches!(news, News::Timeout(_)), "{kind} {body}: {news:?}");
            let news = parse_callback(kind, None, body.as_bytes());
            assert!(
                matches!(news, News::Unreadable(_)),
                "{kind} {body}: {news:?}"
            );
        }
    }
}

#[test]
fn a_body_that_says_nothing_is_unreadable_whatever_its_path_says() {
    for kind in CallbackKind::ALL {
        if TIMEOUTS.contains(&kind) || kind == CallbackKind::C2bValidation {
            continue;
        }
        for body in ["", "{}", "[]", r#"{"errorCode":"500.001.1001"}"#, "<html>"] {
            let news = parse_callback(kind, Some(path_id()), body.as_bytes());
            assert!(
                matches!(news, News::Unreadable(_)),
                "{kind} {body}: {news:?}"
            );
        }
    }
}

#[test]
fn a_failed_status_query_says_nothing_about_the_payment() {
    let body =
        br#"{"Result":{"ResultCode":2001,"ResultDesc":"The initiator information is invalid.",
        "OriginatorConversationID":"query","ConversationID":"query","TransactionID":"X"}}"#;
    let update = payment(parse_callback(
        CallbackKind::StatusResult,
        Some(path_id()),
        body,
    ));
    assert_eq!(update.class, ResultClass::Unknown);
    assert_eq!((update.result_code, update.receipt), (None, None));
    assert_eq!(update.correlation.ids().next(), None);
    let news = parse_callback(CallbackKind::StatusResult, None, body);
    assert!(matches!(news, News::Information(_)), "{news:?}");
}

#[test]
fn a_status_of_a_named_transaction_needs_no_other_id() {
    let body = br#"{"Result":{"ResultCode":0,"ConversationID":"query",
        "ResultParameters":{"ResultParameter":{"Key":"TransactionStatus","Value":"Expired"}}}}"#;
    let update = payment(parse_callback(
        CallbackKind::StatusResult,
        Some(path_id()),
        body,
    ));
    assert_eq!(update.class, ResultClass::Failed);
    assert_eq!(update.provider_status.as_deref(), Some("Expired"));
    assert_eq!(update.correlation.conversation_id, None);
}

#[test]
fn the_same_code_means_different_things_per_callback() {
    assert_eq!(
        result(CallbackKind::B2cResult, "17").class,
        ResultClass::Unknown
    );
    assert_eq!(
        result(CallbackKind::B2cResult, "R000001").class,
        ResultClass::Unknown
    );
    let reversed = result(CallbackKind::ReversalResult, "R000001");
    assert_eq!(reversed.class, ResultClass::Success);
    assert_eq!(reversed.receipt, None, "its own request moved no money");
    assert_eq!(
        result(CallbackKind::ReversalResult, "0").receipt.as_deref(),
        Some("ABC")
    );
}

#[test]
fn a_code_may_be_a_number_or_text() {
    for code in ["1032", "\"1032\"", "\" 1032 \""] {
        let body = format!(r#"{{"stkCallback":{{"CheckoutRequestID":"ws","ResultCode":{code}}}}}"#);
        let update = payment(parse_callback(CallbackKind::Stk, None, body.as_bytes()));
        assert_eq!(update.result_code.as_deref(), Some("1032"));
        assert_eq!((update.api, update.class), (Api::Stk, ResultClass::Failed));
    }
}

#[test]
fn an_event_stands_in_for_a_missing_status() {
    for (event, class, returned) in [
        ("PAYMENT RECEIVED", ResultClass::Success, false),
        ("payment_failed", ResultClass::Failed, false),
        ("PAYOUT REFUNDED", ResultClass::Failed, true),
        ("PAYOUT-REVERSED", ResultClass::Failed, true),
        ("PAYOUT INITIATED", ResultClass::Pending, false),
        ("PAYOUT ARCHIVED", ResultClass::Unknown, false),
    ] {
        let body =
            serde_json::json!({"event": event, "data": {"orderReference": "X", "status": null}});
        let update = payment(parse_callback(
            CallbackKind::Clickpesa,
            None,
            body.to_string().as_bytes(),
        ));
        assert_eq!(
            (update.class, update.returned),
            (class, returned),
            "{event}"
        );
        let is_payout = event.starts_with("PAYOUT");
        assert_eq!(update.api == Api::ClickpesaPayout, is_payout, "{event}");
    }
}

#[test]
fn text_that_a_database_refuses_is_made_harmless() {
    let body = format!(
        r#"{{"stkCallback":{{"CheckoutRequestID":"{}","MerchantRequestID":"a\u0000b","ResultCode":1,"ResultDesc":"{}"}}}}"#,
        "x".repeat(5_000),
        "y".repeat(5_000)
    );
    let news = parse_callback(CallbackKind::Stk, Some(path_id()), body.as_bytes());
    let update = payment(news);
    assert_eq!(update.correlation.conversation_id, None);
    assert_eq!(
        update.correlation.merchant_request_id.as_deref(),
        Some("a b")
    );
    assert_eq!(update.result_description.map(|text| text.len()), Some(500));
}

#[test]
fn an_echoed_credential_is_not_kept() {
    for (name, kind, body) in fixtures() {
        let clean = String::from_utf8(redact(kind, &body)).unwrap();
        if name.starts_with("mpesa-b2c-queuetimeout-1")
            || name.starts_with("mpesa-status-queuetimeout-")
        {
            assert!(!clean.contains("RC6E9W"), "{name}");
            assert!(
                clean.contains("\"SecurityCredential\": \"[removed]\""),
                "{name}"
            );
        } else {
            assert_eq!(clean.as_bytes(), body, "{name}");
        }
        assert_eq!(
            parse_callback(kind, None, clean.as_bytes()),
            parse_callback(kind, None, &body)
        );
    }
}

/// What a mutation may put in a value's place.
fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[-+0-9.eE*|&={} ,]{0,24}".prop_map(Value::from),
        "\\PC{0,24}".prop_map(Value::from),
        Just(serde_json::json!([])),
        Just(serde_json::json!({})),
        Just(serde_json::json!([{"Key": "Amount", "Value": {"a": 1}}, 7, null])),
    ]
}

/// Replaces or removes the `target`-th value of a document.
fn mutate(value: &mut Value, target: &mut usize, replacement: Option<&Value>) {
    let step = |target: &mut usize| {
        let hit = *target == 0;
        *target = target.wrapping_sub(1);
        hit
    };
    match value {
        Value::Object(members) => {
            for key in members.keys().cloned().collect::<Vec<_>>() {
                if step(target) {
                    match replacement {
                        Some(replacement) => members.insert(key, replacement.clone()),
                        None => members.remove(&key),
                    };
                    return;
                }
                mutate(members.get_mut(&key).unwrap(), target, replacement);
            }
        }
        Value::Array(items) => {
            for item in items {
                mutate(item, target, replacement);
            }
        }
        _ => {}
    }
}

fn survives(kind: CallbackKind, body: &[u8]) {
    for path_transaction_id in [None, Some(path_id())] {
        let _ = parse_callback(kind, path_transaction_id, body);
    }
    let _ = redact(kind, body);
    let _ = checksum::verify(body, &["sha256=00", &"a".repeat(64)], "key");
    let _ = mpesa::c2b::validate_c2b(body);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_damaged_body_hurts(
        which in any::<prop::sample::Index>(),
        kind in prop::sample::select(&CallbackKind::ALL[..]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let fixtures = fixtures();
        let (_, own_kind, mut body) = which.get(&fixtures).clone();
        for (at, byte) in flips {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Some(end) = end {
            body.truncate(end.index(body.len()));
        }
        survives(own_kind, &body);
        survives(kind, &body);
    }

    #[test]
    fn no_changed_document_hurts(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((0_usize..40, prop::option::of(odd_value())), 1..4),
    ) {
        let fixtures = fixtures();
        let (_, kind, body) = which.get(&fixtures);
        let mut document: Value = serde_json::from_slice(body).unwrap();
        for (mut target, replacement) in changes {
            mutate(&mut document, &mut target, replacement.as_ref());
        }
        survives(*kind, &serde_json::to_vec(&document).unwrap());
    }

    #[test]
    fn no_noise_hurts(kind in prop::sample::select(&CallbackKind::ALL[..]), body in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(kind, &body);
    }
}
