//! The status API's statements: one for a page with its total and statistics, one for a bulk lookup. One statement
//! is one snapshot, so that no reader sees statistics that disagree with the rows beside them.

use chrono::{Duration, DurationRound};
use serde_json::{Value, json};

use super::columns::{At, Id};
use super::dialect::{Dialect, Type};
use super::page::{Page, bound};
use super::rows::transactions::{TransactionSql, transaction_columns};
use super::statement::{Bind, Selecting, Statement};
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::search::{BulkLookup, Cursor, Filter, Position, Search};
use crate::domain::status::Status;
use crate::domain::transaction::IdField;

/// Offsets beyond this are found by way of the day counters instead of being counted off row by row.
pub const JUMP_FROM_OFFSET: i64 = 1_000;

/// Text as columns hold it: neither database keeps a NUL, so none is looked for.
pub(super) fn storable(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

fn json_texts(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().cloned().map(storable).collect();
    json!(texts).to_string()
}

struct Builder {
    dialect: Dialect,
    binds: Vec<Bind>,
}

impl Builder {
    fn new(dialect: Dialect, partner: PartnerId) -> Self {
        // $1 is the partner in every statement of this room.
        Self {
            dialect,
            binds: vec![Bind::Id(Id(partner.0))],
        }
    }

    fn bind(&mut self, bind: Bind) -> String {
        self.binds.push(bind);
        format!("${}", self.binds.len())
    }

    fn text(&mut self, text: impl Into<String>) -> String {
        self.bind(Bind::Text(storable(text.into())))
    }

    fn at(&mut self, at: Instant) -> String {
        self.bind(Bind::At(At(at)))
    }
}

/// The end of the hour in which `at` lies.
pub fn hour_end(at: Instant) -> Instant {
    period_end(at, Duration::hours(1))
}

/// The end of the minute in which `at` lies.
pub fn minute_end(at: Instant) -> Instant {
    period_end(at, Duration::minutes(1))
}

/// The end of the day (UTC) in which `at` lies.
pub fn day_end(at: Instant) -> Instant {
    period_end(at, Duration::days(1))
}

fn period_end(at: Instant, period: Duration) -> Instant {
    at.duration_trunc(period)
        .ok()
        .and_then(|start| start.checked_add_signed(period))
        .unwrap_or(at)
}

/// Where a page's rows come from, and how they are ordered.
struct Source {
    from: String,
    created_at: &'static str,
    id: &'static str,
    conditions: Vec<String>,
}

/// The side tables list what is open or failed; everything else walks the big table.
fn source(builder: &mut Builder, filter: &Filter) -> Source {
    let by_age_only = Filter {
        status: None,
        from: None,
        to: None,
        ..filter.clone()
    } == Filter::default();
    match filter.status {
        Some(status) if by_age_only && status != Status::Success => {
            let (table, mut conditions) = if status == Status::Failed {
                ("failed_transactions", Vec::new())
            } else {
                (
                    "open_transactions",
                    vec![format!("s.status = {}", builder.text(status.as_str()))],
                )
            };
            conditions.insert(0, "s.partner_id = $1".to_owned());
            Source {
                from: format!(
                    "{table} s JOIN transactions t ON t.partner_id = s.partner_id AND t.id = s.transaction_id"
                ),
                created_at: "s.created_at",
                id: "s.transaction_id",
                conditions,
            }
        }
        _ => {
            let (created_at, id) = age(builder.dialect, filter);
            Source {
                from: tables(builder, filter),
                created_at,
                id,
                conditions: conditions(builder, filter),
            }
        }
    }
}

/// The columns of age on the big table. Of several numbers SQLite must not be tempted to walk the index by age for
/// the order of their rows, and a plus sign hides it.
fn age(dialect: Dialect, filter: &Filter) -> (&'static str, &'static str) {
    match dialect {
        Dialect::Sqlite if filter.msisdns.len() > 1 => ("+t.created_at", "+t.id"),
        _ => ("t.created_at", "t.id"),
    }
}

/// The filter's conditions on the big table, but for its span of time.
fn conditions(builder: &mut Builder, filter: &Filter) -> Vec<String> {
    let mut all = vec!["t.partner_id = $1".to_owned()];
    if let Some(id) = filter.transaction_id {
        let id = builder.bind(Bind::Id(Id(id.0)));
        all.push(format!("t.id = {id}"));
    }
    if let Some(id) = &filter.client_request_id {
        let id = builder.text(id);
        all.push(format!("t.client_request_id = {id}"));
    }
    if !filter.msisdns.is_empty() {
        let numbers: Vec<String> = filter
            .msisdns
            .iter()
            .map(|msisdn| builder.text(msisdn.as_str()))
            .collect();
        all.push(format!("t.msisdn IN ({})", numbers.join(", ")));
    }
    if let Some(status) = filter.status {
        let status = builder.text(status.as_str());
        all.push(format!("t.status = {status}"));
    }
    if filter.conversation_id.is_some() {
        all.push("t.id = c.transaction_id".to_owned());
    }
    if filter.transaction_receipt.is_some() {
        all.push("t.id = r.transaction_id".to_owned());
    }
    all
}

/// The big table, behind the routes that an id of the provider's takes. To SQLite the words CROSS JOIN mean that the
/// routes come first; left to itself it walks the partner's transactions by age and tries each.
fn tables(builder: &mut Builder, filter: &Filter) -> String {
    let routes = [
        (&filter.conversation_id, "<>", "c"),
        (&filter.transaction_receipt, "=", "r"),
    ];
    let mut from = String::new();
    for (value, sign, alias) in routes {
        if let Some(value) = value {
            let value = builder.text(value);
            from.push_str(&format!(
                "(SELECT DISTINCT transaction_id FROM routes WHERE partner_id = $1 AND value = {value} \
                 AND field {sign} 'transaction_receipt') {alias} CROSS JOIN "
            ));
        }
    }
    from.push_str("transactions t");
    from
}

fn span(builder: &mut Builder, filter: &Filter, column: &str) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(from) = filter.from {
        all.push(format!("{column} >= {}", builder.at(from)));
    }
    if let Some(to) = filter.to {
        all.push(format!("{column} <= {}", builder.at(to)));
    }
    all
}

