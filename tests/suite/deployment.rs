//! The files to deploy with. No container engine runs here, so they are read: what they name must exist, and what makes
//! them safe must be there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_yaml_ng::Value;

use crate::support::TestStore;
use crate::support::program::Place;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The settings that the program knows, by its example file.
fn settings() -> BTreeSet<String> {
    file(".env.example")
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name.to_owned())
        .chain([
            "MASTER_KEY_PREVIOUS".to_owned(),
            "DATABASE_READ_URL".to_owned(),
        ])
        .collect()
}

#[test]
fn three_instances_stand_behind_a_proxy_that_alone_is_reachable() {
    let mut compose: Value = serde_yaml_ng::from_str(&file("compose.yaml")).unwrap();
    compose.apply_merge().unwrap();
    let services = compose["services"].as_mapping().unwrap();
    let names: Vec<&str> = services.keys().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, ["postgres", "migrate", "service", "proxy"]);
    let service = &services["service"];
    assert_eq!(service["deploy"]["replicas"], 3);
    assert_eq!(service["read_only"], true);
    let condition = |of: &str, on: &str| services[of]["depends_on"][on]["condition"].clone();
    assert_eq!(
        condition("service", "migrate"),
        "service_completed_successfully"
    );
    assert_eq!(condition("migrate", "postgres"), "service_healthy");
    assert_eq!(condition("proxy", "service"), "service_healthy");
    let open: Vec<&&str> = names
        .iter()
        .filter(|name| !services[**name]["ports"].is_null())
        .collect();
    assert_eq!(open, [&"proxy"]);
    for (name, _) in service["environment"].as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        assert!(settings().contains(name), "{name} is no setting");
    }
    // Who may say where a caller comes from: the network of these containers, and it alone.
    let subnet = &compose["networks"]["inside"]["ipam"]["config"][0]["subnet"];
    assert_eq!(&service["environment"]["TRUSTED_PROXIES"], subnet);
    for secret in ["MASTER_KEY", "POSTGRES_PASSWORD"] {
        assert!(
            file("compose.yaml").contains(&format!("${{{secret}:?")),
            "{secret} must be given"
        );
    }
}

#[test]
fn the_image_is_small_and_not_root() {
    let text = file("Dockerfile");
    let joined = text.replace("\\\n", " ");
    let lines: Vec<&str> = joined
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let last_stage = lines
        .iter()
        .rposition(|line| line.starts_with("FROM "))
        .unwrap();
    let (build, run) = lines.split_at(last_stage);
    assert!(
        build
            .iter()
            .any(|line| line.contains("cargo build --release --locked"))
    );
    let has = |start: &str| {
        run.iter()
            .find(|line| line.starts_with(start))
            .copied()
            .unwrap_or_default()
    };
    assert!(
        has("FROM").ends_with(":nonroot") && has("USER").contains("65532"),
        "{run:?}"
    );
    assert!(has("HEALTHCHECK").contains(r#"["/usr/local/bin/ussd-status", "healthcheck"]"#));
    assert!(has("ENTRYPOINT").contains('[') && has("STOPSIGNAL").contains("SIGTERM"));
    assert!(
        !run.iter()
            .any(|line| line.starts_with("RUN") || line.starts_with("ADD"))
    );
    for (name, _) in has("ENV")
        .trim_start_matches("ENV ")
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='))
    {
        assert!(settings().contains(name), "{name} is no setting");
    }
    // What the build copies must not be left out of what it is given.
    let ignored = file(".dockerignore");
    for needed in [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "migrations",
        "openapi.yaml",
        ".cargo",
    ] {
        assert!(
            ignored.lines().any(|line| line == format!("!{needed}")),
            "{needed}"
        );
    }
}

#[test]
fn the_unit_gives_the_program_nothing_it_does_not_need() {
    let unit = file("deploy/ussd-status.service");
    for line in [
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "MemoryDenyWriteExecute=yes",
        "Restart=always",
        "ExecStart=/usr/local/bin/ussd-status serve",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    let mut section = "";
    for line in unit
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with('[') {
            section = line;
        } else {
            assert!(
                ["[Unit]", "[Service]", "[Install]"].contains(&section) && line.contains('='),
                "{line}"
            );
        }
    }
    // By systemd's own reading, where there is a systemd.
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_ok()
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ussd-status.service");
        let here = unit.replace(
            "/usr/local/bin/ussd-status",
            env!("CARGO_BIN_EXE_ussd-status"),
        );
        std::fs::write(&path, here).unwrap();
        let read = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&path)
            .output()
            .unwrap();
        let complaints = String::from_utf8_lossy(&read.stderr).into_owned();
        assert!(
            read.status.success() && !complaints.contains("ussd-status.service:"),
            "{complaints}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_tells_a_service_that_is_ready_from_one_that_is_not() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    let service = place.serve();
    let ask = |address: &str| {
        let mut command = place.command(&["healthcheck", "--json"]);
        command.env("LISTEN_ADDR", address).output().unwrap()
    };
    let address = service.address.clone();
    let ready = ask(&address);
    assert_eq!(ready.status.code(), Some(0));
    let everywhere = format!("0.0.0.0:{}", address.rsplit(':').next().unwrap());
    assert_eq!(ask(&everywhere).status.code(), Some(0));
    drop(service);
    assert_eq!(ask(&address).status.code(), Some(1));
}
