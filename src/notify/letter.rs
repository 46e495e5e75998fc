//! A notice as a mail: which account it goes through, and its text. Pure.
//!
//! It promises that a notice about an account goes through another one, unless there is no other and this
//! one works; that it is marked as automatic; and that several events make one mail.

use super::event::{Event, Kind};
use crate::config::{Account, Notify};
use crate::mail::Address;
use lettre::message::Mailbox;
use lettre::message::header::{self, HeaderName, HeaderValue};
use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

/// The account a notice about `about` goes through: the configured one, else the first; never one of `ill`.
pub(super) fn through<'a>(
    about: &str,
    notify: &Notify,
    accounts: &'a [Arc<Account>],
    ill: &[&str],
) -> Option<&'a Arc<Account>> {
    let works = |account: &&Arc<Account>| !ill.contains(&account.name.as_str());
    let chosen = accounts.iter().filter(|account| Some(&account.name) == notify.account.as_ref());
    let mut candidates = chosen.chain(accounts).filter(works);
    let is_only = accounts.len() == 1;
    candidates.find(|account| is_only || account.name != about)
}

/// The message. None where an address is none that a header can hold.
pub(super) fn compose(
    events: &[&Event],
    from: &Address,
    to: &[Address],
    hostname: &str,
    (date, seed): (SystemTime, &str),
) -> Option<Vec<u8>> {
    let mailbox = |name: Option<String>, address: &Address| {
        Some(Mailbox::new(name, address.as_str().parse().ok()?))
    };
    let mut message = lettre::Message::builder()
        .from(mailbox(Some(format!("submitd on {hostname}")), from)?)
        .subject(subject(events))
        .date(date)
        .message_id(Some(format!("<{seed}@{hostname}>")));
    for address in to {
        message = message.to(mailbox(None, address)?);
    }
    // RFC 3834 §5: no responder shall answer this.
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    message = message.raw_header(HeaderValue::new(name, "auto-generated".to_owned()));
    let body = message.header(header::ContentType::TEXT_PLAIN).body(text(events, hostname));
    Some(body.ok()?.formatted())
}

fn subject(events: &[&Event]) -> String {
    match events {
        [one] => one.headline(),
        _ => {
            let trouble = events.iter().filter(|event| event.kind.is_trouble()).count();
            format!("{} notices, {trouble} of them trouble", events.len())
        }
    }
}

fn text(events: &[&Event], hostname: &str) -> String {
    let mut text = String::new();
    for event in events {
        let _ = write!(text, "{} ({})\r\n\r\n", event.headline(), event.mailbox);
        if !matches!(event.kind, Kind::EndsSoon | Kind::Ended) {
            let _ = write!(text, "What happened: {}\r\n", event.what);
        }
        if !event.remedy.is_empty() {
            let _ = write!(text, "What to do: {}\r\n", event.remedy);
        }
        if event.kind == Kind::AccountFailed {
            text.push_str("Its mail is kept and goes out when that is done.\r\n");
        }
        for id in &event.ids {
            let _ = write!(text, "  {id}\r\n");
        }
        let _ = write!(text, "Seen: {}\r\n\r\n", event.time);
    }
    let _ = write!(text, "submitd on {hostname}; each of these is told once.\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::time::UNIX_EPOCH;

    fn config(names: &[&str], notify: &str) -> Config {
        let mut text = format!("[notify]\nmail_to = \"ops@contoso.com\"\n{notify}\n");
        for name in names {
            let _ = write!(
                text,
                "[[account]]\nname = \"{name}\"\nmailbox = \"{name}@contoso.com\"\n\
                 grant = \"client_credentials\"\ntenant = \"contoso.com\"\nclient_id = \"x\"\n\
                 client_secret = \"y\"\n"
            );
        }
        Config::from_text("submitd.toml", &text, &[]).expect("valid")
    }

    #[test]
    fn a_notice_goes_through_another_account_that_works() {
        for (names, notify, about, ill, expected) in [
            (&["erp"][..], "", "erp", &[][..], Some("erp")),
            (&["erp"], "", "erp", &["erp"], None),
            (&["erp", "crm"], "", "erp", &["erp"], Some("crm")),
            // Even where nobody knows yet that it does not work.
            (&["erp", "crm"], "", "erp", &[], Some("crm")),
            (&["erp", "crm"], "", "crm", &[], Some("erp")),
            (&["erp", "crm", "hr"], "account = \"hr\"", "erp", &[], Some("hr")),
            (&["erp", "crm", "hr"], "account = \"hr\"", "hr", &[], Some("erp")),
            (&["erp", "crm", "hr"], "account = \"hr\"", "erp", &["hr"], Some("crm")),
            (&["erp", "crm"], "", "erp", &["crm"], None),
            (&["erp", "crm"], "account = \"erp\"", "erp", &["erp", "crm"], None),
        ] {
            let config = config(names, notify);
            let found = through(about, &config.notify, &config.accounts, ill);
            let found = found.map(|account| account.name.as_str());
            assert_eq!(found, expected, "{names:?} {notify} {about} {ill:?}");
        }
    }

    #[test]
    fn several_events_make_one_mail_that_nothing_answers() {
        let event = |kind, what: &str| Event {
            what: what.to_owned(),
            remedy: "sign in again: submitd login erp".to_owned(),
            ..Event::new(kind, "erp", "erp@contoso.com", UNIX_EPOCH)
        };
        let failed = event(Kind::AccountFailed, "AADSTS700082\r\nBcc: x@y.z");
        let ends = event(Kind::EndsSoon, "the client secret ends in 7 days");
        let address = |text: &str| Address::parse(text).expect(text);
        let to = [address("ops@contoso.com"), address("two@contoso.com")];
        let from = address("crm@contoso.com");
        for (events, subject) in [
            (&[&failed][..], "Subject: account \"erp\" sends nothing\r\n"),
            (&[&failed, &ends], "Subject: 2 notices, 1 of them trouble\r\n"),
        ] {
            let mail = compose(events, &from, &to, "relay.test", (UNIX_EPOCH, "seed"));
            let mail = String::from_utf8(mail.expect("a mail")).expect("text");
            let (head, body) = mail.split_once("\r\n\r\n").expect("header");
            assert!(format!("{head}\r\n").contains(subject), "{head}");
            assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
            assert!(head.contains("Message-ID: <seed@relay.test>"), "{head}");
            assert!(head.contains("ops@contoso.com, two@contoso.com"), "{head}");
            assert!(!head.contains("Bcc"), "{head}");
            assert!(body.contains("submitd login erp"), "{body}");
        }
    }
}
