//! Which addresses a webhook may go to. A partner chooses the URL and we send from inside our network, so whatever is
//! not the public internet is refused: when the URL is saved, and again for every connection after name resolution.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use tokio::sync::Semaphore;
use url::{Host, Url};

/// The longest URL that is kept.
pub const URL_MAX_CHARS: usize = 2_048;
/// How long a name may take to resolve while an endpoint is being saved.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// Names that are looked up at the same time. Each takes a thread of a pool that the embedded database works on too, and
/// a partner chooses whose name server it waits for.
pub const LOOKUPS_AT_ONCE: usize = 128;
static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_AT_ONCE);
/// How much of a wrong URL an error repeats.
const REPEATED_CHARS: usize = 80;

/// Why a webhook may not go there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("\"{sent}\" is not a URL; accepted is one like https://example.com/webhooks")]
    NotAUrl {
        /// Its beginning.
        sent: String,
    },
    /// Longer than [`URL_MAX_CHARS`].
    #[error("the URL has {sent} characters; accepted are up to {URL_MAX_CHARS}")]
    TooLong {
        /// How long.
        sent: usize,
    },
    /// Another scheme.
    #[error("the URL begins with {sent}:; accepted is {accepted}")]
    Scheme {
        /// The scheme.
        sent: String,
        /// What it may be.
        accepted: &'static str,
    },
    /// A user name or password in it, which would be stored and logged.
    #[error(
        "the URL contains a user name or password; accepted is a URL without (the signature tells who sends)"
    )]
    Credentials,
    /// A fragment, which is never sent.
    #[error("the URL contains a fragment (#…), which is never sent; accepted is a URL without")]
    Fragment,
    /// A name of this machine.
    #[error("the host {sent} is this machine; accepted is a public host")]
    ThisMachine {
        /// The host.
        sent: String,
    },
    /// The host is an address that is refused.
    #[error("the address {sent} is {kind}; accepted is a public address")]
    Address {
        /// The address.
        sent: IpAddr,
        /// What it is.
        kind: &'static str,
    },
    /// The host resolves to an address that is refused.
    #[error("the host {host} resolves to {address}, which is {kind}; accepted is a public address")]
    ResolvesTo {
        /// The host.
        host: String,
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
    },
    /// The name has no address, or nobody told us in time.
    #[error("the host {host} cannot be resolved")]
    Unresolvable {
        /// The host.
        host: String,
    },
}

/// A range that webhooks do not go to.
#[derive(Clone, Copy)]
struct Refused {
    kind: &'static str,
    /// Some ranges are of no use to a webhook even where private ones are allowed.
    even_if_private_allowed: bool,
}

const fn private(kind: &'static str) -> Refused {
    Refused {
        kind,
        even_if_private_allowed: false,
    }
}

