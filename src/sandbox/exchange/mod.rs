//! The mail server: one session of Exchange Online over the machine of `smtp::server`.
//!
//! The machine knows SMTP; this knows what Exchange does with it: no password is good, a token opens its
//! mailboxes, MAIL is counted, foreign senders are refused only after the dot. Faults come before all that.

mod login;
mod transaction;

use super::fault_value::{Switch, take_from};
use super::faults::{AuthRefusal, Faults, Point, SmtpFaults, Stage};
use super::mailbox::Slot;
use super::options::Mailbox;
use super::texts::{self, Session};
use super::world::World;
use crate::mail::Envelope;
use crate::smtp::Reply;
use crate::smtp::server::{Dialogue, Event, Terms};
use bytes::BytesMut;
use std::sync::Arc;

/// What an attacker puts behind the 220 of STARTTLS: the client must not take it for the answer inside TLS.
const INJECTION: &[u8] =
    b"250-attacker.example Hello\r\n250 AUTH LOGIN PLAIN\r\n235 2.7.0 injected\r\n";

/// What the driver does after an event.
#[derive(Debug)]
pub(super) enum Next {
    /// Ask for the next event.
    Go,
    /// Write, read.
    Read,
    /// Write, shake hands.
    Handshake,
    /// Write, close.
    Close,
    /// Close without writing.
    Cut,
}

/// One session.
#[derive(Debug)]
pub(super) struct Submission {
    world: Arc<World>,
    session: Session,
    terms: Arc<Terms>,
    dialogue: Dialogue,
    /// What is to be written.
    pub(super) output: BytesMut,
    mailbox: Option<Mailbox>,
    failure: Option<Reply>,
    slot: Option<Slot>,
    envelope: Option<Envelope>,
    body: BytesMut,
    size: u64,
}

impl Submission {
    /// A session that has just been connected.
    pub(super) fn new(world: Arc<World>, session: Session) -> Self {
        let no_starttls = world.fault(|faults| faults.smtp.no_starttls.take());
        let no_dsn = world.fault(|faults| faults.smtp.no_dsn.take());
        // Which refusals come as a challenge is said to the machine at the start; `auth` says whether.
        let gmail = world.faults().smtp.auth.is_some_and(|f| f.what == AuthRefusal::GmailChallenge);
        let terms = Arc::new(session.terms(&world.limits(), !no_starttls, !no_dsn, gmail));
        let greeting = world.fault(|faults| take_from(&mut faults.smtp.replies, &Stage::Greeting));
        let dialogue = match greeting {
            Some(reply) => Dialogue::refused(Arc::clone(&terms), &reply.to_reply()),
            None => Dialogue::new(Arc::clone(&terms), false),
        };
        Self {
            world,
            session,
            terms,
            dialogue,
            output: BytesMut::new(),
            mailbox: None,
            failure: None,
            slot: None,
            envelope: None,
            body: BytesMut::new(),
            size: 0,
        }
    }

    /// Octets of the client.
    pub(super) fn feed(&mut self, octets: &[u8]) {
        self.dialogue.feed(octets);
    }

    /// The client has closed its side.
    pub(super) fn feed_end(&mut self) {
        self.dialogue.feed_end();
    }

    /// The handshake is done. What was known before is forgotten (RFC 3207 §4.2).
    pub(super) fn tls_started(&mut self) {
        self.dialogue.tls_started();
    }

    /// Says this and closes.
    pub(super) fn hang_up(&mut self, reply: &Reply) {
        self.dialogue.hang_up(reply);
    }

    /// The machine's next event, judged.
    pub(super) async fn step(&mut self) -> Next {
        let event = self.dialogue.advance();
        match event {
            Event::NeedInput => {
                self.collect();
                Next::Read
            }
            Event::StartTls => self.starttls(),
            Event::Hello => self.fixed(Stage::Ehlo, Some(Point::Ehlo)),
            Event::Authenticate(credentials) => self.authenticate(&credentials),
            Event::Mail(mail) => self.mail(mail),
            Event::Rcpt(recipient) => self.rcpt(recipient),
            Event::Data => self.data(),
            Event::Body(octets) => self.body(&octets),
            Event::BodyEnd(verdict) => self.body_end(verdict).await,
            Event::Reset => {
                self.forget();
                Next::Go
            }
            Event::Close => self.close(),
            // Nothing is put off here.
            Event::Settle => Next::Go,
        }
    }

    /// Moves the machine's output to ours.
    fn collect(&mut self) {
        let output = self.dialogue.output().split();
        self.output.unsplit(output);
    }

    fn smtp_fault<T: Default>(&self, take: impl FnOnce(&mut SmtpFaults) -> T) -> T {
        self.world.fault(|Faults { smtp, .. }| take(smtp))
    }

    fn is_cut(&self, point: Point) -> bool {
        self.smtp_fault(|smtp| smtp.drop_at.get_mut(&point).is_some_and(Switch::take))
    }

    /// The reply that a fault puts in the place of ours.
    fn scripted(&self, stage: Stage) -> Option<Reply> {
        self.smtp_fault(|smtp| take_from(&mut smtp.replies, &stage)).map(|reply| reply.to_reply())
    }

    /// Answers an event that asks. The machine closes after 421.
    fn answer(&mut self, reply: &Reply) -> Next {
        self.dialogue.answer(reply);
        self.collect();
        Next::Go
    }

    /// A reply that the machine has written already and a fault may replace.
    fn fixed(&mut self, stage: Stage, point: Option<Point>) -> Next {
        if point.is_some_and(|point| self.is_cut(point)) {
            return Next::Cut;
        }
        let Some(reply) = self.scripted(stage) else {
            self.collect();
            return Next::Go;
        };
        self.dialogue.output().clear();
        reply.write_within(texts::LONGEST_LINE, &mut self.output);
        if reply.code == 421 { Next::Close } else { Next::Go }
    }

    fn starttls(&mut self) -> Next {
        if self.is_cut(Point::Starttls) {
            return Next::Cut;
        }
        let refused =
            self.smtp_fault(|smtp| smtp.starttls_refused.take()).then_some(texts::NO_TLS_NOW);
        if let Some(reply) = refused.or_else(|| self.scripted(Stage::Starttls)) {
            // The machine already waits for the handshake: a new one goes on in clear text.
            self.dialogue = Dialogue::new(Arc::clone(&self.terms), false);
            self.dialogue.output().clear();
            reply.write_within(texts::LONGEST_LINE, &mut self.output);
            return if reply.code == 421 { Next::Close } else { Next::Go };
        }
        self.collect();
        if self.is_cut(Point::TlsHandshake) {
            return Next::Close;
        }
        if self.smtp_fault(|smtp| smtp.starttls_injection.take()) {
            self.output.extend_from_slice(INJECTION);
        }
        Next::Handshake
    }

    /// QUIT, or the machine has had enough of the client.
    fn close(&mut self) -> Next {
        let said_goodbye = self.dialogue.output().windows(4).any(|octets| octets == b"221 ");
        if said_goodbye {
            self.world.count(|statistics| statistics.quits += 1);
            if self.is_cut(Point::Quit) {
                return Next::Cut;
            }
            if let Some(reply) = self.scripted(Stage::Quit) {
                self.dialogue.output().clear();
                reply.write_within(texts::LONGEST_LINE, &mut self.output);
            }
        }
        self.collect();
        Next::Close
    }
}
