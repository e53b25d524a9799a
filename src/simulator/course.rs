//! The course that one request takes: its number's ending and the faults that were drawn for it, from being
//! turned away to the last callback. What each step looks like is up to `daraja` and `clickpesa`.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use tokio::task::JoinHandle;

use super::faults::{Draw, Fault};
use super::ledger::{LedgerIds, Order, Truth};
use super::outcome::{Answer, Behaviour, Failure};
use super::world::World;

/// Why nothing is made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Token,
    Refused,
    Throttled,
    ServerError,
}

pub(super) struct Course {
    pub(super) behaviour: Behaviour,
    /// The payment's number in the ledger; questions have none.
    pub(super) entry: Option<u64>,
    draw: Draw,
    world: Arc<World>,
}

/// Begins a payment: from here on it is in the ledger.
pub(super) fn of_payment(world: &Arc<World>, order: &Order<'_>) -> Course {
    let what = format!("{}/{}", order.kind, order.amount);
    let mut draw = world.faults.draw(order.account, order.msisdn, &what);
    draw.faults
        .retain(|fault| !matches!(fault, Fault::QueryThrottled | Fault::QueryFailed));
    let entry = Some(world.ledger.open(order));
    Course::new(world, Behaviour::of(order.msisdn), draw, entry)
}

/// Begins a reversal. The ending of the number decided about the payment that is taken back, not about this.
pub(super) fn of_reversal(world: &Arc<World>, order: &Order<'_>) -> Course {
    let mut course = of_payment(world, order);
    course.behaviour = Behaviour::Pays;
    course
}

/// Begins something that moves no money. Only the faults of questions strike it: whoever loses all callbacks
/// on purpose still wants to find out the truth.
pub(super) fn of_question(world: &Arc<World>, account: &str, msisdn: &str, what: &str) -> Course {
    let mut draw = world.faults.draw(account, msisdn, what);
    draw.faults.retain(|fault| {
        matches!(
            fault,
            Fault::QueryThrottled | Fault::QueryFailed | Fault::PartialShape
        )
    });
    Course::new(world, Behaviour::Pays, draw, None)
}

impl Course {
    fn new(world: &Arc<World>, ending: Behaviour, draw: Draw, entry: Option<u64>) -> Self {
        let mut course = Self {
            behaviour: ending,
            entry,
            draw,
            world: Arc::clone(world),
        };
        // A documented ending is kept to; only a number that pays can be made to fail or to pay otherwise.
        if ending == Behaviour::Pays {
            if course.drawn(Fault::Failed) {
                course.behaviour = Behaviour::Fails(course.failure());
            } else if course.drawn(Fault::WrongAmount) {
                course.behaviour = Behaviour::OtherAmount;
            }
        }
        course
    }

    fn failure(&self) -> Failure {
        match self.draw.variant % 4 {
            0 => Failure::InsufficientFunds,
            1 => Failure::Cancelled,
            2 => Failure::WrongPin,
            _ => Failure::RuleLimited,
        }
    }

    fn drawn(&self, fault: Fault) -> bool {
        self.draw.faults.contains(&fault)
    }

