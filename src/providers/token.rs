//! One access token an account: kept until shortly before it ends, fetched by one caller while the others wait.

use std::sync::atomic::{AtomicU64, Ordering};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::payment_provider::TokenError;
use crate::domain::clock::Instant;

/// A token and how long it may be used.
#[derive(Debug, Clone)]
pub struct Token {
    /// The value as the provider gave it.
    pub value: SecretString,
    /// Not to be used from then on.
    pub until: Instant,
}

/// The token of one account.
#[derive(Debug, Default)]
pub struct TokenCache {
    current: Mutex<State>,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    failure: Option<TokenError>,
}

impl TokenCache {
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
        match fetch.await {
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
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use chrono::Duration;

    use super::*;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::providers::payment_provider::NoAnswer;

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
