//! Both providers, faked over real HTTP on one port: Daraja's and ClickPesa's own paths, callbacks and all,
//! with faults on demand (by number: `outcome`; by plan: `faults`) and a ledger of what was done. Also the people around the service in the demo: the partner's webhook
//! receiver (`receiver`) and the other system that starts payments (`merchant`).
//! Nothing of ours is used here: a test double must not share a parser with what it tests.

mod clickpesa;
mod control;
mod course;
mod daraja;
mod faults;
mod ledger;
pub mod merchant;
mod outcome;
mod page;
pub mod receiver;
#[cfg(test)]
mod tests;
mod world;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use chrono::{DateTime, Utc};

/// A certificate of nobody's: what an initiator's password is encrypted with for a provider that reads none.
pub const CERTIFICATE: &str = include_str!("certificate.pem");

pub use clickpesa::{Application, WebhookEdition};
pub use faults::{Fault, FaultPlan};
pub use ledger::{LEDGER_PAYMENTS, Ledger, LedgerIds, LedgerPayment, LedgerRequests, Truth};
pub use outcome::{ENDINGS, Ending, ending_of, endings_as_markdown};
use world::World;

/// Where "now" comes from; a test hands in its own.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The machine's clock.
pub fn system_time() -> Now {
    Arc::new(|| SystemTime::now().into())
}

/// How a simulator is set up.
#[derive(Clone)]
pub struct SimulatorSettings {
    /// Port 0 picks one.
    pub listen: SocketAddr,
    /// The same seed gives the same delays, and with the same clock the same ids.
    pub seed: u64,
    /// How long after a request (and after the news before) a callback is posted.
    pub callback_delay: RangeInclusive<Duration>,
    /// How long an access token is good for.
    pub token_lifetime: Duration,
    /// What goes wrong from the start.
    pub faults: Vec<FaultPlan>,
    /// The clock that ids, timestamps and token lives are read from. Delays pass in real time.
    pub now: Now,
}

impl SimulatorSettings {
    /// The usual simulator: callbacks within two and a half seconds.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            seed: 1,
            callback_delay: Duration::from_millis(300)..=Duration::from_millis(2_500),
            token_lifetime: Duration::from_secs(3599),
            faults: Vec::new(),
            now: system_time(),
        }
    }
}

/// The simulator, to be started.
pub struct Simulator;

/// A simulator at work. Dropping it does not stop it.
pub struct RunningSimulator {
    address: SocketAddr,
    server: ServerHandle,
    world: Arc<World>,
}

impl Simulator {
    /// Starts serving. Must be called on a Tokio runtime, which from then on posts the callbacks.
    ///
    /// # Errors
    /// If the address cannot be listened on, or no HTTP client can be made.
    pub async fn start(settings: SimulatorSettings) -> std::io::Result<RunningSimulator> {
        let world = Arc::new(World::build(&settings).map_err(std::io::Error::other)?);
        let data = web::Data::from(Arc::clone(&world));
        let http = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .wrap(from_fn(control::count))
                .configure(daraja::routes)
                .configure(clickpesa::routes)
                .configure(page::routes)
                .configure(control::routes)
                .default_service(web::to(page::unknown_path))
        })
        .workers(1)
        .disable_signals()
        .bind(settings.listen)?;
        let address = bound(&http.addrs())?;
        let server = http.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(RunningSimulator {
            address,
            server: handle,
            world,
        })
    }
}

impl RunningSimulator {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of both providers (for ClickPesa without `/third-parties`).
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Does what is done in ClickPesa's dashboard: says where an application's webhooks go, and whether
    /// they (and its requests) carry a checksum. Turning the checksum on or off ends its tokens.
    pub fn set_clickpesa_application(&self, client_id: &str, application: Application) {
        self.world.clickpesa.set_application(client_id, application);
    }

    /// Says in which shapes an application's webhooks come, if not in the current ones.
    pub fn set_clickpesa_edition(&self, client_id: &str, edition: WebhookEdition) {
        self.world.clickpesa.set_edition(client_id, edition);
    }

    /// Puts a plan in force, in place of the one for the same account and number.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.world.faults.set(plan);
    }

    /// Ends all plans. What they have begun takes its course.
    pub fn clear_faults(&self) {
        self.world.faults.clear();
    }

    /// What was done so far.
    pub fn ledger(&self) -> Ledger {
        self.world.ledger.read(None, 0, usize::MAX)
    }

    /// Ends the tokens of an account (consumer key or client id), or all; returns how many there were.
    pub fn invalidate_tokens(&self, account: Option<&str>) -> usize {
        control::invalidate_tokens(&self.world, account)
    }

    /// The access tokens that were given out, of both providers, in no order: what must not be found in anything
    /// that the service writes.
    pub fn issued_tokens(&self) -> Vec<String> {
        let issued = world::locked(&self.world.issued);
        issued.iter().map(|(token, ())| token.to_owned()).collect()
    }

    /// Does what is done in M-Pesa's portal: lets a shortcode's C2B URLs be registered anew. False if it had
    /// none.
    pub fn forget_c2b_urls(&self, shortcode: &str) -> bool {
        self.world.daraja.forget_urls(shortcode)
    }

    /// Waits until every callback that is due has been posted.
    pub async fn until_quiet(&self) {
        self.world.until_quiet().await;
    }

    /// Stops at once; callbacks that are still due are not posted.
    pub async fn stop(self) {
        self.world.stop().await;
        self.server.stop(false).await;
    }
}

fn bound(addresses: &[SocketAddr]) -> std::io::Result<SocketAddr> {
    addresses
        .first()
        .copied()
        .ok_or_else(|| std::io::Error::other("no address was bound"))
}
