//! Whether the writer lives: without it every mail is answered 451 and nothing is settled, for ever.
//!
//! It promises that the end of the writer's thread, however it comes, is told to whoever waits for it, and that
//! a piece of work that never ends shows as silence. It mends nothing: a new process does.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// The writer's pulse.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// When the work at hand began.
    busy: Mutex<Option<Instant>>,
    ended: CancellationToken,
}

impl Pulse {
    /// Work begins, or has ended.
    pub fn set_busy(&self, is_busy: bool) {
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = is_busy.then(Instant::now);
    }

    /// Now, or when the work at hand began.
    pub fn last(&self) -> Instant {
        let busy = *self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.unwrap_or_else(Instant::now)
    }

    /// Returns when the writer has ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// Held by the writer's thread; its drop, also by a panic, tells the end.
pub(super) struct Life(pub std::sync::Arc<Pulse>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.ended.cancel();
    }
}
