//! Who may submit and as whom, through which account, and what is rewritten.

use crate::support::client::Client;
use crate::support::daemon::binary;
use crate::support::mails;
use crate::support::overheard::Heard;
use crate::support::programs::{Login, PASSWORD, Program, USER, run};
use crate::support::world::World;
use base64::Engine;
use std::process::Command;
use submitd::sandbox::{Limits, Mailbox, Options};

/// A sandbox with these mailboxes on contoso.com.
fn world(names: &[&str]) -> World {
    let mailboxes = names.iter().map(|name| Mailbox::new(format!("{name}@contoso.com"))).collect();
    World::with(Options { limits: Limits::NONE, mailboxes, ..Options::default() })
}

/// The configuration with these accounts, each with further keys; `more` stands before them.
fn config(world: &World, more: &str, accounts: &[(&str, &str)]) -> String {
    let base = world.config(more);
    let (before, account) = base.split_once("[[account]]\n").unwrap();
    let mut text = before.to_owned();
    for (name, keys) in accounts {
        let account = account.replace("name = \"erp\"", &format!("name = \"{name}\""));
        let mailbox = format!("mailbox = \"{name}@contoso.com\"\n{keys}\n");
        text += "[[account]]\n";
        text += &account.replace("mailbox = \"erp@contoso.com\"\n", &mailbox);
    }
    text
}

fn user(name: &str, keys: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\npassword = \"{PASSWORD}\"\n{keys}\n")
}

fn login(client: &mut Client, name: &str, password: &str) -> String {
    let octets = format!("\0{name}\0{password}");
    let text = base64::engine::general_purpose::STANDARD.encode(octets);
    client.say(&format!("AUTH PLAIN {text}")).unwrap()
}

/// A mail with this `From:`.
fn body(from: &str, subject: &str) -> String {
    let mail = String::from_utf8(mails::plain(subject)).unwrap();
    mail.replace("ERP <erp@contoso.com>", from)
}

#[test]
fn user_before_network_before_sender_before_default() {
    let names = ["erp", "hr", "plant", "shop"];
    let world = world(&names);
    let more =
        format!("{}{}", World::listener("account = \"erp\""), user("anna", "account = \"hr\""));
    let force = "rewrite_from = \"force\"";
    let plant = format!("{force}\nnetworks = \"127.0.0.2\"");
    let accounts = [("erp", force), ("hr", force), ("plant", &*plant), ("shop", force)];
    let daemon = world.start(&config(&world, &more, &accounts)).run();
    let mut count = 0;
    for (source, name, sender, mailbox) in [
        ([127, 0, 0, 1], None, "x@example.org", "erp"),
        ([127, 0, 0, 1], None, "shop@contoso.com", "shop"),
        ([127, 0, 0, 1], Some("anna"), "shop@contoso.com", "hr"),
        ([127, 0, 0, 2], Some("anna"), "shop@contoso.com", "hr"),
        ([127, 0, 0, 2], None, "shop@contoso.com", "plant"),
        ([127, 0, 0, 3], None, "plant@contoso.com", "erp"),
        // No mere MAIL FROM opens hr, which is kept for anna.
        ([127, 0, 0, 1], None, "hr@contoso.com", "erp"),
    ] {
        let mut client = Client::hello_from(source, daemon.address()).unwrap();
        if let Some(name) = name {
            assert!(login(&mut client, name, PASSWORD).starts_with("235 2.7.0"));
        }
        let text = body(sender, &format!("m{count}"));
        let reply = client.mail(sender, "ann@example.org", &text).unwrap();
        assert!(reply.starts_with("250"), "{source:?} {name:?} {sender}: {reply}");
        count += 1;
        let arrived = world.messages(count).pop().unwrap();
        let mailbox = format!("{mailbox}@contoso.com");
        assert_eq!(arrived.mailbox, mailbox, "{source:?} {name:?} {sender}");
    }
}

