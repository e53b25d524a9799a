//! Money that is taken back, and questions that are answered about payments of other ids.

use super::*;

/// A paid transaction "a" and a reversal "rev" of it.
fn reversal(book: &mut Book, linked: bool) -> (TransactionId, TransactionId) {
    let original = book.accepted("a");
    book.tell(success("a"));
    let reversal = book.register(Registration {
        kind: Kind::Reversal,
        original_id: linked.then_some(original),
        ..with_conversation(payment(book.partner, "rev"), "rev")
    });
    (original, reversal)
}

#[test]
fn a_reversal_takes_its_original_back_with_and_without_parameters() {
    for (linked, with_receipt) in [(true, false), (true, true), (false, true)] {
        let mut book = Book::new();
        let (original, reversal) = reversal(&mut book, linked);
        let mut update = success("rev");
        update.original_receipt = with_receipt.then(|| "Ra".to_owned());
        assert_eq!(book.tell(update.clone()), CallbackState::Applied);
        assert_eq!(book.get(reversal).status, Status::Success);
        assert_eq!(book.get(reversal).original_id, Some(original));
        let row = book.get(original).clone();
        assert_eq!(
            (row.status, row.reversed_at),
            (Status::Failed, Some(book.now))
        );
        assert_eq!(row.result_code, None, "0 would say that it stands");
        assert_eq!(
            book.events(original),
            [
                "transaction.registered",
                "transaction.success",
                "transaction.failed"
            ]
        );
        assert_eq!(book.tell(update), CallbackState::Duplicate);
        assert_eq!(*book.get(original), row);
    }
}

#[test]
fn a_reversal_of_a_receipt_that_two_rows_share_takes_the_prompt_back_and_tells_the_other() {
    // Hashing orders the rows anew in every book: one lucky pass would prove nothing.
    for _ in 0..16 {
        let mut book = Book::new();
        let confirmation = book.arrival(CallbackKind::C2bConfirmation, c2b("Ra", "600966"));
        assert_eq!(book.receive(confirmation), CallbackState::Applied);
        let twin = book.only().id;
        let prompt = book.accepted("a");
        assert_eq!(book.tell(success("a")), CallbackState::Applied);
        book.register(Registration {
            kind: Kind::Reversal,
            ..with_conversation(payment(book.partner, "r"), "AG_r")
        });
        let mut result = success("AG_r");
        result.original_receipt = Some("Ra".to_owned());
        assert_eq!(book.tell(result), CallbackState::Applied);
        assert_eq!(book.get(prompt).status, Status::Failed);
        assert_eq!(book.get(twin).status, Status::Success);
        let last = book.lines.iter().rfind(|line| line.transaction_id == twin);
        let note = last.unwrap().entry.note.clone().unwrap();
        assert!(note.contains("was reversed by"), "{note}");
    }
}

#[test]
fn a_status_query_answers_for_a_prompt_and_a_c2b_payment_though_its_ids_are_others() {
    let mut book = Book::new();
    let prompt = book.accepted("ws_CO_1");
    let answer = |by: Correlation, receipt: &str| StatusUpdate {
        api: Api::StatusQuery,
        receipt: Some(receipt.to_owned()),
        ..news(
            ResultClass::Success,
            Correlation {
                conversation_id: Some("AG_1".to_owned()),
                originator_conversation_id: Some("1234-5-1".to_owned()),
                receipt: Some(receipt.to_owned()),
                ..by
            },
        )
    };
    let by_path = Correlation {
        transaction_id: Some(prompt),
        ..Correlation::default()
    };
    assert_eq!(
        book.tell(answer(by_path, "RKT1")),
        CallbackState::Applied,
        "{:?}",
        book.lines
    );
    assert_eq!(book.get(prompt).status, Status::Success);
    assert_eq!(book.get(prompt).ids, conversation("ws_CO_1"));
    let confirmation = book.arrival(CallbackKind::C2bConfirmation, c2b("RKT2", "600966"));
    book.receive(confirmation);
    let state = book.tell(answer(Correlation::default(), "RKT2"));
    assert_eq!(state, CallbackState::Duplicate);
    let learned = |row: &Transaction| row.ids.originator_conversation_id.is_some();
    assert!(!book.transactions.values().any(learned));
    // A payout's ids are M-Pesa's own: there another id is another payment.
    let payout = book.register(Registration {
        kind: Kind::B2c,
        ..with_conversation(payment(book.partner, "b"), "AG_2")
    });
    let by_path = Correlation {
        transaction_id: Some(payout),
        ..Correlation::default()
    };
    assert_eq!(book.tell(answer(by_path, "RKT3")), CallbackState::Conflict);
}

#[test]
fn a_reversal_that_failed_or_names_nothing_moves_nothing_else() {
    let mut book = Book::new();
    let (original, _) = reversal(&mut book, true);
    book.tell(failure("rev", ResultClass::Failed, "R000001"));
    assert_eq!(book.get(original).status, Status::Success);

    let mut book = Book::new();
    let (original, reversal) = reversal(&mut book, false);
    book.tell(success("rev"));
    assert_eq!(book.get(original).status, Status::Success);
    assert_eq!(book.get(reversal).status, Status::Success);
    assert_eq!(
        book.timeline(reversal).last(),
        Some(&TimelineKind::Conflict)
    );
}

#[test]
fn a_reversal_of_a_confirmed_failure_is_a_conflict_on_it() {
    let mut book = Book::new();
    let original = book.accepted("a");
    book.tell(failure("a", ResultClass::Failed, "1"));
    book.register(Registration {
        kind: Kind::Reversal,
        original_id: Some(original),
        ..with_conversation(payment(book.partner, "rev"), "rev")
    });
    book.tell(success("rev"));
    assert_eq!(book.get(original).reversed_at, None);
    assert_eq!(
        book.timeline(original).last(),
        Some(&TimelineKind::Conflict)
    );
}

#[test]
fn a_reversal_of_a_stranger_is_refused() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let stranger = PartnerId::new(book.now);
    let outcome = book.one(register(Registration {
        kind: Kind::Reversal,
        original_id: Some(id),
        ..payment(stranger, "rev")
    }));
    assert_eq!(outcome, Outcome::Refused(Refusal::OriginalUnknown));
}
