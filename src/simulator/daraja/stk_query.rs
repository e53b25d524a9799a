//! The question what became of a prompt, which is answered at once.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::fields::Fields;
use super::stk::signed;
use super::token::{self, Dialect};
use super::{Refusal, ResultCode, answered, stop};
use crate::simulator::course;
use crate::simulator::faults::Fault;
use crate::simulator::world::World;

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

pub(super) async fn query(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let (consumer, id) = match asked(&world, &request, &body) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.answer(&world),
    };
    let msisdn = world.daraja.find(&id).map(|payment| payment.msisdn);
    let course = course::of_question(
        &world,
        &consumer,
        msisdn.as_deref().unwrap_or_default(),
        "stk_query",
    );
    course
        .stopped(|why| stop(&world, &consumer, Dialect::Express, &course, why).answer(&world))
        .unwrap_or_else(|| answered(&world, state_of(&world, id, course.variant())))
}

fn asked(
    world: &Arc<World>,
    request: &HttpRequest,
    body: &[u8],
) -> Result<(String, String), Refusal> {
    let consumer = token::check(world, request, Dialect::Express)?;
    let fields = Fields::read(body)?;
    signed(&fields)?;
    let id = fields.required("CheckoutRequestID", |_| true)?;
    Ok((consumer, id))
}

fn state_of(world: &World, id: String, variant: u64) -> Result<QueryAnswer, Refusal> {
    let unknown = || Refusal::new(500, "500.001.1001", "The transaction does not Exist");
    let payment = world.daraja.find(&id).ok_or_else(unknown)?;
    if world.daraja.deny(&id) {
        if let Some(entry) = payment.entry {
            world.ledger.struck(entry, Fault::ContradictingQuery);
        }
        // Both have been seen for prompts that were known before and after.
        return Err(if variant.is_multiple_of(2) {
            unknown()
        } else {
            Refusal::new(200, "500.001.1001", "")
        });
    }
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
