//! Counters, feed, side tables and routes after random histories, held against plain scans of the rows.

use std::collections::{BTreeMap, HashMap};

use chrono::{Duration, DurationRound};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use ussd_status::domain::clock::Instant;
use ussd_status::domain::identity::PartnerId;
use ussd_status::domain::ledger::{Attachment, Command, Outcome, Registration};
use ussd_status::domain::money::{Amount, Currency};
use ussd_status::domain::search::{Filter, Position, Search};
use ussd_status::domain::statistics::Statistics;
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::{CallbackKind, News, ResultClass, Unregistered};
use ussd_status::domain::transaction::{Kind, Provider, ProviderIds, Transaction};

use crate::support::TestStore;
use crate::support::build::{
    arrival, conversation, everything, registration, registration_with, search, stk, update,
};

on_both_databases!(
    everything_counted_equals_a_scan_after_random_histories,
    the_last_day_is_exact_at_odd_instants,
    the_first_hour_of_the_last_day_comes_from_its_minutes,
    an_adoption_and_a_reversal_move_the_counters_with_their_rows,
);

/// One thing that happens to one of a few hundred payments.
#[derive(Debug, Clone, Copy)]
struct Act {
    payment: u32,
    what: u8,
    class: usize,
}

fn act() -> impl Strategy<Value = Act> {
    (0..400_u32, 0..8_u8, 0..6_usize).prop_map(|(payment, what, class)| Act {
        payment,
        what,
        class,
    })
}

const CLASSES: [ResultClass; 6] = [
    ResultClass::Success,
    ResultClass::Success,
    ResultClass::Failed,
    ResultClass::Unconfirmed,
    ResultClass::Pending,
    ResultClass::Unknown,
];

/// What an act means for a partner; `known` are the transactions by their number.
fn command(
    db: &TestStore,
    partner: PartnerId,
    act: Act,
    known: &HashMap<u32, Transaction>,
) -> Command {
    let name = format!("p{}", act.payment);
    match act.what {
        0..=3 => Command::Register(Box::new(Registration {
            amount: Amount(i64::from(act.payment) * 37 + 1),
            currency: if act.payment.is_multiple_of(3) {
                Currency::tzs()
            } else {
                Currency::kes()
            },
            kind: if act.payment.is_multiple_of(7) {
                Kind::Reversal
            } else {
                Kind::StkPush
            },
            original_id: act
                .payment
                .is_multiple_of(7)
                .then(|| known.get(&(act.payment + 1)).map(|row| row.id))
                .flatten(),
            ids: if act.payment.is_multiple_of(2) {
                conversation(&name)
            } else {
                Default::default()
            },
            ..registration(partner, &name)
        })),
        4 if known.contains_key(&act.payment) => Command::Attach(Attachment {
            partner_id: partner,
            transaction_id: known[&act.payment].id,
            ids: conversation(&name),
        }),
        what => {
            let mut told = stk(partner, &name, CLASSES[act.class], db.now());
            if let News::Payment(update) = &mut told.news {
                update.returned = what == 7 && CLASSES[act.class] == ResultClass::Failed;
                if act.payment.is_multiple_of(5) {
                    update.receipt = None;
                }
            }
            Command::Callback(Box::new(told))
        }
    }
}

async fn everything_counted_equals_a_scan_after_random_histories(db: TestStore) {
    let partners = [db.partner().await, db.partner().await];
    db.endpoint(partners[0], &[]).await;
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(20_260_314),
        ..Config::default()
    });
    let mut known = [HashMap::new(), HashMap::new()];
    for round in 0..24 {
        let acts = proptest::collection::vec((0..2_usize, act()), 120)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let outcomes =
            join_all(acts.iter().map(|(whose, act)| {
                db.record(command(&db, partners[*whose], *act, &known[*whose]))
            }))
            .await;
        for ((whose, act), outcome) in acts.iter().zip(outcomes) {
            if let Outcome::Registered { transaction, .. } = outcome {
                known[*whose].insert(act.payment, *transaction);
            }
        }
        db.advance(Duration::milliseconds(13_577_531));
        if round % 6 == 5 {
            for partner in partners {
                check_statistics(&db, partner).await;
            }
        }
    }
    for partner in partners {
        let rows = db
            .count(&format!("FROM transactions WHERE partner_id = '{partner}'"))
            .await;
        assert!(rows > 250, "{rows}");
        check_statistics(&db, partner).await;
        check_feed(&db, partner).await;
    }
    check_side_tables(&db).await;
}

