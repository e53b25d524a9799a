//! Paying a customer: a refund, a payout, wages or a bonus, in three steps like asking for a payment. The second step
//! carries the idempotency key, so that a form sent twice pays once.

use actix_web::web::Data;
use actix_web::{HttpResponse, http::StatusCode};
use askama::Template;
use serde_json::{Map, Value};

use super::accounts::{self, Choice};
use super::form::{Complaint, Form, is_told_at_the_form};
use super::page::{Frame, Section, page_with};
use super::pay::{spaced, start};
use super::text;
use super::viewer::Viewer;
use crate::domain::identity::{PartnerId, new_uuid};
use crate::domain::money::{Amount, Currency};
use crate::domain::partner::Scope;
use crate::domain::transaction::{Kind, Provider};
use crate::http::{ApiError, Fields, State, payment_order};
use crate::payments::Order;
use crate::providers::payment_provider::{Purpose, Reply};

/// What can be paid out.
const PAYOUTS: [Kind; 2] = [Kind::B2c, Kind::Payout];

/// What money is paid out for: the word, its name.
const PURPOSES: [(Purpose, &str); 4] = [
    (Purpose::Refund, "Refund"),
    (Purpose::Payout, "Payout"),
    (Purpose::Salary, "Salary"),
    (Purpose::Bonus, "Bonus"),
];

/// A purpose to choose.
struct PurposeChoice {
    word: &'static str,
    name: &'static str,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "console/pay_out.html")]
struct PayOutPage {
    frame: Frame,
    partner: String,
    accounts: Vec<Choice>,
    purposes: Vec<PurposeChoice>,
    msisdn: String,
    amount: String,
    remarks: String,
    occasion: String,
    problem: Option<String>,
    /// The field that is wrong.
    wrong: String,
}

#[derive(Template)]
#[template(path = "console/pay_out_check.html")]
struct CheckPage {
    frame: Frame,
    provider: &'static str,
    account: String,
    account_id: String,
    purpose: &'static str,
    purpose_name: &'static str,
    msisdn: String,
    number: String,
    amount: String,
    sum: String,
    currency: String,
    remarks: String,
    occasion: String,
    key: String,
    told: Vec<(&'static str, String)>,
    /// What the provider says against it.
    problem: Option<String>,
}

/// Step one: the details.
pub async fn show(state: Data<State>, viewer: Viewer) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    details(&state, &viewer, &Form::default(), None).await
}

async fn details(
    state: &State,
    viewer: &Viewer,
    form: &Form,
    error: Option<ApiError>,
) -> Result<HttpResponse, ApiError> {
    let partner = viewer.one_partner()?;
    let value = |name: &str| form.value(name).unwrap_or_default().trim().to_owned();
    let chosen = form.value("purpose").unwrap_or(Purpose::Payout.as_str());
    let complaint = Complaint::from(error);
    page_with(
        complaint.status,
        &PayOutPage {
            frame: Frame::of(viewer, Section::PayOut),
            partner: partner.name.clone(),
            accounts: accounts::choices(state, partner.id, &PAYOUTS, form.value("account")).await?,
            purposes: PURPOSES
                .iter()
                .map(|(purpose, name)| PurposeChoice {
                    word: purpose.as_str(),
                    name,
                    is_chosen: purpose.as_str() == chosen,
                })
                .collect(),
            msisdn: value("msisdn"),
            amount: value("amount"),
            remarks: value("remarks"),
            occasion: value("occasion"),
            wrong: complaint.wrong,
            problem: complaint.problem,
        },
    )
}

/// Step two: what will be paid.
pub async fn check(
    state: Data<State>,
    viewer: Viewer,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let partner = viewer.one_partner()?.id;
    let key = format!("console-{}", new_uuid(state.clock.now()));
    let order = match order(&state, partner, &form, &key).await {
        Ok(order) => order,
        Err(error) if error.code.status().is_client_error() => {
            return details(&state, &viewer, &form, Some(error)).await;
        }
        Err(error) => return Err(error),
    };
    let account_id = form.required("account")?.to_owned();
    let choices = accounts::choices(&state, partner, &PAYOUTS, Some(&account_id)).await?;
    let (told, problem) = preview(&state, &order).await?;
    let text = |name: &str| Ok::<_, ApiError>(form.text(name)?.unwrap_or_default().to_owned());
    page_with(
        StatusCode::OK,
        &CheckPage {
            frame: Frame::of(&viewer, Section::PayOut),
            provider: text::provider(order.provider),
            account: choices
                .into_iter()
                .find(|choice| choice.is_chosen)
                .map(|choice| choice.name)
                .unwrap_or_default(),
            account_id,
            purpose: order.purpose.as_str(),
            purpose_name: purpose_name(order.purpose),
            msisdn: form.required("msisdn")?.to_owned(),
            number: order
                .msisdn
                .as_ref()
                .map(|msisdn| spaced(msisdn.as_str()))
                .unwrap_or_default(),
            amount: order.amount.to_string(),
            sum: text::amount(order.amount),
            currency: order.currency.to_string(),
            remarks: text("remarks")?,
            occasion: text("occasion")?,
            key,
            told,
            problem,
        },
    )
}

/// Step three: it is paid, once, and its page says how it goes.
pub async fn send(
    state: Data<State>,
    viewer: Viewer,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let partner = viewer.one_partner()?.id;
    let key = form.required("key")?;
    let sent = async {
        let order = order(&state, partner, &form, key).await?;
        start(&state, &viewer, order).await
    };
    match sent.await {
        Err(error) if is_told_at_the_form(&error) => {
            details(&state, &viewer, &form, Some(error)).await
        }
        other => other,
    }
}

async fn order(
    state: &State,
    partner: PartnerId,
    form: &Form,
    key: &str,
) -> Result<Order, ApiError> {
    let account = form.required("account")?;
    let provider = accounts::provider_of(state, partner, account).await?;
    let kind = match provider {
        Provider::Mpesa => Kind::B2c,
        Provider::Clickpesa => Kind::Payout,
    };
    let mut fields = Map::new();
    let mut add = |name: &str, value: &str| {
        fields.insert(name.to_owned(), Value::from(value));
    };
    add("provider", provider.as_str());
    add("kind", kind.as_str());
    add("account_id", account);
    add("msisdn", form.required("msisdn")?);
    add("amount", &form.required("amount")?.replace([' ', ','], ""));
    add("purpose", form.required("purpose")?);
    add("origin", "console");
    for name in ["remarks", "occasion"] {
        if let Some(value) = form.text(name)? {
            add(name, value);
        }
    }
    let fields = Fields::parse(Value::Object(fields).to_string().as_bytes())?;
    payment_order(state, partner, Some(key.to_owned()), &fields).await
}

fn purpose_name(purpose: Purpose) -> &'static str {
    PURPOSES
        .iter()
        .find(|(known, _)| *known == purpose)
        .map_or_else(|| purpose.as_str(), |(_, name)| name)
}

