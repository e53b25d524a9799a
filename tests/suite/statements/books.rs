//! Histories among living transactions: counters, pages, offsets and feeds agree, and a statement agrees with them.

use serde_json::Value;
use ussd_status::domain::identity::PartnerId;
use ussd_status::domain::search::{Filter, Position, Search};
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::ResultClass;
use ussd_status::domain::timeline::TimelineKind;
use ussd_status::statements::{Format, STRETCH, Statements};

use super::{bring_in, bring_in_or_not, statement, summary};
use crate::support::TestStore;
use crate::support::build::{everything, registration, registration_with, stk};

on_both_databases!(
    a_statement_has_every_row_once_oldest_first_and_agrees_with_the_statistics,
    what_is_created_during_the_walk_is_not_in_it,
    filters_are_those_of_the_status_api,
    old_rows_stand_in_their_place_among_new_ones,
    nobody_is_told_of_a_history_and_open_rows_live_on,
    lines_that_are_wrong_are_named_and_hold_up_no_other,
    a_dry_run_says_the_same_and_writes_nothing,
    a_sheet_that_was_cut_is_noticed,
);

/// More than one stretch.
const MANY: usize = STRETCH as usize + 50;

/// Lines of a minute each, every fifth failed, every seventh a reversal, every ninth in another currency.
fn history(count: usize) -> String {
    let mut text =
        "client_request_id,transaction_receipt,msisdn,kind,currency,amount,status,created_at\n"
            .to_owned();
    for at in 0..count {
        let (day, hour, minute) = (1 + at / 1_440 % 28, at / 60 % 24, at % 60);
        let is_failed = at % 5 == 4;
        let receipt = if is_failed {
            String::new()
        } else {
            format!("R{at}")
        };
        let status = if is_failed { "failed" } else { "success" };
        let kind = if at % 7 == 6 { "reversal" } else { "stk_push" };
        let currency = if at % 9 == 8 { "TZS" } else { "KES" };
        text.push_str(&format!(
            "H-{at},{receipt},0712 345 678,{kind},{currency},{}.50,{status},2025-02-{day:02}T{hour:02}:{minute:02}:00Z\n",
            10 + at
        ));
    }
    text
}

async fn imported(db: &TestStore, count: usize) -> PartnerId {
    let partner = db.partner().await;
    let (done, problems) = bring_in(db, partner, &history(count)).await;
    assert_eq!((done, problems), (summary(count as u64, 0, 0), vec![]));
    partner
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn a_statement_has_every_row_once_oldest_first_and_agrees_with_the_statistics(db: TestStore) {
    let partner = imported(&db, MANY).await;
    let text = statement(&db, partner, Filter::default(), Format::Ndjson).await;
    let mut lines = objects(&text);
    let totals = lines.pop().unwrap()["totals"].clone();
    assert_eq!(lines.len(), MANY);
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["client_request_id"], format!("H-{at}"));
    }
    assert_eq!(totals["count"], MANY);
    let statistics = db.list(partner, everything()).await.statistics.unwrap();
    assert_eq!(statistics.by_currency.len(), 2);
    for (currency, one) in &statistics.by_currency {
        let of_currency = &totals["by_currency"][currency.as_str()];
        let count = |status: &str| of_currency[status]["count"].as_i64().unwrap();
        let amount = |status: &str| {
            let text = of_currency[status]["amount"].to_string();
            text.parse::<ussd_status::domain::money::Amount>()
                .unwrap()
                .0
        };
        assert_eq!(count("success"), one.successful);
        assert_eq!(count("failed"), one.failed);
        assert_eq!(count("queued") + count("accepted"), one.pending);
        assert_eq!(amount("success"), one.successful_amount.0);
        let all: i64 = ["queued", "accepted", "success", "failed"]
            .into_iter()
            .map(amount)
            .sum();
        assert_eq!(all, one.total_amount.0);
    }
    let reversals: i64 = totals["reversals"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|by_status| by_status.as_object().unwrap().values())
        .map(|sum| sum["count"].as_i64().unwrap())
        .sum();
    assert_eq!(reversals, i64::try_from(MANY / 7).unwrap());
    // The same as a table.
    let csv = statement(&db, partner, Filter::default(), Format::Csv).await;
    assert!(csv.ends_with("\r\n") && csv.is_ascii());
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let of = |kind: &str| records.iter().filter(|one| &one[0] == kind).count();
    assert_eq!(of("transaction"), MANY);
    assert_eq!((of("total"), of("total_of_reversals")), (8, 8));
    let last = records.last().unwrap();
    assert_eq!((&last[0], &last[28]), ("end", MANY.to_string().as_str()));
}

