//! What makes a registration the same, and ids that are attached later.

use super::*;

#[test]
fn the_same_registration_again_is_the_same_transaction() {
    let mut book = Book::new();
    let first = Registration {
        ids: ProviderIds {
            conversation_id: Some("c".to_owned()),
            originator_conversation_id: Some("o".to_owned()),
            order_reference: None,
        },
        account_reference: Some("INV".to_owned()),
        tenant_id: Some("t".to_owned()),
        customer_id: Some("k".to_owned()),
        ..payment(book.partner, "a")
    };
    let id = book.register(first.clone());
    book.tell(success("c"));
    let (row, lines) = (book.get(id).clone(), book.lines.len());
    let again = book.one(register(first));
    assert_eq!(
        again,
        Outcome::Registered {
            transaction: Box::new(row),
            created: false
        }
    );
    assert_eq!(book.lines.len(), lines);
}

#[test]
fn ids_attached_later_do_not_make_the_same_registration_another() {
    let mut book = Book::new();
    let id = book.register(payment(book.partner, "a"));
    book.one(attach(book.partner, id, conversation("c")));
    let again = book.one(register(payment(book.partner, "a")));
    assert!(matches!(again, Outcome::Registered { created: false, .. }));
    let with_id = book.one(register(with_conversation(payment(book.partner, "a"), "c")));
    assert!(
        matches!(
            with_id,
            Outcome::Refused(Refusal::Reused {
                field: "conversation_id",
                ..
            })
        ),
        "the first did not carry it"
    );
}

#[test]
fn a_difference_in_any_field_is_named() {
    let mut book = Book::new();
    let original = book.accepted("original");
    let base = Registration {
        ids: ProviderIds {
            conversation_id: Some("c".to_owned()),
            originator_conversation_id: Some("o".to_owned()),
            order_reference: Some("r".to_owned()),
        },
        ..payment(book.partner, "a")
    };
    let id = book.register(base.clone());
    let change = |change: &dyn Fn(&mut Registration)| {
        let mut other = base.clone();
        change(&mut other);
        other
    };
    let text = || Some("other".to_owned());
    let others: [(&str, Registration); 13] = [
        ("provider", change(&|r| r.provider = Provider::Clickpesa)),
        ("kind", change(&|r| r.kind = Kind::B2c)),
        (
            "msisdn",
            change(&|r| r.msisdn = Msisdn::from_international("255712345678").ok()),
        ),
        ("amount", change(&|r| r.amount = Amount(1))),
        ("currency", change(&|r| r.currency = Currency::tzs())),
        ("origin", change(&|r| r.origin = "web".to_owned())),
        ("tenant_id", change(&|r| r.tenant_id = text())),
        ("customer_id", change(&|r| r.customer_id = text())),
        (
            "account_reference",
            change(&|r| r.account_reference = text()),
        ),
        (
            "original_transaction_id",
            change(&|r| r.original_id = Some(original)),
        ),
        ("conversation_id", change(&|r| r.ids.conversation_id = None)),
        (
            "originator_conversation_id",
            change(&|r| r.ids.originator_conversation_id = text()),
        ),
        ("order_reference", change(&|r| r.ids.order_reference = None)),
    ];
    for (field, other) in others {
        assert_eq!(
            book.one(register(other)),
            Outcome::Refused(Refusal::Reused {
                field,
                transaction_id: id
            })
        );
    }
    assert_eq!(book.sequences(), [1, 2]);
}

#[test]
fn an_id_that_another_transaction_holds_is_refused() {
    let mut book = Book::new();
    let (a, b) = (
        book.accepted("a"),
        book.register(payment(book.partner, "b")),
    );
    let held = Outcome::Refused(Refusal::Held {
        field: IdField::Conversation,
        transaction_id: a,
    });
    assert_eq!(
        book.one(register(with_conversation(payment(book.partner, "c"), "a"))),
        held
    );
    assert_eq!(book.one(attach(book.partner, b, conversation("a"))), held);
    assert_eq!(
        book.one(attach(book.partner, a, conversation("other"))),
        Outcome::Refused(Refusal::Fixed {
            field: IdField::Conversation
        })
    );
    let stranger = PartnerId::new(book.now);
    assert_eq!(
        book.one(attach(stranger, a, conversation("a"))),
        Outcome::Refused(Refusal::NotFound)
    );
    // In another field, or of another provider, the same text is another id.
    assert!(matches!(
        book.one(attach(book.partner, b, order("a"))),
        Outcome::Attached(_)
    ));
}

#[test]
fn attaching_the_same_again_changes_nothing() {
    let mut book = Book::new();
    let id = book.register(payment(book.partner, "a"));
    book.one(attach(book.partner, id, conversation("c")));
    let (row, lines) = (book.get(id).clone(), book.lines.len());
    let again = book.one(attach(book.partner, id, conversation("c")));
    assert_eq!(again, Outcome::Attached(Box::new(row)));
    assert_eq!(book.lines.len(), lines);
    book.one(attach(book.partner, id, order("r")));
    assert_eq!(book.timeline(id).last(), Some(&TimelineKind::IdsAttached));
    assert_eq!(book.events(id).len(), 2);
}
