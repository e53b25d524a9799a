//! `healthcheck`: whether the service on this machine is ready, for containers without a shell or curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use super::output::JsonArguments;
use super::{CliError, Output};
use crate::providers::client::{Call, HttpClient};
use crate::settings::{Settings, Sources};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Asks `/readyz` at LISTEN_ADDR; exit 1 unless it is ready.
pub async fn run(output: JsonArguments, sources: &Sources) -> Result<(), CliError> {
    let settings = Settings::read(sources)?;
    let address = reachable(settings.listen_addr);
    let client = HttpClient::with_timeout(TIMEOUT).map_err(CliError::Failed)?;
    let heard = client
        .exchange(Call::get(format!("http://{address}/readyz")))
        .await
        .map_err(|no_answer| CliError::Failed(format!("{address}: {}", no_answer.reason)))?;
    if heard.status != 200 {
        return Err(CliError::Failed(format!(
            "{address} answers {}",
            heard.status
        )));
    }
    Output::answer(
        output.json,
        &json!({"address": address.to_string(), "ready": true, "done": true}),
        &[format!("{address} is ready")],
    );
    Ok(())
}

/// Who listens everywhere is asked here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        for (listens, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
