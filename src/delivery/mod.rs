//! Takes mail out of the queue and brings it to the upstream: one lane a mailbox.
//!
//! It promises that every mail taken is tried until it is settled or its days are over, that a broken
//! account disturbs no other mailbox, that no mail is sent while the store cannot note it, and that
//! one judge ([`verdict`]) decides what a failure means.
//!
//! Mail whose sender waits passes through the same lanes (`direct`).
//!
//! It must not know how mail came in (`session`), how a token is had (`oauth`) or how SMTP is spoken
//! (`upstream`).

mod allowance;
mod attempt;
mod course;
mod day;
pub mod direct;
mod health;
mod lane;
pub mod limits;
pub mod notice;
mod places;
pub mod plan;
mod report;
mod room;
pub mod standing;
mod supervisor;
#[cfg(test)]
mod tests;
pub mod trouble;
mod turn;
pub mod verdict;
pub mod words;

use crate::config::{Account, Config};
use crate::mail::Id;
use crate::oauth::TokenSource;
use crate::queue::retry::Schedule;
use crate::queue::{Detour, Queue};
use crate::upstream::Courier;
use course::Courses;
use direct::Passages;
pub use health::Health;
pub use standing::{LaneStanding, Standing};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use supervisor::{Command, Pulse, Supervisor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// So much further ahead than any pause a due time may lie before the clock is blamed for it.
const SLACK: Duration = Duration::from_secs(10 * 60);

/// How long a lane may take to say how it stands.
const LANE_PATIENCE: Duration = Duration::from_secs(1);

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
    /// Through which account all reports go; none = through that of the mail they speak of.
    pub bounces: Option<Arc<Account>>,
    /// The time of day; tests bring their own.
    pub clock: Clock,
}

impl Settings {
    /// As the configuration says, with the system's clock.
    pub fn of(config: &Config) -> Self {
        let bounces = config.queue.bounce_account.as_ref();
        let named =
            |name: &String| config.accounts.iter().find(|account| account.name == *name).cloned();
        Self {
            hostname: config.hostname.clone(),
            schedule: Schedule {
                pauses: config.queue.schedule.clone(),
                expire: config.queue.expire,
            },
            delay_notice: config.queue.delay_notice,
            uncertain_pause: config.queue.uncertain_pause,
            bounces: bounces.and_then(named),
            clock: Arc::new(SystemTime::now),
        }
    }

    /// Nothing is set to be tried later than so long from now; what is was set by a clock that was wrong.
    fn furthest(&self) -> Duration {
        self.schedule.longest().max(self.uncertain_pause).saturating_add(SLACK)
    }
}

/// Delivery at work. Dropped, it stops at once; [`Delivery::drain`] stops it gently.
pub struct Delivery {
    supervisor: JoinHandle<()>,
    watch: Watch,
}

/// Delivery as people see and steer it; cheap to clone, good for as long as anybody looks.
#[derive(Clone)]
pub struct Watch {
    orders: mpsc::UnboundedSender<Command>,
    pulse: Arc<Pulse>,
    health: Health,
    courses: Arc<Courses>,
    hand: Arc<Mutex<HashMap<Id, String>>>,
}

impl Watch {
    /// Somebody mended the account (signed in again, say): it is tried now.
    pub fn resume(&self, account: &str) {
        self.courses.ask_smtp(account);
        // Fails only after the end, when there is nothing left to try.
        let _ = self.orders.send(Command::Resume(account.to_owned()));
    }

    /// When the delivery loop last showed that it lives: not later than a few seconds ago, else it hangs.
    pub fn alive(&self) -> std::time::Instant {
        self.pulse.last()
    }

    /// The accounts that wait, and why.
    pub fn standings(&self) -> Vec<Standing> {
        self.health.standings()
    }

    /// Since when mail of the account goes by Graph, though SMTP is its first way; none where it does not.
    pub fn detour(&self, account: &str) -> Option<Detour> {
        self.courses.detour(account)
    }

