//! Pages, totals and bulk lookups, held against a plain scan.

use std::sync::Arc;

use chrono::Duration;
use futures_util::future::join_all;
use ussd_status::domain::clock::Instant;
use ussd_status::domain::identity::{PartnerId, TransactionId};
use ussd_status::domain::ledger::{Command, Registration};
use ussd_status::domain::search::{BulkLookup, Filter, Position, Search};
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::ResultClass;
use ussd_status::domain::transaction::{ProviderIds, Transaction};
use ussd_status::store::Listing;

use crate::support::TestStore;
use crate::support::build::{
    conversation, everything, msisdn, registration, registration_with, search, stk,
};

on_both_databases!(
    every_filter_finds_what_a_scan_finds,
    offsets_and_cursors_cover_every_row_once,
    a_deep_offset_is_the_plain_offset,
    a_bulk_lookup_finds_each_row_once,
    no_id_reaches_another_partners_rows,
    a_nul_in_a_filter_finds_nothing,
    nothing_registered_is_an_empty_page,
);

const CLASSES: [Option<ResultClass>; 5] = [
    None,
    Some(ResultClass::Success),
    Some(ResultClass::Failed),
    Some(ResultClass::Unconfirmed),
    Some(ResultClass::Pending),
];

/// `days` × `per_day` transactions in every status, many created at the same instant.
async fn fill(db: &TestStore, partner: PartnerId, days: u32, per_day: u32) -> Vec<Transaction> {
    for day in 0..days {
        for half in 0..2 {
            let names: Vec<String> = (0..per_day / 2)
                .map(|number| format!("{day}.{half}.{number}"))
                .collect();
            let registrations = names.iter().enumerate().map(|(number, name)| {
                let base = match number % 3 {
                    0 => registration(partner, name),
                    _ => registration_with(partner, name, name),
                };
                let registration = Registration {
                    msisdn: Some(msisdn(u32::try_from(number % 7).unwrap())),
                    ..base
                };
                db.record(Command::Register(Box::new(registration)))
            });
            join_all(registrations).await;
            let callbacks = names.iter().enumerate().filter_map(|(number, name)| {
                let class = CLASSES[number % CLASSES.len()]?;
                let told = stk(partner, name, class, db.now());
                Some(db.record(Command::Callback(Box::new(told))))
            });
            join_all(callbacks).await;
            // Not a divisor of a day, so that days begin at every hour.
            db.advance(Duration::milliseconds(41_234_567));
        }
    }
    all(db, partner).await
}

/// Every row, newest first, by cursors of a hundred; each row once.
async fn all(db: &TestStore, partner: PartnerId) -> Vec<Transaction> {
    walk(db, partner, Filter::default(), 100).await
}

async fn walk(db: &TestStore, partner: PartnerId, filter: Filter, limit: i64) -> Vec<Transaction> {
    let mut rows: Vec<Transaction> = Vec::new();
    let mut position = Position::Offset(0);
    loop {
        let page = db
            .list(
                partner,
                Search {
                    limit,
                    position,
                    with_statistics: false,
                    ..search(filter.clone())
                },
            )
            .await;
        assert_eq!(page.statistics, None);
        assert_eq!(page.has_more, page.next.is_some());
        rows.extend(page.transactions);
        match page.next {
            Some(cursor) => position = Position::After(cursor),
            None => {
                assert_eq!(page.total, i64::try_from(rows.len()).unwrap());
                return rows;
            }
        }
    }
}

fn ids(rows: &[Transaction]) -> Vec<TransactionId> {
    rows.iter().map(|row| row.id).collect()
}

/// What a filter means, row by row.
fn matches(filter: &Filter, row: &Transaction) -> bool {
    let is = |wanted: &Option<String>, known: &[Option<&String>]| {
        wanted
            .as_ref()
            .is_none_or(|wanted| known.contains(&Some(wanted)))
    };
    is(
        &filter.conversation_id,
        &[
            row.ids.conversation_id.as_ref(),
            row.ids.originator_conversation_id.as_ref(),
            row.ids.order_reference.as_ref(),
        ],
    ) && is(&filter.client_request_id, &[row.client_request_id.as_ref()])
        && is(&filter.transaction_receipt, &[row.receipt.as_ref()])
        && (filter.msisdns.is_empty()
            || row
                .msisdn
                .as_ref()
                .is_some_and(|number| filter.msisdns.contains(number)))
        && filter.transaction_id.is_none_or(|id| row.id == id)
        && filter.status.is_none_or(|status| row.status == status)
        && filter.from.is_none_or(|from| row.created_at >= from)
        && filter.to.is_none_or(|to| row.created_at <= to)
}