/// How many rows match: from the counters where they can tell, else by counting a short range of an index.
fn total(builder: &mut Builder, filter: &Filter) -> String {
    let counted = |builder: &mut Builder, period: &str, more: &str| {
        let status = filter
            .status
            .map(|status| format!(" AND status = {}", builder.text(status.as_str())))
            .unwrap_or_default();
        let sum = builder.dialect.number("COALESCE(SUM(n), 0)");
        format!(
            "(SELECT {sum} FROM counters WHERE partner_id = $1 AND period = '{period}'{status}{more})"
        )
    };
    if filter.is_countable() {
        return counted(builder, "total", "");
    }
    let untimed = Filter {
        from: None,
        to: None,
        ..filter.clone()
    };
    if untimed.is_countable() {
        // Whole days from the counters, the ragged ends row by row.
        let first = filter.from.map(day_end);
        let last = filter.to.map(|to| day_end(to) - Duration::days(1));
        if first.zip(last).is_none_or(|(first, last)| first < last) {
            let mut more = String::new();
            let mut ends = Vec::new();
            if let (Some(from), Some(first)) = (filter.from, first) {
                let (from, first) = (builder.at(from), builder.at(first));
                more.push_str(&format!(" AND ends_at > {first}"));
                ends.push(format!("t.created_at >= {from} AND t.created_at < {first}"));
            }
            if let (Some(to), Some(last)) = (filter.to, last) {
                let (to, last) = (builder.at(to), builder.at(last));
                more.push_str(&format!(" AND ends_at <= {last}"));
                ends.push(format!("t.created_at >= {last} AND t.created_at <= {to}"));
            }
            let mut sum = counted(builder, "day", &more);
            for end in ends {
                let conditions = conditions(builder, &untimed).join(" AND ");
                sum.push_str(&format!(
                    " + (SELECT COUNT(*) FROM transactions t WHERE {conditions} AND {end})"
                ));
            }
            return sum;
        }
    }
    let from = tables(builder, filter);
    let mut all = conditions(builder, filter);
    let (created_at, _) = age(builder.dialect, filter);
    all.extend(span(builder, filter, created_at));
    format!("(SELECT COUNT(*) FROM {from} WHERE {})", all.join(" AND "))
}

