//! A provider's statement held against the table: what is missing here, what is extra here, what differs. The portal's
//! receipts are kept in memory, the table is walked.

use std::collections::HashMap;
use std::sync::Arc;

use super::portal::{Entry, Standing};
use super::{STRETCH, Statements};
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::money::Amount;
use crate::domain::search::{BulkLookup, Filter};
use crate::domain::status::Status;
use crate::domain::transaction::{Provider, Transaction};
use crate::store::{Store, StoreError};

/// What the portal says, and of what the table is asked.
pub struct Portal {
    /// By receipt.
    pub entries: HashMap<String, Entry>,
    /// Whose portal.
    pub provider: Provider,
    /// What was created at or after is expected in the file.
    pub from: Option<Instant>,
    /// What was created at or before is expected in the file.
    pub to: Option<Instant>,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The portal has it and the table has not.
    Missing {
        /// The receipt.
        receipt: String,
        /// What the portal says.
        entry: Entry,
    },
    /// The table has it as paid and the portal has it not.
    Extra {
        /// The receipt.
        receipt: String,
        /// Which transaction.
        transaction_id: TransactionId,
        /// How much was paid.
        amount: Amount,
    },
    /// Both have it, with another amount.
    Amount {
        /// The receipt.
        receipt: String,
        /// Which transaction.
        transaction_id: TransactionId,
        /// How much was paid.
        amount: Amount,
        /// What the portal says.
        entry: Entry,
    },
    /// Both have it, and it was paid in one of them only.
    Status {
        /// The receipt.
        receipt: String,
        /// Which transaction.
        transaction_id: TransactionId,
        /// How it stands here.
        status: Status,
        /// What the portal says.
        entry: Entry,
    },
}

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Receipts that both have, just so.
    pub same: u64,
    /// Receipts that the portal has and the table has not.
    pub missing: u64,
    /// Receipts that the table has and the portal has not.
    pub extra: u64,
    /// Receipts that both have, with another amount or status.
    pub different: u64,
    /// Paid transactions of the span without a receipt: they cannot be compared.
    pub without_receipt: u64,
}

impl Comparison {
    /// Whether the two agree.
    pub fn is_clean(&self) -> bool {
        self.missing + self.extra + self.different == 0
    }
}

/// Compares; `found` is told of every difference, `walked` after every stretch how many rows were looked at.
///
/// # Errors
/// The database's.
pub async fn compare(
    store: &Arc<dyn Store>,
    partner: PartnerId,
    portal: Portal,
    now: Instant,
    mut found: impl FnMut(&Finding),
    mut walked: impl FnMut(u64),
) -> Result<Comparison, StoreError> {
    let mut result = Comparison::default();
    let mut told = |finding: Option<Finding>, result: &mut Comparison| match finding {
        None => result.same += 1,
        Some(finding) => {
            match finding {
                Finding::Missing { .. } => result.missing += 1,
                Finding::Extra { .. } => result.extra += 1,
                Finding::Amount { .. } | Finding::Status { .. } => result.different += 1,
            }
            found(&finding);
        }
    };
    // By receipt what the portal says, and what came of it: one row that agrees is enough where two share a receipt.
    let mut entries: HashMap<String, (Entry, Option<Option<Finding>>)> = portal
        .entries
        .into_iter()
        .map(|(receipt, entry)| (receipt, (entry, None)))
        .collect();
    let filter = Filter {
        from: portal.from,
        to: portal.to,
        ..Filter::default()
    };
    let mut walk = Statements::new(Arc::clone(store)).walk(partner, filter, now);
    while let Some(rows) = walk.next().await? {
        walked(u64::try_from(rows.len()).unwrap_or_default());
        for row in rows.iter().filter(|row| row.provider == portal.provider) {
            let Some(receipt) = &row.receipt else {
                result.without_receipt += u64::from(was_paid(row) && !row.is_reversal());
                continue;
            };
            match entries.get_mut(receipt) {
                Some((entry, judged)) => judge(row, receipt, entry, judged),
                None if was_paid(row) => told(
                    Some(Finding::Extra {
                        receipt: receipt.clone(),
                        transaction_id: row.id,
                        amount: paid(row),
                    }),
                    &mut result,
                ),
                None => {}
            }
        }
    }
    look_outside(store, partner, portal.provider, &mut entries).await?;
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(|(_, (entry, _))| entry.line);
    for (receipt, (entry, judged)) in entries {
        match judged {
            Some(finding) => told(finding, &mut result),
            // What was not done there and is not here agrees.
            None if entry.standing == Standing::NotDone => result.same += 1,
            None => told(Some(Finding::Missing { receipt, entry }), &mut result),
        }
    }
    Ok(result)
}

/// Receipts that were not met in the span may be of payments that were created before it and completed within.
async fn look_outside(
    store: &Arc<dyn Store>,
    partner: PartnerId,
    provider: Provider,
    entries: &mut HashMap<String, (Entry, Option<Option<Finding>>)>,
) -> Result<(), StoreError> {
    let unmet: Vec<String> = entries
        .iter()
        .filter(|(_, (_, judged))| judged.is_none())
        .map(|(receipt, _)| receipt.clone())
        .collect();
    for some in unmet.chunks(usize::try_from(STRETCH).unwrap_or(usize::MAX)) {
        let lookup = BulkLookup {
            transaction_receipts: some.to_vec(),
            ..BulkLookup::default()
        };
        let rows = store.find_transactions(partner, lookup).await?.transactions;
        for row in rows.iter().filter(|row| row.provider == provider) {
            let Some(receipt) = &row.receipt else {
                continue;
            };
            if let Some((entry, judged)) = entries.get_mut(receipt) {
                judge(row, receipt, entry, judged);
            }
        }
    }
    Ok(())
}

/// Money that went back was paid before: the portal tells of the way back under another receipt.
fn was_paid(row: &Transaction) -> bool {
    row.status == Status::Success || row.reversed_at.is_some()
}

fn paid(row: &Transaction) -> Amount {
    row.paid.unwrap_or(row.amount)
}

fn judge(row: &Transaction, receipt: &str, entry: &Entry, judged: &mut Option<Option<Finding>>) {
    if judged.as_ref().is_some_and(Option::is_none) {
        return;
    }
    let is_done = entry.standing == Standing::Done;
    *judged = Some(if is_done != was_paid(row) {
        Some(Finding::Status {
            receipt: receipt.to_owned(),
            transaction_id: row.id,
            status: row.status,
            entry: entry.clone(),
        })
    } else if !entry.amounts.contains(&paid(row)) {
        Some(Finding::Amount {
            receipt: receipt.to_owned(),
            transaction_id: row.id,
            amount: paid(row),
            entry: entry.clone(),
        })
    } else {
        None
    });
}
