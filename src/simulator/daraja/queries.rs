//! The calls about a payment that was made, and about the money left: transaction status, reversal,
//! balance. All of them are answered at once and told later, like a payout.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::fields::{self, Fields};
use super::report::{Accepted, Report};
use super::token::{self, Dialect};
use super::{
    DONE, Payment, Refusal, ResultCode, callback, conversation_id, number, own_originator_id,
    receipt, stop, truth_of,
};
use crate::simulator::course::{self, Course};
use crate::simulator::faults::Fault;
use crate::simulator::ledger::{LedgerIds, Order, Truth};
use crate::simulator::world::World;

/// Result and parameters, found out when the delay is over.
type Finding = (ResultCode, Vec<(&'static str, Value)>);

/// What is asked, by whom, and in whose words he is refused.
struct Asked {
    consumer: String,
    dialect: Dialect,
    fields: Fields,
    result_url: String,
}

pub(super) async fn status(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let asked = read(&world, &request, &body, "TransactionStatusQuery").and_then(|asked| {
        asked.fields.required("PartyA", fields::shortcode)?;
        asked.fields.required("IdentifierType", fields::digits)?;
        let receipt = asked.fields.find("TransactionID");
        let originator = asked.fields.find("OriginalConversationID");
        if receipt.is_none() && originator.is_none() {
            return Err(Refusal::invalid("TransactionID"));
        }
        Ok((asked, receipt, originator))
    });
    let (asked, receipt, originator) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return refusal.answer(&world),
    };
    let found = find(&world, receipt.as_deref(), originator.as_deref());
    let msisdn = found.map(|(_, payment)| payment.msisdn);
    let msisdn = msisdn.as_deref().unwrap_or_default();
    let course = course::of_question(&world, &asked.consumer, msisdn, "status");
    later(&world, asked, course, None, move |world| {
        let Some((id, payment)) = find(world, receipt.as_deref(), originator.as_deref()) else {
            return unknown();
        };
        if world.daraja.deny(&id) {
            if let Some(entry) = payment.entry {
                world.ledger.struck(entry, Fault::ContradictingQuery);
            }
            return unknown();
        }
        (DONE, payment_parameters(&id, &payment))
    })
    .await
}

fn unknown() -> Finding {
    let result = ResultCode("25", "The transaction to be queried does not exist.");
    (result, Vec::new())
}

fn find(
    world: &World,
    receipt: Option<&str>,
    originator: Option<&str>,
) -> Option<(String, Payment)> {
    if let Some(receipt) = receipt {
        return world.daraja.find_by_receipt(receipt);
    }
    let id = originator?;
    Some((id.to_owned(), world.daraja.find(id)?))
}

pub(super) async fn reverse(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let asked = read(&world, &request, &body, "TransactionReversal").and_then(|asked| {
        let receipt = asked.fields.required("TransactionID", |_| true)?;
        let amount = asked.fields.amount(1)?;
        asked.fields.required("ReceiverParty", fields::shortcode)?;
        asked
            .fields
            .required("RecieverIdentifierType", |text| text == "11")?;
        Ok((asked, receipt, amount))
    });
    let (asked, receipt, amount) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return refusal.answer(&world),
    };
    let msisdn = find(&world, Some(&receipt), None).map(|(_, payment)| payment.msisdn);
    let msisdn = msisdn.unwrap_or_default();
    let order = Order {
        provider: "mpesa",
        kind: "reversal",
        account: &asked.consumer,
        msisdn: &msisdn,
        amount: amount.to_string(),
        id: None,
        callback_url: Some(&asked.result_url),
    };
    world.ledger.received(&order);
    let course = course::of_reversal(&world, &order);
    let find = move |world: &World| reversal(world, &receipt, amount);
    later(&world, asked, course, Some(msisdn), find).await
}

fn reversal(world: &World, receipt: &str, amount: u64) -> Finding {
    let paid = world
        .daraja
        .find_by_receipt(receipt)
        .filter(|(_, payment)| payment.result == Some(DONE));
    let Some((id, payment)) = paid else {
        return (
            ResultCode("R000002", "The OriginalTransactionID is invalid."),
            Vec::new(),
        );
    };
    if !world.daraja.reverse(&id) {
        return (
            ResultCode("R000001", "The transaction has already been reversed."),
            Vec::new(),
        );
    }
    if let Some(entry) = payment.entry {
        world.ledger.settle(entry, Truth::Reversed, "");
    }
    let parameters = vec![
        (
            "DebitAccountBalance",
            Value::from("Utility Account|KES|7722179.62|7722179.62|0.00|0.00"),
        ),
        ("Amount", number(&format!("{amount}.00"))),
        (
            "TransCompletedTime",
            number(&world.east_africa("%Y%m%d%H%M%S")),
        ),
        ("OriginalTransactionID", Value::from(receipt)),
        ("Charge", number("0.00")),
        (
            "CreditPartyPublicName",
            Value::from(format!("{} - WANJIKU OTIENO", payment.msisdn)),
        ),
        (
            "DebitPartyPublicName",
            Value::from(format!("{} - Simulated Shop", payment.shortcode)),
        ),
    ];
    (DONE, parameters)
}

