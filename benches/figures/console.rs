//! The console's pages at so many rows: how long the server takes for each, one after the other, as an operator's browser asks.

use std::time::Instant;

use super::super::load::{self, Answer};
use super::super::report::Goal;
use super::super::service::Service;
use super::Run;

/// Requests of each page: a session may ask for 120 at once.
const ASKED: usize = 15;
const FORM: &str = "content-type: application/x-www-form-urlencoded";

/// The median time of each page.
pub fn pages(run: &mut Run<'_>, service: &Service) {
    let session = sign_in(run, service);
    for (name, path) in [
        ("console, transactions", "/console/transactions"),
        (
            "console, failed ones",
            "/console/transactions?status=failed",
        ),
        ("console, overview of 24 h", "/console"),
        ("console, overview of 30 d", "/console?span=30d"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: figures\r\ncookie: {session}\r\n\r\n");
        let mut times: Vec<f64> = (0..ASKED)
            .map(|_| {
                let begun = Instant::now();
                let answer = load::ask_once(service.address, request.as_bytes()).unwrap();
                assert_eq!(answer.status, 200, "{path}");
                begun.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        run.figure(
            name,
            times[ASKED / 2],
            "ms",
            None,
            Goal::Within(250.0, 50.0),
        );
    }
}

/// The session's cookie.
fn sign_in(run: &Run<'_>, service: &Service) -> String {
    let page = "GET /console/sign-in HTTP/1.1\r\nhost: figures\r\n\r\n";
    let page = load::ask_once(service.address, page.as_bytes()).unwrap();
    let visitor = cookie(&page);
    let text = String::from_utf8_lossy(&page.body);
    let (_, token) = text.split_once("name=\"token\" value=\"").unwrap();
    let (token, _) = token.split_once('"').unwrap();
    let body = format!("token={token}&key={}", run.key);
    let request = format!(
        "POST /console/sign-in HTTP/1.1\r\nhost: figures\r\ncookie: {visitor}\r\n{FORM}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = load::ask_once(service.address, request.as_bytes()).unwrap();
    assert_eq!(answer.status, 303);
    cookie(&answer)
}

fn cookie(answer: &Answer) -> String {
    let (_, value) = answer
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .unwrap();
    value.split(';').next().unwrap().to_owned()
}
