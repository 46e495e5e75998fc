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
mod tunnel;

pub use pool::Pool;
pub use transit::{Answers, Flight, Stale, Transit, Unfinished};

use crate::config::Upstream;
use crate::mail::Envelope;
use crate::smtp::Reply;
use crate::smtp::client::{Dialogue, Event, Refusal, Step, Trouble};
use crate::smtp::extension::Extension;
use crate::smtp::offer::Offer;
use crate::upstream::{Body, Credential, Failure, Fault, Outcome, Outgoing, Stage};
use bytes::{Bytes, BytesMut};
use drive::{Goal, Progress, Wire};
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So much of a body is gathered for one write: four TLS records.
const FLIGHT: usize = 64 * 1024;
/// A body of so many octets goes with its envelope in one flight. Of a larger one the round trip that this
/// saves is a small part, and the octets are many that a refused recipient would waste.
const FLIGHT_OCTETS: u64 = FLIGHT as u64;
/// A connection that was silent for longer may be lost without our knowing: a mail that went over it in one
/// flight would be of unknown fate. Then the envelope goes first, and its answer shows that somebody is there.
const WARM: Duration = Duration::from_secs(5);
/// A goodbye waits no longer than this for its answer.
const GOODBYE: Duration = Duration::from_secs(3);

/// Connects, through the proxy where there is one, and hangs up. Gives the address reached, the proxy's then.
///
/// # Errors
/// What stood in the way.
pub async fn probe_connect(
    settings: Upstream,
    tls: Arc<ClientConfig>,
) -> Result<SocketAddr, Failure> {
    connect::Route { settings, hostname: String::new(), tls }.reach().await
}

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

/// What a server showed to somebody who sends no mail.
#[derive(Debug)]
pub struct Probe {
    /// What it offers inside TLS; nothing where it did not come to say so.
    pub offer: Offer,
    /// Its answer to MAIL, or what stood in the way and at which stage.
    pub sender: Result<Reply, Failure>,
}

/// Logs in, asks by MAIL whether the envelope's sender is taken, takes it back by RSET, says goodbye.
pub async fn probe(
    settings: Upstream,
    hostname: String,
    tls: Arc<ClientConfig>,
    credential: &Credential,
    envelope: &Envelope,
) -> Probe {
    let route = connect::Route { settings, hostname, tls };
    let (offer, connection) = route.log_in(credential).await;
    let sender = match connection {
        Ok(mut connection) => {
            let answer = connection.ask(envelope).await;
            connection.quit().await;
            answer
        }
        Err(failure) => Err(failure),
    };
    Probe { offer, sender }
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

/// A mail on its way, however many connections it takes.
struct Mail<'a> {
    outgoing: Outgoing<'a>,
    /// The whole of a small one, so that it can go in one flight and be said again.
    whole: Option<Bytes>,
    /// The commit was asked and said yes.
    is_committed: bool,
}

impl<'a> Mail<'a> {
    /// Takes the body of a small mail.
    async fn of(outgoing: Outgoing<'a>) -> Result<Self, Fault> {
        let whole = match outgoing.size {
            0..=FLIGHT_OCTETS => Some(gather(outgoing.body).await?),
            _ => None,
        };
        Ok(Self { outgoing, whole, is_committed: false })
    }
}

async fn gather(body: &mut dyn Body) -> Result<Bytes, Fault> {
    let Some(first) = body.chunk().await.map_err(Fault::Local)? else { return Ok(Bytes::new()) };
    let mut next = body.chunk().await.map_err(Fault::Local)?;
    if next.is_none() {
        return Ok(first);
    }
    let mut whole = BytesMut::from(first);
    while let Some(chunk) = next {
        whole.extend_from_slice(&chunk);
        if whole.len() > 2 * FLIGHT {
            return Err(Fault::Local("the body is larger than was noted of it".to_owned()));
        }
        next = body.chunk().await.map_err(Fault::Local)?;
    }
    Ok(whole.freeze())
}

/// What a mail on one connection came to.
struct Delivered {
    outcome: Outcome,
    /// The connection may take another mail.
    is_reusable: bool,
    /// It died before a word about this mail: a reused connection was stale, a new one may be tried.
    is_silent: bool,
    /// The server offers CHUNKING and does not know BDAT.
    is_chunking_broken: bool,
}

/// A connection that is logged in.
#[derive(Debug)]
struct Connection {
    wire: Wire,
    dialogue: Dialogue,
    credential: Credential,
    command_timeout: Duration,
    data_timeout: Duration,
    /// When the server spoke last.
    heard: Instant,
}

