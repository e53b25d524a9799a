//! What just changed, to whoever waits for it: long polls on the status API and on the feed.
//!
//! Whoever waits holds a few [`WatchKey`]s and a slot in memory, no database connection; a commit of this process wakes
//! at once those whose keys it touches and nobody else. Commits of other processes are found by one query for all
//! waiters every now and then, and only while somebody waits. Being woken is never an answer: everybody looks again,
//! a few at a time.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant as Deadline;
use tokio_util::sync::CancellationToken;

use crate::domain::identity::PartnerId;
use crate::domain::watch::WatchKey;
use crate::store::{CommitNotice, Move, Store, StoreError};

/// The pause between two looks at what other processes committed, milliseconds; by chance, so that several instances
/// do not look together.
pub const LOOK_AGAIN_MS: RangeInclusive<u64> = 200..=500;
/// Woken waiters that look at the same time: those that were not waiting must find a free connection too.
pub const LOOKS_AT_ONCE: usize = 8;
/// Events of one partner that are read to find whom they concern; if there are more, all its waiters look.
pub const CATCH_UP_EVENTS: i64 = 500;
/// Events that are read at a time for that.
const CATCH_UP_PAGE: i64 = 100;

/// What a look at the database found.
#[derive(Debug)]
pub enum Look<T> {
    /// An answer worth giving now.
    Enough(T),
    /// An answer that is given only when the time is over, and what might make a better one.
    NotYet(T, Vec<WatchKey>),
}

impl<T> Look<T> {
    fn answer(self) -> T {
        match self {
            Self::Enough(answer) | Self::NotYet(answer, _) => answer,
        }
    }
}

/// Where one waits. Cheap to clone; clones are the same place.
#[derive(Clone)]
pub struct Feed(Arc<Hub>);

/// Wakes those who wait.
pub struct Waker {
    hub: Arc<Hub>,
    commits: Receiver<CommitNotice>,
}

struct Hub {
    store: Arc<dyn Store>,
    waiting: Mutex<Waiting>,
    looks: Semaphore,
    /// Told when notices were missed.
    missed: Notify,
    released: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    last_id: u64,
    by_key: BTreeMap<(WatchKey, u64), Arc<Notify>>,
    partners: HashMap<PartnerId, Waited>,
}

/// The waiters of one partner.
#[derive(Default)]
struct Waited {
    /// Every event up to this one has woken whom it concerns. Unknown until the database has been asked: what other
    /// processes committed before is not told by the numbers of our own commits.
    known: Option<i64>,
    watches: HashMap<u64, Arc<Notify>>,
}

/// One who waits; dropping it ends that.
pub struct Watch {
    hub: Arc<Hub>,
    partner: PartnerId,
    id: u64,
    keys: Vec<WatchKey>,
    woken: Arc<Notify>,
}

impl Feed {
    /// A place to wait at, and who wakes those there; commits are heard from now on.
    pub fn open(store: Arc<dyn Store>) -> (Self, Waker) {
        let commits = store.commits();
        let hub = Arc::new(Hub {
            store,
            waiting: Mutex::default(),
            looks: Semaphore::new(LOOKS_AT_ONCE),
            missed: Notify::new(),
            released: CancellationToken::new(),
        });
        let waker = Waker {
            hub: Arc::clone(&hub),
            commits,
        };
        (Self(hub), waker)
    }

    /// Looks, and while it is not yet enough looks again whenever something moved that the last look asked for, until
    /// `wait` is over. Without a time to wait it is one look and costs nothing more.
    ///
    /// # Errors
    /// Those of `look`.
    pub async fn look_until<T, E>(
        &self,
        partner: PartnerId,
        wait: Duration,
        look: impl AsyncFn() -> Result<Look<T>, E>,
    ) -> Result<T, E> {
        if wait.is_zero() {
            return look().await.map(Look::answer);
        }
        let until = Deadline::now() + wait;
        let is_first = Cell::new(true);
        let look_in_turn = async || {
            let _turn = if is_first.replace(false) {
                None
            } else {
                self.turn().await
            };
            look().await
        };
        if let Some(answer) = self.until_enough(partner, until, look_in_turn).await? {
            return Ok(answer);
        }
        let _turn = self.turn().await;
        look().await.map(Look::answer)
    }

