//! One mail that Graph takes only as a whole: it is gathered first, and sent at its end.
//!
//! It promises that memory does not grow with the mail, which lies where bodies of the queue lie while they come,
//! that it holds no turn before it is whole, and that nothing of it stays, whatever becomes of it.

use super::{Way, judged};
use crate::config::Account;
use crate::delivery::day::most;
use crate::delivery::room::Turn;
use crate::mail::{Envelope, Id};
use crate::queue::AcceptError;
use crate::queue::body::{Aside, Writer};
use crate::smtp::Reply;
use crate::upstream::Failure;
use crate::upstream::smtp::Flight;
use std::sync::Arc;
use std::time::Duration;
use tracing::error;

/// One mail while it comes in.
pub struct Gathered {
    way: Arc<dyn Way>,
    whole: Whole,
    body: Writer,
    /// More recipients are not taken.
    most: usize,
}

/// One mail that is whole and has its turn.
pub struct Ready {
    way: Arc<dyn Way>,
    whole: Whole,
    body: Aside,
    turn: Turn,
}

/// All of it but the body.
pub(in crate::delivery) struct Whole {
    pub id: Id,
    pub envelope: Envelope,
    /// How long it waits for its turn.
    pub patience: Duration,
    /// What SMTP said first, where Graph is its detour.
    pub smtp: Option<Failure>,
}

/// A mail that can be gathered.
pub(in crate::delivery) struct Opened {
    pub account: Arc<Account>,
    pub body: Writer,
    pub smtp: Option<Failure>,
}

impl Gathered {
    /// An empty one.
    pub(super) fn new(way: Arc<dyn Way>, id: Id, patience: Duration, opened: Opened) -> Self {
        let Opened { account, body, smtp } = opened;
        let envelope = Envelope::default();
        let most = most(account.upstream.max_recipients);
        Self { way, whole: Whole { id, envelope, patience, smtp }, body, most }
    }

    /// Takes the envelope, which Graph is not asked about; gives one reply for each command.
    pub(super) fn ask(&mut self, flight: &Flight<'_>) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(flight.len());
        if let Some((envelope, _)) = flight.mail {
            self.whole.envelope = Envelope { recipients: Vec::new(), ..envelope.clone() };
            replies.push(judged::SENDER_OK);
        }
        let recipients = &mut self.whole.envelope.recipients;
        for recipient in flight.recipients {
            let fits = recipients.len() < self.most;
            if fits {
                recipients.push(recipient.clone());
            }
            replies.push(if fits { judged::RECIPIENT_OK } else { judged::TOO_MANY_RECIPIENTS });
        }
        if flight.data {
            let is_addressed = !self.whole.envelope.recipients.is_empty();
            replies.push(if is_addressed { judged::START_INPUT } else { judged::NO_RECIPIENTS });
        }
        replies
    }

    /// Takes more of the body.
    ///
    /// # Errors
    /// The reply; nothing more is of use then.
    pub(super) async fn write(&mut self, octets: &[u8]) -> Result<(), Reply> {
        self.body.write(octets).await.map_err(|error| self.whole.unstored(error.into()))
    }

    /// It is whole: waits for its turn. Where the wait is given up, nothing of it was sent.
    ///
    /// # Errors
    /// The reply, where it cannot be laid aside or has no turn.
    pub(super) async fn enter(self) -> Result<Ready, Reply> {
        let Self { way, whole, body, .. } = self;
        let body = body.lay_aside().await.map_err(|error| whole.unstored(error))?;
        let turn = way.enter(whole.id, whole.patience).await?;
        Ok(Ready { way, whole, body, turn })
    }
}

impl Ready {
    /// Sends it and lets it go.
    pub(super) async fn end(self) -> Reply {
        self.way.send(&self.whole, &self.body, self.turn).await
    }
}

impl Whole {
    /// It could not even be laid aside.
    pub fn unstored(&self, error: AcceptError) -> Reply {
        error!(id = %self.id, %error, "mail refused: what passes by Graph is gathered on the disk");
        match error {
            AcceptError::Full(_) => judged::DISK_FULL,
            AcceptError::Store(_) => judged::UNSTORED,
        }
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("id", &self.whole.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Gathered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gathered").field("id", &self.whole.id).finish_non_exhaustive()
    }
}
