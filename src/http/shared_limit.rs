//! A quota that several instances count together: one row a key in the database, changed by one statement while the
//! request is read (a read does not wait for it, it only waits to be answered). A key that was refused is refused here
//! until its next request would pass, so that a flood never reaches the database. While the database is away each
//! instance gives its part of the quota.

use std::time::Instant as Timer;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, ResponseError};

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::ApiError;
use super::rate_limit::{Bucket, Quota};
use super::shared_count::CountedTogether;
use crate::domain::allowance::Caller;
use crate::domain::identity::KeyId;
use crate::instances::COUNT_PATIENCE;

impl Quota {
    /// Counts one request over all instances; how many more would pass.
    async fn count(&self, state: &State, key: KeyId) -> Result<u32, ApiError> {
        let name = self.bucket.name();
        let caller = Caller::Key(key);
        let asked = state.store.take_allowance(caller, name, self.allowance);
        let (allowance, standing) = match tokio::time::timeout(COUNT_PATIENCE, asked).await {
            Ok(Ok(standing)) => (self.allowance, standing),
            _ => {
                let part = self.allowance.part(state.instances.count());
                (part, self.shared.take(key, part, Timer::now()))
            }
        };
        let wait = allowance.wait(standing);
        self.shared.learn(key, wait, Timer::now());
        if standing.passed {
            Ok(allowance.remaining(standing))
        } else {
            Err(ApiError::too_many(wait))
        }
    }

    /// Whether its requests only read our own database: then nothing is done by one that is refused after it began.
    fn only_reads(&self) -> bool {
        matches!(self.bucket, Bucket::Get | Bucket::Post)
    }
}

/// Lets a request through if its key's quota over all instances allows; answers RATE_1001 otherwise. While this instance
/// is alone, actix-governor within counts.
///
/// # Errors
/// Whatever comes from within.
pub async fn share(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    quota: Quota,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let key = request
        .extensions()
        .get::<AuthenticatedPartner>()
        .map(|partner| partner.key_id);
    let state = request.app_data::<Data<State>>().cloned();
    let (Some(key), Some(state)) = (key, state) else {
        return Ok(request.error_response(ApiError::server()));
    };
    if state.instances.is_alone() {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    if let Some(wait) = quota.shared.wait(key, Timer::now()) {
        return Ok(request.error_response(ApiError::too_many(wait)));
    }
    request.extensions_mut().insert(CountedTogether);
    if !quota.only_reads() {
        return match quota.count(&state, key).await {
            Ok(remaining) => {
                let response = next.call(request).await?.map_into_boxed_body();
                Ok(told(response, remaining))
            }
            Err(error) => Ok(request.error_response(error)),
        };
    }
    let asked = request.request().clone();
    let mut counted = std::pin::pin!(quota.count(&state, key));
    let mut answered = std::pin::pin!(next.call(request));
    let (remaining, response) = tokio::select! {
        biased;
        remaining = &mut counted => (remaining, None),
        response = &mut answered => (counted.await, Some(response)),
    };
    match (remaining, response) {
        (Err(error), _) => Ok(ServiceResponse::new(asked, error.error_response())),
        (Ok(remaining), Some(response)) => Ok(told(response?.map_into_boxed_body(), remaining)),
        (Ok(remaining), None) => Ok(told(answered.await?.map_into_boxed_body(), remaining)),
    }
}

/// Says what remains where actix-governor would.
fn told(mut response: ServiceResponse<BoxBody>, remaining: u32) -> ServiceResponse<BoxBody> {
    response.headers_mut().insert(
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderValue::from(remaining),
    );
    response
}
