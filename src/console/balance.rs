//! What is on a partner's accounts: what each last reported and when, and asking anew. ClickPesa answers at once; M-Pesa
//! answers at the callback address, and the page waits for that.

use std::time::Duration;

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, http::StatusCode};
use askama::Template;
use chrono::SubsecRound;

use super::Console;
use super::accounts::{self, Choice};
use super::form::Form;
use super::page::{Frame, Notice, Section, page, page_with, redirect, redirect_with};
use super::text::{self, Time};
use super::viewer::Viewer;
use crate::domain::clock::Instant;
use crate::domain::identity::{AccountId, PartnerId};
use crate::domain::money::Amount;
use crate::domain::partner::Scope;
use crate::domain::status_update::Balance;
use crate::domain::transaction::Kind;
use crate::http::{ApiError, State};
use crate::payments::PayError;
use crate::providers::payment_provider::BalanceAnswer;

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
}

/// A question that was asked.
struct Asked {
    state: &'static str,
    wait: String,
    sentence: &'static str,
}

impl Asked {
    fn is_over(&self) -> bool {
        self.state != "waiting"
    }
}

/// One balance.
struct Line {
    name: String,
    currency: String,
    available: String,
    current: String,
    reserved: String,
    uncleared: String,
}

/// When an account was asked, and what it had reported last by then: milliseconds since 1970, 0 for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    asked: i64,
    known: i64,
}

