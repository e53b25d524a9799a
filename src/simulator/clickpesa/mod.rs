//! ClickPesa's own paths: tokens, USSD-push payments, mobile-money payouts and the webhooks about them.
//! What its dashboard knows of an application (webhook URL, checksum) is set from outside.

mod checksum;
mod edition;
mod listing;
mod payments;
mod payouts;

use std::collections::HashMap;
use std::sync::Mutex;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::course::{Course, Stop};
use super::faults::Fault;
use super::outcome::Failure;
use super::world::{MIXED, Post, Recent, World, locked};
pub(super) use checksum::checksum;
pub use edition::WebhookEdition;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/third-parties")
            .route("/generate-token", web::post().to(generate_token))
            .route(
                "/payments/preview-ussd-push-request",
                web::post().to(payments::preview),
            )
            .route(
                "/payments/initiate-ussd-push-request",
                web::post().to(payments::initiate),
            )
            .route("/payments/all", web::get().to(listing::payments))
            .route("/payments/{reference}", web::get().to(payments::query))
            .route(
                "/payouts/preview-mobile-money-payout",
                web::post().to(payouts::preview),
            )
            .route(
                "/payouts/create-mobile-money-payout",
                web::post().to(payouts::create),
            )
            .route(
                "/payouts/preview-mobile-money-payout-request",
                web::post().to(payouts::preview),
            )
            .route(
                "/payouts/create-mobile-money-payout-request",
                web::post().to(payouts::create),
            )
            .route("/payouts/all", web::get().to(listing::payouts))
            .route("/payouts/{reference}", web::get().to(payouts::query))
            .route("/account/balance", web::get().to(payouts::balance)),
    );
}

/// What the dashboard knows of an application.
#[derive(Clone, Default)]
pub struct Application {
    /// Where its webhooks go.
    pub webhook_url: String,
    /// If set, its requests must carry a checksum, and its webhooks do.
    pub checksum_key: Option<String>,
}

/// What the fake ClickPesa remembers.
#[derive(Default)]
pub(super) struct State {
    applications: Mutex<HashMap<String, Application>>,
    editions: Mutex<HashMap<String, WebhookEdition>>,
    tokens: Mutex<Recent<Token>>,
    /// By client id and order reference.
    payments: Mutex<Recent<payments::Payment>>,
    payouts: Mutex<Recent<payouts::Payout>>,
}

struct Token {
    client_id: String,
    expires_at: DateTime<Utc>,
    /// Of the checksum setting at the time: changing that ends the token.
    checksum_key: Option<String>,
}

impl State {
    pub(super) fn set_application(&self, client_id: &str, application: Application) {
        locked(&self.applications).insert(client_id.to_owned(), application);
    }

    pub(super) fn set_edition(&self, client_id: &str, edition: WebhookEdition) {
        locked(&self.editions).insert(client_id.to_owned(), edition);
    }

    fn edition(&self, client_id: &str) -> WebhookEdition {
        locked(&self.editions)
            .get(client_id)
            .copied()
            .unwrap_or_default()
    }

    /// Ends the tokens of one client, or all; how many were good.
    pub(super) fn invalidate_tokens(&self, now: DateTime<Utc>, client_id: Option<&str>) -> usize {
        locked(&self.tokens)
            .values_mut()
            .filter(|token| client_id.is_none_or(|client_id| client_id == token.client_id))
            .filter(|token| now < token.expires_at)
            .map(|token| token.expires_at = now)
            .count()
    }

    fn application(&self, client_id: &str) -> Application {
        locked(&self.applications)
            .get(client_id)
            .cloned()
            .unwrap_or_default()
    }
}

/// An answer that is no success.
struct Refusal(u16, String);

impl Refusal {
    fn new(status: u16, text: impl Into<String>) -> Self {
        Self(status, text.into())
    }

    fn answer(&self) -> HttpResponse {
        message(self.0, &self.1)
    }
}

pub(super) fn message(status: u16, text: &str) -> HttpResponse {
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST))
        .json(json!({"message": text}))
}

fn answered(result: Result<Value, Refusal>) -> HttpResponse {
    match result {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(refusal) => refusal.answer(),
    }
}

async fn generate_token(world: web::Data<World>, request: HttpRequest) -> HttpResponse {
    let named = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .filter(|value| !value.is_empty())
    };
    let Some(client_id) = named("client-id") else {
        return message(403, "Invalid client details");
    };
    world.ledger.token_requested(client_id);
    match named("api-key") {
        None => return message(403, "Unauthorized API-Key"),
        Some("wrong") => return message(403, "Invalid or Expired API-Key"),
        Some(_) => {}
    }
    let draw = world.faults.draw(client_id, "", "token");
    let expires_at = if draw.faults.contains(&Fault::ExpiredToken) {
        world.now()
    } else {
        world.now() + world.token_lifetime
    };
    let token = format!(
        "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{}.{}",
        world.made_up(MIXED, 60),
        world.made_up(MIXED, 43)
    );
    locked(&world.clickpesa.tokens).insert(
        token.clone(),
        Token {
            client_id: client_id.to_owned(),
            expires_at,
            checksum_key: world.clickpesa.application(client_id).checksum_key,
        },
    );
    locked(&world.issued).insert(token.clone(), ());
    HttpResponse::Ok().json(json!({"success": true, "token": token}))
}

