//! Commands in the dialogue: each is answered, asked or refused. MAIL to the end of the body is in
//! `transaction`, AUTH in `login`.

use super::{Dialogue, Event, State};
use crate::smtp::Reply;
use crate::smtp::command::{self, Command, CommandError};
use crate::smtp::extension::Extension;
use crate::smtp::line::{COMMAND, PATH_COMMAND};
use bytes::BytesMut;
use zeroize::Zeroize;

/// What is kept of a client's name: the longest domain (RFC 5321 §4.5.3.1.2).
const LONGEST_NAME: usize = 255;

impl Dialogue {
    pub(super) fn command_line(&mut self, mut line: BytesMut) -> Option<Event> {
        // Latin-1 may stand in names and comments; in addresses U+FFFD would be somebody else's.
        let text = String::from_utf8_lossy(&line);
        let clean = matches!(text, std::borrow::Cow::Borrowed(_));
        let command = command::parse(&text);
        let phrases = self.terms.phrases;
        let bound = match command {
            Ok(Command::Mail(_) | Command::Rcpt(_)) => PATH_COMMAND,
            // AUTH has a bound of its own; of the others the octets that follow matter more.
            Ok(Command::Auth(..) | Command::Bdat(..) | Command::Http) => usize::MAX,
            _ => COMMAND,
        };
        let event = match command {
            _ if text.len() > bound => self.wrong(&phrases.line_too_long),
            Ok(command) => self.command(command, clean),
            Err(CommandError::Unknown) => self.wrong(&phrases.unknown_command),
            Err(CommandError::ChunkSize) => {
                self.wrong(&phrases.bdat_size);
                self.state = State::Closing;
                self.input = BytesMut::new();
                None
            }
            Err(_) => self.wrong(self.syntax_of(&text)),
        };
        if matches!(command, Ok(Command::Auth(..))) {
            drop(text);
            line[..].zeroize();
        }
        event
    }

