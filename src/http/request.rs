//! Reading what callers send: bodies within their limits, JSON objects field by field, query strings name by name.
//! A name that is unknown, repeated or empty is an error that says so: a misspelt filter never returns everything.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, Payload};
use futures_util::StreamExt;
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use super::error::{ApiError, ErrorCode};
use crate::domain::clock::Instant;

/// The largest body that is read.
pub const BODY_MAX: usize = 256 * 1024;
/// How much of a larger one is drained, so that the caller sees the answer.
pub const BODY_DRAIN_MAX: usize = 1024 * 1024;
/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest text in a field or parameter, in characters.
pub const TEXT_MAX: usize = 200;
/// How much of a wrong value is quoted back, in characters.
const QUOTE_MAX: usize = 60;

/// Reads a body.
///
/// # Errors
/// PAYLOAD_1001 when it is too large, VALIDATION_1003 when it breaks off or takes too long.
pub async fn body(payload: Payload) -> Result<Vec<u8>, ApiError> {
    let mut payload = payload;
    let read = async {
        let mut all: Vec<u8> = Vec::new();
        let mut drained = 0_usize;
        while let Some(chunk) = payload.next().await {
            let chunk: Bytes =
                chunk.map_err(|_| ApiError::body("The body broke off before its end"))?;
            drained += chunk.len();
            if drained <= BODY_MAX {
                all.extend_from_slice(&chunk);
            } else if drained > BODY_DRAIN_MAX {
                break;
            }
        }
        if drained > BODY_MAX {
            return Err(ApiError::new(
                ErrorCode::TooLarge,
                format!("The body is larger than {} KiB", BODY_MAX / 1024),
            ));
        }
        Ok(all)
    };
    tokio::time::timeout(BODY_TIMEOUT, read)
        .await
        .unwrap_or_else(|_| {
            Err(ApiError::body(format!(
                "The body did not arrive within {} seconds",
                BODY_TIMEOUT.as_secs()
            )))
        })
}

/// Reads a JSON object. No route that takes one takes parameters too: a misplaced one is not passed over.
///
/// # Errors
/// As [`body`]; MEDIA_1001 for another media type; VALIDATION_1002 for a parameter; VALIDATION_1003 for anything that
/// is no JSON object.
pub async fn json_object(request: &HttpRequest, payload: Payload) -> Result<Fields, ApiError> {
    let bytes = body(payload).await?;
    check_media_type(request)?;
    Query::parse(request.query_string(), &[])?;
    Fields::parse(&bytes)
}

fn check_media_type(request: &HttpRequest) -> Result<(), ApiError> {
    let Some(value) = request.headers().get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_json = essence.is_empty()
        || essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json {
        Ok(())
    } else {
        Err(ApiError::new(
            ErrorCode::MediaType,
            format!(
                "Content-Type {} is not accepted; application/json is",
                quote(essence)
            ),
        ))
    }
}

/// Where no body is wanted: nothing at all, or an empty object.
///
/// # Errors
/// As [`json_object`]; VALIDATION_1002 for any field.
pub async fn no_body(request: &HttpRequest, payload: Payload) -> Result<(), ApiError> {
    let bytes = body(payload).await?;
    Query::parse(request.query_string(), &[])?;
    if bytes.is_empty() {
        return Ok(());
    }
    check_media_type(request)?;
    Fields::parse(&bytes)?.only(&[])
}

/// A JSON object's members in order, repeated ones kept.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The fields of a body; null counts as absent.
#[derive(Debug)]
pub struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// VALIDATION_1003 for anything that is no JSON object, VALIDATION_1002 for a name that was sent more than once.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let object: Object = serde_json::from_slice(body).map_err(|error| {
            if error.is_data() {
                ApiError::body("The body must be a JSON object")
            } else {
                ApiError::body(format!(
                    "The body is not JSON (line {}, column {})",
                    error.line(),
                    error.column()
                ))
            }
        })?;
        let mut names = HashSet::with_capacity(object.0.len());
        if let Some((name, _)) = object.0.iter().find(|(name, _)| !names.insert(name)) {
            return Err(ApiError::field(quote(name), "was sent more than once"));
        }
        Ok(Self(
            object
                .0
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect(),
        ))
    }

    /// Refuses every field that is not one of `known`.
    ///
    /// # Errors
    /// VALIDATION_1002 with the first unknown one.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self
            .0
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            Some((name, _)) if known.is_empty() => Err(ApiError::field(
                quote(name),
                "is not a field here; none is accepted",
            )),
            Some((name, _)) => Err(ApiError::field(
                quote(name),
                format!("is not a field here; accepted are {}", known.join(", ")),
            )),
            None => Ok(()),
        }
    }

    /// A field's value.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value)
    }

    /// A text field.
    ///
    /// # Errors
    /// VALIDATION_1003 for another type, VALIDATION_1002 for a text that is empty, too long or has control characters.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => checked_text(name, text).map(Some),
            Some(other) => Err(wrong_type(name, "text", other)),
        }
    }

    /// A text field that must be there.
    ///
    /// # Errors
    /// As [`Fields::text`], and VALIDATION_1002 when it is missing.
    pub fn required_text(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// A field that is true or false.
    ///
    /// # Errors
    /// VALIDATION_1003 for another type.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong_type(name, "true or false", other)),
        }
    }

    /// A whole number within a range.
    ///
    /// # Errors
    /// VALIDATION_1003 for another type, VALIDATION_1002 for a number that is not whole or not in the range.
    pub fn whole_number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, ApiError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Number(number)) => number
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| range.contains(number))
                .map(Some)
                .ok_or_else(|| {
                    ApiError::field(
                        name,
                        format!(
                            "is {}; accepted is a whole number from {} to {}",
                            quote(&number.to_string()),
                            range.start(),
                            range.end()
                        ),
                    )
                }),
            Some(other) => Err(wrong_type(name, "a whole number", other)),
        }
    }

    /// A list of texts; absent is empty.
    ///
    /// # Errors
    /// VALIDATION_1003 for another type.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, ApiError> {
        match self.value(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    item.as_str()
                        .ok_or_else(|| wrong_type(&format!("{name}[{index}]"), "text", item))
                })
                .collect(),
            Some(other) => Err(wrong_type(name, "a list of texts", other)),
        }
    }
}

