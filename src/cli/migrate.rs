//! `migrate`: runs pending migrations.

use std::sync::Arc;

use serde_json::json;

use super::output::JsonArguments;
use super::{CliError, Output};
use crate::app;
use crate::domain::clock::SystemClock;
use crate::settings::{Settings, Sources};
use crate::telemetry;

pub async fn run(arguments: JsonArguments, sources: &Sources) -> Result<(), CliError> {
    let settings = Settings::read(sources)?;
    telemetry::start_logging(&settings, true);
    let store = app::open_store(&settings, Arc::new(SystemClock)).await?;
    let applied = store.migrate().await?;
    let lines = if applied.is_empty() {
        vec!["nothing to apply".to_owned()]
    } else {
        applied
            .iter()
            .map(|name| format!("applied {name}"))
            .collect()
    };
    Output::answer(arguments.json, &json!({ "applied": applied }), &lines);
    Ok(())
}
