//! `simulator`: both providers, faked on one port.

use std::net::SocketAddr;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::serve::cancel_on_signal;
use super::{CliError, Output};
use crate::settings::{Settings, Sources};
use crate::simulator::{Simulator, SimulatorSettings};
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
}

pub async fn run(arguments: SimulatorArguments, sources: &Sources) -> Result<(), CliError> {
    telemetry::start_logging(&Settings::read(sources)?, true);
    let mut settings = SimulatorSettings::new(arguments.listen);
    settings.seed = arguments.seed;
    let simulator = Simulator::start(settings).await.map_err(|error| {
        CliError::Failed(format!("cannot listen on {}: {error}", arguments.listen))
    })?;
    Output::line(&format!("simulator {}/simulator", simulator.url()));
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    stop.cancelled().await;
    simulator.stop().await;
    Ok(())
}
