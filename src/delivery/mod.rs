//! Takes mail out of the queue and brings it to the upstream: one lane a mailbox.
//!
//! It promises that every mail taken is tried until it is settled or its days are over, that a broken
//! account disturbs no other mailbox, that no mail is sent while the store cannot note it, and that
//! one judge ([`verdict`]) decides what a failure means.
//!
//! It must not know how mail came in (`session`), how a token is had (`oauth`) or how SMTP is spoken
//! (`upstream`).

mod attempt;
mod lane;
pub mod limits;
pub mod plan;
mod report;
#[cfg(test)]
mod tests;
pub mod trouble;
pub mod verdict;

use crate::config::{Account, Config};
use crate::diagnosis::Class;
use crate::mail::Id;
use crate::oauth::TokenSource;
use crate::queue::Queue;
use crate::queue::retry::Schedule;
use crate::upstream::Courier;
use attempt::Member;
use lane::{Lane, Order};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

/// How often the delivery loop shows that it lives.
const BEAT: Duration = Duration::from_secs(1);
/// A mail whose fate is unknown is not sent again before this.
const UNCERTAIN_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Tells the time of day.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What delivery takes from the configuration besides the accounts.
#[derive(Clone)]
pub struct Settings {
    /// Our name, for reports.
    pub hostname: String,
    /// Pauses between tries, and the end.
    pub schedule: Schedule,
    /// The sender is told of a delay once after this.
    pub delay_notice: Duration,
    /// A mail whose fate is unknown is not sent again before this.
    pub uncertain_pause: Duration,
    /// The time of day; tests bring their own.
    pub clock: Clock,
}

impl Settings {
    /// As the configuration says, with the system's clock.
    pub fn of(config: &Config) -> Self {
        Self {
            hostname: config.hostname.clone(),
            schedule: Schedule {
                pauses: config.queue.schedule.clone(),
                expire: config.queue.expire,
            },
            delay_notice: config.queue.delay_notice,
            uncertain_pause: UNCERTAIN_PAUSE,
            clock: Arc::new(SystemTime::now),
        }
    }
}

/// Why an account sends nothing now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub account: String,
    /// Who can mend it.
    pub class: Class,
    /// What is wrong, in our words.
    pub meaning: String,
    /// What is to be done; empty where it passes by itself.
    pub remedy: String,
    /// The other side's words.
    pub words: String,
    /// When it is tried again.
    pub until: SystemTime,
}

/// Delivery at work. Dropped, it stops at once; [`Delivery::drain`] stops it gently.
pub struct Delivery {
    orders: mpsc::UnboundedSender<Command>,
    supervisor: JoinHandle<()>,
    pulse: Arc<Pulse>,
    standings: Arc<Mutex<BTreeMap<String, Standing>>>,
}

enum Command {
    Reload(Settings, Vec<Arc<Account>>),
    Resume(String),
    Drain(Instant, oneshot::Sender<usize>),
}

impl Delivery {
    /// Starts the lanes. `couriers` makes the way to an account's upstream; it is asked again after a
    /// reload where upstream or mailbox changed. Must be called within a tokio runtime.
    pub fn start<T, C, F>(
        queue: Queue,
        tokens: Arc<T>,
        couriers: F,
        settings: Settings,
        accounts: Vec<Arc<Account>>,
    ) -> Self
    where
        T: TokenSource,
        C: Courier + 'static,
        F: Fn(&Account) -> Arc<C> + Send + 'static,
    {
        let standings = Arc::default();
        let pulse = Arc::new(Pulse { start: Instant::now(), beat: AtomicU64::new(0) });
        let crashed = queue.recovery().uncertain.iter().filter_map(|id| id.parse().ok()).collect();
        let shared = Arc::new(Shared {
            queue,
            tokens,
            hand: Arc::default(),
            crashed: Mutex::new(crashed),
            standings: Arc::clone(&standings),
        });
        let (orders, inbox) = mpsc::unbounded_channel();
        let mut supervisor = Supervisor {
            shared,
            couriers,
            settings: Arc::new(settings),
            accounts: Vec::new(),
            lanes: HashMap::new(),
            pulse: pulse.clone(),
        };
        supervisor.serve(accounts);
        Self { orders, supervisor: tokio::spawn(supervisor.run(inbox)), pulse, standings }
    }