/// What the provider says of it beforehand, and what it says against it. M-Pesa says nothing.
async fn preview(
    state: &State,
    order: &Order,
) -> Result<(Vec<(&'static str, String)>, Option<String>), ApiError> {
    if order.provider == Provider::Mpesa {
        return Ok((Vec::new(), None));
    }
    Ok(match state.payments.preview(order.clone()).await? {
        Reply::Body(answer) => (told(&answer, &order.currency), None),
        Reply::Refused(refusal) => (Vec::new(), Some(refusal.message)),
        Reply::Unknown(_) => (
            Vec::new(),
            Some("there was no answer; the fee is not known now.".to_owned()),
        ),
    })
}

/// ClickPesa's preview of a payout: `{amount, balance, channelProvider, fee, receiver: {accountName}}`.
fn told(answer: &Value, currency: &Currency) -> Vec<(&'static str, String)> {
    let plain = |value: Option<&Value>| match value {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let money = |name: &str| {
        let text = plain(answer.get(name))?;
        let amount = text.parse::<Amount>().map(text::amount).unwrap_or(text);
        Some(format!("{amount} {currency}"))
    };
    let receiver = plain(answer.pointer("/receiver/accountName"));
    [
        ("Receiver", receiver),
        ("Network", plain(answer.get("channelProvider"))),
        ("Fee", money("fee")),
        ("Taken in all", money("amount")),
        ("Balance before", money("balance")),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_preview_tells_who_gets_it_and_what_it_costs() {
        let answer = json!({
            "amount": 16580, "balance": "5000000.00", "channelProvider": "AIRTEL", "fee": 580,
            "receiver": {"accountName": "NEEMA MUSHI"},
        });
        assert_eq!(
            told(&answer, &Currency::tzs()),
            [
                ("Receiver", "NEEMA MUSHI".to_owned()),
                ("Network", "AIRTEL".to_owned()),
                ("Fee", "580.00 TZS".to_owned()),
                ("Taken in all", "16,580.00 TZS".to_owned()),
                ("Balance before", "5,000,000.00 TZS".to_owned()),
            ]
        );
        assert!(told(&json!({"x": 1}), &Currency::tzs()).is_empty());
    }

    #[test]
    fn every_purpose_has_its_name() {
        assert_eq!(purpose_name(Purpose::Salary), "Salary");
        assert_eq!(purpose_name(Purpose::Promotion), "promotion");
    }
}