const fn never(kind: &'static str) -> Refused {
    Refused {
        kind,
        even_if_private_allowed: true,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

const METADATA: Refused = never("a cloud metadata address");
const DOCUMENTATION: Refused = private("a documentation address");
const RESERVED: Refused = never("a reserved address");

/// IPv4, the first that contains the address counts.
const RANGES_V4: [(Ipv4Net, Refused); 20] = [
    (v4(169, 254, 169, 254, 32), METADATA),
    (v4(169, 254, 170, 2, 32), METADATA),
    (v4(100, 100, 100, 200, 32), METADATA),
    (v4(168, 63, 129, 16, 32), METADATA),
    (v4(192, 0, 0, 192, 32), METADATA),
    (v4(0, 0, 0, 0, 8), never("an unspecified address")),
    (v4(127, 0, 0, 0, 8), private("a loopback address")),
    (v4(10, 0, 0, 0, 8), private("a private address")),
    (v4(172, 16, 0, 0, 12), private("a private address")),
    (v4(192, 168, 0, 0, 16), private("a private address")),
    (
        v4(100, 64, 0, 0, 10),
        private("a carrier's private address"),
    ),
    (v4(169, 254, 0, 0, 16), private("a link-local address")),
    (v4(192, 0, 0, 0, 24), RESERVED),
    (v4(192, 0, 2, 0, 24), DOCUMENTATION),
    (v4(198, 51, 100, 0, 24), DOCUMENTATION),
    (v4(203, 0, 113, 0, 24), DOCUMENTATION),
    (v4(198, 18, 0, 0, 15), private("a benchmark address")),
    (v4(192, 88, 99, 0, 24), RESERVED),
    (v4(224, 0, 0, 0, 4), never("a multicast address")),
    (v4(240, 0, 0, 0, 4), RESERVED),
];

/// IPv6 that carries no IPv4 inside; what is in none of these and not in `2000::/3` is reserved.
const RANGES_V6: [(Ipv6Net, Refused); 9] = [
    (v6(0xfc00, 0, 0, 7), private("a private address")),
    (v6(0xfe80, 0, 0, 10), private("a link-local address")),
    (v6(0xfec0, 0, 0, 10), private("a site-local address")),
    (v6(0xff00, 0, 0, 8), never("a multicast address")),
    (v6(0x64, 0xff9b, 1, 48), private("a private NAT64 address")),
    (v6(0x2001, 0xdb8, 0, 32), DOCUMENTATION),
    (v6(0x3fff, 0, 0, 20), DOCUMENTATION),
    // Protocol assignments: Teredo (an IPv4 address in disguise), benchmarking, ORCHID.
    (v6(0x2001, 0, 0, 23), RESERVED),
    (v6(0x100, 0, 0, 64), RESERVED),
];

const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// What a refused address is; `None` if a webhook may go there.
pub fn refusal(address: IpAddr, allow_private: bool) -> Option<&'static str> {
    let refused = match address {
        IpAddr::V4(address) => refused_v4(address),
        IpAddr::V6(address) => refused_v6(address),
    }?;
    (refused.even_if_private_allowed || !allow_private).then_some(refused.kind)
}

fn refused_v4(address: Ipv4Addr) -> Option<Refused> {
    RANGES_V4
        .iter()
        .find(|(range, _)| range.contains(&address))
        .map(|(_, refused)| *refused)
}

fn refused_v6(address: Ipv6Addr) -> Option<Refused> {
    if address.is_loopback() {
        return Some(private("a loopback address"));
    }
    if address.is_unspecified() {
        return Some(never("an unspecified address"));
    }
    if address == METADATA_V6 {
        return Some(METADATA);
    }
    if let Some(inside) = embedded_v4(address) {
        return refused_v4(inside);
    }
    RANGES_V6
        .iter()
        .find(|(range, _)| range.contains(&address))
        .map(|(_, refused)| *refused)
        .or_else(|| (!GLOBAL_V6.contains(&address)).then_some(RESERVED))
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, 6to4 or NAT64.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let (high, low) = match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            (g, h)
        }
        [0x2002, ..] => (b, c),
        _ => return None,
    };
    let ([first, second], [third, fourth]) = (high.to_be_bytes(), low.to_be_bytes());
    Some(Ipv4Addr::new(first, second, third, fourth))
}

