//! What the store runs is found by indexes: every statement it sends is listened to, and its plan is looked at.

use std::collections::BTreeSet;
use std::sync::{Mutex, Once};

use diesel::connection::InstrumentationEvent;
use ussd_status::domain::asking::AskLease;
use ussd_status::domain::delivery::{Attempt, AttemptVerdict};
use ussd_status::domain::delivery_record::{DeliveryPage, DeliveryState, ReplayRange};
use ussd_status::domain::identity::{EndpointId, PartnerId, TransactionId};
use ussd_status::domain::overview::Span;
use ussd_status::domain::search::{BulkLookup, Cursor, Filter, Position, Search};
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::ResultClass;
use ussd_status::domain::transaction::IdField;
use ussd_status::store::Capacity;

use crate::support::TestStore;
use crate::support::build::{
    audit, conversation, msisdn, registration, registration_with, search, stk,
};

static HEARD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Listens to every connection that is opened from now on.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        diesel::connection::set_default_instrumentation(|| {
            Some(Box::new(|event: InstrumentationEvent<'_>| {
                if let InstrumentationEvent::StartQuery { query, .. } = event {
                    let text = query.to_string();
                    let sql = text.split(" -- binds:").next().unwrap_or_default();
                    HEARD.lock().unwrap().insert(sql.to_owned());
                }
            }))
        })
        .unwrap();
    });
}

