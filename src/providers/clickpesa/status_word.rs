//! What ClickPesa's status words and event names mean. ClickPesa has no result codes: the word is the code.

use crate::domain::status_update::{Api, ResultClass};

/// What a word says of a payment or payout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The class.
    pub class: ResultClass,
    /// The money went back.
    pub returned: bool,
}

impl Verdict {
    const fn plain(class: ResultClass) -> Self {
        Self {
            class,
            returned: false,
        }
    }

    const RETURNED: Self = Self {
        class: ResultClass::Failed,
        returned: true,
    };
}

/// The verdict of a status word (docs.clickpesa.com, payment-status and payout-status). A word may come in any
/// case; a new one is unknown.
pub fn classify(api: Api, word: &str) -> Verdict {
    let payout = api == Api::ClickpesaPayout;
    match canonical(word).as_str() {
        "SUCCESS" => Verdict::plain(ResultClass::Success),
        "SETTLED" if !payout => Verdict::plain(ResultClass::Success),
        "FAILED" => Verdict::plain(ResultClass::Failed),
        "REFUNDED" | "REVERSED" => Verdict::RETURNED,
        "PENDING" | "PROCESSING" => Verdict::plain(ResultClass::Pending),
        "ON-HOLD" if !payout => Verdict::plain(ResultClass::Pending),
        "AUTHORIZED" if payout => Verdict::plain(ResultClass::Pending),
        _ => Verdict::plain(ResultClass::Unknown),
    }
}

/// The word a verdict would have had, for news whose event says it all.
pub(super) fn word_of_event(event: &str) -> Option<&'static str> {
    match event {
        "PAYMENT-RECEIVED" => Some("SUCCESS"),
        "PAYMENT-FAILED" | "PAYOUT-FAILED" => Some("FAILED"),
        "PAYMENT-REFUNDED" | "PAYOUT-REFUNDED" => Some("REFUNDED"),
        "PAYMENT-REVERSED" | "PAYOUT-REVERSED" => Some("REVERSED"),
        "PAYOUT-INITIATED" => Some("PENDING"),
        _ => None,
    }
}

/// A word or event in capitals, its parts joined by hyphens, however they were joined before.
pub(super) fn canonical(word: &str) -> String {
    let upper = word.to_ascii_uppercase();
    let parts = upper.split(|c: char| c.is_whitespace() || matches!(c, '_' | '-' | '.'));
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_both_apis_has_its_class() {
        let rows = [
            (
                Api::ClickpesaPayment,
                ResultClass::Success,
                "SUCCESS SETTLED success",
            ),
            (
                Api::ClickpesaPayment,
                ResultClass::Failed,
                "FAILED REFUNDED REVERSED",
            ),
            (
                Api::ClickpesaPayment,
                ResultClass::Pending,
                "PENDING PROCESSING ON-HOLD on_hold",
            ),
            (
                Api::ClickpesaPayment,
                ResultClass::Unknown,
                "AUTHORIZED CANCELLED PAID 0",
            ),
            (
                Api::ClickpesaPayout,
                ResultClass::Success,
                "SUCCESS Success",
            ),
            (
                Api::ClickpesaPayout,
                ResultClass::Failed,
                "FAILED REFUNDED REVERSED",
            ),
            (
                Api::ClickpesaPayout,
                ResultClass::Pending,
                "AUTHORIZED PENDING PROCESSING",
            ),
            (
                Api::ClickpesaPayout,
                ResultClass::Unknown,
                "SETTLED ON-HOLD DELIVERED",
            ),
        ];
        for (api, class, words) in rows {
            for word in words.split(' ') {
                let verdict = classify(api, word);
                assert_eq!(verdict.class, class, "{api:?} {word}");
                let returned = matches!(word, "REFUNDED" | "REVERSED");
                assert_eq!(verdict.returned, returned, "{word}");
            }
        }
        assert_eq!(
            classify(Api::ClickpesaPayment, " On  Hold").class,
            ResultClass::Pending
        );
    }

    #[test]
    fn words_are_joined_in_one_way() {
        for word in [
            "PAYMENT RECEIVED",
            "payment_received",
            "Payment - Received",
            "payment.received",
        ] {
            assert_eq!(canonical(word), "PAYMENT-RECEIVED");
        }
    }
}
