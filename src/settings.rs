//! Every setting, its default and its meaning. Nothing reads the environment elsewhere. A flag beats the environment,
//! the environment beats `.env`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;
use url::Url;

use crate::domain::transaction::Provider;
use crate::store::{CONNECT_TIMEOUT, DatabaseLimits, DatabaseUrl, ReplicaSettings};

/// The addresses Safaricom posts callbacks from, as clients in production list them; configurable because they are
/// known at second hand only.
pub const SAFARICOM_ADDRESSES: &str = "196.201.214.200,196.201.214.206,196.201.214.207,196.201.214.208,\
196.201.213.44,196.201.213.114,196.201.212.69,196.201.212.74,196.201.212.127,196.201.212.129,\
196.201.212.136,196.201.212.138";

/// Below this the database could not answer in time on any machine.
const DATABASE_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// How far a replica is gets asked twice a second.
const READ_MAX_LAG_MIN: Duration = Duration::from_secs(1);
/// Below this something might be forgotten that is still at work.
const RETENTION_MIN: Duration = Duration::from_secs(3600);

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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DATABASE_URL`: where everything is kept.
    pub database_url: DatabaseUrl,
    /// `DATABASE_READ_URL`, `DATABASE_READ_MAX_LAG`: a replica for reads that may be so old, if there is one.
    pub database_replica: Option<ReplicaSettings>,
    /// `LISTEN_ADDR`: where the service answers.
    pub listen_addr: SocketAddr,
    /// `ADMIN_LISTEN_ADDR`: if set, `/metrics` is served there only.
    pub admin_listen_addr: Option<SocketAddr>,
    /// `PUBLIC_URL`: base of the callback URLs handed to providers.
    pub public_url: Option<Url>,
    /// `MPESA_BASE_URL`: where Daraja is called, unless the account says; by the account's environment if not set.
    pub mpesa_base_url: Option<Url>,
    /// `CLICKPESA_BASE_URL`: likewise ClickPesa.
    pub clickpesa_base_url: Option<Url>,
    /// `MASTER_KEY`: seals credentials and webhook secrets.
    pub master_key: Option<SecretString>,
    /// `MASTER_KEY_PREVIOUS`: still opens what it sealed.
    pub master_key_previous: Option<SecretString>,
    /// `CALLBACK_ALLOWED_IPS`: who may post to the token-less callback paths.
    pub callback_allowed_ips: Vec<IpNet>,
    /// `TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `WEBHOOK_ALLOW_PRIVATE`: lets webhooks go to `http:` and private addresses.
    pub webhook_allow_private: bool,
    /// `WEBHOOK_CA_FILE`: certificate authorities that webhooks trust besides the system's, PEM.
    pub webhook_ca_file: Option<PathBuf>,
    /// `RATE_LIMIT_GET`: status reads per minute and key.
    pub rate_limit_get: u32,
    /// `RATE_LIMIT_POST`: bulk reads per minute and key.
    pub rate_limit_post: u32,
    /// `RATE_LIMIT_WRITE`: everything else per minute and key.
    pub rate_limit_write: u32,
    /// `RETENTION_CALLBACKS`: how long inbox rows are kept.
    pub retention_callbacks: Duration,
    /// `RETENTION_DELIVERIES`: how long finished deliveries are kept.
    pub retention_deliveries: Duration,
    /// `RETENTION_EVENTS`: how long timelines and the feed are kept.
    pub retention_events: Duration,
    /// `RECONCILE_AFTER`: how long a provider may be silent before it is asked.
    pub reconcile_after: Duration,
    /// `RECONCILE_FOR`: how long after the last news a transaction is asked about; then it counts as stuck.
    pub reconcile_for: Duration,
    /// `SHUTDOWN_GRACE`: how long what is in flight may take to finish.
    pub shutdown_grace: Duration,
    /// `DATABASE_POOL_SIZE`: connections for reading.
    pub database_pool_size: usize,
    /// `DATABASE_TIMEOUT`, `DATABASE_STATEMENT_TIMEOUT`, `DATABASE_CONNECT_TIMEOUT`, `DATABASE_POOL_WAIT`: how long any one
    /// act at the database may take, and one statement, a connection to one host, the wait for a free connection.
    pub database_limits: DatabaseLimits,
    /// `LOG_FORMAT`: `text` or `json`.
    pub log_format: Option<LogFormat>,
    /// `RUST_LOG`: which log lines.
    pub log_filter: Option<String>,
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
    /// If `.env` cannot be read.
    pub fn from_process() -> Result<Self, SettingsError> {
        let file = match dotenvy::from_path_iter(Path::new(".env")) {
            Ok(lines) => lines
                .collect::<Result<_, _>>()
                .map_err(|error| SettingsError {
                    name: ".env".to_owned(),
                    found: error.to_string(),
                    accepted: "lines of NAME=value are".to_owned(),
                })?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Self {
            flags: BTreeMap::new(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            file,
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

    fn parsed<T>(
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
}

impl Settings {
    /// Reads every setting.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn read(sources: &Sources) -> Result<Self, SettingsError> {
        let addresses =
            "addresses or CIDR blocks separated by commas are, such as 196.201.214.0/24";
        let duration = "a number with its unit is: ms, s, m, h or d, such as 90s";
        let whole = "a whole number from 1 to 1000000 is";
        let rate = |name, default| sources.parsed(name, default, whole, positive);
        let span = |name, default| sources.parsed(name, default, duration, parse_duration);
        let asking = |name, default| {
            let accepted = "a number with its unit is, from 100ms to 365d, such as 90s or 48h";
            sources.parsed(name, default, accepted, asking_span)
        };
        let provider = "an http or https URL without query is, such as http://127.0.0.1:9090";
        let kept = "a number with its unit is, at least 1h, such as 90d";
        let retention = |name, default| {
            sources.parsed(name, default, kept, |text| at_least(text, RETENTION_MIN))
        };
        let address = "an address and a port is, such as 127.0.0.1:8080";
        Ok(Self {
            database_url: database_url(sources)?,
            database_replica: database_replica(sources)?,
            listen_addr: sources.parsed(
                "LISTEN_ADDR",
                "127.0.0.1:8080",
                address,
                listen_address,
            )?,
            admin_listen_addr: optional(sources, "ADMIN_LISTEN_ADDR", address, listen_address)?,
            public_url: optional(
                sources,
                "PUBLIC_URL",
                "an http or https URL without query is, such as https://pay.example.com",
                base_url,
            )?,
            mpesa_base_url: optional(sources, "MPESA_BASE_URL", provider, base_url)?,
            clickpesa_base_url: optional(sources, "CLICKPESA_BASE_URL", provider, base_url)?,
            master_key: sources.value("MASTER_KEY").map(SecretString::from),
            master_key_previous: sources.value("MASTER_KEY_PREVIOUS").map(SecretString::from),
            callback_allowed_ips: sources.parsed(
                "CALLBACK_ALLOWED_IPS",
                SAFARICOM_ADDRESSES,
                addresses,
                networks,
            )?,
            trusted_proxies: sources.parsed("TRUSTED_PROXIES", "", addresses, networks)?,
            webhook_allow_private: sources.parsed(
                "WEBHOOK_ALLOW_PRIVATE",
                "false",
                "true or false is",
                |text| text.parse().ok(),
            )?,
            webhook_ca_file: sources.value("WEBHOOK_CA_FILE").map(PathBuf::from),
            rate_limit_get: rate("RATE_LIMIT_GET", "100")?,
            rate_limit_post: rate("RATE_LIMIT_POST", "50")?,
            rate_limit_write: rate("RATE_LIMIT_WRITE", "600")?,
            retention_callbacks: retention("RETENTION_CALLBACKS", "180d")?,
            retention_deliveries: retention("RETENTION_DELIVERIES", "30d")?,
            retention_events: retention("RETENTION_EVENTS", "90d")?,
            reconcile_after: asking("RECONCILE_AFTER", "60s")?,
            reconcile_for: asking("RECONCILE_FOR", "48h")?,
            shutdown_grace: span("SHUTDOWN_GRACE", "25s")?,
            database_pool_size: sources.parsed(
                "DATABASE_POOL_SIZE",
                "8",
                "a whole number from 1 to 1000 is",
                |text| text.parse().ok().filter(|size| (1..=1_000).contains(size)),
            )?,
            database_limits: database_limits(sources)?,
            log_format: optional(
                sources,
                "LOG_FORMAT",
                "text or json is",
                |text| match text {
                    "text" => Some(LogFormat::Text),
                    "json" => Some(LogFormat::Json),
                    _ => None,
                },
            )?,
            log_filter: optional(
                sources,
                "RUST_LOG",
                "levels and targets are, such as info,ussd_status=debug",
                |text| {
                    EnvFilter::try_new(text).ok()?;
                    Some(text.to_owned())
                },
            )?,
        })
    }
}

impl Settings {
    /// Where a provider is called instead of its own address, if the operator says so.
    pub fn provider_base_url(&self, provider: Provider) -> Option<&Url> {
        match provider {
            Provider::Mpesa => self.mpesa_base_url.as_ref(),
            Provider::Clickpesa => self.clickpesa_base_url.as_ref(),
        }
    }
}

fn optional<T>(
    sources: &Sources,
    name: &str,
    accepted: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, SettingsError> {
    match sources.value(name) {
        Some(_) => sources.parsed(name, "", accepted, parse).map(Some),
        None => Ok(None),
    }
}

fn database_url(sources: &Sources) -> Result<DatabaseUrl, SettingsError> {
    let text = sources
        .value("DATABASE_URL")
        .unwrap_or("sqlite://ussd-status.db");
    text.parse().map_err(|accepted| SettingsError {
        name: "DATABASE_URL".to_owned(),
        // The rest may carry a password.
        found: text.split_once("://").map_or_else(
            || "a text without a scheme".to_owned(),
            |(scheme, _)| format!("\"{scheme}://…\""),
        ),
        accepted,
    })
}

/// A replica of PostgreSQL's, beside a primary of PostgreSQL's.
fn database_replica(sources: &Sources) -> Result<Option<ReplicaSettings>, SettingsError> {
    let accepted = "a number with its unit is, at least 1s, such as 5s";
    let max_lag = sources.parsed("DATABASE_READ_MAX_LAG", "5s", accepted, |text| {
        at_least(text, READ_MAX_LAG_MIN)
    })?;
    let Some(text) = sources.value("DATABASE_READ_URL") else {
        return Ok(None);
    };
    let refused = |found: &str, accepted: &str| SettingsError {
        name: "DATABASE_READ_URL".to_owned(),
        found: found.to_owned(),
        accepted: accepted.to_owned(),
    };
    match (text.parse(), database_url(sources)?) {
        (Ok(url @ DatabaseUrl::Postgres(_)), DatabaseUrl::Postgres(_)) => {
            Ok(Some(ReplicaSettings { url, max_lag }))
        }
        (Ok(DatabaseUrl::Postgres(_)), _) => Err(refused(
            "a replica beside an embedded database",
            "it is beside a DATABASE_URL that is postgres://…",
        )),
        // It may carry a password.
        _ => Err(refused("another URL", "postgres://… is")),
    }
}

/// What is not set is limited by `DATABASE_TIMEOUT` alone; a longer limit within it would never be reached.
fn database_limits(sources: &Sources) -> Result<DatabaseLimits, SettingsError> {
    let accepted = "a number with its unit is, at least 100ms, such as 5s";
    let act = sources.parsed("DATABASE_TIMEOUT", "5s", accepted, |text| {
        at_least(text, DATABASE_TIMEOUT_MIN)
    })?;
    let within = |name, default: Duration| {
        let accepted = "a number with its unit is, at least 100ms and at most DATABASE_TIMEOUT";
        let limit = optional(sources, name, accepted, |text| {
            at_least(text, DATABASE_TIMEOUT_MIN).filter(|limit| *limit <= act)
        })?;
        Ok(limit.unwrap_or(default.min(act)))
    };
    Ok(DatabaseLimits {
        act,
        statement: within("DATABASE_STATEMENT_TIMEOUT", act)?,
        connect: within("DATABASE_CONNECT_TIMEOUT", CONNECT_TIMEOUT)?,
        pool_wait: within("DATABASE_POOL_WAIT", act)?,
    })
}

fn positive(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n| (1..=1_000_000).contains(n))
}

fn at_least(text: &str, least: Duration) -> Option<Duration> {
    parse_duration(text).filter(|duration| *duration >= least)
}

/// `:0` is short for the loopback address.
fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix(':') {
        Some(port) => port
            .parse()
            .ok()
            .map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port))),
        None => text.parse().ok(),
    }
}

