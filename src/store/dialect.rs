//! The few words in which the two databases differ, for statements that are otherwise one text.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::domain::clock::Instant;

/// Which database a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// The type of a column in a list of rows that travels as one JSON parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// A 64-bit number.
    Number,
    /// A 32-bit number.
    Integer,
    /// An id.
    Id,
    /// An instant.
    Instant,
    /// True or false.
    Bool,
    /// Bytes, as hex.
    Bytes,
}

impl Dialect {
    /// That something is among the texts of a JSON array. PostgreSQL gets an array and not a subselect: of the
    /// latter it believes that half of any table matches, and walks it.
    pub fn in_texts(self, parameter: &str) -> String {
        match self {
            Self::Postgres => {
                format!("= ANY (ARRAY(SELECT jsonb_array_elements_text({parameter}::jsonb)))")
            }
            Self::Sqlite => format!("IN (SELECT value FROM json_each({parameter}))"),
        }
    }

    /// That something is among the ids of a JSON array.
    pub fn in_ids(self, parameter: &str) -> String {
        match self {
            Self::Postgres => {
                format!("= ANY (ARRAY(SELECT jsonb_array_elements_text({parameter}::jsonb)::uuid))")
            }
            Self::Sqlite => self.in_texts(parameter),
        }
    }

    /// A subselect that unfolds a JSON array of arrays into typed rows.
    pub fn rows(self, parameter: &str, columns: &[(&str, Type)]) -> String {
        let fields: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(index, (name, kind))| format!("{} AS {name}", self.field(index, *kind)))
            .collect();
        let fields = fields.join(", ");
        match self {
            Self::Postgres => {
                format!(
                    "(SELECT {fields} FROM jsonb_array_elements({parameter}::jsonb) AS r(value))"
                )
            }
            Self::Sqlite => format!("(SELECT {fields} FROM json_each({parameter}))"),
        }
    }

    fn field(self, index: usize, kind: Type) -> String {
        match (self, kind) {
            (Self::Sqlite, Type::Bytes) => format!("unhex(value->>{index})"),
            (Self::Sqlite, _) => format!("value->>{index}"),
            (Self::Postgres, Type::Bytes) => format!("decode(value->>{index}, 'hex')"),
            (Self::Postgres, kind) => {
                let name = match kind {
                    Type::Text | Type::Bytes => "text",
                    Type::Number => "bigint",
                    Type::Integer => "integer",
                    Type::Id => "uuid",
                    Type::Instant => "timestamptz",
                    Type::Bool => "boolean",
                };
                format!("(value->>{index})::{name}")
            }
        }
    }

    /// An instant inside a JSON parameter.
    pub fn instant(self, at: Instant) -> Value {
        match self {
            Self::Postgres => json!(at.to_rfc3339_opts(SecondsFormat::Micros, true)),
            Self::Sqlite => json!(at.timestamp_micros()),
        }
    }

    /// A JSON array of `[a, b, …]` over the rows of a subselect.
    pub fn gather(self, fields: &str) -> String {
        match self {
            Self::Postgres => format!("json_agg(json_build_array({fields}))::text"),
            Self::Sqlite => format!("json_group_array(json_array({fields}))"),
        }
    }

    /// Locks the rows a SELECT reads until the commit; SQLite's one writer needs no such word.
    pub fn for_update(self) -> &'static str {
        match self {
            Self::Postgres => " FOR UPDATE",
            Self::Sqlite => "",
        }
    }

    /// The hidden address of a row.
    pub fn row_address(self) -> &'static str {
        match self {
            Self::Postgres => "ctid",
            Self::Sqlite => "rowid",
        }
    }

    /// Casts a sum to a 64-bit number.
    pub fn number(self, expression: &str) -> String {
        format!("CAST({expression} AS BIGINT)")
    }
}