/// A field that is not there.
pub fn missing(name: &str) -> ApiError {
    ApiError::field(name, "is required")
}

/// A field of another JSON type than documented.
pub fn wrong_type(name: &str, expected: &str, found: &Value) -> ApiError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let mut error = ApiError::field(name, format!("must be {expected}, not {found}"));
    error.code = ErrorCode::InvalidBody;
    error
}

/// A text within the limits.
///
/// # Errors
/// VALIDATION_1002.
pub fn checked_text<'a>(name: &str, text: &'a str) -> Result<&'a str, ApiError> {
    if text.trim().is_empty() {
        return Err(ApiError::field(
            name,
            "is empty; leave it out or give it a value",
        ));
    }
    if text.chars().count() > TEXT_MAX {
        return Err(ApiError::field(
            name,
            format!("is longer than {TEXT_MAX} characters"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(ApiError::field(name, "has control characters"));
    }
    Ok(text)
}

/// A wrong value as an error quotes it, cut to a readable length.
pub fn quote(text: &str) -> String {
    let cut: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(QUOTE_MAX)
        .collect();
    let more = if text.chars().count() > QUOTE_MAX {
        "…"
    } else {
        ""
    };
    format!("\"{cut}{more}\"")
}

/// The parameters of a query string, each known, once, and not empty.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    ///
    /// # Errors
    /// VALIDATION_1002 for a parameter that is unknown, repeated, empty, too long or has control characters.
    pub fn parse(query: &str, known: &[&str]) -> Result<Self, ApiError> {
        let mut all: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let accepted = match known {
                    [] => "none is accepted".to_owned(),
                    known => format!("accepted are {}", known.join(", ")),
                };
                return Err(ApiError::field(
                    quote(&name),
                    format!("is not a parameter here; {accepted}"),
                ));
            }
            if all.iter().any(|(other, _)| *other == name) {
                return Err(ApiError::field(name, "was sent more than once"));
            }
            if value.contains('\u{fffd}') {
                return Err(ApiError::field(name, "is not UTF-8"));
            }
            checked_text(&name, &value)?;
            all.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(all))
    }

    /// A parameter's value.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(parameter, _)| parameter == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter as something else; the error says what was sent and what is accepted.
    ///
    /// # Errors
    /// VALIDATION_1002.
    pub fn parsed<T>(
        &self,
        name: &str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.value(name)
            .map(|text| {
                parse(text).ok_or_else(|| {
                    ApiError::field(name, format!("is {}; accepted is {accepted}", quote(text)))
                })
            })
            .transpose()
    }

    /// A whole number within a range.
    ///
    /// # Errors
    /// VALIDATION_1002.
    pub fn whole_number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, ApiError> {
        let accepted = if *range.end() == i64::MAX {
            format!("a whole number from {}", range.start())
        } else {
            format!("a whole number from {} to {}", range.start(), range.end())
        };
        self.parsed(name, &accepted, |text| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| is_plain)?;
            range.contains(&number).then_some(number)
        })
    }

    /// An instant in RFC 3339.
    ///
    /// # Errors
    /// VALIDATION_1002.
    pub fn instant(&self, name: &str) -> Result<Option<Instant>, ApiError> {
        self.parsed(
            name,
            "a time in RFC 3339 such as 2025-01-10T12:34:56Z (a + in a query string is written %2B)",
            instant,
        )
    }
}

/// An instant in RFC 3339 that a timestamp column can hold.
pub fn instant(text: &str) -> Option<Instant> {
    let at = chrono::DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (1970..=9999)
        .contains(&chrono::Datelike::year(&at))
        .then_some(at)
}

/// Whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies(pub Vec<IpNet>);

impl Proxies {
    /// The caller's address: the last one before the proxies we trust.
    pub fn source(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip().to_canonical();
        if !self.trusts(peer) {
            return Some(peer);
        }
        let mut source = peer;
        let forwarded = request
            .headers()
            .get_all("x-forwarded-for")
            .filter_map(|value| value.to_str().ok())
            .collect::<Vec<_>>()
            .join(",");
        for hop in forwarded.rsplit(',') {
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            source = address.to_canonical();
            if !self.trusts(source) {
                break;
            }
        }
        Some(source)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        contains(&self.0, address)
    }
}

/// Whether any of the networks has the address.
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks
        .iter()
        .any(|network| network.contains(&address.to_canonical()))
}
