//! The server half of SMTP as a machine: the daemon's front door and the sandbox's.
//!
//! `feed` takes what came, `advance` says what is to be done next and never waits, `output` holds what
//! is to be written before waiting for more input. An event that asks (marked so) must be answered with
//! [`Dialogue::answer`] before the next `advance`; RCPT may be put off with [`Dialogue::answer_later`], so that
//! a driver can ask somebody else about all of them at once.
//!
//! It promises that commands are answered one by one in their order however the octets are cut, that
//! what it holds of a client stays bounded and goes back when the session is idle, and that nothing sent
//! before a TLS handshake counts after it. It knows no users, mails or clocks.

mod command;
mod event;
mod later;
mod login;
mod phrases;
mod terms;
mod transaction;

pub use event::{Credentials, Event, Mail};
pub use phrases::Phrases;
pub use terms::Terms;

use super::Reply;
use super::data::Decoder;
use super::line::{Line, Lines};
use bytes::{Buf, BytesMut};
use later::Later;
use login::Exchange;
use std::collections::VecDeque;
use std::sync::Arc;
use transaction::Transaction;

/// Buffers that have grown beyond these are given back; so much is kept for the next command.
const IDLE_OUTPUT: usize = 1024;
const IDLE_INPUT: usize = 256;
/// The first octet of a TLS handshake (RFC 8446 §5.1); no command begins so.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the next octets are.
enum State {
    /// Commands.
    Command,
    /// An answer within AUTH.
    Login(Exchange),
    /// Whatever they are: the driver has to answer first.
    Asked(Question),
    /// A body by DATA.
    Body(Decoder),
    /// A body by BDAT: what is left of the chunk, and whether it is the last.
    Chunk { left: u64, size: u64, last: bool },
    /// A chunk that was refused.
    Skip { left: u64 },
    /// TLS, not ours.
    Handshake,
    /// Of no interest any more.
    Closing,
}

/// What the driver was asked.
enum Question {
    Login { bearer: bool },
    Mail { smtputf8: bool, binary: bool },
    Rcpt,
    Data,
    Chunk { size: u64, last: bool },
    BodyEnd { verdict: Option<Reply> },
}

/// One session.
pub struct Dialogue {
    terms: Arc<Terms>,
    tls: bool,
    input: BytesMut,
    output: BytesMut,
    lines: Lines,
    state: State,
    /// Answers that were put off, in the order of their commands.
    later: VecDeque<Later>,
    client_name: String,
    extended: bool,
    /// `Event::Hello` is to follow `Event::Reset`.
    hello_due: bool,
    /// A line was read: what comes now is no TLS handshake of a client that chose the wrong port.
    spoken: bool,
    authenticated: bool,
    transaction: Option<Transaction>,
    /// MAIL was refused: what a pipelining client sent behind it is out of order, but no fault of its own.
    pardoned: bool,
    errors: usize,
    ended: bool,
}

impl Dialogue {
    /// A new session; its greeting lies in the output. `tls`: the connection is already inside TLS.
    pub fn new(terms: Arc<Terms>, tls: bool) -> Self {
        let greeting = format!("{} {}", terms.hostname, terms.greeting);
        let mut dialogue = Self::silent(terms, tls);
        dialogue.say(&Reply { code: 220, enhanced: None, text: greeting.into() });
        dialogue
    }

    /// A session that is turned away with this reply (421) and closed.
    pub fn refused(terms: Arc<Terms>, reply: &Reply) -> Self {
        let mut dialogue = Self::silent(terms, false);
        dialogue.close(reply);
        dialogue
    }

    fn silent(terms: Arc<Terms>, tls: bool) -> Self {
        Self {
            terms,
            tls,
            input: BytesMut::new(),
            output: BytesMut::new(),
            lines: Lines::default(),
            state: State::Command,
            later: VecDeque::new(),
            client_name: String::new(),
            extended: false,
            hello_due: false,
            spoken: false,
            authenticated: false,
            transaction: None,
            pardoned: false,
            errors: 0,
            ended: false,
        }
    }

