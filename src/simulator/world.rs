//! What both fake providers stand on: the seed, the clock, made-up ids, and the posting of callbacks.
//! Callbacks run on the runtime that started the simulator, not on the web server's own threads, so that
//! a callback outlives the request that caused it.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::faults::Plans;
use super::ledger::{Book, LEDGER_PAYMENTS};
use super::{Now, SimulatorSettings, clickpesa, daraja};

/// How many payments (and other things) are remembered; older ones are forgotten, so that a simulator
/// under load for days does not grow without end.
const REMEMBERED: usize = 200_000;

pub(super) struct World {
    pub(super) daraja: daraja::State,
    pub(super) clickpesa: clickpesa::State,
    pub(super) faults: Plans,
    pub(super) ledger: Book,
    pub(super) token_lifetime: TimeDelta,
    /// Every access token that was given out, so that a test can look for it where it must not be.
    pub(super) issued: Mutex<Recent<()>>,
    now: Now,
    delay: RangeInclusive<Duration>,
    delays: Mutex<StdRng>,
    ids: Mutex<Ids>,
    client: reqwest::Client,
    runtime: Handle,
    tasks: TaskTracker,
    stopping: CancellationToken,
    due: watch::Sender<usize>,
}

struct Ids {
    rng: StdRng,
    count: u64,
}

/// What is posted to somebody.
pub(super) struct Post {
    pub(super) url: String,
    pub(super) body: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl World {
    pub(super) fn build(settings: &SimulatorSettings) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        // Delays come from the seed alone. Ids come from the clock too: a simulator that is started again
        // must not hand out ids that its user's database already has.
        let faults = Plans::default();
        for plan in &settings.faults {
            faults.set(plan.clone());
        }
        let started = (settings.now)().timestamp_micros().cast_unsigned();
        Ok(Self {
            daraja: daraja::State::default(),
            clickpesa: clickpesa::State::default(),
            faults,
            ledger: Book::new(LEDGER_PAYMENTS),
            token_lifetime: TimeDelta::from_std(settings.token_lifetime)
                .unwrap_or(TimeDelta::hours(1)),
            issued: Mutex::default(),
            now: Arc::clone(&settings.now),
            delay: settings.callback_delay.clone(),
            delays: Mutex::new(StdRng::seed_from_u64(settings.seed)),
            ids: Mutex::new(Ids {
                rng: StdRng::seed_from_u64(settings.seed ^ started.rotate_left(17)),
                count: 0,
            }),
            client,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            due: watch::channel(0).0,
        })
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }

    /// Nairobi's wall clock, in which Daraja writes every time.
    pub(super) fn east_africa(&self, format: &str) -> String {
        (self.now() + TimeDelta::hours(3))
            .format(format)
            .to_string()
    }

    /// The pause before the next piece of news.
    pub(super) fn draw_delay(&self) -> Duration {
        let low = whole_millis(*self.delay.start());
        let high = whole_millis(*self.delay.end()).max(low);
        Duration::from_millis(locked(&self.delays).random_range(low..=high))
    }

    /// `length` characters out of `alphabet`.
    pub(super) fn made_up(&self, alphabet: &[u8], length: usize) -> String {
        let mut ids = locked(&self.ids);
        (0..length)
            .filter_map(|_| {
                let at = ids.rng.random_range(0..alphabet.len());
                alphabet.get(at).copied().map(char::from)
            })
            .collect()
    }

    /// 1, 2, 3 …: what makes a made-up id certainly new.
    pub(super) fn count(&self) -> u64 {
        let mut ids = locked(&self.ids);
        ids.count += 1;
        ids.count
    }

    /// Runs in the background until done, or until the simulator stops.
    pub(super) fn in_background(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let stopping = self.stopping.clone();
        let due = self.due.clone();
        due.send_modify(|count| *count += 1);
        self.tasks.spawn_on(
            async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = work => {}
                }
                due.send_modify(|count| *count = count.saturating_sub(1));
            },
            &self.runtime,
        )
    }

    /// Posts once, as the providers do: no retry, whatever the answer. The ledger notes how payment `entry`
    /// was answered.
    pub(super) async fn post(&self, post: &Post, entry: Option<u64>) -> Option<reqwest::Response> {
        let mut request = self.client.post(&post.url).body(post.body.clone());
        for (name, value) in &post.headers {
            request = request.header(*name, value);
        }
        let answer = match request.send().await {
            Ok(answer) if answer.status().is_success() => {
                tracing::debug!(status = answer.status().as_u16(), "callback posted");
                Some(answer)
            }
            Ok(answer) => {
                tracing::warn!(status = answer.status().as_u16(), "callback not accepted");
                Some(answer)
            }
            // The URL may hold a secret token.
            Err(error) => {
                tracing::warn!(error = %error.without_url(), "callback not delivered");
                None
            }
        };
        if let Some(entry) = entry {
            let status = answer.as_ref().map(|answer| answer.status().as_u16());
            self.ledger.posted(entry, status);
        }
        answer
    }

    /// Waits until nothing is left to be posted.
    pub(super) async fn until_quiet(&self) {
        // The sender lives as long as we do, so this cannot fail.
        let _ = self.due.subscribe().wait_for(|count| *count == 0).await;
    }

    pub(super) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A map that forgets its oldest entries.
pub(super) struct Recent<V> {
    entries: HashMap<String, V>,
    order: VecDeque<String>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<V> Recent<V> {
    pub(super) fn find(&self, key: &str) -> Option<&V> {
        self.entries.get(key)
    }

    pub(super) fn find_mut(&mut self, key: &str) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut()
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// False if it was not there. Looks through all of them: for what is seldom done.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        self.order.retain(|kept| kept != key);
        self.entries.remove(key).is_some()
    }

    pub(super) fn insert(&mut self, key: String, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

/// A lock that a panic elsewhere does not close for ever.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
pub(super) const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
pub(super) const MIXED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
pub(super) const HEX: &[u8] = b"0123456789abcdef";
pub(super) const DIGITS: &[u8] = b"0123456789";
