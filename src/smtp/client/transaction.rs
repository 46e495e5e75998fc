//! One mail of the client half: MAIL, RCPT, DATA, the body, the dot, and the answer of each recipient.
//!
//! With PIPELINING the whole envelope goes out in one flight (RFC 2920 §3.1), otherwise command by
//! command. A mail declared BINARYMIME goes by BDAT instead (RFC 3030): each piece is a chunk with its
//! own answer, and an empty last chunk stands for the dot. A small mail may go at once: envelope and body,
//! as one chunk that is the last, in a single flight. It promises one result for each recipient, that no
//! body follows DATA where no recipient was taken, and that a connection which is lost leaves a mail
//! undecided as soon as the server may have had its end. It holds no sockets and no clock.

use super::Event;
use super::envelope::{fit, mail_command, rcpt_command};
use super::refusal::{Refusal, Step, Trouble, out_of_place, refused};
use crate::mail::{BodyKind, Envelope};
use crate::smtp::Reply;
use crate::smtp::data::Stuffer;
use crate::smtp::extension::Extension;
use crate::smtp::offer::Offer;
use bytes::BytesMut;
use std::collections::VecDeque;

/// What a reply is expected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Reset,
    /// MAIL that is only asked about: nothing but RSET follows.
    Sender,
    Mail,
    Rcpt(usize),
    Data,
    /// A chunk that is not the last (RFC 3030 §2). Among what is unsent: the chunks begin here.
    Chunk,
    Dot,
    /// A lone dot after a 354 that came though no recipient was taken (RFC 2920 §3.1).
    Cancel,
}

impl Awaited {
    fn step(self) -> Step {
        match self {
            Self::Reset | Self::Sender | Self::Mail => Step::Mail,
            Self::Rcpt(_) => Step::Rcpt,
            Self::Data | Self::Cancel => Step::Data,
            Self::Chunk => Step::Body,
            Self::Dot => Step::Dot,
        }
    }
}

/// What a mail waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Commands and their replies, the dot's among them.
    Commands,
    /// The driver brings the body. Replies to its chunks may be outstanding.
    Body,
    /// The body is complete; the driver may say dot once no chunk waits for its reply.
    Commit,
    /// Every recipient has its result.
    Over,
}

/// How the body goes.
#[derive(Debug)]
enum Carriage {
    Data(Stuffer),
    Bdat,
    /// Envelope and body in one flight; the body, until it is complete.
    AtOnce(BytesMut),
}

#[derive(Debug)]
pub(super) struct Transaction {
    unsent: VecDeque<(Awaited, String)>,
    awaited: VecDeque<Awaited>,
    /// None: taken so far, or not yet asked.
    results: Vec<Option<Result<Reply, Refusal>>>,
    carriage: Carriage,
    is_pipelined: bool,
    pub phase: Phase,
    /// Whether the server may still hold an envelope of ours.
    pub is_open_there: bool,
}

impl Transaction {
    /// A mail of which nothing was said yet.
    pub fn idle(recipients: usize) -> Self {
        Self {
            unsent: VecDeque::new(),
            awaited: VecDeque::new(),
            results: vec![None; recipients],
            carriage: Carriage::Data(Stuffer::new()),
            is_pipelined: false,
            phase: Phase::Commands,
            is_open_there: false,
        }
    }

    /// Writes the first flight. `reset`: the one before left an envelope behind.
    pub fn begin(
        envelope: &Envelope,
        size: u64,
        offer: &Offer,
        reset: bool,
        out: &mut BytesMut,
    ) -> Result<Self, Trouble> {
        let mut transaction = Self::prepare(envelope, size, offer, reset)?;
        let is_held_back = |(awaited, _): &&(Awaited, String)| *awaited != Awaited::Chunk;
        let flight = transaction.unsent.iter().take_while(is_held_back).count();
        for _ in 0..if transaction.is_pipelined { flight } else { 1 } {
            transaction.send_next(out);
        }
        Ok(transaction)
    }

    /// A mail whose body is brought before anything of it is said.
    pub fn at_once(envelope: &Envelope, size: u64, offer: &Offer) -> Result<Self, Trouble> {
        let mut transaction = Self::prepare(envelope, size, offer, false)?;
        transaction.unsent.pop_back();
        transaction.carriage = Carriage::AtOnce(BytesMut::new());
        transaction.phase = Phase::Body;
        transaction.is_open_there = false;
        Ok(transaction)
    }

