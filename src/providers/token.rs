//! One access token an account: kept until shortly before it ends, fetched by one caller while the others wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::answer::TokenError;
use crate::domain::clock::Instant;

/// How long one process may fetch while the others wait: a little more than a call may take.
pub const FETCH_LEASE: Duration = Duration::from_secs(35);
/// How often those look.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A token and how long it may be used.
#[derive(Debug, Clone)]
pub struct Token {
    /// The value as the provider gave it.
    pub value: SecretString,
    /// Not to be used from then on.
    pub until: Instant,
}

/// Where an account's token is kept for every process that works with the account: a provider may end a token when it
/// gives the next one to somebody else. All of it is best effort; who finds nothing and is refused nothing fetches.
#[async_trait]
pub trait TokenHome: Send + Sync + 'static {
    /// The token that is kept, whoever fetched it.
    async fn find(&self) -> Option<Token>;
    /// Takes the right to fetch the next one until `until`; false while another process has it.
    async fn claim(&self, now: Instant, until: Instant) -> bool;
    /// Gives that right back, with what was fetched.
    async fn give_back(&self, token: Option<&Token>);
}

/// The token of one account.
#[derive(Default)]
pub struct TokenCache {
    home: Option<Arc<dyn TokenHome>>,
    current: Mutex<State>,
    failures: AtomicU64,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    failure: Option<TokenError>,
    /// The last one that was refused: it may still be kept somewhere.
    refused: Option<SecretString>,
}

impl State {
    fn is_refused(&self, token: &Token) -> bool {
        let refused = self.refused.as_ref().map(ExposeSecret::expose_secret);
        refused == Some(token.value.expose_secret())
    }
}

impl TokenCache {
    /// A token that has its home there, or is this process's own.
    pub fn new(home: Option<Arc<dyn TokenHome>>) -> Self {
        Self {
            home,
            ..Self::default()
        }
    }

    /// The token, fetched if there is none that is good at `now`. Callers who waited for somebody else's fetch share
    /// what came of it, a failure too: otherwise each would try a silent provider in turn.
    ///
    /// # Errors
    /// What `fetch` ended in.
    pub async fn token(
        &self,
        now: Instant,
        fetch: impl Future<Output = Result<Token, TokenError>>,
    ) -> Result<SecretString, TokenError> {
        let failures_seen = self.failures.load(Ordering::Acquire);
        let mut state = self.current.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| now < token.until) {
            return Ok(token.value.clone());
        }
        if self.failures.load(Ordering::Acquire) > failures_seen
            && let Some(failure) = &state.failure
        {
            return Err(failure.clone());
        }
        let found = match &self.home {
            Some(home) => match find_or_claim(home.as_ref(), &state, now).await {
                Some(token) => Ok(token),
                None => {
                    let fetched = fetch.await;
                    home.give_back(fetched.as_ref().ok()).await;
                    fetched
                }
            },
            None => fetch.await,
        };
        match found {
            Ok(token) => {
                let value = token.value.clone();
                state.token = Some(token);
                state.failure = None;
                Ok(value)
            }
            Err(error) => {
                state.token = None;
                state.failure = Some(error.clone());
                self.failures.fetch_add(1, Ordering::AcqRel);
                Err(error)
            }
        }
    }

    /// Forgets `refused`, unless somebody has fetched another since.
    pub async fn forget(&self, refused: &SecretString) {
        let mut state = self.current.lock().await;
        if state
            .token
            .as_ref()
            .is_some_and(|token| token.value.expose_secret() == refused.expose_secret())
        {
            state.token = None;
            state.refused = Some(refused.clone());
        }
    }
}

