//! The console over HTTP, as a browser without a script sees it.

mod balance;
mod forms;
mod operators;
mod oversight;
mod pay;
mod pay_out;
mod reverse;
mod sign_in;
mod transactions;
mod webhooks;
mod weight;

use serde_json::Value;

use crate::support::app::{Answer, TestApp};
use crate::support::browser::{Browser, token};

/// The audit log's lines of an action, oldest first: actor, partner, subject, source, detail.
async fn audit_lines(app: &TestApp, action: &str) -> Vec<Vec<Value>> {
    app.db
        .rows(
            &["actor", "partner_id", "subject", "source", "detail"],
            &format!("FROM audit_log WHERE action = '{action}' ORDER BY id"),
        )
        .await
}

/// The value of a hidden field.
fn hidden(page: &str, name: &str) -> String {
    let (_, rest) = page
        .split_once(&format!("name=\"{name}\" value=\""))
        .unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split_once('"').unwrap().0.to_owned()
}

/// The second step of a payment: it shows these words, and can be sent.
struct Check<'a> {
    browser: &'a Browser<'a>,
    page: &'static str,
    form: Vec<(String, String)>,
}

impl<'a> Check<'a> {
    /// Fills in the details and goes on to the check.
    async fn of(
        browser: &'a Browser<'a>,
        page: &'static str,
        details: &[(&str, &str)],
        shown: &[&str],
    ) -> Self {
        let path = format!("{page}/check");
        let check = browser.send_form_of(page, &path, details).await;
        assert_eq!(check.status.as_u16(), 200, "{}", check.text);
        for words in shown {
            assert!(check.text.contains(words), "{words}: {}", check.text);
        }
        assert!(!check.text.contains("<b>"), "{}", check.text);
        let mut form = vec![
            ("token".to_owned(), token(&check.text)),
            ("key".to_owned(), hidden(&check.text, "key")),
        ];
        let details = details.iter();
        form.extend(details.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self {
            browser,
            page,
            form,
        }
    }

    /// Sends it, with this field changed.
    async fn send_with(&self, changed: &str, to: &str) -> Answer {
        let form = self.form.iter().map(|(name, value)| {
            let value = if name == changed { to } else { value };
            (name.as_str(), value)
        });
        let form: Vec<(&str, &str)> = form.collect();
        self.browser.post(self.page, &form).await
    }

    /// Sends it.
    async fn send(&self) -> Answer {
        self.send_with("", "").await
    }
}

/// Of right details each of these fields makes wrong ones, and every one of `paths` says so.
async fn each_is_refused(
    browser: &Browser<'_>,
    paths: &[&str],
    right: &[(&str, &str)],
    wrong: &[(&str, &str, &str)],
) {
    for (field, value, problem) in wrong {
        let mut form = right.to_vec();
        form.retain(|(name, _)| name != field);
        form.extend([(*field, *value), ("key", "console-1")]);
        for path in paths {
            let answer = browser.send_form_of("/console/pay", path, &form).await;
            assert_eq!(answer.status.as_u16(), 400, "{field}: {}", answer.text);
            assert!(answer.text.contains(problem), "{field}: {}", answer.text);
        }
    }
}
