//! Rows as the ledger would have written them, made inside the database: transactions, routes, timelines, side tables,
//! counters and the feed's head. Most are final and spread over 180 days; the newest hundredth is still open.

use std::ops::Range;
use std::path::Path;
use std::process::Command;

use ussd_status::domain::clock::{Clock, SystemClock};

use super::database::Database;

const SPAN_MICROS: i64 = 180 * 24 * 3600 * 1_000_000;

/// Whose rows.
pub struct Owner {
    pub partner: String,
    /// A word of its own in its ids.
    pub tag: &'static str,
}

impl Owner {
    pub fn conversation_id(&self, index: usize) -> String {
        format!("ws_CO_{}_{index:09}", self.tag)
    }
}

/// Rows that are made in one transaction: as many as a staging table holds in memory with ease.
const CHUNK: usize = 250_000;
/// The newest transactions that have a timeline; older ones are past the retention of events.
const WITH_EVENTS: usize = 500_000;
/// Bytes on disk for each transaction with its routes and indexes, and for each that has a timeline too; an
/// estimate on the safe side, log included.
const BYTES: [u64; 2] = [1_800, 1_300];

/// The disk that a past of so many rows takes.
pub fn bytes_needed(count: usize) -> u64 {
    let [plain, events] = BYTES;
    let number = |count: usize| u64::try_from(count).unwrap();
    number(count) * plain + number(count.min(WITH_EVENTS)) * events + (2 << 30)
}

/// Says what disk so many rows take, and ends the run where there is not that much.
pub fn refuse_without_disk(folder: &Path, count: usize) {
    let output = Command::new("df")
        .args(["-Pk"])
        .arg(folder)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().nth(1).unwrap();
    let free = line
        .split_whitespace()
        .nth(3)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        << 10;
    let needed = bytes_needed(count);
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    eprintln!(
        "{count} rows take up to {:.1} GB; {:.1} GB are free below {}",
        gigabytes(needed),
        gigabytes(free),
        folder.display()
    );
    assert!(
        free > needed,
        "not enough disk; TMPDIR may name another place"
    );
}

/// A past of so many rows; how many of them are final.
pub fn history(database: &Database, owner: &Owner, count: usize) -> usize {
    let finals = count - count / 100;
    let now = SystemClock.now().timestamp_micros();
    let step = SPAN_MICROS / i64::try_from(count).unwrap();
    for from in (0..count).step_by(CHUNK) {
        let to = count.min(from + CHUNK);
        let age = i64::try_from(count - from).unwrap() * step;
        // Two events of a final row, one of an open one; those of rows without a timeline are numbered all the same.
        let split = finals.clamp(from, to);
        insert(
            database,
            owner,
            from..to,
            finals,
            (now - age, step),
            &format!(
                "CASE WHEN i < {split} THEN 2 * (i - {from}) + 1 ELSE {} + (i - {split}) + 1 END",
                2 * (split - from)
            ),
            2 * (split - from) + (to - split),
            count.saturating_sub(WITH_EVENTS),
        );
    }
    finals
}

/// More rows that were accepted just now, for callbacks to end.
pub fn open(database: &Database, owner: &Owner, indexes: Range<usize>) {
    let now = SystemClock.now().timestamp_micros();
    let (start, events) = (indexes.start, indexes.len());
    insert(
        database,
        owner,
        indexes,
        start,
        (now, 0),
        &format!("i - {start} + 1"),
        events,
        0,
    );
}

