//! Gathers the working set: what the lookups returned, and what that shows to be needed too.

use std::collections::{HashMap, HashSet};

use chrono::DateTime;

use super::commit::CommitFailure;
use super::load;
use crate::domain::clock::Instant;
use crate::domain::identity::{CallbackId, EndpointId, PartnerId, TransactionId};
use crate::domain::ledger::{EndpointFacts, Lookups, Waiting, WorkingSet};
use crate::domain::transaction::Transaction;
use crate::store::StoreError;
use crate::store::dialect::Dialect;
use crate::store::news_codec;
use crate::store::rows::endpoints::event_types;
use crate::store::rows::events::HeadRow;
use crate::store::rows::ledger::{EndpointFactsRow, UnnamedRow, WaitingRow};
use crate::store::rows::transactions::{TransactionRow, TransactionSql};
use crate::store::statement::{Selecting, Statement};

/// What a batch's lookups returned.
#[derive(Default)]
pub struct Loaded {
    pub heads: Vec<HeadRow>,
    pub endpoints: Vec<EndpointFactsRow>,
    pub waiting: Vec<WaitingRow>,
    pub unnamed: Vec<UnnamedRow>,
    transactions: HashMap<(PartnerId, TransactionId), Transaction>,
    kept: Vec<Waiting>,
    seen: Lookups,
    seen_foreign: HashSet<TransactionId>,
}

/// What the first look showed to be needed too.
pub struct FollowUp {
    pub lookups: Lookups,
    foreign: HashSet<TransactionId>,
}

impl FollowUp {
    /// The statements that find the transactions.
    pub fn transaction_lookups(&self, dialect: Dialect) -> Vec<Selecting<TransactionSql>> {
        // A follow-up never looks for recent ones.
        let mut statements = transaction_lookups(dialect, &self.lookups, DateTime::UNIX_EPOCH);
        statements.extend(load::by_ids_of_anyone(dialect, &self.foreign).map(Statement::selecting));
        statements
    }
}

/// The first look: by provider ids, by the partners' own ids, by our ids.
pub fn transaction_lookups(
    dialect: Dialect,
    lookups: &Lookups,
    recent_since: Instant,
) -> Vec<Selecting<TransactionSql>> {
    [
        load::by_values(dialect, &lookups.values),
        load::by_client_requests(dialect, &lookups.client_requests),
        load::by_ids(dialect, &lookups.transactions),
        load::recent(dialect, &lookups.recent, recent_since),
    ]
    .into_iter()
    .flatten()
    .map(Statement::selecting)
    .collect()
}

impl Loaded {
    /// Adds rows; one found twice counts once.
    pub fn add_transactions(&mut self, rows: Vec<TransactionRow>) -> Result<(), CommitFailure> {
        for row in rows {
            let transaction = Transaction::try_from(row)?;
            self.transactions
                .insert((transaction.partner_id, transaction.id), transaction);
        }
        Ok(())
    }

    /// What to look for next, mostly nothing: what kept callbacks and reversals point at (and what waits for the
    /// same ids as those), and ids that a path names but the partner does not have. `None` when all is loaded.
    pub fn follow_up(&mut self, lookups: &Lookups) -> Result<Option<FollowUp>, CommitFailure> {
        self.keep_waiting()?;
        let mut more = Lookups::default();
        for kept in &self.kept {
            more.add_news(Some(kept.partner_id), &kept.news);
        }
        let originals = self.transactions.values().filter_map(|transaction| {
            let original = transaction.original_id?;
            Some((transaction.partner_id, original))
        });
        more.transactions.extend(originals);
        let (transactions, seen) = (&self.transactions, &mut self.seen);
        let foreign: HashSet<TransactionId> = lookups
            .transactions
            .iter()
            .chain(&seen.transactions)
            .filter(|key| !transactions.contains_key(key))
            .map(|(_, id)| *id)
            .filter(|id| self.seen_foreign.insert(*id))
            .collect();
        more.values
            .retain(|value| !lookups.values.contains(value) && seen.values.insert(value.clone()));
        more.transactions.retain(|key| {
            !transactions.contains_key(key)
                && !lookups.transactions.contains(key)
                && seen.transactions.insert(*key)
        });
        if more == Lookups::default() && foreign.is_empty() {
            return Ok(None);
        }
        more.partners.clone_from(&lookups.partners);
        Ok(Some(FollowUp {
            lookups: more,
            foreign,
        }))
    }

    fn keep_waiting(&mut self) -> Result<(), CommitFailure> {
        for row in std::mem::take(&mut self.waiting) {
            let Some(kept) = kept(row)? else { continue };
            if !self.kept.iter().any(|known| known.id == kept.id) {
                self.kept.push(kept);
            }
        }
        self.kept.sort_by_key(|kept| kept.id);
        Ok(())
    }

    /// The endpoints that are for one of the transactions only, if the partners have such endpoints at all.
    pub fn own_endpoints(&self, dialect: Dialect, lookups: &Lookups) -> Option<Statement> {
        if self
            .endpoints
            .iter()
            .all(|row| row.transaction_id.is_none())
        {
            return None;
        }
        let wanted: Vec<(PartnerId, TransactionId)> = self
            .transactions
            .keys()
            .chain(&lookups.intents)
            .copied()
            .collect();
        load::own_endpoints(dialect, &wanted)
    }

    /// Adds what [`Self::own_endpoints`] found.
    pub fn add_endpoints(&mut self, rows: Vec<EndpointFactsRow>) {
        for row in rows {
            if !self.endpoints.iter().any(|known| known.id == row.id) {
                self.endpoints.push(row);
            }
        }
    }

    /// The working set for the ledger.
    pub fn into_working_set(self) -> Result<WorkingSet, CommitFailure> {
        Ok(WorkingSet {
            transactions: self.transactions.into_values().collect(),
            waiting: self.kept,
            endpoints: self
                .endpoints
                .into_iter()
                .map(|row| EndpointFacts {
                    id: EndpointId(row.id.0),
                    partner_id: PartnerId(row.partner_id.0),
                    events: event_types(&row.events),
                    transaction_id: row.transaction_id.map(|id| TransactionId(id.0)),
                })
                .collect(),
            last_sequences: self
                .heads
                .into_iter()
                .map(|row| (PartnerId(row.partner_id.0), row.last_sequence))
                .collect(),
            unnamed: self
                .unnamed
                .into_iter()
                .filter_map(|row| Some((PartnerId(row.partner_id.0), row.provider.parse().ok()?)))
                .collect(),
        })
    }
}

/// A kept callback of its row; `None` for one that is settled already.
pub fn kept(row: WaitingRow) -> Result<Option<Waiting>, StoreError> {
    let (Some(news), Ok(provider), Ok(kind)) = (row.news, row.provider.parse(), row.kind.parse())
    else {
        return Ok(None);
    };
    Ok(Some(Waiting {
        id: CallbackId(row.id.0),
        partner_id: PartnerId(row.partner_id.0),
        provider,
        kind,
        news: news_codec::decode(&news)?,
    }))
}
