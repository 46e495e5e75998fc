//! One lane a mailbox: takes due mail of its accounts in turn while pace and slots allow.
//!
//! It promises that no more tries run at once than the mailbox may have connections, that an account in
//! trouble is probed by one mail at a time, and that nothing is started while a settlement is stuck.
//! It judges nothing and notes nothing about mails: that is `attempt`'s part.

use super::attempt::{Attempt, Ended, Errand, Member, Stuck, open_recipients};
use super::day::{Day, most};
use super::limits::{grown, stricter};
use super::plan::Lesson;
use super::room::{Room, Taught};
use super::standing::tell;
use super::supervisor::key;
use super::trouble::{Change, Trouble, learn};
use super::{Settings, Shared, random, turn};
use crate::config::{Account, Limit, Upstream};
use crate::oauth::TokenSource;
use crate::queue::{Entry, StoreError};
use crate::upstream::Courier;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

/// Wall clocks jump and machines sleep: due times are looked at again at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long the store is left alone after it could not be read.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// Mails looked at in one go for those whose days are over.
const SWEEP: usize = 200;
/// First and longest pause of a lane that met a crowded upstream.
const CROWDED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// First and longest pause of a mail that met a crowded upstream.
const BUSY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));

/// What a lane is told.
pub(super) enum Order<C> {
    /// These are its accounts now, with these settings.
    Serve(Arc<Settings>, Vec<Member<C>>),
    /// The account may have been mended: try it now.
    Resume(String),
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

/// Accounts that wait for nothing of their own.
fn well<C>(seats: &[Seat<C>]) -> impl Iterator<Item = &Account> {
    seats.iter().filter(|seat| seat.trouble.is_none()).map(|seat| &*seat.member.account)
}

/// What became of starting a try.
enum Begun {
    Yes,
    InHand,
    /// It waits so long for recipients of the day.
    DayIsFull(Duration),
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
        loop {
            while let Some(ended) = self.tries.try_join_next() {
                self.learn(ended);
            }
            if self.closing && self.tries.is_empty() {
                return;
            }
            let again = if self.closing { Instant::now() + LOOK_AGAIN } else { self.fill().await };
            let wake = self.wake.clone();
            tokio::select! {
                order = orders.recv(), if !self.closing => match order {
                    Some(order) => self.obey(order),
                    None => self.closing = true,
                },
                Some(ended) = self.tries.join_next(), if !self.tries.is_empty() => self.learn(ended),
                Some(taught) = self.lessons.recv() => self.heed(&taught),
                () = wake.notified() => {}
                () = sleep_until(again) => {}
            }
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
        let mut started = 0;
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
                Begun::DayIsFull(wait) => {
                    again = again.min(now + wait);
                    break;
                }
            }
        }
        if started < free {
            self.room.places().queue_waits(false, now.into_std());
            return again.min(far);
        }
        // There may be more. While slots are left and the pace is not, its next message is waited for.
        self.room.places().queue_waits(true, now.into_std());
        let (_, more) = self.room.places().free_for_queue(Instant::now().into_std());
        more.map_or(far, Instant::from_std).min(far)
    }

    /// Due mail of each account that may send, and when the next of any is due.
    async fn gather(
        &self,
        now: Instant,
        free: usize,
    ) -> Result<(Vec<VecDeque<Entry>>, Instant), StoreError> {
        let mut found = Vec::with_capacity(self.seats.len());
        let mut again = now + LOOK_AGAIN;
        for seat in &self.seats {
            found.push(VecDeque::new());
            let most = match &seat.trouble {
                None => free,
                Some(trouble) if trouble.until > now.into_std() => {
                    again = again.min(Instant::from_std(trouble.until));
                    0
                }
                Some(_) if self.room.places().running(&seat.member.account.name) > 0 => 0,
                Some(_) => 1,
            };
            if most == 0 {
                continue;
            }
            let name = &seat.member.account.name;
            let skip = self.shared.in_hand(name);
            let wall = (self.settings.clock)();
            let beyond = wall.checked_add(self.settings.furthest());
            let queue = &self.shared.queue;
            let time = (wall, beyond);
            let entries = queue.due_in_turn(name, time, most, &skip, &seat.turn).await?;
            if entries.len() < most {
                let mut besides = skip;
                besides.extend(entries.iter().map(|entry| entry.id));
                if let Some(due) = self.shared.queue.next_due_besides(name, &besides).await? {
                    let wait = due.duration_since(wall).unwrap_or(Duration::from_millis(10));
                    again = again.min(now + wait.max(Duration::from_millis(10)));
                }
            }
            found.pop();
            found.push(entries.into());
        }
        Ok((found, again))
    }

    /// What comes before any try: the day as the store knows it, and mail whose days are over.
    async fn prepare(&mut self) -> Result<(), StoreError> {
        let now = (self.settings.clock)();
        self.day.load(&self.shared, now).await?;
        self.show_day(now);
        self.day.look(&self.shared, &self.settings, well(&self.seats));
        self.sweep().await
    }

    /// Gives up mail whose days are over in accounts that are in trouble: it is not tried one by one,
    /// since each pause has one probe only.
    async fn sweep(&mut self) -> Result<(), StoreError> {
        for index in 0..self.seats.len() {
            let Some(seat) = self.seats.get_mut(index).filter(|seat| seat.sweep) else { continue };
            seat.sweep = false;
            let Some(trouble) = &seat.trouble else { continue };
            let (pause, words) = trouble.cause.noted();
            let name = seat.member.account.name.clone();
            let wall = (self.settings.clock)();
            let expire = self.settings.schedule.expire;
            let skip = self.shared.in_hand(&name);
            let entries = self.shared.queue.due(&name, wall, SWEEP, &skip).await?;
            for entry in entries {
                if entry.accepted.checked_add(expire).is_some_and(|end| wall >= end)
                    && self.start(index, entry, Errand::Expire(pause.clone(), words.clone()))
                    && let Some(seat) = self.seats.get_mut(index)
                {
                    seat.sweep = true;
                }
            }
        }
        Ok(())
    }

    /// Starts one transaction of the mail, where the day has room for it.
    fn send(&mut self, index: usize, entry: Entry) -> Begun {
        let Some(seat) = self.seats.get(index) else { return Begun::InHand };
        let now = (self.settings.clock)();
        let fits = most(seat.member.account.upstream.max_recipients).min(self.day.most());
        let open = open_recipients(&entry, fits);
        if let Some(until) = self.day.when(open.len(), now) {
            self.day.wait(open.len(), (now, until), &self.shared, well(&self.seats));
            return Begun::DayIsFull(until.duration_since(now).unwrap_or_default());
        }
        let charge = self.day.take(open.len(), now);
        if self.start(index, entry, Errand::Send(open, charge.clone())) {
            return Begun::Yes;
        }
        charge.iter().for_each(|charge| self.day.give_back(charge));
        Begun::InHand
    }

    /// Starts one try; no where the mail is in hand already, or the place was taken meanwhile.
    fn start(&mut self, index: usize, entry: Entry, errand: Errand) -> bool {
        let Some(seat) = self.seats.get_mut(index) else { return false };
        let Some(claim) = self.shared.claim(entry.id, &seat.member.account.name) else {
            return false;
        };
        let account = &seat.member.account.name;
        let turn = match errand {
            Errand::Send(..) => self.room.take(account),
            Errand::Expire(..) => Some(self.room.slip_by(account)),
        };
        let Some(turn) = turn else { return false };
        let member = seat.member.clone();
        let (probe, own) = (seat.trouble.is_some(), &member.courier);
        let couriers = self.seats.iter().map(|seat| &seat.member.courier);
        let others = couriers.filter(|other| !Arc::ptr_eq(own, other)).cloned().collect();
        let spread = Duration::from_millis(random() % 2000);
        self.tries.spawn(
            Attempt {
                shared: self.shared.clone(),
                settings: self.settings.clone(),
                member,
                stuck: self.stuck.clone(),
                wake: self.wake.clone(),
                claim,
                turn,
                entry,
                probe,
                busy_pause: grown(BUSY, self.busy_in_row) + spread,
                others,
                errand,
            }
            .run(),
        );
        true
    }

    fn learn(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // Whose it was is not told; the counts are made anew.
                error!(account = %self.names(), %error, "a delivery broke off; please report this");
                // The mail is due as before: without a pause it would break off again at once, for ever.
                self.room.places().rest((Instant::now() + STORE_PAUSE).into_std());
                return;
            }
        };
        // Its turn ends behind what it teaches: the next one knows it.
        let Ended { account, started, refund, lesson, turn } = ended;
        refund.iter().for_each(|refund| self.day.give_back(refund));
        self.heed(&Taught { account, started: started.into_std(), lesson, recipients: 0 });
        drop(turn);
    }

    /// Learns from a mail, queued or passing.
    fn heed(&mut self, taught: &Taught) {
        let now = Instant::now().into_std();
        self.count(taught.recipients);
        match &taught.lesson {
            Lesson::Busy(known) => {
                let until = now + grown(CROWDED, self.busy_in_row);
                let connections = self.room.places().crowd(until, now);
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
