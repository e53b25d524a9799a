//! Connecting to PostgreSQL, with TLS where the URL or the address asks for it, and with limits on every wait.

use std::time::Duration;

use diesel::ConnectionError;
use diesel::result::ConnectionResult;
use diesel_async::AsyncPgConnection;
use rustls_platform_verifier::ConfigVerifierExt;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};

/// Opens one connection, with `more` options for the session. `sslmode=disable` is plain; `require` is TLS with a certificate that the system's trust
/// store accepts; unset, TLS is used for every host that is not this machine.
///
/// # Errors
/// If the URL is wrong, no server answers, or its certificate is not trusted.
pub async fn connect(
    url: String,
    timeout: Duration,
    more: &str,
) -> ConnectionResult<AsyncPgConnection> {
    let bad = |error: &dyn std::fmt::Display| ConnectionError::BadConnection(error.to_string());
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        ConnectionError::InvalidConnectionUrl(error.to_string())
    })?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(timeout);
    }
    if config.get_application_name().is_none() {
        config.application_name("ussd-status");
    }
    // A statement, or a transaction left open, must not outlive the caller that waits for it. Every statement is prepared
    // and finds its rows by an index whatever its parameters are; planning a page anew takes longer than reading it.
    let limits = format!(
        "-c plan_cache_mode=force_generic_plan -c statement_timeout={ms} -c idle_in_transaction_session_timeout={ms} -c timezone=UTC {more}",
        ms = timeout.as_millis()
    );
    let options = match config.get_options() {
        Some(given) => format!("{limits} {given}"),
        None => limits,
    };
    config.options(options);
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
