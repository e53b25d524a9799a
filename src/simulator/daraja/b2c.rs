//! B2C: payouts, their results, and what is heard when one got stuck in the queue.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};

use super::fields::{self, Fields, shorter_than};
use super::report::{Accepted, Report};
use super::token::{self, Dialect};
use super::{
    DONE, Payment, Refusal, ResultCode, callback, conversation_id, number, own_originator_id,
    receipt, stop, truth_of,
};
use crate::simulator::course::{self, Course, Stop};
use crate::simulator::faults::Fault;
use crate::simulator::ledger::{LedgerIds, Order};
use crate::simulator::outcome::{Behaviour, Failure};
use crate::simulator::world::World;

/// How v1 and v3 differ: who names the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V3,
}

struct Payout {
    consumer: String,
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
    let order = Order {
        provider: "mpesa",
        kind: "b2c",
        account: &payout.consumer,
        msisdn: &payout.msisdn,
        amount: payout.amount.to_string(),
        id: (version == Version::V3).then_some(payout.originator_id.as_str()),
        callback_url: Some(&payout.result_url),
    };
    world.ledger.received(&order);
    if world.daraja.find(&payout.originator_id).is_some() {
        return duplicate().answer(&world);
    }
    let course = Arc::new(course::of_payment(&world, &order));
    let stopped = course.stopped(|why| refusal(&world, &payout, &course, why).answer(&world));
    if let Some(answer) = stopped {
        return answer;
    }
    let Some(payment) = open(&world, &payout, &course) else {
        return duplicate().answer(&world);
    };
    let accepted = HttpResponse::Ok().json(Accepted::new(
        &payment.conversation_id,
        &payout.originator_id,
    ));
    let words = words(&course);
    let told = world.in_background(tell(
        Arc::clone(&world),
        payout,
        payment,
        Arc::clone(&course),
        words,
    ));
    course.answer(told, accepted).await
}

fn duplicate() -> Refusal {
    Refusal::new(500, "500.002.1001", "Duplicate OriginatorConversationID.")
}

fn refusal(world: &World, payout: &Payout, course: &Course, why: Stop) -> Refusal {
    match why {
        Stop::Refused => Refusal::invalid("PartyB"),
        _ => stop(world, &payout.consumer, Dialect::Payout, course, why),
    }
}

/// Keeps the payment, unless its id is taken.
fn open(world: &World, payout: &Payout, course: &Course) -> Option<Payment> {
    let payment = Payment {
        conversation_id: conversation_id(world),
        merchant_request_id: String::new(),
        receipt: receipt(world),
        shortcode: payout.shortcode.clone(),
        msisdn: payout.msisdn.clone(),
        paid: course.behaviour.paid(payout.amount),
        result: None,
        reversed: false,
        started_at: world.east_africa("%Y%m%d%H%M%S"),
        entry: course.entry,
        denied_once: course.denies(),
    };
    if !world
        .daraja
        .remember(&payout.originator_id, payment.clone())
    {
        return None;
    }
    course.made(LedgerIds {
        originator_conversation_id: Some(payout.originator_id.clone()),
        conversation_id: Some(payment.conversation_id.clone()),
        receipt: Some(payment.receipt.clone()),
        ..LedgerIds::default()
    });
    Some(payment)
}

fn read(
    world: &World,
    request: &HttpRequest,
    body: &[u8],
    version: Version,
) -> Result<Payout, Refusal> {
    let consumer = token::check(world, request, Dialect::Payout)?;
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
        consumer,
        originator_id,
        shortcode,
        msisdn,
        amount,
        result_url,
        timeout_url,
        request: fields.raw().clone(),
    })
}

fn words(course: &Course) -> Vec<(Duration, Word)> {
    let result = |result, usual| {
        let copies = course.copies(usual);
        (course.delay(), Word::Result { result, copies })
    };
    let queue_timeout = |truth| (course.delay(), Word::QueueTimeout { truth });
    let mut words = match course.behaviour {
        Behaviour::Fails(failure @ Failure::Expired) => {
            return vec![queue_timeout(Some(failure_code(failure)))];
        }
        Behaviour::Fails(failure) => vec![result(failure_code(failure), 1)],
        Behaviour::UnknownResult => vec![result(
            ResultCode(
                "100000100",
                "Request failed due to an unknown storage failure.",
            ),
            1,
        )],
        Behaviour::LateSuccess => vec![queue_timeout(None), result(DONE, 1)],
        behaviour => vec![result(DONE, behaviour.copies())],
    };
    if course.behaviour != Behaviour::LateSuccess && course.strikes(Fault::QueueTimeout) {
        words.insert(0, queue_timeout(None));
    }
    if course.is_reordered() {
        words.push(queue_timeout(None));
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

async fn tell(
    world: Arc<World>,
    payout: Payout,
    payment: Payment,
    course: Arc<Course>,
    words: Vec<(Duration, Word)>,
) {
    let settle = |result| {
        world.daraja.settle(&payout.originator_id, result);
        course.settle(truth_of(result), &payment.paid.to_string());
    };
    for (after, word) in words {
        tokio::time::sleep(after).await;
        match word {
            Word::Result { result, copies } => {
                settle(result);
                let said = said(&world, &payout.originator_id, &payment, result);
                let post = said.post(&payout.result_url, &course);
                for _ in 0..copies {
                    world.post(&post, course.entry).await;
                }
            }
            // The request as it came, password and all: what M-Pesa is said to do.
            Word::QueueTimeout { truth } => {
                if let Some(result) = truth {
                    settle(result);
                }
                let post = callback(&payout.timeout_url, &payout.request);
                world.post(&post, course.entry).await;
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
