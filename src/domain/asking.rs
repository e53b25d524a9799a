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
    /// Until when nobody may have been asking.
    resumed_at: Option<Instant>,
}

impl AskSchedule {
    /// The longest pause between two questions.
    pub const LONGEST_PAUSE: Duration = Duration::hours(1);
    /// How long asking goes on about what would have ended while nobody asked.
    pub const LATE_FOR: Duration = Duration::hours(6);

    /// A schedule that starts after `first_after` and ends after `give_up_after`.
    pub fn new(first_after: Duration, give_up_after: Duration) -> Self {
        Self {
            first_after,
            longest_pause: Self::LONGEST_PAUSE.max(first_after),
            give_up_after,
            resumed_at: None,
        }
    }

    /// The same for whoever begins to ask at `at`. What would have ended before was perhaps not asked about as it should
    /// have been: nobody gives it up because the service was away.
    pub fn resumed(self, at: Instant) -> Self {
        Self {
            resumed_at: Some(at),
            ..self
        }
    }

    fn end(&self, last_news: Instant) -> Instant {
        let end = last_news + self.give_up_after;
        match self.resumed_at {
            Some(at) if end <= at => at + Self::LATE_FOR.min(self.give_up_after),
            _ => end,
        }
    }

    /// When to ask again after a question at `now` that brought nothing. The pause is as long as the silence so far, so
    /// it doubles every time, without a count of the questions.
    pub fn next(&self, last_news: Instant, now: Instant) -> Instant {
        let pause = (now - last_news).clamp(self.first_after, self.longest_pause);
        (now + pause).min(self.end(last_news).max(now + self.first_after))
    }

    /// Whether asking is over.
    pub fn is_over(&self, last_news: Instant, now: Instant) -> bool {
        now >= self.end(last_news)
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
    fn what_ended_while_nobody_asked_is_asked_about_for_some_hours_more() {
        let schedule = AskSchedule::new(Duration::seconds(60), Duration::hours(48));
        let news = SystemClock.now();
        let back = news + Duration::hours(72);
        assert!(schedule.is_over(news, back));
        let resumed = schedule.resumed(back);
        assert!(!resumed.is_over(news, back));
        assert_eq!(resumed.next(news, back), back + Duration::hours(1));
        let end = back + AskSchedule::LATE_FOR;
        assert_eq!(resumed.next(news, end - Duration::minutes(5)), end);
        assert!(resumed.is_over(news, end));
        // What ends later ends as ever.
        let later = back - Duration::hours(47);
        assert!(resumed.is_over(later, later + Duration::hours(48)));
        assert!(!resumed.is_over(later, later + Duration::hours(47)));
        // Nor does it take longer than asking takes at all.
        let short = AskSchedule::new(Duration::seconds(1), Duration::hours(2)).resumed(back);
        assert!(short.is_over(news, back + Duration::hours(2)));
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
