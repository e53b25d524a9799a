//! USSD-push payments: the preview, the push, the question about it, and its webhooks.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::{
    Refusal, UNSUPPORTED_NUMBER, answered, channel_of, client_of, extended, gateway_timeout, key,
    order_reference, phone_number, read, text, throttled, timestamp, used_before, webhook,
};
use crate::simulator::outcome::{Answer, Behaviour, Failure};
use crate::simulator::world::{LOWER, World, locked};

#[derive(Clone)]
pub(in crate::simulator) struct Payment {
    id: String,
    client_id: String,
    reference: String,
    payment_reference: String,
    number: String,
    collected: String,
    status: &'static str,
    message: &'static str,
    created_at: String,
    updated_at: String,
}

/// One piece of news: how long after the one before, what the payment becomes, how often it is told.
#[derive(Clone, Copy)]
struct News {
    after: Duration,
    event: &'static str,
    status: &'static str,
    message: &'static str,
    copies: usize,
}

struct Asked {
    client_id: String,
    reference: String,
    number: String,
    /// Whole units, and what stood behind the point.
    amount: (u64, String),
}

pub(super) async fn preview(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let result = read(&world, &request, &body).and_then(|(client_id, fields)| {
        amount(&fields)?;
        let reference = order_reference(&fields)?;
        if locked(&world.clickpesa.payments).contains(&key(&client_id, &reference)) {
            return Err(used_before(&reference));
        }
        let (names, sender) = if fields.contains_key("phoneNumber") {
            let number = phone_number(&fields)?;
            let wanted = fields.get("fetchSenderDetails") == Some(&Value::Bool(true));
            (vec![channel_of(&number)], wanted.then(|| sender(&number)))
        } else {
            let all = vec!["M-PESA", "TIGO-PESA", "AIRTEL-MONEY", "HALOPESA"];
            (all, None)
        };
        let methods: Vec<Value> = names
            .into_iter()
            .map(|name| json!({"name": name, "status": "AVAILABLE", "fee": 580, "message": ""}))
            .collect();
        Ok(extended(
            json!({"activeMethods": methods}),
            sender.unwrap_or_default(),
        ))
    });
    answered(result)
}

fn sender(number: &str) -> Value {
    json!({"sender": {
        "accountName": "NEEMA MUSHI",
        "accountNumber": number,
        "accountProvider": channel_of(number),
    }})
}

pub(super) async fn initiate(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let asked = match asked(&world, &request, &body) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.answer(),
    };
    let behaviour = Behaviour::of(&asked.number);
    let answer = behaviour.answer();
    match answer {
        Answer::Refused => return Refusal::new(400, UNSUPPORTED_NUMBER).answer(),
        Answer::Throttled => return throttled().answer(),
        Answer::Accepted | Answer::AcceptedAfterTheCallback | Answer::Lost => {}
    }
    let payment = match open(&world, asked, behaviour) {
        Ok(payment) => payment,
        Err(refusal) => return refusal.answer(),
    };
    let accepted = json!({
        "id": payment.id,
        "status": payment.status,
        "channel": channel_of(&payment.number),
        "orderReference": payment.reference,
        "collectedAmount": payment.collected,
        "collectedCurrency": "TZS",
        "createdAt": payment.created_at,
        "clientId": payment.client_id,
    });
    let news = news(&world, behaviour);
    let told = world.in_background(tell(Arc::clone(&world), payment, news));
    match answer {
        Answer::Lost => return gateway_timeout(),
        Answer::AcceptedAfterTheCallback => {
            // An error means that the simulator is being stopped: nobody waits for the answer.
            let _ = told.await;
        }
        Answer::Accepted | Answer::Refused | Answer::Throttled => {}
    }
    HttpResponse::Ok().json(accepted)
}

fn asked(world: &World, request: &HttpRequest, body: &[u8]) -> Result<Asked, Refusal> {
    let (client_id, fields) = read(world, request, body)?;
    Ok(Asked {
        client_id,
        amount: amount(&fields)?,
        reference: order_reference(&fields)?,
        number: phone_number(&fields)?,
    })
}