/// A token that another process has fetched, or `None` with the right to fetch. Whoever waits longer than any fetch
/// takes does not wait on.
async fn find_or_claim(home: &dyn TokenHome, state: &State, now: Instant) -> Option<Token> {
    let is_good = |token: &Token| now < token.until && !state.is_refused(token);
    let tries = FETCH_LEASE.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..tries {
        if let Some(token) = home.find().await.filter(is_good) {
            return Some(token);
        }
        if home.claim(now, now + FETCH_LEASE).await {
            // Somebody may have been quicker between the two.
            let found = home.find().await.filter(is_good);
            if found.is_some() {
                home.give_back(None).await;
            }
            return found;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use chrono::Duration;

    use super::*;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::providers::answer::NoAnswer;

    fn good(value: &str, until: Instant) -> Token {
        Token {
            value: SecretString::from(value),
            until,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_callers_fetch_one_token_and_one_more_after_it_was_refused() {
        let (cache, fetches) = (Arc::new(TokenCache::default()), AtomicUsize::new(0));
        let now = SystemClock.now();
        let fetch = || async {
            let count = fetches.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(good(&format!("token-{count}"), now + Duration::hours(1)))
        };
        let calls = (0..64).map(|_| cache.token(now, fetch()));
        let tokens = futures_util::future::join_all(calls).await;
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        let refused = tokens[0].as_ref().unwrap().clone();
        for _ in 0..64 {
            cache.forget(&refused).await;
            let next = cache.token(now, fetch()).await.unwrap();
            assert_eq!(next.expose_secret(), "token-1");
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    /// A home that several caches share, as processes do.
    #[derive(Default)]
    struct Shared {
        kept: std::sync::Mutex<(Option<Token>, Option<Instant>)>,
    }

    #[async_trait]
    impl TokenHome for Shared {
        async fn find(&self) -> Option<Token> {
            self.kept.lock().unwrap().0.clone()
        }

        async fn claim(&self, now: Instant, until: Instant) -> bool {
            let mut kept = self.kept.lock().unwrap();
            let is_free = kept.1.is_none_or(|held| held <= now);
            if is_free {
                kept.1 = Some(until);
            }
            is_free
        }

        async fn give_back(&self, token: Option<&Token>) {
            let mut kept = self.kept.lock().unwrap();
            kept.1 = None;
            if let Some(token) = token {
                kept.0 = Some(token.clone());
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn several_processes_use_one_token_and_one_more_after_it_was_refused() {
        let (home, fetches) = (Arc::new(Shared::default()), AtomicUsize::new(0));
        let caches: Vec<TokenCache> = (0..4)
            .map(|_| TokenCache::new(Some(Arc::<Shared>::clone(&home))))
            .collect();
        let now = SystemClock.now();
        let fetch = || async {
            let count = fetches.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(good(&format!("token-{count}"), now + Duration::hours(1)))
        };
        for round in 0..3 {
            let calls = (0..64).map(|call: usize| caches[call % 4].token(now, fetch()));
            let tokens = futures_util::future::join_all(calls).await;
            assert_eq!(fetches.load(Ordering::SeqCst), round + 1);
            for token in tokens {
                let token = token.unwrap();
                assert_eq!(token.expose_secret(), format!("token-{round}"));
            }
            // Each process hears of the refusal by itself.
            let refused = SecretString::from(format!("token-{round}"));
            for cache in &caches {
                cache.forget(&refused).await;
            }
        }
    }

    #[tokio::test]
    async fn a_failed_fetch_gives_the_right_to_fetch_back() {
        let home = Arc::new(Shared::default());
        let now = SystemClock.now();
        let cache = TokenCache::new(Some(Arc::<Shared>::clone(&home)));
        let failing = async {
            Err(TokenError::Unknown(NoAnswer {
                reason: "no connection".to_owned(),
                http_status: None,
                is_down: true,
            }))
        };
        assert!(cache.token(now, failing).await.is_err());
        let other = TokenCache::new(Some(home));
        let until = now + Duration::hours(1);
        let token = other.token(now, async { Ok(good("a", until)) }).await;
        assert_eq!(token.unwrap().expose_secret(), "a");
    }

    #[tokio::test]
    async fn a_token_is_fetched_again_when_its_time_is_over() {
        let cache = TokenCache::default();
        let now = SystemClock.now();
        let until = now + Duration::minutes(5);
        let first = cache.token(now, async { Ok(good("a", until)) }).await;
        assert_eq!(first.unwrap().expose_secret(), "a");
        let later = cache.token(until, async { Ok(good("b", until)) }).await;
        assert_eq!(later.unwrap().expose_secret(), "b");
    }

    #[tokio::test]
    async fn who_waited_for_a_failed_fetch_shares_the_failure_and_the_next_caller_tries_anew() {
        let cache = TokenCache::default();
        let now = SystemClock.now();
        let fetches = AtomicUsize::new(0);
        let failing = || async {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Err(TokenError::Unknown(NoAnswer {
                reason: "no connection".to_owned(),
                http_status: None,
                is_down: true,
            }))
        };
        let calls = (0..8).map(|_| cache.token(now, failing()));
        let answers = futures_util::future::join_all(calls).await;
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert!(cache.token(now, failing()).await.is_err());
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }
}