    /// Takes octets from the peer. Those between [`Event::StartTls`] and `tls_started`, and those after
    /// the end, are thrown away.
    pub fn feed(&mut self, octets: &[u8]) {
        if !matches!(self.state, State::Handshake | State::Closing) {
            self.input.extend_from_slice(octets);
        }
    }

    /// The peer closed its side.
    pub fn feed_end(&mut self) {
        self.ended = true;
    }

    /// What is to be done next; never waits.
    pub fn advance(&mut self) -> Event {
        loop {
            if let Some(event) = self.step() {
                return event;
            }
        }
    }

    fn step(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.hello_due) {
            return Some(Event::Hello);
        }
        if self.is_settling_due() {
            return Some(Event::Settle);
        }
        match &mut self.state {
            State::Command | State::Login(_) => self.line(),
            State::Body(_) => self.body(),
            State::Chunk { .. } => self.chunk(),
            State::Skip { left } => {
                let octets = self.input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.input.advance(octets);
                *left -= octets as u64;
                if *left == 0 {
                    self.state = State::Command;
                    return None;
                }
                Some(self.starve())
            }
            State::Asked(_) => {
                debug_assert!(false, "the last event was not answered");
                Some(Event::NeedInput)
            }
            State::Handshake => Some(Event::StartTls),
            State::Closing => Some(Event::Close),
        }
    }

    /// Nothing can be done before more input; gives back what an idle session does not need.
    fn starve(&mut self) -> Event {
        if self.ended {
            self.state = State::Closing;
            self.input = BytesMut::new();
            return Event::Close;
        }
        let is_idle = matches!(self.state, State::Command | State::Login(_));
        if is_idle && self.input.is_empty() && self.input.capacity() > IDLE_INPUT {
            self.input = BytesMut::new();
        }
        Event::NeedInput
    }

    fn line(&mut self) -> Option<Event> {
        let phrases = self.terms.phrases;
        if !self.spoken && !self.tls && self.input.first() == Some(&TLS_HANDSHAKE) {
            return self.close(&phrases.tls_unexpected);
        }
        let line = match self.lines.take(&mut self.input) {
            Line::NeedInput => return Some(self.starve()),
            Line::Endless => return self.close(&phrases.endless_line),
            line => line,
        };
        self.spoken = true;
        match (std::mem::replace(&mut self.state, State::Command), line) {
            (State::Login(exchange), Line::Whole(line)) => self.login_line(exchange, line),
            (State::Login(_), _) => self.wrong(&phrases.auth_line_too_long),
            (_, Line::Whole(line)) => self.command_line(line),
            (_, Line::TooLong(head)) => self.overlong_command(&head),
            (_, Line::Endless | Line::NeedInput) => None,
        }
    }

    /// The driver's yes or no to the event that asked. 421 ends the session.
    pub fn answer(&mut self, reply: &Reply) {
        let State::Asked(question) = std::mem::replace(&mut self.state, State::Command) else {
            debug_assert!(false, "nothing was asked");
            return;
        };
        let good = (200..400).contains(&reply.code);
        match question {
            Question::Login { bearer } => self.login_answered(bearer, reply),
            Question::Mail { smtputf8, binary } => {
                self.say(reply);
                self.pardoned = !good;
                self.transaction = good.then(|| Transaction::new(smtputf8, binary));
            }
            Question::Rcpt => {
                self.say(reply);
                if let Some(transaction) = &mut self.transaction {
                    transaction.rcpt_answered(good);
                }
            }
            Question::Data => self.data_answered(good, reply),
            Question::Chunk { size, last } => self.chunk_answered(good, reply, size, last),
            Question::BodyEnd { verdict } => {
                self.transaction = None;
                if good && verdict.is_none() {
                    self.errors = 0;
                }
                self.say(verdict.as_ref().unwrap_or(reply));
            }
        }
        if reply.code == 421 {
            self.state = State::Closing;
            self.input = BytesMut::new();
        }
    }

    /// TLS stands: everything before it is forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        *self = Self::silent(Arc::clone(&self.terms), true);
    }

    /// Octets of the peer that wait to be understood: a line without its end, three octets of a body.
    pub fn held(&self) -> usize {
        self.input.len()
    }

    /// Says this (421) and closes, between replies: timeout, shutdown.
    pub fn hang_up(&mut self, reply: &Reply) {
        if !matches!(self.state, State::Closing) {
            self.close(reply);
        }
    }

    /// What is to be written. Empty it by `clear`, `split` or `advance`.
    pub fn output(&mut self) -> &mut BytesMut {
        if self.output.is_empty() && self.output.capacity() > IDLE_OUTPUT {
            self.output = BytesMut::new();
        }
        &mut self.output
    }

    /// The name the client gave in EHLO or HELO, made printable; empty before.
    pub fn client_name(&self) -> &str {
        &self.client_name
    }

    /// Whether the client said EHLO (not HELO): for the protocol word in `Received:`.
    pub fn is_extended(&self) -> bool {
        self.extended
    }

    /// Whether the session is inside TLS: for the protocol word in `Received:`.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether a login was answered 235: for the protocol word in `Received:`.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether a transaction or body is under way: a drain lets it finish.
    pub fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Writes a reply. Returns what a step without an event returns.
    fn say(&mut self, reply: &Reply) -> Option<Event> {
        let out = self.later.back_mut().map_or(&mut self.output, |later| &mut later.behind);
        reply.write_within(self.terms.max_reply_line, out);
        None
    }

    /// Answers a wrong command, or ends the session where there were too many.
    fn wrong(&mut self, reply: &Reply) -> Option<Event> {
        self.errors += 1;
        if self.errors >= self.terms.max_errors {
            return self.close(&self.terms.phrases.too_many_errors);
        }
        self.say(reply)
    }

    fn close(&mut self, reply: &Reply) -> Option<Event> {
        self.state = State::Closing;
        self.input = BytesMut::new();
        self.say(reply)
    }
}