fn check(page: &Listing, expected: &[&Transaction], filter: &Filter) {
    let shown: Vec<&Transaction> = expected.iter().copied().take(50).collect();
    assert_eq!(
        page.transactions.iter().collect::<Vec<_>>(),
        shown,
        "{filter:?}"
    );
    assert_eq!(
        page.total,
        i64::try_from(expected.len()).unwrap(),
        "{filter:?}"
    );
    assert_eq!(page.has_more, expected.len() > 50, "{filter:?}");
}

async fn every_filter_finds_what_a_scan_finds(db: TestStore) {
    let partner = db.partner().await;
    let rows = fill(&db, partner, 6, 60).await;
    assert_eq!(rows.len(), 360);
    let statuses = [None].into_iter().chain(Status::ALL.map(Some));
    let day = |day: i64| -> Instant { crate::support::start() + Duration::days(day) };
    let midnight: Instant = "2026-03-16T00:00:00Z".parse().unwrap();
    let spans = [
        (None, None),
        (Some(day(1)), None),
        (None, Some(day(2))),
        (Some(day(1)), Some(day(4))),
        (Some(day(1)), Some(day(1) + Duration::hours(7))),
        (Some(rows[100].created_at), Some(rows[40].created_at)),
        (Some(rows[100].created_at), Some(rows[100].created_at)),
        (Some(midnight), Some(midnight + Duration::days(1))),
        (
            Some(midnight),
            Some(midnight + Duration::days(1) - Duration::milliseconds(1)),
        ),
        (Some(midnight + Duration::days(1)), Some(midnight)),
        (
            Some("0000-01-01T00:00:00Z".parse().unwrap()),
            Some("9999-12-31T23:59:59Z".parse().unwrap()),
        ),
    ];
    let paid = rows.iter().find(|row| row.receipt.is_some()).unwrap();
    let mut ids = vec![Filter::default()];
    for row in [&rows[7], &rows[8], paid] {
        ids.push(Filter {
            transaction_id: Some(row.id),
            ..Filter::default()
        });
        ids.push(Filter {
            client_request_id: row.client_request_id.clone(),
            ..Filter::default()
        });
        ids.push(Filter {
            msisdns: row.msisdn.clone().into_iter().collect(),
            ..Filter::default()
        });
        ids.push(Filter {
            msisdns: vec![row.msisdn.clone().unwrap(), msisdn(6), msisdn(99)],
            ..Filter::default()
        });
        ids.push(Filter {
            conversation_id: row.ids.conversation_id.clone(),
            ..Filter::default()
        });
        ids.push(Filter {
            transaction_receipt: row.receipt.clone(),
            ..Filter::default()
        });
    }
    ids.push(Filter {
        conversation_id: paid.ids.conversation_id.clone(),
        transaction_receipt: paid.receipt.clone(),
        ..Filter::default()
    });
    ids.push(Filter {
        conversation_id: paid.receipt.clone(),
        ..Filter::default()
    });
    ids.push(Filter {
        transaction_receipt: paid.ids.conversation_id.clone(),
        ..Filter::default()
    });
    for status in statuses {
        for (from, to) in spans {
            for base in &ids {
                let filter = Filter {
                    status,
                    from,
                    to,
                    ..base.clone()
                };
                let expected: Vec<&Transaction> =
                    rows.iter().filter(|row| matches(&filter, row)).collect();
                let page = db.list(partner, search(filter.clone())).await;
                check(&page, &expected, &filter);
            }
        }
    }
}

