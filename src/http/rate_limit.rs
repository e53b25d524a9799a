//! The three quotas of a key: status reads, bulk reads, everything else. GCRA by actix-governor: the whole quota at
//! once, refilled at that rate a minute. With other instances on the same database `shared_limit` counts instead.

use std::sync::Arc;

use actix_governor::governor::NotUntil;
use actix_governor::governor::clock::{Clock as _, DefaultClock, QuantaInstant};
use actix_governor::governor::middleware::StateInformationMiddleware;
use actix_governor::{GovernorConfig, GovernorConfigBuilder, KeyExtractor};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, HttpResponseBuilder, ResponseError};
use uuid::Uuid;

use super::authentication::AuthenticatedPartner;
use super::error::{ApiError, ErrorCode};
use super::shared_count::{CountedTogether, SharedCount};
use crate::domain::allowance::{Allowance, WINDOW};
use crate::domain::identity::KeyId;

/// Which quota a route draws on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// Reads of the status API.
    Get,
    /// Bulk reads of the status API.
    Post,
    /// Everything else.
    Write,
}

impl Bucket {
    /// Its name in headers and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Write => "write",
        }
    }
}

/// A quota, counted over all workers of this process.
#[derive(Clone)]
pub struct Quota {
    pub(super) bucket: Bucket,
    pub(super) allowance: Allowance,
    pub(super) shared: Arc<SharedCount>,
    per_minute: u32,
    config: GovernorConfig<ByKey, StateInformationMiddleware>,
}

impl Quota {
    /// A quota of `per_minute` requests a minute and key.
    ///
    /// # Errors
    /// If it is zero, or finer than a nanosecond.
    pub fn new(bucket: Bucket, per_minute: u32) -> Result<Self, String> {
        let allowance =
            Allowance::new(per_minute).ok_or("a quota must be at least one request a minute")?;
        let nanoseconds =
            u64::try_from(allowance.interval().as_nanos()).map_err(|error| error.to_string())?;
        let config = GovernorConfigBuilder::default()
            .nanoseconds_per_request(nanoseconds)
            .burst_size(per_minute)
            .key_extractor(ByKey)
            .use_headers()
            .finish()
            .ok_or("the quota cannot be counted")?;
        Ok(Self {
            bucket,
            allowance,
            shared: Arc::default(),
            per_minute,
            config,
        })
    }

    /// The middleware's configuration.
    pub fn config(&self) -> &GovernorConfig<ByKey, StateInformationMiddleware> {
        &self.config
    }

    /// Forgets keys whose quota is whole again; called every minute.
    pub fn forget_idle(&self) {
        self.config.limiter().retain_recent();
        self.shared.forget_idle();
    }

    /// `RateLimit-Policy` and `RateLimit` in place of the middleware's own headers.
    fn state(&self, response: &mut ServiceResponse<BoxBody>) {
        let headers = response.headers_mut();
        let remaining = headers
            .remove("x-ratelimit-remaining")
            .last()
            .and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        for name in [
            "x-ratelimit-limit",
            "x-ratelimit-after",
            "x-ratelimit-whitelisted",
        ] {
            headers.remove(name);
        }
        let refused = response
            .response()
            .extensions()
            .get::<ApiError>()
            .and_then(|error| {
                error
                    .retry_after
                    .filter(|_| error.code == ErrorCode::TooMany)
            });
        // Until the quota is whole again; for a refused request until the next one may pass.
        let (remaining, reset) = match refused {
            Some(wait) => (0, wait),
            None => {
                let remaining = remaining.unwrap_or(self.per_minute);
                let used = u64::from(self.per_minute.saturating_sub(remaining));
                (
                    remaining,
                    (used * WINDOW.as_secs()).div_ceil(u64::from(self.per_minute)),
                )
            }
        };
        let name = self.bucket.name();
        let policy = format!("\"{name}\";q={};w={}", self.per_minute, WINDOW.as_secs());
        let state = format!("\"{name}\";r={remaining};t={reset}");
        let headers = response.headers_mut();
        for (header, text) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(header), value);
            }
        }
    }
}

/// Tells every authenticated caller where it stands.
///
/// # Errors
/// Whatever comes from within.
pub async fn tell(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    quota: Quota,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = next.call(request).await?.map_into_boxed_body();
    quota.state(&mut response);
    Ok(response)
}

/// Counts by API key, as authentication has found it: invented keys never get this far.
#[derive(Debug, Clone, Copy)]
pub struct ByKey;

/// In the place of the key where others count too.
const COUNTED_TOGETHER: KeyId = KeyId(Uuid::nil());

impl KeyExtractor for ByKey {
    type Key = KeyId;
    type KeyExtractionError = ApiError;

    /// What is counted together with other instances is not counted here.
    fn whitelisted_keys(&self) -> Vec<KeyId> {
        vec![COUNTED_TOGETHER]
    }

    fn extract(&self, request: &ServiceRequest) -> Result<KeyId, ApiError> {
        if request.extensions().get::<CountedTogether>().is_some() {
            return Ok(COUNTED_TOGETHER);
        }
        request
            .extensions()
            .get::<AuthenticatedPartner>()
            .map(|partner| partner.key_id)
            .ok_or_else(ApiError::server)
    }

    fn exceed_rate_limit_response(
        &self,
        negative: &NotUntil<QuantaInstant>,
        _: HttpResponseBuilder,
    ) -> HttpResponse {
        ApiError::too_many(negative.wait_time_from(DefaultClock::default().now())).error_response()
    }
}
