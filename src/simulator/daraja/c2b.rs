//! Customers who pay by themselves: a shortcode's URLs, registered once, and the sandbox's way to make such a
//! payment, which asks the validation URL first and tells the confirmation URL then.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::fields::{self, Fields, shorter_than};
use super::token::{self, Dialect};
use super::{
    DONE, Payment, Refusal, ResultCode, answered, callback, conversation_id, own_originator_id,
    receipt, stop,
};
use crate::simulator::course::{self, Course, Stop};
use crate::simulator::ledger::{LedgerIds, Order, Truth};
use crate::simulator::outcome::Behaviour;
use crate::simulator::world::{World, locked};

/// How long M-Pesa waits for the validation's answer.
const VALIDATION_TIME: Duration = Duration::from_secs(8);

/// Words that Safaricom does not suffer in these URLs.
const FORBIDDEN: [&str; 7] = ["mpesa", "safaricom", "exe", "exec", "cmd", "sql", "query"];

/// What a shortcode has registered.
#[derive(Clone)]
pub(super) struct Urls {
    confirmation: String,
    validation: String,
    /// What happens if the validation gives no answer.
    by_default: bool,
}

/// With the key misspelt, as the provider has it.
#[derive(Serialize)]
struct Accepted {
    #[serde(rename = "OriginatorCoversationID")]
    originator_coversation_id: String,
    #[serde(rename = "ResponseCode")]
    response_code: &'static str,
    #[serde(rename = "ResponseDescription")]
    response_description: &'static str,
}

/// Validation and confirmation have the same shape, and every value is text.
#[derive(Serialize, Clone)]
#[serde(rename_all = "PascalCase")]
struct Notice {
    transaction_type: &'static str,
    #[serde(rename = "TransID")]
    trans_id: String,
    trans_time: String,
    trans_amount: String,
    business_short_code: String,
    bill_ref_number: String,
    invoice_number: &'static str,
    org_account_balance: String,
    #[serde(rename = "ThirdPartyTransID")]
    third_party_trans_id: String,
    #[serde(rename = "MSISDN")]
    msisdn: String,
    first_name: &'static str,
    middle_name: &'static str,
    last_name: &'static str,
}

struct Customer {
    consumer: String,
    shortcode: String,
    msisdn: String,
    /// As the notice shows it.
    shown: String,
    amount: u64,
    reference: String,
    transaction_type: &'static str,
    urls: Urls,
}

pub(super) async fn register(
    world: web::Data<World>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    answered(&world, registered(&world, &request, &body))
}

fn registered(world: &World, request: &HttpRequest, body: &[u8]) -> Result<Accepted, Refusal> {
    token::check(world, request, Dialect::Customer)?;
    let fields = Fields::read(body)?;
    let shortcode = fields.required("ShortCode", fields::shortcode)?;
    let response = fields.required("ResponseType", |text| {
        matches!(text, "Completed" | "Cancelled")
    })?;
    let urls = Urls {
        confirmation: fields.required("ConfirmationURL", allowed)?,
        validation: fields.required("ValidationURL", allowed)?,
        by_default: response == "Completed",
    };
    let mut kept = locked(&world.daraja.urls);
    if kept.contains(&shortcode) {
        let message = "Urls are already registered";
        return Err(Refusal::new(500, "500.003.1001", message));
    }
    kept.insert(shortcode, urls);
    drop(kept);
    Ok(Accepted {
        originator_coversation_id: own_originator_id(world),
        response_code: "0",
        response_description: "Success",
    })
}

fn allowed(text: &str) -> bool {
    fields::url(text)
        && text
            .to_ascii_lowercase()
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .all(|word| !FORBIDDEN.contains(&word))
}

pub(super) async fn simulate(
    world: web::Data<World>,
    request: HttpRequest,
    version: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let world = world.into_inner();
    let customer = match read(&world, &request, &version, &body) {
        Ok(customer) => customer,
        Err(refusal) => return refusal.answer(&world),
    };
    let order = Order {
        provider: "mpesa",
        kind: "c2b",
        account: &customer.consumer,
        msisdn: &customer.msisdn,
        amount: customer.amount.to_string(),
        id: None,
        // Every payment of a shortcode is told at the same URL: nothing of one payment's own.
        callback_url: None,
    };
    world.ledger.received(&order);
    let course = Arc::new(course::of_payment(&world, &order));
    let refusal = |why| match why {
        Stop::Refused => Refusal::invalid("Msisdn"),
        _ => stop(&world, &customer.consumer, Dialect::Customer, &course, why),
    };
    if let Some(answer) = course.stopped(|why| refusal(why).answer(&world)) {
        return answer;
    }
    let accepted = HttpResponse::Ok().json(Accepted {
        originator_coversation_id: own_originator_id(&world),
        response_code: "0",
        response_description: "Accept the service request successfully.",
    });
    let told = world.in_background(tell(Arc::clone(&world), customer, Arc::clone(&course)));
    course.answer(told, accepted).await
}

