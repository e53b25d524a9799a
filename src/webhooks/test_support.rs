//! A partner's server for the tests of this room: hands every request to the test, which answers when it likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// A hanging test is a failing test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Listens on a port of its own.
pub struct Receiver {
    url: String,
    connections: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<Request>,
}

/// A request that waits for its answer; dropping it closes the connection.
pub struct Request {
    head: String,
    pub body: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let (sender, requests) = mpsc::unbounded_channel();
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(converse(stream, sender.clone()));
            }
        });
        Self {
            url,
            connections,
            requests,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub async fn next(&mut self) -> Request {
        tokio::time::timeout(PATIENCE, self.requests.recv())
            .await
            .expect("a request in time")
            .unwrap()
    }

    /// A request that is already here.
    pub fn next_now(&mut self) -> Option<Request> {
        self.requests.try_recv().ok()
    }
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn answer(self, status: u16) {
        self.answer_raw(&format!(
            "HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n\r\n"
        ));
    }

    pub fn answer_raw(self, raw: &str) {
        let _ = self.answer.send(raw.as_bytes().to_vec());
    }
}

async fn converse(mut stream: TcpStream, requests: mpsc::UnboundedSender<Request>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
            read_more(&mut stream, &mut bytes).await?;
        };
        let (answer, answered) = oneshot::channel();
        let mut request = Request {
            head: String::from_utf8_lossy(&bytes[..head_end]).into_owned(),
            body: Vec::new(),
            answer,
        };
        let length: usize = request.header("content-length")?.parse().ok()?;
        while bytes.len() < head_end + length {
            read_more(&mut stream, &mut bytes).await?;
        }
        request.body = bytes[head_end..head_end + length].to_vec();
        bytes.drain(..head_end + length);
        requests.send(request).ok()?;
        let answer = answered.await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(bytes).await.ok()? > 0).then_some(())
}
