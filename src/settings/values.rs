//! Texts of settings and what they mean; nothing for one that is not accepted.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

pub(super) fn positive(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n| (1..=1_000_000).contains(n))
}

pub(super) fn at_least(text: &str, least: Duration) -> Option<Duration> {
    parse_duration(text).filter(|duration| *duration >= least)
}

/// `:0` is short for the loopback address.
pub(super) fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix(':') {
        Some(port) => port
            .parse()
            .ok()
            .map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port))),
        None => text.parse().ok(),
    }
}

pub(super) fn base_url(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let is_web = matches!(url.scheme(), "http" | "https");
    (is_web && url.has_host() && url.query().is_none() && url.fragment().is_none()).then_some(url)
}

pub(super) fn networks(text: &str) -> Option<Vec<IpNet>> {
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
pub(super) fn asking_span(text: &str) -> Option<Duration> {
    let accepted = Duration::from_millis(100)..=Duration::from_secs(365 * 86_400);
    parse_duration(text).filter(|span| accepted.contains(span))
}
