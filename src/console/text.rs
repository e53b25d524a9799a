//! How pages write things: amounts, times, statuses, names of providers and kinds, and bodies without phone numbers.

use std::fmt;

use chrono::SecondsFormat;

use crate::domain::clock::Instant;
use crate::domain::money::Amount;
use crate::domain::status::Status;
use crate::domain::transaction::{Kind, Provider};

/// An amount with its thousands apart: `1,200.00`.
pub fn amount(amount: Amount) -> String {
    let text = amount.to_string();
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    format!("{sign}{}.{cents}", thousands(digits))
}

/// A count with its thousands apart: `1,234`.
pub fn count(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let sign = if count < 0 { "-" } else { "" };
    format!("{sign}{}", thousands(&digits))
}

fn thousands(digits: &str) -> String {
    let length = digits.len();
    let mut text = String::with_capacity(length + length / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (length - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time as an element that programs can read too, in UTC: `25 Nov 12:34:56`.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub Instant);

impl Time {
    /// For programs.
    pub fn iso(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// For people.
    pub fn short(self) -> String {
        self.0.format("%-d %b %H:%M:%S").to_string()
    }

    /// The same to the millisecond.
    pub fn exact(self) -> String {
        self.0.format("%-d %b %Y %H:%M:%S%.3f").to_string()
    }

    /// How long before `now`: `3 min`, `2 h`, `5 d`.
    pub fn age(self, now: Instant) -> String {
        let seconds = (now - self.0).num_seconds().max(0);
        match seconds {
            0..60 => format!("{seconds} s"),
            60..3_600 => format!("{} min", seconds / 60),
            3_600..172_800 => format!("{} h", seconds / 3_600),
            _ => format!("{} d", seconds / 86_400),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// A status for people.
pub fn status(status: Status) -> &'static str {
    match status {
        Status::Queued => "Queued",
        Status::Accepted => "Accepted",
        Status::Success => "Success",
        Status::Failed => "Failed",
    }
}

/// A provider for people.
pub fn provider(provider: Provider) -> &'static str {
    match provider {
        Provider::Mpesa => "M-Pesa",
        Provider::Clickpesa => "ClickPesa",
    }
}

/// A kind for people.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::StkPush => "STK push",
        Kind::B2c => "B2C payout",
        Kind::C2b => "C2B payment",
        Kind::Reversal => "Reversal",
        Kind::UssdPush => "USSD push",
        Kind::Payout => "Payout",
    }
}

/// Digits of a number without its country and without the leading 0.
const NATIONAL_DIGITS: usize = 9;
/// Digits of an M-Pesa CheckoutRequestID that has the customer's number in it, at least.
const CHECKOUT_ID_DIGITS: usize = 14 + NATIONAL_DIGITS;

/// A body for people, with every run of digits masked that may be a phone number.
pub fn masked(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut masked = String::with_capacity(text.len());
    let mut run = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            run.push(character);
        } else {
            mask_run(&mut masked, &mut run);
            masked.push(character);
        }
    }
    mask_run(&mut masked, &mut run);
    masked
}

fn mask_run(masked: &mut String, run: &mut String) {
    let is_number = match run.len() {
        12 => run.starts_with("254") || run.starts_with("255"),
        10 => run.starts_with('0'),
        9 => run.starts_with(['1', '6', '7']),
        _ => false,
    };
    // An M-Pesa CheckoutRequestID ends in its time, three digits more, and the number.
    if run.len() >= CHECKOUT_ID_DIGITS {
        let (head, tail) = run.split_at(run.len() - NATIONAL_DIGITS);
        masked.push_str(head);
        let mut number = tail.to_owned();
        run.clear();
        mask_run(masked, &mut number);
        return;
    }
    if is_number {
        let (head, tail) = (run.get(..4), run.get(run.len() - 3..));
        masked.push_str(head.unwrap_or_default());
        masked.push_str(&"*".repeat(run.len().saturating_sub(7)));
        masked.push_str(tail.unwrap_or_default());
    } else {
        masked.push_str(run);
    }
    run.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (minor, text) in [
            (0, "0.00"),
            (99_900, "999.00"),
            (120_000, "1,200.00"),
            (99_999_999_999_999, "999,999,999,999.99"),
            (-198_000, "-1,980.00"),
        ] {
            assert_eq!(amount(Amount(minor)), text);
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
    }

    #[test]
    fn phone_numbers_in_bodies_are_masked_and_nothing_else() {
        let body = r#"{"PhoneNumber":254712345678,"Msisdn":"0712345678","n":"712345678 - Asha","d":20260314180926,"a":1200.00,"id":"254123"}"#;
        assert_eq!(
            masked(body.as_bytes()),
            r#"{"PhoneNumber":2547*****678,"Msisdn":"0712***678","n":"7123**678 - Asha","d":20260314180926,"a":1200.00,"id":"254123"}"#
        );
        assert_eq!(
            masked(b"ws_CO_26112026034339008712345678"),
            "ws_CO_261120260343390087123**678"
        );
        assert_eq!(masked(b"\xff255712345678"), "\u{fffd}2557*****678");
    }
}
