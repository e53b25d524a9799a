//! Asking a customer to pay, in three steps: the details, a look at what will be sent (with ClickPesa's fee), and how it
//! goes. The second step carries the idempotency key, so that a form sent twice asks once.

use actix_web::web::Data;
use actix_web::{HttpResponse, http::StatusCode};
use askama::Template;
use serde_json::{Map, Value};

use super::accounts::{self, Choice};
use super::form::{Complaint, Form, is_told_at_the_form};
use super::page::{Frame, Section, page_with, redirect};
use super::text;
use super::viewer::Viewer;
use crate::domain::identity::{PartnerId, TransactionId, new_uuid};
use crate::domain::money::Currency;
use crate::domain::partner::Scope;
use crate::domain::search::BulkLookup;
use crate::domain::transaction::{Kind, Provider};
use crate::http::{ApiError, Fields, State, payment_order, start_payment};
use crate::payments::Order;
use crate::providers::payment_provider::Reply;

/// What can be asked for: a prompt on the customer's phone.
const PROMPTS: [Kind; 2] = [Kind::StkPush, Kind::UssdPush];

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
    provider: &'static str,
    account: String,
    account_id: String,
    msisdn: String,
    number: String,
    amount: String,
    sum: String,
    currency: String,
    reference: String,
    description: String,
    key: String,
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
            accounts: accounts::choices(state, partner.id, &PROMPTS, form.value("account")).await?,
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
    let key = format!("console-{}", new_uuid(state.clock.now()));
    let made = async {
        let (order, provider) = order(&state, partner, &form, &key).await?;
        Ok::<_, ApiError>((order, provider))
    };
    let (order, provider) = match made.await {
        Ok(made) => made,
        Err(error) if error.code.status().is_client_error() => {
            return details(&state, &viewer, &form, Some(error)).await;
        }
        Err(error) => return Err(error),
    };
    let account_id = form.required("account")?.to_owned();
    let choices = accounts::choices(&state, partner, &PROMPTS, Some(&account_id)).await?;
    let (fees, problem) = match provider {
        // M-Pesa tells no fee beforehand.
        Provider::Mpesa => (Vec::new(), None),
        Provider::Clickpesa => match state.payments.preview(order.clone()).await? {
            Reply::Body(answer) => (fees(&answer, &order.currency), None),
            Reply::Refused(refusal) => (Vec::new(), Some(refusal.message)),
            Reply::Unknown(_) => (
                Vec::new(),
                Some("ClickPesa did not answer; its fee is not known now.".to_owned()),
            ),
        },
    };
    page_with(
        StatusCode::OK,
        &CheckPage {
            frame: Frame::of(&viewer, Section::Pay),
            provider: text::provider(provider),
            account: choices
                .into_iter()
                .find(|choice| choice.is_chosen)
                .map(|choice| choice.name)
                .unwrap_or_default(),
            account_id,
            msisdn: form.required("msisdn")?.to_owned(),
            number: order
                .msisdn
                .as_ref()
                .map(|msisdn| spaced(msisdn.as_str()))
                .unwrap_or_default(),
            amount: order.amount.to_string(),
            sum: text::amount(order.amount),
            currency: order.currency.to_string(),
            reference: form.text("reference")?.unwrap_or_default().to_owned(),
            description: form.text("description")?.unwrap_or_default().to_owned(),
            key,
            fees,
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
    let key = form.required("key")?.to_owned();
    let (order, _) = order(&state, partner, &form, &key).await?;
    match start(&state, &viewer, order).await {
        Err(error) if is_told_at_the_form(&error) => {
            details(&state, &viewer, &form, Some(error)).await
        }
        other => other,
    }
}

/// Starts a payment, once, and sends the browser to the page that says how it goes; a refusal of the provider has a
/// transaction too.
pub async fn start(state: &State, viewer: &Viewer, order: Order) -> Result<HttpResponse, ApiError> {
    record_start(state, viewer, &order).await?;
    let partner = order.partner_id;
    let id = match start_payment(state, order).await {
        Ok(settled) => settled.transaction.id,
        Err(error) => refused_transaction(&error).ok_or(error)?,
    };
    Ok(redirect(&super::progress::path(partner, id)))
}

/// On record before anything is sent; the same form again starts nothing.
async fn record_start(state: &State, viewer: &Viewer, order: &Order) -> Result<(), ApiError> {
    let lookup = BulkLookup {
        client_request_ids: order.client_request_id.iter().cloned().collect(),
        ..BulkLookup::default()
    };
    let known = state.store.find_transactions(order.partner_id, lookup);
    if !known.await?.transactions.is_empty() {
        return Ok(());
    }
    let audit = viewer
        .audit("payment.start", order.partner_id, order.transaction_id)
        .with(format!(
            "{} {} {} {}",
            order.provider, order.kind, order.amount, order.currency
        ));
    Ok(state.store.record_audit(audit).await?)
}

/// The transaction that the provider refused.
fn refused_transaction(error: &ApiError) -> Option<TransactionId> {
    let details = error.details.iter();
    details
        .filter_map(|detail| detail.words.as_ref()?.transaction_id.as_ref())
        .find_map(|id| id.parse().ok())
}

async fn order(
    state: &State,
    partner: PartnerId,
    form: &Form,
    key: &str,
) -> Result<(Order, Provider), ApiError> {
    let account = form.required("account")?;
    let provider = accounts::provider_of(state, partner, account).await?;
    let kind = match provider {
        Provider::Mpesa => Kind::StkPush,
        Provider::Clickpesa => Kind::UssdPush,
    };
    let amount = form.required("amount")?.replace([' ', ','], "");
    let mut fields = Map::new();
    let mut add = |name: &str, value: &str| {
        fields.insert(name.to_owned(), Value::from(value));
    };
    add("provider", provider.as_str());
    add("kind", kind.as_str());
    add("account_id", account);
    add("msisdn", form.required("msisdn")?);
    add("amount", &amount);
    add("origin", "console");
    if let Some(reference) = form.text("reference")? {
        add("reference", reference);
    }
    if let Some(description) = form.text("description")? {
        add("description", description);
    }
    let fields = Fields::parse(Value::Object(fields).to_string().as_bytes())?;
    let order = payment_order(state, partner, Some(key.to_owned()), &fields).await?;
    Ok((order, provider))
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

/// `+254 712 345 678`.
pub fn spaced(number: &str) -> String {
    let parts = [
        number.get(..3),
        number.get(3..6),
        number.get(6..9),
        number.get(9..),
    ];
    format!(
        "+{}",
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    )
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

    #[test]
    fn a_number_is_easy_to_compare() {
        assert_eq!(spaced("254712345678"), "+254 712 345 678");
    }
}
