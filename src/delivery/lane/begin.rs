//! What a lane may begin: which mail of which account, whether the day has room for it.
//!
//! It promises that an account in trouble is probed by one mail at a time, and that mail whose days are over
//! while it is in trouble is given up without a try.

use super::{BUSY, LOOK_AGAIN, Lane, Seat};
use crate::config::Account;
use crate::delivery::attempt::{Attempt, Errand, open_recipients};
use crate::delivery::day::most;
use crate::delivery::limits::grown;
use crate::delivery::random;
use crate::oauth::TokenSource;
use crate::queue::{Entry, StoreError};
use crate::upstream::Courier;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Mails looked at in one go for those whose days are over.
const SWEEP: usize = 200;

/// What became of starting a try.
pub(super) enum Begun {
    Yes,
    InHand,
    /// There is no place for it any more.
    NoPlace,
    /// It waits so long for recipients of the day.
    DayIsFull(Duration),
}

/// Accounts that wait for nothing of their own.
fn well<C>(seats: &[Seat<C>]) -> impl Iterator<Item = &Account> {
    seats.iter().filter(|seat| seat.trouble.is_none()).map(|seat| &*seat.member.account)
}

impl<T: TokenSource, C: Courier + 'static> Lane<T, C> {
    /// Due mail of each account that may send, and when the next of any is due.
    pub(super) async fn gather(
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
            let look = queue.look(name, time, most, &skip, &seat.turn).await?;
            if let Some(due) = look.next {
                let wait = due.duration_since(wall).unwrap_or(Duration::from_millis(10));
                again = again.min(now + wait.max(Duration::from_millis(10)));
            }
            found.pop();
            found.push(look.entries.into());
        }
        Ok((found, again))
    }

    /// What comes before any try: the day as the store knows it, and mail whose days are over.
    pub(super) async fn prepare(&mut self) -> Result<(), StoreError> {
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
                    && let Begun::Yes =
                        self.start(index, entry, Errand::Expire(pause.clone(), words.clone()))
                    && let Some(seat) = self.seats.get_mut(index)
                {
                    seat.sweep = true;
                }
            }
        }
        Ok(())
    }

    /// Starts one transaction of the mail, where the day has room for it.
    pub(super) fn send(&mut self, index: usize, entry: Entry) -> Begun {
        let Some(seat) = self.seats.get(index) else { return Begun::InHand };
        let now = (self.settings.clock)();
        let fits = most(seat.member.account.upstream.max_recipients).min(self.day.most());
        let open = open_recipients(&entry, fits);
        if let Some(until) = self.day.when(open.len(), now) {
            self.day.wait(open.len(), (now, until), &self.shared, well(&self.seats));
            return Begun::DayIsFull(until.duration_since(now).unwrap_or_default());
        }
        let charge = self.day.take(open.len(), now);
        self.show_day(now);
        let begun = self.start(index, entry, Errand::Send(open, charge.clone()));
        if !matches!(begun, Begun::Yes) {
            charge.iter().for_each(|charge| self.day.give_back(charge));
        }
        begun
    }

    /// Starts one try.
    fn start(&mut self, index: usize, entry: Entry, errand: Errand) -> Begun {
        let Some(seat) = self.seats.get_mut(index) else { return Begun::InHand };
        let Some(claim) = self.shared.claim(entry.id, &seat.member.account.name) else {
            return Begun::InHand;
        };
        let account = &seat.member.account.name;
        let turn = match errand {
            Errand::Send(..) => self.room.take(account),
            Errand::Expire(..) => Some(self.room.slip_by(account)),
        };
        if turn.is_none() {
            return Begun::NoPlace;
        }
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
        Begun::Yes
    }
}