#[test]
fn a23_senders_and_recipients_bind_a_user_and_disturb_nothing_else() {
    let world = world(&["erp"]);
    let more = format!(
        "{}{}",
        World::listener(""),
        user("scanner", "senders = \"erp@contoso.com\"\nrecipients = \"@example.org\"")
    );
    let daemon = world.start(&config(&world, &more, &[("erp", "")])).run();
    let mut client = Client::hello(daemon.address()).unwrap();
    assert!(login(&mut client, "scanner", PASSWORD).starts_with("235"));
    let reply = client.say("MAIL FROM:<boss@contoso.com>").unwrap();
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    let reply = client.mail("erp@contoso.com", "ann@elsewhere.example", "").unwrap();
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    client.say("RSET").unwrap();
    for from in [
        "Boss <boss@contoso.com>",
        "erp@contoso.com,\r\n\tboss@contoso.com",
        "erp@contoso.com\r\nFrom: boss@contoso.com",
        "erp@contoso.com\r\nSender: boss@contoso.com",
        "erp@contoso.com <boss@contoso.com>",
        "Not An Address",
    ] {
        for sender in ["erp@contoso.com", ""] {
            let reply = client.mail(sender, "ann@example.org", &body(from, "forged")).unwrap();
            assert!(reply.starts_with("550 5.7.1 "), "{from:?}: {reply}");
        }
    }
    let good = body("Scanner <erp@contoso.com>", "good");
    let reply = client.mail("erp@contoso.com", "ann@example.org", &good).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let arrived = world.messages(1);
    assert_eq!(arrived.len(), 1);
    mails::assert_same(mails::without_our_received(&arrived[0].raw), good.as_bytes(), "good");
}

#[test]
fn a_login_is_offered_where_the_listener_takes_one_and_nowhere_else() {
    let world = world(&["erp"]);
    let listener = |number: u8, auth: &str| {
        format!("[[listener]]\naddress = \"127.0.0.{number}:0\"\nauth = \"{auth}\"\n")
    };
    let more = [listener(1, "none"), listener(2, "optional"), user("scanner", "")].concat();
    let daemon = world.start(&config(&world, &more, &[("erp", "")])).run();
    let [none, optional] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
    for (address, is_offered) in [(none, false), (optional, true)] {
        let mut client = Client::connect(address).unwrap();
        client.reply().unwrap();
        let offers = client.say("EHLO client").unwrap();
        assert_eq!(offers.contains("AUTH PLAIN LOGIN"), is_offered, "{offers}");
        let reply = login(&mut client, "scanner", PASSWORD);
        assert!(reply.starts_with(if is_offered { "235 2.7.0" } else { "502 5.5.1" }), "{reply}");
        let reply =
            client.mail("erp@contoso.com", "ann@example.org", "From: erp@contoso.com\r\n\r\n");
        assert!(reply.as_ref().unwrap().starts_with("250"), "{reply:?}");
    }
    world.messages(2);
}

#[test]
fn a13_a14_mail_needs_the_right_password_where_auth_is_required() {
    let world = world(&["erp"]);
    let more = format!("{}{}", World::listener("auth = \"required\""), user("scanner", ""));
    let daemon = world.start(&config(&world, &more, &[("erp", "")])).run();
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.say("MAIL FROM:<erp@contoso.com>").unwrap();
    assert!(reply.starts_with("530 5.7.0"), "{reply}");
    for (name, password) in [("scanner", "wrong"), ("nobody", PASSWORD), ("scanner", "")] {
        let reply = login(&mut client, name, password);
        assert!(reply.starts_with("535 5.7.8") || reply.starts_with("501"), "{reply}");
    }
    assert!(client.say("MAIL FROM:<erp@contoso.com>").unwrap().starts_with("530 5.7.0"));
    assert!(login(&mut client, "scanner", PASSWORD).starts_with("235 2.7.0"));
    let reply = client.mail("erp@contoso.com", "ann@example.org", &body("erp@contoso.com", "x"));
    assert!(reply.unwrap().starts_with("250"));
    assert_eq!(world.messages(1).len(), 1);
    let log = daemon.log.text();
    assert!(log.contains("login refused") && !log.contains(PASSWORD), "{log}");
}

