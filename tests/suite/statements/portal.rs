//! A provider's statement against the table.

use ussd_status::domain::identity::PartnerId;
use ussd_status::domain::money::Amount;
use ussd_status::domain::transaction::Provider;
use ussd_status::statements::{Comparison, Finding, Portal, compare, read_portal};

use super::bring_in;
use crate::support::TestStore;

on_both_databases!(
    a_statement_that_agrees_is_clean,
    every_difference_is_found_on_either_side,
    the_span_bounds_what_is_expected_in_the_file,
);

const HISTORY: &str = "client_request_id,transaction_receipt,amount,paid_amount,status,created_at,reversed_at,provider\n\
    a,NLJ1,1200,,success,2026-02-03T09:00:00Z,,\n\
    b,NLJ2,50,49.50,success,2026-02-04T09:00:00Z,,\n\
    c,NLJ3,75,,failed,2026-02-05T09:00:00Z,2026-02-06T00:00:00Z,\n\
    d,,75,,failed,2026-02-05T09:00:00Z,,\n\
    e,CLK1,75,,success,2026-02-05T09:00:00Z,,clickpesa\n\
    f,,10,,success,2026-02-05T09:00:00Z,,\n";

const HEAD: &str =
    "Organization,Kilimo\n\nReceipt No.,Completion Time,Transaction Status,Paid In,Withdrawn\n";

async fn checked(
    db: &TestStore,
    partner: PartnerId,
    file: &str,
    span: [Option<&str>; 2],
) -> (Comparison, Vec<Finding>) {
    let entries = read_portal(file.as_bytes(), |problem| panic!("{problem}")).unwrap();
    let [from, to] = span.map(|at| at.map(|at| at.parse().unwrap()));
    let portal = Portal {
        entries,
        provider: Provider::Mpesa,
        from,
        to,
    };
    let mut findings = Vec::new();
    let found = |finding: &Finding| findings.push(finding.clone());
    let result = compare(&db.store, partner, portal, db.now(), found, |_| {})
        .await
        .unwrap();
    (result, findings)
}

async fn a_statement_that_agrees_is_clean(db: TestStore) {
    let partner = db.partner().await;
    bring_in(&db, partner, HISTORY).await;
    // The charge has the payment's receipt; what was reversed was paid first.
    let file = format!(
        "{HEAD}NLJ1,03-02-2026 12:00:00,Completed,\"1,200.00\",\n\
         NLJ1,03-02-2026 12:00:00,Completed,,-6.60\n\
         NLJ2,04-02-2026 12:00:00,Completed,,-49.50\n\
         NLJ3,05-02-2026 12:00:00,Completed,75.00,\n\
         NLJ9,05-02-2026 12:00:00,Failed,75.00,\n"
    );
    let (result, findings) = checked(&db, partner, &file, [None, None]).await;
    assert_eq!(findings, []);
    assert!(result.is_clean());
    assert_eq!((result.same, result.without_receipt), (4, 1));
}

async fn every_difference_is_found_on_either_side(db: TestStore) {
    let partner = db.partner().await;
    bring_in(&db, partner, HISTORY).await;
    let file = format!(
        "{HEAD}NLJ1,03-02-2026 12:00:00,Completed,\"1,300.00\",\n\
         NLJ3,05-02-2026 12:00:00,Failed,75.00,\n\
         NLJ7,05-02-2026 12:00:00,Completed,8.00,\n"
    );
    let (result, findings) = checked(&db, partner, &file, [None, None]).await;
    assert_eq!(
        (result.missing, result.extra, result.different, result.same),
        (1, 1, 2, 0)
    );
    let mut told: Vec<(&str, &str)> = findings
        .iter()
        .map(|finding| match finding {
            Finding::Missing { receipt, .. } => ("missing", receipt.as_str()),
            Finding::Extra {
                receipt, amount, ..
            } => {
                assert_eq!(
                    *amount,
                    Amount(4_950),
                    "what was paid, not what was asked for"
                );
                ("extra", receipt.as_str())
            }
            Finding::Amount { receipt, entry, .. } => {
                assert_eq!(entry.line, 4);
                ("amount", receipt.as_str())
            }
            Finding::Status { receipt, .. } => ("status", receipt.as_str()),
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("amount", "NLJ1"),
            ("extra", "NLJ2"),
            ("missing", "NLJ7"),
            ("status", "NLJ3"),
        ]
    );
}

async fn the_span_bounds_what_is_expected_in_the_file(db: TestStore) {
    let partner = db.partner().await;
    bring_in(&db, partner, HISTORY).await;
    let span = [Some("2026-02-04T00:00:00Z"), Some("2026-02-04T23:59:59Z")];
    // NLJ1 was created before the span, and is not missing though the file has it.
    let file = "receipt,amount\nNLJ1,1200\nNLJ2,49.50\n";
    let (result, findings) = checked(&db, partner, file, span).await;
    assert_eq!(findings, []);
    assert_eq!((result.same, result.extra), (2, 0));
    let (result, _) = checked(&db, partner, "receipt,amount\n", span).await;
    assert_eq!((result.extra, result.missing), (1, 0));
}
