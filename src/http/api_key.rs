//! Making API keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::digest;
use crate::domain::clock::Instant;
use crate::domain::identity::{KeyId, PartnerId};
use crate::domain::partner::{ApiKey, Scope};
use crate::vault::{VaultError, random_bytes};

/// What every key begins with, so that a leaked one is recognised for what it is.
const KEY_PREFIX: &str = "us_";
/// Random bytes of a key: 256 bits.
const KEY_BYTES: usize = 32;
/// Characters of a key that are kept to recognise it by.
const VISIBLE: usize = 11;

/// A new key, and the text that is shown this once.
///
/// # Errors
/// If the system has no randomness to give.
pub fn new_key(
    partner_id: PartnerId,
    scopes: Vec<Scope>,
    expires_at: Option<Instant>,
    now: Instant,
) -> Result<(ApiKey, String), VaultError> {
    let secret = format!(
        "{KEY_PREFIX}{}",
        URL_SAFE_NO_PAD.encode(random_bytes::<KEY_BYTES>()?)
    );
    let key = ApiKey {
        id: KeyId::new(now),
        partner_id,
        prefix: secret.chars().take(VISIBLE).collect(),
        digest: digest(&secret),
        scopes,
        expires_at,
        revoked_at: None,
        created_at: now,
    };
    Ok((key, secret))
}
