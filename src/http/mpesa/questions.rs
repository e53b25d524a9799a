//! What moves no money: balances, questions about a payment, and where C2B payments shall be told.

use std::sync::Arc;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::{data, number, timestamp, word};
use crate::domain::transaction::{Provider, ProviderIds};
use crate::http::State;
use crate::http::authentication::AuthenticatedPartner;
use crate::http::error::{ApiError, Words};
use crate::http::payments::{fields, reversal};
use crate::http::request::{Query, json_object};
use crate::payments::PayError;
use crate::providers::answer::{Answer, BalanceAnswer, Reply};

/// POST `balance`: M-Pesa answers at the callback address; `balance/latest` has it then.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, PROVIDER_1001; the database's.
pub async fn balance(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    body.only(&["account_id"])?;
    let account_id = fields::account_id(&body)?;
    let account = (Provider::Mpesa, account_id);
    let asked_by = partner.actor();
    let (_, answer) = state
        .payments
        .ask_balance(partner.partner.id, account, asked_by)
        .await?;
    match answer {
        BalanceAnswer::Asked(taken) => Ok(data(
            HttpResponse::Ok(),
            asked(
                &taken.ids,
                taken.code.as_deref(),
                taken.description.as_deref(),
            ),
        )),
        BalanceAnswer::Refused(refusal) => Err(refusal.into()),
        BalanceAnswer::Unknown(silence) => Err(silence.into()),
        // M-Pesa never says it at once.
        BalanceAnswer::Balances(_) => Err(ApiError::server()),
    }
}

fn asked(ids: &ProviderIds, code: Option<&str>, description: Option<&str>) -> Value {
    json!({
        "conversationId": ids.conversation_id,
        "originatorConversationId": ids.originator_conversation_id,
        "responseCode": code,
        "responseDescription": description,
    })
}

/// GET `balance/latest`: what the account last reported.
///
/// # Errors
/// VALIDATION_1002; the database's.
pub async fn latest_balance(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &["account_id"])?;
    let account_id = query
        .value("account_id")
        .map(fields::parse_account_id)
        .transpose()?;
    let partner = partner.partner.id;
    let account = state
        .payments
        .accounts
        .choose(partner, Provider::Mpesa, account_id)
        .await?;
    let reported = state.store.list_balances(partner, account.id).await?;
    let accounts: Vec<Value> = reported
        .iter()
        .map(|(balance, _)| {
            json!({
                "name": balance.name,
                "currency": balance.currency,
                "current": balance.current.map(number),
                "available": balance.available.map(number),
                "reserved": balance.reserved.map(number),
                "uncleared": balance.uncleared.map(number),
            })
        })
        .collect();
    let checked_at = reported.iter().map(|(_, at)| *at).max().map(timestamp);
    Ok(data(
        HttpResponse::Ok(),
        json!({"accounts": accounts, "checkedAt": checked_at}),
    ))
}

/// POST `status-query`: asks M-Pesa about a payment. What it says at once is applied at once (STK); else the answer
/// comes as a callback.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, NOT_FOUND_1001, PROVIDER_1001; the database's.
pub async fn status_query(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    let names = ("transactionId", "mpesaReceiptNumber");
    body.only(&[names.0, names.1])?;
    let partner = partner.partner.id;
    let transaction = reversal::find_original(&state, partner, &body, names).await?;
    let id = transaction.id;
    let answer = state.payments.query(transaction).await?;
    let mut answered = match answer {
        Answer::News(update) => asked(
            &ProviderIds::default(),
            Some("0"),
            update.result_description.as_deref(),
        ),
        Answer::Asked {
            ids,
            code,
            description,
        } => asked(&ids, code.as_deref(), description.as_deref()),
        Answer::Nothing(refusal) => return Err(refusal.into()),
        Answer::Unknown(silence) => return Err(silence.into()),
        Answer::Impossible(reason) => {
            let words = Words {
                code: None,
                retryable: false,
                safe_to_retry: true,
                transaction_id: Some(id.to_string()),
            };
            return Err(ApiError::provider(&reason, words));
        }
    };
    let now = state.store.find_transaction(partner, id).await?;
    if let (Value::Object(members), Some((transaction, _))) = (&mut answered, now) {
        members.insert("transactionId".to_owned(), json!(id.to_string()));
        members.insert("status".to_owned(), json!(word(transaction.status)));
    }
    Ok(data(HttpResponse::Ok(), answered))
}

/// POST `c2b/register`: the account's validation and confirmation addresses.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, PROVIDER_1001; the database's.
pub async fn register_c2b(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    body.only(&["account_id"])?;
    let account_id = fields::account_id(&body)?;
    let payments = Arc::clone(&state.payments);
    let partner = partner.partner.id;
    let work = async move {
        let accounts = &payments.accounts;
        let connected = accounts.find(partner, Provider::Mpesa, account_id).await?;
        let callbacks = &connected.callbacks;
        Ok::<_, PayError>(connected.client.register_callbacks(callbacks).await?)
    };
    match state.payments.run(work).await?? {
        Reply::Body(answer) => Ok(data(HttpResponse::Ok(), answer)),
        Reply::Refused(refusal) => Err(refusal.into()),
        Reply::Unknown(silence) => Err(silence.into()),
    }
}
