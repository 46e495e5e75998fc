//! One mail that passes by SMTP: its turn, its connection, its replies.
//!
//! It promises that every reply was judged, that what the upstream said teaches the lane once, that a mail
//! which is not ended is closed without the dot, and that its turn ends only when the upstream no longer
//! counts its connection. It keeps nothing.

use super::{judged, told};
use crate::config::Account;
use crate::delivery::plan::Lesson;
use crate::delivery::room::Turn;
use crate::delivery::verdict::{Verdict, judge};
use crate::mail::{Address, Id};
use crate::smtp::Reply;
use crate::upstream::Failure;
use crate::upstream::smtp::{Answers, Flight, Transit};
use std::sync::Arc;
use tracing::debug;

/// One mail that goes on as it comes.
#[derive(Debug)]
pub struct Streamed {
    id: Id,
    account: Arc<Account>,
    /// Until it ends.
    held: Option<(Transit, Turn)>,
    /// Recipients that the upstream took.
    taken: Vec<Address>,
    /// How many of them the mail went to, for all that is known.
    sent: usize,
    /// Something was taught that is not well.
    is_ill: bool,
}

impl Streamed {
    /// With a connection that answered already.
    pub(super) fn new(id: Id, account: Arc<Account>, transit: Transit, turn: Turn) -> Self {
        let held = Some((transit, turn));
        Self { id, account, held, taken: Vec::new(), sent: 0, is_ill: false }
    }

    /// Says all of it in one flight; gives one reply for each command.
    pub(super) async fn ask(&mut self, flight: &Flight<'_>) -> Vec<Reply> {
        let answers = match &mut self.held {
            Some((transit, _)) => transit.ask(flight).await.unwrap_or_default(),
            None => Vec::new(),
        };
        self.note(flight, answers)
    }

    /// Judges the answers to a flight.
    pub(super) fn note(&mut self, flight: &Flight<'_>, answers: Answers) -> Vec<Reply> {
        let first = usize::from(flight.mail.is_some());
        let mut replies = Vec::with_capacity(answers.len());
        for (place, answer) in answers.into_iter().enumerate() {
            let recipient = place.checked_sub(first).and_then(|place| flight.recipients.get(place));
            let reply = match answer {
                Ok(reply) => {
                    self.taken.extend(recipient.map(|recipient| recipient.address.clone()));
                    judged::taken(reply)
                }
                Err(failure) => self.refused(&failure, recipient.map(|to| &to.address)),
            };
            replies.push(reply);
        }
        replies.resize(flight.len(), judged::lost());
        replies
    }

    /// Takes more of the body.
    ///
    /// # Errors
    /// The reply; nothing more can be said then.
    pub(super) async fn write(&mut self, octets: &[u8]) -> Result<(), Reply> {
        match &mut self.held {
            Some((transit, _)) => {
                transit.write(octets).await.map_err(|failure| self.broken(&failure))
            }
            None => Err(judged::lost()),
        }
    }

    /// Sends what was taken so far.
    ///
    /// # Errors
    /// The reply; nothing more can be said then.
    pub(super) async fn flush(&mut self) -> Result<(), Reply> {
        match &mut self.held {
            Some((transit, _)) => transit.flush().await.map_err(|failure| self.broken(&failure)),
            None => Err(judged::lost()),
        }
    }

    /// Ends the body. Whatever the reply is, the mail is over.
    pub(super) async fn end(mut self: Box<Self>) -> Reply {
        let Some((transit, _)) = &mut self.held else { return judged::lost() };
        match transit.end().await {
            Ok(reply) => {
                self.sent = self.taken.len();
                told::delivered(self.id, &self.account.name, self.taken.iter(), &reply);
                judged::taken(reply)
            }
            Err(failure) => {
                if matches!(judge(&failure), Verdict::Uncertain) {
                    self.sent = self.taken.len();
                }
                self.broken(&failure)
            }
        }
    }

    /// No command of this mail can be answered well any more.
    fn broken(&mut self, failure: &Failure) -> Reply {
        let reply = self.refused(failure, None);
        self.leave();
        reply
    }

    fn refused(&mut self, failure: &Failure, recipient: Option<&Address>) -> Reply {
        let reply = told::refused(self.id, &self.account.name, failure, recipient);
        let lesson = judged::lesson(failure);
        if !matches!(lesson, Lesson::Well)
            && !std::mem::replace(&mut self.is_ill, true)
            && let Some((_, turn)) = &self.held
        {
            turn.teach(lesson, 0);
        }
        reply
    }

    /// Ends it where it stands. A connection that can be used no more is closed first, and the turn ends
    /// with it: a new one beside it may be one more than the mailbox may have.
    fn leave(&mut self) {
        let Some((transit, turn)) = self.held.take() else { return };
        if !self.is_ill {
            turn.teach(Lesson::Well, self.sent);
        }
        let Some(unfinished) = transit.leave() else { return };
        debug!(id = %self.id, account = %self.account.name, "connection closed without the dot");
        // None only while the program ends, and the connection with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                unfinished.close().await;
                drop(turn);
            });
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.leave();
    }
}
