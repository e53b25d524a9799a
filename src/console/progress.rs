//! How a payment goes that was started here: what is known now, what it means, and what to do. The script asks with a wait
//! and shows each change; without it the page has a link to look again.

use std::time::Duration;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::page::{Frame, Section, page};
use super::rows;
use super::story;
use super::text;
use super::viewer::Viewer;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::partner::Scope;
use crate::domain::status::Status;
use crate::domain::transaction::{Kind, Provider, Transaction};
use crate::domain::watch::WatchKey;
use crate::feed::Look;
use crate::http::{ApiError, Query, State, catalogue_lines};
use crate::providers::catalogue::Line;

/// How long the script's question is held, seconds: below the half minute after which many proxies give up.
pub const WAIT_SECONDS: u64 = 20;

#[derive(Template)]
#[template(path = "console/progress.html")]
struct ProgressPage {
    frame: Frame,
    card: String,
    kind: &'static str,
}

/// The part that changes.
#[derive(Template)]
#[template(path = "console/progress_card.html")]
struct Card {
    tone: &'static str,
    title: &'static str,
    told: &'static str,
    todo: &'static str,
    is_final: bool,
    version: String,
    wait: String,
    again: String,
    story: String,
    start: &'static str,
    sum: String,
    currency: String,
    msisdn: String,
    receipt: Option<String>,
    /// The provider's own words, where ours do not say as much.
    words: Option<String>,
    /// What the customer is told.
    line: Line,
}

/// What a state means for whoever started the payment.
struct Meaning {
    tone: &'static str,
    title: &'static str,
    told: &'static str,
    todo: &'static str,
}

/// Where a payment's progress is told.
pub fn path(partner: PartnerId, id: TransactionId) -> String {
    format!("/console/progress/{partner}/{id}")
}

/// The page.
pub async fn show(
    state: Data<State>,
    viewer: Viewer,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    let ids = viewer.transaction_in_path(&path)?;
    let (transaction, _) = story::find(&state, ids).await?;
    let card = card(&state, &transaction).await?;
    page(&ProgressPage {
        frame: Frame::of(&viewer, section(transaction.kind)),
        kind: text::kind(transaction.kind),
        card: card.render().map_err(|_| ApiError::server())?,
    })
}

/// The page on which such a payment is started.
fn section(kind: Kind) -> Section {
    match kind {
        Kind::B2c | Kind::Payout => Section::PayOut,
        Kind::Reversal => Section::Reverse,
        Kind::StkPush | Kind::C2b | Kind::UssdPush => Section::Pay,
    }
}

/// The part that changes, as soon as it is not `known` any more, or when the wait is over.
pub async fn wait(
    state: Data<State>,
    viewer: Viewer,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    let ids = viewer.transaction_in_path(&path)?;
    let query = Query::parse(request.query_string(), &["known"])?;
    let known = query.value("known").unwrap_or_default();
    let look = async || {
        let (transaction, _) = story::find(&state, ids).await?;
        Ok::<_, ApiError>(
            if transaction.status.is_final() || rows::version(&transaction) != known {
                Look::Enough(transaction)
            } else {
                Look::NotYet(transaction, vec![WatchKey::transaction(ids.0, ids.1)])
            },
        )
    };
    let held = Duration::from_secs(WAIT_SECONDS);
    let transaction = state.feed.look_until(ids.0, held, look).await?;
    page(&card(&state, &transaction).await?)
}

async fn card(state: &State, transaction: &Transaction) -> Result<Card, ApiError> {
    let rows = std::slice::from_ref(transaction);
    let now = state.clock.now();
    let lines = catalogue_lines(state, transaction.partner_id, rows, now).await?;
    let line = lines.into_iter().next().ok_or_else(ApiError::server)?;
    Ok(card_with(transaction, line))
}

fn card_with(transaction: &Transaction, line: Line) -> Card {
    let meaning = meaning(transaction);
    let is_final = transaction.status.is_final();
    let path = path(transaction.partner_id, transaction.id);
    let words = transaction.result_description.clone();
    Card {
        tone: meaning.tone,
        title: meaning.title,
        told: meaning.told,
        todo: meaning.todo,
        is_final,
        version: rows::version(transaction),
        wait: format!("{path}/wait"),
        again: path,
        story: rows::path(transaction),
        start: match transaction.kind {
            Kind::B2c | Kind::Payout => "/console/pay-out",
            Kind::Reversal => "/console/reverse",
            Kind::StkPush | Kind::UssdPush | Kind::C2b => "/console/pay",
        },
        sum: text::amount(transaction.amount),
        currency: transaction.currency.to_string(),
        msisdn: rows::number(transaction),
        receipt: transaction.receipt.clone(),
        line,
        words: words.filter(|_| transaction.status == Status::Failed),
    }
}

