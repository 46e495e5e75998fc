//! Binary mail (RFC 3030): every octet arrives as it was sent, and nobody is invited to send it in vain.

use crate::support::daemon::Daemon;
use crate::support::talk;
use crate::support::world::World;
use std::io::Write;
use std::process::{Command, Stdio};
use submitd::mail::BodyKind;

/// Reads a message from standard input and sends it in three chunks and an empty one, pipelined where
/// the server lets it.
const SENDER: &str = r#"
import smtplib, sys
text = sys.stdin.buffer.read()
server = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=60)
server.ehlo("client")
assert server.has_extn("chunking") and server.has_extn("binarymime"), server.esmtp_features
server.mail("erp@contoso.com", ["BODY=BINARYMIME", "SIZE=%d" % len(text)])
for address in ["ann@example.org", "bob@example.org"]:
    code, words = server.rcpt(address)
    assert code == 250, words
third = len(text) // 3
pieces = [text[:7], text[7:third], text[third:]]
server.send(b"".join(b"BDAT %d\r\n%b" % (len(piece), piece) for piece in pieces))
for piece in pieces:
    code, words = server.getreply()
    assert code == 250, words
code, words = server.docmd("BDAT 0 LAST")
assert code == 250, words
server.quit()
"#;

fn send(daemon: &Daemon, text: &[u8]) {
    let mut python = Command::new("python3")
        .args(["-c", SENDER, &daemon.addresses[0].port().to_string()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(text).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const HEADER: &str = "From: erp@contoso.com\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\
                      Message-ID: <binary@contoso.com>\r\nMIME-Version: 1.0\r\n\
                      Content-Type: application/octet-stream\r\n\
                      Content-Transfer-Encoding: binary\r\n\r\n";

/// Whatever DATA would have changed or ended at, every octet, and more than one piece of the queue.
fn nasty() -> Vec<u8> {
    let mut text = b"\r\n.\r\n.\n.\r.\r\r\n\0\n\n.\r\nQUIT\r\nBDAT 0 LAST\r\n".to_vec();
    text.extend((0..=255).cycle().take(300_000));
    for first in [b'\r', b'\n', b'.', 0] {
        for second in [b'\r', b'\n', b'.', 0] {
            text.extend([first, second, second, first, b'.']);
        }
    }
    text.push(b'\r');
    text
}

#[test]
fn a20_a_binary_mail_arrives_octet_for_octet() {
    let world = World::new();
    let rejecting = world.config(&World::listener("bare_newline = \"reject\""));
    for config in [world.config(&World::listener("")), rejecting] {
        let before = world.sandbox.messages().len();
        let mut daemon = world.start(&config).run();
        send(&daemon, &[HEADER.as_bytes(), &nasty()].concat());
        let messages = world.messages(before + 1);
        let message = &messages[before];
        assert_eq!(message.envelope.body, BodyKind::BinaryMime);
        assert_eq!(message.envelope.recipients.len(), 2);
        let end = memchr::memmem::find(&message.raw, b"\r\n\r\n").unwrap() + 4;
        assert!(message.raw[..end].starts_with(b"Received: from client"));
        assert!(message.raw[end..] == nasty(), "the body was changed");
        assert!(daemon.stop().success());
    }
}

#[test]
fn a_binary_mail_is_not_invited_where_one_account_may_not_pass_it_on() {
    let world = World::new();
    let good = world.config(&World::listener(""));
    let account = good.split_once("[[account]]").unwrap().1;
    let other = account
        .replace("name = \"erp\"", "name = \"hr\"\npreset = \"generic\"")
        .replace("erp@contoso.com", "hr@contoso.com")
        .replace("tenant = \"contoso.onmicrosoft.com\"\n", "");
    let generic = format!("{good}[[account]]{other}scope = \"smtp\"\n");
    let known = generic.replace("port =", "binarymime = true\nport =");
    let unknown = good.replace("port =", "binarymime = false\nport =");
    for (config, invited) in [(good, true), (generic, false), (known, true), (unknown, false)] {
        let mut daemon = world.start(&config).run();
        let mut client = talk::tcp(daemon.addresses[0]);
        client.reply().unwrap();
        let offers = client.say("EHLO client");
        assert!(offers.contains("CHUNKING"), "{offers}");
        assert_eq!(offers.contains("BINARYMIME"), invited, "{offers}\n{config}");
        let reply = client.say("MAIL FROM:<erp@contoso.com> BODY=BINARYMIME");
        assert!(reply.starts_with(if invited { "250" } else { "555" }), "{reply}");
        drop(client);
        assert!(daemon.stop().success());
    }
}
