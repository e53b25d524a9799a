//! What is on a partner's accounts: what each last reported, who asked before and what came of it, and asking anew. ClickPesa
//! answers at once; M-Pesa answers at the callback address, and the page waits for that.

use std::time::Duration;

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, http::StatusCode};
use askama::Template;

use super::Console;
use super::accounts::{self, Choice};
use super::form::Form;
use super::notice::Notice;
use super::page::{Frame, Section, page, page_with, redirect, redirect_with};
use super::text::{self, Time};
use super::viewer::Viewer;
use crate::domain::clock::Instant;
use crate::domain::enquiry::{Enquiry, Told};
use crate::domain::identity::{AccountId, EnquiryId, PartnerId};
use crate::domain::money::Amount;
use crate::domain::partner::Scope;
use crate::domain::status_update::Balance;
use crate::domain::transaction::Kind;
use crate::http::{ApiError, State};
use crate::providers::answer::BalanceAnswer;

/// How long an answer of M-Pesa's is waited for.
pub const PATIENCE: chrono::Duration = chrono::Duration::minutes(2);
/// A question of the script is held for so many looks, each so long after the other: short enough not to hold up the end
/// of the service.
const LOOKS: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Every account has one of these.
const KINDS: [Kind; 2] = [Kind::StkPush, Kind::UssdPush];

#[derive(Template)]
#[template(path = "console/balance.html")]
struct BalancePage {
    frame: Frame,
    partner: String,
    cards: Vec<Card>,
}

/// An account and what is on it.
#[derive(Template)]
#[template(path = "console/balance_card.html")]
struct Card {
    token: String,
    account: String,
    name: String,
    lines: Vec<Line>,
    checked: Option<(Time, String)>,
    asked: Option<Asked>,
    problem: Option<String>,
    past: Vec<Past>,
}

/// The question that was just asked.
struct Asked {
    wait: String,
    standing: Standing,
}

/// A question that was asked before.
struct Past {
    asked_at: Time,
    asked_by: String,
    standing: Standing,
    lines: Vec<Line>,
}

/// One balance.
struct Line {
    name: String,
    /// Where it is not the name.
    currency: Option<String>,
    /// What was told of it, in a sentence.
    told: String,
    available: String,
    current: String,
    reserved: String,
    uncleared: String,
}

/// How a question stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Waiting,
    Answered,
    Failed(String),
    Silent,
}

impl Standing {
    fn of(enquiry: &Enquiry, now: Instant) -> Self {
        match enquiry.answer.as_ref().map(|answer| &answer.told) {
            Some(Told::Balances(_)) => Self::Answered,
            Some(Told::Nothing(why)) => Self::Failed(why.clone()),
            None if now - enquiry.asked_at >= PATIENCE => Self::Silent,
            None => Self::Waiting,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Answered => "answered",
            Self::Failed(_) => "failed",
            Self::Silent => "silent",
        }
    }

    fn is_over(&self) -> bool {
        *self != Self::Waiting
    }

    fn sentence(&self) -> String {
        match self {
            Self::Waiting => {
                "The provider was asked. This changes by itself when the answer comes.".to_owned()
            }
            Self::Answered => "The provider answered.".to_owned(),
            Self::Failed(why) => format!("The provider told no balance: {why}"),
            Self::Silent => "No answer came. Ask again; if none comes then either, look at the account’s health.".to_owned(),
        }
    }

    /// The class of a notice that says it.
    fn tone(&self) -> &'static str {
        match self {
            Self::Answered => "",
            Self::Waiting | Self::Silent => " caution",
            Self::Failed(_) => " problem",
        }
    }

    /// In a line of the past.
    fn short(&self) -> &str {
        match self {
            Self::Waiting => "No answer yet",
            Self::Answered => "Nothing on it",
            Self::Failed(why) => why,
            Self::Silent => "No answer came",
        }
    }
}

/// All accounts of the partner.
pub async fn show(state: Data<State>, viewer: Viewer) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    list(&state, &viewer, None, None).await
}

