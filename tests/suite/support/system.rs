//! The system around the tests: small commands, and packages that root may install.

use std::process::{Command, Stdio};

/// Whether a command succeeds; it says nothing.
pub fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether we are root.
pub fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Root may install what is missing, and is told so.
pub fn install(package: &str) {
    eprintln!("{package} is not installed: running apt-get install -y {package}");
    run("apt-get", &["update", "-q"]);
    run(
        "env",
        &[
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "install",
            "-y",
            "-q",
            package,
        ],
    );
}
