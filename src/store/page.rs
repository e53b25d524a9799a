//! A page of transactions with its figures: as one statement or as two, and read back.

use std::cmp::Reverse;

use super::rows::transactions::{
    FiguresRow, FiguresSql, ListingRow, ListingSql, TransactionRow, TransactionSql,
    transaction_columns,
};
use super::statement::{Bind, Selecting, Statement};
use super::{Listing, StoreError};
use crate::domain::money::{Amount, Currency};
use crate::domain::search::{Cursor, Position, Search};
use crate::domain::statistics::Statistics;
use crate::domain::status::Status;
use crate::domain::transaction::Transaction;

/// What [`bound`] rounds up to.
const BOUNDS: [i64; 5] = [2, 51, 101, 501, 2_001];

/// A page's rows, and its figures (total and statistics): two SELECTs over the same parameters.
pub struct Page {
    pub with: String,
    pub rows: String,
    pub limit: String,
    /// More rows than will be read, as a number the planner sees; `None` where nobody can tell.
    pub at_most: Option<i64>,
    pub figures: String,
    pub binds: Vec<Bind>,
}

impl Page {
    /// Both as one statement, which is one snapshot and one round trip; the lines may come in any order. It is planned
    /// once a connection, and a planner that does not know the limit thinks of a tenth of the table.
    pub fn in_one(self) -> Selecting<ListingSql> {
        let Self {
            with,
            rows,
            limit,
            at_most,
            figures,
            binds,
        } = self;
        let rows = match at_most {
            Some(most) => format!("SELECT * FROM ({rows} LIMIT {most}) AS b{limit}"),
            None => format!("{rows}{limit}"),
        };
        let sql = format!(
            "WITH {with}page AS MATERIALIZED ({rows}) SELECT f.total, f.counters, f.recent, {page} FROM ({figures}) f \
             LEFT JOIN page p ON 1 = 1",
            page = transaction_columns("p"),
        );
        Statement::with_binds(sql, binds).selecting()
    }

    /// The figures and the rows, to be read in one transaction: where a round trip is nothing, the join and the second
    /// sorting cost as much as the rows.
    pub fn in_two(self) -> (Selecting<FiguresSql>, Selecting<TransactionSql>) {
        let with = match self.with.trim_end_matches([',', ' ']) {
            "" => String::new(),
            with => format!("WITH {with} "),
        };
        (
            Statement::with_binds(self.figures, self.binds.clone()).selecting(),
            Statement::with_binds(format!("{with}{}{}", self.rows, self.limit), self.binds)
                .selecting(),
        )
    }
}

/// At least as many rows as a page reads off its index. Of few sizes, because each is a statement of its own to prepare.
pub fn bound(search: &Search) -> Option<i64> {
    let skipped = match search.position {
        Position::After(_) => 0,
        Position::Offset(offset) => offset,
    };
    let read = skipped.checked_add(search.limit + 1)?;
    BOUNDS.into_iter().find(|bound| *bound >= read)
}

/// Makes a listing of what the statements returned; of `rows` there may be one more than the page has.
///
/// # Errors
/// If a row is not what the schema promises.
pub fn listing(
    figures: Option<FiguresRow>,
    rows: Vec<TransactionRow>,
    search: &Search,
) -> Result<Listing, StoreError> {
    let figures = figures.ok_or_else(|| StoreError::Query("a page without figures".to_owned()))?;
    let limit = usize::try_from(search.limit).unwrap_or_default();
    let has_more = rows.len() > limit;
    let transactions = rows
        .into_iter()
        .take(limit)
        .map(Transaction::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    let next = transactions.last().filter(|_| has_more).map(|last| Cursor {
        created_at: last.created_at,
        id: last.id,
    });
    let statistics = search.with_statistics.then(|| {
        read_statistics(
            figures.counters.as_deref(),
            figures.recent.unwrap_or_default(),
        )
    });
    Ok(Listing {
        transactions,
        total: figures.total,
        has_more,
        next,
        statistics: statistics.transpose()?,
    })
}

/// The two halves of the joined lines, rows newest first; an empty page is one line without a row.
pub fn halves(lines: Vec<ListingRow>) -> (Option<FiguresRow>, Vec<TransactionRow>) {
    let mut figures = None;
    let mut rows = Vec::with_capacity(lines.len());
    for line in lines {
        figures.get_or_insert(FiguresRow {
            total: line.total,
            counters: line.counters,
            recent: line.recent,
        });
        if line.row.id.is_some() {
            rows.push(line.row);
        }
    }
    rows.sort_by_key(|row| Reverse((row.created_at.map(|at| at.0), row.id.map(|id| id.0))));
    (figures, rows)
}

fn read_statistics(counters: Option<&str>, recent: i64) -> Result<Statistics, StoreError> {
    let rows: Vec<(String, String, i64, i64)> = serde_json::from_str(counters.unwrap_or("[]"))
        .map_err(|error| StoreError::Query(format!("counters: {error}")))?;
    let mut statistics = Statistics {
        recent_activity_24h: recent,
        ..Statistics::default()
    };
    for (currency, status, n, amount) in rows {
        let unknown = |_| StoreError::Query("counters hold an unknown word".to_owned());
        let currency: Currency = currency
            .parse()
            .map_err(|_| StoreError::Query("counters hold an unknown currency".to_owned()))?;
        let status: Status = status.parse().map_err(unknown)?;
        statistics.add(currency, status, n, Amount(amount));
    }
    statistics.by_currency.retain(|_, one| one.total != 0);
    Ok(statistics)
}
