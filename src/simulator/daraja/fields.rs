//! Reads a request's fields the way Daraja does: numbers and strings alike, and the first one that is
//! wrong is named in the refusal.

use serde_json::{Map, Value};

use super::Refusal;

pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body)
            .map(Self)
            .map_err(|_| Refusal::new(400, "400.002.05", "Invalid Request Payload"))
    }

    pub(super) fn raw(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The text of a string or number that is there and not empty.
    pub(super) fn find(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A field that must satisfy `valid`.
    pub(super) fn required(
        &self,
        name: &str,
        valid: impl Fn(&str) -> bool,
    ) -> Result<String, Refusal> {
        self.find(name)
            .filter(|text| valid(text))
            .ok_or_else(|| Refusal::invalid(name))
    }

    /// A field that may be left out.
    pub(super) fn optional(&self, name: &str, valid: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        match self.find(name) {
            Some(text) if !valid(&text) => Err(Refusal::invalid(name)),
            _ => Ok(()),
        }
    }

    /// Whole shillings between `least` and 250,000.
    pub(super) fn amount(&self, least: u64) -> Result<u64, Refusal> {
        self.find("Amount")
            .filter(|text| digits(text))
            .and_then(|text| text.parse().ok())
            .filter(|amount| (least..=250_000).contains(amount))
            .ok_or_else(|| Refusal::invalid("Amount"))
    }
}

pub(super) fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn shortcode(text: &str) -> bool {
    digits(text) && (5..=7).contains(&text.len())
}

/// A Kenyan number in international form. No list of prefixes: new ones appear every year.
pub(super) fn msisdn(text: &str) -> bool {
    digits(text) && text.len() == 12 && (text.starts_with("2547") || text.starts_with("2541"))
}

pub(super) fn url(text: &str) -> bool {
    text.parse::<reqwest::Url>()
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

pub(super) fn shorter_than(limit: usize) -> impl Fn(&str) -> bool {
    move |text| text.chars().count() < limit
}

/// Remarks are required and two to a hundred characters long.
pub(super) fn remarks(text: &str) -> bool {
    (2..=100).contains(&text.chars().count())
}
