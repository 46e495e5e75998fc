//! What Exchange looks at in a mail before it takes it: From and Sender, Message-ID. Pure.

use super::options::Mailbox;
use crate::smtp::{Enhanced, Reply};
use std::borrow::Cow;

/// The value of the first header field of this name (lower case), unfolded; none where it is missing.
pub(super) fn header(raw: &[u8], name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in raw.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let folded = matches!(line[0], b' ' | b'\t');
        match (&mut value, folded) {
            (Some(value), true) => value.push_str(&String::from_utf8_lossy(line)),
            (Some(_), false) => break,
            (None, _) => value = field(line, name),
        }
    }
    value.map(|value| value.trim().to_owned())
}

fn field(line: &[u8], name: &str) -> Option<String> {
    let colon = line.iter().position(|octet| *octet == b':')?;
    let (own, rest) = (line[..colon].trim_ascii(), &line[colon + 1..]);
    own.eq_ignore_ascii_case(name.as_bytes()).then(|| String::from_utf8_lossy(rest).into_owned())
}

/// The address in a From or Sender field: what stands in the last brackets, or the first word with an `@`.
fn address(value: &str) -> Option<&str> {
    if let Some((before, _)) = value.rsplit_once('>') {
        return before.rsplit_once('<').map(|(_, address)| address.trim());
    }
    value.split([' ', '\t', ',', ';', '(', ')']).find(|word| word.contains('@'))
}

/// Whether the mailbox may send as this address.
pub(super) fn may_send_as(mailbox: &Mailbox, address: &str) -> bool {
    mailbox.address.eq_ignore_ascii_case(address)
        || mailbox.send_as.iter().any(|other| other == "*" || other.eq_ignore_ascii_case(address))
}

/// Exchange's judgement at the end of a mail.
///
/// # Errors
/// The reply that refuses it.
pub(super) fn judge(
    mailbox: &Mailbox,
    sender: Option<&str>,
    raw: &[u8],
    host: &str,
) -> Result<(), Reply> {
    let from = header(raw, "from");
    let Some(from) = from.as_deref().and_then(address) else {
        // Observed text; MAIL FROM does not make up for a missing From.
        return Err(Reply::new(
            550,
            Enhanced(5, 7, 512),
            "Access denied, message must be RFC 5322 section 3.6.2 compliant",
        ));
    };
    let second = header(raw, "sender");
    let second = second.as_deref().and_then(address);
    match [Some(from), second, sender]
        .into_iter()
        .flatten()
        .find(|address| !may_send_as(mailbox, address))
    {
        Some(foreign) => Err(send_as_denied(&mailbox.address, foreign, host)),
        None => Ok(()),
    }
}

/// The refusal that comes only after the dot, one line of more than 1.5 kB: readers that stop at the
/// 512 octets of RFC 5321 §4.5.3.1.5 take its rest for the next reply.
fn send_as_denied(mailbox: &str, foreign: &str, host: &str) -> Reply {
    let mut text = format!(
        "SendAsDenied; {mailbox} not allowed to send as {foreign}; \
         STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process \
         message due to a permanent exception with message [BeginDiagnosticData]Cannot submit message. "
    );
    for row in 0u32..48 {
        let (identifier, value) = (84_300 + row * 97 % 4_000, row.wrapping_mul(2_654_435_761));
        text.push_str(&format!("0.{identifier}:{value:08X}, "));
        if row % 12 == 11 {
            text.push_str(&format!("255.{identifier}:{value:08X}4D00610070006900, "));
        }
    }
    text.push_str("1.45434:DC040000 MapiExceptionSendAsDenied: Unable to submit message. (hr=0x80070005, ec=1244) ");
    text.push_str(
        &"Diagnostic context: Lid: 55847 EMSMDBPOOL.EcPoolSessionDoRpc called [length=104] "
            .repeat(4),
    );
    text.push_str(&format!("[EndDiagnosticData] [Hostname={host}]"));
    Reply { code: 554, enhanced: Some(Enhanced(5, 2, 252)), text: Cow::Owned(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_unfolds_headers() {
        let raw = b"Subject: one\r\n two\r\nFROM : a@x\r\n\r\nTo: body@x\r\n";
        assert_eq!(header(raw, "subject").as_deref(), Some("one two"));
        assert_eq!(header(raw, "from").as_deref(), Some("a@x"));
        assert_eq!(header(raw, "to"), None);
        for cut in 0..raw.len() {
            let _ = header(&raw[..cut], "from");
        }
    }

    #[test]
    fn finds_addresses() {
        for (value, expected) in [
            ("a@x", Some("a@x")),
            ("<a@x>", Some("a@x")),
            ("\"b@y\" <a@x>", Some("a@x")),
            ("a@x (comment)", Some("a@x")),
            ("nobody", None),
            ("", None),
            (">", None),
        ] {
            assert_eq!(address(value), expected, "{value}");
        }
    }

    #[test]
    fn a_foreign_from_or_sender_is_denied_in_one_long_line() {
        let mailbox = Mailbox { send_as: vec!["alias@x".into()], ..Mailbox::new("info@x") };
        let judged = |sender, raw: &str| {
            judge(&mailbox, sender, raw.as_bytes(), "HOST").map_err(|r| r.to_string())
        };
        assert_eq!(judged(Some("info@x"), "From: Info <INFO@x>\r\n\r\n"), Ok(()));
        assert_eq!(judged(Some("alias@x"), "From: alias@x\r\n\r\n"), Ok(()));
        for (sender, raw) in [
            (Some("info@x"), "From: noreply@x\r\n\r\n"),
            (Some("info@x"), "From: info@x\r\nSender: noreply@x\r\n\r\n"),
            (Some("noreply@x"), "From: info@x\r\n\r\n"),
        ] {
            let reply = judged(sender, raw).expect_err("denied");
            assert!(reply.starts_with(
                "554 5.2.252 SendAsDenied; info@x not allowed to send as noreply@x; STOREDRV.Submission.Exception:\
                 SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent \
                 exception with message [BeginDiagnosticData]Cannot submit message. "
            ));
            assert!(reply.ends_with("[EndDiagnosticData] [Hostname=HOST]"));
            assert!((1_500..2_000).contains(&reply.len()), "{}", reply.len());
        }
        assert!(
            judged(None, "Subject: x\r\n\r\n").expect_err("no From").starts_with("550 5.7.512 ")
        );
        let any = Mailbox { send_as: vec!["*".into()], ..Mailbox::new("info@x") };
        assert_eq!(judge(&any, Some("a@y"), b"From: b@z\r\n\r\n", "HOST"), Ok(()));
    }
}