#[test]
fn a13_a_hashed_password_made_by_user_hash_is_good_for_every_mail() {
    let world = world(&["erp"]);
    let mut command = Command::new(binary());
    let output = command.args(["user", "hash", USER]).fed(format!("{PASSWORD}\n").as_bytes());
    let printed = String::from_utf8(output.stdout).unwrap();
    let (hash, block) = printed.split_once("\n\n").unwrap();
    assert!(hash.starts_with("$argon2id$") && block.contains(hash), "{printed}");
    assert!(!printed.contains(PASSWORD), "{printed}");
    let more = format!("{}{block}", World::listener("auth = \"required\""));
    let daemon = world.start(&config(&world, &more, &[("erp", "")])).run();
    let file = world.path().join("mail.eml");
    for (number, login) in [Login::Plain, Login::Login, Login::Plain].into_iter().enumerate() {
        std::fs::write(&file, mails::plain(&format!("m{number}"))).unwrap();
        Program::named("swaks").send_file(daemon.port(), login, &file);
    }
    assert_eq!(world.messages(3).len(), 3);
    let mut client = Client::hello(daemon.address()).unwrap();
    assert!(login(&mut client, USER, "wrong").starts_with("535 5.7.8"));
}

#[test]
fn user_hash_shows_nothing_that_is_typed_on_a_terminal() {
    let script = "
import os, pty, sys
pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[1], [sys.argv[1], 'user', 'hash'])
seen = b''
def until(text):
    global seen
    while text not in seen: seen += os.read(fd, 4096)
until(b'Password: '); os.write(fd, b'hunter2\\n')
until(b'Once more: '); os.write(fd, sys.argv[2].encode() + b'\\n')
try:
    while True:
        more = os.read(fd, 4096)
        if not more: break
        seen += more
except OSError: pass
sys.stdout.write(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";
    for (again, code, text) in [("hunter2", 0, "$argon2id$"), ("hunter3", 1, "not the same")] {
        let output = run(Command::new("python3").args(["-c", script]).arg(binary()).arg(again));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{printed}");
        assert!(printed.contains(text) && !printed.contains("hunter"), "{printed}");
    }
}

#[test]
fn accept_any_takes_devices_that_insist_on_a_login() {
    let world = world(&["erp", "hr"]);
    let more = World::listener("auth = \"accept_any\"\naccount = \"erp\"");
    let daemon = world.start(&config(&world, &more, &[("erp", ""), ("hr", "")])).run();
    let file = world.path().join("mail.eml");
    let mut count = 0;
    for program in ["curl", "swaks"].map(Program::named) {
        for login in [Login::Plain, Login::Login, Login::None] {
            std::fs::write(&file, mails::plain(&format!("m{count}"))).unwrap();
            program.send_file(daemon.port(), login, &file);
            count += 1;
        }
    }
    world.messages(count);
    let mut client = Client::hello(daemon.address()).unwrap();
    assert!(login(&mut client, "hr@contoso.com", "whatever").starts_with("235"));
    let reply = client.mail("erp@contoso.com", "ann@example.org", &body("hr@contoso.com", "x"));
    let id = reply.unwrap().rsplit(' ').next().unwrap().to_owned();
    let line = daemon.log.wait_for(&id);
    assert!(line.contains("\"account\":\"hr\""), "{line}");
}

