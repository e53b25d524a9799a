//! One address for a service that ends and starts again on other ports: connections go to whoever listens now.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// The gate; closed with this value.
pub struct Gate {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    task: AbortHandle,
}

impl Gate {
    /// Opens a gate that leads nowhere yet.
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(None));
        let way = target.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let Some(target) = *way.lock().unwrap() else {
                    continue;
                };
                tokio::spawn(async move {
                    if let Ok(mut called) = TcpStream::connect(target).await {
                        let _ = caller.set_nodelay(true);
                        let _ = called.set_nodelay(true);
                        let _ = copy_bidirectional(&mut caller, &mut called).await;
                    }
                });
            }
        });
        Self {
            address,
            target,
            task: task.abort_handle(),
        }
    }

    /// Where new connections lead from now on.
    pub fn lead_to(&self, url: &str) {
        let address = url.strip_prefix("http://").unwrap_or(url);
        *self.target.lock().unwrap() = Some(address.parse().unwrap());
    }

    /// New connections are closed from now on.
    pub fn lead_nowhere(&self) {
        *self.target.lock().unwrap() = None;
    }

    /// The address that stays.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}
