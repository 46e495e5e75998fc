//! Builds every part from the configuration, joins them, stops them in order.
//!
//! It promises that a start that fails leaves nothing running, that a reload changes all or nothing, and
//! that a stop first closes the doors, then lets mail that has begun finish, then closes the store.

mod notices;

use crate::accounts::{Accounts, Proofs};
use crate::admin::{Desk, Gate, Scene};
use crate::config::{Account, Config, OnUncertain};
use crate::delivery::direct::Passages;
use crate::delivery::{self, Delivery};
use crate::listener::{BindError, Listeners, Prepared};
use crate::oauth::{Keeper, VaultError};
use crate::queue::{self, OpenError, Queue};
use crate::session::{Shared, TlsError};
use crate::tls::{self, TrustError};
use crate::upstream::Way;
use rustls::ClientConfig;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use crate::listener::Inherited;
use notices::Notices;

/// The daemon, running.
pub struct App {
    config: Config,
    proofs: Arc<Proofs>,
    queue: Queue,
    keeper: Arc<Keeper>,
    routes: Routes,
    passages: Passages,
    delivery: Delivery,
    listeners: Listeners,
    notices: Notices,
    desk: Arc<Desk>,
    gate: Gate,
}

/// Why the daemon did not start, or a reload was refused.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Queue(#[from] OpenError),
    /// An address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Stored tokens.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Certificates to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A key that only a restart can change.
    #[error("{0} cannot change while running; restart submitd")]
    NeedsRestart(&'static str),
    /// No randomness.
    #[error("the system gives no randomness")]
    Randomness,
}

impl App {
    /// Starts everything; when it returns, every listener is open.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(config: Config, inherited: Vec<Inherited>) -> Result<Self, StartError> {
        let proofs = Proofs::new().map_err(|_| StartError::Randomness)?;
        let queue = Queue::open(queue::Settings {
            dir: config.state_dir.join("queue"),
            max_size: config.queue.max_size,
            reserve: config.queue.reserve,
            history: config.queue.history,
            hold: held_accounts(&config),
        })?;
        let queue::Recovery { uncertain, orphans, damaged } = queue.recovery();
        tracing::info!(
            uncertain = uncertain.len(),
            orphans,
            damaged = damaged.len(),
            "the queue is open"
        );
        tell_unserved(&queue, &config).await;
        let mut listeners = Listeners::new(inherited);
        let passages = Passages::default();
        let prepared = prepare(&mut listeners, &config, &proofs, &queue, &passages)?;
        let routes = Routes::new(Trust::read(&config)?);
        let keeper = Arc::new(Keeper::open(&config.accounts, &config.state_dir)?);
        keeper.start();
        let delivery = Delivery::start(
            queue.clone(),
            keeper.clone(),
            routes.couriers(),
            passages.clone(),
            delivery::Settings::of(&config),
            config.accounts.clone(),
        );
        listeners.apply(prepared);
        let notices = Notices::start(&config, &queue, &keeper, delivery.watch().health());
        let scene = scene(&config, &listeners);
        let desk = Desk::new(queue.clone(), keeper.clone(), delivery.watch(), scene);
        let desk = Arc::new(desk);
        let mut gate = Gate::new(desk.clone());
        gate.change(&config.admin).await;
        Ok(Self {
            config,
            proofs,
            queue,
            keeper,
            routes,
            passages,
            delivery,
            listeners,
            notices,
            desk,
            gate,
        })
    }

    /// Changes to another configuration: all of it, or nothing.
    ///
    /// # Errors
    /// [`StartError`]; the old configuration stays in force.
    pub async fn reload(&mut self, config: Config) -> Result<(), StartError> {
        if config.state_dir != self.config.state_dir {
            return Err(StartError::NeedsRestart("state_dir"));
        }
        let Self { listeners, proofs, queue, passages, .. } = self;
        let prepared = prepare(listeners, &config, proofs, queue, passages)?;
        let trust = Trust::read(&config)?;
        // The last that can fail; where it does, it has changed nothing.
        self.keeper.replace(&config.accounts)?;
        self.notices.reload(&config);
        self.keeper.start();
        self.routes.replace(trust);
        let bounds = &config.queue;
        self.queue.set_bounds(bounds.max_size, bounds.reserve, bounds.history);
        tell_unserved(&self.queue, &config).await;
        self.delivery.reload(delivery::Settings::of(&config), config.accounts.clone());
        // Whoever reloads has mended something: what waits for that is tried now.
        for account in &config.accounts {
            self.delivery.resume(&account.name);
        }
        self.listeners.apply(prepared);
        self.desk.scene.store(Arc::new(scene(&config, &self.listeners)));
        self.gate.change(&config.admin).await;
        self.config = config;
        Ok(())
    }

    /// Where we listen on TCP, ports filled in.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// The queue, to look into.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// What systemd shows: `listening on 127.0.0.1:2525, [::1]:2525; 1 account`.
    pub fn status(&self) -> String {
        let addresses: Vec<_> = self.listeners.doors().iter().map(ToString::to_string).collect();
        let accounts = self.config.accounts.len();
        let plural = if accounts == 1 { "" } else { "s" };
        format!("listening on {}; {accounts} account{plural}", addresses.join(", "))
    }

    /// When delivery loop and queue last showed that both live, for the watchdog.
    pub fn alive(&self) -> std::time::Instant {
        self.delivery.alive().min(self.queue.alive())
    }

    /// Returns when the daemon can do nothing more and must end: the queue's writer is gone.
    pub async fn broken(&self) {
        self.queue.ended().await;
    }

    /// Stops in order, within twice the drain bound. True where nothing was cut off; what was cut off is
    /// safe in the queue.
    pub async fn stop(mut self) -> bool {
        let bound = self.config.drain_timeout;
        drop(self.notices);
        let sessions = self.listeners.drain(bound).await;
        let deliveries = self.delivery.drain(bound).await == 0;
        if !sessions || !deliveries {
            tracing::warn!(sessions, deliveries, "drain_timeout is over, what is left is cut off");
        }
        // To the end it tells what is still under way.
        self.gate.close().await;
        self.queue.close().await;
        tracing::info!("stopped");
        sessions && deliveries
    }
}

