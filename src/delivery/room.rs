//! The room of one mailbox at its upstream: where queued mail and mail that passes through take their turns.
//!
//! What the upstream counts is counted once; who is let in is decided in `places`. It promises that a turn which
//! was given ends, whoever held it or waited for it, and that nobody waits beyond his patience. It knows no
//! mail and judges nothing.

use super::lock;
use super::places::{Call, Places, Turned};
use super::plan::Lesson;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};

/// The places of a mailbox, shared.
pub(super) struct Room {
    places: Mutex<Places>,
    /// Rings when queued mail may find a place.
    bell: Arc<Notify>,
    lessons: mpsc::UnboundedSender<Taught>,
}

/// What a mail says about account and upstream.
pub(super) struct Taught {
    pub account: String,
    pub started: Instant,
    pub lesson: Lesson,
    /// Recipients that were sent to and not counted yet.
    pub recipients: usize,
}

/// A place at the upstream, until it is dropped.
pub(super) struct Turn {
    room: Arc<Room>,
    account: Arc<str>,
    started: Instant,
    /// The account is in trouble, and this mail looks whether it still is.
    pub is_probe: bool,
    is_unused: bool,
}

impl Room {
    /// An empty one. `bell` rings for queued mail; what passing mail teaches goes to `lessons`.
    pub fn new(bell: Arc<Notify>, lessons: mpsc::UnboundedSender<Taught>) -> Self {
        Self { places: Mutex::new(Places::new(now())), bell, lessons }
    }

    /// To look and change.
    pub fn places(&self) -> MutexGuard<'_, Places> {
        lock(&self.places)
    }

    /// Takes a place for queued mail, where there is one.
    pub fn take(self: &Arc<Self>, account: &str) -> Option<Turn> {
        let now = now();
        let is_taken = self.places().take_for_queue(account, now);
        is_taken.then(|| self.turn(account.into(), false, now))
    }

    /// For queued mail that is given up unasked: it needs no place, and is counted as under way.
    pub fn slip_by(self: &Arc<Self>, account: &str) -> Turn {
        self.places().begin(account);
        self.turn(account.into(), false, now())
    }

    /// Whether whoever asks for a turn now would be turned away, however long his patience lasts.
    pub fn look(&self, account: &str, patience: Duration) -> Result<(), Turned> {
        self.places().refusal(account, now() + patience).map_or(Ok(()), Err)
    }

    /// Waits for a turn as long as patience lasts.
    pub async fn enter(
        self: &Arc<Self>,
        account: &str,
        patience: Duration,
    ) -> Result<Turn, Turned> {
        let deadline = now() + patience;
        let (account, door) = self.places().wait(account, deadline, now())?;
        let mut place = Place { room: self, account, door };
        loop {
            let next = self.places().next(&place.account, now()).unwrap_or(deadline);
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
                    self.places().serve(now);
                }
            }
        }
    }

    fn turn(self: &Arc<Self>, account: Arc<str>, is_probe: bool, started: Instant) -> Turn {
        Turn { room: self.clone(), account, started, is_probe, is_unused: false }
    }
}

/// Who waits. Dropped, a place that was given meanwhile goes to the next.
struct Place<'a> {
    room: &'a Arc<Room>,
    account: Arc<str>,
    door: oneshot::Receiver<Call>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.room.places();
        self.door.close();
        if let Ok(Ok(_)) = self.door.try_recv() {
            places.end(&self.account, true, now());
        }
        places.sweep();
    }
}

impl Turn {
    /// The upstream was not asked: it counts nothing for the pace.
    pub fn give_back(&mut self) {
        self.is_unused = true;
    }

    /// Tells the lane what this mail says about account and upstream, and to how many it went. That all is
    /// well is told only where something was not, or somebody counts.
    pub fn teach(&self, lesson: Lesson, recipients: usize) {
        if matches!(lesson, Lesson::Well) {
            let places = self.room.places();
            if places.is_well(&self.account) && !(places.is_day_counted() && recipients > 0) {
                return;
            }
        }
        let account = self.account.to_string();
        let taught = Taught { account, started: self.started, lesson, recipients };
        // Fails only after the end of the lane.
        let _ = self.room.lessons.send(taught);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut places = self.room.places();
        places.end(&self.account, self.is_unused, now());
        if places.is_queue_waiting() {
            self.room.bell.notify_one();
        }
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("account", &self.account).finish_non_exhaustive()
    }
}

/// The runtime's time, which its timers go by.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