/// Sends a mail as cron's sendmail does, by Python.
fn sendmail(port: u16, sender: &str, recipient: &str, message: &str) {
    let script = "
import smtplib, sys
port, sender, recipient, message = sys.argv[1:]
with smtplib.SMTP('127.0.0.1', int(port), local_hostname='relay') as smtp:
    smtp.sendmail(sender, [recipient], message.encode())
";
    let output = run(Command::new("python3").args([
        "-c",
        script,
        &port.to_string(),
        sender,
        recipient,
        message,
    ]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const CRON: &str = "Content-Type: text/plain; charset=UTF-8\r\nAuto-Submitted: auto-generated\r\n\
    X-Cron-Env: <LOGNAME=root>\r\nDate: Sat, 21 Nov 2026 08:00:00 +0000\r\n\
    Message-Id: <1@relay.test>\r\nTo: root\r\nSubject: Cron <root@relay> backup --all\r\n";

#[test]
fn cron_s_mail_from_root_to_root_arrives() {
    let world = world(&["erp"]);
    let more = format!(
        "default_domain = \"contoso.com\"\naliases = {{ root = \"it@contoso.com\" }}\n{}",
        World::listener("")
    );
    let accounts = [("erp", "rewrite_from = \"if_local\"")];
    let daemon = world.start(&config(&world, &more, &accounts)).run();
    let mut count = 0;
    for (sender, recipient, goal) in [
        ("root", "root", "it@contoso.com"),
        ("root@relay.test", "root@relay.test", "it@contoso.com"),
        ("root@localhost", "www-data@relay", "www-data@contoso.com"),
        ("root@relay", "ann@example.org", "ann@example.org"),
    ] {
        let rest = format!("{CRON}\r\nfrom {sender}: it failed\r\n");
        let mail = format!("From: root (Cron Daemon)\r\n{rest}");
        sendmail(daemon.port(), sender, recipient, &mail);
        count += 1;
        let arrived = world.messages(count).pop().unwrap();
        assert_eq!(arrived.recipients(), [goal], "{sender} {recipient}");
        let sender = arrived.envelope.sender.as_ref().unwrap();
        assert_eq!(sender.as_str(), "erp@contoso.com");
        let expected =
            format!("From: erp@contoso.com (Cron Daemon)\r\nReply-To: it@contoso.com\r\n{rest}");
        mails::assert_same(
            mails::without_our_received(&arrived.raw),
            expected.as_bytes(),
            recipient,
        );
    }
}

#[test]
fn a_sender_that_is_not_authorised_becomes_the_mailbox_and_nothing_else_changes() {
    let mailbox = |name: &str| Mailbox {
        address: format!("{name}@contoso.com"),
        send_as: vec!["shop@contoso.com".into()],
    };
    let options = Options {
        limits: Limits::NONE,
        mailboxes: ["some", "all"].map(mailbox).to_vec(),
        ..Options::default()
    };
    let world = World::with(options);
    let more = format!(
        "{}{}{}",
        World::listener(""),
        user("some", "account = \"some\""),
        user("all", "account = \"all\"")
    );
    let accounts = [
        ("some", "rewrite_from = \"if_unauthorized\"\nsenders = \"shop@contoso.com\""),
        ("all", "rewrite_from = \"force\"\nsenders = \"shop@contoso.com\""),
    ];
    let daemon = world.start(&config(&world, &more, &accounts)).run();
    let mut count = 0;
    for (name, from, sender, expected) in [
        ("some", "Shop <shop@contoso.com>", "shop@contoso.com", "Shop <shop@contoso.com>"),
        (
            "some",
            "\"Web, Form\" <visitor@example.org>",
            "some@contoso.com",
            "\"Web, Form\" <some@contoso.com>\r\nReply-To: \"Web, Form\" <visitor@example.org>",
        ),
        (
            "all",
            "Shop <shop@contoso.com>\r\nReply-To: help@contoso.com",
            "all@contoso.com",
            "Shop <all@contoso.com>\r\nReply-To: help@contoso.com",
        ),
    ] {
        let mut client = Client::hello(daemon.address()).unwrap();
        assert!(login(&mut client, name, PASSWORD).starts_with("235"));
        let subject = format!("m{count}");
        let original = from.split(['<', '>']).nth(1).unwrap();
        let reply = client.mail(original, "ann@example.org", &body(from, &subject)).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        count += 1;
        let arrived = world.messages(count).pop().unwrap();
        assert_eq!(arrived.envelope.sender.as_ref().unwrap().as_str(), sender, "{from}");
        let expected = body(expected, &subject);
        mails::assert_same(mails::without_our_received(&arrived.raw), expected.as_bytes(), from);
    }
}
