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

impl Entry {
    /// Whose turn it uses among the senders of its account; for [`super::Queue::look`].
    pub fn turn(&self) -> String {
        super::turn::key(self.envelope.sender.as_ref())
    }
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

impl State {
    /// The word that stands in the store and that people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Attempting => "attempting",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Damaged => "damaged",
        }
    }

    /// What holds after a try that ended so; none when the mail leaves the queue.
    ///
    /// What a person or a checksum said while the try ran is not undone by a retry.
    pub(crate) fn after(self, next: &Next) -> Option<State> {
        match (self, next) {
            (_, Next::Done) => None,
            (Self::Damaged, _) => Some(Self::Damaged),
            (_, Next::Failed) => Some(Self::Failed),
            (_, Next::Hold) | (Self::Held, Next::Retry(_)) => Some(Self::Held),
            (_, Next::Retry(_)) => Some(Self::Queued),
        }
    }

    /// What holds after a person's order; none where it cannot be obeyed in this state.
    pub(crate) fn steered(self, order: Order) -> Option<State> {
        match (order, self) {
            // The final dot may be out; only the end of the try tells what there is to steer.
            (_, Self::Attempting) => None,
            (Order::Hold, Self::Queued | Self::Held) => Some(Self::Held),
            (Order::Hold, Self::Failed | Self::Damaged) => None,
            (Order::Release, Self::Held) => Some(Self::Queued),
            (Order::Release, _) => None,
            // Damaged too: the file may have been put back. It is checked again when it is read.
            (Order::Retry, _) => Some(Self::Queued),
            (Order::Remove, state) => Some(state),
        }
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Queued, Self::Attempting, Self::Held, Self::Failed, Self::Damaged]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| {
                format!(
                    "no state {text:?}: queued, attempting, held, failed or damaged is expected"
                )
            })
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a person may order for a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Wait until released.
    Hold,
    /// No longer wait.
    Release,
    /// Try now, whatever the schedule says; failed recipients of a failed mail too.
    Retry,
    /// Leave the queue without being sent.
    Remove,
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

/// Failed recipients wait again, delivered ones stay delivered: a person wants another try.
pub(crate) fn revive(recipients: &mut [RecipientState]) {
    for recipient in recipients {
        if matches!(recipient, RecipientState::Failed { .. }) {
            *recipient = RecipientState::Waiting;
        }
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
    /// Recipients that were counted when the mail was marked `attempting` and were not taken.
    pub refund: Option<super::Charge>,
}

/// A mail that left the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// Its id.
    pub id: Id,
    /// Through which account it went.
    pub account: String,
    /// The envelope's sender.
    pub sender: Option<crate::mail::Address>,
    /// What became of each recipient.
    pub recipients: Vec<(crate::mail::Address, RecipientState)>,
    /// When it was taken.
    pub accepted: SystemTime,
    /// When it left.
    pub settled: SystemTime,
    /// Octets of the message.
    pub size: u64,
    /// Tries that counted.
    pub attempts: u32,
    /// Whether a try ended without a known fate, ever.
    pub uncertain: bool,
    /// Whether it was a report of ours.
    pub is_bounce: bool,
    /// Whether a person removed it unsent.
    pub removed: bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Attempting, Damaged, Failed, Held, Queued};

    const STATES: [State; 5] = [Queued, Attempting, Held, Failed, Damaged];

    #[test]
    fn a_try_does_not_undo_a_hold_or_a_damage() {
        let retry = Next::Retry(std::time::UNIX_EPOCH);
        for (next, after) in [
            (Next::Done, [None; 5]),
            (Next::Failed, [Failed, Failed, Failed, Failed, Damaged].map(Some)),
            (Next::Hold, [Held, Held, Held, Held, Damaged].map(Some)),
            (retry, [Queued, Queued, Held, Queued, Damaged].map(Some)),
        ] {
            assert_eq!(STATES.map(|state| state.after(&next)), after, "{next:?}");
        }
    }

    #[test]
    fn orders_never_touch_a_mail_whose_dot_may_be_out() {
        for (order, steered) in [
            (Order::Hold, [Some(Held), None, Some(Held), None, None]),
            (Order::Release, [None, None, Some(Queued), None, None]),
            (Order::Retry, [Some(Queued), None, Some(Queued), Some(Queued), Some(Queued)]),
            (Order::Remove, [Some(Queued), None, Some(Held), Some(Failed), Some(Damaged)]),
        ] {
            assert_eq!(STATES.map(|state| state.steered(order)), steered, "{order:?}");
        }
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in STATES {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert!("Queued".parse::<State>().is_err());
    }

    #[test]
    fn only_failed_recipients_are_revived() {
        let delivered = RecipientState::Delivered { reply: "250 ok".into() };
        let deferred = RecipientState::Deferred { reason: "451".into() };
        let failed = RecipientState::Failed { reason: "550".into() };
        let mut states = [delivered.clone(), deferred.clone(), failed, RecipientState::Waiting];
        revive(&mut states);
        assert_eq!(states, [delivered, deferred, RecipientState::Waiting, RecipientState::Waiting]);
    }
}
