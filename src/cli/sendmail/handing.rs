//! Hands a message in: recipients one by one, and again for those the daemon had no room for in one mail.
//!
//! It promises that the message goes to every recipient the daemon takes, that each one it does not
//! take is told with the daemon's words, and that nothing is sent where none is taken.

use super::message::Message;
use crate::cli::submit::{Submission, SubmitError};
use crate::mail::Address;
use crate::smtp::extension::Extension;

/// What is said besides the message.
#[derive(Debug)]
pub struct Wishes<'a> {
    /// The sender; none is the null sender.
    pub sender: Option<&'a Address>,
    /// `NOTIFY=`.
    pub notify: Option<&'a str>,
    /// `RET=`.
    pub ret: Option<&'a str>,
    /// `ENVID=`.
    pub envid: Option<&'a str>,
    /// The caller says that there are octets above 127.
    pub eight_bit: bool,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The daemon's answers, one a mail; each names a queue id.
    pub taken: Vec<String>,
    /// Recipients that were not taken, and the daemon's words.
    pub refused: Vec<(Address, String)>,
}

/// Hands the message in.
///
/// # Errors
/// [`SubmitError`] where nothing was taken for another reason than the recipients, and where a second
/// mail for the recipients behind the daemon's bound failed: the first one was taken then, as `outcome`
/// tells.
pub fn hand_in(
    submission: &mut Submission,
    wishes: &Wishes<'_>,
    recipients: &[Address],
    message: &mut Message,
    outcome: &mut Outcome,
) -> Result<(), SubmitError> {
    let of_mail = mail_parameters(submission, wishes, recipients, message);
    let of_rcpt = match wishes.notify {
        Some(notify) if submission.offers(Extension::Dsn) => format!(" NOTIFY={notify}"),
        _ => String::new(),
    };
    let sender = wishes.sender.map_or("", Address::as_str);
    let mut waiting = recipients.to_vec();
    while !waiting.is_empty() {
        submission.mail(sender, &of_mail)?;
        let mut later = Vec::new();
        let mut is_taken = false;
        for recipient in std::mem::take(&mut waiting) {
            match submission.rcpt(recipient.as_str(), &of_rcpt) {
                Ok(()) => is_taken = true,
                Err(SubmitError::Refused { reply, .. }) if is_taken && is_full(&reply) => {
                    later.push(recipient);
                }
                // 421: it hangs up. Nothing was sent yet, so the whole mail may be tried again.
                Err(SubmitError::Refused { reply, .. }) if !reply.starts_with("421") => {
                    outcome.refused.push((recipient, reply));
                }
                Err(error) => return Err(error),
            }
        }
        if !is_taken {
            return submission.reset();
        }
        let mut octets = message.octets().map_err(SubmitError::Message)?;
        outcome.taken.push(submission.data(&mut octets)?);
        waiting = later;
    }
    Ok(())
}

/// Too many recipients for one mail, not for ever (RFC 5321 §4.5.3.1.10; some say 552).
fn is_full(reply: &str) -> bool {
    reply.contains(" 4.5.3 ") || reply.contains(" 5.5.3 ")
}

