//! A mail that is handed on step by step: each command is answered before its sender knows what he will
//! say next. Beside [`Dialogue::send`], which has the whole mail.
//!
//! What is said together goes in one flight where the server offers PIPELINING (RFC 2920 §3.1), else command
//! by command. It promises one answer for each MAIL, RCPT, DATA and end, in their order, whatever becomes
//! of the connection, and that no body follows where no recipient was taken. It holds no sockets and no
//! clock.

use super::envelope::{fit, mail_command, rcpt_command};
use super::refusal::{out_of_place, refused};
use super::{Dialogue, Refusal, State, Step, Trouble};
use crate::mail::{BodyKind, Envelope, Recipient};
use crate::smtp::data::Stuffer;
use crate::smtp::extension::Extension;
use crate::smtp::{Enhanced, Reply};
use bytes::BytesMut;
use std::collections::VecDeque;

/// What came of one command.
pub type Heard = Result<Reply, Refusal>;

/// DATA without a recipient that was taken (RFC 5321 §3.3).
const NO_RECIPIENTS: Reply = Reply::new(554, Enhanced(5, 5, 1), "no valid recipients");
/// In place of the answer to DATA, which a mail by BDAT does without.
const GO_AHEAD: Reply = Reply::plain(354, "go ahead");

/// What was said, or is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Reset,
    Mail,
    Rcpt,
    Data,
    /// The place of DATA in a mail by BDAT: nothing is said.
    NoData,
    /// A lone dot after a 354 that came though no recipient was taken (RFC 2920 §3.1).
    Cancel,
    Chunk,
    End,
}

impl Said {
    fn step(self) -> Step {
        match self {
            Self::Reset | Self::Mail => Step::Mail,
            Self::Rcpt => Step::Rcpt,
            Self::Data | Self::NoData | Self::Cancel => Step::Data,
            Self::Chunk => Step::Body,
            Self::End => Step::Dot,
        }
    }

    /// Whether whoever said it waits for what came of it.
    fn is_told(self) -> bool {
        !matches!(self, Self::Reset | Self::Cancel | Self::Chunk)
    }
}

#[derive(Debug)]
enum Carriage {
    Data(Stuffer),
    /// Chosen: the mail could go by DATA as well.
    Bdat {
        is_chosen: bool,
    },
}

#[derive(Debug)]
pub(super) struct Relay {
    unsent: VecDeque<(Said, String)>,
    awaited: VecDeque<Said>,
    heard: VecDeque<Heard>,
    /// Recipients that were taken.
    taken: usize,
    carriage: Carriage,
    is_pipelined: bool,
    smtputf8: bool,
    is_in_body: bool,
    /// The server cannot take such a mail at all, or is gone: the answer to whatever is said.
    refusal: Option<Refusal>,
    is_gone: bool,
    /// Whether the server may still hold an envelope of ours.
    pub is_open_there: bool,
}

impl Relay {
    fn new(envelope: &Envelope, in_chunks: bool) -> Self {
        let carriage = match envelope.body {
            BodyKind::BinaryMime => Carriage::Bdat { is_chosen: false },
            _ if in_chunks => Carriage::Bdat { is_chosen: true },
            _ => Carriage::Data(Stuffer::new()),
        };
        Self {
            unsent: VecDeque::new(),
            awaited: VecDeque::new(),
            heard: VecDeque::new(),
            taken: 0,
            carriage,
            is_pipelined: false,
            smtputf8: envelope.smtputf8,
            is_in_body: false,
            refusal: None,
            is_gone: false,
            is_open_there: false,
        }
    }

    /// Where it stands. Once the end was said, only its answer tells what became of the mail.
    pub fn step(&self) -> Step {
        if self.awaited.contains(&Said::End) {
            return Step::Dot;
        }
        let resting = if self.is_in_body { Step::Body } else { Step::Mail };
        self.awaited.front().map_or(resting, |said| said.step())
    }

    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    pub fn is_answered(&self) -> bool {
        self.awaited.is_empty()
    }

    fn say(&mut self, said: Said, line: String) {
        match &self.refusal {
            Some(refusal) => self.heard.push_back(Err(refusal.clone())),
            None => self.unsent.push_back((said, line)),
        }
    }

