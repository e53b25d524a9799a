//! The sender against servers that are silent, endless, rude or somewhere else.

use chrono::TimeZone;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::domain::clock::{Clock, SystemClock};
use crate::webhooks::test_support::{PATIENCE, Receiver};

fn sender(allow_private: bool) -> Sender {
    let limits = Limits {
        connect: Duration::from_secs(5),
        total: Duration::from_millis(300),
        body: Duration::from_millis(200),
    };
    Sender::new(allow_private, limits).unwrap()
}

async fn post(url: String) -> SendResult {
    let headers = [("webhook-id", "evt_1".to_owned())];
    let body = b"{}".to_vec();
    sender(true)
        .send(&url, &headers, body, SystemClock.now())
        .await
}

async fn answered(raw: &str) -> SendResult {
    let mut receiver = Receiver::start().await;
    let (result, ()) = tokio::join!(post(receiver.url().to_owned()), async {
        receiver.next().await.answer_raw(raw);
    });
    result
}

#[tokio::test]
async fn a_request_carries_its_headers_and_body() {
    let mut receiver = Receiver::start().await;
    let (result, ()) = tokio::join!(post(receiver.url().to_owned()), async {
        let request = receiver.next().await;
        assert_eq!(request.header("webhook-id"), Some("evt_1"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert!(
            request
                .header("user-agent")
                .unwrap()
                .starts_with("ussd-status/")
        );
        assert_eq!(request.body, b"{}");
        request.answer(200);
    });
    assert_eq!(
        (result.status, result.response.as_deref(), result.error),
        (Some(200), Some(""), None)
    );
}

#[tokio::test]
async fn silence_ends_at_the_time_limit() {
    let mut receiver = Receiver::start().await;
    let (result, held) = tokio::join!(post(receiver.url().to_owned()), receiver.next());
    drop(held);
    assert_eq!(result.status, None);
    assert_eq!(result.error.as_deref(), Some("no answer within 300ms"));
    assert!(result.duration >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_status_counts_even_if_its_body_never_ends() {
    let result = answered("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
    assert_eq!(
        (result.status, result.response.as_deref()),
        (Some(200), Some("ok"))
    );
}

#[tokio::test]
async fn a_huge_answer_is_cut_at_one_kibibyte() {
    let huge = "ä".repeat(5_000_000);
    let head = format!(
        "HTTP/1.1 500 No\r\ncontent-length: {}\r\n\r\nx",
        huge.len() + 1
    );
    let result = answered(&(head + &huge)).await;
    assert_eq!(result.status, Some(500));
    let kept = result.response.unwrap();
    assert!(
        kept.starts_with("xää") && kept.chars().count() <= 513,
        "{}",
        kept.len()
    );
}

#[tokio::test]
async fn an_endless_answer_is_read_to_its_first_kibibyte_and_no_further() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // It writes as long as somebody reads: what is in the way fills up, and then the connection breaks.
    let endless = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n{}") {
            stream.read_buf(&mut request).await.unwrap();
        }
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
    };
    let patient = Sender::new(true, Limits::default()).unwrap();
    let sending = patient.send(&url, &[], b"{}".to_vec(), SystemClock.now());
    let (result, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(sending, endless) })
        .await
        .expect("somebody goes on reading");
    assert_eq!(result.status, Some(200));
    assert_eq!(result.response.unwrap(), "x".repeat(RESPONSE_BYTES));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let other = Receiver::start().await;
    let result = answered(&format!(
        "HTTP/1.1 307 Elsewhere\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        other.url()
    ))
    .await;
    assert_eq!(result.status, Some(307));
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let result = answered("SSH-2.0-OpenSSH_9.6\r\n").await;
    assert_eq!(result.status, None);
    assert!(result.error.is_some());
    let mut receiver = Receiver::start().await;
    let (result, ()) = tokio::join!(post(receiver.url().to_owned()), async {
        drop(receiver.next().await);
    });
    assert_eq!(result.status, None);
    assert!(!result.error.unwrap().contains("127.0.0.1"));
}

#[tokio::test]
async fn a_refused_address_is_never_connected_to() {
    let receiver = Receiver::start().await;
    let port = receiver.url().rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "localhost"] {
        let url = format!("https://{host}:{port}");
        let result = sender(false)
            .send(&url, &[], Vec::new(), SystemClock.now())
            .await;
        assert!(
            result.error.unwrap().contains("accepted is a public"),
            "{host}"
        );
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_name_is_judged_again_when_the_connection_is_made() {
    let receiver = Receiver::start().await;
    // As if the name had passed when it was saved and answered differently now.
    let rebound = Sender {
        allow_private: true,
        ..sender(false)
    };
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let result = rebound.send(&url, &[], Vec::new(), SystemClock.now()).await;
    let error = result.error.unwrap();
    assert!(error.contains("is a loopback address"), "{error}");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn an_allowed_name_is_connected_to() {
    let mut receiver = Receiver::start().await;
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let (result, ()) = tokio::join!(post(url), async { receiver.next().await.answer(202) });
    assert_eq!(result.status, Some(202));
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = chrono::Utc.with_ymd_and_hms(1994, 11, 6, 8, 49, 0).unwrap();
    for (value, seconds) in [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
        ("Sun, 06 Nov 1994 08:48:37 GMT", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ] {
        let wait = retry_after(value, now).map(|wait| wait.num_seconds());
        assert_eq!(wait, seconds, "{value}");
    }
    assert!(retry_after("99999999999999999999", now).is_some());
}

#[tokio::test]
async fn a_redirect_to_a_metadata_address_is_not_followed_even_where_private_ones_are_allowed() {
    for to in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://[fd00:ec2::254]/",
    ] {
        for status in [301, 302, 303, 307, 308] {
            let result = answered(&format!(
                "HTTP/1.1 {status} Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
            assert_eq!((result.status, result.error), (Some(status), None), "{to}");
        }
    }
}

#[test]
fn the_limits_are_the_contracts() {
    let limits = Limits::default();
    assert_eq!(
        (limits.connect, limits.total, RESPONSE_BYTES),
        (Duration::from_secs(5), Duration::from_secs(15), 1_024)
    );
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_has_a_limit_of_its_own() {
    // It is accepted by the system, and nobody ever says a word of TLS.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits {
        connect: Duration::from_millis(100),
        ..Limits::default()
    };
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let sender = Sender::new(true, limits).unwrap();
    let result = sender.send(&url, &[], Vec::new(), SystemClock.now()).await;
    assert_eq!(result.error.as_deref(), Some("no connection within 100ms"));
    assert!(result.duration < Duration::from_secs(5));
}

#[tokio::test]
async fn a_body_that_trickles_does_not_outlast_the_limit_of_all() {
    let limits = Limits {
        total: Duration::from_millis(400),
        body: Duration::from_secs(60),
        ..Limits::default()
    };
    let mut receiver = Receiver::start().await;
    let sender = Sender::new(true, limits).unwrap();
    let begun = Stopwatch::now();
    let url = receiver.url().to_owned();
    let (result, ()) = tokio::join!(
        sender.send(&url, &[], b"{}".to_vec(), SystemClock.now()),
        async {
            let unfinished = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok";
            receiver.next().await.answer_raw(unfinished);
        }
    );
    assert_eq!(result.status, Some(200));
    assert!(begun.elapsed() < Duration::from_secs(20));
}
