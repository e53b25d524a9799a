//! The control totals of a statement: what its lines come to, by currency and status; reversals on lines of their own.

use std::collections::BTreeMap;

use super::money::{Amount, Currency};
use super::status::Status;
use super::transaction::Transaction;

/// A count of transactions and the sum of the amounts asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many.
    pub count: i64,
    /// What they come to.
    pub amount: Amount,
}

/// The totals of the lines that were added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    payments: BTreeMap<Currency, BTreeMap<Status, Sum>>,
    reversals: BTreeMap<Currency, BTreeMap<Status, Sum>>,
    count: i64,
}

impl Totals {
    /// Adds a line.
    pub fn add(&mut self, line: &Transaction) {
        let sums = if line.is_reversal() {
            &mut self.reversals
        } else {
            &mut self.payments
        };
        let of_currency = match sums.get_mut(&line.currency) {
            Some(known) => known,
            None => sums.entry(line.currency.clone()).or_default(),
        };
        let sum = of_currency.entry(line.status).or_default();
        sum.count += 1;
        sum.amount = Amount(sum.amount.0.saturating_add(line.amount.0));
        self.count += 1;
    }

    /// All lines, reversals too.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// What the statistics count: payments by currency and status. Of a currency that occurs every status is there.
    pub fn payments(&self) -> impl Iterator<Item = (&Currency, Status, Sum)> {
        lines(&self.payments)
    }

    /// What the statistics leave out, in the same way.
    pub fn reversals(&self) -> impl Iterator<Item = (&Currency, Status, Sum)> {
        lines(&self.reversals)
    }
}

fn lines(
    sums: &BTreeMap<Currency, BTreeMap<Status, Sum>>,
) -> impl Iterator<Item = (&Currency, Status, Sum)> {
    sums.iter().flat_map(|(currency, by_status)| {
        Status::ALL.into_iter().map(move |status| {
            let sum = by_status.get(&status).copied().unwrap_or_default();
            (currency, status, sum)
        })
    })
}