async fn offsets_and_cursors_cover_every_row_once(db: TestStore) {
    let partner = db.partner().await;
    let rows = fill(&db, partner, 3, 80).await;
    let mut sorted = rows.clone();
    sorted.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.id)));
    assert_eq!(ids(&rows), ids(&sorted));
    assert!(
        rows.windows(2)
            .any(|pair| pair[0].created_at == pair[1].created_at)
    );
    for status in [None].into_iter().chain(Status::ALL.map(Some)) {
        let filter = Filter {
            status,
            ..Filter::default()
        };
        let expected: Vec<TransactionId> = rows
            .iter()
            .filter(|row| matches(&filter, row))
            .map(|row| row.id)
            .collect();
        for limit in [1, 7, 20] {
            if limit > 1 || status.is_some() {
                let walked = walk(&db, partner, filter.clone(), limit).await;
                assert_eq!(ids(&walked), expected);
            }
        }
        for offset in [0, 1, 19, 20, expected.len() - 1, expected.len(), 5_000] {
            let page = db
                .list(
                    partner,
                    Search {
                        limit: 20,
                        position: Position::Offset(i64::try_from(offset).unwrap()),
                        ..search(filter.clone())
                    },
                )
                .await;
            let rest: Vec<TransactionId> = expected.iter().copied().skip(offset).collect();
            assert_eq!(ids(&page.transactions), rest[..rest.len().min(20)]);
            assert_eq!(page.has_more, rest.len() > 20);
            assert_eq!(page.total, i64::try_from(expected.len()).unwrap());
            assert!(page.statistics.is_some(), "also beyond the end");
        }
    }
}

async fn a_deep_offset_is_the_plain_offset(db: TestStore) {
    let partner = db.partner().await;
    let rows = fill(&db, partner, 12, 400).await;
    for status in [
        None,
        Some(Status::Accepted),
        Some(Status::Success),
        Some(Status::Failed),
    ] {
        let filter = Filter {
            status,
            ..Filter::default()
        };
        let expected: Vec<TransactionId> = rows
            .iter()
            .filter(|row| matches(&filter, row))
            .map(|row| row.id)
            .collect();
        let end = expected.len();
        let offsets = (1_000..end)
            .step_by(173)
            .chain([end - 11, end - 10, end - 1, end, end + 7]);
        for offset in offsets.filter(|offset| *offset >= 1_000) {
            let page = db
                .list(
                    partner,
                    Search {
                        limit: 10,
                        position: Position::Offset(i64::try_from(offset).unwrap()),
                        with_statistics: false,
                        ..search(filter.clone())
                    },
                )
                .await;
            let rest = expected.get(offset..).unwrap_or_default();
            assert_eq!(
                ids(&page.transactions),
                rest[..rest.len().min(10)],
                "{status:?} from {offset}"
            );
            assert_eq!(page.has_more, rest.len() > 10);
        }
    }
}

async fn a_bulk_lookup_finds_each_row_once(db: TestStore) {
    let partner = db.partner().await;
    let queued = db.register(registration(partner, "a")).await;
    let both = db
        .register(Registration {
            ids: ProviderIds {
                conversation_id: Some("c".to_owned()),
                originator_conversation_id: Some("o".to_owned()),
                order_reference: Some("r".to_owned()),
            },
            ..registration(partner, "b")
        })
        .await;
    let paid = db.register(registration_with(partner, "c", "d")).await;
    db.receive(stk(partner, "d", ResultClass::Success, db.now()))
        .await;
    let (paid, _) = db.find(&paid).await;
    let find = async |lookup: BulkLookup| {
        let mut found = db
            .store
            .find_transactions(partner, lookup)
            .await
            .unwrap()
            .transactions;
        found.sort_by_key(|row| row.id);
        found
    };
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
    let lookup = BulkLookup {
        transaction_ids: vec![queued.id, both.id, queued.id, TransactionId::new(db.now())],
        conversation_ids: texts(&["c", "o", "r", "unknown", "d"]),
        client_request_ids: texts(&["b", "c", "a", "z"]),
        transaction_receipts: texts(&["Rd", "Rz"]),
    };
    assert_eq!(
        find(lookup).await,
        [queued.clone(), both.clone(), paid.clone()]
    );
    for one in ["c", "o", "r"] {
        let lookup = BulkLookup {
            conversation_ids: texts(&[one]),
            ..BulkLookup::default()
        };
        assert_eq!(find(lookup).await, std::slice::from_ref(&both));
    }
    let by_receipt = BulkLookup {
        conversation_ids: texts(&["Rd"]),
        ..BulkLookup::default()
    };
    assert!(find(by_receipt).await.is_empty(), "a receipt is no such id");
    let by_receipt = BulkLookup {
        transaction_receipts: texts(&["Rd", "d"]),
        ..BulkLookup::default()
    };
    assert_eq!(find(by_receipt).await, std::slice::from_ref(&paid));
    let by_client = BulkLookup {
        client_request_ids: texts(&["a"]),
        ..BulkLookup::default()
    };
    assert_eq!(find(by_client).await, [queued]);
    assert!(find(BulkLookup::default()).await.is_empty());
}