    fn syntax_of(&self, line: &str) -> &'static Reply {
        let phrases = self.terms.phrases;
        match line.trim_start().get(..4) {
            Some(verb) if verb.eq_ignore_ascii_case("EHLO") => &phrases.bad_hello,
            Some(verb) if verb.eq_ignore_ascii_case("HELO") => &phrases.bad_hello,
            Some(verb) if verb.eq_ignore_ascii_case("BDAT") => &phrases.bdat_size,
            _ => &phrases.bad_syntax,
        }
    }

    /// A line that was too long to be kept, by its first octets.
    pub(super) fn overlong_command(&mut self, head: &[u8]) -> Option<Event> {
        let phrases = self.terms.phrases;
        let head = String::from_utf8_lossy(head);
        let verb = head.split([' ', '\t']).next().unwrap_or_default();
        if matches!(command::parse(verb), Ok(Command::Http)) {
            return self.close(&phrases.http);
        }
        if verb.eq_ignore_ascii_case("AUTH") {
            return self.wrong(&phrases.auth_line_too_long);
        }
        self.wrong(&phrases.line_too_long)
    }

    fn command(&mut self, command: Command<'_>, clean: bool) -> Option<Event> {
        let phrases = self.terms.phrases;
        match command {
            Command::Ehlo(name) => self.hello(name, true),
            Command::Helo(name) => self.hello(name, false),
            Command::StartTls(argument) => self.starttls(argument),
            Command::Data => self.data(),
            Command::Rset => {
                self.say(&phrases.reset);
                self.pardoned = false;
                self.drop_transaction()
            }
            Command::Noop => self.say(&phrases.noop),
            Command::Vrfy => self.say(&phrases.vrfy),
            Command::Expn => self.say(&phrases.expn),
            Command::Help => self.say(&phrases.help),
            Command::Quit => self.close(&phrases.goodbye),
            Command::Mail(argument) => self.mail(argument, clean),
            Command::Rcpt(argument) => self.rcpt(argument, clean),
            Command::Bdat(size, last) => self.bdat(size, last),
            Command::Auth(name, initial) => self.auth(name, initial),
            Command::Http => self.close(&phrases.http),
        }
    }

    /// EHLO and HELO: an open transaction goes (RFC 5321 §4.1.4), a login stays.
    fn hello(&mut self, name: &str, extended: bool) -> Option<Event> {
        self.client_name = printable(name);
        self.extended = extended;
        self.pardoned = false;
        self.hello_due = true;
        let text = if extended { self.offers() } else { self.first_line() };
        self.say(&Reply { code: 250, enhanced: None, text: text.into() });
        self.drop_transaction()
    }

    fn first_line(&self) -> String {
        format!("{} {}", self.terms.hostname, self.terms.hello)
    }

    /// The whole EHLO reply.
    fn offers(&self) -> String {
        let mut text = self.first_line();
        for extension in &self.terms.extensions {
            let shown = match extension {
                Extension::StartTls => !self.tls,
                Extension::Auth => self.is_auth_open(),
                _ => true,
            };
            if shown {
                text.push('\n');
                text += &extension.line(&self.terms.mechanisms, self.terms.max_message_size);
            }
        }
        text
    }

    fn starttls(&mut self, argument: bool) -> Option<Event> {
        let phrases = self.terms.phrases;
        if self.tls {
            return self.wrong(&phrases.starttls_again);
        }
        if !self.terms.extensions.contains(&Extension::StartTls) {
            return self.wrong(&phrases.starttls_not_offered);
        }
        if argument {
            return self.wrong(&phrases.starttls_argument);
        }
        if self.is_hello_missing() {
            return self.wrong(&phrases.hello_first);
        }
        self.say(&phrases.starttls_ready);
        // What was sent with STARTTLS was sent by anybody (CVE-2011-0411).
        self.input = BytesMut::new();
        self.state = State::Handshake;
        None
    }

    pub(super) fn is_hello_missing(&self) -> bool {
        self.terms.hello_required && self.client_name.is_empty()
    }

    /// Why MAIL and AUTH cannot be yet.
    pub(super) fn hello_or_tls_missing(&self) -> Option<&'static Reply> {
        let phrases = self.terms.phrases;
        if self.is_hello_missing() {
            return Some(&phrases.hello_first);
        }
        (self.terms.tls_required && !self.tls).then_some(&phrases.must_starttls)
    }

    /// Forgets the transaction; the driver hears of it where there was one.
    pub(super) fn drop_transaction(&mut self) -> Option<Event> {
        self.transaction.take().map(|_| Event::Reset)
    }
}

