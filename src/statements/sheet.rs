//! Sheets: a statement's head, lines and totals as CSV (RFC 4180) or as NDJSON.

use std::str::FromStr;

use serde_json::{Map, Number, Value, json};

use super::columns::{COLUMNS, Shape};
use crate::domain::money::{Amount, Currency};
use crate::domain::status::Status;
use crate::domain::totals::{Sum, Totals};
use crate::domain::transaction::Transaction;

/// The first column of a CSV: what the line is.
pub const RECORD: &str = "record";
/// The last column of a CSV: on lines of totals, how many transactions.
pub const COUNT: &str = "count";
/// A line that is a transaction.
pub const TRANSACTION: &str = "transaction";
/// A line that is a total of payments.
pub const TOTAL: &str = "total";
/// A line that is a total of reversals.
pub const TOTAL_OF_REVERSALS: &str = "total_of_reversals";
/// The last line: how many transactions there are above.
pub const END: &str = "end";
/// The member of the last object of an NDJSON sheet.
pub const TOTALS: &str = "totals";

/// With these at their beginning spreadsheets take a text for a formula; and what is put before it to make them not.
const FORMULA_BEGINS: [char; 11] = [
    '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];
const GUARD: char = '\'';

/// How a sheet is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, a head, lines of totals at the end.
    Csv,
    /// One JSON object a line, as the API shows a transaction; the last one is the totals.
    Ndjson,
}

/// Not a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a format: accepted are csv, ndjson")]
pub struct FormatError;

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "csv" => Ok(Self::Csv),
            "ndjson" => Ok(Self::Ndjson),
            _ => Err(FormatError),
        }
    }
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// The word, and the ending of a file's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// The head, if the format has one.
    pub fn head(self, out: &mut Vec<u8>) {
        if self == Self::Csv {
            let names = COLUMNS.iter().map(|column| column.name);
            record(out, [RECORD].into_iter().chain(names).chain([COUNT]));
        }
    }

    /// The lines of transactions.
    pub fn lines(self, rows: &[Transaction], out: &mut Vec<u8>) {
        match self {
            Self::Csv => {
                for row in rows {
                    csv_line(row, out);
                }
            }
            Self::Ndjson => {
                for row in rows {
                    ndjson_line(row, out);
                }
            }
        }
    }

    /// The lines of totals, with which a sheet is whole.
    pub fn totals(self, totals: &Totals, out: &mut Vec<u8>) {
        match self {
            Self::Csv => {
                for (currency, status, sum) in totals.payments() {
                    csv_total(TOTAL, currency, status, sum, out);
                }
                for (currency, status, sum) in totals.reversals() {
                    csv_total(TOTAL_OF_REVERSALS, currency, status, sum, out);
                }
                let count = totals.count().to_string();
                let named = |name: &str| {
                    if name == COUNT {
                        count.clone()
                    } else {
                        String::new()
                    }
                };
                csv_special(END, named, out);
            }
            Self::Ndjson => {
                let object = json!({ TOTALS: totals_object(totals) });
                out.extend_from_slice(object.to_string().as_bytes());
                out.push(b'\n');
            }
        }
    }
}

/// The totals as one object: `count` of all lines, then counts and amounts by currency and status, of payments and of
/// reversals.
pub fn totals_object(totals: &Totals) -> Value {
    json!({
        "count": totals.count(),
        "by_currency": by_currency(totals.payments()),
        "reversals": by_currency(totals.reversals()),
    })
}

fn by_currency<'a>(sums: impl Iterator<Item = (&'a Currency, Status, Sum)>) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (currency, status, sum) in sums {
        let of_currency = all
            .entry(currency.as_str())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(object) = of_currency.as_object_mut() {
            let sum = json!({"count": sum.count, "amount": decimal(sum.amount)});
            object.insert(status.as_str().to_owned(), sum);
        }
    }
    Value::Object(all)
}

/// An amount as a JSON number with two decimals.
fn decimal(amount: Amount) -> Value {
    amount
        .to_string()
        .parse::<Number>()
        .map_or(Value::Null, Value::Number)
}

/// The guard before a text that a spreadsheet would take for a formula. A text that has the guard already gets another,
/// so that [`unguarded`] gives back what was there.
fn guarded(text: &str) -> bool {
    text.starts_with(FORMULA_BEGINS) || text.starts_with(GUARD)
}

/// The text without its guard.
pub fn unguarded(text: &str) -> &str {
    match text.strip_prefix(GUARD) {
        Some(rest) if guarded(rest) => rest,
        _ => text,
    }
}

fn csv_line(row: &Transaction, out: &mut Vec<u8>) {
    out.extend_from_slice(TRANSACTION.as_bytes());
    for column in COLUMNS {
        out.push(b',');
        if let Some(value) = (column.value)(row) {
            let guard = column.shape == Shape::Text && guarded(&value);
            field(out, guard, &value);
        }
    }
    out.extend_from_slice(b",\r\n");
}

fn csv_total(record: &str, currency: &Currency, status: Status, sum: Sum, out: &mut Vec<u8>) {
    let value = |name: &str| match name {
        "amount" => sum.amount.to_string(),
        "currency" => currency.to_string(),
        "status" => status.to_string(),
        COUNT => sum.count.to_string(),
        _ => String::new(),
    };
    csv_special(record, value, out);
}

fn csv_special(name: &str, value: impl Fn(&str) -> String, out: &mut Vec<u8>) {
    let values = COLUMNS.iter().map(|column| value(column.name));
    record(
        out,
        [name.to_owned()]
            .into_iter()
            .chain(values)
            .chain([value(COUNT)]),
    );
}

fn record(out: &mut Vec<u8>, values: impl IntoIterator<Item = impl AsRef<str>>) {
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        field(out, false, value.as_ref());
    }
    out.extend_from_slice(b"\r\n");
}

/// A field by RFC 4180: quoted where it must be, quotes doubled.
fn field(out: &mut Vec<u8>, guard: bool, text: &str) {
    let guard = if guard { &[b'\''][..] } else { &[] };
    let is_plain = !text
        .bytes()
        .any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n'));
    if is_plain {
        out.extend_from_slice(guard);
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(guard);
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn ndjson_line(row: &Transaction, out: &mut Vec<u8>) {
    for (at, column) in COLUMNS.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"" } else { b",\"" });
        out.extend_from_slice(column.name.as_bytes());
        out.extend_from_slice(b"\":");
        match (column.value)(row) {
            None => out.extend_from_slice(b"null"),
            Some(value) if column.shape == Shape::Bare => out.extend_from_slice(value.as_bytes()),
            Some(value) => out.extend_from_slice(Value::from(value).to_string().as_bytes()),
        }
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_looks_like_a_formula_is_guarded_and_comes_back() {
        for (text, written) in [
            ("plain", "plain"),
            ("=1+1", "'=1+1"),
            ("+254", "'+254"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("'quoted'", "''quoted'"),
            ("'=1", "''=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("=\"a\"", "\"'=\"\"a\"\"\""),
            ("two\nlines", "\"two\nlines\""),
        ] {
            let mut out = Vec::new();
            field(&mut out, guarded(text), text);
            assert_eq!(String::from_utf8(out.clone()).unwrap(), written);
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .from_reader(out.as_slice());
            let record = reader.records().next().unwrap().unwrap();
            assert_eq!(unguarded(&record[0]), text, "{written}");
        }
        assert_eq!(unguarded("'typed by hand"), "'typed by hand");
    }
}
