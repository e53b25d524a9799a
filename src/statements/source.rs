//! Reading a sheet line by line: CSV or NDJSON, told apart by its first character. Memory is that of one line, whatever
//! the file is.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use serde_json::{Map, Value, json};

use super::columns::COLUMNS;
use super::records::{RECORD_MAX, Records, Uneven, skip_mark, too_long};
use super::sheet::{COUNT, END, RECORD, TOTAL, TOTAL_OF_REVERSALS, TOTALS, TRANSACTION, unguarded};

/// How much of a wrong value is quoted, characters.
const QUOTE_MAX: usize = 60;

/// Why a line was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its number in the file, from 1.
    pub line: u64,
    /// The field.
    pub field: String,
    /// What was sent, if anything.
    pub sent: Option<String>,
    /// What is accepted, or what stands in its way.
    pub accepted: String,
}

impl Problem {
    /// With what was sent cut to a readable length.
    pub fn new(line: u64, field: &str, sent: Option<&str>, accepted: impl Into<String>) -> Self {
        let sent = sent.map(|text| {
            let cut: String = text.chars().take(QUOTE_MAX).collect();
            let more = if text.chars().count() > QUOTE_MAX {
                "…"
            } else {
                ""
            };
            format!("{cut}{more}")
        });
        Self {
            line,
            field: field.to_owned(),
            sent,
            accepted: accepted.into(),
        }
    }
}

impl Problem {
    /// As an object.
    pub fn object(&self) -> Value {
        json!({"line": self.line, "field": self.field, "sent": self.sent, "accepted": self.accepted})
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.field)?;
        match &self.sent {
            Some(sent) => write!(f, " is {sent:?}; {}", self.accepted),
            None => write!(f, ": {}", self.accepted),
        }
    }
}

/// A line as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A transaction: the fields that have a value, by the names of the columns.
    Transaction {
        /// Its number in the file.
        line: u64,
        /// What it says.
        fields: BTreeMap<&'static str, String>,
    },
    /// The end, and how many transactions are said to be above it.
    End {
        /// Its number in the file.
        line: u64,
        /// How many.
        count: String,
    },
}

/// A sheet that is being read.
pub enum Source<R: Read> {
    /// With a head.
    Csv {
        /// What is read.
        records: Records<R>,
        /// What each column is.
        names: Vec<Name>,
    },
    /// An object a line.
    Ndjson {
        /// What is read.
        reader: BufReader<R>,
        /// The number of the last line.
        line: u64,
    },
}

/// A column of a CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// One of a transaction's, and whether its texts may have a guard.
    Field(&'static str),
    /// What the line is.
    Record,
    /// The count on a line of totals.
    Count,
}

fn field_named(name: &str) -> Option<&'static str> {
    COLUMNS
        .iter()
        .map(|column| column.name)
        .find(|known| *known == name)
}

fn accepted_names() -> String {
    COLUMNS.map(|column| column.name).join(", ")
}

impl<R: Read> Source<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// If it cannot be read, or its head has a name that no column has, one twice, or not all that `required` has.
    pub fn open(inner: R, required: &[&str]) -> io::Result<Self> {
        let mut reader = BufReader::new(inner);
        skip_mark(&mut reader)?;
        let first = reader
            .fill_buf()?
            .iter()
            .find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'{') {
            return Ok(Self::Ndjson { reader, line: 0 });
        }
        let mut records = Records::open(reader, true)?;
        let mut head = csv::ByteRecord::new();
        records.read(&mut head)?;
        let names = names(&head, required)?;
        Ok(Self::Csv { records, names })
    }

    /// The next line; the outer error ends the reading, the inner one is of this line alone.
    ///
    /// # Errors
    /// If it cannot be read on.
    pub fn read(&mut self) -> io::Result<Option<Result<Line, Problem>>> {
        match self {
            Self::Csv { records, names } => loop {
                let mut record = csv::ByteRecord::new();
                match records.read(&mut record)? {
                    None => return Ok(None),
                    Some(Ok(line)) => {
                        if let Some(read) = csv_line(&record, names, line) {
                            return Ok(Some(read));
                        }
                    }
                    Some(Err(Uneven { line, fields })) => {
                        let accepted = format!(
                            "the head has {} columns, and so must each line",
                            names.len()
                        );
                        let sent = format!("{fields} columns");
                        return Ok(Some(Err(Problem::new(line, "line", Some(&sent), accepted))));
                    }
                }
            },
            Self::Ndjson { reader, line } => loop {
                let mut text = Vec::new();
                let limit = u64::try_from(RECORD_MAX).unwrap_or(u64::MAX);
                if reader.by_ref().take(limit).read_until(b'\n', &mut text)? == 0 {
                    return Ok(None);
                }
                *line += 1;
                if text.len() >= RECORD_MAX && !text.ends_with(b"\n") {
                    return Err(too_long());
                }
                if !text.trim_ascii().is_empty() {
                    return Ok(Some(ndjson_line(&text, *line)));
                }
            },
        }
    }
}

