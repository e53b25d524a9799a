//! Taking a paid M-Pesa payment back: it is looked up by its receipt or our id, shown, and taken back only when its
//! receipt is typed once more. It goes back through the account it came through; where nobody wrote that down and the partner
//! has several, the person chooses. The form carries the idempotency key, so that sent twice it takes back once.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde_json::{Value, json};

use super::accounts::{self, Choice};
use super::form::{Complaint, Form, is_told_at_the_form};
use super::page::{Frame, Section, page_with};
use super::payment_form::{new_key, start};
use super::rows;
use super::story;
use super::text::{self, Time};
use super::viewer::Viewer;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::partner::Scope;
use crate::domain::status::Status;
use crate::domain::transaction::{Kind, Transaction};
use crate::http::{ApiError, ErrorCode, Fields, State, find_original, payment_order};
use crate::payments::Order;

#[derive(Template)]
#[template(path = "console/reverse.html")]
struct ReversePage {
    frame: Frame,
    partner: String,
    sought: String,
    found: Option<Found>,
    problem: Option<String>,
    /// The field that is wrong.
    wrong: String,
}

/// The payment that was found.
struct Found {
    id: String,
    path: String,
    sum: String,
    currency: String,
    what: String,
    msisdn: String,
    receipt: String,
    reference: Option<String>,
    paid_at: Time,
    remarks: String,
    key: String,
    /// The account it came through, where known.
    through: Option<String>,
    /// Those to choose from, where it is not known and there are several.
    accounts: Vec<Choice>,
}

/// The page: a field to look for a payment, and the payment once it is found.
pub async fn show(
    state: Data<State>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let partner = viewer.one_partner()?.id;
    let sought = sought(request.query_string());
    if sought.is_empty() {
        return answer(&viewer, sought, None, None);
    }
    match look_for(&state, partner, &sought).await {
        Ok(original) => {
            let key = new_key(&state);
            let found = found(&state, &original, (key, String::new()), None).await?;
            answer(&viewer, sought, Some(found), None)
        }
        Err(error) if error.code.status().is_client_error() => {
            answer(&viewer, sought, None, Some(error))
        }
        Err(error) => Err(error),
    }
}

/// What the page was asked to look for.
fn sought(query: &str) -> String {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "payment")
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

/// The partner's payment that has this receipt or this id and can be taken back.
async fn look_for(
    state: &State,
    partner: PartnerId,
    sought: &str,
) -> Result<Transaction, ApiError> {
    let name = match sought.parse::<TransactionId>() {
        Ok(_) => "original_transaction_id",
        Err(_) => "transaction_receipt",
    };
    let fields = Fields::parse(json!({ name: sought }).to_string().as_bytes())?;
    let names = ("original_transaction_id", "transaction_receipt");
    let original = match find_original(state, partner, &fields, names).await {
        Err(error) if error.code == ErrorCode::NotFound => {
            return Err(ApiError::not_found(
                "There is no M-Pesa payment with this receipt or id",
            ));
        }
        found => found?,
    };
    let refuse = |why: &str| Err(ApiError::new(ErrorCode::Conflict, why));
    if original.is_reversal() {
        return refuse("That is a reversal itself; only a payment can be taken back");
    }
    if original.reversed_at.is_some() {
        return refuse("That payment went back already");
    }
    if original.status != Status::Success || original.receipt.is_none() {
        return refuse("That payment has not succeeded: there is nothing to take back");
    }
    Ok(original)
}

/// The accounts through which it may go back.
async fn candidates(
    state: &State,
    original: &Transaction,
    chosen: Option<&str>,
) -> Result<Vec<Choice>, ApiError> {
    let partner = original.partner_id;
    let mut choices = accounts::choices(state, partner, &[Kind::Reversal], chosen).await?;
    for choice in &mut choices {
        // Nothing is chosen for anybody here: the money leaves that account.
        choice.is_chosen = chosen == Some(choice.id.as_str());
    }
    Ok(choices)
}