fn mail_parameters(
    submission: &Submission,
    wishes: &Wishes<'_>,
    recipients: &[Address],
    message: &Message,
) -> String {
    let mut parameters = String::new();
    if submission.offers(Extension::Size) {
        parameters.push_str(&format!(" SIZE={}", message.size()));
    }
    let is_eight_bit = wishes.eight_bit || message.has_eight_bit();
    if is_eight_bit && submission.offers(Extension::EightBitMime) {
        parameters.push_str(" BODY=8BITMIME");
    }
    let mut addresses = wishes.sender.into_iter().chain(recipients);
    if addresses.any(Address::needs_smtputf8) && submission.offers(Extension::SmtpUtf8) {
        parameters.push_str(" SMTPUTF8");
    }
    if submission.offers(Extension::Dsn) {
        for (name, value) in [("RET", wishes.ret), ("ENVID", wishes.envid)] {
            if let Some(value) = value {
                parameters.push_str(&format!(" {name}={value}"));
            }
        }
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::time::Duration;

    /// A server that takes two recipients a mail, none called `bad`, and tells what it was told.
    fn server(offers: &'static str) -> (SocketAddr, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let thread = std::thread::spawn(move || {
            let mut reader = BufReader::new(listener.accept().expect("accept").0);
            reader.get_mut().write_all(b"220 hello\r\n").expect("greeting");
            let (mut told, mut line, mut inside, mut taken) = (Vec::new(), String::new(), false, 0);
            while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                let said = std::mem::take(&mut line).trim_end().to_owned();
                let answer = match said.get(..4).unwrap_or_default() {
                    _ if said == "." => {
                        inside = false;
                        "250 2.0.0 queued as 1"
                    }
                    _ if inside => "",
                    "EHLO" => offers,
                    "MAIL" => {
                        taken = 0;
                        "250 2.1.0 ok"
                    }
                    "RCPT" if said.contains("bad") => "550 5.1.1 nobody here",
                    "RCPT" if taken == 2 => "452 4.5.3 too many recipients",
                    "RCPT" => {
                        taken += 1;
                        "250 2.1.5 ok"
                    }
                    "DATA" => {
                        inside = true;
                        "354 go"
                    }
                    "QUIT" => "221 bye",
                    _ => "250 ok",
                };
                told.push(said);
                if !answer.is_empty() {
                    reader.get_mut().write_all(format!("{answer}\r\n").as_bytes()).expect("answer");
                }
            }
            told
        });
        (address, thread)
    }

    fn send(offers: &'static str, to: &[&str], text: &[u8]) -> (Outcome, Vec<String>) {
        let (address, thread) = server(offers);
        let mut submission = Submission::open(address, Duration::from_secs(60)).expect("open");
        let mut message = Message::read(&mut &text[..], true).expect("read");
        let sender: Address = "s@x".parse().expect("sender");
        let wishes = Wishes {
            sender: Some(&sender),
            notify: Some("NEVER"),
            ret: Some("HDRS"),
            envid: Some("+20"),
            eight_bit: false,
        };
        let to: Vec<Address> = to.iter().map(|text| text.parse().expect("recipient")).collect();
        let mut outcome = Outcome::default();
        hand_in(&mut submission, &wishes, &to, &mut message, &mut outcome).expect("handed in");
        submission.close().expect("close");
        (outcome, thread.join().expect("server"))
    }

    #[test]
    fn the_rest_of_many_recipients_goes_in_further_mails() {
        let to = ["a@x", "b@x", "c@x", "bad@x", "d@x", "e@x"];
        let (outcome, told) = send("250 me", &to, b"A: b\n\n.dot\n");
        assert_eq!(outcome.taken.len(), 3);
        assert_eq!(outcome.refused.len(), 1);
        assert_eq!(outcome.refused[0].1, "550 5.1.1 nobody here");
        assert_eq!(told.iter().filter(|line| *line == "..dot").count(), 3);
        for to in ["a@x", "b@x", "c@x", "d@x", "e@x"] {
            assert!(told.contains(&format!("RCPT TO:<{to}>")), "{to}: {told:?}");
        }
        assert!(told.contains(&"MAIL FROM:<s@x>".to_owned()), "nothing was offered: {told:?}");
    }

    #[test]
    fn nothing_is_sent_where_nobody_is_taken() {
        let (outcome, told) = send("250 me", &["bad@x"], b"A: b\n\nx\n");
        assert!(outcome.taken.is_empty() && outcome.refused.len() == 1);
        assert!(
            told.contains(&"RSET".to_owned()) && !told.contains(&"DATA".to_owned()),
            "{told:?}"
        );
    }

    #[test]
    fn a12_what_is_offered_is_used() {
        const OFFERS: &str = "250-me\r\n250-SIZE 100\r\n250-8bitmime\r\n250-SMTPUTF8\r\n250 DSN";
        let (_, told) = send(OFFERS, &["\u{fc}@x"], "A: b\n\n\u{fc}\n".as_bytes());
        let mail = "MAIL FROM:<s@x> SIZE=12 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=+20".to_owned();
        assert!(told.contains(&mail), "{told:?}");
        assert!(told.contains(&"RCPT TO:<\u{fc}@x> NOTIFY=NEVER".to_owned()), "{told:?}");
        let (_, told) = send(OFFERS, &["a@x"], b"A: b\n\nx\n");
        assert!(told.iter().all(|line| !line.contains("8BITMIME") && !line.contains("UTF8")));
    }
}
