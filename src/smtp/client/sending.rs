//! A whole mail over the dialogue, from its envelope to the dot. One that is handed on step by step is in `relay`.
//!
//! It promises what `transaction` does; it holds nothing itself.

use super::transaction::{Phase, Transaction};
use super::{Dialogue, State, Step, Trouble};
use crate::mail::Envelope;
use crate::smtp::extension::Extension;

impl Dialogue {
    /// Begins a mail on a connection that is `Ready`. What the server cannot take at all is answered
    /// without a word to it.
    pub fn send(&mut self, envelope: &Envelope, size: u64) {
        let (reset, recipients) = (self.needs_reset, envelope.recipients.len());
        let begun = match self.state {
            State::Ready => {
                Transaction::begin(envelope, size, &self.offer, reset, &mut self.output)
            }
            _ => Err(Trouble::Closed),
        };
        self.begin(begun, recipients);
    }

    /// As [`Self::send`], and where the server offers what it needs, all of it goes in one flight after
    /// [`super::Event::Commit`]: a round trip a mail instead of two. RFC 3030 §4.2 lets BDAT follow RCPT at once;
    /// the octets are dropped where the recipients are refused. For small bodies: they are held until then.
    /// A connection that is lost leaves the mail's fate open from the commit on.
    pub fn send_at_once(&mut self, envelope: &Envelope, size: u64) {
        let offers_it =
            self.offer.has(Extension::Pipelining) && self.offer.has(Extension::Chunking);
        if !offers_it || self.needs_reset || !matches!(self.state, State::Ready) {
            return self.send(envelope, size);
        }
        let begun = Transaction::at_once(envelope, size, &self.offer);
        self.begin(begun, envelope.recipients.len());
    }

    fn begin(&mut self, begun: Result<Transaction, Trouble>, recipients: usize) {
        self.is_ended |= !matches!(self.state, State::Ready);
        let transaction = begun.unwrap_or_else(|trouble| {
            let mut transaction = Transaction::idle(recipients);
            transaction.is_open_there = self.needs_reset;
            transaction.give_up(Step::Mail, trouble);
            transaction
        });
        self.state = State::Mail(Box::new(transaction));
    }

    /// More of the body; only after [`super::Event::Body`].
    pub fn body(&mut self, chunk: &[u8]) {
        if let State::Mail(transaction) = &mut self.state {
            transaction.body(chunk, &mut self.output);
        }
    }

    /// The body is complete; only after [`super::Event::Body`].
    pub fn body_end(&mut self) {
        if let State::Mail(transaction) = &mut self.state
            && transaction.phase == Phase::Body
        {
            transaction.phase = Phase::Commit;
        }
    }

    /// Writes the final dot, or `BDAT 0 LAST` (RFC 3030); only after [`super::Event::Commit`].
    pub fn dot(&mut self) {
        if let State::Mail(transaction) = &mut self.state {
            transaction.dot(&mut self.output);
        }
    }
}