async fn what_is_created_during_the_walk_is_not_in_it(db: TestStore) {
    let partner = imported(&db, MANY).await;
    let statements = Statements::new(db.store.clone());
    let mut walk = statements.walk(partner, Filter::default(), db.now());
    let first = walk.next().await.unwrap().unwrap();
    assert_eq!(first.len(), STRETCH as usize);
    db.advance(chrono::Duration::seconds(1));
    db.register(registration(partner, "new")).await;
    let second = walk.next().await.unwrap().unwrap();
    assert_eq!(second.len(), MANY - STRETCH as usize);
    assert!(walk.next().await.unwrap().is_none());
    assert!(
        walk.next().await.unwrap().is_none(),
        "the end stays the end"
    );
}

async fn filters_are_those_of_the_status_api(db: TestStore) {
    let partner = imported(&db, 30).await;
    db.register(registration_with(partner, "open", "ws_1"))
        .await;
    let count = async |filter: Filter| {
        let text = statement(&db, partner, filter.clone(), Format::Ndjson).await;
        let lines = objects(&text);
        let total = db
            .list(
                partner,
                Search {
                    limit: 100,
                    filter,
                    ..everything()
                },
            )
            .await
            .total;
        assert_eq!(lines.len() - 1, usize::try_from(total).unwrap());
        assert_eq!(lines.last().unwrap()["totals"]["count"], total);
        total
    };
    let status = |status| Filter {
        status: Some(status),
        ..Filter::default()
    };
    assert_eq!(count(status(Status::Failed)).await, 6);
    assert_eq!(count(status(Status::Success)).await, 24);
    assert_eq!(count(status(Status::Accepted)).await, 1);
    assert_eq!(count(status(Status::Queued)).await, 0);
    let at = |text: &str| Some(text.parse().unwrap());
    let span = Filter {
        from: at("2025-02-01T00:10:00Z"),
        to: at("2025-02-01T00:19:00Z"),
        ..Filter::default()
    };
    assert_eq!(count(span).await, 10);
    let one = Filter {
        transaction_receipt: Some("R3".to_owned()),
        ..Filter::default()
    };
    assert_eq!(count(one).await, 1);
    let ws = Filter {
        conversation_id: Some("ws_1".to_owned()),
        ..Filter::default()
    };
    assert_eq!(count(ws).await, 1);
    // Nobody else's.
    let other = db.partner().await;
    let text = statement(&db, other, Filter::default(), Format::Ndjson).await;
    assert_eq!(objects(&text).len(), 1);
}

async fn old_rows_stand_in_their_place_among_new_ones(db: TestStore) {
    let partner = db.partner().await;
    for name in ["x", "y", "z"] {
        db.register(registration(partner, name)).await;
        db.advance(chrono::Duration::minutes(1));
    }
    let (done, _) = bring_in(&db, partner, &history(MANY)).await;
    assert_eq!(done, summary(MANY as u64, 0, 0));
    // Before the history there was nothing to jump over; now the oldest are found by the counters of their days.
    let page = db
        .list(
            partner,
            Search {
                position: Position::Offset(MANY as i64),
                ..everything()
            },
        )
        .await;
    let names: Vec<_> = page
        .transactions
        .iter()
        .map(|row| row.client_request_id.clone().unwrap())
        .collect();
    assert_eq!(names, ["H-2", "H-1", "H-0"]);
    assert_eq!(page.total, MANY as i64 + 3);
    let statistics = page.statistics.unwrap();
    assert_eq!(
        statistics.recent_activity_24h, 3,
        "a history is not of today"
    );
    db.recount().await;
}

