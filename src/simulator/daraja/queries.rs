//! The calls about a payment that was made, and about the money left: transaction status, reversal,
//! balance. All of them are answered at once and told later, like a payout.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::b2c::{Accepted, Report};
use super::fields::{self, Fields};
use super::token::{self, Dialect};
use super::{
    DONE, Payment, Refusal, ResultCode, answered, callback, conversation_id, number,
    own_originator_id, receipt,
};
use crate::simulator::world::World;

/// Result and parameters, found out when the delay is over.
type Finding = (ResultCode, Vec<(&'static str, Value)>);

pub(super) async fn status(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let asked = (|| {
        let fields = asked(
            &world,
            &request,
            &body,
            Dialect::Payout,
            "TransactionStatusQuery",
        )?;
        fields.required("PartyA", fields::shortcode)?;
        fields.required("IdentifierType", fields::digits)?;
        let receipt = fields.find("TransactionID");
        let originator = fields.find("OriginalConversationID");
        if receipt.is_none() && originator.is_none() {
            return Err(Refusal::invalid("TransactionID"));
        }
        Ok((fields, receipt, originator))
    })();
    let accepted = asked.and_then(|(fields, receipt, originator)| {
        later(&world, &fields, move |world| {
            let found = match (receipt, originator) {
                (Some(receipt), _) => world.daraja.find_by_receipt(&receipt),
                (None, Some(id)) => world.daraja.find(&id).map(|payment| (id, payment)),
                (None, None) => None,
            };
            found.map_or(
                (
                    ResultCode("25", "The transaction to be queried does not exist."),
                    Vec::new(),
                ),
                |(id, payment)| (DONE, payment_parameters(&id, &payment)),
            )
        })
    });
    answered(&world, accepted)
}

pub(super) async fn reverse(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let asked = (|| {
        let fields = asked(
            &world,
            &request,
            &body,
            Dialect::Express,
            "TransactionReversal",
        )?;
        let receipt = fields.required("TransactionID", |_| true)?;
        let amount = fields.amount(1)?;
        fields.required("ReceiverParty", fields::shortcode)?;
        fields.required("RecieverIdentifierType", |text| text == "11")?;
        Ok((fields, receipt, amount))
    })();
    let accepted = asked.and_then(|(fields, receipt, amount)| {
        later(&world, &fields, move |world| {
            reversal(world, &receipt, amount)
        })
    });
    answered(&world, accepted)
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
    let asked = (|| {
        let fields = asked(&world, &request, &body, Dialect::Payout, "AccountBalance")?;
        fields.required("PartyA", fields::shortcode)?;
        fields.required("IdentifierType", fields::digits)?;
        Ok(fields)
    })();
    let accepted = asked.and_then(|fields| {
        later(&world, &fields, |world| {
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
    });
    answered(&world, accepted)
}

/// What all three have in common.
fn asked(
    world: &World,
    request: &HttpRequest,
    body: &[u8],
    dialect: Dialect,
    command: &str,
) -> Result<Fields, Refusal> {
    token::check(world, request, dialect)?;
    let fields = Fields::read(body)?;
    fields.required("Initiator", |_| true)?;
    fields.required("SecurityCredential", |_| true)?;
    fields.required("CommandID", |text| text == command)?;
    fields.required("Remarks", fields::remarks)?;
    fields.required("QueueTimeOutURL", fields::url)?;
    Ok(fields)
}

/// Accepts the question, and posts what `find` finds once the delay is over.
fn later(
    world: &Arc<World>,
    fields: &Fields,
    find: impl FnOnce(&World) -> Finding + Send + 'static,
) -> Result<Accepted, Refusal> {
    let url = fields.required("ResultURL", fields::url)?;
    let originator_conversation_id = own_originator_id(world);
    let conversation_id = conversation_id(world);
    let transaction_id = receipt(world);
    let accepted = Accepted {
        conversation_id: conversation_id.clone(),
        originator_conversation_id: originator_conversation_id.clone(),
        response_code: "0",
        response_description: "Accept the service request successfully.",
    };
    let after = world.draw_delay();
    let teller = Arc::clone(world);
    world.in_background(async move {
        tokio::time::sleep(after).await;
        let (result, parameters) = find(&teller);
        let report = Report::new(
            result,
            originator_conversation_id,
            conversation_id,
            transaction_id,
            parameters,
        );
        teller.post(&callback(&url, &report)).await;
    });
    Ok(accepted)
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
