//! Statements on both databases: what is written is read back the same, and the books still agree afterwards.

mod books;
mod commands;
mod identity;
mod portal;

use std::sync::Arc;

use ussd_status::domain::identity::PartnerId;
use ussd_status::domain::search::Filter;
use ussd_status::statements::{Format, Import, Problem, Statements, Summary, import};

use crate::support::TestStore;

/// What an import came to, and why lines were refused.
async fn bring_in(db: &TestStore, partner: PartnerId, file: &str) -> (Summary, Vec<Problem>) {
    bring_in_or_not(db, partner, file, false).await
}

async fn bring_in_or_not(
    db: &TestStore,
    partner: PartnerId,
    file: &str,
    dry_run: bool,
) -> (Summary, Vec<Problem>) {
    let wanted = Import {
        store: Arc::clone(&db.store),
        partner_id: partner,
        now: db.now(),
        dry_run,
    };
    let mut problems = Vec::new();
    let refused = |problem: &Problem| problems.push(problem.clone());
    let summary = import(&wanted, file.as_bytes(), refused, |_| {})
        .await
        .unwrap();
    (summary, problems)
}

/// A whole statement.
async fn statement(db: &TestStore, partner: PartnerId, filter: Filter, format: Format) -> String {
    let statements = Statements::new(Arc::clone(&db.store));
    let mut statement = statements.statement(partner, filter, format, db.now());
    let mut whole = Vec::new();
    while let Some(piece) = statement.next().await.unwrap() {
        whole.extend(piece);
    }
    String::from_utf8(whole).unwrap()
}

fn summary(imported: u64, unchanged: u64, refused: u64) -> Summary {
    Summary {
        imported,
        unchanged,
        refused,
    }
}
