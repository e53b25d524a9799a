//! USSD-push payments: the preview, the push, the question about it, and its webhooks.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::{
    Refusal, answered, channel_of, client_of, denied, extended, key, listed, missing,
    order_reference, phone_number, read, reason, stop, text, timestamp, used_before, webhook,
};
use crate::simulator::course::{self, Course};
use crate::simulator::faults::Fault;
use crate::simulator::ledger::{LedgerIds, Order, Truth};
use crate::simulator::outcome::Behaviour;
use crate::simulator::world::{LOWER, World, locked};

#[derive(Clone)]
pub(in crate::simulator) struct Payment {
    id: String,
    pub(super) client_id: String,
    reference: String,
    payment_reference: String,
    number: String,
    collected: String,
    status: &'static str,
    message: &'static str,
    pub(super) created_at: String,
    updated_at: String,
    /// Its number in the ledger.
    entry: Option<u64>,
    /// True if the next question about it is to be answered wrongly.
    denied_once: bool,
}

/// One piece of news: how long after the one before, what the payment becomes, how often it is told.
#[derive(Clone, Copy)]
struct News {
    after: Duration,
    event: &'static str,
    status: &'static str,
    message: &'static str,
    copies: usize,
    /// False for a word that is out of date when it comes.
    is_true: bool,
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
    let client_id = asked.client_id.clone();
    let order = Order {
        provider: "clickpesa",
        kind: "ussd_push",
        account: &asked.client_id,
        msisdn: &asked.number,
        amount: format!("{}{}", asked.amount.0, asked.amount.1),
        id: Some(&asked.reference),
        callback_url: None,
    };
    world.ledger.received(&order);
    let key = key(&asked.client_id, &asked.reference);
    if locked(&world.clickpesa.payments).contains(&key) {
        return used_before(&asked.reference).answer();
    }
    let course = Arc::new(course::of_payment(&world, &order));
    if let Some(answer) = course.stopped(|why| stop(&world, &client_id, why)) {
        return answer;
    }
    let payment = match open(&world, asked, &course) {
        Ok(payment) => payment,
        Err(refusal) => return refusal.answer(),
    };
    let accepted = HttpResponse::Ok().json(json!({
        "id": payment.id,
        "status": payment.status,
        "channel": channel_of(&payment.number),
        "orderReference": payment.reference,
        "collectedAmount": payment.collected,
        "collectedCurrency": "TZS",
        "createdAt": payment.created_at,
        "clientId": payment.client_id,
    }));
    let news = news(&course);
    let told = world.in_background(tell(Arc::clone(&world), payment, Arc::clone(&course), news));
    course.answer(told, accepted).await
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

fn open(world: &World, asked: Asked, course: &Course) -> Result<Payment, Refusal> {
    let (units, rest) = asked.amount;
    let payment = Payment {
        id: format!("{}LCP{}", asked.reference, world.count()),
        client_id: asked.client_id,
        reference: asked.reference,
        payment_reference: world.made_up(LOWER, 18),
        number: asked.number,
        collected: format!("{}{rest}", course.behaviour.paid(units)),
        status: "PROCESSING",
        message: "",
        created_at: timestamp(world),
        updated_at: timestamp(world),
        entry: course.entry,
        denied_once: course.denies(),
    };
    let key = key(&payment.client_id, &payment.reference);
    let mut payments = locked(&world.clickpesa.payments);
    if payments.contains(&key) {
        return Err(used_before(&payment.reference));
    }
    payments.insert(key, payment.clone());
    drop(payments);
    course.made(LedgerIds {
        order_reference: Some(payment.reference.clone()),
        provider_id: Some(payment.id.clone()),
        receipt: Some(payment.payment_reference.clone()),
        ..LedgerIds::default()
    });
    Ok(payment)
}

fn news(course: &Course) -> Vec<News> {
    let mut after = course.delay();
    if course.behaviour == Behaviour::LateSuccess {
        after += course.delay();
    }
    let paid = News {
        after,
        event: "PAYMENT RECEIVED",
        status: "SUCCESS",
        message: "success",
        copies: course.copies(course.behaviour.copies()),
        is_true: true,
    };
    let settled = |is_true| News {
        after: course.delay(),
        status: "SETTLED",
        message: "settled",
        is_true,
        ..paid
    };
    match course.behaviour {
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
        Behaviour::Settles => vec![paid, settled(true)],
        // No event of this name is documented; the status says what happened.
        Behaviour::Reversed => vec![
            paid,
            News {
                after: course.delay(),
                event: "PAYMENT FAILED",
                status: "REVERSED",
                message: "Payment was reversed",
                ..paid
            },
        ],
        // Settled first, and then the word that it was received.
        _ if course.is_reordered() => vec![
            settled(true),
            News {
                is_true: false,
                ..paid
            },
        ],
        _ => vec![paid],
    }
}

/// What a status means for the payment.
pub(super) fn truth_of(status: &str) -> Truth {
    match status {
        "SUCCESS" | "SETTLED" => Truth::Success,
        "REVERSED" => Truth::Reversed,
        "FAILED" | "REFUNDED" => Truth::Failed,
        _ => Truth::Unknown,
    }
}

async fn tell(world: Arc<World>, payment: Payment, course: Arc<Course>, news: Vec<News>) {
    let key = key(&payment.client_id, &payment.reference);
    for word in news {
        tokio::time::sleep(word.after).await;
        if word.is_true {
            let now = timestamp(&world);
            if let Some(kept) = locked(&world.clickpesa.payments).find_mut(&key) {
                kept.status = word.status;
                kept.message = word.message;
                kept.updated_at = now;
            }
            course.settle(truth_of(word.status), &payment.collected);
        }
        let data = webhook_data(&payment, word);
        let post = webhook(&world, &payment.client_id, word.event, data, &course);
        if let Some(post) = post {
            for _ in 0..word.copies {
                world.post(&post, course.entry).await;
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
    let world = world.into_inner();
    let client_id = match client_of(&world, &request) {
        Ok(client_id) => client_id,
        Err(refusal) => return refusal.answer(),
    };
    let (found, denied_now) = {
        let mut payments = locked(&world.clickpesa.payments);
        let kept = payments.find_mut(&key(&client_id, &reference));
        let found = kept.as_deref().cloned();
        let denied = kept.is_some_and(|kept| std::mem::replace(&mut kept.denied_once, false));
        (found, denied)
    };
    let number = found.as_ref().map_or("", |payment| &payment.number);
    let course = course::of_question(&world, &client_id, number, "payment");
    if let Some(answer) = course.stopped(|why| stop(&world, &client_id, why)) {
        return answer;
    }
    let Some(payment) = found else {
        return missing(&reference, "payment").answer();
    };
    if denied_now {
        if let Some(entry) = payment.entry {
            world.ledger.struck(entry, Fault::ContradictingQuery);
        }
        return answered(denied(&course, &reference, "payment"));
    }
    HttpResponse::Ok().json(listed(&course, shown(&payment)))
}

pub(super) fn shown(payment: &Payment) -> Value {
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
