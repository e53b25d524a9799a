//! Several instances on one database: reads and callbacks a second with 1, 2 and 4, and what a request costs in processor
//! time, in the instances and in all. On a machine whose cores they share with the database and the load, only the cost
//! says what more machines would bring.

use std::sync::Arc;
use std::time::Duration;

use super::super::database::Database;
use super::super::load::{self, Measured, Requests};
use super::super::report::Goal;
use super::super::service::Service;
use super::{Run, get, post, text};

/// How many instances are measured.
const COUNTS: [usize; 3] = [1, 2, 4];
/// Keys that ask by turns.
const KEYS: usize = 16;
/// Connections of all loads together.
const CONNECTIONS: usize = 32;
/// Callbacks that are made ready for a second.
const CALLBACKS: f64 = 9_000.0;
/// Each instance has said twice that it lives, and so knows of the others.
const ACQUAINTED: Duration = Duration::from_secs(5);

/// Measures them. The embedded database has one instance.
pub fn scaling(run: &mut Run<'_>) {
    if !matches!(run.database, Database::Postgres(_)) {
        return;
    }
    // Every key has a quota of its own, and no key asks as much as all of them here.
    let create = ["key", "create", "--partner", &run.owner.partner];
    let keys: Vec<String> = (0..KEYS)
        .map(|_| text(&run.program.run(&create), "api_key"))
        .collect();
    for count in COUNTS {
        let services: Vec<Service> = (0..count).map(|_| run.program.serve()).collect();
        std::thread::sleep(ACQUAINTED);
        // One after the other: many that nobody has seen, all at once from one address, would look like guesses.
        for (service, key) in services
            .iter()
            .flat_map(|one| keys.iter().map(move |key| (one, key)))
        {
            let answer = load::ask_once(service.address, &get(key, "limit=1")).unwrap();
            assert_eq!(answer.status, 200);
        }
        let spread = |index: usize| index.wrapping_mul(7_919) % run.count;
        let key = |index: usize| keys[index % KEYS].as_str();
        let gets = (0..4096)
            .map(|index| {
                let id = run.owner.conversation_id(spread(index));
                get(key(index), &format!("conversation_id={id}"))
            })
            .collect();
        let lists = run.lists(run.count);
        let posts = lists.iter().enumerate();
        let posts = posts.map(|(index, list)| post(key(index), list)).collect();
        measure(
            run,
            &services,
            "GET by conversation id",
            &Requests::cycle(gets),
        );
        measure(run, &services, "POST of 100 ids", &Requests::cycle(posts));
        let made = (CALLBACKS * run.span.as_secs_f64()) as usize;
        let callbacks = Requests::once(run.open(made));
        measure(run, &services, "callbacks", &callbacks);
    }
}

fn measure(run: &mut Run<'_>, services: &[Service], what: &str, requests: &Arc<Requests>) {
    let ours = || -> Duration { services.iter().map(Service::cpu).sum() };
    let (ours_before, all_before) = (ours(), machine());
    let span = run.span;
    let measured = std::thread::scope(|scope| {
        let loads: Vec<_> = services
            .iter()
            .map(|service| {
                let connections = CONNECTIONS / services.len();
                scope.spawn(move || load::run(service.address, connections, span, requests))
            })
            .collect();
        let mut all = Vec::new();
        for load in loads {
            all.push(load.join().unwrap());
        }
        all
    });
    let done: usize = measured.iter().map(|one| one.count).sum();
    let rate: f64 = measured.iter().map(Measured::rate).sum();
    let each = |time: Duration| time.as_secs_f64() * 1e3 / done as f64;
    let name = format!("{what}, {} instances", services.len());
    run.figure(&name, rate, "/s", None, Goal::Shown);
    for (whose, time) in [
        ("in the instances", ours() - ours_before),
        ("in all", machine() - all_before),
    ] {
        let name = format!("{name}, processor time each {whose}");
        run.figure(&name, each(time), "ms cpu", None, Goal::Shown);
    }
}

/// The processor time everything on this machine has used.
pub fn machine() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    // user, nice, system; then idle and waiting; then what interrupts take. In hundredths of a second.
    let ticks: Vec<u64> = first
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum();
    Duration::from_millis(10 * busy)
}
