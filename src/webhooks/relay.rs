//! `webhook listen`: a partner's feed followed from outside the service, each event posted to one address, signed. It
//! keeps no account: where it ends, the next one begins from a sequence it is told.

use std::sync::Arc;
use std::time::Duration;

use super::body::{event_body, message_id};
use super::sender::{SendResult, Sender};
use super::signature::{Secret, signed_headers};
use crate::domain::clock::Clock;
use crate::domain::identity::PartnerId;
use crate::domain::timeline::StatusEvent;
use crate::feed::LOOK_AGAIN_MS;
use crate::store::{Store, StoreError};

/// Pauses before an event that was not taken is sent again; then the next event has its turn.
pub const RETRY_PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// Events read at a time.
const PAGE: i64 = 50;

/// What there is to tell.
#[derive(Debug)]
pub enum Told {
    /// An event was sent, and this is the last answer after so many attempts.
    Sent {
        /// The event.
        event: Box<StatusEvent>,
        /// The last answer.
        result: SendResult,
        /// How often it was sent.
        attempts: usize,
    },
    /// Events of this range have been removed by age.
    Removed {
        /// The first of them.
        from: i64,
        /// The last of them.
        to: i64,
    },
    /// The database cannot be read now; told once, until it can again.
    Troubled(StoreError),
}

/// Follows one partner.
pub struct Relay {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The client.
    pub sender: Sender,
    /// What is signed with.
    pub secret: Secret,
    /// Whose events.
    pub partner: PartnerId,
    /// Where to.
    pub url: String,
    /// The last sequence that was dealt with.
    pub after: i64,
}

impl Relay {
    /// Works until it is dropped.
    pub async fn run(&mut self, tell: impl Fn(Told)) {
        let mut is_troubled = false;
        loop {
            match self.step(&tell).await {
                Ok(more) => {
                    is_troubled = false;
                    if more {
                        continue;
                    }
                }
                Err(reason) if !is_troubled => {
                    is_troubled = true;
                    tell(Told::Troubled(reason));
                }
                Err(_) => {}
            }
            let pause = Duration::from_millis(rand::random_range(LOOK_AGAIN_MS));
            tokio::time::sleep(pause).await;
        }
    }

    /// Relays what there is; false if there was nothing.
    async fn step(&mut self, tell: &impl Fn(Told)) -> Result<bool, StoreError> {
        let page = self
            .store
            .list_events(self.partner, self.after, PAGE)
            .await?;
        if let Some(oldest) = page.oldest {
            let (from, to) = (self.after + 1, oldest - 1);
            tell(Told::Removed { from, to });
            self.after = to;
        }
        let more = !page.events.is_empty();
        for event in page.events {
            let (result, attempts) = self.forward(&event).await;
            self.after = event.sequence;
            tell(Told::Sent {
                event: Box::new(event),
                result,
                attempts,
            });
        }
        Ok(more)
    }

    async fn forward(&self, event: &StatusEvent) -> (SendResult, usize) {
        let mut attempts = 0;
        let mut pauses = RETRY_PAUSES.into_iter();
        loop {
            attempts += 1;
            let now = self.clock.now();
            let body = event_body(event);
            let headers =
                signed_headers(&self.secret, message_id(event.id), now.timestamp(), &body);
            let result = self.sender.send(&self.url, &headers, body, now).await;
            match pauses.next() {
                Some(pause) if !result.is_success() => tokio::time::sleep(pause).await,
                _ => return (result, attempts),
            }
        }
    }
}
