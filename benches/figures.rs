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

use std::path::{Path, PathBuf};

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
    /// Only these stages: claim, reads, console, export, callbacks, webhooks, payments, instances; and, only if named,
    /// growth (the most rows beside the fewest), waiting and customers
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
        let (grows, sizes): (Vec<&str>, Vec<&str>) = options
            .stages
            .iter()
            .map(String::as_str)
            .partition(|stage| *stage == "growth");
        for rows in options.rows.iter().filter(|_| !sizes.is_empty()) {
            let folder = tempfile::tempdir().unwrap();
            let database = make(server.as_ref(), "ussd_figures", folder.path());
            stages::run(&options, &database, folder.path(), *rows, &mut figures);
            if let Some(server) = &server {
                server.drop_database("ussd_figures");
            }
        }
        if !grows.is_empty() {
            grow(&options, server.as_ref(), &mut figures);
        }
    }
    if options.json {
        figures.iter().for_each(report::print_json);
    } else {
        report::print_table(&figures);
    }
}

/// Measures the most rows beside the fewest.
fn grow(options: &Options, server: Option<&Server>, figures: &mut Vec<Figure>) {
    let (fewest, most) = (options.rows.iter().min(), options.rows.iter().max());
    let (Some(&fewest), Some(&most)) = (fewest, most) else {
        return;
    };
    assert!(
        fewest < most,
        "--stages growth compares two numbers of --rows"
    );
    let names = ["ussd_figures_few", "ussd_figures_many"];
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let place = |at: usize| make(server, names[at], folders[at].path());
    let databases = [place(0), place(1)];
    stages::growth::run(
        options,
        [
            (&databases[0], folders[0].path(), fewest),
            (&databases[1], folders[1].path(), most),
        ],
        figures,
    );
    if let Some(server) = server {
        for name in names {
            server.drop_database(name);
        }
    }
}

fn make(server: Option<&Server>, name: &str, folder: &Path) -> Database {
    match server {
        Some(server) => server.database(name),
        None => Database::Sqlite(folder.join("figures.db")),
    }
}