/// The same, one of them being asked.
pub async fn show_asked(
    state: Data<State>,
    viewer: Viewer,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let enquiry = asked(&state, viewer.one_partner()?.id, &path).await?;
    list(&state, &viewer, Some(enquiry), None).await
}

/// The one card, as soon as the answer is there.
pub async fn wait(
    state: Data<State>,
    viewer: Viewer,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let partner = viewer.one_partner()?.id;
    let mut enquiry = asked(&state, partner, &path).await?;
    let account = enquiry.account_id;
    let choice = find(&state, partner, account).await?;
    for _ in 1..LOOKS {
        if Standing::of(&enquiry, state.clock.now()).is_over() {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        enquiry = asked(&state, partner, &path).await?;
    }
    let reported = state.store.list_balances(partner, account).await?;
    let past = state.store.list_enquiries(partner).await?;
    let now = state.clock.now();
    page(&card(
        &viewer,
        choice,
        (&reported, &past),
        Some(enquiry),
        now,
    ))
}

/// The question that a path names.
async fn asked(
    state: &State,
    partner: PartnerId,
    (account, enquiry): &(String, String),
) -> Result<Enquiry, ApiError> {
    let none = || ApiError::not_found("There is no such question");
    let id: EnquiryId = enquiry.parse().map_err(|_| none())?;
    let found = state.store.find_enquiry(partner, id).await?;
    found
        .filter(|found| found.account_id.to_string() == *account)
        .ok_or_else(none)
}

async fn find(state: &State, partner: PartnerId, account: AccountId) -> Result<Choice, ApiError> {
    let id = account.to_string();
    accounts::choices(state, partner, &KINDS, None)
        .await?
        .into_iter()
        .find(|choice| choice.id == id)
        .ok_or_else(|| ApiError::not_found("There is no such account"))
}

async fn list(
    state: &State,
    viewer: &Viewer,
    asked: Option<Enquiry>,
    problem: Option<(AccountId, ApiError)>,
) -> Result<HttpResponse, ApiError> {
    let partner = viewer.one_partner()?;
    let all = state.store.list_all_balances(partner.id).await?;
    let past = state.store.list_enquiries(partner.id).await?;
    let now = state.clock.now();
    let mut cards = Vec::new();
    for choice in accounts::choices(state, partner.id, &KINDS, None).await? {
        let reported: Vec<(Balance, Instant)> = all
            .iter()
            .filter(|(account, ..)| account.to_string() == choice.id)
            .map(|(_, balance, at)| (balance.clone(), *at))
            .collect();
        let enquiry = asked
            .clone()
            .filter(|enquiry| enquiry.account_id.to_string() == choice.id);
        let mut card = card(viewer, choice, (&reported, &past), enquiry, now);
        card.problem = problem
            .as_ref()
            .filter(|(account, _)| account.to_string() == card.account)
            .map(|(_, error)| error.text.clone());
        cards.push(card);
    }
    let status = problem
        .as_ref()
        .map_or(StatusCode::OK, |(_, error)| error.code.status());
    page_with(
        status,
        &BalancePage {
            frame: Frame::of(viewer, Section::Balance),
            partner: partner.name.clone(),
            cards,
        },
    )
}

fn card(
    viewer: &Viewer,
    choice: Choice,
    (reported, past): (&[(Balance, Instant)], &[Enquiry]),
    asked: Option<Enquiry>,
    now: Instant,
) -> Card {
    let newest = reported.iter().map(|(_, at)| *at).max();
    Card {
        token: viewer.token.clone(),
        lines: reported.iter().map(|(balance, _)| line(balance)).collect(),
        checked: newest.map(|at| (Time(at), Time(at).age(now))),
        asked: asked.map(|enquiry| Asked {
            wait: format!("/console/balance/{}/{}/wait", choice.id, enquiry.id),
            standing: Standing::of(&enquiry, now),
        }),
        past: past
            .iter()
            .filter(|enquiry| enquiry.account_id.to_string() == choice.id)
            .map(|enquiry| past_line(enquiry, now))
            .collect(),
        account: choice.id,
        name: choice.name,
        problem: None,
    }
}

fn line(balance: &Balance) -> Line {
    let told = |amount: Option<Amount>| amount.map_or_else(|| "–".to_owned(), text::amount);
    let sums = [
        ("available", balance.available),
        ("current", balance.current),
        ("reserved", balance.reserved),
        ("uncleared", balance.uncleared),
    ];
    let sums: Vec<String> = sums
        .into_iter()
        .filter_map(|(name, amount)| Some(format!("{name} {}", text::amount(amount?))))
        .collect();
    Line {
        name: balance.name.clone(),
        currency: Some(balance.currency.clone()).filter(|currency| *currency != balance.name),
        told: sums.join(", "),
        available: told(balance.available),
        current: told(balance.current),
        reserved: told(balance.reserved),
        uncleared: told(balance.uncleared),
    }
}

fn past_line(enquiry: &Enquiry, now: Instant) -> Past {
    Past {
        asked_at: Time(enquiry.asked_at),
        asked_by: enquiry.asked_by.clone(),
        standing: Standing::of(enquiry, now),
        lines: match enquiry.answer.as_ref().map(|answer| &answer.told) {
            Some(Told::Balances(balances)) => balances.iter().map(line).collect(),
            _ => Vec::new(),
        },
    }
}

/// Asks the provider.
pub async fn refresh(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let partner = viewer.one_partner()?.id;
    let account = form.required("account")?;
    let provider = accounts::provider_of(&state, partner, account).await?;
    let account: AccountId = account
        .parse()
        .map_err(|_| ApiError::field("account", "is none of this partner's accounts"))?;
    let audit = viewer.audit("balance.ask", partner, account);
    let asked_by = audit.actor.clone();
    state.store.record_audit(audit).await?;
    let asked = state
        .payments
        .ask_balance(partner, (provider, Some(account)), asked_by)
        .await;
    let refused: ApiError = match asked {
        Ok((enquiry, BalanceAnswer::Asked(_))) => {
            return Ok(redirect(&format!("/console/balance/{account}/{enquiry}")));
        }
        Ok((_, BalanceAnswer::Balances(_))) => {
            let notice = Notice::done("The provider answered.");
            return Ok(redirect_with(&console, "/console/balance", &notice));
        }
        Ok((_, BalanceAnswer::Refused(refusal))) => refusal.into(),
        Ok((_, BalanceAnswer::Unknown(silence))) => silence.into(),
        Err(error) => error.into(),
    };
    list(&state, &viewer, None, Some((account, refused))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::enquiry::EnquiryAnswer;

    #[test]
    fn a_question_waits_for_two_minutes_and_an_answer_ends_that_whenever_it_comes() {
        let asked_at: Instant = "2026-03-14T10:00:00.700Z".parse().unwrap();
        let enquiry = |told: Option<Told>| Enquiry {
            id: EnquiryId::new(asked_at),
            partner_id: PartnerId::new(asked_at),
            account_id: AccountId::new(asked_at),
            asked_by: "console:asha".to_owned(),
            asked_at,
            answer: told.map(|told| EnquiryAnswer { at: asked_at, told }),
        };
        let soon = asked_at + PATIENCE - chrono::Duration::milliseconds(1);
        let late = asked_at + PATIENCE;
        let refusal = || Told::Nothing("refused (15)".to_owned());
        for (told, now, word) in [
            (None, soon, "waiting"),
            (None, late, "silent"),
            (Some(Told::Balances(Vec::new())), soon, "answered"),
            (Some(Told::Balances(Vec::new())), late, "answered"),
            (Some(refusal()), soon, "failed"),
        ] {
            let standing = Standing::of(&enquiry(told), now);
            assert_eq!(standing.word(), word);
            assert_eq!(standing.is_over(), word != "waiting");
        }
    }
}
