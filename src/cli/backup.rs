//! `backup`: a verified copy of the SQLite file while the service goes on.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::output::JsonArguments;
use super::{CliError, Output};
use crate::settings::{Settings, Sources};
use crate::store::DatabaseUrl;
use crate::store::backup::{BackupError, backup};
use crate::telemetry;

/// Its flags.
#[derive(Debug, Args)]
pub struct BackupArguments {
    /// Where the copy goes; nothing may be there yet
    path: PathBuf,
    #[command(flatten)]
    output: JsonArguments,
}

pub async fn run(arguments: BackupArguments, sources: &Sources) -> Result<(), CliError> {
    let settings = Settings::read(sources)?;
    telemetry::start_logging(&settings, true);
    let DatabaseUrl::Sqlite(from) = settings.database_url else {
        return Err(CliError::Usage(
            "DATABASE_URL: backup copies a SQLite file, and what was found is postgres://…; PostgreSQL's own tools do \
             that: pg_dump for one database, pg_basebackup with archived WAL for the whole server"
                .to_owned(),
        ));
    };
    if !std::path::Path::new(&from).is_file() {
        return Err(CliError::Failed(format!(
            "DATABASE_URL: there is no file {from}"
        )));
    }
    let path = arguments.path.clone();
    let made = tokio::task::spawn_blocking(move || backup(&from, &path))
        .await
        .map_err(|error| CliError::Failed(error.to_string()))?
        .map_err(|error| match error {
            BackupError::Exists(_) => CliError::Usage(error.to_string()),
            error => CliError::Failed(error.to_string()),
        })?;
    let rows: i64 = made.tables.iter().map(|(_, rows)| rows).sum();
    let tables: Map<String, Value> = made
        .tables
        .into_iter()
        .map(|(name, rows)| (name, Value::from(rows)))
        .collect();
    let path = arguments.path.display();
    Output::answer(
        arguments.output.json,
        &json!({"path": path.to_string(), "bytes": made.bytes, "rows": rows, "tables": tables, "done": true}),
        &[
            format!(
                "{path}: {rows} rows, {} bytes, examined and counted",
                made.bytes
            ),
            "It opens with the same MASTER_KEY, which is not in it.".to_owned(),
        ],
    );
    Ok(())
}