/// Does once what a busy day does.
async fn live(db: &TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    let row = db.register(registration(partner, "a")).await;
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    db.attach(&row, conversation("c")).await;
    db.register(registration_with(partner, "b", "b")).await;
    db.receive(stk(partner, "b", ResultClass::Failed, db.now()))
        .await;
    let text = |text: &str| Some(text.to_owned());
    let filters = [
        Filter::default(),
        Filter {
            conversation_id: text("c"),
            ..Filter::default()
        },
        Filter {
            client_request_id: text("a"),
            ..Filter::default()
        },
        Filter {
            transaction_receipt: text("Rc"),
            ..Filter::default()
        },
        Filter {
            transaction_id: Some(row.id),
            ..Filter::default()
        },
        Filter {
            msisdns: vec![msisdn(1)],
            ..Filter::default()
        },
        Filter {
            msisdns: vec![msisdn(1), msisdn(2)],
            ..Filter::default()
        },
        Filter {
            status: Some(Status::Failed),
            ..Filter::default()
        },
        Filter {
            status: Some(Status::Queued),
            ..Filter::default()
        },
        Filter {
            from: Some(row.created_at),
            to: Some(db.now()),
            ..Filter::default()
        },
        Filter {
            conversation_id: text("c"),
            from: Some(row.created_at),
            to: Some(db.now()),
            ..Filter::default()
        },
        Filter {
            msisdns: vec![msisdn(1), msisdn(2)],
            from: Some(row.created_at),
            to: Some(db.now()),
            ..Filter::default()
        },
        Filter {
            conversation_id: text("c"),
            transaction_receipt: text("Rc"),
            status: Some(Status::Success),
            ..Filter::default()
        },
    ];
    let cursor = Cursor {
        created_at: row.created_at,
        id: row.id,
    };
    let ids = vec![row.id];
    let store = &db.store;
    store.list_timelines(partner, ids.clone(), 9).await.unwrap();
    store.list_stuck_among(partner, ids).await.unwrap();
    store.list_completions(partner, 9).await.unwrap();
    for filter in filters {
        db.store.find_newest(partner, filter.clone()).await.unwrap();
        for after in [None, Some(cursor)] {
            let walked = db
                .store
                .list_oldest_first(partner, filter.clone(), after, 1_000);
            walked.await.unwrap();
        }
        for position in [
            Position::Offset(0),
            Position::Offset(9_000),
            Position::After(cursor),
        ] {
            db.list(
                partner,
                Search {
                    position,
                    ..search(filter.clone())
                },
            )
            .await;
        }
    }
    let lookup = BulkLookup {
        transaction_ids: vec![row.id],
        conversation_ids: vec!["c".to_owned()],
        client_request_ids: vec!["a".to_owned()],
        transaction_receipts: vec!["Rc".to_owned()],
    };
    db.store.find_transactions(partner, lookup).await.unwrap();
    db.find(&row).await;
    db.store.list_events(partner, 1, 50).await.unwrap();
    db.store
        .list_route_owners(row.provider, vec![(IdField::Conversation, "c".to_owned())])
        .await
        .unwrap();
    db.store
        .find_account_by_token("t".to_owned())
        .await
        .unwrap();
    db.store.find_key("t".to_owned()).await.unwrap();
    let capacities = vec![Capacity {
        endpoint_id: endpoint,
        partner_id: partner,
        free: 1,
    }];
    db.store.list_due_endpoints(db.now()).await.unwrap();
    let claimed = db
        .store
        .claim_deliveries(capacities, db.now())
        .await
        .unwrap();
    let attempts = claimed.iter().map(|delivery| Attempt {
        failing_since: None,
        delivery_id: delivery.id,
        endpoint_id: endpoint,
        partner_id: partner,
        number: 1,
        at: db.now(),
        duration_ms: 1,
        status: None,
        error: text("refused"),
        response: None,
        verdict: AttemptVerdict::Dead,
    });
    db.store.record_attempts(attempts.collect()).await.unwrap();
    let later = db.now() + chrono::Duration::hours(1);
    db.register(registration_with(partner, "silent", "silent"))
        .await;
    db.store.list_partners_to_ask(later).await.unwrap();
    let asked = db.store.claim_questions(partner, 5, later, later);
    let asked = asked.await.unwrap();
    let leases = asked.iter().map(|taken| AskLease {
        partner_id: partner,
        transaction_id: taken.id,
        until: later,
    });
    let renewed = db.store.renew_questions(leases.collect(), later);
    assert_eq!(renewed.await.unwrap().len(), asked.len());
    assert!(!asked.is_empty());
    db.store.list_stuck(Some(partner), 5).await.unwrap();
    for state in [
        None,
        Some(DeliveryState::Pending),
        Some(DeliveryState::Dead),
    ] {
        let page = DeliveryPage {
            state,
            before: None,
            limit: 1,
        };
        let listed = db.store.list_deliveries(partner, endpoint, page);
        listed.await.unwrap();
    }
    let id = claimed[0].id;
    db.store.find_delivery(partner, id).await.unwrap();
    let asked = db.store.requeue_delivery(partner, id, db.now(), audit());
    asked.await.unwrap();
    for only_failed in [true, false] {
        let range = ReplayRange {
            since: db.now() - chrono::Duration::days(1),
            until: db.now(),
            only_failed,
            dry_run: false,
        };
        let asked = db
            .store
            .requeue_range(partner, endpoint, range, db.now(), audit());
        asked.await.unwrap();
    }
    look(db, partner, row.id).await;
    end(db, partner, endpoint).await;
}

/// An endpoint is gone, and another one is told.
async fn end(db: &TestStore, partner: PartnerId, gone: EndpointId) {
    let other = db.endpoint(partner, &["transaction.failed"]).await;
    let capacity = |endpoint_id| {
        vec![Capacity {
            endpoint_id,
            partner_id: partner,
            free: 1,
        }]
    };
    let claimed = db.store.claim_deliveries(capacity(gone), db.now()).await;
    let claimed = claimed.unwrap();
    let attempt = Attempt {
        failing_since: None,
        delivery_id: claimed[0].id,
        endpoint_id: gone,
        partner_id: partner,
        number: 9,
        at: db.now(),
        duration_ms: 1,
        status: Some(410),
        error: None,
        response: None,
        verdict: AttemptVerdict::Gone,
    };
    db.store.record_attempts(vec![attempt]).await.unwrap();
    let told = db.store.claim_deliveries(capacity(other), db.now()).await;
    assert_eq!(told.unwrap().len(), 1);
}

