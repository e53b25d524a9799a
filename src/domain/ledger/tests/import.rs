//! Histories: brought in once, told to nobody.

use super::*;

fn past(book: &Book, name: &str, status: Status) -> History {
    let created_at = book.now - Duration::days(40);
    let is_paid = status == Status::Success;
    History {
        transaction: Transaction {
            partner_id: book.partner,
            id: TransactionId::of_age(created_at),
            account_id: None,
            provider: Provider::Mpesa,
            kind: Kind::StkPush,
            origin: "import".to_owned(),
            client_request_id: Some(name.to_owned()),
            ids: ProviderIds {
                conversation_id: Some(format!("ws_{name}")),
                ..ProviderIds::default()
            },
            registered_ids: Default::default(),
            merchant_request_id: None,
            msisdn: None,
            payer_key: None,
            currency: Currency::kes(),
            amount: Amount(120_000),
            paid: None,
            account_reference: None,
            tenant_id: None,
            customer_id: None,
            original_id: None,
            status,
            unconfirmed: false,
            result_code: is_paid.then(|| "0".to_owned()),
            result_description: None,
            provider_status: None,
            receipt: is_paid.then(|| format!("R{name}")),
            reversed_at: None,
            created_at,
            updated_at: created_at + Duration::seconds(20),
        },
        is_id_given: false,
    }
}

fn import(history: &History) -> Command {
    Command::Import(Box::new(history.clone()))
}

fn outcome(outcome: Outcome) -> (Transaction, bool) {
    match outcome {
        Outcome::Registered {
            transaction,
            created,
        } => (*transaction, created),
        other => panic!("not imported: {other:?}"),
    }
}

fn endpoint(book: &Book) -> EndpointFacts {
    EndpointFacts {
        id: crate::domain::identity::EndpointId::new(book.now),
        partner_id: book.partner,
        events: Vec::new(),
        transaction_id: None,
    }
}

#[test]
fn a_history_is_kept_as_it_was_and_told_to_nobody() {
    let mut book = Book::new();
    book.endpoints.push(endpoint(&book));
    let history = past(&book, "a", Status::Success);
    let (imported, created) = outcome(book.one(import(&history)));
    assert!(created);
    assert_eq!(imported.created_at, history.transaction.created_at);
    assert_eq!(imported.updated_at, history.transaction.updated_at);
    assert_eq!(imported.receipt.as_deref(), Some("Ra"));
    let kinds: Vec<TimelineKind> = book.lines.iter().map(|line| line.entry.kind).collect();
    assert_eq!(kinds, [TimelineKind::Imported]);
    assert!(book.lines[0].event.is_none());
    assert!(book.deliveries.is_empty() && book.last_sequences.is_empty());
    assert_eq!(
        book.ask_at[&imported.id], None,
        "a final one is not asked about"
    );
}

#[test]
fn a_second_time_it_changes_nothing_under_whichever_id() {
    let mut book = Book::new();
    let history = past(&book, "a", Status::Success);
    let (first, _) = outcome(book.one(import(&history)));
    let lines = book.lines.len();
    let mut by_receipt = history.clone();
    by_receipt.transaction.client_request_id = None;
    by_receipt.transaction.ids = ProviderIds::default();
    let mut by_conversation = history.clone();
    by_conversation.transaction.client_request_id = None;
    let mut by_own_id = history.clone();
    by_own_id.transaction.id = first.id;
    by_own_id.is_id_given = true;
    for again in [history, by_receipt, by_conversation, by_own_id] {
        assert_eq!(outcome(book.one(import(&again))), (first.clone(), false));
    }
    assert_eq!(book.lines.len(), lines);
    assert_eq!(book.transactions.len(), 1);
}

#[test]
fn the_same_batch_brings_it_in_once() {
    let mut book = Book::new();
    let history = past(&book, "a", Status::Failed);
    let created: Vec<bool> = book
        .run([import(&history), import(&history)])
        .into_iter()
        .map(|one| outcome(one).1)
        .collect();
    assert_eq!(created, [true, false]);
}

#[test]
fn what_stands_is_never_overwritten() {
    let mut book = Book::new();
    let history = past(&book, "a", Status::Success);
    let (first, _) = outcome(book.one(import(&history)));
    type Change = fn(&mut Transaction);
    let changes: [(&str, Change); 5] = [
        ("amount", |row| row.amount = Amount(1)),
        ("created_at", |row| row.created_at += Duration::seconds(1)),
        ("status", |row| row.status = Status::Failed),
        ("transaction_receipt", |row| {
            row.receipt = Some("other".to_owned())
        }),
        ("customer_id", |row| {
            row.customer_id = Some("new".to_owned())
        }),
    ];
    for (field, change) in changes {
        let mut other = history.clone();
        change(&mut other.transaction);
        assert_eq!(
            book.one(import(&other)),
            Outcome::Refused(Refusal::Reused {
                field,
                transaction_id: first.id
            })
        );
    }
    assert_eq!(book.transactions.values().collect::<Vec<_>>(), [&first]);
}

#[test]
fn ids_that_name_two_transactions_bring_in_none() {
    let mut book = Book::new();
    let (a, b) = (
        past(&book, "a", Status::Success),
        past(&book, "b", Status::Success),
    );
    book.run([import(&a), import(&b)]);
    let mut mixed = a.clone();
    mixed.transaction.ids = b.transaction.ids.clone();
    assert!(matches!(
        book.one(import(&mixed)),
        Outcome::Refused(Refusal::Held {
            field: IdField::Conversation,
            ..
        })
    ));
    assert_eq!(book.transactions.len(), 2);
}

#[test]
fn an_open_one_goes_on_and_a_later_import_leaves_it_alone() {
    let mut book = Book::new();
    book.endpoints.push(endpoint(&book));
    let history = past(&book, "a", Status::Accepted);
    let (imported, _) = outcome(book.one(import(&history)));
    assert!(book.ask_at[&imported.id].is_some(), "its provider is asked");
    assert_eq!(book.tell(success("ws_a")), CallbackState::Applied);
    assert_eq!(book.deliveries.len(), 1, "what happens now is news");
    let (again, created) = outcome(book.one(import(&history)));
    assert_eq!((again.status, created), (Status::Success, false));
}

#[test]
fn a_callback_that_waited_is_applied() {
    let mut book = Book::new();
    assert_eq!(book.tell(success("ws_a")), CallbackState::Waiting);
    let history = past(&book, "a", Status::Accepted);
    let (imported, _) = outcome(book.one(import(&history)));
    assert_eq!(imported.status, Status::Success);
    assert!(book.waiting.is_empty());
}