    /// Writes what may be written now.
    fn proceed(&mut self, out: &mut BytesMut) {
        while let Some((said, _)) = self.unsent.front() {
            let is_alone = !self.is_pipelined || *said == Said::NoData;
            if is_alone && !self.awaited.is_empty() {
                return;
            }
            let Some((said, line)) = self.unsent.pop_front() else { return };
            if said == Said::NoData {
                self.is_in_body = self.taken > 0;
                let step = Step::Data;
                let none = Refusal { step, trouble: Trouble::Reply(NO_RECIPIENTS) };
                self.heard.push_back(if self.is_in_body { Ok(GO_AHEAD) } else { Err(none) });
                continue;
            }
            out.extend_from_slice(line.as_bytes());
            self.awaited.push_back(said);
        }
    }

    /// Takes the next reply; false where the connection is of no further use.
    pub fn take(&mut self, reply: Reply, out: &mut BytesMut) -> bool {
        let step = self.step();
        let Some(said) = self.awaited.front().copied() else {
            // Nobody asked: the server gives the body up before its end.
            return self.give_up(step, refused(reply));
        };
        let is_refusal = reply.is_transient() || reply.is_permanent();
        let is_good = match said {
            Said::Data => reply.code == 354,
            _ => reply.is_positive(),
        };
        if reply.code == 421 {
            return self.give_up(said.step(), Trouble::Reply(reply));
        }
        if !is_good && (!is_refusal || said == Said::Reset) {
            return self.give_up(step, out_of_place(&reply));
        }
        let is_bdat = matches!(said, Said::Chunk | Said::End)
            && matches!(self.carriage, Carriage::Bdat { is_chosen: true });
        if is_bdat && reply.is_no_command() {
            return self.give_up(step, Trouble::NotOffered("CHUNKING"));
        }
        self.awaited.pop_front();
        let refuse = |reply| Err(Refusal { step: said.step(), trouble: Trouble::Reply(reply) });
        match said {
            // What follows would be refused for it (RFC 3030 §2).
            Said::Chunk if !is_good => return self.give_up(Step::Body, Trouble::Reply(reply)),
            Said::Reset | Said::NoData | Said::Chunk => {}
            Said::Data if is_good && self.taken == 0 => {
                out.extend_from_slice(b".\r\n");
                self.awaited.push_front(Said::Cancel);
                return true;
            }
            Said::Cancel => {
                self.is_open_there = false;
                self.heard.push_back(refuse(NO_RECIPIENTS));
            }
            _ => {
                self.taken += usize::from(said == Said::Rcpt && is_good);
                self.is_in_body = said == Said::Data && is_good;
                self.is_open_there &= said != Said::End;
                self.heard.push_back(if is_good { Ok(reply) } else { refuse(reply) });
            }
        }
        self.proceed(out);
        true
    }

    /// Whatever waits for an answer gets this one; the connection is of no further use.
    pub fn give_up(&mut self, step: Step, trouble: Trouble) -> bool {
        let refusal = Refusal { step, trouble };
        let unsent = self.unsent.drain(..).map(|(said, _)| said);
        let told = self.awaited.drain(..).chain(unsent).filter(|said| said.is_told()).count();
        self.heard.extend(std::iter::repeat_n(Err(refusal.clone()), told));
        self.refusal.get_or_insert(refusal);
        self.is_gone = true;
        false
    }
}

impl Dialogue {
    /// MAIL of a mail that is handed on step by step, on a connection that is `Ready`. Of the envelope all
    /// but the recipients counts; `size` is what the client declared, if it did. `chunking`: by BDAT where
    /// that is offered, which spares the round trip of DATA.
    pub fn relay(&mut self, envelope: &Envelope, size: Option<u64>, chunking: bool) {
        let mut relay = Relay::new(envelope, chunking && self.offer.has(Extension::Chunking));
        if !matches!(self.state, State::Ready) {
            relay.give_up(Step::Mail, Trouble::Closed);
        } else if let Err(trouble) = fit(envelope, size.unwrap_or(0), &self.offer) {
            relay.refusal = Some(Refusal { step: Step::Mail, trouble });
            relay.is_open_there = self.needs_reset;
        } else {
            relay.is_pipelined = self.offer.has(Extension::Pipelining);
            relay.is_open_there = true;
            if self.needs_reset {
                relay.say(Said::Reset, "RSET\r\n".to_owned());
            }
        }
        relay.say(Said::Mail, mail_command(envelope, size, &self.offer));
        self.state = State::Relay(Box::new(relay));
    }

    /// RCPT; it is written by [`relay_on`](Self::relay_on).
    pub fn relay_recipient(&mut self, recipient: &Recipient) {
        if let State::Relay(relay) = &mut self.state {
            let line = rcpt_command(recipient, relay.smtputf8, &self.offer);
            relay.say(Said::Rcpt, line);
        }
    }

