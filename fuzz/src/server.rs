//! The server half: any octets, cut anywhere, a driver that says yes or no to anything.
//!
//! What must hold: replies are well-formed lines of 512 octets at most; nothing is asked out of order or
//! without the login and TLS that the terms want; a body has CRLF for its only line end and ends only at
//! CRLF . CRLF; what is held stays bounded; no cut changes anything; and after STARTTLS the session is a new
//! one.

use super::input::{Input, bit, cut, is_clean};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use submitd::mail::BodyKind;
use submitd::smtp::extension::Extension;
use submitd::smtp::reply::Reader;
use submitd::smtp::reply_write::LONGEST_LINE;
use submitd::smtp::sasl::Mechanism;
use submitd::smtp::server::{Dialogue, Event, Phrases, Terms};
use submitd::smtp::{Enhanced, Reply, line};

/// Parts the wire into what a client sends before it waits; the driver begins TLS between two.
const PAUSE: u8 = 0x1e;

/// First octet: the terms; second: the cuts; third: the driver's answers, 0 is always yes; fourth: bounds.
/// Then the wire.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let (switch, seed, answers, bounds) =
        (input.octet(), input.octet(), input.octet(), input.octet());
    let terms = Arc::new(terms(switch, bounds));
    let flights: Vec<&[u8]> = input.rest().split(|octet| *octet == PAUSE).collect();
    let whole = run(&terms, false, &flights, None, answers);
    let pieces = run(&terms, false, &flights, Some(seed), answers);
    assert_eq!(whole.events, pieces.events, "events depend on the cut");
    assert_eq!(whole.output, pieces.output, "replies depend on the cut");
    if !terms.extensions.contains(&Extension::Chunking) {
        let ends = flights.concat().windows(4).filter(|window| window == b"\n.\r\n").count();
        assert!(whole.bodies <= ends, "{} bodies, {ends} ends", whole.bodies);
    }
    // RFC 3207 §4.2: as if the connection had begun inside TLS.
    if let Some(tls) = whole.tls {
        let fresh = run(&terms, true, &flights[tls.flight..], Some(seed), answers);
        let greeting = fresh.output.iter().position(|octet| *octet == b'\n').unwrap_or(0) + 1;
        assert_eq!(whole.events[tls.events..], fresh.events);
        assert_eq!(whole.output[tls.output..], fresh.output[greeting..]);
    }
}

fn terms(switch: u8, bounds: u8) -> Terms {
    let mut extensions = vec![
        Extension::Pipelining,
        Extension::Size,
        Extension::EightBitMime,
        Extension::SmtpUtf8,
        Extension::Dsn,
        Extension::Auth,
        Extension::EnhancedStatusCodes,
    ];
    if bit(switch, 0) {
        extensions.extend([Extension::Chunking, Extension::BinaryMime]);
    }
    if bit(switch, 7) {
        extensions.push(Extension::StartTls);
    }
    Terms {
        hostname: "relay.example".to_owned(),
        greeting: "ESMTP submitd".to_owned(),
        hello: "at your service".to_owned(),
        extensions,
        mechanisms: vec![
            Mechanism::Plain,
            Mechanism::Login,
            Mechanism::XOAuth2,
            Mechanism::OAuthBearer,
        ],
        hello_required: bit(switch, 2),
        auth_needs_tls: bit(switch, 5),
        auth_required: bit(switch, 3),
        tls_required: bit(switch, 4),
        bearer_refusal: bit(switch, 6).then(|| "{\"status\":\"400\"}".to_owned()),
        max_message_size: 16 + 40 * u64::from(bounds & 15),
        max_recipients: 1 + usize::from(bounds >> 4 & 3),
        max_errors: 1 + 6 * usize::from(bounds >> 6),
        max_reply_line: LONGEST_LINE,
        reject_bare_newline: bit(switch, 1),
        phrases: Phrases::OURS,
    }
}

/// Where TLS began: the next flight, and how much there was before it.
#[derive(Clone, Copy)]
struct Tls {
    flight: usize,
    events: usize,
    output: usize,
}

