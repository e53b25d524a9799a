//! What is measured, in order: the start, the claim, reads, the console's pages, exports, callbacks, webhooks, payments, memory.

use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::constant::Constant;
use super::database::Database;
use super::load::{self, Measured, Requests};
use super::report::{Figure, Goal};
use super::rows::{self, Owner};
use super::service::{Program, Service};
use super::{Options, bare, payments, receiver};

#[path = "claim.rs"]
mod claim;
#[path = "console.rs"]
mod console;
#[path = "export.rs"]
mod export;
#[path = "growth.rs"]
pub mod growth;
#[path = "held.rs"]
mod held;
#[path = "hostile.rs"]
mod hostile;
#[path = "instances.rs"]
mod instances;

/// Connections that read at once.
const READERS: usize = 32;
/// The service's own connections to the database, which the bare database gets too.
const POOL: usize = 8;
/// Ids looked up at once.
const BULK: usize = 100;
/// Webhooks that are timed one after the other.
const WEBHOOKS: usize = 1_000;

struct Run<'a> {
    database: &'a Database,
    program: Program,
    owner: Owner,
    key: String,
    token: String,
    count: usize,
    /// Rows whose provider has not told the end yet.
    open_from: usize,
    span: Duration,
    figures: &'a mut Vec<Figure>,
}

/// A partner with so many rows, and how many of them are final.
fn prepare<'a>(
    options: &Options,
    database: &'a Database,
    folder: &Path,
    count: usize,
    figures: &'a mut Vec<Figure>,
) -> (Run<'a>, usize) {
    let program = Program::new(options.binary.clone(), &database.url(), folder.to_owned());
    program.run(&["migrate"]);
    let (owner, key) = partner(&program, "Kilimo", "M");
    std::fs::write(
        folder.join("mpesa.json"),
        json!({"environment": "sandbox", "shortcode": "600966", "consumer_key": "k", "consumer_secret": "s"})
            .to_string(),
    )
    .unwrap();
    let account = program.run(&[
        "account",
        "create",
        "--partner",
        &owner.partner,
        "--provider",
        "mpesa",
        "--credentials",
        "mpesa.json",
    ]);
    for tag in ["A", "B", "C"] {
        let (small, _) = partner(&program, tag, tag);
        rows::history(database, &small, 200);
    }
    let finals = rows::history(database, &owner, count);
    database.settle();
    let run = Run {
        database,
        program,
        owner,
        key,
        token: text(&account, "callback_token"),
        count,
        open_from: count,
        span: Duration::from_secs_f64(options.seconds),
        figures,
    };
    (run, finals)
}

/// Measures one database with so many rows.
pub fn run(
    options: &Options,
    database: &Database,
    folder: &Path,
    count: usize,
    figures: &mut Vec<Figure>,
) {
    let (mut run, finals) = prepare(options, database, folder, count, figures);
    let wants = |stage: &str| options.stages.iter().any(|wanted| wanted == stage);
    let sql = bare::bulk_statement(database, &run.owner.partner);
    run.starts();
    if wants("claim") {
        claim::claims(&mut run);
    }
    let service = run.program.serve();
    std::thread::sleep(Duration::from_secs(1));
    let idle = service.memory("VmRSS");
    run.figure("memory idle", idle, "MB", None, Goal::Within(40.0, 20.0));
    run.check_totals(&service, count, finals);
    if wants("reads") {
        run.reads(&service, &sql);
    }
    if wants("console") {
        console::pages(&mut run, &service);
    }
    if wants("export") {
        export::statements(&mut run, &service);
    }
    if wants("callbacks") {
        run.callbacks(&service);
    }
    if wants("webhooks") {
        run.webhooks(&service);
    }
    if wants("payments") {
        run.payments(&service);
    }
    if wants("instances") {
        instances::scaling(&mut run);
    }
    // Before thousands wait, each with its connection.
    let most = service.memory("VmHWM");
    run.figure("memory loaded", most, "MB", None, Goal::Within(150.0, 80.0));
    if wants("waiting") {
        run.waiting(&service);
    }
    if wants("customers") {
        run.customers();
    }
}

