//! The room of one mailbox at its upstream: slots, pace, pauses, and who waits for a turn.
//!
//! Queued mail and mail that passes through (`direct`) take their turns here, so what the upstream counts is
//! counted once. It promises that no more are under way than the mailbox may have, that an account in
//! trouble is tried by one mail at a time, that whoever waits is let in by order, and that queue and clients
//! take turns where both wait. It knows no mail and judges nothing.

use super::limits::{Pace, Slots};
use super::trouble::{Cause, Trouble};
use super::{lock, plan::Lesson};
use crate::config::Limit;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};

/// What a mailbox has under way, and may have.
pub(super) struct Room {
    state: Mutex<State>,
    /// Rings when queued mail may find a place.
    bell: Arc<Notify>,
    lessons: mpsc::UnboundedSender<Taught>,
}

/// What a mail that passed through says about account and upstream.
pub(super) struct Taught {
    pub account: String,
    pub started: Instant,
    pub lesson: Lesson,
}

/// A place at the upstream, until it is dropped.
pub(super) struct Turn {
    room: Arc<Room>,
    account: Arc<str>,
    pub started: Instant,
    /// The account is in trouble, and this mail looks whether it still is.
    pub is_probe: bool,
    is_unused: bool,
}

/// Why there was no turn.
#[derive(Clone, Debug)]
pub enum Turned {
    /// None came free in time.
    Late,
    /// The account waits, for longer than the client would.
    Ill(Cause),
    /// We stop, or the account is gone.
    Closing,
}

struct State {
    pace: Pace,
    slots: Slots,
    running: usize,
    /// Nothing is begun before: the upstream is crowded.
    not_before: Option<Instant>,
    /// The upstream was crowded and nothing went well since.
    is_crowded: bool,
    guests: Vec<Guest>,
    waiting: VecDeque<Waiter>,
    /// Queued mail found no place, or may have.
    is_queue_waiting: bool,
    /// The last free place went to a client though queued mail waits: the next is the queue's.
    is_queue_next: bool,
    is_closed: bool,
}

/// One account of the mailbox.
struct Guest {
    account: Arc<str>,
    running: usize,
    trouble: Option<Trouble>,
}

struct Waiter {
    account: Arc<str>,
    deadline: Instant,
    /// Gets whether it is a probe.
    door: oneshot::Sender<Result<bool, Turned>>,
}

/// Whether an account may begin a mail.
enum Leave {
    Yes { is_probe: bool },
    Not { until: Option<Instant> },
}

impl State {
    fn guest(&self, account: &str) -> Option<&Guest> {
        self.guests.iter().find(|guest| &*guest.account == account)
    }

    /// Places that are free, whoever takes them.
    fn free(&mut self, now: Instant) -> usize {
        if self.is_closed || self.not_before.is_some_and(|until| until > now) {
            return 0;
        }
        self.slots.allowed(now).saturating_sub(self.running).min(self.pace.ready(now))
    }

    fn leave_of(&self, account: &str, now: Instant) -> Leave {
        match self.guest(account).map(|guest| (&guest.trouble, guest.running)) {
            None => Leave::Not { until: None },
            Some((None, _)) => Leave::Yes { is_probe: false },
            Some((Some(trouble), _)) if trouble.until > now => {
                Leave::Not { until: Some(trouble.until) }
            }
            Some((Some(_), 0)) => Leave::Yes { is_probe: true },
            Some((Some(_), _)) => Leave::Not { until: None },
        }
    }

    fn begin(&mut self, account: &str) {
        self.running += 1;
        if let Some(guest) = self.guests.iter_mut().find(|guest| &*guest.account == account) {
            guest.running += 1;
        }
    }

    fn end(&mut self, account: &str, is_unused: bool) {
        if is_unused {
            self.pace.give_back();
        }
        self.running = self.running.saturating_sub(1);
        if let Some(guest) = self.guests.iter_mut().find(|guest| &*guest.account == account) {
            guest.running = guest.running.saturating_sub(1);
        }
    }

