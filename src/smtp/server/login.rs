//! AUTH in the dialogue (RFC 4954): the order of challenges and answers. What the answers say is read in
//! `sasl`, whether they are good is asked.

use super::{Credentials, Dialogue, Event, Question, State};
use crate::smtp::Reply;
use crate::smtp::extension::Extension;
use crate::smtp::line;
use crate::smtp::sasl::{self, Mechanism};
use bytes::BytesMut;
use zeroize::Zeroize;

/// What the next line of an AUTH exchange is.
pub(super) enum Exchange {
    /// The name of LOGIN.
    User,
    /// The password of LOGIN.
    Password { user: String },
    /// The only answer of a mechanism.
    Only(Mechanism),
    /// What a client says to the challenge that tells why its token was refused: nothing of interest.
    Refused(Reply),
}

impl Dialogue {
    /// Whether AUTH may be used now.
    pub(super) fn is_auth_open(&self) -> bool {
        self.is_auth_offered() && !self.authenticated && (self.tls || !self.terms.auth_needs_tls)
    }

    fn is_auth_offered(&self) -> bool {
        self.terms.extensions.contains(&Extension::Auth) && !self.terms.mechanisms.is_empty()
    }

    pub(super) fn auth(&mut self, name: &str, initial: Option<&str>) -> Option<Event> {
        let phrases = self.terms.phrases;
        if let Some(refusal) = self.hello_or_tls_missing() {
            return self.wrong(refusal);
        }
        if !self.is_auth_offered() {
            return self.wrong(&phrases.auth_not_offered);
        }
        if self.authenticated {
            return self.wrong(&phrases.auth_already);
        }
        if self.transaction.is_some() {
            return self.wrong(&phrases.auth_in_transaction);
        }
        if !self.is_auth_open() {
            return self.wrong(&phrases.auth_needs_tls);
        }
        let offered = |mechanism: &Mechanism| self.terms.mechanisms.contains(mechanism);
        let Some(mechanism) = Mechanism::parse(name).filter(offered) else {
            return self.wrong(&phrases.auth_unknown_mechanism);
        };
        match (mechanism, initial) {
            (Mechanism::Login, None | Some("=")) => {
                self.challenge(Exchange::User, sasl::LOGIN_USER.to_owned())
            }
            (Mechanism::Login, Some(initial)) => self.login_answer(Exchange::User, initial),
            (_, None) => self.challenge(Exchange::Only(mechanism), String::new()),
            (_, Some(initial)) => self.login_answer(Exchange::Only(mechanism), initial),
        }
    }

    fn challenge(&mut self, exchange: Exchange, text: String) -> Option<Event> {
        self.state = State::Login(exchange);
        self.say(&Reply { code: 334, enhanced: None, text: text.into() })
    }

    pub(super) fn login_line(&mut self, exchange: Exchange, mut line: BytesMut) -> Option<Event> {
        let event = if line.len() > line::AUTH {
            self.wrong(&self.terms.phrases.auth_line_too_long)
        } else {
            // What is not UTF-8 is not base64 either.
            let answer = std::str::from_utf8(&line).unwrap_or("?").trim_matches([' ', '\t', '\r']);
            self.login_answer(exchange, answer)
        };
        line[..].zeroize();
        event
    }

    fn login_answer(&mut self, exchange: Exchange, answer: &str) -> Option<Event> {
        let phrases = self.terms.phrases;
        if let Exchange::Refused(reply) = exchange {
            return self.login_failed(&reply);
        }
        if answer == "*" {
            return self.say(&phrases.auth_cancelled);
        }
        if answer.len() > line::AUTH {
            return self.wrong(&phrases.auth_line_too_long);
        }
        let Some(octets) = sasl::decode(answer) else {
            return self.wrong(&phrases.auth_bad_base64);
        };
        let bearer = |(user, token)| Credentials::Bearer { user, token };
        let credentials = match exchange {
            Exchange::User => {
                if let Some(user) = sasl::user(&octets) {
                    let prompt = sasl::LOGIN_PASSWORD.to_owned();
                    return self.challenge(Exchange::Password { user }, prompt);
                }
                None
            }
            Exchange::Password { user } => {
                Some(Credentials::Password { user, password: sasl::password(&octets) })
            }
            Exchange::Only(Mechanism::XOAuth2) => sasl::xoauth2(&octets).map(bearer),
            Exchange::Only(Mechanism::OAuthBearer) => sasl::oauthbearer(&octets).map(bearer),
            Exchange::Only(_) | Exchange::Refused(_) => sasl::plain(&octets)
                .map(|(user, password)| Credentials::Password { user, password }),
        };
        let Some(credentials) = credentials else {
            return self.wrong(&phrases.auth_malformed);
        };
        let bearer = matches!(credentials, Credentials::Bearer { .. });
        self.state = State::Asked(Question::Login { bearer });
        Some(Event::Authenticate(credentials))
    }

