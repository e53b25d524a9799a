//! The command line: one arm per command, no logic.

use std::process::ExitCode;

use ussd_status::cli;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run().await
}
