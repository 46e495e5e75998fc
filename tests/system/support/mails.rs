//! Messages as real programs write them, and what must arrive of them.

use std::fmt::Write;

/// A small one.
pub fn plain(subject: &str) -> Vec<u8> {
    format!(
        "From: ERP <erp@contoso.com>\r\nTo: ann@example.org\r\nSubject: {subject}\r\n\
         Date: Sat, 21 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{subject}@contoso.com>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n"
    )
    .into_bytes()
}

/// UTF-8 and Latin-1 octets in header and body, undeclared, as old programs send them.
pub fn eight_bit(subject: &str) -> Vec<u8> {
    let mut mail = format!(
        "From: ERP <erp@contoso.com>\r\nTo: ann@example.org\r\nSubject: {subject} Übersicht €\r\n\
         Date: Sat, 21 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{subject}@contoso.com>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\nGrüße aus Köln — 価格\r\n"
    )
    .into_bytes();
    mail.extend_from_slice(b"latin-1 too: \xe4\xf6\xfc\xdf\r\n");
    mail
}

/// Dots at line starts in every form that could be taken for the end.
pub fn dots(subject: &str) -> Vec<u8> {
    let mut mail = plain(subject);
    mail.extend_from_slice(
        b".\r\n..\r\n...\r\n.leading\r\n..leading two\r\n\r\n.\r\n\r\nend .\r\n. \r\n\t.\r\n.\r\nlast\r\n",
    );
    mail
}

/// Two attachments in base64, so many octets in all, dot-lines among them.
pub fn large(subject: &str, octets: usize) -> Vec<u8> {
    let mut mail = format!(
        "From: ERP <erp@contoso.com>\r\nTo: ann@example.org\r\nSubject: {subject}\r\n\
         Date: Sat, 21 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{subject}@contoso.com>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n\
         --=_b\r\nContent-Type: text/plain\r\n\r\n.\r\n..dots\r\n"
    );
    for part in 0..2_u32 {
        let _ = write!(
            mail,
            "--=_b\r\nContent-Type: application/pdf; name=\"invoice{part}.pdf\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n"
        );
        let mut state = 12_345 + part;
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        while mail.len() < (part as usize + 1) * (octets / 2) {
            for _ in 0..76 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                mail.push(char::from(alphabet[(state >> 26) as usize]));
            }
            mail.push_str("\r\n");
        }
    }
    mail.push_str("--=_b--\r\n");
    mail.into_bytes()
}

/// So many octets of base64 in lines; the same each time.
pub fn base64_lines(octets: usize) -> String {
    use base64::Engine;
    let mut state = 12_345_u32;
    let octets: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(octets)
    .collect();
    let code = base64::engine::general_purpose::STANDARD.encode(octets);
    let lines: Vec<_> = code.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
    lines.join("\r\n")
}

/// With one file, exactly so many octets in all.
pub fn of_size(subject: &str, octets: usize) -> Vec<u8> {
    let file = base64_lines(octets * 7 / 10);
    let mail = |text: &str| {
        format!(
            "From: ERP <erp@contoso.com>\r\nTo: ann@example.org\r\nSubject: {subject}\r\n\
             Date: Sat, 21 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{subject}@contoso.com>\r\n\
             MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n\
             --=_b\r\n\r\n{text}\r\n--=_b\r\nContent-Type: application/pdf; name=a.pdf\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{file}\r\n--=_b--\r\n"
        )
    };
    let line = format!("{}\r\n", "x".repeat(70));
    let missing = octets - mail("").len();
    let text = line.repeat(missing / line.len()) + &"x".repeat(missing % line.len());
    mail(&text).into_bytes()
}

/// What arrived without the one field we add; it must be the first.
pub fn without_our_received(arrived: &[u8]) -> &[u8] {
    let text = arrived.strip_prefix(b"Received: from ").expect("our Received stands first");
    let mut at = 0;
    loop {
        let end = at + text[at..].windows(2).position(|two| two == b"\r\n").expect("CRLF") + 2;
        if !matches!(text.get(end), Some(b' ' | b'\t')) {
            return &text[end..];
        }
        at = end;
    }
}

/// What arrived without any `Received:` on top, ours and those of another server before us.
pub fn without_any_received(arrived: &[u8]) -> &[u8] {
    let mut rest = without_our_received(arrived);
    while rest.starts_with(b"Received: ") {
        let mut at = 0;
        loop {
            at += memchr::memmem::find(&rest[at..], b"\r\n").expect("CRLF") + 2;
            if !matches!(rest.get(at), Some(b' ' | b'\t')) {
                break;
            }
        }
        rest = &rest[at..];
    }
    rest
}

/// Equal to the octet, with a short word where they part.
pub fn assert_same(arrived: &[u8], sent: &[u8], what: &str) {
    if let Some(difference) = difference(arrived, sent) {
        panic!("{what}: {difference}");
    }
}

/// Where they part, if they do.
pub fn difference(arrived: &[u8], sent: &[u8]) -> Option<String> {
    if arrived == sent {
        return None;
    }
    let at = arrived.iter().zip(sent).take_while(|(a, b)| a == b).count();
    let show = |octets: &[u8]| {
        let from = at.saturating_sub(40).min(octets.len());
        String::from_utf8_lossy(&octets[from..(at + 40).min(octets.len())]).into_owned()
    };
    Some(format!(
        "parts at octet {at} ({} arrived, {} sent)\narrived: {:?}\nsent:    {:?}",
        arrived.len(),
        sent.len(),
        show(arrived),
        show(sent)
    ))
}

/// With the dots of RFC 5321 §4.5.2.
pub fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len());
    for line in mail.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out
}
