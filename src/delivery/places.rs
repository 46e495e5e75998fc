//! The places of one mailbox at its upstream, and who gets the next. Time is an argument.
//!
//! It promises that no more are under way than the mailbox may have, that an account in trouble is tried by
//! one mail at a time, that clients that wait are let in by order, and that queue and clients take turns
//! where both wait.

use super::limits::{Pace, Slots};
use super::trouble::{Cause, Trouble};
use crate::config::Limit;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Why there was no turn.
#[derive(Clone, Debug)]
pub enum Turned {
    /// None came free in time.
    Late,
    /// The account waits, for longer than the client would.
    Ill(Cause),
    /// The recipients of the day are used up.
    DayIsFull,
    /// We stop, or the account is gone.
    Closing,
}

/// Longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(86_400);

/// What a mailbox has under way, and who waits.
pub(super) struct Places {
    pace: Pace,
    slots: Slots,
    running: usize,
    /// Nothing is begun before: the upstream is crowded.
    not_before: Option<Instant>,
    /// The upstream was crowded and nothing went well since.
    is_crowded: bool,
    /// Whether recipients are counted by the day, and until when that is full.
    day: (bool, Option<Instant>),
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
    /// It is known that its mail goes.
    sends: bool,
}

/// How full a mailbox is, as `status` shows it.
pub(super) struct Fill {
    pub running: usize,
    pub slots: usize,
    pub configured: usize,
    pub not_before: Option<Instant>,
    pub pace: Option<u32>,
    pub pace_left: usize,
    pub pace_next: Option<Instant>,
}

/// Called in with whether it is a probe, or turned away.
pub(super) type Call = Result<bool, Turned>;

struct Waiter {
    account: Arc<str>,
    deadline: Instant,
    door: oneshot::Sender<Call>,
}

/// Whether an account may begin a mail.
enum Leave {
    Yes { is_probe: bool },
    Not { until: Option<Instant> },
}

impl Places {
    /// Without accounts, unlimited, all free.
    pub fn new(now: Instant) -> Self {
        Self {
            pace: Pace::new(Limit::Unlimited, now),
            slots: Slots::new(Limit::Unlimited),
            running: 0,
            not_before: None,
            is_crowded: false,
            day: (false, None),
            guests: Vec::new(),
            waiting: VecDeque::new(),
            is_queue_waiting: false,
            is_queue_next: false,
            is_closed: false,
        }
    }

    /// Other limits and accounts; what is under way stays counted.
    pub fn set(&mut self, connections: Limit, pace: Limit, accounts: &[&str], now: Instant) {
        self.pace.set(pace, now);
        self.slots.set(connections);
        let mut old = std::mem::take(&mut self.guests);
        for name in accounts {
            let known = old.iter().position(|guest| &*guest.account == *name);
            let running = known.map_or(0, |index| old.swap_remove(index).running);
            let (account, trouble) = ((*name).into(), None);
            self.guests.push(Guest { account, running, trouble, sends: false });
        }
        let is_gone = |name: &str| old.iter().any(|guest| &*guest.account == name);
        self.turn_away(now + FOREVER, is_gone, &Turned::Closing);
        self.serve(now);
    }

    /// Lets nobody in any more.
    pub fn close(&mut self) {
        self.is_closed = true;
        for waiter in self.waiting.drain(..) {
            let _ = waiter.door.send(Err(Turned::Closing));
        }
    }

    /// How full it is.
    pub fn fill(&mut self, now: Instant) -> Fill {
        Fill {
            running: self.running,
            slots: self.slots.allowed(now),
            configured: self.slots.most(),
            not_before: self.not_before.filter(|until| *until > now),
            pace: self.pace.most(),
            pace_left: self.pace.ready(now),
            pace_next: self.pace.next(now),
        }
    }

    fn guest(&self, account: &str) -> Option<&Guest> {
        self.guests.iter().find(|guest| &*guest.account == account)
    }

    fn guest_mut(&mut self, account: &str) -> Option<&mut Guest> {
        self.guests.iter_mut().find(|guest| &*guest.account == account)
    }

    /// How many mails of the account are under way.
    pub fn running(&self, account: &str) -> usize {
        self.guest(account).map_or(0, |guest| guest.running)
    }

    /// Whether it is known that mail of the account goes, and nothing is known against it.
    pub fn is_well(&self, account: &str) -> bool {
        let is_well = |guest: &Guest| guest.trouble.is_none() && guest.sends;
        !self.is_crowded && self.guest(account).is_none_or(is_well)
    }