async fn scan(db: &TestStore, partner: PartnerId) -> Vec<Transaction> {
    let mut rows = Vec::new();
    let mut position = Position::Offset(0);
    loop {
        let page = db
            .list(
                partner,
                Search {
                    limit: 100,
                    position,
                    with_statistics: false,
                    ..search(Filter::default())
                },
            )
            .await;
        rows.extend(page.transactions);
        match page.next {
            Some(cursor) => position = Position::After(cursor),
            None => return rows,
        }
    }
}

fn count(rows: &[Transaction], now: Instant) -> Statistics {
    let mut statistics = Statistics::default();
    for row in rows.iter().filter(|row| !row.is_reversal()) {
        statistics.add(row.currency.clone(), row.status, 1, row.amount);
        if row.created_at >= now - Duration::hours(24) {
            statistics.recent_activity_24h += 1;
        }
    }
    statistics
}

async fn check_statistics(db: &TestStore, partner: PartnerId) {
    let rows = scan(db, partner).await;
    let listing = db.list(partner, everything()).await;
    assert_eq!(listing.statistics.unwrap(), count(&rows, db.now()));
    for status in Status::ALL {
        let filter = Filter {
            status: Some(status),
            ..Filter::default()
        };
        let counted = rows.iter().filter(|row| row.status == status).count();
        let page = db.list(partner, search(filter)).await;
        assert_eq!(page.total, i64::try_from(counted).unwrap());
    }
    // The day counters too, which the deep offsets and the spans of time are counted by.
    let days = db
        .rows(
            &[&db.micros("ends_at"), "status", "SUM(n)"],
            &format!(
                "FROM counters WHERE partner_id = '{partner}' AND period = 'day' \
                 GROUP BY ends_at, status HAVING SUM(n) <> 0"
            ),
        )
        .await;
    let mut counted: BTreeMap<(i64, String), i64> = BTreeMap::new();
    for row in &rows {
        let day = row.created_at.date_naive() + chrono::Days::new(1);
        let ends_at = day.and_time(chrono::NaiveTime::MIN).and_utc();
        *counted
            .entry((ends_at.timestamp_micros(), row.status.to_string()))
            .or_default() += 1;
    }
    let days: BTreeMap<(i64, String), i64> = days
        .into_iter()
        .map(|row| {
            (
                (
                    row[0].as_i64().unwrap(),
                    row[1].as_str().unwrap().to_owned(),
                ),
                row[2].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(days, counted);
}

async fn check_feed(db: &TestStore, partner: PartnerId) {
    let sequences = db
        .rows(
            &["sequence"],
            &format!(
                "FROM transaction_events WHERE partner_id = '{partner}' AND sequence IS NOT NULL ORDER BY sequence"
            ),
        )
        .await;
    let head = db
        .rows(
            &["last_sequence"],
            &format!("FROM feed_heads WHERE partner_id = '{partner}'"),
        )
        .await[0][0]
        .as_i64()
        .unwrap();
    let sequences: Vec<i64> = sequences
        .iter()
        .map(|row| row[0].as_i64().unwrap())
        .collect();
    assert_eq!(sequences, (1..=head).collect::<Vec<_>>());
    // A transaction's last event tells the status it has.
    let wrong = db
        .count(&format!(
            "FROM transactions t WHERE t.partner_id = '{partner}' AND t.status <> (SELECT e.to_status \
             FROM transaction_events e WHERE e.partner_id = t.partner_id AND e.transaction_id = t.id \
             AND e.sequence IS NOT NULL ORDER BY e.sequence DESC LIMIT 1)"
        ))
        .await;
    assert_eq!(wrong, 0);
    // Every event is owed to every endpoint of the partner.
    let endpoints = db
        .count(&format!("FROM endpoints WHERE partner_id = '{partner}'"))
        .await;
    let owed = db
        .count(&format!("FROM deliveries WHERE partner_id = '{partner}'"))
        .await;
    assert_eq!(owed, head * endpoints);
}

/// Both sides of each comparison are sorted the same way, by the same expression.
async fn check_side_tables(db: &TestStore) {
    let created_at = db.micros("created_at");
    let pairs = [(
        "FROM open_transactions ORDER BY 1",
        "FROM transactions WHERE status IN ('queued', 'accepted') OR unconfirmed ORDER BY 1",
    )];
    for (side, scan) in pairs {
        let open = sorted(
            db.rows(
                &["partner_id", "transaction_id", "status", &created_at],
                side,
            )
            .await,
        );
        let rows = sorted(
            db.rows(&["partner_id", "id", "status", &created_at], scan)
                .await,
        );
        assert!(open.len() > 20);
        assert_eq!(open, rows);
    }
    let failed = db
        .rows(
            &["partner_id", "transaction_id", &created_at],
            "FROM failed_transactions",
        )
        .await;
    let rows = db
        .rows(
            &["partner_id", "id", &created_at],
            "FROM transactions WHERE status = 'failed'",
        )
        .await;
    assert!(rows.len() > 20);
    assert_eq!(sorted(failed), sorted(rows));

    let routes = db
        .rows(
            &["partner_id", "field", "value", "provider", "transaction_id"],
            "FROM routes",
        )
        .await;
    let mut rows = Vec::new();
    for (field, column) in [
        ("conversation_id", "conversation_id"),
        ("originator_conversation_id", "originator_conversation_id"),
        ("order_reference", "order_reference"),
        ("transaction_receipt", "receipt"),
    ] {
        rows.extend(
            db.rows(
                &[
                    "partner_id",
                    &format!("'{field}'"),
                    column,
                    "provider",
                    "id",
                ],
                &format!("FROM transactions WHERE {column} IS NOT NULL"),
            )
            .await,
        );
    }
    assert!(rows.len() > 200);
    assert_eq!(sorted(routes), sorted(rows));

    // Nothing waits for an id that is known.
    let waiting = db
        .count(
            "FROM waiting_callbacks w JOIN routes r ON r.partner_id = w.partner_id AND r.value = w.value",
        )
        .await;
    assert_eq!(waiting, 0);
    let kept = db.count("FROM callbacks WHERE state = 'waiting'").await;
    let listed = db
        .count("FROM (SELECT DISTINCT callback_id FROM waiting_callbacks) w")
        .await;
    assert_eq!(kept, listed);
    let backlog = db.store.count_backlog().await.unwrap();
    assert_eq!(backlog.waiting_callbacks, kept);
    assert_eq!(
        backlog.open_transactions,
        db.count("FROM transactions WHERE status IN ('queued', 'accepted')")
            .await
    );
}

fn sorted(rows: Vec<Vec<serde_json::Value>>) -> Vec<String> {
    let mut lines: Vec<String> = rows
        .into_iter()
        .map(|row| serde_json::Value::from(row).to_string())
        .collect();
    lines.sort();
    lines
}

async fn the_last_day_is_exact_at_odd_instants(db: TestStore) {
    let partner = db.partner().await;
    let mut created = Vec::new();
    for number in 0..60 {
        let mut payment = registration(partner, &number.to_string());
        if number % 10 == 9 {
            payment.kind = Kind::Reversal;
        }
        let row = db.register(payment).await;
        if !row.is_reversal() {
            created.push(row.created_at);
        }
        db.advance(Duration::milliseconds(1_723_457));
    }
    let recent = async |now: Instant| {
        db.store
            .list_transactions(partner, everything(), now)
            .await
            .unwrap()
            .statistics
            .unwrap()
            .recent_activity_24h
    };
    let counted = |now: Instant| {
        let since = now - Duration::hours(24);
        i64::try_from(created.iter().filter(|at| **at >= since).count()).unwrap()
    };
    let day = Duration::hours(24);
    let whole_hour: Instant = "2026-03-15T17:00:00Z".parse().unwrap();
    let odd = [
        db.now(),
        created[20] + day,
        created[20] + day + Duration::milliseconds(1),
        created[20] + day - Duration::milliseconds(1),
        created[53] + day,
        whole_hour,
        whole_hour + Duration::milliseconds(1),
        whole_hour - Duration::milliseconds(1),
        db.now() + Duration::hours(9),
        db.now() + Duration::hours(23),
        db.now() + Duration::hours(25),
    ];
    for now in odd {
        assert_eq!(recent(now).await, counted(now), "{now}");
    }
    // Old hours may be forgotten without a trace.
    db.store
        .remove_expired(ussd_status::store::Retention {
            callbacks_before: db.now(),
            deliveries_before: db.now(),
            events_before: db.now(),
            hours_before: db.now() - Duration::hours(25),
            minutes_before: db.now() - Duration::hours(25),
        })
        .await
        .unwrap();
    assert_eq!(recent(db.now()).await, counted(db.now()));
}

/// Of the hour in which the last 24 begin no rows are counted but those of the first minute; and of what an older program
/// wrote, which counts no minutes, all of them.
async fn the_first_hour_of_the_last_day_comes_from_its_minutes(db: TestStore) {
    let partner = db.partner().await;
    let hour = db.now().duration_trunc(Duration::hours(1)).unwrap();
    db.advance(hour + Duration::hours(1) - db.now());
    let mut created = Vec::new();
    for number in 0..12 {
        let row = db
            .register(registration(partner, &number.to_string()))
            .await;
        created.push(row.created_at);
        db.advance(Duration::minutes(5));
    }
    // In the fourth minute of a later hour: seven were created after it, and in that minute none.
    let now = created[4] + Duration::hours(24) + Duration::minutes(3);
    let recent = async || {
        db.store
            .list_transactions(partner, everything(), now)
            .await
            .unwrap()
            .statistics
            .unwrap()
            .recent_activity_24h
    };
    assert_eq!(recent().await, 7);
    // Who counted rows would not notice that a minute's count moves to another minute of its hour.
    let ends = async || {
        db.rows(
            &[&db.micros("ends_at")],
            "FROM created_by_minute ORDER BY ends_at",
        )
        .await
    };
    let first = &ends().await[0][0];
    let last = &ends().await[11][0];
    let is = |at: &serde_json::Value| format!("{} = {at}", db.micros("ends_at"));
    db.execute(&format!(
        "UPDATE created_by_minute SET n = 0 WHERE {}; UPDATE created_by_minute SET n = 2 WHERE {}",
        is(first),
        is(last)
    ))
    .await;
    assert_eq!(recent().await, 8);
    db.execute(&format!("DELETE FROM created_by_minute WHERE {}", is(last)))
        .await;
    assert_eq!(recent().await, 7);
    db.execute("DELETE FROM created_by_minute").await;
    assert_eq!(recent().await, 7);
}

async fn an_adoption_and_a_reversal_move_the_counters_with_their_rows(db: TestStore) {
    let partner = db.partner().await;
    let mut told = update("pay1", ResultClass::Success);
    told.correlation.order_reference = Some("ORD1".to_owned());
    told.unregistered = Some(Unregistered {
        kind: Kind::UssdPush,
        amount: Amount(500_000),
        currency: Currency::tzs(),
        shortcode: None,
    });
    let news = News::Payment(Box::new(told));
    db.receive(arrival(partner, CallbackKind::Clickpesa, news, db.now()))
        .await;
    check_statistics(&db, partner).await;
    db.advance(Duration::hours(30));
    let adopted = db
        .register(Registration {
            provider: Provider::Clickpesa,
            kind: Kind::Payout,
            currency: Currency::kes(),
            amount: Amount(7),
            ids: ProviderIds {
                order_reference: Some("ORD1".to_owned()),
                ..ProviderIds::default()
            },
            ..registration(partner, "a")
        })
        .await;
    assert_eq!(adopted.status, Status::Success);
    assert_eq!(db.count("FROM transactions").await, 1);
    check_statistics(&db, partner).await;

    let original = db.register(registration_with(partner, "b", "b")).await;
    db.receive(stk(partner, "b", ResultClass::Success, db.now()))
        .await;
    let reversal = db
        .register(Registration {
            kind: Kind::Reversal,
            original_id: Some(original.id),
            ..registration_with(partner, "rev", "rev")
        })
        .await;
    // The original is found by the reversal's link although no id of the callback names it.
    db.receive(stk(partner, "rev", ResultClass::Success, db.now()))
        .await;
    assert_eq!(db.find(&reversal).await.0.status, Status::Success);
    let (taken_back, timeline) = db.find(&original).await;
    assert_eq!(taken_back.status, Status::Failed);
    assert_eq!(taken_back.reversed_at, Some(db.now()));
    assert_eq!(timeline.len(), 3);
    check_statistics(&db, partner).await;
    check_feed(&db, partner).await;
}
