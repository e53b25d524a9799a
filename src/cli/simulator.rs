//! `simulator`: both providers, faked on one port.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::serve::cancel_on_signal;
use super::{CliError, Output};
use crate::settings::{Settings, Sources, parse_duration};
use crate::simulator::{FaultPlan, Simulator, SimulatorSettings};
use crate::telemetry;

/// The flags.
#[derive(Debug, Args)]
pub struct SimulatorArguments {
    /// Where to listen; port 0 picks one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// The same seed gives the same delays
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A fault plan, or a JSON array of them, as docs/simulator.md has it
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// The shortest pause before a callback
    #[arg(long, value_name = "DURATION", default_value = "300ms", value_parser = delay)]
    min_delay: Duration,
    /// The longest pause before a callback
    #[arg(long, value_name = "DURATION", default_value = "2500ms", value_parser = delay)]
    max_delay: Duration,
}

fn delay(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| "a number with its unit is accepted, such as 300ms or 5s".to_owned())
}

pub async fn run(arguments: SimulatorArguments, sources: &Sources) -> Result<(), CliError> {
    telemetry::start_logging(&Settings::read(sources)?, true);
    let (shortest, longest) = (arguments.min_delay, arguments.max_delay);
    if shortest > longest {
        return Err(CliError::Failed(format!(
            "--min-delay {shortest:?} is longer than --max-delay {longest:?}"
        )));
    }
    let mut settings = SimulatorSettings::new(arguments.listen);
    settings.seed = arguments.seed;
    settings.callback_delay = shortest..=longest;
    settings.faults = read_faults(arguments.faults)?;
    let simulator = Simulator::start(settings).await.map_err(|error| {
        CliError::Failed(format!("cannot listen on {}: {error}", arguments.listen))
    })?;
    offer(&simulator.url());
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    stop.cancelled().await;
    simulator.stop().await;
    Ok(())
}

fn read_faults(file: Option<PathBuf>) -> Result<Vec<FaultPlan>, CliError> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    std::fs::read_to_string(&file)
        .map_err(|error| error.to_string())
        .and_then(|json| FaultPlan::read(&json))
        .map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))
}

/// What it has, one line each.
fn offer(url: &str) {
    Output::line(&format!("simulator {url}/simulator"));
    for (name, path, what) in [
        (
            "mpesa",
            "",
            "Daraja's base URL; any consumer key and secret",
        ),
        (
            "clickpesa",
            "",
            "ClickPesa's base URL; any client id and API key",
        ),
        (
            "endings",
            "/simulator",
            "what the last four digits of a number do",
        ),
        (
            "faults",
            "/simulator/faults",
            "GET, POST and DELETE plans of what goes wrong",
        ),
        ("tokens", "/simulator/tokens/invalidate", "POST ends them"),
        (
            "ledger",
            "/simulator/ledger",
            "every payment and what became of it in truth",
        ),
    ] {
        Output::line(&format!("{name:<9} {url}{path} ({what})"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_faults_is_read_or_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("faults.json");
        std::fs::write(&file, r#"[{"seed": 7, "rates": {"early": 0.5}}]"#).unwrap();
        assert_eq!(read_faults(Some(file.clone())).unwrap().len(), 1);
        std::fs::write(&file, r#"{"rates": {"soon": 1}}"#).unwrap();
        let error = read_faults(Some(file)).unwrap_err().to_string();
        assert!(
            error.contains("faults.json") && error.contains("`early`"),
            "{error}"
        );
        assert!(read_faults(None).unwrap().is_empty());
    }
}
