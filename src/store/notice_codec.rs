//! Notices as JSON in the outbox: the facts, from which every attempt makes the same body.

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::rows::instant_from_micros;
use crate::domain::identity::NoticeId;
use crate::domain::notice::DisabledNotice;

#[derive(Serialize, Deserialize)]
struct StoredNotice {
    endpoint_id: String,
    url: String,
    reason: String,
    failing_since_micros: Option<i64>,
    disabled_at_micros: i64,
}

/// The facts of a notice.
pub fn encode(notice: &DisabledNotice) -> Result<String, StoreError> {
    let stored = StoredNotice {
        endpoint_id: notice.endpoint_id.to_string(),
        url: notice.url.clone(),
        reason: notice.reason.as_str().to_owned(),
        failing_since_micros: notice.failing_since.map(|at| at.timestamp_micros()),
        disabled_at_micros: notice.disabled_at.timestamp_micros(),
    };
    serde_json::to_string(&stored).map_err(|error| StoreError::Query(error.to_string()))
}

/// The notice that was encoded.
///
/// # Errors
/// If the text is none of ours.
pub fn decode(id: NoticeId, text: &str) -> Result<DisabledNotice, StoreError> {
    let wrong = || StoreError::Query("notice holds no notice".to_owned());
    let stored: StoredNotice = serde_json::from_str(text).map_err(|_| wrong())?;
    let instant = |micros| instant_from_micros(micros).ok_or_else(wrong);
    Ok(DisabledNotice {
        id,
        endpoint_id: stored.endpoint_id.parse().map_err(|_| wrong())?,
        url: stored.url,
        reason: stored.reason.parse().map_err(|_| wrong())?,
        failing_since: stored.failing_since_micros.map(instant).transpose()?,
        disabled_at: instant(stored.disabled_at_micros)?,
    })
}
