//! Standard Webhooks 1.0: the secret an endpoint shares with us, how a message is signed with it, and what a message is
//! signed with that has several signatures.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::key_pair::{PRIVATE_KEY_PREFIX, PrivateKey};
use crate::vault::{self, VaultError};

/// What every secret begins with.
pub const SECRET_PREFIX: &str = "whsec_";
/// Bytes a secret may have.
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const GENERATED_BYTES: usize = 32;

/// Names the message: the same for every attempt, so that a receiver can tell a repeat.
pub const ID_HEADER: &str = "webhook-id";
/// When the attempt was made, Unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The signature.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// Not a signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a webhook secret: whsec_ followed by 24 to 64 bytes in base64")]
pub struct SecretError;

/// A signing secret; never printed unless asked for by [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError)?);
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(SecretError);
        }
        Ok(Self(bytes))
    }
}

impl Secret {
    /// A new secret.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> Result<Self, VaultError> {
        let bytes = Zeroizing::new(vault::random_bytes::<GENERATED_BYTES>()?);
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// The text a partner is shown once, and that is sealed: `whsec_…`.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(&*self.0)))
    }
}

/// The value of `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
pub fn sign(secret: &Secret, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    // HMAC takes keys of any length; the other arm cannot happen.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret.0) else {
        return String::new();
    };
    mac.update(format!("{id}.{timestamp_seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The three headers of a message.
pub fn signed_headers(
    secret: &Secret,
    id: String,
    timestamp_seconds: i64,
    body: &[u8],
) -> [(&'static str, String); 3] {
    [
        (SIGNATURE_HEADER, sign(secret, &id, timestamp_seconds, body)),
        (TIMESTAMP_HEADER, timestamp_seconds.to_string()),
        (ID_HEADER, id),
    ]
}

/// What an endpoint's messages are signed with.
#[derive(Debug)]
pub enum SigningKey {
    /// A secret that the endpoint has too: `v1`.
    Shared(Secret),
    /// A private key that only we have: `v1a`.
    Private(PrivateKey),
}

impl SigningKey {
    /// The key that a text says by its prefix; nothing if it says none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(PRIVATE_KEY_PREFIX) {
            text.parse().ok().map(Self::Private)
        } else {
            text.parse().ok().map(Self::Shared)
        }
    }
}

/// The same with several keys, while one is being rotated: a receiver needs to know one of them.
pub fn sign_with_all(keys: &[SigningKey], id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    let signatures: Vec<String> = keys
        .iter()
        .map(|key| match key {
            SigningKey::Shared(secret) => sign(secret, id, timestamp_seconds, body),
            SigningKey::Private(key) => key.sign(id, timestamp_seconds, body),
        })
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use standardwebhooks::Webhook;

    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    fn headers(secret: &Secret, id: &str, at: i64, body: &[u8]) -> HashMap<String, String> {
        HashMap::from([
            (ID_HEADER.to_owned(), id.to_owned()),
            (TIMESTAMP_HEADER.to_owned(), at.to_string()),
            (SIGNATURE_HEADER.to_owned(), sign(secret, id, at, body)),
        ])
    }

    #[test]
    fn the_published_example_has_its_signature() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(
            sign(
                &secret,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn the_official_library_accepts_it_and_refuses_anything_changed() {
        let secret = Secret::generate().unwrap();
        let official = Webhook::new(&secret.reveal()).unwrap();
        let accepts = |body: &[u8], headers: &HashMap<String, String>| {
            official.verify(body, &headers.try_into().unwrap()).is_ok()
        };
        let now = SystemClock.now().timestamp();
        let body = r#"{"status":"success","result_description":"Imekamilika ✓"}"#.as_bytes();
        let signed = headers(&secret, "evt_1", now, body);
        assert!(accepts(body, &signed));

        assert!(!accepts(b"{\"status\":\"failed\"}", &signed));
        let mut other_id = signed.clone();
        other_id.insert(ID_HEADER.to_owned(), "evt_2".to_owned());
        assert!(!accepts(body, &other_id));
        let mut other_time = signed.clone();
        other_time.insert(TIMESTAMP_HEADER.to_owned(), (now - 1).to_string());
        assert!(!accepts(body, &other_time));
        assert!(!accepts(
            body,
            &headers(&secret, "evt_1", now - 3_600, body)
        ));
        let another = Secret::generate().unwrap();
        assert!(!accepts(body, &headers(&another, "evt_1", now, body)));
    }

    #[test]
    fn a_secret_is_24_to_64_bytes_in_base64_after_its_prefix() {
        let text = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for good in [24, 32, 64] {
            let secret: Secret = text(good).parse().unwrap();
            assert_eq!(*secret.reveal(), text(good));
        }
        for bad in [
            text(23),
            text(65),
            text(32).replace("whsec_", ""),
            text(32).replace("whsec_", "sk_"),
            "whsec_***".to_owned(),
            String::new(),
        ] {
            assert_eq!(bad.parse::<Secret>(), Err(SecretError), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::generate().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_ne!(secret, Secret::generate().unwrap());
    }
}
