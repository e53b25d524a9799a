//! Connecting to PostgreSQL: the hosts of a URL in turn, each within a limit of its own, with TLS where the URL or the
//! address asks for it. A host that takes connections and then says nothing (frozen, or cut off) costs that limit once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::ConnectionError;
use diesel::result::ConnectionResult;
use diesel_async::AsyncPgConnection;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};

use super::{DatabaseLimits, StoreError};

/// A silent connection is asked whether it still stands after so long, and three times more often from then on.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(3);
const KEEPALIVE_TRIES: u32 = 3;

/// The servers of one URL.
pub struct Servers {
    hosts: Vec<Config>,
    connect_timeout: Duration,
    /// Which host is tried first: the one that answered last, or the one after it.
    first: AtomicUsize,
}

impl Servers {
    /// Reads a URL; `more` are options for every session.
    ///
    /// # Errors
    /// If it is no URL of PostgreSQL's.
    pub fn new(url: &str, limits: &DatabaseLimits, more: &str) -> Result<Self, StoreError> {
        let wrong = |error: String| StoreError::Unavailable(format!("the URL: {error}"));
        let mut config: Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| wrong(error.to_string()))?;
        // A host may be named, or be an address alone.
        let count = config.get_hosts().len().max(config.get_hostaddrs().len());
        if count == 0 {
            return Err(wrong("it names no host".to_owned()));
        }
        if count > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // Of several hosts one is the primary, and nobody else will do.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        prepare(&mut config, limits, more);
        let hosts = (0..count)
            .map(|index| of_one_host(&config, index))
            .collect();
        Ok(Self {
            hosts,
            connect_timeout: limits.connect,
            first: AtomicUsize::new(0),
        })
    }

    /// Opens one connection.
    ///
    /// # Errors
    /// What the last host said, if none will do.
    pub async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        let mut last = ConnectionError::BadConnection("no host".to_owned());
        for _ in 0..self.hosts.len() {
            let index = self.first.load(Ordering::Relaxed) % self.hosts.len();
            let Some(host) = self.hosts.get(index) else {
                break;
            };
            match tokio::time::timeout(self.connect_timeout, connect(host)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_) => {
                    last = ConnectionError::BadConnection(format!(
                        "no connection within {:?}",
                        self.connect_timeout
                    ));
                }
            }
            // Unless somebody else has found that out already. Whoever comes next begins with the next host, also when
            // we are cut off before we come to it.
            let _ = self.first.compare_exchange(
                index,
                index.wrapping_add(1) % self.hosts.len(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        Err(last)
    }
}

fn prepare(config: &mut Config, limits: &DatabaseLimits, more: &str) {
    if config.get_application_name().is_none() {
        config.application_name("ussd-status");
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(limits.act);
    }
    if config.get_keepalives_interval().is_none() {
        config
            .keepalives_idle(KEEPALIVE_AFTER)
            .keepalives_interval(KEEPALIVE_EVERY)
            .keepalives_retries(KEEPALIVE_TRIES);
    }
    // A statement, or a transaction left open, must not outlive the caller that waits for it. Every statement is prepared
    // and finds its rows by an index whatever its parameters are; planning a page anew takes longer than reading it.
    let settings = format!(
        "-c plan_cache_mode=force_generic_plan -c statement_timeout={} -c idle_in_transaction_session_timeout={} \
         -c timezone=UTC {more}",
        limits.statement.as_millis(),
        limits.act.as_millis()
    );
    let settings = match config.get_options() {
        Some(given) => format!("{settings} {given}"),
        None => settings,
    };
    config.options(settings);
}

/// The same for one of its hosts.
fn of_one_host(all: &Config, index: usize) -> Config {
    let mut one = Config::new();
    match all.get_hosts().get(index) {
        Some(Host::Tcp(name)) => one.host(name),
        Some(Host::Unix(path)) => one.host_path(path),
        None => &mut one,
    };
    if let Some(address) = all.get_hostaddrs().get(index) {
        one.hostaddr(*address);
    }
    let ports = all.get_ports();
    if let Some(port) = ports.get(index).or_else(|| ports.first()) {
        one.port(*port);
    }
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(name) = all.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(timeout) = all.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    one.keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle());
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(tries) = all.get_keepalives_retries() {
        one.keepalives_retries(tries);
    }
    one.ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .target_session_attrs(all.get_target_session_attrs())
        .load_balance_hosts(all.get_load_balance_hosts());
    one
}

