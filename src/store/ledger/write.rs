//! What a batch of commands writes: the transactions, and what is kept beside them so that they are found and counted.
//! Rows travel as one JSON parameter a table, so that a batch of any size is a handful of prepared statements.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration};
use serde_json::{Value, json};

use super::{optional, text};
use crate::domain::clock::Instant;
use crate::domain::identity::PartnerId;
use crate::domain::ledger::{Changed, Changes};
use crate::domain::status::Status;
use crate::domain::transaction::{IdField, Transaction};
use crate::store::dialect::{Dialect, Type};
use crate::store::rows::transactions::TRANSACTION_COLUMNS;
use crate::store::search_sql::{day_end, hour_end, minute_end};
use crate::store::statement::Statement;

/// Hour counters are kept for transactions created within this span: twice what the statistics look back.
pub const HOUR_COUNTER_SPAN: Duration = Duration::hours(48);

/// Minutes are counted for transactions created within this span: the hour in which the last 24 begin, and an hour more.
pub const MINUTE_COUNT_SPAN: Duration = Duration::hours(26);

/// What indexes of transactions hold of what may change. SQLite writes each index of every column that an update names,
/// though its value stays: in a large table a page of each index for each row.
pub const INDEXED_COLUMNS: [&str; 4] = [
    "client_request_id",
    "msisdn",
    "account_reference",
    "customer_id",
];

