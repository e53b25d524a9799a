//! STK push: the prompt on the payer's phone and its callback.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDateTime;
use serde::Serialize;
use serde_json::Value;

use super::fields::{self, Fields, digits, shorter_than};
use super::token::{self, Dialect};
use super::{
    DONE, Payment, Refusal, ResultCode, callback, number, partial, receipt, request_id, stop,
    truth_of,
};
use crate::simulator::course::{self, Course, Stop};
use crate::simulator::faults::Fault;
use crate::simulator::ledger::{LedgerIds, Order};
use crate::simulator::outcome::{Behaviour, Failure};
use crate::simulator::world::World;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Accepted {
    #[serde(rename = "MerchantRequestID")]
    merchant_request_id: String,
    #[serde(rename = "CheckoutRequestID")]
    checkout_request_id: String,
    response_code: &'static str,
    response_description: &'static str,
    customer_message: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Callback {
    body: Body,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    stk_callback: StkCallback,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StkCallback {
    #[serde(rename = "MerchantRequestID")]
    merchant_request_id: String,
    #[serde(rename = "CheckoutRequestID")]
    checkout_request_id: String,
    result_code: Value,
    result_desc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_metadata: Option<Metadata>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    item: Vec<Item>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    name: &'static str,
    value: Value,
}

struct Push {
    consumer: String,
    shortcode: String,
    msisdn: String,
    amount: u64,
    callback_url: String,
}

/// One piece of news, how long after the one before, and how often it is posted.
struct News {
    after: Duration,
    result: ResultCode,
    copies: usize,
    /// False for a word that is out of date when it comes.
    is_true: bool,
}

pub(super) async fn push(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let push = match read(&world, &request, &body) {
        Ok(push) => push,
        Err(refusal) => return refusal.answer(&world),
    };
    let order = Order {
        provider: "mpesa",
        kind: "stk_push",
        account: &push.consumer,
        msisdn: &push.msisdn,
        amount: push.amount.to_string(),
        id: None,
        callback_url: Some(&push.callback_url),
    };
    world.ledger.received(&order);
    let course = Arc::new(course::of_payment(&world, &order));
    let stopped = course.stopped(|why| refusal(&world, &push, &course, why).answer(&world));
    if let Some(answer) = stopped {
        return answer;
    }
    let (id, payment) = open(&world, &push, &course);
    let merchant_request_id = payment.merchant_request_id.clone();
    let told = world.in_background(tell(
        Arc::clone(&world),
        id.clone(),
        payment,
        push.callback_url,
        Arc::clone(&course),
        news(&course),
    ));
    let accepted = HttpResponse::Ok().json(Accepted {
        merchant_request_id,
        checkout_request_id: id,
        response_code: "0",
        response_description: "Success. Request accepted for processing",
        customer_message: "Success. Request accepted for processing",
    });
    course.answer(told, accepted).await
}

fn refusal(world: &World, push: &Push, course: &Course, why: Stop) -> Refusal {
    match why {
        Stop::Refused => Refusal::new(
            500,
            "500.001.1001",
            "Unable to lock subscriber, a transaction is already in process for the current \
             subscriber",
        ),
        _ => stop(world, &push.consumer, Dialect::Express, course, why),
    }
}

fn read(world: &World, request: &HttpRequest, body: &[u8]) -> Result<Push, Refusal> {
    let consumer = token::check(world, request, Dialect::Express)?;
    let fields = Fields::read(body)?;
    let shortcode = signed(&fields)?;
    fields.required("TransactionType", |text| {
        matches!(text, "CustomerPayBillOnline" | "CustomerBuyGoodsOnline")
    })?;
    let amount = fields.amount(1)?;
    fields.required("PartyA", fields::msisdn)?;
    fields.required("PartyB", digits)?;
    let msisdn = fields.required("PhoneNumber", fields::msisdn)?;
    let callback_url = fields.required("CallBackURL", fields::url)?;
    fields.required("AccountReference", shorter_than(13))?;
    fields.optional("TransactionDesc", shorter_than(14))?;
    Ok(Push {
        consumer,
        shortcode,
        msisdn,
        amount,
        callback_url,
    })
}

/// The shortcode, if password and timestamp belong to it and to each other. Any passkey will do.
pub(super) fn signed(fields: &Fields) -> Result<String, Refusal> {
    let shortcode = fields.required("BusinessShortCode", fields::shortcode)?;
    let timestamp = fields.required("Timestamp", |text| {
        digits(text)
            && text.len() == 14
            && NaiveDateTime::parse_from_str(text, "%Y%m%d%H%M%S").is_ok()
    })?;
    let password = fields.required("Password", |_| true)?;
    let passkey_fits = STANDARD
        .decode(password)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| {
            let rest = text.strip_prefix(&shortcode)?;
            Some(!rest.strip_suffix(&timestamp)?.is_empty())
        });
    if passkey_fits == Some(true) {
        return Ok(shortcode);
    }
    Err(Refusal::new(
        500,
        "500.001.1001",
        "[MerchantValidate] - Wrong credentials",
    ))
}

fn open(world: &World, push: &Push, course: &Course) -> (String, Payment) {
    let payment = Payment {
        conversation_id: super::conversation_id(world),
        merchant_request_id: request_id(world),
        receipt: receipt(world),
        shortcode: push.shortcode.clone(),
        msisdn: push.msisdn.clone(),
        paid: course.behaviour.paid(push.amount),
        result: None,
        reversed: false,
        started_at: world.east_africa("%Y%m%d%H%M%S"),
        entry: course.entry,
        denied_once: course.denies(),
    };
    loop {
        // Three digits of a count stand where the milliseconds are; two prompts of one phone in one
        // second must not share an id.
        let id = format!(
            "ws_CO_{}{:03}{}",
            world.east_africa("%d%m%Y%H%M%S"),
            world.count() % 1000,
            push.msisdn.get(3..).unwrap_or_default()
        );
        if world.daraja.remember(&id, payment.clone()) {
            course.made(LedgerIds {
                checkout_request_id: Some(id.clone()),
                merchant_request_id: Some(payment.merchant_request_id.clone()),
                receipt: Some(payment.receipt.clone()),
                ..LedgerIds::default()
            });
            return (id, payment);
        }
    }
}

fn news(course: &Course) -> Vec<News> {
    let word = |result, usual| News {
        after: course.delay(),
        result,
        copies: course.copies(usual),
        is_true: true,
    };
    let no_answer = failure_code(Failure::NoAnswer);
    let mut news = match course.behaviour {
        Behaviour::Fails(failure) => vec![word(failure_code(failure), 1)],
        Behaviour::UnknownResult => vec![word(
            ResultCode(
                "100000100",
                "Request failed due to an unknown storage failure.",
            ),
            1,
        )],
        Behaviour::LateSuccess => vec![word(no_answer, 1), word(DONE, 1)],
        behaviour => vec![word(DONE, behaviour.copies())],
    };
    if course.is_reordered() {
        news.push(News {
            is_true: false,
            ..word(no_answer, 1)
        });
    }
    news
}

fn failure_code(failure: Failure) -> ResultCode {
    match failure {
        Failure::InsufficientFunds => {
            ResultCode("1", "The balance is insufficient for the transaction.")
        }
        Failure::RuleLimited => ResultCode("17", "Rule limited."),
        Failure::Expired => ResultCode("1019", "Transaction has expired"),
        Failure::Cancelled => ResultCode("1032", "Request cancelled by user"),
        Failure::NoAnswer => ResultCode("1037", "No response from user."),
        Failure::WrongPin => ResultCode("2001", "The initiator information is invalid."),
        Failure::Internal => ResultCode("9999", "An error occurred while sending a push request"),
    }
}

async fn tell(
    world: Arc<World>,
    id: String,
    payment: Payment,
    url: String,
    course: Arc<Course>,
    news: Vec<News>,
) {
    for word in news {
        tokio::time::sleep(word.after).await;
        if word.is_true {
            world.daraja.settle(&id, word.result);
            course.settle(truth_of(word.result), &payment.paid.to_string());
        }
        let said = said(&world, &id, &payment, word.result);
        let mut post = if course.strikes(Fault::PartialShape) {
            callback(&url, &partial::of_stk(&said, course.variant()))
        } else {
            callback(&url, &said)
        };
        post.headers
            .push(("Businessshortcode", payment.shortcode.clone()));
        for _ in 0..word.copies {
            world.post(&post, course.entry).await;
        }
    }
}

fn said(world: &World, id: &str, payment: &Payment, result: ResultCode) -> Callback {
    let item = |name, value: &str| Item {
        name,
        value: number(value),
    };
    let metadata = (result == DONE).then(|| Metadata {
        item: vec![
            item("Amount", &format!("{}.00", payment.paid)),
            Item {
                name: "MpesaReceiptNumber",
                value: Value::from(payment.receipt.as_str()),
            },
            item("TransactionDate", &world.east_africa("%Y%m%d%H%M%S")),
            item("PhoneNumber", &payment.msisdn),
        ],
    });
    Callback {
        body: Body {
            stk_callback: StkCallback {
                merchant_request_id: payment.merchant_request_id.clone(),
                checkout_request_id: id.to_owned(),
                result_code: result.as_json(),
                result_desc: result.1,
                callback_metadata: metadata,
            },
        },
    }
}
