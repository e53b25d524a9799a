//! `reconcile`: asks providers about silent transactions, once or until stopped.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::SecondsFormat;
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::serve::cancel_on_signal;
use super::{CliError, Desk, Output, vault};
use crate::app;
use crate::domain::clock::Instant;
use crate::domain::transaction::Transaction;
use crate::payments::accounts::Accounts;
use crate::reconciliation::{Reconciler, Step};
use crate::settings::Sources;

/// How many stuck transactions are listed at most; `stuck_total` counts them all.
const STUCK_LISTED: i64 = 1_000;

/// The flags.
#[derive(Debug, Args)]
pub struct ReconcileArguments {
    /// Ask about everything that is due now, then end; without it until Ctrl-C
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    output: super::output::JsonArguments,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    asked: usize,
    answered: usize,
    settled: usize,
    postponed: usize,
}

impl Total {
    fn add(&mut self, step: &Step) {
        self.asked += step.asked;
        self.answered += step.answered;
        self.settled += step.settled.len();
        self.postponed += step.postponed;
    }
}

pub async fn run(arguments: ReconcileArguments, sources: &Sources) -> Result<(), CliError> {
    let desk = Desk::open(sources).await?;
    let vault = Arc::new(vault(&desk.settings)?);
    let accounts = Accounts::new(
        Arc::clone(&desk.store),
        vault,
        Arc::clone(&desk.clock),
        &desk.settings,
    )
    .map_err(CliError::Usage)?;
    let mut reconciler = Reconciler::new(
        Arc::clone(&desk.store),
        Arc::clone(&desk.clock),
        Arc::new(accounts),
        app::ask_schedule(&desk.settings),
    );
    let json = arguments.output.json;
    let total = Arc::new(Mutex::new(Total::default()));
    let report = {
        let total = Arc::clone(&total);
        move |step: &Step| {
            total
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(step);
            if !json {
                print(step);
            }
        }
    };
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    if arguments.once {
        tokio::select! {
            ended = reconciler.run_once(report) => ended?,
            () = stop.cancelled() => {}
        }
    } else {
        reconciler.run(stop, report).await;
    }
    let total = *total.lock().unwrap_or_else(PoisonError::into_inner);
    conclude(&desk, total, json).await
}

fn print(step: &Step) {
    for (id, status) in &step.settled {
        Output::line(&format!("reconciled  {id}  {}", status.as_str()));
    }
    for id in &step.stuck {
        Output::line(&format!("stuck       {id}"));
    }
}

async fn conclude(desk: &Desk, total: Total, json: bool) -> Result<(), CliError> {
    let stuck = desk.store.list_stuck(None, STUCK_LISTED).await?;
    let stuck_total = desk.store.count_backlog().await?.stuck_transactions;
    let object = json!({
        "asked": total.asked,
        "answered": total.answered,
        "settled": total.settled,
        "postponed": total.postponed,
        "stuck_total": stuck_total,
        "stuck": stuck.iter().map(|(stuck, since)| described(stuck, *since)).collect::<Vec<_>>(),
    });
    let mut lines = vec![format!(
        "{} asked, {} answered, {} settled, {} put back, {stuck_total} stuck",
        total.asked, total.answered, total.settled, total.postponed
    )];
    lines.extend(stuck.iter().map(|(stuck, since)| {
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!(
            "{}  {}  {}  stuck since {since}",
            stuck.id, stuck.provider, stuck.kind
        )
    }));
    Output::answer(json, &object, &lines);
    Ok(())
}

fn described(stuck: &Transaction, since: Instant) -> Value {
    json!({
        "transaction_id": stuck.id.to_string(),
        "partner_id": stuck.partner_id.to_string(),
        "provider": stuck.provider.as_str(),
        "kind": stuck.kind.as_str(),
        "since": since.to_rfc3339_opts(SecondsFormat::Millis, true),
    })
}
