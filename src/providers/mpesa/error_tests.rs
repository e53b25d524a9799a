//! The rows of Daraja's error table, as documents and integrators have them.

use serde_json::json;

use super::*;

const EVERY: &[Call] = &[
    Call::Money,
    Call::StkQuery,
    Call::Question,
    Call::Registration,
];
const MONEY: &[Call] = &[Call::Money];
const STK_QUERY: &[Call] = &[Call::StkQuery];
const REGISTRATION: &[Call] = &[Call::Registration];

/// Code, message, the calls of which the meaning holds, the meaning; for all other calls it is unknown.
const ROWS: &[(&str, &str, &[Call], Meaning)] = &[
    (
        "400.002.02",
        "Bad Request - Invalid BusinessShortCode",
        EVERY,
        Meaning::Rejected,
    ),
    (
        "400.002.05",
        "Invalid Request Payload",
        EVERY,
        Meaning::Rejected,
    ),
    ("400.003.02", "Bad Request", EVERY, Meaning::Rejected),
    (
        "400.008.01",
        "Invalid Authentication passed",
        EVERY,
        Meaning::Rejected,
    ),
    (
        "400.008.02",
        "Invalid grant type passed",
        EVERY,
        Meaning::Rejected,
    ),
    (
        "404.001.04",
        "Invalid Authentication Header",
        EVERY,
        Meaning::Rejected,
    ),
    (
        "401.002.01",
        "Error Occurred - Invalid Access Token - x",
        EVERY,
        Meaning::TokenRefused,
    ),
    (
        "404.001.03",
        "Invalid Access Token",
        EVERY,
        Meaning::TokenRefused,
    ),
    (
        "400.003.01",
        "Invalid Access Token",
        EVERY,
        Meaning::TokenRefused,
    ),
    (
        "401.003.01",
        "Error Occurred - Invalid Access Token",
        EVERY,
        Meaning::TokenRefused,
    ),
    (
        "401.001",
        "Invalid Access Token",
        EVERY,
        Meaning::TokenRefused,
    ),
    (
        "403.002.1001",
        "The app is not authorised to initiate this request",
        EVERY,
        Meaning::Rejected,
    ),
    ("404.001.01", "Resource not found", EVERY, Meaning::Rejected),
    ("404.002.01", "Resource not found", EVERY, Meaning::Rejected),
    ("404.003.01", "Resource not found", EVERY, Meaning::Rejected),
    ("405.001", "Method Not Allowed", EVERY, Meaning::Rejected),
    (
        "500.001.1001",
        "Merchant does not exist",
        EVERY,
        Meaning::Rejected,
    ),
    (
        "500.001.1001",
        "[MerchantValidate] - Wrong credentials",
        EVERY,
        Meaning::Rejected,
    ),
    (
        "500.001.1001",
        "Unable to lock subscriber, a transaction is already in process for the current subscriber",
        MONEY,
        Meaning::SubscriberBusy,
    ),
    (
        "500.001.1001",
        "The transaction is being processed",
        STK_QUERY,
        Meaning::StillOpen,
    ),
    (
        "500.001.1001",
        "The transaction does not Exist",
        STK_QUERY,
        Meaning::NotVisible,
    ),
    ("500.001.1001", "", STK_QUERY, Meaning::NotVisible),
    (
        "500.001.1001",
        "Internal Server Error",
        EVERY,
        Meaning::Unknown,
    ),
    (
        "500.001.1001",
        "a sentence of next year",
        EVERY,
        Meaning::Unknown,
    ),
    (
        "500.002.1001",
        "Duplicate OriginatorConversationID.",
        MONEY,
        Meaning::AlreadySubmitted,
    ),
    (
        "500.002.1001",
        "Service is currently under maintenance",
        EVERY,
        Meaning::Unknown,
    ),
    (
        "500.003.02",
        "System is busy. Please try again in few minutes.",
        EVERY,
        Meaning::Throttled,
    ),
    (
        "500.003.02",
        "Spike Arrest Violation",
        EVERY,
        Meaning::Throttled,
    ),
    ("500.003.03", "Quota Violation", EVERY, Meaning::Throttled),
    (
        "500.003.1001",
        "Internal Server Error",
        REGISTRATION,
        Meaning::Rejected,
    ),
    (
        "500.003.1001",
        "Urls are already registered",
        REGISTRATION,
        Meaning::Rejected,
    ),
    (
        "500.003.1001",
        "Duplicate notification info, SP ID 1",
        REGISTRATION,
        Meaning::Rejected,
    ),
    (
        "",
        "Invalid API call as no apiproduct match found",
        EVERY,
        Meaning::Rejected,
    ),
    ("500.009.9999", "never heard of", EVERY, Meaning::Unknown),
    ("400.009.99", "never heard of", EVERY, Meaning::Unknown),
];

