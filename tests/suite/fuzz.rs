//! Every reader of foreign text against generated and mutated inputs: no panic, and no slow or swelling answer to
//! hostile nesting and size. `FUZZ_CASES` says how many inputs each reader gets (100 000 if unset), `FUZZ_SEED`
//! repeats a run. An input's content follows from the seed and its number alone, however many threads share the work.
//!
//! An input that panics is written to `target/tmp/crashes`; moved to `tests/fixtures/crashes` it is tried first ever
//! after.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ussd_status::domain::money::Amount;
use ussd_status::domain::msisdn::MsisdnInput;
use ussd_status::domain::status_update::CallbackKind;
use ussd_status::http::{BODY_MAX, Fields, Query, bulk_lookup, decode_cursor};
use ussd_status::providers;
use ussd_status::providers::clickpesa::checksum;
use ussd_status::providers::mpesa::c2b::validate_c2b;

use crate::kill::setting;

/// Inputs for each reader, if `FUZZ_CASES` says nothing.
const CASES: u64 = 100_000;
/// Inputs that a thread makes from one seed.
const BATCH: u64 = 5_000;
/// The longest that one input of the largest size may take, without optimisation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most memory that the readers may need beyond what the process had: 128 times the largest body.
const MEMORY_KIB: u64 = 32 * 1024;
/// Tells the process that reads the largest bodies alone to say how much memory that took.
const ALONE: &str = "FUZZ_MEASURE_MEMORY";

/// SplitMix64: fast even without optimisation.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`; 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % u64::try_from(end.max(1)).unwrap()) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What readers trip over, put in place of a value or anywhere.
const ODD: [&str; 50] = [
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "0",
    "-0",
    "-1",
    "1e999",
    "-1e-999",
    "1e99999999999999999999",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999.99",
    "92233720368547758.07",
    "0.005",
    "\"92233720368547758.08\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\u{0}\"",
    "\"\u{feff}\u{202e}\u{1F4A9}\"",
    "\"254712345678\"",
    "\"0712345678\"",
    "\"2547 ***** 678\"",
    "\"31.02.2024 25:61:61\"",
    "\"2024-02-31T25:61:61Z\"",
    "20240231256161",
    "\"A|B|C|D&&|&A|KES|1|2|3|4\"",
    "\"-999999999999999999999|KES|--1|1.|.1|NaN\"",
    "{\"$serde_json::private::Number\":\"1e5\"}",
    "{\"$serde_json::private::Number\":\"x\"}",
    "{\"$serde_json::private::RawValue\":\"[[[\"}",
    "[{\"Key\":\"a\"},5,null,[[]],{\"Name\":{},\"Value\":[]}]",
    "[[[[[[[[[[1]]]]]]]]]]",
    "{\"a\":{\"a\":{\"a\":{}}}}",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "{",
    "}",
    "[",
    "]",
    "\u{0}",
    "%",
    "%00",
    "+",
    "&",
];

/// One changed input; `into` keeps its room.
fn mutate(corpus: &[Vec<u8>], random: &mut Random, into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(random.pick::<Vec<u8>>(corpus));
    for _ in 0..=random.below(3) {
        let at = random.below(into.len() + 1);
        match random.below(9) {
            0 if at < into.len() => into[at] ^= 1 << random.below(8),
            1 => into.truncate(at),
            2 => {
                into.splice(at..at, random.pick(&ODD).bytes());
            }
            3..=5 => {
                let Some((begin, end)) = value_after(into, at) else {
                    continue;
                };
                into.splice(begin..end, random.pick(&ODD).bytes());
            }
            6 => {
                let end = (at + random.below(64)).min(into.len());
                let again = into[at..end].to_vec();
                let to = random.below(into.len() + 1);
                into.splice(to..to, again);
            }
            7 => {
                let other = random.pick(corpus);
                let from = random.below(other.len() + 1);
                into.truncate(at);
                into.extend_from_slice(&other[from..]);
            }
            _ => {
                let junk = random.next().to_le_bytes();
                let length = random.below(junk.len());
                into.splice(at..at, junk.into_iter().take(length));
            }
        }
    }
}

