//! Messages that come as JSON, and files that are put to a message.

use super::drafts::Attachment;
use super::post::{fields, is, split};
use super::refusal::Refusal;
use crate::sandbox::options::Mailbox;
use crate::sandbox::random;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox as Named, MessageBuilder, SinglePart};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Fields of a sender's own that a message may have.
const MOST_HEADERS: usize = 5;

/// The message that JSON describes, with Bcc in its header, and its files.
pub(super) fn message(
    written: &Value,
    mailbox: &Mailbox,
) -> Result<(Vec<u8>, Vec<Attachment>), Refusal> {
    let own = Named::new(None, parse(&mailbox.address)?);
    let envelope = Envelope::new(None, vec![own.email.clone()]).map_err(|_| unreadable())?;
    let from = match &written["from"] {
        Value::Null => own,
        from => named(from)?,
    };
    let mut builder = lettre::Message::builder().keep_bcc().envelope(envelope).from(from);
    type Put = fn(MessageBuilder, Named) -> MessageBuilder;
    let lists: [(&str, Put); 4] = [
        ("toRecipients", MessageBuilder::to),
        ("ccRecipients", MessageBuilder::cc),
        ("bccRecipients", MessageBuilder::bcc),
        ("replyTo", MessageBuilder::reply_to),
    ];
    for (name, put) in lists {
        for recipient in written[name].as_array().map(Vec::as_slice).unwrap_or_default() {
            builder = put(builder, named(recipient)?);
        }
    }
    for (name, value) in own_headers(&written["internetMessageHeaders"])? {
        builder = builder.raw_header(HeaderValue::new(name, value));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let body = &written["body"];
    let is_html = text(&body["contentType"]).eq_ignore_ascii_case("html");
    let part = SinglePart::builder()
        .header(if is_html { ContentType::TEXT_HTML } else { ContentType::TEXT_PLAIN })
        .header(ContentTransferEncoding::Base64)
        .body(text(&body["content"]));
    let message =
        builder.subject(text(&written["subject"])).singlepart(part).map_err(|_| unreadable())?;
    let files = written["attachments"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok((message.formatted(), files.iter().map(Attachment::read).collect::<Result<_, _>>()?))
}

fn unreadable() -> Refusal {
    Refusal::bad("ErrorInvalidRequest", "The message cannot be read.")
}

fn parse(address: &str) -> Result<lettre::Address, Refusal> {
    address.parse().map_err(|_| Refusal::recipient(address))
}

/// `{"emailAddress": {"address": …, "name": …}}`
fn named(written: &Value) -> Result<Named, Refusal> {
    let written = &written["emailAddress"];
    let name = written["name"].as_str().map(str::to_owned);
    Ok(Named::new(name, parse(written["address"].as_str().unwrap_or_default())?))
}

fn own_headers(written: &Value) -> Result<Vec<(HeaderName, String)>, Refusal> {
    let written = written.as_array().map(Vec::as_slice).unwrap_or_default();
    if written.len() > MOST_HEADERS {
        let message = "Maximum number of headers in one message should be less than or equal to 5.";
        return Err(Refusal::bad("InvalidInternetMessageHeaderCollection", message));
    }
    let field = |field: &Value| {
        let (name, value) = (field["name"].as_str()?, field["value"].as_str()?);
        let is_own = name.to_ascii_lowercase().starts_with("x-");
        Some((
            HeaderName::new_from_ascii(name.to_owned()).ok().filter(|_| is_own)?,
            value.to_owned(),
        ))
    };
    let read: Option<_> = written.iter().map(field).collect();
    read.ok_or_else(|| {
        let message = "The internet message header name should start with 'x-' or 'X-'.";
        Refusal::bad("InvalidInternetMessageHeader", message)
    })
}

/// The message with these files behind it; those that belong to its text, beside that.
pub(super) fn attach(raw: &[u8], files: &[Attachment]) -> Vec<u8> {
    let (inline, behind): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.is_inline);
    let related = join(raw, "related", &inline);
    join(&related, "mixed", &behind)
}

/// The content of a message becomes the first part of several.
fn join(raw: &[u8], kind: &str, files: &[&Attachment]) -> Vec<u8> {
    if files.is_empty() {
        return raw.to_vec();
    }
    let (head, body) = split(raw);
    let is_content =
        |field: &&[u8]| field.len() > 8 && field[..8].eq_ignore_ascii_case(b"content-");
    let (own, outer): (Vec<&[u8]>, Vec<&[u8]>) = fields(head).into_iter().partition(is_content);
    let boundary = format!("=_{}", random::hex::<16>());
    let mut out = Vec::with_capacity(
        raw.len() + files.iter().map(|file| file.content.len() * 3 / 2).sum::<usize>(),
    );
    for field in outer.iter().filter(|field| !is(field, "mime-version")) {
        out.extend_from_slice(field);
    }
    let begin = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/{kind}; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n"
    );
    out.extend_from_slice(begin.as_bytes());
    out.extend_from_slice(&own.concat());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    for file in files {
        out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        part(&mut out, file);
    }
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

fn part(out: &mut Vec<u8>, file: &Attachment) {
    let clean = |text: &str| text.replace(['\r', '\n', '\0'], "");
    let name = match file.name.is_ascii() {
        true => format!("filename=\"{}\"", clean(&file.name).replace(['"', '\\'], "_")),
        // RFC 2231 §4.
        false => format!("filename*=UTF-8''{}", utf8_percent_encode(&file.name, NON_ALPHANUMERIC)),
    };
    let place = if file.is_inline { "inline" } else { "attachment" };
    let mut head = format!(
        "Content-Type: {}\r\nContent-Disposition: {place}; {name}\r\nContent-Transfer-Encoding: base64\r\n",
        clean(&file.content_type)
    );
    if let Some(id) = &file.content_id {
        head.push_str(&format!("Content-ID: <{}>\r\n", clean(id).trim_matches(['<', '>'])));
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
    for line in STANDARD.encode(&file.content).as_bytes().chunks(76) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_becomes_a_message() {
        let written = json!({
            "subject": "Grüße", "body": {"contentType": "HTML", "content": "<b>hi</b>"},
            "toRecipients": [{"emailAddress": {"address": "a@y.example", "name": "Ann"}}],
            "bccRecipients": [{"emailAddress": {"address": "b@y.example"}}],
            "internetMessageHeaders": [{"name": "x-one", "value": "1"}],
            "attachments": [{"@odata.type": "#microsoft.graph.fileAttachment", "name": "ä.bin",
                "contentType": "application/pdf", "contentBytes": "AAEC"}],
        });
        let (raw, files) = message(&written, &Mailbox::new("info@x.example")).expect("read");
        let text = String::from_utf8(attach(&raw, &files)).expect("text");
        for part in [
            "From: info@x.example\r\n",
            "To: Ann <a@y.example>\r\n",
            "Bcc: b@y.example\r\n",
            "x-one: 1\r\n",
            "Content-Type: multipart/mixed; boundary=",
            "Content-Type: text/html; charset=utf-8\r\n",
            "PGI+aGk8L2I+",
            "Content-Disposition: attachment; filename*=UTF-8''%C3%A4%2Ebin\r\n",
            "\r\n\r\nAAEC\r\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let foreign = json!({"internetMessageHeaders": [{"name": "List-Id", "value": "1"}]});
        assert!(message(&foreign, &Mailbox::new("info@x.example")).is_err());
    }

    #[test]
    fn files_of_the_text_stand_beside_it() {
        let raw = b"From: a@x\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\nhi";
        let picture = Attachment {
            name: "a\".png".into(),
            content_id: Some("1@x".into()),
            is_inline: true,
            ..Attachment::default()
        };
        let file = Attachment { name: "b.bin".into(), ..Attachment::default() };
        let text = String::from_utf8(attach(raw, &[file, picture])).expect("text");
        assert!(
            text.starts_with("From: a@x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;")
        );
        let related = text.find("multipart/related").expect("related");
        assert!(related < text.find("Content-ID: <1@x>").expect("picture"));
        assert_eq!(text.matches("MIME-Version").count(), 1);
        assert_eq!(attach(raw, &[]), raw);
    }
}
