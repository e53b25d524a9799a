//! A partner's feed: every event once, in commit order, whoever writes and whoever reads; and who is woken by what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant as Deadline;
use tokio_util::sync::CancellationToken;
use ussd_status::domain::delivery::{Attempt, AttemptVerdict};
use ussd_status::domain::identity::PartnerId;
use ussd_status::domain::ledger::{Command, Outcome};
use ussd_status::domain::status_update::ResultClass;
use ussd_status::domain::watch::WatchKey;
use ussd_status::feed::{Feed, Look, Watch};
use ussd_status::store::{Capacity, Retention, Store, StoreError};

use crate::support::TestStore;
use crate::support::build::{event_of, registration, registration_with, stk};

on_both_databases!(
    every_reader_sees_every_event_once_and_in_order,
    an_event_of_the_feed_is_the_event_of_the_delivery,
    a_partner_reads_its_own_feed_only,
    what_retention_removed_is_told,
    a_gap_in_the_middle_is_told_too,
    a_commit_wakes_whom_it_concerns_and_nobody_else,
    ten_thousand_wait_without_a_connection,
    whoever_waits_is_let_go,
);

/// A hanging test is a failing test.
const PATIENCE: Duration = Duration::from_secs(60);

const WRITERS: usize = 8;
const PAYMENTS_OF_A_WRITER: usize = 12;
const READERS: usize = 2;

/// A place to wait at, over a store; it works until the token is dropped.
fn open(store: &Arc<dyn Store>) -> (Feed, tokio_util::sync::DropGuard) {
    let (feed, waker) = Feed::open(Arc::clone(store));
    let cancel = CancellationToken::new();
    tokio::spawn(waker.run(cancel.clone()));
    (feed, cancel.drop_guard())
}

/// Transactions pause by chance after they have taken their numbers, and again at their commit.
async fn pause_inside_transactions(db: &TestStore) {
    if db.is_sqlite() {
        // Its one writer has nobody to be overtaken by.
        return;
    }
    db.execute(
        "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NULL; END $$; \
         CREATE TRIGGER pause_inside AFTER INSERT ON transaction_events FOR EACH STATEMENT EXECUTE FUNCTION pause(); \
         CREATE CONSTRAINT TRIGGER pause_at_commit AFTER INSERT ON transactions DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION pause()",
    )
    .await;
}

async fn write(store: Arc<dyn Store>, db: &TestStore, partners: [PartnerId; 2], writer: usize) {
    for payment in 0..PAYMENTS_OF_A_WRITER {
        for partner in partners {
            let name = format!("{writer}-{payment}");
            let registered = registration_with(partner, &name, &name);
            let outcome = store
                .record(Command::Register(Box::new(registered)))
                .await
                .unwrap();
            assert!(matches!(outcome, Outcome::Registered { created: true, .. }));
            let paid = stk(partner, &name, ResultClass::Success, db.now());
            store
                .record(Command::Callback(Box::new(paid)))
                .await
                .unwrap();
        }
    }
}

/// Reads until `total` events are there, a few at a time; fails at the first that is not the next.
async fn read(feed: &Feed, store: &Arc<dyn Store>, partner: PartnerId, total: i64) -> Vec<String> {
    let mut after = 0;
    let mut seen = Vec::new();
    while after < total {
        let look = async || {
            let page = store.list_events(partner, after, 7).await?;
            Ok::<_, StoreError>(if page.events.is_empty() {
                Look::NotYet(page, vec![WatchKey::partner(partner)])
            } else {
                Look::Enough(page)
            })
        };
        let page = feed.look_until(partner, PATIENCE, look).await.unwrap();
        assert_eq!(page.oldest, None);
        assert!(!page.events.is_empty(), "nothing more after {after}");
        for event in page.events {
            assert_eq!(event.sequence, after + 1);
            after = event.sequence;
            seen.push(event.id.to_string());
        }
    }
    seen
}

