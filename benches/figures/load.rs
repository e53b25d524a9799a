//! The load: raw HTTP/1.1 over keep-alive connections, requests made beforehand, of answers nothing is read but the
//! status and the length. One thread, so that it takes the same little from everything it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests ready to be written.
pub struct Requests {
    all: Vec<Vec<u8>>,
    next: AtomicUsize,
    repeat: bool,
}

impl Requests {
    /// Sent over and over.
    pub fn cycle(all: Vec<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self {
            all,
            next: AtomicUsize::new(0),
            repeat: true,
        })
    }

    /// Each sent once; the load ends when there is none left.
    pub fn once(all: Vec<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self {
            all,
            next: AtomicUsize::new(0),
            repeat: false,
        })
    }

    pub fn next(&self) -> Option<&[u8]> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let index = if self.repeat {
            index % self.all.len()
        } else {
            index
        };
        self.all.get(index).map(Vec::as_slice)
    }
}

/// What a load came to.
#[derive(Default)]
pub struct Measured {
    pub count: usize,
    pub seconds: f64,
    latencies: Vec<Duration>,
}

impl Measured {
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.seconds += other.seconds;
        self.latencies.extend(other.latencies);
    }

    pub fn of(latencies: Vec<Duration>, elapsed: Duration) -> Self {
        Self {
            count: latencies.len(),
            seconds: elapsed.as_secs_f64(),
            latencies,
        }
    }

    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// Milliseconds within which this share was done.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let index = ((sorted.len() as f64 - 1.0) * share).round() as usize;
        sorted
            .get(index)
            .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// A keep-alive connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 256 * 1024],
        })
    }

    /// Sends a request and reads its answer: the status, the head, the body.
    pub async fn ask(&mut self, request: &[u8]) -> std::io::Result<(u16, &[u8], &[u8])> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            let Some((head, length)) = head(&self.buffer[..filled]) else {
                continue;
            };
            while filled < head + length {
                if filled == self.buffer.len() {
                    self.buffer.resize(head + length, 0);
                }
                let read = self.stream.read(&mut self.buffer[filled..]).await?;
                if read == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                filled += read;
            }
            let status = std::str::from_utf8(&self.buffer[9..12]).unwrap_or_default();
            return Ok((
                status.parse().unwrap_or_default(),
                &self.buffer[..head],
                &self.buffer[head..head + length],
            ));
        }
    }
}

/// Where the body begins, and how long it is.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = bytes[..end]
        .split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked(15)?;
            name.eq_ignore_ascii_case(b"content-length:")
                .then_some(value)
        })
        .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    Some((end, length.unwrap_or_default()))
}

/// Sends requests over so many connections for at most so long. Every answer must be 200.
pub fn run(
    address: SocketAddr,
    connections: usize,
    limit: Duration,
    requests: &Arc<Requests>,
) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Client::connect(address).await.unwrap());
        }
        let started = Instant::now();
        let tasks: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let requests = Arc::clone(requests);
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    while started.elapsed() < limit {
                        let Some(request) = requests.next() else {
                            break;
                        };
                        let sent = Instant::now();
                        let (status, _, body) = client.ask(request).await.unwrap();
                        assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
                        latencies.push(sent.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.unwrap());
        }
        Measured::of(latencies, started.elapsed())
    })
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// One request on a connection of its own.
pub fn ask_once(address: SocketAddr, request: &[u8]) -> std::io::Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut client = Client::connect(address).await?;
        let (status, head, body) = client.ask(request).await?;
        let headers = String::from_utf8_lossy(head)
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Answer {
            status,
            headers,
            body: body.to_vec(),
        })
    })
}