/// Without the input: there may be a password in it.
impl std::fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialogue")
            .field("client_name", &self.client_name)
            .field("tls", &self.tls)
            .field("authenticated", &self.authenticated)
            .field("in_transaction", &self.is_in_transaction())
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(in crate::smtp) mod tests {
    use super::*;
    use crate::mail::Address;
    use crate::smtp::Enhanced;
    use crate::smtp::extension::Extension;
    use crate::smtp::sasl::Mechanism;
    use std::fmt::Write;

    /// Everything offered but CHUNKING; small bounds.
    pub(in crate::smtp) fn terms() -> Terms {
        Terms {
            hostname: "relay.example".to_owned(),
            greeting: "ESMTP submitd".to_owned(),
            hello: "at your service".to_owned(),
            extensions: vec![
                Extension::Pipelining,
                Extension::Size,
                Extension::EightBitMime,
                Extension::SmtpUtf8,
                Extension::Dsn,
                Extension::StartTls,
                Extension::Auth,
                Extension::EnhancedStatusCodes,
            ],
            mechanisms: vec![
                Mechanism::Plain,
                Mechanism::Login,
                Mechanism::XOAuth2,
                Mechanism::OAuthBearer,
            ],
            hello_required: false,
            auth_needs_tls: false,
            auth_required: false,
            tls_required: false,
            bearer_refusal: None,
            max_message_size: 1000,
            max_recipients: 3,
            max_errors: 20,
            max_reply_line: 512,
            reject_bare_newline: false,
            phrases: Phrases::OURS,
        }
    }

    /// What a session said and asked.
    #[derive(Debug, Default, PartialEq)]
    pub(in crate::smtp) struct Talk {
        pub(in crate::smtp) output: String,
        /// One text per event; pieces of a body are joined.
        pub(in crate::smtp) events: Vec<String>,
        body: Vec<u8>,
        refuse_data: bool,
    }

    impl Talk {
        /// The reply lines behind the greeting.
        pub(in crate::smtp) fn replies(&self) -> Vec<String> {
            self.output.split_terminator("\r\n").skip(1).map(str::to_owned).collect()
        }

        /// How much of a dropped body came before the verdict depends on the cut.
        fn end_body(&mut self, dropped: bool) {
            let body = std::mem::take(&mut self.body);
            if !body.is_empty() && !dropped {
                self.events.push(format!("Body {:?}", String::from_utf8_lossy(&body)));
            }
        }

        /// Logs the event and gives the driver's answer: yes, but to those called `bad`.
        fn answer(&mut self, event: &Event, client: &str) -> Option<Reply> {
            if !matches!(event, Event::Body(_) | Event::NeedInput) {
                self.end_body(matches!(event, Event::BodyEnd(Err(_))));
            }
            let no = Reply::new(550, Enhanced(5, 1, 1), "no");
            let (text, answer) = match event {
                Event::NeedInput => return None,
                Event::Body(piece) => {
                    assert!(!piece.is_empty());
                    self.body.extend_from_slice(piece);
                    return None;
                }
                Event::Hello => (format!("Hello {client}"), None),
                Event::Authenticate(credentials) => {
                    let (kind, user, secret) = match credentials {
                        Credentials::Password { user, password } => ("Password", user, password),
                        Credentials::Bearer { user, token } => ("Bearer", user, token),
                    };
                    let answer = match secret.matches("good") {
                        true => Reply::new(235, Enhanced(2, 7, 0), "good"),
                        false => Reply::new(535, Enhanced(5, 7, 8), "bad"),
                    };
                    (format!("{kind} {user} {}", secret.expose()), Some(answer))
                }
                Event::Mail(mail) => {
                    let sender = mail.sender.as_ref().map_or("<>", Address::as_str);
                    self.refuse_data = sender.starts_with("late");
                    let yes = Reply::new(250, Enhanced(2, 1, 0), "OK");
                    (shown(mail), Some(if sender.starts_with("bad") { no } else { yes }))
                }
                Event::Rcpt(recipient) => {
                    let mut text = format!("Rcpt {}", recipient.address);
                    if recipient.notify.is_some_and(|notify| notify.is_never()) {
                        text += " never";
                    }
                    if let Some(orcpt) = &recipient.orcpt {
                        text = format!("{text} {orcpt}");
                    }
                    let yes = Reply::new(250, Enhanced(2, 1, 5), "OK");
                    (text, Some(if recipient.address.local() == "bad" { no } else { yes }))
                }
                Event::Data if self.refuse_data => {
                    ("Data".to_owned(), Some(Reply::new(451, Enhanced(4, 3, 0), "later")))
                }
                Event::Data => ("Data".to_owned(), Some(Phrases::OURS.start_input.clone())),
                Event::BodyEnd(verdict) => {
                    let text = verdict.as_ref().map_or_else(Reply::to_string, |()| "ok".to_owned());
                    let taken = Reply::new(250, Enhanced(2, 0, 0), "taken");
                    (format!("BodyEnd {text}"), Some(taken))
                }
                Event::StartTls => ("StartTls".to_owned(), None),
                Event::Reset => ("Reset".to_owned(), None),
                Event::Close => ("Close".to_owned(), None),
                // Nothing is put off here.
                Event::Settle => ("Settle".to_owned(), None),
            };
            self.events.push(text);
            answer
        }
    }

    fn shown(mail: &Mail) -> String {
        let sender = mail.sender.as_ref().map_or("<>", Address::as_str);
        let mut text = format!("Mail {sender}");
        if let Some(size) = mail.size {
            let _ = write!(text, " {size}");
        }
        let _ = write!(text, " {:?}", mail.body);
        if mail.smtputf8 {
            text += " SMTPUTF8";
        }
        if let Some(ret) = mail.ret {
            let _ = write!(text, " {ret:?}");
        }
        if let Some(envid) = &mail.envid {
            let _ = write!(text, " {envid}");
        }
        text
    }

    /// Feeds these pieces, then the end.
    pub(in crate::smtp) fn run(terms: &Terms, pieces: &[&[u8]]) -> Talk {
        let mut dialogue = Dialogue::new(Arc::new(terms.clone()), false);
        let mut talk = Talk::default();
        let mut pieces = pieces.iter();
        loop {
            let event = dialogue.advance();
            let answer = talk.answer(&event, dialogue.client_name());
            if let Some(answer) = answer {
                dialogue.answer(&answer);
            }
            let output = dialogue.output().split();
            talk.output += std::str::from_utf8(&output).expect("ASCII");
            match event {
                Event::Close => return talk,
                Event::StartTls => {
                    dialogue.feed(b"injected");
                    assert!(dialogue.input.is_empty());
                    dialogue.tls_started();
                }
                Event::NeedInput => match pieces.next() {
                    Some(piece) => dialogue.feed(piece),
                    None => dialogue.feed_end(),
                },
                _ => {}
            }
        }
    }

    /// The session, the same whether the octets come at once, one by one, or cut in two anywhere.
    pub(in crate::smtp) fn cut_everywhere(terms: &Terms, wire: &str) -> Talk {
        let wire = wire.as_bytes();
        let expected = run(terms, &[wire]);
        let single: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(run(terms, &single), expected);
        for cut in 1..wire.len() {
            let (a, b) = wire.split_at(cut);
            assert_eq!(run(terms, &[a, b]), expected, "cut at {cut}");
        }
        expected
    }

    /// The codes of the replies, the last line of each.
    pub(in crate::smtp) fn codes(output: &str) -> Vec<u16> {
        let last = output.split_terminator("\r\n").filter(|line| line.as_bytes()[3] == b' ');
        last.map(|line| line[..3].parse().expect("code")).collect()
    }

    #[test]
    fn a16_whole_groups_are_answered_in_one_write() {
        let mut dialogue = Dialogue::new(Arc::new(terms()), false);
        dialogue.feed(b"EHLO a\r\nNOOP\r\nVRFY x\r\nXYZZY\r\n");
        assert!(matches!(dialogue.advance(), Event::Hello));
        assert!(matches!(dialogue.advance(), Event::NeedInput));
        let output = String::from_utf8(dialogue.output().to_vec()).expect("ASCII");
        assert_eq!(codes(&output), [220, 250, 250, 252, 500]);
    }

    #[test]
    fn a_refused_session_says_why_and_ends() {
        let busy = Reply::new(421, Enhanced(4, 7, 0), "busy");
        let mut dialogue = Dialogue::refused(Arc::new(terms()), &busy);
        dialogue.feed(b"EHLO a\r\n");
        assert!(matches!(dialogue.advance(), Event::Close));
        assert_eq!(&dialogue.output()[..], b"421 4.7.0 busy\r\n");
    }

    #[test]
    fn hanging_up_ends_a_session_in_mid_body_once() {
        let mut dialogue = Dialogue::new(Arc::new(terms()), false);
        dialogue.feed(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nabc");
        let mut talk = Talk::default();
        loop {
            let event = dialogue.advance();
            match talk.answer(&event, "") {
                Some(answer) => dialogue.answer(&answer),
                None if matches!(event, Event::NeedInput) => break,
                None => {}
            }
        }
        assert!(dialogue.is_in_transaction());
        dialogue.output().clear();
        let bye = Reply::new(421, Enhanced(4, 3, 2), "bye");
        dialogue.hang_up(&bye);
        dialogue.hang_up(&bye);
        dialogue.feed(b"\r\n.\r\n");
        assert!(matches!(dialogue.advance(), Event::Close));
        assert_eq!(&dialogue.output()[..], b"421 4.3.2 bye\r\n");
    }

    #[test]
    fn an_answer_of_421_ends_the_session() {
        let mut dialogue = Dialogue::new(Arc::new(terms()), false);
        dialogue.feed(b"MAIL FROM:<a@b>\r\nNOOP\r\n");
        assert!(matches!(dialogue.advance(), Event::Mail(_)));
        dialogue.answer(&Reply::new(421, Enhanced(4, 3, 2), "bye"));
        assert!(matches!(dialogue.advance(), Event::Close));
        assert!(dialogue.output().ends_with(b"\r\n421 4.3.2 bye\r\n"));
    }

    #[test]
    fn a18_an_idle_session_holds_next_to_nothing() {
        let mut dialogue = Dialogue::new(Arc::new(terms()), false);
        let mut wire = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n".to_vec();
        wire.extend_from_slice(&[b'x'; 60_000]);
        wire.extend_from_slice(b"\r\n.\r\n");
        wire.extend_from_slice(&b"NOOP\r\n".repeat(1000));
        dialogue.feed(&wire);
        let mut talk = Talk::default();
        loop {
            let event = dialogue.advance();
            if let Some(answer) = talk.answer(&event, "") {
                dialogue.answer(&answer);
            }
            if matches!(event, Event::NeedInput) {
                break;
            }
        }
        dialogue.output().clear();
        dialogue.output();
        assert_eq!(dialogue.input.capacity(), 0);
        assert!(dialogue.output.capacity() <= IDLE_OUTPUT);
        assert!(std::mem::size_of::<Dialogue>() < 768, "{}", std::mem::size_of::<Dialogue>());
    }

    #[test]
    fn debug_shows_no_password() {
        let mut dialogue = Dialogue::new(Arc::new(terms()), false);
        dialogue.feed(b"AUTH PLAIN AHUAc2VjcmV0");
        assert!(!format!("{dialogue:?}").contains("AHUA"));
    }

    /// Lines that lead into every corner.
    fn any_line() -> impl proptest::strategy::Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "EHLO a\r\n",
            "HELO b\r\n",
            "MAIL FROM:<a@b>\r\n",
            "MAIL FROM:<late@b> BODY=BINARYMIME\r\n",
            "RCPT TO:<c@d>\r\n",
            "RCPT TO:<bad@d>\r\n",
            "DATA\r\n",
            "text\r\n",
            "..\r\n",
            ".\r\n",
            "\n.\n",
            "\r",
            "\0",
            "BDAT 7\r\n",
            "BDAT 3 LAST\r\n",
            "BDAT 99999\r\n",
            "AUTH PLAIN AHUAZ29vZA==\r\n",
            "AUTH PLAIN\r\n",
            "AUTH LOGIN\r\n",
            "AHUAYmFk\r\n",
            "*\r\n",
            "RSET\r\n",
            "QUIT\r\n",
            "XYZZY\n",
            "POST / HTTP/1.1\r\n",
        ])
    }

    proptest::proptest! {
        #[test]
        fn any_session_is_the_same_however_it_is_cut(
            lines in proptest::collection::vec(any_line(), 0..25),
            cuts in proptest::collection::vec(proptest::prelude::any::<proptest::sample::Index>(), 0..12),
            chunking: bool,
            reject: bool,
        ) {
            let mut terms = terms();
            terms.reject_bare_newline = reject;
            terms.max_errors = 6;
            if chunking {
                terms.extensions.extend([Extension::Chunking, Extension::BinaryMime]);
            }
            let wire = lines.concat().into_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            at.extend([0, wire.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            let expected = run(&terms, &[&wire]);
            let mut found = run(&terms, &pieces);
            // What is given out of a chunked body before it is dropped depends on the cut.
            let whole = |event: &String| !event.starts_with("Body \"");
            if expected.events.iter().any(|event| event == "Reset") || !expected.events.iter().any(|e| e.starts_with("BodyEnd")) {
                found.events.retain(whole);
                let mut expected = expected;
                expected.events.retain(whole);
                proptest::prop_assert_eq!(found, expected);
            } else {
                proptest::prop_assert_eq!(found, expected);
            }
        }
    }
}
