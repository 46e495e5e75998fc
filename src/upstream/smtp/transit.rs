//! A mail that passes through: said step by step over one connection, while its sender waits.
//!
//! It promises that an envelope which comes together goes in one flight, that the body is written as it
//! comes and memory does not grow with it, that an answer which comes early is heard, and that a connection
//! whose mail was not ended is closed without the dot. A connection of the pool that turns out to be dead
//! before any answer is told as [`Stale`]; whoever asked has lost nothing and asks again over a fresh one.

use super::drive::Goal;
use super::{Connection, FLIGHT, GOODBYE, Patience, Pool, converse, is_silent};
use crate::mail::{Envelope, Recipient};
use crate::smtp::Reply;
use crate::smtp::client::{Event, Refusal};
use crate::smtp::extension::Extension;
use crate::upstream::{Credential, Failure, Fault, Stage};
use bytes::BytesMut;

/// What is said together.
#[derive(Clone, Copy, Debug)]
pub struct Flight<'a> {
    /// MAIL, which begins a mail. Of the envelope all but the recipients counts; the number is the size that
    /// was declared.
    pub mail: Option<(&'a Envelope, Option<u64>)>,
    /// RCPT.
    pub recipients: &'a [Recipient],
    /// DATA.
    pub data: bool,
}

impl Flight<'_> {
    /// The answers it will have.
    pub fn len(&self) -> usize {
        usize::from(self.mail.is_some()) + self.recipients.len() + usize::from(self.data)
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One answer each: to MAIL, to every RCPT, to DATA.
pub type Answers = Vec<Result<Reply, Failure>>;

/// The connection had died while it lay in the pool; nothing was said about the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection died in the pool")]
pub struct Stale;

/// One connection while a mail passes. Dropped in the midst of a mail it is closed without the dot; better
/// [`leave`](Self::leave) it.
#[derive(Debug)]
pub struct Transit {
    pool: Pool,
    connection: Connection,
    is_reused: bool,
    cause: Fault,
    /// Of a mail that goes by BDAT: what is gathered for one chunk.
    chunk: Option<BytesMut>,
    /// Octets of the body so far.
    size: u64,
}

impl Pool {
    /// A connection for one mail that passes through: an idle one, or where there is none or `is_fresh` is
    /// asked for a new one.
    ///
    /// # Errors
    /// What stood in the way of a new one.
    pub async fn transit(
        &self,
        credential: &Credential,
        is_fresh: bool,
    ) -> Result<Transit, Failure> {
        let idle = if is_fresh { None } else { self.take(credential).await };
        let is_reused = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open(credential).await?,
        };
        let (pool, cause) = (self.clone(), Fault::Closed);
        Ok(Transit { pool, connection, is_reused, cause, chunk: None, size: 0 })
    }
}

impl Transit {
    /// Says all of it and waits for every answer.
    ///
    /// # Errors
    /// [`Stale`]: only of the first flight over a connection of the pool.
    pub async fn ask(&mut self, flight: &Flight<'_>) -> Result<Answers, Stale> {
        let before = self.connection.dialogue.replies();
        let dialogue = &mut self.connection.dialogue;
        if let Some((envelope, size)) = flight.mail {
            dialogue.relay(envelope, size, self.pool.is_chunking());
            self.chunk = dialogue.relays_in_chunks().then(BytesMut::new);
        }
        for recipient in flight.recipients {
            dialogue.relay_recipient(recipient);
        }
        if flight.data {
            dialogue.relay_data();
        }
        dialogue.relay_on();
        self.hear().await;
        let answers: Answers = (0..flight.len()).map(|_| self.heard()).collect();
        let heard = self.connection.dialogue.replies() - before;
        if std::mem::take(&mut self.is_reused) && is_silent(&answers, heard) {
            return Err(Stale);
        }
        Ok(answers)
    }