/// Roughly the next value behind a colon or an equals sign.
fn value_after(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let colon = at
        + bytes[at..]
            .iter()
            .position(|byte| matches!(byte, b':' | b'='))?;
    let begin = colon + 1 + bytes[colon + 1..].iter().position(|byte| *byte != b' ')?;
    let is_text = bytes[begin] == b'"';
    let rest = &bytes[begin + 1..];
    let length = if is_text {
        rest.iter().position(|byte| *byte == b'"')? + 2
    } else {
        rest.iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | b'&' | b'\n'))?
            + 1
    };
    Some((begin, begin + length))
}

fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .iter()
        .filter(|path| path.is_file())
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

fn provider_bodies() -> Vec<Vec<u8>> {
    let bodies = files("tests/fixtures");
    assert!(bodies.len() > 50);
    bodies
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Gives a reader every corpus entry, every input that crashed before, and the mutants.
fn feed(name: &str, corpus: &[Vec<u8>], read: impl Fn(u64, &[u8]) + Sync) {
    let cases: u64 = setting("FUZZ_CASES").unwrap_or(CASES);
    let seed: u64 = setting("FUZZ_SEED").unwrap_or(2_547);
    let begun = Instant::now();
    let try_one = |number: u64, input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| read(number, input))).is_err() {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crashes");
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!("{name}-{seed}-{number}"));
            std::fs::write(&path, input).unwrap();
            panic!("{name} panics; the input is in {}", path.display());
        }
    };
    for (number, input) in (0..).zip(files("tests/fixtures/crashes").iter().chain(corpus)) {
        try_one(number, input);
    }
    let next = AtomicU64::new(0);
    let work = || {
        let mut input = Vec::new();
        loop {
            let from = next.fetch_add(BATCH, Ordering::Relaxed);
            if from >= cases {
                return;
            }
            let mut random = Random(seed.wrapping_add(from));
            for number in from..cases.min(from + BATCH) {
                mutate(corpus, &mut random, &mut input);
                try_one(number, &input);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    println!("{name}: {cases} inputs in {:?}", begun.elapsed());
}

fn kind(number: u64) -> CallbackKind {
    *Random(number).pick(&CallbackKind::ALL)
}

#[test]
fn callbacks() {
    feed("callback", &provider_bodies(), |number, body| {
        let _ = providers::parse_callback(kind(number), None, body);
    });
}

#[test]
fn redaction() {
    feed("redaction", &provider_bodies(), |number, body| {
        let kept = providers::redact(kind(number), body);
        assert!(kept.len() <= 8 * body.len() + 64);
    });
}

#[test]
fn checksums() {
    let header = "a".repeat(64);
    feed("checksum", &provider_bodies(), |_, body| {
        assert!(!checksum::verify(body, &[&header], "another key"));
    });
}

#[test]
fn c2b_validations() {
    feed("c2b", &provider_bodies(), |_, body| {
        let _ = validate_c2b(body);
    });
}

#[test]
fn json_bodies() {
    let mut corpus = texts(&[
        r#"{"transaction_ids":["01a1fc70-195b-701c-8f3e-e7aeb0c42b29"],"conversation_ids":["AG_1","AG_2"],"client_request_ids":null}"#,
        r#"{"conversation_ids":[]}"#,
        r#"{"client_request_ids":["R-1","R-1",""," ","\u0007"]}"#,
        r#"{"client_request_id":"R-1","msisdn":"0712345678","amount":1200,"conversation_id":"AG_20250110_1"}"#,
        r#"{"originator_conversation_id":"x","order_reference":"y"}"#,
    ]);
    let many = (0..101)
        .map(|number| format!("\"C{number}\""))
        .collect::<Vec<_>>()
        .join(",");
    corpus.push(format!("{{\"conversation_ids\":[{many}]}}").into_bytes());
    feed("json", &corpus, |_, body| {
        if let Ok(fields) = Fields::parse(body) {
            for name in ["client_request_id", "msisdn", "amount", "conversation_id"] {
                let _ = fields.text(name);
            }
            if let Ok(lookup) = bulk_lookup(&fields) {
                let found = lookup.transaction_ids.len()
                    + lookup.conversation_ids.len()
                    + lookup.client_request_ids.len();
                assert!((1..=100).contains(&found));
            }
        }
    });
}

#[test]
fn query_strings() {
    const KNOWN: [&str; 6] = [
        "status",
        "limit",
        "offset",
        "cursor",
        "created_from",
        "msisdn",
    ];
    let corpus = texts(&[
        "status=success&limit=50&offset=100&msisdn=%2B254712345678",
        "created_from=2025-01-10T12%3A34%3A56Z&limit=1",
        "cursor=AAYVZ3vQgAABofxwGVtwHI8-566wxCsp&limit=100",
        "created_from=2025-01-10T12:34:56.123456789%2B03:00",
        "limit=99999999999999999999&offset=-1&status=%ff%00",
    ]);
    feed("query", &corpus, |_, text| {
        if let Ok(query) = Query::parse(&String::from_utf8_lossy(text), &KNOWN) {
            let limit = query.whole_number("limit", 1..=100);
            assert!(
                limit.is_err()
                    || limit
                        .is_ok_and(|limit| limit.is_none_or(|limit| (1..=100).contains(&limit)))
            );
            let _ = query.whole_number("offset", 0..=i64::MAX);
            let _ = query.instant("created_from");
            let _ = query.value("cursor").map(decode_cursor);
        }
    });
}

#[test]
fn cursors() {
    let corpus = texts(&[
        "AAYVZ3vQgAABofxwGVtwHI8-566wxCsp",
        "f38AAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "_____wAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAA",
    ]);
    feed("cursor", &corpus, |_, text| {
        let _ = decode_cursor(&String::from_utf8_lossy(text));
    });
}

#[test]
fn numbers() {
    let corpus = texts(&[
        "254712345678",
        "+254 712-345-678",
        "0712345678",
        "0112345678",
        "255754123456",
        "7",
        "٠٧١٢٣٤٥٦٧٨",
        "2547123456789012345",
    ]);
    feed("msisdn", &corpus, |_, text| {
        if let Ok(MsisdnInput::International(number)) =
            MsisdnInput::parse(&String::from_utf8_lossy(text))
        {
            assert!(
                number.as_str().len() == 12
                    && number.as_str().bytes().all(|byte| byte.is_ascii_digit())
            );
            assert_ne!(number.masked(), number.as_str());
        }
    });
}

#[test]
fn amounts() {
    let corpus = texts(&[
        "1200",
        "10.50",
        "0.01",
        "92233720368547758.07",
        "92233720368547758.08",
        "1e5",
        "-1",
        " 1.000 ",
        "1.234",
        "00012.30",
        ".5",
        "5.",
    ]);
    feed("amount", &corpus, |_, text| {
        let text = String::from_utf8_lossy(text);
        for amount in [text.parse::<Amount>(), Amount::parse_lenient(&text)]
            .into_iter()
            .flatten()
        {
            let again = amount.to_string().parse::<Amount>();
            assert_eq!(again.ok(), Some(amount), "{text}");
        }
    });
}

/// The largest bodies that are let in, each of a shape that a careless reader takes quadratic time or deep stacks for.
fn largest_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let fill = |head: &str, unit: &dyn Fn(usize) -> String, tail: &str| {
        let mut text = head.to_owned();
        let mut number = 0;
        loop {
            let next = unit(number);
            if text.len() + next.len() + tail.len() + 3 > BODY_MAX {
                break;
            }
            text.push_str(&next);
            number += 1;
        }
        text.push_str(tail);
        text.into_bytes()
    };
    vec![
        ("open arrays", vec![b'['; BODY_MAX]),
        ("open objects", fill("", &|_| "{\"a\":".to_owned(), "")),
        ("nested", fill("{\"Result\":", &|_| "[".to_owned(), "")),
        (
            "many names",
            fill("{", &|number| format!("\"{number}\":1,"), "\"z\":1}"),
        ),
        (
            "one name",
            fill("{", &|_| "\"a\":1,".to_owned(), "\"a\":1}"),
        ),
        (
            "many parameters",
            fill(
                "{\"Result\":{\"ResultCode\":0,\"ConversationID\":\"A\",\"ResultParameters\":{\"ResultParameter\":[",
                &|number| format!("{{\"Key\":\"{number}\",\"Value\":1}},"),
                "1]}}}",
            ),
        ),
        (
            "many items",
            fill(
                "{\"Body\":{\"stkCallback\":{\"CheckoutRequestID\":\"A\",\"ResultCode\":0,\"CallbackMetadata\":{\"Item\":[",
                &|number| format!("{{\"Name\":\"{number}\",\"Value\":1}},"),
                "1]}}}}",
            ),
        ),
        (
            "many balances",
            fill(
                "{\"Result\":{\"ResultCode\":0,\"ConversationID\":\"A\",\"ResultParameters\":{\"ResultParameter\":[{\"Key\":\"AccountBalance\",\"Value\":\"",
                &|number| format!("A{number}|KES|1.00|1.00|0.00|0.00&"),
                "\"}]}}}",
            ),
        ),
        (
            "many secrets",
            fill(
                "{",
                &|_| "\"SecurityCredential\":\"x\",".to_owned(),
                "\"z\":1}",
            ),
        ),
        (
            "escapes",
            fill("{\"ResultDesc\":\"", &|_| "\\u0041\\\\".to_owned(), "\"}"),
        ),
        (
            "a long number",
            fill("{\"ResultCode\":", &|_| "9".to_owned(), "}"),
        ),
        (
            "a long fraction",
            fill(
                "{\"data\":{\"a\":0.",
                &|_| "9".to_owned(),
                "},\"checksum\":\"x\"}",
            ),
        ),
        (
            "a checksum over much",
            fill(
                "{\"checksum\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"data\":{",
                &|number| format!("\"k{number}\":{number}.10,"),
                "\"z\":1}}",
            ),
        ),
        ("quotes", vec![b'"'; BODY_MAX]),
        ("backslashes", fill("\"", &|_| "\\".to_owned(), "")),
        ("zeros", vec![0; BODY_MAX]),
    ]
}

/// A line of this process's own account, in KiB.
fn memory_kib(line: &str) -> u64 {
    let account = std::fs::read_to_string("/proc/self/status").expect("Linux tells it in /proc");
    let found = account.lines().find_map(|text| text.strip_prefix(line));
    let number = found.unwrap().trim_matches([':', '\t', ' ', 'k', 'B']);
    number.parse().unwrap()
}

#[test]
fn the_largest_bodies_take_bounded_memory() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fuzz::the_largest_bodies_are_read_in_time"])
        .args(["--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{text}");
    let (_, rest) = text.split_once("at most ").expect("it was measured");
    let (peak, _) = rest.split_once(" KiB more").unwrap();
    println!("at most {peak} KiB more");
    let peak: u64 = peak.parse().unwrap();
    assert!(peak < MEMORY_KIB, "{peak} KiB");
}

#[test]
fn the_largest_bodies_are_read_in_time() {
    let bodies = largest_bodies();
    let before = std::env::var_os(ALONE).map(|_| memory_kib("VmRSS"));
    let within = |what: &str, act: &dyn Fn()| {
        let begun = Instant::now();
        act();
        let spent = begun.elapsed();
        if spent > Duration::from_millis(300) {
            println!("{what}: {spent:?}");
        }
        assert!(spent < PATIENCE, "{what} took {spent:?}");
    };
    for (name, body) in &bodies {
        assert!(body.len() <= BODY_MAX);
        for kind in CallbackKind::ALL {
            within(&format!("{name} as {kind:?}"), &|| {
                let _ = providers::parse_callback(kind, None, body);
            });
            // Only the provider decides what is secret.
            if !matches!(kind, CallbackKind::Stk | CallbackKind::Clickpesa) {
                continue;
            }
            within(&format!("{name} redacted as {kind:?}"), &|| {
                assert!(providers::redact(kind, body).len() <= 2 * BODY_MAX);
            });
        }
        within(&format!("{name} validated"), &|| drop(validate_c2b(body)));
        within(&format!("{name} signed"), &|| {
            let _ = checksum::verify(body, &[], "key");
        });
        within(&format!("{name} as fields"), &|| {
            if let Ok(fields) = Fields::parse(body) {
                let _ = bulk_lookup(&fields);
            }
        });
        let text = String::from_utf8_lossy(body);
        within(&format!("{name} as a query"), &|| {
            drop(Query::parse(&text, &["a"]))
        });
        within(&format!("{name} as a cursor"), &|| {
            let _ = decode_cursor(&text);
        });
        within(&format!("{name} as an amount"), &|| {
            let _ = text.parse::<Amount>();
        });
        within(&format!("{name} as a number"), &|| {
            drop(MsisdnInput::parse(&text))
        });
    }
    if let Some(before) = before {
        println!("at most {} KiB more", memory_kib("VmHWM") - before);
    }
}
