//! Daraja's own paths, as far as a payment service needs them: who may call (`token`), what is asked for
//! (`fields`), prompts (`stk`), payouts (`b2c`), customers who pay by themselves (`c2b`), the questions about
//! all of them (`queries`) and how a callback is mutilated (`partial`).

mod b2c;
mod c2b;
mod fields;
mod partial;
mod queries;
mod report;
mod stk;
mod stk_query;
mod token;

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Datelike, Utc};
use serde::Serialize;
use serde_json::Value;

use super::course::{Course, Stop};
use super::ledger::Truth;
use super::outcome::Behaviour;
use super::world::{DIGITS, HEX, Post, Recent, UPPER, World, locked};
use token::Dialect;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/oauth/v1/generate", web::get().to(token::generate))
        .route(
            "/mpesa/stkpush/v1/processrequest",
            web::post().to(stk::push),
        )
        .route(
            "/mpesa/stkpushquery/v1/query",
            web::post().to(stk_query::query),
        )
        .route("/mpesa/b2c/v3/paymentrequest", web::post().to(b2c::pay_v3))
        .route("/mpesa/b2c/v1/paymentrequest", web::post().to(b2c::pay_v1))
        .route(
            "/mpesa/transactionstatus/v1/query",
            web::post().to(queries::status),
        )
        .route(
            "/mpesa/reversal/v1/request",
            web::post().to(queries::reverse),
        )
        .route(
            "/mpesa/accountbalance/v1/query",
            web::post().to(queries::balance),
        )
        .route(
            "/mpesa/c2b/{version:v1|v2}/registerurl",
            web::post().to(c2b::register),
        )
        .route(
            "/mpesa/c2b/{version:v1|v2}/simulate",
            web::post().to(c2b::simulate),
        );
}

/// What the fake M-Pesa remembers.
pub(super) struct State {
    tokens: Mutex<token::Tokens>,
    payments: Mutex<Payments>,
    /// By shortcode.
    urls: Mutex<Recent<c2b::Urls>>,
    /// The Utility account, in whole shillings: what payouts are paid from.
    utility: AtomicI64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            tokens: Mutex::default(),
            payments: Mutex::default(),
            urls: Mutex::default(),
            utility: AtomicI64::new(8_959_269),
        }
    }
}

#[derive(Default)]
struct Payments {
    /// By CheckoutRequestID or OriginatorConversationID.
    by_id: Recent<Payment>,
    /// Receipt → that id.
    receipts: Recent<String>,
}

#[derive(Clone)]
struct Payment {
    conversation_id: String,
    merchant_request_id: String,
    receipt: String,
    shortcode: String,
    msisdn: String,
    paid: u64,
    /// The last word so far.
    result: Option<ResultCode>,
    reversed: bool,
    started_at: String,
    /// Its number in the ledger.
    entry: Option<u64>,
    /// True if the next question about it is to be answered wrongly.
    denied_once: bool,
}

/// A code and the words that go with it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ResultCode(&'static str, &'static str);

const DONE: ResultCode = ResultCode("0", "The service request is processed successfully.");

impl ResultCode {
    /// A JSON number, unless the code has letters.
    fn as_json(self) -> Value {
        number(self.0)
    }
}

impl State {
    /// Keeps a payment, unless its id is taken.
    fn remember(&self, id: &str, payment: Payment) -> bool {
        let mut payments = locked(&self.payments);
        if payments.by_id.contains(id) {
            return false;
        }
        payments
            .receipts
            .insert(payment.receipt.clone(), id.to_owned());
        payments.by_id.insert(id.to_owned(), payment);
        true
    }

    fn find(&self, id: &str) -> Option<Payment> {
        locked(&self.payments).by_id.find(id).cloned()
    }

    fn find_by_receipt(&self, receipt: &str) -> Option<(String, Payment)> {
        let payments = locked(&self.payments);
        let id = payments.receipts.find(receipt)?;
        Some((id.clone(), payments.by_id.find(id)?.clone()))
    }

    fn settle(&self, id: &str, result: ResultCode) {
        if let Some(payment) = locked(&self.payments).by_id.find_mut(id) {
            payment.result = Some(result);
        }
    }

    /// False if it was reversed before.
    fn reverse(&self, id: &str) -> bool {
        locked(&self.payments)
            .by_id
            .find_mut(id)
            .is_some_and(|payment| !std::mem::replace(&mut payment.reversed, true))
    }

    /// True if the payment is to be denied this time; the next time it is not.
    fn deny(&self, id: &str) -> bool {
        locked(&self.payments)
            .by_id
            .find_mut(id)
            .is_some_and(|payment| std::mem::replace(&mut payment.denied_once, false))
    }

