//! What a result means for the person with the phone: one line in English and one in Swahili, keyed by API (which names
//! the provider) and result code, and whether the same may be started anew without paying twice. Every sentence to a
//! customer is here and nowhere else; each fits into 160 characters of a text message with any amount and receipt.

mod clickpesa;
mod entry;
mod gsm;
mod mpesa;
pub mod screen;
mod standing;

use std::str::FromStr;

use crate::domain::money::{Amount, Currency};
use crate::domain::status::Status;
use crate::domain::status_update::{Api, ResultClass};
use crate::domain::transaction::{Provider, Transaction};
use crate::providers::clickpesa::status_word;
use crate::providers::mpesa::result_code;
pub use entry::{Action, Entry, Sentence};
pub use gsm::septets;
use standing::Part;

/// The longest line: one text message, or one USSD screen, in septets.
pub const LINE_MAX: usize = 160;
/// How many characters of a receipt are shown; M-Pesa's have ten. A longer one is cut and says so.
pub const RECEIPT_SHOWN_MAX: usize = 30;
const CUT: &str = "..";

/// How long the provider has been silent about what is not final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// No longer than payments take.
    Usual,
    /// Longer.
    Overdue,
    /// It is asked no more.
    Stuck,
}

/// A language of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Swahili.
    Swahili,
}

impl Language {
    /// Both.
    pub const ALL: [Self; 2] = [Self::English, Self::Swahili];
}

impl FromStr for Language {
    type Err = ();

    /// The codes of ISO 639-1.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "en" => Ok(Self::English),
            "sw" => Ok(Self::Swahili),
            _ => Err(()),
        }
    }
}

/// What to say of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// In English.
    pub en: String,
    /// In Swahili.
    pub sw: String,
    /// What the program that asked should do.
    pub action: Action,
    /// Whether it is certain that nothing moved and nothing will, so that the same as a new request cannot pay twice.
    pub safe_to_retry: bool,
}

impl Line {
    /// The line in a language.
    pub fn text(&self, language: Language) -> &str {
        match language {
            Language::English => &self.en,
            Language::Swahili => &self.sw,
        }
    }
}

/// What to say of a transaction as it stands. `silence` matters only while it is not final.
pub fn describe(transaction: &Transaction, silence: Silence) -> Line {
    let (sentence, action) = sentence(transaction, silence);
    let amount = match transaction.status {
        Status::Success | Status::Failed => transaction.paid.unwrap_or(transaction.amount),
        Status::Queued | Status::Accepted => transaction.amount,
    };
    let amount = shown_amount(amount, &transaction.currency);
    let receipt = transaction
        .receipt
        .as_deref()
        .filter(|_| transaction.status == Status::Success)
        .map(shown_receipt);
    let fill = |text: &str, word: &str| {
        let mut line = text.replace("{amount}", &amount);
        if let Some(receipt) = &receipt {
            line.push_str(word);
            line.push_str(receipt);
            line.push('.');
        }
        line
    };
    Line {
        en: fill(sentence.en, standing::RECEIPT.en),
        sw: fill(sentence.sw, standing::RECEIPT.sw),
        action,
        safe_to_retry: is_safe_to_retry(transaction),
    }
}

fn sentence(transaction: &Transaction, silence: Silence) -> (Sentence, Action) {
    let part = Part::of(transaction.kind);
    match (transaction.status, silence) {
        (Status::Success, _) => (
            final_entry(transaction).map_or(standing::success(part), |entry| entry.sentence),
            Action::Complete,
        ),
        (Status::Failed, _) => failure(transaction, part),
        (_, Silence::Stuck) => (standing::stuck(part), Action::KeepPolling),
        (_, Silence::Overdue) => (standing::overdue(part), Action::KeepPolling),
        (status, Silence::Usual) => {
            let told = provider_word(transaction)
                .filter(|(api, word)| class(*api, word).0 == ResultClass::Pending)
                .and_then(|(api, word)| find(api, word));
            let standing = match status {
                Status::Queued => standing::queued(part),
                _ => standing::accepted(part, transaction.provider),
            };
            (
                told.map_or(standing, |entry| entry.sentence),
                Action::KeepPolling,
            )
        }
    }
}

fn failure(transaction: &Transaction, part: Part) -> (Sentence, Action) {
    if transaction.reversed_at.is_some() {
        return (standing::reversed(part), Action::Reversed);
    }
    if let Some(entry) = final_entry(transaction) {
        return (entry.sentence, entry.action);
    }
    if transaction.unconfirmed {
        return (standing::unconfirmed(part), Action::CheckBeforeRetry);
    }
    if !was_refused(transaction) {
        return (standing::failed(part), Action::CheckBeforeRetry);
    }
    let code = transaction.result_code.as_deref().unwrap_or_default();
    let is_throttled = mpesa::THROTTLED_CODES.contains(&code);
    match part {
        Part::Prompted if is_throttled => (mpesa::THROTTLED, Action::WaitThenRetry),
        Part::Prompted | Part::Payer => (standing::refused(part), Action::AllowRetry),
        Part::Receiver | Part::Returned => (standing::refused(part), Action::CheckAccount),
    }
}