async fn every_reader_sees_every_event_once_and_in_order(db: TestStore) {
    pause_inside_transactions(&db).await;
    let partners = [db.partner().await, db.partner().await];
    let mut stores = vec![db.store.clone()];
    if !db.is_sqlite() {
        stores.push(db.another_store().await);
    }
    let feeds: Vec<_> = stores.iter().map(open).collect();
    let each = WRITERS * PAYMENTS_OF_A_WRITER * 2;
    let total = i64::try_from(each).unwrap();
    let store_of = |number: usize| stores[number % stores.len()].clone();
    let writing =
        join_all((0..WRITERS).map(|writer| write(store_of(writer), &db, partners, writer)));
    let reading = join_all((0..READERS).flat_map(|reader| {
        let place = reader % stores.len();
        let (feed, store) = (&feeds[place].0, &stores[place]);
        partners.map(|partner| read(feed, store, partner, total))
    }));
    let (_, seen) = tokio::time::timeout(PATIENCE, async { tokio::join!(writing, reading) })
        .await
        .unwrap();
    for events in &seen {
        let different: std::collections::HashSet<_> = events.iter().collect();
        assert_eq!(different.len(), each);
    }
    assert_eq!(seen[0], seen[2], "both readers saw the same");
    assert_eq!(seen[1], seen[3]);
    for partner in partners {
        let page = db.store.list_events(partner, total, 100).await.unwrap();
        assert_eq!(page.events, [], "and no more");
    }
}

async fn an_event_of_the_feed_is_the_event_of_the_delivery(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &[]).await;
    db.register(registration_with(partner, "a", "c")).await;
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    let mut delivered = Vec::new();
    while delivered.len() < 2 {
        let capacity = vec![Capacity {
            endpoint_id: endpoint,
            partner_id: partner,
            free: 1,
        }];
        let claimed = db.store.claim_deliveries(capacity, db.now()).await.unwrap();
        let attempts = claimed.iter().map(|one| Attempt {
            delivery_id: one.id,
            endpoint_id: endpoint,
            partner_id: partner,
            number: 1,
            at: db.now(),
            duration_ms: 1,
            status: Some(200),
            error: None,
            response: None,
            failing_since: None,
            verdict: AttemptVerdict::Delivered,
        });
        db.store.record_attempts(attempts.collect()).await.unwrap();
        delivered.extend(claimed.into_iter().map(|one| event_of(&one).clone()));
    }
    let page = db.store.list_events(partner, 0, 100).await.unwrap();
    assert_eq!(page.events, delivered);
}

async fn a_partner_reads_its_own_feed_only(db: TestStore) {
    let (one, other) = (db.partner().await, db.partner().await);
    for name in ["a", "b", "c"] {
        db.register(registration(one, name)).await;
    }
    db.register(registration(other, "a")).await;
    let page = db.store.list_events(other, 0, 100).await.unwrap();
    assert_eq!(page.events.len(), 1);
    assert_eq!(page.events[0].partner_id, other);
    let second = db.store.list_events(one, 1, 1).await.unwrap();
    assert_eq!(second.events[0].sequence, 2);
    let nobody = PartnerId::new(db.now());
    let page = db.store.list_events(nobody, 0, 100).await.unwrap();
    assert_eq!((page.events.len(), page.oldest), (0, None));
    let mut heads = db
        .store
        .list_feed_heads(vec![one, other, nobody])
        .await
        .unwrap();
    heads.sort_by_key(|(_, head)| -head);
    assert_eq!(heads, [(one, 3), (other, 1)]);
}

fn remove_events(before: ussd_status::domain::clock::Instant) -> Retention {
    let long_ago = before - chrono::Duration::days(9_000);
    Retention {
        callbacks_before: long_ago,
        deliveries_before: long_ago,
        events_before: before,
        hours_before: long_ago,
        minutes_before: long_ago,
    }
}

