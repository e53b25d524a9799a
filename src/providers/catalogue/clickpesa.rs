//! ClickPesa's status words in a sentence each; their meanings are those of `clickpesa::status_word`. Tanzanian
//! Swahili: "namba ya siri".

use super::entry::{Action, Entry, entry, say};
use super::standing as s;

/// Collections: the customer pays.
pub const PAYMENT: &[Entry] = &[
    entry("SUCCESS", s::PAID, Action::Complete),
    entry("SETTLED", s::PAID, Action::Complete),
    entry(
        "FAILED",
        say(
            "Your payment of {amount} did not go through. You can try again.",
            "Malipo yako ya {amount} hayakufanikiwa. Unaweza kujaribu tena.",
        ),
        Action::AllowRetry,
    ),
    entry("REFUNDED", s::PAYMENT_RETURNED, Action::Reversed),
    entry("REVERSED", s::PAYMENT_RETURNED, Action::Reversed),
    entry("PENDING", s::CONFIRM_WITH_PIN, Action::KeepPolling),
    entry("PROCESSING", s::CONFIRM_WITH_PIN, Action::KeepPolling),
    entry(
        "ON-HOLD",
        say(
            "Your payment of {amount} is on hold. Do not pay again; the seller is looking into it.",
            "Malipo yako ya {amount} yamesitishwa kwa muda. Usilipe tena; muuzaji anafuatilia.",
        ),
        Action::KeepPolling,
    ),
];

/// Payouts: the customer is paid.
pub const PAYOUT: &[Entry] = &[
    entry("SUCCESS", s::SENT, Action::Complete),
    entry("FAILED", s::NOT_SENT, Action::AllowRetry),
    entry("REFUNDED", s::WENT_BACK, Action::Reversed),
    entry("REVERSED", s::WENT_BACK, Action::Reversed),
    entry("AUTHORIZED", s::ON_ITS_WAY, Action::KeepPolling),
    entry("PENDING", s::ON_ITS_WAY, Action::KeepPolling),
    entry("PROCESSING", s::ON_ITS_WAY, Action::KeepPolling),
];