impl Mark {
    fn new(asked: Instant, known: Option<Instant>) -> Self {
        Self {
            asked: asked.timestamp_millis(),
            known: known.map_or(0, |at| at.timestamp_millis()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (asked, known) = text.split_once('-')?;
        Some(Self {
            asked: asked.parse().ok()?,
            known: known.parse().ok()?,
        })
    }

    fn text(self) -> String {
        format!("{}-{}", self.asked, self.known)
    }

    /// How the question stands. A provider may count whole seconds, and its clock need not be ours: another time than
    /// was known is an answer, and so is a time since the question.
    fn state(self, newest: Option<Instant>, now: Instant) -> &'static str {
        let asked = Instant::from_timestamp_millis(self.asked).unwrap_or(now);
        let is_answered = newest
            .is_some_and(|at| at.timestamp_millis() != self.known || at >= asked.trunc_subsecs(0));
        if is_answered {
            "answered"
        } else if now - asked >= PATIENCE {
            "silent"
        } else {
            "waiting"
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
    let (account, mark) = asked(&path)?;
    list(&state, &viewer, Some((account, mark)), None).await
}

/// The one card, as soon as the answer is there.
pub async fn wait(
    state: Data<State>,
    viewer: Viewer,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let partner = viewer.one_partner()?.id;
    let (account, mark) = asked(&path)?;
    let choice = find(&state, partner, account).await?;
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let newest = newest(&state.store.list_balances(partner, account).await?);
        if mark.state(newest, state.clock.now()) != "waiting" {
            break;
        }
    }
    let reported = state.store.list_balances(partner, account).await?;
    let now = state.clock.now();
    page(&card(&viewer, choice, &reported, Some(mark), now))
}

fn asked((account, mark): &(String, String)) -> Result<(AccountId, Mark), ApiError> {
    let none = || ApiError::not_found("There is no such question");
    let account = account.parse().map_err(|_| none())?;
    Ok((account, Mark::parse(mark).ok_or_else(none)?))
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
    asked: Option<(AccountId, Mark)>,
    problem: Option<(AccountId, ApiError)>,
) -> Result<HttpResponse, ApiError> {
    let partner = viewer.one_partner()?;
    let all = state.store.list_all_balances(partner.id).await?;
    let now = state.clock.now();
    let mut cards = Vec::new();
    for choice in accounts::choices(state, partner.id, &KINDS, None).await? {
        let reported: Vec<(Balance, Instant)> = all
            .iter()
            .filter(|(account, ..)| account.to_string() == choice.id)
            .map(|(_, balance, at)| (balance.clone(), *at))
            .collect();
        let mark = asked
            .filter(|(account, _)| account.to_string() == choice.id)
            .map(|(_, mark)| mark);
        let mut card = card(viewer, choice, &reported, mark, now);
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

fn newest(reported: &[(Balance, Instant)]) -> Option<Instant> {
    reported.iter().map(|(_, at)| *at).max()
}

fn card(
    viewer: &Viewer,
    choice: Choice,
    reported: &[(Balance, Instant)],
    mark: Option<Mark>,
    now: Instant,
) -> Card {
    let newest = newest(reported);
    let told = |amount: Option<Amount>| amount.map_or_else(|| "–".to_owned(), text::amount);
    let asked = mark.map(|mark| {
        let state = mark.state(newest, now);
        Asked {
            state,
            wait: format!("/console/balance/{}/{}/wait", choice.id, mark.text()),
            sentence: match state {
                "answered" => "The provider answered.",
                "silent" => "No answer came. Ask again; if none comes then either, look at the account’s health.",
                _ => "The provider was asked. This changes by itself when the answer comes.",
            },
        }
    });
    Card {
        token: viewer.token.clone(),
        account: choice.id,
        name: choice.name,
        lines: reported
            .iter()
            .map(|(balance, _)| Line {
                name: balance.name.clone(),
                currency: balance.currency.clone(),
                available: told(balance.available),
                current: told(balance.current),
                reserved: told(balance.reserved),
                uncleared: told(balance.uncleared),
            })
            .collect(),
        checked: newest.map(|at| (Time(at), Time(at).age(now))),
        asked,
        problem: None,
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
    let known = newest(&state.store.list_balances(partner, account).await?);
    let now = state.clock.now();
    let audit = viewer.audit("balance.ask", partner, account);
    state.store.record_audit(audit).await?;
    let payments = std::sync::Arc::clone(&state.payments);
    let work = async move {
        let connected = payments.accounts.find(partner, provider, Some(account));
        let connected = connected.await?;
        Ok::<_, PayError>(connected.client.balance(&connected.callbacks).await?)
    };
    let refused: ApiError = match state.payments.run(work).await? {
        Ok(BalanceAnswer::Asked(_)) => {
            let mark = Mark::new(now, known).text();
            return Ok(redirect(&format!("/console/balance/{account}/{mark}")));
        }
        Ok(BalanceAnswer::Balances(balances)) => {
            let at = state.clock.now();
            state
                .store
                .record_balances(partner, account, balances, at)
                .await?;
            let notice = Notice::done("The provider answered.");
            return Ok(redirect_with(&console, "/console/balance", &notice));
        }
        Ok(BalanceAnswer::Refused(refusal)) => refusal.into(),
        Ok(BalanceAnswer::Unknown(silence)) => silence.into(),
        Err(error) => error.into(),
    };
    list(&state, &viewer, None, Some((account, refused))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    #[test]
    fn an_answer_is_another_time_or_a_later_one() {
        let asked = at("2026-03-14T10:00:00.700Z");
        let soon = at("2026-03-14T10:00:09Z");
        let before = at("2026-03-13T08:00:00Z");
        for (known, newest, now, state) in [
            (None, None, soon, "waiting"),
            (None, None, asked + PATIENCE, "silent"),
            (None, Some(before), soon, "answered"),
            (Some(before), Some(before), soon, "waiting"),
            (
                Some(before),
                Some(at("2026-03-14T09:59:40Z")),
                soon,
                "answered",
            ),
            // Asked twice in a second, by a provider that counts whole ones.
            (
                Some(at("2026-03-14T10:00:00Z")),
                Some(at("2026-03-14T10:00:00Z")),
                soon,
                "answered",
            ),
        ] {
            let mark = Mark::parse(&Mark::new(asked, known).text()).unwrap();
            assert_eq!(mark.state(newest, now), state, "{known:?} {newest:?} {now}");
        }
        assert_eq!(Mark::parse("x-1"), None);
        assert_eq!(Mark::parse("1"), None);
    }
}
