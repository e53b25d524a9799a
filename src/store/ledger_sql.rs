//! The ledger's statements: what a batch of commands loads, and what it writes. Rows travel as one JSON parameter a
//! table, so that a batch of any size is a handful of prepared statements on both databases.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Duration};
use serde_json::{Value, json};

use super::dialect::{Dialect, Type};
use super::news_codec;
use super::rows::TRANSACTION_COLUMNS;
use super::search_sql::{day_end, hour_end, transaction_columns};
use super::statement::Statement;
use crate::domain::clock::Instant;
use crate::domain::identity::{DeliveryId, PartnerId, TransactionId, hex};
use crate::domain::ledger::{CallbackState, Changed, Changes, Lookups};
use crate::domain::status::Status;
use crate::domain::status_update::{IdField, News};
use crate::domain::timeline::TimelineEntry;
use crate::domain::transaction::Transaction;

/// Hour counters are kept for transactions created within this span: twice what the statistics look back.
pub const HOUR_COUNTER_SPAN: Duration = Duration::hours(48);

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

/// Locks the partners' heads, in one order for everybody, and reads their last sequences.
pub fn lock_heads(dialect: Dialect, partners: &HashSet<PartnerId>) -> Statement {
    Statement::new(format!(
        "SELECT partner_id, last_sequence FROM feed_heads WHERE partner_id {} ORDER BY partner_id{}",
        dialect.in_ids("$1"),
        dialect.for_update()
    ))
    .text(ids(partners.iter().map(|id| id.0)))
}

/// The transactions that hold any of these values, of any partner.
pub fn by_values(dialect: Dialect, values: &HashSet<String>) -> Option<Statement> {
    (!values.is_empty()).then(|| {
        Statement::new(format!(
            "SELECT {} FROM routes r JOIN transactions t ON t.partner_id = r.partner_id AND t.id = r.transaction_id \
             WHERE r.value {}",
            transaction_columns("t"),
            dialect.in_texts("$1")
        ))
        .text(Value::from(values.iter().map(|value| text(value)).collect::<Vec<_>>()).to_string())
    })
}

/// Transactions by partner and id.
pub fn by_ids(dialect: Dialect, wanted: &HashSet<(PartnerId, TransactionId)>) -> Option<Statement> {
    (!wanted.is_empty()).then(|| {
        let rows: Vec<Value> = wanted
            .iter()
            .map(|(partner, id)| json!([partner.to_string(), id.to_string()]))
            .collect();
        Statement::new(format!(
            "SELECT {} FROM {} k JOIN transactions t ON t.partner_id = k.partner_id AND t.id = k.id",
            transaction_columns("t"),
            dialect.rows("$1", &[("partner_id", Type::Id), ("id", Type::Id)])
        ))
        .text(Value::from(rows).to_string())
    })
}

/// Transactions by id alone: a look at every partner, for the rare callback whose path names another's.
pub fn by_ids_of_anyone(dialect: Dialect, wanted: &HashSet<TransactionId>) -> Option<Statement> {
    (!wanted.is_empty()).then(|| {
        Statement::new(format!(
            "SELECT {} FROM partners p JOIN transactions t ON t.partner_id = p.id AND t.id {}",
            transaction_columns("t"),
            dialect.in_ids("$1")
        ))
        .text(ids(wanted.iter().map(|id| id.0)))
    })
}

/// Transactions by the partner's own id.
pub fn by_client_requests(
    dialect: Dialect,
    wanted: &HashSet<(PartnerId, String)>,
) -> Option<Statement> {
    (!wanted.is_empty()).then(|| {
        let rows: Vec<Value> = wanted
            .iter()
            .map(|(partner, id)| json!([partner.to_string(), text(id)]))
            .collect();
        Statement::new(format!(
            "SELECT {} FROM {} k JOIN transactions t ON t.partner_id = k.partner_id AND t.client_request_id = k.client_request_id",
            transaction_columns("t"),
            dialect.rows(
                "$1",
                &[("partner_id", Type::Id), ("client_request_id", Type::Text)]
            )
        ))
        .text(Value::from(rows).to_string())
    })
}