pub(super) async fn balance(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let asked = read(&world, &request, &body, "AccountBalance").and_then(|asked| {
        asked.fields.required("PartyA", fields::shortcode)?;
        asked.fields.required("IdentifierType", fields::digits)?;
        Ok(asked)
    });
    let asked = match asked {
        Ok(asked) => asked,
        Err(refusal) => return refusal.answer(&world),
    };
    let course = course::of_question(&world, &asked.consumer, "", "balance");
    later(&world, asked, course, None, |world| {
        let utility = world.daraja.withdraw(0);
        let accounts = format!(
            "Working Account|KES|1199371.00|1199371.00|0.00|0.00\
             &Utility Account|KES|{utility}.60|{utility}.60|0.00|0.00\
             &Charges Paid Account|KES|-1980.00|-1980.00|0.00|0.00"
        );
        let parameters = vec![
            ("AccountBalance", Value::from(accounts)),
            (
                "BOCompletedTime",
                number(&world.east_africa("%Y%m%d%H%M%S")),
            ),
        ];
        (DONE, parameters)
    })
    .await
}

/// What all three have in common.
fn read(
    world: &World,
    request: &HttpRequest,
    body: &[u8],
    command: &str,
) -> Result<Asked, Refusal> {
    let dialect = match command {
        "TransactionReversal" => Dialect::Express,
        "TransactionStatusQuery" => Dialect::Customer,
        _ => Dialect::Payout,
    };
    let consumer = token::check(world, request, dialect)?;
    let fields = Fields::read(body)?;
    fields.required("Initiator", |_| true)?;
    fields.required("SecurityCredential", |_| true)?;
    fields.required("CommandID", |text| text == command)?;
    fields.required("Remarks", fields::remarks)?;
    fields.required("QueueTimeOutURL", fields::url)?;
    let result_url = fields.required("ResultURL", fields::url)?;
    Ok(Asked {
        consumer,
        dialect,
        fields,
        result_url,
    })
}

/// Accepts the question, and posts what `find` finds once the delay is over. What moves money is remembered under its
/// OriginatorConversationID with the number in `moved_of`, so that it can be asked about itself.
async fn later(
    world: &Arc<World>,
    asked: Asked,
    course: Course,
    moved_of: Option<String>,
    find: impl FnOnce(&World) -> Finding + Send + 'static,
) -> HttpResponse {
    let course = Arc::new(course);
    let stopped = course
        .stopped(|why| stop(world, &asked.consumer, asked.dialect, &course, why).answer(world));
    if let Some(answer) = stopped {
        return answer;
    }
    let originator_id = own_originator_id(world);
    let conversation_id = conversation_id(world);
    let transaction_id = receipt(world);
    let accepted = HttpResponse::Ok().json(Accepted::new(&conversation_id, &originator_id));
    if let Some(msisdn) = moved_of {
        let amount = asked.fields.find("Amount").unwrap_or_default();
        let moved = Payment {
            conversation_id: conversation_id.clone(),
            merchant_request_id: String::new(),
            receipt: transaction_id.clone(),
            shortcode: asked.fields.find("ReceiverParty").unwrap_or_default(),
            msisdn,
            paid: amount.parse().unwrap_or_default(),
            result: None,
            reversed: false,
            started_at: world.east_africa("%Y%m%d%H%M%S"),
            entry: course.entry,
            denied_once: course.denies(),
        };
        world.daraja.remember(&originator_id, moved);
    }
    course.made(LedgerIds {
        originator_conversation_id: Some(originator_id.clone()),
        conversation_id: Some(conversation_id.clone()),
        receipt: Some(transaction_id.clone()),
        ..LedgerIds::default()
    });
    let told = world.in_background(tell(
        Arc::clone(world),
        Arc::clone(&course),
        asked,
        find,
        (originator_id, conversation_id, transaction_id),
    ));
    course.answer(told, accepted).await
}

async fn tell(
    world: Arc<World>,
    course: Arc<Course>,
    asked: Asked,
    find: impl FnOnce(&World) -> Finding,
    (originator_id, conversation_id, transaction_id): (String, String, String),
) {
    if course.strikes(Fault::QueueTimeout) {
        tokio::time::sleep(course.delay()).await;
        if let Some(url) = asked.fields.find("QueueTimeOutURL") {
            world
                .post(&callback(&url, asked.fields.raw()), course.entry)
                .await;
        }
    }
    tokio::time::sleep(course.delay()).await;
    let (result, parameters) = find(&world);
    let amount = asked.fields.find("Amount").unwrap_or_default();
    world.daraja.settle(&originator_id, result);
    course.settle(truth_of(result), &amount);
    let report = Report::new(
        result,
        originator_id,
        conversation_id,
        transaction_id,
        parameters,
    );
    let post = report.post(&asked.result_url, &course);
    for _ in 0..course.copies(1) {
        world.post(&post, course.entry).await;
    }
}

fn payment_parameters(id: &str, payment: &Payment) -> Vec<(&'static str, Value)> {
    let status = match payment.result {
        _ if payment.reversed => "Reversed",
        Some(result) if result == DONE => "Completed",
        Some(ResultCode("100000100", _)) => "Under Review",
        Some(_) => "Failed",
        None => "Pending Authorized",
    };
    let mut parameters = vec![
        (
            "DebitPartyName",
            Value::from(format!("{} - Simulated Shop", payment.shortcode)),
        ),
        (
            "CreditPartyName",
            Value::from(format!("{} - WANJIKU OTIENO", payment.msisdn)),
        ),
        ("OriginatorConversationID", Value::from(id)),
        (
            "ConversationID",
            Value::from(payment.conversation_id.as_str()),
        ),
        ("InitiatedTime", number(&payment.started_at)),
        ("TransactionStatus", Value::from(status)),
        ("Amount", number(&format!("{}.00", payment.paid))),
    ];
    // A payment that was not made has no receipt to show.
    if payment.result == Some(DONE) {
        parameters.push(("ReceiptNo", Value::from(payment.receipt.as_str())));
    }
    parameters
}
