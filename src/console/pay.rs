//! Asking a customer to pay, in three steps: the details, a look at what will be sent (with ClickPesa's fee), and how it
//! goes. The second step carries the idempotency key, so that a form sent twice asks once.

use actix_web::web::Data;
use actix_web::{HttpResponse, http::StatusCode};
use askama::Template;
use serde_json::Value;

use super::accounts::{self, Choice};
use super::form::{Complaint, Form, is_told_at_the_form};
use super::page::{Frame, Section, page_with};
use super::payment_form::{Checked, PaymentForm, new_key, preview, start};
use super::viewer::Viewer;
use crate::domain::money::Currency;
use crate::domain::partner::Scope;
use crate::domain::transaction::Kind;
use crate::http::{ApiError, State};

/// What can be asked for: a prompt on the customer's phone.
const FORM: PaymentForm = PaymentForm {
    kinds: [Kind::StkPush, Kind::UssdPush],
    required: &[],
    optional: &["reference", "description"],
};

#[derive(Template)]
#[template(path = "console/pay.html")]
struct PayPage {
    frame: Frame,
    partner: String,
    accounts: Vec<Choice>,
    msisdn: String,
    amount: String,
    reference: String,
    description: String,
    problem: Option<String>,
    /// The field that is wrong.
    wrong: String,
}

#[derive(Template)]
#[template(path = "console/pay_check.html")]
struct CheckPage {
    frame: Frame,
    checked: Checked,
    reference: String,
    description: String,
    fees: Vec<Fee>,
    /// What the provider says against it.
    problem: Option<String>,
}

/// A way to pay that the provider offers, and what it costs.
struct Fee {
    name: String,
    is_open: bool,
    fee: Option<String>,
    message: Option<String>,
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
    let complaint = Complaint::from(error);
    page_with(
        complaint.status,
        &PayPage {
            frame: Frame::of(viewer, Section::Pay),
            partner: partner.name.clone(),
            accounts: accounts::choices(state, partner.id, &FORM.kinds, form.value("account"))
                .await?,
            msisdn: value("msisdn"),
            amount: value("amount"),
            reference: value("reference"),
            description: value("description"),
            wrong: complaint.wrong,
            problem: complaint.problem,
        },
    )
}

/// Step two: what will be sent.
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
            frame: Frame::of(&viewer, Section::Pay),
            checked: FORM.checked(&state, &form, &order, key).await?,
            reference: form.text("reference")?.unwrap_or_default().to_owned(),
            description: form.text("description")?.unwrap_or_default().to_owned(),
            fees: answer.map_or_else(Vec::new, |answer| fees(&answer, &order.currency)),
            problem,
        },
    )
}

/// Step three: it is sent, once, and its page says how it goes.
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

/// What a preview says of the ways to pay: `activeMethods` of `{name, status, fee, message}`.
fn fees(answer: &Value, currency: &Currency) -> Vec<Fee> {
    let methods = answer.get("activeMethods").and_then(Value::as_array);
    methods
        .into_iter()
        .flatten()
        .map(|method| {
            let text = |name: &str| method.get(name).and_then(Value::as_str).map(str::to_owned);
            let fee = match method.get("fee") {
                Some(Value::Number(number)) => Some(number.to_string()),
                Some(Value::String(text)) => Some(text.clone()),
                _ => None,
            };
            Fee {
                name: text("name").unwrap_or_else(|| "Mobile money".to_owned()),
                is_open: text("status")
                    .is_none_or(|status| status.eq_ignore_ascii_case("available")),
                fee: fee.map(|fee| format!("{fee} {currency}")),
                message: text("message"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_preview_tells_the_ways_to_pay_and_their_fees() {
        let answer = json!({"activeMethods": [
            {"name": "TIGO-PESA", "status": "AVAILABLE", "fee": 580, "message": null},
            {"name": "M-PESA", "status": "UNAVAILABLE", "message": "Down for the night"},
        ]});
        let fees = fees(&answer, &Currency::tzs());
        assert_eq!(fees.len(), 2);
        assert_eq!(
            (fees[0].is_open, fees[0].fee.as_deref()),
            (true, Some("580 TZS"))
        );
        assert_eq!(
            (fees[1].is_open, fees[1].message.as_deref()),
            (false, Some("Down for the night"))
        );
        assert!(super::fees(&json!({"x": 1}), &Currency::tzs()).is_empty());
    }
}