/// One session as its driver sees it.
struct Talk<'t> {
    terms: &'t Terms,
    answers: u8,
    output: Vec<u8>,
    events: Vec<String>,
    body: Vec<u8>,
    bodies: usize,
    tls: Option<Tls>,
    /// Inside TLS, from the start or by STARTTLS.
    inside: bool,
    authenticated: bool,
    sender: bool,
    binary: bool,
    recipients: usize,
    in_body: bool,
    hung_up: bool,
}

/// Why a flight went no further.
#[derive(PartialEq)]
enum Pause {
    NeedInput,
    StartTls,
    Close,
}

fn run<'t>(
    terms: &'t Arc<Terms>,
    tls: bool,
    flights: &[&[u8]],
    seed: Option<u8>,
    answers: u8,
) -> Talk<'t> {
    let mut dialogue = Dialogue::new(Arc::clone(terms), tls);
    let mut talk = Talk {
        terms,
        answers,
        output: Vec::new(),
        events: Vec::new(),
        body: Vec::new(),
        bodies: 0,
        tls: None,
        inside: tls,
        authenticated: false,
        sender: false,
        binary: false,
        recipients: 0,
        in_body: false,
        hung_up: false,
    };
    let mut fed = 0;
    'session: for (number, flight) in flights.iter().enumerate() {
        let pieces = seed.map_or_else(|| vec![*flight], |seed| cut(flight, seed));
        let mut pieces = pieces.into_iter();
        while let Some(piece) = pieces.next() {
            dialogue.feed(piece);
            fed += piece.len();
            match talk.pump(&mut dialogue) {
                Pause::NeedInput => {}
                Pause::StartTls => {
                    // In the same packet as STARTTLS, or behind it: by anybody on the way.
                    pieces.for_each(|piece| dialogue.feed(piece));
                    talk.start_tls(&mut dialogue, number + 1);
                    continue 'session;
                }
                Pause::Close => break 'session,
            }
        }
    }
    dialogue.feed_end();
    assert!(talk.pump(&mut dialogue) != Pause::NeedInput, "the end is not seen");
    assert!(talk.output.len() <= 1000 + 64 * fed, "{} for {fed}", talk.output.len());
    well_formed(&talk.output);
    talk
}

