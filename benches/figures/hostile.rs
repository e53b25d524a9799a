//! Webhooks under load: a backlog through one instance, and a healthy endpoint beside many bad ones.

use std::net::TcpListener;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::super::database::Database;
use super::super::report::Goal;
use super::super::rows;
use super::super::service::Service;
use super::instances::machine;
use super::{Run, partner, text};

/// Deliveries that are due at once.
const BACKLOG: usize = 50_000;
/// Endpoints that hang, and as many that refuse.
const BAD: usize = 20;
/// How long the former keep a request.
const HANG: Duration = Duration::from_secs(20);
/// What each of them owes.
const OWED: usize = 200;
/// How long nothing arrives before the service counts as idle.
const QUIET: Duration = Duration::from_secs(2);

/// Deliveries a second, and what one costs.
pub fn backlog(run: &mut Run<'_>, service: &Service, endpoint: &str, arrivals: &Receiver<Instant>) {
    until_quiet(arrivals);
    let from = run.open_from;
    run.open_from += BACKLOG;
    rows::open(run.database, &run.owner, from..run.open_from);
    let (cpu, all) = (service.cpu(), machine());
    let begun = Instant::now();
    owe(
        run.database,
        &run.owner.partner,
        endpoint,
        BACKLOG,
        "pending",
    );
    for _ in 0..BACKLOG {
        arrivals.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    until_quiet(arrivals);
    let each = |time: Duration| time.as_secs_f64() * 1e3 / BACKLOG as f64;
    let (own, all) = (each(service.cpu() - cpu), each(machine() - all));
    let rate = BACKLOG as f64 / seconds;
    run.figure("webhooks, 50 000 due", rate, "/s", None, Goal::Shown);
    run.figure("CPU a webhook", own, "ms cpu", None, Goal::Shown);
    run.figure("CPU a webhook in all", all, "ms cpu", None, Goal::Shown);
    let memory = service.memory("VmHWM");
    run.figure(
        "memory after 50 000 webhooks",
        memory,
        "MB",
        None,
        Goal::Shown,
    );
}

/// The healthy endpoint's delay while others hang and refuse, against its delay without them.
pub fn bad_neighbours(run: &mut Run<'_>, service: &Service, arrivals: &Receiver<Instant>) {
    until_quiet(arrivals);
    // Of the same database, so that only the neighbours make a difference.
    let quiet = run.callback_to_webhook(service, arrivals);
    // Bound and never listened at: what is connected to it is refused.
    let refusing = TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr());
    for (name, tag, address) in [
        ("Hang", "H", hanging()),
        ("Refuse", "R", refusing.unwrap().to_string()),
    ] {
        let (owner, _) = partner(&run.program, name, tag);
        rows::history(run.database, &owner, OWED);
        for number in 0..BAD {
            let url = format!("http://{address}/{number}");
            let create = [
                "webhook",
                "create",
                "--partner",
                &owner.partner,
                "--url",
                &url,
            ];
            let endpoint = text(&run.program.run(&create), "id");
            owe(run.database, &owner.partner, &endpoint, OWED, "pending");
        }
    }
    let measured = run.callback_to_webhook(service, arrivals);
    for (share, name, goal) in [
        (
            0.5,
            "callback to webhook, 40 bad endpoints, p50",
            Goal::Shown,
        ),
        (
            0.99,
            "callback to webhook, 40 bad endpoints, p99",
            Goal::AtMost(2.0, 1.2),
        ),
    ] {
        let bound = Some(quiet.quantile(share));
        run.figure(name, measured.quantile(share), "ms", bound, goal);
    }
}

/// Makes the newest events of a partner deliveries to one of its endpoints: pending and due, or delivered.
pub fn owe(database: &Database, partner: &str, endpoint: &str, count: usize, state: &str) {
    let (id, now) = match database {
        Database::Sqlite(_) => ("lower(hex(randomblob(16)))", "unixepoch() * 1000000"),
        Database::Postgres(_) => ("gen_random_uuid()", "now()"),
    };
    let id = match database {
        // As a UUID is written.
        Database::Sqlite(_) => format!(
            "(SELECT substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-7' || substr(h, 14, 3) || '-8' || substr(h, 18, 3) || '-' || substr(h, 21) \
             FROM (SELECT {id} AS h, v.id))"
        ),
        Database::Postgres(_) => id.to_owned(),
    };
    database.execute(&format!(
        "INSERT INTO deliveries (partner_id, id, endpoint_id, transaction_id, sequence, state, attempts, due_at, is_leased, created_at, finished_at) \
         SELECT v.partner_id, {id}, '{endpoint}', v.transaction_id, v.sequence, '{state}', 0, {now}, false, {now}, CASE WHEN '{state}' = 'pending' THEN NULL ELSE {now} END \
         FROM transaction_events v WHERE v.partner_id = '{partner}' AND NOT EXISTS (\
         SELECT 1 FROM deliveries d WHERE d.partner_id = v.partner_id AND d.endpoint_id = '{endpoint}' AND d.sequence = v.sequence) \
         ORDER BY v.sequence DESC LIMIT {count}"
    ));
}

/// The address of a server that takes requests, and leaves each alone for [`HANG`].
fn hanging() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                std::thread::sleep(HANG);
                drop(stream);
            });
        }
    });
    address.to_string()
}

fn until_quiet(arrivals: &Receiver<Instant>) {
    while arrivals.recv_timeout(QUIET).is_ok() {}
}
