//! `webhook check`: is this receiver fit for the world?

use std::io::{BufRead, IsTerminal};

use clap::Args;
use serde_json::{Value, json};

use super::output::JsonArguments;
use super::{CliError, Output};
use crate::domain::clock::SystemClock;
use crate::settings::{Settings, Sources};
use crate::webhooks::trial::{Finding, examine};
use crate::webhooks::{Secret, Sender, address_guard};

/// Its flags.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The receiver's address, such as http://127.0.0.1:3000/hooks
    url: String,
    /// The secret the receiver knows; read from standard input unless told, and a fresh one is shown where there is
    /// none
    #[arg(long, value_name = "whsec_…")]
    secret: Option<String>,
    #[command(flatten)]
    output: JsonArguments,
}

/// Sends the five; exit 1 if the receiver takes one wrongly.
pub async fn run(arguments: CheckArguments, sources: &Sources) -> Result<(), CliError> {
    // The operator typed the address: private ones are what this is for.
    let url = address_guard::check_url(&arguments.url, true)
        .map_err(|error| CliError::Usage(format!("URL: {error}")))?;
    let sender = Sender::to_a_typed_address(&Settings::read(sources)?)?;
    let secret = secret(arguments.secret, arguments.output.json)?;
    let findings = examine(&sender, url.as_str(), &secret, &SystemClock).await;
    let failed = findings.iter().filter(|one| !one.is_passed()).count();
    let object = json!({
        "url": url.as_str(),
        "passed": failed == 0,
        "checks": findings.iter().map(object).collect::<Vec<_>>(),
    });
    let lines: Vec<String> = findings.iter().map(line).collect();
    Output::answer(arguments.output.json, &object, &lines);
    if failed > 0 {
        return Err(CliError::Failed(format!(
            "{failed} of {} webhooks were not taken as they should be",
            findings.len()
        )));
    }
    Ok(())
}

/// The flag's secret, or the one on standard input, or a fresh one, which the operator has to tell the receiver first.
fn secret(flag: Option<String>, json: bool) -> Result<Secret, CliError> {
    let stdin = std::io::stdin();
    let is_terminal = stdin.is_terminal();
    let mut line = String::new();
    let given = match flag {
        Some(secret) => secret,
        None => {
            if !is_terminal {
                stdin.lock().read_line(&mut line).map_err(unreadable)?;
            }
            std::mem::take(&mut line)
        }
    };
    let given = given.trim();
    if !given.is_empty() {
        // Not repeated: it is a secret, or nearly one.
        return given
            .parse()
            .map_err(|error| CliError::Usage(format!("--secret: what was found {error}")));
    }
    let secret = Secret::generate().map_err(|error| CliError::Failed(error.to_string()))?;
    let shown = format!("secret {}", secret.reveal().as_str());
    // With --json the one object is all there is on standard output.
    let show = if json { Output::problem } else { Output::line };
    show(&shown);
    if is_terminal {
        show("Tell the receiver this secret, then press Enter.");
        stdin.lock().read_line(&mut line).map_err(unreadable)?;
    }
    Ok(secret)
}

fn unreadable(error: std::io::Error) -> CliError {
    CliError::Failed(format!("standard input: {error}"))
}

fn object(finding: &Finding) -> Value {
    json!({
        "check": finding.trial.as_str(),
        "expected": finding.trial.expected(),
        "status": finding.result.status,
        "error": finding.result.error,
        "milliseconds": u64::try_from(finding.result.duration.as_millis()).unwrap_or(u64::MAX),
        "passed": finding.is_passed(),
    })
}

fn line(finding: &Finding) -> String {
    let (verdict, remedy) = if finding.is_passed() {
        ("ok", String::new())
    } else {
        let trial = finding.trial;
        let (expected, remedy) = (trial.expected(), trial.remedy());
        ("failing", format!("; expected is {expected}: {remedy}"))
    };
    let name = finding.trial.as_str();
    format!("{verdict:<8} {name}: {}{remedy}", finding.result.summary())
}