    fn prepare(
        envelope: &Envelope,
        size: u64,
        offer: &Offer,
        reset: bool,
    ) -> Result<Self, Trouble> {
        fit(envelope, size, offer)?;
        let mut unsent = VecDeque::new();
        if reset {
            unsent.push_back((Awaited::Reset, "RSET\r\n".to_owned()));
        }
        unsent.push_back((Awaited::Mail, mail_command(envelope, size, offer)));
        for (index, recipient) in envelope.recipients.iter().enumerate() {
            let line = rcpt_command(recipient, envelope.smtputf8, offer);
            unsent.push_back((Awaited::Rcpt(index), line));
        }
        let mut transaction = Self::idle(envelope.recipients.len());
        transaction.is_pipelined = offer.has(Extension::Pipelining);
        transaction.is_open_there = true;
        if envelope.body == BodyKind::BinaryMime {
            transaction.carriage = Carriage::Bdat;
            // Not in the first flight: octets are sent to a server only that took a recipient.
            unsent.push_back((Awaited::Chunk, String::new()));
        } else {
            unsent.push_back((Awaited::Data, "DATA\r\n".to_owned()));
        }
        transaction.unsent = unsent;
        Ok(transaction)
    }

    /// Asks whether the sender is taken, then takes it back.
    pub fn ask(envelope: &Envelope, offer: &Offer, out: &mut BytesMut) -> Result<Self, Trouble> {
        fit(envelope, 0, offer)?;
        let mut transaction = Self::idle(1);
        transaction.unsent.push_back((Awaited::Sender, mail_command(envelope, 0, offer)));
        transaction.unsent.push_back((Awaited::Reset, "RSET\r\n".to_owned()));
        transaction.send_next(out);
        Ok(transaction)
    }

    fn send_next(&mut self, out: &mut BytesMut) {
        if let Some((awaited, line)) = self.unsent.pop_front() {
            out.extend_from_slice(line.as_bytes());
            self.awaited.push_back(awaited);
        }
    }

    /// Where it stands.
    pub fn step(&self) -> Step {
        match (self.phase, &self.carriage) {
            (Phase::Body | Phase::Commit, Carriage::AtOnce(_)) => Step::Mail,
            (Phase::Body | Phase::Commit, _) => Step::Body,
            _ => self.awaited.front().map_or(Step::Mail, |awaited| awaited.step()),
        }
    }

    /// Where it stands if nothing more is heard. `is_written`: all that was said left us. A server that
    /// has the whole flight may take the mail whatever it has answered so far; one that lacks its last
    /// octet cannot.
    pub fn fate(&self, is_written: bool) -> Step {
        match self.carriage {
            Carriage::AtOnce(_) if !self.awaited.contains(&Awaited::Dot) => self.step(),
            Carriage::AtOnce(_) if is_written => Step::Dot,
            Carriage::AtOnce(_) => self.step().min(Step::Body),
            _ => self.step(),
        }
    }

    /// What the driver is to do while no reply lies in the input.
    pub fn wait(&self) -> Event {
        let is_answered = self.awaited.is_empty();
        match self.phase {
            Phase::Body if is_answered || self.is_pipelined => Event::Body,
            Phase::Commit if is_answered => Event::Commit,
            _ => Event::NeedInput,
        }
    }

    /// Takes the next reply; false where the connection is of no further use.
    pub fn take(&mut self, reply: Reply, out: &mut BytesMut) -> bool {
        let step = self.step();
        let Some(awaited) = self.awaited.pop_front() else {
            // Nobody asked: the server gives the body up before its end.
            return self.give_up(step, refused(reply));
        };
        if reply.code == 421 {
            return self.give_up(step, Trouble::Reply(reply));
        }
        let is_refusal = reply.is_transient() || reply.is_permanent();
        let is_lost = match awaited {
            Awaited::Cancel => false,
            Awaited::Data => reply.code != 354 && !is_refusal,
            _ => !reply.is_positive() && !is_refusal,
        };
        if is_lost {
            let fate = self.fate_after(awaited, out.is_empty());
            return self.give_up(fate, out_of_place(&reply));
        }
        match awaited {
            Awaited::Reset if is_refusal => return self.give_up(step, out_of_place(&reply)),
            Awaited::Reset => {}
            Awaited::Mail | Awaited::Sender if is_refusal => {
                self.settle(&Err(Refusal { step, trouble: Trouble::Reply(reply) }));
                self.unsent.clear();
            }
            Awaited::Sender => self.settle(&Ok(reply)),
            Awaited::Mail => {}
            Awaited::Rcpt(index) => self.take_rcpt(index, reply),
            Awaited::Data => self.take_data(reply, out),
            // No more of the body; what of it was written already still gets its replies.
            Awaited::Chunk if is_refusal => {
                self.settle(&Err(Refusal { step, trouble: Trouble::Reply(reply) }));
                self.phase = Phase::Commands;
            }
            Awaited::Chunk => {}
            Awaited::Dot if self.is_no_command(&reply) => {
                return self.give_up(step, Trouble::NotOffered("CHUNKING"));
            }
            Awaited::Dot if is_refusal => {
                // Of a flight that was refused the envelope may still lie there.
                self.is_open_there = matches!(self.carriage, Carriage::AtOnce(_));
                self.settle(&Err(Refusal { step, trouble: Trouble::Reply(reply) }));
            }
            Awaited::Dot => {
                self.settle(&Ok(reply));
                self.is_open_there = false;
            }
            Awaited::Cancel => self.is_open_there = false,
        }
        self.proceed(out);
        true
    }