/// The line of the code that a transaction ended with, or of the word by which a status query told of its failure.
fn final_entry(transaction: &Transaction) -> Option<&'static Entry> {
    let (api, code) = match transaction.result_code.as_deref() {
        Some(code) => (Api::of(transaction.kind), code),
        None => provider_word(transaction)?,
    };
    let fits = match class(api, code).0 {
        ResultClass::Success => transaction.status == Status::Success && api != Api::StatusQuery,
        ResultClass::Failed | ResultClass::Unconfirmed => transaction.status == Status::Failed,
        ResultClass::Pending | ResultClass::Unknown => false,
    };
    find(api, code).filter(|_| fits)
}

/// The provider's own word for the state, and whose word it is: M-Pesa's comes from status queries only.
fn provider_word(transaction: &Transaction) -> Option<(Api, &str)> {
    let word = transaction.provider_status.as_deref()?;
    let api = match transaction.provider {
        Provider::Mpesa => Api::StatusQuery,
        Provider::Clickpesa => Api::of(transaction.kind),
    };
    Some((api, word))
}

/// Refused when it was to be started: the refusal has an error code with dots (Daraja) or none, and nothing was heard of
/// the payment before or after.
fn was_refused(transaction: &Transaction) -> bool {
    let is_refusal = |code: &str| code.contains('.');
    transaction.status == Status::Failed
        && transaction.reversed_at.is_none()
        && !transaction.unconfirmed
        && transaction.provider_status.is_none()
        && transaction.result_code.as_deref().is_none_or(is_refusal)
}

/// Only a failure that nothing can overturn is safe, and only if no money went there and back.
fn is_safe_to_retry(transaction: &Transaction) -> bool {
    if transaction.status != Status::Failed
        || transaction.unconfirmed
        || transaction.reversed_at.is_some()
    {
        return false;
    }
    if was_refused(transaction) {
        return true;
    }
    match &transaction.result_code {
        Some(code) => code_is_safe(Api::of(transaction.kind), code),
        None => provider_word(transaction).is_some_and(|(api, word)| code_is_safe(api, word)),
    }
}

/// Whether a result of this code leaves no doubt that nothing moved.
pub fn code_is_safe(api: Api, code: &str) -> bool {
    let needs_a_check =
        find(api, code).is_none_or(|entry| entry.action == Action::CheckBeforeRetry);
    class(api, code) == (ResultClass::Failed, false) && !needs_a_check
}

/// The class of a code or word, and whether it says that money went back.
pub fn class(api: Api, code: &str) -> (ResultClass, bool) {
    match api {
        Api::ClickpesaPayment | Api::ClickpesaPayout => {
            let verdict = status_word::classify(api, code);
            (verdict.class, verdict.returned)
        }
        Api::StatusQuery => result_code::classify_transaction_status(code),
        _ => (result_code::classify(api, code), false),
    }
}

/// The line of a result code, or of a status word where those stand for codes.
pub fn find(api: Api, code: &str) -> Option<&'static Entry> {
    let wanted = squeezed(code);
    tables(api)
        .iter()
        .flat_map(|table| table.iter())
        .find(|entry| squeezed(entry.code) == wanted)
}

/// Every line of an API. A confirmation (C2B) is the fact itself and has no codes.
pub fn tables(api: Api) -> &'static [&'static [Entry]] {
    match api {
        Api::Stk => &[mpesa::STK],
        Api::B2c => &[mpesa::B2C],
        Api::B2b => &[mpesa::B2B],
        Api::Reversal => &[mpesa::REVERSAL],
        Api::Balance => &[mpesa::QUESTION],
        Api::StatusQuery => &[mpesa::TRANSACTION_STATUS, mpesa::QUESTION],
        Api::C2b => &[],
        Api::ClickpesaPayment => &[clickpesa::PAYMENT],
        Api::ClickpesaPayout => &[clickpesa::PAYOUT],
    }
}

/// What senders disagree about: case, signs, spaces and what joins the parts of a word.
fn squeezed(code: &str) -> String {
    code.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

/// An amount as people write it: `Ksh 1,200.00`.
fn shown_amount(amount: Amount, currency: &Currency) -> String {
    let label = match currency.as_str() {
        "KES" => "Ksh",
        "TZS" => "TSh",
        other => other,
    };
    let plain = amount.to_string();
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain.as_str()),
    };
    let (whole, cents) = digits.split_once('.').unwrap_or((digits, "00"));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{label} {sign}{grouped}.{cents}")
}

/// A receipt in characters of one septet each, cut where it gets too long for a line.
fn shown_receipt(receipt: &str) -> String {
    let plain = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if gsm::is_basic(c) && !c.is_control() {
                    c
                } else {
                    '?'
                }
            })
            .collect()
    };
    let kept: String = receipt
        .chars()
        .take(RECEIPT_SHOWN_MAX - CUT.len())
        .collect();
    if receipt.chars().count() > RECEIPT_SHOWN_MAX {
        format!("{}{CUT}", plain(&kept))
    } else {
        plain(receipt)
    }
}

#[cfg(test)]
mod tests;
