//! Reports to the sender: undelivered, delayed, relayed (RFC 3464 in the frame of RFC 6522). Pure.
//!
//! It promises that the same arguments give the same octets, that the result is 7-bit unless an
//! address of the frame or a message returned whole is not, with CRLF lines of at most 998 octets, and that nothing a peer or a program
//! wrote can add a header or a part.
//!
//! The MIME parts are built with lettre. The outer header is written here: lettre refuses to build a
//! message for an address such as `root`, and a report must go to whatever the program wrote.

use super::{Address, Envelope, Recipient};
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, IntoBody, MultiPart, SinglePart};
use std::fmt::Write;
use std::time::SystemTime;

/// Octets of the original header that are returned.
pub const LONGEST_HEADER: usize = 64 * 1024;
/// Octets of a message that is returned whole; of a larger one only the header is.
pub const LONGEST_WHOLE: usize = 256 * 1024;
/// RFC 5322 §2.1.1, of lines we write.
const LONGEST_LINE: usize = 900;
/// RFC 5322 §2.1.1, of lines of the original.
const LONGEST_FOREIGN_LINE: usize = 998;
const WIDTH: usize = 76;

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was not delivered and never will be.
    Failed,
    /// Not yet; it is tried further.
    Delayed,
    /// The next server took it and sends no reports of its own (RFC 3461 §5.2.2).
    Relayed,
}

/// What became of one recipient.
#[derive(Clone, Debug)]
pub struct Fate<'a> {
    /// Who.
    pub recipient: &'a Recipient,
    /// What is reported of it.
    pub kind: Kind,
    /// Enhanced status, `5.1.1`.
    pub status: String,
    /// The upstream's own words with their code; none where it never answered.
    pub diagnostic: Option<String>,
    /// What happened in our words, what to do; shown to people.
    pub explanation: String,
}

/// All that a report is made of.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The queue id of the original, as in our log.
    pub id: &'a str,
    /// The original's envelope.
    pub envelope: &'a Envelope,
    /// When the original was taken.
    pub accepted: SystemTime,
    /// Until when it is tried; for delays.
    pub until: Option<SystemTime>,
    /// The original, or its header; only the first [`LONGEST_HEADER`] octets up to the empty line are used
    /// unless it is returned whole.
    pub original: &'a [u8],
    /// Whether `original` is the whole message and is returned so. It must be [`is_returnable`].
    pub is_whole: bool,
    /// The recipients reported, at least one.
    pub fates: &'a [Fate<'a>],
    /// The sending mailbox.
    pub from: &'a Address,
    /// The original envelope sender.
    pub to: &'a Address,
    /// Our name.
    pub hostname: &'a str,
    /// The server that was to take the mail.
    pub upstream: &'a str,
    /// Now.
    pub date: SystemTime,
    /// The left half of the Message-ID and the heart of the boundary: letters and digits.
    pub seed: &'a str,
}

/// Whether a message can stand in a report as it is: no part of type `message/rfc822` may be encoded
/// (RFC 2046 §5.2.1), so NUL, lone CR or LF and endless lines have no way to be carried.
pub fn is_returnable(message: &[u8]) -> bool {
    let good = |line: &[u8]| {
        let Some((b'\r', line)) = line.split_last() else { return false };
        line.len() <= LONGEST_FOREIGN_LINE && memchr::memchr2(b'\r', 0, line).is_none()
    };
    let Some((b'\n', lines)) = message.split_last() else { return false };
    message.len() <= LONGEST_WHOLE && lines.split(|octet| *octet == b'\n').all(good)
}

