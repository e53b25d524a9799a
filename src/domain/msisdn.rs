//! Phone numbers of Kenya (254) and Tanzania (255): parsed, normalised, masked when printed.
//! No list of operator prefixes: new ones appear every year (PROVIDERS 1.4).

use std::fmt;

/// A number in international form without `+`: `254` or `255` and nine digits.
///
/// Printing it, also with `Debug`, shows it masked; [`Msisdn::as_str`] is the number itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Msisdn(String);

/// The countries we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Country {
    /// 254.
    Kenya,
    /// 255.
    Tanzania,
}

impl Country {
    /// The calling code.
    pub fn calling_code(self) -> &'static str {
        match self {
            Self::Kenya => "254",
            Self::Tanzania => "255",
        }
    }
}

/// What a text says about a number: the whole of it, or only its national part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MsisdnInput {
    /// With its country.
    International(Msisdn),
    /// `0` and nine digits: which country is for the reader to say. The nine digits.
    National(NationalNumber),
}

/// The nine digits after the country or the trunk `0`.
#[derive(Clone, PartialEq, Eq)]
pub struct NationalNumber(String);

/// Not a phone number of these countries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a phone number: accepted are 254712345678, +254 712 345 678, 0712345678 and the same with 255"
)]
pub struct MsisdnError;

impl MsisdnInput {
    /// Reads a number; spaces and hyphens are ignored.
    ///
    /// # Errors
    /// If it is none of the accepted forms.
    pub fn parse(text: &str) -> Result<Self, MsisdnError> {
        let cleaned: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let (plus, digits) = match cleaned.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, cleaned.as_str()),
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(MsisdnError);
        }
        match (plus, digits.len(), digits.strip_prefix('0')) {
            (_, 12, _) if digits.starts_with("254") || digits.starts_with("255") => {
                Ok(Self::International(Msisdn(digits.to_owned())))
            }
            (false, 10, Some(national)) => Ok(Self::National(NationalNumber(national.to_owned()))),
            _ => Err(MsisdnError),
        }
    }

    /// The number, a national form taking `country`.
    pub fn in_country(self, country: Country) -> Msisdn {
        match self {
            Self::International(msisdn) => msisdn,
            Self::National(number) => number.in_country(country),
        }
    }
}

impl NationalNumber {
    /// The number in `country`.
    pub fn in_country(&self, country: Country) -> Msisdn {
        Msisdn(format!("{}{}", country.calling_code(), self.0))
    }
}

impl fmt::Debug for NationalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0********")
    }
}

impl Msisdn {
    /// A number already in international form, as providers and our own table have it.
    ///
    /// # Errors
    /// If it is not `254` or `255` and nine digits.
    pub fn from_international(text: &str) -> Result<Self, MsisdnError> {
        match MsisdnInput::parse(text)? {
            MsisdnInput::International(msisdn) => Ok(msisdn),
            MsisdnInput::National(_) => Err(MsisdnError),
        }
    }

    /// The whole number: `254712345678`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `2547*****678`: enough to recognise, not enough to call.
    pub fn masked(&self) -> String {
        let head: String = self.0.chars().take(4).collect();
        let tail: String = self.0.chars().skip(9).collect();
        format!("{head}*****{tail}")
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form_becomes_one() {
        for text in [
            "254712345654",
            "+254712345654",
            "+254 712 345 654",
            "254-712-345-654",
            "0712345654",
            "0712 345-654",
        ] {
            let msisdn = MsisdnInput::parse(text).unwrap().in_country(Country::Kenya);
            assert_eq!(msisdn.as_str(), "254712345654", "{text}");
        }
        let tanzanian = MsisdnInput::parse("0712345654")
            .unwrap()
            .in_country(Country::Tanzania);
        assert_eq!(tanzanian.as_str(), "255712345654");
    }

    #[test]
    fn what_is_no_number_of_these_countries_is_refused() {
        for text in [
            "",
            "+",
            "712345654",
            "256712345654",
            "25471234565",
            "2547123456789",
            "+0712345654",
            "07123456541",
            "2547 ***** 126",
            "٢٥٤٧١٢٣٤٥٦٥٤",
            "abc",
        ] {
            assert_eq!(MsisdnInput::parse(text), Err(MsisdnError), "{text}");
        }
    }

    #[test]
    fn it_prints_masked() {
        let msisdn = Msisdn::from_international("254712345654").unwrap();
        assert_eq!(format!("{msisdn}"), "2547*****654");
        assert_eq!(format!("{msisdn:?}"), "2547*****654");
    }
}
