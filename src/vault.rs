//! Secrets at rest: provider credentials and webhook secrets are sealed under the master key with AES-256-GCM. What a
//! sealed text belongs to is part of the seal, so that it cannot be moved to another row.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Bytes of a master key.
pub const MASTER_KEY_BYTES: usize = 32;

/// The first byte of everything sealed: the form of what follows.
const FORM: u8 = 1;

/// Why something cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The setting is no key.
    #[error("is not 32 bytes in base64; make one with: openssl rand -base64 32")]
    NotAKey,
    /// The cipher refused.
    #[error("sealing failed")]
    Seal,
    /// Another key sealed it, or it was changed, or it belongs to another row.
    #[error("cannot be opened with this master key")]
    Open,
}

/// Holds the master key, and the previous one while secrets are being sealed anew.
pub struct Vault {
    current: RandomizedNonceKey,
    previous: Option<RandomizedNonceKey>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// A vault from keys in base64.
    ///
    /// # Errors
    /// If a text is not 32 bytes in base64.
    pub fn new(current: &str, previous: Option<&str>) -> Result<Self, VaultError> {
        Ok(Self {
            current: key(current)?,
            previous: previous.map(key).transpose()?,
        })
    }

    /// Seals `secret` for `owner` (`account:ID`, `endpoint:ID`).
    ///
    /// # Errors
    /// If the cipher refuses; it has no reason to.
    pub fn seal(&self, owner: &str, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .current
            .seal_in_place_append_tag(Aad::from(owner.as_bytes()), &mut sealed)
            .map_err(|_| VaultError::Seal)?;
        let mut whole = vec![FORM];
        whole.extend_from_slice(nonce.as_ref());
        whole.extend_from_slice(&sealed);
        Ok(whole)
    }

    /// Opens what was sealed for `owner`.
    ///
    /// # Errors
    /// [`VaultError::Open`].
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .find_map(|key| open_with(key, owner, sealed))
            .ok_or(VaultError::Open)
    }

    /// Whether there is a previous key.
    pub fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// Seals anew what only the previous key opens; `None` if it is under the current key already.
    ///
    /// # Errors
    /// [`VaultError::Open`] if neither key opens it.
    pub fn reseal(&self, owner: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        if open_with(&self.current, owner, sealed).is_some() {
            return Ok(None);
        }
        let secret = self.open(owner, sealed)?;
        self.seal(owner, &secret).map(Some)
    }
}

fn open_with(key: &RandomizedNonceKey, owner: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (form, rest) = sealed.split_first()?;
    if *form != FORM {
        return None;
    }
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
    let mut buffer = Zeroizing::new(rest.to_vec());
    let length = key
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(owner.as_bytes()),
            &mut buffer,
        )
        .ok()?
        .len();
    buffer.truncate(length);
    Some(buffer)
}

fn key(text: &str) -> Result<RandomizedNonceKey, VaultError> {
    let bytes = Zeroizing::new(
        STANDARD
            .decode(text.trim())
            .map_err(|_| VaultError::NotAKey)?,
    );
    if bytes.len() != MASTER_KEY_BYTES {
        return Err(VaultError::NotAKey);
    }
    RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| VaultError::NotAKey)
}

/// A new master key in base64, from the system's random source.
///
/// # Errors
/// If the system has no randomness to give.
pub fn new_master_key() -> Result<String, VaultError> {
    random_bytes::<MASTER_KEY_BYTES>().map(|bytes| STANDARD.encode(bytes))
}

/// Bytes nobody can guess.
///
/// # Errors
/// If the system has no randomness to give.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| VaultError::Seal)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_owner_only() {
        let vault = Vault::new(&new_master_key().unwrap(), None).unwrap();
        let sealed = vault.seal("account:1", b"consumer secret").unwrap();
        assert_eq!(
            vault.open("account:1", &sealed).unwrap().as_slice(),
            b"consumer secret"
        );
        assert_eq!(vault.open("account:2", &sealed), Err(VaultError::Open));
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(vault.open("account:1", &changed), Err(VaultError::Open));
        }
    }

    #[test]
    fn the_previous_key_still_opens() {
        let (old, new) = (new_master_key().unwrap(), new_master_key().unwrap());
        let sealed = Vault::new(&old, None)
            .unwrap()
            .seal("endpoint:1", b"s")
            .unwrap();
        let rotated = Vault::new(&new, Some(&old)).unwrap();
        assert_eq!(
            rotated.open("endpoint:1", &sealed).unwrap().as_slice(),
            b"s"
        );
        assert!(
            Vault::new(&new, None)
                .unwrap()
                .open("endpoint:1", &sealed)
                .is_err()
        );
    }

    #[test]
    fn what_the_previous_key_sealed_is_sealed_anew_once() {
        let (old, new) = (new_master_key().unwrap(), new_master_key().unwrap());
        let sealed = Vault::new(&old, None).unwrap().seal("a", b"s").unwrap();
        let both = Vault::new(&new, Some(&old)).unwrap();
        let anew = both.reseal("a", &sealed).unwrap().unwrap();
        let only_new = Vault::new(&new, None).unwrap();
        assert_eq!(only_new.open("a", &anew).unwrap().as_slice(), b"s");
        assert_eq!(both.reseal("a", &anew), Ok(None));
        assert_eq!(both.reseal("b", &sealed), Err(VaultError::Open));
        assert_eq!(only_new.reseal("a", &sealed), Err(VaultError::Open));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "short", "not base64 !", "AAAA"] {
            assert_eq!(
                Vault::new(text, None).err(),
                Some(VaultError::NotAKey),
                "{text}"
            );
        }
    }
}
