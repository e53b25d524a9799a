//! Reads that many want at the same moment, made once: one commit may have woken thousands who ask the same.
//!
//! It is no cache. Whoever asks gets a read that began after it asked; it only shares it with those who were waiting for
//! their turn just then.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

/// The reads that have not begun yet, by what is read.
pub struct Together<K, V> {
    waiting: Mutex<HashMap<K, Arc<OnceCell<V>>>>,
}

impl<K, V> Default for Together<K, V> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Together<K, V> {
    /// What `read` finds once it has its `turn`. Of those who ask for the same before that, one reads for all; if it is
    /// dropped, another one takes its place.
    pub async fn read<T>(
        &self,
        key: &K,
        turn: impl Future<Output = T>,
        read: impl AsyncFnOnce() -> V,
    ) -> V {
        let cell = Arc::clone(self.lock().entry(key.clone()).or_default());
        let group = Group {
            all: self,
            key,
            cell,
        };
        let found = group.cell.get_or_init(async || {
            let _turn = turn.await;
            // Whoever comes from now on would get news that are older than its question.
            group.close();
            read().await
        });
        found.await.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<OnceCell<V>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One's place among those who wait for the same read.
struct Group<'a, K: Clone + Eq + Hash, V: Clone> {
    all: &'a Together<K, V>,
    key: &'a K,
    cell: Arc<OnceCell<V>>,
}

impl<K: Clone + Eq + Hash, V: Clone> Group<'_, K, V> {
    fn close(&self) {
        let mut waiting = self.all.lock();
        if waiting
            .get(self.key)
            .is_some_and(|cell| Arc::ptr_eq(cell, &self.cell))
        {
            waiting.remove(self.key);
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Drop for Group<'_, K, V> {
    /// Who leaves last before the turn leaves nothing behind.
    fn drop(&mut self) {
        let mut waiting = self.all.lock();
        // The map's own and this one.
        if Arc::strong_count(&self.cell) == 2
            && waiting
                .get(self.key)
                .is_some_and(|cell| Arc::ptr_eq(cell, &self.cell))
        {
            waiting.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::{Notify, Semaphore};

    use super::*;

    #[tokio::test]
    async fn those_who_wait_for_the_same_turn_share_a_read_and_others_do_not() {
        let together = Together::default();
        let turns = Semaphore::new(0);
        let reads = AtomicUsize::new(0);
        let ask = |key: &'static str| {
            let (together, turns, reads) = (&together, &turns, &reads);
            async move {
                let read = async || reads.fetch_add(1, Ordering::SeqCst);
                together.read(&key, turns.acquire(), read).await
            }
        };
        let all = join_all((0..100).map(|n| ask(if n % 2 == 0 { "even" } else { "odd" })));
        let open = async {
            tokio::task::yield_now().await;
            turns.add_permits(1);
        };
        let (found, ()) = tokio::join!(all, open);
        assert_eq!(reads.load(Ordering::SeqCst), 2);
        assert!(found.iter().step_by(2).all(|read| *read == found[0]));
        assert!(together.lock().is_empty());
    }

    #[tokio::test]
    async fn whoever_asks_while_it_is_read_gets_a_later_read() {
        let together = Together::default();
        let (begun, go_on) = (Notify::new(), Notify::new());
        let first = together.read(&1, std::future::ready(()), async || {
            begun.notify_one();
            go_on.notified().await;
            "old"
        });
        let second = async {
            begun.notified().await;
            let asked = together.read(&1, std::future::ready(()), async || "new");
            let (found, ()) = tokio::join!(asked, async { go_on.notify_one() });
            found
        };
        assert_eq!(tokio::join!(first, second), ("old", "new"));
    }

    #[tokio::test]
    async fn a_reader_that_is_dropped_is_replaced_and_leaves_nothing() {
        let together: Together<i32, &str> = Together::default();
        {
            let stuck = together.read(&1, std::future::pending::<()>(), async || "never");
            let mut stuck = Box::pin(stuck);
            assert!(futures_util::poll!(&mut stuck).is_pending());
            let next = together.read(&1, std::future::ready(()), async || "read");
            let mut next = Box::pin(next);
            assert!(futures_util::poll!(&mut next).is_pending());
            drop(stuck);
            assert_eq!(next.await, "read");
        }
        let alone = together.read(&2, std::future::pending::<()>(), async || "never");
        let mut alone = Box::pin(alone);
        assert!(futures_util::poll!(&mut alone).is_pending());
        drop(alone);
        assert!(together.lock().is_empty());
    }
}
