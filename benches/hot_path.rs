//! Fixed work of the hot path, for counting instructions: no clock, no socket, no randomness.
//!
//! `benches/run instructions` runs each under callgrind and holds it to `benches/instructions.json`; what the
//! machine does besides makes no difference to it. Run by itself it only does the work.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use submitd::mail::header::{self, Edit};
use submitd::mail::received;
use submitd::mail::{Address, BodyKind, Envelope, Recipient};
use submitd::secret::Secret;
use submitd::smtp::extension::Extension;
use submitd::smtp::reply_write::LONGEST_LINE;
use submitd::smtp::sasl::Mechanism;
use submitd::smtp::sasl_client::Login;
use submitd::smtp::server::Phrases;
use submitd::smtp::{Enhanced, Reply, client, server};

/// Mails of one run: so many that starting does not count.
const MAILS: usize = 500;

fn main() {
    // Cargo adds --bench.
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let all: [(&str, fn()); 5] = [
        ("take", take),
        ("give", give),
        ("give_at_once", give_at_once),
        ("pass", pass),
        ("edit", edit),
    ];
    for (name, work) in all {
        if wanted == name || wanted.is_empty() || wanted.starts_with('-') {
            work();
        }
    }
}

/// A mail of 10 KB with dots to take away and to add.
fn message() -> Vec<u8> {
    let mut text =
        b"From: erp@contoso.com\r\nTo: ann@example.org\r\nSubject: invoice\r\n\r\n".to_vec();
    while text.len() < 10 * 1024 {
        text.extend_from_slice(
            b".a line of an invoice that begins with a dot, as few do, and has 76 octets\r\n",
        );
        text.extend_from_slice(&[b'x'; 74]);
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// The server's half: commands, replies, the end of data.
fn take() {
    let mut wire = b"MAIL FROM:<erp@contoso.com> SIZE=10240 BODY=8BITMIME\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n".to_vec();
    for line in message().split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b".\r\n");
    let mut dialogue = server::Dialogue::new(Arc::new(terms()), false);
    dialogue.feed(b"EHLO bench\r\n");
    let mut octets = pump(&mut dialogue);
    for _ in 0..MAILS {
        // As a socket gives it.
        for piece in wire.chunks(4096) {
            dialogue.feed(piece);
            octets += pump(&mut dialogue);
        }
    }
    assert!(black_box(octets) > MAILS * 10 * 1024);
}

fn terms() -> server::Terms {
    server::Terms {
        hostname: "relay.example".to_owned(),
        greeting: "ESMTP submitd".to_owned(),
        hello: "at your service".to_owned(),
        extensions: vec![
            Extension::Pipelining,
            Extension::Size,
            Extension::EightBitMime,
            Extension::EnhancedStatusCodes,
        ],
        mechanisms: vec![Mechanism::Plain],
        hello_required: false,
        auth_needs_tls: false,
        auth_required: false,
        tls_required: false,
        bearer_refusal: None,
        max_message_size: 35 << 20,
        max_recipients: 100,
        max_errors: 20,
        max_reply_line: LONGEST_LINE,
        reject_bare_newline: false,
        phrases: Phrases::OURS,
    }
}

/// Says yes to everything; the octets of bodies.
fn pump(dialogue: &mut server::Dialogue) -> usize {
    let mut octets = 0;
    loop {
        let answer = match dialogue.advance() {
            server::Event::Body(piece) => {
                octets += piece.len();
                continue;
            }
            server::Event::Mail(_) | server::Event::Rcpt(_) | server::Event::BodyEnd(_) => {
                Some(Reply::new(250, Enhanced(2, 0, 0), "good"))
            }
            server::Event::Hello => None,
            server::Event::Data => Some(Phrases::OURS.start_input.clone()),
            _ => {
                black_box(dialogue.output().split());
                return octets;
            }
        };
        if let Some(answer) = answer {
            dialogue.answer(&answer);
        }
    }
}

/// The client's half over DATA.
fn give() {
    deliver(false);
}

/// The client's half in one flight, by BDAT.
fn give_at_once() {
    deliver(true);
}

fn deliver(at_once: bool) {
    let (message, envelope, mut dialogue) = (message(), envelope(), connected());
    let (mut taken, mut sent) = (0, 0);
    while taken < MAILS {
        let event = dialogue.advance();
        let output = dialogue.output().split();
        sent += output.len();
        let said = match event {
            client::Event::Ready if at_once => {
                dialogue.send_at_once(&envelope, message.len() as u64);
                continue;
            }
            client::Event::Ready => {
                dialogue.send(&envelope, message.len() as u64);
                continue;
            }
            client::Event::Body => {
                dialogue.body(&message);
                dialogue.body_end();
                continue;
            }
            client::Event::Commit => {
                dialogue.dot();
                continue;
            }
            client::Event::Finished(results) => {
                taken += usize::from(results[0].is_ok());
                continue;
            }
            client::Event::NeedInput => said(&output, dialogue.step()),
            other => panic!("{other:?}"),
        };
        dialogue.feed(said);
    }
    assert!(black_box(sent) > MAILS * 10 * 1024);
}

fn envelope() -> Envelope {
    let address = |text: &str| Address::parse(text).expect("an address");
    Envelope {
        sender: Some(address("erp@contoso.com")),
        body: BodyKind::Undeclared,
        smtputf8: false,
        ret: None,
        envid: None,
        recipients: vec![Recipient::new(address("ann@example.org"))],
    }
}

/// Greeted.
fn connected() -> client::Dialogue {
    let token = Secret::new("t".repeat(1700));
    let login =
        Login::bearer("erp@contoso.com", &token, ("localhost", 587), None).expect("a login");
    let terms = client::Terms { hostname: "relay.example".to_owned(), starttls: false, login };
    let mut dialogue = client::Dialogue::new(terms);
    dialogue.feed(b"220 sink\r\n");
    dialogue
}

/// The client's half in direct mode: command by command, by BDAT.
fn pass() {
    let (message, envelope, mut dialogue) = (message(), envelope(), connected());
    while let client::Event::NeedInput = dialogue.advance() {
        let output = dialogue.output().split();
        dialogue.feed(said(&output, dialogue.step()));
    }
    let mut sent = 0;
    for _ in 0..MAILS {
        dialogue.relay(&envelope, None, true);
        dialogue.relay_recipient(&envelope.recipients[0]);
        dialogue.relay_on();
        sent += hear(&mut dialogue, b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n", 2);
        dialogue.relay_data();
        dialogue.relay_on();
        sent += hear(&mut dialogue, b"", 1);
        dialogue.relay_end(&message);
        sent += hear(&mut dialogue, b"250 2.0.0 taken\r\n", 1);
        assert!(dialogue.relay_over());
    }
    assert!(black_box(sent) > MAILS * 10 * 1024);
}

/// Takes these replies as answers to so much that was said; gives the octets of that.
fn hear(dialogue: &mut client::Dialogue, replies: &[u8], answers: usize) -> usize {
    let octets = dialogue.output().split().len();
    dialogue.feed(replies);
    dialogue.advance();
    for _ in 0..answers {
        let heard = dialogue.relay_heard().expect("an answer");
        black_box(heard.expect("a good one"));
    }
    octets
}

/// What a server says to these octets.
fn said(output: &[u8], step: client::Step) -> &'static [u8] {
    match step {
        client::Step::Hello => b"250-sink\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH XOAUTH2\r\n",
        client::Step::Auth if output.starts_with(b"AUTH") => b"334 \r\n",
        client::Step::Auth => b"235 2.7.0 ok\r\n",
        _ if output.windows(5).any(|window| window == b"BDAT ") => {
            b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 taken\r\n"
        }
        _ if output.ends_with(b"DATA\r\n") => b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n",
        _ => b"250 2.0.0 taken\r\n",
    }
}

/// The header's edit at accept.
fn edit() {
    let message = message();
    let edit = Edit {
        received: Some("Received: from bench\r\n\tby relay.example\r\n".to_owned()),
        remove_bcc: true,
        ..Edit::default()
    };
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    for _ in 0..MAILS {
        let end = header::find_end(&message, true).expect("a header");
        black_box(received::is_loop(&message, "relay.example"));
        black_box(received::date(time));
        black_box(edit.apply(&message, end));
    }
}
