//! A plain recount of everything the service keeps twice. Whoever counts must have stopped the service.

use std::collections::BTreeMap;

use serde_json::Value;
use ussd_status::store::{HOUR_COUNTER_SPAN, MINUTE_COUNT_SPAN};

use super::TestStore;

/// The ids and the receipt of every transaction, as `routes` must have them.
const IDS: &str = "SELECT partner_id, conversation_id AS value, 'conversation_id' AS field, provider, id FROM transactions WHERE conversation_id IS NOT NULL \
     UNION ALL SELECT partner_id, originator_conversation_id, 'originator_conversation_id', provider, id FROM transactions WHERE originator_conversation_id IS NOT NULL \
     UNION ALL SELECT partner_id, order_reference, 'order_reference', provider, id FROM transactions WHERE order_reference IS NOT NULL \
     UNION ALL SELECT partner_id, receipt, 'transaction_receipt', provider, id FROM transactions WHERE receipt IS NOT NULL";

impl TestStore {
    /// Both queries have the same rows, equally often.
    async fn same(&self, what: &str, kept: &str, counted: &str) {
        for (one, other) in [(kept, counted), (counted, kept)] {
            let from = format!(
                "FROM (SELECT * FROM ({one}) AS a EXCEPT SELECT * FROM ({other}) AS b) AS x"
            );
            let rows = self.rows(&["COUNT(*)"], &from).await;
            assert_eq!(rows[0][0], 0, "{what}: {one} has rows that {other} has not");
        }
        let count = async |query: &str| self.count(&format!("FROM ({query}) AS x")).await;
        assert_eq!(count(kept).await, count(counted).await, "{what}");
    }

    /// Waits until nothing that a killed process began is still at work in PostgreSQL.
    async fn quiet(&self) {
        if self.is_sqlite() {
            return;
        }
        let busy = "FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'";
        for _ in 0..1_000 {
            if self.count(busy).await == 0 {
                return;
            }
        }
        panic!("a killed process is still at work");
    }

