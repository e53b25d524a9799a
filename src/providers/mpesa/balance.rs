//! The `AccountBalance` text: accounts joined by `&`, each `Name|Currency|Current|Available|Reserved|Uncleared`.

use crate::domain::money::Amount;
use crate::domain::status_update::Balance;
use crate::providers::json;

/// The accounts in a balance text. Names and their number are data; fields may be missing at the end.
pub(super) fn accounts(text: &str) -> Vec<Balance> {
    if text.trim_start().starts_with('{') {
        return from_map(text).into_iter().collect();
    }
    text.split('&').filter_map(from_pipes).collect()
}

fn from_pipes(account: &str) -> Option<Balance> {
    let mut fields = account.split('|').map(str::trim);
    // A name is a key in the table, and a key has a largest size.
    let mut word = || {
        let word = fields.next().filter(|word| !word.is_empty())?;
        json::id(word.to_owned())
    };
    let (name, currency) = (word()?, word()?);
    let mut amount = || {
        fields
            .next()
            .and_then(|text| Amount::parse_lenient(text).ok())
    };
    // Current = available + reserved in the portal's samples; an SDK's notes mislabel the two in the middle.
    Some(Balance {
        name,
        currency,
        current: amount(),
        available: amount(),
        reserved: amount(),
        uncleared: amount(),
    })
}

/// `{Amount={CurrencyCode=KES, MinimumAmount=618683, BasicAmount=6186.83}}`: the keys of a printed Java map, in
/// any order. `MinimumAmount` is cents. It names no account.
fn from_map(text: &str) -> Option<Balance> {
    let value_of = |name: &str| {
        text.split(['{', '}', ','])
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim())
    };
    let cents = || Some(Amount(value_of("MinimumAmount")?.parse().ok()?));
    let current = value_of("BasicAmount")
        .and_then(|amount| Amount::parse_lenient(amount).ok())
        .or_else(cents)?;
    Some(Balance {
        name: "Account".to_owned(),
        currency: value_of("CurrencyCode").unwrap_or("KES").to_owned(),
        current: Some(current),
        available: None,
        reserved: None,
        uncleared: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_whose_name_is_no_name_is_left_out() {
        let long = "x".repeat(8_000);
        let found = accounts(&format!("{long}|KES|1.00&Utility Account|KES|2.00"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "Utility Account");
    }

    #[test]
    fn accounts_are_found_by_name_wherever_they_stand() {
        let found = accounts(
            "Utility Account|KES|346568.83|6186.83|340382.00|0.00&Charges Paid Account|KES|-1540.00|-1540.00|0.00|0.00",
        );
        let utility = found.iter().find(|a| a.name == "Utility Account").unwrap();
        assert_eq!(utility.current, Some(Amount(34_656_883)));
        assert_eq!(utility.available, Some(Amount(618_683)));
        assert_eq!(utility.reserved, Some(Amount(34_038_200)));
        let charges = found.iter().find(|a| a.name == "Charges Paid Account");
        assert_eq!(charges.unwrap().current, Some(Amount(-154_000)));
    }

    #[test]
    fn fewer_fields_are_tolerated() {
        let found = accounts("Working Account|KES|481000.00&Float Account|KES&|&&x");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].current, Some(Amount(48_100_000)));
        assert_eq!(found[0].available, None);
        assert_eq!(found[1].current, None);
    }

    #[test]
    fn a_printed_java_map_is_read_in_any_order() {
        for text in [
            "{Amount={CurrencyCode=KES, MinimumAmount=618683, BasicAmount=6186.83}}",
            "{ Amount={BasicAmount=6186.83, MinimumAmount=618683, CurrencyCode=KES}}",
            "{Amount={CurrencyCode=KES, MinimumAmount=618683}}",
        ] {
            let found = accounts(text);
            assert_eq!(found[0].current, Some(Amount(618_683)), "{text}");
            assert_eq!(found[0].currency, "KES");
        }
        assert_eq!(accounts("{Amount={}}"), Vec::new());
    }
}
