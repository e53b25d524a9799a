//! Money in minor units (cents), never in a binary float.

use std::fmt;
use std::str::FromStr;

/// The largest amount a request may carry: 999,999,999,999.99, in minor units.
pub const MAX_AMOUNT_MINOR: i64 = 99_999_999_999_999;

/// An amount in minor units (hundredths of the currency's unit); may be negative in balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(pub i64);

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a plain decimal number.
    #[error("is not a decimal number")]
    NotANumber,
    /// More than two decimals.
    #[error("has more than two decimals")]
    TooPrecise,
    /// Does not fit.
    #[error("is out of range")]
    OutOfRange,
}

impl Amount {
    /// Minor units (hundredths).
    pub fn minor(self) -> i64 {
        self.0
    }

    /// Whether the amount has no cents.
    pub fn is_whole(self) -> bool {
        self.0 % 100 == 0
    }

    /// Parses what a provider prints, where trailing zeros beyond two decimals are harmless (`10.000`).
    ///
    /// # Errors
    /// As [`Amount::from_str`].
    pub fn parse_lenient(text: &str) -> Result<Self, AmountError> {
        let text = text.trim();
        match text.split_once('.') {
            Some((whole, fraction)) if fraction.len() > 2 => {
                let (kept, rest) = fraction
                    .split_at_checked(2)
                    .ok_or(AmountError::NotANumber)?;
                if rest.bytes().all(|digit| digit == b'0') {
                    format!("{whole}.{kept}").parse()
                } else {
                    Err(AmountError::TooPrecise)
                }
            }
            _ => text.parse(),
        }
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// A plain decimal with at most two decimals: `1200`, `1200.5`, `-0.50`.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || (digits.contains('.') && fraction.is_empty())
            || !all_digits(whole)
            || !all_digits(fraction)
        {
            return Err(AmountError::NotANumber);
        }
        if fraction.len() > 2 {
            return Err(AmountError::TooPrecise);
        }
        let minor = format!("{whole}{fraction:0<2}")
            .parse::<i64>()
            .map_err(|_| AmountError::OutOfRange)?;
        Ok(Self(if negative { -minor } else { minor }))
    }
}

impl fmt::Display for Amount {
    /// Always two decimals: `1200.00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let minor = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", minor / 100, minor % 100)
    }
}

/// A currency code of ISO 4217: three capital letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(String);

impl Currency {
    /// Kenya shilling.
    pub fn kes() -> Self {
        Self("KES".to_owned())
    }

    /// Tanzania shilling.
    pub fn tzs() -> Self {
        Self("TZS".to_owned())
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a currency code of three capital letters such as KES or TZS")]
pub struct CurrencyError;

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CurrencyError)
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_printed_exactly() {
        for (text, minor, printed) in [
            ("1200", 120_000, "1200.00"),
            ("1200.5", 120_050, "1200.50"),
            ("0.01", 1, "0.01"),
            ("-1980.00", -198_000, "-1980.00"),
            ("-0.5", -50, "-0.50"),
            ("8959269.60", 895_926_960, "8959269.60"),
            ("999999999999.99", MAX_AMOUNT_MINOR, "999999999999.99"),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount, Amount(minor), "{text}");
            assert_eq!(amount.to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for (text, error) in [
            ("", AmountError::NotANumber),
            ("1e3", AmountError::NotANumber),
            ("1.", AmountError::NotANumber),
            (".5", AmountError::NotANumber),
            ("1,200", AmountError::NotANumber),
            ("--1", AmountError::NotANumber),
            ("0.001", AmountError::TooPrecise),
            ("99999999999999999999", AmountError::OutOfRange),
        ] {
            assert_eq!(text.parse::<Amount>(), Err(error), "{text}");
        }
    }

    #[test]
    fn trailing_zeros_of_a_provider_are_harmless() {
        assert_eq!(Amount::parse_lenient(" 10.0000 "), Ok(Amount(1_000)));
        assert_eq!(
            Amount::parse_lenient("10.005"),
            Err(AmountError::TooPrecise)
        );
    }
}
