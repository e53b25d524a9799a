//! Statements, for the books: the transactions of a partner written out with control totals, histories brought in, and
//! a provider's own statement held against the table. Sheets are CSV or NDJSON; one table of columns serves both ways.
//!
//! A statement is read from the database stretch by stretch, oldest first, each stretch by its key: memory is constant,
//! and no connection and no transaction is held while its reader takes its time. It has the transactions that were
//! created before it began, each as it stood when the walk passed it, and its totals are those of its own lines.

mod columns;
mod compare;
mod import;
mod past;
mod portal;
mod records;
mod sheet;
mod source;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::domain::clock::Instant;
use crate::domain::identity::PartnerId;
use crate::domain::search::{Cursor, Filter};
use crate::domain::totals::Totals;
use crate::domain::transaction::Transaction;
use crate::store::{Store, StoreError};

pub use columns::{COLUMNS, Column};
pub use compare::{Comparison, Finding, Portal, compare};
pub use import::{BATCH, Import, Summary, import};
pub use portal::{Entry, EntryError, Standing, read_portal};
pub use records::RECORD_MAX;
pub use sheet::{Format, totals_object};
pub use source::{Problem, Source};

/// Rows that are read at once.
pub const STRETCH: i64 = 1_000;
/// Stretches that this process reads at the same time at most: others must find a free connection too.
pub const STRETCHES_AT_ONCE: usize = 2;

/// Writes statements.
#[derive(Clone)]
pub struct Statements {
    store: Arc<dyn Store>,
    places: Arc<Semaphore>,
}

impl Statements {
    /// Over a database.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            places: Arc::new(Semaphore::new(STRETCHES_AT_ONCE)),
        }
    }

    /// Begins a walk over what was created before `now`.
    pub fn walk(&self, partner: PartnerId, filter: Filter, now: Instant) -> Walk {
        let to = filter.to.map_or(now, |to| to.min(now));
        Walk {
            statements: self.clone(),
            partner,
            filter: Filter {
                to: Some(to),
                ..filter
            },
            after: None,
            is_over: false,
        }
    }

    /// Begins a statement.
    pub fn statement(
        &self,
        partner: PartnerId,
        filter: Filter,
        format: Format,
        now: Instant,
    ) -> Statement {
        Statement {
            walk: self.walk(partner, filter, now),
            format,
            totals: Totals::default(),
            stage: Stage::Head,
        }
    }
}

/// A partner's transactions, oldest first, a stretch at a time. Nothing is read that is not asked for.
pub struct Walk {
    statements: Statements,
    partner: PartnerId,
    filter: Filter,
    after: Option<Cursor>,
    is_over: bool,
}

impl Walk {
    /// The next stretch; `None` at the end.
    ///
    /// # Errors
    /// The database's.
    pub async fn next(&mut self) -> Result<Option<Vec<Transaction>>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let place = self.statements.places.acquire().await;
        let rows = self
            .statements
            .store
            .list_oldest_first(self.partner, self.filter.clone(), self.after, STRETCH)
            .await?;
        drop(place);
        self.is_over = i64::try_from(rows.len()).is_ok_and(|count| count < STRETCH);
        self.after = rows.last().map(|last| Cursor {
            created_at: last.created_at,
            id: last.id,
        });
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Rows,
    Over,
}

/// A statement on its way out: its head, its lines, its totals.
pub struct Statement {
    walk: Walk,
    format: Format,
    totals: Totals,
    stage: Stage,
}

impl Statement {
    /// The next piece; `None` when it is whole. One that ends without its totals is not.
    ///
    /// # Errors
    /// The database's.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.stage == Stage::Over {
            return Ok(None);
        }
        let rows = self.walk.next().await?;
        let mut piece = Vec::new();
        if self.stage == Stage::Head {
            self.format.head(&mut piece);
            self.stage = Stage::Rows;
        }
        match rows {
            Some(rows) => {
                for row in &rows {
                    self.totals.add(row);
                }
                self.format.lines(&rows, &mut piece);
            }
            None => {
                self.format.totals(&self.totals, &mut piece);
                self.stage = Stage::Over;
            }
        }
        Ok(Some(piece))
    }

    /// What its lines so far come to.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}
