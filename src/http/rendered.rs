//! An answer of the status API, written once for all who ask the same at the same time.

use actix_web::web::Bytes;

use super::wire::Timestamp;
use crate::domain::clock::Instant;

/// An answer as everybody gets it who asked the same.
pub struct Rendered {
    /// The body, the time included.
    pub body: Bytes,
    /// What the body but its time is told apart by.
    pub entity_tag: String,
    /// The `Link` header, if there are other pages.
    pub link: Option<String>,
}

impl Rendered {
    /// Ends a written answer with the time, which is no part of its tag.
    ///
    /// # Errors
    /// If the time cannot be written.
    pub fn new(
        mut body: Vec<u8>,
        entity_tag: String,
        now: Instant,
        link: Option<String>,
    ) -> Result<Self, serde_json::Error> {
        body.pop();
        body.extend_from_slice(b",\"timestamp\":");
        serde_json::to_writer(&mut body, &Timestamp(now))?;
        body.push(b'}');
        Ok(Self {
            body: body.into(),
            entity_tag,
            link,
        })
    }
}