/// Kept callbacks of these partners that wait for any of these values, oldest first.
pub fn waiting(dialect: Dialect, lookups: &Lookups) -> Option<Statement> {
    (!lookups.values.is_empty() && !lookups.partners.is_empty()).then(|| {
        Statement::new(format!(
            "SELECT DISTINCT c.id, c.partner_id, c.provider, c.kind, c.news FROM waiting_callbacks w \
             JOIN callbacks c ON c.id = w.callback_id \
             WHERE w.partner_id {} AND w.value {} ORDER BY c.id",
            dialect.in_ids("$1"),
            dialect.in_texts("$2")
        ))
        .text(ids(lookups.partners.iter().map(|id| id.0)))
        .text(
            Value::from(
                lookups
                    .values
                    .iter()
                    .map(|value| text(value))
                    .collect::<Vec<_>>(),
            )
            .to_string(),
        )
    })
}

/// The enabled endpoints of these partners.
pub fn endpoints(dialect: Dialect, partners: &HashSet<PartnerId>) -> Statement {
    Statement::new(format!(
        "SELECT id, partner_id, events FROM endpoints WHERE partner_id {} \
         AND disabled_at IS NULL AND removed_at IS NULL ORDER BY id",
        dialect.in_ids("$1")
    ))
    .text(ids(partners.iter().map(|id| id.0)))
}

fn ids(all: impl Iterator<Item = uuid::Uuid>) -> String {
    json!(all.map(|id| id.to_string()).collect::<Vec<_>>()).to_string()
}

/// Text for a column: no database of the two keeps a NUL in one.
fn text(text: &str) -> Value {
    if text.contains('\0') {
        json!(text.replace('\0', "\u{fffd}"))
    } else {
        json!(text)
    }
}

fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
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

struct Writer {
    dialect: Dialect,
    now: Instant,
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
    writer.lines(changes);
    writer.deliveries(changes);
    writer.callbacks(changes);
    writer.balances(changes);
    writer.heads(changes);
    writer.writes
}

impl Writer {
    fn instant(&self, at: Instant) -> Value {
        self.dialect.instant(at)
    }

    fn maybe_instant(&self, at: Option<Instant>) -> Value {
        at.map_or(Value::Null, |at| self.instant(at))
    }

