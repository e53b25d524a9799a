//! The console over HTTP, as a browser without a script sees it.

mod balance;
mod forms;
mod operators;
mod oversight;
mod pay;
mod pay_out;
mod reverse;
mod sign_in;
mod transactions;
mod webhooks;
mod weight;

use serde_json::Value;

use crate::support::app::TestApp;

/// The audit log's lines of an action, oldest first: actor, partner, subject, source, detail.
async fn audit_lines(app: &TestApp, action: &str) -> Vec<Vec<Value>> {
    app.db
        .rows(
            &["actor", "partner_id", "subject", "source", "detail"],
            &format!("FROM audit_log WHERE action = '{action}' ORDER BY id"),
        )
        .await
}
