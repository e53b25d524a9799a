//! How to reach a database, and how long to wait for it.

use std::time::Duration;

/// How long a host is waited for that does not let one in, unless the settings say otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How to reach a database and how long to wait for it.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `sqlite://PATH` or `postgres://…`.
    pub url: DatabaseUrl,
    /// Connections (PostgreSQL), readers (SQLite).
    pub pool_size: usize,
    /// How long it is waited for.
    pub limits: DatabaseLimits,
    /// A replica for reads that may be a little old (PostgreSQL).
    pub replica: Option<ReplicaSettings>,
    /// How long a provider may be silent before it is asked.
    pub reconcile_after: chrono::Duration,
}

/// A replica for reading.
#[derive(Debug, Clone)]
pub struct ReplicaSettings {
    /// Where.
    pub url: DatabaseUrl,
    /// How old at most.
    pub max_lag: Duration,
}

/// How long a database is waited for.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseLimits {
    /// Any one act, all waiting included.
    pub act: Duration,
    /// One statement, by the server's own watch (PostgreSQL).
    pub statement: Duration,
    /// A new connection to one host (PostgreSQL).
    pub connect: Duration,
    /// A free connection of the pool (PostgreSQL).
    pub pool_wait: Duration,
}

impl DatabaseLimits {
    /// Five seconds or whatever it is for everything, and two at most for a connection.
    pub fn of(act: Duration) -> Self {
        Self {
            act,
            statement: act,
            connect: act.min(CONNECT_TIMEOUT),
            pool_wait: act,
        }
    }
}

/// Which database, by the URL's scheme.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(String),
    /// A server, or several of which one accepts writes.
    Postgres(String),
}

impl std::fmt::Debug for DatabaseUrl {
    /// Without the password a PostgreSQL URL may carry.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{path}"),
            Self::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

impl std::str::FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            let plain = path.split('?').next().unwrap_or_default();
            if plain.is_empty() || plain == ":memory:" || plain != path {
                return Err(
                    "the path of a SQLite file must follow sqlite://, without parameters"
                        .to_owned(),
                );
            }
            return Ok(Self::Sqlite(path.to_owned()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        Err("accepted are sqlite://PATH and postgres://…".to_owned())
    }
}