#[test]
fn every_row_means_what_the_table_says_whatever_the_http_status() {
    for (code, text, calls, expected) in ROWS {
        let mut body = json!({"requestId": "1c5b-4ba8", "errorMessage": text});
        if !code.is_empty() {
            body["errorCode"] = json!(code);
        }
        for call in EVERY {
            let expected = if calls.contains(call) {
                *expected
            } else {
                Meaning::Unknown
            };
            for http_status in [200, 400, 404, 500, 503] {
                let failure = Failure::read(*call, http_status, &body).unwrap();
                assert_eq!(
                    failure.meaning, expected,
                    "{code} {text} {call:?} {http_status}"
                );
            }
        }
    }
}

#[test]
fn the_table_has_no_row_that_nobody_checks() {
    for (number, row) in TABLE.iter().enumerate() {
        let is_checked = ROWS.iter().any(|(code, text, calls, _)| {
            calls.iter().any(|call| {
                let code = Some(*code).filter(|code| !code.is_empty());
                let first = TABLE.iter().position(|row| row.holds(*call, code, text));
                first == Some(number)
            })
        });
        assert!(is_checked, "row {number}");
        for code in row.codes {
            assert!(ROWS.iter().any(|(checked, ..)| checked == code), "{code}");
        }
    }
}

#[test]
fn only_what_was_refused_before_acting_may_be_tried_again() {
    for (code, text, _, meaning) in ROWS {
        let body = json!({"errorCode": code, "errorMessage": text});
        let failure = Failure::read(Call::Money, 500, &body).unwrap();
        let refusal = failure.clone().refusal();
        assert_eq!(
            refusal.throttled,
            code.starts_with("500.003.0"),
            "{code} {text}"
        );
        if *meaning == Meaning::Rejected {
            assert!(!refusal.retryable, "{code} {text}");
        }
        assert_eq!(refusal.http_status, Some(500));
    }
    let refusal = Failure::too_many_requests().refusal();
    assert!(refusal.retryable && refusal.throttled);
}

#[test]
fn too_many_requests_is_throttling_unless_the_envelope_knows_better() {
    let unknown = json!({"fault": {"faultstring": "Rate limit exceeded"}});
    let failure = Failure::read(Call::Money, 429, &unknown).unwrap();
    assert_eq!(failure.meaning, Meaning::Throttled);
    let known = json!({"errorCode": "404.001.03", "errorMessage": "Invalid Access Token"});
    let failure = Failure::read(Call::Money, 429, &known).unwrap();
    assert_eq!(failure.meaning, Meaning::TokenRefused);
}

#[test]
fn what_is_no_error_is_left_to_others() {
    for body in [json!({}), json!([]), json!({"ResponseCode": "0"})] {
        assert_eq!(Failure::read(Call::Money, 200, &body), None, "{body}");
    }
}

#[test]
fn no_token_and_no_number_is_repeated() {
    let token = json!({"errorCode": "401.002.01",
        "errorMessage": "Error Occurred - Invalid Access Token - SGWcJPtNtYNPGm6uSYR9yPYrAI3B"});
    let number = json!({"errorCode": "500.001.1001",
        "errorMessage": "no line 254708374149, ws_CO_1007202409152617172396192, 174379"});
    let [token, number] = [token, number].map(|body| {
        let failure = Failure::read(Call::Money, 500, &body).unwrap();
        format!("{failure:?} {:?}", failure.clone().no_answer())
    });
    assert!(!token.contains("SGWc"), "{token}");
    assert!(!number.contains("254708374149"), "{number}");
    assert!(
        number.contains("2547*****149") && number.contains("174379"),
        "{number}"
    );
}