/// The whole message.
pub fn report(report: &Report<'_>) -> Vec<u8> {
    let (human, machine) = (human(report), machine(report));
    let header = if report.is_whole { String::new() } else { original(report.original) };
    let whole = if report.is_whole { report.original } else { b"" };
    // A boundary that a peer wrote into its reply, or a program into its mail, would end a part.
    let mut boundary = format!("=_report_{}", safe(report.seed));
    let texts = [human.as_bytes(), machine.as_bytes(), header.as_bytes(), whole];
    while texts.iter().any(|text| memchr::memmem::find(text, boundary.as_bytes()).is_some()) {
        boundary.push('_');
    }
    let content_type =
        format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\"");
    let mut out = outer_header(report).into_bytes();
    // Letters, digits and a few marks: it always parses.
    let kind = ContentType::parse(&content_type).unwrap_or(ContentType::TEXT_PLAIN);
    let mut parts = MultiPart::builder().header(kind);
    if !whole.is_ascii() {
        // RFC 2045 §6.4: what holds a part of 8 bits is of 8 bits itself.
        parts = parts.header(ContentTransferEncoding::EightBit);
    }
    let last = match report.is_whole {
        true => part("message/rfc822", as_it_is(whole)),
        false => part("text/rfc822-headers", header),
    };
    let parts = parts
        .build()
        .singlepart(part("text/plain; charset=utf-8", human))
        .singlepart(part("message/delivery-status", machine))
        .singlepart(last);
    out.extend_from_slice(&parts.formatted());
    out
}

fn as_it_is(message: &[u8]) -> Body {
    let encoding = match message.is_ascii() {
        true => ContentTransferEncoding::SevenBit,
        false => ContentTransferEncoding::EightBit,
    };
    Body::dangerous_pre_encoded(message.to_vec(), encoding)
}

fn part(kind: &str, text: impl IntoBody) -> SinglePart {
    SinglePart::builder()
        .header(ContentType::parse(kind).unwrap_or(ContentType::TEXT_PLAIN))
        .body(text)
}

fn outer_header(report: &Report<'_>) -> String {
    let tells = |kind| report.fates.iter().any(|fate| fate.kind == kind);
    let subject = match () {
        () if tells(Kind::Failed) => "Undelivered mail",
        () if tells(Kind::Delayed) => "Delayed mail: it is tried further",
        () => "Mail was passed on",
    };
    let host = safe(report.hostname);
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = write!(out, "{name}: {value}\r\n");
    };
    line("From", &format!("\"Mail relay {host}\" <{}>", report.from));
    line("To", &format!("<{}>", report.to));
    line("Subject", subject);
    line("Date", &date(report.date));
    line("Message-ID", &format!("<{}@{host}>", safe(report.seed)));
    if let Some(id) = message_id(report.original) {
        line("In-Reply-To", &id);
        line("References", &id);
    }
    // RFC 3834 §5: no responder shall answer this.
    line("Auto-Submitted", "auto-replied");
    line("MIME-Version", "1.0");
    out
}

fn human(report: &Report<'_>) -> String {
    let mut out = String::new();
    for kind in [Kind::Failed, Kind::Delayed, Kind::Relayed] {
        let mut fates = report.fates.iter().filter(|fate| fate.kind == kind).peekable();
        if fates.peek().is_none() {
            continue;
        }
        wrap(&mut out, &opening(report, kind));
        for fate in fates {
            out.push_str("\r\n");
            wrap(&mut out, &format!("<{}>", fate.recipient.address));
            wrap(&mut out, &fate.explanation);
            if let Some(diagnostic) = &fate.diagnostic {
                wrap(&mut out, &format!("{} said: {diagnostic}", report.upstream));
            }
        }
        out.push_str("\r\n");
    }
    wrap(&mut out, &format!("In the relay's log this mail is {}.", report.id));
    out
}

fn opening(report: &Report<'_>, kind: Kind) -> String {
    let (host, accepted) = (report.hostname, date(report.accepted));
    match kind {
        Kind::Failed => format!(
            "The mail relay on {host} could not deliver your mail of {accepted} to the recipients below. It will \
             not try again."
        ),
        Kind::Delayed => format!(
            "The mail relay on {host} could not yet deliver your mail of {accepted} to the recipients below. You \
             need not do anything: it tries further{}.",
            report.until.map(|until| format!(" until {}", date(until))).unwrap_or_default()
        ),
        Kind::Relayed => format!(
            "The mail relay on {host} passed your mail of {accepted} on to {}, which sends no report about its \
             delivery.",
            report.upstream
        ),
    }
}

