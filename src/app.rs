//! Builds everything from the settings and runs it: the public address, the operator's own, and the workers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::console::{self, Console};
use crate::domain::asking::AskSchedule;
use crate::domain::clock::Clock;
use crate::feed::Feed;
use crate::http::{self, Keys, Polling, Proxies, Quotas, State};
use crate::ingest::{Ingest, unclaimed};
use crate::instances::Instances;
use crate::payments::Payments;
use crate::payments::accounts::Accounts;
use crate::reconciliation::Reconciler;
use crate::settings::Settings;
use crate::statements::Statements;
use crate::store::{
    self, HOUR_COUNTER_SPAN, MINUTE_COUNT_SPAN, Retention, Store, StoreError, StoreSettings,
};
use crate::telemetry::UPKEEP_EVERY;
use crate::vault::Vault;
use crate::webhooks::Endpoints;
use crate::webhooks::dispatcher::Dispatcher;
use crate::webhooks::sender::Sender;

/// How long a client may take for the head of a request.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How often the backlog is counted for `/metrics`.
const BACKLOG_EVERY: Duration = Duration::from_secs(15);
/// How often old rows are looked for, and quiet keys forgotten.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);
/// The pause between two small batches of housekeeping, so that nobody waits behind it.
const HOUSEKEEPING_PAUSE: Duration = Duration::from_millis(20);

