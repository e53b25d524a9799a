//! M-Pesa's result codes in a sentence each, by API; their meanings are those of `mpesa::result_code`. Kenyan Swahili:
//! "PIN", "nambari".

use super::entry::{Action, Entry, Sentence, entry, say};
use super::standing as s;

const NOT_SHOWN: Sentence = say(
    "The request could not be shown on your phone. Please contact the seller.",
    "Ombi halikuweza kuonyeshwa kwenye simu yako. Tafadhali wasiliana na muuzaji.",
);
const CANCELLED: Sentence = say(
    "You cancelled the payment of {amount}. You can try again.",
    "Umeghairi malipo ya {amount}. Unaweza kujaribu tena.",
);
const NUMBER_INVALID: Sentence = say(
    "The phone number is not valid, so {amount} was not sent.",
    "Nambari ya simu si sahihi, hivyo {amount} hazikutumwa.",
);
const WRONG_ID: Sentence = say(
    "Your ID does not match your M-Pesa registration, so {amount} was not sent.",
    "Kitambulisho chako hakilingani na usajili wako wa M-Pesa, hivyo {amount} hazikutumwa.",
);
const NOT_ASKED: Sentence = say(
    "We could not check with M-Pesa just now. Do not pay again; check later.",
    "Hatukuweza kuuliza M-Pesa kwa sasa. Usilipe tena; angalia baadaye.",
);
const WORKING: Sentence = say(
    "M-Pesa is working on the payment of {amount}. Please wait.",
    "M-Pesa inashughulikia malipo ya {amount}. Tafadhali subiri.",
);
const NOT_MADE_TO_BUSINESS: Sentence = say(
    "The payment of {amount} to the business was not made.",
    "Malipo ya {amount} kwa biashara hayakufanyika.",
);

/// M-Pesa Express: the customer pays.
pub const STK: &[Entry] = &[
    entry("0", s::PAID, Action::Complete),
    entry(
        "1",
        say(
            "You do not have enough money in M-Pesa to pay {amount}.",
            "Salio lako la M-Pesa halitoshi kulipa {amount}.",
        ),
        Action::AddFunds,
    ),
    entry(
        "2",
        say(
            "{amount} is less than M-Pesa allows.",
            "{amount} ni chini ya kiwango cha chini cha M-Pesa.",
        ),
        Action::CheckRequest,
    ),
    entry(
        "3",
        say(
            "{amount} is more than M-Pesa allows in one payment.",
            "{amount} inazidi kiwango cha juu cha M-Pesa kwa muamala mmoja.",
        ),
        Action::CheckRequest,
    ),
    entry(
        "4",
        say(
            "Paying {amount} would pass your M-Pesa limit for today. Please try tomorrow.",
            "Kulipa {amount} kutazidi kikomo chako cha M-Pesa cha leo. Tafadhali jaribu kesho.",
        ),
        Action::WaitThenRetry,
    ),
    entry(
        "8",
        say(
            "The seller's M-Pesa account cannot take {amount} now. Please contact the seller.",
            "Akaunti ya M-Pesa ya muuzaji haiwezi kupokea {amount} kwa sasa. Wasiliana na muuzaji.",
        ),
        Action::CheckAccount,
    ),
    entry(
        "17",
        say(
            "You made the same payment a moment ago. Check that it went through before you pay again.",
            "Umefanya malipo kama haya muda mfupi uliopita. Hakikisha kama yamefanikiwa kabla ya kulipa tena.",
        ),
        Action::CheckBeforeRetry,
    ),
    entry(
        "1019",
        say(
            "The time to confirm the payment of {amount} ran out. You can try again.",
            "Muda wa kuthibitisha malipo ya {amount} umekwisha. Unaweza kujaribu tena.",
        ),
        Action::AllowRetry,
    ),
    entry(
        "1025",
        say(
            "The request could not be sent to your phone. Please try again.",
            "Ombi halikuweza kutumwa kwenye simu yako. Tafadhali jaribu tena.",
        ),
        Action::AllowRetry,
    ),
    entry("1031", CANCELLED, Action::AllowRetry),
    entry("1032", CANCELLED, Action::AllowRetry),
    entry("1101", NOT_SHOWN, Action::CheckRequest),
    entry("1102", NOT_SHOWN, Action::CheckRequest),
    entry(
        "2001",
        say(
            "The M-Pesa PIN you entered is wrong. Please try again.",
            "PIN ya M-Pesa uliyoweka si sahihi. Tafadhali jaribu tena.",
        ),
        Action::AllowRetry,
    ),
    entry(
        "2008",
        say(
            "M-Pesa could not verify you. Please try again.",
            "M-Pesa haikuweza kukuthibitisha. Tafadhali jaribu tena.",
        ),
        Action::AllowRetry,
    ),
    entry(
        "2026",
        say(
            "The session on your phone ended before you paid. Please try again.",
            "Muda kwenye simu yako uliisha kabla hujalipa. Tafadhali jaribu tena.",
        ),
        Action::AllowRetry,
    ),
    entry(
        "2028",
        say(
            "The seller cannot take this payment through M-Pesa. Please contact the seller.",
            "Muuzaji hawezi kupokea malipo haya kwa M-Pesa. Tafadhali wasiliana na muuzaji.",
        ),
        Action::CheckAccount,
    ),
    entry(
        "8006",
        say(
            "Your M-Pesa PIN is locked. Contact Safaricom to have it unlocked.",
            "PIN yako ya M-Pesa imefungwa. Wasiliana na Safaricom ili ifunguliwe.",
        ),
        Action::UnlockPin,
    ),
    entry(
        "SFC_IC0003",
        say(
            "The seller's M-Pesa number is not valid. Please contact the seller.",
            "Nambari ya M-Pesa ya muuzaji si sahihi. Tafadhali wasiliana na muuzaji.",
        ),
        Action::CheckAccount,
    ),
    entry(
        "26",
        say(
            "M-Pesa is busy and has not confirmed your payment. We are checking; do not pay again yet.",
            "M-Pesa ina shughuli nyingi, haijathibitisha malipo yako. Tunafuatilia; usilipe tena kwa sasa.",
        ),
        Action::CheckBeforeRetry,
    ),
    entry(
        "1001",
        say(
            "Another M-Pesa request was open on your phone. We are checking; do not pay again yet.",
            "Ombi lingine la M-Pesa lilikuwa kwenye simu yako. Tunafuatilia; usilipe tena kwa sasa.",
        ),
        Action::CheckBeforeRetry,
    ),
    entry(
        "1036",
        say(
            "Your phone could not be reached. We are checking; do not pay again yet.",
            "Simu yako haikupatikana. Tunafuatilia; usilipe tena kwa sasa.",
        ),
        Action::CheckBeforeRetry,
    ),
    entry(
        "1037",
        say(
            "No answer came from your phone in time. We are checking; do not pay again yet.",
            "Hakuna jibu kutoka kwa simu yako kwa wakati. Tunafuatilia; usilipe tena kwa sasa.",
        ),
        Action::CheckBeforeRetry,
    ),
    entry("9999", s::NOT_CONFIRMED, Action::CheckBeforeRetry),
    entry("4999", s::ENTER_MPESA_PIN, Action::KeepPolling),
    entry("100000100", s::UNKNOWN_PAYMENT, Action::KeepPolling),
];

