//! Everything Safaricom sends is East Africa Time, which has no summer time: UTC+3, always.

use std::ops::RangeInclusive;

use chrono::{Datelike, Duration, NaiveDateTime};

use crate::domain::clock::Instant;

/// The two formats seen: 14 digits (STK, reversal, C2B) and `06.07.2024 22:48:52` (B2C).
const FORMATS: [&str; 2] = ["%Y%m%d%H%M%S", "%d.%m.%Y %H:%M:%S"];

/// How far East Africa Time is ahead of UTC.
const AHEAD: Duration = Duration::hours(3);

/// The years in which a payment can have happened.
const YEARS: RangeInclusive<i32> = 2000..=9999;

/// An instant from Safaricom's local time.
pub(super) fn from_eat(text: &str) -> Option<Instant> {
    let [digits, dotted] = FORMATS;
    let format = if text.len() == 14 { digits } else { dotted };
    let local = NaiveDateTime::parse_from_str(text, format).ok()?;
    let utc = local.checked_sub_signed(AHEAD)?;
    // Signed years of any length parse too, and no database of ours keeps them.
    Some(utc.and_utc()).filter(|at| YEARS.contains(&at.year()))
}

/// The 14 digits of Safaricom's local time, as our requests carry them. No time zone is stated for them; what
/// Safaricom itself sends is East Africa Time.
pub(super) fn to_eat(at: Instant) -> String {
    let [digits, _] = FORMATS;
    (at.naive_utc() + AHEAD).format(digits).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_send_is_three_hours_ahead_of_utc_too() {
        let at: Instant = "2023-12-31T22:30:59.9Z".parse().unwrap();
        assert_eq!(to_eat(at), "20240101013059");
    }

    #[test]
    fn years_of_no_payment_are_no_times() {
        for text in [
            "00010101000000",
            "01.01.-5000 00:00:00",
            "01.01.99999 00:00:00",
        ] {
            assert_eq!(from_eat(text), None, "{text}");
        }
    }

    #[test]
    fn both_formats_are_three_hours_ahead_of_utc() {
        for (text, utc) in [
            ("20191219102115", "2019-12-19T07:21:15+00:00"),
            ("06.07.2024 22:48:52", "2024-07-06T19:48:52+00:00"),
            ("20240101013000", "2023-12-31T22:30:00+00:00"),
        ] {
            assert_eq!(from_eat(text).unwrap().to_rfc3339(), utc);
        }
    }

    #[test]
    fn what_is_no_time_is_absent() {
        for text in [
            "",
            "0",
            "20191319102115",
            "2019121910211",
            "-0191219102115",
            "soon",
        ] {
            assert_eq!(from_eat(text), None, "{text}");
        }
    }
}
