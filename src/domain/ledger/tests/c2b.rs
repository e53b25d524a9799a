//! Payments that customers start at the till or the pay bill.

use super::*;

#[test]
fn a_c2b_confirmation_makes_its_transaction_once() {
    let mut book = Book::new();
    for state in [CallbackState::Applied, CallbackState::Duplicate] {
        let told = book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "600966"));
        assert_eq!(book.receive(told), state);
    }
    let row = book.only().clone();
    assert_eq!((row.kind, row.status), (Kind::C2b, Status::Success));
    assert_eq!(row.receipt.as_deref(), Some("TX1"));
    assert_eq!((row.amount, row.paid), (Amount(1_000), Some(Amount(1_000))));
    assert_eq!(row.msisdn, None);
    assert_eq!(row.payer_key.as_deref(), Some("2547 ***** 126"));
    assert_eq!(row.account_reference.as_deref(), Some("INV-7"));
    assert_eq!(row.origin, PROVIDER_ORIGIN);
    assert_eq!(
        book.events(row.id),
        ["transaction.registered", "transaction.success"]
    );

    let mut book = Book::new();
    let twice =
        [0, 1].map(|_| callback(book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "600966"))));
    book.run(twice);
    assert_eq!(book.only().status, Status::Success);
}

#[test]
fn a_c2b_confirmation_to_another_shortcode_makes_nothing() {
    let mut book = Book::new();
    let told = book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "123456"));
    assert_eq!(book.receive(told), CallbackState::Unmatched);
    assert!(book.transactions.is_empty() && book.lines.is_empty());
}

#[test]
fn a_c2b_confirmation_of_a_known_receipt_is_a_duplicate_of_the_prompt() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let mut paid = success("a");
    paid.receipt = Some("TX1".to_owned());
    book.tell(paid);
    let told = book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "600966"));
    assert_eq!(book.receive(told), CallbackState::Duplicate);
    assert_eq!(book.only().id, id);
}

#[test]
fn a_prompt_whose_receipt_came_first_as_c2b_stays_a_row_of_its_own_and_both_say_so() {
    let mut book = Book::new();
    let prompt = book.accepted("a");
    let told = book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "600966"));
    book.receive(told);
    let mut paid = success("a");
    paid.receipt = Some("TX1".to_owned());
    assert_eq!(book.tell(paid), CallbackState::Applied);
    assert_eq!(book.transactions.len(), 2);
    for id in book.transactions.keys().map(|(_, id)| *id) {
        assert_eq!(book.timeline(id).last(), Some(&TimelineKind::Conflict));
    }
    assert_eq!(book.get(prompt).status, Status::Success);
}
