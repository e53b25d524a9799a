//! The programs the test needs: PostgreSQL's and etcd's from the system, Patroni from PyPI. Root installs what is missing;
//! anybody else is told how.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::system::{install, is_root, run};

/// The version of Patroni that is tested.
const PATRONI: &str = "patroni[etcd3,psycopg2-binary]==4.1.5";

/// Where they are, and who runs them.
pub struct Tools {
    /// The folder of `postgres`.
    pub postgres: PathBuf,
    pub etcd: PathBuf,
    pub python: PathBuf,
    /// The folder that Patroni was installed to; another user may not be able to read it there.
    pub patroni: PathBuf,
    /// User and group, where we are root: PostgreSQL does not run as root.
    pub user: Option<(u32, u32)>,
}

fn number(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

impl Tools {
    /// Finds them.
    pub fn find() -> Self {
        let is_root = is_root();
        let need = |package: &str| {
            assert!(
                is_root,
                "this test needs {package}: run `sudo apt-get install {package}`"
            );
            install(package);
        };
        if postgres().is_none() {
            need("postgresql");
        }
        if etcd().is_none() {
            need("etcd-server");
        }
        // The system's own: one in root's home cannot be run by another user.
        let python = PathBuf::from("/usr/bin/python3");
        let path = python.display().to_string();
        if !run(&path, &["-c", "import ensurepip, venv"]) {
            need("python3-venv");
        }
        let user = is_root.then(|| {
            let name = if run("id", &["postgres"]) {
                "postgres"
            } else {
                "nobody"
            };
            let id = |flag| number(&[flag, name]).expect("a user who is not root");
            (id("-u"), id("-g"))
        });
        Self {
            postgres: postgres().expect("PostgreSQL's programs"),
            etcd: etcd().expect("etcd"),
            patroni: patroni(&path),
            python,
            user,
        }
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn etcd() -> Option<PathBuf> {
    in_path("etcd")
}

/// The newest of the system's own.
fn postgres() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("postgres").is_file() && bin.join("pg_rewind").is_file())
        .collect();
    folders.sort();
    folders.pop()
}

/// Installs Patroni once for this target folder.
fn patroni(python: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let version = PATRONI.rsplit('=').next().unwrap();
    let library = home.join(format!("patroni-{version}"));
    if library.is_dir() {
        return library;
    }
    eprintln!("installing {PATRONI}");
    let venv = tempfile::tempdir().unwrap();
    let place = venv.path().display().to_string();
    assert!(run(python, &["-m", "venv", &place]), "python3 -m venv");
    let half = home.join(format!("patroni-{}", std::process::id()));
    let target = half.display().to_string();
    let arguments = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--target",
        &target,
        PATRONI,
    ];
    let pip = format!("{place}/bin/pip");
    assert!(run(&pip, &arguments), "pip install {PATRONI}");
    // Whoever else did the same meanwhile did it as well.
    if std::fs::rename(&half, &library).is_err() {
        let _ = std::fs::remove_dir_all(&half);
    }
    library
}
