//! Delivery by SMTP with XOAUTH2.
//!
//! `drive` is the wire, `connect` opens and logs in, `pool` keeps connections for the next mail; here one
//! mail goes over one connection. It promises that the final dot is written only after
//! [`Outgoing::commit`] said yes, that memory does not grow with the message, and that an answer which
//! comes early is heard. Replies are passed on as facts.

mod connect;
mod drive;
mod pool;
#[cfg(test)]
mod tests;
mod transit;

pub use pool::Pool;
pub use transit::{Answers, Flight, Stale, Transit, Unfinished};

use crate::config::Upstream;
use crate::smtp::Reply;
use crate::smtp::client::{Dialogue, Event, Refusal, Step, Trouble};
use crate::smtp::extension::Extension;
use crate::smtp::offer::Offer;
use crate::upstream::{Body, Credential, Failure, Fault, Outcome, Outgoing, Stage};
use bytes::Bytes;
use drive::{Goal, Progress, Wire};
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So much of a body is gathered for one write: four TLS records.
const FLIGHT: usize = 64 * 1024;
/// A goodbye waits no longer than this for its answer.
const GOODBYE: Duration = Duration::from_secs(3);

/// Goes as far as TLS, where the certificate has been verified, and hangs up. Gives the address reached.
///
/// # Errors
/// What stood in the way, and at which stage.
pub async fn probe_tls(
    settings: Upstream,
    hostname: String,
    tls: Arc<ClientConfig>,
) -> Result<SocketAddr, Failure> {
    connect::Route { settings, hostname, tls }.reach_tls().await
}

/// Logs in and says goodbye: whether token and mailbox are good too, without a mail. Gives what the
/// server offers inside TLS.
///
/// # Errors
/// What stood in the way, and at which stage.
pub async fn probe(
    settings: Upstream,
    hostname: String,
    tls: Arc<ClientConfig>,
    credential: &Credential,
) -> Result<Offer, Failure> {
    let connection = connect::Route { settings, hostname, tls }.open(credential).await?;
    let offer = connection.dialogue.offer().clone();
    connection.quit().await;
    Ok(offer)
}

/// How long the next reply is waited for: one limit a reply, however slowly its octets come.
#[derive(Default)]
struct Patience(Option<(usize, Step, Instant)>);

impl Patience {
    fn until(&mut self, dialogue: &Dialogue, limit: Duration) -> Instant {
        let (replies, step) = (dialogue.replies(), dialogue.step());
        match self.0 {
            Some((seen, at, until)) if seen == replies && at == step => until,
            _ => {
                let until = Instant::now() + limit;
                self.0 = Some((replies, step, until));
                until
            }
        }
    }
}

/// One turn of the wire for the dialogue.
async fn converse(
    wire: &mut Wire,
    dialogue: &mut Dialogue,
    goal: Goal,
    until: Instant,
) -> Result<(), Fault> {
    match wire.turn(dialogue.output(), goal, until).await? {
        Progress::Received => dialogue.feed(wire.received()),
        Progress::Ended => dialogue.feed_end(),
        Progress::Written => {}
    }
    Ok(())
}

/// What a mail on one connection came to.
struct Delivered {
    outcome: Outcome,
    /// The connection may take another mail.
    is_reusable: bool,
    /// It died before a word about this mail: a reused connection was stale, a new one may be tried.
    is_silent: bool,
}

/// A connection that is logged in.
#[derive(Debug)]
struct Connection {
    wire: Wire,
    dialogue: Dialogue,
    credential: Credential,
    command_timeout: Duration,
    data_timeout: Duration,
}

impl Connection {
    fn new(wire: Wire, dialogue: Dialogue, credential: Credential, settings: &Upstream) -> Self {
        let (command_timeout, data_timeout) = (settings.command_timeout, settings.data_timeout);
        Self { wire, dialogue, credential, command_timeout, data_timeout }
    }

    /// Whether the peer has neither closed nor spoken since the last mail.
    async fn is_quiet(&mut self) -> bool {
        let until = Instant::now() + self.command_timeout;
        let look = converse(&mut self.wire, &mut self.dialogue, Goal::Look, until).await;
        look.is_ok() && matches!(self.dialogue.advance(), Event::Ready)
    }

