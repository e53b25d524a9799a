//! What a table looks like, read from the target's own catalogue, so that a column of a later migration is copied
//! without being named here; and the statements that follow from it.

use super::super::dialect::Dialect;
use super::super::statement::{Bind, Statement};
use super::CopyError;
use serde_json::Value;

/// Sums are taken of the millions and of what is left apart: no column of numbers is so long that these overflow.
const SPLIT: i64 = 1_000_000;

/// What a column holds, in a row as both databases write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Id,
    Instant,
    Truth,
    Bytes,
}

impl Kind {
    /// By PostgreSQL's name of the type.
    pub fn of(data_type: &str) -> Option<Self> {
        Some(match data_type {
            "text" => Self::Text,
            "bigint" | "integer" => Self::Number,
            "uuid" => Self::Id,
            "timestamp with time zone" => Self::Instant,
            "boolean" => Self::Truth,
            "bytea" => Self::Bytes,
            _ => return None,
        })
    }

    /// The value of a column as a row has it.
    fn written(self, dialect: Dialect, column: &str) -> String {
        match (self, dialect) {
            // Of nothing at all hex makes an empty text, not nothing.
            (Self::Bytes, Dialect::Sqlite) => {
                format!("CASE WHEN {column} IS NOT NULL THEN lower(hex({column})) END")
            }
            (Self::Bytes, Dialect::Postgres) => format!("encode({column}, 'hex')"),
            (_, Dialect::Sqlite) | (Self::Text | Self::Number | Self::Id, Dialect::Postgres) => {
                column.to_owned()
            }
            (Self::Truth, Dialect::Postgres) => format!("{column}::integer"),
            (Self::Instant, Dialect::Postgres) => {
                format!("(EXTRACT(EPOCH FROM {column}) * 1000000)::bigint")
            }
        }
    }

    /// PostgreSQL's value of a row's column, which is text.
    fn read(self, text: &str) -> String {
        match self {
            Self::Text => text.to_owned(),
            Self::Number => format!("({text})::bigint"),
            Self::Id => format!("({text})::uuid"),
            Self::Instant => {
                format!("(TIMESTAMPTZ 'epoch' + ({text})::bigint * INTERVAL '1 microsecond')")
            }
            Self::Truth => format!("(({text})::integer = 1)"),
            Self::Bytes => format!("decode({text}, 'hex')"),
        }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Shape {
    pub name: &'static str,
    /// Its columns, those of the key first.
    pub columns: Vec<(String, Kind)>,
    /// How many of them are the key.
    pub key: usize,
}

impl Shape {
    fn list(&self, write: impl Fn(usize, &str, Kind) -> String) -> String {
        let parts: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, (name, kind))| write(place, name, *kind))
            .collect();
        parts.join(", ")
    }

    fn key_names(&self) -> String {
        let names: Vec<&str> = self
            .columns
            .iter()
            .take(self.key)
            .map(|(name, _)| name.as_str())
            .collect();
        names.join(", ")
    }

    /// The source's rows in the order of their key, those after `key` only.
    pub fn select(&self, after: Option<&[Value]>, limit: usize) -> Result<Statement, CopyError> {
        let fields = self.list(|_, name, kind| kind.written(Dialect::Sqlite, name));
        let (name, key) = (self.name, self.key_names());
        let mut binds = Vec::new();
        let mut condition = String::new();
        if let Some(after) = after {
            binds = self.key_binds(after)?;
            let places: Vec<String> = (1..=self.key).map(|place| format!("${place}")).collect();
            condition = format!("WHERE ({key}) > ({})", places.join(", "));
        }
        let sql = format!(
            "SELECT json_array({fields}) AS line FROM {name} {condition} ORDER BY {key} LIMIT {limit}"
        );
        Ok(Statement::with_binds(sql, binds))
    }

    fn key_binds(&self, key: &[Value]) -> Result<Vec<Bind>, CopyError> {
        if key.len() != self.key {
            return Err(self.unreadable_key());
        }
        key.iter()
            .map(|value| match value {
                Value::String(text) => Ok(Bind::Text(text.clone())),
                Value::Number(number) => number
                    .as_i64()
                    .map(Bind::Number)
                    .ok_or_else(|| self.unreadable_key()),
                _ => Err(self.unreadable_key()),
            })
            .collect()
    }

    fn unreadable_key(&self) -> CopyError {
        CopyError::Different(format!("{}: a key that cannot be read", self.name))
    }

    /// Adds the rows of one JSON array to the target.
    pub fn insert(&self, rows: String) -> Statement {
        let names = self.list(|_, name, _| name.to_owned());
        let values = self.list(|place, _, kind| kind.read(&format!("value->>{place}")));
        Statement::new(format!(
            "INSERT INTO {} ({names}) SELECT {values} FROM jsonb_array_elements($1::jsonb) AS r(value)",
            self.name
        ))
        .text(rows)
    }

    /// The target's rows with the keys of one JSON array.
    pub fn find(&self, keys: String) -> Statement {
        let fields =
            self.list(|_, name, kind| kind.written(Dialect::Postgres, &format!("t.{name}")));
        let key: Vec<String> = self
            .columns
            .iter()
            .take(self.key)
            .enumerate()
            .map(|(place, (name, kind))| {
                format!("t.{name} = {}", kind.read(&format!("k.value->>{place}")))
            })
            .collect();
        Statement::new(format!(
            "SELECT json_build_array({fields})::text AS line FROM jsonb_array_elements($1::jsonb) AS k(value) \
             JOIN {} t ON {}",
            self.name,
            key.join(" AND ")
        ))
        .text(keys)
    }

    /// What the sums of a line of totals are of, each with its sum.
    pub fn named_sums(&self, totals: &[Value]) -> Vec<(String, String)> {
        let part = |value: Option<&Value>| -> i128 {
            let text = value.and_then(Value::as_str).unwrap_or_default();
            text.parse().unwrap_or_default()
        };
        self.numbers()
            .zip(totals.get(1..).unwrap_or_default().chunks(2))
            .map(|(name, parts)| {
                let sum = part(parts.first()) * i128::from(SPLIT) + part(parts.get(1));
                (format!("{}.{name}", self.name), sum.to_string())
            })
            .collect()
    }

    fn numbers(&self) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .filter(|(_, kind)| *kind == Kind::Number)
            .map(|(name, _)| name.as_str())
    }

    /// The totals, one line: how many rows, then of each column of numbers the sum of the millions and of the rest.
    pub fn sum(&self, dialect: Dialect) -> Statement {
        let mut fields = vec!["COUNT(*)".to_owned()];
        for name in self.numbers() {
            fields.extend(["/", "%"].map(|sign| {
                format!("CAST(CAST(COALESCE(SUM({name} {sign} {SPLIT}), 0) AS BIGINT) AS TEXT)")
            }));
        }
        let fields = fields.join(", ");
        let array = match dialect {
            Dialect::Sqlite => format!("json_array({fields})"),
            Dialect::Postgres => format!("json_build_array({fields})::text"),
        };
        Statement::new(format!("SELECT {array} AS line FROM {}", self.name))
    }
}