    /// DATA, or its place where the mail goes by BDAT; it is written by [`relay_on`](Self::relay_on).
    pub fn relay_data(&mut self) {
        if let State::Relay(relay) = &mut self.state {
            match relay.carriage {
                Carriage::Data(_) => relay.say(Said::Data, "DATA\r\n".to_owned()),
                Carriage::Bdat { .. } => relay.say(Said::NoData, String::new()),
            }
        }
    }

    /// Writes what was said; in one flight, where that may be.
    pub fn relay_on(&mut self) {
        if let State::Relay(relay) = &mut self.state {
            relay.proceed(&mut self.output);
        }
    }

    /// Whether each piece of the body becomes a chunk: bring large ones then.
    pub fn relays_in_chunks(&self) -> bool {
        matches!(&self.state, State::Relay(relay) if matches!(relay.carriage, Carriage::Bdat { .. }))
    }

    /// More of the body; only after a good answer to DATA.
    pub fn relay_body(&mut self, chunk: &[u8]) {
        let State::Relay(relay) = &mut self.state else { return };
        if relay.is_gone || !relay.is_in_body || chunk.is_empty() {
            return;
        }
        match &mut relay.carriage {
            Carriage::Data(stuffer) => stuffer.stuff(chunk, &mut self.output),
            Carriage::Bdat { .. } => {
                self.output.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
                self.output.extend_from_slice(chunk);
                relay.awaited.push_back(Said::Chunk);
            }
        }
    }

    /// The body is complete with this last piece of it: what ends it is the final dot, or `LAST` (RFC 3030 §2).
    pub fn relay_end(&mut self, rest: &[u8]) {
        let State::Relay(relay) = &mut self.state else { return };
        match (&relay.refusal, &mut relay.carriage) {
            (Some(refusal), _) => return relay.heard.push_back(Err(refusal.clone())),
            (None, Carriage::Data(stuffer)) => {
                stuffer.stuff(rest, &mut self.output);
                std::mem::take(stuffer).finish(&mut self.output);
            }
            (None, Carriage::Bdat { .. }) => {
                self.output.extend_from_slice(format!("BDAT {} LAST\r\n", rest.len()).as_bytes());
                self.output.extend_from_slice(rest);
            }
        }
        relay.is_in_body = false;
        relay.awaited.push_back(Said::End);
    }

    /// The next answer, in the order of what was said; none where it did not come yet.
    pub fn relay_heard(&mut self) -> Option<Heard> {
        match &mut self.state {
            State::Relay(relay) => relay.heard.pop_front(),
            _ => None,
        }
    }

    /// Why nothing more can be said; none where something can.
    pub fn relay_refusal(&self) -> Option<Refusal> {
        match &self.state {
            State::Relay(relay) => relay.refusal.clone(),
            _ => Some(Refusal { step: Step::Mail, trouble: Trouble::Closed }),
        }
    }

