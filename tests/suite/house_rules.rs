//! Which room may import which, and where the big libraries may be named: read from the source itself.

use std::fs;
use std::path::{Path, PathBuf};

/// What each room may import. A room that is not there yet is simply absent; one that is not listed is refused.
const ROOMS: [(&str, &[&str]); 20] = [
    ("domain", &[]),
    ("vault", &[]),
    ("settings", &["domain", "store"]),
    ("telemetry", &["settings"]),
    ("providers", &["domain"]),
    ("store", &["domain"]),
    ("feed", &["domain", "store"]),
    ("instances", &["domain", "store"]),
    ("statements", &["domain", "store"]),
    ("ingest", ABOVE_INGEST),
    ("payments", ABOVE_PAYMENTS),
    ("reconciliation", ABOVE_RECONCILIATION),
    ("webhooks", ABOVE_PAYMENTS),
    ("http", ABOVE_HTTP),
    ("console", ABOVE_CONSOLE),
    ("simulator", &["settings"]),
    ("app", ANYTHING),
    ("cli", ANYTHING),
    ("main", ANYTHING),
    ("lib", ANYTHING),
];

const ABOVE_INGEST: &[&str] = &[
    "domain",
    "store",
    "feed",
    "instances",
    "providers",
    "vault",
    "settings",
];
const ABOVE_PAYMENTS: &[&str] = &[
    "domain",
    "store",
    "feed",
    "instances",
    "providers",
    "vault",
    "settings",
    "ingest",
];
const ABOVE_RECONCILIATION: &[&str] = &[
    "domain",
    "store",
    "feed",
    "instances",
    "providers",
    "vault",
    "settings",
    "ingest",
    "payments",
];
const ABOVE_HTTP: &[&str] = &[
    "domain",
    "store",
    "feed",
    "instances",
    "providers",
    "vault",
    "settings",
    "ingest",
    "payments",
    "reconciliation",
    "webhooks",
    "statements",
    "telemetry",
];
/// What `http` may, and what its handlers know already.
const ABOVE_CONSOLE: &[&str] = &[
    "domain",
    "store",
    "feed",
    "providers",
    "vault",
    "settings",
    "ingest",
    "payments",
    "reconciliation",
    "webhooks",
    "telemetry",
    "http",
];
const ANYTHING: &[&str] = &["*"];

/// Where a library may be named: beginnings of paths below `src/`.
const LIBRARIES: [(&[&str], &[&str]); 3] = [
    (
        &["actix_web", "actix_governor"],
        &["http", "console", "simulator", "app"],
    ),
    (&["diesel", "diesel_async", "diesel_migrations"], &["store"]),
    (
        &["reqwest"],
        &["providers/client.rs", "webhooks/sender.rs", "simulator"],
    ),
];

struct Source {
    /// Below `src/`.
    path: String,
    /// The first part of the path.
    room: String,
    /// Lines that are no comments, numbered from 1.
    lines: Vec<(usize, String)>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(source(&root, path));
            }
        }
    }
    assert!(sources.len() > 20);
    sources
}

fn source(root: &Path, path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).unwrap();
    let path = path
        .strip_prefix(root)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let room = path.split('/').next().unwrap().trim_end_matches(".rs");
    Source {
        room: room.to_owned(),
        path,
        lines: text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number + 1, line.to_owned()))
            .collect(),
    }
}

/// The names that follow `prefix::` in a line.
fn named<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let start = format!("{prefix}::");
    line.match_indices(&start)
        .filter(|(at, _)| !line[..*at].ends_with(is_part_of_a_name))
        .map(|(at, _)| {
            let rest = &line[at + start.len()..];
            rest.split(|c| !is_part_of_a_name(c)).next().unwrap()
        })
        .collect()
}

fn is_part_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn every_room_imports_only_what_it_may() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == source.room) else {
            panic!("{}: say in ROOMS what this room may import", source.path);
        };
        for (number, line) in &source.lines {
            for name in named(line, "crate") {
                let is_fine =
                    *allowed == ANYTHING || name == source.room || allowed.contains(&name);
                if !is_fine {
                    broken.push(format!("src/{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn libraries_are_named_only_where_they_belong() {
    let mut broken = Vec::new();
    for source in sources() {
        for (libraries, places) in LIBRARIES {
            let is_home = places.iter().any(|place| {
                let rest = source.path.strip_prefix(place);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
            });
            for (number, line) in source.lines.iter().filter(|_| !is_home) {
                if libraries.iter().any(|library| {
                    line.split(|c| !is_part_of_a_name(c))
                        .any(|word| word == *library)
                }) {
                    broken.push(format!("src/{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