    /// Other accounts or settings; tries under way end as they began.
    pub fn reload(&self, settings: Settings, accounts: Vec<Arc<Account>>) {
        // Fails only after the end, when there is nothing left to reload.
        let _ = self.orders.send(Command::Reload(settings, accounts));
    }

    /// Somebody mended the account (signed in again, say): it is tried now.
    pub fn resume(&self, account: &str) {
        let _ = self.orders.send(Command::Resume(account.to_owned()));
    }

    /// Begins nothing more, lets tries under way end within `bound`, breaks the rest off. Says how many
    /// lanes had to be broken off: their mail is `attempting` or queued, and nothing of it is lost.
    pub async fn drain(self, bound: Duration) -> usize {
        let (done, left) = oneshot::channel();
        let _ = self.orders.send(Command::Drain(Instant::now() + bound, done));
        left.await.unwrap_or(0)
    }

    /// When the delivery loop last showed that it lives: not later than a few seconds ago, else it hangs.
    pub fn alive(&self) -> std::time::Instant {
        self.pulse.last()
    }

    /// The accounts that wait, and why.
    pub fn standings(&self) -> Vec<Standing> {
        lock(&self.standings).values().cloned().collect()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// The heartbeat, in milliseconds since the start.
struct Pulse {
    start: Instant,
    beat: AtomicU64,
}

impl Pulse {
    fn beat(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(millis, Ordering::Relaxed);
    }

    fn last(&self) -> std::time::Instant {
        self.start.into_std() + Duration::from_millis(self.beat.load(Ordering::Relaxed))
    }
}

/// What all lanes share.
struct Shared<T> {
    queue: Queue,
    tokens: Arc<T>,
    /// Mails under way with the account they go through: none is ever tried twice at once, also while
    /// an account moves from one lane to another.
    hand: Arc<Mutex<HashMap<Id, String>>>,
    /// Mails that a crash left with an unknown fate and that were not looked at since.
    crashed: Mutex<HashSet<Id>>,
    standings: Arc<Mutex<BTreeMap<String, Standing>>>,
}

impl<T> Shared<T> {
    fn in_hand(&self, account: &str) -> Vec<Id> {
        let hand = lock(&self.hand);
        hand.iter().filter(|(_, owner)| *owner == account).map(|(id, _)| *id).collect()
    }

    fn claim(&self, id: Id, account: &str) -> Option<Claim> {
        let mut hand = lock(&self.hand);
        if hand.contains_key(&id) {
            return None;
        }
        hand.insert(id, account.to_owned());
        Some(Claim { hand: Arc::clone(&self.hand), id })
    }

    /// Whether a crash left its fate unknown; says so once.
    fn was_crashed(&self, id: Id) -> bool {
        lock(&self.crashed).remove(&id)
    }

    fn ill(&self, standing: Standing) {
        lock(&self.standings).insert(standing.account.clone(), standing);
    }

    fn well(&self, account: &str) {
        lock(&self.standings).remove(account);
    }
}

/// A mail in hand, until it is dropped.
struct Claim {
    hand: Arc<Mutex<HashMap<Id, String>>>,
    id: Id,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.hand).remove(&self.id);
    }
}

/// Mailbox and host in lower case: Exchange counts its limits by mailbox, whatever we call it.
type Key = (String, String);

fn key(account: &Account) -> Key {
    (account.mailbox.as_str().to_lowercase(), account.upstream.host.to_lowercase())
}

struct Running<C> {
    orders: mpsc::UnboundedSender<Order<C>>,
    task: JoinHandle<()>,
    couriers: Vec<(Arc<Account>, Arc<C>)>,
}

impl<C> Drop for Running<C> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Supervisor<T, C, F> {
    shared: Arc<Shared<T>>,
    couriers: F,
    settings: Arc<Settings>,
    accounts: Vec<Arc<Account>>,
    lanes: HashMap<Key, Running<C>>,
    pulse: Arc<Pulse>,
}

