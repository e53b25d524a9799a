//! `copy`: a grown SQLite installation moves to PostgreSQL.

use clap::Args;
use serde_json::{Map, Value, json};

use super::output::JsonArguments;
use super::progress::Progress;
use super::{CliError, Output};
use crate::domain::clock::{Clock, SystemClock};
use crate::settings::{Settings, Sources};
use crate::store::DatabaseUrl;
use crate::store::copy::{self, CopyOrder, CopyProgress, CopyReport, SKIPPED};
use crate::telemetry;

/// Its flags.
#[derive(Debug, Args)]
pub struct CopyArguments {
    /// The file to copy: sqlite://PATH. Nothing else may have it open
    #[arg(long, value_name = "URL")]
    from: DatabaseUrl,
    /// The database to fill, postgres://…, instead of DATABASE_URL, where a password is not seen by other users
    #[arg(long, value_name = "URL")]
    to: Option<DatabaseUrl>,
    /// Empty the target first, if all it holds is an unfinished copy
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    output: JsonArguments,
}

pub async fn run(arguments: CopyArguments, mut sources: Sources) -> Result<(), CliError> {
    let named = arguments.to.map(|to| match to {
        DatabaseUrl::Sqlite(path) => format!("sqlite://{path}"),
        DatabaseUrl::Postgres(url) => url,
    });
    if named.is_some() {
        sources.set_flag("DATABASE_URL", named);
    }
    let settings = Settings::read(&sources)?;
    telemetry::start_logging(&settings, true);
    let (from, to) = match (arguments.from, settings.database_url.clone()) {
        (DatabaseUrl::Sqlite(from), DatabaseUrl::Postgres(to)) => (from, to),
        (from, to) => {
            return Err(CliError::Usage(format!(
                "copy goes from sqlite://PATH (--from) to postgres://… (--to or DATABASE_URL) only; found {from:?} and {to:?}"
            )));
        }
    };
    // How much there is to do is known when both sides have been opened and counted.
    let mut bar: Option<Progress> = None;
    let mut report = |progress: CopyProgress| {
        let verb = if progress.verifies {
            "verifying"
        } else {
            "copying"
        };
        bar.get_or_insert_with(|| Progress::new(Some(progress.of)))
            .stand_at(progress.done, || format!("{verb} {}", progress.table));
    };
    let order = CopyOrder {
        from,
        to,
        restart: arguments.restart,
    };
    let outcome = copy::copy(&order, SystemClock.now(), &mut report).await;
    if let Some(bar) = bar {
        bar.end();
    }
    let done = outcome.map_err(|error| CliError::Failed(error.to_string()))?;
    answer(&done, arguments.output);
    Ok(())
}

fn answer(done: &CopyReport, output: JsonArguments) {
    let rows: i64 = done.tables.iter().map(|(_, rows)| rows).sum();
    let tables: Map<String, Value> = done
        .tables
        .iter()
        .map(|(name, rows)| ((*name).to_owned(), Value::from(*rows)))
        .collect();
    let sums: Map<String, Value> = done
        .sums
        .iter()
        .map(|(name, sum)| (name.clone(), Value::from(sum.as_str())))
        .collect();
    let skipped: Map<String, Value> = SKIPPED
        .iter()
        .map(|(name, reason)| ((*name).to_owned(), Value::from(*reason)))
        .collect();
    let mut lines: Vec<String> = done
        .tables
        .iter()
        .map(|(name, rows)| format!("{rows:>12}  {name}"))
        .collect();
    lines.extend(SKIPPED.map(|(name, reason)| format!("     skipped  {name}: {reason}")));
    lines.push(if done.was_finished {
        format!("{rows:>12}  rows: an earlier run had finished; nothing was done")
    } else {
        format!("{rows:>12}  rows copied, each read back and compared; counts and sums agree")
    });
    lines.push(
        "Point DATABASE_URL at the target and start the service; keep the file, unused.".to_owned(),
    );
    Output::answer(
        output.json,
        &json!({
            "rows": rows, "tables": tables, "sums": sums, "skipped": skipped,
            "resumed": done.resumed, "was_finished": done.was_finished, "done": true,
        }),
        &lines,
    );
}
