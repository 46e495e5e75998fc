//! One lane a mailbox: takes due mail of its accounts in turn while pace and slots allow.
//!
//! It promises that no more tries run at once than the mailbox may have connections, that an account in
//! trouble is probed by one mail at a time, and that nothing is started while a settlement is stuck.
//! It judges nothing and notes nothing about mails: that is `attempt`'s part.

mod begin;
mod snapshot;

use self::begin::Begun;
use super::attempt::{Ended, Member, Stuck};
use super::day::Day;
use super::limits::{grown, stricter};
use super::plan::Lesson;
use super::room::{Room, Taught};
use super::standing::{LaneStanding, tell};
use super::trouble::{Change, Trouble, learn};
use super::{Settings, Shared, turn};
use crate::config::{Account, Limit, Upstream};
use crate::oauth::TokenSource;
use crate::upstream::Courier;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

/// Wall clocks jump and machines sleep: due times are looked at again at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long the store is left alone after it could not be read.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// First and longest pause of a lane that met a crowded upstream.
const CROWDED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// First and longest pause of a mail that met a crowded upstream.
const BUSY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));

/// Mailbox and host in lower case: Exchange counts its limits by mailbox, whatever we call it.
pub(super) type Key = (String, String);

/// Which lane the account belongs to.
pub(super) fn key(account: &Account) -> Key {
    (account.mailbox.as_str().to_lowercase(), account.server().to_lowercase())
}

/// What a lane is told.
pub(super) enum Order<C> {
    /// These are its accounts now, with these settings.
    Serve(Arc<Settings>, Vec<Member<C>>),
    /// The account may have been mended: try it now.
    Resume(String),
    /// Say how things stand.
    Tell(oneshot::Sender<LaneStanding>),
    /// Begin nothing more.
    Drain,
}

/// One account in its lane.
struct Seat<C> {
    member: Arc<Member<C>>,
    trouble: Option<Trouble>,
    /// The sender that had its turn last.
    turn: String,
    /// Whether mail whose days are over is to be looked for, since nothing is tried.
    sweep: bool,
    watcher: AbortHandle,
}

impl<C> Drop for Seat<C> {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// The lane's own state.
pub(super) struct Lane<T, C> {
    shared: Arc<Shared<T>>,
    settings: Arc<Settings>,
    seats: Vec<Seat<C>>,
    turn: usize,
    /// Slots and pace, shared with mail that passes through.
    room: Arc<Room>,
    lessons: mpsc::UnboundedReceiver<Taught>,
    day: Day,
    busy_in_row: u32,
    /// Why fewer connections are used, or were.
    slowed: Option<&'static str>,
    tries: JoinSet<Ended>,
    stuck: Arc<Stuck>,
    wake: Arc<Notify>,
    closing: bool,
}

impl<T: TokenSource, C: Courier + 'static> Lane<T, C> {
    pub fn new(shared: Arc<Shared<T>>, settings: Arc<Settings>, members: Vec<Member<C>>) -> Self {
        let lane = members.first().map(|member| key(&member.account)).unwrap_or_default();
        let wake: Arc<Notify> = Arc::default();
        let (teach, lessons) = mpsc::unbounded_channel();
        let room = Room::new(wake.clone(), teach);
        let mut lane = Self {
            shared,
            settings: settings.clone(),
            seats: Vec::new(),
            turn: 0,
            room: Arc::new(room),
            lessons,
            day: Day::new(format!("{} {}", lane.0, lane.1)),
            busy_in_row: 0,
            slowed: None,
            tries: JoinSet::new(),
            stuck: Arc::default(),
            wake,
            closing: false,
        };
        lane.serve(settings, members);
        lane
    }

