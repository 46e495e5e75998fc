//! The client half: a server that says anything, in any pieces.
//!
//! What must hold: no token outside TLS and none twice; no dot without the driver's word and no mail taken
//! without it; a result for each recipient; command lines of 512 octets at most; texts fit for a log.

use super::input::{Input, bit, cut};
use submitd::mail::{Address, BodyKind, Envelope, Notify, Recipient, Ret};
use submitd::secret::Secret;
use submitd::smtp::Reply;
use submitd::smtp::client::{Dialogue, Event, Refusal, Terms, Trouble};
use submitd::smtp::sasl::Mechanism;
use submitd::smtp::sasl_client::Login;

/// What is said in XOAUTH2.
const RESPONSE: &str = "dXNlcj1hAWF1dGg9QmVhcmVyIHBsYW50ZWQBAQ==";
const BODIES: [&[u8]; 4] =
    [b"Subject: x\r\n\r\n.dot\r\nend\r\n", b"", b"no end", b".\r\n..\r\n.\r\n"];

/// First octet: TLS, commit, recipients, parameters; second: the cuts; third: mails and their body. Then what
/// the server says: each reply comes once the one before was understood.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let (switch, seed, mails) = (input.octet(), input.octet(), input.octet());
    let wire = input.rest();
    let whole = play(switch, mails, replies(wire).into_iter().map(|reply| vec![reply]));
    let pieces = play(switch, mails, replies(wire).into_iter().map(|reply| cut(reply, seed)));
    assert_eq!(whole, pieces, "what happens depends on the cut");
    // All at once, whoever waits for it.
    play(switch, mails, std::iter::once(vec![wire]));
}

/// The wire, parted behind each line that ends a reply.
fn replies(wire: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut start, mut line) = (Vec::new(), 0, 0);
    for (at, _) in wire.iter().enumerate().filter(|(_, octet)| **octet == b'\n') {
        if wire[line..at].get(3) != Some(&b'-') {
            found.push(&wire[start..=at]);
            start = at + 1;
        }
        line = at + 1;
    }
    found.push(&wire[start..]);
    found
}

fn envelope(switch: u8) -> Envelope {
    let address = |text: &str| Address::parse(text).expect("an address");
    let mut recipients: Vec<Recipient> = (0..=switch >> 4 & 3)
        .map(|number| Recipient::new(address(&format!("r{number}@example.org"))))
        .collect();
    if bit(switch, 6) {
        recipients[0].notify = Some(Notify { success: true, failure: false, delay: true });
        recipients[0].orcpt = Some("rfc822;a@b".to_owned());
    }
    Envelope {
        sender: (!bit(switch, 7)).then(|| address("erp@contoso.com")),
        body: if bit(switch, 2) { BodyKind::EightBitMime } else { BodyKind::Undeclared },
        smtputf8: bit(switch, 3),
        ret: bit(switch, 6).then_some(Ret::Headers),
        envid: bit(switch, 6).then(|| "QQ314".to_owned()),
        recipients,
    }
}

/// What happened, for comparing and for checking.
#[derive(Debug, Default, PartialEq)]
struct Played {
    sent: Vec<u8>,
    results: Vec<Vec<Result<Reply, Refusal>>>,
    failed: Option<Refusal>,
    commits: usize,
    closed: bool,
}

struct Stage {
    dialogue: Dialogue,
    switch: u8,
    at_once: bool,
    mails: usize,
    body: &'static [u8],
    is_inside_tls: bool,
    /// Where the command lines end and a body begins, or the other way.
    in_body: bool,
    played: Played,
}

fn play<'w>(switch: u8, mails: u8, said: impl Iterator<Item = Vec<&'w [u8]>>) -> Played {
    let starttls = bit(switch, 0);
    let token = Secret::new("planted");
    let only = bit(mails, 4).then_some(Mechanism::OAuthBearer);
    let login = Login::bearer("a", &token, ("relay.example", 587), only).expect("a login");
    let terms = Terms { hostname: "relay.example".to_owned(), starttls, login };
    let mut stage = Stage {
        dialogue: Dialogue::new(terms),
        switch,
        at_once: bit(mails, 5),
        mails: usize::from(mails & 3),
        body: BODIES[usize::from(mails >> 2 & 3)],
        is_inside_tls: !starttls,
        in_body: false,
        played: Played::default(),
    };
    for piece in said.flatten() {
        stage.dialogue.feed(piece);
        stage.pump();
        if stage.played.closed {
            break;
        }
    }
    stage.dialogue.feed_end();
    stage.pump();
    assert!(stage.played.closed, "the end is not seen");
    let played = stage.played;
    let token = played.sent.windows(RESPONSE.len()).filter(|w| *w == RESPONSE.as_bytes());
    assert!(token.count() <= 1, "the token twice");
    let taken = played.results.iter().filter(|results| results.iter().any(Result::is_ok)).count();
    assert!(taken <= played.commits, "taken without a word of the driver");
    played
}

impl Stage {
    fn pump(&mut self) {
        // More rounds than octets can ask for are a circle.
        for _ in 0..10_000 {
            let event = self.dialogue.advance();
            self.write();
            match event {
                Event::NeedInput => return,
                Event::Closed => {
                    self.played.closed = true;
                    return;
                }
                Event::StartTls => {
                    assert!(!self.is_inside_tls);
                    self.is_inside_tls = true;
                    self.dialogue.tls_started();
                }
                Event::Ready if self.mails > 0 => {
                    self.mails -= 1;
                    self.in_body = false;
                    let (mail, size) = (envelope(self.switch), self.body.len() as u64);
                    match self.at_once {
                        true => self.dialogue.send_at_once(&mail, size),
                        false => self.dialogue.send(&mail, size),
                    }
                }
                Event::Ready => self.dialogue.quit(),
                Event::Body => {
                    self.in_body = true;
                    cut(self.body, self.switch).iter().for_each(|part| self.dialogue.body(part));
                    self.dialogue.body_end();
                }
                Event::Commit if bit(self.switch, 1) => {
                    self.played.commits += 1;
                    self.dialogue.dot();
                }
                Event::Commit => self.dialogue.interrupt(),
                Event::Finished(results) => {
                    assert_eq!(results.len(), envelope(self.switch).recipients.len());
                    results.iter().for_each(harmless);
                    self.played.results.push(results);
                    self.in_body = false;
                }
                Event::Failed(refusal) => {
                    assert!(self.played.failed.is_none(), "failed twice");
                    harmless(&Err(refusal.clone()));
                    self.played.failed = Some(refusal);
                }
            }
            self.write();
        }
        panic!("it never waits");
    }

    fn write(&mut self) {
        let output = self.dialogue.output().split();
        if !self.is_inside_tls {
            let has_token = output.windows(8).any(|window| window == &RESPONSE.as_bytes()[..8]);
            assert!(!has_token, "the token outside TLS");
        }
        if !self.in_body && !output.is_empty() {
            assert!(output.ends_with(b"\r\n"));
            assert!(output[..].split(|octet| *octet == b'\n').all(|line| line.len() < 512));
        }
        self.played.sent.extend_from_slice(&output);
    }
}

fn harmless(result: &Result<Reply, Refusal>) {
    let text = match result {
        Ok(reply) => {
            assert!(reply.is_positive(), "{reply} is no success");
            reply.to_string()
        }
        Err(Refusal { trouble: Trouble::Reply(reply), .. }) => reply.to_string(),
        Err(Refusal { trouble: Trouble::Protocol(text), .. }) => text.clone(),
        Err(_) => String::new(),
    };
    assert!(!text.contains(char::is_control), "{text:?}");
}
