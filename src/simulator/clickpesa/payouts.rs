//! Mobile-money payouts, and the balance they are paid from. Amounts are numbers on the way in and strings
//! on the way out, as ClickPesa has it. The positive webhook is PAYOUT INITIATED with status SUCCESS.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::{
    Refusal, answered, channel_of, client_of, denied, extended, key, listed, missing,
    order_reference, payments, phone_number, read, reason, stop, text, timestamp, used_before,
    webhook,
};
use crate::simulator::course::{self, Course};
use crate::simulator::faults::Fault;
use crate::simulator::ledger::{LedgerIds, Order};
use crate::simulator::outcome::Behaviour;
use crate::simulator::world::{World, locked};

/// In whole units; what every payout costs.
const FEE: u64 = 47;

#[derive(Clone)]
pub(in crate::simulator) struct Payout {
    id: String,
    pub(super) client_id: String,
    reference: String,
    number: String,
    amount: u64,
    currency: String,
    status: &'static str,
    notes: &'static str,
    pub(super) created_at: String,
    updated_at: String,
    /// Its number in the ledger.
    entry: Option<u64>,
    /// True if the next question about it is to be answered wrongly.
    denied_once: bool,
}

#[derive(Clone, Copy)]
struct News {
    after: Duration,
    event: &'static str,
    status: &'static str,
    notes: &'static str,
    copies: usize,
    /// False for a word that is out of date when it comes.
    is_true: bool,
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
    let mut payout = match asked(&world, &request, &body) {
        Ok(payout) => payout,
        Err(refusal) => return refusal.answer(),
    };
    let client_id = payout.client_id.clone();
    let key = key(&client_id, &payout.reference);
    let course = {
        let order = Order {
            provider: "clickpesa",
            kind: "payout",
            account: &payout.client_id,
            msisdn: &payout.number,
            amount: payout.amount.to_string(),
            id: Some(&payout.reference),
            callback_url: None,
        };
        world.ledger.received(&order);
        if locked(&world.clickpesa.payouts).contains(&key) {
            return used_before(&payout.reference).answer();
        }
        Arc::new(course::of_payment(&world, &order))
    };
    if let Some(answer) = course.stopped(|why| stop(&world, &client_id, why)) {
        return answer;
    }
    payout.entry = course.entry;
    payout.denied_once = course.denies();
    {
        let mut payouts = locked(&world.clickpesa.payouts);
        if payouts.contains(&key) {
            return used_before(&payout.reference).answer();
        }
        payouts.insert(key, payout.clone());
    }
    course.made(LedgerIds {
        order_reference: Some(payout.reference.clone()),
        provider_id: Some(payout.id.clone()),
        ..LedgerIds::default()
    });
    let accepted = HttpResponse::Ok().json(shown(&payout));
    let news = news(&course);
    let told = world.in_background(tell(Arc::clone(&world), payout, Arc::clone(&course), news));
    course.answer(told, accepted).await
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
        entry: None,
        denied_once: false,
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

fn news(course: &Course) -> Vec<News> {
    let mut after = course.delay();
    if course.behaviour == Behaviour::LateSuccess {
        after += course.delay();
    }
    let paid = News {
        after,
        event: "PAYOUT INITIATED",
        status: "SUCCESS",
        notes: "",
        copies: course.copies(course.behaviour.copies()),
        is_true: true,
    };
    match course.behaviour {
        // A payout that fails is told as money that came back.
        Behaviour::Fails(failure) => vec![News {
            event: "PAYOUT REFUNDED",
            status: "REFUNDED",
            notes: reason(failure),
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
                after: course.delay(),
                event: "PAYOUT REVERSED",
                status: "REVERSED",
                notes: "The payout was reversed due to invalid account information.",
                ..paid
            },
        ],
        // Done, and then the word that it is being worked on.
        _ if course.is_reordered() => vec![
            paid,
            News {
                after: course.delay(),
                status: "PROCESSING",
                is_true: false,
                ..paid
            },
        ],
        _ => vec![paid],
    }
}

async fn tell(world: Arc<World>, payout: Payout, course: Arc<Course>, news: Vec<News>) {
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
        if word.is_true {
            if let Some(kept) = locked(&world.clickpesa.payouts).find_mut(&key) {
                kept.status = told.status;
                kept.notes = told.notes;
                kept.updated_at.clone_from(&told.updated_at);
            }
            let truth = payments::truth_of(word.status);
            course.settle(truth, &payout.amount.to_string());
        }
        if let Some(post) = webhook(&world, &payout.client_id, word.event, data, &course) {
            for _ in 0..word.copies {
                world.post(&post, course.entry).await;
            }
        }
    }
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
        let mut payouts = locked(&world.clickpesa.payouts);
        let kept = payouts.find_mut(&key(&client_id, &reference));
        let found = kept.as_deref().cloned();
        let denied = kept.is_some_and(|kept| std::mem::replace(&mut kept.denied_once, false));
        (found, denied)
    };
    let number = found.as_ref().map_or("", |payout| &payout.number);
    let course = course::of_question(&world, &client_id, number, "payout_query");
    if let Some(answer) = course.stopped(|why| stop(&world, &client_id, why)) {
        return answer;
    }
    let Some(payout) = found else {
        return missing(&reference, "payout").answer();
    };
    if denied_now {
        if let Some(entry) = payout.entry {
            world.ledger.struck(entry, Fault::ContradictingQuery);
        }
        return answered(denied(&course, &reference, "payout"));
    }
    HttpResponse::Ok().json(listed(&course, shown(&payout)))
}

pub(super) async fn balance(world: web::Data<World>, request: HttpRequest) -> HttpResponse {
    let result = client_of(&world, &request).map(
        |_| json!([{"currency": "TZS", "balance": 5_000_000}, {"currency": "USD", "balance": 0}]),
    );
    answered(result)
}

pub(super) fn shown(payout: &Payout) -> Value {
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
