//! What a page says at its top about what was just done, and how it gets there over a redirect.

/// A sentence about what was just done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether it went wrong.
    pub is_problem: bool,
    /// The sentence.
    pub text: String,
}

impl Notice {
    /// It went well.
    pub fn done(text: impl Into<String>) -> Self {
        Self {
            is_problem: false,
            text: text.into(),
        }
    }

    /// It went wrong.
    pub fn problem(text: impl Into<String>) -> Self {
        Self {
            is_problem: true,
            text: text.into(),
        }
    }

    /// As the cookie carries it.
    pub fn encode(&self) -> String {
        let kind = if self.is_problem { '!' } else { '+' };
        format!("{kind}{}", self.text)
    }

    /// Out of the cookie.
    pub fn decode(text: &str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("+", text) => Some(Self::done(text)),
            ("!", text) => Some(Self::problem(text)),
            _ => None,
        }
    }
}
