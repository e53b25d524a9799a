//! A provider's own statement, as its portal hands it out: a CSV of receipts and amounts. What stands above the head
//! is skipped, and the columns are found by their names, those of the M-Pesa portal among them.

use std::collections::HashMap;
use std::io::{self, Read};

use super::records::Records;
use super::source::Problem;
use crate::domain::money::Amount;

/// How many lines may stand above the head.
pub const PREAMBLE_MAX: usize = 100;

const RECEIPT: [&str; 6] = [
    "receiptno",
    "receipt",
    "receiptnumber",
    "transactionreceipt",
    "mpesareceiptnumber",
    "transid",
];
const AMOUNT: [&str; 3] = ["amount", "transactionamount", "transamount"];
const PAID_IN: [&str; 1] = ["paidin"];
const WITHDRAWN: [&str; 1] = ["withdrawn"];
const STATUS: [&str; 2] = ["transactionstatus", "status"];

/// How a line of the portal's stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Completed, or nothing is said of it.
    Done,
    /// Anything else: failed, cancelled, expired, pending.
    NotDone,
}

/// What the portal says of a receipt. One receipt may have several lines: the payment's and those of its charges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The first line that has it.
    pub line: u64,
    /// The amounts of its lines without their signs, in the order of the file.
    pub amounts: Vec<Amount>,
    /// How the best of them stands.
    pub standing: Standing,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    File(#[from] io::Error),
    /// It has no head.
    #[error(
        "no head was found in the first {PREAMBLE_MAX} lines; accepted are a column of receipts ({}) and of amounts \
         ({}, or Paid In and Withdrawn)", RECEIPT.join(", "), AMOUNT.join(", ")
    )]
    NoHead,
}

struct Columns {
    receipt: usize,
    amounts: Vec<usize>,
    status: Option<usize>,
}

/// A name as it is compared: letters and digits, in lower case.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

fn columns(record: &csv::ByteRecord) -> Option<Columns> {
    let names: Vec<String> = record
        .iter()
        .map(|cell| plain(&String::from_utf8_lossy(cell)))
        .collect();
    let place = |wanted: &[&str]| {
        names
            .iter()
            .position(|name| wanted.contains(&name.as_str()))
    };
    let receipt = place(&RECEIPT)?;
    let amounts: Vec<usize> = [place(&AMOUNT), place(&PAID_IN), place(&WITHDRAWN)]
        .into_iter()
        .flatten()
        .collect();
    (!amounts.is_empty()).then_some(Columns {
        receipt,
        amounts,
        status: place(&STATUS),
    })
}

/// An amount as portals print it: `1,200.00`, `-50.00`, `+3`; its sign is left off. `None` for an empty cell.
fn amount(text: &str) -> Option<Result<Amount, ()>> {
    let plain: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ',')
        .collect();
    let digits = plain.trim_start_matches(['-', '+']);
    if digits.is_empty() {
        return None;
    }
    let parsed = Amount::parse_lenient(digits).map_err(|_| ());
    Some(parsed.map(|amount| Amount(amount.0.saturating_abs())))
}

/// What the portal's file says by receipt; `refused` is told of every line that cannot be understood. Lines without a
/// receipt (balances, sums, notes) say nothing.
///
/// # Errors
/// If it cannot be read or has no head.
pub fn read_portal(
    file: impl Read,
    mut refused: impl FnMut(Problem),
) -> Result<HashMap<String, Entry>, EntryError> {
    let mut records = Records::open(io::BufReader::new(file), false)?;
    let mut record = csv::ByteRecord::new();
    let mut entries: HashMap<String, Entry> = HashMap::new();
    let mut head: Option<Columns> = None;
    let mut above = 0;
    while let Some(Ok(line)) = records.read(&mut record)? {
        let Some(columns) = &head else {
            head = self::columns(&record);
            above += 1;
            if head.is_none() && above >= PREAMBLE_MAX {
                return Err(EntryError::NoHead);
            }
            continue;
        };
        let cell = |at: usize| {
            let bytes = record.get(at).unwrap_or_default();
            String::from_utf8_lossy(bytes).trim().to_owned()
        };
        let receipt = cell(columns.receipt);
        if receipt.is_empty() {
            continue;
        }
        match line_amount(columns, cell) {
            Ok(amount) => {
                let status = columns.status.map(cell).unwrap_or_default();
                add(&mut entries, receipt, line, amount, standing(&status));
            }
            Err((at, text)) => {
                let field = if columns.amounts.len() > 1 && at > 0 {
                    "Withdrawn"
                } else {
                    "amount"
                };
                refused(Problem::new(
                    line,
                    field,
                    Some(&text),
                    "accepted is an amount such as 1,200.00 or -50.00",
                ));
            }
        }
    }
    if head.is_none() {
        return Err(EntryError::NoHead);
    }
    Ok(entries)
}

