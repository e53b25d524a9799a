//! `x-api-key` → the partner. A key costs a query once in a few seconds; wrong ones are limited per source address
//! before the database is asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpRequest};
use moka::future::Cache;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::State;
use super::error::{ApiError, ErrorCode};
use super::wrong_keys::WrongKeys;
use crate::domain::clock::{Clock, Instant};
use crate::domain::identity::{KeyId, hex};
use crate::domain::partner::{Partner, Scope};
use crate::store::{KeyHolder, Store};

/// How long a key is believed before the database is asked again: what is revoked stops working within 5 s.
const KEYS_REMEMBERED_FOR: Duration = Duration::from_secs(4);
const KEYS_REMEMBERED: u64 = 10_000;
/// How often the use of a key is written down at most, by one process.
pub const USE_NOTED_EVERY: Duration = Duration::from_secs(60);
/// How long an accepted key is exempt from the limit for wrong ones.
const ACCEPTED_REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Longer texts are no keys of ours, and are not hashed.
const KEY_MAX: usize = 256;

/// Who is asking.
#[derive(Debug, Clone)]
pub struct AuthenticatedPartner {
    /// With which key.
    pub key_id: KeyId,
    /// Who.
    pub partner: Partner,
    digest: String,
}

impl AuthenticatedPartner {
    /// Who it is, as the audit log names it.
    pub fn actor(&self) -> String {
        format!("key:{}", self.key_id)
    }

    /// Whether the key would be let in again, as the database has it a few seconds ago at most. That the database is
    /// away says nothing of the key.
    pub async fn is_still_admitted(&self, state: &State, scope: Scope) -> bool {
        let holder = state.keys.find_digest(state, self.digest.clone(), None);
        match holder.await.and_then(|holder| admitted(holder, scope)) {
            Ok(_) => true,
            Err(error) => !matches!(error.code, ErrorCode::KeyInvalid | ErrorCode::Forbidden),
        }
    }
}

impl FromRequest for AuthenticatedPartner {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        // Present on every route that the middleware below guards.
        std::future::ready(
            request
                .extensions()
                .get::<Self>()
                .cloned()
                .ok_or_else(ApiError::server),
        )
    }
}

/// The keys this process knows.
pub struct Keys {
    known: Cache<String, KeyHolder>,
    accepted: Cache<String, ()>,
    /// Keys whose use was written down a moment ago.
    noted: Cache<KeyId, ()>,
    wrong: WrongKeys,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(KEYS_REMEMBERED)
                .time_to_live(KEYS_REMEMBERED_FOR)
                .build(),
            accepted: Cache::builder()
                .max_capacity(KEYS_REMEMBERED)
                .time_to_idle(ACCEPTED_REMEMBERED_FOR)
                .build(),
            noted: Cache::builder()
                .max_capacity(KEYS_REMEMBERED)
                .time_to_live(USE_NOTED_EVERY)
                .build(),
            wrong: WrongKeys::default(),
        }
    }
}

impl Keys {
    /// The holder of `key`.
    ///
    /// # Errors
    /// AUTH_1002, RATE_1001, or the database's.
    pub async fn find(
        &self,
        state: &State,
        key: &str,
        source: Option<IpAddr>,
    ) -> Result<KeyHolder, ApiError> {
        if key.len() > KEY_MAX {
            let _its_own_fault = self.wrong.reserve(state, source).await?;
            return Err(invalid());
        }
        self.find_digest(state, digest(key), source).await
    }

    async fn find_digest(
        &self,
        state: &State,
        digest: String,
        source: Option<IpAddr>,
    ) -> Result<KeyHolder, ApiError> {
        // Requests that come at once with one key wait for one look-up, and take one place among the failures.
        let holder = self
            .known
            .try_get_with(digest.clone(), self.look_up(state, digest, source))
            .await
            .map_err(|error| ApiError::clone(&error))?;
        valid(holder, state.clock.as_ref())
    }

