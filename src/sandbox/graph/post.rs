//! Sends a message: to whom its header says, from whom it may, in the form in which it is delivered.

use super::owner::Caller;
use super::refusal::Refusal;
use super::{Head, addresses};
use crate::mail::{Address, BodyKind, Envelope, Recipient};
use crate::sandbox::messages::{Door, Message};
use crate::sandbox::options::Mailbox;
use crate::sandbox::world::World;
use crate::sandbox::{random, submission};
use axum::http::header;
use std::time::SystemTime;
use tokio::time::Instant;

/// A message as it is delivered.
#[derive(Debug)]
struct Settled {
    raw: Vec<u8>,
    sender: Address,
    recipients: Vec<Address>,
    message_id: String,
}

/// Judges a message and keeps it; counts it in either case.
pub(super) async fn send(
    world: &World,
    caller: &Caller,
    head: &Head,
    raw: Vec<u8>,
) -> Result<(), Refusal> {
    let sent = deliver(world, caller, head, raw).await;
    world.count(|statistics| match sent {
        Ok(()) => statistics.messages += 1,
        Err(_) => statistics.message_refusals += 1,
    });
    sent
}

async fn deliver(world: &World, caller: &Caller, head: &Head, raw: Vec<u8>) -> Result<(), Refusal> {
    let (limits, mailbox) = (world.limits(), &caller.mailbox);
    if raw.len() as u64 > limits.message_size {
        return Err(Refusal::message_size());
    }
    let known = &world.options.mailboxes;
    let Settled { raw, sender, recipients, message_id } = settle(&raw, mailbox, known)?;
    let count = recipients.len();
    if !world.ledger.count_recipients(&mailbox.address, count, &limits, Instant::now()) {
        let message =
            "The message can't be submitted because the sender's submission quota was exceeded.";
        return Err(Refusal::new(429, "ErrorExceededMessageLimit", message));
    }
    let agent = head.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let message = Message {
        number: 0,
        received: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        mailbox: mailbox.address.clone(),
        door: Door::Graph,
        client: agent.unwrap_or_default().to_owned(),
        message_id,
        envelope: Envelope {
            sender: Some(sender),
            body: BodyKind::Undeclared,
            smtputf8: false,
            ret: None,
            envid: None,
            recipients: recipients.into_iter().map(Recipient::new).collect(),
        },
        size: raw.len(),
        raw: raw.into(),
    };
    world.messages.keep(message, &limits).await.map_err(|error| {
        tracing::warn!(%error, "sandbox: the mail could not be written");
        Refusal::new(
            500,
            "ErrorInternalServerTransientError",
            "Cannot save changes made to an item to store.",
        )
    })
}

