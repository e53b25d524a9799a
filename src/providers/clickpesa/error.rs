//! What ClickPesa's answers mean that are no success. It has no error codes: the HTTP status decides, and for a few
//! the sentence (docs.clickpesa.com, the pages of each request).

use serde_json::Value;

use crate::domain::msisdn::Msisdn;
use crate::providers::answer::{
    Answer, BalanceAnswer, NoAnswer, Outcome, Refusal, Reply, TokenError,
};
use crate::providers::client::Heard;
use crate::providers::json;

/// Refusals that say "not now": the pause between payouts (reported: HTTP 400, about a minute) and an empty account.
const NOT_NOW: [&str; 2] = ["retry after", "insufficient balance"];

/// A success: what was said, and the HTTP status it came with.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Said {
    /// A success that does not say what was asked.
    pub(super) fn without(&self, what: &str) -> NoAnswer {
        NoAnswer {
            reason: format!("an answer without {what}"),
            http_status: Some(self.status),
            is_down: false,
        }
    }
}

/// Why a call brought no answer to what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No access token, so nothing was sent.
    NoToken(TokenError),
    /// Refused; nothing was done.
    Refused(Refusal),
    /// 404: the payment is not there, or the account has no way to pay.
    Missing(Refusal),
    /// 409: the order reference was used before, by our own first attempt or by somebody else.
    Used(Refusal),
    /// Nobody knows.
    Unknown(NoAnswer),
}

impl From<NoAnswer> for Failure {
    fn from(no_answer: NoAnswer) -> Self {
        Self::Unknown(no_answer)
    }
}

/// What a success says, or what the answer means instead.
pub(super) fn read(heard: &Heard) -> Result<Said, Failure> {
    let status = heard.status;
    let body = match heard.json() {
        Ok(body) => body,
        // Whoever throttles may be a gateway that speaks no JSON.
        Err(_) if status == 429 => Value::Null,
        Err(no_answer) => return Err(Failure::Unknown(no_answer)),
    };
    let refusal = |retryable, throttled| Refusal {
        code: None,
        message: sentence(&body).unwrap_or_else(|| format!("HTTP {status} without a message")),
        http_status: Some(status),
        retryable,
        throttled,
    };
    Err(match status {
        200..=299 => return Ok(Said { status, body }),
        // 408 may come after the request was taken.
        408 => unknown(status, "the provider gave up waiting", false),
        404 => Failure::Missing(refusal(false, false)),
        409 => Failure::Used(refusal(false, false)),
        429 => Failure::Refused(refusal(true, true)),
        400..=499 => {
            let message = sentence(&body).unwrap_or_default().to_ascii_lowercase();
            let retryable = NOT_NOW.iter().any(|words| message.contains(words));
            Failure::Refused(refusal(retryable, false))
        }
        // By its text this comes before the prompt, but no documentation promises that.
        500 if says(&body, "validating fee") => {
            unknown(status, "the fee could not be validated", false)
        }
        500.. => unknown(status, "the provider failed inside", true),
        _ => unknown(status, "an answer that is not the provider's", false),
    })
}

fn unknown(status: u16, reason: &str, is_down: bool) -> Failure {
    Failure::Unknown(NoAnswer {
        reason: format!("HTTP {status}: {reason}"),
        http_status: Some(status),
        is_down,
    })
}

fn says(body: &Value, words: &str) -> bool {
    sentence(body).is_some_and(|message| message.to_ascii_lowercase().contains(words))
}

/// `message`, which may be a list of sentences, else `error`.
fn sentence(body: &Value) -> Option<String> {
    let message = match json::member(body, "message") {
        Some(Value::Array(sentences)) => {
            let sentences: Vec<String> = sentences.iter().filter_map(json::text).collect();
            Some(sentences.join("; ")).filter(|joined| !joined.is_empty())
        }
        Some(message) => json::text(message),
        None => None,
    };
    message
        .or_else(|| json::field(body, "error"))
        .map(json::sentence)
}

impl Failure {
    /// Of a call that moves money to or from `msisdn`.
    pub(super) fn of_payment(self, msisdn: &Msisdn) -> Outcome {
        match self {
            Self::NoToken(error) => Outcome::Refused(nothing_sent(error)),
            Self::Refused(refusal) | Self::Missing(refusal) => {
                Outcome::Refused(masked(refusal, msisdn))
            }
            // Never a reason to try another reference: the payment under this one may be ours and paid.
            Self::Used(refusal) => Outcome::Unknown(NoAnswer {
                reason: "the order reference is already used: what became of it is to be asked"
                    .to_owned(),
                http_status: refusal.http_status,
                is_down: false,
            }),
            Self::Unknown(no_answer) => Outcome::Unknown(no_answer),
        }
    }

