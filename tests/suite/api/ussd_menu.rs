//! The menu of `docs/ussd-menu.md` as it stands there, between a gateway that the test plays, the service and the
//! simulator in M-Pesa's place.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::page;
use crate::support::TestStore;
use crate::support::paying::Paying;

/// The menu's program, ended with the test.
struct Menu {
    program: Child,
    url: String,
    client: reqwest::Client,
}

impl Menu {
    fn start(paying: &Paying, key: &str, language: &str) -> Self {
        let mut program = Command::new("python3")
            .arg("docs/ussd-menu.py")
            .env("STATUS_URL", &paying.app.base)
            .env("API_KEY", key)
            .env("MENU_LANG", language)
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is missing; install it: apt-get install -y python3");
        let mut line = String::new();
        let output = program.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap();
        Self {
            url: url.to_owned(),
            program,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// Presses keys, as the gateway tells of them.
    async fn press(&self, session: &str, phone: &str, text: &str) -> String {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("sessionId", session)
            .append_pair("serviceCode", "*384*1#")
            .append_pair("phoneNumber", phone)
            .append_pair("text", text)
            .finish();
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    }
}

impl Drop for Menu {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_menu_of_the_documentation_takes_a_payment_to_its_end() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let menu = Menu::start(&paying, &paying.partner.key, "en");
    let phone = "+254712345678";
    let none = menu.press("S0", phone, "2").await;
    assert_eq!(none, "END No payment was found.");
    assert!(menu.press("S1", phone, "").await.starts_with("CON Duka"));
    assert_eq!(menu.press("S1", phone, "1").await, "CON Enter the amount");
    let mut shown = menu.press("S1", phone, "1*100").await;
    let mut text = "1*100".to_owned();
    // The acceptance is news as well, and a screen of its own.
    while shown.starts_with("CON ") {
        text.push_str("*1");
        shown = menu.press("S1", phone, &text).await;
    }
    let paid = "END Payment of Ksh 100.00 received. Receipt ";
    assert!(shown.starts_with(paid), "{shown}");
    // The gateway sends the order again: the same payment.
    assert_eq!(menu.press("S1", phone, "1*100").await, shown);
    assert_eq!(paying.sent().len(), 1);
    assert_eq!(menu.press("S2", phone, "2").await, shown);
    assert_eq!(menu.press("S2", phone, "2*0").await, "END Thank you.");
    for wrong in ["3", "1*much", "1*0", "1*100*9"] {
        let shown = menu.press("S3", phone, wrong).await;
        assert_eq!(shown, "END That is not on the menu.", "{wrong}");
    }
    assert_eq!(paying.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_menu_says_in_swahili_what_went_wrong() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let menu = Menu::start(&paying, &paying.partner.key, "sw");
    let phone = "+254712340001";
    let mut shown = menu.press("S1", phone, "1*100").await;
    while shown.starts_with("CON ") {
        shown = menu.press("S1", phone, "1*100*1").await;
    }
    assert_eq!(
        shown,
        "END Salio lako la M-Pesa halitoshi kulipa Ksh 100.00."
    );
    // Refused by the provider: nothing was sent, and the screen knows.
    let shown = menu.press("S2", "+254712340503", "1*200").await;
    assert!(
        shown.starts_with("END M-Pesa ina shughuli nyingi. Hujalipa chochote."),
        "{shown}"
    );
    let refused = page(&paying.app, &paying.partner, "client_request_id=S2-200").await;
    assert_eq!(refused["transactions"][0]["status"], "failed");
    // A service that does not know the key says nothing to the customer.
    let stranger = Menu::start(&paying, "us_nobodys", "sw");
    let shown = stranger.press("S3", phone, "2").await;
    assert!(
        shown.starts_with("END Hatuwezi kukujulisha kwa sasa."),
        "{shown}"
    );
}