    async fn deliver(&mut self, mail: &mut Outgoing<'_>) -> Delivered {
        let before = self.dialogue.replies();
        self.dialogue.send(mail.envelope, mail.size);
        let (results, cause) = self.carry(mail).await;
        let heard = self.dialogue.replies() - before;
        let recipients: Vec<_> = results
            .into_iter()
            .map(|result| result.map_err(|refusal| Failure::of(refusal, &cause)))
            .collect();
        Delivered {
            is_silent: is_silent(&recipients, heard),
            outcome: Outcome { recipients, dsn: self.dialogue.offer().has(Extension::Dsn) },
            is_reusable: matches!(self.dialogue.advance(), Event::Ready),
        }
    }

    /// Brings the mail to its end; also why we broke off, if we did.
    async fn carry(&mut self, mail: &mut Outgoing<'_>) -> (Vec<Result<Reply, Refusal>>, Fault) {
        let mut cause = Fault::Closed;
        let mut patience = Patience::default();
        let mut rest = Bytes::new();
        let mut is_committed = false;
        loop {
            let is_full = self.dialogue.output().len() >= FLIGHT;
            let is_written = self.dialogue.output().is_empty();
            let step = match self.dialogue.advance() {
                Event::Finished(results) => return (results, cause),
                Event::NeedInput => {
                    let is_dot = self.dialogue.step() == Step::Dot;
                    let limit = if is_dot { self.data_timeout } else { self.command_timeout };
                    let until = patience.until(&self.dialogue, limit);
                    converse(&mut self.wire, &mut self.dialogue, Goal::Answer, until).await
                }
                Event::Body if is_full => self.turn(Goal::Flush).await,
                Event::Body => self.take_body(&mut rest, mail.body).await,
                Event::Commit if !is_written => self.turn(Goal::Flush).await,
                Event::Commit if !is_committed => {
                    is_committed = true;
                    match mail.commit.as_mut().await {
                        // Once more before the dot: what is known to be lost now has a certain fate.
                        Ok(()) => self.turn(Goal::Look).await,
                        Err(text) => Err(Fault::Local(text)),
                    }
                }
                Event::Commit => {
                    self.dialogue.dot();
                    Ok(())
                }
                // Never while a mail is under way; all the same every recipient gets a result.
                Event::Ready | Event::StartTls | Event::Failed(_) | Event::Closed => {
                    let lost = Refusal { step: Step::Mail, trouble: Trouble::Closed };
                    return (vec![Err(lost); mail.envelope.recipients.len()], cause);
                }
            };
            if let Err(fault) = step {
                cause = fault;
                self.dialogue.interrupt();
            }
        }
    }

    async fn turn(&mut self, goal: Goal) -> Result<(), Fault> {
        let until = Instant::now() + self.command_timeout;
        converse(&mut self.wire, &mut self.dialogue, goal, until).await
    }

    async fn take_body(&mut self, rest: &mut Bytes, body: &mut dyn Body) -> Result<(), Fault> {
        if rest.is_empty() {
            match body.chunk().await.map_err(Fault::Local)? {
                Some(chunk) => *rest = chunk,
                None => self.dialogue.body_end(),
            }
        }
        let piece = rest.split_to(rest.len().min(FLIGHT));
        self.dialogue.body(&piece);
        Ok(())
    }

    /// Says goodbye and closes.
    async fn quit(mut self) {
        self.dialogue.quit();
        let until = Instant::now() + GOODBYE;
        while let Event::NeedInput = self.dialogue.advance() {
            let turn = converse(&mut self.wire, &mut self.dialogue, Goal::Answer, until).await;
            if turn.is_err() {
                return;
            }
        }
        self.wire.close(GOODBYE).await;
    }
}

/// Whether the connection went away before the server said anything about the mail. A 421 in the place
/// of the first answer is how an idle connection is closed (Exchange: `421 4.4.1 Connection timed out`).
fn is_silent(recipients: &[Result<Reply, Failure>], heard: usize) -> bool {
    let Some(Err(Failure { stage: Stage::Mail, fault })) = recipients.first() else {
        return false;
    };
    match fault {
        Fault::Closed | Fault::Network(_) | Fault::Timeout => heard == 0,
        Fault::Reply(reply) => reply.code == 421 && heard <= 1,
        _ => false,
    }
}
