//! A mail in the queue and the state of each of its recipients. Pure.

use crate::mail::{Envelope, Id};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// A mail about to be taken.
#[derive(Debug)]
pub struct Submission {
    /// The id it shall bear; chosen before, since `Received:` names it.
    pub id: Id,
    /// Through which account it goes.
    pub account: String,
    /// Who sends to whom.
    pub envelope: Envelope,
    /// The whole message, written.
    pub body: super::body::Written,
    /// When it was taken.
    pub accepted: SystemTime,
    /// Whether it is a report of ours, which never begets another.
    pub is_bounce: bool,
}

/// A mail in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its id.
    pub id: Id,
    /// Through which account it goes.
    pub account: String,
    /// Who sends to whom; all recipients, settled ones too.
    pub envelope: Envelope,
    /// One state a recipient, in the envelope's order.
    pub recipients: Vec<RecipientState>,
    /// Octets of the message.
    pub size: u64,
    /// When it was taken.
    pub accepted: SystemTime,
    /// When it is to be tried next.
    pub due: SystemTime,
    /// Tries so far.
    pub attempts: u32,
    /// What holds.
    pub state: State,
    /// Whether a try ended without a known fate, ever.
    pub uncertain: bool,
    /// Whether it is a report of ours.
    pub is_bounce: bool,
    /// Whether the sender was told of the delay.
    pub delay_told: bool,
    /// The last thing that went wrong, for people.
    pub last_error: Option<String>,
}

/// What holds for a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its due time.
    Queued,
    /// The final dot may have been sent.
    Attempting,
    /// Waits for a person.
    Held,
    /// Given up; kept to be seen.
    Failed,
    /// Its body or row cannot be read; kept to be seen.
    Damaged,
}

/// What became of one recipient so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum RecipientState {
    /// Not yet tried, or tried without an answer of its own.
    Waiting,
    /// Refused for now.
    Deferred {
        /// The upstream's words or the fault.
        reason: String,
    },
    /// The upstream took it.
    Delivered {
        /// The upstream's words.
        reply: String,
    },
    /// Refused for good.
    Failed {
        /// The upstream's words or the reason.
        reason: String,
    },
}

impl RecipientState {
    /// Whether nothing more is to be done for it.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Failed { .. })
    }
}

/// What became of a try.
#[derive(Debug)]
pub struct Settlement {
    /// The new states, all of them, in the envelope's order.
    pub recipients: Vec<RecipientState>,
    /// What happens now.
    pub next: Next,
    /// Whether this try ended without a known fate.
    pub uncertain: bool,
    /// Whether this try counts in `attempts` (a broken account does not use up a mail's tries).
    pub counts: bool,
    /// Whether the sender has now been told of the delay.
    pub delay_told: bool,
    /// The last thing that went wrong.
    pub error: Option<String>,
    /// A report that is queued in the same transaction.
    pub report: Option<Submission>,
}

/// What happens with an entry after a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Every recipient is settled: it leaves the queue and is listed in the history.
    Done,
    /// Given up, kept and shown.
    Failed,
    /// Waits for a person.
    Hold,
    /// Tried again at this time.
    Retry(SystemTime),
}