fn get(key: &str, query: &str) -> Vec<u8> {
    format!(
        "GET /api/ussd/transaction-status?{query} HTTP/1.1\r\nhost: figures\r\nx-api-key: {key}\r\n\r\n"
    )
    .into_bytes()
}

/// A lookup of the ids of a JSON array.
fn post(key: &str, list: &str) -> Vec<u8> {
    let body = format!("{{\"conversation_ids\":{list}}}");
    format!(
        "POST /api/ussd/transaction-status HTTP/1.1\r\nhost: figures\r\nx-api-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn text(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap().to_owned()
}

fn partner(program: &Program, name: &str, tag: &'static str) -> (Owner, String) {
    let made = program.run(&["partner", "create", "--name", name]);
    let owner = Owner {
        partner: text(&made, "id"),
        tag,
    };
    (owner, text(&made, "api_key"))
}

impl Run<'_> {
    fn figure(
        &mut self,
        name: &str,
        value: f64,
        unit: &'static str,
        bound: Option<f64>,
        goal: Goal,
    ) {
        let figure = Figure {
            database: self.database.name(),
            rows: self.count,
            name: name.to_owned(),
            value,
            unit,
            bound,
            goal,
        };
        figure.tell();
        self.figures.push(figure);
    }

    /// The median of five starts.
    fn starts(&mut self) {
        let mut times: Vec<f64> = (0..5)
            .map(|_| self.program.serve().ready_after.as_secs_f64() * 1e3)
            .collect();
        times.sort_by(f64::total_cmp);
        self.figure(
            "start to ready",
            times[2],
            "ms",
            None,
            Goal::Within(300.0, 100.0),
        );
    }

    fn get(&self, query: &str) -> Vec<u8> {
        get(&self.key, query)
    }

    /// A page of one row, with total and statistics.
    fn summary(&self, service: &Service) -> Value {
        let answer = load::ask_once(service.address, &self.get("limit=1")).unwrap();
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// What the API counts must be what was written.
    fn check_totals(&self, service: &Service, total: usize, finals: usize) {
        let body = self.summary(service);
        let counts = &body["statistics"];
        assert_eq!(body["pagination"]["total"], json!(total));
        assert_eq!(counts["total_transactions"], json!(total));
        assert_eq!(counts["pending_transactions"], json!(total - finals));
        let failed = (0..finals).filter(|index| index % 20 == 7).count();
        assert_eq!(counts["failed_transactions"], json!(failed));
    }

    fn reads(&mut self, service: &Service, sql: &str) {
        for (name, requests) in self.gets() {
            self.against_constant(service, name, requests);
        }
        let lists = self.lists(self.count);
        let posts = lists.iter().map(|list| post(&self.key, list)).collect();
        let requests = Requests::cycle(posts);
        let (ours, bound) = alternate(
            self.span,
            |span| load::run(service.address, READERS, span, &requests),
            |span| bare::bulk(self.database, sql, &self.owner.partner, &lists, POOL, span),
        );
        self.rate(
            "POST of 100 ids",
            &ours,
            bound.rate(),
            Goal::AtLeast(0.5, 0.7),
        );
    }

    /// What is asked with GET, and the requests for it.
    fn gets(&self) -> [(&'static str, Vec<Vec<u8>>); 3] {
        let by_id = (0..4096)
            .map(|index: usize| {
                let id = self
                    .owner
                    .conversation_id(index.wrapping_mul(7_919) % self.count);
                self.get(&format!("conversation_id={id}"))
            })
            .collect();
        [
            ("GET by conversation id", by_id),
            ("GET statistics", vec![self.get("limit=1")]),
            ("GET page of 50", vec![self.get("limit=50")]),
        ]
    }

    /// JSON arrays of as many ids as may be looked up at once, from everywhere among the newest so many.
    fn lists(&self, newest: usize) -> Vec<String> {
        let oldest = self.count - newest;
        let id = |index: usize| {
            self.owner
                .conversation_id(oldest + index.wrapping_mul(7_919) % newest)
        };
        let list = |list: usize| {
            (0..BULK)
                .map(|index| id(list * BULK + index))
                .collect::<Vec<_>>()
        };
        (0..256)
            .map(|number| json!(list(number)).to_string())
            .collect()
    }

    fn against_constant(&mut self, service: &Service, name: &str, all: Vec<Vec<u8>>) {
        let answer = load::ask_once(service.address, &all[0]).unwrap();
        assert_eq!(answer.status, 200);
        let constant = Constant::start(&answer.headers, &answer.body);
        let requests = Requests::cycle(all);
        let (ours, bound) = alternate(
            self.span,
            |span| load::run(service.address, READERS, span, &requests),
            |span| load::run(constant.address, READERS, span, &requests),
        );
        self.rate(name, &ours, bound.rate(), Goal::AtLeast(0.10, 0.15));
    }

    fn rate(&mut self, name: &str, ours: &Measured, bound: f64, goal: Goal) {
        self.figure(name, ours.rate(), "/s", Some(bound), goal);
        self.figure(
            &format!("{name}, p50"),
            ours.quantile(0.5),
            "ms",
            None,
            Goal::Shown,
        );
        self.figure(
            &format!("{name}, p99"),
            ours.quantile(0.99),
            "ms",
            None,
            Goal::Shown,
        );
    }

    fn callbacks(&mut self, service: &Service) {
        let bare_one = bare::commits(self.database, 1, self.span);
        let one = self.post_callbacks(service, 1);
        let bound = bare_one.quantile(0.5);
        self.figure(
            "callbacks, 1 connection",
            one.rate(),
            "/s",
            None,
            Goal::Shown,
        );
        self.figure(
            "callback, idle, p50",
            one.quantile(0.5),
            "ms",
            Some(bound),
            Goal::AtMost(4.0, 2.5),
        );
        let eight = self.post_callbacks(service, 8);
        self.figure(
            "callbacks, 8 connections",
            eight.rate(),
            "/s",
            None,
            Goal::Shown,
        );
        let (at_once, goal) = match self.database {
            Database::Sqlite(_) => (1, Goal::AtLeast(1.0, 2.0)),
            Database::Postgres(_) => (64, Goal::AtLeast(0.6, 1.2)),
        };
        // The bound before and after, for a machine that is not alone.
        let mut bound = bare::commits(self.database, at_once, self.span / 2);
        let many = self.post_callbacks(service, 64);
        bound.add(bare::commits(self.database, at_once, self.span / 2));
        self.rate("callbacks, 64 connections", &many, bound.rate(), goal);
    }

    /// Sends each of enough new callbacks once, and checks that every acknowledged one is there.
    fn post_callbacks(&mut self, service: &Service, connections: usize) -> Measured {
        let a_second = if connections == 1 { 3_000.0 } else { 9_000.0 };
        let count = (a_second * self.span.as_secs_f64()) as usize;
        let before = self.successful(service);
        let requests = Requests::once(self.open(count));
        let measured = load::run(service.address, connections, self.span, &requests);
        assert_eq!(
            self.successful(service) - before,
            i64::try_from(measured.count).unwrap()
        );
        measured
    }

    fn successful(&self, service: &Service) -> i64 {
        self.summary(service)["statistics"]["successful_transactions"]
            .as_i64()
            .unwrap()
    }

    /// Makes open rows, and the callbacks that will end them.
    fn open(&mut self, count: usize) -> Vec<Vec<u8>> {
        let indexes: Range<usize> = self.open_from..self.open_from + count;
        self.open_from = indexes.end;
        rows::open(self.database, &self.owner, indexes.clone());
        self.database.flush();
        indexes.map(|index| self.callback(index)).collect()
    }

    fn callback(&self, index: usize) -> Vec<u8> {
        let body = json!({"Body": {"stkCallback": {
            "MerchantRequestID": format!("29115-{index}"),
            "CheckoutRequestID": self.owner.conversation_id(index),
            "ResultCode": 0,
            "ResultDesc": "The service request is processed successfully.",
            "CallbackMetadata": {"Item": [
                {"Name": "Amount", "Value": 1 + index % 5000},
                {"Name": "MpesaReceiptNumber", "Value": format!("RX{index:08}")},
                {"Name": "TransactionDate", "Value": 20_261_121_102_115_i64},
                {"Name": "PhoneNumber", "Value": 254_700_000_000_i64 + (index % 40_000) as i64},
            ]},
        }}})
        .to_string();
        format!(
            "POST /callbacks/{}/stk HTTP/1.1\r\nhost: figures\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )
        .into_bytes()
    }

    fn payments(&mut self, service: &Service) {
        let simulator = self.program.simulate();
        let till = payments::Till::open(&self.program, service, &simulator);
        let bound = till.alone(64, self.span).rate();
        for connections in [1, 8] {
            let (_, prompts) = till.push("stk-push", connections, self.span);
            let name = format!("prompts, {connections} connections");
            self.figure(&name, prompts.rate(), "/s", None, Goal::Shown);
        }
        for (path, name) in payments::ROUTES {
            let (settled, sent) = till.push(path, 64, self.span);
            let alone = (path == "stk-push").then_some(bound);
            let name = format!("{name}, 64 connections");
            self.figure(&name, sent.rate(), "/s", alone, Goal::Shown);
            self.figure(
                &format!("{name}, p99"),
                sent.quantile(0.99),
                "ms",
                None,
                Goal::Shown,
            );
            self.figure(
                &format!("{name}, to the end"),
                settled,
                "/s",
                None,
                Goal::Shown,
            );
        }
    }

    fn webhooks(&mut self, service: &Service) {
        let (address, arrivals) = receiver::start();
        let url = format!("http://{address}/hook");
        let partner = self.owner.partner.clone();
        let create = ["webhook", "create", "--partner", &partner, "--url", &url];
        let endpoint = text(&self.program.run(&create), "id");
        let quiet = self.callback_to_webhook(service, &arrivals);
        self.figure(
            "callback to webhook, p50",
            quiet.quantile(0.5),
            "ms",
            None,
            Goal::Shown,
        );
        self.figure(
            "callback to webhook, p99",
            quiet.quantile(0.99),
            "ms",
            None,
            Goal::Within(25.0, 8.0),
        );
        let many = self.post_callbacks(service, 64);
        self.figure(
            "callbacks, 64 connections, sending webhooks",
            many.rate(),
            "/s",
            None,
            Goal::Shown,
        );
        hostile::backlog(self, service, &endpoint, &arrivals);
        hostile::bad_neighbours(self, service, &arrivals);
    }

    /// From sending a callback to the arrival of its webhook, one after the other.
    fn callback_to_webhook(&mut self, service: &Service, arrivals: &Receiver<Instant>) -> Measured {
        let requests = Requests::once(self.open(WEBHOOKS));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut client = runtime
            .block_on(load::Client::connect(service.address))
            .unwrap();
        let mut latencies = Vec::new();
        let started = Instant::now();
        for turn in 0..WEBHOOKS {
            let sent = Instant::now();
            let (status, _, _) = runtime
                .block_on(client.ask(requests.next().unwrap()))
                .unwrap();
            assert_eq!(status, 200);
            let arrived = arrivals.recv_timeout(Duration::from_secs(10)).unwrap();
            latencies.push(arrived - sent);
            // The service comes to rest, and not always at the same beat.
            std::thread::sleep(Duration::from_millis(10 + turn as u64 % 7));
        }
        Measured::of(latencies, started.elapsed())
    }
}

/// Two acts in turns, so that what else the machine does meets both.
fn alternate(
    span: Duration,
    ours: impl Fn(Duration) -> Measured,
    bound: impl Fn(Duration) -> Measured,
) -> (Measured, Measured) {
    let short = span / 2;
    ours(short / 4);
    bound(short / 4);
    let (mut first, mut second) = (Measured::default(), Measured::default());
    for _ in 0..2 {
        second.add(bound(short));
        first.add(ours(short));
    }
    (first, second)
}