    /// How the accounts fare, to be waited on.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Mails that are being tried now.
    pub fn in_hand(&self) -> Vec<Id> {
        lock(&self.hand).keys().copied().collect()
    }

    /// How the lanes stand, by mailbox. One that gives no answer within a moment (it waits for the disk, or
    /// has ended) is left out.
    pub async fn lanes(&self) -> Vec<LaneStanding> {
        let (told, lines) = oneshot::channel();
        let _ = self.orders.send(Command::Lanes(told));
        let all = async {
            let mut lanes = Vec::new();
            for line in lines.await.unwrap_or_default() {
                lanes.extend(
                    tokio::time::timeout(LANE_PATIENCE, line).await.ok().and_then(Result::ok),
                );
            }
            lanes
        };
        let mut lanes = tokio::time::timeout(LANE_PATIENCE * 5, all).await.unwrap_or_default();
        lanes.sort_by(|one, other| (&one.mailbox, &one.host).cmp(&(&other.mailbox, &other.host)));
        lanes
    }
}

impl Delivery {
    /// Starts the lanes. `couriers` makes the way to an account's upstream; it is asked again after a
    /// reload where upstream or mailbox changed. `passages` is where clients that wait find the same ways.
    /// Must be called within a tokio runtime.
    pub fn start<T, C, F>(
        queue: Queue,
        tokens: Arc<T>,
        couriers: F,
        passages: Passages,
        settings: Settings,
        accounts: Vec<Arc<Account>>,
    ) -> Self
    where
        T: TokenSource,
        C: Courier + 'static,
        F: Fn(&Account) -> Arc<C> + Send + 'static,
    {
        let health = Health::default();
        let hand: Arc<Mutex<HashMap<Id, String>>> = Arc::default();
        let pulse = Arc::new(Pulse::new());
        let courses =
            Courses::new(queue.clone(), settings.clock.clone(), health.clone(), &accounts);
        let courses = Arc::new(courses);
        let (hands, states) = (Arc::clone(&hand), health.clone());
        let shared =
            Shared { queue, tokens, hand: hands, health: states, courses: courses.clone() };
        let shared = Arc::new(shared);
        let (orders, inbox) = mpsc::unbounded_channel();
        let settings = Arc::new(settings);
        let mut supervisor = Supervisor::new(shared, couriers, passages, settings, pulse.clone());
        supervisor.serve(accounts);
        let watch = Watch { orders, pulse, health, courses, hand };
        Self { supervisor: tokio::spawn(supervisor.run(inbox)), watch }
    }

    /// To look on and steer.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Other accounts or settings; tries under way end as they began.
    pub fn reload(&self, settings: Settings, accounts: Vec<Arc<Account>>) {
        // Fails only after the end, when there is nothing left to reload.
        let _ = self.watch.orders.send(Command::Reload(settings, accounts));
    }

    /// Somebody mended the account (signed in again, say): it is tried now.
    pub fn resume(&self, account: &str) {
        self.watch.resume(account);
    }

    /// Begins nothing more, lets tries under way end within `bound`, breaks the rest off. Says how many
    /// lanes had to be broken off: their mail is `attempting` or queued, and nothing of it is lost.
    pub async fn drain(self, bound: Duration) -> usize {
        let (done, left) = oneshot::channel();
        let _ = self.watch.orders.send(Command::Drain(Instant::now() + bound, done));
        left.await.unwrap_or(0)
    }

    /// When the delivery loop last showed that it lives: not later than a few seconds ago, else it hangs.
    pub fn alive(&self) -> std::time::Instant {
        self.watch.alive()
    }

    /// The accounts that wait, and why.
    pub fn standings(&self) -> Vec<Standing> {
        self.watch.standings()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// What all lanes share.
struct Shared<T> {
    queue: Queue,
    tokens: Arc<T>,
    /// Mails under way with the account they go through: none is ever tried twice at once, also while
    /// an account moves from one lane to another.
    hand: Arc<Mutex<HashMap<Id, String>>>,
    health: Health,
    courses: Arc<Courses>,
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

/// Randomness without a generator of its own: for jitter and ids, never for secrets.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
