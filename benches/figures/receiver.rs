//! A partner's back end: takes webhooks and notes when each arrived.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Listens on a thread of its own until the process ends.
pub fn start() -> (SocketAddr, Receiver<Instant>) {
    let (arrived, arrivals) = channel();
    let (told, address) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let arrived = arrived.clone();
                tokio::spawn(async move {
                    let _ = answer(stream, |at| {
                        let _ = arrived.send(at);
                    })
                    .await;
                });
            }
        });
    });
    (address.recv().unwrap(), arrivals)
}

async fn answer(mut stream: TcpStream, arrived: impl Fn(Instant)) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kept = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        kept.extend_from_slice(&buffer[..read]);
        while let Some(length) = whole_request(&kept) {
            arrived(Instant::now());
            kept.drain(..length);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await?;
        }
    }
}

/// How long the first request is, if all of it is there.
fn whole_request(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    (bytes.len() >= end + length).then_some(end + length)
}
