//! What an account at ClickPesa is opened with, checked before anything is sent. No error quotes a value.

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use crate::providers::payment_provider::CredentialsError;

/// Where production answers (docs.clickpesa.com).
const PRODUCTION_URL: &str = "https://api.clickpesa.com";
/// Where the sandbox answers, as a public SDK has it; the documentation names no such host.
const SANDBOX_URL: &str = "https://api-sandbox.clickpesa.com";
/// Below every host.
const PREFIX: &str = "third-parties";

/// An application's credentials.
pub(super) struct Credentials {
    /// The address all paths stand below.
    pub(super) base: Url,
    pub(super) client_id: SecretString,
    pub(super) api_key: SecretString,
    /// Without one no request carries a checksum.
    pub(super) checksum_key: Option<SecretString>,
}

/// Whether an account with these credentials can be used: every key is well formed.
///
/// # Errors
/// The first key that cannot be used, and what is accepted.
pub(super) fn check(credentials: &Map<String, Value>) -> Result<(), CredentialsError> {
    Credentials::read(credentials, None).map(drop)
}

impl Credentials {
    /// Reads an account's keys. Its own `base_url` comes before `base_url`, and that before the environment's host.
    pub(super) fn read(
        given: &Map<String, Value>,
        base_url: Option<&Url>,
    ) -> Result<Self, CredentialsError> {
        let host = match required(given, "environment")? {
            "production" => PRODUCTION_URL,
            "sandbox" => SANDBOX_URL,
            _ => return Err(wrong("environment", "must be sandbox or production")),
        };
        let base = match (optional(given, "base_url")?, base_url) {
            (Some(own), _) => base("base_url", own)?,
            (None, Some(url)) => base("CLICKPESA_BASE_URL", url.as_str())?,
            (None, None) => base("environment", host)?,
        };
        Ok(Self {
            base,
            client_id: header_value("client_id", required(given, "client_id")?)?,
            api_key: header_value("api_key", required(given, "api_key")?)?,
            checksum_key: optional(given, "checksum_key")?.map(SecretString::from),
        })
    }
}

fn wrong(key: &'static str, message: &str) -> CredentialsError {
    CredentialsError {
        key,
        message: message.to_owned(),
    }
}

fn optional<'a>(
    credentials: &'a Map<String, Value>,
    key: &'static str,
) -> Result<Option<&'a str>, CredentialsError> {
    match credentials.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(Some)
            .ok_or_else(|| wrong(key, "must be a text that is not empty")),
    }
}

fn required<'a>(
    credentials: &'a Map<String, Value>,
    key: &'static str,
) -> Result<&'a str, CredentialsError> {
    optional(credentials, key)?.ok_or_else(|| wrong(key, "is missing"))
}

/// A text that an HTTP header can carry.
fn header_value(key: &'static str, text: &str) -> Result<SecretString, CredentialsError> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(SecretString::from(text))
    } else {
        Err(wrong(key, "must be printable ASCII without spaces"))
    }
}

/// The address below which all paths stand, given with or without its last part.
fn base(key: &'static str, text: &str) -> Result<Url, CredentialsError> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let mut url = url.ok_or_else(|| {
        wrong(
            key,
            "must be an http or https address without user, query and fragment, such as https://api.clickpesa.com",
        )
    })?;
    let path = url.path().trim_end_matches('/').to_owned();
    let stem = path.strip_suffix(PREFIX).unwrap_or(&path);
    url.set_path(&format!("{}/{PREFIX}", stem.trim_end_matches('/')));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(changes: Value, base_url: Option<&str>) -> Result<Credentials, CredentialsError> {
        let mut given =
            json!({"environment": "production", "client_id": "IDAPP1", "api_key": "SKsecret"});
        for (key, value) in changes.as_object().unwrap() {
            given[key] = value.clone();
        }
        let base_url = base_url.map(|url| Url::parse(url).unwrap());
        Credentials::read(given.as_object().unwrap(), base_url.as_ref())
    }

    #[test]
    fn the_accounts_own_address_comes_first_then_the_setting_then_the_environment() {
        let (own, setting) = ("http://127.0.0.1:1/a", "http://127.0.0.1:2");
        for (changes, base_url, expected) in [
            (json!({}), None, "https://api.clickpesa.com/third-parties"),
            (
                json!({"environment": "sandbox", "base_url": null}),
                None,
                "https://api-sandbox.clickpesa.com/third-parties",
            ),
            (json!({}), Some(setting), "http://127.0.0.1:2/third-parties"),
            (
                json!({"base_url": own}),
                Some(setting),
                "http://127.0.0.1:1/a/third-parties",
            ),
        ] {
            assert_eq!(read(changes, base_url).unwrap().base.as_str(), expected);
        }
    }

    #[test]
    fn an_address_may_have_its_last_part_already() {
        for given in [
            "https://x.test",
            "https://x.test/",
            "https://x.test/third-parties",
            " https://x.test/third-parties// ",
        ] {
            let base = read(json!({"base_url": given}), None).unwrap().base;
            assert_eq!(base.as_str(), "https://x.test/third-parties", "{given}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named_and_not_quoted() {
        for (changes, key, words) in [
            (
                json!({"environment": "SKsecret"}),
                "environment",
                "must be sandbox or production",
            ),
            (json!({"client_id": null}), "client_id", "is missing"),
            (json!({"api_key": ""}), "api_key", "must be a text"),
            (
                json!({"api_key": ["SKsecret"]}),
                "api_key",
                "must be a text",
            ),
            (
                json!({"api_key": "SKsecret\nx"}),
                "api_key",
                "must be printable ASCII",
            ),
            (
                json!({"client_id": "SKsecret x"}),
                "client_id",
                "must be printable ASCII",
            ),
            (json!({"checksum_key": 7}), "checksum_key", "must be a text"),
            (
                json!({"base_url": "SKsecret"}),
                "base_url",
                "must be an http or https address",
            ),
            (
                json!({"base_url": "ftp://x.test"}),
                "base_url",
                "must be an http or https address",
            ),
            (
                json!({"base_url": "https://u:SKsecret@x.test"}),
                "base_url",
                "must be an http or https address",
            ),
            (
                json!({"base_url": "https://x.test/?SKsecret"}),
                "base_url",
                "must be an http or https address",
            ),
        ] {
            let error = read(changes.clone(), None).err().unwrap();
            assert_eq!(error.key, key, "{changes}");
            assert!(error.message.starts_with(words), "{changes}: {error}");
            assert!(!format!("{error} {error:?}").contains("SKsecret"));
        }
    }
}
