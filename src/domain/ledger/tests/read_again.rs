//! Callbacks that could not be understood when they came, read again.

use super::*;

fn again(arrival: Arrival) -> Command {
    Command::ReadAgain(Box::new(arrival))
}

#[test]
fn what_is_understood_now_moves_its_transaction_once() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let read = book.arrival(CallbackKind::Stk, success("a"));
    let outcomes = book.run([again(read.clone()), again(read.clone())]);
    assert_eq!(
        outcomes,
        [
            Outcome::Recorded(CallbackState::Applied),
            Outcome::Recorded(CallbackState::Duplicate),
        ]
    );
    assert_eq!(book.get(id).status, Status::Success);
    assert_eq!(book.callbacks[&read.id], CallbackState::Applied);
    assert_eq!(
        book.events(id),
        ["transaction.registered", "transaction.success"]
    );
    // Even without the store's guard nothing would move again.
    assert_eq!(
        book.one(again(read)),
        Outcome::Recorded(CallbackState::Duplicate)
    );
    assert_eq!(book.events(id).len(), 2);
}

#[test]
fn what_is_still_not_understood_changes_nothing() {
    let mut book = Book::new();
    let news = News::Unreadable("not JSON".to_owned());
    let kept = arrival(book.partner, CallbackKind::Stk, news, book.now);
    assert_eq!(
        book.one(again(kept)),
        Outcome::Recorded(CallbackState::Unreadable)
    );
    assert!(book.callbacks.is_empty() && book.lines.is_empty());
}

#[test]
fn what_is_understood_before_its_payment_is_registered_waits_for_it() {
    let mut book = Book::new();
    let read = book.arrival(CallbackKind::Stk, success("a"));
    // The registration comes in the same batch, or later.
    let registration = with_conversation(payment(book.partner, "a"), "a");
    book.run([again(read.clone()), register(registration)]);
    assert_eq!(book.only().status, Status::Success);
    assert_eq!(book.callbacks[&read.id], CallbackState::Applied);

    let late = book.arrival(CallbackKind::Stk, success("b"));
    book.one(again(late.clone()));
    assert_eq!(book.callbacks[&late.id], CallbackState::Waiting);
    let id = book.accepted("b");
    assert_eq!(book.get(id).status, Status::Success);
    assert_eq!(book.callbacks[&late.id], CallbackState::Applied);
}
