//! What a first visit weighs, and what a page asks for besides itself.

use reqwest::Response;
use serde_json::json;
use ussd_status::console::FIRST_VISIT_MAX;

use crate::support::TestStore;
use crate::support::browser::Browser;
use crate::support::paying::Paying;

/// The pages that are there without further ado, for an operator and for a partner.
const PAGES: [&str; 12] = [
    "/console",
    "/console/transactions",
    "/console/pay",
    "/console/pay-out",
    "/console/reverse",
    "/console/balance",
    "/console/webhooks",
    "/console/callbacks",
    "/console/accounts",
    "/console/keys",
    "/console/audit",
    "/console/sign-in",
];

/// The bytes of an answer over the wire: its status line, its headers and its body as it was sent.
async fn weight(answer: Response) -> usize {
    assert_eq!(answer.status().as_u16(), 200, "{}", answer.url());
    let headers: usize = answer
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    "HTTP/1.1 200 OK\r\n\r\n".len() + headers + answer.bytes().await.unwrap().len()
}

/// The values of an attribute in every element of that name, in the head of the page.
fn asked_for<'a>(page: &'a str, begin: &str, attribute: &str) -> Vec<&'a str> {
    page.split(begin)
        .skip(1)
        .filter_map(|rest| {
            let element = rest.split_once('>')?.0;
            let value = element.split_once(attribute)?.1;
            Some(value.split_once('"')?.0)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_visit_is_light_with_a_full_page_of_transactions() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    for index in 0..60 {
        let fields = json!({
            "client_request_id": format!("7f3e{index:04}-a-rather-long-id-of-the-partners-own"),
            "msisdn": format!("2547{:08}", 10_203_040 + index * 7_919),
            "amount": 1_000_000 + index * 137,
        });
        paying.app.register(&paying.partner, fields).await;
    }
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    for path in ["/console", "/console/transactions"] {
        let page = browser.page(path).await;
        let mut visit = vec![path];
        visit.extend(asked_for(&page, "<link ", "href=\""));
        visit.extend(asked_for(&page, "<script ", "src=\""));
        assert_eq!(visit.len(), 4, "{visit:?}");
        let (mut gzipped, mut plain) = (0, 0);
        for one in visit {
            gzipped += weight(browser.open(one, &[("accept-encoding", "gzip, br")]).await).await;
            plain += weight(browser.open(one, &[]).await).await;
        }
        assert!(gzipped <= FIRST_VISIT_MAX, "{path}: {gzipped} bytes");
        assert!(gzipped * 2 < plain, "{path}: {gzipped} of {plain} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_asks_for_one_script_and_one_stylesheet() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let operator = Browser::of_operator(&paying.app, "asha").await;
    operator.look_at(paying.partner.id).await;
    let key = Browser::with_key(&paying.app, &paying.partner.key).await;
    let visitor = Browser::new(&paying.app);
    for path in PAGES {
        let viewers = match path {
            "/console/sign-in" => vec![&visitor],
            _ => vec![&operator, &key],
        };
        for viewer in viewers {
            let page = viewer.page(path).await;
            let scripts = asked_for(&page, "<script", "src=\"");
            assert_eq!(scripts.len(), page.matches("<script").count(), "{path}");
            assert_eq!(scripts.len(), 1, "{path}: {scripts:?}");
            let links = asked_for(&page, "<link ", "href=\"");
            assert_eq!(links.len(), 2, "the stylesheet and the icon: {links:?}");
            for more in [
                "<style", "<img", "<iframe", "<object", "style=\"", "@import",
            ] {
                assert!(!page.contains(more), "{path} has {more}");
            }
        }
    }
    let style = asked_for(&operator.page("/console").await, "<link ", "href=\"")[0].to_owned();
    let style = operator.get(&style).await.text;
    for more in ["url(", "@import", "@font-face"] {
        assert!(!style.contains(more), "the stylesheet has {more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_compressed_for_those_who_take_it_and_streams_for_nobody() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    let path = "/console/transactions";
    for (accepted, encoding) in [
        ("gzip", Some("gzip")),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", Some("gzip")),
        ("br", None),
        ("gzip;q=0", None),
        ("identity", None),
        ("nonsense;;q=x", None),
    ] {
        let answer = browser.open(path, &[("accept-encoding", accepted)]).await;
        let headers = answer.headers();
        let sent = headers.get("content-encoding").map(|value| value.to_str());
        assert_eq!(sent.transpose().unwrap(), encoding, "{accepted}");
        assert_eq!(headers["vary"], "accept-encoding");
    }
    let stream = browser
        .open("/console/stream", &[("accept-encoding", "gzip")])
        .await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert!(!stream.headers().contains_key("content-encoding"));
}