/// The counters of the whole partner and how many rows were created in the last 24 hours, reversals apart.
fn statistics(builder: &mut Builder, now: Instant) -> (String, String) {
    let counters = format!(
        "(SELECT {} FROM counters WHERE partner_id = $1 AND period = 'total' AND NOT is_reversal)",
        builder.dialect.gather("currency, status, n, amount_minor")
    );
    let since = now - Duration::hours(24);
    (counters, created_since(builder, since))
}

/// Rows created since then: whole hours and whole minutes from what is counted at each commit, the ragged first minute
/// row by row, of the index by age alone. Minutes that do not add up to their hour's counter were written by an older
/// program in part; then the hour's rows are counted. Which rows are reversals only the table knows; it is asked in an
/// hour that had any.
fn created_since(builder: &mut Builder, since: Instant) -> String {
    let hour = hour_end(since);
    let hour_start = builder.at(hour - Duration::hours(1));
    let [hour, minute, since] = [hour, minute_end(since), since].map(|at| builder.at(at));
    let of_hours = "counters WHERE partner_id = $1 AND period = 'hour'";
    let had_reversals =
        format!("EXISTS (SELECT 1 FROM {of_hours} AND ends_at = {hour} AND is_reversal AND n > 0)");
    let rows_until = |end: &str| {
        let rows = format!(
            "SELECT COUNT(*) FROM transactions t WHERE t.partner_id = $1 AND t.created_at >= {since} AND t.created_at < {end}"
        );
        format!(
            "({rows}) - CASE WHEN {had_reversals} THEN ({rows} AND t.kind = 'reversal') ELSE 0 END"
        )
    };
    let minutes = format!(
        "SELECT COALESCE(SUM(n), 0) AS n, COALESCE(SUM(CASE WHEN ends_at > {minute} THEN n ELSE 0 END), 0) AS rest \
         FROM created_by_minute WHERE partner_id = $1 AND ends_at > {hour_start} AND ends_at <= {hour}"
    );
    let sum = |condition: &str| {
        format!(
            "SELECT COALESCE(SUM(n), 0) AS n FROM {of_hours} AND {condition} AND NOT is_reversal"
        )
    };
    let recent = format!(
        "later.n + CASE WHEN minutes.n = first.n THEN minutes.rest + {} ELSE {} END",
        rows_until(&minute),
        rows_until(&hour),
    );
    format!(
        "(SELECT {} FROM ({}) later, ({}) first, ({minutes}) minutes)",
        builder.dialect.number(&recent),
        sum(&format!("ends_at > {hour}")),
        sum(&format!("ends_at = {hour}")),
    )
}

/// Where the matching rows come from and how they are ordered, all of them.
fn rows(source: &Source) -> String {
    format!(
        "SELECT {columns} FROM {from} WHERE {conditions} ORDER BY {created_at} DESC, {id} DESC",
        columns = transaction_columns("t"),
        from = source.from,
        conditions = source.conditions.join(" AND "),
        created_at = source.created_at,
        id = source.id,
    )
}

