//! A stretch of a partner's feed, and whether it is whole.

use crate::domain::timeline::StatusEvent;

/// Events in commit order, without a gap among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<StatusEvent>,
    /// Set if events after the place asked for have been removed by age: the oldest after it that is still kept, or the
    /// next to come.
    pub oldest: Option<i64>,
}

impl EventPage {
    /// What was read after `after`; `head` is the partner's last number, read before the events.
    ///
    /// Housekeeping may leave an old event whose delivery is pending and remove younger ones: a page ends before such
    /// a gap, so that the next one begins with it and says so.
    pub fn new(after: i64, head: i64, mut events: Vec<StatusEvent>) -> Self {
        let first = events
            .first()
            .map_or(head.saturating_add(1), |event| event.sequence);
        let oldest = (first > after.saturating_add(1)).then_some(first);
        let whole = events
            .iter()
            .zip(events.iter().skip(1))
            .take_while(|(one, next)| one.sequence + 1 == next.sequence)
            .count();
        events.truncate(whole + 1);
        Self { events, oldest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::domain::identity::{EventId, PartnerId, TransactionId};
    use crate::domain::money::{Amount, Currency};
    use crate::domain::status::Status;

    fn event(sequence: i64) -> StatusEvent {
        let at = SystemClock.now();
        StatusEvent {
            id: EventId::new(at),
            partner_id: PartnerId::new(at),
            sequence,
            transaction_id: TransactionId::new(at),
            is_registration: false,
            status: Status::Success,
            conversation_id: None,
            client_request_id: None,
            result_code: None,
            result_description: None,
            receipt: None,
            amount: Amount(1),
            currency: Currency::kes(),
            msisdn: None,
            reversed_at: None,
            updated_at: at,
        }
    }

    fn page(after: i64, head: i64, sequences: &[i64]) -> (Vec<i64>, Option<i64>) {
        let events = sequences.iter().map(|sequence| event(*sequence)).collect();
        let page = EventPage::new(after, head, events);
        let told = page.events.iter().map(|event| event.sequence).collect();
        (told, page.oldest)
    }

    #[test]
    fn a_whole_page_says_nothing() {
        assert_eq!(page(0, 3, &[1, 2, 3]), (vec![1, 2, 3], None));
        assert_eq!(page(3, 3, &[]), (vec![], None));
        assert_eq!(page(9, 3, &[]), (vec![], None));
        // The head was read before these came.
        assert_eq!(page(3, 3, &[4, 5]), (vec![4, 5], None));
        assert_eq!(page(i64::MAX, 3, &[]), (vec![], None));
    }

    #[test]
    fn what_was_removed_is_told() {
        assert_eq!(page(0, 9, &[7, 8]), (vec![7, 8], Some(7)));
        assert_eq!(page(4, 9, &[]), (vec![], Some(10)));
    }

    #[test]
    fn a_page_ends_before_a_gap_and_the_next_one_tells_it() {
        assert_eq!(page(4, 12, &[5, 6, 10, 11]), (vec![5, 6], None));
        assert_eq!(page(6, 12, &[10, 11, 12]), (vec![10, 11, 12], Some(10)));
    }
}
