//! The client half of SMTP as a machine: towards the server that takes mail from us.
//!
//! `feed` takes what came, `advance` says what is to be done next and never waits, `output` holds what is
//! to be written before waiting for more input. It promises that nothing of the login is written before the
//! TLS that its terms ask for, that nothing read before TLS counts after it, and that every recipient of a mail gets a result. It
//! judges no reply beyond what the protocol needs; whether a mail is lost or retried is decided elsewhere.
//!
//! ```text
//! greeting ─ EHLO ─ STARTTLS ─ (TLS) ─ EHLO ─ AUTH ─ Ready ─ mail ─ Ready ─ … ─ QUIT
//! ```

mod ask;
mod envelope;
mod refusal;
mod relay;
mod sending;
mod transaction;

pub use refusal::{Refusal, Step, Trouble};
pub use relay::Heard;

use super::Reply;
use super::extension::Extension;
use super::offer::Offer;
use super::reply::Reader;
use super::sasl_client::{Login, Way};
use bytes::{Buf, BytesMut};
use refusal::{injected, refused};
use relay::Relay;
use transaction::{Phase, Transaction};

/// The output buffer of an idle connection is not kept beyond this.
const OUTPUT_KEPT: usize = 4 * 1024;

/// Who we are to the server.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Our name in EHLO.
    pub hostname: String,
    /// TLS comes by STARTTLS and never goes without; otherwise it is there from the start, or not wanted.
    pub starttls: bool,
    /// What is said in AUTH.
    pub login: Login,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Event {
    /// Write the output, read, `feed`.
    NeedInput,
    /// Do the TLS handshake, call `tls_started`. Nothing is left to be written or read before it.
    StartTls,
    /// Logged in and idle: `send` a mail or `quit`. Of a mail that is handed on step by step: all that was
    /// said so far is answered.
    Ready,
    /// Bring more of the body by `body`, or end it by `body_end`. Write the output whenever it is large.
    /// Of a mail declared BINARYMIME each piece becomes a chunk: bring it in large ones.
    Body,
    /// The body is complete: write the output, then `dot`, or `interrupt`.
    Commit,
    /// One result for each recipient, in their order. `advance` then says whether it goes on.
    Finished(Vec<Result<Reply, Refusal>>),
    /// It did not come to `Ready`: the connection is of no use.
    Failed(Refusal),
    /// The connection is of no use any more: write the output if that can be done and close.
    Closed,
}

#[derive(Debug)]
enum State {
    Greeting,
    Hello,
    StartTls,
    Handshake,
    Auth(Way),
    /// The server answered a token with a challenge, an error in JSON (RFC 7628 §3.2.2), and was told that we
    /// are done.
    Challenged,
    Ready,
    Mail(Box<Transaction>),
    Relay(Box<Relay>),
    Quit,
    Failed(Refusal),
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Dialogue {
    terms: Terms,
    state: State,
    is_inside_tls: bool,
    offer: Offer,
    reader: Reader,
    input: BytesMut,
    output: BytesMut,
    is_ended: bool,
    needs_reset: bool,
    replies: usize,
}

impl Dialogue {
    /// A new connection: the server speaks first.
    pub fn new(terms: Terms) -> Self {
        Self {
            is_inside_tls: !terms.starttls,
            terms,
            state: State::Greeting,
            offer: Offer::default(),
            reader: Reader::new(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_ended: false,
            needs_reset: false,
            replies: 0,
        }
    }

    /// Takes octets from the server.
    pub fn feed(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// The server closed its side.
    pub fn feed_end(&mut self) {
        self.is_ended = true;
    }

    /// What is to be written.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// What the server offers since its last EHLO reply.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Replies since the connection began: a driver sees by it whether the server goes on.
    pub fn replies(&self) -> usize {
        self.replies
    }

    /// Where it stands; Mail while idle.
    pub fn step(&self) -> Step {
        match &self.state {
            State::Greeting => Step::Greeting,
            State::Hello => Step::Hello,
            State::StartTls | State::Handshake => Step::Tls,
            State::Auth(_) | State::Challenged => Step::Auth,
            State::Mail(transaction) => transaction.step(),
            State::Relay(relay) => relay.step(),
            State::Failed(refusal) => refusal.step,
            State::Ready | State::Quit | State::Closed => Step::Mail,
        }
    }

    /// What is to be done next; never waits.
    pub fn advance(&mut self) -> Event {
        loop {
            match &self.state {
                State::Handshake => return Event::StartTls,
                State::Failed(refusal) => {
                    let event = Event::Failed(refusal.clone());
                    self.state = State::Closed;
                    return event;
                }
                State::Closed => return Event::Closed,
                State::Mail(transaction) if transaction.phase == Phase::Over => {
                    return self.finish();
                }
                State::Relay(relay) if relay.is_gone() => return Event::Closed,
                _ => {}
            }
            let mut rest = &self.input[..];
            let result = self.reader.read(&mut rest);
            let used = self.input.len() - rest.len();
            self.input.advance(used);
            match result {
                Ok(Some(reply)) => self.take(reply),
                Ok(None) if self.is_ended => self.break_off(Trouble::Closed),
                Ok(None) => return self.wait(),
                Err(error) => self.break_off(Trouble::Protocol(error.to_string())),
            }
        }
    }

    fn wait(&self) -> Event {
        match &self.state {
            State::Ready => Event::Ready,
            State::Mail(transaction) => transaction.wait(),
            State::Relay(relay) if relay.is_answered() => Event::Ready,
            _ => Event::NeedInput,
        }
    }

    fn finish(&mut self) -> Event {
        let next = if self.is_ended { State::Closed } else { State::Ready };
        let State::Mail(transaction) = std::mem::replace(&mut self.state, next) else {
            return Event::Closed;
        };
        self.needs_reset = transaction.is_open_there;
        if self.output.is_empty() && self.output.capacity() > OUTPUT_KEPT {
            self.output = BytesMut::new();
        }
        Event::Finished(transaction.into_results())
    }

    fn fail(&mut self, trouble: Trouble) {
        self.state = State::Failed(Refusal { step: self.step(), trouble });
    }

    /// What is under way fails with this; nothing may follow on this connection.
    fn break_off(&mut self, trouble: Trouble) {
        let is_written = self.output.is_empty();
        self.is_ended = true;
        self.output.clear();
        match &mut self.state {
            State::Mail(transaction) => {
                let fate = transaction.fate(is_written);
                transaction.give_up(fate, trouble);
            }
            State::Relay(relay) => {
                relay.give_up(relay.step(), trouble);
            }
            State::Ready | State::Quit | State::Closed => self.state = State::Closed,
            State::Failed(_) => {}
            _ => self.fail(trouble),
        }
    }

    /// The driver gives up: timeout, lost network, no commit. The final dot is not written any more.
    pub fn interrupt(&mut self) {
        self.break_off(Trouble::Interrupted);
    }

    fn take(&mut self, reply: Reply) {
        self.replies += 1;
        match &mut self.state {
            State::Greeting => self.take_greeting(reply),
            State::Hello => self.take_hello(reply),
            State::StartTls => self.take_starttls(reply),
            State::Auth(_) | State::Challenged => self.take_login(reply),
            State::Mail(transaction) => {
                if !transaction.take(reply, &mut self.output) {
                    self.is_ended = true;
                    self.output.clear();
                }
            }
            State::Relay(relay) => {
                if !relay.take(reply, &mut self.output) {
                    self.is_ended = true;
                    self.output.clear();
                }
            }
            // Out of turn: a 421 before an idle connection is closed, or an answer too many.
            State::Ready | State::Quit | State::Handshake | State::Failed(_) | State::Closed => {
                self.state = State::Closed;
            }
        }
    }

    fn take_greeting(&mut self, reply: Reply) {
        if reply.code == 220 { self.say_hello() } else { self.fail(refused(reply)) }
    }

    fn say_hello(&mut self) {
        self.output.extend_from_slice(format!("EHLO {}\r\n", self.terms.hostname).as_bytes());
        self.state = State::Hello;
    }

    fn take_hello(&mut self, reply: Reply) {
        if reply.code != 250 {
            return self.fail(refused(reply));
        }
        self.offer = Offer::read(&reply);
        if !self.is_inside_tls {
            self.state = State::StartTls;
            if !self.offer.has(Extension::StartTls) {
                return self.fail(Trouble::NotOffered("STARTTLS"));
            }
            self.output.extend_from_slice(b"STARTTLS\r\n");
            return;
        }
        // Said once; an idle connection need not hold it.
        let mut login = std::mem::take(&mut self.terms.login);
        if login.is_needless() {
            return self.state = State::Ready;
        }
        let wanted = login.wanted();
        let Some(way) = login.choose(&self.offer) else {
            return self.state =
                State::Failed(Refusal { step: Step::Auth, trouble: Trouble::NotOffered(wanted) });
        };
        // In two steps: with the response the line would be longer than 512 octets (RFC 4954 §4).
        self.output.extend_from_slice(format!("AUTH {}\r\n", way.mechanism.name()).as_bytes());
        self.state = State::Auth(way);
    }

    fn take_starttls(&mut self, reply: Reply) {
        if reply.code != 220 {
            return self.fail(refused(reply));
        }
        // RFC 3207 §4.2, CVE-2011-0411: somebody on the way put answers before the handshake.
        if !self.input.is_empty() || self.reader.is_midway() {
            return self.fail(injected());
        }
        self.state = State::Handshake;
    }

    /// TLS stands: everything before it is forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        if !matches!(self.state, State::Handshake) {
            return;
        }
        if !self.input.is_empty() {
            return self.fail(injected());
        }
        self.offer = Offer::default();
        self.reader = Reader::new();
        self.is_inside_tls = true;
        self.say_hello();
    }

