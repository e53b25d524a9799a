//! Who paid: a clear number, or the opaque key that is left of it.

use crate::domain::msisdn::{Country, MsisdnInput};
use crate::domain::status_update::Payer;

/// Reads a payer: a clear number; a masked one (`2547 ***** 126`); or the SHA-256 of one in hex, which M-Pesa's
/// C2B sends since 2024. Hashes and masks are never worked back to a number. Anything else names nobody.
pub(super) fn payer(text: &str, country: Country) -> Option<Payer> {
    let text = text.trim();
    if let Ok(input) = MsisdnInput::parse(text) {
        return Some(Payer::Msisdn(input.in_country(country)));
    }
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_masked = text.len() <= 32
        && text.contains('*')
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '*' | ' ' | '+' | '-'));
    if is_hash {
        Some(Payer::Key(text.to_ascii_lowercase()))
    } else if is_masked {
        Some(Payer::Key(text.to_owned()))
    } else {
        None
    }
}

/// The clear number at the head of a party's public name (`254705912645 - NICHOLAS …`).
pub(super) fn payer_of_party(name: &str, country: Country) -> Option<Payer> {
    let head = name.split([' ', '-']).next()?;
    match payer(head, country) {
        Some(Payer::Msisdn(msisdn)) => Some(Payer::Msisdn(msisdn)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::msisdn::Msisdn;

    fn clear(number: &str) -> Option<Payer> {
        Some(Payer::Msisdn(Msisdn::from_international(number).unwrap()))
    }

    #[test]
    fn a_clear_number_is_a_number() {
        for text in ["254708374149", "+254708374149", "0708374149"] {
            assert_eq!(payer(text, Country::Kenya), clear("254708374149"));
        }
    }

    #[test]
    fn masks_and_hashes_are_keys() {
        for text in ["2547 ***** 126", "25470****149"] {
            assert_eq!(
                payer(text, Country::Kenya),
                Some(Payer::Key(text.to_owned()))
            );
        }
        let hash = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
        assert_eq!(
            payer(hash, Country::Kenya),
            Some(Payer::Key(hash.to_lowercase()))
        );
    }

    #[test]
    fn anything_else_names_nobody() {
        for text in ["", "600992", "NICHOLAS", "***", "256712345678"] {
            assert_eq!(payer(text, Country::Kenya), None, "{text}");
        }
    }

    #[test]
    fn a_public_name_begins_with_its_number_or_not() {
        let number = clear("254705912645");
        for name in ["254705912645 - N J S", "254705912645-N", "254705912645"] {
            assert_eq!(payer_of_party(name, Country::Kenya), number, "{name}");
        }
        for name in ["NICHOLAS", "600992 - Safaricom", "2547***645 - N", ""] {
            assert_eq!(payer_of_party(name, Country::Kenya), None, "{name}");
        }
    }
}
