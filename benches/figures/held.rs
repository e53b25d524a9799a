//! The stages about answers that are held: long polls by number, across two instances, and what one key can serve.

use super::super::report::Goal;
use super::super::service::Service;
use super::super::waiting::{self, Asker, Waited};
use super::{Database, Run};

/// So many wait.
const WAITERS: [usize; 3] = [1, 1_000, 10_000];
/// So many wait at an instance that does not write.
const WAITERS_ELSEWHERE: usize = 1_000;

impl Run<'_> {
    pub(super) fn waiting(&mut self, service: &Service) {
        let asker = Asker {
            key: self.key.clone(),
        };
        for count in WAITERS {
            let waited = waiting::measure(&asker, service, service, count);
            self.waited(&format!("{count} waiting"), count, &waited);
        }
        // Another process on the same SQLite file would not be told.
        if matches!(self.database, Database::Postgres(_)) {
            let other = self.program.serve();
            let count = WAITERS_ELSEWHERE;
            let waited = waiting::measure(&asker, &other, service, count);
            self.waited(&format!("{count} waiting elsewhere"), count, &waited);
        }
    }

    fn waited(&mut self, name: &str, count: usize, waited: &Waited) {
        let mut show = |what: &str, value: f64, unit, bound| {
            self.figure(&format!("{name}, {what}"), value, unit, bound, Goal::Shown);
        };
        for (share, quantile) in [(0.5, "p50"), (0.99, "p99")] {
            let commit = waited.acknowledged.quantile(share);
            let own = format!("one told, {quantile}");
            show(&own, waited.own.quantile(share), "ms", Some(commit));
            if count > 1 {
                let all = format!("all told at once, {quantile}");
                show(&all, waited.all.quantile(share), "ms", None);
            }
        }
        if count > 1 {
            show("memory each", waited.memory, "kB", None);
            show("processor at rest", waited.cpu * 100.0, "%", None);
        }
    }

    pub(super) fn customers(&mut self) {
        let mut polling = None;
        for (name, by_waiting) in [("polling every 3 s", false), ("wait=20", true)] {
            let served = waiting::customers(&self.program, by_waiting);
            let name = format!("customers of one key, {name}");
            self.figure(&name, served, "/min", polling, Goal::Shown);
            polling.get_or_insert(served);
        }
    }
}
