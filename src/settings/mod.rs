//! Every setting, its default and its meaning. Nothing reads the environment elsewhere. A flag beats the environment,
//! the environment beats `.env`.

mod database;
mod sources;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;
use url::Url;

pub use sources::{SettingsError, Sources};
pub use values::parse_duration;

use database::{database_limits, database_replica, database_url};
use values::{asking_span, at_least, base_url, listen_address, networks, positive};

use crate::domain::transaction::Provider;
use crate::store::{DatabaseLimits, DatabaseUrl, ReplicaSettings};

/// The addresses Safaricom posts callbacks from, as clients in production list them; configurable because they are
/// known at second hand only.
pub const SAFARICOM_ADDRESSES: &str = "196.201.214.200,196.201.214.206,196.201.214.207,196.201.214.208,\
196.201.213.44,196.201.213.114,196.201.212.69,196.201.212.74,196.201.212.127,196.201.212.129,\
196.201.212.136,196.201.212.138";

/// Below this something might be forgotten that is still at work.
const RETENTION_MIN: Duration = Duration::from_secs(3600);

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
            admin_listen_addr: sources.optional("ADMIN_LISTEN_ADDR", address, listen_address)?,
            public_url: sources.optional(
                "PUBLIC_URL",
                "an http or https URL without query is, such as https://pay.example.com",
                base_url,
            )?,
            mpesa_base_url: sources.optional("MPESA_BASE_URL", provider, base_url)?,
            clickpesa_base_url: sources.optional("CLICKPESA_BASE_URL", provider, base_url)?,
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
            log_format: sources.optional("LOG_FORMAT", "text or json is", |text| match text {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            })?,
            log_filter: sources.optional(
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
    fn a_port_alone_listens_on_loopback() {
        let settings = read(&[("LISTEN_ADDR", ":0")]).unwrap();
        assert_eq!(settings.listen_addr.to_string(), "127.0.0.1:0");
    }
}