    /// Takes more of the body; it is on its way at the latest with [`flush`](Self::flush).
    ///
    /// # Errors
    /// What stood in the way; nothing more can be said then.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.size = self.size.saturating_add(octets.len() as u64);
        if let Some(limit) = self.connection.dialogue.offer().max_size
            && self.size > limit
        {
            return Err(Failure::at(Stage::Body, Fault::TooLarge { limit }));
        }
        let Some(chunk) = &mut self.chunk else {
            self.connection.dialogue.relay_body(octets);
            let is_full = self.connection.dialogue.output().len() >= FLIGHT;
            return if is_full { self.flush().await } else { Ok(()) };
        };
        if chunk.is_empty() && octets.len() >= FLIGHT / 2 {
            // Large enough as it is: a copy less.
            self.connection.dialogue.relay_body(octets);
            return self.flush().await;
        }
        chunk.extend_from_slice(octets);
        if chunk.len() < FLIGHT {
            return Ok(());
        }
        let chunk = chunk.split();
        self.connection.dialogue.relay_body(&chunk);
        self.flush().await
    }

    /// Writes what was taken so far. Of a mail by BDAT only whole chunks.
    ///
    /// # Errors
    /// What stood in the way; nothing more can be said then.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        let waits =
            self.chunk.is_some() && !self.connection.dialogue.offer().has(Extension::Pipelining);
        if waits {
            self.hear().await;
        }
        while !self.connection.dialogue.output().is_empty() {
            let until = tokio::time::Instant::now() + self.connection.command_timeout;
            self.turn(Goal::Flush, until).await;
            if let Event::Closed = self.connection.dialogue.advance() {
                break;
            }
        }
        match self.connection.dialogue.relay_refusal() {
            None => Ok(()),
            Some(refusal) => Err(self.failed(refusal)),
        }
    }

    /// Writes the end and waits for the answer.
    ///
    /// # Errors
    /// What stood in the way; at [`Stage::Dot`] anything but a reply leaves the mail's fate open.
    pub async fn end(&mut self) -> Result<Reply, Failure> {
        let rest = self.chunk.take().unwrap_or_default();
        self.connection.dialogue.relay_end(&rest);
        self.hear().await;
        self.heard()
    }

    /// Ends it, wherever it stands: the connection goes back to the pool, or is given back to be closed.
    pub fn leave(mut self) -> Option<Unfinished> {
        let is_reusable = self.connection.dialogue.relay_over();
        if is_reusable {
            self.pool.keep(self.connection, true);
            return None;
        }
        Some(Unfinished(self.connection))
    }

    /// Waits until all that was said is answered.
    async fn hear(&mut self) {
        let mut patience = Patience::default();
        while let Event::NeedInput = self.connection.dialogue.advance() {
            let Connection { dialogue, command_timeout, data_timeout, .. } = &self.connection;
            let is_dot = Stage::from(dialogue.step()) == Stage::Dot;
            let limit = if is_dot { *data_timeout } else { *command_timeout };
            let until = patience.until(dialogue, limit);
            self.turn(Goal::Answer, until).await;
        }
    }

    async fn turn(&mut self, goal: Goal, until: tokio::time::Instant) {
        let Connection { wire, dialogue, .. } = &mut self.connection;
        if let Err(fault) = converse(wire, dialogue, goal, until).await {
            self.cause = fault;
            dialogue.interrupt();
        }
    }

    fn failed(&self, refusal: Refusal) -> Failure {
        let failure = Failure::of(refusal, &self.cause);
        if failure.fault == Fault::NotOffered("CHUNKING") {
            self.pool.forgo_chunking();
        }
        failure
    }

    fn heard(&mut self) -> Result<Reply, Failure> {
        match self.connection.dialogue.relay_heard() {
            Some(heard) => heard.map_err(|refusal| self.failed(refusal)),
            // Never: everything that is said is answered. A lost mail all the same.
            None => Err(Failure::at(Stage::Mail, Fault::Closed)),
        }
    }
}

/// A connection that can take no more mail.
#[derive(Debug)]
pub struct Unfinished(Connection);

impl Unfinished {
    /// Closes it without the dot, politely, so that the server counts it no longer when this returns.
    pub async fn close(self) {
        self.0.wire.close(GOODBYE).await;
    }
}
