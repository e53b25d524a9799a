//! The machine's own bound for an answer: an actix-web handler that returns a constant of the same size with the same
//! headers. It runs in a process of its own, as the service does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};

/// The child's first argument.
pub const ARGUMENT: &str = "answer-constantly";

/// The handler's process; ended with this value.
pub struct Constant {
    pub address: SocketAddr,
    child: Child,
}

impl Constant {
    /// Starts it with the headers and the body to answer with.
    pub fn start(headers: &[(String, String)], body: &[u8]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answer = serde_json::json!([headers, String::from_utf8_lossy(body)]);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(answer.to_string().as_bytes()).unwrap();
        drop(stdin);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            address: line.trim().parse().unwrap(),
            child,
        }
    }
}

impl Drop for Constant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child does.
pub fn serve() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let (headers, body): (Vec<(String, String)>, String) = serde_json::from_str(&text).unwrap();
    let headers: Vec<(String, String)> = headers
        .into_iter()
        .filter(|(name, _)| !["content-length", "date"].contains(&name.as_str()))
        .collect();
    let body = Bytes::from(body);
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            let (headers, body) = (headers.clone(), body.clone());
            App::new().default_service(web::to(move || {
                let mut response = HttpResponse::Ok();
                for (name, value) in &headers {
                    response.insert_header((name.as_str(), value.as_str()));
                }
                let response = response.body(body.clone());
                async move { response }
            }))
        })
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0].to_string();
        std::io::stdout().write_all(address.as_bytes()).unwrap();
        std::io::stdout().write_all(b"\n").unwrap();
        server.run().await.unwrap();
    });
}