    fn take_login(&mut self, reply: Reply) {
        let next = match (reply.code, &mut self.state) {
            (235, State::Auth(way)) if way.responses.is_empty() => {
                return self.state = State::Ready;
            }
            (235, State::Challenged) => return self.state = State::Ready,
            (334, State::Auth(way)) => way.responses.pop_front().ok_or(way.dismissal()),
            _ => return self.fail(refused(reply)),
        };
        match next {
            Ok(response) => self.say(response.expose()),
            Err(Some(dismissal)) => {
                self.say(dismissal);
                self.state = State::Challenged;
            }
            Err(None) => self.fail(refused(reply)),
        }
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Says goodbye on a connection that is `Ready`.
    pub fn quit(&mut self) {
        if matches!(self.state, State::Ready) {
            self.output.extend_from_slice(b"QUIT\r\n");
            self.state = State::Quit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Address, BodyKind, Envelope, Notify, Recipient, Ret};
    use crate::secret::Secret;

    const BODY: &[u8] = b"Subject: x\r\n\r\n.dot\r\nend\r\n";
    /// What a mail declared BINARYMIME brings, piece by piece.
    const PIECES: [&[u8]; 3] = [b".\r\n", b"", b"\0\r.\r\n"];

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn token() -> Login {
        Login::bearer("u@x", &Secret::new("tok"), ("server.example", 587), None).unwrap()
    }

    fn envelope(recipients: &[&str]) -> Envelope {
        Envelope {
            sender: Some(address("s@x")),
            body: BodyKind::Undeclared,
            smtputf8: false,
            ret: None,
            envid: None,
            recipients: recipients.iter().map(|r| Recipient::new(address(r))).collect(),
        }
    }

    /// What happened in a play.
    #[derive(Debug, Default, PartialEq)]
    struct Played {
        ready: usize,
        commits: usize,
        results: Vec<Vec<String>>,
        failed: Option<Refusal>,
        closed: bool,
    }

    struct Stage {
        dialogue: Dialogue,
        at_once: bool,
        mails: Vec<Envelope>,
        pieces: Vec<&'static [u8]>,
        commits: bool,
        wants_tls: bool,
        sent: Vec<u8>,
        played: Played,
    }

    impl Stage {
        fn pump(&mut self) {
            self.wants_tls = false;
            loop {
                let event = self.dialogue.advance();
                self.sent.extend_from_slice(&self.dialogue.output().split());
                match event {
                    Event::NeedInput => return,
                    Event::StartTls => return self.wants_tls = true,
                    Event::Ready if self.mails.is_empty() => return self.played.ready += 1,
                    Event::Ready => {
                        let mail = self.mails.remove(0);
                        self.pieces = if mail.body == BodyKind::BinaryMime {
                            PIECES.to_vec()
                        } else {
                            BODY.chunks(1).collect()
                        };
                        let size = BODY.len() as u64;
                        match self.at_once {
                            true => self.dialogue.send_at_once(&mail, size),
                            false => self.dialogue.send(&mail, size),
                        }
                    }
                    Event::Body if self.pieces.is_empty() => self.dialogue.body_end(),
                    Event::Body => {
                        let piece = self.pieces.remove(0);
                        self.dialogue.body(piece);
                    }
                    Event::Commit => {
                        self.played.commits += 1;
                        if self.commits { self.dialogue.dot() } else { self.dialogue.interrupt() }
                    }
                    Event::Finished(results) => self.played.results.push(
                        results
                            .into_iter()
                            .map(|result| match result {
                                Ok(reply) => reply.to_string(),
                                Err(Refusal { step, trouble }) => format!("{step:?} {trouble:?}"),
                            })
                            .collect(),
                    ),
                    Event::Failed(refusal) => self.played.failed = Some(refusal),
                    Event::Closed => return self.played.closed = true,
                }
            }
        }
    }

    /// Plays a script, the server's octets in pieces of `piece`.
    fn play_in(
        piece: usize,
        starttls: bool,
        commits: bool,
        script: &str,
        mails: &[Envelope],
    ) -> Played {
        play_with(piece, (starttls, commits, false), token(), script, mails)
    }

    fn play_with(
        piece: usize,
        (starttls, commits, at_once): (bool, bool, bool),
        login: Login,
        script: &str,
        mails: &[Envelope],
    ) -> Played {
        let terms = Terms { hostname: "me.example".into(), starttls, login };
        let mut stage = Stage {
            dialogue: Dialogue::new(terms),
            at_once,
            mails: mails.to_vec(),
            pieces: Vec::new(),
            commits,
            wants_tls: false,
            sent: Vec::new(),
            played: Played::default(),
        };
        let mut heard = Vec::new();
        for line in script.lines().map(str::trim_start).chain(["."]) {
            if let Some(text) = line.strip_prefix("S: ") {
                heard.extend_from_slice(text.as_bytes());
                heard.extend_from_slice(b"\r\n");
                continue;
            }
            for part in heard.chunks(piece) {
                stage.dialogue.feed(part);
                stage.pump();
            }
            heard.clear();
            match line {
                "END" => stage.dialogue.feed_end(),
                "TLS" => {
                    assert!(stage.wants_tls, "no TLS wanted");
                    stage.dialogue.tls_started();
                }
                _ => {}
            }
            stage.pump();
            if let Some(text) = line.strip_prefix("C: ") {
                let text = format!("{text}\r\n").into_bytes();
                let front = &stage.sent[..text.len().min(stage.sent.len())];
                assert_eq!(front.escape_ascii().to_string(), text.escape_ascii().to_string());
                stage.sent.drain(..text.len());
            }
        }
        assert_eq!(stage.sent.escape_ascii().to_string(), "", "nothing more is said");
        stage.played.ready = usize::from(stage.played.ready > 0);
        stage.played
    }

    /// The same however the octets come.
    fn play(script: &str, mails: &[Envelope]) -> Played {
        let whole = play_in(usize::MAX, true, true, script, mails);
        for piece in 1..40 {
            assert_eq!(play_in(piece, true, true, script, mails), whole, "pieces of {piece}");
        }
        whole
    }

    /// The same, small mail going at once.
    fn play_at_once(script: &str, mails: &[Envelope]) -> Played {
        let whole = play_with(usize::MAX, (true, true, true), token(), script, mails);
        for piece in 1..40 {
            let cut = play_with(piece, (true, true, true), token(), script, mails);
            assert_eq!(cut, whole, "pieces of {piece}");
        }
        whole
    }

    const LOGIN: &str = "S: 220 there ESMTP
        C: EHLO me.example
        S: 250-there
        S: 250-STARTTLS
        S: 250 PIPELINING
        C: STARTTLS
        S: 220 2.0.0 ready
        TLS
        C: EHLO me.example
        S: 250-there
        S: 250-SIZE 1000
        S: 250-AUTH LOGIN XOAUTH2
        {OFFER}
        S: 250 ENHANCEDSTATUSCODES
        C: AUTH XOAUTH2
        S: 334 
        C: dXNlcj11QHgBYXV0aD1CZWFyZXIgdG9rAQE=
        S: 235 2.7.0 Authentication successful
        ";

    fn after_login(offer: &str, script: &str) -> String {
        let offer: String = offer.split(' ').map(|word| format!("S: 250-{word}\n")).collect();
        LOGIN.replace("{OFFER}", &offer) + script
    }

    #[test]
    fn logs_in_and_sends_in_one_flight() {
        let script = after_login(
            "PIPELINING",
            "C: MAIL FROM:<s@x> SIZE=25
            C: RCPT TO:<a@x>
            C: DATA
            S: 250 2.1.0 ok
            S: 250 2.1.5 ok
            S: 354 go
            C: Subject: x
            C: 
            C: ..dot
            C: end
            C: .
            S: 250 2.0.0 OK <id> [Hostname=h]",
        );
        let played = play(&script, &[envelope(&["a@x"])]);
        assert_eq!(played.results, [["250 2.0.0 OK <id> [Hostname=h]"]]);
        assert!(played.ready == 1 && played.commits == 1 && !played.closed);
    }

    #[test]
    fn without_pipelining_each_command_waits() {
        let mail = "C: MAIL FROM:<s@x> SIZE=25
            S: 250 ok
            C: RCPT TO:<a@x>
            S: 250 ok
            C: RCPT TO:<b@x>
            S: 550 5.1.1 no
            C: DATA
            S: 354 go
            C: Subject: x
            C: 
            C: ..dot
            C: end
            C: .
            S: 250 taken
            ";
        let script = after_login("X", &mail.repeat(2));
        let mails = [envelope(&["a@x", "b@x"]), envelope(&["a@x", "b@x"])];
        let played = play(&script, &mails);
        let refused = "Rcpt Reply(Reply(550 5.1.1 no))";
        assert_eq!(played.results, [["250 taken", refused], ["250 taken", refused]]);
    }

    #[test]
    fn b06_each_recipient_keeps_its_own_reply() {
        let script = after_login(
            "PIPELINING",
            "C: MAIL FROM:<s@x> SIZE=25
            C: RCPT TO:<a@x>
            C: RCPT TO:<b@x>
            C: RCPT TO:<c@x>
            C: DATA
            S: 250 ok
            S: 550-5.1.1 no
            S: 550 5.1.1 such user
            S: 452 4.5.3 later
            S: 251 forwards
            S: 354 go
            C: Subject: x
            C: 
            C: ..dot
            C: end
            C: .
            S: 250 taken",
        );
        let played = play(&script, &[envelope(&["a@x", "b@x", "c@x"])]);
        let results = &played.results[0];
        assert_eq!(results[0], "Rcpt Reply(Reply(550 5.1.1 no such user))");
        assert_eq!(results[1], "Rcpt Reply(Reply(452 4.5.3 later))");
        assert_eq!(results[2], "250 taken");
    }

    #[test]
    fn no_body_where_no_recipient_was_taken() {
        let flight = "C: MAIL FROM:<s@x> SIZE=25
            C: RCPT TO:<a@x>
            C: DATA
            ";
        // A 354 all the same is answered by a lone dot; otherwise RSET opens the next flight.
        let script = after_login(
            "PIPELINING",
            &format!(
                "{flight}S: 250 ok
                S: 550 no
                S: 354 go
                C: .
                S: 554 no recipients
                {flight}S: 250 ok
                S: 550 no
                S: 503 no recipients
                C: RSET
                {flight}S: 250 reset
                S: 451 4.7.500 busy
                S: 503 no
                S: 503 no"
            ),
        );
        let mail = envelope(&["a@x"]);
        let played = play(&script, &[mail.clone(), mail.clone(), mail.clone()]);
        let refused = "Rcpt Reply(Reply(550 no))";
        assert_eq!(played.results, [[refused], [refused], ["Mail Reply(Reply(451 4.7.500 busy))"]]);
        assert!(played.commits == 0 && played.ready == 1);

        let script = after_login(
            "X",
            "C: MAIL FROM:<s@x> SIZE=25
            S: 250 ok
            C: RCPT TO:<a@x>
            S: 550 no
            C: RSET
            S: 250 ok
            C: MAIL FROM:<s@x> SIZE=25
            S: 550 no",
        );
        let played = play(&script, &[mail.clone(), mail]);
        assert_eq!(played.results, [[refused], ["Mail Reply(Reply(550 no))"]]);
    }

    #[test]
    fn refusals_and_ends_are_told_with_their_step() {
        let flight = "C: MAIL FROM:<s@x> SIZE=25
            C: RCPT TO:<a@x>
            C: RCPT TO:<b@x>
            C: DATA
            ";
        let body = "S: 250 ok
            S: 250 ok
            S: 250 ok
            S: 354 go
            C: Subject: x
            C: 
            C: ..dot
            C: end
            C: .
            ";
        let same = |text: &str| vec![text.to_owned(); 2];
        let table = [
            ("END".to_owned(), same("Mail Closed"), true),
            ("S: 250 ok\nEND".into(), same("Rcpt Closed"), true),
            ("S: 250 ok\nS: 250 ok\nS: 250 ok\nEND".into(), same("Data Closed"), true),
            (
                "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 451 4.3.0 no".into(),
                same("Data Reply(Reply(451 4.3.0 no))"),
                false,
            ),
            ("S: 421 4.4.2 bye".into(), same("Mail Reply(Reply(421 4.4.2 bye))"), true),
            (
                "S: 250 ok\nS: 550 no\nS: 421 bye".into(),
                vec!["Rcpt Reply(Reply(550 no))".into(), "Rcpt Reply(Reply(421 bye))".into()],
                true,
            ),
            ("S: 354 what".into(), same("Mail Protocol(\"answer out of place: 354 what\")"), true),
            (format!("{body}END"), same("Dot Closed"), true),
            (format!("{body}S: 432 4.3.2 slow"), same("Dot Reply(Reply(432 4.3.2 slow))"), false),
            (format!("{body}S: 421 x"), same("Dot Reply(Reply(421 x))"), true),
            (format!("{body}S: 250 taken\nEND"), same("250 taken"), true),
            (
                format!("{body}S: hello"),
                same("Dot Protocol(\"a line is no reply: \\\"hello\\\"\")"),
                true,
            ),
        ];
        for (script, results, closed) in table {
            let script = after_login("PIPELINING", &format!("{flight}{script}"));
            let played = play(&script, &[envelope(&["a@x", "b@x"])]);
            assert_eq!(played.results, [results], "{script}");
            assert_eq!(played.closed, closed, "{script}");
        }
    }

    #[test]
    fn without_commit_there_is_no_dot() {
        let script = after_login(
            "PIPELINING",
            "C: MAIL FROM:<s@x> SIZE=25
            C: RCPT TO:<a@x>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 354 go
            C: Subject: x
            C: 
            C: ..dot
            C: end",
        );
        let played = play_in(1, true, false, &script, &[envelope(&["a@x"])]);
        assert_eq!(played.results, [["Body Interrupted"]]);
        assert!(played.closed);
    }

    fn binary(recipients: &[&str]) -> Envelope {
        Envelope { body: BodyKind::BinaryMime, ..envelope(recipients) }
    }

    const BINARY: &str = "PIPELINING CHUNKING BINARYMIME";

    const CHUNKS: &str = "C: BDAT 3
            C: .
            C: BDAT 5
            C: \0\r.
            ";

    #[test]
    fn binary_goes_in_chunks_and_the_last_one_after_the_commit() {
        let script = after_login(
            BINARY,
            &format!(
                "C: MAIL FROM:<s@x> SIZE=25 BODY=BINARYMIME
                C: RCPT TO:<a@x>
                C: RCPT TO:<b@x>
                S: 250 ok
                S: 550 5.1.1 no
                S: 250 ok
                {CHUNKS}S: 250 3 octets
                S: 250 5 octets
                C: BDAT 0 LAST
                S: 250 taken
                C: MAIL FROM:<s@x> SIZE=25
                C: RCPT TO:<a@x>
                C: DATA"
            ),
        );
        let played = play(&script, &[binary(&["a@x", "b@x"]), envelope(&["a@x"])]);
        assert_eq!(played.results, [["Rcpt Reply(Reply(550 5.1.1 no))", "250 taken"]]);
        assert_eq!(played.commits, 1);
    }

    #[test]
    fn without_pipelining_each_chunk_waits() {
        let script = after_login(
            "BINARYMIME CHUNKING",
            "C: MAIL FROM:<s@x> SIZE=25 BODY=BINARYMIME
            S: 250 ok
            C: RCPT TO:<a@x>
            S: 250 ok
            C: BDAT 3
            C: .
            S: 250 ok
            C: BDAT 5
            C: \0\r.
            S: 250 ok
            C: BDAT 0 LAST
            S: 250 taken
            C: MAIL FROM:<s@x> SIZE=25 BODY=BINARYMIME
            S: 250 ok
            C: RCPT TO:<a@x>
            S: 250 ok
            C: BDAT 3
            C: .
            S: 452 4.3.1 full
            C: RSET
            S: 250 ok
            C: MAIL FROM:<s@x> SIZE=25 BODY=BINARYMIME
            S: 250 ok
            C: RCPT TO:<a@x>
            S: 550 no
            C: RSET
            S: 250 ok
            C: MAIL FROM:<s@x> SIZE=25 BODY=BINARYMIME
            S: 501 no",
        );
        let played = play(&script, &vec![binary(&["a@x"]); 4]);
        let refused = ["Rcpt Reply(Reply(550 no))"];
        let full = ["Body Reply(Reply(452 4.3.1 full))"];
        let results = [["250 taken"], full, refused, ["Mail Reply(Reply(501 no))"]];
        assert_eq!(played.results, results);
    }

    #[test]
    fn refused_chunks_end_the_mail_and_tell_their_step() {
        let flight = "C: MAIL FROM:<s@x> SIZE=25 BODY=BINARYMIME
            C: RCPT TO:<a@x>
            S: 250 ok
            ";
        let chunks = format!("S: 250 ok\n{CHUNKS}");
        let last = format!("{chunks}S: 250 ok\nS: 250 ok\nC: BDAT 0 LAST\n");
        // The script, the result, whether it was committed, whether the next mail begins with RSET; None:
        // there is no next one.
        let table = [
            ("S: 550 no\n".to_owned(), "Rcpt Reply(Reply(550 no))", 0, Some(true)),
            (
                format!("{chunks}S: 552 5.3.4 big\nS: 503 no mail\n"),
                "Body Reply(Reply(552 5.3.4 big))",
                0,
                Some(true),
            ),
            (
                format!("{chunks}S: 250 ok\nS: 451 4.3.0 no\n"),
                "Body Reply(Reply(451 4.3.0 no))",
                0,
                Some(true),
            ),
            // A server that goes on after its refusal takes nothing without the last chunk.
            (format!("{chunks}S: 451 no\nS: 250 ok\n"), "Body Reply(Reply(451 no))", 0, Some(true)),
            (format!("{chunks}S: 250 ok\nS: 421 bye\n"), "Body Reply(Reply(421 bye))", 0, None),
            (format!("{chunks}S: 250 ok\nEND\n"), "Body Closed", 0, None),
            (
                format!("{chunks}S: 354 go\n"),
                "Body Protocol(\"answer out of place: 354 go\")",
                0,
                None,
            ),
            (format!("{last}S: 554 5.6.0 no\n"), "Dot Reply(Reply(554 5.6.0 no))", 1, Some(false)),
            (format!("{last}S: 250 taken\n"), "250 taken", 1, Some(false)),
            (format!("{last}END\n"), "Dot Closed", 1, None),
        ];
        for (script, result, commits, reset) in table {
            let mut script = after_login(BINARY, &format!("{flight}{script}"));
            let mut mails = vec![binary(&["a@x"])];
            if let Some(reset) = reset {
                script += if reset { "C: RSET\n" } else { "" };
                script += "C: MAIL FROM:<s@x> SIZE=25\nC: RCPT TO:<a@x>\nC: DATA";
                mails.push(envelope(&["a@x"]));
            }
            let played = play(&script, &mails);
            assert_eq!(played.results, [[result]], "{script}");
            assert_eq!((played.commits, played.closed), (commits, reset.is_none()), "{script}");
        }
    }

    #[test]
    fn without_commit_there_is_no_last_chunk() {
        let script = after_login(
            BINARY,
            &format!(
                "C: MAIL FROM:<s@x> SIZE=25 BODY=BINARYMIME
                C: RCPT TO:<a@x>
                S: 250 ok
                S: 250 ok
                {CHUNKS}S: 250 ok
                S: 250 ok"
            ),
        );
        let played = play_in(1, true, false, &script, &[binary(&["a@x"])]);
        assert_eq!(played.results, [["Body Interrupted"]]);
        assert!(played.closed && played.commits == 1);
    }

    const FLIGHT: &str = "C: MAIL FROM:<s@x> SIZE=25
            C: RCPT TO:<a@x>
            C: RCPT TO:<b@x>
            C: BDAT 25 LAST
            C: Subject: x
            C: 
            C: .dot
            C: end
            ";

    #[test]
    fn a_small_mail_goes_at_once_and_the_next_one_behind_its_answer() {
        let script = after_login(
            "PIPELINING CHUNKING",
            &format!(
                "{FLIGHT}S: 250 ok
                S: 550 5.1.1 no
                S: 250 ok
                S: 250 taken
                {FLIGHT}S: 250 ok
                S: 250 ok
                S: 250 ok
                S: 250 too"
            ),
        );
        let mails = [envelope(&["a@x", "b@x"]), envelope(&["a@x", "b@x"])];
        let played = play_at_once(&script, &mails);
        let refused = "Rcpt Reply(Reply(550 5.1.1 no))".to_owned();
        assert_eq!(played.results, [vec![refused, "250 taken".into()], vec!["250 too".into(); 2]]);
        assert_eq!((played.commits, played.closed), (2, false));
        // Binary mail too: its octets need no counting out.
        let flight = FLIGHT.replace("SIZE=25", "SIZE=25 BODY=BINARYMIME");
        let flight =
            flight.replace("BDAT 25", "BDAT 8").replace("C: Subject: x\n            C: \n", "");
        let flight = flight.replace("C: .dot", "C: .").replace("C: end", "C: \0\r.");
        let replies = "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 taken";
        let script = after_login(BINARY, &format!("{flight}{replies}"));
        assert_eq!(
            play_at_once(&script, &[binary(&["a@x", "b@x"])]).results,
            [vec!["250 taken"; 2]]
        );
    }

    #[test]
    fn where_chunking_or_pipelining_is_not_offered_nothing_goes_at_once() {
        let alone = "C: MAIL FROM:<s@x> SIZE=25\nEND";
        let pipelined = "C: MAIL FROM:<s@x> SIZE=25\nC: RCPT TO:<a@x>\nC: DATA\nEND";
        for (offer, flight) in [("PIPELINING", pipelined), ("CHUNKING", alone), ("DSN", alone)] {
            let played = play_at_once(&after_login(offer, flight), &[envelope(&["a@x"])]);
            assert_eq!(played.results, [["Mail Closed"]], "{offer}");
        }
    }

    #[test]
    fn a_flight_that_was_sent_is_of_unknown_fate_until_it_is_answered() {
        let same = |text: &str| vec![text.to_owned(); 2];
        let ok = "S: 250 ok\n";
        let table = [
            ("END".to_owned(), same("Dot Closed"), true),
            (format!("{ok}END"), same("Dot Closed"), true),
            (format!("{ok}{ok}{ok}END"), same("Dot Closed"), true),
            (
                format!("{ok}S: 550 no\nEND"),
                vec!["Rcpt Reply(Reply(550 no))".into(), "Dot Closed".into()],
                true,
            ),
            // What was answered is known.
            ("S: 550 no\nEND".into(), same("Mail Reply(Reply(550 no))"), true),
            (format!("{ok}S: 550 no\nS: 550 no\nEND"), same("Rcpt Reply(Reply(550 no))"), true),
            ("S: 421 4.3.2 bye".into(), same("Mail Reply(Reply(421 4.3.2 bye))"), true),
            (format!("{ok}{ok}{ok}S: 421 x"), same("Dot Reply(Reply(421 x))"), true),
            (
                format!("{ok}{ok}{ok}S: 552 5.3.4 big"),
                same("Dot Reply(Reply(552 5.3.4 big))"),
                false,
            ),
            ("S: 354 what".into(), same("Dot Protocol(\"answer out of place: 354 what\")"), true),
            (
                format!("{ok}S: hello"),
                same("Dot Protocol(\"a line is no reply: \\\"hello\\\"\")"),
                true,
            ),
            // It offered BDAT and does not know it: surely not taken, and no more of this connection.
            (format!("{ok}{ok}{ok}S: 502 5.5.1 what"), same("Dot NotOffered(\"CHUNKING\")"), true),
        ];
        for (script, results, closed) in table {
            let script = after_login("PIPELINING CHUNKING", &format!("{FLIGHT}{script}"));
            let played = play_at_once(&script, &[envelope(&["a@x", "b@x"])]);
            assert_eq!(played.results, [results], "{script}");
            assert_eq!((played.commits, played.closed), (1, closed), "{script}");
        }
    }

    #[test]
    fn a_flight_without_recipients_is_dropped_and_the_next_mail_resets() {
        for refused in ["S: 250 ok\nS: 550 no\nS: 550 no\n", "S: 550 no\nS: 503 no\nS: 503 no\n"] {
            for last in ["S: 503 5.5.1 no valid recipients\n", "S: 554 5.5.1 no\n"] {
                let script = after_login(
                    "PIPELINING CHUNKING",
                    &format!(
                        "{FLIGHT}{refused}{last}C: RSET
                        C: MAIL FROM:<s@x> SIZE=25
                        C: RCPT TO:<a@x>
                        C: DATA
                        S: 250 reset
                        END"
                    ),
                );
                let mails = [envelope(&["a@x", "b@x"]), envelope(&["a@x"])];
                let played = play_at_once(&script, &mails);
                assert!(played.results[0].iter().all(|result| result.contains("550 no")));
                assert_eq!(played.results[1], ["Mail Closed"]);
            }
        }
    }

    #[test]
    fn without_commit_nothing_of_a_flight_is_said() {
        let script = after_login("PIPELINING CHUNKING", "");
        let mail = [envelope(&["a@x"])];
        let played = play_with(usize::MAX, (true, false, true), token(), &script, &mail);
        assert_eq!(played.results, [["Mail Interrupted"]]);
    }

    #[test]
    fn of_a_flight_that_was_not_written_to_its_end_nothing_can_be_taken() {
        for (written, answer, expected) in [
            (0, "", Step::Mail),
            (40, "", Step::Mail),
            (40, "250 ok\r\n", Step::Rcpt),
            (usize::MAX, "", Step::Dot),
            (usize::MAX, "250 ok\r\n", Step::Dot),
        ] {
            let terms = Terms { hostname: "me".into(), starttls: false, login: Login::default() };
            let mut dialogue = Dialogue::new(terms);
            dialogue.feed(b"220 hi\r\n250-hi\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
            assert!(matches!(dialogue.advance(), Event::Ready), "no login is asked for");
            dialogue.output().clear();
            dialogue.send_at_once(&envelope(&["a@x"]), BODY.len() as u64);
            assert!(matches!(dialogue.advance(), Event::Body));
            dialogue.body(BODY);
            dialogue.body_end();
            assert!(matches!(dialogue.advance(), Event::Commit) && dialogue.output().is_empty());
            dialogue.dot();
            let length = dialogue.output().len();
            dialogue.output().advance(length.min(written));
            dialogue.feed(answer.as_bytes());
            dialogue.feed_end();
            let Event::Finished(results) = dialogue.advance() else { panic!("not over") };
            let [Err(Refusal { step, trouble: Trouble::Closed })] = &results[..] else {
                panic!("{results:?}")
            };
            assert_eq!(*step, expected, "{written} written, then {answer:?}");
        }
    }

    /// A login without STARTTLS: what is offered, what is said, how it ends.
    fn login_with(login: &Login, script: &str) -> Played {
        let script = format!("S: 220 there\nC: EHLO me.example\nS: 250-there\n{script}");
        let ways = (false, true, false);
        let whole = play_with(usize::MAX, ways, login.clone(), &script, &[]);
        for piece in 1..40 {
            assert_eq!(play_with(piece, ways, login.clone(), &script, &[]), whole);
        }
        whole
    }

    #[test]
    fn oauthbearer_where_xoauth2_is_not_offered_or_where_it_is_asked_for() {
        use crate::smtp::sasl::Mechanism::{OAuthBearer, XOAuth2};
        let only = |mechanism| {
            let server = ("server.example", 587);
            Login::bearer("u@x", &Secret::new("tok"), server, Some(mechanism)).unwrap()
        };
        let said = "bixhPXVAeCwBaG9zdD1zZXJ2ZXIuZXhhbXBsZQFwb3J0PTU4NwFhdXRoPUJlYXJlciB0b2sBAQ==";
        let bearer = format!("C: AUTH OAUTHBEARER\nS: 334 \nC: {said}\n");
        for (login, offer) in
            [(token(), "AUTH PLAIN OAUTHBEARER"), (only(OAuthBearer), "AUTH XOAUTH2 OAUTHBEARER")]
        {
            let played = login_with(&login, &format!("S: 250 {offer}\n{bearer}S: 235 welcome"));
            assert_eq!((played.ready, played.failed), (1, None));
            // RFC 7628 §3.2.3: the error comes as a challenge, which is answered by 0x01.
            let script = format!(
                "S: 250 {offer}\n{bearer}S: 334 eyJzdGF0dXMiOiI0MDEifQ==\nC: AQ==\nS: 535 5.7.8 no"
            );
            let refusal = login_with(&login, &script).failed.unwrap();
            assert_eq!(refusal.step, Step::Auth);
            assert_eq!(format!("{:?}", refusal.trouble), "Reply(Reply(535 5.7.8 no))");
        }
        for (login, offer, missing) in [
            (only(XOAuth2), "AUTH OAUTHBEARER", "AUTH XOAUTH2"),
            (only(OAuthBearer), "AUTH XOAUTH2", "AUTH OAUTHBEARER"),
            (token(), "AUTH PLAIN", "AUTH XOAUTH2 or OAUTHBEARER"),
        ] {
            let refusal = login_with(&login, &format!("S: 250 {offer}")).failed.unwrap();
            assert_eq!(
                refusal,
                Refusal { step: Step::Auth, trouble: Trouble::NotOffered(missing) }
            );
        }
    }

    #[test]
    fn a_password_by_plain_or_login_or_nothing_at_all() {
        use crate::smtp::sasl::Mechanism;
        let by = |only| Login::password("erp", &Secret::new("hunter2"), only).unwrap();
        let plain = "C: AUTH PLAIN\nS: 334 \nC: AGVycABodW50ZXIy\n";
        let login =
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: ZXJw\nS: 334 UGFzc3dvcmQ6\nC: aHVudGVyMg==\n";
        for (only, offer, said) in [
            (None, "AUTH LOGIN PLAIN", plain),
            (None, "AUTH LOGIN CRAM-MD5", login),
            (Some(Mechanism::Login), "AUTH LOGIN PLAIN", login),
        ] {
            let played = login_with(&by(only), &format!("S: 250 {offer}\n{said}S: 235 in"));
            assert_eq!((played.ready, played.failed), (1, None), "{offer}");
            for (answer, words) in [
                ("S: 535 5.7.8 no", "Reply(Reply(535 5.7.8 no))"),
                ("S: 334 more", "Protocol(\"answer out of place: 334 more\")"),
            ] {
                let played = login_with(&by(only), &format!("S: 250 {offer}\n{said}{answer}"));
                assert_eq!(format!("{:?}", played.failed.unwrap().trouble), words);
            }
        }
        let refusal = login_with(&by(None), "S: 250 AUTH XOAUTH2").failed.unwrap();
        assert_eq!(refusal.trouble, Trouble::NotOffered("AUTH PLAIN or LOGIN"));
        let played = login_with(&Login::default(), "S: 250 AUTH PLAIN");
        assert_eq!((played.ready, played.failed), (1, None), "no login is asked for");
    }

    #[test]
    fn a_server_that_gives_up_in_the_body_is_heard() {
        let terms = Terms { hostname: "me".into(), starttls: false, login: token() };
        for (words, trouble) in [
            (
                "552 5.3.4 too big\r\n",
                Trouble::Reply(Reply::new(552, crate::smtp::Enhanced(5, 3, 4), "too big")),
            ),
            ("250 thanks\r\n", Trouble::Protocol("answer out of place: 250 thanks".into())),
        ] {
            let mut dialogue = Dialogue::new(terms.clone());
            dialogue.feed(
                b"220 x\r\n250-x\r\n250-PIPELINING\r\n250 AUTH XOAUTH2\r\n334 \r\n235 ok\r\n",
            );
            assert!(matches!(dialogue.advance(), Event::Ready));
            dialogue.send(&envelope(&["a@x"]), 1);
            dialogue.feed(b"250 ok\r\n250 ok\r\n354 go\r\n");
            assert!(matches!(dialogue.advance(), Event::Body));
            dialogue.body(b"text");
            dialogue.feed(words.as_bytes());
            let Event::Finished(results) = dialogue.advance() else { panic!() };
            assert_eq!(results, [Err(Refusal { step: Step::Body, trouble })]);
            assert!(dialogue.output().is_empty());
            assert!(matches!(dialogue.advance(), Event::Closed));
        }
    }

    #[test]
    fn b08_text_after_the_220_of_starttls_is_a_fault() {
        let script = "S: 220 there
            C: EHLO me.example
            S: 250-there
            S: 250 STARTTLS
            C: STARTTLS
            ";
        for injected in ["S: 250-evil\nS: 250 AUTH XOAUTH2 PLAIN", "S: 2"] {
            let script = format!("{script}S: 220 ready\n{injected}");
            let played = play_in(usize::MAX, true, true, &script, &[]);
            assert_eq!(played.failed, Some(Refusal { step: Step::Tls, trouble: injected_text() }));
            assert!(played.closed);
            let played = play_in(1, true, true, &format!("{script}\nTLS"), &[]);
            assert_eq!(played.failed, Some(Refusal { step: Step::Tls, trouble: injected_text() }));
        }
    }

    fn injected_text() -> Trouble {
        super::injected()
    }

    #[test]
    fn b07_no_token_without_tls() {
        let start = "S: 220 there\nC: EHLO me.example\n";
        let table = [
            ("S: 250-there\nS: 250 AUTH XOAUTH2", Trouble::NotOffered("STARTTLS")),
            (
                "S: 250-there\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 no TLS",
                Trouble::Reply(Reply::new(454, crate::smtp::Enhanced(4, 7, 0), "no TLS")),
            ),
        ];
        for (script, trouble) in table {
            let played = play(&format!("{start}{script}"), &[]);
            assert_eq!(played.failed, Some(Refusal { step: Step::Tls, trouble }));
            assert!(played.closed && played.ready == 0);
        }
    }

    #[test]
    fn b10_a_challenge_after_the_response_gets_an_empty_line() {
        let challenge = "S: 334 eyJzdGF0dXMiOiI0MDAifQ==
            C: 
            S: 535 5.7.8 Username and Password not accepted";
        let script =
            after_login("X", "").replace("S: 235 2.7.0 Authentication successful", challenge);
        let reply =
            Reply::new(535, crate::smtp::Enhanced(5, 7, 8), "Username and Password not accepted");
        let played = play(&script, &[]);
        assert_eq!(
            played.failed,
            Some(Refusal { step: Step::Auth, trouble: Trouble::Reply(reply) })
        );
    }

    #[test]
    fn b05_refusals_before_a_mail_are_told_with_their_step() {
        let whole = after_login("X", "");
        for (at, step) in [
            ("S: 220 there ESMTP", Step::Greeting),
            ("S: 220 2.0.0 ready", Step::Tls),
            ("S: 334 ", Step::Auth),
            ("S: 235 2.7.0 Authentication successful", Step::Auth),
        ] {
            let head = whole.split(at).next().unwrap();
            for words in ["421 4.3.2 Service not active", "554 5.7.1 no"] {
                let played = play(&format!("{head}S: {words}"), &[]);
                let refusal = played.failed.unwrap();
                assert_eq!(refusal.step, step);
                assert!(
                    matches!(refusal.trouble, Trouble::Reply(reply) if reply.to_string() == words)
                );
            }
            let played = play(&format!("{head}END"), &[]);
            assert_eq!(played.failed, Some(Refusal { step, trouble: Trouble::Closed }));
        }
        let played = play("S: 220 x\nC: EHLO me.example\nS: 502 no", &[]);
        assert_eq!(played.failed.unwrap().step, Step::Hello);
    }

    #[test]
    fn parameters_only_where_they_are_offered() {
        let mut mail = envelope(&["a@x", "b@x"]);
        mail.body = BodyKind::EightBitMime;
        mail.ret = Some(Ret::Headers);
        mail.envid = Some("QQ+3D".into());
        mail.recipients[0].notify = Some(Notify { success: true, failure: false, delay: true });
        mail.recipients[0].orcpt = Some("rfc822;a@x".into());
        mail.recipients[1].notify = Some(Notify::NEVER);
        mail.recipients[1].orcpt = Some("rfc822;b\r\nRSET".into());
        let flight = "C: MAIL FROM:<s@x> SIZE=25 BODY=8BITMIME RET=HDRS ENVID=QQ+3D
            C: RCPT TO:<a@x> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@x
            C: RCPT TO:<b@x> NOTIFY=NEVER
            C: DATA
            END";
        play(&after_login("PIPELINING 8BITMIME DSN", flight), &[mail.clone()]);
        mail.body = BodyKind::SevenBit;
        let flight = "C: MAIL FROM:<s@x> SIZE=25
            C: RCPT TO:<a@x>
            C: RCPT TO:<b@x>
            C: DATA
            END";
        play(&after_login("PIPELINING", flight), &[mail]);

        let mut null = envelope(&["\u{fc}@x"]);
        null.sender = None;
        let flight = "C: MAIL FROM:<> SIZE=25 SMTPUTF8
            C: RCPT TO:<\u{fc}@x>
            C: DATA
            END";
        play(&after_login("PIPELINING SMTPUTF8", flight), &[null]);
    }

    #[test]
    fn what_is_not_offered_is_not_tried() {
        let mail = envelope(&["a@x"]);
        let table = [
            (Envelope { body: BodyKind::EightBitMime, ..mail.clone() }, "8BITMIME"),
            (Envelope { body: BodyKind::BinaryMime, ..mail.clone() }, "BINARYMIME"),
            (Envelope { smtputf8: true, ..mail.clone() }, "SMTPUTF8"),
            (envelope(&["\u{fc}@x"]), "SMTPUTF8"),
        ];
        for (mail, what) in table {
            for half in ["BINARYMIME", "CHUNKING"] {
                let offer = format!("PIPELINING {half}");
                let played = play(&after_login(&offer, ""), std::slice::from_ref(&mail));
                assert_eq!(played.results, [[format!("Mail NotOffered({what:?})")]]);
                assert_eq!(played.ready, 1, "the connection stays good");
            }
        }
        let mut dialogue =
            Dialogue::new(Terms { hostname: "me".into(), starttls: false, login: token() });
        dialogue.feed(b"220 x\r\n250-x\r\n250-SIZE 1000\r\n250 AUTH=XOAUTH2\r\n334 \r\n235 ok\r\n");
        assert!(matches!(dialogue.advance(), Event::Ready));
        dialogue.output().clear();
        dialogue.send(&mail, 1001);
        let Event::Finished(results) = dialogue.advance() else { panic!() };
        let trouble = Trouble::TooLarge { limit: 1000 };
        assert_eq!(results, [Err(Refusal { step: Step::Mail, trouble })]);
        dialogue.send(&mail, 1000);
        assert!(dialogue.output().starts_with(b"MAIL"));
    }

    #[test]
    fn an_idle_connection_that_speaks_is_closed() {
        let script = after_login("X", "S: 421 4.4.1 Connection timed out");
        for piece in [1, 7, usize::MAX] {
            assert!(play_in(piece, true, true, &script, &[]).closed);
        }
    }

    fn server_terms() -> crate::smtp::server::Terms {
        crate::smtp::server::Terms {
            hostname: "there".into(),
            greeting: "ESMTP".into(),
            hello: "hello".into(),
            extensions: {
                use Extension::*;
                vec![
                    Size,
                    Pipelining,
                    Dsn,
                    StartTls,
                    Auth,
                    EightBitMime,
                    SmtpUtf8,
                    Chunking,
                    BinaryMime,
                ]
            },
            mechanisms: vec![crate::smtp::sasl::Mechanism::XOAuth2],
            hello_required: true,
            auth_needs_tls: true,
            auth_required: true,
            tls_required: true,
            bearer_refusal: None,
            max_message_size: 1 << 20,
            max_recipients: 10,
            max_errors: 1,
            max_reply_line: 512,
            reject_bare_newline: true,
            phrases: crate::smtp::server::Phrases::OURS,
        }
    }

    /// What a server of ours takes from this client, octets passed on in pieces of `piece`.
    fn join(
        piece: usize,
        mail: &Envelope,
        body: &[u8],
        at_once: bool,
    ) -> (Envelope, Vec<u8>, Option<Event>) {
        join_in(server_terms(), piece, mail, &body.chunks(piece).collect::<Vec<_>>(), at_once)
    }

    /// The same with the body brought in these pieces.
    fn join_in(
        server_terms: crate::smtp::server::Terms,
        piece: usize,
        mail: &Envelope,
        body: &[&[u8]],
        at_once: bool,
    ) -> (Envelope, Vec<u8>, Option<Event>) {
        use crate::smtp::server::{self, Event as Asked};
        let mut server = server::Dialogue::new(std::sync::Arc::new(server_terms), false);
        let size = body.iter().map(|piece| piece.len() as u64).sum();
        let mut pieces = body.iter();
        let login = token();
        let mut client = Dialogue::new(Terms { hostname: "me".into(), starttls: true, login });
        let (mut taken, mut text, mut finished) = (envelope(&[]), Vec::new(), None);
        let ok = Reply::plain(250, "ok");
        for _ in 0..100_000 {
            match server.advance() {
                Asked::Authenticate(server::Credentials::Bearer { user, token }) => {
                    assert!(user == "u@x" && token.matches("tok"));
                    server.answer(&Reply::plain(235, "welcome"));
                }
                Asked::Mail(mail) => {
                    taken = Envelope {
                        sender: mail.sender,
                        body: mail.body,
                        smtputf8: mail.smtputf8,
                        ret: mail.ret,
                        envid: mail.envid,
                        recipients: Vec::new(),
                    };
                    assert_eq!(mail.size, Some(size));
                    server.answer(&ok);
                }
                Asked::Rcpt(recipient) => {
                    taken.recipients.push(recipient);
                    server.answer(&ok);
                }
                Asked::Data => server.answer(&Reply::plain(354, "go")),
                Asked::Body(octets) => text.extend_from_slice(&octets),
                Asked::BodyEnd(verdict) => {
                    assert_eq!(verdict, Ok(()));
                    server.answer(&ok);
                }
                Asked::StartTls | Asked::NeedInput | Asked::Hello | Asked::Reset => {}
                other => panic!("{other:?}"),
            }
            let said = server.output().split();
            client.feed(&said);
            match client.advance() {
                // Both handshakes are over at once.
                Event::StartTls => {
                    client.tls_started();
                    server.tls_started();
                }
                Event::Ready if finished.is_some() => return (taken, text, finished),
                Event::Ready if at_once => client.send_at_once(mail, size),
                Event::Ready => client.send(mail, size),
                Event::Body => match pieces.next() {
                    Some(piece) => client.body(piece),
                    None => client.body_end(),
                },
                Event::Commit => client.dot(),
                Event::NeedInput => {}
                event => finished = Some(event),
            }
            client.output().split().chunks(piece).for_each(|chunk| server.feed(chunk));
        }
        panic!("they do not come to an end");
    }

    #[test]
    fn our_server_takes_what_our_client_sends() {
        let mut mail = envelope(&["a@x", "\u{fc}@x"]);
        mail.body = BodyKind::EightBitMime;
        mail.smtputf8 = true;
        mail.ret = Some(Ret::Full);
        mail.envid = Some("QQ+3D".into());
        mail.recipients[0].notify = Some(Notify { success: true, failure: true, delay: false });
        mail.recipients[0].orcpt = Some("rfc822;a@x".into());
        let bodies: [&[u8]; 3] =
            [b"Subject: \xc3\xbc\r\n\r\n.\r\n..\r\n.x\r\n\r\n", b".\r\n", b"x\r\n"];
        for body in bodies {
            for (piece, at_once) in
                [1, 2, 3, 7, 1000].into_iter().flat_map(|piece| [(piece, false), (piece, true)])
            {
                let (taken, text, finished) = join(piece, &mail, body, at_once);
                assert_eq!(taken, mail);
                assert_eq!(text, body);
                let Some(Event::Finished(results)) = finished else { panic!("{finished:?}") };
                assert!(results.len() == 2 && results.iter().all(Result::is_ok), "{results:?}");
            }
        }
    }

    /// Octets of which most mean something somewhere.
    fn nasty() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        let octet = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(0), any::<u8>()];
        proptest::collection::vec(octet, 0..40)
    }

    proptest::proptest! {
        #[test]
        fn a20_our_server_takes_every_octet_of_a_binary_mail(
            pieces in proptest::collection::vec(nasty(), 0..6),
            cut in 1_usize..60,
            pipelined: bool,
            at_once: bool,
        ) {
            let mut terms = server_terms();
            terms.extensions.retain(|offer| pipelined || *offer != Extension::Pipelining);
            let mail = binary(&["a@x", "b@x"]);
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let (taken, text, finished) = join_in(terms, cut, &mail, &pieces, at_once);
            assert_eq!(taken, mail);
            assert_eq!(text, pieces.concat());
            let Some(Event::Finished(results)) = finished else { panic!("{finished:?}") };
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }
    }
}