/// The one amount of a line: of `Paid In` and `Withdrawn` one is empty or nought.
fn line_amount(
    columns: &Columns,
    cell: impl Fn(usize) -> String,
) -> Result<Amount, (usize, String)> {
    let mut found = Amount::default();
    let mut any = false;
    for (at, column) in columns.amounts.iter().enumerate() {
        let text = cell(*column);
        match amount(&text) {
            None => {}
            Some(Ok(amount)) => {
                any = true;
                if found == Amount::default() {
                    found = amount;
                }
            }
            Some(Err(())) => return Err((at, text)),
        }
    }
    if any {
        Ok(found)
    } else {
        Err((0, String::new()))
    }
}

fn standing(text: &str) -> Standing {
    match plain(text).as_str() {
        "" | "completed" | "complete" | "success" | "successful" => Standing::Done,
        _ => Standing::NotDone,
    }
}

fn add(
    entries: &mut HashMap<String, Entry>,
    receipt: String,
    line: u64,
    amount: Amount,
    standing: Standing,
) {
    let entry = entries.entry(receipt).or_insert_with(|| Entry {
        line,
        amounts: Vec::new(),
        standing,
    });
    entry.amounts.push(amount);
    if standing == Standing::Done {
        entry.standing = Standing::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTAL: &str = "\u{feff}Organization,Kilimo Ltd,,,,,\r\n\
        Short Code:,600966\r\n\
        \r\n\
        Receipt No.,Completion Time,Details,Transaction Status,Paid In,Withdrawn,Balance\r\n\
        NLJ7RT61SV,14-03-2026 10:22:33,\"Pay Bill from 254712***654, John\",Completed,\"1,200.00\",,\"5,200.00\"\r\n\
        NLJ7RT61SV,14-03-2026 10:22:33,Pay Bill Charge,Completed,,-6.60,\"5,193.40\"\r\n\
        NLJ8AA00BB,14-03-2026 11:00:00,Business Payment,Failed,0.00,-50.00,\r\n\
        NLJ9XX,14-03-2026 11:00:00,?,Completed,abc,,\r\n\
        ,,,,\"1,200.00\",-56.60,\r\n";

    #[test]
    fn the_portals_statement_is_understood() {
        let mut problems = Vec::new();
        let entries = read_portal(PORTAL.as_bytes(), |problem| problems.push(problem)).unwrap();
        assert_eq!(entries.len(), 2);
        let paid = &entries["NLJ7RT61SV"];
        assert_eq!(paid.amounts, [Amount(120_000), Amount(660)]);
        assert_eq!(paid.standing, Standing::Done);
        let failed = &entries["NLJ8AA00BB"];
        assert_eq!(failed.amounts, [Amount(5_000)]);
        assert_eq!(failed.standing, Standing::NotDone);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, 8);
        assert_eq!(problems[0].sent.as_deref(), Some("abc"));
    }

    #[test]
    fn receipts_and_amounts_alone_are_enough() {
        let entries = read_portal(&b"receipt,amount\nA,10\nB,-20.50\n"[..], |_| {}).unwrap();
        assert_eq!(entries["A"].amounts, [Amount(1_000)]);
        assert_eq!(entries["B"].amounts, [Amount(2_050)]);
    }

    #[test]
    fn a_file_without_a_head_is_refused() {
        for text in ["", "a,b\n1,2\n", "receipt,when\nA,now\n"] {
            let read = read_portal(text.as_bytes(), |_| {});
            assert!(matches!(read, Err(EntryError::NoHead)), "{text}");
        }
        let long = "note\n".repeat(PREAMBLE_MAX) + "receipt,amount\nA,1\n";
        assert!(read_portal(long.as_bytes(), |_| {}).is_err());
    }
}
