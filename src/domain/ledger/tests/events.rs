//! What is told of a change, to whom, in which order.

use super::*;

#[test]
fn events_are_numbered_without_a_gap_for_each_partner() {
    let mut book = Book::new();
    let stranger = PartnerId::new(book.now);
    book.run([
        register(payment(book.partner, "a")),
        register(payment(stranger, "a")),
        register(payment(book.partner, "a")),
        register(with_conversation(payment(book.partner, "b"), "b")),
        callback(book.arrival(CallbackKind::Stk, success("b"))),
    ]);
    book.tell(failure("b", ResultClass::Failed, "1"));
    book.accepted("c");
    for partner in [book.partner, stranger] {
        let sequences: Vec<i64> = book
            .lines
            .iter()
            .filter_map(|line| line.event.as_ref())
            .filter(|event| event.partner_id == partner)
            .map(|event| event.sequence)
            .collect();
        let last = book.last_sequences[&partner];
        assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
    }
    assert_eq!(book.last_sequences[&stranger], 1);
}

#[test]
fn each_endpoint_gets_one_delivery_for_each_event_it_wants() {
    let mut book = Book::new();
    let stranger = PartnerId::new(book.now);
    let now = book.now;
    let endpoint = |partner_id, events: &[&str]| EndpointFacts {
        id: crate::domain::identity::EndpointId::new(now),
        partner_id,
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        transaction_id: None,
    };
    book.endpoints = vec![
        endpoint(book.partner, &[]),
        endpoint(book.partner, &["transaction.success", "transaction.failed"]),
        endpoint(stranger, &[]),
    ];
    book.accepted("a");
    book.tell(success("a"));
    book.tell(success("a"));
    let told = |index: usize| -> Vec<i64> {
        book.deliveries
            .iter()
            .filter(|delivery| delivery.endpoint_id == book.endpoints[index].id)
            .map(|delivery| delivery.sequence)
            .collect()
    };
    assert_eq!(told(0), [1, 2]);
    assert_eq!(told(1), [2]);
    assert!(told(2).is_empty());
}

#[test]
fn an_event_is_frozen_at_the_moment_of_the_change() {
    let mut book = Book::new();
    let id = book.accepted("a");
    book.tell(success("a"));
    book.tell(returned("a"));
    let events: Vec<&StatusEvent> = book
        .lines
        .iter()
        .filter_map(|line| line.event.as_ref())
        .collect();
    assert_eq!(events[0].receipt, None);
    assert_eq!(events[1].receipt.as_deref(), Some("Ra"));
    assert_eq!(
        (events[1].status, events[1].reversed_at),
        (Status::Success, None)
    );
    assert_eq!(events[2].reversed_at, book.get(id).reversed_at);
    assert!(events.iter().all(|event| event.amount == Amount(120_000)));
}
