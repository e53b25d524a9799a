//! Where settings come from, and what is said of one that cannot be used.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// A setting that cannot be used: which, what was found, what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {found} is not accepted; {accepted}")]
pub struct SettingsError {
    /// The setting.
    pub name: String,
    /// What was found, secrets left out.
    pub found: String,
    /// What is accepted.
    pub accepted: String,
}

/// Where settings come from, strongest first.
#[derive(Debug, Default)]
pub struct Sources {
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
}

impl Sources {
    /// The process's environment and the `.env` file of the working directory, if there is one.
    ///
    /// # Errors
    /// If `.env` is there but cannot be read.
    pub fn from_process() -> Result<Self, SettingsError> {
        Ok(Self {
            flags: BTreeMap::new(),
            environment: std::env::vars_os()
                .map(|(name, value)| (readable(name), readable(value)))
                .collect(),
            file: file(Path::new(".env"))?,
        })
    }

    /// Only what is given, for tests and the demo.
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        Self {
            flags: pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Self::default()
        }
    }

    /// Adds a flag's value, which beats everything else.
    pub fn set_flag(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.flags.insert(name.to_owned(), value);
        }
    }

    /// A value; an empty one counts as not set.
    pub fn value(&self, name: &str) -> Option<&str> {
        [&self.flags, &self.environment, &self.file]
            .into_iter()
            .find_map(|source| source.get(name))
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// A setting, or its default; its error says what is accepted.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        default: &str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, SettingsError> {
        let text = self.value(name).unwrap_or(default);
        parse(text).ok_or_else(|| SettingsError {
            name: name.to_owned(),
            found: format!("{text:?}"),
            accepted: accepted.to_owned(),
        })
    }

    /// A setting that may be left out.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        match self.value(name) {
            Some(_) => self.parsed(name, "", accepted, parse).map(Some),
            None => Ok(None),
        }
    }
}

/// What is no Unicode is kept as well as it can be: passed over, it would be a default that nobody asked for.
fn readable(text: OsString) -> String {
    text.into_string()
        .unwrap_or_else(|text| text.to_string_lossy().into_owned())
}

/// The lines of a file that need not be there.
fn file(path: &Path) -> Result<BTreeMap<String, String>, SettingsError> {
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines.collect(),
        Err(error) => Err(error),
    };
    match lines {
        Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(BTreeMap::new())
        }
        lines => lines.map_err(|error| SettingsError {
            name: path.display().to_string(),
            found: error.to_string(),
            accepted: "a file that this user may read, with lines of NAME=value, is".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let mut sources = Sources {
            flags: BTreeMap::new(),
            environment: BTreeMap::from([("RATE_LIMIT_GET".to_owned(), "7".to_owned())]),
            file: BTreeMap::from([
                ("RATE_LIMIT_GET".to_owned(), "8".to_owned()),
                ("RATE_LIMIT_POST".to_owned(), "9".to_owned()),
            ]),
        };
        let settings = Settings::read(&sources).unwrap();
        assert_eq!((settings.rate_limit_get, settings.rate_limit_post), (7, 9));
        sources.set_flag("RATE_LIMIT_GET", Some("6".to_owned()));
        assert_eq!(Settings::read(&sources).unwrap().rate_limit_get, 6);
    }

    #[test]
    fn a_file_that_is_there_is_read_or_refused_never_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert_eq!(file(&path).unwrap(), BTreeMap::new());
        std::fs::write(&path, "RATE_LIMIT_GET=7\n").unwrap();
        assert_eq!(file(&path).unwrap()["RATE_LIMIT_GET"], "7");
        std::fs::write(&path, "RATE LIMIT\n").unwrap();
        assert!(file(&path).unwrap_err().to_string().contains("NAME=value"));
        // Whoever runs the tests may read any file, but nobody reads a folder.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = file(&path).unwrap_err();
        assert!(error.name.ends_with(".env"), "{error}");
        assert!(error.accepted.contains("may read"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_unicode_is_not_passed_over() {
        use std::os::unix::ffi::OsStringExt;
        let value = readable(OsString::from_vec(b"sqlite://\xff.db".to_vec()));
        assert_eq!(value, "sqlite://\u{fffd}.db");
        let error = Settings::read(&Sources::from_pairs(&[(
            "RATE_LIMIT_GET",
            &readable(OsString::from_vec(b"\xff".to_vec())),
        )]));
        assert_eq!(error.unwrap_err().name, "RATE_LIMIT_GET");
    }
}
