//! Callbacks in any order.

use super::*;

/// Callbacks that do not contradict one another, by number.
fn consistent(number: usize) -> StatusUpdate {
    let mut update = match number {
        0 => failure("a", ResultClass::Pending, "4999"),
        1 => failure("a", ResultClass::Unknown, "77"),
        2 => failure("a", ResultClass::Unconfirmed, "1037"),
        3 => success("a"),
        _ => StatusUpdate {
            receipt: None,
            paid: None,
            ..success("a")
        },
    };
    update.correlation.originator_conversation_id = Some("o".to_owned());
    update
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever arrives in whatever order, however often, before or after the registration, in batches of any size:
    /// the row ends the same, and nobody is told twice.
    #[test]
    fn any_order_of_consistent_callbacks_ends_the_same(
        order in proptest::collection::vec(0_usize..5, 0..12),
        register_at in 0_usize..12,
        batch in 1_usize..5,
        with_timeouts in any::<bool>(),
    ) {
        let mut book = Book::new();
        let mut commands: Vec<Command> = order
            .iter()
            // The success is always among them, so that all orders have the same end.
            .chain(&[3])
            .map(|number| callback(book.arrival(CallbackKind::Stk, consistent(*number))))
            .collect();
        if with_timeouts {
            let timeout = News::Timeout(by_conversation("a"));
            commands.push(callback(arrival(book.partner, CallbackKind::B2cTimeout, timeout, book.now)));
        }
        let place = register_at.min(commands.len());
        commands.insert(place, register(with_conversation(payment(book.partner, "a"), "a")));
        for chunk in commands.chunks(batch) {
            book.run(chunk.to_vec());
        }
        let row = book.only();
        prop_assert_eq!(row.status, Status::Success);
        prop_assert_eq!(row.result_code.as_deref(), Some("0"));
        prop_assert_eq!(row.receipt.as_deref(), Some("Ra"));
        prop_assert_eq!(row.paid, Some(Amount(120_000)));
        prop_assert!(!row.unconfirmed && row.reversed_at.is_none());
        prop_assert_eq!(book.ask_at[&row.id], None);
        prop_assert!(book.waiting.is_empty());
        // Registered and success; in between at most the unconfirmed failure.
        let late = order.iter().take_while(|number| **number < 3).any(|number| *number == 2);
        let events = book.events(row.id);
        prop_assert_eq!(events.len(), if late { 3 } else { 2 });
        prop_assert_eq!(book.sequences(), (1..).take(events.len()).collect::<Vec<i64>>());
    }
}
