//! The map of `ussd-status`: what became of a mobile-money payment, told truly.
//!
//! A request is readable in three files: the handler (`http`), the query (`store`), the wire shape (beside the
//! handler). A status change, its event and the promise to tell someone are one database transaction.
//!
//! - [`domain`] is what a payment-status service *is*: transactions, the state machine, and in `domain::ledger` the
//!   rules by which registrations and news change them. Pure; imports nothing of ours.
//! - [`providers`] turns foreign words into the domain's, and our intent into foreign calls: one folder a provider, each
//!   with its bodies, its result codes, its client; `providers::catalogue` says what results mean to the customer, in
//!   English and Swahili. A new provider is a folder here, its line in `providers::folder` and
//!   a word in `domain::transaction::Provider`. Imports `domain`.
//! - [`store`] remembers. The traits are in `store/seam`, one a subject; `sqlite.rs` and `postgres.rs` are the two
//!   adapters; `store/queries` is ordinary Diesel, written once and compiled for each, a trait's methods beside their
//!   queries; `store/rows` says what rows mean. `search_sql.rs` and `store/ledger` are the hot paths as text that both
//!   databases understand (`statement.rs` keeps them prepared, `dialect.rs` holds the few words in which they differ).
//!   `store::copy` moves a SQLite file to PostgreSQL, `store::backup` copies one, [`store::Upkeep`] is what an operator
//!   does to all rows. Imports `domain`.
//! - [`feed`] says what just changed to whoever waits for it. Imports `domain` and the traits of `store`.
//! - [`instances`] knows who else works on this database: what is done once, and how the rest is shared out. Imports
//!   `domain` and the traits of `store`.
//! - [`vault`] seals secrets at rest. Imports nothing of ours.
//! - [`ingest`] is a callback's way in. Imports the above.
//! - [`payments`] starts payments: the intent is committed, the provider called, its answer written. `accounts` connects
//!   a partner's accounts to their providers, `health` says what is wrong with one. Imports the above.
//! - [`reconciliation`] asks providers about silent transactions, a pace an account. Imports the above.
//! - [`statements`] writes the books: transactions out with control totals, histories in, a provider's own statement
//!   held against the table. Imports `domain` and the traits of `store`.
//! - [`webhooks`] tells partners: dispatcher, signature, sender with its address guard. Imports the above but `providers`.
//! - [`http`] is the HTTP surface, thin; every route is in `http/mod.rs`. Imports all of the above.
//! - [`console`] is where people look: pages rendered on the server, every route in `console/mod.rs`. Imports all of the
//!   above, `http` for what the API's handlers know already (the filters, the keys, whose address is believed).
//! - [`simulator`] fakes both providers over real HTTP, for the demo and the tests. Imports nothing of ours: it must not
//!   share a parser with what it tests.
//! - [`settings`] and [`telemetry`]; [`app`] builds everything from settings; [`cli`] is one file a command.
//!
//! `actix_web` is named in `http`, `console`, `simulator` and `app` only; `diesel` in `store` only; `reqwest` in
//! `providers/client.rs` (the one client of all providers), `webhooks/sender.rs` and `simulator` only. A test reads
//! `src/` and checks these rules.
//!
//! Where this house differs from the plan it was drawn from, and why:
//!
//! - *One ledger, one writer a partner.* Registrations, attached ids and callbacks are all commands of one ledger
//!   ([`domain::ledger`]), queued to a batch writer that locks the partners' feed heads, loads, judges in plain Rust,
//!   and writes everything in one transaction. So the rules are one pure function for both databases, races are
//!   settled by the lock (the `WHERE` of each update still guards), and a partner's feed is numbered 1, 2, 3, … in
//!   commit order without a gap.
//! - *Counters are updated in place*, not appended and folded: under that lock nobody contends for them, a batch
//!   touches each once, and a reader sums a handful of rows.
//! - *`routes` holds every provider id and receipt*, so that the big table needs no index a status change would have to
//!   maintain.
//! - *An id that only another partner holds takes no callback from its own.* Order references are unique to a merchant
//!   only. The other partner's transaction does not move and its timeline says so; the callback waits, or makes its
//!   transaction, as if nobody had the id. Ids that point at several transactions still move none.

pub mod app;
pub mod cli;
pub mod console;
pub mod domain;
pub mod feed;
pub mod http;
pub mod ingest;
pub mod instances;
pub mod payments;
pub mod providers;
pub mod reconciliation;
pub mod settings;
pub mod simulator;
pub mod statements;
pub mod store;
pub mod telemetry;
pub mod vault;
pub mod webhooks;
