//! A provider's statement held against the table: what is missing here, what is extra here, what differs. The portal's
//! receipts are kept in memory, the table is walked.

use std::collections::HashMap;
use std::sync::Arc;

use super::Statements;
use super::portal::{Entry, Standing};
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::money::Amount;
use crate::domain::search::{BulkLookup, Filter};
use crate::domain::status::Status;
use crate::domain::transaction::{Provider, Transaction};
use crate::store::{Store, StoreError};

/// Receipts that are looked up at once.
const LOOKED_UP: usize = 500;

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

/// What came of a receipt of the portal's.
enum Judged {
    /// No row with it was met.
    NotYet,
    /// A row agrees with it. One that agrees is enough where two share a receipt.
    Same,
    /// A row does not.
    Differs(Finding),
}

/// The portal's receipts while the table is walked.
struct Comparing<F> {
    provider: Provider,
    entries: HashMap<String, (Entry, Judged)>,
    result: Comparison,
    found: F,
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
    found: impl FnMut(&Finding),
    mut walked: impl FnMut(u64),
) -> Result<Comparison, StoreError> {
    let filter = Filter {
        from: portal.from,
        to: portal.to,
        ..Filter::default()
    };
    let entries = portal.entries.into_iter();
    let mut comparing = Comparing {
        provider: portal.provider,
        entries: entries
            .map(|(receipt, entry)| (receipt, (entry, Judged::NotYet)))
            .collect(),
        result: Comparison::default(),
        found,
    };
    let mut walk = Statements::new(Arc::clone(store)).walk(partner, filter, now);
    while let Some(rows) = walk.next().await? {
        walked(u64::try_from(rows.len()).unwrap_or_default());
        for row in &rows {
            comparing.meet(row);
        }
    }
    // What was not met may be of a payment that was created before the span and completed within.
    for receipts in comparing.unmet().chunks(LOOKED_UP) {
        let lookup = BulkLookup {
            transaction_receipts: receipts.to_vec(),
            ..BulkLookup::default()
        };
        for row in &store.find_transactions(partner, lookup).await?.transactions {
            comparing.meet(row);
        }
    }
    Ok(comparing.conclude())
}

impl<F: FnMut(&Finding)> Comparing<F> {
    /// A row of the table.
    fn meet(&mut self, row: &Transaction) {
        if row.provider != self.provider {
            return;
        }
        let Some(receipt) = &row.receipt else {
            self.result.without_receipt += u64::from(was_paid(row) && !row.is_reversal());
            return;
        };
        match self.entries.get_mut(receipt) {
            Some((_, Judged::Same)) => {}
            Some((entry, judged)) => *judged = judge(row, receipt, entry),
            None if was_paid(row) => {
                self.result.extra += 1;
                (self.found)(&Finding::Extra {
                    receipt: receipt.clone(),
                    transaction_id: row.id,
                    amount: paid(row),
                });
            }
            None => {}
        }
    }

    /// The receipts that no row has so far.
    fn unmet(&self) -> Vec<String> {
        let unmet = self
            .entries
            .iter()
            .filter(|(_, (_, judged))| matches!(judged, Judged::NotYet));
        unmet.map(|(receipt, _)| receipt.clone()).collect()
    }

    /// Tells what is left to tell, in the order of the file.
    fn conclude(mut self) -> Comparison {
        let mut entries: Vec<_> = self.entries.into_iter().collect();
        entries.sort_by_key(|(_, (entry, _))| entry.line);
        for (receipt, (entry, judged)) in entries {
            match judged {
                Judged::Same => self.result.same += 1,
                Judged::Differs(finding) => {
                    self.result.different += 1;
                    (self.found)(&finding);
                }
                // What was not done there and is not here agrees.
                Judged::NotYet if entry.standing == Standing::NotDone => self.result.same += 1,
                Judged::NotYet => {
                    self.result.missing += 1;
                    (self.found)(&Finding::Missing { receipt, entry });
                }
            }
        }
        self.result
    }
}

/// Money that went back was paid before: the portal tells of the way back under another receipt.
fn was_paid(row: &Transaction) -> bool {
    row.status == Status::Success || row.reversed_at.is_some()
}

fn paid(row: &Transaction) -> Amount {
    row.paid.unwrap_or(row.amount)
}

fn judge(row: &Transaction, receipt: &str, entry: &Entry) -> Judged {
    let is_done = entry.standing == Standing::Done;
    if is_done != was_paid(row) {
        Judged::Differs(Finding::Status {
            receipt: receipt.to_owned(),
            transaction_id: row.id,
            status: row.status,
            entry: entry.clone(),
        })
    } else if !entry.amounts.contains(&paid(row)) {
        Judged::Differs(Finding::Amount {
            receipt: receipt.to_owned(),
            transaction_id: row.id,
            amount: paid(row),
            entry: entry.clone(),
        })
    } else {
        Judged::Same
    }
}
