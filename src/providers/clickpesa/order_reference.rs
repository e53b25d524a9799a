//! The order reference we choose for a payment: the same each time it is computed, so that whoever asks again asks
//! about the same payment, and alphanumeric within 20 characters, as ClickPesa wants it.

use crate::domain::identity::TransactionId;

/// The longest that is accepted (reported by an integrator; the documentation names no limit).
const LENGTH: u32 = 20;
const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// The bits that 20 digits of base 36 hold, and of them those that are taken from behind the time.
const BITS: u32 = 103;
const CHANCE_BITS: u32 = 59;

/// The reference of a transaction.
///
/// Of the id's 122 bits that say something (version and variant do not), 103 fit. The four highest bits of its time
/// go, which are zero until the year 2527, and the 15 lowest of its chance. What stays of the latter is the whole
/// 42-bit counter, so one process never gives a reference twice, and 17 bits more. The counter starts each millisecond
/// at one of 2^41 places, so two payments of a partner that two processes begin in the same millisecond share a
/// reference with a chance of 2^-58: at a thousand such pairs every second, once in nine million years.
pub(super) fn order_reference(id: TransactionId) -> String {
    let id = id.0.as_u128();
    let time = id >> 80;
    let chance = ((id >> 64) & 0xfff) << 62 | (id & (u128::MAX >> 66));
    let kept = chance >> (74 - CHANCE_BITS);
    let mut rest = (time << CHANCE_BITS | kept) & (u128::MAX >> (128 - BITS));
    let mut reference = Vec::new();
    for _ in 0..LENGTH {
        let digit = usize::try_from(rest % 36).unwrap_or_default();
        reference.push(DIGITS.get(digit).copied().map_or('0', char::from));
        rest /= 36;
    }
    reference.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use uuid::Uuid;

    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    fn reference(id: u128) -> String {
        order_reference(TransactionId(Uuid::from_u128(id)))
    }

    /// A UUIDv7 of the day this was written.
    const ID: u128 = 0x019a_a6c4_5a5b_7c3d_8e9f_0a1b_2c3d_4e5f;

    #[test]
    fn a_reference_is_twenty_capitals_and_digits_and_always_the_same() {
        assert_eq!(reference(ID), "2QKMLGZSC0SOHQT4ZN96");
        let end_of_2526 = 17_577_734_399_999_u128;
        for id in [ID, 7 << 76, u128::MAX, end_of_2526 << 80 | 7 << 76] {
            let reference = reference(id);
            assert_eq!(reference.len(), 20);
            assert!(
                reference
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
            );
        }
    }

    #[test]
    fn no_two_payments_of_one_millisecond_share_a_reference() {
        let now = SystemClock.now();
        let references: HashSet<String> = (0..100_000)
            .map(|_| order_reference(TransactionId::new(now)))
            .collect();
        assert_eq!(references.len(), 100_000);
    }

    #[test]
    fn every_bit_changes_the_reference_but_those_that_say_least() {
        let changes: Vec<u32> = (0..128)
            .filter(|bit| reference(ID ^ (1 << bit)) != reference(ID))
            .collect();
        let kept: Vec<u32> = (15..62).chain(64..76).chain(80..124).collect();
        assert_eq!(changes, kept);
    }

    #[test]
    fn later_payments_have_larger_references() {
        assert!(reference(ID) < reference(ID + (1 << 80)));
    }
}