    /// A mail of the account went.
    pub fn known_to_send(&mut self, account: &str) {
        if let Some(guest) = self.guest_mut(account) {
            guest.sends = true;
        }
    }

    /// Whether recipients are counted by the day, and until when it is full.
    pub fn day(&mut self, is_counted: bool, full: Option<Instant>) {
        self.day = (is_counted, full);
        if let Some(until) = full {
            self.turn_away(until, |_| true, &Turned::DayIsFull);
        }
    }

    /// Whether recipients are counted by the day.
    pub fn is_day_counted(&self) -> bool {
        self.day.0
    }

    /// Places that are free, whoever takes them.
    fn free(&mut self, now: Instant) -> usize {
        if self.is_closed || self.not_before.is_some_and(|until| until > now) {
            return 0;
        }
        self.slots.allowed(now).saturating_sub(self.running).min(self.pace.ready(now))
    }

    /// Places that queued mail may take, and when there may be more.
    pub fn free_for_queue(&mut self, now: Instant) -> (usize, Option<Instant>) {
        let free = self.free(now);
        if free == 0 {
            // What is due is not known before there is a place for it; so it counts as waiting.
            self.is_queue_waiting = true;
        }
        let crowd = self.not_before.filter(|until| *until > now);
        let has_slot = self.slots.allowed(now) > self.running;
        (free, crowd.or(self.pace.next(now).filter(|_| has_slot)))
    }

    /// Takes a place for queued mail; where none is left, the next that comes free is the queue's.
    pub fn take_for_queue(&mut self, account: &str, now: Instant) -> bool {
        let is_free = self.free(now) > 0;
        self.is_queue_next = !is_free;
        if is_free {
            self.begin(account);
            self.pace.take(now);
        } else {
            self.is_queue_waiting = true;
        }
        is_free
    }

    /// Whether more queued mail is due than found a place.
    pub fn queue_waits(&mut self, is_waiting: bool, now: Instant) {
        self.is_queue_waiting = is_waiting;
        self.serve(now);
    }

    /// Whether queued mail is to be told of a place that came free.
    pub fn is_queue_waiting(&self) -> bool {
        self.is_queue_waiting
    }

    /// One more is under way; the pace is the caller's business.
    pub fn begin(&mut self, account: &str) {
        self.running += 1;
        if let Some(guest) = self.guest_mut(account) {
            guest.running += 1;
        }
    }

    /// One ended. `is_unused`: the upstream was not asked, so it counts nothing for the pace.
    pub fn end(&mut self, account: &str, is_unused: bool, now: Instant) {
        if is_unused {
            self.pace.give_back();
        }
        self.running = self.running.saturating_sub(1);
        if let Some(guest) = self.guest_mut(account) {
            guest.running = guest.running.saturating_sub(1);
        }
        self.serve(now);
    }

    /// The upstream is crowded: one connection fewer, and nothing before `until`. Says how many are left.
    pub fn crowd(&mut self, until: Instant, now: Instant) -> usize {
        self.slots.lower(now);
        self.not_before = Some(until);
        self.is_crowded = true;
        self.slots.allowed(now)
    }

    /// Something went well.
    pub fn relax(&mut self) {
        self.is_crowded = false;
    }

    /// Nothing is begun before.
    pub fn rest(&mut self, until: Instant) {
        self.not_before = Some(until);
    }

    /// How the account stands now.
    pub fn mark(&mut self, account: &str, trouble: Option<&Trouble>, now: Instant) {
        if let Some(guest) = self.guest_mut(account) {
            guest.trouble = trouble.cloned();
            guest.sends &= trouble.is_none();
        }
        if let Some(Trouble { until, cause, .. }) = trouble {
            self.turn_away(*until, |name| name == account, &Turned::Ill(cause.clone()));
        }
        self.serve(now);
    }

    /// Why a client of the account, who waits until then at most, would be turned away at once.
    pub fn refusal(&self, account: &str, deadline: Instant) -> Option<Turned> {
        let Some(guest) = self.guest(account).filter(|_| !self.is_closed) else {
            return Some(Turned::Closing);
        };
        if let Some(trouble) = guest.trouble.as_ref().filter(|it| it.until > deadline) {
            return Some(Turned::Ill(trouble.cause.clone()));
        }
        let is_full = self.day.1.is_some_and(|until| until > deadline);
        is_full.then_some(Turned::DayIsFull)
    }

