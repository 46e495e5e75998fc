//! A mail transaction in the dialogue: MAIL, RCPT, DATA and BDAT up to the verdict on the body
//! (RFC 5321 §3.3, RFC 3030).

use super::{Dialogue, Event, Mail, Question, State};
use crate::mail::address::AddressError;
use crate::mail::{Address, BodyKind, Recipient};
use crate::smtp::Reply;
use crate::smtp::command::{self, CommandError};
use crate::smtp::data::{Decoder, LineEnds, Step};
use crate::smtp::extension::Extension;
use crate::smtp::parameter::{self, ParameterError};

/// What is known of an open transaction; the envelope is the driver's.
#[derive(Debug)]
pub(super) struct Transaction {
    smtputf8: bool,
    binary: bool,
    /// Recipients that were taken.
    recipients: usize,
    /// RCPT was tried: DATA may follow it in the same packet.
    tried: bool,
    /// What came by BDAT.
    chunks: Option<Chunks>,
}

#[derive(Debug, Default)]
struct Chunks {
    size: u64,
    ends: LineEnds,
}

impl Transaction {
    pub(super) fn new(smtputf8: bool, binary: bool) -> Self {
        Self { smtputf8, binary, recipients: 0, tried: false, chunks: None }
    }

    pub(super) fn rcpt_answered(&mut self, good: bool) {
        self.tried = true;
        self.recipients += usize::from(good);
    }

    /// One that was counted as taken, because its answer was put off, is refused.
    pub(super) fn rcpt_withdrawn(&mut self) {
        self.recipients = self.recipients.saturating_sub(1);
    }

    pub(super) fn has_bare_newline(&self) -> bool {
        self.chunks.as_ref().is_some_and(|chunks| chunks.ends.has_bare_newline())
    }
}

/// A refusal, and whether it counts as a wrong command. What a client was told to send (an address from
/// somebody's list, a large mail) is no fault of the program.
struct Refusal {
    reply: Reply,
    counts: bool,
}

impl Dialogue {
    pub(super) fn mail(&mut self, argument: &str, clean: bool) -> Option<Event> {
        let phrases = self.terms.phrases;
        let refusal = self.hello_or_tls_missing().or_else(|| {
            let needed = self.terms.auth_required && !self.authenticated;
            needed.then_some(&phrases.auth_needed)
        });
        if let Some(refusal) = refusal {
            self.pardoned = true;
            return self.wrong(refusal);
        }
        if self.transaction.is_some() {
            return self.wrong(&phrases.sender_already);
        }
        match self.read_mail(argument, clean) {
            Ok(mail) => {
                let binary = mail.body == BodyKind::BinaryMime;
                self.state = State::Asked(Question::Mail { smtputf8: mail.smtputf8, binary });
                Some(Event::Mail(mail))
            }
            Err(refusal) => {
                self.pardoned = true;
                self.refuse(refusal)
            }
        }
    }

    fn read_mail(&self, argument: &str, clean: bool) -> Result<Mail, Refusal> {
        let phrases = self.terms.phrases;
        let bad = |error| self.bad_path(&phrases.bad_sender, error);
        let (sender, rest) = command::sender(argument).map_err(bad)?;
        if !clean {
            return Err(bad(AddressError::BadCharacter.into()));
        }
        let found = parameter::of_mail(rest, &self.terms.extensions)
            .map_err(|error| self.bad_parameter(&error))?;
        self.check_utf8(sender.as_ref(), found.smtputf8)?;
        if found.size.is_some_and(|size| size > self.terms.max_message_size) {
            return Err(Refusal { reply: phrases.too_large.clone(), counts: false });
        }
        let parameter::OfMail { size, body, smtputf8, ret, envid } = found;
        Ok(Mail { sender, size, body, smtputf8, ret, envid })
    }