impl Talk<'_> {
    fn pump(&mut self, dialogue: &mut Dialogue) -> Pause {
        loop {
            let event = dialogue.advance();
            assert!(!self.hung_up || matches!(event, Event::Close), "{event:?} after 421");
            let answer = self.take(&event, dialogue);
            if let Some(answer) = &answer {
                dialogue.answer(answer);
                self.hung_up = answer.code == 421;
            }
            self.output.extend_from_slice(&dialogue.output().split());
            match event {
                Event::NeedInput => {
                    assert!(dialogue.held() <= line::LONGEST + 1, "{} held", dialogue.held());
                    return Pause::NeedInput;
                }
                Event::StartTls => return Pause::StartTls,
                Event::Close => return Pause::Close,
                _ => {}
            }
        }
    }

    fn start_tls(&mut self, dialogue: &mut Dialogue, flight: usize) {
        assert_eq!(dialogue.held(), 0, "octets from before TLS");
        dialogue.tls_started();
        assert!(dialogue.is_tls() && !dialogue.is_authenticated() && !dialogue.is_extended());
        assert!(!dialogue.is_in_transaction() && dialogue.client_name().is_empty());
        (self.inside, self.authenticated, self.sender) = (true, false, false);
        let (events, output) = (self.events.len(), self.output.len());
        self.tls = Some(Tls { flight, events, output });
    }

    /// Notes what was asked, checks that it may be, and answers.
    fn take(&mut self, event: &Event, dialogue: &Dialogue) -> Option<Reply> {
        let (text, good) = match event {
            Event::NeedInput => return None,
            Event::Body(piece) => {
                assert!(self.in_body && !piece.is_empty());
                self.body.extend_from_slice(piece);
                assert!(self.body.len() as u64 <= 2 * self.terms.max_message_size + 2);
                return None;
            }
            Event::Hello => {
                let name = dialogue.client_name();
                assert!(!name.is_empty() && name.len() <= 255);
                assert!(name.bytes().all(|octet| octet.is_ascii_graphic()), "{name:?}");
                (format!("Hello {name}"), None)
            }
            Event::Authenticate(credentials) => {
                assert!(!self.authenticated && !self.sender);
                let tls = self.terms.tls_required || self.terms.auth_needs_tls;
                assert!(self.inside || !tls, "a login outside TLS");
                (format!("{credentials:?}"), Some(235))
            }
            Event::Mail(mail) => {
                assert!(!self.sender, "two transactions");
                assert!(self.inside || !self.terms.tls_required, "a mail outside TLS");
                assert!(self.authenticated || !self.terms.auth_required, "a mail without login");
                assert!(mail.size.is_none_or(|size| size <= self.terms.max_message_size));
                self.binary = mail.body == BodyKind::BinaryMime;
                (format!("{mail:?}"), Some(250))
            }
            Event::Rcpt(recipient) => {
                assert!(self.sender && self.recipients < self.terms.max_recipients);
                (format!("{recipient:?}"), Some(250))
            }
            Event::Data => {
                assert!(self.sender && self.recipients > 0 && !self.in_body);
                ("Data".to_owned(), Some(354))
            }
            Event::BodyEnd(verdict) => {
                assert!(self.in_body, "the end of nothing");
                (self.body_end(verdict), Some(250))
            }
            Event::StartTls => {
                assert!(!self.inside);
                ("StartTls".to_owned(), None)
            }
            Event::Reset => {
                assert!(self.sender, "nothing to forget");
                self.forget();
                ("Reset".to_owned(), None)
            }
            Event::Close => ("Close".to_owned(), None),
            // Nothing is put off here.
            Event::Settle => ("Settle".to_owned(), None),
        };
        let answer = good.map(|good| self.answer(good, &text));
        self.note(event, answer.as_ref().is_some_and(|answer| answer.code < 400));
        self.events.push(text);
        answer
    }

    /// What follows from the answer for what may be asked next.
    fn note(&mut self, event: &Event, is_good: bool) {
        match event {
            Event::Authenticate(_) => self.authenticated = is_good,
            Event::Mail(_) => self.sender = is_good,
            Event::Rcpt(_) => self.recipients += usize::from(is_good),
            Event::Data if is_good => self.in_body = true,
            Event::Data | Event::BodyEnd(_) => self.forget(),
            _ => {}
        }
    }

    /// Of a body that is refused, how much came before depends on the cut.
    fn body_end(&mut self, verdict: &Result<(), Reply>) -> String {
        self.bodies += 1;
        let body = std::mem::take(&mut self.body);
        match verdict {
            Ok(()) => {
                assert!(self.binary || is_clean(&body), "a lone CR or LF came out");
                format!("Body {}", body.escape_ascii())
            }
            Err(reply) => format!("no body: {reply}"),
        }
    }

    fn forget(&mut self) {
        (self.sender, self.in_body, self.recipients) = (false, false, 0);
        self.body.clear();
    }

    /// Yes or no, as the question and the third octet have it.
    fn answer(&self, good: u16, question: &str) -> Reply {
        let mut hasher = DefaultHasher::new();
        (question, self.answers).hash(&mut hasher);
        let code = match hasher.finish() % 64 {
            _ if self.answers == 0 => good,
            0..10 => 550,
            10..16 => 451,
            16 => 421,
            _ => good,
        };
        let class = (code / 100) as u8;
        match class {
            3 => Phrases::OURS.start_input.clone(),
            _ => Reply::new(code, Enhanced(class, 0, 0), "said the driver"),
        }
    }
}

/// Each line: within its bound, CRLF at its end, printable; and what a client reads are whole replies.
fn well_formed(output: &[u8]) {
    assert!(output.ends_with(b"\r\n"));
    for line in output.split_inclusive(|octet| *octet == b'\n') {
        assert!(line.len() <= LONGEST_LINE, "{}", line.escape_ascii());
        let text = line.strip_suffix(b"\r\n").expect("CRLF");
        assert!(text.iter().all(|octet| matches!(octet, b' '..=b'~')), "{}", text.escape_ascii());
        assert!(text.len() >= 4 && matches!(text[3], b' ' | b'-'));
    }
    let (mut reader, mut rest) = (Reader::new(), output);
    while let Some(reply) = reader.read(&mut rest).expect("a reply") {
        assert!((200..600).contains(&reply.code));
    }
    assert!(!reader.is_midway(), "half a reply");
}