async fn found(
    state: &State,
    original: &Transaction,
    (key, remarks): (String, String),
    chosen: Option<&str>,
) -> Result<Found, ApiError> {
    let mut accounts = candidates(state, original, chosen).await?;
    let its = original.account_id.map(|id| id.to_string());
    let through = its.map(|its| {
        let own = accounts.iter().find(|choice| choice.id == its);
        own.map_or_else(
            || "an account that was removed".to_owned(),
            |own| own.name.clone(),
        )
    });
    if through.is_some() || accounts.len() == 1 {
        accounts.clear();
    }
    Ok(Found {
        id: original.id.to_string(),
        path: rows::path(original),
        sum: text::amount(original.paid.unwrap_or(original.amount)),
        currency: original.currency.to_string(),
        what: text::kind(original.kind).to_owned(),
        msisdn: rows::number(original),
        receipt: original.receipt.clone().unwrap_or_default(),
        reference: original.account_reference.clone(),
        paid_at: Time(original.updated_at),
        remarks,
        key,
        through,
        accounts,
    })
}

fn answer(
    viewer: &Viewer,
    sought: String,
    found: Option<Found>,
    error: Option<ApiError>,
) -> Result<HttpResponse, ApiError> {
    let complaint = Complaint::from(error);
    page_with(
        complaint.status,
        &ReversePage {
            frame: Frame::of(viewer, Section::Reverse),
            partner: viewer.one_partner()?.name.clone(),
            sought,
            found,
            wrong: complaint.wrong,
            problem: complaint.problem,
        },
    )
}

/// Takes it back, once, if its receipt was typed as it is.
pub async fn send(
    state: Data<State>,
    viewer: Viewer,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let partner = viewer.one_partner()?.id;
    let key = form.required("key")?.to_owned();
    let id: TransactionId = form
        .required("payment")?
        .parse()
        .map_err(|_| ApiError::not_found("There is no such payment"))?;
    let (original, _) = story::find(&state, (partner, id)).await?;
    let sent = async {
        let order = order(&state, &original, &form, &key).await?;
        start(&state, &viewer, order).await
    };
    match sent.await {
        Err(error) if is_told_at_the_form(&error) => {
            let remarks = form.value("remarks").unwrap_or_default().trim().to_owned();
            let typed = (key.clone(), remarks);
            let found = found(&state, &original, typed, form.value("account")).await?;
            let sought = found.receipt.clone();
            answer(&viewer, sought, Some(found), Some(error))
        }
        other => other,
    }
}

async fn order(
    state: &State,
    original: &Transaction,
    form: &Form,
    key: &str,
) -> Result<Order, ApiError> {
    let typed = form.required("receipt")?;
    let receipt = original.receipt.as_deref().unwrap_or_default();
    if receipt.is_empty() || !typed.eq_ignore_ascii_case(receipt) {
        return Err(ApiError::field(
            "receipt",
            "is not the receipt of this payment; type it as it is shown",
        ));
    }
    let account = match original.account_id {
        Some(_) => None,
        None => form.text("account")?,
    };
    if original.account_id.is_none()
        && account.is_none()
        && candidates(state, original, None).await?.len() > 1
    {
        return Err(ApiError::field(
            "account",
            "is required: the partner has several M-Pesa accounts",
        ));
    }
    let mut fields = json!({
        "provider": original.provider.as_str(),
        "kind": "reversal",
        "original_transaction_id": original.id.to_string(),
        "amount": original.paid.unwrap_or(original.amount).to_string(),
        "remarks": form.required("remarks")?,
        "origin": "console",
    });
    if let (Value::Object(members), Some(account)) = (&mut fields, account) {
        members.insert("account_id".to_owned(), json!(account));
    }
    let fields = Fields::parse(fields.to_string().as_bytes())?;
    payment_order(state, original.partner_id, Some(key.to_owned()), &fields).await
}