impl Connection {
    fn new(wire: Wire, dialogue: Dialogue, credential: Credential, settings: &Upstream) -> Self {
        let (command_timeout, data_timeout) = (settings.command_timeout, settings.data_timeout);
        let heard = Instant::now();
        Self { wire, dialogue, credential, command_timeout, data_timeout, heard }
    }

    /// Whether the peer has neither closed nor spoken since the last mail.
    async fn is_quiet(&mut self) -> bool {
        let until = Instant::now() + self.command_timeout;
        let look = converse(&mut self.wire, &mut self.dialogue, Goal::Look, until).await;
        look.is_ok() && matches!(self.dialogue.advance(), Event::Ready)
    }

    /// `chunking`: a small mail may go in one flight.
    async fn deliver(&mut self, mail: &mut Mail<'_>, chunking: bool) -> Delivered {
        let before = self.dialogue.replies();
        let (envelope, size) = (mail.outgoing.envelope, mail.outgoing.size);
        if chunking && mail.whole.is_some() && self.heard.elapsed() < WARM {
            self.dialogue.send_at_once(envelope, size);
        } else {
            self.dialogue.send(envelope, size);
        }
        let (results, cause) = self.carry(mail).await;
        self.heard = Instant::now();
        let heard = self.dialogue.replies() - before;
        let recipients: Vec<_> = results
            .into_iter()
            .map(|result| result.map_err(|refusal| Failure::of(refusal, &cause)))
            .collect();
        Delivered {
            is_silent: is_silent(&recipients, heard),
            is_chunking_broken: recipients.iter().any(is_chunking_broken),
            outcome: Outcome { recipients, dsn: self.dialogue.offer().has(Extension::Dsn) },
            is_reusable: matches!(self.dialogue.advance(), Event::Ready),
        }
    }

    /// Brings the mail to its end; also why we broke off, if we did.
    async fn carry(&mut self, mail: &mut Mail<'_>) -> (Vec<Result<Reply, Refusal>>, Fault) {
        let mut cause = Fault::Closed;
        let mut patience = Patience::default();
        let mut rest = mail.whole.clone().unwrap_or_default();
        // Before each dot, also of a mail that is said again.
        let mut has_looked = false;
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
                Event::Body => self.take_body(&mut rest, mail).await,
                Event::Commit if !is_written => self.turn(Goal::Flush).await,
                Event::Commit if !mail.is_committed => match mail.outgoing.commit.as_mut().await {
                    Ok(()) => {
                        mail.is_committed = true;
                        Ok(())
                    }
                    Err(text) => Err(Fault::Local(text)),
                },
                Event::Commit if !has_looked => {
                    has_looked = true;
                    // Once more before the dot: what is known to be lost now has a certain fate.
                    self.turn(Goal::Look).await
                }
                Event::Commit => {
                    self.dialogue.dot();
                    Ok(())
                }
                // Never while a mail is under way; all the same every recipient gets a result.
                Event::Ready | Event::StartTls | Event::Failed(_) | Event::Closed => {
                    let lost = Refusal { step: Step::Mail, trouble: Trouble::Closed };
                    return (vec![Err(lost); mail.outgoing.envelope.recipients.len()], cause);
                }
            };
            if let Err(fault) = step {
                cause = fault;
                self.dialogue.interrupt();
            }
        }
    }

    /// Whether the sender is taken; the mail is not begun.
    async fn ask(&mut self, envelope: &Envelope) -> Result<Reply, Failure> {
        self.dialogue.ask(envelope);
        let mut cause = Fault::Closed;
        loop {
            match self.dialogue.advance() {
                Event::Finished(results) => {
                    let lost = Refusal { step: Step::Mail, trouble: Trouble::Closed };
                    let result = results.into_iter().next().unwrap_or(Err(lost));
                    return result.map_err(|refusal| Failure::of(refusal, &cause));
                }
                Event::NeedInput => {
                    if let Err(fault) = self.turn(Goal::Answer).await {
                        cause = fault;
                        self.dialogue.interrupt();
                    }
                }
                _ => return Err(Failure::at(Stage::Mail, cause)),
            }
        }
    }

    async fn turn(&mut self, goal: Goal) -> Result<(), Fault> {
        let until = Instant::now() + self.command_timeout;
        converse(&mut self.wire, &mut self.dialogue, goal, until).await
    }

    async fn take_body(&mut self, rest: &mut Bytes, mail: &mut Mail<'_>) -> Result<(), Fault> {
        if rest.is_empty() {
            let next = match mail.whole {
                Some(_) => None,
                None => mail.outgoing.body.chunk().await.map_err(Fault::Local)?,
            };
            match next {
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

fn is_chunking_broken(result: &Result<Reply, Failure>) -> bool {
    matches!(result, Err(Failure { fault: Fault::NotOffered("CHUNKING"), .. }))
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