    /// Counters, feed, deliveries and side tables against the transactions and events themselves.
    pub async fn recount(&self) {
        self.quiet().await;
        for (period, bucket) in [
            ("total", "0".to_owned()),
            ("day", self.end_of("86400000000")),
            ("hour", self.end_of("3600000000")),
        ] {
            let ends_at = match period {
                "total" => "0".to_owned(),
                _ => self.micros("ends_at"),
            };
            // Hours that no answer counts any more are removed, and not kept up to the last.
            let kept_for = HOUR_COUNTER_SPAN - chrono::Duration::hours(1);
            let kept_from = match period {
                "hour" => (self.now() - kept_for).timestamp_micros(),
                _ => -1,
            };
            self.same(
                period,
                &format!("SELECT partner_id, {ends_at}, currency, status, kind_is_reversal, CAST(SUM(n) AS BIGINT), CAST(SUM(amount_minor) AS BIGINT) FROM (SELECT counters.*, CASE WHEN is_reversal THEN 1 ELSE 0 END AS kind_is_reversal FROM counters) AS c WHERE period = '{period}' AND {ends_at} > {kept_from} GROUP BY 1, 2, 3, 4, 5 HAVING SUM(n) <> 0 OR SUM(amount_minor) <> 0"),
                &format!("SELECT partner_id, {bucket}, currency, status, CASE WHEN kind = 'reversal' THEN 1 ELSE 0 END, COUNT(*), CAST(SUM(amount_minor) AS BIGINT) FROM transactions WHERE {bucket} > {kept_from} GROUP BY 1, 2, 3, 4, 5"),
            )
            .await;
        }
        let minute = self.end_of("60000000");
        let ends_at = self.micros("ends_at");
        let kept_for = MINUTE_COUNT_SPAN - chrono::Duration::minutes(1);
        let kept_from = (self.now() - kept_for).timestamp_micros();
        self.same(
            "minutes",
            &format!("SELECT partner_id, {ends_at}, CAST(n AS BIGINT) FROM created_by_minute WHERE {ends_at} > {kept_from} AND n <> 0"),
            &format!("SELECT partner_id, {minute}, COUNT(*) FROM transactions WHERE {minute} > {kept_from} AND kind <> 'reversal' GROUP BY 1, 2"),
        )
        .await;
        self.same(
            "open",
            "SELECT partner_id, status, created_at, transaction_id FROM open_transactions WHERE status IN ('queued', 'accepted')",
            "SELECT partner_id, status, created_at, id FROM transactions WHERE status IN ('queued', 'accepted')",
        )
        .await;
        // A failure that may be overturned is there until it was asked about, and nothing else is.
        let others = "FROM (SELECT partner_id, status, created_at, transaction_id FROM open_transactions \
             WHERE status NOT IN ('queued', 'accepted') EXCEPT \
             SELECT partner_id, status, created_at, id FROM transactions WHERE status = 'failed' AND unconfirmed) AS x";
        assert_eq!(self.count(others).await, 0, "open without a reason");
        self.same(
            "failed",
            "SELECT partner_id, created_at, transaction_id FROM failed_transactions",
            "SELECT partner_id, created_at, id FROM transactions WHERE status = 'failed'",
        )
        .await;
        self.same(
            "routes",
            "SELECT partner_id, value, field, provider, transaction_id FROM routes",
            IDS,
        )
        .await;
        self.same(
            "waiting",
            "SELECT DISTINCT callback_id FROM waiting_callbacks",
            "SELECT id FROM callbacks WHERE state = 'waiting'",
        )
        .await;
        // Every endpoint that was there from the beginning has one delivery an event.
        self.same(
            "deliveries",
            "SELECT partner_id, endpoint_id, transaction_id, sequence FROM deliveries WHERE notice IS NULL",
            "SELECT e.partner_id, p.id, e.transaction_id, e.sequence FROM transaction_events e JOIN endpoints p ON p.partner_id = e.partner_id WHERE e.sequence IS NOT NULL",
        )
        .await;
        self.same(
            "heads",
            "SELECT partner_id, last_sequence FROM feed_heads WHERE last_sequence > 0",
            "SELECT partner_id, MAX(sequence) FROM transaction_events WHERE sequence IS NOT NULL GROUP BY partner_id",
        )
        .await;
        self.recount_feed().await;
    }

    fn end_of(&self, span: &str) -> String {
        format!("({} / {span} + 1) * {span}", self.micros("created_at"))
    }

    /// Each partner's feed is 1, 2, 3, … and leads every transaction step by step to the status it has.
    async fn recount_feed(&self) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let feed = self
            .rows(
                &[
                    "partner_id",
                    "sequence",
                    "transaction_id",
                    "from_status",
                    "to_status",
                ],
                "FROM transaction_events WHERE sequence IS NOT NULL ORDER BY partner_id, sequence",
            )
            .await;
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        // What was imported began where its history left it, and is in no feed until it moves on.
        let imported = self
            .rows(
                &["transaction_id", "to_status"],
                "FROM transaction_events WHERE kind = 'imported'",
            )
            .await;
        let mut reached: BTreeMap<String, String> = imported
            .iter()
            .map(|row| (text(&row[0]), text(&row[1])))
            .collect();
        for row in &feed {
            let place = last.entry(text(&row[0])).or_default();
            assert_eq!(row[1], *place + 1, "the feed has a gap");
            *place += 1;
            let before = reached.insert(text(&row[2]), text(&row[4]));
            assert_eq!(text(&row[3]), before.unwrap_or_default(), "{row:?}");
        }
        let stands: BTreeMap<String, String> = self
            .rows(&["id", "status"], "FROM transactions")
            .await
            .iter()
            .map(|row| (text(&row[0]), text(&row[1])))
            .collect();
        assert_eq!(reached, stands);
    }
}