    /// True if the fault is to be done, which the ledger then knows.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let drawn = self.drawn(fault);
        if let (true, Some(entry)) = (drawn, self.entry) {
            self.world.ledger.struck(entry, fault);
        }
        drawn
    }

    /// Chooses between the forms of a fault.
    pub(super) fn variant(&self) -> u64 {
        self.draw.variant
    }

    /// If nothing is to be made of the request: its answer, where `refusal` puts a reason in the provider's
    /// words.
    pub(super) fn stopped(&self, refusal: impl Fn(Stop) -> HttpResponse) -> Option<HttpResponse> {
        if self.strikes(Fault::InvalidatedToken) {
            return Some(refusal(Stop::Token));
        }
        if self.strikes(Fault::CutBefore) {
            return Some(cut());
        }
        if self.strikes(Fault::NonJsonBefore) {
            return Some(self.no_json());
        }
        if self.strikes(Fault::ServerErrorBefore) {
            return Some(refusal(Stop::ServerError));
        }
        match self.behaviour.answer() {
            Answer::Throttled => return Some(refusal(Stop::Throttled)),
            Answer::Refused => return Some(refusal(Stop::Refused)),
            Answer::Accepted | Answer::AcceptedAfterTheCallback | Answer::Lost => {}
        }
        if self.strikes(Fault::Throttled) || self.strikes(Fault::QueryThrottled) {
            return Some(refusal(Stop::Throttled));
        }
        if self.strikes(Fault::Refused) {
            return Some(refusal(Stop::Refused));
        }
        if self.strikes(Fault::QueryFailed) {
            return Some(match self.draw.variant % 3 {
                0 => cut(),
                1 => self.no_json(),
                _ => refusal(Stop::ServerError),
            });
        }
        None
    }

    /// The payment is made, under these names.
    pub(super) fn made(&self, ids: LedgerIds) {
        if let Some(entry) = self.entry {
            self.world.ledger.made(entry, ids);
        }
        let failed = matches!(self.behaviour, Behaviour::Fails(_));
        if failed {
            self.strikes(Fault::Failed);
        }
        if self.behaviour == Behaviour::OtherAmount {
            self.strikes(Fault::WrongAmount);
        }
    }

    /// True if the first question about the payment is to be answered wrongly; it is struck then.
    pub(super) fn denies(&self) -> bool {
        self.drawn(Fault::ContradictingQuery)
    }

    /// How a request ends whose payment (or question) is under way; `told` tells its news.
    pub(super) async fn answer(
        &self,
        told: JoinHandle<()>,
        accepted: HttpResponse,
    ) -> HttpResponse {
        if self.comes_early() {
            // An error means that the simulator is being stopped: nobody waits for the answer.
            let _ = told.await;
        }
        if self.behaviour.answer() == Answer::Lost {
            return gateway_timeout();
        }
        if self.strikes(Fault::AnswerLost) {
            return cut();
        }
        if self.strikes(Fault::NonJson) {
            return self.no_json();
        }
        if self.strikes(Fault::SlowAnswer) {
            tokio::time::sleep(self.draw.slow).await;
        }
        accepted
    }

    fn comes_early(&self) -> bool {
        let kept_back = self.drawn(Fault::LateCallback) || self.drawn(Fault::LostCallback);
        self.behaviour == Behaviour::Early || (!kept_back && self.strikes(Fault::Early))
    }

    /// The pause before the next piece of news.
    pub(super) fn delay(&self) -> Duration {
        if self.comes_early() {
            return Duration::ZERO;
        }
        let usual = self.world.draw_delay();
        if self.strikes(Fault::LateCallback) {
            return usual + self.draw.late;
        }
        usual
    }

    /// How often a callback is posted whose ending would have it posted `usual` times.
    pub(super) fn copies(&self, usual: usize) -> usize {
        if usual > 0 && self.strikes(Fault::LostCallback) {
            return 0;
        }
        if usual > 0 && self.strikes(Fault::Doubled) {
            return usual.max(2);
        }
        usual
    }

    /// True if a stale word is to follow the last one; nothing can be out of order that is not told.
    pub(super) fn is_reordered(&self) -> bool {
        self.copies(self.behaviour.copies()) > 0
            && !matches!(
                self.behaviour,
                Behaviour::Fails(_) | Behaviour::UnknownResult
            )
            && self.strikes(Fault::Reordered)
    }

    pub(super) fn settle(&self, truth: Truth, paid: &str) {
        if let Some(entry) = self.entry {
            self.world.ledger.settle(entry, truth, paid);
        }
    }

    /// A page or nothing at all, with or without an error's status.
    fn no_json(&self) -> HttpResponse {
        match self.draw.variant % 5 {
            0 => page(StatusCode::BAD_GATEWAY),
            1 => page(StatusCode::SERVICE_UNAVAILABLE),
            2 => gateway_timeout(),
            3 => HttpResponse::InternalServerError().finish(),
            _ => HttpResponse::Ok().finish(),
        }
    }
}

pub(super) fn gateway_timeout() -> HttpResponse {
    HttpResponse::GatewayTimeout()
        .content_type("text/html")
        .body("<html><head><title>504 Gateway Time-out</title></head><body></body></html>")
}

fn page(status: StatusCode) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or_default();
    let code = status.as_u16();
    HttpResponse::build(status)
        .content_type("text/html")
        .body(format!(
            "<html><head><title>{code} {title}</title></head><body></body></html>"
        ))
}

/// A body that breaks before anything of the answer was written: the connection closes without a byte.
fn cut() -> HttpResponse {
    let broken = futures_util::stream::once(async {
        Err::<web::Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
    });
    HttpResponse::Ok().streaming(Box::pin(broken))
}
