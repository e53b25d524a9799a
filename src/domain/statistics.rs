//! A partner's statistics, read from counters that change in the same commit as the rows.

use std::collections::BTreeMap;

use super::money::{Amount, Currency};
use super::status::Status;

/// Counts and sums of one currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrencyStatistics {
    /// All transactions.
    pub total: i64,
    /// Success.
    pub successful: i64,
    /// Queued and accepted.
    pub pending: i64,
    /// Failed.
    pub failed: i64,
    /// The sum of the amounts asked for.
    pub total_amount: Amount,
    /// The same of the successful ones.
    pub successful_amount: Amount,
}

/// The statistics of a partner; reversals are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// By currency: never a mixed sum.
    pub by_currency: BTreeMap<Currency, CurrencyStatistics>,
    /// Transactions created in the last 24 hours.
    pub recent_activity_24h: i64,
}

impl Statistics {
    /// Adds `count` transactions of `status` worth `amount` together.
    pub fn add(&mut self, currency: Currency, status: Status, count: i64, amount: Amount) {
        let entry = self.by_currency.entry(currency).or_default();
        entry.total += count;
        entry.total_amount.0 += amount.0;
        match status {
            Status::Queued | Status::Accepted => entry.pending += count,
            Status::Success => {
                entry.successful += count;
                entry.successful_amount.0 += amount.0;
            }
            Status::Failed => entry.failed += count,
        }
    }

    /// Counts over all currencies (the sums of this answer are meaningless and left at zero).
    pub fn counts(&self) -> CurrencyStatistics {
        let mut all = CurrencyStatistics::default();
        for one in self.by_currency.values() {
            all.total += one.total;
            all.successful += one.successful;
            all.pending += one.pending;
            all.failed += one.failed;
        }
        all
    }
}

/// Success ÷ total in percent with two decimals, half up; `"0.00"` of nothing.
pub fn success_rate(successful: i64, total: i64) -> String {
    if total <= 0 {
        return "0.00".to_owned();
    }
    let (successful, total) = (i128::from(successful), i128::from(total));
    let hundredths = (successful * 20_000 + total) / (2 * total);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_success_rate_is_rounded_half_up() {
        for (successful, total, rate) in [
            (0, 0, "0.00"),
            (0, 3, "0.00"),
            (142, 150, "94.67"),
            (1, 3, "33.33"),
            (2, 3, "66.67"),
            (1, 800, "0.13"),
            (7, 7, "100.00"),
        ] {
            assert_eq!(success_rate(successful, total), rate);
        }
    }
}