#[allow(clippy::too_many_arguments, reason = "one statement's parts")]
fn insert(
    database: &Database,
    owner: &Owner,
    indexes: Range<usize>,
    finals: usize,
    (first_at, step): (i64, i64),
    sequence: &str,
    events: usize,
    timeline_from: usize,
) {
    let Owner { partner, tag } = owner;
    let words = Words::of(database);
    let (from, to) = (indexes.start, indexes.end);
    let micros = format!("({first_at} + (i - {from}) * {step})");
    let (created_at, updated_at) = (
        words.instant(&micros),
        words.instant(&format!("({micros} + 20000000)")),
    );
    let [id, first_event, second_event] =
        ["1", "2", "3"].map(|salt| words.uuid(&format!("({micros} / 1000)"), salt));
    let partner = words.id(partner);
    let (text_i, digits) = (words.padded("i", 9), words.padded("i % 40000", 8));
    let staging = format!(
        "CREATE {temporary} TABLE figures_rows AS SELECT i, {partner} AS partner_id, {id} AS id, \
         {first_event} AS first_event, {second_event} AS second_event, last_sequence + {sequence} AS sequence, \
         {created_at} AS created_at, {updated_at} AS updated_at, \
         'ws_CO_{tag}_' || {text_i} AS conversation_id, 'REQ-{tag}-' || {text_i} AS client_request_id, \
         '2547' || {digits} AS msisdn, CAST(100 * (1 + i % 5000) AS BIGINT) AS amount_minor, \
         CASE WHEN i >= {finals} THEN 'accepted' WHEN i % 20 = 7 THEN 'failed' ELSE 'success' END AS status, \
         CASE WHEN i < {finals} AND i % 20 <> 7 THEN 'R{tag}' || {text_i} END AS receipt, \
         CASE WHEN i >= {finals} THEN NULL WHEN i % 20 = 7 THEN '1032' ELSE '0' END AS result_code, \
         CASE WHEN i >= {finals} THEN NULL WHEN i % 20 = 7 THEN 'Request cancelled by user' \
              ELSE 'The service request is processed successfully.' END AS result_description \
         FROM {series}, (SELECT last_sequence FROM feed_heads WHERE partner_id = {partner}) AS head",
        temporary = words.temporary,
        series = words.series(from, to)
    );
    let counters = [
        ("'total'", words.instant("0"), "true"),
        ("'day'", words.period_end("day", 86_400), "true"),
        ("'hour'", words.period_end("hour", 3_600), &words.recent()),
    ]
    .map(|(period, ends_at, condition)| {
        format!(
            "INSERT INTO counters SELECT partner_id, {period}, {ends_at}, 'KES', status, false, COUNT(*), \
             CAST(SUM(amount_minor) AS BIGINT) FROM figures_rows WHERE {condition} GROUP BY partner_id, 3, status \
             ON CONFLICT (partner_id, period, ends_at, currency, status, is_reversal) DO UPDATE \
             SET n = counters.n + excluded.n, amount_minor = counters.amount_minor + excluded.amount_minor"
        )
    })
    .join("; ");
    let created_by_minute = format!(
        "INSERT INTO created_by_minute SELECT partner_id, {}, COUNT(*) FROM figures_rows WHERE {} GROUP BY 1, 2 \
         ON CONFLICT (partner_id, ends_at) DO UPDATE SET n = created_by_minute.n + excluded.n",
        words.period_end("minute", 60),
        words.recent()
    );
    let routes = |value: &str, field: &str| {
        format!(
            "INSERT INTO routes SELECT partner_id, {value}, '{field}', 'mpesa', id FROM figures_rows WHERE {value} IS NOT NULL"
        )
    };
    let event = |id: &str, at: &str, rest: &str, condition: &str| {
        format!(
            "INSERT INTO transaction_events (partner_id, transaction_id, id, at, kind, from_status, to_status, source, \
             result_code, sequence, result_description, receipt, conversation_id, client_request_id, amount_minor, \
             currency, msisdn) SELECT partner_id, id, {id}, {at}, {rest}, conversation_id, client_request_id, \
             amount_minor, 'KES', msisdn FROM figures_rows WHERE {condition}"
        )
    };
    let steps = [
        words.begin.to_owned(),
        staging,
        "INSERT INTO transactions (partner_id, id, provider, kind, origin, client_request_id, conversation_id, \
         registered_ids, merchant_request_id, msisdn, currency, amount_minor, paid_minor, status, unconfirmed, \
         result_code, result_description, receipt, created_at, updated_at) \
         SELECT partner_id, id, 'mpesa', 'stk_push', 'ussd', client_request_id, conversation_id, 1, '29115-' || i, \
         msisdn, 'KES', amount_minor, CASE status WHEN 'success' THEN amount_minor END, status, false, result_code, \
         result_description, receipt, created_at, updated_at FROM figures_rows ORDER BY i"
            .to_owned(),
        routes("conversation_id", "conversation_id"),
        routes("receipt", "transaction_receipt"),
        event(
            "first_event",
            "created_at",
            "'registered', NULL, 'accepted', 'api', NULL, sequence, NULL, NULL",
            &format!("i >= {timeline_from}"),
        ),
        event(
            "second_event",
            "updated_at",
            "'status_changed', 'accepted', status, 'callback:stk', result_code, sequence + 1, result_description, receipt",
            &format!("status <> 'accepted' AND i >= {timeline_from}"),
        ),
        format!(
            "INSERT INTO open_transactions (partner_id, status, created_at, transaction_id, ask_at) SELECT partner_id, status, created_at, id, {} FROM figures_rows \
             WHERE status = 'accepted'",
            // Nobody is to be asked during a run.
            words.instant(&format!("({micros} + 86400000000)"))
        ),
        "INSERT INTO failed_transactions SELECT partner_id, created_at, id FROM figures_rows WHERE status = 'failed'"
            .to_owned(),
        counters,
        created_by_minute,
        format!("UPDATE feed_heads SET last_sequence = last_sequence + {events} WHERE partner_id = {partner}"),
        "DROP TABLE figures_rows".to_owned(),
        "COMMIT".to_owned(),
    ];
    database.execute(&steps.join(";\n"));
}