fn read(
    world: &World,
    request: &HttpRequest,
    version: &str,
    body: &[u8],
) -> Result<Customer, Refusal> {
    let consumer = token::check(world, request, Dialect::Customer)?;
    let fields = Fields::read(body)?;
    let shortcode = fields.required("ShortCode", fields::shortcode)?;
    let command = fields.required("CommandID", |text| {
        matches!(text, "CustomerPayBillOnline" | "CustomerBuyGoodsOnline")
    })?;
    let amount = fields.amount(1)?;
    let msisdn = fields.required("Msisdn", fields::msisdn)?;
    let transaction_type = match command.as_str() {
        "CustomerPayBillOnline" => "Pay Bill",
        _ => "Buy Goods",
    };
    let reference = if transaction_type == "Pay Bill" {
        fields.required("BillRefNumber", shorter_than(21))?
    } else {
        String::new()
    };
    let urls = locked(&world.daraja.urls)
        .find(&shortcode)
        .cloned()
        .ok_or_else(|| Refusal::new(400, "400.003.02", "Bad Request - No URLs are registered"))?;
    Ok(Customer {
        shown: shown(version, &msisdn),
        consumer,
        shortcode,
        msisdn,
        amount,
        reference,
        transaction_type,
        urls,
    })
}

/// The first version shows the number. The second masks it, or, if its last digit is odd, shows its hash:
/// both are on the road.
fn shown(version: &str, msisdn: &str) -> String {
    let (start, end) = (msisdn.get(..4), msisdn.get(9..));
    let odd = msisdn.bytes().last().is_some_and(|digit| digit % 2 == 1);
    match (version, start, end) {
        ("v1", _, _) => msisdn.to_owned(),
        (_, Some(start), Some(end)) if !odd => format!("{start} ***** {end}"),
        _ => Sha256::digest(msisdn)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    }
}

async fn tell(world: Arc<World>, customer: Customer, course: Arc<Course>) {
    tokio::time::sleep(course.delay()).await;
    let id = own_originator_id(&world);
    let payment = Payment {
        conversation_id: conversation_id(&world),
        merchant_request_id: String::new(),
        receipt: receipt(&world),
        shortcode: customer.shortcode.clone(),
        msisdn: customer.msisdn.clone(),
        paid: customer.amount,
        result: None,
        reversed: false,
        started_at: world.east_africa("%Y%m%d%H%M%S"),
        entry: course.entry,
        denied_once: course.denies(),
    };
    course.made(LedgerIds {
        receipt: Some(payment.receipt.clone()),
        ..LedgerIds::default()
    });
    world.daraja.remember(&id, payment.clone());
    let mut notice = notice(&world, &customer, &payment);
    let failed = matches!(course.behaviour, Behaviour::Fails(_));
    let agreed = if failed {
        None
    } else {
        validate(&world, &customer.urls, &notice, &course).await
    };
    let Some(third_party_trans_id) = agreed else {
        let result = ResultCode("1", "The customer's payment was not made.");
        world.daraja.settle(&id, result);
        course.settle(Truth::Failed, "");
        return;
    };
    world.daraja.settle(&id, DONE);
    course.settle(Truth::Success, &customer.amount.to_string());
    notice.third_party_trans_id = third_party_trans_id;
    notice.org_account_balance = "49197.00".to_owned();
    let post = callback(&customer.urls.confirmation, &notice);
    for _ in 0..course.copies(course.behaviour.copies()) {
        world.post(&post, course.entry).await;
    }
}

fn notice(world: &World, customer: &Customer, payment: &Payment) -> Notice {
    Notice {
        transaction_type: customer.transaction_type,
        trans_id: payment.receipt.clone(),
        trans_time: world.east_africa("%Y%m%d%H%M%S"),
        trans_amount: format!("{}.00", customer.amount),
        business_short_code: customer.shortcode.clone(),
        bill_ref_number: customer.reference.clone(),
        invoice_number: "",
        org_account_balance: String::new(),
        third_party_trans_id: String::new(),
        msisdn: customer.shown.clone(),
        first_name: "WANJIKU",
        middle_name: "",
        last_name: "",
    }
}

/// What the receiver wants to see again in the confirmation, or `None` if the payment is not to be made.
async fn validate(world: &World, urls: &Urls, notice: &Notice, course: &Course) -> Option<String> {
    let post = callback(&urls.validation, notice);
    let answer = tokio::time::timeout(VALIDATION_TIME, async {
        let answer = world
            .post(&post, course.entry)
            .await
            .filter(|answer| answer.status().is_success())?;
        answer.json::<Value>().await.ok()
    })
    .await;
    let Ok(Some(said)) = answer else {
        return urls.by_default.then(String::new);
    };
    let accepted = match said.get("ResultCode") {
        Some(Value::String(code)) => code == "0",
        Some(Value::Number(code)) => code.to_string() == "0",
        _ => urls.by_default,
    };
    let theirs = said.get("ThirdPartyTransID").and_then(Value::as_str);
    accepted.then(|| theirs.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_shown_clear_masked_or_hashed() {
        assert_eq!(shown("v1", "254712345678"), "254712345678");
        assert_eq!(shown("v2", "254712345678"), "2547 ***** 678");
        let hashed = shown("v2", "254712345677");
        assert_eq!(hashed.len(), 64);
        assert!(hashed.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn words_that_safaricom_does_not_suffer_are_refused() {
        assert!(allowed("https://shop.example.com/c2b/sqlite"));
        assert!(!allowed("https://shop.example.com/M-Pesa/mpesa/c2b"));
        assert!(!allowed("https://shop.example.com/c2b?x=cmd"));
        assert!(!allowed("shop.example.com"));
    }
}
