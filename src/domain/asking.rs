//! When a silent provider is asked about a transaction, and when asking ends: first after a while without news, then
//! with growing pauses, and after two days the transaction is *stuck*, which is told and never guessed away.

use chrono::Duration;

use super::clock::Instant;
use super::identity::{PartnerId, TransactionId};

/// A transaction that somebody took to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskLease {
    /// Whose it is.
    pub partner_id: PartnerId,
    /// Which.
    pub transaction_id: TransactionId,
    /// Until when nobody else takes it.
    pub until: Instant,
}

/// When to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskSchedule {
    /// How long after the last news the first question comes.
    pub first_after: Duration,
    /// The longest pause between two questions.
    pub longest_pause: Duration,
    /// How long after the last news asking ends.
    pub give_up_after: Duration,
}

impl AskSchedule {
    /// The longest pause between two questions.
    pub const LONGEST_PAUSE: Duration = Duration::hours(1);

    /// A schedule that starts after `first_after` and ends after `give_up_after`.
    pub fn new(first_after: Duration, give_up_after: Duration) -> Self {
        Self {
            first_after,
            longest_pause: Self::LONGEST_PAUSE.max(first_after),
            give_up_after,
        }
    }

    /// When to ask again after a question at `now` that brought nothing. The pause is as long as the silence so far, so
    /// it doubles every time, without a count of the questions.
    pub fn next(&self, last_news: Instant, now: Instant) -> Instant {
        let pause = (now - last_news).clamp(self.first_after, self.longest_pause);
        (now + pause).min((last_news + self.give_up_after).max(now + self.first_after))
    }

    /// Whether asking is over.
    pub fn is_over(&self, last_news: Instant, now: Instant) -> bool {
        now - last_news >= self.give_up_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    #[test]
    fn pauses_double_up_to_an_hour_and_the_last_question_comes_at_the_end() {
        let schedule = AskSchedule::new(Duration::seconds(60), Duration::hours(48));
        let news = SystemClock.now();
        let mut asked = vec![news + schedule.first_after];
        while !schedule.is_over(news, asked[asked.len() - 1]) {
            asked.push(schedule.next(news, asked[asked.len() - 1]));
        }
        let minutes: Vec<i64> = asked.iter().map(|at| (*at - news).num_minutes()).collect();
        assert_eq!(minutes[..8], [1, 2, 4, 8, 16, 32, 64, 124]);
        assert_eq!(minutes[minutes.len() - 1], 48 * 60);
        assert!(minutes.windows(2).all(|pair| pair[1] - pair[0] <= 60));
        assert!(asked.len() < 60, "{} questions", asked.len());
    }

    #[test]
    fn a_short_schedule_still_pauses_between_questions() {
        let schedule = AskSchedule::new(Duration::seconds(3), Duration::seconds(4));
        let news = SystemClock.now();
        let next = schedule.next(news, news + Duration::seconds(3));
        assert_eq!((next - news).num_seconds(), 6);
        assert!(schedule.is_over(news, next));
    }
}
