//! SQLite blocks, so it works on threads of its own: a few readers that take jobs from one queue, and the writer. A read
//! is one hop there and one back; a commit is judged, written and synced where its batch was taken from the queue.

use std::cell::Cell;
use std::collections::VecDeque;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use diesel_async::sync_connection_wrapper::SpawnBlocking;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{QUEUE_CAPACITY, StoreError};

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `future` to its end on a new thread that blocks for the database instead of sending its work on.
pub fn run_on_own_thread(
    name: &str,
    future: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StoreError> {
    let runtime = Handle::current();
    spawn(name, move || {
        MAY_BLOCK.set(true);
        runtime.block_on(future);
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

/// Where a connection's work is done: here, if this thread may block, else on the runtime's blocking threads.
pub struct Place(Handle);

impl SpawnBlocking for Place {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn Error + Send + Sync + 'static>>>
    where
        R: Send + 'static,
    {
        if MAY_BLOCK.get() {
            return ready(Ok(task())).boxed();
        }
        let task = self.0.spawn_blocking(task);
        async move { task.await.map_err(Box::from) }.boxed()
    }

    fn get_runtime() -> Self {
        Self(Handle::current())
    }
}

/// Uses a connection, and says whether it may be used again.
type Job = Box<dyn FnOnce(Result<&mut SqliteConnection, StoreError>) -> bool + Send>;

/// The readers. Their threads end with the last of these values.
#[derive(Clone)]
pub struct Readers(Arc<Owner>);

struct Owner(Arc<Queue>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.something.notify_all();
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    something: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_closed: bool,
    /// How often all connections had to be closed.
    reopenings: u64,
}

/// What a reader does next.
enum Next {
    Run(Job),
    Reopen(u64),
}

impl Readers {
    /// Starts so many; each opens its connection to `path` when it is first needed.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn start(count: usize, path: &str, set_up: &'static str) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::default());
        let readers = Self(Arc::new(Owner(Arc::clone(&queue))));
        for _ in 0..count {
            let (queue, path) = (Arc::clone(&queue), path.to_owned());
            spawn("sqlite-reader", move || queue.work_off(&path, set_up))?;
        }
        Ok(readers)
    }

    /// Closes every connection, the idle ones at once; they are opened again when they are needed.
    pub fn reopen(&self) {
        self.0.0.lock().reopenings += 1;
        self.0.0.something.notify_all();
    }

    /// Runs `act` on a reader and waits for it no longer than `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be opened, too many wait already or the time is over; whatever
    /// `act` ended in otherwise.
    pub async fn read<R: Send + 'static>(
        &self,
        limit: Duration,
        act: impl FnOnce(&mut SqliteConnection) -> QueryResult<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.0.0.push(Box::new(move |conn| {
            // Nobody waits any more: the next one need not wait for it either.
            if answer.is_closed() {
                return true;
            }
            let outcome = conn.and_then(|conn| act(conn).map_err(StoreError::from));
            let is_good = outcome.is_ok();
            let _ = answer.send(outcome);
            is_good
        }))?;
        match tokio::time::timeout(limit, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(StoreError::Query("a read broke off".to_owned())),
            Err(_) => Err(StoreError::Unavailable(format!(
                "no answer within {limit:?}"
            ))),
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.jobs.len() >= QUEUE_CAPACITY {
            return Err(StoreError::Unavailable(format!(
                "{QUEUE_CAPACITY} reads are waiting already"
            )));
        }
        state.jobs.push_back(job);
        drop(state);
        self.something.notify_one();
        Ok(())
    }

    fn take(&self, reopenings_seen: u64) -> Option<Next> {
        let mut state = self.lock();
        loop {
            if state.reopenings != reopenings_seen {
                return Some(Next::Reopen(state.reopenings));
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(Next::Run(job));
            }
            if state.is_closed {
                return None;
            }
            state = self
                .something
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work_off(&self, path: &str, set_up: &str) {
        let mut conn = None;
        let mut reopenings_seen = 0;
        while let Some(next) = self.take(reopenings_seen) {
            let job = match next {
                Next::Run(job) => job,
                Next::Reopen(count) => {
                    conn = None;
                    reopenings_seen = count;
                    continue;
                }
            };
            let mut open = match conn.take().map_or_else(|| open(path, set_up), Ok) {
                Ok(open) => open,
                Err(error) => {
                    job(Err(error));
                    continue;
                }
            };
            // A connection on which a read failed may be inside a transaction, and is closed. A panic has been reported.
            if catch_unwind(AssertUnwindSafe(|| job(Ok(&mut open)))).unwrap_or(false) {
                conn = Some(open);
            }
        }
    }
}

fn open(path: &str, set_up: &str) -> Result<SqliteConnection, StoreError> {
    let mut conn = SqliteConnection::establish(path)
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    conn.batch_execute(set_up)?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn readers(count: usize) -> (Readers, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reads.db");
        let readers = Readers::start(count, path.to_str().unwrap(), "PRAGMA busy_timeout = 1000");
        (readers.unwrap(), folder)
    }

    fn one(conn: &mut SqliteConnection) -> QueryResult<i32> {
        diesel::select(1_i32.into_sql::<diesel::sql_types::Integer>()).get_result(conn)
    }

    #[tokio::test]
    async fn a_read_that_panics_fails_alone() {
        let (readers, _folder) = readers(1);
        let failed = readers
            .read(LIMIT, |_| -> QueryResult<()> { panic!("on purpose") })
            .await;
        assert!(matches!(failed, Err(StoreError::Query(_))));
        assert_eq!(readers.read(LIMIT, one).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_read_that_fails_inside_a_transaction_leaves_none_behind() {
        let (readers, _folder) = readers(1);
        let begin = |conn: &mut SqliteConnection| conn.batch_execute("BEGIN");
        let failed = readers.read(LIMIT, move |conn| {
            begin(conn)?;
            conn.batch_execute("SELECT nothing")
        });
        assert!(failed.await.is_err());
        readers.read(LIMIT, begin).await.unwrap();
    }

    #[tokio::test]
    async fn a_read_nobody_waits_for_any_more_is_not_begun() {
        let (readers, _folder) = readers(1);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let busy = readers.clone();
        let busy = tokio::spawn(async move {
            let act = move |_: &mut SqliteConnection| {
                let _ = begun.send(());
                Ok(wait.recv().is_ok())
            };
            busy.read(LIMIT, act).await
        });
        has_begun.await.unwrap();
        let late = readers
            .read(Duration::from_millis(20), |_| -> QueryResult<()> {
                panic!("was begun")
            })
            .await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))));
        go.send(()).unwrap();
        assert!(busy.await.unwrap().unwrap());
        assert_eq!(readers.read(LIMIT, one).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn reads_beyond_the_queue_are_refused_at_once() {
        let (readers, _folder) = readers(0);
        for _ in 0..QUEUE_CAPACITY {
            readers.0.0.push(Box::new(|_| true)).unwrap();
        }
        let refused = readers.read(LIMIT, one).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    }

    #[tokio::test]
    async fn connections_are_closed_when_told_so_and_opened_again() {
        let (readers, _folder) = readers(2);
        let mark = |conn: &mut SqliteConnection| conn.batch_execute("CREATE TEMP TABLE mark (n)");
        let is_marked =
            |conn: &mut SqliteConnection| Ok(conn.batch_execute("SELECT n FROM temp.mark").is_ok());
        readers.read(LIMIT, mark).await.unwrap();
        readers.reopen();
        for _ in 0..2 {
            assert!(!readers.read(LIMIT, is_marked).await.unwrap());
        }
    }

    #[tokio::test]
    async fn the_threads_end_with_their_owner() {
        let (readers, _folder) = readers(2);
        let queue = Arc::downgrade(&readers.0.0);
        assert_eq!(readers.read(LIMIT, one).await.unwrap(), 1);
        drop(readers);
        while queue.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