    /// A client waits for a place; it is called through the door. Gives the account's name to wait with.
    pub fn wait(
        &mut self,
        account: &str,
        deadline: Instant,
        now: Instant,
    ) -> Result<(Arc<str>, oneshot::Receiver<Call>), Turned> {
        if let Some(why) = self.refusal(account, deadline) {
            return Err(why);
        }
        let account = self.guest(account).ok_or(Turned::Closing)?.account.clone();
        let (door, called) = oneshot::channel();
        self.waiting.push_back(Waiter { account: account.clone(), deadline, door });
        self.serve(now);
        Ok((account, called))
    }

    /// Clients that went away wait no longer.
    pub fn sweep(&mut self) {
        self.waiting.retain(|waiter| !waiter.door.is_closed());
    }

    /// When it is worth looking again for this account; none where something else must end first.
    pub fn next(&mut self, account: &str, now: Instant) -> Option<Instant> {
        let crowd = self.not_before.filter(|until| *until > now);
        let pause = match self.leave_of(account, now) {
            Leave::Not { until } => until,
            Leave::Yes { .. } => None,
        };
        let day = self.day.1.filter(|until| *until > now);
        [crowd, pause, day, self.pace.next(now)].into_iter().flatten().max()
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

    /// Calls in who waits, by order, as far as there are places.
    pub fn serve(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.waiting.len() {
            let kept = usize::from(self.is_queue_waiting && self.is_queue_next);
            if self.free(now) <= kept || self.day.1.is_some_and(|until| until > now) {
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

    /// Sends away who waits for such an account, and not until then.
    fn turn_away(&mut self, until: Instant, whose: impl Fn(&str) -> bool, why: &Turned) {
        let all = std::mem::take(&mut self.waiting);
        for waiter in all {
            if whose(&waiter.account) && waiter.deadline < until {
                let _ = waiter.door.send(Err(why.clone()));
            } else {
                self.waiting.push_back(waiter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::plan::Lesson;
    use crate::delivery::trouble::learn;

    const SECOND: Duration = Duration::from_secs(1);

    fn places(connections: u32, pace: Limit, now: Instant) -> Places {
        let mut places = Places::new(now);
        places.set(Limit::AtMost(connections), pace, &["erp", "lms"], now);
        places
    }

    type Door = oneshot::Receiver<Call>;

    fn wait(places: &mut Places, account: &str, now: Instant) -> Door {
        places.wait(account, now + SECOND * 20, now).map(|(_, door)| door).unwrap()
    }

    /// `in`, `probe`, `late`, `ill`, `closing`, or `waits`.
    fn state(door: &mut Door) -> &'static str {
        match door.try_recv() {
            Ok(Ok(false)) => "in",
            Ok(Ok(true)) => "probe",
            Ok(Err(Turned::Late)) => "late",
            Ok(Err(Turned::Ill(_))) => "ill",
            Ok(Err(Turned::DayIsFull)) => "full",
            Ok(Err(Turned::Closing)) => "closing",
            Err(_) => "waits",
        }
    }

    fn trouble(now: Instant) -> Option<Trouble> {
        let mut trouble = None;
        learn(&mut trouble, &Lesson::Server("gone".into()), now, now, &[SECOND * 60]);
        trouble
    }

    #[test]
    fn whoever_waits_is_called_by_order() {
        let now = Instant::now();
        let mut places = places(2, Limit::Unlimited, now);
        let mut doors: Vec<_> = (0..4).map(|_| wait(&mut places, "erp", now)).collect();
        let seen: Vec<_> = doors.iter_mut().map(state).collect();
        assert_eq!(seen, ["in", "in", "waits", "waits"]);
        places.end("erp", false, now);
        assert_eq!((state(&mut doors[2]), state(&mut doors[3])), ("in", "waits"));
        // One that went away takes no place.
        drop(doors.pop());
        places.sweep();
        places.end("erp", false, now);
        let mut last = wait(&mut places, "erp", now);
        assert_eq!(state(&mut last), "in");
        assert_eq!(places.running("erp"), 2);
    }

    #[test]
    fn queue_and_clients_take_turns_where_both_wait() {
        let now = Instant::now();
        let mut places = places(1, Limit::Unlimited, now);
        let mut doors: Vec<_> = (0..3).map(|_| wait(&mut places, "erp", now)).collect();
        assert_eq!(state(&mut doors[0]), "in");
        assert!(!places.take_for_queue("erp", now), "the only place is taken");
        places.end("erp", false, now);
        assert_eq!(state(&mut doors[1]), "waits");
        assert!(places.is_queue_waiting() && places.take_for_queue("erp", now));
        places.queue_waits(true, now);
        places.end("erp", false, now);
        assert_eq!((state(&mut doors[1]), state(&mut doors[2])), ("in", "waits"));
        places.end("erp", false, now);
        assert_eq!(state(&mut doors[2]), "waits");
        // Nothing is due any more: what was kept for the queue is free.
        places.queue_waits(false, now);
        assert_eq!(state(&mut doors[2]), "in");
    }

    #[test]
    fn pace_and_crowd_hold_clients_back_too() {
        let now = Instant::now();
        let mut places = places(9, Limit::AtMost(2), now);
        let mut doors: Vec<_> = (0..3).map(|_| wait(&mut places, "erp", now)).collect();
        assert_eq!(state(&mut doors[2]), "waits");
        let next = places.next("erp", now).unwrap();
        assert_eq!(next, now + SECOND * 30);
        places.serve(next);
        assert_eq!(state(&mut doors[2]), "in");
        assert_eq!(places.crowd(next + SECOND * 90, next), 8);
        let mut door = wait(&mut places, "lms", next + SECOND * 80);
        assert_eq!(state(&mut door), "waits");
        places.serve(next + SECOND * 90);
        assert_eq!(state(&mut door), "in");
        // What was not asked costs nothing.
        places.end("lms", true, next + SECOND * 90);
        assert_eq!(places.free_for_queue(next + SECOND * 90).0, 2);
    }

    #[test]
    fn an_account_in_trouble_is_probed_by_one_and_others_are_not_held_up() {
        let now = Instant::now();
        let mut places = places(3, Limit::Unlimited, now);
        let trouble = trouble(now);
        places.mark("erp", trouble.as_ref(), now);
        assert!(places.wait("erp", now + SECOND / 2, now).is_err(), "it would be in vain");
        let (mut first, mut second) =
            (wait(&mut places, "erp", now), wait(&mut places, "erp", now));
        let mut other = wait(&mut places, "lms", now);
        assert_eq!([&mut first, &mut second, &mut other].map(state), ["waits", "waits", "in"]);
        let until = places.next("erp", now).unwrap();
        assert_eq!(until, trouble.as_ref().unwrap().until);
        places.serve(until);
        assert_eq!([&mut first, &mut second].map(state), ["probe", "waits"]);
        places.mark("erp", None, until);
        assert_eq!(state(&mut second), "in");
        // A pause that lasts longer than somebody waits sends him away.
        places.set(Limit::AtMost(1), Limit::Unlimited, &["erp", "lms"], until);
        let mut third = wait(&mut places, "erp", until);
        let mut long = trouble.unwrap();
        long.until = until + SECOND * 21;
        places.mark("erp", Some(&long), until);
        assert_eq!(state(&mut third), "ill");
    }

    #[test]
    fn a_day_that_is_full_lets_nobody_in() {
        let now = Instant::now();
        let mut places = places(2, Limit::Unlimited, now);
        places.day(true, Some(now + SECOND * 10));
        let mut waiting = wait(&mut places, "erp", now);
        assert_eq!(
            (state(&mut waiting), places.next("erp", now)),
            ("waits", Some(now + SECOND * 10))
        );
        places.day(true, Some(now + SECOND * 3_600));
        assert_eq!(state(&mut waiting), "full");
        let refused = places.wait("erp", now + SECOND * 20, now);
        assert!(matches!(refused, Err(Turned::DayIsFull)));
        places.day(true, None);
        assert_eq!(state(&mut wait(&mut places, "erp", now)), "in");
    }

    #[test]
    fn nobody_waits_behind_a_closed_door() {
        let now = Instant::now();
        let mut places = places(1, Limit::Unlimited, now);
        let (mut taken, mut gone) = (wait(&mut places, "erp", now), wait(&mut places, "lms", now));
        assert_eq!(state(&mut taken), "in");
        places.set(Limit::AtMost(1), Limit::Unlimited, &["erp"], now);
        assert_eq!(state(&mut gone), "closing", "its account is no longer there");
        let mut last = wait(&mut places, "erp", now);
        places.close();
        assert_eq!(state(&mut last), "closing");
        assert!(places.wait("erp", now + SECOND, now).is_err());
        assert_eq!(places.running("erp"), 1);
    }
}