    /// The same for whoever looks in turns of its own, and reads on afterwards anyway: at the end of the time nothing is
    /// looked at any more.
    ///
    /// # Errors
    /// Those of `look`.
    pub async fn until_enough<T, E>(
        &self,
        partner: PartnerId,
        until: Deadline,
        look: impl AsyncFn() -> Result<Look<T>, E>,
    ) -> Result<Option<T>, E> {
        // Before the first look, so that nothing happens between the two.
        let mut watch = self.watch(partner, vec![WatchKey::partner(partner)]);
        loop {
            match look().await? {
                Look::Enough(answer) => return Ok(Some(answer)),
                // What was found is not kept meanwhile: thousands may wait.
                Look::NotYet(_, keys) => watch.wait_for(keys),
            }
            if !watch.moved(until).await {
                return Ok(None);
            }
        }
    }

    /// Begins to wait for anything that has one of the keys.
    pub fn watch(&self, partner: PartnerId, keys: Vec<WatchKey>) -> Watch {
        let woken = Arc::new(Notify::new());
        let mut waiting = self.0.lock();
        waiting.last_id += 1;
        let id = waiting.last_id;
        waiting.add_keys(id, &keys, &woken);
        let waited = waiting.partners.entry(partner).or_default();
        waited.watches.insert(id, Arc::clone(&woken));
        Watch {
            hub: Arc::clone(&self.0),
            partner,
            id,
            keys,
            woken,
        }
    }

    /// A place among the few that may look at the same time, for whoever reads more after it has waited. Always there:
    /// the places are never closed.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.0.looks.acquire().await.ok()
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        let waiting = self.0.lock();
        let counts = waiting.partners.values().map(|waited| waited.watches.len());
        counts.sum()
    }

    /// Whether nobody waits any more, because the service stops.
    pub fn is_released(&self) -> bool {
        self.0.released.is_cancelled()
    }

    /// Waits until everybody is let go.
    pub async fn released(&self) {
        self.0.released.cancelled().await;
    }

    /// How many of them wait for this.
    pub fn waiting_for(&self, key: WatchKey) -> usize {
        let waiting = self.0.lock();
        waiting.by_key.range((key, 0)..=(key, u64::MAX)).count()
    }

    /// Lets everybody go who waits now, and nobody wait from now on.
    pub fn release(&self) {
        self.0.released.cancel();
    }
}

impl Watch {
    /// Waits for other keys from now on. What has moved already is not forgotten.
    pub fn wait_for(&mut self, keys: Vec<WatchKey>) {
        if keys == self.keys {
            return;
        }
        // What was not watched until now may have moved since the last look: then one more look says so.
        let anything = WatchKey::partner(self.partner);
        if !self.keys.contains(&anything) && !keys.iter().all(|key| self.keys.contains(key)) {
            self.woken.notify_one();
        }
        let mut waiting = self.hub.lock();
        waiting.add_keys(self.id, &keys, &self.woken);
        let left = self.keys.iter().filter(|key| !keys.contains(key));
        for key in left {
            waiting.by_key.remove(&(*key, self.id));
        }
        drop(waiting);
        self.keys = keys;
    }

