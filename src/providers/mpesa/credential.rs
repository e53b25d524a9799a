//! The credentials of an M-Pesa account: read and checked once, when the account is saved and when its client is
//! opened, so that a wrong one is named there and not by a refused payment. Values are never quoted.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::certificate::Certificate;
use crate::providers::payment_provider::CredentialsError;

/// Safaricom's hosts (its portal, M-Pesa Express).
const SANDBOX: &str = "https://sandbox.safaricom.co.ke";
const PRODUCTION: &str = "https://api.safaricom.co.ke";

/// Which of the two B2C requests in use is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum B2cVersion {
    /// The old one: M-Pesa makes up the OriginatorConversationID, so nothing guards against a repeat.
    V1,
    /// The current one: we choose it.
    V3,
}

/// Who asks for payouts, reversals, balances and transaction states.
pub(super) struct Initiator {
    pub(super) name: String,
    password: SecretString,
    certificate: Certificate,
}

impl Initiator {
    /// `SecurityCredential` for one request. The password's length was checked when the credentials were read.
    pub(super) fn security_credential(&self) -> Option<String> {
        self.certificate.security_credential(&self.password)
    }
}

/// What an account can be used with.
pub(super) struct Credentials {
    /// Where to call if no setting says otherwise.
    pub(super) host: &'static str,
    /// The account's own base URL.
    pub(super) base_url: Option<Url>,
    pub(super) shortcode: String,
    pub(super) till_number: Option<String>,
    pub(super) consumer_key: SecretString,
    pub(super) consumer_secret: SecretString,
    pub(super) passkey: Option<SecretString>,
    /// Or which keys are missing.
    pub(super) initiator: Result<Initiator, String>,
    pub(super) b2c_version: B2cVersion,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Whether an account with these credentials can be used: every key is well formed, and the initiator's password
/// can be encrypted with the certificate.
///
/// # Errors
/// The first key that cannot be used, and what is accepted.
pub fn check(credentials: &Map<String, Value>) -> Result<(), CredentialsError> {
    Credentials::read(credentials).map(drop)
}

impl Credentials {
    pub(super) fn read(object: &Map<String, Value>) -> Result<Self, CredentialsError> {
        let fields = Fields(object);
        let host = match fields.required("environment")? {
            "sandbox" => SANDBOX,
            "production" => PRODUCTION,
            _ => return Err(wrong("environment", "is neither sandbox nor production")),
        };
        let consumer_key = fields.required("consumer_key")?;
        if consumer_key.contains(':') {
            return Err(wrong(
                "consumer_key",
                "has a colon, which HTTP's Basic authentication cannot carry",
            ));
        }
        Ok(Self {
            host,
            base_url: fields.optional("base_url")?.map(base_url).transpose()?,
            shortcode: digits("shortcode", fields.required("shortcode")?)?,
            till_number: fields
                .optional("till_number")?
                .map(|text| digits("till_number", text))
                .transpose()?,
            consumer_key: SecretString::from(consumer_key),
            consumer_secret: SecretString::from(fields.required("consumer_secret")?),
            passkey: fields.optional("passkey")?.map(SecretString::from),
            initiator: initiator(&fields)?,
            b2c_version: match fields.optional("b2c_version")? {
                None | Some("v3") => B2cVersion::V3,
                Some("v1") => B2cVersion::V1,
                Some(_) => return Err(wrong("b2c_version", "is neither v3 nor v1")),
            },
        })
    }
}

fn initiator(fields: &Fields<'_>) -> Result<Result<Initiator, String>, CredentialsError> {
    let name = fields.optional("initiator_name")?;
    let password = fields.optional("initiator_password")?;
    // A certificate that is there is checked, whatever else is missing.
    let certificate = fields
        .optional("certificate")?
        .map(|pem| Certificate::from_pem(pem).map_err(|error| wrong("certificate", error)))
        .transpose()?;
    let missing: Vec<&str> = [
        ("initiator_name", name.is_none()),
        ("initiator_password", password.is_none()),
        ("certificate", certificate.is_none()),
    ]
    .into_iter()
    .filter_map(|(key, is_missing)| is_missing.then_some(key))
    .collect();
    let (Some(name), Some(password), Some(certificate)) = (name, password, certificate) else {
        let missing = missing.join(", ");
        return Ok(Err(format!("the account's credentials lack {missing}")));
    };
    let initiator = Initiator {
        name: name.to_owned(),
        password: SecretString::from(password),
        certificate,
    };
    let longest = initiator.certificate.longest_password();
    if initiator.password.expose_secret().len() > longest {
        let message =
            format!("is longer than the {longest} bytes that the certificate's key takes");
        return Err(wrong("initiator_password", message));
    }
    if initiator.security_credential().is_none() {
        return Err(wrong("certificate", "has a key that does not encrypt"));
    }
    Ok(Ok(initiator))
}

fn base_url(text: &str) -> Result<Url, CredentialsError> {
    text.parse()
        .ok()
        .filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| wrong("base_url", "is not an http:// or https:// URL"))
}