    /// [`Self::fate`] once the reply for `awaited` has been taken off.
    fn fate_after(&self, awaited: Awaited, is_written: bool) -> Step {
        match (awaited, &self.carriage) {
            (Awaited::Dot, _) => Step::Dot,
            (_, Carriage::AtOnce(_)) => self.fate(is_written),
            _ => awaited.step(),
        }
    }

    /// Whether BDAT itself was not understood, though it was offered: its octets may be taken for commands
    /// now, so nothing more may follow. Where all recipients were refused, 503 is its right answer.
    fn is_no_command(&self, reply: &Reply) -> bool {
        let is_at_once = matches!(self.carriage, Carriage::AtOnce(_));
        is_at_once && reply.is_no_command() && self.has_taken()
    }

    fn take_rcpt(&mut self, index: usize, reply: Reply) {
        if let Some(result @ None) = self.results.get_mut(index)
            && !reply.is_positive()
        {
            *result = Some(Err(Refusal { step: Step::Rcpt, trouble: Trouble::Reply(reply) }));
        }
    }

    fn take_data(&mut self, reply: Reply, out: &mut BytesMut) {
        if reply.code != 354 {
            self.settle(&Err(Refusal { step: Step::Data, trouble: Trouble::Reply(reply) }));
        } else if self.has_taken() {
            self.phase = Phase::Body;
        } else {
            out.extend_from_slice(b".\r\n");
            self.awaited.push_back(Awaited::Cancel);
        }
    }

    fn proceed(&mut self, out: &mut BytesMut) {
        if !self.awaited.is_empty() || self.phase != Phase::Commands {
            return;
        }
        match self.unsent.front() {
            Some((Awaited::Data | Awaited::Chunk, _)) if !self.has_taken() => {
                self.phase = Phase::Over;
            }
            Some((Awaited::Chunk, _)) => {
                self.unsent.clear();
                self.phase = Phase::Body;
            }
            Some(_) => self.send_next(out),
            None => self.phase = Phase::Over,
        }
    }

    fn has_taken(&self) -> bool {
        self.results.iter().any(Option::is_none)
    }

    fn settle(&mut self, result: &Result<Reply, Refusal>) {
        for open in self.results.iter_mut().filter(|open| open.is_none()) {
            *open = Some(result.clone());
        }
    }

    /// Everything still open gets this; the connection is of no further use.
    pub fn give_up(&mut self, step: Step, trouble: Trouble) -> bool {
        self.settle(&Err(Refusal { step, trouble }));
        self.awaited.clear();
        self.unsent.clear();
        self.phase = Phase::Over;
        false
    }

    /// Writes more of the body.
    pub fn body(&mut self, chunk: &[u8], out: &mut BytesMut) {
        if self.phase != Phase::Body {
            return;
        }
        match &mut self.carriage {
            Carriage::Data(stuffer) => stuffer.stuff(chunk, out),
            Carriage::AtOnce(held) => held.extend_from_slice(chunk),
            Carriage::Bdat if chunk.is_empty() => {}
            Carriage::Bdat => {
                out.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
                out.extend_from_slice(chunk);
                self.awaited.push_back(Awaited::Chunk);
            }
        }
    }

    /// Writes the final dot, or the last chunk. That of a binary mail is empty: the others are answered
    /// before the commit, and only this one makes the mail the server's.
    pub fn dot(&mut self, out: &mut BytesMut) {
        if self.phase == Phase::Commit && self.awaited.is_empty() {
            while !self.unsent.is_empty() {
                self.send_next(out);
            }
            match &mut self.carriage {
                Carriage::Data(stuffer) => std::mem::take(stuffer).finish(out),
                Carriage::Bdat => out.extend_from_slice(b"BDAT 0 LAST\r\n"),
                Carriage::AtOnce(held) => {
                    self.is_open_there = true;
                    out.extend_from_slice(format!("BDAT {} LAST\r\n", held.len()).as_bytes());
                    out.unsplit(held.split());
                }
            }
            self.phase = Phase::Commands;
            self.awaited.push_back(Awaited::Dot);
        }
    }

    /// The results, once it is over.
    pub fn into_results(self) -> Vec<Result<Reply, Refusal>> {
        let lost = || Err(Refusal { step: Step::Mail, trouble: Trouble::Interrupted });
        self.results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }
}
