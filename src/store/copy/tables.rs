//! Which tables a copy takes along, in an order in which no row comes before what it refers to, and which it leaves.

/// The tables that are copied.
pub const COPIED: [&str; 21] = [
    "partners",
    "api_keys",
    "provider_accounts",
    "endpoints",
    "feed_heads",
    "transactions",
    "payments",
    "routes",
    "open_transactions",
    "failed_transactions",
    "transaction_events",
    "counters",
    "created_by_minute",
    "callbacks",
    "waiting_callbacks",
    "deliveries",
    "delivery_attempts",
    "balances",
    "balance_enquiries",
    "audit_log",
    "operators",
];

/// The tables that stay behind, and why.
pub const SKIPPED: [(&str, &str); 5] = [
    ("copied_tables", "the copy's own notes, kept in its target"),
    (
        "instances",
        "which processes live, said anew within seconds",
    ),
    ("rate_limits", "quotas of this minute, which begin anew"),
    ("sessions", "sign-ins at the console, made again"),
    ("account_tokens", "access tokens of the hour, fetched anew"),
];
