//! Every disguise of an address we know, as a URL that somebody might save.

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_not_the_public_internet_is_refused() {
    for text in [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.1.1",
        "169.254.169.254",
        "169.254.170.2",
        "100.64.0.1",
        "100.127.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "0.1.2.3",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.18.0.1",
        "198.19.255.255",
        "192.88.99.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fc00::1",
        "fdff::1",
        "fd00:ec2::254",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        "2001::1",
        "2001:2::1",
        "100::1",
        "64:ff9b:1::1",
        "4000::1",
        "5f00::1",
        // IPv4 inside: mapped, translated, compatible, 6to4, NAT64.
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "::127.0.0.1",
        "::10.0.0.1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2002:c0a8:101::",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b::10.1.2.3",
    ] {
        assert!(refusal(address(text), false).is_some(), "{text}");
    }
}

#[test]
fn the_public_internet_is_allowed() {
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.1",
        "126.255.255.255",
        "128.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "169.253.255.255",
        "192.167.0.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "196.201.214.200",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "2c0f:fe38::1",
        "2001:200::1",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(refusal(address(text), false), None, "{text}");
    }
}

#[test]
fn where_private_addresses_are_allowed_a_few_are_still_of_no_use() {
    for text in [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "::1",
        "fc00::1",
        "::ffff:127.0.0.1",
    ] {
        assert_eq!(refusal(address(text), true), None, "{text}");
    }
    for text in [
        "169.254.169.254",
        "fd00:ec2::254",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
    ] {
        assert!(refusal(address(text), true).is_some(), "{text}");
    }
}

#[test]
fn an_address_is_known_in_any_notation() {
    for text in [
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://127.1/",
        "https://127.0.1/",
        "https://127.0.0.1./",
        "https://0/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[2002:7f00:1::]/",
        "https://[64:ff9b::7f00:1]/",
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://%31%32%37.0.0.1/",
        "https://10.0.0.1:8443/hook",
    ] {
        assert!(
            matches!(check_url(text, false), Err(UrlError::Address { .. })),
            "{text}: {:?}",
            check_url(text, false)
        );
    }
    for text in [
        "https://localhost/",
        "https://LOCALHOST/",
        "https://localhost./",
        "https://a.localhost/",
        "https://a.LocalHost.:8443/",
    ] {
        assert!(
            matches!(check_url(text, false), Err(UrlError::ThisMachine { .. })),
            "{text}"
        );
    }
}

#[test]
fn an_error_names_what_was_sent_and_what_is_accepted() {
    for (text, allow_private, says) in [
        (
            "http://example.com/",
            false,
            "the URL begins with http:; accepted is https:",
        ),
        (
            "ftp://example.com/",
            true,
            "the URL begins with ftp:; accepted is https: or http:",
        ),
        (
            "example.com/hook",
            false,
            "\"example.com/hook\" is not a URL; accepted is one like https://example.com/webhooks",
        ),
        (
            "",
            false,
            "\"\" is not a URL; accepted is one like https://example.com/webhooks",
        ),
        (
            "https://",
            false,
            "\"https://\" is not a URL; accepted is one like https://example.com/webhooks",
        ),
        (
            "https://exa\nmple.com/",
            false,
            "\"https://example.com/\" is not a URL; accepted is one like https://example.com/webhooks",
        ),
        (
            "https://u:p@example.com/",
            false,
            "the URL contains a user name or password; accepted is a URL without (the signature tells who sends)",
        ),
        (
            "https://u@example.com/",
            false,
            "the URL contains a user name or password; accepted is a URL without (the signature tells who sends)",
        ),
        (
            "https://example.com/#top",
            false,
            "the URL contains a fragment (#…), which is never sent; accepted is a URL without",
        ),
        (
            "https://10.1.2.3/",
            false,
            "the address 10.1.2.3 is a private address; accepted is a public address",
        ),
        (
            "https://169.254.169.254/",
            true,
            "the address 169.254.169.254 is a cloud metadata address; accepted is a public address",
        ),
        (
            "https://localhost/",
            false,
            "the host localhost is this machine; accepted is a public host",
        ),
    ] {
        assert_eq!(
            check_url(text, allow_private).unwrap_err().to_string(),
            says,
            "{text}"
        );
    }
    let long = format!("https://example.com/{}", "a".repeat(URL_MAX_CHARS));
    assert!(matches!(
        check_url(&long, false),
        Err(UrlError::TooLong { .. })
    ));
}

#[test]
fn a_good_url_is_kept() {
    for (text, allow_private) in [
        ("https://example.com/hook?key=1", false),
        ("https://example.com:8443/", false),
        ("https://8.8.8.8/", false),
        ("https://[2606:4700::1111]/", false),
        ("https://localhost.example.com/", false),
        ("http://127.0.0.1:8080/hook", true),
        ("http://localhost:8080/hook", true),
        ("http://[::1]:8080/hook", true),
    ] {
        assert_eq!(check_url(text, allow_private).unwrap().as_str(), text);
    }
}

#[tokio::test]
async fn a_name_is_judged_by_its_addresses() {
    let url = Url::parse("https://localhost/").unwrap();
    let error = resolve_and_check(&url, false).await.unwrap_err();
    assert!(matches!(error, UrlError::ResolvesTo { .. }), "{error}");
    assert!(!resolve_and_check(&url, true).await.unwrap().is_empty());
    assert!(resolve_allowed("localhost", false).await.is_err());
    assert!(!resolve_allowed("localhost", true).await.unwrap().is_empty());

    let literal = Url::parse("https://10.0.0.1/").unwrap();
    assert!(resolve_and_check(&literal, false).await.is_err());
    let nobody = Url::parse("https://no-such-host.invalid/").unwrap();
    assert!(matches!(
        resolve_and_check(&nobody, false).await,
        Err(UrlError::Unresolvable { .. })
    ));
}

#[tokio::test]
async fn an_address_that_only_the_systems_resolver_knows_as_one_is_refused_too() {
    for name in [
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "2852039166",
        "0xa9fea9fe",
        "10.1",
        "::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ] {
        let found = resolve_allowed(name, false).await;
        assert!(
            matches!(found, Err(UrlError::ResolvesTo { .. })),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn of_a_names_addresses_only_allowed_ones_are_connected_to() {
    let all = |texts: &[&str]| -> Vec<SocketAddr> {
        let addresses = texts.iter().map(|text| SocketAddr::new(address(text), 0));
        addresses.collect()
    };
    let kept =
        |texts: &[&str], allow_private| keep_allowed("example.com", all(texts), allow_private);
    assert_eq!(kept(&["8.8.8.8"], false), Ok(all(&["8.8.8.8"])));
    // As when it was saved; and as the same name answers a second later.
    for changed in [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:192.168.0.1",
        "2002:a9fe:a9fe::1",
    ] {
        let error = kept(&[changed], false).unwrap_err();
        assert!(matches!(error, UrlError::ResolvesTo { .. }), "{error}");
        // Between public ones it is left out.
        let mixed = kept(&["8.8.8.8", changed, "1.1.1.1"], false);
        assert_eq!(mixed, Ok(all(&["8.8.8.8", "1.1.1.1"])), "{changed}");
    }
    let metadata = kept(&["169.254.169.254", "fd00:ec2::254"], true);
    assert!(metadata.is_err(), "whatever the setting says");
}

#[tokio::test]
async fn more_names_than_may_be_looked_up_at_once_wait_for_each_other() {
    let names = (0..LOOKUPS_AT_ONCE * 2).map(|_| resolve_allowed("localhost", true));
    let found = futures_util::future::join_all(names).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(LOOKUPS_AT_ONCE, 128);
}
