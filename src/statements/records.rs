//! The records of a CSV with the numbers of their lines. Memory is that of one record, whatever the file is.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use csv::ByteRecord;

/// The longest record that is read, bytes.
pub const RECORD_MAX: usize = 256 * 1024;
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A record that has not as many fields as the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uneven {
    /// Its line.
    pub line: u64,
    /// How many it has.
    pub fields: u64,
}

/// Stops a record that never ends, and ends a last line that does not end by itself.
struct Bounded<R> {
    inner: R,
    left: Rc<Cell<usize>>,
    has_ended_line: bool,
    /// What ends the last line if nothing does: the character at which the reader ends the others.
    ending: u8,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        match into.get(..read).and_then(<[u8]>::last) {
            Some(last) => self.has_ended_line = *last == b'\n',
            None if self.has_ended_line => return Ok(0),
            None => {
                let Some(first) = into.first_mut() else {
                    return Ok(0);
                };
                *first = self.ending;
                self.has_ended_line = true;
                return Ok(1);
            }
        }
        match self.left.get().checked_sub(read) {
            Some(left) => self.left.set(left),
            None => return Err(too_long()),
        }
        Ok(read)
    }
}

/// The error of a line without an end.
pub fn too_long() -> io::Error {
    let text = format!(
        "a line is longer than {} KiB; is a quote left open?",
        RECORD_MAX / 1024
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Skips the mark that some programs write before UTF-8.
///
/// # Errors
/// If it cannot be read.
pub fn skip_mark(reader: &mut impl BufRead) -> io::Result<()> {
    if reader.fill_buf()?.starts_with(MARK) {
        reader.consume(MARK.len());
    }
    Ok(())
}

/// The records of a CSV, its head first.
pub struct Records<R: Read> {
    reader: csv::Reader<Bounded<BufReader<R>>>,
    left: Rc<Cell<usize>>,
    /// Whether lines end with both characters: the reader stops between them.
    has_crlf: bool,
}

impl<R: Read> Records<R> {
    /// Begins to read; `even` if every record must have as many fields as the first.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(mut inner: BufReader<R>, even: bool) -> io::Result<Self> {
        skip_mark(&mut inner)?;
        let begin = inner.fill_buf()?;
        let first_line = begin.split(|byte| *byte == b'\n').next();
        let has_crlf = first_line.is_some_and(|line| line.ends_with(b"\r"));
        let left = Rc::new(Cell::new(RECORD_MAX));
        let bounded = Bounded {
            inner,
            left: Rc::clone(&left),
            has_ended_line: true,
            ending: if has_crlf { b'\r' } else { b'\n' },
        };
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(!even)
            .from_reader(bounded);
        Ok(Self {
            reader,
            left,
            has_crlf,
        })
    }

    /// The next record and the line it begins on; the outer error ends the reading, the inner one is of this record alone.
    ///
    /// # Errors
    /// If it cannot be read on.
    pub fn read(&mut self, record: &mut ByteRecord) -> io::Result<Option<Result<u64, Uneven>>> {
        self.left.set(RECORD_MAX);
        match self.reader.read_byte_record(record) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(Ok(self.line(record)))),
            Err(error) => match error.into_kind() {
                csv::ErrorKind::UnequalLengths { len, .. } => Ok(Some(Err(Uneven {
                    line: self.line(record),
                    fields: len,
                }))),
                csv::ErrorKind::Io(error) => Err(error),
                other => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{other:?}"),
                )),
            },
        }
    }

    /// Counted back from where the reader stands: what it skipped before the record it does not tell.
    fn line(&self, record: &ByteRecord) -> u64 {
        let inside = record.as_slice().iter().filter(|byte| **byte == b'\n');
        let inside = u64::try_from(inside.count()).unwrap_or_default();
        let after = self.reader.position().line();
        after.saturating_sub(inside + u64::from(!self.has_crlf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<u64> {
        let mut records = Records::open(BufReader::new(text.as_bytes()), true).unwrap();
        let mut record = ByteRecord::new();
        let mut lines = Vec::new();
        while let Some(read) = records.read(&mut record).unwrap() {
            lines.push(read.unwrap_or_else(|uneven| uneven.line));
        }
        lines
    }

    #[test]
    fn records_have_the_numbers_of_their_lines() {
        let text = "a,b\n1,2\n\n\n\"two\nlines\",\"3\n\"\nuneven\n4,5";
        assert_eq!(lines(text), [1, 2, 5, 8, 9]);
        assert_eq!(lines(&text.replace('\n', "\r\n")), [1, 2, 5, 8, 9]);
        assert_eq!(lines(&format!("\u{feff}{text}\n")), [1, 2, 5, 8, 9]);
        assert_eq!(lines(""), [0_u64; 0]);
    }

    #[test]
    fn a_record_without_an_end_is_not_read_into_memory() {
        let text = format!("a,b\n1,\"{}", "x".repeat(2 * RECORD_MAX));
        let mut records = Records::open(BufReader::new(text.as_bytes()), true).unwrap();
        let mut record = ByteRecord::new();
        records.read(&mut record).unwrap().unwrap().unwrap();
        let error = records.read(&mut record).unwrap_err();
        assert!(error.to_string().contains("quote left open"), "{error}");
    }
}
