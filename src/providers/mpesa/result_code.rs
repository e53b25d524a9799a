//! What M-Pesa's result codes mean: one table per API, because the same number means different things in each.
//! No complete list exists anywhere; what is not here is unknown, and unknown is never guessed.

use crate::domain::status_update::{Api, ResultClass};

/// Sources: the result tables of Safaricom's portal (MpesaExpressSimulate, BusinessToCustomer, Reversal,
/// BusinessBuyGoods); codes the portal lacks as developers reported them: 1031, 1036, 1101, 1102, 2008, 2026, 26,
/// 1001, 9999 (STK), 2020, 2051, R002, R003, TP40153 (B2C). 4999 was observed in STK queries only.
struct Table {
    success: &'static [&'static str],
    failed: &'static [&'static str],
    unconfirmed: &'static [&'static str],
    pending: &'static [&'static str],
}

const STK: Table = Table {
    success: &["0"],
    failed: &[
        "1",
        "2",
        "3",
        "4",
        "8",
        "17",
        "1019",
        "1025",
        "1031",
        "1032",
        "1101",
        "1102",
        "2001",
        "2008",
        "2026",
        "2028",
        "8006",
        "SFC_IC0003",
    ],
    // The prompt got lost, the line was busy, or the sources contradict one another (9999). 1037 means "no answer"
    // most of the time, and a phone that answered too late the rest of it.
    unconfirmed: &["26", "1001", "1036", "1037", "9999"],
    pending: &["4999"],
};

// 15 and 17 are unknown here: "duplicate id" says nothing of the first request, and a system error may have paid.
const B2C: Table = Table {
    success: &["0"],
    failed: &[
        "1",
        "2",
        "3",
        "4",
        "8",
        "11",
        "21",
        "2001",
        "2006",
        "2020",
        "2028",
        "2040",
        "2051",
        "8006",
        "SFC_IC0003",
        "R002",
        "R003",
        "TP40153",
    ],
    unconfirmed: &[],
    pending: &[],
};

// R000001: already reversed. The money is back, if not by this request.
const REVERSAL: Table = Table {
    success: &["0", "R000001"],
    failed: &[
        "1",
        "11",
        "21",
        "2001",
        "2006",
        "2028",
        "8006",
        "R000002",
        "SFC_IC0003",
    ],
    unconfirmed: &[],
    pending: &[],
};

const B2B: Table = Table {
    success: &["0"],
    failed: &["1", "21", "2001", "SFC_IC0003"],
    unconfirmed: &[],
    pending: &[],
};

/// The class of a result code. For `Balance`, `StatusQuery` and `C2b` no code says anything about a payment.
pub fn classify(api: Api, code: &str) -> ResultClass {
    let code = normal_form(code);
    known(api)
        .into_iter()
        .flatten()
        .find(|(codes, _)| codes.contains(&code))
        .map_or(ResultClass::Unknown, |(_, class)| class)
}

/// The codes of an API whose meaning is known, by class.
pub(in crate::providers) fn known(api: Api) -> Option<[(&'static [&'static str], ResultClass); 4]> {
    let table = match api {
        Api::Stk => STK,
        Api::B2c => B2C,
        Api::Reversal => REVERSAL,
        Api::B2b => B2B,
        Api::Balance
        | Api::StatusQuery
        | Api::C2b
        | Api::ClickpesaPayment
        | Api::ClickpesaPayout => return None,
    };
    Some([
        (table.success, ResultClass::Success),
        (table.failed, ResultClass::Failed),
        (table.unconfirmed, ResultClass::Unconfirmed),
        (table.pending, ResultClass::Pending),
    ])
}

/// A code without what a sender's number formatting may add.
pub(super) fn normal_form(code: &str) -> &str {
    let code = code.trim();
    code.strip_prefix('+').unwrap_or(code)
}