/// What the admin socket shows of the configuration.
fn scene(config: &Config, listeners: &Listeners) -> Scene {
    Scene {
        listeners: listeners.doors().iter().map(ToString::to_string).collect(),
        accounts: config.accounts.clone(),
        state_dir: config.state_dir.clone(),
    }
}

/// Accounts whose mail of unknown fate waits for a person.
fn held_accounts(config: &Config) -> Vec<String> {
    let holds = config.accounts.iter().filter(|account| account.on_uncertain == OnUncertain::Hold);
    holds.map(|account| account.name.clone()).collect()
}

/// Says which mail nobody will send: its account is no longer in the configuration. It is kept.
async fn tell_unserved(queue: &Queue, config: &Config) {
    let counts = match queue.counts().await {
        Ok(counts) => counts,
        Err(error) => return tracing::error!(%error, "the queue cannot be read"),
    };
    for count in counts {
        if config.accounts.iter().all(|account| account.name != count.account) {
            tracing::warn!(
                account = %count.account,
                mails = count.mails,
                state = %count.state,
                "this account is not in the configuration and its mail is kept unsent: add the account again, \
                 or remove the mail"
            );
        }
    }
}

/// Binds what `config` names.
fn prepare(
    listeners: &mut Listeners,
    config: &Config,
    proofs: &Arc<Proofs>,
    queue: &Queue,
    passages: &Passages,
) -> Result<Prepared, StartError> {
    let accounts = Arc::new(Accounts::new(config, proofs.clone()));
    let mut wanted = Vec::new();
    for listener in &config.listeners {
        let (accounts, queue) = (accounts.clone(), queue.clone());
        let shared = Shared::new(config, listener, accounts, queue, passages.clone())?;
        wanted.push(Arc::new(shared));
    }
    Ok(listeners.prepare(wanted)?)
}

/// The TLS settings for each `ca_file` (none: only the system's trust), and our name.
#[derive(Debug)]
struct Trust {
    hostname: String,
    system: Arc<ClientConfig>,
    extra: HashMap<PathBuf, Arc<ClientConfig>>,
}

impl Trust {
    /// Reads the certificates of every account anew.
    fn read(config: &Config) -> Result<Self, TrustError> {
        let system = tls::client_config(None)?;
        let mut extra = HashMap::new();
        for file in config.accounts.iter().filter_map(|account| account.upstream.ca_file.as_ref()) {
            if !extra.contains_key(file) {
                extra.insert(file.clone(), tls::client_config(Some(file))?);
            }
        }
        Ok(Self { hostname: config.hostname.clone(), system, extra })
    }

    /// For an account with this `ca_file`; none where it was not read.
    fn of(&self, ca_file: Option<&PathBuf>) -> Option<&Arc<ClientConfig>> {
        match ca_file {
            Some(file) => self.extra.get(file),
            None => Some(&self.system),
        }
    }
}

/// The ways to the upstreams; what they trust changes with a reload, also for accounts that did not
/// change: the file of an authority may hold another one under the same name.
#[derive(Clone, Debug)]
struct Routes(Arc<Mutex<Ways>>);

#[derive(Debug)]
struct Ways {
    trust: Trust,
    made: Vec<(Option<PathBuf>, Weak<Way>)>,
}

impl Routes {
    fn new(trust: Trust) -> Self {
        Self(Arc::new(Mutex::new(Ways { trust, made: Vec::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Ways> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, trust: Trust) {
        let mut ways = self.lock();
        ways.made.retain(|(ca_file, way)| {
            let Some(way) = way.upgrade() else { return false };
            // One whose authority is no longer named goes with its account.
            if let Some(tls) = trust.of(ca_file.as_ref()) {
                way.reroute(trust.hostname.clone(), tls.clone());
            }
            true
        });
        ways.trust = trust;
    }

    /// Makes the way to an account's upstream, for `delivery`.
    fn couriers(&self) -> impl Fn(&Account) -> Arc<Way> + Send + 'static {
        let routes = self.clone();
        move |account| {
            let mut ways = routes.lock();
            let ca_file = account.upstream.ca_file.clone();
            let trust = &ways.trust;
            let tls = trust.of(ca_file.as_ref()).unwrap_or(&trust.system).clone();
            let way = Arc::new(Way::new(account, trust.hostname.clone(), tls));
            ways.made.push((ca_file, Arc::downgrade(&way)));
            way
        }
    }
}