/// Partner, period, its end, currency, status, whether reversals are counted.
type CounterKey = (PartnerId, &'static str, Instant, String, Status, bool);

/// A statement, and how many rows it must touch (`None`: any number).
#[derive(Debug)]
pub struct Write {
    /// What to run.
    pub statement: Statement,
    /// The guard: another number means that a row was not as it was loaded.
    pub must_touch: Option<usize>,
}

const TRANSACTION_TYPES: [Type; 30] = [
    Type::Id,
    Type::Id,
    Type::Id,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Integer,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Number,
    Type::Number,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Id,
    Type::Text,
    Type::Bool,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Text,
    Type::Instant,
    Type::Instant,
    Type::Instant,
];

pub(super) struct Writer {
    pub(super) dialect: Dialect,
    pub(super) now: Instant,
    writes: Vec<Write>,
}

/// Everything `changes` write, in order.
pub fn writes(dialect: Dialect, now: Instant, changes: &Changes) -> Vec<Write> {
    let mut writer = Writer {
        dialect,
        now,
        writes: Vec::new(),
    };
    writer.transactions(&changes.transactions);
    writer.routes(&changes.transactions);
    writer.side_tables(&changes.transactions);
    writer.counters(&changes.transactions);
    writer.created_by_minute(&changes.transactions);
    writer.lines(changes);
    writer.deliveries(changes);
    writer.callbacks(changes);
    writer.balances(changes);
    writer.payments(changes);
    writer.heads(changes);
    writer.writes
}

impl Writer {
    pub(super) fn instant(&self, at: Instant) -> Value {
        self.dialect.instant(at)
    }

    pub(super) fn maybe_instant(&self, at: Option<Instant>) -> Value {
        at.map_or(Value::Null, |at| self.instant(at))
    }

    pub(super) fn insert(
        &mut self,
        table: &str,
        columns: &[(&str, Type)],
        rows: Vec<Value>,
        on_conflict: &str,
    ) {
        if rows.is_empty() {
            return;
        }
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let must_touch = on_conflict.is_empty().then_some(rows.len());
        // WHERE true keeps SQLite from reading ON CONFLICT as part of a join.
        let sql = format!(
            "INSERT INTO {table} ({names}) SELECT {names} FROM {rows} AS r WHERE true {on_conflict}",
            names = names.join(", "),
            rows = self.dialect.rows("$1", columns)
        );
        self.push(sql, rows, must_touch);
    }

    pub(super) fn push(&mut self, sql: String, rows: Vec<Value>, must_touch: Option<usize>) {
        self.writes.push(Write {
            statement: Statement::new(sql).text(Value::from(rows).to_string()),
            must_touch,
        });
    }

    fn transaction_values(&self, row: &Transaction) -> Vec<Value> {
        vec![
            json!(row.partner_id.to_string()),
            json!(row.id.to_string()),
            json!(row.account_id.map(|id| id.to_string())),
            json!(row.provider.as_str()),
            json!(row.kind.as_str()),
            text(&row.origin),
            optional(row.client_request_id.as_deref()),
            optional(row.ids.conversation_id.as_deref()),
            optional(row.ids.originator_conversation_id.as_deref()),
            optional(row.ids.order_reference.as_deref()),
            json!(row.registered_ids.0),
            optional(row.merchant_request_id.as_deref()),
            json!(row.msisdn.as_ref().map(|msisdn| msisdn.as_str())),
            optional(row.payer_key.as_deref()),
            json!(row.currency.as_str()),
            json!(row.amount.minor()),
            json!(row.paid.map(|paid| paid.minor())),
            optional(row.account_reference.as_deref()),
            optional(row.tenant_id.as_deref()),
            optional(row.customer_id.as_deref()),
            json!(row.original_id.map(|id| id.to_string())),
            json!(row.status.as_str()),
            json!(row.unconfirmed),
            optional(row.result_code.as_deref()),
            optional(row.result_description.as_deref()),
            optional(row.provider_status.as_deref()),
            optional(row.receipt.as_deref()),
            self.maybe_instant(row.reversed_at),
            self.instant(row.created_at),
            self.instant(row.updated_at),
        ]
    }

    fn transactions(&mut self, all: &[Changed]) {
        let columns: Vec<(&str, Type)> = TRANSACTION_COLUMNS
            .into_iter()
            .zip(TRANSACTION_TYPES)
            .collect();
        let mut inserts = Vec::new();
        let (mut updates, mut moves) = (Vec::new(), Vec::new());
        for changed in all {
            let mut values = self.transaction_values(&changed.after);
            match &changed.before {
                None => inserts.push(Value::from(values)),
                Some(before) if *before != changed.after => {
                    values.push(json!(before.status.as_str()));
                    let stays = indexed(before) == indexed(&changed.after);
                    let rows = if stays { &mut updates } else { &mut moves };
                    rows.push(Value::from(values));
                }
                Some(_) => {}
            }
        }
        self.insert("transactions", &columns, inserts, "");
        let is_indexed = |column: &&str| INDEXED_COLUMNS.contains(column);
        let mut columns = columns;
        columns.push(("from_status", Type::Text));
        self.update(&columns, updates, |column| !is_indexed(column));
        self.update(&columns, moves, |_| true);
    }

    /// Sets those of the columns that may change at all and that `is_set` lets through.
    fn update(
        &mut self,
        columns: &[(&str, Type)],
        updates: Vec<Value>,
        is_set: impl Fn(&&str) -> bool,
    ) {
        if updates.is_empty() {
            return;
        }
        let count = updates.len();
        let set: Vec<String> = TRANSACTION_COLUMNS
            .into_iter()
            .filter(|column| !matches!(*column, "partner_id" | "id" | "provider" | "created_at"))
            .filter(is_set)
            .map(|column| format!("{column} = r.{column}"))
            .collect();
        let sql = format!(
            "UPDATE transactions SET {} FROM {} AS r WHERE transactions.partner_id = r.partner_id \
             AND transactions.id = r.id AND transactions.status = r.from_status",
            set.join(", "),
            self.dialect.rows("$1", columns)
        );
        self.push(sql, updates, Some(count));
    }

    fn routes(&mut self, all: &[Changed]) {
        let mut rows = Vec::new();
        for changed in all {
            let after = known_values(&changed.after);
            let before = changed
                .before
                .as_ref()
                .map(known_values)
                .unwrap_or_default();
            for (field, value) in after.iter().filter(|pair| !before.contains(pair)) {
                rows.push(json!([
                    changed.after.partner_id.to_string(),
                    text(value),
                    field.as_str(),
                    changed.after.provider.as_str(),
                    changed.after.id.to_string(),
                ]));
            }
        }
        let columns = [
            ("partner_id", Type::Id),
            ("value", Type::Text),
            ("field", Type::Text),
            ("provider", Type::Text),
            ("transaction_id", Type::Id),
        ];
        self.insert("routes", &columns, rows, "");
    }

    fn side_tables(&mut self, all: &[Changed]) {
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        let (mut failed, mut unfailed) = (Vec::new(), Vec::new());
        for changed in all {
            let (before, after) = (changed.before.as_ref(), &changed.after);
            let place = |row: &Transaction| {
                vec![
                    json!(row.partner_id.to_string()),
                    json!(row.status.as_str()),
                    self.instant(row.created_at),
                    json!(row.id.to_string()),
                ]
            };
            if let Some(before) = before.filter(|before| is_open(before))
                && (changed.ask_at.is_none() || before.status != after.status)
            {
                closed.push(Value::from(place(before)));
            }
            if let Some(ask_at) = changed.ask_at {
                let mut row = place(after);
                row.push(self.instant(ask_at));
                row.push(self.maybe_instant(changed.stuck_at));
                opened.push(Value::from(row));
            }
            let was_failed = before.is_some_and(|before| before.status == Status::Failed);
            let is_failed = after.status == Status::Failed;
            let key = json!([
                after.partner_id.to_string(),
                self.instant(after.created_at),
                after.id.to_string()
            ]);
            match (was_failed, is_failed) {
                (false, true) => failed.push(key),
                (true, false) => unfailed.push(key),
                _ => {}
            }
        }
        let open_key = [
            ("partner_id", Type::Id),
            ("status", Type::Text),
            ("created_at", Type::Instant),
            ("transaction_id", Type::Id),
        ];
        let failed_key = [
            ("partner_id", Type::Id),
            ("created_at", Type::Instant),
            ("transaction_id", Type::Id),
        ];
        self.delete("open_transactions", &open_key, closed);
        let mut columns = open_key.to_vec();
        columns.push(("ask_at", Type::Instant));
        columns.push(("stuck_at", Type::Instant));
        self.insert(
            "open_transactions",
            &columns,
            opened,
            "ON CONFLICT (partner_id, status, created_at, transaction_id) DO UPDATE \
             SET ask_at = excluded.ask_at, stuck_at = excluded.stuck_at",
        );
        self.insert("failed_transactions", &failed_key, failed, "");
        self.delete("failed_transactions", &failed_key, unfailed);
    }

    pub(super) fn delete(&mut self, table: &str, key: &[(&str, Type)], rows: Vec<Value>) {
        if rows.is_empty() {
            return;
        }
        let listed = self.dialect.rows("$1", key);
        let sql = match self.dialect {
            // Of a list PostgreSQL would rather make a hash, and walk the table with it.
            Dialect::Postgres => {
                let same: Vec<String> = key
                    .iter()
                    .map(|(name, _)| format!("{table}.{name} = r.{name}"))
                    .collect();
                let same = same.join(" AND ");
                format!("DELETE FROM {table} USING {listed} AS r WHERE {same}")
            }
            Dialect::Sqlite => {
                let columns: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
                let columns = columns.join(", ");
                format!(
                    "DELETE FROM {table} WHERE ({columns}) IN (SELECT {columns} FROM {listed} AS r)"
                )
            }
        };
        self.push(sql, rows, None);
    }

    /// Takes each changed row out of the counters as it was, and into them as it is.
    fn counters(&mut self, all: &[Changed]) {
        let mut deltas: BTreeMap<CounterKey, (i64, i64)> = BTreeMap::new();
        let mut count = |row: &Transaction, sign: i64, now: Instant| {
            let mut periods = vec![
                ("total", DateTime::UNIX_EPOCH),
                ("day", day_end(row.created_at)),
            ];
            if row.created_at > now - HOUR_COUNTER_SPAN {
                periods.push(("hour", hour_end(row.created_at)));
            }
            for (period, ends_at) in periods {
                let delta = deltas
                    .entry((
                        row.partner_id,
                        period,
                        ends_at,
                        row.currency.to_string(),
                        row.status,
                        row.is_reversal(),
                    ))
                    .or_default();
                delta.0 += sign;
                delta.1 += sign * row.amount.minor();
            }
        };
        for changed in all {
            if let Some(before) = &changed.before {
                count(before, -1, self.now);
            }
            count(&changed.after, 1, self.now);
        }
        let rows: Vec<Value> = deltas
            .into_iter()
            .filter(|(_, delta)| *delta != (0, 0))
            .map(
                |((partner, period, ends_at, currency, status, is_reversal), (n, amount))| {
                    json!([
                        partner.to_string(),
                        period,
                        self.instant(ends_at),
                        currency,
                        status.as_str(),
                        is_reversal,
                        n,
                        amount
                    ])
                },
            )
            .collect();
        let columns = [
            ("partner_id", Type::Id),
            ("period", Type::Text),
            ("ends_at", Type::Instant),
            ("currency", Type::Text),
            ("status", Type::Text),
            ("is_reversal", Type::Bool),
            ("n", Type::Number),
            ("amount_minor", Type::Number),
        ];
        self.insert(
            "counters",
            &columns,
            rows,
            "ON CONFLICT (partner_id, period, ends_at, currency, status, is_reversal) DO UPDATE \
             SET n = counters.n + excluded.n, amount_minor = counters.amount_minor + excluded.amount_minor",
        );
    }

    /// Counts each row into the minute in which it was created; later changes of the row leave that as it is.
    fn created_by_minute(&mut self, all: &[Changed]) {
        let counts = |row: &Transaction| {
            i64::from(!row.is_reversal() && row.created_at > self.now - MINUTE_COUNT_SPAN)
        };
        let mut deltas: BTreeMap<(PartnerId, Instant), i64> = BTreeMap::new();
        for Changed { before, after, .. } in all {
            *deltas
                .entry((after.partner_id, minute_end(after.created_at)))
                .or_default() += counts(after) - before.as_ref().map_or(0, counts);
        }
        let rows: Vec<Value> = deltas
            .into_iter()
            .filter(|(_, delta)| *delta != 0)
            .map(|((partner, ends_at), n)| json!([partner.to_string(), self.instant(ends_at), n]))
            .collect();
        let columns = [
            ("partner_id", Type::Id),
            ("ends_at", Type::Instant),
            ("n", Type::Number),
        ];
        self.insert(
            "created_by_minute",
            &columns,
            rows,
            "ON CONFLICT (partner_id, ends_at) DO UPDATE SET n = created_by_minute.n + excluded.n",
        );
    }
}

/// The values of [`INDEXED_COLUMNS`].
fn indexed(row: &Transaction) -> impl PartialEq {
    (
        &row.client_request_id,
        &row.msisdn,
        &row.account_reference,
        &row.customer_id,
    )
}

/// Whether the table of open transactions has it: not final, or a failure that waits to be confirmed.
fn is_open(row: &Transaction) -> bool {
    !row.status.is_final() || row.unconfirmed
}

fn known_values(row: &Transaction) -> Vec<(IdField, String)> {
    let receipt = row
        .receipt
        .as_deref()
        .map(|value| (IdField::Receipt, value));
    row.ids
        .known()
        .chain(receipt)
        .map(|(field, value)| (field, value.to_owned()))
        .collect()
}