    /// Lets in who waits, by order, as far as there are places.
    fn serve(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.waiting.len() {
            let kept = usize::from(self.is_queue_waiting && self.is_queue_next);
            if self.free(now) <= kept {
                return;
            }
            let leave = self.leave_of(&self.waiting[at].account, now);
            let Leave::Yes { is_probe } = leave else {
                at += 1;
                continue;
            };
            let Some(Waiter { account, door, .. }) = self.waiting.remove(at) else { return };
            // One that went away takes no place.
            if door.send(Ok(is_probe)).is_ok() {
                self.begin(&account);
                self.pace.take(now);
                self.is_queue_next = self.is_queue_waiting;
            }
        }
    }

    /// When it is worth looking again for this account; none where something else must end first.
    fn next(&mut self, account: &str, now: Instant) -> Option<Instant> {
        let crowd = self.not_before.filter(|until| *until > now);
        let pause = match self.leave_of(account, now) {
            Leave::Not { until } => until,
            Leave::Yes { .. } => None,
        };
        [crowd, pause, self.pace.next(now)].into_iter().flatten().max()
    }

    /// Sends away who waits for an account that will not be well in time.
    fn turn_away(&mut self, account: &str) {
        let Some(Trouble { until, cause, .. }) =
            self.guest(account).and_then(|g| g.trouble.clone())
        else {
            return;
        };
        let mut staying = VecDeque::with_capacity(self.waiting.len());
        for waiter in self.waiting.drain(..) {
            if &*waiter.account == account && waiter.deadline < until {
                let _ = waiter.door.send(Err(Turned::Ill(cause.clone())));
            } else {
                staying.push_back(waiter);
            }
        }
        self.waiting = staying;
    }
}

impl Room {
    /// An empty one. `bell` rings for queued mail; what passing mail teaches goes to `lessons`.
    pub fn new(bell: Arc<Notify>, lessons: mpsc::UnboundedSender<Taught>, now: Instant) -> Self {
        let state = State {
            pace: Pace::new(Limit::Unlimited, now),
            slots: Slots::new(Limit::Unlimited),
            running: 0,
            not_before: None,
            is_crowded: false,
            guests: Vec::new(),
            waiting: VecDeque::new(),
            is_queue_waiting: false,
            is_queue_next: false,
            is_closed: false,
        };
        Self { state: Mutex::new(state), bell, lessons }
    }

    /// Other limits and accounts; what is under way stays counted.
    pub fn set(&self, connections: Limit, pace: Limit, accounts: &[&str], now: Instant) {
        let mut state = lock(&self.state);
        state.pace.set(pace, now);
        state.slots.set(connections);
        let mut old = std::mem::take(&mut state.guests);
        for name in accounts {
            let known = old.iter().position(|guest| &*guest.account == *name);
            let running = known.map_or(0, |index| old.swap_remove(index).running);
            state.guests.push(Guest { account: (*name).into(), running, trouble: None });
        }
        state.serve(now);
    }

