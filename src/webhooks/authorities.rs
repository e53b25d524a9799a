//! Certificate authorities of the operator's own, for partners inside its network: `WEBHOOK_CA_FILE`, trusted besides
//! those of the system.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "WEBHOOK_CA_FILE: {path} {found}; a file of one or more CA certificates in PEM is accepted"
)]
pub struct AuthoritiesError {
    path: String,
    found: String,
}

/// Every certificate of a PEM file.
///
/// # Errors
/// If it cannot be read, has no certificate, or one that nothing could be checked against.
pub fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let refused = |found: String| AuthoritiesError {
        path: path.display().to_string(),
        found,
    };
    let text = std::fs::read(path).map_err(|error| refused(format!("cannot be read ({error})")))?;
    let mut authorities = Vec::new();
    let mut known = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let number = authorities.len() + 1;
        let wrong = |reason: String| {
            refused(format!(
                "has a certificate, number {number}, that is none ({reason})"
            ))
        };
        let certificate = certificate.map_err(|error| wrong(format!("{error:?}")))?;
        known
            .add(certificate.clone())
            .map_err(|error| wrong(error.to_string()))?;
        authorities.push(certificate);
    }
    if authorities.is_empty() {
        return Err(refused("has no certificate".to_owned()));
    }
    Ok(authorities)
}

#[cfg(test)]
#[path = "authorities_tests.rs"]
mod tests;