/// Reads a URL that a partner wants webhooks sent to. A host that is a name is judged by its addresses:
/// [`resolve_and_check`].
///
/// # Errors
/// With what was sent and what is accepted.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, UrlError> {
    let length = text.chars().count();
    if length > URL_MAX_CHARS {
        return Err(UrlError::TooLong { sent: length });
    }
    let not_a_url = || UrlError::NotAUrl {
        sent: text
            .chars()
            .filter(|letter| !letter.is_control())
            .take(REPEATED_CHARS)
            .collect(),
    };
    // The parser would drop tabs and line ends, and what is kept should be what was sent.
    if text
        .chars()
        .any(|letter| letter.is_control() || letter.is_whitespace())
    {
        return Err(not_a_url());
    }
    let url = Url::parse(text).map_err(|_| not_a_url())?;
    match (url.scheme(), allow_private) {
        ("https", _) | ("http", true) => {}
        (scheme, _) => {
            return Err(UrlError::Scheme {
                sent: scheme.to_owned(),
                accepted: if allow_private {
                    "https: or http:"
                } else {
                    "https:"
                },
            });
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    // The parser has turned 2130706433, 0x7f.1 and 0177.0.0.1 into the addresses they are.
    match url.host().ok_or_else(not_a_url)? {
        Host::Domain(name) => check_name(name, allow_private)?,
        Host::Ipv4(address) => check_literal(address.into(), allow_private)?,
        Host::Ipv6(address) => check_literal(address.into(), allow_private)?,
    }
    Ok(url)
}

fn check_name(name: &str, allow_private: bool) -> Result<(), UrlError> {
    let plain = name.trim_end_matches('.').to_ascii_lowercase();
    if !allow_private && (plain == "localhost" || plain.ends_with(".localhost")) {
        return Err(UrlError::ThisMachine {
            sent: name.to_owned(),
        });
    }
    Ok(())
}

fn check_literal(address: IpAddr, allow_private: bool) -> Result<(), UrlError> {
    match refusal(address, allow_private) {
        Some(kind) => Err(UrlError::Address {
            sent: address,
            kind,
        }),
        None => Ok(()),
    }
}

/// The addresses of a checked URL's host, all of which must be allowed: asked when an endpoint is saved, so that its
/// partner hears of a mistake at once. What counts is the same question at every connection.
///
/// # Errors
/// If the host has no address, or one that is refused.
pub async fn resolve_and_check(url: &Url, allow_private: bool) -> Result<Vec<IpAddr>, UrlError> {
    let name = match url.host() {
        Some(Host::Domain(name)) => name,
        Some(Host::Ipv4(address)) => {
            check_literal(address.into(), allow_private)?;
            return Ok(vec![address.into()]);
        }
        Some(Host::Ipv6(address)) => {
            check_literal(address.into(), allow_private)?;
            return Ok(vec![address.into()]);
        }
        None => {
            return Err(UrlError::Unresolvable {
                host: String::new(),
            });
        }
    };
    let addresses = tokio::time::timeout(LOOKUP_LIMIT, resolve(name))
        .await
        .unwrap_or_else(|_| {
            Err(UrlError::Unresolvable {
                host: name.to_owned(),
            })
        })?;
    for address in &addresses {
        if let Some(kind) = refusal(address.ip(), allow_private) {
            return Err(resolves_to(name, address.ip(), kind));
        }
    }
    Ok(addresses.iter().map(SocketAddr::ip).collect())
}

/// The addresses of `host` that a connection may be made to; port 0 stands for the URL's own.
///
/// # Errors
/// If there is none.
pub async fn resolve_allowed(host: &str, allow_private: bool) -> Result<Vec<SocketAddr>, UrlError> {
    keep_allowed(host, resolve(host).await?, allow_private)
}

/// What is left of a name's addresses; an error if that is nothing.
fn keep_allowed(
    host: &str,
    all: Vec<SocketAddr>,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, UrlError> {
    let mut refused = None;
    let mut allowed = Vec::with_capacity(all.len());
    for address in all {
        match refusal(address.ip(), allow_private) {
            Some(kind) => refused = Some(resolves_to(host, address.ip(), kind)),
            None => allowed.push(address),
        }
    }
    match refused {
        Some(error) if allowed.is_empty() => Err(error),
        _ => Ok(allowed),
    }
}

async fn resolve(host: &str) -> Result<Vec<SocketAddr>, UrlError> {
    let nobody = || UrlError::Unresolvable {
        host: host.to_owned(),
    };
    let permit = LOOKUPS.acquire().await.map_err(|_| nobody())?;
    let name = host.to_owned();
    // The system's resolver cannot be told to stop: its thread is given back when it answers, whoever still waits.
    let addresses: Vec<SocketAddr> = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let found = (name.as_str(), 0).to_socket_addrs();
        found.map(Iterator::collect).unwrap_or_default()
    })
    .await
    .unwrap_or_default();
    if addresses.is_empty() {
        return Err(nobody());
    }
    Ok(addresses)
}

fn resolves_to(host: &str, address: IpAddr, kind: &'static str) -> UrlError {
    UrlError::ResolvesTo {
        host: host.to_owned(),
        address,
        kind,
    }
}

#[cfg(test)]
#[path = "address_guard_tests.rs"]
mod tests;