/// The newest row that matches, without counting anything.
pub fn newest(dialect: Dialect, partner: PartnerId, filter: &Filter) -> Selecting<TransactionSql> {
    let mut builder = Builder::new(dialect, partner);
    let mut source = source(&mut builder, filter);
    let span = span(&mut builder, filter, source.created_at);
    source.conditions.extend(span);
    let sql = format!("{} LIMIT 1", rows(&source));
    Statement::with_binds(sql, builder.binds).selecting()
}

/// The statements for a page.
pub fn list(dialect: Dialect, partner: PartnerId, search: &Search, now: Instant) -> Page {
    let mut builder = Builder::new(dialect, partner);
    let filter = &search.filter;
    let mut source = source(&mut builder, filter);
    source
        .conditions
        .extend(span(&mut builder, filter, source.created_at));
    let mut with = String::new();
    let mut skip = String::new();
    match search.position {
        Position::After(cursor) => {
            let created_at = builder.at(cursor.created_at);
            let id = builder.bind(Bind::Id(Id(cursor.id.0)));
            source.conditions.push(format!(
                "({}, {}) < ({created_at}, {id})",
                source.created_at, source.id
            ));
        }
        Position::Offset(0) => {}
        Position::Offset(offset) if offset >= JUMP_FROM_OFFSET && filter.is_countable() => {
            let status = filter
                .status
                .map(|status| format!(" AND status = {}", builder.text(status.as_str())))
                .unwrap_or_default();
            let offset = builder.bind(Bind::Number(offset));
            let (n, upto) = (
                dialect.number("SUM(n)"),
                dialect.number("SUM(n) OVER (ORDER BY ends_at DESC)"),
            );
            with = format!(
                "days AS (SELECT ends_at, {n} AS n FROM counters WHERE partner_id = $1 AND period = 'day'{status} GROUP BY ends_at), \
                 running AS (SELECT ends_at, n, {upto} AS upto FROM days), \
                 jump AS (SELECT ends_at, upto - n AS skipped FROM running WHERE upto > {offset} ORDER BY ends_at DESC LIMIT 1), "
            );
            source.conditions.push(format!(
                "{} < (SELECT ends_at FROM jump)",
                source.created_at
            ));
            skip = format!(" OFFSET COALESCE({offset} - (SELECT skipped FROM jump), 0)");
        }
        Position::Offset(offset) => {
            skip = format!(" OFFSET {}", builder.bind(Bind::Number(offset)));
        }
    }
    // One row more than asked for tells whether there is another page.
    let limit = builder.bind(Bind::Number(search.limit + 1));
    let total = total(&mut builder, filter);
    let (counters, recent) = if search.with_statistics {
        statistics(&mut builder, now)
    } else {
        (
            "CAST(NULL AS TEXT)".to_owned(),
            "CAST(NULL AS BIGINT)".to_owned(),
        )
    };
    Page {
        with,
        rows: rows(&source),
        limit: format!(" LIMIT {limit}{skip}"),
        at_most: bound(search),
        figures: format!("SELECT {total} AS total, {counters} AS counters, {recent} AS recent"),
        binds: builder.binds,
    }
}

/// The statement for a stretch of everything that matches, oldest first, after a place: the same index, read the other
/// way round. The limit is part of the text, because a planner that does not know it thinks of a tenth of the table.
pub fn walk(
    dialect: Dialect,
    partner: PartnerId,
    filter: &Filter,
    after: Option<Cursor>,
    limit: i64,
) -> Statement {
    let mut builder = Builder::new(dialect, partner);
    let mut source = source(&mut builder, filter);
    let span = span(&mut builder, filter, source.created_at);
    source.conditions.extend(span);
    if let Some(cursor) = after {
        let created_at = builder.at(cursor.created_at);
        let id = builder.bind(Bind::Id(Id(cursor.id.0)));
        source.conditions.push(format!(
            "({}, {}) > ({created_at}, {id})",
            source.created_at, source.id
        ));
    }
    let sql = format!(
        "SELECT {columns} FROM {from} WHERE {conditions} ORDER BY {created_at}, {id} LIMIT {limit}",
        columns = transaction_columns("t"),
        from = source.from,
        conditions = source.conditions.join(" AND "),
        created_at = source.created_at,
        id = source.id,
    );
    Statement::with_binds(sql, builder.binds)
}