    /// Writes down that a key was used, if that was not done a moment ago. Nobody waits for it, and that it cannot be written
    /// is nobody's trouble.
    async fn note_use(&self, store: &Arc<dyn Store>, id: KeyId, now: Instant) {
        let entry = self.noted.entry(id).or_insert_with(async {}).await;
        if !entry.is_fresh() {
            return;
        }
        let store = Arc::clone(store);
        actix_web::rt::spawn(async move {
            if let Err(error) = store.record_key_use(id, now).await {
                tracing::debug!(key_id = %id, %error, "the use of a key was not written down");
            }
        });
    }

    async fn look_up(
        &self,
        state: &State,
        digest: String,
        source: Option<IpAddr>,
    ) -> Result<KeyHolder, ApiError> {
        // A key that worked before is never refused for its neighbour's guesses; an unseen one waits like a wrong one.
        let taken = match self.accepted.get(&digest).await {
            Some(()) => None,
            None => Some(self.wrong.reserve(state, source).await?),
        };
        let found = state
            .store
            .find_key(digest.clone())
            .await
            .map_err(ApiError::from)
            .and_then(|found| {
                found
                    .filter(|holder| holder.key.digest.as_bytes().ct_eq(digest.as_bytes()).into())
                    .ok_or_else(invalid)
            })
            .and_then(|holder| valid(holder, state.clock.as_ref()));
        if let Err(error) = &found
            && error.code == ErrorCode::KeyInvalid
        {
            self.accepted.invalidate(&digest).await;
        } else if let Some(taken) = taken {
            // The key was right, or the database is away, which says nothing of the key.
            self.wrong.give_back(state, taken).await;
            if found.is_ok() {
                self.accepted.insert(digest, ()).await;
            }
        }
        found
    }
}

fn valid(holder: KeyHolder, clock: &dyn Clock) -> Result<KeyHolder, ApiError> {
    if holder.key.is_valid(clock.now()) {
        Ok(holder)
    } else {
        Err(invalid())
    }
}

fn invalid() -> ApiError {
    ApiError::new(ErrorCode::KeyInvalid, "Invalid API key")
}

/// SHA-256, lower-case hex: what is kept of a key. A key has 256 random bits, so no slower hash is needed.
pub fn digest(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

/// Lets a request through if its key has `scope` and its partner is not suspended; answers AUTH_1001, AUTH_1002,
/// AUTH_1003, RATE_1001 or the database's error otherwise.
///
/// # Errors
/// Whatever comes from within.
pub async fn authenticate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    scope: Scope,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match identify(request.request(), scope).await {
        Ok(partner) => {
            request.extensions_mut().insert(partner);
            let response = next.call(request).await?;
            Ok(response.map_into_boxed_body())
        }
        Err(error) => Ok(request.error_response(error)),
    }
}

async fn identify(request: &HttpRequest, scope: Scope) -> Result<AuthenticatedPartner, ApiError> {
    let state = request
        .app_data::<Data<State>>()
        .ok_or_else(ApiError::server)?;
    let key = key_of(request)
        .ok_or_else(|| ApiError::new(ErrorCode::KeyMissing, "API key is required"))?;
    let source = state.proxies.source(request);
    let holder = state.keys.find(state, &key, source).await?;
    let partner = admitted(holder, scope)?;
    let now = state.clock.now();
    state.keys.note_use(&state.store, partner.key_id, now).await;
    Ok(partner)
}

/// Lets a valid key in, if it may do this.
fn admitted(holder: KeyHolder, scope: Scope) -> Result<AuthenticatedPartner, ApiError> {
    if !holder.key.scopes.contains(&scope) {
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            format!("This API key lacks the scope {scope}"),
        ));
    }
    if holder.partner.suspended {
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            "This partner is suspended",
        ));
    }
    Ok(AuthenticatedPartner {
        key_id: holder.key.id,
        partner: holder.partner,
        digest: holder.key.digest,
    })
}

/// The key from `x-api-key` or, as the guide's clients send it, `Authorization: Bearer`.
fn key_of(request: &HttpRequest) -> Option<String> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    header("x-api-key").or_else(|| {
        let value = header(AUTHORIZATION.as_str())?;
        let (scheme, key) = value.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty())
            .then(|| key.trim().to_owned())
    })
}
