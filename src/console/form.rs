//! A form as it was sent: fields by name, blanks counting as absent. Every form carries its session's token against
//! forgery, which the guard checks before any handler sees it.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use subtle::ConstantTimeEq;

use crate::http::{ApiError, ErrorCode, checked_text, quote};

/// The field that carries the token against forgery.
pub const TOKEN_FIELD: &str = "token";

/// The fields of a form that was checked.
#[derive(Debug, Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form's body.
    ///
    /// # Errors
    /// MEDIA_1001 if it is no form.
    pub fn parse(request: &HttpRequest, body: &[u8]) -> Result<Self, ApiError> {
        let media_type = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !media_type.starts_with("application/x-www-form-urlencoded") {
            return Err(ApiError::new(
                ErrorCode::MediaType,
                format!(
                    "Content-Type {} is not accepted; application/x-www-form-urlencoded is",
                    quote(media_type)
                ),
            ));
        }
        Ok(Self(
            url::form_urlencoded::parse(body)
                .into_owned()
                .filter(|(_, value)| !value.trim().is_empty())
                .collect(),
        ))
    }

    /// Whether it carries this token against forgery.
    pub fn has_token(&self, token: &str) -> bool {
        self.value(TOKEN_FIELD)
            .is_some_and(|sent| sent.as_bytes().ct_eq(token.as_bytes()).into())
    }

    /// A field as it was sent, blanks around it included.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// A field without the blanks around it.
    ///
    /// # Errors
    /// VALIDATION_1002 for a text that is too long or has control characters.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        self.value(name)
            .map(|text| checked_text(name, text.trim()))
            .transpose()
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// As [`Form::text`], and VALIDATION_1002 when it is missing.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?
            .ok_or_else(|| ApiError::field(name, "is required"))
    }

    /// Every value of a field that may be sent several times, such as ticked boxes.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, value)| value.trim())
    }

    /// Whether a box was ticked.
    pub fn is_ticked(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// What is wrong with what was sent, as its page says it.
pub struct Complaint {
    /// The page's status.
    pub status: StatusCode,
    /// The sentence.
    pub problem: Option<String>,
    /// The field that is wrong.
    pub wrong: String,
}

impl From<Option<ApiError>> for Complaint {
    fn from(error: Option<ApiError>) -> Self {
        let Some(error) = error else {
            return Self {
                status: StatusCode::OK,
                problem: None,
                wrong: String::new(),
            };
        };
        let wrong = error.details.first().map(|detail| detail.field.clone());
        Self {
            status: error.code.status(),
            wrong: wrong.unwrap_or_default(),
            problem: Some(error.text),
        }
    }
}

/// Whether the page with the form says it: what was sent was wrong, or the provider refused it.
pub fn is_told_at_the_form(error: &ApiError) -> bool {
    error.code.status().is_client_error() || error.code == ErrorCode::Provider
}

impl FromRequest for Form {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Present on every POST that passed the guard.
        ready(
            request
                .extensions()
                .get::<Self>()
                .cloned()
                .ok_or_else(ApiError::server),
        )
    }
}
