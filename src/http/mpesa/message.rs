//! What a result means for the person who waits, and what to do: by provider, API and code. Where no row fits, the
//! status speaks.

use crate::domain::status::Status;
use crate::domain::transaction::{Kind, Provider, Transaction};

/// A sentence for the customer, and what the caller should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// The sentence.
    pub message: &'static str,
    /// The action.
    pub action: &'static str,
}

const fn advice(message: &'static str, action: &'static str) -> Advice {
    Advice { message, action }
}

/// The codes of the guide's table and those that prompts and payouts end with most (PROVIDERS 1.12).
const ROWS: [(Provider, Kind, &str, Advice); 16] = [
    stk(
        "1",
        "You do not have enough money in your M-Pesa account.",
        "Ask user to add funds",
    ),
    stk(
        "17",
        "This number cannot pay at the moment.",
        "Verify number",
    ),
    stk("26", "M-Pesa is busy.", "Wait, then allow retry"),
    stk(
        "1001",
        "Another M-Pesa request is open on your phone.",
        "Wait, then allow retry",
    ),
    stk(
        "1019",
        "The request expired before it was confirmed.",
        "Allow retry",
    ),
    stk(
        "1025",
        "The request could not be sent to your phone.",
        "Allow retry",
    ),
    stk("1032", "You cancelled the request.", "Allow retry"),
    stk(
        "1036",
        "Your phone did not answer the request.",
        "Allow retry",
    ),
    stk(
        "1037",
        "The request timed out on your phone.",
        "Allow retry",
    ),
    stk("2001", "The M-Pesa PIN was wrong.", "Allow retry"),
    stk(
        "9999",
        "The request could not be sent to your phone.",
        "Allow retry",
    ),
    b2c(
        "1",
        "The payment could not be sent.",
        "Top up the payout account",
    ),
    b2c(
        "2",
        "The amount is below M-Pesa's minimum.",
        "Check request data",
    ),
    b2c(
        "3",
        "The amount is above M-Pesa's maximum.",
        "Check request data",
    ),
    b2c(
        "8",
        "The receiver's account would hold too much.",
        "Ask user to make room",
    ),
    b2c(
        "2040",
        "The receiver has no M-Pesa account.",
        "Verify number",
    ),
];

const fn stk(
    code: &'static str,
    message: &'static str,
    action: &'static str,
) -> (Provider, Kind, &'static str, Advice) {
    (
        Provider::Mpesa,
        Kind::StkPush,
        code,
        advice(message, action),
    )
}

const fn b2c(
    code: &'static str,
    message: &'static str,
    action: &'static str,
) -> (Provider, Kind, &'static str, Advice) {
    (Provider::Mpesa, Kind::B2c, code, advice(message, action))
}

/// What to say of a transaction as it stands.
pub fn advise(transaction: &Transaction) -> Advice {
    let is_prompt = transaction.kind.is_prompt();
    match transaction.status {
        Status::Queued => advice("Your payment is being sent to M-Pesa.", "Keep polling"),
        Status::Accepted if is_prompt => advice(
            "Enter your M-Pesa PIN on your phone to confirm.",
            "Keep polling",
        ),
        Status::Accepted => advice("M-Pesa is working on your payment.", "Keep polling"),
        Status::Success => advice("Your payment was successful.", "Payment complete"),
        Status::Failed if transaction.reversed_at.is_some() => {
            advice("Your payment was paid back.", "Payment reversed")
        }
        Status::Failed => failure(transaction),
    }
}

fn failure(transaction: &Transaction) -> Advice {
    let code = transaction.result_code.as_deref();
    ROWS.into_iter()
        .find(|(provider, kind, row, _)| {
            *provider == transaction.provider && *kind == transaction.kind && Some(*row) == code
        })
        .map_or(
            advice("Your payment was not made.", "Allow retry"),
            |(_, _, _, advice)| advice,
        )
}
