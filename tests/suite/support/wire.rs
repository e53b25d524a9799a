//! A wire to a server that can be cut: then it carries nothing more, in neither direction, and closes nothing. Who is at
//! its end cannot tell a cut wire from a slow server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What a transaction writes whose commit is to be lost.
pub const MARK: &str = "A-MARKED-TRANSACTION";

/// The wire; gone with this value.
pub struct Wire {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    loses_commit: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Wire {
    /// To this address.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (whole, seen) = watch::channel(true);
        let loses_commit = Arc::new(AtomicBool::new(false));
        let armed = Arc::clone(&loses_commit);
        let task = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(carry(caller, target, seen.clone(), Arc::clone(&armed)));
            }
        });
        Self {
            address,
            whole,
            loses_commit,
            task: task.abort_handle(),
        }
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Carries nothing from now on.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// The next `COMMIT` of a connection that carried [`MARK`] still arrives at the server; its answer does not come back,
    /// for the connection ends.
    pub fn lose_marked_commit(&self) {
        self.loses_commit.store(true, Ordering::SeqCst);
    }

    /// Whether that has happened.
    pub fn has_lost_it(&self) -> bool {
        !self.loses_commit.load(Ordering::SeqCst)
    }

    /// Carries on where it was cut.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut caller: TcpStream,
    target: SocketAddr,
    mut whole: watch::Receiver<bool>,
    loses_commit: Arc<AtomicBool>,
) {
    if whole.wait_for(|whole| *whole).await.is_err() {
        return;
    }
    let Ok(mut called) = TcpStream::connect(target).await else {
        return;
    };
    let _ = caller.set_nodelay(true);
    let _ = called.set_nodelay(true);
    let (from_caller, to_caller) = caller.split();
    let (from_called, to_called) = called.split();
    let never = AtomicBool::new(false);
    // One end that closes closes the other.
    tokio::select! {
        () = pass_on(from_caller, to_called, whole.clone(), &loses_commit) => {}
        () = pass_on(from_called, to_caller, whole, &never) => {}
    }
}

async fn pass_on(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut whole: watch::Receiver<bool>,
    loses_commit: &AtomicBool,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut is_marked = false;
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            // That an end closed is not told over a cut wire either.
            let _ = whole.wait_for(|whole| *whole).await;
            return;
        };
        if whole.wait_for(|whole| *whole).await.is_err() {
            return;
        }
        let has = |text: &str| {
            let mut windows = buffer[..count].windows(text.len());
            windows.any(|window| window == text.as_bytes())
        };
        is_marked |= has(MARK);
        let is_commit = is_marked && has("COMMIT");
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        if is_commit && loses_commit.swap(false, Ordering::SeqCst) {
            return;
        }
    }
}
