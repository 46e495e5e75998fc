//! A question without a mail: would the server take this sender?
//!
//! It promises that nothing stays behind at the server: MAIL is taken back by RSET.

use super::refusal::{Step, Trouble};
use super::transaction::Transaction;
use super::{Dialogue, State};
use crate::mail::Envelope;

impl Dialogue {
    /// Asks on a connection that is `Ready` whether this sender is taken: MAIL, then RSET. One result.
    pub fn ask(&mut self, envelope: &Envelope) {
        let asked = match self.state {
            State::Ready => Transaction::ask(envelope, &self.offer, &mut self.output),
            _ => Err(Trouble::Closed),
        };
        let transaction = asked.unwrap_or_else(|trouble| {
            let mut transaction = Transaction::idle(1);
            transaction.give_up(Step::Mail, trouble);
            transaction
        });
        self.state = State::Mail(Box::new(transaction));
    }
}
