//! `X-Deadline-Ms`: how long the caller can still use an answer. A USSD session ends whether the answer is complete or
//! not, so one in time beats a complete one, and an error in time beats silence.

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError};
use tokio::time::{Instant as Moment, timeout_at};

use super::error::{ApiError, DATABASE_RETRY_AFTER_SECONDS, ErrorCode};
use super::request::quote;

/// The header.
pub const HEADER: &str = "x-deadline-ms";
/// The longest time a caller may say it has, milliseconds: an hour. Whoever has more has all the time there is.
pub const DEADLINE_MAX_MS: u64 = 3_600_000;
/// Kept of the time for writing the answer and sending it, unless a quarter of the time is less.
const SENDING: Duration = Duration::from_millis(20);
/// Kept of the time for reading after a wait, unless half of the time is less.
const READING: Duration = Duration::from_millis(400);

/// When a request came in.
#[derive(Debug, Clone, Copy)]
struct Arrival(Moment);

/// Until when a caller can use an answer.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    arrived: Moment,
    time: Duration,
}

impl Deadline {
    /// The deadline of a request, counted from its arrival; `None` if it names none.
    ///
    /// # Errors
    /// VALIDATION_1002 for anything but 1 to [`DEADLINE_MAX_MS`] whole milliseconds.
    pub fn of(request: &HttpRequest) -> Result<Option<Self>, ApiError> {
        let arrived = request
            .extensions()
            .get::<Arrival>()
            .map_or_else(Moment::now, |arrival| arrival.0);
        Ok(time_left(request.headers())?.map(|time| Self { arrived, time }))
    }

    /// When the answer must be ready to be sent.
    pub fn cut(&self) -> Moment {
        self.arrived + (self.time - SENDING.min(self.time / 4))
    }

    /// When a complete answer is no longer counted on: halfway between now and the cut.
    pub fn halfway(&self) -> Moment {
        let now = Moment::now();
        now + self.cut().saturating_duration_since(now) / 2
    }

    /// When a wait must end, so that there is time to read.
    pub fn wait_ends(&self) -> Moment {
        self.cut() - READING.min(self.time / 2)
    }

    /// An answer that is ready before the cut.
    ///
    /// # Errors
    /// Those of `answer`; DB_1001 (503) at the cut.
    pub async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        timeout_at(self.cut(), answer)
            .await
            .unwrap_or_else(|_| Err(out_of_time()))
    }
}

/// When a wait that begins now must end.
pub fn end_of_wait(wait: Duration, deadline: Option<&Deadline>) -> Moment {
    let end = Moment::now() + wait;
    deadline.map_or(end, |deadline| end.min(deadline.wait_ends()))
}

/// What is ready before the cut, if there is a deadline.
///
/// # Errors
/// Those of `answer`; DB_1001 (503) at the cut.
pub async fn in_time<T>(
    deadline: Option<&Deadline>,
    answer: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match deadline {
        Some(deadline) => deadline.within(answer).await,
        None => answer.await,
    }
}

/// That there was no answer in time.
pub fn out_of_time() -> ApiError {
    ApiError {
        retry_after: Some(DATABASE_RETRY_AFTER_SECONDS),
        cause: Some("no answer was ready within X-Deadline-Ms".into()),
        ..ApiError::new(ErrorCode::DatabaseAway, "Failed to fetch transactions")
    }
}

fn time_left(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let Some(value) = headers.get(HEADER) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u64>()
        .ok()
        .filter(|time| is_plain && (1..=DEADLINE_MAX_MS).contains(time))
        .map(|time| Some(Duration::from_millis(time)))
        .ok_or_else(|| {
            ApiError::field(
                "X-Deadline-Ms",
                format!(
                    "is {}; accepted is a whole number from 1 to {DEADLINE_MAX_MS}",
                    quote(&text)
                ),
            )
        })
}

/// The middleware outside of all that may ask the database for a request: knows when it came in, and answers for what
/// hangs before the handler is reached. A deadline that cannot be read is the handler's to refuse, in its order.
///
/// # Errors
/// Whatever comes from within.
pub async fn keep(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let arrived = Moment::now();
    request.extensions_mut().insert(Arrival(arrived));
    let Ok(Some(time)) = time_left(request.headers()) else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let asked = request.request().clone();
    // A little after the handler's own cut, whose answer says more.
    let last = arrived + (time - SENDING.min(time / 4) / 2);
    match timeout_at(last, next.call(request)).await {
        Ok(response) => Ok(response?.map_into_boxed_body()),
        Err(_) => Ok(ServiceResponse::new(asked, out_of_time().error_response())),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn deadline(text: &str) -> Result<Option<Deadline>, ApiError> {
        let request = TestRequest::default().append_header((HEADER, text));
        Deadline::of(&request.to_http_request())
    }

    #[test]
    fn what_is_no_time_is_named() {
        for wrong in ["0", "-1", "1.5", "+5", "soon", "", "3600001", "5ms"] {
            let error = deadline(wrong).unwrap_err();
            assert!(error.text.starts_with("X-Deadline-Ms is "), "{error}");
            assert!(error.text.contains(&quote(wrong)), "{error}");
        }
        let none = Deadline::of(&TestRequest::default().to_http_request());
        assert!(none.unwrap().is_none());
    }

    #[test]
    fn every_part_of_the_time_is_in_order() {
        for time in ["1", "10", "100", "500", "3000", "3600000"] {
            let deadline = deadline(time).unwrap().unwrap();
            let end = deadline.arrived + deadline.time;
            assert!(deadline.arrived < deadline.wait_ends(), "{time}");
            assert!(deadline.wait_ends() < deadline.cut(), "{time}");
            assert!(deadline.cut() < end, "{time}");
            assert!(
                deadline.halfway() <= deadline.cut().max(Moment::now()),
                "{time}"
            );
        }
    }
}
