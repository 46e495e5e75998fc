//! An envelope in the words of SMTP: whether a server can take it, MAIL and RCPT with their parameters.
//!
//! It promises that only parameters are written which the server offers, and that nothing of an envelope
//! can end a line. It holds nothing.

use super::Trouble;
use crate::mail::{BodyKind, Envelope, Notify, Recipient, Ret};
use crate::smtp::extension::Extension;
use crate::smtp::offer::Offer;

/// Whether this server takes such a mail at all.
pub(super) fn fit(envelope: &Envelope, size: u64, offer: &Offer) -> Result<(), Trouble> {
    let addresses = envelope.sender.iter().chain(envelope.recipients.iter().map(|r| &r.address));
    let is_utf8 = envelope.smtputf8 || addresses.into_iter().any(|a| a.needs_smtputf8());
    if is_utf8 && !offer.has(Extension::SmtpUtf8) {
        return Err(Trouble::NotOffered("SMTPUTF8"));
    }
    match envelope.body {
        // RFC 6152 §3: never 8 bits to a server that did not offer to take them.
        BodyKind::EightBitMime if !offer.has(Extension::EightBitMime) => {
            return Err(Trouble::NotOffered("8BITMIME"));
        }
        // RFC 3030 §3: it goes by BDAT only, so BINARYMIME alone is no offer.
        BodyKind::BinaryMime
            if !(offer.has(Extension::BinaryMime) && offer.has(Extension::Chunking)) =>
        {
            return Err(Trouble::NotOffered("BINARYMIME"));
        }
        _ => {}
    }
    match offer.max_size {
        Some(limit) if size > limit => Err(Trouble::TooLarge { limit }),
        _ => Ok(()),
    }
}

/// MAIL with the parameters this server offers; `size` where it is known.
pub(super) fn mail_command(
    envelope: &Envelope,
    size: impl Into<Option<u64>>,
    offer: &Offer,
) -> String {
    let sender = envelope.sender.as_ref().map_or("", |sender| sender.as_str());
    let mut line = format!("MAIL FROM:<{sender}>");
    if let Some(size) = size.into()
        && offer.has(Extension::Size)
    {
        line += &format!(" SIZE={size}");
    }
    let has_8bit = offer.has(Extension::EightBitMime);
    line += match envelope.body {
        BodyKind::EightBitMime if has_8bit => " BODY=8BITMIME",
        BodyKind::SevenBit if has_8bit => " BODY=7BIT",
        BodyKind::BinaryMime => " BODY=BINARYMIME",
        _ => "",
    };
    let mut addresses =
        envelope.sender.iter().chain(envelope.recipients.iter().map(|r| &r.address));
    if envelope.smtputf8 || addresses.any(|address| address.needs_smtputf8()) {
        line += " SMTPUTF8";
    }
    if offer.has(Extension::Dsn) {
        line += match envelope.ret {
            Some(Ret::Full) => " RET=FULL",
            Some(Ret::Headers) => " RET=HDRS",
            None => "",
        };
        if let Some(envid) = envelope.envid.as_deref().filter(|text| is_value(text, false)) {
            line += &format!(" ENVID={envid}");
        }
    }
    line + "\r\n"
}

/// RCPT with the parameters this server offers.
pub(super) fn rcpt_command(recipient: &Recipient, smtputf8: bool, offer: &Offer) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.address);
    if offer.has(Extension::Dsn) {
        if let Some(notify) = recipient.notify {
            line += " NOTIFY=";
            line += &notify_words(notify);
        }
        if let Some(orcpt) = recipient.orcpt.as_deref().filter(|text| is_value(text, smtputf8)) {
            line += &format!(" ORCPT={orcpt}");
        }
    }
    line + "\r\n"
}

fn notify_words(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let words: Vec<_> = words.iter().filter(|(is_set, _)| *is_set).map(|(_, w)| *w).collect();
    if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }
}

/// Whether a text may stand behind `KEYWORD=` (esmtp-value, RFC 5321 §4.1.2; RFC 6533 §3 for UTF-8). What
/// may not is left out: a report is worth less than the command line's safety.
fn is_value(text: &str, utf8: bool) -> bool {
    let is_good =
        |c: char| (c.is_ascii_graphic() && c != '=') || (utf8 && !c.is_ascii() && !c.is_control());
    !text.is_empty() && text.len() <= 500 && text.chars().all(is_good)
}
