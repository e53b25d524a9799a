//! `SecurityCredential`: the initiator's password, encrypted for Safaricom with the public key of its certificate.
//! RSA with PKCS#1 v1.5 padding over the password's bytes, base64 (Safaricom portal, Getting Started).

use std::fmt;

use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};
use x509_cert::Certificate as X509;
use x509_cert::der::{Decode as _, Encode as _};

/// The public key of Safaricom's certificate: one for the sandbox, one for production.
pub(super) struct Certificate(Pkcs1PublicEncryptingKey);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

/// Why a text is not a certificate to encrypt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CertificateError {
    /// Not PEM.
    #[error(
        "is not PEM: the whole text from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE----- is accepted"
    )]
    NotPem,
    /// PEM around something else.
    #[error("is not an X.509 certificate: the one that Safaricom's portal offers is accepted")]
    NotX509,
    /// Another kind of key, or an RSA key of a size that is not used.
    #[error("has no RSA key of 2048 to 8192 bits: the one that Safaricom's portal offers has")]
    NotRsa,
}

impl Certificate {
    /// The certificate in a PEM text.
    pub(super) fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let der =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertificateError::NotPem)?;
        let key = X509::from_der(&der)
            .and_then(|x509| x509.tbs_certificate.subject_public_key_info.to_der())
            .map_err(|_| CertificateError::NotX509)?;
        PublicEncryptingKey::from_der(&key)
            .map_err(|_| CertificateError::NotRsa)
            .and_then(|key| {
                Pkcs1PublicEncryptingKey::new(key).map_err(|_| CertificateError::NotRsa)
            })
            .map(Self)
    }

    /// The longest password that fits, in bytes.
    pub(super) fn longest_password(&self) -> usize {
        self.0.max_plaintext_size()
    }

    /// The credential for one request: another one every time, for the padding is random. `None` if the password is
    /// longer than [`Self::longest_password`].
    pub(super) fn security_credential(&self, password: &SecretString) -> Option<String> {
        let mut room = vec![0; self.0.ciphertext_size()];
        let encrypted = self
            .0
            .encrypt(password.expose_secret().as_bytes(), &mut room)
            .ok()?;
        Some(STANDARD.encode(encrypted))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::{Pkcs1PrivateDecryptingKey, PrivateDecryptingKey};

    use super::*;

    const CERTIFICATE: &str =
        include_str!("../../../tests/fixtures/keys/mpesa-test-certificate.pem");
    const KEY: &[u8] = include_bytes!("../../../tests/fixtures/keys/mpesa-test-key.pk8");
    const NOT_RSA: &str = include_str!("../../../tests/fixtures/keys/mpesa-test-not-rsa.pem");

    #[test]
    fn the_holder_of_the_key_reads_the_password_and_nobody_sees_the_same_twice() {
        let certificate = Certificate::from_pem(CERTIFICATE).unwrap();
        let key =
            Pkcs1PrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(KEY).unwrap()).unwrap();
        let password = SecretString::from("Sáfari#2026");
        let [first, second] = [(); 2].map(|()| certificate.security_credential(&password).unwrap());
        assert_ne!(first, second);
        for credential in [first, second] {
            let sealed = STANDARD.decode(credential).unwrap();
            assert_eq!(sealed.len(), 256);
            let mut room = vec![0; key.min_output_size()];
            let read = key.decrypt(&sealed, &mut room).unwrap();
            assert_eq!(read, password.expose_secret().as_bytes());
        }
    }

    #[test]
    fn a_password_fits_up_to_the_size_of_the_key() {
        let certificate = Certificate::from_pem(CERTIFICATE).unwrap();
        let longest = certificate.longest_password();
        assert_eq!(longest, 245);
        for (length, fits) in [(longest, true), (longest + 1, false)] {
            let password = SecretString::from("x".repeat(length));
            let credential = certificate.security_credential(&password);
            assert_eq!(credential.is_some(), fits, "{length}");
        }
    }

    #[test]
    fn what_is_no_certificate_with_an_rsa_key_is_refused_by_what_it_lacks() {
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, error) in [
            ("", CertificateError::NotPem),
            ("/etc/certificate.cer", CertificateError::NotPem),
            (
                &CERTIFICATE.replace("CERTIFICATE", "PUBLIC KEY"),
                CertificateError::NotPem,
            ),
            (garbage, CertificateError::NotX509),
            (NOT_RSA, CertificateError::NotRsa),
        ] {
            assert_eq!(Certificate::from_pem(text).unwrap_err(), error, "{text}");
        }
    }
}