/// Business to customer: the customer is paid.
pub const B2C: &[Entry] = &[
    entry("0", s::SENT, Action::Complete),
    entry("1", s::NOT_SENT, Action::TopUp),
    entry(
        "2",
        say(
            "{amount} is less than M-Pesa can send.",
            "{amount} ni chini ya kiwango ambacho M-Pesa inaweza kutuma.",
        ),
        Action::CheckRequest,
    ),
    entry(
        "3",
        say(
            "{amount} is more than M-Pesa can send at once.",
            "{amount} inazidi kiwango ambacho M-Pesa inaweza kutuma kwa mara moja.",
        ),
        Action::CheckRequest,
    ),
    entry(
        "4",
        say(
            "The M-Pesa limit for today was reached, so {amount} was not sent to you.",
            "Kikomo cha M-Pesa cha leo kimefikiwa, hivyo hujatumiwa {amount}.",
        ),
        Action::WaitThenRetry,
    ),
    entry(
        "8",
        say(
            "Your M-Pesa account cannot hold {amount} more. Reduce the balance, then ask again.",
            "Akaunti yako ya M-Pesa haiwezi kupokea {amount} zaidi. Punguza salio, kisha uombe tena.",
        ),
        Action::MakeRoom,
    ),
    entry("11", s::NOT_SENT, Action::CheckAccount),
    entry("15", s::UNKNOWN_PAYOUT, Action::KeepPolling),
    entry("17", s::UNKNOWN_PAYOUT, Action::KeepPolling),
    entry("21", s::NOT_SENT, Action::CheckAccount),
    entry("2001", s::NOT_SENT, Action::CheckAccount),
    entry("2006", s::NOT_SENT, Action::CheckAccount),
    entry(
        "2020",
        say(
            "The amount is not valid, so {amount} was not sent.",
            "Kiasi si sahihi, hivyo {amount} hazikutumwa.",
        ),
        Action::CheckRequest,
    ),
    entry("2028", s::NOT_SENT, Action::CheckAccount),
    entry(
        "2040",
        say(
            "This number is not registered for M-Pesa, so {amount} was not sent.",
            "Nambari hii haijasajiliwa M-Pesa, hivyo {amount} hazikutumwa.",
        ),
        Action::VerifyNumber,
    ),
    entry("2051", NUMBER_INVALID, Action::VerifyNumber),
    entry("8006", s::NOT_SENT, Action::CheckAccount),
    entry("SFC_IC0003", NUMBER_INVALID, Action::VerifyNumber),
    entry("R002", WRONG_ID, Action::CheckRequest),
    entry("R003", WRONG_ID, Action::CheckRequest),
    entry("TP40153", s::NOT_SENT, Action::CheckAccount),
];

