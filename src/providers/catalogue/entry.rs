//! What a line of the catalogue holds: a sentence in two languages for the customer, and what the caller should do.

use super::Language;

/// A sentence in both languages; `{amount}` stands for the amount with its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sentence {
    /// English.
    pub en: &'static str,
    /// Swahili.
    pub sw: &'static str,
}

impl Sentence {
    /// The sentence in a language.
    pub fn text(self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::Swahili => self.sw,
        }
    }
}

/// A sentence.
pub const fn say(en: &'static str, sw: &'static str) -> Sentence {
    Sentence { en, sw }
}

/// What the program that asked should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Not over yet.
    KeepPolling,
    /// Paid.
    Complete,
    /// Paid, and given back.
    Reversed,
    /// The customer may try again.
    AllowRetry,
    /// The customer may try again after a while.
    WaitThenRetry,
    /// It may still turn out to be paid.
    CheckBeforeRetry,
    /// The customer needs money.
    AddFunds,
    /// The customer's account is too full.
    MakeRoom,
    /// The customer must have the PIN unlocked.
    UnlockPin,
    /// Wrong phone number.
    VerifyNumber,
    /// Something in the request.
    CheckRequest,
    /// The merchant's account at the provider needs money.
    TopUp,
    /// The merchant's account at the provider is not set up for this.
    CheckAccount,
}

impl Action {
    /// The action in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeepPolling => "Keep polling",
            Self::Complete => "Payment complete",
            Self::Reversed => "Payment reversed",
            Self::AllowRetry => "Allow retry",
            Self::WaitThenRetry => "Wait, then allow retry",
            Self::CheckBeforeRetry => "Check again before any retry",
            Self::AddFunds => "Ask user to add funds",
            Self::MakeRoom => "Ask user to make room",
            Self::UnlockPin => "Ask user to unlock the PIN",
            Self::VerifyNumber => "Verify number",
            Self::CheckRequest => "Check request data",
            Self::TopUp => "Top up the payout account",
            Self::CheckAccount => "Check the account at the provider",
        }
    }
}

/// The line of one result code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The code, or the status word of a provider that has no codes.
    pub code: &'static str,
    /// For the customer.
    pub sentence: Sentence,
    /// For the caller.
    pub action: Action,
}

/// A line.
pub const fn entry(code: &'static str, sentence: Sentence, action: Action) -> Entry {
    Entry {
        code,
        sentence,
        action,
    }
}
