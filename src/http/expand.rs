//! `expand=display,timeline`: what stands beside a transaction when the caller asks for it. The timelines of a whole page
//! are one query; the texts cost one more, and only where something on it has been silent for long.

use std::collections::{HashMap, HashSet};

use chrono::Duration;

use super::State;
use super::error::ApiError;
use super::polling::next_poll_after_ms;
use super::request::{Fields, Query, quote};
use super::wire::{DisplayBody, TransactionBody};
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::timeline::TimelineEntry;
use crate::domain::transaction::Transaction;
use crate::providers::catalogue::{self, Line, Silence};

/// The parameter and field.
pub const PARAMETER: &str = "expand";
/// Lines of each timeline on a page, the latest; one transaction alone is shown with all of them.
pub const TIMELINE_LINES_MAX: i64 = 50;
/// Age from which what is not final is called unknown: no prompt stays open that long, and the provider has been asked
/// several times.
pub const OVERDUE_AFTER: Duration = Duration::minutes(5);

const ACCEPTED: &str = "display and timeline, joined by a comma";

/// What was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expand {
    /// The texts for the screen.
    pub display: bool,
    /// What happened.
    pub timeline: bool,
}

impl Expand {
    /// Of a query string.
    ///
    /// # Errors
    /// VALIDATION_1002 for an unknown or repeated word.
    pub fn of_query(query: &Query) -> Result<Self, ApiError> {
        let expand = query.parsed(PARAMETER, ACCEPTED, |text| Self::read(text.split(',')))?;
        Ok(expand.unwrap_or_default())
    }

    /// Of a body, where it is a list.
    ///
    /// # Errors
    /// VALIDATION_1003 for another type, VALIDATION_1002 for an unknown or repeated word.
    pub fn of_fields(fields: &Fields) -> Result<Self, ApiError> {
        let words = fields.texts(PARAMETER)?;
        let sent = words.join(",");
        Self::read(words.into_iter()).ok_or_else(|| {
            ApiError::field(
                PARAMETER,
                format!("is {}; accepted are display and timeline", quote(&sent)),
            )
        })
    }

    fn read<'a>(words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut expand = Self::default();
        for word in words {
            let flag = match word.trim() {
                "display" => &mut expand.display,
                "timeline" => &mut expand.timeline,
                _ => return None,
            };
            if std::mem::replace(flag, true) {
                return None;
            }
        }
        Some(expand)
    }
}

/// What stands beside the transactions of a page.
#[derive(Debug, Default)]
pub struct Expansion {
    timelines: Option<HashMap<TransactionId, Vec<TimelineEntry>>>,
    displays: HashMap<TransactionId, Display>,
}

#[derive(Debug)]
struct Display {
    line: Line,
    next_poll_after_ms: Option<u64>,
}

impl Expansion {
    /// Reads what is asked for of these rows of a partner.
    ///
    /// # Errors
    /// The database's.
    pub async fn of(
        state: &State,
        partner: PartnerId,
        rows: &[Transaction],
        expand: Expand,
        now: Instant,
    ) -> Result<Self, ApiError> {
        let mut expansion = Self::default();
        if expand.timeline {
            let ids = rows.iter().map(|row| row.id).collect();
            let timelines = state.store.list_timelines(partner, ids, TIMELINE_LINES_MAX);
            let mut timelines = timelines.await?;
            for row in rows {
                if let Some(timeline) = timelines.get_mut(&row.id) {
                    until_row(timeline, row);
                }
            }
            expansion.timelines = Some(timelines);
        }
        if expand.display {
            let lines = lines(state, partner, rows, now).await?;
            let times = state.polling.times(partner, now).await;
            expansion.displays = rows
                .iter()
                .zip(lines)
                .map(|(row, line)| {
                    let next_poll_after_ms = next_poll_after_ms(row, &times, now);
                    let display = Display {
                        line,
                        next_poll_after_ms,
                    };
                    (row.id, display)
                })
                .collect();
        }
        Ok(expansion)
    }

    /// The transaction with what was asked for.
    pub fn body<'a>(&'a self, row: &'a Transaction) -> TransactionBody<'a> {
        self.body_with(row, |display| display.next_poll_after_ms)
    }

    /// The same without what changes by the mere passing of time: what an entity tag is made of.
    pub fn timeless_body<'a>(&'a self, row: &'a Transaction) -> TransactionBody<'a> {
        self.body_with(row, |_| None)
    }

    fn body_with<'a>(
        &'a self,
        row: &'a Transaction,
        next_poll: impl Fn(&Display) -> Option<u64>,
    ) -> TransactionBody<'a> {
        let mut body = TransactionBody::from(row);
        if let Some(timelines) = &self.timelines {
            body = body.with_timeline(timelines.get(&row.id).map_or(&[], Vec::as_slice));
        }
        match self.displays.get(&row.id) {
            Some(display) => body.with_display(DisplayBody {
                en: &display.line.en,
                sw: &display.line.sw,
                r#final: row.status.is_final(),
                safe_to_retry: display.line.safe_to_retry,
                next_poll_after_ms: next_poll(display),
            }),
            None => body,
        }
    }
}

/// The timeline is read after the row and may be ahead of it: a move that the row has not made is left out, and all that
/// came after.
fn until_row(timeline: &mut Vec<TimelineEntry>, row: &Transaction) {
    let ahead = timeline
        .iter()
        .position(|line| line.to.is_some() && line.at > row.updated_at);
    if let Some(ahead) = ahead {
        timeline.truncate(ahead);
    }
}

/// What to say of each of these rows of a partner, in their order.
///
/// # Errors
/// The database's.
pub async fn lines(
    state: &State,
    partner: PartnerId,
    rows: &[Transaction],
    now: Instant,
) -> Result<Vec<Line>, ApiError> {
    let is_overdue =
        |row: &Transaction| !row.status.is_final() && now - row.created_at >= OVERDUE_AFTER;
    let silent: Vec<TransactionId> = rows
        .iter()
        .filter(|row| is_overdue(row))
        .map(|row| row.id)
        .collect();
    let stuck: HashSet<TransactionId> = if silent.is_empty() {
        HashSet::new()
    } else {
        let stuck = state.store.list_stuck_among(partner, silent).await?;
        stuck.into_iter().collect()
    };
    let described = rows.iter().map(|row| {
        let silence = if stuck.contains(&row.id) {
            Silence::Stuck
        } else if is_overdue(row) {
            Silence::Overdue
        } else {
            Silence::Usual
        };
        catalogue::describe(row, silence)
    });
    Ok(described.collect())
}

/// What to say of one transaction of a partner.
///
/// # Errors
/// The database's.
pub async fn line(
    state: &State,
    partner: PartnerId,
    row: &Transaction,
    now: Instant,
) -> Result<Line, ApiError> {
    let mut lines = lines(state, partner, std::slice::from_ref(row), now).await?;
    lines.pop().ok_or_else(ApiError::server)
}