/// `message/delivery-status`, RFC 3464 §2.
fn machine(report: &Report<'_>) -> String {
    let mut out = String::new();
    let mut field = |name: &str, value: &str| fold(&mut out, &format!("{name}: {}", ascii(value)));
    if let Some(envid) = report.envelope.envid.as_deref().and_then(from_xtext) {
        field("Original-Envelope-Id", &envid);
    }
    field("Reporting-MTA", &format!("dns; {}", report.hostname));
    field("Arrival-Date", &date(report.accepted));
    for fate in report.fates {
        field("", "");
        if let Some(original) = fate.recipient.orcpt.as_deref().and_then(original_recipient) {
            field("Original-Recipient", &original);
        }
        let address = fate.recipient.address.as_str();
        // RFC 6533 §3: outside of `message/global-delivery-status` UTF-8 is written as \x{..}.
        let kind = if address.is_ascii() { "rfc822" } else { "utf-8" };
        field("Final-Recipient", &format!("{kind}; {address}"));
        field(
            "Action",
            match fate.kind {
                Kind::Failed => "failed",
                Kind::Delayed => "delayed",
                Kind::Relayed => "relayed",
            },
        );
        field("Status", &fate.status);
        if let Some(diagnostic) = &fate.diagnostic {
            field("Remote-MTA", &format!("dns; {}", report.upstream));
            field("Diagnostic-Code", &format!("smtp; {diagnostic}"));
        }
        field("Last-Attempt-Date", &date(report.date));
        if let (Kind::Delayed, Some(until)) = (fate.kind, report.until) {
            field("Will-Retry-Until", &date(until));
        }
    }
    out
}

/// The header of the original, up to the empty line, as text that fits into a part.
fn original(header: &[u8]) -> String {
    let mut out = String::new();
    let header = &header[..header.len().min(LONGEST_HEADER)];
    for line in header.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let text = String::from_utf8_lossy(&line[..line.len().min(LONGEST_LINE)]);
        out.extend(text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }));
        out.push_str("\r\n");
    }
    out
}

/// The value of `Message-ID:`, where it is one word in angle brackets.
fn message_id(header: &[u8]) -> Option<String> {
    let name = b"message-id:";
    let header = header.get(..header.len().min(LONGEST_HEADER))?;
    let line = header
        .split(|octet| *octet == b'\n')
        .take_while(|line| !matches!(line, [] | [b'\r']))
        .find(|line| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name))?;
    let value = std::str::from_utf8(&line[name.len()..]).ok()?.trim();
    let inner = value.strip_prefix('<')?.strip_suffix('>')?;
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>');
    (!inner.is_empty() && inner.len() <= LONGEST_LINE && inner.chars().all(good))
        .then(|| value.to_owned())
}

/// RFC 5322 §3.3 in UTC.
fn date(at: SystemTime) -> String {
    httpdate::fmt_http_date(at).replace("GMT", "+0000")
}

/// Breaks a text into lines of [`WIDTH`]; whatever could end a line becomes a blank.
fn wrap(out: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty()) {
        for piece in pieces(word) {
            let length = piece.chars().count();
            if width > 0 && width + 1 + length > WIDTH {
                out.push_str("\r\n");
                width = 0;
            } else if width > 0 {
                out.push(' ');
                width += 1;
            }
            out.push_str(piece);
            width += length;
        }
    }
    out.push_str("\r\n");
}

/// A field in lines of [`WIDTH`]: continuation lines begin with a blank (RFC 5322 §2.2.3).
fn fold(out: &mut String, text: &str) {
    if text == ": " {
        out.push_str("\r\n");
        return;
    }
    let mut lines = String::new();
    wrap(&mut lines, text);
    for (index, line) in lines.lines().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
}

/// A word in pieces that fit into a line.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len().min(LONGEST_LINE / 2);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}

/// ASCII only: the rest as `\x{HEX}` (RFC 6533 §3, utf-8-addr-xtext).
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
        }
    }
    out
}

/// Only what may stand in a boundary, a domain or a quoted string without further care.
fn safe(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        .take(60)
        .collect()
}