async fn nobody_is_told_of_a_history_and_open_rows_live_on(db: TestStore) {
    let partner = db.partner().await;
    db.endpoint(partner, &[]).await;
    let file = "{\"client_request_id\":\"open\",\"conversation_id\":\"ws_1\",\"kind\":\"stk_push\",\"amount\":\"1200.00\",\
                \"status\":\"accepted\",\"created_at\":\"2026-03-14T12:00:00Z\"}\n\
                {\"client_request_id\":\"paid\",\"amount\":5,\"status\":\"success\",\"created_at\":\"2026-03-14T12:00:00Z\"}\n";
    assert_eq!(bring_in(&db, partner, file).await.0, summary(2, 0, 0));
    assert_eq!(db.count("FROM deliveries").await, 0);
    assert_eq!(
        db.store.list_feed_heads(vec![partner]).await.unwrap(),
        [(partner, 0)]
    );
    db.receive(stk(partner, "ws_1", ResultClass::Success, db.now()))
        .await;
    assert_eq!(
        db.count("FROM deliveries").await,
        1,
        "what happens now is news"
    );
    let page = db.list(partner, everything()).await;
    let open = page
        .transactions
        .iter()
        .find(|row| row.client_request_id.as_deref() == Some("open"));
    let (row, timeline) = db.find(open.unwrap()).await;
    assert_eq!(row.status, Status::Success);
    let kinds: Vec<TimelineKind> = timeline.iter().map(|line| line.kind).collect();
    assert_eq!(kinds, [TimelineKind::Imported, TimelineKind::StatusChanged]);
    assert_eq!(timeline[0].to, Some(Status::Accepted));
    assert_eq!(timeline[0].source, "import");
    db.recount().await;
    // The history was written before it was paid, and says nothing against it.
    assert_eq!(
        bring_in(&db, partner, file).await,
        (summary(0, 2, 0), vec![])
    );
}

async fn lines_that_are_wrong_are_named_and_hold_up_no_other(db: TestStore) {
    let partner = db.partner().await;
    let head = "client_request_id,conversation_id,transaction_receipt,msisdn,amount,status,created_at,reversed_at\n";
    let lines = [
        "a,c-a,,0712345678,10,success,2025-01-01T00:00:00Z,",
        "b,,,12,10,success,2025-01-01T00:00:00Z,",
        "c,,,,10.005,success,2025-01-01T00:00:00Z,",
        "d,,,,10,paid,2025-01-01T00:00:00Z,",
        "e,,,,10,success,yesterday,",
        "f,,,,10,success,2027-01-01T00:00:00Z,",
        ",,,,10,success,2025-01-01T00:00:00Z,",
        "g,,,,,success,2025-01-01T00:00:00Z,",
        "h,,R-h,,10,queued,2025-01-01T00:00:00Z,",
        "i,,,,10,success,2025-01-01T00:00:00Z,2025-01-02T00:00:00Z",
        "j,,10,success",
        "a,,,,11,success,2025-01-01T00:00:00Z,",
        "k,c-a,,,10,success,2025-01-01T00:00:00Z,",
        "l,,,,10,failed,2025-01-01T00:00:00Z,2025-01-02T00:00:00Z",
    ];
    let file = format!("{head}{}\n", lines.join("\n"));
    let (done, problems) = bring_in(&db, partner, &file).await;
    assert_eq!(done, summary(2, 0, 12));
    let told: Vec<(u64, &str)> = problems
        .iter()
        .map(|problem| (problem.line, problem.field.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (3, "msisdn"),
            (4, "amount"),
            (5, "status"),
            (6, "created_at"),
            (7, "created_at"),
            (8, "line"),
            (9, "amount"),
            (10, "transaction_receipt"),
            (11, "reversed_at"),
            (12, "line"),
            (13, "amount"),
            (14, "client_request_id"),
        ]
    );
    assert_eq!(problems[2].sent.as_deref(), Some("paid"));
    assert!(
        problems[2]
            .accepted
            .contains("queued, accepted, success, failed")
    );
    db.recount().await;
}

async fn a_dry_run_says_the_same_and_writes_nothing(db: TestStore) {
    let partner = imported(&db, 10).await;
    let mut file = history(15);
    file.push_str(
        "H-3,,,,KES,1.00,success,2025-02-01T00:03:00Z\nN,,,,,x,success,2025-02-01T00:03:00Z\n",
    );
    let before = db.count("FROM transactions").await;
    let dry = bring_in_or_not(&db, partner, &file, true).await;
    assert_eq!(db.count("FROM transactions").await, before);
    assert_eq!(dry.0, summary(5, 10, 2));
    assert_eq!(bring_in(&db, partner, &file).await, dry);
}

async fn a_sheet_that_was_cut_is_noticed(db: TestStore) {
    let partner = imported(&db, 10).await;
    for format in [Format::Csv, Format::Ndjson] {
        let whole = statement(&db, partner, Filter::default(), format).await;
        let without_one: String = whole
            .split_inclusive('\n')
            .enumerate()
            .filter(|(at, _)| *at != 3)
            .map(|(_, line)| line)
            .collect();
        let (done, problems) = bring_in(&db, partner, &without_one).await;
        assert_eq!(done, summary(0, 9, 1));
        assert_eq!(
            (problems[0].field.as_str(), problems[0].sent.as_deref()),
            ("count", Some("10"))
        );
    }
}
