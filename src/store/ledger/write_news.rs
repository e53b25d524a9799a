//! What a batch of commands writes besides: timelines and events, the outbox, the inbox, balances, the feeds' heads.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::write::Writer;
use super::{optional, text};
use crate::domain::enquiry::Told;
use crate::domain::identity::{DeliveryId, PartnerId, hex};
use crate::domain::ledger::{BalanceReport, CallbackState, Changes, Line};
use crate::domain::money::Amount;
use crate::domain::payment::CallAnswer;
use crate::domain::status::Status;
use crate::domain::status_update::News;
use crate::domain::timeline::TimelineEntry;
use crate::store::dialect::Type;
use crate::store::news_codec;
use crate::store::rows::enquiries::told_as_text;

/// News that its transaction's last line tells already adds none.
const UNLESS_LAST_SAID_SO: &str = "AND NOT EXISTS (SELECT 1 FROM transaction_events e \
     WHERE e.partner_id = r.partner_id AND e.transaction_id = r.transaction_id AND e.kind = r.kind \
     AND e.source = r.source AND e.result_code IS NOT DISTINCT FROM r.result_code \
     AND e.note IS NOT DISTINCT FROM r.note AND e.id = (SELECT last.id FROM transaction_events last \
     WHERE last.partner_id = r.partner_id AND last.transaction_id = r.transaction_id ORDER BY last.id DESC LIMIT 1))";

impl Writer {
    pub(super) fn lines(&mut self, changes: &Changes) {
        let (repeatable, rest): (Vec<&Line>, Vec<&Line>) = changes
            .lines
            .iter()
            .partition(|line| line.event.is_none() && line.entry.kind.may_repeat());
        self.insert_lines(&rest, "");
        // After the others, so that the last line is the last one of this commit too.
        self.insert_lines(&repeatable, UNLESS_LAST_SAID_SO);
    }

    fn insert_lines(&mut self, lines: &[&Line], unless: &str) {
        let rows: Vec<Value> = lines
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
        self.insert("transaction_events", &columns, rows, unless);
    }