    pub(super) fn invalidate_tokens(&self, now: DateTime<Utc>, consumer: Option<&str>) -> usize {
        locked(&self.tokens).invalidate(now, consumer)
    }

    /// False if the shortcode has none.
    pub(super) fn forget_urls(&self, shortcode: &str) -> bool {
        locked(&self.urls).remove(shortcode)
    }

    fn withdraw(&self, shillings: u64) -> i64 {
        let shillings = i64::try_from(shillings).unwrap_or(0);
        self.utility.fetch_sub(shillings, Ordering::Relaxed) - shillings
    }
}

/// A refusal in Daraja's envelope.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "requestId")]
    request_id: String,
    #[serde(rename = "errorCode")]
    error_code: &'a str,
    #[serde(rename = "errorMessage")]
    error_message: &'a str,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    fn invalid(field: &str) -> Self {
        Self::new(400, "400.002.02", format!("Bad Request - Invalid {field}"))
    }

    pub(super) fn answer(&self, world: &World) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        HttpResponse::build(status).json(Envelope {
            request_id: request_id(world),
            error_code: self.code,
            error_message: &self.message,
        })
    }
}

fn answered<T: Serialize>(world: &World, result: Result<T, Refusal>) -> HttpResponse {
    match result {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(refusal) => refusal.answer(world),
    }
}

/// Why nothing was made of a request, except where a call has words of its own.
fn stop(world: &World, consumer: &str, dialect: Dialect, course: &Course, stop: Stop) -> Refusal {
    let by_ending = course.behaviour == Behaviour::Throttled;
    match stop {
        Stop::Token => token::end(world, consumer, dialect),
        Stop::Refused => Refusal::invalid("Amount"),
        Stop::Throttled if by_ending || course.variant().is_multiple_of(2) => Refusal::new(
            500,
            "500.003.02",
            "System is busy. Please try again in few minutes.",
        ),
        Stop::Throttled => Refusal::new(500, "500.003.03", "Quota Violation"),
        Stop::ServerError => Refusal::new(500, "500.003.1001", "Internal Server Error"),
    }
}

/// What a result means for the payment.
fn truth_of(result: ResultCode) -> Truth {
    match result {
        DONE => Truth::Success,
        ResultCode("100000100", _) => Truth::Unknown,
        _ => Truth::Failed,
    }
}

/// A JSON number with exactly these digits; text that is no number stays text.
fn number(text: &str) -> Value {
    serde_json::from_str::<serde_json::Number>(text)
        .map_or_else(|_| Value::from(text), Value::Number)
}

fn callback<T: Serialize>(url: &str, body: &T) -> Post {
    Post {
        url: url.to_owned(),
        body: serde_json::to_string(body).unwrap_or_default(),
        headers: vec![("content-type", "application/json;charset=UTF-8".to_owned())],
    }
}

fn request_id(world: &World) -> String {
    format!(
        "{}-{}-{}-{}{}",
        world.made_up(HEX, 4),
        world.made_up(HEX, 4),
        world.made_up(HEX, 4),
        world.made_up(HEX, 12),
        world.count()
    )
}

fn conversation_id(world: &World) -> String {
    format!(
        "AG_{}_2010{}",
        world.east_africa("%Y%m%d"),
        world.made_up(HEX, 16)
    )
}

/// The form of the ids that M-Pesa makes up when the caller brings none.
fn own_originator_id(world: &World) -> String {
    format!(
        "{}-{}-{}",
        world.made_up(DIGITS, 5),
        world.made_up(DIGITS, 8),
        world.count()
    )
}

/// Year, month and day as one character each, then seven made-up ones.
fn receipt(world: &World) -> String {
    let today = world.now() + chrono::TimeDelta::hours(3);
    let year = usize::try_from(today.year() - 2006).unwrap_or(0);
    let month = usize::try_from(today.month0()).unwrap_or(0);
    let day = usize::try_from(today.day()).unwrap_or(1);
    let letter = |at: usize| char::from(*UPPER.get(at % 26).unwrap_or(&b'A'));
    let day = if day < 10 {
        char::from_digit(today.day(), 10).unwrap_or('0')
    } else {
        letter(day - 10)
    };
    format!(
        "{}{}{day}{}",
        letter(year),
        letter(month),
        world.made_up(UPPER, 7)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits_and_letters_stay_text() {
        assert_eq!(number("1.00").to_string(), "1.00");
        assert_eq!(number("20191219102115").to_string(), "20191219102115");
        assert_eq!(number("SFC_IC0003"), Value::from("SFC_IC0003"));
    }
}
