//! Whether providers can and will post to the callback URLs.

use url::{Host, Url};

use super::Finding;

/// Words for which Safaricom refuses a callback URL (C2B registration page of its portal; reported for the other APIs).
const REFUSED_WORDS: [&str; 7] = ["mpesa", "safaricom", "exec", "exe", "cmd", "sql", "query"];
/// Hosts of public tunnels, which Safaricom refuses too.
const TUNNELS: [&str; 6] = [
    "ngrok.io",
    "ngrok-free.app",
    "ngrok.app",
    "loca.lt",
    "localtunnel.me",
    "trycloudflare.com",
];

const CHECK: &str = "callback URL";

/// Looks at `PUBLIC_URL`, the beginning of every callback URL.
pub fn shape(public_url: Option<&Url>) -> Vec<Finding> {
    let Some(url) = public_url else {
        return vec![
            Finding::warning(
                CHECK,
                "PUBLIC_URL is not set: providers on other machines cannot call back",
            )
            .remedy("set it to the https address at which the world reaches this service"),
        ];
    };
    let mut findings = Vec::new();
    if url.scheme() != "https" {
        findings.push(
            Finding::failing(CHECK, format!("PUBLIC_URL is {}, not https", url.scheme())).remedy(
                "providers call back over TLS only; put a proxy with a certificate in front",
            ),
        );
    }
    if is_local(url) {
        findings.push(
            Finding::failing(CHECK, "PUBLIC_URL names this machine or a private network")
                .remedy("use a name that the provider can resolve and reach"),
        );
    }
    let text = url.as_str().to_ascii_lowercase();
    let host = url.host_str().unwrap_or_default();
    if TUNNELS.iter().any(|tunnel| host.ends_with(tunnel)) {
        findings.push(
            Finding::warning(
                CHECK,
                format!("{host} is a public tunnel, which Safaricom may refuse"),
            )
            .remedy("use a domain of your own, in production in any case"),
        );
    }
    if let Some(word) = REFUSED_WORDS.iter().find(|word| text.contains(**word)) {
        findings.push(
            Finding::warning(
                CHECK,
                format!(
                    "PUBLIC_URL contains {word:?}, a word for which Safaricom refuses callback URLs"
                ),
            )
            .remedy("use a name without it"),
        );
    }
    if url.path() != "/" && !url.path().is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "PUBLIC_URL has a path ({}): the proxy must take it off again",
                url.path()
            ),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "PUBLIC_URL is https and public"));
    }
    findings
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => {
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
        }
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.is_unspecified() || address.is_unique_local()
        }
        Some(Host::Domain(name)) => {
            name == "localhost"
                || name.ends_with(".localhost")
                || name.ends_with(".local")
                || !name.contains('.')
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    fn worst(url: &str) -> Verdict {
        let url = url.parse().unwrap();
        shape(Some(&url))
            .iter()
            .map(|finding| finding.verdict)
            .max()
            .unwrap()
    }

    #[test]
    fn callback_urls_are_judged_by_what_providers_take() {
        for (url, verdict) in [
            ("https://pay.example.com", Verdict::Ok),
            ("https://pay.example.com/", Verdict::Ok),
            ("http://pay.example.com", Verdict::Failing),
            ("https://localhost:8443", Verdict::Failing),
            ("https://127.0.0.1", Verdict::Failing),
            ("https://10.1.2.3", Verdict::Failing),
            ("https://[::1]", Verdict::Failing),
            ("https://status", Verdict::Failing),
            ("https://abc.ngrok.io", Verdict::Warning),
            ("https://mpesa.example.com", Verdict::Warning),
            ("https://example.com/query", Verdict::Warning),
            ("https://example.com/pay", Verdict::Warning),
        ] {
            assert_eq!(worst(url), verdict, "{url}");
        }
        assert_eq!(shape(None)[0].verdict, Verdict::Warning);
    }
}