/// Takes sender and recipients out of the header, and makes it what recipients see.
fn settle(raw: &[u8], mailbox: &Mailbox, known: &[Mailbox]) -> Result<Settled, Refusal> {
    let (head, body) = split(raw);
    let fields = fields(head);
    let mut recipients: Vec<Address> = Vec::new();
    for (_, value) in ["to", "cc", "bcc"].iter().flat_map(|name| named(&fields, name)) {
        for text in addresses::read(&value).map_err(|wrong| Refusal::recipient(&wrong))? {
            let address = Address::parse(&text).map_err(|_| Refusal::recipient(&text))?;
            if !recipients.iter().any(|other| other.is_same_mailbox(&address)) {
                recipients.push(address);
            }
        }
    }
    // Observed with a group that has no members, although Bcc named somebody.
    let is_empty_group = named(&fields, "to").any(|(_, value)| value.trim_end().ends_with(":;"));
    if recipients.is_empty() || is_empty_group {
        return Err(Refusal::no_recipients());
    }
    let from = named(&fields, "from").next().map(|(_, value)| addresses::read(&value));
    let from = match from {
        Some(Ok(list)) => list.into_iter().next(),
        Some(Err(_)) => return Err(Refusal::send_as()),
        None => None,
    };
    let from = from.unwrap_or_else(|| mailbox.address.clone());
    if !submission::may_send_as(mailbox, &from) {
        return Err(Refusal::send_as());
    }
    let sender = Address::parse(&from).map_err(|_| Refusal::send_as())?;
    let message_id = submission::header(raw, "message-id").filter(|id| !id.is_empty());
    let is_new = message_id.is_none();
    let message_id = message_id.unwrap_or_else(|| format!("<{}@sandbox>", random::hex::<16>()));
    let own = known.iter().find(|known| known.address.eq_ignore_ascii_case(&from));
    let mut out = Vec::with_capacity(raw.len() + 256);
    // Exchange fills in the mailbox's name, whatever was written.
    match own {
        Some(own) => out.extend_from_slice(format!("From: {} <{from}>\r\n", own.name()).as_bytes()),
        None => named(&fields, "from").take(1).for_each(|(field, _)| out.extend_from_slice(field)),
    }
    if is_new {
        out.extend_from_slice(format!("Message-ID: {message_id}\r\n").as_bytes());
    }
    for field in fields {
        if !["from", "bcc"].iter().any(|name| is(field, name)) {
            out.extend_from_slice(field);
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    Ok(Settled { raw: out, sender, recipients, message_id })
}

/// Header with its last line end, and what is behind the empty line.
pub(super) fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(length) = raw[at..].iter().position(|octet| *octet == b'\n') {
        let line = &raw[at..=at + length];
        if line == b"\r\n" || line == b"\n" {
            return (&raw[..at], &raw[at + line.len()..]);
        }
        at += line.len();
    }
    (raw, &[])
}

/// The fields of a header, each with its folds and line end.
pub(super) fn fields(head: &[u8]) -> Vec<&[u8]> {
    let mut fields: Vec<&[u8]> = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    for line in head.split_inclusive(|octet| *octet == b'\n') {
        if at > begin && !matches!(line.first(), Some(b' ' | b'\t')) {
            fields.push(&head[begin..at]);
            begin = at;
        }
        at += line.len();
    }
    if at > begin {
        fields.push(&head[begin..at]);
    }
    fields
}

/// Whether the field has this name (lower case).
pub(super) fn is(field: &[u8], name: &str) -> bool {
    let own = field.split(|octet| *octet == b':').next().unwrap_or_default();
    own.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
}

/// The fields of this name, and their values.
fn named<'a>(fields: &'a [&'a [u8]], name: &'a str) -> impl Iterator<Item = (&'a [u8], String)> {
    fields.iter().filter(move |field| is(field, name)).map(|field| {
        let value = field.splitn(2, |octet| *octet == b':').nth(1).unwrap_or_default();
        let value = String::from_utf8_lossy(value);
        (*field, value.replace(['\r', '\n'], "").trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(raw: &str) -> Result<(Vec<String>, String), String> {
        let mailbox = Mailbox { send_as: vec!["other@x".into()], ..Mailbox::new("info@x") };
        let settled = settle(raw.as_bytes(), &mailbox, std::slice::from_ref(&mailbox));
        let settled = settled.map_err(|refusal| refusal.code.into_owned())?;
        let recipients = settled.recipients.iter().map(|address| address.as_str().to_owned());
        Ok((recipients.collect(), String::from_utf8(settled.raw).expect("text")))
    }

    #[test]
    fn whoever_is_named_gets_it_and_bcc_is_gone() {
        let raw = "From: \"Ann\" <INFO@x>\r\nTo: a@y,\r\n b@y\r\nCC: A@Y\r\nBcc: c@y\r\nbcc: d@y\r\n\
                   Message-ID: <1@x>\r\n\r\nBcc: body\r\n";
        let (recipients, delivered) = judged(raw).expect("sent");
        assert_eq!(recipients, ["a@y", "b@y", "c@y", "d@y"]);
        let expected = "From: info <INFO@x>\r\nTo: a@y,\r\n b@y\r\nCC: A@Y\r\nMessage-ID: <1@x>\r\n\r\nBcc: body\r\n";
        assert_eq!(delivered, expected);
    }

    #[test]
    fn senders_that_may_not_and_recipients_that_are_none() {
        for (raw, expected) in [
            ("From: else@x\r\nTo: a@y\r\n\r\n", "ErrorSendAsDenied"),
            ("From: info@x\r\n\r\nTo: a@y\r\n", "ErrorInvalidRecipients"),
            (
                "From: info@x\r\nTo: undisclosed-recipients:;\r\nBcc: a@y\r\n\r\n",
                "ErrorInvalidRecipients",
            ),
            ("From: info@x\r\nTo: Ann\r\n\r\n", "ErrorInvalidRecipients"),
        ] {
            assert_eq!(judged(raw).expect_err(raw), expected);
        }
        assert!(
            judged("To: a@y\r\n\r\n").expect("filled in").1.starts_with("From: info <info@x>\r\n")
        );
        let other = judged("From: Other <other@x>\r\nTo: a@y\r\n").expect("may").1;
        assert!(other.starts_with("From: Other <other@x>\r\n"), "{other}");
    }

    #[test]
    fn any_octets_come_apart_and_together() {
        let raw = b"A: 1\r\n 2\r\nB\r\n\r\nbody\r\n";
        for end in 0..=raw.len() {
            let (head, _) = split(&raw[..end]);
            assert_eq!(fields(head).concat(), head);
        }
    }
}