/// Does once what the console does.
async fn look(db: &TestStore, partner: PartnerId, transaction: TransactionId) {
    let callbacks = db.store.list_callbacks_of(partner, transaction, 20);
    assert_eq!(callbacks.await.unwrap().len(), 1);
    let deliveries = db.store.list_deliveries_of(partner, transaction);
    assert!(!deliveries.await.unwrap().is_empty());
    for partner in [Some(partner), None] {
        for span in Span::ALL {
            let figures = db.store.read_figures(partner, span, db.now());
            figures.await.unwrap();
        }
        db.store.read_waiting(partner, db.now()).await.unwrap();
    }
}

/// The tables that grow.
const BIG: [&str; 9] = [
    "transactions",
    "open_transactions",
    "transaction_events",
    "deliveries",
    "delivery_attempts",
    "callbacks",
    "waiting_callbacks",
    "routes",
    "counters",
];

fn heard(placeholder: char) -> Vec<String> {
    let words = ["SELECT", "WITH", "UPDATE", "DELETE", "INSERT"];
    HEARD
        .lock()
        .unwrap()
        .iter()
        .filter(|sql| words.iter().any(|word| sql.starts_with(word)))
        .filter(|sql| sql.contains(placeholder))
        // Housekeeping walks tables on purpose, a few rows at a time; a copy goes through all of them; a backlog is
        // counted on purpose.
        .filter(|sql| !sql.contains(" AS line FROM "))
        .filter(|sql| !sql.contains("IN (SELECT address"))
        .filter(|sql| !sql.contains("is_leased = false WHERE"))
        // So is what is open; and of everybody's callbacks the newest few are looked at, from the end of the key.
        .filter(|sql| !sql.contains("AS younger_1"))
        .filter(|sql| !sql.contains("FROM callbacks c ORDER BY c.id DESC LIMIT"))
        .cloned()
        .collect()
}

/// Who has something due is found by leaps through an index, and the first one needs no condition.
fn is_first_of_its_index(sql: &str, step: &str) -> bool {
    sql.starts_with("WITH RECURSIVE pending") && step.contains("deliveries_to_send")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_sqlite_walks_a_big_table() {
    listen();
    let db = TestStore::sqlite().await;
    live(&db).await;
    let statements = heard('?');
    assert!(statements.len() > 30, "{}", statements.len());
    for sql in statements {
        let plan = db.plan(&sql).await;
        // The statistics beside every page look at one minute by age or else at its hour, and at the reversals of either.
        let mut by_age = 0;
        for step in &plan {
            let scanned = step.strip_prefix("SCAN ").unwrap_or_default();
            by_age += i32::from(step.contains("transactions_by_age"));
            let walks = (is_big(scanned, &sql) && !is_first_of_its_index(&sql, step))
                || (step.contains("_autoindex_transactions_1 (partner_id=?)"))
                || (by_age > 4 && ID_FILTERS.iter().any(|filter| sql.contains(filter)));
            // Of a key's first columns alone there are as many rows as payments under way.
            let walks = walks
                || (step.contains("SEARCH open_transactions USING PRIMARY KEY")
                    && !step.contains("transaction_id=?"));
            assert!(!walks, "{sql}\n{}", plan.join("\n"));
        }
    }
}

/// An index is written by every update that names one of its columns, and lies elsewhere than the row.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_writes_no_index_of_the_big_table_on_sqlite() {
    listen();
    let db = TestStore::sqlite().await;
    live(&db).await;
    let indexed = db
        .rows(
            &["DISTINCT c.name"],
            "FROM pragma_index_list('transactions') i JOIN pragma_index_info(i.name) c WHERE i.origin = 'c'",
        )
        .await;
    let indexed: Vec<&str> = indexed.iter().map(|row| row[0].as_str().unwrap()).collect();
    assert!(
        indexed.contains(&"msisdn") && indexed.len() > 5,
        "{indexed:?}"
    );
    let sets = |sql: &str| -> Vec<String> {
        let (_, set) = sql.split_once(" SET ").unwrap();
        let (set, _) = set.split_once(" FROM ").unwrap();
        set.split(", ")
            .map(|part| part.split_once(" = ").unwrap().0.to_owned())
            .collect()
    };
    let updates: Vec<Vec<String>> = heard('?')
        .iter()
        .filter(|sql| sql.starts_with("UPDATE transactions SET"))
        .map(|sql| sets(sql))
        .collect();
    let is_light = |columns: &Vec<String>| {
        columns.contains(&"status".to_owned())
            && !columns
                .iter()
                .any(|column| indexed.contains(&column.as_str()))
    };
    assert!(updates.iter().any(is_light), "{updates:?}");
}

