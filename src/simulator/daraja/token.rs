//! OAuth: a consumer key holds one token at a time, and every API refuses a stranger in its own words.

use std::collections::HashMap;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Refusal, answered};
use crate::simulator::world::{MIXED, World, locked};

#[derive(Default)]
pub(super) struct Tokens {
    by_consumer: HashMap<String, String>,
    expiries: HashMap<String, DateTime<Utc>>,
}

/// The two dialects of "who are you".
#[derive(Clone, Copy)]
pub(super) enum Dialect {
    /// STK and reversal.
    Express,
    /// B2C, balance, status.
    Payout,
}

#[derive(serde::Deserialize)]
pub(super) struct Grant {
    grant_type: Option<String>,
}

#[derive(Serialize)]
struct Granted {
    access_token: String,
    expires_in: String,
}

pub(super) async fn generate(
    world: web::Data<World>,
    request: HttpRequest,
    grant: web::Query<Grant>,
) -> HttpResponse {
    let Some((consumer, secret)) = basic(&request) else {
        let refusal = Refusal::new(400, "400.008.01", "Invalid Authentication passed");
        return refusal.answer(&world);
    };
    if grant.grant_type.as_deref() != Some("client_credentials") {
        let refusal = Refusal::new(400, "400.008.02", "Invalid grant type passed");
        return refusal.answer(&world);
    }
    if secret == "wrong" {
        // Wrong credentials are answered without a body.
        return HttpResponse::BadRequest().finish();
    }
    answered(&world, Ok(grant_token(&world, consumer)))
}

fn grant_token(world: &World, consumer: String) -> Granted {
    let access_token = world.made_up(MIXED, 28);
    let mut tokens = locked(&world.daraja.tokens);
    let expires_at = world.now() + world.token_lifetime;
    if let Some(previous) = tokens.by_consumer.insert(consumer, access_token.clone()) {
        tokens.expiries.remove(&previous);
    }
    tokens.expiries.insert(access_token.clone(), expires_at);
    Granted {
        access_token,
        expires_in: world.token_lifetime.num_seconds().to_string(),
    }
}

/// Consumer key and secret, neither of them empty.
fn basic(request: &HttpRequest) -> Option<(String, String)> {
    let encoded = authorization(request)?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (key, secret) = decoded.split_once(':')?;
    (!key.is_empty() && !secret.is_empty()).then(|| (key.to_owned(), secret.to_owned()))
}

fn authorization(request: &HttpRequest) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()
}

/// Lets the bearer of a living token pass.
pub(super) fn check(world: &World, request: &HttpRequest, dialect: Dialect) -> Result<(), Refusal> {
    let Some(token) = authorization(request).and_then(|value| value.strip_prefix("Bearer ")) else {
        return Err(Refusal::new(
            404,
            "404.001.04",
            "Invalid Authentication Header",
        ));
    };
    let alive = locked(&world.daraja.tokens)
        .expiries
        .get(token)
        .is_some_and(|expires_at| world.now() < *expires_at);
    if alive {
        return Ok(());
    }
    Err(match dialect {
        Dialect::Express => Refusal::new(404, "404.001.03", "Invalid Access Token"),
        Dialect::Payout => Refusal::new(401, "401.002.01", "Error Occurred - Invalid Access Token"),
    })
}