/// What a `TransactionStatus` word says of a payment, and whether its money went back. Only of a query that
/// succeeded itself: result code 0 of the query with `TransactionStatus` Failed is a failed payment
/// (Safaricom portal, TransactionStatus).
pub fn classify_transaction_status(word: &str) -> (ResultClass, bool) {
    let word: String = word
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    match word.as_str() {
        "completed" => (ResultClass::Success, false),
        "cancelled" | "declined" | "expired" | "failed" | "rejected" => {
            (ResultClass::Failed, false)
        }
        "reversed" => (ResultClass::Failed, true),
        "initiated" | "authorized" | "pendingauthorized" => (ResultClass::Pending, false),
        _ => (ResultClass::Unknown, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole of the table, written out a second time and another way, so that a slip in one shows.
    const ROWS: &[(Api, ResultClass, &str)] = &[
        (Api::Stk, ResultClass::Success, "0"),
        (
            Api::Stk,
            ResultClass::Failed,
            "1 2 3 4 8 17 1019 1025 1031 1032 1101 1102 2001 2008 2026 2028 8006 SFC_IC0003",
        ),
        (Api::Stk, ResultClass::Unconfirmed, "26 1001 1036 1037 9999"),
        (Api::Stk, ResultClass::Pending, "4999"),
        (
            Api::Stk,
            ResultClass::Unknown,
            "100000100 11 15 21 2006 2040 R000001 5",
        ),
        (Api::B2c, ResultClass::Success, "0"),
        (
            Api::B2c,
            ResultClass::Failed,
            "1 2 3 4 8 11 21 2001 2006 2020 2028 2040 2051 8006 SFC_IC0003 R002 R003 TP40153",
        ),
        (
            Api::B2c,
            ResultClass::Unknown,
            "15 17 1032 1037 4999 26 R000001 R000002",
        ),
        (Api::Reversal, ResultClass::Success, "0 R000001"),
        (
            Api::Reversal,
            ResultClass::Failed,
            "1 11 21 2001 2006 2028 8006 R000002 SFC_IC0003",
        ),
        (Api::Reversal, ResultClass::Unknown, "15 17 1032 2 8"),
        (Api::B2b, ResultClass::Success, "0"),
        (Api::B2b, ResultClass::Failed, "1 21 2001 SFC_IC0003"),
        (Api::B2b, ResultClass::Unknown, "2 8006 17 1037"),
        (Api::Balance, ResultClass::Unknown, "0 1 2001"),
        (Api::StatusQuery, ResultClass::Unknown, "0 25 2001 8006"),
        (Api::C2b, ResultClass::Unknown, "0 1"),
    ];

    #[test]
    fn every_code_of_every_api_has_its_class() {
        for (api, class, codes) in ROWS {
            for code in codes.split(' ') {
                assert_eq!(classify(*api, code), *class, "{api:?} {code}");
            }
        }
    }

    #[test]
    fn the_tables_hold_nothing_more_than_the_rows() {
        for (api, table) in [
            (Api::Stk, STK),
            (Api::B2c, B2C),
            (Api::Reversal, REVERSAL),
            (Api::B2b, B2B),
        ] {
            let all = [
                table.success,
                table.failed,
                table.unconfirmed,
                table.pending,
            ]
            .concat();
            let known = ROWS
                .iter()
                .filter(|(of, class, _)| *of == api && *class != ResultClass::Unknown)
                .flat_map(|(_, _, codes)| codes.split(' '))
                .count();
            assert_eq!(all.len(), known, "{api:?}");
        }
    }

    #[test]
    fn codes_are_text_and_only_their_edges_are_normalised() {
        assert_eq!(classify(Api::Stk, " +0 "), ResultClass::Success);
        for code in ["", "00", "0x0", "-0", "O", "false", "true"] {
            assert_eq!(classify(Api::Stk, code), ResultClass::Unknown, "{code}");
        }
    }

    #[test]
    fn every_transaction_status_has_its_class() {
        for (words, class) in [
            ("Completed|COMPLETED", ResultClass::Success),
            (
                "Cancelled|Declined|Expired|Failed|Rejected|Reversed",
                ResultClass::Failed,
            ),
            (
                "Initiated|Authorized|Pending Authorized|PendingAuthorized",
                ResultClass::Pending,
            ),
            ("Completing||Done|0", ResultClass::Unknown),
        ] {
            for word in words.split('|') {
                let (found, returned) = classify_transaction_status(word);
                assert_eq!(found, class, "{word}");
                assert_eq!(returned, word == "Reversed", "{word}");
            }
        }
    }
}
