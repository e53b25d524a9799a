//! `export`: a statement with control totals, to a file or to standard output; with `--check` the comparison of a
//! provider's own statement with the table.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tempfile::NamedTempFile;

use super::output::JsonArguments;
use super::progress::Progress;
use super::{CliError, Desk, Output, check};
use crate::domain::clock::Instant;
use crate::domain::identity::PartnerId;
use crate::domain::money::Currency;
use crate::domain::search::{Filter, Position, Search};
use crate::domain::status::Status;
use crate::domain::totals::{Sum, Totals};
use crate::domain::transaction::Provider;
use crate::settings::Sources;
use crate::statements::{Format, Statement, Statements, totals_object};

/// Its flags.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Whose transactions
    #[arg(long)]
    partner: PartnerId,
    /// Created then or later, RFC 3339
    #[arg(long, value_name = "TIME")]
    from: Option<Instant>,
    /// Created then or earlier, RFC 3339
    #[arg(long, value_name = "TIME")]
    to: Option<Instant>,
    /// csv or ndjson
    #[arg(long, default_value = "csv", conflicts_with = "check")]
    format: Format,
    /// Write here instead of to standard output; what is there is replaced once the statement is whole
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    output: Option<PathBuf>,
    /// Write nothing, but compare this CSV of receipts and amounts from the provider's portal with the table
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// With --check: whose portal, mpesa or clickpesa
    #[arg(long, default_value = "mpesa", requires = "check")]
    provider: Provider,
    #[command(flatten)]
    json: JsonArguments,
}

pub async fn run(arguments: ExportArguments, sources: &Sources) -> Result<(), CliError> {
    if arguments
        .from
        .zip(arguments.to)
        .is_some_and(|(from, to)| to < from)
    {
        return Err(CliError::Usage("--to is before --from".to_owned()));
    }
    if arguments.json.json && arguments.output.is_none() && arguments.check.is_none() {
        return Err(CliError::Usage(
            "--json prints one object with the totals; the transactions need --output FILE"
                .to_owned(),
        ));
    }
    let desk = Desk::open(sources).await?;
    desk.partner(arguments.partner).await?;
    match &arguments.check {
        Some(file) => {
            let scope = check::Scope {
                partner: arguments.partner,
                provider: arguments.provider,
                from: arguments.from,
                to: arguments.to,
            };
            check::run(&desk, scope, file, arguments.json.json).await
        }
        None => write(&desk, &arguments).await,
    }
}

async fn write(desk: &Desk, arguments: &ExportArguments) -> Result<(), CliError> {
    let filter = Filter {
        from: arguments.from,
        to: arguments.to,
        ..Filter::default()
    };
    let progress = Progress::new(Some(count(desk, arguments.partner, &filter).await?));
    let audit = Desk::audit(
        "transactions.export",
        Some(arguments.partner),
        arguments.partner,
    );
    desk.store.record_audit(audit).await?;
    let statement = Statements::new(Arc::clone(&desk.store)).statement(
        arguments.partner,
        filter,
        arguments.format,
        desk.clock.now(),
    );
    let totals = match &arguments.output {
        Some(path) => {
            let mut file = beside(path).map_err(|error| failed(path, &error))?;
            let totals = pour(statement, &mut file, &progress, path).await?;
            file.as_file()
                .sync_all()
                .and_then(|()| file.persist(path).map(drop).map_err(|error| error.error))
                .map_err(|error| failed(path, &error))?;
            totals
        }
        None => {
            let mut out = io::stdout().lock();
            pour(statement, &mut out, &progress, Path::new("standard output")).await?
        }
    };
    progress.end();
    if arguments.output.is_some() {
        let object = json!({
            "partner_id": arguments.partner.to_string(),
            "file": arguments.output,
            "totals": totals_object(&totals),
        });
        Output::answer(arguments.json.json, &object, &lines(&totals));
    }
    Ok(())
}

/// How many transactions it will be, for the bar.
async fn count(desk: &Desk, partner: PartnerId, filter: &Filter) -> Result<u64, CliError> {
    let search = Search {
        filter: filter.clone(),
        limit: 1,
        position: Position::Offset(0),
        with_statistics: false,
    };
    let listing = desk
        .store
        .list_transactions(partner, search, desk.clock.now())
        .await?;
    Ok(u64::try_from(listing.total).unwrap_or_default())
}

async fn pour(
    mut statement: Statement,
    out: &mut impl Write,
    progress: &Progress,
    to: &Path,
) -> Result<Totals, CliError> {
    while let Some(piece) = statement.next().await? {
        out.write_all(&piece).map_err(|error| failed(to, &error))?;
        let count = statement.totals().count();
        progress.stand_at(u64::try_from(count).unwrap_or_default(), || {
            format!("{count} transactions")
        });
    }
    out.flush().map_err(|error| failed(to, &error))?;
    Ok(statement.totals().clone())
}

/// A new file in the same folder, readable by its owner alone: it has phone numbers in it.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    match path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Some(folder) => NamedTempFile::new_in(folder),
        None => NamedTempFile::new_in("."),
    }
}

fn failed(path: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!("{}: {error}", path.display()))
}

fn lines(totals: &Totals) -> Vec<String> {
    let line = |of: &str, (currency, status, sum): (&Currency, Status, Sum)| {
        format!(
            "{of:<9}  {currency}  {status:<8}  {:>9}  {:>18}",
            sum.count,
            sum.amount.to_string()
        )
    };
    let mut lines: Vec<String> = totals.payments().map(|one| line("payments", one)).collect();
    lines.extend(totals.reversals().map(|one| line("reversals", one)));
    lines.push(format!("{} transactions", totals.count()));
    lines
}