/// The statement for a bulk lookup: every row that any id names, once.
pub fn bulk(dialect: Dialect, partner: PartnerId, lookup: &BulkLookup) -> Statement {
    let mut builder = Builder::new(dialect, partner);
    let mut ids = Vec::new();
    if !lookup.transaction_ids.is_empty() {
        let list = builder.text(json_list(lookup.transaction_ids.iter()));
        ids.push(match dialect {
            Dialect::Postgres => {
                format!("SELECT jsonb_array_elements_text({list}::jsonb)::uuid")
            }
            Dialect::Sqlite => format!("SELECT value FROM json_each({list})"),
        });
    }
    if !lookup.conversation_ids.is_empty() {
        let list = builder.text(json_texts(&lookup.conversation_ids));
        ids.push(format!(
            "SELECT transaction_id FROM routes WHERE partner_id = $1 AND value {} AND field <> 'transaction_receipt'",
            dialect.in_texts(&list)
        ));
    }
    if !lookup.client_request_ids.is_empty() {
        let list = builder.text(json_texts(&lookup.client_request_ids));
        ids.push(format!(
            "SELECT id FROM transactions WHERE partner_id = $1 AND client_request_id IS NOT NULL AND client_request_id {}",
            dialect.in_texts(&list)
        ));
    }
    if !lookup.transaction_receipts.is_empty() {
        let list = builder.text(json_texts(&lookup.transaction_receipts));
        ids.push(format!(
            "SELECT transaction_id FROM routes WHERE partner_id = $1 AND value {} AND field = 'transaction_receipt'",
            dialect.in_texts(&list)
        ));
    }
    let sql = format!(
        "SELECT {} FROM transactions t WHERE t.partner_id = $1 AND t.id IN ({})",
        transaction_columns("t"),
        ids.join(" UNION ALL ")
    );
    Statement::with_binds(sql, builder.binds)
}

/// A JSON array of ids.
pub fn json_list<'a>(ids: impl Iterator<Item = &'a TransactionId>) -> String {
    json!(ids.map(ToString::to_string).collect::<Vec<_>>()).to_string()
}

/// One transaction.
pub fn find(partner: PartnerId, id: TransactionId) -> Statement {
    Statement::new(format!(
        "SELECT {} FROM transactions t WHERE t.partner_id = $1 AND t.id = $2",
        transaction_columns("t")
    ))
    .bind(Bind::Id(Id(partner.0)))
    .bind(Bind::Id(Id(id.0)))
}

/// Its timeline, oldest line first.
pub fn timeline(partner: PartnerId, id: TransactionId) -> Statement {
    Statement::new(
        "SELECT at, kind, from_status, to_status, source, result_code, note FROM transaction_events \
         WHERE partner_id = $1 AND transaction_id = $2 ORDER BY id",
    )
    .bind(Bind::Id(Id(partner.0)))
    .bind(Bind::Id(Id(id.0)))
}

/// The partners that hold any of these values at a provider.
pub fn route_owners(dialect: Dialect, provider: &str, ids: &[(IdField, String)]) -> Statement {
    let rows: Vec<Value> = ids
        .iter()
        .map(|(field, value)| Value::from(vec![field.as_str().to_owned(), storable(value.clone())]))
        .collect();
    Statement::new(format!(
        "SELECT DISTINCT r.partner_id AS id FROM {} AS k JOIN routes r ON r.value = k.value AND r.field = k.field \
         WHERE r.provider = $2",
        dialect.rows("$1", &[("field", Type::Text), ("value", Type::Text)])
    ))
    .text(Value::from(rows).to_string())
    .text(provider)
}
