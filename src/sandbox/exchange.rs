//! The mail server: one session of Exchange Online over the machine of `smtp::server`.
//!
//! The machine knows SMTP; this knows what Exchange does with it: no password is good, a token opens its
//! mailboxes, MAIL is counted, foreign senders are refused only after the dot. Faults come before all that.

use super::faults::{AuthRefusal, Faults, Point, SmtpFaults, Stage, take, take_from};
use super::mailbox::Slot;
use super::messages::Message;
use super::options::Mailbox;
use super::texts::{self, Session};
use super::world::World;
use super::{random, submission};
use crate::mail::{Envelope, Recipient};
use crate::secret::Secret;
use crate::smtp::Reply;
use crate::smtp::server::{Credentials, Dialogue, Event, Mail, Terms};
use bytes::BytesMut;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Exchange's own parser takes 2,000 characters a line; its diagnostics are longer still.
const LONGEST_LINE: usize = 8192;
/// A text that surely fits RFC 5321's line with its codes.
const LONGEST_OWN: usize = 480;
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
    /// Write, read one line, which is not the machine's, then go on with this reply to the login.
    ReadLine(Reply),
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
        let terms = Arc::new(session.terms(&world.limits(), !no_starttls));
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
        self.smtp_fault(|smtp| {
            smtp.drop_at.get_mut(&point).is_some_and(super::faults::Switch::take)
        })
    }

    /// The reply that a fault puts in the place of ours.
    fn scripted(&self, stage: Stage) -> Option<Reply> {
        self.smtp_fault(|smtp| take_from(&mut smtp.replies, &stage)).map(|reply| reply.to_reply())
    }

    /// Answers an event that asks. After 421 the connection is closed.
    fn answer(&mut self, reply: &Reply) -> Next {
        self.dialogue.answer(reply);
        // The machine cuts at the 512 octets of RFC 5321; Exchange does not.
        if reply.text.len() > LONGEST_OWN && !self.dialogue.output().is_empty() {
            self.dialogue.output().clear();
            reply.write_within(LONGEST_LINE, &mut self.output);
        }
        self.collect();
        if reply.code == 421 { Next::Close } else { Next::Go }
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
        reply.write_within(LONGEST_LINE, &mut self.output);
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
            reply.write_within(LONGEST_LINE, &mut self.output);
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

    fn authenticate(&mut self, credentials: &Credentials) -> Next {
        if self.is_cut(Point::Auth) {
            return Next::Cut;
        }
        let now = SystemTime::now();
        let fault = self.smtp_fault(|smtp| take(&mut smtp.auth));
        let (user, judged) = match credentials {
            Credentials::Password { user, .. } => {
                self.world.count(|statistics| statistics.password_logins += 1);
                (user, Err(self.session.basic_refused(now)))
            }
            Credentials::Bearer { user, token } => (user, self.check_token(user, token, now)),
        };
        if fault == Some(AuthRefusal::GmailChallenge) {
            self.collect();
            self.output.extend_from_slice(texts::GMAIL_CHALLENGE.as_bytes());
            return Next::ReadLine(self.session.auth_refused(AuthRefusal::GmailChallenge, now));
        }
        let reply = match (self.scripted(Stage::Auth), fault, judged) {
            (Some(reply), _, _) => reply,
            (None, Some(refusal), _) => self.session.auth_refused(refusal, now),
            (None, None, Err(reply)) => reply,
            (None, None, Ok(mailbox)) => {
                tracing::debug!(mailbox = ?user, "sandbox: login");
                self.mailbox = Some(mailbox);
                texts::AUTHENTICATED
            }
        };
        self.answer_login(&reply)
    }

    /// The mailbox that the token opens. Whatever is wrong, Exchange says the same.
    fn check_token(&self, user: &str, token: &Secret, now: SystemTime) -> Result<Mailbox, Reply> {
        let fault = match self.world.tokens().check(token, user, now) {
            Err(fault) => format!("{fault:?}"),
            Ok(()) => {
                let mailboxes = &self.world.options.mailboxes;
                match mailboxes.iter().find(|mailbox| mailbox.address.eq_ignore_ascii_case(user)) {
                    Some(mailbox) => return Ok(mailbox.clone()),
                    None => "NoMailbox".to_owned(),
                }
            }
        };
        tracing::info!(mailbox = ?user, %fault, "sandbox: token refused");
        Err(self.session.auth_refused(AuthRefusal::Rejected, now))
    }

    /// Ends a login with this reply and counts it.
    pub(super) fn answer_login(&mut self, reply: &Reply) -> Next {
        let good = reply.code == 235;
        self.world.count(|statistics| {
            statistics.logins += u64::from(good);
            statistics.login_failures += u64::from(!good);
        });
        self.failure = (!good).then(|| reply.clone());
        self.answer(reply)
    }

    fn mail(&mut self, mail: Mail) -> Next {
        self.world.count(|statistics| statistics.mail_commands += 1);
        if self.is_cut(Point::Mail) {
            return Next::Cut;
        }
        let reply = match self.scripted(Stage::Mail) {
            Some(reply) => reply,
            None => self.judge_mail(&mail).err().unwrap_or(texts::SENDER_OK),
        };
        if reply.code == 250 {
            self.envelope = Some(Envelope {
                sender: mail.sender,
                body: mail.body,
                smtputf8: mail.smtputf8,
                ret: mail.ret,
                envid: mail.envid,
                recipients: Vec::new(),
            });
        }
        self.answer(&reply)
    }

    fn judge_mail(&mut self, mail: &Mail) -> Result<(), Reply> {
        let Some(mailbox) = &self.mailbox else {
            return Err(texts::not_authenticated(self.failure.as_ref()));
        };
        let limits = self.world.limits();
        if self.slot.is_none() {
            self.slot = self.world.ledger.slot(&mailbox.address, &limits);
        }
        if self.slot.is_none() {
            self.world.count(|statistics| statistics.connection_refusals += 1);
            return Err(texts::TOO_MANY_CONNECTIONS);
        }
        if self.world.ledger.refuses(&mailbox.address, &limits, Instant::now()) {
            return Err(texts::TOO_FAST);
        }
        if mail.sender.is_none() {
            return Err(texts::NO_SENDER);
        }
        Ok(())
    }

    fn rcpt(&mut self, recipient: Recipient) -> Next {
        if self.is_cut(Point::Rcpt) {
            return Next::Cut;
        }
        let address = recipient.address.as_str().to_lowercase();
        let own = self.smtp_fault(|smtp| take_from(&mut smtp.recipients, &address));
        let reply = match own {
            Some(reply) => reply.to_reply(),
            None => self.scripted(Stage::Rcpt).unwrap_or(texts::RECIPIENT_OK),
        };
        if let (true, Some(envelope)) = (reply.code / 100 == 2, &mut self.envelope) {
            envelope.recipients.push(recipient);
        }
        self.answer(&reply)
    }

    fn data(&mut self) -> Next {
        if self.is_cut(Point::Data) {
            return Next::Cut;
        }
        let reply = self.scripted(Stage::Data).unwrap_or(texts::START);
        self.answer(&reply)
    }

    fn body(&mut self, octets: &[u8]) -> Next {
        if self.is_cut(Point::Body) {
            return Next::Cut;
        }
        self.size += octets.len() as u64;
        // A mail that is refused for its size anyway need not be held.
        if self.size <= self.world.limits().message_size {
            self.body.extend_from_slice(octets);
        }
        Next::Go
    }

    async fn body_end(&mut self, verdict: Result<(), Reply>) -> Next {
        self.world.count(|statistics| statistics.bodies += 1);
        if self.is_cut(Point::AfterDotBeforeAccept) {
            return Next::Cut;
        }
        self.world.wait_while(|faults| faults.smtp.hold_dot).await;
        let scripted = self.scripted(Stage::Dot);
        let taken = match (verdict, &scripted) {
            (Err(reply), _) => Err(reply),
            (Ok(()), Some(reply)) if reply.code != 250 => Err(reply.clone()),
            (Ok(()), _) => self.take_mail().await,
        };
        match &taken {
            Ok(_) => self.world.count(|statistics| statistics.messages += 1),
            Err(_) => self.world.count(|statistics| statistics.message_refusals += 1),
        }
        self.forget();
        let cut = taken.is_ok() && self.is_cut(Point::AfterDotAfterAccept);
        if cut {
            return Next::Cut;
        }
        let reply = match (taken, scripted) {
            (Ok(_), Some(reply)) => reply,
            (Ok(reply), None) | (Err(reply), _) => reply,
        };
        self.answer(&reply)
    }

    /// Judges the mail and keeps it; the reply is the acceptance.
    async fn take_mail(&mut self) -> Result<Reply, Reply> {
        let limits = self.world.limits();
        let (Some(mailbox), Some(envelope)) = (self.mailbox.clone(), self.envelope.take()) else {
            return Err(texts::not_authenticated(self.failure.as_ref()));
        };
        if self.size > limits.message_size {
            return Err(texts::TOO_LARGE);
        }
        let sender = envelope.sender.as_ref().map(|sender| sender.as_str());
        submission::judge(&mailbox, sender, &self.body, texts::BACK)?;
        let ledger = &self.world.ledger;
        let now = Instant::now();
        if !ledger.count_recipients(&mailbox.address, envelope.recipients.len(), &limits, now) {
            return Err(texts::QUOTA);
        }
        let wait = ledger.pace(&mailbox.address, &limits, now);
        if wait > Duration::ZERO {
            self.world.count(|statistics| statistics.delayed += 1);
            tokio::time::sleep(wait).await;
        }
        let message = self.message(mailbox, envelope);
        let accepted = texts::accepted(&message.message_id);
        if let Err(error) = self.world.messages.keep(message, &limits).await {
            tracing::warn!(%error, "sandbox: the mail could not be written");
            return Err(texts::NO_ROOM);
        }
        Ok(accepted)
    }

    fn message(&mut self, mailbox: Mailbox, envelope: Envelope) -> Message {
        let raw = self.body.split().freeze();
        // Exchange adds an id where there is none.
        let message_id = submission::header(&raw, "message-id")
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| format!("<{}@{}>", random::hex::<16>(), texts::BACK));
        Message {
            number: 0,
            received: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            mailbox: mailbox.address,
            client: self.dialogue.client_name().to_owned(),
            message_id,
            envelope,
            size: raw.len(),
            raw,
        }
    }

    fn forget(&mut self) {
        self.envelope = None;
        self.body.clear();
        self.size = 0;
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
                reply.write_within(LONGEST_LINE, &mut self.output);
            }
        }
        self.collect();
        Next::Close
    }
}