impl<T, C, F> Supervisor<T, C, F>
where
    T: TokenSource,
    C: Courier + 'static,
    F: Fn(&Account) -> Arc<C> + Send + 'static,
{
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    self.pulse.beat();
                    self.mend();
                }
                command = inbox.recv() => match command {
                    None => return,
                    Some(Command::Reload(settings, accounts)) => {
                        self.settings = Arc::new(settings);
                        self.serve(accounts);
                    }
                    Some(Command::Resume(account)) => {
                        for lane in self.lanes.values() {
                            let _ = lane.orders.send(Order::Resume(account.clone()));
                        }
                    }
                    Some(Command::Drain(until, done)) => {
                        let _ = done.send(self.drain(until).await);
                        return;
                    }
                },
            }
        }
    }

    /// Gives each lane its accounts; lanes without any end when their tries have ended.
    fn serve(&mut self, accounts: Vec<Arc<Account>>) {
        self.accounts = accounts;
        let mut groups: HashMap<Key, Vec<Arc<Account>>> = HashMap::new();
        for account in &self.accounts {
            groups.entry(key(account)).or_default().push(account.clone());
        }
        let gone: Vec<Key> =
            self.lanes.keys().filter(|key| !groups.contains_key(*key)).cloned().collect();
        for key in gone {
            if let Some(mut lane) = self.lanes.remove(&key) {
                retire(&mut lane);
            }
        }
        let names: HashSet<&str> =
            self.accounts.iter().map(|account| account.name.as_str()).collect();
        lock(&self.shared.standings).retain(|name, _| names.contains(name.as_str()));
        for (key, group) in groups {
            let known = self.lanes.get(&key).map(|lane| lane.couriers.clone()).unwrap_or_default();
            let couriers = self.couriers_for(&group, &known);
            let members = members(&couriers);
            match self.lanes.get_mut(&key) {
                Some(lane) if !lane.task.is_finished() => {
                    lane.couriers = couriers;
                    let _ = lane.orders.send(Order::Serve(self.settings.clone(), members));
                }
                _ => {
                    let lane = self.open(members, couriers);
                    self.lanes.insert(key, lane);
                }
            }
        }
    }

    /// One courier for all accounts of a lane with the same upstream, so that its connections are
    /// counted together.
    fn couriers_for(
        &self,
        group: &[Arc<Account>],
        known: &[(Arc<Account>, Arc<C>)],
    ) -> Vec<(Arc<Account>, Arc<C>)> {
        let mut couriers: Vec<(Arc<Account>, Arc<C>)> = Vec::with_capacity(group.len());
        for account in group {
            let same = couriers
                .iter()
                .chain(known)
                .find(|(other, _)| other.upstream == account.upstream)
                .map(|(_, courier)| courier.clone());
            let courier = same.unwrap_or_else(|| (self.couriers)(account));
            couriers.push((account.clone(), courier));
        }
        couriers
    }

    fn open(&self, members: Vec<Member<C>>, couriers: Vec<(Arc<Account>, Arc<C>)>) -> Running<C> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let lane = Lane::new(self.shared.clone(), self.settings.clone(), members);
        Running { orders, task: tokio::spawn(lane.run(inbox)), couriers }
    }

    /// A lane that broke is opened again: its mailbox would stay silent otherwise.
    fn mend(&mut self) {
        let broken: Vec<Key> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.task.is_finished())
            .map(|(key, _)| key.clone())
            .collect();
        for key in broken {
            let Some(old) = self.lanes.remove(&key) else { continue };
            error!(mailbox = %key.0, "a lane broke off inside submitd and is opened again; please report this");
            let lane = self.open(members(&old.couriers), old.couriers.clone());
            self.lanes.insert(key, lane);
        }
    }

    async fn drain(&mut self, until: Instant) -> usize {
        for lane in self.lanes.values() {
            let _ = lane.orders.send(Order::Drain);
        }
        let mut left = 0;
        let mut beat = tokio::time::interval(BEAT);
        for (key, lane) in &mut self.lanes {
            loop {
                tokio::select! {
                    _ = &mut lane.task => break,
                    () = tokio::time::sleep_until(until) => {
                        warn!(mailbox = %key.0, "deliveries under way are broken off; their mail stays queued");
                        left += 1;
                        break;
                    }
                    _ = beat.tick() => self.pulse.beat(),
                }
            }
        }
        info!(broken_off = left, "delivery stopped");
        left
    }
}

/// Lets a lane's tries end without us.
fn retire<C>(lane: &mut Running<C>) {
    let _ = lane.orders.send(Order::Drain);
    // The handle that `drop` aborts is put away; the lane ends by itself.
    lane.task = tokio::spawn(async {});
}

fn members<C>(couriers: &[(Arc<Account>, Arc<C>)]) -> Vec<Member<C>> {
    let member = |(account, courier): &(Arc<Account>, Arc<C>)| Member {
        account: account.clone(),
        courier: courier.clone(),
    };
    couriers.iter().map(member).collect()
}

/// Randomness without a generator of its own: for jitter and ids, never for secrets.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