    /// Of a call that only passes words on.
    pub(super) fn of_preview(self, msisdn: &Msisdn) -> Reply {
        match self {
            Self::NoToken(TokenError::Refused(refusal)) => Reply::Refused(refusal),
            Self::Refused(refusal) | Self::Missing(refusal) | Self::Used(refusal) => {
                Reply::Refused(masked(refusal, msisdn))
            }
            Self::NoToken(TokenError::Unknown(no_answer)) | Self::Unknown(no_answer) => {
                Reply::Unknown(no_answer)
            }
        }
    }

    /// Of a question about a payment. One that is not there may only not be visible yet.
    pub(super) fn of_question(self) -> Answer {
        match self {
            Self::Missing(refusal) => Answer::Nothing(Refusal {
                retryable: true,
                ..refusal
            }),
            Self::NoToken(TokenError::Refused(refusal))
            | Self::Refused(refusal)
            | Self::Used(refusal) => Answer::Nothing(refusal),
            Self::NoToken(TokenError::Unknown(no_answer)) | Self::Unknown(no_answer) => {
                Answer::Unknown(no_answer)
            }
        }
    }

    /// Of a request for balances: a new account is not found, for it has none (reported by an integrator).
    pub(super) fn of_balance(self) -> BalanceAnswer {
        match self {
            Self::Missing(_) => BalanceAnswer::Balances(Vec::new()),
            Self::NoToken(TokenError::Refused(refusal))
            | Self::Refused(refusal)
            | Self::Used(refusal) => BalanceAnswer::Refused(refusal),
            Self::NoToken(TokenError::Unknown(no_answer)) | Self::Unknown(no_answer) => {
                BalanceAnswer::Unknown(no_answer)
            }
        }
    }

    /// Of a request for a token.
    pub(super) fn of_token(self) -> TokenError {
        match self {
            Self::NoToken(error) => error,
            Self::Refused(refusal) | Self::Missing(refusal) | Self::Used(refusal) => {
                TokenError::Refused(refusal)
            }
            Self::Unknown(no_answer) => TokenError::Unknown(no_answer),
        }
    }
}

/// Without a token the payment itself was never sent, so that is certain even if nothing else is: it need not hang.
fn nothing_sent(error: TokenError) -> Refusal {
    match error {
        TokenError::Refused(refusal) => refusal,
        TokenError::Unknown(no_answer) => Refusal {
            code: None,
            message: format!("no access token: {}", no_answer.reason),
            http_status: no_answer.http_status,
            retryable: true,
            throttled: false,
        },
    }
}

