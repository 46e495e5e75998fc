//! Mails whose bodies are about to come: what the writer has to note may go to the disk with them.
//!
//! It promises that a note waits for a client no longer than a part of what its own way to the disk takes, and not
//! at all for one that takes its time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A client that was asked for its mail before that is slow, or has gone.
const SOON: Duration = Duration::from_millis(1);
/// So long notes wait: a part of what a disk needs.
const WAIT: Duration = Duration::from_micros(100);

/// The mails that are awaited.
#[derive(Debug, Default)]
pub(super) struct Awaited(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    mails: usize,
    last: Option<Instant>,
}

/// A mail that is about to come, until it is handed to the writer or given up.
#[derive(Debug)]
pub struct Coming(Arc<Awaited>);

impl Awaited {
    /// A client was asked for a mail.
    pub(super) fn expect(self: &Arc<Self>) -> Coming {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.mails += 1;
        state.last = Some(Instant::now());
        Coming(self.clone())
    }

    /// Until when notes may wait for a mail; none where nothing is about to come.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = state.last.filter(|_| state.mails > 0)?;
        (now < last + SOON).then_some(now + WAIT)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.mails = state.mails.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_wait_while_a_mail_is_about_to_come_and_not_for_a_slow_client() {
        let awaited: Arc<Awaited> = Arc::default();
        assert_eq!(awaited.until(Instant::now()), None);
        let (first, second) = (awaited.expect(), awaited.expect());
        let now = Instant::now();
        assert_eq!(awaited.until(now), Some(now + WAIT));
        assert_eq!(awaited.until(now + SOON), None, "it was asked long ago");
        drop(first);
        assert!(awaited.until(now).is_some());
        drop(second);
        assert_eq!(awaited.until(now), None, "all are here");
    }
}
