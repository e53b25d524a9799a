//! The figures of the release binary on each database, side by side with what the machine could do at best: an actix
//! handler that answers a constant, and the bare database. Only ratios within one run mean anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a bench ends at the first thing that is not as it should be, and its numbers are small"
)]

#[path = "figures/bare.rs"]
mod bare;
#[path = "figures/constant.rs"]
mod constant;
#[path = "figures/database.rs"]
mod database;
#[path = "figures/load.rs"]
mod load;
#[path = "figures/payments.rs"]
mod payments;
#[path = "figures/receiver.rs"]
mod receiver;
#[path = "figures/report.rs"]
mod report;
#[path = "figures/rows.rs"]
mod rows;
#[path = "figures/service.rs"]
mod service;
#[path = "figures/stages.rs"]
mod stages;
#[path = "figures/waiting.rs"]
mod waiting;

use std::path::PathBuf;

use clap::Parser;

use database::{Database, Server};
use report::Figure;

/// Measures the service on its databases.
#[derive(Parser)]
struct Options {
    /// Transactions in the database
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000")]
    rows: Vec<usize>,
    /// sqlite, postgres
    #[arg(long, value_delimiter = ',', default_value = "sqlite,postgres")]
    database: Vec<String>,
    /// Seconds each figure is measured for
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// Another build of the program, to compare with
    #[arg(long, default_value = env!("CARGO_BIN_EXE_ussd-status"))]
    binary: PathBuf,
    /// Only these stages: claim, reads, console, export, callbacks, webhooks, payments, instances; and, only if named, waiting
    /// and customers
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "claim,reads,console,export,callbacks,webhooks,payments"
    )]
    stages: Vec<String>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(constant::ARGUMENT) {
        return constant::serve();
    }
    let options = Options::parse();
    waiting::allow_many_connections();
    let mut figures: Vec<Figure> = Vec::new();
    let largest = options.rows.iter().copied().max().unwrap_or_default();
    rows::refuse_without_disk(&std::env::temp_dir(), largest);
    for name in &options.database {
        let server = (name == "postgres").then(Server::start);
        for rows in &options.rows {
            let folder = tempfile::tempdir().unwrap();
            let database = match &server {
                Some(server) => server.database("ussd_figures"),
                None => Database::Sqlite(folder.path().join("figures.db")),
            };
            let first = figures.len();
            stages::run(&options, &database, folder.path(), *rows, &mut figures);
            if let Some(server) = &server {
                server.drop_database("ussd_figures");
            }
            grow(&mut figures, first);
            if options.json {
                figures[first..].iter().for_each(report::print_json);
            }
        }
    }
    if !options.json {
        report::print_table(&figures);
    }
}

/// Adds, for every figure from `first` on, how it grew from the same figure at the fewest rows.
fn grow(figures: &mut Vec<Figure>, first: usize) {
    let grown: Vec<Figure> = figures[first..]
        .iter()
        .filter(|new| ["ms", "/s"].contains(&new.unit))
        .filter_map(|new| {
            let old = figures[..first]
                .iter()
                .find(|old| old.database == new.database && old.name == new.name)?;
            // A rate is turned into the time one takes.
            let (value, bound) = match new.unit {
                "ms" => (new.value, old.value),
                _ => (1e3 / new.value, 1e3 / old.value),
            };
            Some(Figure {
                database: new.database,
                rows: new.rows,
                name: format!("growth: {}", new.name),
                value,
                unit: "ms each",
                bound: Some(bound),
                goal: report::Goal::AtMost(1.3, 1.1),
            })
        })
        .collect();
    figures.extend(grown);
}