/// Reversal: the customer gets a payment back.
pub const REVERSAL: &[Entry] = &[
    entry("0", s::RETURNED, Action::Complete),
    entry(
        "R000001",
        say(
            "{amount} had been returned to you before.",
            "Ulikuwa umesharudishiwa {amount}.",
        ),
        Action::Complete,
    ),
    entry("1", s::NOT_RETURNED, Action::TopUp),
    entry("11", s::NOT_RETURNED, Action::CheckAccount),
    entry("21", s::NOT_RETURNED, Action::CheckAccount),
    entry("2001", s::NOT_RETURNED, Action::CheckAccount),
    entry("2006", s::NOT_RETURNED, Action::CheckAccount),
    entry("2028", s::NOT_RETURNED, Action::CheckAccount),
    entry("8006", s::NOT_RETURNED, Action::CheckAccount),
    entry(
        "R000002",
        say(
            "The payment of {amount} to return was not found.",
            "Malipo ya {amount} ya kurejeshwa hayakupatikana.",
        ),
        Action::CheckRequest,
    ),
    entry("SFC_IC0003", s::NOT_RETURNED, Action::CheckAccount),
];

/// Business to business.
pub const B2B: &[Entry] = &[
    entry(
        "0",
        say(
            "The business was paid {amount}.",
            "Biashara imelipwa {amount}.",
        ),
        Action::Complete,
    ),
    entry("1", NOT_MADE_TO_BUSINESS, Action::TopUp),
    entry("21", NOT_MADE_TO_BUSINESS, Action::CheckAccount),
    entry("2001", NOT_MADE_TO_BUSINESS, Action::CheckAccount),
    entry("SFC_IC0003", NOT_MADE_TO_BUSINESS, Action::CheckRequest),
];

/// The `TransactionStatus` of a query that was answered.
pub const TRANSACTION_STATUS: &[Entry] = &[
    entry("Completed", s::PAID, Action::Complete),
    entry(
        "Cancelled",
        say(
            "The payment of {amount} was cancelled.",
            "Malipo ya {amount} yameghairiwa.",
        ),
        Action::AllowRetry,
    ),
    entry("Declined", REJECTED, Action::AllowRetry),
    entry(
        "Expired",
        say(
            "The payment of {amount} expired before it was confirmed.",
            "Muda wa kuthibitisha malipo ya {amount} umekwisha.",
        ),
        Action::AllowRetry,
    ),
    entry(
        "Failed",
        say(
            "The payment of {amount} did not go through.",
            "Malipo ya {amount} hayakufanikiwa.",
        ),
        Action::AllowRetry,
    ),
    entry("Rejected", REJECTED, Action::AllowRetry),
    entry(
        "Reversed",
        say(
            "The payment of {amount} was returned.",
            "Malipo ya {amount} yamerejeshwa.",
        ),
        Action::Reversed,
    ),
    entry("Initiated", WORKING, Action::KeepPolling),
    entry("Authorized", WORKING, Action::KeepPolling),
    entry("Pending Authorized", WORKING, Action::KeepPolling),
];

const REJECTED: Sentence = say(
    "M-Pesa did not allow the payment of {amount}.",
    "M-Pesa haikuruhusu malipo ya {amount}.",
);

/// A question about a payment or a balance that failed itself: it says nothing about any payment.
pub const QUESTION: &[Entry] = &[
    entry("15", NOT_ASKED, Action::KeepPolling),
    entry("25", NOT_ASKED, Action::KeepPolling),
    entry("2001", NOT_ASKED, Action::CheckAccount),
    entry("8006", NOT_ASKED, Action::CheckAccount),
    entry("SFC_IC0003", NOT_ASKED, Action::CheckAccount),
];

/// Refusals of a call that say "not now"; all other refusals share a sentence.
pub const THROTTLED: Sentence = say(
    "M-Pesa is busy. You have paid nothing. Please try again in a few minutes.",
    "M-Pesa ina shughuli nyingi. Hujalipa chochote. Tafadhali jaribu tena baada ya dakika chache.",
);
/// The error codes of [`THROTTLED`].
pub const THROTTLED_CODES: [&str; 2] = ["500.003.02", "500.003.03"];