    /// Where turns are taken.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Runs until its orders end or it is told to drain, and its tries with it.
    pub async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order<C>>) {
        // When to look for due mail again; none where something happened that may let more begin.
        let mut again = None;
        loop {
            while let Some(ended) = self.tries.try_join_next() {
                if self.learn(ended) {
                    again = None;
                }
            }
            if self.closing && self.tries.is_empty() {
                return;
            }
            let until = match again {
                Some(until) => until,
                None if self.closing => Instant::now() + LOOK_AGAIN,
                None => self.fill().await,
            };
            let wake = self.wake.clone();
            let is_news = tokio::select! {
                order = orders.recv(), if !self.closing => {
                    match order {
                        Some(order) => self.obey(order),
                        None => self.closing = true,
                    }
                    true
                }
                Some(ended) = self.tries.join_next(), if !self.tries.is_empty() => self.learn(ended),
                Some(taught) = self.lessons.recv() => {
                    self.heed(&taught);
                    true
                }
                () = wake.notified() => true,
                () = sleep_until(until) => true,
            };
            again = (!is_news).then_some(until);
        }
    }

    fn obey(&mut self, order: Order<C>) {
        match order {
            Order::Serve(settings, members) => self.serve(settings, members),
            Order::Resume(name) => {
                if let Some(seat) =
                    self.seats.iter_mut().find(|seat| seat.member.account.name == name)
                    && let Some(trouble) = &mut seat.trouble
                {
                    let now = Instant::now().into_std();
                    trouble.until = now;
                    self.room.places().mark(&name, Some(trouble), now);
                }
            }
            // Fails where whoever asked has gone.
            Order::Tell(told) => drop(told.send(self.snapshot())),
            Order::Drain => {
                self.closing = true;
                self.room.places().close();
                // An account that moves to another lane rings there from now on.
                self.seats.iter().for_each(|seat| seat.watcher.abort());
            }
        }
    }

    /// Takes over accounts and limits; an account that did not change keeps its trouble.
    fn serve(&mut self, settings: Arc<Settings>, members: Vec<Member<C>>) {
        let now = Instant::now().into_std();
        self.settings = settings;
        let strictest = |limit: fn(&Upstream) -> Limit| {
            let limits = members.iter().map(|member| limit(&member.account.upstream));
            limits.fold(Limit::Unlimited, stricter)
        };
        let connections = strictest(|upstream| upstream.connections);
        let pace = strictest(|upstream| upstream.messages_per_minute);
        let names: Vec<&str> = members.iter().map(|m| m.account.name.as_str()).collect();
        self.room.places().set(connections, pace, &names, now);
        self.day.set(strictest(|upstream| upstream.recipients_per_day));
        let mut old = std::mem::take(&mut self.seats);
        for member in members {
            let known = old.iter().position(|seat| seat.member.account.name == member.account.name);
            let (trouble, turn) = match known.map(|index| old.swap_remove(index)) {
                Some(mut seat) if seat.member.account == member.account => {
                    (seat.trouble.take(), std::mem::take(&mut seat.turn))
                }
                Some(mut seat) => {
                    self.shared.health.well(&member.account.name);
                    (None, std::mem::take(&mut seat.turn))
                }
                None => (None, String::new()),
            };
            self.room.places().mark(&member.account.name, trouble.as_ref(), now);
            let watcher = self.watch(member.account.name.clone());
            let member = Arc::new(member);
            self.seats.push(Seat { member, trouble, turn, sweep: false, watcher });
        }
    }

    /// Rings the lane's one bell whenever something of the account changes.
    fn watch(&self, account: String) -> AbortHandle {
        let (queue, wake) = (self.shared.queue.clone(), self.wake.clone());
        let watching = tokio::spawn(async move {
            loop {
                queue.changed(&account).await;
                wake.notify_one();
            }
        });
        watching.abort_handle()
    }

    /// Starts what may be started; says when to look again.
    async fn fill(&mut self) -> Instant {
        let now = Instant::now();
        let far = now + LOOK_AGAIN;
        if self.stuck.any() {
            return far;
        }
        if let Err(error) = self.prepare().await {
            error!(account = %self.names(), %error, "the queue cannot be read; delivery waits");
            return now + STORE_PAUSE;
        }
        let (free, more) = self.room.places().free_for_queue(now.into_std());
        if free == 0 {
            // A slot comes free by a mail that ends; only pauses and pace need a clock.
            return more.map_or(far, Instant::from_std).min(far);
        }
        let (found, mut again) = match self.gather(now, free).await {
            Ok(found) => found,
            Err(error) => {
                error!(account = %self.names(), %error, "the queue cannot be read; delivery waits");
                return now + STORE_PAUSE;
            }
        };
        let (mut started, mut is_full) = (0, false);
        for (seat, entry) in turn::in_turn(found, self.turn) {
            if started == free {
                break;
            }
            let sender = entry.turn();
            match self.send(seat, entry) {
                Begun::Yes => {
                    started += 1;
                    self.turn = seat + 1;
                    self.seats
                        .get_mut(seat)
                        .into_iter()
                        .for_each(|seat| seat.turn.clone_from(&sender));
                }
                Begun::InHand => {}
                Begun::NoPlace => {
                    // Taken meanwhile by mail that passes through; its end rings.
                    is_full = true;
                    break;
                }
                Begun::DayIsFull(wait) => {
                    again = again.min(now + wait);
                    break;
                }
            }
        }
        if started < free && !is_full {
            self.room.places().queue_waits(false, now.into_std());
            return again.min(far);
        }
        // There may be more. While slots are left and the pace is not, its next message is waited for.
        self.room.places().queue_waits(true, now.into_std());
        let (left, more) = self.room.places().free_for_queue(Instant::now().into_std());
        if left > 0 {
            // One that was just begun has ended already, before anybody was to be rung for.
            return Instant::now();
        }
        more.map_or(far, Instant::from_std).min(far)
    }

    /// Learns from a try that ended; whether that may let mail begin which the last look left.
    fn learn(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> bool {
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // Whose it was is not told; the counts are made anew.
                error!(account = %self.names(), %error, "a delivery broke off; please report this");
                // The mail is due as before: without a pause it would break off again at once, for ever.
                self.room.places().rest((Instant::now() + STORE_PAUSE).into_std());
                return true;
            }
        };
        // Its turn ends behind what it teaches: the next one knows it.
        let Ended { account, started, refund, lesson, turn, is_done } = ended;
        // Where a place was waited for, the turn that ended earlier has rung. An account in trouble waits for the
        // end of all its tries.
        let is_troubled = self.seats.iter().any(|seat| seat.trouble.is_some());
        let is_news = !is_done || turn.is_some() || refund.is_some() || is_troubled;
        refund.iter().for_each(|refund| self.day.give_back(refund));
        self.heed(&Taught { account, started: started.into_std(), lesson, recipients: 0 });
        drop(turn);
        is_news
    }

    /// Learns from a mail, queued or passing.
    fn heed(&mut self, taught: &Taught) {
        let now = Instant::now().into_std();
        self.count(taught.recipients);
        match &taught.lesson {
            Lesson::Busy(known, wished) => {
                let pause = grown(CROWDED, self.busy_in_row).max(wished.unwrap_or_default());
                let until = now + pause;
                let connections = self.room.places().crowd(until, now);
                self.slowed = Some(known.meaning);
                self.busy_in_row = self.busy_in_row.saturating_add(1);
                info!(account = %taught.account, connections,
                    "the upstream is crowded ({}); fewer connections are used", known.meaning);
            }
            Lesson::Well => {
                self.busy_in_row = 0;
                self.room.places().relax();
            }
            _ => {}
        }
        let schedule = &self.settings.schedule.pauses;
        let Some(seat) =
            self.seats.iter_mut().find(|seat| seat.member.account.name == taught.account)
        else {
            return;
        };
        let change = learn(&mut seat.trouble, &taught.lesson, taught.started, now, schedule);
        if change != Change::Same {
            self.room.places().mark(&taught.account, seat.trouble.as_ref(), now);
        }
        seat.sweep |= seat.trouble.is_some() && change != Change::Same;
        tell(&self.shared, &self.settings, &seat.member.account, seat.trouble.as_ref(), change);
        if matches!(taught.lesson, Lesson::Well) && seat.trouble.is_none() {
            self.shared.health.sent(&taught.account);
            self.room.places().known_to_send(&taught.account);
        }
    }

    /// Counts recipients of a mail that passed through against the day, and lets clients know of a full one.
    fn count(&mut self, recipients: usize) {
        let wall = (self.settings.clock)();
        if recipients > 0
            && let Some(charge) = self.day.take(recipients, wall)
        {
            let queue = self.shared.queue.clone();
            tokio::spawn(async move {
                if let Err(error) = queue.charge(charge).await {
                    error!(%error, "recipients of the day are counted until the next start only");
                }
            });
        }
        self.show_day(wall);
    }

    /// Tells clients that wait whether the day has room, and until when not.
    fn show_day(&mut self, wall: SystemTime) {
        let full =
            self.day.when(1, wall).map(|until| until.duration_since(wall).unwrap_or_default());
        let now = Instant::now().into_std();
        let is_counted = self.day.most() < usize::MAX;
        self.room.places().day(is_counted, full.map(|wait| now + wait));
    }

    fn names(&self) -> String {
        let names: Vec<&str> =
            self.seats.iter().map(|seat| seat.member.account.name.as_str()).collect();
        names.join(", ")
    }
}