async fn what_retention_removed_is_told(db: TestStore) {
    let partner = db.partner().await;
    for name in ["a", "b", "c"] {
        db.register(registration(partner, name)).await;
    }
    db.advance(chrono::Duration::days(1));
    let removed = remove_events(db.now());
    db.register(registration(partner, "d")).await;
    assert_eq!(db.store.remove_expired(removed).await.unwrap(), 3);
    for (after, oldest) in [(0, Some(4)), (2, Some(4)), (3, None)] {
        let page = db.store.list_events(partner, after, 10).await.unwrap();
        assert_eq!(page.oldest, oldest, "after {after}");
        assert_eq!(page.events[0].sequence, 4);
    }
    db.advance(chrono::Duration::days(1));
    db.store
        .remove_expired(remove_events(db.now()))
        .await
        .unwrap();
    let page = db.store.list_events(partner, 3, 10).await.unwrap();
    assert_eq!((page.events.len(), page.oldest), (0, Some(5)));
    let page = db.store.list_events(partner, 4, 10).await.unwrap();
    assert_eq!((page.events.len(), page.oldest), (0, None));
}

async fn a_gap_in_the_middle_is_told_too(db: TestStore) {
    let partner = db.partner().await;
    let endpoint = db.endpoint(partner, &["transaction.success"]).await;
    db.register(registration_with(partner, "a", "c")).await;
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    for name in ["x", "y"] {
        db.register(registration(partner, name)).await;
    }
    assert_eq!(
        db.store
            .list_due_endpoints(db.now())
            .await
            .unwrap()
            .iter()
            .map(|due| (due.partner_id, due.endpoint_id))
            .collect::<Vec<_>>(),
        [(partner, endpoint)]
    );
    db.advance(chrono::Duration::days(1));
    let removed = remove_events(db.now());
    db.register(registration(partner, "z")).await;
    // The second is still owed to the endpoint: it stays, between one that is gone and two that are.
    db.store.remove_expired(removed).await.unwrap();
    let mut after = 0;
    let mut told = Vec::new();
    for _ in 0..3 {
        let page = db.store.list_events(partner, after, 10).await.unwrap();
        let sequences: Vec<i64> = page.events.iter().map(|event| event.sequence).collect();
        after = *sequences.last().unwrap_or(&after);
        told.push((sequences, page.oldest));
    }
    assert_eq!(
        told,
        [(vec![2], Some(2)), (vec![5], Some(5)), (vec![], None)]
    );
}

fn soon() -> Deadline {
    Deadline::now() + PATIENCE
}

/// Whether something moved that has not been asked for yet.
async fn has_moved(watch: &Watch) -> bool {
    watch.moved(Deadline::now()).await
}

async fn a_commit_wakes_whom_it_concerns_and_nobody_else(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    let row = db.register(registration_with(partner, "a", "c")).await;
    let stranger = db.register(registration_with(partner, "b", "d")).await;
    // On PostgreSQL the one who wakes is another process than the one who writes.
    let store = if db.is_sqlite() {
        db.store.clone()
    } else {
        db.another_store().await
    };
    let (feed, _guard) = open(&store);
    let keys = [
        WatchKey::partner(partner),
        WatchKey::transaction(partner, row.id),
        WatchKey::conversation(partner, "c"),
        WatchKey::client_request(partner, "a"),
        WatchKey::msisdn(partner, row.msisdn.as_ref().unwrap()),
    ];
    let concerned: Vec<Watch> = keys
        .into_iter()
        .map(|key| feed.watch(partner, vec![key]))
        .collect();
    let mut others = vec![
        feed.watch(partner, vec![WatchKey::transaction(partner, stranger.id)]),
        feed.watch(partner, vec![WatchKey::conversation(partner, "d")]),
    ];
    let elsewhere = feed.watch(other, vec![WatchKey::partner(other)]);
    if !db.is_sqlite() {
        // Until the database has been asked nobody knows what is new, and everybody looks once.
        for watch in concerned.iter().chain(&others).chain([&elsewhere]) {
            assert!(watch.moved(soon()).await);
        }
    }
    db.receive(stk(partner, "c", ResultClass::Success, db.now()))
        .await;
    for (number, watch) in concerned.iter().enumerate() {
        assert!(watch.moved(soon()).await, "{number}");
        assert!(!has_moved(watch).await, "{number}: once");
    }
    for watch in others.iter().chain([&elsewhere]) {
        assert!(!has_moved(watch).await);
    }
    // Whoever asks for more has one look for what it did not watch; then the next event.
    others[0].wait_for(vec![WatchKey::partner(partner)]);
    assert!(has_moved(&others[0]).await);
    db.register(registration(partner, "e")).await;
    assert!(others[0].moved(soon()).await);
    assert!(!has_moved(&others[1]).await);
    assert_eq!(feed.waiting(), 8);
    drop((concerned, others, elsewhere));
    assert_eq!(feed.waiting(), 0);
}