/// `rfc822;user+40host` to `rfc822; user@host`.
fn original_recipient(orcpt: &str) -> Option<String> {
    let (kind, address) = orcpt.split_once(';')?;
    Some(format!("{}; {}", safe(kind), from_xtext(address)?))
}

/// RFC 3461 §4: `+XX` stands for an octet. None where it hides a control character or is malformed.
fn from_xtext(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [octet, tail @ ..] = rest {
        rest = tail;
        if *octet != b'+' {
            octets.push(*octet);
            continue;
        }
        let (hex, tail) = rest.split_at_checked(2)?;
        octets.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = tail;
    }
    let text = String::from_utf8(octets).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::BodyKind;
    use std::time::{Duration, UNIX_EPOCH};

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    fn envelope(recipients: Vec<Recipient>) -> Envelope {
        Envelope {
            sender: Some(address("erp@contoso.com")),
            body: BodyKind::Undeclared,
            smtputf8: false,
            ret: None,
            envid: Some("QQ+2B314159".into()),
            recipients,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_790_000_000 + seconds)
    }

    const HEADER: &[u8] = b"Message-ID: <42@erp.contoso.com>\r\nFrom: erp@contoso.com\r\nSubject: Invoice\r\n\r\nsecret body\r\n";

    fn make(kind: Kind, header: &[u8], diagnostic: &str) -> String {
        let mut gone = Recipient::new(address("gone@b.example"));
        gone.orcpt = Some("rfc822;first+40b.example".into());
        let envelope = envelope(vec![gone, Recipient::new(address("grün@b.example"))]);
        let fates: Vec<Fate> = envelope
            .recipients
            .iter()
            .map(|recipient| Fate {
                recipient,
                kind,
                status: "5.1.1".into(),
                diagnostic: Some(diagnostic.into()),
                explanation: "There is no such recipient: check the address.".into(),
            })
            .collect();
        let octets = report(&Report {
            id: "01kabcdefghjkmnp",
            envelope: &envelope,
            accepted: at(0),
            until: Some(at(432_000)),
            original: header,
            is_whole: false,
            fates: &fates,
            from: &address("erp@contoso.com"),
            to: &address("root"),
            hostname: "relay.contoso.com",
            upstream: "smtp.office365.com",
            date: at(60),
            seed: "01kseed",
        });
        String::from_utf8(octets).expect("text")
    }

    #[test]
    fn a_report_reads_as_rfc_3464_wants_it() {
        insta::assert_snapshot!(make(Kind::Failed, HEADER, "550 5.1.1 no such user").replace('\r', ""), @r#"
        From: "Mail relay relay.contoso.com" <erp@contoso.com>
        To: <root>
        Subject: Undelivered mail
        Date: Mon, 21 Sep 2026 14:14:20 +0000
        Message-ID: <01kseed@relay.contoso.com>
        In-Reply-To: <42@erp.contoso.com>
        References: <42@erp.contoso.com>
        Auto-Submitted: auto-replied
        MIME-Version: 1.0
        Content-Type: multipart/report; report-type=delivery-status;
         boundary="=_report_01kseed"

        --=_report_01kseed
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: quoted-printable

        The mail relay on relay.contoso.com could not deliver your mail of Mon, 21
        Sep 2026 14:13:20 +0000 to the recipients below. It will not try again.

        <gone@b.example>
        There is no such recipient: check the address.
        smtp.office365.com said: 550 5.1.1 no such user

        <gr=C3=BCn@b.example>
        There is no such recipient: check the address.
        smtp.office365.com said: 550 5.1.1 no such user

        In the relay's log this mail is 01kabcdefghjkmnp.

        --=_report_01kseed
        Content-Type: message/delivery-status
        Content-Transfer-Encoding: 7bit

        Original-Envelope-Id: QQ+314159
        Reporting-MTA: dns; relay.contoso.com
        Arrival-Date: Mon, 21 Sep 2026 14:13:20 +0000

        Original-Recipient: rfc822; first@b.example
        Final-Recipient: rfc822; gone@b.example
        Action: failed
        Status: 5.1.1
        Remote-MTA: dns; smtp.office365.com
        Diagnostic-Code: smtp; 550 5.1.1 no such user
        Last-Attempt-Date: Mon, 21 Sep 2026 14:14:20 +0000

        Final-Recipient: utf-8; gr\x{FC}n@b.example
        Action: failed
        Status: 5.1.1
        Remote-MTA: dns; smtp.office365.com
        Diagnostic-Code: smtp; 550 5.1.1 no such user
        Last-Attempt-Date: Mon, 21 Sep 2026 14:14:20 +0000

        --=_report_01kseed
        Content-Type: text/rfc822-headers
        Content-Transfer-Encoding: 7bit

        Message-ID: <42@erp.contoso.com>
        From: erp@contoso.com
        Subject: Invoice

        --=_report_01kseed--
        "#);
    }

    #[test]
    fn kinds_differ_in_words_and_action() {
        let delayed = make(Kind::Delayed, HEADER, "451 4.2.0 later");
        assert!(delayed.contains("Action: delayed\r\n"));
        assert!(delayed.contains("Will-Retry-Until: "));
        assert!(delayed.contains("You need not do"));
        let relayed = make(Kind::Relayed, HEADER, "250 2.0.0 OK");
        assert!(relayed.contains("Action: relayed\r\n"));
        assert!(!relayed.contains("Will-Retry-Until"));
    }

    /// One failed and one relayed recipient; the original whole.
    fn whole(message: &[u8]) -> Vec<u8> {
        let envelope = envelope(vec![
            Recipient::new(address("taken@b.example")),
            Recipient::new(address("gone@b.example")),
        ]);
        let fate = |index: usize, kind| Fate {
            recipient: &envelope.recipients[index],
            kind,
            status: "2.0.0".into(),
            diagnostic: None,
            explanation: "So it went.".into(),
        };
        report(&Report {
            id: "01kabcdefghjkmnp",
            envelope: &envelope,
            accepted: at(0),
            until: None,
            original: message,
            is_whole: true,
            fates: &[fate(0, Kind::Relayed), fate(1, Kind::Failed)],
            from: &address("erp@contoso.com"),
            to: &address("root"),
            hostname: "relay.contoso.com",
            upstream: "smtp.office365.com",
            date: at(60),
            seed: "01kseed",
        })
    }

    #[test]
    fn one_report_tells_of_a_failure_and_of_a_success() {
        let text = String::from_utf8(whole(HEADER)).expect("text");
        assert!(text.contains("Subject: Undelivered mail\r\n"), "{text}");
        assert!(text.find("could not deliver") < text.find("passed your mail"), "{text}");
        let machine = text.split("--=_report_01kseed").nth(2).expect("part");
        for (to, action) in [("taken", "relayed"), ("gone", "failed")] {
            let block = format!("rfc822; {to}@b.example\r\nAction: {action}\r\n");
            assert!(machine.contains(&block), "{machine}");
        }
    }

    #[test]
    fn a_whole_message_comes_back_octet_for_octet() {
        let evil = b"Subject: a\r\n\r\n--=_report_01kseed--\r\n";
        let eight = b"Subject: a\r\n\r\nGr\xfc\xdfe\r\n";
        for message in [HEADER, evil.as_slice(), eight] {
            assert!(is_returnable(message));
            let octets = whole(message);
            let encoding: &[u8] = if message.is_ascii() { b"7bit" } else { b"8bit" };
            let begin = [b"Content-Transfer-Encoding: ", encoding, b"\r\n\r\n", message].concat();
            assert!(memchr::memmem::find(&octets, &begin).is_some());
            assert!(memchr::memmem::find(&octets, b"Content-Type: message/rfc822\r\n").is_some());
            let frame = octets.split(|octet| *octet == b'\n').take_while(|line| line.len() > 1);
            let is_declared =
                frame.into_iter().any(|line| line == b"Content-Transfer-Encoding: 8bit\r");
            assert_eq!(is_declared, !message.is_ascii(), "the frame says what is in it");
        }
        let text = String::from_utf8(whole(evil)).expect("text");
        assert!(text.ends_with("\r\n--=_report_01kseed_--\r\n"), "{text}");
    }

    #[test]
    fn what_cannot_stand_in_a_part_is_not_returned_whole() {
        let line = |length: usize| [vec![b'a'; length], b"\r\n".to_vec()].concat();
        for (message, good) in [
            (HEADER.to_vec(), true),
            (b"".to_vec(), false),
            (b"a: b\n".to_vec(), false),
            (b"a: b\r\nc".to_vec(), false),
            (b"a: b\rc\r\n".to_vec(), false),
            (b"a: b\0\r\n".to_vec(), false),
            (line(998), true),
            (line(999), false),
            (line(62).repeat(LONGEST_WHOLE / 64), true),
            (line(62).repeat(LONGEST_WHOLE / 64 + 1), false),
        ] {
            assert_eq!(is_returnable(&message), good, "{} octets", message.len());
        }
    }

    #[test]
    fn the_same_arguments_give_the_same_octets() {
        assert_eq!(make(Kind::Failed, HEADER, "550 no"), make(Kind::Failed, HEADER, "550 no"));
    }

    #[test]
    fn nothing_of_a_peer_adds_a_header_or_a_part() {
        let evil = "550 no\r\n\r\n--=_report_01kseed--\r\nBcc: x@y\n\u{85}Bcc: z\0";
        let text = make(Kind::Failed, b"Subject: a\rBcc: b\r\n--=_report_01kseed\r\n\r\n", evil);
        assert!(!text.lines().any(|line| line.starts_with("Bcc:")), "{text}");
        let boundary = "--=_report_01kseed_";
        let begins = text.split("\r\n").filter(|line| *line == boundary).count();
        let ends =
            text.split("\r\n").filter(|line| line.starts_with(&format!("{boundary}--"))).count();
        assert_eq!((begins, ends), (3, 1), "{text}");
        for line in text.split("\r\n") {
            assert!(line.len() <= 998 && !line.contains(['\r', '\n', '\0']), "{line:?}");
        }
        assert!(text.contains("Diagnostic-Code: smtp; 550 no --"), "{text}");
    }

    #[test]
    fn any_header_of_an_original_is_borne() {
        let long = [b"X: ".as_slice(), &[b'a'; 5000], b"\r\nY: z"].concat();
        let huge = [b'a'; 200_000];
        for header in
            [b"".as_slice(), b"\n", b"\r\n\r\n", &[0xff, 0xfe, 0, b'\n'], &long, &huge, HEADER]
        {
            for cut in (0..header.len()).step_by(1 + header.len() / 40) {
                let text = make(Kind::Failed, &header[..cut], "550 no");
                assert!(text.ends_with("--=_report_01kseed--\r\n"));
                assert!(text.split("\r\n").all(|line| line.len() <= 998));
            }
        }
        assert!(!make(Kind::Failed, HEADER, "550 no").contains("secret body"));
    }

    #[test]
    fn message_id_is_taken_only_where_it_is_whole() {
        for (header, id) in [
            (HEADER, Some("<42@erp.contoso.com>")),
            (b"mEssage-id:<a@b>\n".as_slice(), Some("<a@b>")),
            (b"Message-ID: a@b\n", None),
            (b"Message-ID: <a b>\n", None),
            (b"Message-ID: <>\n", None),
            (b"Subject: x\r\n\r\nMessage-ID: <a@b>\n", None),
        ] {
            assert_eq!(message_id(header).as_deref(), id, "{:?}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn xtext_is_read_and_never_brings_a_control_character() {
        for (text, read) in [
            ("abc", Some("abc")),
            ("a+40b", Some("a@b")),
            ("a+2Bb+3Dc", Some("a+b=c")),
            ("a+0D+0Ab", None),
            ("a+4", None),
            ("a+", None),
            ("a+zz", None),
            ("+FF", None),
            ("", None),
        ] {
            assert_eq!(from_xtext(text).as_deref(), read, "{text}");
        }
    }

    #[test]
    fn long_words_and_lines_are_broken() {
        let mut out = String::new();
        wrap(&mut out, &format!("{} {}", "ü".repeat(2000), "word ".repeat(100)));
        assert!(out.split("\r\n").all(|line| line.len() <= LONGEST_LINE), "{out}");
    }
}
