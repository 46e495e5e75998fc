//! Answers that are put off: RCPTs that came in one packet, for a driver that must ask another server about
//! them and asks about all of them at once (RFC 2920 §3.1).
//!
//! A command whose answer is put off counts as taken until it is settled. It promises that the client reads
//! the answers in the order of its commands, and that nothing but RCPT, DATA and BDAT is done before the
//! answers stand.

use super::transaction::Transaction;
use super::{Dialogue, Question, State};
use crate::smtp::Reply;
use bytes::BytesMut;
use memchr::memchr;

/// One answer that is put off.
#[derive(Default)]
pub(super) struct Later {
    /// What was said since, and must not be read before it.
    pub behind: BytesMut,
}

impl Dialogue {
    /// In place of `answer` to [`Event::Rcpt`](super::Event::Rcpt): the answer follows by
    /// [`settle`](Self::settle).
    pub fn answer_later(&mut self) {
        debug_assert!(
            matches!(self.state, State::Asked(Question::Rcpt)),
            "only RCPT can be put off"
        );
        self.state = State::Command;
        if let Some(transaction) = &mut self.transaction {
            transaction.rcpt_answered(true);
        }
        self.later.push_back(Later::default());
    }

    /// The answer to the first command that was put off and has none yet. Never 421: that is for `answer`
    /// and `hang_up`.
    pub fn settle(&mut self, reply: &Reply) {
        let Some(Later { behind }) = self.later.pop_front() else {
            debug_assert!(false, "nothing was put off");
            return;
        };
        reply.write_within(self.terms.max_reply_line, &mut self.output);
        self.output.extend_from_slice(&behind);
        if !reply.is_positive()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.rcpt_withdrawn();
        }
    }

    /// Whether the body that is coming in will be refused at its end, whatever follows.
    pub fn is_body_refused(&self) -> bool {
        let rejects = self.terms.reject_bare_newline;
        match &self.state {
            State::Body(decoder) => {
                decoder.is_too_large() || (rejects && decoder.has_bare_newline())
            }
            State::Chunk { .. } => {
                rejects && self.transaction.as_ref().is_some_and(Transaction::has_bare_newline)
            }
            _ => false,
        }
    }

    /// Whether the next thing that can be done needs the answers that were put off.
    pub(super) fn is_settling_due(&self) -> bool {
        let goes_on = match self.state {
            State::Command => is_of_envelope(&self.input),
            State::Asked(_) => true,
            _ => false,
        };
        !self.later.is_empty() && !goes_on
    }
}