fn names(head: &csv::ByteRecord, required: &[&str]) -> io::Result<Vec<Name>> {
    let wrong = |text: String| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    let mut names = Vec::with_capacity(head.len());
    for cell in head {
        let cell = String::from_utf8_lossy(cell);
        let name = match cell.trim() {
            RECORD => Name::Record,
            COUNT => Name::Count,
            other => match field_named(other) {
                Some(name) => Name::Field(name),
                None => {
                    return wrong(format!(
                        "the head has a column {cell:?}; accepted are {}",
                        accepted_names()
                    ));
                }
            },
        };
        if names.contains(&name) {
            return wrong(format!("the head has the column {cell:?} twice"));
        }
        names.push(name);
    }
    let lacks = required.iter().find(|name| {
        !names
            .iter()
            .any(|known| matches!(known, Name::Field(field) if field == *name))
    });
    match lacks {
        Some(name) => wrong(format!(
            "the head has no column {name:?}; required are {}",
            required.join(", ")
        )),
        None => Ok(names),
    }
}

/// A line of a CSV; `None` for one of the totals, which the end counts again.
fn csv_line(record: &csv::ByteRecord, names: &[Name], line: u64) -> Option<Result<Line, Problem>> {
    let mut fields = BTreeMap::new();
    let (mut kind, mut count) = (TRANSACTION.to_owned(), String::new());
    for (name, cell) in names.iter().zip(record) {
        if cell.is_empty() {
            continue;
        }
        let Ok(text) = std::str::from_utf8(cell) else {
            let field = match name {
                Name::Field(name) => name,
                Name::Record => RECORD,
                Name::Count => COUNT,
            };
            let sent = String::from_utf8_lossy(cell);
            return Some(Err(Problem::new(
                line,
                field,
                Some(&sent),
                "accepted is UTF-8",
            )));
        };
        match name {
            Name::Field(name) => {
                fields.insert(*name, unguarded(text).to_owned());
            }
            Name::Record => kind = text.to_owned(),
            Name::Count => count = text.to_owned(),
        }
    }
    match kind.as_str() {
        TRANSACTION => Some(Ok(Line::Transaction { line, fields })),
        TOTAL | TOTAL_OF_REVERSALS => None,
        END => Some(Ok(Line::End { line, count })),
        other => {
            let accepted =
                format!("accepted are {TRANSACTION}, {TOTAL}, {TOTAL_OF_REVERSALS}, {END}");
            Some(Err(Problem::new(line, RECORD, Some(other), accepted)))
        }
    }
}

fn ndjson_line(text: &[u8], line: u64) -> Result<Line, Problem> {
    let object: Map<String, Value> = serde_json::from_slice(text).map_err(|error| {
        let sent = String::from_utf8_lossy(text.trim_ascii());
        Problem::new(
            line,
            "line",
            Some(&sent),
            format!("accepted is one JSON object a line: {error}"),
        )
    })?;
    if let Some(totals) = object.get(TOTALS) {
        let count = totals.get(COUNT).map(Value::to_string).unwrap_or_default();
        return Ok(Line::End { line, count });
    }
    let mut fields = BTreeMap::new();
    for (name, value) in object {
        let Some(known) = field_named(&name) else {
            let accepted = format!("is not a field here; accepted are {}", accepted_names());
            return Err(Problem::new(line, &name, None, accepted));
        };
        let text = match value {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            other => {
                let accepted = "accepted is a text or a number";
                return Err(Problem::new(
                    line,
                    known,
                    Some(&other.to_string()),
                    accepted,
                ));
            }
        };
        fields.insert(known, text);
    }
    Ok(Line::Transaction { line, fields })
}
