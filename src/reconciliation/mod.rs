//! Asks providers about transactions that were silent too long, and tells the ledger what they say. Many instances share
//! the work through leases on what is due; each account has a pace of its own. Memory and questions under way are
//! bounded, however much is due.

pub mod breaker;
mod leases;
mod lines;
pub mod pace;
pub mod question;
mod slowdown;
mod steps;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::asking::AskSchedule;
use crate::domain::clock::{Clock, Instant};
use crate::domain::identity::{AccountId, PartnerId, TransactionId};
use crate::domain::ledger::Word;
use crate::domain::status::Status;
use crate::domain::transaction::{Provider, Transaction};
use crate::providers::answer::Answer;
use crate::store::{Store, StoreError};

use leases::Leases;
pub use leases::{LEASE, RENEW_EVERY};
use pace::Pace;
pub use question::{Line, Lines, NoLine};

/// Transactions of one partner that are held at the same time: asked about, waiting for that, or for being recorded.
pub const PARTNER_HELD: usize = 20;
/// Transactions of all partners that are held at the same time.
pub const HELD: usize = 100;
/// Questions under way at the same time: enough that several silent providers leave room for those that answer.
pub const CONCURRENCY: usize = 32;
/// How long a transaction waits for its turn at most; then it is given back, and others have its place.
pub const LONGEST_WAIT: chrono::Duration = chrono::Duration::minutes(1);
/// How often what is due is looked for.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a stopping worker waits for questions under way. They are no payments: what is cut off is asked again.
const FAREWELL: Duration = Duration::from_secs(5);

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Transactions taken to be asked about.
    pub claimed: usize,
    /// Questions begun.
    pub asked: usize,
    /// Questions that were answered with news, or will be by a callback.
    pub answered: usize,
    /// Transactions put back because their account pauses.
    pub postponed: usize,
    /// Transactions that a question ended.
    pub settled: Vec<(TransactionId, Status)>,
    /// Transactions that are asked about no more.
    pub stuck: Vec<TransactionId>,
}

/// Taken, and waiting for its turn.
struct Claimed {
    transaction: Transaction,
    /// The moment that what was due at was looked for.
    due: Instant,
    since: Instant,
    line: Option<Line>,
}

/// Asked, and answered.
struct Asked {
    transaction: Transaction,
    account_id: AccountId,
    asked_at: Instant,
    answer: Answer,
}

/// To be told to the ledger.
struct Told {
    before: Transaction,
    source: String,
    word: Word,
    /// Whether the provider gave an answer, or will by a callback.
    is_answer: bool,
}

/// The worker.
pub struct Reconciler {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lines: Arc<dyn Lines>,
    schedule: AskSchedule,
    leases: Leases,
    waiting: VecDeque<Claimed>,
    questions: JoinSet<Asked>,
    /// What each question under way is about.
    under_way: HashMap<Id, (PartnerId, TransactionId, AccountId)>,
    untold: Vec<Told>,
    paces: HashMap<AccountId, (Provider, Pace)>,
}

impl Reconciler {
    /// A worker that has not begun.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        lines: Arc<dyn Lines>,
        schedule: AskSchedule,
    ) -> Self {
        Self {
            leases: Leases::new(clock.now()),
            store,
            clock,
            lines,
            schedule,
            waiting: VecDeque::new(),
            questions: JoinSet::new(),
            under_way: HashMap::new(),
            untold: Vec::new(),
            paces: HashMap::new(),
        }
    }

    /// Begins after a time in which perhaps nobody asked: what would have ended meanwhile is not given up unasked.
    pub fn resume(&mut self) {
        self.schedule = self.schedule.resumed(self.clock.now());
    }

    /// Works until cancelled, and tells `report` of every step; then gives back what it did not come to.
    pub async fn run(mut self, cancel: CancellationToken, mut report: impl FnMut(&Step) + Send) {
        self.resume();
        let mut troubled = false;
        while !cancel.is_cancelled() {
            let due = self.clock.now();
            match (self.step(due).await, troubled) {
                (Ok(step), was_troubled) => {
                    report(&step);
                    if was_troubled {
                        info!("silent transactions are being asked about again");
                    }
                    troubled = false;
                }
                (Err(reason), was_troubled) => {
                    if !was_troubled {
                        warn!(%reason, "silent transactions cannot be asked about now");
                    }
                    troubled = true;
                }
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.question_ended(), if !self.questions.is_empty() && !troubled => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        self.finish().await;
    }

    /// Asks about everything that is due at the moment of the call, each once, and tells `report` of every step.
    ///
    /// # Errors
    /// If the database is not available; what was not asked about stays due.
    pub async fn run_once(
        &mut self,
        mut report: impl FnMut(&Step) + Send,
    ) -> Result<(), StoreError> {
        let due = self.clock.now();
        loop {
            // Who holds something may have claimed nothing for want of room.
            let was_idle = self.held() == 0;
            let step = self.step(due).await?;
            report(&step);
            if was_idle && step.claimed == 0 {
                return Ok(());
            }
            tokio::select! {
                () = self.question_ended() => {}
                // Leases are renewed while all questions take long.
                () = tokio::time::sleep(LOOK_EVERY), if !self.questions.is_empty() => {}
            }
        }
    }

    /// Renews what is held, records what was answered, takes what is due at `due` as far as there is room, and begins to ask.
    ///
    /// # Errors
    /// If the database is not available; nothing is lost by that.
    pub async fn step(&mut self, due: Instant) -> Result<Step, StoreError> {
        let mut step = Step::default();
        while let Some(ended) = self.questions.try_join_next_with_id() {
            self.collect(ended);
        }
        self.renew().await?;
        self.tell(&mut step).await?;
        self.claim(due, &mut step).await?;
        self.begin(&mut step).await;
        self.tell(&mut step).await?;
        self.set_gauges();
        Ok(step)
    }

    /// Waits until a question that is under way has ended; the next [`Reconciler::step`] records it. Returns at once if
    /// there is none.
    pub async fn question_ended(&mut self) {
        if let Some(ended) = self.questions.join_next_with_id().await {
            self.collect(ended);
        }
    }

    /// How many transactions are held: waiting, asked about, or not yet told of.
    pub fn held(&self) -> usize {
        self.waiting.len() + self.under_way.len() + self.untold.len()
    }

    fn collect(&mut self, ended: Result<(Id, Asked), JoinError>) {
        match ended {
            Ok((task, asked)) => {
                self.under_way.remove(&task);
                self.hear(asked);
            }
            Err(reason) => {
                // Its lease runs out, and it is asked again.
                if let Some((_, transaction_id, account_id)) = self.under_way.remove(&reason.id()) {
                    warn!(%reason, %transaction_id, "a question broke off");
                    let now = self.clock.now();
                    self.end(account_id, pace::Sign::None, now, now);
                }
            }
        }
    }

    /// Claims nothing more; questions under way end within a limit, and the rest is given back.
    async fn finish(&mut self) {
        let ending = async {
            while !self.questions.is_empty() {
                self.question_ended().await;
            }
        };
        if tokio::time::timeout(FAREWELL, ending).await.is_err() {
            warn!(
                count = self.questions.len(),
                "questions cut off; they are asked again when their leases run out"
            );
        }
        let now = self.clock.now();
        for claimed in std::mem::take(&mut self.waiting) {
            self.put_back(claimed.transaction, now);
        }
        let _ = self.tell(&mut Step::default()).await;
    }
}