/// The client that a living token belongs to.
fn client_of(world: &World, request: &HttpRequest) -> Result<String, Refusal> {
    let sent = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let tokens = locked(&world.clickpesa.tokens);
    tokens
        .find(sent)
        .filter(|token| world.now() < token.expires_at)
        .filter(|token| {
            world.clickpesa.application(&token.client_id).checksum_key == token.checksum_key
        })
        .map(|token| token.client_id.clone())
        .ok_or_else(|| Refusal::new(401, "Unauthorized"))
}

/// The body of a request, and its application, if the checksum is right where one is wanted.
fn read(
    world: &World,
    request: &HttpRequest,
    body: &[u8],
) -> Result<(String, Map<String, Value>), Refusal> {
    let client_id = client_of(world, request)?;
    let fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| Refusal::new(400, "Invalid request body"))?;
    if let Some(key) = world.clickpesa.application(&client_id).checksum_key
        && text(&fields, "checksum") != checksum(&fields, &key)
    {
        return Err(Refusal::new(400, "Invalid checksum"));
    }
    Ok((client_id, fields))
}

/// A string field; anything else counts as blank.
fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn order_reference(fields: &Map<String, Value>) -> Result<String, Refusal> {
    let reference = text(fields, "orderReference");
    let valid = (1..=20).contains(&reference.len())
        && reference.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !valid {
        return Err(Refusal::new(
            400,
            "Invalid Order Reference, should only contain alphanumeric characters and cannot be \
             blank",
        ));
    }
    Ok(reference.to_owned())
}

fn phone_number(fields: &Map<String, Value>) -> Result<String, Refusal> {
    let number = text(fields, "phoneNumber");
    let valid = number.len() == 12
        && (number.starts_with("2556") || number.starts_with("2557"))
        && number.bytes().all(|byte| byte.is_ascii_digit());
    if !valid {
        return Err(Refusal::new(400, UNSUPPORTED_NUMBER));
    }
    Ok(number.to_owned())
}

const UNSUPPORTED_NUMBER: &str = "Invalid / unsupported phone number";

fn used_before(reference: &str) -> Refusal {
    Refusal::new(
        409,
        format!("Order reference {reference} already used: Create a different reference"),
    )
}

/// Why nothing was made of a request.
fn stop(world: &World, client_id: &str, why: Stop) -> HttpResponse {
    let refusal = match why {
        Stop::Token => {
            world
                .clickpesa
                .invalidate_tokens(world.now(), Some(client_id));
            Refusal::new(401, "Unauthorized")
        }
        Stop::Refused => Refusal::new(400, UNSUPPORTED_NUMBER),
        Stop::Throttled => Refusal::new(429, "Too many requests"),
        Stop::ServerError => Refusal::new(500, "Error validating fee, try again later"),
    };
    refusal.answer()
}

/// Why a payment or a payout failed.
fn reason(failure: Failure) -> &'static str {
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

/// How a payment is wrongly denied that exists: not found, or an empty list.
fn denied(course: &Course, reference: &str, what: &str) -> Result<Value, Refusal> {
    if course.variant().is_multiple_of(2) {
        return Err(missing(reference, what));
    }
    Ok(json!([]))
}

fn missing(reference: &str, what: &str) -> Refusal {
    Refusal::new(404, format!("Invalid or missing {what}: {reference}"))
}

/// A list of one, or the one alone if an odd shape was drawn.
fn listed(course: &Course, one: Value) -> Value {
    if course.strikes(Fault::PartialShape) {
        return one;
    }
    json!([one])
}

/// The operator that a number belongs to, in the words of the channel field.
fn channel_of(number: &str) -> &'static str {
    match number.get(3..5) {
        Some("65" | "67" | "71" | "77") => "TIGO-PESA",
        Some("68" | "69" | "78") => "AIRTEL-MONEY",
        Some("62") => "HALOPESA",
        _ => "M-PESA",
    }
}

/// An object with the members of another added.
fn extended(mut object: Value, more: Value) -> Value {
    if let (Value::Object(members), Value::Object(more)) = (&mut object, more) {
        members.extend(more);
    }
    object
}

fn timestamp(world: &World) -> String {
    world.now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn key(client_id: &str, reference: &str) -> String {
    format!("{client_id}/{reference}")
}

/// The webhook as it goes to the application, if it has one.
fn webhook(
    world: &World,
    client_id: &str,
    event: &str,
    data: Value,
    course: &Course,
) -> Option<Post> {
    let application = world.clickpesa.application(client_id);
    if application.webhook_url.is_empty() {
        return None;
    }
    let mut payload = world.clickpesa.edition(client_id).payload(event, data);
    if course.strikes(Fault::PartialShape) {
        edition::mutilate(&mut payload, course.variant());
    }
    if let Some(key) = application.checksum_key {
        let checksum = checksum(&payload, &key);
        payload.insert("checksum".to_owned(), Value::from(checksum));
        payload.insert("checksumMethod".to_owned(), Value::from("canonical"));
    }
    Some(Post {
        url: application.webhook_url,
        body: Value::Object(payload).to_string(),
        headers: vec![("content-type", "application/json".to_owned())],
    })
}
