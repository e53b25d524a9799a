//! What asking for a payment and paying one out have in common: the order that a form describes, what of it is looked at
//! before it is sent, what the provider says beforehand, and sending it once.

use actix_web::HttpResponse;
use serde_json::{Map, Value};

use super::accounts;
use super::form::Form;
use super::page::redirect;
use super::progress;
use super::text;
use super::viewer::Viewer;
use crate::domain::identity::{PartnerId, TransactionId, new_uuid};
use crate::domain::search::BulkLookup;
use crate::domain::transaction::{Kind, Provider};
use crate::http::{ApiError, Fields, State, payment_order, start_payment};
use crate::payments::Order;
use crate::providers::answer::Reply;

/// A form: what it can order, one kind a provider, and its fields besides the account, the number and the amount.
pub struct PaymentForm {
    /// What it can order.
    pub kinds: [Kind; 2],
    /// Fields that must be there.
    pub required: &'static [&'static str],
    /// Fields that may be.
    pub optional: &'static [&'static str],
}

/// What every second step shows and carries on.
pub struct Checked {
    /// The provider's name.
    pub provider: &'static str,
    /// The account's name.
    pub account: String,
    /// Its id.
    pub account_id: String,
    /// The number as it was typed.
    pub msisdn: String,
    /// The number as it is understood, easy to compare.
    pub number: String,
    /// The amount for programs.
    pub amount: String,
    /// The amount for people.
    pub sum: String,
    /// Its currency.
    pub currency: String,
    /// The idempotency key.
    pub key: String,
}

/// A key for an order that is about to be looked at: whoever sends the form of that look twice orders once.
pub fn new_key(state: &State) -> String {
    format!("console-{}", new_uuid(state.clock.now()))
}

impl PaymentForm {
    /// The order that the form describes, under an idempotency key.
    ///
    /// # Errors
    /// VALIDATION_1002, VALIDATION_1003; the database's.
    pub async fn order(
        &self,
        state: &State,
        partner: PartnerId,
        form: &Form,
        key: &str,
    ) -> Result<Order, ApiError> {
        let account = form.required("account")?;
        let provider = accounts::provider_of(state, partner, account).await?;
        let kind = provider
            .kinds()
            .iter()
            .find(|kind| self.kinds.contains(kind))
            .ok_or_else(|| ApiError::field("account", "cannot be used for this"))?;
        let mut fields = Map::new();
        let mut add = |name: &str, value: &str| {
            fields.insert(name.to_owned(), Value::from(value));
        };
        add("provider", provider.as_str());
        add("kind", kind.as_str());
        add("account_id", account);
        add("msisdn", form.required("msisdn")?);
        add("amount", &form.required("amount")?.replace([' ', ','], ""));
        add("origin", "console");
        for name in self.required {
            add(name, form.required(name)?);
        }
        for name in self.optional {
            if let Some(value) = form.text(name)? {
                add(name, value);
            }
        }
        let fields = Fields::parse(Value::Object(fields).to_string().as_bytes())?;
        payment_order(state, partner, Some(key.to_owned()), &fields).await
    }

    /// What the second step shows of an order.
    ///
    /// # Errors
    /// VALIDATION_1002; the database's.
    pub async fn checked(
        &self,
        state: &State,
        form: &Form,
        order: &Order,
        key: String,
    ) -> Result<Checked, ApiError> {
        let account_id = form.required("account")?.to_owned();
        let partner = order.partner_id;
        let choices = accounts::choices(state, partner, &self.kinds, Some(&account_id)).await?;
        let account = choices.into_iter().find(|choice| choice.is_chosen);
        let number = order.msisdn.as_ref().map(|msisdn| spaced(msisdn.as_str()));
        Ok(Checked {
            provider: text::provider(order.provider),
            account: account.map(|choice| choice.name).unwrap_or_default(),
            account_id,
            msisdn: form.required("msisdn")?.to_owned(),
            number: number.unwrap_or_default(),
            amount: order.amount.to_string(),
            sum: text::amount(order.amount),
            currency: order.currency.to_string(),
            key,
        })
    }
}

/// What the provider says of an order beforehand, and what it says against it. M-Pesa says nothing.
///
/// # Errors
/// See [`crate::payments::PayError`].
pub async fn preview(
    state: &State,
    order: &Order,
) -> Result<(Option<Value>, Option<String>), ApiError> {
    if order.provider == Provider::Mpesa {
        return Ok((None, None));
    }
    Ok(match state.payments.preview(order.clone()).await? {
        Reply::Body(answer) => (Some(answer), None),
        Reply::Refused(refusal) => (None, Some(refusal.message)),
        Reply::Unknown(_) => {
            let silence = "there was no answer; the fee is not known now.";
            (None, Some(silence.to_owned()))
        }
    })
}

/// Starts a payment, once, and sends the browser to the page that says how it goes; a refusal of the provider has a
/// transaction too.
///
/// # Errors
/// See [`start_payment`].
pub async fn start(state: &State, viewer: &Viewer, order: Order) -> Result<HttpResponse, ApiError> {
    record_start(state, viewer, &order).await?;
    let partner = order.partner_id;
    let id = match start_payment(state, order).await {
        Ok(settled) => settled.transaction.id,
        Err(error) => refused_transaction(&error).ok_or(error)?,
    };
    Ok(redirect(&progress::path(partner, id)))
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

/// `+254 712 345 678`.
fn spaced(number: &str) -> String {
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

    #[test]
    fn a_number_is_easy_to_compare() {
        assert_eq!(spaced("254712345678"), "+254 712 345 678");
    }
}