    pub(super) fn rcpt(&mut self, argument: &str, clean: bool) -> Option<Event> {
        let phrases = self.terms.phrases;
        let Some(transaction) = &mut self.transaction else {
            return self.out_of_order();
        };
        if transaction.chunks.is_some() {
            return self.wrong(&phrases.bdat_under_way);
        }
        transaction.tried = true;
        if transaction.recipients >= self.terms.max_recipients {
            return self.say(&phrases.too_many_recipients);
        }
        let smtputf8 = transaction.smtputf8;
        match self.read_rcpt(argument, clean, smtputf8) {
            Ok(recipient) => {
                self.state = State::Asked(Question::Rcpt);
                Some(Event::Rcpt(recipient))
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn read_rcpt(&self, argument: &str, clean: bool, smtputf8: bool) -> Result<Recipient, Refusal> {
        let bad = |error| self.bad_path(&self.terms.phrases.bad_recipient, error);
        let (address, rest) = command::recipient(argument).map_err(bad)?;
        if !clean {
            return Err(bad(AddressError::BadCharacter.into()));
        }
        self.check_utf8(Some(&address), smtputf8)?;
        let parameter::OfRcpt { notify, orcpt } =
            parameter::of_rcpt(rest, &self.terms.extensions, smtputf8)
                .map_err(|error| self.bad_parameter(&error))?;
        Ok(Recipient { address, notify, orcpt })
    }

    fn check_utf8(&self, address: Option<&Address>, smtputf8: bool) -> Result<(), Refusal> {
        if address.is_some_and(Address::needs_smtputf8) && !smtputf8 {
            let reply = self.terms.phrases.smtputf8_needed.clone();
            return Err(Refusal { reply, counts: false });
        }
        Ok(())
    }

    fn bad_path(&self, phrase: &Reply, error: CommandError) -> Refusal {
        let counts = !matches!(error, CommandError::Address(_));
        Refusal { reply: self.with_reason(phrase, &error), counts }
    }

    fn bad_parameter(&self, error: &ParameterError) -> Refusal {
        let phrases = self.terms.phrases;
        match error {
            ParameterError::Unknown(_) => {
                Refusal { reply: self.with_reason(&phrases.unknown_parameter, error), counts: true }
            }
            ParameterError::Value(_) => {
                Refusal { reply: self.with_reason(&phrases.bad_parameter, error), counts: true }
            }
            ParameterError::Size => Refusal { reply: phrases.too_large.clone(), counts: false },
        }
    }

    fn with_reason(&self, phrase: &Reply, error: &dyn std::fmt::Display) -> Reply {
        if !self.terms.phrases.reasons {
            return phrase.clone();
        }
        Reply { text: format!("{}: {error}", phrase.text).into(), ..phrase.clone() }
    }

    fn refuse(&mut self, refusal: Refusal) -> Option<Event> {
        if refusal.counts { self.wrong(&refusal.reply) } else { self.say(&refusal.reply) }
    }

    /// RCPT, DATA or BDAT without MAIL.
    fn out_of_order(&mut self) -> Option<Event> {
        let phrases = self.terms.phrases;
        if self.pardoned {
            return self.say(&phrases.need_mail);
        }
        self.wrong(if self.is_hello_missing() { &phrases.hello_first } else { &phrases.need_mail })
    }

    /// DATA or BDAT without a good recipient. Who tried one could not know when pipelining.
    fn without_recipients(&mut self, tried: bool) -> Option<Event> {
        let phrases = self.terms.phrases;
        if tried { self.say(&phrases.need_rcpt) } else { self.wrong(&phrases.need_rcpt) }
    }

    pub(super) fn data(&mut self) -> Option<Event> {
        let phrases = self.terms.phrases;
        match &self.transaction {
            None => self.out_of_order(),
            Some(transaction) if transaction.chunks.is_some() => {
                self.wrong(&phrases.bdat_under_way)
            }
            Some(transaction) if transaction.recipients == 0 => {
                self.without_recipients(transaction.tried)
            }
            Some(transaction) if transaction.binary => self.wrong(&phrases.binary_needs_bdat),
            Some(_) => {
                self.state = State::Asked(Question::Data);
                Some(Event::Data)
            }
        }
    }

    pub(super) fn data_answered(&mut self, good: bool, reply: &Reply) {
        self.say(reply);
        if good {
            let terms = &self.terms;
            let decoder = Decoder::new(terms.max_message_size, terms.reject_bare_newline);
            self.state = State::Body(decoder);
        } else {
            self.transaction = None;
            self.pardoned = true;
        }
    }

    pub(super) fn body(&mut self) -> Option<Event> {
        let State::Body(decoder) = &mut self.state else {
            return None;
        };
        match decoder.decode(&mut self.input) {
            Step::Body(piece) => Some(Event::Body(piece)),
            Step::NeedInput => Some(self.starve()),
            Step::End => {
                let phrases = self.terms.phrases;
                let verdict = if decoder.is_too_large() {
                    Some(phrases.too_large.clone())
                } else if decoder.has_bare_newline() && self.terms.reject_bare_newline {
                    Some(phrases.bare_newline.clone())
                } else {
                    None
                };
                Some(self.body_end(verdict))
            }
        }
    }

    fn body_end(&mut self, verdict: Option<Reply>) -> Event {
        let shown = verdict.clone().map_or(Ok(()), Err);
        self.state = State::Asked(Question::BodyEnd { verdict });
        Event::BodyEnd(shown)
    }

    /// BDAT. Whatever is answered, its octets are never taken for commands.
    pub(super) fn bdat(&mut self, size: u64, last: bool) -> Option<Event> {
        let phrases = self.terms.phrases;
        // In force until the chunk is let in.
        self.state = State::Skip { left: size };
        if !self.terms.extensions.contains(&Extension::Chunking) {
            return self.wrong(&phrases.bdat_not_offered);
        }
        let Some(transaction) = &mut self.transaction else {
            return self.out_of_order();
        };
        if transaction.recipients == 0 {
            let tried = transaction.tried;
            return self.without_recipients(tried);
        }
        let before = transaction.chunks.as_ref().map_or(0, |chunks| chunks.size);
        if before.saturating_add(size) > self.terms.max_message_size {
            self.pardoned = true;
            self.say(&phrases.too_large);
            return self.drop_transaction();
        }
        if let Some(chunks) = &mut transaction.chunks {
            chunks.size += size;
            self.state = State::Chunk { left: size, size, last };
            return None;
        }
        transaction.chunks = Some(Chunks { size, ends: LineEnds::default() });
        self.state = State::Asked(Question::Chunk { size, last });
        Some(Event::Data)
    }

    pub(super) fn chunk_answered(&mut self, good: bool, reply: &Reply, size: u64, last: bool) {
        if good {
            self.state = State::Chunk { left: size, size, last };
            return;
        }
        self.say(reply);
        self.transaction = None;
        self.pardoned = true;
        self.state = State::Skip { left: size };
    }

    pub(super) fn chunk(&mut self) -> Option<Event> {
        let (State::Chunk { left, size, last }, Some(transaction)) =
            (&mut self.state, &mut self.transaction)
        else {
            self.state = State::Command;
            return None;
        };
        let (size, last, over) = (*size, *last, *left == 0);
        let octets = self.input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        if octets == 0 && !over {
            return Some(self.starve());
        }
        *left -= octets as u64;
        let binary = transaction.binary;
        let chunks = transaction.chunks.get_or_insert_default();
        let piece = self.input.split_to(octets).freeze();
        let piece = if binary { piece } else { chunks.ends.mend(piece, over && last) };
        let refused = self.terms.reject_bare_newline && chunks.ends.has_bare_newline();
        if !piece.is_empty() && !refused {
            return Some(Event::Body(piece));
        }
        if !over {
            return None;
        }
        self.chunk_end(size, last, refused)
    }

    fn chunk_end(&mut self, size: u64, last: bool, refused: bool) -> Option<Event> {
        let phrases = self.terms.phrases;
        if last {
            return Some(self.body_end(refused.then(|| phrases.bare_newline.clone())));
        }
        self.state = State::Command;
        let text = phrases.chunk_ok.text.replace("{octets}", &size.to_string());
        self.say(&Reply { text: text.into(), ..phrases.chunk_ok.clone() })
    }
}

#[cfg(test)]
mod tests {
    use crate::smtp::extension::Extension;
    use crate::smtp::server::tests::{codes, cut_everywhere, terms};

    /// The replies to these lines, without the greeting; the same however they are cut.
    fn replies(lines: &[&str]) -> Vec<String> {
        cut_everywhere(&terms(), &(lines.join("\r\n") + "\r\n")).replies()
    }

    #[test]
    fn a_mail_goes_through() {
        let wire = "EHLO pc\r\nMAIL FROM:<a@b> SIZE=10\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n\
                    Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
        let talk = cut_everywhere(&terms(), wire);
        assert_eq!(
            talk.events,
            [
                "Hello pc",
                "Mail a@b 10 Undeclared",
                "Rcpt c@d",
                "Rcpt e@f",
                "Data",
                "Body \"Subject: x\\r\\n\\r\\n.dot\\r\\n\"",
                "BodyEnd ok",
                "Close"
            ]
        );
        assert_eq!(codes(&talk.output), [220, 250, 250, 250, 250, 354, 250, 221]);
    }

    #[test]
    fn a01_nothing_hidden_in_a_body_is_taken_for_a_command() {
        for fake in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r\n.\r",
            "\r.\r\n",
            "\r\n.\r\r\n",
            "\r\n\0.\r\n",
        ] {
            let wire = format!(
                "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx{fake}MAIL FROM:<evil@b>\r\n\
                 RCPT TO:<c@d>\r\nDATA\r\ny\r\n.\r\nNOOP\r\n"
            );
            for reject in [false, true] {
                let mut terms = terms();
                terms.reject_bare_newline = reject;
                let talk = cut_everywhere(&terms, &wire);
                let mails = talk.events.iter().filter(|event| event.starts_with("Mail")).count();
                assert_eq!(mails, 1, "{fake:?}");
                let refused = reject && !fake.contains('\0');
                let end = if refused { "550 5.6.11" } else { "250 2.0.0 taken" };
                assert!(talk.replies()[3].starts_with(end), "{fake:?}: {:?}", talk.replies());
                assert_eq!(talk.replies().len(), 5);
            }
        }
    }

    #[test]
    fn a08_sizes() {
        for (size, reply) in [
            ("1000", "250 "),
            ("1001", "552 5.3.4 "),
            ("99999999999999999999", "552 5.3.4 "),
            ("abc", "501 5.5.4 "),
        ] {
            let found = replies(&[&format!("MAIL FROM:<a@b> SIZE={size}")]);
            assert!(found[0].starts_with(reply), "{size}: {found:?}");
        }
        let body = "x".repeat(1001);
        let found = replies(&[
            "MAIL FROM:<a@b>",
            "RCPT TO:<c@d>",
            "DATA",
            &body,
            ".",
            "NOOP",
            "MAIL FROM:<a@b>",
        ]);
        assert!(found[3].starts_with("552 5.3.4 "), "{found:?}");
        assert_eq!(codes(&found.join("\r\n")), [250, 250, 354, 552, 250, 250]);
    }

    #[test]
    fn a09_surplus_recipients_are_deferred_and_the_rest_stays() {
        let mut lines = vec!["MAIL FROM:<a@b>"];
        lines.extend(["RCPT TO:<c@d>"; 5]);
        lines.extend(["RCPT TO:<bad@d>", "DATA", "x", "."]);
        let found = replies(&lines);
        assert!(found[4].starts_with("452 4.5.3 "), "{found:?}");
        assert_eq!(codes(&found.join("\r\n")), [250, 250, 250, 250, 452, 452, 452, 354, 250]);
    }

    #[test]
    fn a10_what_is_out_of_order_is_refused() {
        for (lines, reply) in [
            (&["MAIL FROM:<a@b>", "DATA"][..], "554 5.5.1 "),
            (&["MAIL FROM:<a@b>", "RCPT TO:<bad@d>", "DATA"], "554 5.5.1 "),
            (&["MAIL FROM:<a@b>", "MAIL FROM:<a@b>"], "503 5.5.1 "),
            (&["RCPT TO:<c@d>"], "503 5.5.1 "),
            (&["DATA"], "503 5.5.1 "),
            (&["MAIL FROM:<a@b>", "RSET", "RCPT TO:<c@d>"], "503 5.5.1 "),
            (&["MAIL FROM:<a@b>", "EHLO x", "RCPT TO:<c@d>"], "503 5.5.1 "),
        ] {
            let found = replies(lines);
            assert!(found[found.len() - 1].starts_with(reply), "{lines:?}: {found:?}");
        }
    }

    #[test]
    fn a11_addresses() {
        for (line, reply) in [
            ("MAIL FROM:<>", "250 "),
            ("MAIL FROM: <a@b>", "250 "),
            ("mail from:<a@b>", "250 "),
            ("MAIL FROM:a@b", "250 "),
            ("MAIL FROM:<root>", "250 "),
            ("MAIL FROM:<@x:a@b>", "250 "),
            ("MAIL FROM:<\"a b\"@c>", "250 "),
            ("MAIL FROM:<a@[127.0.0.1]>", "250 "),
            ("MAIL FROM:<ü@b> SMTPUTF8", "250 "),
            ("MAIL FROM:<ü@b>", "553 5.6.7 "),
            ("MAIL FROM:<a@b", "501 5.1.7 Bad sender address: syntax error"),
            ("MAIL FROM:<a b@c>", "501 5.1.7 Bad sender address: character not allowed"),
            ("MAIL FROM:<a\0b@c>", "501 5.1.7 "),
            ("MAIL <a@b>", "501 5.1.7 "),
        ] {
            let found = replies(&[line]);
            assert!(found[0].starts_with(reply), "{line:?}: {found:?}");
        }
        let found =
            replies(&["MAIL FROM:<>", "RCPT TO:<ü@d>", "RCPT TO:<>", "RCPT TO:<postmaster>"]);
        for (reply, expected) in found.iter().zip(["250 ", "553 5.6.7 ", "501 5.1.3 ", "250 "]) {
            assert!(reply.starts_with(expected), "{found:?}");
        }
    }

    #[test]
    fn a12_parameters_reach_the_driver() {
        let wire = "MAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=x+2B AUTH=<>\r\n\
                    RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;c@d\r\nRCPT TO:<c@d> FOO=1\r\n";
        let talk = cut_everywhere(&terms(), wire);
        assert_eq!(
            talk.events,
            ["Mail a@b EightBitMime SMTPUTF8 Full x+2B", "Rcpt c@d never rfc822;c@d", "Close"]
        );
        assert!(talk.replies()[2].starts_with("555 5.5.4 Unsupported parameter: parameter FOO"));
        let mut terms = terms();
        terms.extensions = vec![];
        let talk = cut_everywhere(&terms, "MAIL FROM:<a@b> RET=FULL\r\n");
        assert!(talk.replies()[0].starts_with("555 5.5.4 "));
    }

    #[test]
    fn a16_a_pipelining_client_is_not_punished_for_a_refused_sender() {
        let mut lines = vec!["MAIL FROM:<bad@b>"];
        lines.extend(["RCPT TO:<c@d>"; 30]);
        lines.extend(["DATA", "RSET", "NOOP"]);
        let found = replies(&lines);
        assert_eq!(found.len(), 34);
        assert_eq!(found[33], "250 2.0.0 OK");
    }

    #[test]
    fn a20_chunks() {
        let wire = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 6\r\n.\r\nab\rBDAT 3\r\n\n.\r\
                    BDAT 0 LAST\r\nNOOP\r\n";
        let mut terms = terms();
        terms.extensions.push(Extension::Chunking);
        let talk = cut_everywhere(&terms, wire);
        assert_eq!(
            talk.events,
            [
                "Mail a@b Undeclared",
                "Rcpt c@d",
                "Data",
                "Body \".\\r\\nab\\r\\n.\\r\\n\"",
                "BodyEnd ok",
                "Close"
            ]
        );
        assert_eq!(
            talk.replies()[2..],
            [
                "250 2.0.0 6 octets received",
                "250 2.0.0 3 octets received",
                "250 2.0.0 taken",
                "250 2.0.0 OK"
            ]
        );
        terms.reject_bare_newline = true;
        assert!(cut_everywhere(&terms, wire).replies()[4].starts_with("550 5.6.11 "));
    }

    #[test]
    fn a20_octets_of_refused_chunks_are_never_commands() {
        let mail = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";
        for (chunking, before, bdat, expected) in [
            (false, mail, "BDAT 6 LAST\r\nRSET\r\n", &[250, 250, 502][..]),
            (true, "", "BDAT 6\r\nRSET\r\n", &[503]),
            (true, "MAIL FROM:<a@b>\r\n", "BDAT 6\r\nRSET\r\n", &[250, 554]),
            (
                true,
                "MAIL FROM:<a@b>\r\nRCPT TO:<bad@d>\r\n",
                "BDAT 6 LAST\r\nRSET\r\n",
                &[250, 550, 554],
            ),
            (
                true,
                "MAIL FROM:<late@b>\r\nRCPT TO:<c@d>\r\n",
                "BDAT 6\r\nRSET\r\nBDAT 6 LAST\r\nRSET\r\n",
                &[250, 250, 451, 503],
            ),
            (true, mail, "BDAT 6\r\nRSET\r\nDATA\r\nRCPT TO:<c@d>\r\n", &[250, 250, 250, 503, 503]),
        ] {
            let mut terms = terms();
            if chunking {
                terms.extensions.push(Extension::Chunking);
            }
            let talk = cut_everywhere(&terms, &format!("{before}{bdat}VRFY x\r\n"));
            let mut expected = expected.to_vec();
            expected.push(252);
            assert_eq!(codes(&talk.output)[1..], expected, "{before:?} {bdat:?}");
            assert!(!talk.events.iter().any(|event| event == "Reset"));
        }
    }

    #[test]
    fn a20_too_large_and_aborted_chunks_drop_the_mail() {
        let mut terms = terms();
        terms.extensions.push(Extension::Chunking);
        let body = "x".repeat(400);
        let start = format!("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 400\r\n{body}");
        let chunk = format!("BDAT 400\r\n{body}");
        let wire = format!("{start}{chunk}{chunk}BDAT 0 LAST\r\nNOOP\r\n");
        let talk = cut_everywhere(&terms, &wire);
        assert_eq!(codes(&talk.output), [220, 250, 250, 250, 250, 552, 503, 250]);
        assert_eq!(talk.events[4..], ["Reset", "Close"]);
        let talk = cut_everywhere(&terms, &format!("{start}RSET\r\n"));
        assert_eq!(talk.events[4..], ["Reset", "Close"]);
        let talk = cut_everywhere(&terms, "BDAT 99999999999999999999\r\nNOOP\r\n");
        assert_eq!(codes(&talk.output), [220, 501]);
    }

    #[test]
    fn a20_binarymime_comes_unchanged_and_only_by_bdat() {
        let mut terms = terms();
        terms.extensions.extend([Extension::Chunking, Extension::BinaryMime]);
        terms.reject_bare_newline = true;
        let wire =
            "MAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nDATA\r\nBDAT 4 LAST\r\n\n\r\r.";
        let talk = cut_everywhere(&terms, wire);
        assert_eq!(codes(&talk.output), [220, 250, 250, 503, 250]);
        assert_eq!(talk.events[3], "Body \"\\n\\r\\r.\"");
    }

    #[test]
    fn a_refused_data_ends_the_transaction() {
        let found = replies(&["MAIL FROM:<late@b>", "RCPT TO:<c@d>", "DATA", "MAIL FROM:<a@b>"]);
        assert_eq!(codes(&found.join("\r\n")), [250, 250, 451, 250]);
    }
}