/// Conditions that find a few rows by themselves.
const ID_FILTERS: [&str; 4] = [
    "t.id = ?",
    "t.client_request_id = ?",
    "CROSS JOIN transactions t",
    "t.msisdn IN (?, ?)",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_postgres_walks_a_big_table() {
    listen();
    let db = TestStore::postgres().await;
    live(&db).await;
    let statements = heard('$');
    assert!(statements.len() > 30, "{}", statements.len());
    for sql in statements {
        let plan = db.plan(&sql).await;
        for (at, step) in plan.iter().enumerate() {
            // An index scan without a condition walks the whole index; a bitmap's heap scan has its index below it.
            let scanned = step
                .split_once("Scan ")
                .filter(|(kind, _)| !kind.contains("Bitmap"))
                .and_then(|(_, rest)| rest.split_once("on "))
                .and_then(|(_, rest)| rest.split_whitespace().next());
            let walks = scanned.is_some_and(|name| BIG.contains(&name))
                && !plan
                    .get(at + 1)
                    .is_some_and(|next| next.contains("Index Cond") || next.contains("TID Cond"))
                && !is_first_of_its_index(&sql, step);
            assert!(!walks, "{sql}\n{}", plan.join("\n"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_read_by_its_own_index_and_in_its_order() {
    listen();
    for (db, placeholder) in [
        (TestStore::sqlite().await, '?'),
        (TestStore::postgres().await, '$'),
    ] {
        let partner = db.partner().await;
        db.register(registration(partner, "a")).await;
        db.store.list_events(partner, 0, 50).await.unwrap();
        let statements = heard(placeholder);
        let mut read = statements
            .iter()
            .filter(|sql| sql.contains("FROM transaction_events") && sql.contains("sequence >"))
            // What a replay looks for is another question, and may be asked meanwhile.
            .filter(|sql| !sql.contains("deliveries"));
        let plan = db.plan(read.next().unwrap()).await.join("\n");
        assert_eq!(read.next(), None);
        assert!(plan.contains("transaction_events_feed"), "{plan}");
        assert!(
            !plan.to_ascii_uppercase().contains("SORT") && !plan.contains("TEMP B-TREE"),
            "{plan}"
        );
    }
}

/// SQLite names a table by its alias.
fn is_big(step: &str, sql: &str) -> bool {
    let Some(name) = step.split_whitespace().next() else {
        return false;
    };
    BIG.iter().any(|table| {
        *table == name
            || sql.contains(&format!("FROM {table} {name} "))
            || sql.contains(&format!("JOIN {table} {name} "))
    })
}

/// What is due among many that are not is found by its index, by the planner's own choice and with its own figures.
async fn what_is_due_is_found_among_many(db: &TestStore) {
    const OPEN: usize = 12_000;
    let partner = db.partner().await;
    let row = db.register(registration_with(partner, "a", "c")).await;
    let (cast, number, later) = if db.is_sqlite() {
        ("", "printf('%012d', i)", "i")
    } else {
        (
            "::uuid",
            "lpad(CAST(i AS TEXT), 12, '0')",
            "i * interval '1 microsecond'",
        )
    };
    db.execute(&format!(
        "INSERT INTO open_transactions (partner_id, status, created_at, transaction_id, ask_at) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {OPEN}) \
         SELECT partner_id, status, created_at, ('01a1fc70-0000-7000-8000-' || {number}){cast}, ask_at + {later} \
         FROM n CROSS JOIN open_transactions WHERE transaction_id = '{}'; ANALYZE",
        row.id
    ))
    .await;
    let due = row.created_at + chrono::Duration::hours(1);
    db.store.list_partners_to_ask(due).await.unwrap();
    db.store
        .claim_questions(partner, 20, due, due)
        .await
        .unwrap();
    let lease = AskLease {
        partner_id: partner,
        transaction_id: row.id,
        until: due,
    };
    db.store.renew_questions(vec![lease], due).await.unwrap();
    let is_ours = |sql: &str| {
        // Renewing is done where joins by hash are switched off.
        if sql.contains("leased_to") && !db.is_sqlite() {
            return false;
        }
        sql.contains("UPDATE open_transactions SET ask_at")
            || sql.contains("(SELECT o.ask_at FROM open_transactions o")
    };
    let ours: Vec<String> = heard(if db.is_sqlite() { '?' } else { '$' })
        .into_iter()
        .filter(|sql| is_ours(sql))
        .collect();
    assert!(ours.len() >= 2, "{ours:?}");
    let at = format!("'{}'::timestamptz", due.to_rfc3339());
    for sql in ours {
        let plan = if db.is_sqlite() {
            db.plan(&sql).await
        } else {
            // Placeholders are numbered as they appear.
            let values = [format!("'{partner}'::uuid"), at.clone(), "20".to_owned()];
            let values = values.into_iter().chain([at.clone(), at.clone()]);
            let is_claim = sql.contains("UPDATE");
            let sql = values
                .filter(|value| is_claim || *value == at)
                .enumerate()
                .fold(sql.clone(), |sql, (place, value)| {
                    sql.replace(&format!("${}", place + 1), &value)
                });
            db.explain(&sql).await
        };
        let text = plan.join("\n");
        assert!(text.contains("open_transactions_to_ask"), "{sql}\n{text}");
        let walks = [
            "SCAN o",
            "SCAN open_transactions",
            "Seq Scan on open_transactions",
            "Seq Scan on transactions",
        ];
        assert!(
            !walks.iter().any(|walk| text.contains(walk)),
            "{sql}\n{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_finds_what_is_due_among_many() {
    listen();
    what_is_due_is_found_among_many(&TestStore::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_finds_what_is_due_among_many() {
    listen();
    what_is_due_is_found_among_many(&TestStore::postgres().await).await;
}

/// Whether deliveries are put in order after they were found. What SQLite then ranks is as many as are taken.
fn sorts_what_is_due(plan: &[String]) -> bool {
    let sorts =
        |step: &String| step.contains("RIGHT PART OF ORDER BY") || step.contains("Sort Key: d.");
    plan.iter().any(sorts)
}

/// What is due is claimed without a look at what was delivered, and without sorting all that is due, by the planner's own
/// choice and with its own figures.
async fn a_claim_reads_no_delivered_row(db: &TestStore) {
    /// Other deliveries, every fourth of them due too.
    const OTHERS: usize = 20_000;
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    let done = db.register(registration(partner, "done")).await;
    let (cast, number) = if db.is_sqlite() {
        ("", "printf('%012d', i)")
    } else {
        ("::uuid", "lpad(CAST(i AS TEXT), 12, '0')")
    };
    if !db.is_sqlite() {
        // What the planner knows while a table fills. Nobody tells SQLite's anything.
        db.execute("ANALYZE").await;
    }
    // Of the same endpoint and as due as any: nothing but their state tells them from what is to be sent.
    db.execute(&format!(
        "UPDATE deliveries SET state = 'delivered', finished_at = due_at; \
         INSERT INTO deliveries (partner_id, id, endpoint_id, transaction_id, sequence, state, attempts, due_at, is_leased, created_at, finished_at) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {OTHERS}) \
         SELECT partner_id, ('01a1fc70-0000-7000-8000-' || {number}){cast}, endpoint_id, transaction_id, 1000 + i, \
         CASE WHEN i % 4 = 0 THEN 'pending' ELSE state END, 1, due_at, \
         is_leased, created_at, CASE WHEN i % 4 = 0 THEN NULL ELSE finished_at END FROM n CROSS JOIN deliveries WHERE transaction_id = '{}'",
        done.id
    ))
    .await;
    for number in 0..10 {
        db.register(registration(partner, &format!("due-{number}")))
            .await;
    }
    let now = db.now() + chrono::Duration::seconds(1);
    let due = db.store.list_due_endpoints(now).await.unwrap();
    assert_eq!(due.len(), 1);
    let capacities = vec![Capacity {
        partner_id: partner,
        endpoint_id: endpoint,
        free: 8,
    }];
    let claimed = db.store.claim_deliveries(capacities, now).await.unwrap();
    assert_eq!(claimed.len(), 8);
    let at = format!("'{}'::timestamptz", now.to_rfc3339());
    let wanted = format!("'[[\"{partner}\", \"{endpoint}\", 8]]'");
    // What marks each statement; the values of its placeholders as they stand in the text; by which index it goes.
    let asked = [
        (
            "AS endpoint_id, e.concurrency",
            vec![at.clone()],
            "deliveries_to_send",
        ),
        // The lease, due by, what is wanted, due by, since.
        (
            "is_leased = true WHERE",
            vec![at.clone(), at.clone(), wanted, at.clone(), at],
            "deliveries_to_send",
        ),
        // Of deliveries no more is read than the claim returned.
        (
            "v.sequence, v.transaction_id, v.kind, v.to_status",
            vec![format!(
                "'[[\"{endpoint}\", \"{partner}\", \"{endpoint}\", \"{endpoint}\", 1, 0, \"2026-01-01\", null]]'"
            )],
            "transaction_events_",
        ),
    ];
    let statements = heard(if db.is_sqlite() { '?' } else { '$' });
    // By the planner's knowledge of a table that was nearly empty what was claimed is read, and by its own figures all.
    for (round, first) in [("SELECT 1", 2), ("ANALYZE", 0)] {
        db.execute(round).await;
        for (mark, values, index) in asked.iter().skip(first) {
            let ours = statements.iter().filter(|sql| sql.contains(mark));
            let ours: Vec<&String> = ours.filter(|sql| !sql.contains("LEFT JOIN")).collect();
            assert!(!ours.is_empty(), "nobody asked {mark}");
            for sql in ours {
                let plan = if db.is_sqlite() {
                    db.plan(sql).await
                } else {
                    let sql = (1..).zip(values).fold(sql.clone(), |sql, (place, value)| {
                        sql.replace(&format!("${place}"), value)
                    });
                    db.explain(&sql).await
                };
                goes_by(index, sql, &plan);
            }
        }
    }
}

fn goes_by(index: &str, sql: &str, plan: &[String]) {
    let text = plan.join("\n");
    assert!(text.contains(index), "{sql}\n{text}");
    let is_read = sql.contains("v.to_status");
    let elsewhere = if is_read {
        " on deliveries"
    } else {
        "deliveries_of_endpoint"
    };
    assert!(!text.contains(elsewhere), "{sql}\n{text}");
    assert!(!sorts_what_is_due(plan), "{sql}\n{text}");
    for step in plan {
        // SQLite says so too of the very first row of an index, and of the few that were found.
        let walks = step.contains("Seq Scan on deliveries")
            || step.trim_start().starts_with("SCAN d USING")
                && !step.contains("deliveries_to_send")
            || step.contains("_autoindex_deliveries_1 (partner_id=?)");
        assert!(!walks, "{sql}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_claims_without_a_look_at_what_was_delivered() {
    listen();
    a_claim_reads_no_delivered_row(&TestStore::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_claims_without_a_look_at_what_was_delivered() {
    listen();
    a_claim_reads_no_delivered_row(&TestStore::postgres().await).await;
}

/// What a busy day asks most, of ten million transactions as of ten: each by an index, with no more rows than it needs.
async fn what_is_asked_most_is_found_by_its_index(db: &TestStore) {
    live(db).await;
    let is_sqlite = db.is_sqlite();
    let statements = heard(if is_sqlite { '?' } else { '$' });
    // What marks the statement, and by which index its plan finds the rows; on SQLite, then on PostgreSQL.
    let asked = [
        // A page of everything, newest first: without a sort.
        (
            [
                "FROM transactions t WHERE t.partner_id = ? ORDER BY t.created_at DESC",
                "WITH page AS MATERIALIZED",
            ],
            ["transactions_by_age (partner_id=?)", "transactions_by_age"],
        ),
        // Its statistics: the counters, and of the big table one minute, or one hour.
        (
            ["AS recent", "AS recent"],
            [
                "USING COVERING INDEX transactions_by_age (partner_id=? AND created_at>? AND created_at<?)",
                "transactions_by_age",
            ],
        ),
        (
            ["AS recent", "AS recent"],
            [
                "counters USING PRIMARY KEY (partner_id=? AND period=?",
                "counters_pkey",
            ],
        ),
        (
            ["AS recent", "AS recent"],
            [
                "created_by_minute USING PRIMARY KEY (partner_id=? AND ends_at>? AND ends_at<?)",
                "created_by_minute_pkey",
            ],
        ),
        // A bulk lookup.
        (
            [
                "FROM transactions t WHERE t.partner_id = ? AND t.id IN (",
                "FROM transactions t WHERE t.partner_id = $1 AND t.id IN (",
            ],
            [
                "sqlite_autoindex_transactions_1 (partner_id=? AND id=?)",
                "transactions_pkey",
            ],
        ),
        // What a callback loads.
        (
            [
                "FROM routes r JOIN transactions t",
                "FROM routes r JOIN transactions t",
            ],
            ["routes_by_value (value=?)", "routes_by_value"],
        ),
        (
            [
                "FROM routes r JOIN transactions t",
                "FROM routes r JOIN transactions t",
            ],
            [
                "sqlite_autoindex_transactions_1 (partner_id=? AND id=?)",
                "transactions_pkey",
            ],
        ),
        // What the dispatcher claims.
        (
            [
                "UPDATE deliveries SET due_at",
                "UPDATE deliveries SET due_at",
            ],
            [
                "deliveries_to_send (partner_id=? AND endpoint_id=?",
                "deliveries_to_send",
            ],
        ),
    ];
    for (marks, indexes) in asked {
        let (mark, index) = if is_sqlite {
            (marks[0], indexes[0])
        } else {
            (marks[1], indexes[1])
        };
        let ours: Vec<&String> = statements
            .iter()
            .filter(|sql| sql.contains(mark))
            .filter(|sql| {
                mark != "UPDATE deliveries SET due_at" || sql.contains("is_leased = true")
            })
            .collect();
        assert!(!ours.is_empty(), "nobody asked {mark}");
        let mut plans = Vec::new();
        for sql in ours {
            plans.push(db.plan(sql).await.join("\n"));
        }
        // A page has a filter, or none; all the others always go the same way.
        let found = plans.iter().filter(|plan| plan.contains(index)).count();
        let is_page = mark.starts_with("WITH page");
        assert!(
            found == plans.len() || (is_page && found > 0),
            "{mark} does not go by {index}:\n{}",
            plans.join("\n\n")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_finds_what_is_asked_most_by_its_index() {
    listen();
    what_is_asked_most_is_found_by_its_index(&TestStore::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_finds_what_is_asked_most_by_its_index() {
    listen();
    what_is_asked_most_is_found_by_its_index(&TestStore::postgres().await).await;
}