/// The words in which the databases differ.
struct Words {
    is_postgres: bool,
    begin: &'static str,
    temporary: &'static str,
}

impl Words {
    fn of(database: &Database) -> Self {
        let is_postgres = matches!(database, Database::Postgres(_));
        Self {
            is_postgres,
            begin: if is_postgres {
                "BEGIN"
            } else {
                "BEGIN IMMEDIATE"
            },
            temporary: "TEMPORARY",
        }
    }

    fn series(&self, from: usize, to: usize) -> String {
        if self.is_postgres {
            format!("generate_series({from}::bigint, {to} - 1) AS g(i)")
        } else {
            format!(
                "(WITH RECURSIVE g(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM g WHERE i + 1 < {to}) SELECT i FROM g)"
            )
        }
    }

    fn instant(&self, micros: &str) -> String {
        if self.is_postgres {
            format!("(TIMESTAMPTZ 'epoch' + {micros} * INTERVAL '1 microsecond')")
        } else {
            micros.to_owned()
        }
    }

    fn id(&self, text: &str) -> String {
        if self.is_postgres {
            format!("'{text}'::uuid")
        } else {
            format!("'{text}'")
        }
    }

    /// A UUIDv7 of these milliseconds, told apart by `salt` and `i`.
    fn uuid(&self, millis: &str, salt: &str) -> String {
        if self.is_postgres {
            format!(
                "(lpad(to_hex({millis}), 12, '0') || '7' || lpad(to_hex(i & 4095), 3, '0') || '8{salt}' || lpad(to_hex(i), 14, '0'))::uuid"
            )
        } else {
            format!(
                "printf('%08x-%04x-7%03x-8{salt}00-%012x', {millis} >> 16, {millis} & 65535, i & 4095, i)"
            )
        }
    }

    fn padded(&self, number: &str, width: usize) -> String {
        if self.is_postgres {
            format!("lpad(({number})::text, {width}, '0')")
        } else {
            format!("printf('%0{width}d', {number})")
        }
    }

    fn period_end(&self, name: &str, seconds: i64) -> String {
        if self.is_postgres {
            format!("date_trunc('{name}', created_at) + INTERVAL '1 {name}'")
        } else {
            let micros = seconds * 1_000_000;
            format!("(created_at / {micros} + 1) * {micros}")
        }
    }

    /// Rows young enough for the counters of hours and minutes.
    fn recent(&self) -> String {
        if self.is_postgres {
            "created_at > now() - INTERVAL '48 hours'".to_owned()
        } else {
            "created_at > (unixepoch() - 172800) * 1000000".to_owned()
        }
    }
}
