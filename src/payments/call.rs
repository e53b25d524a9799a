//! The call itself, by kind, and what its outcome is for the ledger.

use serde_json::Value;

use super::accounts::Connected;
use super::order::Order;
use crate::domain::ledger::Word;
use crate::domain::payment::CallAnswer;
use crate::domain::transaction::{Kind, ProviderIds};
use crate::providers::answer::{Outcome, Refusal, Reply, Unsupported};
use crate::providers::payment_provider::{Collection, PayOut, ReversalRequest};

/// Sends the payment whose intent is committed with these ids of our own choice.
pub(super) async fn send(order: &Order, connected: &Connected, ids: &ProviderIds) -> Outcome {
    let sent = match order.kind {
        Kind::StkPush | Kind::UssdPush => match collection(order, connected, ids) {
            Some(request) => connected.client.collect(&request).await,
            None => Err(Unsupported(order.kind.name())),
        },
        Kind::B2c | Kind::Payout => match pay_out(order, connected, ids) {
            Some(request) => connected.client.pay_out(&request).await,
            None => Err(Unsupported(order.kind.name())),
        },
        Kind::Reversal => match &order.original {
            Some(original) => {
                let request = ReversalRequest {
                    transaction_id: order.transaction_id,
                    receipt: original.receipt.clone(),
                    amount: order.amount,
                    remarks: order.remarks.clone(),
                    callbacks: connected.callbacks.clone(),
                };
                connected.client.reverse(&request).await
            }
            None => Err(Unsupported(order.kind.name())),
        },
        Kind::C2b => Err(Unsupported(order.kind.name())),
    };
    sent.unwrap_or_else(|unsupported| {
        Outcome::Refused(Refusal {
            code: None,
            message: unsupported.to_string(),
            http_status: None,
            retryable: false,
            throttled: false,
        })
    })
}

/// What sending it would do and cost.
pub(super) async fn preview(
    order: &Order,
    connected: &Connected,
    ids: &ProviderIds,
) -> Result<Reply, Unsupported> {
    let impossible = Unsupported("previewing this");
    if order.kind.is_prompt() {
        let request = collection(order, connected, ids).ok_or(impossible)?;
        connected.client.preview_collection(&request).await
    } else {
        let request = pay_out(order, connected, ids).ok_or(impossible)?;
        connected.client.preview_pay_out(&request).await
    }
}

/// The prompt of an order, if it says whose phone.
fn collection(order: &Order, connected: &Connected, ids: &ProviderIds) -> Option<Collection> {
    Some(Collection {
        transaction_id: order.transaction_id,
        msisdn: order.msisdn.clone()?,
        amount: order.amount,
        currency: order.currency.clone(),
        reference: order.account_reference.clone(),
        description: order.description.clone(),
        transaction_type: order.transaction_type.clone(),
        ids: ids.clone(),
        callbacks: connected.callbacks.clone(),
    })
}

fn pay_out(order: &Order, connected: &Connected, ids: &ProviderIds) -> Option<PayOut> {
    Some(PayOut {
        transaction_id: order.transaction_id,
        msisdn: order.msisdn.clone()?,
        amount: order.amount,
        currency: order.currency.clone(),
        purpose: order.purpose,
        remarks: order.remarks.clone(),
        occasion: order.occasion.clone(),
        ids: ids.clone(),
        callbacks: connected.callbacks.clone(),
    })
}

/// What the ledger is told, what is remembered, and the provider's own answer.
pub(super) fn heard(outcome: Outcome) -> (Word, CallAnswer, Option<Value>) {
    match outcome {
        Outcome::Accepted(acceptance) => {
            let answer = CallAnswer::Accepted {
                code: acceptance.code,
                description: acceptance.description,
                customer_message: acceptance.customer_message,
            };
            let word = Word::Accepted {
                ids: acceptance.ids,
                merchant_request_id: acceptance.merchant_request_id,
                answer: answer.clone(),
                update: acceptance.update.map(Box::new),
            };
            (word, answer, acceptance.body)
        }
        Outcome::Refused(refusal) => {
            let answer = CallAnswer::Refused {
                code: refusal.code,
                message: refusal.message,
                is_retryable: refusal.retryable,
            };
            (Word::NotAccepted(answer.clone()), answer, None)
        }
        Outcome::Unknown(silence) => {
            let answer = CallAnswer::Unknown {
                reason: silence.reason,
            };
            (Word::NotAccepted(answer.clone()), answer, None)
        }
    }
}
