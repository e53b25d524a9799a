//! Standard Webhooks 1.0 with a public key (`v1a`): we keep the private half of an Ed25519 pair, and whoever has the public
//! half can verify without holding a secret.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::vault::{self, VaultError};

/// What every private key begins with.
pub const PRIVATE_KEY_PREFIX: &str = "whsk_";
/// What every public key begins with.
pub const PUBLIC_KEY_PREFIX: &str = "whpk_";
/// Bytes of either half.
pub const KEY_BYTES: usize = 32;

/// Not a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a private webhook key: whsk_ followed by 32 bytes in base64")]
pub struct PrivateKeyError;

/// The private half; never printed unless asked for by [`PrivateKey::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl FromStr for PrivateKey {
    type Err = PrivateKeyError;

    fn from_str(text: &str) -> Result<Self, PrivateKeyError> {
        let encoded = text
            .strip_prefix(PRIVATE_KEY_PREFIX)
            .ok_or(PrivateKeyError)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| PrivateKeyError)?);
        let seed: [u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| PrivateKeyError)?;
        let key = Self(Zeroizing::new(seed));
        key.pair().map(|_| key).ok_or(PrivateKeyError)
    }
}

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> Result<Self, VaultError> {
        Ok(Self(Zeroizing::new(vault::random_bytes::<KEY_BYTES>()?)))
    }

    /// The text that is sealed: `whsk_…`. It is shown to nobody.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PRIVATE_KEY_PREFIX}{}", STANDARD.encode(*self.0)))
    }

    /// The public half, as partners are shown it: `whpk_…`.
    ///
    /// # Errors
    /// If the library refuses the key; it refuses none of this length.
    pub fn public_key(&self) -> Result<String, VaultError> {
        let pair = self.pair().ok_or(VaultError::Seal)?;
        let public = STANDARD.encode(pair.public_key());
        Ok(format!("{PUBLIC_KEY_PREFIX}{public}"))
    }

    /// One signature of `webhook-signature`: `v1a,` and the base64 of Ed25519 over `id.timestamp.body`.
    pub fn sign(&self, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
        let mut message = format!("{id}.{timestamp_seconds}.").into_bytes();
        message.extend_from_slice(body);
        // Every 32 bytes are a key; the other arm cannot happen.
        let Some(pair) = self.pair() else {
            return String::new();
        };
        format!("v1a,{}", STANDARD.encode(pair.sign(&message)))
    }

    fn pair(&self) -> Option<Ed25519KeyPair> {
        Ed25519KeyPair::from_seed_unchecked(&*self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn verifies(public: &str, signature: &str, message: &[u8]) -> bool {
        let decode =
            |text: &str, prefix: &str| STANDARD.decode(text.strip_prefix(prefix).unwrap()).unwrap();
        UnparsedPublicKey::new(&ED25519, decode(public, PUBLIC_KEY_PREFIX))
            .verify(message, &decode(signature, "v1a,"))
            .is_ok()
    }

    /// RFC 8032, 7.1, the first test.
    #[test]
    fn the_pair_of_the_standard_has_its_public_half() {
        let seed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
        let key: PrivateKey = format!("whsk_{seed}").parse().unwrap();
        let public = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        assert_eq!(key.public_key().unwrap(), public);
        assert_eq!(*key.reveal(), format!("whsk_{seed}"));
    }

    #[test]
    fn whoever_has_the_public_half_believes_it_and_nothing_changed() {
        let key = PrivateKey::generate().unwrap();
        let public = key.public_key().unwrap();
        let body = r#"{"result_description":"Imekamilika ✓"}"#.as_bytes();
        let signature = key.sign("evt_1", 1_614_265_330, body);
        let message =
            |id: &str, at: &str, body: &[u8]| [format!("{id}.{at}.").as_bytes(), body].concat();
        assert!(verifies(
            &public,
            &signature,
            &message("evt_1", "1614265330", body)
        ));
        for other in [
            message("evt_2", "1614265330", body),
            message("evt_1", "1614265331", body),
            message("evt_1", "1614265330", b"{}"),
        ] {
            assert!(!verifies(&public, &signature, &other));
        }
        let stranger = PrivateKey::generate().unwrap().public_key().unwrap();
        assert!(!verifies(
            &stranger,
            &signature,
            &message("evt_1", "1614265330", body)
        ));
    }

    #[test]
    fn a_private_key_is_32_bytes_in_base64_after_its_prefix_and_is_not_printed() {
        let text = |bytes: usize| format!("whsk_{}", STANDARD.encode(vec![7; bytes]));
        let key: PrivateKey = text(32).parse().unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(…)");
        for bad in [
            text(31),
            text(33),
            text(64),
            text(32).replace("whsk_", "whsec_"),
            "whsk_***".to_owned(),
            String::new(),
        ] {
            assert_eq!(bad.parse::<PrivateKey>(), Err(PrivateKeyError), "{bad}");
        }
    }
}
