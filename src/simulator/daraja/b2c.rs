//! B2C: payouts, their results, and what is heard when one got stuck in the queue.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{self, Fields, shorter_than};
use super::token::{self, Dialect};
use super::{
    DONE, Payment, Refusal, ResultCode, answered_as, callback, conversation_id, number,
    own_originator_id, receipt, throttled,
};
use crate::simulator::outcome::{Answer, Behaviour, Failure};
use crate::simulator::world::World;

/// The synchronous answer of every call whose result comes later.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Accepted {
    #[serde(rename = "ConversationID")]
    pub(super) conversation_id: String,
    #[serde(rename = "OriginatorConversationID")]
    pub(super) originator_conversation_id: String,
    pub(super) response_code: &'static str,
    pub(super) response_description: &'static str,
}

/// The result of such a call.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Report {
    pub(super) result: ReportBody,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReportBody {
    result_type: u8,
    result_code: Value,
    result_desc: &'static str,
    #[serde(rename = "OriginatorConversationID")]
    originator_conversation_id: String,
    #[serde(rename = "ConversationID")]
    conversation_id: String,
    #[serde(rename = "TransactionID")]
    transaction_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_parameters: Option<Parameters>,
    reference_data: ReferenceData,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parameters {
    result_parameter: Vec<Parameter>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReferenceData {
    reference_item: Parameter,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    key: &'static str,
    value: Value,
}

impl Report {
    /// What M-Pesa says about a call; `parameters` only if it went well.
    pub(super) fn new(
        result: ResultCode,
        originator_conversation_id: String,
        conversation_id: String,
        transaction_id: String,
        parameters: Vec<(&'static str, Value)>,
    ) -> Self {
        let parameters = (!parameters.is_empty()).then(|| Parameters {
            result_parameter: parameters
                .into_iter()
                .map(|(key, value)| Parameter { key, value })
                .collect(),
        });
        Self {
            result: ReportBody {
                result_type: 0,
                result_code: result.as_json(),
                result_desc: result.1,
                originator_conversation_id,
                conversation_id,
                transaction_id,
                result_parameters: parameters,
                reference_data: ReferenceData {
                    reference_item: Parameter {
                        key: "QueueTimeoutURL",
                        value: Value::from(
                            "https://internalsandbox.safaricom.co.ke/mpesa/b2cresults/v1/submit",
                        ),
                    },
                },
            },
        }
    }
}

/// How v1 and v3 differ: who names the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V3,
}

struct Payout {
    originator_id: String,
    shortcode: String,
    msisdn: String,
    amount: u64,
    result_url: String,
    timeout_url: String,
    request: Map<String, Value>,
}

enum Word {
    Result {
        result: ResultCode,
        copies: usize,
    },
    /// No result follows at once; the truth about the money, if it is known already.
    QueueTimeout {
        truth: Option<ResultCode>,
    },
}

pub(super) async fn pay_v3(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    pay(world.into_inner(), &request, &body, Version::V3).await
}

pub(super) async fn pay_v1(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    pay(world.into_inner(), &request, &body, Version::V1).await
}

async fn pay(
    world: Arc<World>,
    request: &HttpRequest,
    body: &[u8],
    version: Version,
) -> HttpResponse {
    let payout = match read(&world, request, body, version) {
        Ok(payout) => payout,
        Err(refusal) => return refusal.answer(&world),
    };
    let behaviour = Behaviour::of(&payout.msisdn);
    let answer = behaviour.answer();
    match answer {
        Answer::Refused => return Refusal::invalid("PartyB").answer(&world),
        Answer::Throttled => return throttled().answer(&world),
        Answer::Accepted | Answer::AcceptedAfterTheCallback | Answer::Lost => {}
    }
    let payment = Payment {
        conversation_id: conversation_id(&world),
        merchant_request_id: String::new(),
        receipt: receipt(&world),
        shortcode: payout.shortcode.clone(),
        msisdn: payout.msisdn.clone(),
        paid: behaviour.paid(payout.amount),
        result: None,
        reversed: false,
        started_at: world.east_africa("%Y%m%d%H%M%S"),
    };
    if !world
        .daraja
        .remember(&payout.originator_id, payment.clone())
    {
        return Refusal::new(500, "500.002.1001", "Duplicate OriginatorConversationID.")
            .answer(&world);
    }
    let accepted = Accepted {
        conversation_id: payment.conversation_id.clone(),
        originator_conversation_id: payout.originator_id.clone(),
        response_code: "0",
        response_description: "Accept the service request successfully.",
    };
    let words = words(&world, behaviour);
    let told = world.in_background(tell(Arc::clone(&world), payout, payment, words));
    if answer == Answer::AcceptedAfterTheCallback {
        // An error means that the simulator is being stopped: nobody waits for the answer.
        let _ = told.await;
    }
    answered_as(answer, accepted)
}

fn read(
    world: &World,
    request: &HttpRequest,
    body: &[u8],
    version: Version,
) -> Result<Payout, Refusal> {
    token::check(world, request, Dialect::Payout)?;
    let fields = Fields::read(body)?;
    let originator_id = match version {
        Version::V3 => fields.required("OriginatorConversationID", shorter_than(101))?,
        Version::V1 => own_originator_id(world),
    };
    fields.required("InitiatorName", |_| true)?;
    fields.required("SecurityCredential", |_| true)?;
    fields.required("CommandID", |text| {
        matches!(
            text,
            "BusinessPayment" | "SalaryPayment" | "PromotionPayment"
        )
    })?;
    let amount = fields.amount(10)?;
    let shortcode = fields.required("PartyA", fields::shortcode)?;
    let msisdn = fields.required("PartyB", fields::msisdn)?;
    fields.required("Remarks", fields::remarks)?;
    let timeout_url = fields.required("QueueTimeOutURL", fields::url)?;
    let result_url = fields.required("ResultURL", fields::url)?;
    fields.optional("Occassion", shorter_than(101))?;
    Ok(Payout {
        originator_id,
        shortcode,
        msisdn,
        amount,
        result_url,
        timeout_url,
        request: fields.raw().clone(),
    })
}

fn words(world: &World, behaviour: Behaviour) -> Vec<(Duration, Word)> {
    let mut words = Vec::new();
    let mut add = |word| {
        let after = match behaviour {
            Behaviour::Early => Duration::ZERO,
            _ => world.draw_delay(),
        };
        words.push((after, word));
    };
    let result = |result, copies| Word::Result { result, copies };
    match behaviour {
        Behaviour::Fails(failure @ Failure::Expired) => add(Word::QueueTimeout {
            truth: Some(failure_code(failure)),
        }),
        Behaviour::Fails(failure) => add(result(failure_code(failure), 1)),
        Behaviour::UnknownResult => add(result(
            ResultCode(
                "100000100",
                "Request failed due to an unknown storage failure.",
            ),
            1,
        )),
        Behaviour::LateSuccess => {
            add(Word::QueueTimeout { truth: None });
            add(result(DONE, 1));
        }
        _ => add(result(DONE, behaviour.copies())),
    }
    words
}

fn failure_code(failure: Failure) -> ResultCode {
    match failure {
        Failure::InsufficientFunds => {
            ResultCode("1", "The balance is insufficient for the transaction.")
        }
        Failure::RuleLimited => ResultCode("17", "System internal error."),
        Failure::Expired | Failure::NoAnswer => {
            ResultCode("SFC_IC0003", "The operator does not exist.")
        }
        Failure::Cancelled => ResultCode(
            "2040",
            "Credit Party customer type (Unregistered or Registered Customer) can't be supported \
             by the service.",
        ),
        Failure::WrongPin => ResultCode("2001", "The initiator information is invalid."),
        Failure::Internal => ResultCode("8006", "The security credential is locked."),
    }
}

async fn tell(world: Arc<World>, payout: Payout, payment: Payment, words: Vec<(Duration, Word)>) {
    for (after, word) in words {
        tokio::time::sleep(after).await;
        match word {
            Word::Result { result, copies } => {
                world.daraja.settle(&payout.originator_id, result);
                let post = callback(
                    &payout.result_url,
                    &said(&world, &payout.originator_id, &payment, result),
                );
                for _ in 0..copies {
                    world.post(&post).await;
                }
            }
            // The request as it came, password and all: what M-Pesa is said to do.
            Word::QueueTimeout { truth } => {
                if let Some(result) = truth {
                    world.daraja.settle(&payout.originator_id, result);
                }
                world
                    .post(&callback(&payout.timeout_url, &payout.request))
                    .await;
            }
        }
    }
}

fn said(world: &World, originator_id: &str, payment: &Payment, result: ResultCode) -> Report {
    let parameters = if result == DONE {
        let utility = world.daraja.withdraw(payment.paid);
        vec![
            ("TransactionAmount", number(&payment.paid.to_string())),
            ("TransactionReceipt", Value::from(payment.receipt.as_str())),
            (
                "ReceiverPartyPublicName",
                Value::from(format!("{} - WANJIKU OTIENO", payment.msisdn)),
            ),
            (
                "TransactionCompletedDateTime",
                Value::from(world.east_africa("%d.%m.%Y %H:%M:%S")),
            ),
            (
                "B2CUtilityAccountAvailableFunds",
                number(&format!("{utility}.60")),
            ),
            ("B2CWorkingAccountAvailableFunds", number("1199371.00")),
            ("B2CRecipientIsRegisteredCustomer", Value::from("Y")),
            ("B2CChargesPaidAccountAvailableFunds", number("-1980.00")),
        ]
    } else {
        Vec::new()
    };
    Report::new(
        result,
        originator_id.to_owned(),
        payment.conversation_id.clone(),
        payment.receipt.clone(),
        parameters,
    )
}