    /// True as soon as something moved since the last call; false when the time is over or everybody is let go.
    pub async fn moved(&self, until: Deadline) -> bool {
        tokio::select! {
            biased;
            () = self.hub.released.cancelled() => false,
            () = self.woken.notified() => true,
            () = tokio::time::sleep_until(until) => false,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.hub.lock();
        for key in &self.keys {
            waiting.by_key.remove(&(*key, self.id));
        }
        if let Some(waited) = waiting.partners.get_mut(&self.partner) {
            waited.watches.remove(&self.id);
            if waited.watches.is_empty() {
                waiting.partners.remove(&self.partner);
            }
        }
    }
}

impl Waker {
    /// Works until cancelled; then lets everybody go.
    pub async fn run(self, cancel: CancellationToken) {
        let hub = self.hub;
        tokio::select! {
            () = cancel.cancelled() => {}
            () = hub.hear(self.commits) => {}
            () = hub.look_elsewhere() => {}
        }
        hub.released.cancel();
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn hear(&self, mut commits: Receiver<CommitNotice>) {
        loop {
            match commits.recv().await {
                Ok(notice) => self.lock().tell(&notice.moves),
                Err(RecvError::Lagged(_)) => self.missed.notify_one(),
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }

    /// Asks the database what this process was not told of. Nobody else writes to the embedded one, so there only
    /// missed notices are a reason.
    async fn look_elsewhere(&self) {
        loop {
            let pause = Duration::from_millis(rand::random_range(LOOK_AGAIN_MS));
            tokio::select! {
                () = self.missed.notified() => {}
                () = tokio::time::sleep(pause), if !self.store.is_embedded() => {}
            }
            if let Err(reason) = self.catch_up().await {
                tracing::debug!(%reason, "whoever waits is not told of other processes now");
                tokio::time::sleep(pause).await;
                self.missed.notify_one();
            }
        }
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        let before: HashMap<PartnerId, Option<i64>> = {
            let waiting = self.lock();
            let known = waiting.partners.iter();
            known
                .map(|(partner, waited)| (*partner, waited.known))
                .collect()
        };
        if before.is_empty() {
            return Ok(());
        }
        let partners = before.keys().copied().collect();
        for (partner, head) in self.store.list_feed_heads(partners).await? {
            match before.get(&partner).copied().flatten() {
                Some(known) if known >= head => {}
                Some(known) if head - known <= CATCH_UP_EVENTS => {
                    self.tell_since(partner, known, head).await?;
                }
                _ => self.lock().tell_all(partner, head),
            }
        }
        Ok(())
    }

    /// Wakes those whom the events after `known` concern.
    async fn tell_since(
        &self,
        partner: PartnerId,
        mut known: i64,
        head: i64,
    ) -> Result<(), StoreError> {
        while known < head {
            let page = self
                .store
                .list_events(partner, known, CATCH_UP_PAGE)
                .await?;
            let last = page.events.last().map(|event| event.sequence);
            let (Some(last), None) = (last, page.oldest) else {
                self.lock().tell_all(partner, head);
                return Ok(());
            };
            let keys: HashSet<WatchKey> = page.events.iter().flat_map(WatchKey::of).collect();
            let mut waiting = self.lock();
            waiting.wake(&keys);
            waiting.know(partner, last);
            known = last;
        }
        Ok(())
    }
}

impl Waiting {
    fn add_keys(&mut self, id: u64, keys: &[WatchKey], woken: &Arc<Notify>) {
        for key in keys {
            self.by_key.insert((*key, id), Arc::clone(woken));
        }
    }

    /// A commit of this process. Each key once: a commit of many events must not wake everybody as often.
    fn tell(&mut self, moves: &[Move]) {
        if self.partners.is_empty() {
            return;
        }
        let keys: HashSet<WatchKey> = moves.iter().flat_map(|moved| moved.keys).collect();
        self.wake(&keys);
        for moved in moves {
            // Over a gap nothing is known: another process's events are in it, or our own that are told in a moment.
            if let Some(waited) = self.partners.get_mut(&moved.partner_id)
                && waited
                    .known
                    .is_some_and(|known| known + 1 == moved.sequence)
            {
                waited.known = Some(moved.sequence);
            }
        }
    }

    fn wake(&self, keys: &HashSet<WatchKey>) {
        for key in keys {
            for (_, woken) in self.by_key.range((*key, 0)..=(*key, u64::MAX)) {
                // Kept for one who is looking just now.
                woken.notify_one();
            }
        }
    }

    fn tell_all(&mut self, partner: PartnerId, head: i64) {
        if let Some(waited) = self.partners.get(&partner) {
            for woken in waited.watches.values() {
                woken.notify_one();
            }
        }
        self.know(partner, head);
    }

    fn know(&mut self, partner: PartnerId, head: i64) {
        if let Some(waited) = self.partners.get_mut(&partner) {
            waited.known = waited.known.max(Some(head));
        }
    }
}
