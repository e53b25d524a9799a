//! Paying a customer: a refund, a payout, wages or a bonus, in three steps like asking for a payment. The second step
//! carries the idempotency key, so that a form sent twice pays once.

use actix_web::web::Data;
use actix_web::{HttpResponse, http::StatusCode};
use askama::Template;
use serde_json::Value;

use super::accounts::{self, Choice};
use super::form::{Complaint, Form, is_told_at_the_form};
use super::page::{Frame, Section, page_with};
use super::payment_form::{Checked, PaymentForm, new_key, preview, start};
use super::text;
use super::viewer::Viewer;
use crate::domain::money::{Amount, Currency};
use crate::domain::partner::Scope;
use crate::domain::transaction::Kind;
use crate::http::{ApiError, State};
use crate::providers::payment_provider::Purpose;

/// What can be paid out.
const FORM: PaymentForm = PaymentForm {
    kinds: [Kind::B2c, Kind::Payout],
    required: &["purpose"],
    optional: &["remarks", "occasion"],
};

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
    checked: Checked,
    purpose: &'static str,
    purpose_name: &'static str,
    remarks: String,
    occasion: String,
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
            accounts: accounts::choices(state, partner.id, &FORM.kinds, form.value("account"))
                .await?,
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
    let key = new_key(&state);
    let order = match FORM.order(&state, partner, &form, &key).await {
        Ok(order) => order,
        Err(error) if error.code.status().is_client_error() => {
            return details(&state, &viewer, &form, Some(error)).await;
        }
        Err(error) => return Err(error),
    };
    let (answer, problem) = preview(&state, &order).await?;
    page_with(
        StatusCode::OK,
        &CheckPage {
            frame: Frame::of(&viewer, Section::PayOut),
            checked: FORM.checked(&state, &form, &order, key).await?,
            purpose: order.purpose.as_str(),
            purpose_name: purpose_name(order.purpose),
            remarks: form.text("remarks")?.unwrap_or_default().to_owned(),
            occasion: form.text("occasion")?.unwrap_or_default().to_owned(),
            told: answer.map_or_else(Vec::new, |answer| told(&answer, &order.currency)),
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
        let order = FORM.order(&state, partner, &form, key).await?;
        start(&state, &viewer, order).await
    };
    match sent.await {
        Err(error) if is_told_at_the_form(&error) => {
            details(&state, &viewer, &form, Some(error)).await
        }
        other => other,
    }
}

fn purpose_name(purpose: Purpose) -> &'static str {
    PURPOSES
        .iter()
        .find(|(known, _)| *known == purpose)
        .map_or_else(|| purpose.as_str(), |(_, name)| name)
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
