//! `doctor`: what is set up wrong, before a payment finds out. One line a check: ok, warning or failing, why, and what to
//! do. It changes nothing and, but for one token call an account, sends nothing.

mod accounts;
mod callback_url;
mod installation;

use std::sync::Arc;

use serde_json::json;

use super::output::JsonArguments;
use super::{CliError, Output};
use crate::app;
use crate::domain::clock::{Clock, SystemClock};
use crate::payments::health::{Finding, Verdict};
use crate::settings::{Settings, Sources};
use crate::telemetry;

/// Runs every check; exit 1 if one is failing.
pub async fn run(output: JsonArguments, sources: &Sources) -> Result<(), CliError> {
    let findings = match Settings::read(sources) {
        Err(error) => vec![Finding::failing("settings", error.to_string())],
        Ok(settings) => {
            telemetry::start_logging(&settings, true);
            examine(&settings).await
        }
    };
    let worst = findings.iter().map(|finding| finding.verdict).max();
    let worst = worst.unwrap_or(Verdict::Ok);
    let object = json!({
        "verdict": worst.as_str(),
        "findings": findings.iter().map(Finding::json).collect::<Vec<_>>(),
    });
    let lines: Vec<String> = findings.iter().map(Finding::line).collect();
    Output::answer(output.json, &object, &lines);
    if worst == Verdict::Failing {
        let count = findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Failing)
            .count();
        return Err(CliError::Failed(format!("{count} checks are failing")));
    }
    Ok(())
}

async fn examine(settings: &Settings) -> Vec<Finding> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut findings = vec![Finding::ok("settings", "every setting can be read")];
    let vault = installation::master_key(settings, &mut findings);
    findings.extend(callback_url::shape(settings.public_url.as_ref()));
    findings.extend(installation::exposure(settings));
    findings.extend(installation::reach(settings.public_url.as_ref()).await);
    if let Some(finding) = installation::missing_file(settings) {
        findings.push(finding);
        return findings;
    }
    let store = match app::open_store(settings, Arc::clone(&clock)).await {
        Ok(store) => store,
        Err(error) => {
            findings.push(installation::no_database(settings, &error));
            return findings;
        }
    };
    if !installation::database(settings, store.as_ref(), clock.as_ref(), &mut findings).await {
        return findings;
    }
    if let Some(vault) = &vault {
        findings.extend(installation::previous_key(store.as_ref(), vault).await);
    }
    match accounts::examine(settings, store.as_ref(), vault.as_ref(), &clock).await {
        Ok(more) => findings.extend(more),
        Err(error) => findings.push(installation::no_database(settings, &error)),
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_the_verdict_the_reason_and_what_to_do() {
        let finding = Finding::warning("PUBLIC_URL", "is not set").remedy("set it");
        assert_eq!(finding.line(), "warning  PUBLIC_URL: is not set; set it");
        assert_eq!(
            Finding::ok("clock", "is right").line(),
            "ok       clock: is right"
        );
    }

    #[test]
    fn the_worst_verdict_is_failing() {
        assert!(Verdict::Failing > Verdict::Warning && Verdict::Warning > Verdict::Ok);
    }
}