/// Whether a whole line lies there that may share a packet with MAIL and RCPT. A line that only looks so
/// does no harm: it is answered behind what was put off.
fn is_of_envelope(input: &[u8]) -> bool {
    let is_verb = |verb: &&[u8]| input.get(..4).is_some_and(|text| text.eq_ignore_ascii_case(verb));
    let verbs: [&[u8]; 3] = [b"RCPT", b"DATA", b"BDAT"];
    verbs.iter().any(is_verb) && memchr(b'\n', input).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::server::{Event, Phrases, Terms};
    use crate::smtp::{Enhanced, extension::Extension};
    use std::sync::Arc;

    fn dialogue(extensions: Vec<Extension>) -> Dialogue {
        let terms = Terms {
            hostname: "here".into(),
            greeting: "hello".into(),
            hello: "hello".into(),
            extensions,
            mechanisms: Vec::new(),
            hello_required: false,
            auth_needs_tls: false,
            auth_required: false,
            tls_required: false,
            bearer_refusal: None,
            max_message_size: 20,
            max_recipients: 3,
            max_errors: 5,
            max_reply_line: 512,
            reject_bare_newline: true,
            phrases: Phrases::OURS,
        };
        let mut dialogue = Dialogue::new(Arc::new(terms), false);
        dialogue.output().clear();
        dialogue
    }

    /// What a driver sees that puts everything off: what it is asked, and the codes of each write. Each
    /// settlement says the next of `answers`.
    fn play(cuts: &[&str], answers: &[u16]) -> String {
        let mut dialogue = dialogue(vec![Extension::Pipelining, Extension::Chunking]);
        let mut answers = answers.iter().copied();
        let mut reply = || Reply {
            code: answers.next().unwrap_or(250),
            enhanced: Some(Enhanced(2, 0, 0)),
            text: "x".into(),
        };
        let (mut seen, mut open) = (Vec::new(), 0);
        for cut in cuts {
            dialogue.feed(cut.as_bytes());
            loop {
                let word = match dialogue.advance() {
                    Event::NeedInput | Event::Close => break,
                    Event::Mail(_) => {
                        dialogue.answer(&reply());
                        "mail".to_owned()
                    }
                    Event::Rcpt(recipient) => {
                        dialogue.answer_later();
                        open += 1;
                        recipient.address.to_string()
                    }
                    Event::Settle => {
                        (0..std::mem::take(&mut open)).for_each(|_| dialogue.settle(&reply()));
                        "settle".to_owned()
                    }
                    Event::Data => {
                        (0..std::mem::take(&mut open)).for_each(|_| dialogue.settle(&reply()));
                        dialogue.answer(&reply());
                        "data".to_owned()
                    }
                    Event::Body(_) => "body".to_owned(),
                    Event::BodyEnd(verdict) => {
                        dialogue.answer(&reply());
                        format!("end {}", verdict.is_ok())
                    }
                    event => format!("{event:?}"),
                };
                seen.push(word);
            }
            let output = String::from_utf8(dialogue.output().split().to_vec()).unwrap();
            let codes: Vec<_> = output.lines().map(|line| &line[..3]).collect();
            seen.push(format!("[{}]", codes.join(" ")));
        }
        seen.join(" ")
    }

    #[test]
    fn a_packet_is_asked_about_once_and_answered_in_its_order() {
        let whole = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n";
        for (cuts, answers, expected) in [
            (&[whole][..], &[250, 250, 250, 354][..], "mail c@d e@f data [250 250 250 354]"),
            // Without pipelining: a question each.
            (
                &["MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n"],
                &[250, 250, 354],
                "mail [250] c@d settle [250] data [354]",
            ),
            // A line that is not whole does not hold up the answers before it.
            (
                &["MAIL FROM:<a@b>\r\nRCPT T", "O:<c@d>\r\nDATA\r\n"],
                &[250, 250, 354],
                "mail [250] c@d data [250 354]",
            ),
            // Our own refusals stand between the others' answers.
            (
                &["MAIL FROM:<a@b>\r\nRCPT TO:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n"],
                &[250, 450, 554],
                "mail c@d data [250 501 450 554]",
            ),
            (
                &["MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n"],
                &[250, 550, 550, 554],
                "mail c@d e@f data [250 550 550 554]",
            ),
            // Whatever else comes needs the answers first.
            (
                &["MAIL FROM:<a@b>\r\nNOOP\r\nRCPT TO:<c@d>\r\nRSET\r\n"],
                &[250, 250],
                "mail c@d settle Reset [250 250 250 250]",
            ),
            (
                &["MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nQUIT\r\n"],
                &[250, 451],
                "mail c@d settle [250 451 221]",
            ),
            // Too many, and all refused: DATA is ours to refuse.
            (
                &["MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", "DATA\r\n"],
                &[250, 550],
                "mail c@d settle [250 550] [554]",
            ),
            (
                &["MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2 LAST\r\n\r\n"],
                &[250, 250, 354],
                "mail c@d data body end true [250 250 250]",
            ),
        ] {
            assert_eq!(play(cuts, answers), expected, "{cuts:?}");
        }
    }

    #[test]
    fn a_body_is_known_to_be_refused_before_its_end() {
        for (body, refused) in
            [("a\r\n", false), ("a\nb\r\n", true), ("0123456789\r\n0123456789\r\n", true)]
        {
            let mut dialogue = dialogue(vec![Extension::Pipelining]);
            dialogue.feed(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
            loop {
                match dialogue.advance() {
                    Event::NeedInput => break,
                    Event::Data => dialogue.answer(&Phrases::OURS.start_input),
                    _ => dialogue.answer(&Reply::plain(250, "ok")),
                }
            }
            dialogue.feed(body.as_bytes());
            while let Event::Body(_) = dialogue.advance() {}
            assert_eq!(dialogue.is_body_refused(), refused, "{body:?}");
        }
    }
}
