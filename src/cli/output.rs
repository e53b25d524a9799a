//! What commands print.

use std::io::Write;

use clap::Args;
use serde_json::Value;

/// The flag every one-shot command has.
#[derive(Debug, Args)]
pub struct JsonArguments {
    /// Print exactly one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Writes answers to standard output. A reader that went away is no error of ours.
pub struct Output;

impl Output {
    /// One JSON object, or the lines for people.
    pub fn answer(json: bool, object: &Value, lines: &[String]) {
        if json {
            Self::line(&object.to_string());
        } else {
            for line in lines {
                Self::line(line);
            }
        }
    }

    /// One line.
    pub fn line(text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// One line about what went wrong.
    pub fn problem(text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "ussd-status: {text}");
    }
}