/// A refusal may quote the number it refuses, in whatever form.
fn masked(refusal: Refusal, msisdn: &Msisdn) -> Refusal {
    let national = msisdn.as_str().get(3..).unwrap_or_default();
    let tail = national.get(6..).unwrap_or_default();
    if national.is_empty() {
        return refusal;
    }
    Refusal {
        message: refusal.message.replace(national, &format!("******{tail}")),
        ..refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        let heard = Heard {
            status,
            body: body.as_bytes().to_vec(),
        };
        read(&heard).expect_err(body)
    }

    fn said(status: u16, message: &str) -> Failure {
        failure(status, &serde_json::json!({"message": message}).to_string())
    }

    fn payer() -> Msisdn {
        Msisdn::from_international("255712345678").unwrap()
    }

    /// What a row says of a payment.
    #[derive(Debug, PartialEq)]
    enum Row {
        Final,
        Later,
        Throttled,
        Ask,
        Down,
    }

    fn row(outcome: &Outcome) -> Row {
        match outcome {
            Outcome::Refused(refusal) if refusal.throttled && refusal.retryable => Row::Throttled,
            Outcome::Refused(refusal) if refusal.retryable => Row::Later,
            Outcome::Refused(_) => Row::Final,
            Outcome::Unknown(no_answer) if no_answer.is_down => Row::Down,
            Outcome::Unknown(_) => Row::Ask,
            Outcome::Accepted(acceptance) => panic!("{acceptance:?}"),
        }
    }

    #[test]
    fn every_documented_error_means_what_the_table_says() {
        let rows = [
            (400, "Invalid / unsupported phone number", Row::Final),
            (400, "Valid Client ID is required", Row::Final),
            (
                400,
                "Application has no access to COLLECTION API feature. Enable it on your application.",
                Row::Final,
            ),
            (
                400,
                "Invalid Order Reference, should only contain alphanumeric characters and cannot be blank",
                Row::Final,
            ),
            (400, "Invalid checksum", Row::Final),
            (
                400,
                "Insufficient balance to perform this payout",
                Row::Later,
            ),
            (
                400,
                "Too many payouts, please retry after 60 seconds",
                Row::Later,
            ),
            (401, "Unauthorized", Row::Final),
            (403, "Invalid client details", Row::Final),
            (403, "Invalid or Expired API-Key", Row::Final),
            (403, "Unauthorized API-Key", Row::Final),
            (404, "Account has no payment collection methods", Row::Final),
            (404, "Account has no valid payment method", Row::Final),
            (
                409,
                "Order reference X already used: Create a different reference",
                Row::Ask,
            ),
            (408, "Request Timeout", Row::Ask),
            (422, "Unprocessable", Row::Final),
            (429, "Too many requests", Row::Throttled),
            (500, "Error validating fee, try again later", Row::Ask),
            (500, "Internal server error", Row::Down),
            (502, "Bad gateway", Row::Down),
            (503, "Service unavailable", Row::Down),
            (302, "Moved", Row::Ask),
        ];
        for (status, message, expected) in rows {
            let outcome = said(status, message).of_payment(&payer());
            assert_eq!(row(&outcome), expected, "{status} {message}");
            match outcome {
                Outcome::Refused(refusal) => {
                    assert_eq!(refusal.message, message);
                    assert_eq!((refusal.http_status, refusal.code), (Some(status), None));
                }
                Outcome::Unknown(no_answer) => assert_eq!(no_answer.http_status, Some(status)),
                Outcome::Accepted(_) => unreachable!("said never accepts"),
            }
        }
    }

    #[test]
    fn what_is_no_json_is_no_refusal_unless_it_throttles() {
        let page = "<html>Too many / Bad gateway / Forbidden</html>";
        for (status, expected) in [
            (200, Row::Ask),
            (400, Row::Ask),
            (401, Row::Ask),
            (403, Row::Ask),
            (404, Row::Ask),
            (429, Row::Throttled),
            (502, Row::Down),
            (504, Row::Down),
        ] {
            let outcome = failure(status, page).of_payment(&payer());
            assert_eq!(row(&outcome), expected, "{status}");
        }
    }

    #[test]
    fn a_payment_that_is_not_there_may_only_not_be_visible_yet() {
        for message in [
            "Invalid or missing payment: X",
            "Invalid or missing payout: X",
        ] {
            match said(404, message).of_question() {
                Answer::Nothing(refusal) => {
                    assert!(refusal.retryable && !refusal.throttled);
                    assert_eq!(refusal.message, message);
                }
                other => panic!("{other:?}"),
            }
        }
        match said(429, "Too many requests").of_question() {
            Answer::Nothing(refusal) => assert!(refusal.throttled),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            said(500, "Internal server error").of_question(),
            Answer::Unknown(NoAnswer { is_down: true, .. })
        ));
    }

    #[test]
    fn a_new_account_has_no_balances_and_that_is_no_error() {
        let answer = said(404, "Account not found").of_balance();
        assert_eq!(answer, BalanceAnswer::Balances(Vec::new()));
        assert!(matches!(
            said(403, "Forbidden").of_balance(),
            BalanceAnswer::Refused(_)
        ));
    }

    #[test]
    fn credentials_that_are_refused_are_refused_and_silence_is_not() {
        assert!(matches!(
            said(403, "Invalid or Expired API-Key").of_token(),
            TokenError::Refused(Refusal {
                retryable: false,
                ..
            })
        ));
        assert!(matches!(
            failure(503, "").of_token(),
            TokenError::Unknown(NoAnswer { is_down: true, .. })
        ));
    }

    #[test]
    fn without_a_token_nothing_was_sent_and_the_payment_may_be_made_anew() {
        let silence = TokenError::Unknown(NoAnswer {
            reason: "no connection".to_owned(),
            http_status: None,
            is_down: true,
        });
        let outcome = Failure::NoToken(silence.clone()).of_payment(&payer());
        assert_eq!(row(&outcome), Row::Later);
        assert!(matches!(
            Failure::NoToken(silence).of_question(),
            Answer::Unknown(NoAnswer { is_down: true, .. })
        ));
    }

    #[test]
    fn a_refusal_does_not_show_the_number() {
        for form in ["255712345678", "+255712345678", "0712345678"] {
            let message = format!("{form} is not supported");
            let outcome = said(400, &message).of_payment(&payer());
            let reply = said(400, &message).of_preview(&payer());
            for text in [format!("{outcome:?}"), format!("{reply:?}")] {
                assert!(
                    !text.contains("712345") && text.contains("******678"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn the_sentence_may_be_a_list_or_an_error_or_missing() {
        for (body, expected) in [
            (r#"{"message":["a","b"],"error":"Bad Request"}"#, "a; b"),
            (r#"{"message":[],"error":"Bad Request"}"#, "Bad Request"),
            (r#"{"error":"Bad Request"}"#, "Bad Request"),
            (r#"{}"#, "HTTP 400 without a message"),
            ("[]", "HTTP 400 without a message"),
        ] {
            match failure(400, body) {
                Failure::Refused(refusal) => assert_eq!(refusal.message, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}