    pub(super) fn deliveries(&mut self, changes: &Changes) {
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

    pub(super) fn callbacks(&mut self, changes: &Changes) {
        let mut rows = Vec::new();
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
        }
        let mut waiting = Vec::new();
        for record in changes.callbacks.iter().chain(&changes.read_again) {
            let arrival = &record.arrival;
            let waits = record.state == CallbackState::Waiting;
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
        self.read_again(changes);
        let columns = [
            ("partner_id", Type::Id),
            ("value", Type::Text),
            ("callback_id", Type::Id),
        ];
        self.insert("waiting_callbacks", &columns, waiting, "");
        self.settled(changes);
    }

    /// Each of them must still be as it came: of two who read one again, the second changes nothing at all.
    fn read_again(&mut self, changes: &Changes) {
        let rows: Vec<Value> = changes
            .read_again
            .iter()
            .map(|record| {
                let arrival = &record.arrival;
                let waits = record.state == CallbackState::Waiting;
                json!([
                    arrival.id.to_string(),
                    arrival.partner_id.map(|id| id.to_string()),
                    record.state.as_str(),
                    record.transaction_id.map(|id| id.to_string()),
                    optional(record.note.as_deref()),
                    waits.then(|| news_codec::encode(&arrival.news)).flatten(),
                ])
            })
            .collect();
        if rows.is_empty() {
            return;
        }
        let count = rows.len();
        let columns = [
            ("id", Type::Id),
            ("partner_id", Type::Id),
            ("state", Type::Text),
            ("transaction_id", Type::Id),
            ("note", Type::Text),
            ("news", Type::Text),
        ];
        let sql = format!(
            "UPDATE callbacks SET partner_id = r.partner_id, state = r.state, transaction_id = r.transaction_id, \
             note = r.note, news = r.news FROM {} AS r \
             WHERE callbacks.id = r.id AND callbacks.state = 'unreadable'",
            self.dialect.rows("$1", &columns)
        );
        self.push(sql, rows, Some(count));
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

    pub(super) fn balances(&mut self, changes: &Changes) {
        // The newest report of an account wins inside a batch: two rows for one key cannot be upserted at once.
        let mut newest: BTreeMap<(PartnerId, _, String), Value> = BTreeMap::new();
        let told = changes
            .balances
            .iter()
            .filter_map(|report| match &report.told {
                Told::Balances(balances) => Some((report, balances)),
                Told::Nothing(_) => None,
            });
        for (report, balances) in told {
            for balance in balances {
                let minor = |amount: Option<Amount>| amount.map(Amount::minor);
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
        self.enquiries(changes);
    }

    /// Answers the questions, each once: of several answers in a batch the balances, else the last.
    fn enquiries(&mut self, changes: &Changes) {
        let mut answers: BTreeMap<_, &BalanceReport> = BTreeMap::new();
        for report in &changes.balances {
            let Some(id) = report.enquiry_id else {
                continue;
            };
            let known = answers.entry((report.partner_id, id)).or_insert(report);
            if !matches!(known.told, Told::Balances(_)) {
                *known = report;
            }
        }
        let rows: Vec<Value> = answers
            .iter()
            .filter_map(|((partner_id, id), report)| {
                let (told, failure) = told_as_text(&report.told).ok()?;
                Some(json!([
                    partner_id.to_string(),
                    id.to_string(),
                    report.account_id.to_string(),
                    self.instant(report.received_at),
                    told,
                    failure,
                ]))
            })
            .collect();
        if rows.is_empty() {
            return;
        }
        let columns = [
            ("partner_id", Type::Id),
            ("id", Type::Id),
            ("account_id", Type::Id),
            ("answered_at", Type::Instant),
            ("told", Type::Text),
            ("failure", Type::Text),
        ];
        let sql = format!(
            "UPDATE balance_enquiries SET answered_at = r.answered_at, told = r.told, failure = r.failure FROM {} AS r \
             WHERE balance_enquiries.partner_id = r.partner_id AND balance_enquiries.id = r.id \
             AND balance_enquiries.account_id = r.account_id AND balance_enquiries.told IS NULL",
            self.dialect.rows("$1", &columns)
        );
        self.push(sql, rows, None);
    }

    pub(super) fn payments(&mut self, changes: &Changes) {
        let rows = changes
            .payments
            .iter()
            .map(|payment| {
                json!([
                    payment.partner_id.to_string(),
                    payment.transaction_id.to_string(),
                    payment.account_id.to_string(),
                    payment.digest,
                    optional(payment.reference.as_deref()),
                    false,
                    self.instant(payment.created_at),
                ])
            })
            .collect();
        let columns = [
            ("partner_id", Type::Id),
            ("transaction_id", Type::Id),
            ("account_id", Type::Id),
            ("digest", Type::Text),
            ("reference", Type::Text),
            ("is_retryable", Type::Bool),
            ("created_at", Type::Instant),
        ];
        self.insert("payments", &columns, rows, "");
        self.answers(changes);
    }

    fn answers(&mut self, changes: &Changes) {
        let mut newest: BTreeMap<_, Value> = BTreeMap::new();
        for (partner, transaction, answer) in &changes.answers {
            let (code, message, customer_message, is_retryable) = match answer {
                CallAnswer::Accepted {
                    code,
                    description,
                    customer_message,
                } => (
                    code.as_deref(),
                    description.as_deref(),
                    customer_message.as_deref(),
                    false,
                ),
                CallAnswer::Refused {
                    code,
                    message,
                    is_retryable,
                } => (code.as_deref(), Some(message.as_str()), None, *is_retryable),
                CallAnswer::Unknown { reason } => (None, Some(reason.as_str()), None, false),
            };
            newest.insert(
                (*partner, *transaction),
                json!([
                    partner.to_string(),
                    transaction.to_string(),
                    answer.as_str(),
                    optional(code),
                    optional(message),
                    optional(customer_message),
                    is_retryable,
                ]),
            );
        }
        if newest.is_empty() {
            return;
        }
        let columns = [
            ("partner_id", Type::Id),
            ("transaction_id", Type::Id),
            ("outcome", Type::Text),
            ("code", Type::Text),
            ("message", Type::Text),
            ("customer_message", Type::Text),
            ("is_retryable", Type::Bool),
        ];
        let sql = format!(
            "UPDATE payments SET outcome = r.outcome, code = r.code, message = r.message, \
             customer_message = r.customer_message, is_retryable = r.is_retryable FROM {} AS r \
             WHERE payments.partner_id = r.partner_id AND payments.transaction_id = r.transaction_id",
            self.dialect.rows("$1", &columns)
        );
        self.push(sql, newest.into_values().collect(), None);
    }

    pub(super) fn heads(&mut self, changes: &Changes) {
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
