//! Mobile-money payouts, and the balance they are paid from. Amounts are numbers on the way in and strings
//! on the way out, as ClickPesa has it. The positive webhook is PAYOUT INITIATED with status SUCCESS.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::{
    Refusal, UNSUPPORTED_NUMBER, answered, channel_of, client_of, extended, gateway_timeout, key,
    order_reference, payments, phone_number, read, text, throttled, timestamp, used_before,
    webhook,
};
use crate::simulator::outcome::{Answer, Behaviour};
use crate::simulator::world::{World, locked};

/// In whole units; what every payout costs.
const FEE: u64 = 47;

#[derive(Clone)]
pub(in crate::simulator) struct Payout {
    id: String,
    client_id: String,
    reference: String,
    number: String,
    amount: u64,
    currency: String,
    status: &'static str,
    notes: &'static str,
    created_at: String,
    updated_at: String,
}

#[derive(Clone, Copy)]
struct News {
    after: Duration,
    event: &'static str,
    status: &'static str,
    notes: &'static str,
    copies: usize,
}

pub(super) async fn preview(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let result = asked(&world, &request, &body).map(|payout| {
        json!({
            "amount": payout.amount + FEE,
            "balance": 5_000_000,
            "channelProvider": channel_of(&payout.number),
            "fee": FEE,
            "order": {"amount": payout.amount, "currency": payout.currency, "id": payout.reference},
            "payoutFeeBearer": "merchant",
            "receiver": {"accountName": "NEEMA MUSHI", "accountNumber": payout.number},
        })
    });
    answered(result)
}

pub(super) async fn create(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let payout = match asked(&world, &request, &body) {
        Ok(payout) => payout,
        Err(refusal) => return refusal.answer(),
    };
    let behaviour = Behaviour::of(&payout.number);
    let answer = behaviour.answer();
    match answer {
        Answer::Refused => return Refusal::new(400, UNSUPPORTED_NUMBER).answer(),
        Answer::Throttled => return throttled().answer(),
        Answer::Accepted | Answer::AcceptedAfterTheCallback | Answer::Lost => {}
    }
    {
        let mut payouts = locked(&world.clickpesa.payouts);
        let key = key(&payout.client_id, &payout.reference);
        if payouts.contains(&key) {
            return used_before(&payout.reference).answer();
        }
        payouts.insert(key, payout.clone());
    }
    let accepted = shown(&payout);
    let news = news(&world, behaviour);
    let told = world.in_background(tell(Arc::clone(&world), payout, news));
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

fn asked(world: &World, request: &HttpRequest, body: &[u8]) -> Result<Payout, Refusal> {
    let (client_id, fields) = read(world, request, body)?;
    let reference = order_reference(&fields)?;
    Ok(Payout {
        id: format!("PAY{:06}MM", world.count()),
        client_id,
        number: phone_number(&fields)?,
        amount: amount(&fields)?,
        currency: currency(&fields)?,
        reference,
        status: "AUTHORIZED",
        notes: "",
        created_at: timestamp(world),
        updated_at: timestamp(world),
    })
}

/// A JSON number above zero; cents are dropped, for nobody pays them out.
fn amount(fields: &Map<String, Value>) -> Result<u64, Refusal> {
    fields
        .get("amount")
        .and_then(Value::as_number)
        .map(ToString::to_string)
        .and_then(|text| text.split('.').next()?.parse().ok())
        .filter(|units| *units > 0)
        .ok_or_else(|| Refusal::new(400, "amount must be a number above zero"))
}

fn currency(fields: &Map<String, Value>) -> Result<String, Refusal> {
    match text(fields, "currency") {
        known @ ("TZS" | "USD") => Ok(known.to_owned()),
        _ => Err(Refusal::new(400, "currency must be TZS or USD")),
    }
}

fn news(world: &World, behaviour: Behaviour) -> Vec<News> {
    let after = match behaviour {
        Behaviour::Early => Duration::ZERO,
        Behaviour::LateSuccess => world.draw_delay() + world.draw_delay(),
        _ => world.draw_delay(),
    };
    let paid = News {
        after,
        event: "PAYOUT INITIATED",
        status: "SUCCESS",
        notes: "",
        copies: behaviour.copies(),
    };
    match behaviour {
        // A payout that fails is told as money that came back.
        Behaviour::Fails(failure) => vec![News {
            event: "PAYOUT REFUNDED",
            status: "REFUNDED",
            notes: payments::reason(failure),
            ..paid
        }],
        Behaviour::UnknownResult => vec![News {
            event: "PAYOUT UNDER REVIEW",
            status: "UNDER REVIEW",
            notes: "Payout is under review",
            ..paid
        }],
        Behaviour::Reversed => vec![
            paid,
            News {
                after: world.draw_delay(),
                event: "PAYOUT REVERSED",
                status: "REVERSED",
                notes: "The payout was reversed due to invalid account information.",
                ..paid
            },
        ],
        _ => vec![paid],
    }
}

async fn tell(world: Arc<World>, payout: Payout, news: Vec<News>) {
    let key = key(&payout.client_id, &payout.reference);
    for word in news {
        tokio::time::sleep(word.after).await;
        let told = Payout {
            status: word.status,
            notes: word.notes,
            updated_at: timestamp(&world),
            ..payout.clone()
        };
        let mut data = shown(&told);
        if word.status == "REVERSED" {
            let reverse = json!({
                "message": word.notes,
                "reversedAt": told.updated_at,
                "reversedWithFee": true,
            });
            data = extended(data, json!({"reverse": reverse}));
        }
        locked(&world.clickpesa.payouts).insert(key.clone(), told);
        if let Some(post) = webhook(&world, &payout.client_id, word.event, data) {
            for _ in 0..word.copies {
                world.post(&post).await;
            }
        }
    }
}

pub(super) async fn query(
    world: web::Data<World>,
    request: HttpRequest,
    reference: web::Path<String>,
) -> HttpResponse {
    let result = client_of(&world, &request).and_then(|client_id| {
        locked(&world.clickpesa.payouts)
            .find(&key(&client_id, &reference))
            .map(|payout| json!([shown(payout)]))
            .ok_or_else(|| Refusal::new(404, format!("Invalid or missing payout: {reference}")))
    });
    answered(result)
}

pub(super) async fn balance(world: web::Data<World>, request: HttpRequest) -> HttpResponse {
    let result = client_of(&world, &request).map(
        |_| json!([{"currency": "TZS", "balance": 5_000_000}, {"currency": "USD", "balance": 0}]),
    );
    answered(result)
}

fn shown(payout: &Payout) -> Value {
    json!({
        "id": payout.id,
        "createdAt": payout.created_at,
        "updatedAt": payout.updated_at,
        "orderReference": payout.reference,
        "amount": format!("{}.00", payout.amount + FEE),
        "currency": payout.currency,
        "fee": format!("{FEE}.00"),
        "exchanged": false,
        "status": payout.status,
        "channel": "MOBILE MONEY",
        "channelProvider": channel_of(&payout.number),
        "notes": payout.notes,
        "order": {"amount": format!("{}.00", payout.amount), "currency": payout.currency},
        "beneficiary": {
            "accountNumber": payout.number,
            "accountName": "NEEMA MUSHI",
            "amount": format!("{}.00", payout.amount),
        },
        "clientId": payout.client_id,
    })
}