    /// Lets nobody in any more.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        for waiter in state.waiting.drain(..) {
            let _ = waiter.door.send(Err(Turned::Closing));
        }
    }

    /// Places for queued mail, and when there may be more.
    pub fn free(&self, now: Instant) -> (usize, Option<Instant>) {
        let mut state = lock(&self.state);
        let free = state.free(now);
        if free == 0 {
            // What waits in the queue is not known before there is a place; so it counts as waiting.
            state.is_queue_waiting = true;
        }
        let crowd = state.not_before.filter(|until| *until > now);
        let has_slot = state.slots.allowed(now) > state.running;
        (free, crowd.or(state.pace.next(now).filter(|_| has_slot)))
    }

    /// Whether more queued mail is due than found a place.
    pub fn queue_waits(&self, is_waiting: bool, now: Instant) {
        let mut state = lock(&self.state);
        state.is_queue_waiting = is_waiting;
        state.serve(now);
    }

    /// Takes a place for queued mail. Where none is left it is the next to get one.
    pub fn take(self: &Arc<Self>, account: &str, now: Instant) -> Option<Turn> {
        let mut state = lock(&self.state);
        if state.free(now) == 0 {
            (state.is_queue_waiting, state.is_queue_next) = (true, true);
            return None;
        }
        state.is_queue_next = false;
        state.begin(account);
        state.pace.take(now);
        drop(state);
        Some(self.turn(account.into(), false, now))
    }

    /// For queued mail that is given up unasked: it needs no place, and is counted as under way.
    pub fn slip_by(self: &Arc<Self>, account: &str, now: Instant) -> Turn {
        lock(&self.state).begin(account);
        self.turn(account.into(), false, now)
    }

    fn turn(self: &Arc<Self>, account: Arc<str>, is_probe: bool, started: Instant) -> Turn {
        Turn { room: self.clone(), account, started, is_probe, is_unused: false }
    }

    /// How many mails of the account are under way.
    pub fn running(&self, account: &str) -> usize {
        lock(&self.state).guest(account).map_or(0, |guest| guest.running)
    }

    /// The upstream is crowded: one connection fewer, and nothing before `until`. Says how many are left.
    pub fn crowded(&self, until: Instant, now: Instant) -> usize {
        let mut state = lock(&self.state);
        state.slots.lower(now);
        state.not_before = Some(until);
        state.is_crowded = true;
        state.slots.allowed(now)
    }

    /// Something went well.
    pub fn well(&self) {
        lock(&self.state).is_crowded = false;
    }

    /// Nothing is begun before.
    pub fn rest(&self, until: Instant) {
        lock(&self.state).not_before = Some(until);
    }

    /// How the account stands now.
    pub fn mark(&self, account: &str, trouble: Option<&Trouble>, now: Instant) {
        let mut state = lock(&self.state);
        if let Some(guest) = state.guests.iter_mut().find(|guest| &*guest.account == account) {
            guest.trouble = trouble.cloned();
        }
        state.turn_away(account);
        state.serve(now);
    }

    /// Waits for a turn, at most until the deadline.
    pub async fn enter(
        self: &Arc<Self>,
        account: &str,
        patience: Duration,
    ) -> Result<Turn, Turned> {
        let begun = now();
        let deadline = begun + patience;
        let (account, door) = {
            let mut state = lock(&self.state);
            let Some(guest) = state.guest(account).filter(|_| !state.is_closed) else {
                return Err(Turned::Closing);
            };
            if let Some(trouble) = guest.trouble.as_ref().filter(|t| t.until > deadline) {
                return Err(Turned::Ill(trouble.cause.clone()));
            }
            let account = guest.account.clone();
            let (door, opened) = oneshot::channel();
            state.waiting.push_back(Waiter { account: account.clone(), deadline, door });
            state.serve(begun);
            (account, opened)
        };
        let mut place = Place { room: self, account, door };
        loop {
            let next = lock(&self.state).next(&place.account, now()).unwrap_or(deadline);
            let until = tokio::time::Instant::from_std(next.min(deadline));
            tokio::select! {
                biased;
                called = &mut place.door => {
                    let is_probe = called.unwrap_or(Err(Turned::Closing))?;
                    return Ok(self.turn(place.account.clone(), is_probe, now()));
                }
                () = tokio::time::sleep_until(until) => {
                    let now = now();
                    if now >= deadline {
                        return Err(Turned::Late);
                    }
                    lock(&self.state).serve(now);
                }
            }
        }
    }
}

/// Who waits. Dropped, a place that was given meanwhile goes to the next.
struct Place<'a> {
    room: &'a Arc<Room>,
    account: Arc<str>,
    door: oneshot::Receiver<Result<bool, Turned>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.room.state);
        self.door.close();
        if let Ok(Ok(_)) = self.door.try_recv() {
            state.end(&self.account, true);
        }
        state.waiting.retain(|waiter| !waiter.door.is_closed());
        state.serve(now());
    }
}

impl Turn {
    /// The upstream was not asked: it counts nothing for the pace.
    pub fn give_back(&mut self) {
        self.is_unused = true;
    }

    /// Tells the lane what this mail says about account and upstream. That all is well is told only where
    /// it was not.
    pub fn teach(&self, lesson: Lesson) {
        if matches!(lesson, Lesson::Well) {
            let state = lock(&self.room.state);
            let is_well = state.guest(&self.account).is_none_or(|guest| guest.trouble.is_none());
            if is_well && !state.is_crowded {
                return;
            }
        }
        let taught = Taught { account: self.account.to_string(), started: self.started, lesson };
        // Fails only after the end of the lane.
        let _ = self.room.lessons.send(taught);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = lock(&self.room.state);
        state.end(&self.account, self.is_unused);
        state.serve(now());
        if state.is_queue_waiting {
            self.room.bell.notify_one();
        }
    }
}

/// The runtime's time, which its timers go by.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("account", &self.account).finish_non_exhaustive()
    }
}
