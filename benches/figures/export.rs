//! Statements of everything there is: rows a second, and whether memory stays flat while they are written.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::json;

use super::super::report::Goal;
use super::super::service::Service;
use super::Run;

/// What is read at once.
const PIECE: usize = 256 * 1024;

/// The statement over HTTP in both formats, and by the command.
pub fn statements(run: &mut Run<'_>, service: &Service) {
    // The first one fills the page cache of the connection that reads, which is as large for any number of rows.
    over_http(run, service, "text/csv");
    for (name, accept) in [("CSV", "text/csv"), ("NDJSON", "application/x-ndjson")] {
        let (rate, growth) = over_http(run, service, accept);
        run.figure(
            &format!("export, {name}"),
            rate,
            "rows/s",
            None,
            Goal::Shown,
        );
        // From the first tenth to the end: what a statement keeps does not grow with it.
        run.figure(
            &format!("memory grown by an export, {name}"),
            growth,
            "MB",
            None,
            Goal::Within(8.0, 2.0),
        );
    }
    let begun = Instant::now();
    let partner = run.owner.partner.clone();
    let command = ["export", "--partner", &partner, "--output", "statement.csv"];
    let done = run.program.run(&command);
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(done["totals"]["count"], json!(run.count));
    let rate = run.count as f64 / seconds;
    run.figure("export, the command", rate, "rows/s", None, Goal::Shown);
}

/// Rows a second, and how much the service grew between the first tenth and the end, in megabytes.
fn over_http(run: &Run<'_>, service: &Service, accept: &str) -> (f64, f64) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(service.address).unwrap();
    // The lengths of the chunks stand between the lines; they do not count.
    let request = format!(
        "GET /api/ussd/transactions/export HTTP/1.1\r\nhost: figures\r\nx-api-key: {}\r\naccept: {accept}\r\nconnection: close\r\n\r\n",
        run.key
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut piece = vec![0; PIECE];
    let (mut lines, mut early, mut last) = (0, None, Vec::new());
    loop {
        let read = stream.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        lines += piece[..read].iter().filter(|byte| **byte == b'\n').count();
        if early.is_none() && lines > run.count / 10 {
            early = Some(service.memory("VmRSS"));
        }
        last.extend_from_slice(&piece[..read]);
        let surplus = last.len().saturating_sub(1_024);
        last.drain(..surplus);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let end = String::from_utf8_lossy(&last);
    let count = run.count.to_string();
    let is_whole = end.contains(&format!(",{count}\r\n"))
        || end.contains(&format!("\"count\":{count},\"reversals\""));
    assert!(lines >= run.count && is_whole, "{lines} lines: {end}");
    let growth = service.memory("VmRSS") - early.unwrap();
    (run.count as f64 / seconds, growth)
}