    fn insert(
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

    fn push(&mut self, sql: String, rows: Vec<Value>, must_touch: Option<usize>) {
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
        let mut updates = Vec::new();
        for changed in all {
            let mut values = self.transaction_values(&changed.after);
            match &changed.before {
                None => inserts.push(Value::from(values)),
                Some(before) if *before != changed.after => {
                    values.push(json!(before.status.as_str()));
                    updates.push(Value::from(values));
                }
                Some(_) => {}
            }
        }
        self.insert("transactions", &columns, inserts, "");
        if updates.is_empty() {
            return;
        }
        let count = updates.len();
        let set: Vec<String> = TRANSACTION_COLUMNS
            .into_iter()
            .filter(|column| !matches!(*column, "partner_id" | "id" | "provider" | "created_at"))
            .map(|column| format!("{column} = r.{column}"))
            .collect();
        let mut columns = columns;
        columns.push(("from_status", Type::Text));
        let sql = format!(
            "UPDATE transactions SET {} FROM {} AS r WHERE transactions.partner_id = r.partner_id \
             AND transactions.id = r.id AND transactions.status = r.from_status",
            set.join(", "),
            self.dialect.rows("$1", &columns)
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
        self.insert(
            "open_transactions",
            &columns,
            opened,
            "ON CONFLICT (partner_id, status, created_at, transaction_id) DO UPDATE SET ask_at = excluded.ask_at",
        );
        self.insert("failed_transactions", &failed_key, failed, "");
        self.delete("failed_transactions", &failed_key, unfailed);
    }

    fn delete(&mut self, table: &str, key: &[(&str, Type)], rows: Vec<Value>) {
        if rows.is_empty() {
            return;
        }
        let columns: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
        let columns = columns.join(", ");
        let sql = format!(
            "DELETE FROM {table} WHERE ({columns}) IN (SELECT {columns} FROM {} AS r)",
            self.dialect.rows("$1", key)
        );
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

    fn lines(&mut self, changes: &Changes) {
        let rows: Vec<Value> = changes
            .lines
            .iter()
            .map(|line| {
                let event = line.event.as_ref();
                let TimelineEntry {
                    at,
                    kind,
                    from,
                    to,
                    source,
                    result_code,
                    note,
                } = &line.entry;
                // An event keeps the row's own code; a plain line keeps the code of the news it tells of.
                let result_code = event.map_or(result_code, |event| &event.result_code);
                json!([
                    line.partner_id.to_string(),
                    line.transaction_id.to_string(),
                    line.id.to_string(),
                    self.instant(*at),
                    kind.as_str(),
                    from.map(Status::as_str),
                    to.map(Status::as_str),
                    source,
                    optional(result_code.as_deref()),
                    optional(note.as_deref()),
                    event.map(|event| event.sequence),
                    optional(event.and_then(|event| event.conversation_id.as_deref())),
                    optional(event.and_then(|event| event.client_request_id.as_deref())),
                    optional(event.and_then(|event| event.result_description.as_deref())),
                    optional(event.and_then(|event| event.receipt.as_deref())),
                    event.map(|event| event.amount.minor()),
                    event.map(|event| event.currency.as_str()),
                    event.and_then(|event| event.msisdn.as_ref().map(|msisdn| msisdn.as_str())),
                    self.maybe_instant(event.and_then(|event| event.reversed_at)),
                ])
            })
            .collect();
        let columns = [
            ("partner_id", Type::Id),
            ("transaction_id", Type::Id),
            ("id", Type::Id),
            ("at", Type::Instant),
            ("kind", Type::Text),
            ("from_status", Type::Text),
            ("to_status", Type::Text),
            ("source", Type::Text),
            ("result_code", Type::Text),
            ("note", Type::Text),
            ("sequence", Type::Number),
            ("conversation_id", Type::Text),
            ("client_request_id", Type::Text),
            ("result_description", Type::Text),
            ("receipt", Type::Text),
            ("amount_minor", Type::Number),
            ("currency", Type::Text),
            ("msisdn", Type::Text),
            ("reversed_at", Type::Instant),
        ];
        self.insert("transaction_events", &columns, rows, "");
    }

    fn deliveries(&mut self, changes: &Changes) {
        let now = self.instant(self.now);
        let rows = changes
            .deliveries
            .iter()
            .map(|delivery| {
                json!([
                    delivery.partner_id.to_string(),
                    DeliveryId::new(self.now).to_string(),
                    delivery.endpoint_id.to_string(),
                    delivery.transaction_id.to_string(),
                    delivery.sequence,
                    "pending",
                    0,
                    now,
                    false,
                    now,
                ])
            })
            .collect();
        let columns = [
            ("partner_id", Type::Id),
            ("id", Type::Id),
            ("endpoint_id", Type::Id),
            ("transaction_id", Type::Id),
            ("sequence", Type::Number),
            ("state", Type::Text),
            ("attempts", Type::Integer),
            ("due_at", Type::Instant),
            ("is_leased", Type::Bool),
            ("created_at", Type::Instant),
        ];
        self.insert("deliveries", &columns, rows, "");
    }

    fn callbacks(&mut self, changes: &Changes) {
        let mut rows = Vec::new();
        let mut waiting = Vec::new();
        for record in &changes.callbacks {
            let arrival = &record.arrival;
            let waits = record.state == CallbackState::Waiting;
            rows.push(json!([
                arrival.id.to_string(),
                arrival.partner_id.map(|id| id.to_string()),
                arrival
                    .account
                    .as_ref()
                    .map(|account| account.id.to_string()),
                arrival.provider.as_str(),
                arrival.kind.as_str(),
                record.state.as_str(),
                record.transaction_id.map(|id| id.to_string()),
                self.instant(arrival.received_at),
                optional(arrival.source.as_deref()),
                optional(arrival.content_type.as_deref()),
                arrival.digest,
                hex(&arrival.body),
                optional(record.note.as_deref()),
                waits.then(|| news_codec::encode(&arrival.news)).flatten(),
            ]));
            if let Some(partner) = arrival.partner_id.filter(|_| waits) {
                waiting.extend(awaited(&arrival.news).into_iter().map(|value| {
                    json!([partner.to_string(), text(&value), arrival.id.to_string()])
                }));
            }
        }
        let columns = [
            ("id", Type::Id),
            ("partner_id", Type::Id),
            ("account_id", Type::Id),
            ("provider", Type::Text),
            ("kind", Type::Text),
            ("state", Type::Text),
            ("transaction_id", Type::Id),
            ("received_at", Type::Instant),
            ("source", Type::Text),
            ("content_type", Type::Text),
            ("digest", Type::Text),
            ("body", Type::Bytes),
            ("note", Type::Text),
            ("news", Type::Text),
        ];
        self.insert("callbacks", &columns, rows, "");
        let columns = [
            ("partner_id", Type::Id),
            ("value", Type::Text),
            ("callback_id", Type::Id),
        ];
        self.insert("waiting_callbacks", &columns, waiting, "");
        self.settled(changes);
    }

    fn settled(&mut self, changes: &Changes) {
        let rows: Vec<Value> = changes
            .settled
            .iter()
            .map(|settled| {
                json!([
                    settled.id.to_string(),
                    settled.state.as_str(),
                    settled.transaction_id.map(|id| id.to_string()),
                    optional(settled.note.as_deref()),
                ])
            })
            .collect();
        if rows.is_empty() {
            return;
        }
        let count = rows.len();
        let columns = [
            ("id", Type::Id),
            ("state", Type::Text),
            ("transaction_id", Type::Id),
            ("note", Type::Text),
        ];
        let sql = format!(
            "UPDATE callbacks SET state = r.state, transaction_id = r.transaction_id, note = r.note, news = NULL \
             FROM {} AS r WHERE callbacks.id = r.id AND callbacks.state = 'waiting'",
            self.dialect.rows("$1", &columns)
        );
        let keys = changes
            .settled
            .iter()
            .map(|settled| json!([settled.id.to_string()]))
            .collect();
        self.push(sql, rows, Some(count));
        let key = [("callback_id", Type::Id)];
        self.delete("waiting_callbacks", &key, keys);
    }

    fn balances(&mut self, changes: &Changes) {
        // The newest report of an account wins inside a batch: two rows for one key cannot be upserted at once.
        let mut newest: BTreeMap<(PartnerId, _, String), Value> = BTreeMap::new();
        for report in &changes.balances {
            for balance in &report.balances {
                let minor = |amount: Option<crate::domain::money::Amount>| {
                    amount.map(|amount| amount.minor())
                };
                newest.insert(
                    (report.partner_id, report.account_id, balance.name.clone()),
                    json!([
                        report.partner_id.to_string(),
                        report.account_id.to_string(),
                        text(&balance.name),
                        text(&balance.currency),
                        minor(balance.current),
                        minor(balance.available),
                        minor(balance.reserved),
                        minor(balance.uncleared),
                        self.instant(report.checked_at),
                    ]),
                );
            }
        }
        let columns = [
            ("partner_id", Type::Id),
            ("account_id", Type::Id),
            ("name", Type::Text),
            ("currency", Type::Text),
            ("current_minor", Type::Number),
            ("available_minor", Type::Number),
            ("reserved_minor", Type::Number),
            ("uncleared_minor", Type::Number),
            ("checked_at", Type::Instant),
        ];
        self.insert(
            "balances",
            &columns,
            newest.into_values().collect(),
            "ON CONFLICT (partner_id, account_id, name) DO UPDATE SET currency = excluded.currency, \
             current_minor = excluded.current_minor, available_minor = excluded.available_minor, \
             reserved_minor = excluded.reserved_minor, uncleared_minor = excluded.uncleared_minor, \
             checked_at = excluded.checked_at WHERE excluded.checked_at >= balances.checked_at",
        );
    }

    fn heads(&mut self, changes: &Changes) {
        let rows: Vec<Value> = changes
            .last_sequences
            .iter()
            .map(|(partner, sequence)| json!([partner.to_string(), sequence]))
            .collect();
        if rows.is_empty() {
            return;
        }
        let count = rows.len();
        let columns = [("partner_id", Type::Id), ("last_sequence", Type::Number)];
        let sql = format!(
            "UPDATE feed_heads SET last_sequence = r.last_sequence FROM {} AS r \
             WHERE feed_heads.partner_id = r.partner_id AND feed_heads.last_sequence < r.last_sequence",
            self.dialect.rows("$1", &columns)
        );
        self.push(sql, rows, Some(count));
    }
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

/// The values that, once known, let kept news be applied.
fn awaited(news: &News) -> HashSet<String> {
    let correlation = match news {
        News::Payment(update) => &update.correlation,
        News::Timeout(correlation) => correlation,
        News::Balances { .. } | News::Information(_) | News::Unreadable(_) => {
            return HashSet::new();
        }
    };
    correlation
        .ids()
        .map(|(_, value)| value.to_owned())
        .collect()
}
