//! Opens, tells, mends and ends the lanes; the heartbeat of delivery.
//!
//! It promises one lane a mailbox and host, whatever the accounts are called, and a beat at least every
//! few seconds. It never touches a mail.

use super::attempt::Member;
use super::direct::{Gate, Passages, Way};
use super::lane::{Key, Lane, Order, key};
use super::room::Room;
use super::standing::LaneStanding;
use super::{Settings, Shared};
use crate::config::{Account, Transport};
use crate::oauth::TokenSource;
use crate::upstream::Courier;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

/// How often the delivery loop shows that it lives.
const BEAT: Duration = Duration::from_secs(1);
/// What the supervisor is told.
pub(super) enum Command {
    Reload(Settings, Vec<Arc<Account>>),
    Resume(String),
    /// Every lane's answer comes over a line of its own.
    Lanes(oneshot::Sender<Vec<oneshot::Receiver<LaneStanding>>>),
    Drain(Instant, oneshot::Sender<usize>),
}

/// The heartbeat, in milliseconds since the start.
pub(super) struct Pulse {
    start: Instant,
    beat: AtomicU64,
}

impl Pulse {
    /// Begins with a beat.
    pub fn new() -> Self {
        Self { start: Instant::now(), beat: AtomicU64::new(0) }
    }

    fn beat(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(millis, Ordering::Relaxed);
    }

    /// When it beat last.
    pub fn last(&self) -> std::time::Instant {
        self.start.into_std() + Duration::from_millis(self.beat.load(Ordering::Relaxed))
    }
}

struct Running<C> {
    orders: mpsc::UnboundedSender<Order<C>>,
    task: JoinHandle<()>,
    room: Arc<Room>,
    couriers: Vec<(Arc<Account>, Arc<C>)>,
}

impl<C> Drop for Running<C> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) struct Supervisor<T, C, F> {
    shared: Arc<Shared<T>>,
    couriers: F,
    passages: Passages,
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
    /// Without lanes yet.
    pub fn new(
        shared: Arc<Shared<T>>,
        couriers: F,
        passages: Passages,
        settings: Arc<Settings>,
        pulse: Arc<Pulse>,
    ) -> Self {
        let (accounts, lanes) = (Vec::new(), HashMap::new());
        Self { shared, couriers, passages, settings, accounts, lanes, pulse }
    }

    /// Runs until it was told to drain, or until nobody is left to tell it anything.
    pub async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
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
                    // Fails where whoever asked has gone.
                    Some(Command::Lanes(told)) => drop(told.send(self.ask())),
                    Some(Command::Drain(until, done)) => {
                        let _ = done.send(self.drain(until).await);
                        return;
                    }
                },
            }
        }
    }

    fn ask(&self) -> Vec<oneshot::Receiver<LaneStanding>> {
        let ask = |lane: &Running<C>| {
            let (told, answer) = oneshot::channel();
            let _ = lane.orders.send(Order::Tell(told));
            answer
        };
        self.lanes.values().map(ask).collect()
    }

    /// Gives each lane its accounts; lanes without any end when their tries have ended.
    pub fn serve(&mut self, accounts: Vec<Arc<Account>>) {
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
        self.shared.health.keep(|name| names.contains(name));
        let has_two = |name: &str| {
            self.accounts.iter().any(|account| {
                account.name == name && matches!(account.transport, Transport::Auto(_))
            })
        };
        self.shared.courses.keep(has_two);
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
        self.publish();
    }

    /// Shows clients that wait the way through each account.
    fn publish(&self) {
        let mut ways: HashMap<String, Arc<dyn Way>> = HashMap::new();
        for lane in self.lanes.values() {
            for member in members(&lane.couriers) {
                let name = member.account.name.clone();
                let (shared, room) = (self.shared.clone(), lane.room.clone());
                let couriers = lane.couriers.iter().map(|(_, courier)| courier);
                let others = couriers.filter(|other| !Arc::ptr_eq(other, &member.courier));
                let others = others.cloned().collect();
                ways.insert(name, Arc::new(Gate { shared, member, room, others }));
            }
        }
        self.passages.set(ways);
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
                .find(|(other, _)| {
                    other.upstream == account.upstream && other.transport == account.transport
                })
                .map(|(_, courier)| courier.clone());
            let courier = same.unwrap_or_else(|| (self.couriers)(account));
            couriers.push((account.clone(), courier));
        }
        couriers
    }

    fn open(&self, members: Vec<Member<C>>, couriers: Vec<(Arc<Account>, Arc<C>)>) -> Running<C> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let lane = Lane::new(self.shared.clone(), self.settings.clone(), members);
        let room = lane.room().clone();
        Running { orders, task: tokio::spawn(lane.run(inbox)), room, couriers }
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
            self.publish();
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
