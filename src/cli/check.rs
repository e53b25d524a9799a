//! `export --check`: what a provider's own statement and the table say differently.

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};

use super::progress::Progress;
use super::{CliError, Desk, Output};
use crate::domain::clock::Instant;
use crate::domain::identity::PartnerId;
use crate::domain::money::Amount;
use crate::domain::transaction::Provider;
use crate::statements::{
    Comparison, Entry, Finding, Portal, Problem, Standing, compare, read_portal,
};

/// How many differences of a kind the JSON object lists; their numbers are whole.
const LISTED: usize = 1_000;

/// Whose transactions are compared, and with which of the portal's lines.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// Whose.
    pub partner: PartnerId,
    /// Whose portal.
    pub provider: Provider,
    /// From then on.
    pub from: Option<Instant>,
    /// Until then.
    pub to: Option<Instant>,
}

pub async fn run(desk: &Desk, scope: Scope, path: &Path, is_json: bool) -> Result<(), CliError> {
    let file = File::open(path)
        .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
    let mut problems: Vec<Problem> = Vec::new();
    let entries = read_portal(file, |problem| problems.push(problem))
        .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
    let receipts = entries.len();
    let progress = Progress::new(None);
    let portal = Portal {
        entries,
        provider: scope.provider,
        from: scope.from,
        to: scope.to,
    };
    if !is_json {
        problems
            .iter()
            .for_each(|problem| Output::line(&format!("unread     {problem}")));
    }
    let (mut missing, mut extra, mut different) = (Vec::new(), Vec::new(), Vec::new());
    let mut looked_at = 0;
    let found = |finding: &Finding| {
        if !is_json {
            progress.aside(|| Output::line(&line(finding)));
            return;
        }
        let list = match finding {
            Finding::Missing { .. } => &mut missing,
            Finding::Extra { .. } => &mut extra,
            Finding::Amount { .. } | Finding::Status { .. } => &mut different,
        };
        if list.len() < LISTED {
            list.push(object(finding));
        }
    };
    let walked = |rows| {
        looked_at += rows;
        progress.stand_at(looked_at, || format!("{looked_at} transactions"));
    };
    let now = desk.clock.now();
    let result = compare(&desk.store, scope.partner, portal, now, found, walked).await?;
    progress.end();
    let object = json!({
        "receipts": receipts,
        "same": result.same,
        "missing_total": result.missing,
        "extra_total": result.extra,
        "different_total": result.different,
        "without_receipt": result.without_receipt,
        "unread": problems.iter().take(LISTED).map(Problem::object).collect::<Vec<_>>(),
        "missing": missing,
        "extra": extra,
        "different": different,
    });
    Output::answer(is_json, &object, &[summary(&result)]);
    if result.is_clean() && problems.is_empty() {
        return Ok(());
    }
    Err(CliError::Failed(format!(
        "{} and the table do not agree",
        path.display()
    )))
}

fn summary(result: &Comparison) -> String {
    let Comparison {
        same,
        missing,
        extra,
        different,
        without_receipt,
    } = result;
    format!(
        "{same} agree, {missing} missing here, {extra} extra here, {different} different; {without_receipt} paid \
         transactions here have no receipt"
    )
}

fn amounts(entry: &Entry) -> String {
    let all: Vec<String> = entry.amounts.iter().map(Amount::to_string).collect();
    all.join(" and ")
}

fn done(entry: &Entry) -> &'static str {
    match entry.standing {
        Standing::Done => "completed",
        Standing::NotDone => "not completed",
    }
}

fn line(finding: &Finding) -> String {
    match finding {
        Finding::Missing { receipt, entry } => format!(
            "missing    {receipt}  line {}, {}: no transaction here has this receipt",
            entry.line,
            amounts(entry)
        ),
        Finding::Extra {
            receipt,
            transaction_id,
            amount,
        } => format!(
            "extra      {receipt}  {amount}, transaction {transaction_id}: the file has no such receipt"
        ),
        Finding::Amount {
            receipt,
            transaction_id,
            amount,
            entry,
        } => format!(
            "different  {receipt}  amount: {amount} here, {} on line {}; transaction {transaction_id}",
            amounts(entry),
            entry.line
        ),
        Finding::Status {
            receipt,
            transaction_id,
            status,
            entry,
        } => format!(
            "different  {receipt}  status: {status} here, {} on line {}; transaction {transaction_id}",
            done(entry),
            entry.line
        ),
    }
}

fn object(finding: &Finding) -> Value {
    let said = |entry: &Entry| {
        let amounts: Vec<String> = entry.amounts.iter().map(Amount::to_string).collect();
        json!({"line": entry.line, "amounts": amounts, "completed": entry.standing == Standing::Done})
    };
    match finding {
        Finding::Missing { receipt, entry } => json!({"receipt": receipt, "file": said(entry)}),
        Finding::Extra {
            receipt,
            transaction_id,
            amount,
        } => json!({
            "receipt": receipt, "transaction_id": transaction_id.to_string(), "amount": amount.to_string(),
        }),
        Finding::Amount {
            receipt,
            transaction_id,
            amount,
            entry,
        } => json!({
            "receipt": receipt, "transaction_id": transaction_id.to_string(), "field": "amount",
            "amount": amount.to_string(), "file": said(entry),
        }),
        Finding::Status {
            receipt,
            transaction_id,
            status,
            entry,
        } => json!({
            "receipt": receipt, "transaction_id": transaction_id.to_string(), "field": "status",
            "status": status.as_str(), "file": said(entry),
        }),
    }
}