/// A name fit for logs and the `Received:` header, whose comments and addresses it must not imitate.
fn printable(name: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !"()<>\\\",;".contains(c);
    name.chars().take(LONGEST_NAME).map(|c| if plain(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use crate::smtp::extension::Extension;
    use crate::smtp::server::tests::{codes, cut_everywhere, run, terms};

    #[test]
    fn a03_what_was_sent_with_starttls_is_thrown_away() {
        let mut terms = terms();
        terms.hello_required = true;
        let segments: [&[u8]; 3] = [
            b"EHLO a\r\nMAIL FROM:<a@b>\r\nRSET\r\nAUTH PLAIN AHUAZ29vZA==\r\nMAIL FROM:<a@b>\r\n",
            b"STARTTLS\r\nRCPT TO:<evil@b>\r\nEHLO evil\r\nNOO",
            b"MAIL FROM:<a@b>\r\nEHLO b\r\nRCPT TO:<c@d>\r\n",
        ];
        let talk = run(&terms, &segments);
        let replies = talk.replies();
        let at =
            replies.iter().position(|reply| reply.starts_with("220 2.0.0 ")).expect("STARTTLS");
        assert!(replies[at + 1].starts_with("503 5.5.1 Send EHLO"), "{replies:?}");
        assert!(talk.output.contains("250-AUTH PLAIN"), "the login is forgotten");
        assert_eq!(codes(&talk.output).last(), Some(&503), "the transaction is forgotten");
        assert!(!talk.output.rsplit_once("220 2.0.0").expect("half").1.contains("STARTTLS"));
        assert!(!talk.events.iter().any(|event| event.contains("evil")));
    }

    #[test]
    fn a04_starttls_in_the_wrong_place() {
        let talk = run(&terms(), &[b"STARTTLS now\r\nSTARTTLS\r\n", b"STARTTLS\r\n"]);
        assert_eq!(codes(&talk.output), [220, 501, 220, 503]);
        let mut terms = terms();
        terms.extensions.retain(|extension| *extension != Extension::StartTls);
        assert_eq!(codes(&cut_everywhere(&terms, "STARTTLS\r\n").output), [220, 502]);
    }

    #[test]
    fn a05_long_lines() {
        for (line, reply) in [
            (format!("NOOP {}", "x".repeat(505)), "250 "),
            (format!("NOOP {}", "x".repeat(506)), "500 5.5.2 "),
            (format!("EHLO {}", "x".repeat(506)), "500 5.5.2 "),
            (format!("XYZZY{}", "x".repeat(506)), "500 5.5.2 "),
            (format!("MAIL FROM:<a@b> ENVID={}", "x".repeat(3000)), "500 5.5.2 "),
            (format!("MAIL FROM:<a@b>{}", " AUTH=<>".repeat(200)), "250 "),
            ("x".repeat(30_000), "500 5.5.2 "),
            (format!("AUTH PLAIN {}", "x".repeat(12_289)), "500 5.5.6 "),
            (format!("AUTH PLAIN {}", "x".repeat(30_000)), "500 5.5.6 "),
        ] {
            let talk = run(&terms(), &[line.as_bytes(), b"\r\nVRFY x\r\n"]);
            assert!(talk.replies()[0].starts_with(reply), "{line:.20}: {:?}", talk.replies());
            assert!(talk.replies()[1].starts_with("252 "));
        }
        let endless = [b'x'; 70_000];
        let talk = run(&terms(), &[&endless[..], b"\r\nNOOP\r\n"]);
        assert_eq!(codes(&talk.output), [220, 421]);
        let pieces: Vec<&[u8]> = endless.chunks(7).collect();
        assert_eq!(codes(&run(&terms(), &pieces).output), [220, 421]);
    }

    #[test]
    fn a15_a17_odd_names_are_taken_and_made_harmless() {
        for (line, name) in [
            ("EHLO a.example", "a.example"),
            ("EHLO [127.0.0.1]", "[127.0.0.1]"),
            ("EHLO 10.0.0.1", "10.0.0.1"),
            ("EHLO  my pc ", "my?pc"),
            ("EHLO a\u{1b}[2J\u{7}(x)", "a?[2J??x?"),
            ("EHLO büro", "b?ro"),
            ("HELO under_score", "under_score"),
        ] {
            let talk = cut_everywhere(&terms(), &format!("{line}\r\n"));
            assert_eq!(talk.events[0], format!("Hello {name}"), "{line:?}");
        }
        let talk = run(&terms(), &[b"EHLO b\xfcro\r\nMAIL FROM:<b\xfcro@b> SMTPUTF8\r\n"]);
        assert_eq!(talk.events, ["Hello b?ro", "Close"]);
        assert!(talk.replies().last().expect("reply").starts_with("501 5.1.7 "));
    }

    #[test]
    fn a15_old_programs_need_no_ehlo() {
        let wire = "HELO a\r\nAUTH PLAIN AHUAZ29vZA==\r\nMAIL FROM:<a@b>\r\n";
        assert_eq!(codes(&cut_everywhere(&terms(), wire).output), [220, 250, 235, 250]);
        assert_eq!(codes(&cut_everywhere(&terms(), "MAIL FROM:<a@b>\r\n").output), [220, 250]);
        let mut terms = terms();
        terms.hello_required = true;
        let wire = "MAIL FROM:<a@b>\r\nAUTH LOGIN\r\nSTARTTLS\r\nNOOP\r\n";
        assert_eq!(codes(&cut_everywhere(&terms, wire).output), [220, 503, 503, 503, 250]);
    }

    #[test]
    fn the_ehlo_reply_is_as_the_terms_say() {
        let talk = cut_everywhere(&terms(), "EHLO a\r\n");
        assert_eq!(
            talk.output.split_once("\r\n").expect("greeting").1,
            "250-relay.example at your service\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n\
             250-SMTPUTF8\r\n250-DSN\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n\
             250 ENHANCEDSTATUSCODES\r\n"
        );
        let mut terms = terms();
        terms.auth_needs_tls = true;
        assert!(!cut_everywhere(&terms, "EHLO a\r\n").output.contains("AUTH"));
        let helo = cut_everywhere(&terms, "HELO a\r\n").output;
        assert!(helo.ends_with("\r\n250 relay.example at your service\r\n"), "{helo}");
    }

    #[test]
    fn a21_small_commands() {
        let wire = "NOOP with text\r\nVRFY a\r\nEXPN b\r\nHELP\r\nHELP MAIL\r\nRSET\r\nXYZZY\r\n\r\nEHLO\r\n\
                    DATA x\r\nnoop\nQUIT\r\nNOOP\r\n";
        let talk = cut_everywhere(&terms(), wire);
        let expected = [220, 250, 252, 502, 214, 214, 250, 500, 500, 501, 501, 250, 221];
        assert_eq!(codes(&talk.output), expected);
        assert_eq!(talk.events, ["Close"]);
    }

    #[test]
    fn a21_rset_and_ehlo_keep_the_login_and_drop_the_mail() {
        let mut terms = terms();
        terms.auth_required = true;
        let wire = "EHLO a\r\nAUTH PLAIN AHUAZ29vZA==\r\nMAIL FROM:<a@b>\r\nRSET\r\nMAIL FROM:<a@b>\r\n\
                    EHLO c\r\nMAIL FROM:<a@b>\r\nRSET\r\nRSET\r\n";
        let talk = cut_everywhere(&terms, wire);
        let mail = "Mail a@b Undeclared";
        let expected = [
            "Hello a",
            "Password u good",
            mail,
            "Reset",
            mail,
            "Reset",
            "Hello c",
            mail,
            "Reset",
            "Close",
        ];
        assert_eq!(talk.events, expected);
    }

    #[test]
    fn a21_too_many_wrong_commands_end_the_session() {
        let talk = cut_everywhere(&terms(), &"XYZZY\r\n".repeat(25));
        let found = codes(&talk.output);
        assert_eq!((found.len(), found[19], found[20]), (21, 500, 421));
        assert!(talk.output.ends_with("421 4.7.0 Too many errors, closing connection\r\n"));
        let mail = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n";
        let wire = format!("{}{mail}{}", "XYZZY\r\n".repeat(19), "XYZZY\r\n".repeat(19));
        assert!(!run(&terms(), &[wire.as_bytes()]).output.contains("421"), "a mail starts anew");
        let wire = "MAIL FROM:<a@b>\r\n".to_owned() + &"RCPT TO:<a b@d>\r\n".repeat(40);
        assert!(!run(&terms(), &[wire.as_bytes()]).output.contains("421"), "bad addresses");
    }

    #[test]
    fn a24_http_is_cut_off() {
        let header = "Host: x\r\n\r\nMAIL FROM:<a@b>\r\n";
        for request in [
            "POST / HTTP/1.1".to_owned(),
            "GET / HTTP/1.1".to_owned(),
            "PUT /x HTTP/1.0".to_owned(),
            format!("POST /{} HTTP/1.1", "x".repeat(1000)),
            format!("POST /{} HTTP/1.1", "x".repeat(20_000)),
        ] {
            let wire = format!("{request}\r\n{header}");
            let talk = run(&terms(), &[wire.as_bytes()]);
            assert_eq!(codes(&talk.output), [220, 421]);
            assert_eq!(talk.events, ["Close"]);
        }
    }

    #[test]
    fn a_tls_handshake_on_a_plain_port_is_told_so() {
        let talk = run(&terms(), &[b"\x16\x03\x01\x02\x00\x01\x00", b"\x01\xfc\n"]);
        assert_eq!(codes(&talk.output), [220, 421]);
    }
}
