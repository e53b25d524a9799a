//! The ledger's way to the database and back, for both of them: what a batch of commands loads, and what it writes.

pub mod commit;
pub mod load;
pub mod working_set;
pub mod write;
mod write_news;

use serde_json::{Value, json};

/// Text for a column: no database of the two keeps a NUL in one.
fn text(text: &str) -> Value {
    if text.contains('\0') {
        json!(text.replace('\0', "\u{fffd}"))
    } else {
        json!(text)
    }
}

fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}
