//! Every error the API answers, in one table, and how it is written.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::store::StoreError;

/// The codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// No key.
    KeyMissing,
    /// Unknown, revoked or expired key.
    KeyInvalid,
    /// The key or the partner may not.
    Forbidden,
    /// Bulk request without ids.
    NoIds,
    /// A parameter or field is not as it must be.
    InvalidField,
    /// Not JSON, or not of the documented shape.
    InvalidBody,
    /// Too many ids.
    TooManyIds,
    /// No such route, or no such thing of this partner.
    NotFound,
    /// No such method here.
    Method,
    /// An id is taken.
    Conflict,
    /// Body too large.
    TooLarge,
    /// Not JSON by its media type.
    MediaType,
    /// Too many requests.
    TooMany,
    /// The database.
    Database,
    /// The database cannot be reached or written.
    DatabaseAway,
    /// The provider refused, or gave no answer to a question.
    Provider,
    /// Our own fault.
    Server,
}

impl ErrorCode {
    fn row(self) -> (&'static str, StatusCode) {
        match self {
            Self::KeyMissing => ("AUTH_1001", StatusCode::UNAUTHORIZED),
            Self::KeyInvalid => ("AUTH_1002", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("AUTH_1003", StatusCode::FORBIDDEN),
            Self::NoIds => ("VALIDATION_1001", StatusCode::BAD_REQUEST),
            Self::InvalidField => ("VALIDATION_1002", StatusCode::BAD_REQUEST),
            Self::InvalidBody => ("VALIDATION_1003", StatusCode::BAD_REQUEST),
            Self::TooManyIds => ("VALIDATION_1004", StatusCode::BAD_REQUEST),
            Self::NotFound => ("NOT_FOUND_1001", StatusCode::NOT_FOUND),
            Self::Method => ("METHOD_1001", StatusCode::METHOD_NOT_ALLOWED),
            Self::Conflict => ("CONFLICT_1001", StatusCode::CONFLICT),
            Self::TooLarge => ("PAYLOAD_1001", StatusCode::PAYLOAD_TOO_LARGE),
            Self::MediaType => ("MEDIA_1001", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::TooMany => ("RATE_1001", StatusCode::TOO_MANY_REQUESTS),
            Self::Database => ("DB_1001", StatusCode::INTERNAL_SERVER_ERROR),
            Self::DatabaseAway => ("DB_1001", StatusCode::SERVICE_UNAVAILABLE),
            Self::Provider => ("PROVIDER_1001", StatusCode::BAD_GATEWAY),
            Self::Server => ("SERVER_1001", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The code's name in the body.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        self.row().1
    }
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The field.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// The rest of a provider's words.
    #[serde(flatten)]
    pub words: Option<Words>,
}

/// What else a provider said, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Words {
    /// Its code, where it has codes.
    pub code: Option<String>,
    /// Whether the same may succeed later, as a new request.
    pub retryable: bool,
    /// Whether sending it again, as a new request, cannot pay twice.
    pub safe_to_retry: bool,
    /// The transaction that was refused.
    pub transaction_id: Option<String>,
}

/// An error on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    /// The code.
    pub code: ErrorCode,
    /// For people.
    pub text: String,
    /// In the provider's own words, on routes that have its shape.
    pub message: Option<String>,
    /// By field.
    pub details: Vec<Detail>,
    /// Seconds to wait, if waiting helps.
    pub retry_after: Option<u64>,
    /// The methods that would be accepted.
    pub allow: Option<&'static str>,
    /// What really happened, for the log and never for the caller.
    pub cause: Option<String>,
}

/// Seconds a caller should wait for a database that is away.
pub const DATABASE_RETRY_AFTER_SECONDS: u64 = 2;

impl ApiError {
    /// An error with a text.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            message: None,
            details: Vec::new(),
            retry_after: None,
            allow: None,
            cause: None,
        }
    }

    /// A parameter or field that is not as it must be; `message` says what was sent and what is accepted.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        Self {
            details: vec![Detail {
                field: field.clone(),
                message: message.clone(),
                words: None,
            }],
            ..Self::new(ErrorCode::InvalidField, format!("{field} {message}"))
        }
    }

    /// A body that is not of the documented shape.
    pub fn body(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidBody, text)
    }

    /// Nothing there, or nothing of this partner's.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, what)
    }

    /// Our own fault; the text never tells what it was.
    pub fn server() -> Self {
        Self::new(ErrorCode::Server, "Internal server error")
    }

    /// The provider's words on refusing; nothing was sent, or nothing that moves money.
    pub fn provider(message: &str, words: Words) -> Self {
        Self {
            message: Some(message.to_owned()),
            details: vec![Detail {
                field: "provider".to_owned(),
                message: message.to_owned(),
                words: Some(words),
            }],
            ..Self::new(
                ErrorCode::Provider,
                format!("The provider refused: {message}"),
            )
        }
    }

    /// The same error in a provider's own words, for routes that have its shape.
    pub fn in_words(self, message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..self
        }
    }

    /// RATE_1001 with the wait in whole seconds, rounded up: actix-governor's own header rounds down to 0.
    pub fn too_many(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self {
            retry_after: Some(seconds.max(1)),
            ..Self::new(ErrorCode::TooMany, "Too many requests")
        }
    }

    /// An id that is taken.
    pub fn conflict(field: &str, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::Conflict,
            ..Self::field(field, message)
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        const TEXT: &str = "Failed to fetch transactions";
        let cause = Some(error.to_string());
        match error {
            StoreError::Unavailable(_) => Self {
                retry_after: Some(DATABASE_RETRY_AFTER_SECONDS),
                cause,
                ..Self::new(ErrorCode::DatabaseAway, TEXT)
            },
            StoreError::Conflict(_) | StoreError::Query(_) => Self {
                cause,
                ..Self::new(ErrorCode::Database, TEXT)
            },
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    success: bool,
    error: &'a str,
    error_code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    details: &'a [Detail],
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    success: bool,
    error: &'a str,
    error_code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
    details: &'a [Detail],
}

impl ApiError {
    /// The whole answer; RFC 9457 if the caller prefers it; `with_message` on routes that have ClickPesa's shape.
    pub fn respond(&self, request_id: &str, as_problem: bool, with_message: bool) -> HttpResponse {
        let message = with_message.then(|| self.message.as_deref().unwrap_or(&self.text));
        let status = self.code.status();
        let mut response = HttpResponse::build(status);
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        let body = if as_problem {
            response.insert_header((CONTENT_TYPE, "application/problem+json"));
            serde_json::to_vec(&Problem {
                r#type: "about:blank",
                title: status.canonical_reason().unwrap_or_default(),
                status: status.as_u16(),
                detail: &self.text,
                message,
                success: false,
                error: &self.text,
                error_code: self.code.as_str(),
                request_id,
                details: &self.details,
            })
        } else {
            response.insert_header((CONTENT_TYPE, "application/json"));
            serde_json::to_vec(&Body {
                message,
                success: false,
                error: &self.text,
                error_code: self.code.as_str(),
                request_id,
                details: &self.details,
            })
        };
        response.body(body.unwrap_or_default())
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    /// Carries the error to the outermost middleware, which knows the request's id and what it accepts.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.code.status());
        response.extensions_mut().insert(self.clone());
        response
    }
}
