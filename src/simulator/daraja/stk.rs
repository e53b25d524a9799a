//! STK push: the prompt on the payer's phone, its callback, and the query about it.

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
    DONE, Payment, Refusal, ResultCode, answered, answered_as, callback, number, receipt,
    request_id, throttled,
};
use crate::simulator::outcome::{Answer, Behaviour, Failure};
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

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct QueryAnswer {
    response_code: &'static str,
    response_description: &'static str,
    #[serde(rename = "MerchantRequestID")]
    merchant_request_id: String,
    #[serde(rename = "CheckoutRequestID")]
    checkout_request_id: String,
    result_code: &'static str,
    result_desc: &'static str,
}

struct Push {
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
    let behaviour = Behaviour::of(&push.msisdn);
    let answer = behaviour.answer();
    match answer {
        Answer::Refused => {
            return Refusal::new(
                500,
                "500.001.1001",
                "Unable to lock subscriber, a transaction is already in process for the current \
                 subscriber",
            )
            .answer(&world);
        }
        Answer::Throttled => return throttled().answer(&world),
        Answer::Accepted | Answer::AcceptedAfterTheCallback | Answer::Lost => {}
    }
    let (id, payment) = open(&world, &push, behaviour);
    let merchant_request_id = payment.merchant_request_id.clone();
    let news = news(&world, behaviour);
    let told = world.in_background(tell(
        Arc::clone(&world),
        id.clone(),
        payment,
        push.callback_url,
        news,
    ));
    if answer == Answer::AcceptedAfterTheCallback {
        // An error means that the simulator is being stopped: nobody waits for the answer.
        let _ = told.await;
    }
    answered_as(
        answer,
        Accepted {
            merchant_request_id,
            checkout_request_id: id,
            response_code: "0",
            response_description: "Success. Request accepted for processing",
            customer_message: "Success. Request accepted for processing",
        },
    )
}

fn read(world: &World, request: &HttpRequest, body: &[u8]) -> Result<Push, Refusal> {
    token::check(world, request, Dialect::Express)?;
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
        shortcode,
        msisdn,
        amount,
        callback_url,
    })
}

/// The shortcode, if password and timestamp belong to it and to each other. Any passkey will do.
fn signed(fields: &Fields) -> Result<String, Refusal> {
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

fn open(world: &World, push: &Push, behaviour: Behaviour) -> (String, Payment) {
    let payment = Payment {
        conversation_id: super::conversation_id(world),
        merchant_request_id: request_id(world),
        receipt: receipt(world),
        shortcode: push.shortcode.clone(),
        msisdn: push.msisdn.clone(),
        paid: behaviour.paid(push.amount),
        result: None,
        reversed: false,
        started_at: world.east_africa("%Y%m%d%H%M%S"),
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
            return (id, payment);
        }
    }
}

fn news(world: &World, behaviour: Behaviour) -> Vec<News> {
    let mut news = Vec::new();
    let mut add = |result, copies| {
        let after = match behaviour {
            Behaviour::Early => Duration::ZERO,
            _ => world.draw_delay(),
        };
        news.push(News {
            after,
            result,
            copies,
        });
    };
    match behaviour {
        Behaviour::Fails(failure) => add(failure_code(failure), 1),
        Behaviour::UnknownResult => add(
            ResultCode(
                "100000100",
                "Request failed due to an unknown storage failure.",
            ),
            1,
        ),
        Behaviour::LateSuccess => {
            add(failure_code(Failure::NoAnswer), 1);
            add(DONE, 1);
        }
        _ => add(DONE, behaviour.copies()),
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

async fn tell(world: Arc<World>, id: String, payment: Payment, url: String, news: Vec<News>) {
    for News {
        after,
        result,
        copies,
    } in news
    {
        tokio::time::sleep(after).await;
        world.daraja.settle(&id, result);
        let mut post = callback(&url, &said(&world, &id, &payment, result));
        post.headers
            .push(("Businessshortcode", payment.shortcode.clone()));
        for _ in 0..copies {
            world.post(&post).await;
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

pub(super) async fn query(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    answered(&world, state_of(&world, &request, &body))
}

fn state_of(world: &World, request: &HttpRequest, body: &[u8]) -> Result<QueryAnswer, Refusal> {
    token::check(world, request, Dialect::Express)?;
    let fields = Fields::read(body)?;
    signed(&fields)?;
    let id = fields.required("CheckoutRequestID", |_| true)?;
    let payment = world
        .daraja
        .find(&id)
        .ok_or_else(|| Refusal::new(500, "500.001.1001", "The transaction does not Exist"))?;
    let ResultCode(result_code, result_desc) = payment.result.unwrap_or(ResultCode(
        "4999",
        "The transaction is still under processing",
    ));
    Ok(QueryAnswer {
        response_code: "0",
        response_description: "The service request has been accepted successfully",
        merchant_request_id: payment.merchant_request_id,
        checkout_request_id: id,
        result_code,
        result_desc,
    })
}