async fn no_id_reaches_another_partners_rows(db: TestStore) {
    let (owner, other) = (db.partner().await, db.partner().await);
    let ids = ProviderIds {
        conversation_id: Some("c".to_owned()),
        originator_conversation_id: Some("o".to_owned()),
        order_reference: Some("r".to_owned()),
    };
    let row = db
        .register(Registration {
            ids,
            ..registration(owner, "a")
        })
        .await;
    db.receive(stk(owner, "c", ResultClass::Success, db.now()))
        .await;
    let text = |text: &str| Some(text.to_owned());
    let filters = [
        Filter::default(),
        Filter {
            transaction_id: Some(row.id),
            ..Filter::default()
        },
        Filter {
            client_request_id: text("a"),
            ..Filter::default()
        },
        Filter {
            conversation_id: text("c"),
            ..Filter::default()
        },
        Filter {
            conversation_id: text("o"),
            ..Filter::default()
        },
        Filter {
            conversation_id: text("r"),
            ..Filter::default()
        },
        Filter {
            transaction_receipt: text("Rc"),
            ..Filter::default()
        },
        Filter {
            msisdns: vec![msisdn(12_345_678)],
            ..Filter::default()
        },
        Filter {
            status: Some(Status::Success),
            ..Filter::default()
        },
        Filter {
            from: Some(row.created_at),
            ..Filter::default()
        },
    ];
    for filter in filters {
        assert_eq!(
            db.list(owner, search(filter.clone())).await.total,
            1,
            "{filter:?}"
        );
        let page = db.list(other, search(filter.clone())).await;
        assert_eq!((page.total, page.transactions.len()), (0, 0), "{filter:?}");
        assert_eq!(page.statistics.unwrap().counts().total, 0);
    }
    let lookup = BulkLookup {
        transaction_ids: vec![row.id],
        conversation_ids: ["c", "o", "r", "Rc"].map(str::to_owned).to_vec(),
        client_request_ids: vec!["a".to_owned()],
        transaction_receipts: vec!["Rc".to_owned()],
    };
    let found = db.store.find_transactions(other, lookup).await.unwrap();
    assert!(found.transactions.is_empty());
    assert!(db.find_id(other, row.id).await.is_none());
}

async fn a_nul_in_a_filter_finds_nothing(db: TestStore) {
    let partner = db.partner().await;
    let store = Arc::clone(&db.store);
    db.register(registration_with(partner, "a", "c")).await;
    let nul = || Some("c\0".to_owned());
    let filters = [
        Filter {
            conversation_id: nul(),
            ..Filter::default()
        },
        Filter {
            client_request_id: nul(),
            ..Filter::default()
        },
        Filter {
            transaction_receipt: nul(),
            ..Filter::default()
        },
    ];
    for filter in filters {
        assert_eq!(db.list(partner, search(filter)).await.total, 0);
    }
    let lookup = BulkLookup {
        transaction_ids: Vec::new(),
        conversation_ids: vec!["c\0".to_owned()],
        client_request_ids: vec!["a\0".to_owned()],
        transaction_receipts: vec!["Rc\0".to_owned()],
    };
    let found = store.find_transactions(partner, lookup).await.unwrap();
    assert!(found.transactions.is_empty());
    assert_eq!(
        store.find_account_by_token("t\0".to_owned()).await.unwrap(),
        None
    );
    // A provider that sends one does not spoil its callback.
    let mut told = stk(partner, "c", ResultClass::Pending, db.now());
    told.source = Some("a\0b".to_owned());
    told.body = b"\0\xff".to_vec();
    db.receive(told).await;
    db.attach(
        &db.list(partner, everything()).await.transactions[0],
        conversation("c"),
    )
    .await;
}

async fn nothing_registered_is_an_empty_page(db: TestStore) {
    let partner = db.partner().await;
    let page = db.list(partner, everything()).await;
    assert!(page.transactions.is_empty() && !page.has_more && page.next.is_none());
    assert_eq!(page.total, 0);
    assert!(page.statistics.unwrap().by_currency.is_empty());
}
