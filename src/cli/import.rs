//! `import`: brings a history in, once.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::output::JsonArguments;
use super::progress::Progress;
use super::{CliError, Desk, Output};
use crate::domain::identity::PartnerId;
use crate::settings::Sources;
use crate::statements::{Import, Problem, Summary, import};

/// How many refused lines the JSON object lists; `refused` counts them all.
const LISTED: usize = 1_000;

/// Its flags.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Whose history
    #[arg(long)]
    partner: PartnerId,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// CSV or NDJSON, as `export` writes it or with fewer columns; - is standard input
    file: PathBuf,
    #[command(flatten)]
    output: JsonArguments,
}

/// A file that tells how much of it was read.
struct Counted<'a> {
    inner: Box<dyn Read>,
    read: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        let more = u64::try_from(read).unwrap_or_default();
        self.read.set(self.read.get() + more);
        Ok(read)
    }
}

pub async fn run(arguments: ImportArguments, sources: &Sources) -> Result<(), CliError> {
    let path = &arguments.file;
    let (inner, length) = open(path).map_err(|error| failed(path, &error.to_string()))?;
    let desk = Desk::open(sources).await?;
    desk.partner(arguments.partner).await?;
    if !arguments.dry_run {
        let audit = Desk::audit(
            "transactions.import",
            Some(arguments.partner),
            arguments.partner,
        );
        desk.store.record_audit(audit).await?;
    }
    let is_json = arguments.output.json;
    let progress = Progress::new(length);
    let read = Cell::new(0);
    let mut listed: Vec<Problem> = Vec::new();
    let wanted = Import {
        store: Arc::clone(&desk.store),
        partner_id: arguments.partner,
        now: desk.clock.now(),
        dry_run: arguments.dry_run,
    };
    let refused = |problem: &Problem| {
        if !is_json {
            progress.aside(|| Output::line(&format!("refused  {problem}")));
        } else if listed.len() < LISTED {
            listed.push(problem.clone());
        }
    };
    let done = |summary: &Summary| {
        progress.stand_at(read.get(), || words(summary, arguments.dry_run));
    };
    let file = Counted { inner, read: &read };
    let imported = import(&wanted, file, refused, done).await;
    progress.end();
    let summary = imported.map_err(|error| {
        failed(
            path,
            &format!("{error}. What was imported stays; import the file again to go on"),
        )
    })?;
    let Summary {
        imported,
        unchanged,
        refused,
    } = summary;
    let object = json!({
        "partner_id": arguments.partner.to_string(),
        "dry_run": arguments.dry_run,
        "imported": imported,
        "unchanged": unchanged,
        "refused": refused,
        "problems": listed.iter().map(Problem::object).collect::<Vec<_>>(),
    });
    Output::answer(is_json, &object, &[words(&summary, arguments.dry_run)]);
    if refused > 0 {
        return Err(CliError::Failed(format!("{refused} lines were refused")));
    }
    Ok(())
}

/// The file and its length, if it has one.
fn open(path: &Path) -> io::Result<(Box<dyn Read>, Option<u64>)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path)?;
    let about = file.metadata()?;
    let length = about.is_file().then_some(about.len());
    Ok((Box::new(file), length))
}

fn failed(path: &Path, reason: &str) -> CliError {
    CliError::Failed(format!("{}: {reason}", path.display()))
}

fn words(summary: &Summary, dry_run: bool) -> String {
    let Summary {
        imported,
        unchanged,
        refused,
    } = summary;
    if *imported == 0 && *refused == 0 {
        return format!("{unchanged} transactions are here already: nothing to import");
    }
    let verb = if dry_run {
        "would be imported"
    } else {
        "imported"
    };
    format!("{imported} {verb}, {unchanged} here already, {refused} refused")
}
