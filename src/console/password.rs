//! Operators' passwords: Argon2id, as slow as OWASP's first recommendation, and few at once.

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::vault::random_bytes;

/// The shortest password, in characters.
pub const PASSWORD_MIN: usize = 12;
/// The longest password, in bytes.
pub const PASSWORD_MAX: usize = 256;
/// Passwords that are checked at the same time; each takes 19 MiB and some 20 ms of a processor.
pub const CHECKED_AT_ONCE: usize = 2;
/// Bytes of salt.
const SALT: usize = 16;

/// Checks few passwords at once, off the threads that answer.
pub struct Passwords {
    places: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            places: Semaphore::new(CHECKED_AT_ONCE),
        }
    }
}

impl Passwords {
    /// Whether the password is the one whose hash is kept. Without one, as when nobody has the name, it takes as long
    /// and says no.
    pub async fn is_right(&self, password: SecretString, kept: Option<String>) -> bool {
        let Ok(_place) = self.places.acquire().await else {
            return false;
        };
        tokio::task::spawn_blocking(move || verify(&password, kept.as_deref()))
            .await
            .unwrap_or(false)
    }
}

fn verify(password: &SecretString, kept: Option<&str>) -> bool {
    let bytes = password.expose_secret().as_bytes();
    match kept {
        Some(kept) => {
            PasswordVerifier::<str>::verify_password(&Argon2::default(), bytes, kept).is_ok()
        }
        None => {
            let _ = hash(password);
            false
        }
    }
}

/// The hash to keep, as a PHC string.
///
/// # Errors
/// If the system has no randomness to give.
pub fn hash(password: &SecretString) -> Result<String, String> {
    let salt = random_bytes::<SALT>().map_err(|error| error.to_string())?;
    Argon2::default()
        .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| error.to_string())
}

/// Why a password is not accepted.
///
/// # Errors
/// What was found and what is accepted.
pub fn check(password: &SecretString) -> Result<(), String> {
    let text = password.expose_secret();
    let length = text.chars().count();
    if length < PASSWORD_MIN || text.len() > PASSWORD_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "the password has {length} characters; {PASSWORD_MIN} to {PASSWORD_MAX} without control characters are accepted"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_is_right() {
        let kept = hash(&"correct horse battery".into()).unwrap();
        assert!(
            kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{kept}"
        );
        assert!(verify(&"correct horse battery".into(), Some(&kept)));
        assert!(!verify(&"correct horse batterz".into(), Some(&kept)));
        assert!(!verify(&"correct horse battery".into(), None));
        assert!(!verify(&"correct horse battery".into(), Some("nonsense")));
        assert_ne!(kept, hash(&"correct horse battery".into()).unwrap());
    }

    #[test]
    fn short_long_and_unprintable_passwords_are_refused() {
        assert!(check(&"x".repeat(PASSWORD_MIN).into()).is_ok());
        assert!(check(&"x".repeat(PASSWORD_MAX).into()).is_ok());
        for wrong in [
            "x".repeat(PASSWORD_MIN - 1),
            "x".repeat(PASSWORD_MAX + 1),
            "a\tbcdefghijklmn".to_owned(),
        ] {
            assert!(check(&wrong.into()).unwrap_err().contains("12 to 256"));
        }
    }
}