fn meaning(transaction: &Transaction) -> Meaning {
    match transaction.status {
        Status::Queued => Meaning {
            tone: "waiting",
            title: "Being sent",
            told: "Nobody knows yet whether the provider has it. The provider is asked until it says so.",
            todo: "Do not send it again: wait, or come back to this page later.",
        },
        Status::Accepted if transaction.kind.is_prompt() => Meaning {
            tone: "waiting",
            title: "Sent to the phone",
            told: "A prompt is on the customer’s phone.",
            todo: "Ask the customer to enter the PIN. This page changes by itself.",
        },
        Status::Accepted => Meaning {
            tone: "waiting",
            title: "Accepted",
            told: "The provider has it and is working on it.",
            todo: "This page changes by itself.",
        },
        Status::Success => Meaning {
            tone: "success",
            title: if transaction.kind.is_prompt() {
                "Paid"
            } else {
                "Done"
            },
            told: "The provider confirmed it.",
            todo: "Nothing more to do. Keep the receipt.",
        },
        Status::Failed if transaction.reversed_at.is_some() => Meaning {
            tone: "failed",
            title: "Paid back",
            told: "It was paid, and the money went back since.",
            todo: "Ask for a new payment if it is still owed.",
        },
        Status::Failed => failure(transaction),
    }
}

/// Why a payment failed, as far as what to do depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Balance,
    Cancelled,
    NoAnswer,
    WrongPin,
    Other,
}

/// M-Pesa's codes are Daraja's (PROVIDERS 1.13); ClickPesa has words only.
fn cause(transaction: &Transaction) -> Cause {
    let code = transaction.result_code.as_deref().unwrap_or_default();
    let words = transaction
        .result_description
        .as_deref()
        .unwrap_or_default();
    match (transaction.provider, transaction.kind, code) {
        (Provider::Clickpesa, ..) => cause_in_words(&words.to_ascii_lowercase()),
        (Provider::Mpesa, _, "1") => Cause::Balance,
        (Provider::Mpesa, Kind::StkPush, "1032") => Cause::Cancelled,
        (Provider::Mpesa, Kind::StkPush, "1037" | "1019") => Cause::NoAnswer,
        (Provider::Mpesa, _, "2001") => Cause::WrongPin,
        (Provider::Mpesa, ..) => Cause::Other,
    }
}

fn cause_in_words(words: &str) -> Cause {
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    let names_pin = || {
        words
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| word == "pin")
    };
    if says(&["insufficient"]) {
        Cause::Balance
    } else if says(&["cancel"]) {
        Cause::Cancelled
    } else if says(&["expire", "timeout", "timed out", "no response"]) {
        Cause::NoAnswer
    } else if names_pin() {
        Cause::WrongPin
    } else {
        Cause::Other
    }
}

fn failure(transaction: &Transaction) -> Meaning {
    let is_prompt = transaction.kind.is_prompt();
    let (title, told, todo) = match (cause(transaction), transaction.unconfirmed) {
        (Cause::Balance, _) if is_prompt => (
            "Not enough money",
            "The customer’s balance is too low for this amount. Nothing was taken.",
            "Ask the customer to top up, or ask for a smaller amount. Trying again is safe.",
        ),
        (Cause::Balance, _) => (
            "Not enough money",
            "The account’s balance is too low for this amount. Nothing was sent.",
            "Top up the account, then send it again.",
        ),
        (Cause::Cancelled, _) => (
            "Cancelled",
            "The customer cancelled the prompt. Nothing was taken.",
            "If it was by mistake, ask again: trying again is safe.",
        ),
        (Cause::NoAnswer, true) => (
            "Timed out",
            "The customer did not answer in time, or the phone was off. If a late answer still comes, this turns into a success.",
            "Wait a minute before you ask again, so that nobody pays twice.",
        ),
        (Cause::NoAnswer, false) => (
            "Timed out",
            "The customer did not answer in time, or the phone was off. Nothing was taken.",
            "See that the phone is on and has a signal, then ask again.",
        ),
        (Cause::WrongPin, _) if is_prompt => (
            "Wrong PIN",
            "The PIN was wrong. Nothing was taken.",
            "Ask the customer to take care with the PIN, then ask again.",
        ),
        (Cause::WrongPin, _) => (
            "Wrong initiator",
            "The provider did not accept the account’s initiator or its password. Nothing was sent.",
            "Mend the account’s credentials before anything else: repeated tries lock the initiator.",
        ),
        (Cause::Other, true) => (
            "Failed, as far as known",
            "The provider reported a failure that may still turn into a success.",
            "Wait a minute and look again before you repeat it.",
        ),
        (Cause::Other, false) => (
            "Failed",
            "The provider refused it. No money moved.",
            "Read the provider’s own words below. Trying again is safe.",
        ),
    };
    Meaning {
        tone: "failed",
        title,
        told,
        todo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clickpesas_words_tell_the_cause() {
        for (words, cause) in [
            ("insufficient balance", Cause::Balance),
            ("request cancelled by user", Cause::Cancelled),
            ("request timed out", Cause::NoAnswer),
            ("no response from user", Cause::NoAnswer),
            ("invalid pin", Cause::WrongPin),
            ("shipping address missing", Cause::Other),
            ("", Cause::Other),
        ] {
            assert_eq!(cause_in_words(words), cause, "{words}");
        }
    }
}
