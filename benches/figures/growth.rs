//! What many rows cost beside few: two databases of one kind, each with its service, get the same requests in turns, so
//! that what else the machine does meets both.

use std::path::Path;
use std::time::Duration;

use super::super::Options;
use super::super::database::Database;
use super::super::load::{self, Measured, Requests};
use super::super::report::{Figure, Goal};
use super::super::service::Service;
use super::claim::{CLAIMS, Outbox};
use super::{READERS, Run, post, prepare};

/// How often each gets its turn.
const TURNS: u32 = 4;
/// At most so many times the cost, and what we aim at.
const GOAL: Goal = Goal::AtMost(1.3, 1.1);

/// A database, the folder of its program, and how many rows it gets.
pub type Place<'a> = (&'a Database, &'a Path, usize);

/// Measures both, the one with fewer rows first.
pub fn run(options: &Options, [few, many]: [Place<'_>; 2], figures: &mut Vec<Figure>) {
    let (mut notes, mut more_notes) = (Vec::new(), Vec::new());
    let (few, _) = prepare(options, few.0, few.1, few.2, &mut notes);
    let (many, _) = prepare(options, many.0, many.1, many.2, &mut more_notes);
    let mut both = [few, many];
    let mut growth = Growth { figures };

    claims(&both, &mut growth);
    let services = both.each_ref().map(|run| run.program.serve());
    let [few, many] = both.each_ref().map(Run::gets);
    let gets = few.into_iter().zip(many);
    for ((name, few), (_, many)) in gets {
        let measured = reads(&both, &services, [few, many]);
        growth.time(&both[1], name, &measured);
    }
    let fewest = both[0].count;
    let newest = both.each_ref().map(|run| posts(run, fewest));
    let measured = reads(&both, &services, newest);
    growth.time(&both[1], "POST of the same 100 ids", &measured);
    let any = both.each_ref().map(|run| posts(run, run.count));
    let measured = reads(&both, &services, any);
    growth.time(&both[1], "POST of 100 ids of any age", &measured);

    for (connections, name) in [(1, "callback alone"), (64, "callbacks, 64 connections")] {
        let mut measured = [Measured::default(), Measured::default()];
        for turn in 0..TURNS {
            for place in in_turn(turn) {
                let sent = both[place].post_callbacks(&services[place], connections);
                measured[place].add(sent);
            }
        }
        match connections {
            1 => growth.median(&both[1], name, &measured),
            _ => growth.time(&both[1], name, &measured),
        }
    }
}

fn claims(both: &[Run<'_>; 2], growth: &mut Growth<'_>) {
    let outboxes = both.each_ref().map(|run| Outbox::fill(run));
    let mut claims = [Vec::new(), Vec::new()];
    for _ in 0..CLAIMS {
        for (outbox, times) in outboxes.iter().zip(&mut claims) {
            times.push(outbox.claim());
        }
    }
    let claims = claims.map(|times| {
        let taken = times.iter().sum();
        Measured::of(times, taken)
    });
    growth.median(&both[1], "look and claim of 8 webhooks", &claims);
    for (outbox, run) in outboxes.into_iter().zip(both) {
        outbox.empty(run);
    }
}

/// Whose turn comes first changes.
fn in_turn(turn: u32) -> [usize; 2] {
    if turn.is_multiple_of(2) {
        [0, 1]
    } else {
        [1, 0]
    }
}

/// Lookups of a hundred ids among the newest so many.
fn posts(run: &Run<'_>, newest: usize) -> Vec<Vec<u8>> {
    let lists = run.lists(newest);
    lists.iter().map(|list| post(&run.key, list)).collect()
}

fn reads(
    both: &[Run<'_>; 2],
    services: &[Service; 2],
    requests: [Vec<Vec<u8>>; 2],
) -> [Measured; 2] {
    let requests = requests.map(Requests::cycle);
    let ask = |place: usize, span: Duration| {
        load::run(services[place].address, READERS, span, &requests[place])
    };
    let mut measured = [Measured::default(), Measured::default()];
    for turn in 0..TURNS {
        for place in in_turn(turn) {
            let span = both[place].span;
            // The other one's pages may have taken the place of its own.
            ask(place, span / 4);
            measured[place].add(ask(place, span));
        }
    }
    measured
}

struct Growth<'a> {
    figures: &'a mut Vec<Figure>,
}

impl Growth<'_> {
    /// Compares how long one takes when as many as possible are under way.
    fn time(&mut self, many: &Run<'_>, name: &str, measured: &[Measured; 2]) {
        self.add(many, name, measured.each_ref().map(|one| 1e3 / one.rate()));
    }

    /// Compares the median of one after the other.
    fn median(&mut self, many: &Run<'_>, name: &str, measured: &[Measured; 2]) {
        let name = format!("{name}, p50");
        self.add(
            many,
            &name,
            measured.each_ref().map(|one| one.quantile(0.5)),
        );
    }

    fn add(&mut self, many: &Run<'_>, name: &str, [few, value]: [f64; 2]) {
        let figure = Figure {
            database: many.database.name(),
            rows: many.count,
            name: format!("growth: {name}"),
            value,
            unit: "ms each",
            bound: Some(few),
            goal: GOAL,
        };
        figure.tell();
        self.figures.push(figure);
    }
}