    pub(super) fn login_answered(&mut self, bearer: bool, reply: &Reply) {
        if reply.code < 400 {
            self.authenticated = true;
            self.say(reply);
            return;
        }
        match &self.terms.bearer_refusal {
            Some(json) if bearer && reply.code >= 500 => {
                let challenge = sasl::encode(json);
                self.challenge(Exchange::Refused(reply.clone()), challenge);
            }
            _ => {
                self.login_failed(reply);
            }
        }
    }

    /// The refusal is always sent, unlike that of other wrong commands: people look for its text. A
    /// temporary one (454) is no fault of the client.
    fn login_failed(&mut self, reply: &Reply) -> Option<Event> {
        self.say(reply);
        if reply.code >= 500 {
            self.errors += 1;
            if self.errors >= self.terms.max_errors {
                return self.close(&self.terms.phrases.too_many_errors);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::smtp::server::tests::{codes, cut_everywhere, terms};
    use base64::Engine;

    fn base64(text: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    /// The exchange after the greeting, and what the driver was asked.
    fn talk(lines: &[&str]) -> (Vec<String>, Vec<String>) {
        let talk = cut_everywhere(&terms(), &(lines.join("\r\n") + "\r\n"));
        let asked = talk.events.iter().filter(|event| *event != "Close").cloned().collect();
        (talk.replies(), asked)
    }

    #[test]
    fn a13_good_logins() {
        let (good, user, word) = (base64("\0u\0good"), base64("u"), base64("good"));
        for (lines, prompts) in [
            (vec![format!("AUTH PLAIN {good}")], vec![]),
            (vec![format!("auth plain {}", good.trim_end_matches('='))], vec![]),
            (vec!["AUTH PLAIN".into(), good.clone()], vec!["334 "]),
            (vec!["AUTH PLAIN".into(), format!("{good} ")], vec!["334 "]),
            (
                vec!["AUTH LOGIN".into(), user.clone(), word.clone()],
                vec!["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"],
            ),
            (
                vec!["AUTH LOGIN =".into(), user.clone(), word.clone()],
                vec!["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"],
            ),
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let (replies, asked) = talk(&lines);
            assert_eq!(replies[..replies.len() - 1], prompts, "{lines:?}");
            assert!(replies[replies.len() - 1].starts_with("235 2.7.0 "), "{lines:?}");
            assert_eq!(asked, ["Password u good"]);
        }
    }

    #[test]
    fn a13_auth_login_inline() {
        let (replies, asked) = talk(&["AUTH LOGIN dQ==", "Z29vZA=="]);
        assert_eq!(replies[0], "334 UGFzc3dvcmQ6");
        assert_eq!(asked, ["Password u good"]);
        assert_eq!(codes(&replies.join("\r\n")), [334, 235]);
    }

    #[test]
    fn a13_what_goes_wrong() {
        for (lines, expected) in [
            (&["AUTH PLAIN", "*"][..], &["334 ", "501 5.7.0"][..]),
            (&["AUTH LOGIN", "*"], &["334 V", "501 5.7.0"]),
            (&["AUTH LOGIN", "dQ==", "*", "NOOP"], &["334 V", "334 U", "501 5.7.0", "250"]),
            (&["AUTH PLAIN !!!!"], &["501 5.5.2"]),
            (&["AUTH PLAIN", "é"], &["334 ", "501 5.5.2"]),
            (&["AUTH PLAIN ="], &["501 5.5.2"]),
            (&["AUTH PLAIN", ""], &["334 ", "501 5.5.2"]),
            (&["AUTH PLAIN dQ=="], &["501 5.5.2"]),
            (&["AUTH PLAIN AHUAYmFk", "NOOP"], &["535 5.7.8", "250"]),
            (&["AUTH CRAM-MD5"], &["504 5.5.4"]),
            (&["AUTH"], &["501 5.5.4"]),
            (&["AUTH PLAIN AHUAZ29vZA==", "AUTH PLAIN AHUAZ29vZA=="], &["235", "503 5.5.1"]),
            (&["MAIL FROM:<a@b>", "AUTH PLAIN AHUAZ29vZA=="], &["250", "503 5.5.1"]),
        ] {
            let (replies, _) = talk(lines);
            assert_eq!(replies.len(), expected.len(), "{lines:?}: {replies:?}");
            for (reply, expected) in replies.iter().zip(expected) {
                assert!(reply.starts_with(expected), "{lines:?}: {replies:?}");
            }
        }
    }

    #[test]
    fn a13_failed_logins_are_counted_and_their_text_is_sent() {
        let (replies, asked) = talk(&["AUTH PLAIN AHUAYmFk"; 25]);
        assert_eq!(asked.len(), 20);
        assert_eq!(replies.len(), 21);
        assert!(replies[19].starts_with("535 5.7.8") && replies[20].starts_with("421 4.7.0"));
    }

    #[test]
    fn a06_long_answers() {
        let token = "t".repeat(9_100);
        let answer = base64(&format!("user=a@b\x01auth=Bearer {token}\x01\x01"));
        assert!((12_000..=12_288).contains(&answer.len()), "{}", answer.len());
        let run = |lines: &[&str]| {
            let wire = lines.join("\r\n") + "\r\n";
            crate::smtp::server::tests::run(&terms(), &[wire.as_bytes()]).replies()
        };
        assert!(run(&["AUTH XOAUTH2", &answer])[1].starts_with("535 "));
        assert!(run(&[&format!("AUTH XOAUTH2 {answer}")])[0].starts_with("535 "));
        for length in [12_289, 13_000, 40_000] {
            let replies = run(&["AUTH XOAUTH2", &"x".repeat(length), "VRFY x"]);
            assert!(replies[1].starts_with("500 5.5.6 "), "{length}: {replies:?}");
            assert!(replies[2].starts_with("252 "));
        }
    }

    #[test]
    fn a14_where_auth_or_tls_is_needed() {
        let mut needs = terms();
        needs.auth_required = true;
        let found = cut_everywhere(&needs, "MAIL FROM:<a@b>\r\n").replies();
        assert!(found[0].starts_with("530 5.7.0 Auth"), "{found:?}");
        needs.auth_needs_tls = true;
        let found = cut_everywhere(&needs, "AUTH PLAIN AHUAZ29vZA==\r\n").replies();
        assert!(found[0].starts_with("538 5.7.11 "), "{found:?}");
        needs.tls_required = true;
        let found = cut_everywhere(&needs, "MAIL FROM:<a@b>\r\nAUTH LOGIN\r\n").replies();
        assert!(found[0].starts_with("530 5.7.0 Must issue"), "{found:?}");
        assert!(found[1].starts_with("530 5.7.0 Must issue"), "{found:?}");
        needs.mechanisms.clear();
        needs.tls_required = false;
        let found = cut_everywhere(&needs, "AUTH PLAIN AHUAZ29vZA==\r\n").replies();
        assert!(found[0].starts_with("502 5.5.1 "), "{found:?}");
    }

    #[test]
    fn a_refused_token_as_exchange_and_as_gmail_tell_it() {
        let bad = base64("user=a@b\x01auth=Bearer bad\x01\x01");
        let good = base64("n,a=a@b,\x01auth=Bearer good\x01\x01");
        let wire = format!("AUTH XOAUTH2\r\n{bad}\r\nAUTH OAUTHBEARER {good}\r\n");
        let talk = cut_everywhere(&terms(), &wire);
        assert_eq!(codes(&talk.output), [220, 334, 535, 235]);
        assert_eq!(talk.events, ["Bearer a@b bad", "Bearer a@b good", "Close"]);
        let mut gmail = terms();
        gmail.bearer_refusal = Some(r#"{"status":"400"}"#.to_owned());
        for ack in ["", "AQ==", "*"] {
            let wire = format!("AUTH XOAUTH2 {bad}\r\n{ack}\r\nNOOP\r\n");
            let replies = cut_everywhere(&gmail, &wire).replies();
            assert_eq!(replies[0], "334 eyJzdGF0dXMiOiI0MDAifQ==");
            assert_eq!(codes(&replies.join("\r\n")), [334, 535, 250]);
        }
    }
}