/// A decimal string above zero, in shillings.
fn amount(fields: &Map<String, Value>) -> Result<(u64, String), Refusal> {
    if text(fields, "currency") != "TZS" {
        return Err(Refusal::new(400, "currency must be TZS"));
    }
    let (whole, rest) = match text(fields, "amount").split_once('.') {
        Some((whole, cents)) => (whole, format!(".{cents}")),
        None => (text(fields, "amount"), String::new()),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    whole
        .parse::<u64>()
        .ok()
        .filter(|units| *units > 0 && digits(whole))
        .filter(|_| rest.is_empty() || (rest.len() <= 3 && digits(rest.trim_start_matches('.'))))
        .map(|units| (units, rest.clone()))
        .ok_or_else(|| Refusal::new(400, "amount must be a string with a number above zero"))
}

fn open(world: &World, asked: Asked, behaviour: Behaviour) -> Result<Payment, Refusal> {
    let (units, rest) = asked.amount;
    let payment = Payment {
        id: format!("{}LCP{}", asked.reference, world.count()),
        client_id: asked.client_id,
        reference: asked.reference,
        payment_reference: world.made_up(LOWER, 18),
        number: asked.number,
        collected: format!("{}{rest}", behaviour.paid(units)),
        status: "PROCESSING",
        message: "",
        created_at: timestamp(world),
        updated_at: timestamp(world),
    };
    let key = key(&payment.client_id, &payment.reference);
    let mut payments = locked(&world.clickpesa.payments);
    if payments.contains(&key) {
        return Err(used_before(&payment.reference));
    }
    payments.insert(key, payment.clone());
    Ok(payment)
}

fn news(world: &World, behaviour: Behaviour) -> Vec<News> {
    let after = match behaviour {
        Behaviour::Early => Duration::ZERO,
        Behaviour::LateSuccess => world.draw_delay() + world.draw_delay(),
        _ => world.draw_delay(),
    };
    let paid = News {
        after,
        event: "PAYMENT RECEIVED",
        status: "SUCCESS",
        message: "success",
        copies: behaviour.copies(),
    };
    match behaviour {
        Behaviour::Fails(failure) => vec![News {
            event: "PAYMENT FAILED",
            status: "FAILED",
            message: reason(failure),
            ..paid
        }],
        Behaviour::UnknownResult => vec![News {
            event: "PAYMENT UNDER REVIEW",
            status: "UNDER REVIEW",
            message: "Payment is under review",
            ..paid
        }],
        Behaviour::Settles => vec![
            paid,
            News {
                after: world.draw_delay(),
                status: "SETTLED",
                message: "settled",
                ..paid
            },
        ],
        // No event of this name is documented; the status says what happened.
        Behaviour::Reversed => vec![
            paid,
            News {
                after: world.draw_delay(),
                event: "PAYMENT FAILED",
                status: "REVERSED",
                message: "Payment was reversed",
                ..paid
            },
        ],
        _ => vec![paid],
    }
}

pub(super) fn reason(failure: Failure) -> &'static str {
    match failure {
        Failure::InsufficientFunds => "Insufficient balance",
        Failure::RuleLimited => "Transaction limit exceeded",
        Failure::Expired => "Request timed out",
        Failure::Cancelled => "Request cancelled by user",
        Failure::NoAnswer => "No response from user",
        Failure::WrongPin => "Invalid PIN",
        Failure::Internal => "Internal error",
    }
}

async fn tell(world: Arc<World>, payment: Payment, news: Vec<News>) {
    let key = key(&payment.client_id, &payment.reference);
    for word in news {
        tokio::time::sleep(word.after).await;
        let now = timestamp(&world);
        if let Some(kept) = locked(&world.clickpesa.payments).find_mut(&key) {
            kept.status = word.status;
            kept.message = word.message;
            kept.updated_at = now;
        }
        let post = webhook(
            &world,
            &payment.client_id,
            word.event,
            webhook_data(&payment, word),
        );
        if let Some(post) = post {
            for _ in 0..word.copies {
                world.post(&post).await;
            }
        }
    }
}

fn webhook_data(payment: &Payment, word: News) -> Value {
    let data = json!({
        "id": payment.id,
        "status": word.status,
        "channel": channel_of(&payment.number),
        "orderReference": payment.reference,
        "message": word.message,
        "clientId": payment.client_id,
    });
    if word.event != "PAYMENT RECEIVED" {
        return data;
    }
    extended(
        data,
        json!({
            "paymentReference": payment.payment_reference,
            "collectedAmount": payment.collected,
            "collectedCurrency": "TZS",
            "customer": customer(&payment.number),
        }),
    )
}

fn customer(number: &str) -> Value {
    json!({
        "customerName": "NEEMA MUSHI",
        "customerEmail": "neema@example.com",
        "customerPhoneNumber": number,
    })
}

pub(super) async fn query(
    world: web::Data<World>,
    request: HttpRequest,
    reference: web::Path<String>,
) -> HttpResponse {
    let result = client_of(&world, &request).and_then(|client_id| {
        locked(&world.clickpesa.payments)
            .find(&key(&client_id, &reference))
            .map(|payment| json!([listed(payment)]))
            .ok_or_else(|| Refusal::new(404, format!("Invalid or missing payment: {reference}")))
    });
    answered(result)
}

fn listed(payment: &Payment) -> Value {
    json!({
        "id": payment.id,
        "status": payment.status,
        "paymentReference": payment.payment_reference,
        "paymentPhoneNumber": payment.number,
        "orderReference": payment.reference,
        "collectedAmount": serde_json::from_str::<Value>(&payment.collected)
            .unwrap_or(Value::Null),
        "collectedCurrency": "TZS",
        "message": payment.message,
        "updatedAt": payment.updated_at,
        "createdAt": payment.created_at,
        "customer": customer(&payment.number),
        "clientId": payment.client_id,
    })
}