/// What keeps the service from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or wrong.
    #[error("{0}")]
    Settings(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

/// Opens the database of the settings.
///
/// # Errors
/// If it cannot be opened.
pub async fn open_store(
    settings: &Settings,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Store>, StoreError> {
    let settings = StoreSettings {
        url: settings.database_url.clone(),
        pool_size: settings.database_pool_size,
        limits: settings.database_limits,
        replica: settings.database_replica.clone(),
        reconcile_after: ask_schedule(settings).first_after,
    };
    store::open(settings, clock).await
}

/// Refuses a database into which a copy was begun that has not come to its end.
///
/// # Errors
/// [`StartError::Settings`] for such a one; if the database fails.
pub async fn refuse_half_a_copy(store: &dyn Store) -> Result<(), StartError> {
    if store.is_half_copied().await? {
        return Err(StartError::Settings(
            "DATABASE_URL: what was found holds an unfinished copy; run `ussd-status copy` again, it goes on where it \
             was, and start when it is done"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Tries every seal: a service under another master key than the one that sealed its secrets could neither check
/// callbacks nor sign webhooks.
///
/// # Errors
/// [`StartError::Settings`], naming `MASTER_KEY`; the database's.
pub async fn check_seals(store: &dyn Store, vault: &Vault) -> Result<(), StartError> {
    let refuse = |what: &str, owner: &str| {
        StartError::Settings(format!(
            "MASTER_KEY: what was found does not open the {what} of {owner}; the key that sealed it is accepted, as \
             MASTER_KEY or as MASTER_KEY_PREVIOUS"
        ))
    };
    for account in store.list_accounts(None).await? {
        let owner = account.id.seal_owner();
        vault
            .open(&owner, &account.sealed_credentials)
            .map_err(|_| refuse("credentials", &owner))?;
    }
    for partner in store.list_partners().await? {
        for endpoint in store.list_endpoints(partner.id).await? {
            let owner = endpoint.id.seal_owner();
            vault
                .open(&owner, &endpoint.sealed_secret)
                .map_err(|_| refuse("signing secret", &owner))?;
        }
    }
    Ok(())
}

/// When silent providers are asked, by the settings.
pub fn ask_schedule(settings: &Settings) -> AskSchedule {
    // The settings accept no span that does not fit.
    let span = |span| chrono::Duration::from_std(span).unwrap_or(chrono::Duration::MAX);
    AskSchedule::new(span(settings.reconcile_after), span(settings.reconcile_for))
}

/// The service, listening and ready to run.
pub struct Application {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    servers: Vec<(ServerHandle, JoinHandle<std::io::Result<()>>)>,
    workers: TaskTracker,
    cancel: CancellationToken,
    feed: Feed,
    instances: Instances,
    grace: Duration,
}

impl Application {
    /// Listens, and starts the workers. The database is migrated already.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn build(
        settings: &Settings,
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        metrics: PrometheusHandle,
    ) -> Result<Self, StartError> {
        let quotas = Quotas::new(settings).map_err(StartError::Settings)?;
        let cancel = CancellationToken::new();
        let workers = TaskTracker::new();
        let accounts = Accounts::new(
            Arc::clone(&store),
            Arc::clone(&vault),
            Arc::clone(&clock),
            settings,
        )
        .map_err(StartError::Settings)?;
        let payments = Arc::new(Payments::new(
            accounts,
            (Arc::clone(&store), Arc::clone(&clock)),
            settings.reconcile_after,
            (workers.clone(), cancel.clone()),
        ));
        let (feed, waker) = Feed::open(Arc::clone(&store));
        let instances = Instances::new(Arc::clone(&store), clock.as_ref());
        workers.spawn(instances.clone().run(cancel.clone()));
        let sender = Sender::from_settings(settings)
            .map_err(|error| StartError::Settings(error.to_string()))?;
        let state = Data::new(State {
            payments: Arc::clone(&payments),
            vault: Arc::clone(&vault),
            webhook_allow_private: settings.webhook_allow_private,
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            statements: Statements::new(Arc::clone(&store)),
            feed: feed.clone(),
            shared: http::Shared::default(),
            streams: http::Streams::default(),
            polling: Polling::new(Arc::clone(&store)),
            status_page: http::StatusPage::default(),
            ingest: Arc::new(Ingest::new(
                Arc::clone(&store),
                Arc::clone(&vault),
                Arc::clone(&clock),
            )),
            endpoints: Endpoints::new(
                Arc::clone(&store),
                Arc::clone(&vault),
                Arc::clone(&clock),
                sender.clone(),
                settings.webhook_allow_private,
            ),
            keys: Keys::default(),
            proxies: Proxies(settings.trusted_proxies.clone()),
            callback_allowed_ips: settings.callback_allowed_ips.clone(),
            metrics: metrics.clone(),
            metrics_elsewhere: settings.admin_listen_addr.is_some(),
            is_public_https: settings
                .public_url
                .as_ref()
                .is_some_and(|url| url.scheme() == "https"),
            quotas: quotas.clone(),
            instances: instances.clone(),
        });
        let mut servers = Vec::new();
        let (address, server) = listen(settings.listen_addr, settings, state.clone(), false)?;
        servers.push(server);
        payments.accounts.set_address(address);
        let admin_address = match settings.admin_listen_addr {
            Some(wanted) => {
                let (address, server) = listen(wanted, settings, state, true)?;
                servers.push(server);
                Some(address)
            }
            None => None,
        };
        let reconciler = Reconciler::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            payments,
            ask_schedule(settings),
        );
        workers.spawn(reconciler.run(cancel.clone(), |_| {}));
        let dispatcher =
            Dispatcher::new(Arc::clone(&store), Some(vault), Arc::clone(&clock), sender)
                .among(instances.clone());
        workers.spawn(dispatcher.run(cancel.clone()));
        workers.spawn(waker.run(cancel.clone()));
        workers.spawn(unclaimed::run(
            Arc::clone(&store),
            Arc::clone(&clock),
            instances.clone(),
            cancel.clone(),
        ));
        workers.spawn(keep_house(
            Arc::clone(&store),
            clock,
            (settings.clone(), quotas),
            instances.clone(),
            cancel.clone(),
        ));
        workers.spawn(gauge(store, metrics, cancel.clone()));
        workers.close();
        Ok(Self {
            address,
            admin_address,
            servers,
            workers,
            cancel,
            feed,
            instances,
            grace: settings.shutdown_grace,
        })
    }

    /// Where it really listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the operator's own address really is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Where its long polls wait.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Who else works on its database.
    pub fn instances(&self) -> &Instances {
        &self.instances
    }

    /// The port, for a setting of `:0`.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Runs until `stop` is cancelled, then finishes what is in flight within the grace.
    pub async fn run_until_stopped(self, stop: CancellationToken) {
        stop.cancelled().await;
        tracing::info!("stopping");
        // Whoever waits is a request in flight, and is not waited for: it gets its answer now.
        self.feed.release();
        let finish = async {
            for (handle, _) in &self.servers {
                // No new connections; requests in flight are answered.
                handle.stop(true).await;
            }
            for (_, task) in self.servers {
                if let Ok(Err(error)) = task.await {
                    tracing::error!(%error, "a server ended badly");
                }
            }
            // Workers last: what the last requests committed is still told.
            self.cancel.cancel();
            self.workers.wait().await;
        };
        if tokio::time::timeout(self.grace, finish).await.is_err() {
            tracing::warn!("not everything ended within the grace");
        }
    }
}

type Listening = (SocketAddr, (ServerHandle, JoinHandle<std::io::Result<()>>));

fn listen(
    wanted: SocketAddr,
    settings: &Settings,
    state: Data<State>,
    for_admin: bool,
) -> Result<Listening, StartError> {
    let failed = |error| StartError::Listen {
        address: wanted,
        error,
    };
    let console = Data::new(Console::new(state.is_public_https));
    let server = HttpServer::new(move || {
        let (state, console) = (state.clone(), console.clone());
        App::new().wrap(from_fn(http::observe)).configure(|config| {
            if for_admin {
                http::admin_routes(config, &state);
            } else {
                console::routes(config, &console);
                http::routes(config, &state);
            }
        })
    })
    .client_request_timeout(REQUEST_HEAD_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(settings.shutdown_grace.as_secs().max(1))
    .disable_signals()
    .bind(wanted)
    .map_err(failed)?;
    let address = server.addrs().first().copied().unwrap_or(wanted);
    let server = server.run();
    let handle = server.handle();
    Ok((address, (handle, tokio::spawn(server))))
}

/// Removes what is old, a small batch at a time; of several instances the eldest does.
async fn keep_house(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    (settings, quotas): (Settings, Quotas),
    instances: Instances,
    cancel: CancellationToken,
) {
    tokio::select! {
        () = cancel.cancelled() => return,
        () = instances.known() => {}
    }
    let before = |span: Duration| {
        chrono::Duration::from_std(span)
            .ok()
            .and_then(|span| clock.now().checked_sub_signed(span))
            .unwrap_or_default()
    };
    loop {
        quotas.forget_idle();
        let retention = Retention {
            callbacks_before: before(settings.retention_callbacks),
            deliveries_before: before(settings.retention_deliveries),
            events_before: before(settings.retention_events),
            hours_before: clock.now() - HOUR_COUNTER_SPAN,
            minutes_before: clock.now() - MINUTE_COUNT_SPAN,
        };
        if instances.is_eldest()
            && let Err(error) = store.remove_ended_sessions(clock.now()).await
        {
            tracing::warn!(%error, "ended sessions will be removed later");
        }
        while instances.is_eldest() {
            match store.remove_expired(retention).await {
                Ok(0) => break,
                Ok(rows) => metrics::counter!("ussd_status_expired_rows_total").increment(rows),
                Err(error) => {
                    tracing::warn!(%error, "housekeeping will be tried again");
                    break;
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(HOUSEKEEPING_PAUSE) => {}
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(HOUSEKEEPING_EVERY) => {}
        }
    }
}

/// Counts what is waiting, and folds old samples.
async fn gauge(store: Arc<dyn Store>, metrics: PrometheusHandle, cancel: CancellationToken) {
    let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
    let mut backlog = tokio::time::interval(BACKLOG_EVERY);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = upkeep.tick() => metrics.run_upkeep(),
            _ = backlog.tick() => {
                if let Ok(counted) = store.count_backlog().await {
                    set_gauges(counted);
                }
            }
        }
    }
}

fn set_gauges(counted: store::Backlog) {
    let number = |count: i64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    metrics::gauge!("ussd_status_open_transactions").set(number(counted.open_transactions));
    metrics::gauge!("ussd_status_pending_deliveries").set(number(counted.pending_deliveries));
    metrics::gauge!("ussd_status_waiting_callbacks").set(number(counted.waiting_callbacks));
    metrics::gauge!("ussd_status_stuck_transactions").set(number(counted.stuck_transactions));
}
