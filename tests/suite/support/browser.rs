//! What a browser does with the console, without one: it keeps cookies, and sends a page's form with the page's token.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::Method;
use ussd_status::console::password;
use ussd_status::domain::identity::{OperatorId, PartnerId};
use ussd_status::domain::operator::Operator;

use super::app::{Answer, TestApp};
use super::build::audit;

/// Keeps cookies.
pub struct Browser<'a> {
    app: &'a TestApp,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// The password of operators that tests make.
pub const PASSWORD: &str = "correct horse battery";

impl TestApp {
    /// Keeps an operator with [`PASSWORD`].
    pub async fn operator(&self, name: &str) -> OperatorId {
        let now = self.db.now();
        let operator = Operator {
            id: OperatorId::new(now),
            name: name.to_owned(),
            password_hash: password::hash(&PASSWORD.into()).unwrap(),
            created_at: now,
        };
        let id = operator.id;
        let is_new = self
            .db
            .store
            .insert_operator(operator, audit())
            .await
            .unwrap();
        assert!(is_new);
        id
    }
}

impl<'a> Browser<'a> {
    /// A browser that was never here.
    pub fn new(app: &'a TestApp) -> Self {
        Self {
            app,
            cookies: Mutex::default(),
        }
    }

    /// A browser signed in with a key.
    pub async fn with_key(app: &'a TestApp, key: &str) -> Self {
        let browser = Self::new(app);
        let answer = browser.sign_in(&[("key", key)]).await;
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.text);
        browser
    }

    /// A browser of an operator that was not there before.
    pub async fn of_operator(app: &'a TestApp, name: &str) -> Self {
        app.operator(name).await;
        let browser = Self::new(app);
        let answer = browser
            .sign_in(&[("name", name), ("password", PASSWORD)])
            .await;
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.text);
        browser
    }

    /// Opens the sign-in page and sends its form.
    pub async fn sign_in(&self, fields: &[(&str, &str)]) -> Answer {
        self.send_form_of("/console/sign-in", "/console/sign-in", fields)
            .await
    }

    /// Looks at one partner's things from here on, as an operator may.
    pub async fn look_at(&self, partner: PartnerId) {
        let partner = partner.to_string();
        let (path, form) = ("/console/partners", [("partner", partner.as_str())]);
        let answer = self.send_form_of(path, path, &form).await;
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.text);
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned()
    }

    /// Puts a cookie there.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.cookies
            .lock()
            .unwrap()
            .insert(name.to_owned(), value.to_owned());
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    /// GET of what comes bit by bit.
    pub async fn open_stream(&self, path: &str) -> reqwest::Response {
        self.open(path, &[]).await
    }

    /// GET with more headers, as it is sent.
    pub async fn open(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let cookies = self.cookies();
        let mut all = headers.to_vec();
        all.push(("cookie", &cookies));
        self.app.open(path, &all).await
    }

    /// A page that must be shown.
    pub async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.text);
        assert!(answer.header("content-type").starts_with("text/html"));
        answer.text
    }

    /// Sends fields to `path` with the token of the page `shown`.
    pub async fn send_form_of(&self, shown: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(shown).await;
        let token = token(&page.text);
        let mut all = vec![("token", token.as_str())];
        all.extend_from_slice(fields);
        self.post(path, &all).await
    }

    /// POST of exactly these fields.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(path, &[], fields).await
    }

    /// POST of exactly these fields with more headers.
    pub async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.send(Method::POST, path, &all, Some(body.into_bytes()))
            .await
    }

    fn cookies(&self) -> String {
        let cookies = self.cookies.lock().unwrap();
        let pairs: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let cookies = self.cookies();
        let mut all = headers.to_vec();
        if !cookies.is_empty() {
            all.push(("cookie", &cookies));
        }
        let answer = self.app.send(method, path, &all, body).await;
        for header in answer.headers.get_all("set-cookie") {
            let header = header.to_str().unwrap();
            let (pair, rest) = header.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let mut cookies = self.cookies.lock().unwrap();
            if rest.contains("Max-Age=0") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

/// The token against forgery that a page's forms carry.
pub fn token(page: &str) -> String {
    let (_, rest) = page
        .split_once("name=\"token\" value=\"")
        .unwrap_or_else(|| panic!("no form in {page}"));
    rest.split_once('"').unwrap().0.to_owned()
}