    /// Ends it, wherever it stands. True: the connection may take another mail (`RSET` goes before it where
    /// an envelope lies there). False: close it; what was not ended is not taken then.
    pub fn relay_over(&mut self) -> bool {
        let State::Relay(relay) = &self.state else {
            return matches!(self.state, State::Ready);
        };
        let is_good = !relay.is_gone
            && !relay.is_in_body
            && relay.awaited.is_empty()
            && relay.unsent.is_empty()
            && !self.is_ended;
        self.needs_reset = relay.is_open_there;
        self.state = if is_good { State::Ready } else { State::Closed };
        if is_good && self.output.is_empty() && self.output.capacity() > super::OUTPUT_KEPT {
            self.output = BytesMut::new();
        }
        is_good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Address;
    use crate::smtp::client::{Event, Terms};
    use crate::smtp::sasl_client::Login;

    /// Logged in at a server with these extensions.
    fn ready(extensions: &str) -> Dialogue {
        let terms = Terms { hostname: "here".into(), starttls: false, login: Login::default() };
        let mut dialogue = Dialogue::new(terms);
        let hello = format!("220 hi\r\n250-there\r\n{extensions}250 HELP\r\n");
        dialogue.feed(hello.as_bytes());
        assert!(matches!(dialogue.advance(), Event::Ready));
        dialogue.output().clear();
        dialogue
    }

    fn envelope() -> Envelope {
        Envelope {
            sender: Some(address("a@x")),
            body: BodyKind::Undeclared,
            smtputf8: false,
            ret: None,
            envid: None,
            recipients: Vec::new(),
        }
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn said(dialogue: &mut Dialogue) -> String {
        String::from_utf8(dialogue.output().split().to_vec()).unwrap()
    }

    /// The codes and steps of what was heard.
    fn heard(dialogue: &mut Dialogue) -> Vec<String> {
        let word = |heard: Heard| match heard {
            Ok(reply) => reply.code.to_string(),
            Err(Refusal { step, trouble: Trouble::Reply(reply) }) => {
                format!("{step:?} {}", reply.code)
            }
            Err(Refusal { step, trouble }) => format!("{step:?} {trouble:?}"),
        };
        std::iter::from_fn(|| dialogue.relay_heard()).map(word).collect()
    }

    /// Says MAIL, two RCPT and DATA together; feeds each text; gives what is written each time.
    fn play(extensions: &str, envelope: &Envelope, texts: &[&str]) -> (Vec<String>, Dialogue) {
        let mut dialogue = ready(extensions);
        dialogue.relay(envelope, Some(9), false);
        for to in ["b@x", "c@x"] {
            dialogue.relay_recipient(&Recipient::new(address(to)));
        }
        dialogue.relay_data();
        dialogue.relay_on();
        let mut written = vec![said(&mut dialogue)];
        for text in texts {
            dialogue.feed(text.as_bytes());
            while !matches!(dialogue.advance(), Event::NeedInput | Event::Ready | Event::Closed) {}
            written.push(said(&mut dialogue));
        }
        (written, dialogue)
    }

    const ALL: &str = "250-PIPELINING\r\n250-SIZE 99\r\n250-CHUNKING\r\n250-BINARYMIME\r\n";

    #[test]
    fn with_pipelining_one_flight_and_without_one_command_at_a_time() {
        let (written, mut dialogue) =
            play(ALL, &envelope(), &["250 a\r\n550 b\r\n25", "0 c\r\n354 go\r\n"]);
        let flight = "MAIL FROM:<a@x> SIZE=9\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n";
        assert_eq!(written, [flight, "", ""]);
        assert_eq!(heard(&mut dialogue), ["250", "Rcpt 550", "250", "354"]);
        dialogue.relay_body(b".x\r\n");
        dialogue.relay_end(b"");
        assert_eq!(said(&mut dialogue), "..x\r\n.\r\n");
        dialogue.feed(b"250 ok\r\n");
        assert!(matches!(dialogue.advance(), Event::Ready));
        assert_eq!(heard(&mut dialogue), ["250"]);
        assert!(dialogue.relay_over());
        // What the server ended itself needs no RSET.
        dialogue.relay(&envelope(), None, false);
        dialogue.relay_on();
        assert_eq!(said(&mut dialogue), "MAIL FROM:<a@x>\r\n");

        let texts = ["250 a\r\n", "250 b\r\n", "450 c\r\n", "354 go\r\n"];
        let (written, mut dialogue) = play("", &envelope(), &texts);
        let one = ["MAIL FROM:<a@x>\r\n", "RCPT TO:<b@x>\r\n", "RCPT TO:<c@x>\r\n", "DATA\r\n", ""];
        assert_eq!(written, one);
        assert_eq!(heard(&mut dialogue), ["250", "250", "Rcpt 450", "354"]);
        assert!(!dialogue.relay_over(), "a body was begun");
        assert!(matches!(dialogue.advance(), Event::Closed));
    }

    #[test]
    fn by_chunks_where_they_are_offered_and_a_server_that_does_not_know_them_is_found_out() {
        let begun = |extensions| {
            let mut dialogue = ready(extensions);
            dialogue.relay(&envelope(), None, true);
            dialogue.relay_recipient(&Recipient::new(address("b@x")));
            dialogue.relay_on();
            said(&mut dialogue);
            dialogue.feed(b"250 a\r\n250 b\r\n");
            dialogue.advance();
            dialogue.relay_data();
            dialogue.relay_on();
            dialogue
        };
        assert!(!begun("250-PIPELINING\r\n").relays_in_chunks());
        for (answers, expected) in [
            ("250 ok\r\n250 ok\r\n", "250"),
            ("250 ok\r\n502 what\r\n", "Dot NotOffered(\"CHUNKING\")"),
            ("500 what\r\n", "Dot NotOffered(\"CHUNKING\")"),
            ("250 ok\r\n452 full\r\n", "Dot 452"),
        ] {
            let mut dialogue = begun(ALL);
            assert_eq!(said(&mut dialogue), "", "no DATA");
            assert_eq!(heard(&mut dialogue), ["250", "250", "354"]);
            dialogue.relay_body(b".x\r\n");
            dialogue.relay_end(b".\r\n");
            assert_eq!(said(&mut dialogue), "BDAT 4\r\n.x\r\nBDAT 3 LAST\r\n.\r\n");
            dialogue.feed(answers.as_bytes());
            dialogue.advance();
            assert_eq!(heard(&mut dialogue), [expected], "{answers:?}");
            let is_known = !expected.contains("CHUNKING");
            assert_eq!(dialogue.relay_over(), is_known, "{answers:?}");
        }
    }

    #[test]
    fn a_354_without_recipients_is_ended_by_a_lone_dot() {
        let texts = ["250 a\r\n550 b\r\n550 c\r\n354 go\r\n", "554 nobody\r\n"];
        let (written, mut dialogue) = play(ALL, &envelope(), &texts);
        assert_eq!(written[1], ".\r\n");
        assert_eq!(heard(&mut dialogue), ["250", "Rcpt 550", "Rcpt 550", "Data 554"]);
        assert!(dialogue.relay_over());
    }

    #[test]
    fn an_envelope_that_was_left_is_reset_before_the_next() {
        let mut dialogue = ready(ALL);
        dialogue.relay(&envelope(), None, false);
        dialogue.relay_on();
        said(&mut dialogue);
        dialogue.feed(b"250 a\r\n");
        assert!(matches!(dialogue.advance(), Event::Ready));
        assert!(dialogue.relay_over());
        dialogue.relay(&envelope(), None, false);
        dialogue.relay_on();
        assert_eq!(said(&mut dialogue), "RSET\r\nMAIL FROM:<a@x>\r\n");
        dialogue.feed(b"250 r\r\n550 a\r\n");
        assert!(matches!(dialogue.advance(), Event::Ready));
        assert_eq!(heard(&mut dialogue), ["Mail 550"]);
    }

    #[test]
    fn everything_said_has_an_answer_wherever_the_connection_ends() {
        let whole = "250 a\r\n250 b\r\n250 c\r\n354 go\r\n";
        for cut in 0..whole.len() {
            let (_, mut dialogue) = play(ALL, &envelope(), &[&whole[..cut]]);
            dialogue.feed_end();
            assert!(matches!(dialogue.advance(), Event::Closed));
            let before = whole[..cut].matches('\n').count();
            let step = ["Mail", "Rcpt", "Rcpt", "Data"][before];
            let heard = heard(&mut dialogue);
            assert_eq!(heard.len(), 4, "cut at {cut}: {heard:?}");
            assert!(heard[before..].iter().all(|it| *it == format!("{step} Closed")), "{heard:?}");
            // Nor does what is said afterwards wait for ever.
            dialogue.relay_recipient(&Recipient::new(address("d@x")));
            dialogue.relay_data();
            dialogue.relay_end(b"");
            assert_eq!(self::heard(&mut dialogue).len(), 3);
            assert!(!dialogue.relay_over());
        }
    }

    #[test]
    fn after_the_end_a_lost_answer_is_known_as_such() {
        let (_, mut dialogue) = play(ALL, &envelope(), &["250 a\r\n250 b\r\n250 c\r\n354 go\r\n"]);
        heard(&mut dialogue);
        dialogue.relay_end(b"");
        dialogue.interrupt();
        assert_eq!(heard(&mut dialogue), ["Dot Interrupted"]);
        // A 421 is an answer: nothing was taken.
        let (_, mut dialogue) = play(ALL, &envelope(), &["250 a\r\n421 b\r\n"]);
        assert_eq!(heard(&mut dialogue), ["250", "Rcpt 421", "Rcpt 421", "Rcpt 421"]);
    }

    #[test]
    fn a_binary_mail_goes_by_chunks() {
        let binary = Envelope { body: BodyKind::BinaryMime, ..envelope() };
        let (written, mut dialogue) = play(ALL, &binary, &["250 a\r\n250 b\r\n250 c\r\n"]);
        assert!(written[0].ends_with("BODY=BINARYMIME\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n"));
        assert_eq!(heard(&mut dialogue), ["250", "250", "250", "354"]);
        dialogue.relay_body(b"\r.\n");
        dialogue.relay_end(b"");
        assert_eq!(said(&mut dialogue), "BDAT 3\r\n\r.\nBDAT 0 LAST\r\n");
        dialogue.feed(b"250 c\r\n250 all\r\n");
        assert!(matches!(dialogue.advance(), Event::Ready));
        assert_eq!(heard(&mut dialogue), ["250"]);
        assert!(dialogue.relay_over());
        let (_, mut dialogue) = play("250-PIPELINING\r\n", &binary, &[]);
        let no = "Mail NotOffered(\"BINARYMIME\")";
        assert_eq!(heard(&mut dialogue), [no; 4]);
        assert!(dialogue.relay_over(), "nothing was said to the server");
    }
}