fn base_url(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let is_web = matches!(url.scheme(), "http" | "https");
    (is_web && url.has_host() && url.query().is_none() && url.fragment().is_none()).then_some(url)
}

fn networks(text: &str) -> Option<Vec<IpNet>> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse::<IpNet>()
                .ok()
                .or_else(|| part.parse::<std::net::IpAddr>().ok().map(IpNet::from))
        })
        .collect()
}

/// `90s`, `5m`, `48h`, `180d`, `500ms`; at most a hundred years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number
        .checked_mul(milliseconds)
        .filter(|total| *total <= 36_500 * 86_400_000)
        .map(Duration::from_millis)
}

/// Shorter would ask without pause; longer than any provider remembers a payment is no use.
fn asking_span(text: &str) -> Option<Duration> {
    let accepted = Duration::from_millis(100)..=Duration::from_secs(365 * 86_400);
    parse_duration(text).filter(|span| accepted.contains(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(&Sources::from_pairs(pairs))
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            settings.database_url,
            DatabaseUrl::Sqlite("ussd-status.db".to_owned())
        );
        assert_eq!(settings.listen_addr.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.callback_allowed_ips.len(), 12);
        assert!(settings.trusted_proxies.is_empty());
        assert_eq!(
            (
                settings.rate_limit_get,
                settings.rate_limit_post,
                settings.rate_limit_write
            ),
            (100, 50, 600)
        );
        assert_eq!(
            settings.retention_callbacks,
            Duration::from_secs(180 * 86_400)
        );
        assert_eq!(settings.shutdown_grace, Duration::from_secs(25));
        assert_eq!(settings.reconcile_after, Duration::from_secs(60));
        assert_eq!(settings.reconcile_for, Duration::from_secs(48 * 3_600));
        assert!(!settings.webhook_allow_private);
        assert_eq!(settings.webhook_ca_file, None);
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_was_found_and_what_is_accepted() {
        for (name, value, accepted) in [
            (
                "DATABASE_URL",
                "mysql://u:secret@h/d",
                "sqlite://PATH and postgres://",
            ),
            ("LISTEN_ADDR", "localhost", "127.0.0.1:8080"),
            ("PUBLIC_URL", "pay.example.com", "https://pay.example.com"),
            ("MPESA_BASE_URL", "localhost:9090", "http://127.0.0.1:9090"),
            ("CLICKPESA_BASE_URL", "ftp://x", "http://127.0.0.1:9090"),
            ("CALLBACK_ALLOWED_IPS", "1.2.3.4,everyone", "CIDR"),
            ("TRUSTED_PROXIES", "10.0.0.0/99", "CIDR"),
            ("WEBHOOK_ALLOW_PRIVATE", "yes", "true or false"),
            ("RATE_LIMIT_GET", "0", "whole number"),
            ("RETENTION_EVENTS", "90", "unit"),
            ("RETENTION_EVENTS", "99999999d", "unit"),
            ("RECONCILE_AFTER", "0s", "from 100ms to 365d"),
            ("RECONCILE_FOR", "48", "from 100ms to 365d"),
            ("RETENTION_EVENTS", "59m", "at least 1h"),
            ("RETENTION_CALLBACKS", "0d", "at least 1h"),
            ("RETENTION_DELIVERIES", "1ms", "at least 1h"),
            ("DATABASE_TIMEOUT", "0s", "at least 100ms"),
            (
                "DATABASE_STATEMENT_TIMEOUT",
                "6s",
                "at most DATABASE_TIMEOUT",
            ),
            (
                "DATABASE_CONNECT_TIMEOUT",
                "1ms",
                "at most DATABASE_TIMEOUT",
            ),
            ("DATABASE_POOL_WAIT", "long", "at most DATABASE_TIMEOUT"),
            ("DATABASE_READ_URL", "sqlite://secret", "postgres://"),
            (
                "DATABASE_READ_URL",
                "postgres://u:secret@h/d",
                "beside a DATABASE_URL",
            ),
            ("DATABASE_READ_MAX_LAG", "100ms", "at least 1s"),
            ("RUST_LOG", "ussd_status=loud", "info,ussd_status=debug"),
            ("DATABASE_POOL_SIZE", "1.5", "whole number"),
            ("LOG_FORMAT", "xml", "text or json"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.name, name);
            assert!(error.accepted.contains(accepted), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn limits_of_the_database_follow_the_one_of_an_act() {
        let limits = |pairs| read(pairs).unwrap().database_limits;
        let seconds = |limits: DatabaseLimits| {
            [
                limits.act,
                limits.statement,
                limits.connect,
                limits.pool_wait,
            ]
            .map(|limit| limit.as_secs())
        };
        assert_eq!(seconds(limits(&[])), [5, 5, 2, 5]);
        assert_eq!(seconds(limits(&[("DATABASE_TIMEOUT", "1s")])), [1, 1, 1, 1]);
        let all = [
            ("DATABASE_TIMEOUT", "60s"),
            ("DATABASE_STATEMENT_TIMEOUT", "50s"),
            ("DATABASE_CONNECT_TIMEOUT", "4s"),
            ("DATABASE_POOL_WAIT", "3s"),
        ];
        assert_eq!(seconds(limits(&all)), [60, 50, 4, 3]);
    }

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
    fn a_port_alone_listens_on_loopback() {
        let settings = read(&[("LISTEN_ADDR", ":0")]).unwrap();
        assert_eq!(settings.listen_addr.to_string(), "127.0.0.1:0");
    }
}