/// `sslmode=disable` is plain; `require` is TLS with a certificate that the system's trust store accepts; unset, TLS is
/// used for a host that is not this machine.
async fn connect(config: &Config) -> ConnectionResult<AsyncPgConnection> {
    let bad = |error: &dyn std::fmt::Display| ConnectionError::BadConnection(error.to_string());
    let mut config = config.clone();
    if uses_tls(&config) {
        config.ssl_mode(SslMode::Require);
        let tls = rustls::ClientConfig::with_platform_verifier().map_err(|error| bad(&error))?;
        let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
        let (client, connection) = config.connect(tls).await.map_err(|error| bad(&error))?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    } else {
        config.ssl_mode(SslMode::Disable);
        let (client, connection) = config.connect(NoTls).await.map_err(|error| bad(&error))?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

fn uses_tls(config: &Config) -> bool {
    let is_here = |host: &Host| match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    };
    match config.get_ssl_mode() {
        SslMode::Disable => false,
        SslMode::Require => true,
        _ => !config.get_hosts().iter().all(is_here),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DatabaseLimits = DatabaseLimits {
        act: Duration::from_secs(5),
        statement: Duration::from_secs(4),
        connect: Duration::from_millis(300),
        pool_wait: Duration::from_secs(1),
    };

    fn servers(url: &str) -> Servers {
        Servers::new(url, &LIMITS, "-c enable_hashjoin=off").unwrap()
    }

    #[test]
    fn every_host_keeps_what_the_url_says_of_all() {
        let url = "postgres://me:secret@one:5431,two:5432,three:5433/books?sslmode=require&options=-c%20work_mem%3D1MB";
        let servers = servers(url);
        assert_eq!(servers.hosts.len(), 3);
        for (host, (name, port)) in
            servers
                .hosts
                .iter()
                .zip([("one", 5431), ("two", 5432), ("three", 5433)])
        {
            assert_eq!(host.get_hosts(), [Host::Tcp(name.to_owned())]);
            assert_eq!(host.get_ports(), [port]);
            assert_eq!(host.get_user(), Some("me"));
            assert_eq!(host.get_password(), Some("secret".as_bytes()));
            assert_eq!(host.get_dbname(), Some("books"));
            assert_eq!(host.get_ssl_mode(), SslMode::Require);
            assert_eq!(
                host.get_target_session_attrs(),
                TargetSessionAttrs::ReadWrite
            );
            assert_eq!(host.get_tcp_user_timeout(), Some(&LIMITS.act));
            let options = host.get_options().unwrap();
            for option in [
                "statement_timeout=4000",
                "enable_hashjoin=off",
                "work_mem=1MB",
            ] {
                assert!(options.contains(option), "{options}");
            }
        }
    }

    #[test]
    fn one_host_may_be_read_only_and_several_may_be_said_to_be() {
        let attributes = |url| {
            let servers = servers(url);
            servers.hosts.first().unwrap().get_target_session_attrs()
        };
        assert_eq!(attributes("postgres://one/x"), TargetSessionAttrs::Any);
        assert_eq!(
            attributes("postgres://one,two/x?target_session_attrs=read-only"),
            TargetSessionAttrs::ReadOnly
        );
    }

    #[test]
    fn a_url_without_a_host_is_refused() {
        assert!(Servers::new("postgres:///x", &LIMITS, "").is_err());
        assert!(Servers::new("postgres://one/x?sslmode=perhaps", &LIMITS, "").is_err());
    }

    #[tokio::test]
    async fn who_is_cut_off_at_a_silent_host_has_not_tried_it_in_vain() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
        let url = format!(
            "postgres://me@127.0.0.1:{},127.0.0.1:{}/x",
            port(&silent),
            port(&gone)
        );
        drop(gone);
        let servers = servers(&url);
        assert!(servers.connect().await.is_err());
        // Both were tried, the silent one for no longer than its limit: the next caller begins with it again.
        assert_eq!(servers.first.load(Ordering::Relaxed), 0);
    }
}