async fn ten_thousand_wait_without_a_connection(db: TestStore) {
    let partner = db.partner().await;
    let row = db.register(registration_with(partner, "a", "c")).await;
    let (feed, _guard) = open(&db.store);
    let looks = AtomicUsize::new(0);
    // Each waits for a payment of its own, one of them for the one that moves.
    let waiters = (0..10_000).map(|number| {
        let (feed, looks, store) = (&feed, &looks, &db.store);
        async move {
            let key = if number == 0 {
                WatchKey::transaction(partner, row.id)
            } else {
                WatchKey::client_request(partner, &format!("nobody's {number}"))
            };
            let look = async || {
                looks.fetch_add(1, Ordering::Relaxed);
                let moved = number == 0 && store.list_feed_heads(vec![partner]).await?[0].1 > 1;
                Ok::<_, StoreError>(if moved {
                    Look::Enough(true)
                } else {
                    Look::NotYet(false, vec![key])
                })
            };
            let found = feed.look_until(partner, PATIENCE, look).await.unwrap();
            if number == 0 {
                // All the others may go.
                feed.release();
            }
            found
        }
    });
    let moving = async {
        while feed.waiting() < 10_000 {
            tokio::task::yield_now().await;
        }
        // No connection is held: a page is read while they wait, and the payment moves.
        db.store.list_events(partner, 0, 10).await.unwrap();
        let paid = stk(partner, "c", ResultClass::Success, db.now());
        db.receive(paid).await;
    };
    let all = async { tokio::join!(join_all(waiters), moving) };
    let (found, ()) = tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert_eq!(found.iter().filter(|found| **found).count(), 1);
    assert!(found[0]);
    let looks = looks.load(Ordering::Relaxed);
    // One at first and one at the end; and, where others may write, one because nobody knew what they wrote.
    assert!((20_000..=30_002).contains(&looks), "{looks} looks");
    if db.is_sqlite() {
        assert!(looks <= 20_002, "{looks} looks: the commit woke strangers");
    }
}

async fn whoever_waits_is_let_go(db: TestStore) {
    let partner = db.partner().await;
    let (feed, guard) = open(&db.store);
    let look = async || Ok::<_, StoreError>(Look::NotYet(7, vec![WatchKey::partner(partner)]));
    let waiting = feed.look_until(partner, PATIENCE * 2, look);
    let stopping = async {
        while feed.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        drop(guard);
    };
    let both = async { tokio::join!(waiting, stopping) };
    let (found, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(found.unwrap(), 7, "its ordinary answer");
    // Nobody waits from now on.
    let again = feed.look_until(partner, PATIENCE * 2, look);
    let again = tokio::time::timeout(PATIENCE, again).await.unwrap();
    assert_eq!(again.unwrap(), 7);
}