fn digits(key: &'static str, text: &str) -> Result<String, CredentialsError> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(wrong(key, "is not a number such as 174379"))
    }
}

fn wrong(key: &'static str, message: impl ToString) -> CredentialsError {
    CredentialsError {
        key,
        message: message.to_string(),
    }
}

struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Surrounding blanks are dropped; nothing but blanks is absent.
    fn optional(&self, key: &'static str) -> Result<Option<&'a str>, CredentialsError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(wrong(key, "is not a text")),
        }
    }

    fn required(&self, key: &'static str) -> Result<&'a str, CredentialsError> {
        self.optional(key)?.ok_or_else(|| wrong(key, "is missing"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CERTIFICATE: &str =
        include_str!("../../../tests/fixtures/keys/mpesa-test-certificate.pem");
    const NOT_RSA: &str = include_str!("../../../tests/fixtures/keys/mpesa-test-not-rsa.pem");

    fn with(changes: &Value) -> Map<String, Value> {
        let mut whole = json!({
            "environment": "sandbox",
            "shortcode": "600997",
            "consumer_key": "key",
            "consumer_secret": "secret-1",
            "passkey": "secret-2",
            "initiator_name": "testapi",
            "initiator_password": "secret-3",
            "certificate": CERTIFICATE,
        });
        let object = whole.as_object_mut().unwrap();
        object.extend(changes.as_object().unwrap().clone());
        object.clone()
    }

    #[test]
    fn a_whole_set_and_the_required_four_can_be_used() {
        assert_eq!(check(&with(&json!({}))), Ok(()));
        let least = json!({"passkey": null, "initiator_name": "", "initiator_password": " ",
            "certificate": null, "b2c_version": "v1"});
        let least = Credentials::read(&with(&least)).unwrap();
        assert_eq!(
            least.initiator.err().as_deref(),
            Some("the account's credentials lack initiator_name, initiator_password, certificate")
        );
        assert_eq!(least.host, SANDBOX);
        assert_eq!(least.b2c_version, B2cVersion::V1);
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named_and_never_quoted() {
        for (change, key) in [
            (json!({"environment": "staging"}), "environment"),
            (json!({"shortcode": null}), "shortcode"),
            (json!({"shortcode": "60099x"}), "shortcode"),
            (json!({"shortcode": 600_997}), "shortcode"),
            (json!({"till_number": "secret-4"}), "till_number"),
            (json!({"consumer_key": "secret-1:2"}), "consumer_key"),
            (json!({"consumer_secret": ""}), "consumer_secret"),
            (json!({"base_url": "secret-5"}), "base_url"),
            (json!({"base_url": "ftp://secret-5"}), "base_url"),
            (json!({"b2c_version": "v2"}), "b2c_version"),
            (json!({"certificate": "secret-6"}), "certificate"),
            (json!({"certificate": NOT_RSA}), "certificate"),
            (
                json!({"certificate": "secret-6", "initiator_name": null}),
                "certificate",
            ),
            (
                json!({"initiator_password": "secret-7".repeat(31)}),
                "initiator_password",
            ),
        ] {
            let error = check(&with(&change)).unwrap_err();
            assert_eq!(error.key, key, "{change}");
            assert!(!error.to_string().contains("secret-"), "{error}");
        }
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let credentials = Credentials::read(&with(&json!({}))).unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials");
    }
}
