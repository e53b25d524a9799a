//! OAuth: a consumer key holds one token at a time, and every API refuses a stranger in its own words.

use std::collections::HashMap;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Refusal, answered};
use crate::simulator::faults::Fault;
use crate::simulator::world::{MIXED, World, locked};

#[derive(Default)]
pub(super) struct Tokens {
    by_consumer: HashMap<String, String>,
    living: HashMap<String, Living>,
}

struct Living {
    consumer: String,
    expires_at: DateTime<Utc>,
}

impl Tokens {
    /// Ends the token of one consumer key; false if it had no good one.
    fn end(&mut self, consumer: &str, now: DateTime<Utc>) -> bool {
        self.by_consumer
            .remove(consumer)
            .and_then(|token| self.living.remove(&token))
            .is_some_and(|living| now < living.expires_at)
    }

    /// Ends one consumer key's token, or all; how many were good.
    pub(super) fn invalidate(&mut self, now: DateTime<Utc>, consumer: Option<&str>) -> usize {
        let consumers: Vec<String> = match consumer {
            Some(consumer) => vec![consumer.to_owned()],
            None => self.by_consumer.keys().cloned().collect(),
        };
        consumers
            .iter()
            .filter(|consumer| self.end(consumer, now))
            .count()
    }
}

/// The dialects of "who are you".
#[derive(Clone, Copy)]
pub(super) enum Dialect {
    /// STK and reversal.
    Express,
    /// B2C and balance.
    Payout,
    /// C2B and status.
    Customer,
}

impl Dialect {
    /// "Invalid access token".
    fn refusal(self) -> Refusal {
        match self {
            Self::Express => Refusal::new(404, "404.001.03", "Invalid Access Token"),
            Self::Payout => {
                Refusal::new(401, "401.002.01", "Error Occurred - Invalid Access Token")
            }
            Self::Customer => Refusal::new(400, "400.003.01", "Invalid Access Token"),
        }
    }
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
    world.ledger.token_requested(&consumer);
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
    let draw = world.faults.draw(&consumer, "", "token");
    let stale = draw.faults.contains(&Fault::ExpiredToken);
    let expires_at = if stale {
        world.now()
    } else {
        world.now() + world.token_lifetime
    };
    let mut tokens = locked(&world.daraja.tokens);
    tokens.end(&consumer, world.now());
    tokens
        .by_consumer
        .insert(consumer.clone(), access_token.clone());
    let living = Living {
        consumer,
        expires_at,
    };
    tokens.living.insert(access_token.clone(), living);
    locked(&world.issued).insert(access_token.clone(), ());
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

/// Lets the bearer of a living token pass; his consumer key.
pub(super) fn check(
    world: &World,
    request: &HttpRequest,
    dialect: Dialect,
) -> Result<String, Refusal> {
    let Some(token) = authorization(request).and_then(|value| value.strip_prefix("Bearer ")) else {
        return Err(Refusal::new(
            404,
            "404.001.04",
            "Invalid Authentication Header",
        ));
    };
    locked(&world.daraja.tokens)
        .living
        .get(token)
        .filter(|living| world.now() < living.expires_at)
        .map(|living| living.consumer.clone())
        .ok_or_else(|| dialect.refusal())
}

/// Ends a token that was good until now, and says that it is none.
pub(super) fn end(world: &World, consumer: &str, dialect: Dialect) -> Refusal {
    locked(&world.daraja.tokens).end(consumer, world.now());
    dialect.refusal()
}
