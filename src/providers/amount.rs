//! Amounts that can have been paid.

use crate::domain::money::{Amount, MAX_AMOUNT_MINOR};

/// An amount above zero and within our bounds; ClickPesa sends "0" where nothing was collected.
pub(super) fn paid_amount(text: Option<String>) -> Option<Amount> {
    Amount::parse_lenient(&text?)
        .ok()
        .filter(|amount| (1..=MAX_AMOUNT_MINOR).contains(&amount.minor()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_have_been_paid_is_an_amount() {
        for (text, minor) in [
            ("1.00", Some(100)),
            ("10000", Some(1_000_000)),
            ("5.000", Some(500)),
            ("0.00", None),
            ("-5", None),
            ("1.005", None),
            ("1e3", None),
            ("1000000000000000", None),
        ] {
            assert_eq!(
                paid_amount(Some(text.to_owned())),
                minor.map(Amount),
                "{text}"
            );
        }
    }
}
