//! What calls /usr/sbin/sendmail and knows no SMTP: through a link of that name to the real binary.

use crate::support::daemon::{Daemon, binary};
use crate::support::mails;
use crate::support::overheard::Heard;
use crate::support::port::Port;
use crate::support::world::World;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use submitd::sandbox::Options;

/// A daemon, and the program under its three names.
struct Place {
    daemon: Daemon,
    world: World,
}

impl Place {
    /// Exchange takes any sender here: `root@host` is not what this is about.
    fn new() -> Self {
        Self::with("")
    }

    fn with(listener: &str) -> Self {
        let mut options = Options { limits: submitd::sandbox::Limits::NONE, ..Options::default() };
        options.mailboxes.iter_mut().for_each(|mailbox| mailbox.send_as = vec!["*".into()]);
        let world = World::with(options);
        for name in ["sendmail", "mailq", "newaliases"] {
            std::os::unix::fs::symlink(binary(), world.path().join(name)).unwrap();
        }
        let daemon = world.start(&world.config(&World::listener(listener))).run();
        Self { world, daemon }
    }

    fn program(&self, name: &str) -> PathBuf {
        self.world.path().join(name)
    }

    /// A command that finds the daemon, whatever it starts.
    fn command(&self, program: &str) -> Command {
        self.command_at(program, self.daemon.address())
    }

    fn command_at(&self, program: &str, address: SocketAddr) -> Command {
        let mut command = Command::new(program);
        command
            .env("SUBMITD_SENDMAIL_ADDRESS", address.to_string())
            .env("SUBMITD_CONFIG", self.world.path().join("submitd.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn sendmail(&self, words: &[&str], input: &[u8]) -> (Option<i32>, String) {
        let mut command = self.command(self.program("sendmail").to_str().unwrap());
        feed(command.args(words), input)
    }

    /// The one mail that arrived: its recipients and its text.
    fn arrived(&self) -> (Vec<String>, String) {
        let mail = self.world.messages(1).pop().unwrap();
        let to = mail.envelope.recipients.iter().map(|to| to.address.to_string()).collect();
        let text = mails::without_our_received(&mail.raw);
        (to, String::from_utf8(text.to_vec()).unwrap())
    }

    fn sender(&self) -> String {
        let mail = self.world.messages(1).pop().unwrap();
        mail.envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Runs a command on this input: its exit code and all it said.
fn feed(command: &mut Command, input: &[u8]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.fed(input);
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&text).into_owned())
}

const MAIL: &[u8] = b"From: ERP <erp@contoso.com>\nTo: ann@example.org\nSubject: x\n\nHello.\n";

#[test]
fn cron_s_mail_arrives_complete() {
    let place = Place::new();
    let mail = "From: \"(Cron Daemon)\" <root>\nTo: root\nSubject: Cron <root@host> backup\n\
                MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n\
                Content-Transfer-Encoding: 8bit\n\n.\nGrüße\n";
    let words = ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root@example.org"];
    assert_eq!(place.sendmail(&words, mail.as_bytes()), (Some(0), String::new()));
    let (to, text) = place.arrived();
    assert_eq!(to, ["root@example.org"]);
    let (header, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, ".\r\nGrüße\r\n");
    assert!(header.starts_with("From: \"(Cron Daemon)\" <root>\r\nTo: root\r\n"), "{header}");
    assert!(header.contains("\r\nDate: ") && header.contains("\r\nMessage-ID: "), "{header}");
    assert!(place.sender().ends_with("@relay.test"), "{}", place.sender());
}

#[test]
fn cron_s_mail_to_root_reaches_the_administrator() {
    // Exchange takes nobody but the mailbox as sender here.
    let world = World::new();
    let keys = format!("aliases = {{ root = \"it@contoso.com\" }}\n{}", World::listener(""));
    let config = world.config(&keys).replace(
        "mailbox = \"erp@contoso.com\"",
        "mailbox = \"erp@contoso.com\"\nrewrite_from = \"if_local\"",
    );
    let daemon = world.start(&config).run();
    let mut command = Command::new(binary());
    command
        .args(["sendmail", "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"])
        .env("SUBMITD_SENDMAIL_ADDRESS", daemon.address().to_string())
        .env("SUBMITD_CONFIG", world.path().join("submitd.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mail = b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> x\n\nHello.\n";
    assert_eq!(feed(&mut command, mail), (Some(0), String::new()));
    let arrived = world.messages(1).pop().unwrap();
    assert_eq!(arrived.envelope.sender.as_ref().unwrap().as_str(), "erp@contoso.com");
    assert_eq!(arrived.envelope.recipients[0].address.as_str(), "it@contoso.com");
}

#[test]
fn bcc_gets_the_mail_and_is_seen_by_nobody() {
    let place = Place::with("received = \"none\"");
    let mail = "To: Ann <ann@example.org>,\n \"Smith, Bob\" <bob@example.org>\n\
                Bcc: secret@example.org,\n\thidden@example.org\nSubject: x\n\nHello.\n";
    let words = ["-t", "-oi", "-f", "erp@contoso.com", "-F", "Jörg"];
    assert_eq!(place.sendmail(&words, mail.as_bytes()), (Some(0), String::new()));
    let mail = place.world.messages(1).pop().unwrap();
    let to: Vec<_> = mail.envelope.recipients.iter().map(|to| to.address.as_str()).collect();
    let expected =
        ["ann@example.org", "bob@example.org", "secret@example.org", "hidden@example.org"];
    assert_eq!(to, expected);
    let text = String::from_utf8_lossy(&mail.raw);
    assert!(
        !text.contains("secret") && !text.contains("hidden") && !text.contains("Bcc"),
        "{text}"
    );
    assert!(text.contains("\r\nFrom: =?utf-8?B?SsO2cmc=?= <erp@contoso.com>\r\n"), "{text}");
    assert_eq!(place.sender(), "erp@contoso.com");
}

#[test]
fn php_s_mail_function_works() {
    let place = Place::new();
    let path = format!("{} -t -i", place.program("sendmail").display());
    let script = "exit(mail('ann@example.org', 'Grüße', \"one\\n.\\ntwo\", \
                  \"From: shop@contoso.com\\r\\nBcc: bob@example.org\\r\\n\", '-fshop@contoso.com') ? 0 : 1);";
    let mut php = place.command("php");
    php.args(["-d", &format!("sendmail_path={path}"), "-r", script]);
    assert_eq!(feed(&mut php, b""), (Some(0), String::new()));
    let (to, text) = place.arrived();
    assert_eq!(to, ["ann@example.org", "bob@example.org"]);
    assert!(text.ends_with("\r\n\r\none\r\n.\r\ntwo\r\n"), "{text}");
    assert!(text.contains("\r\nSubject: Grüße\r\n") && !text.contains("Bcc"), "{text}");
    assert_eq!(place.sender(), "shop@contoso.com");
}

#[test]
fn php_learns_that_a_mail_was_not_taken() {
    let place = Place::new();
    let script = "exit(mail('ann@example.org', 'x', 'y') ? 0 : 1);";
    let gone = Port::hold();
    // Some versions take 75 for success, believing that sendmail has queued the mail.
    for (option, codes) in [("", &[0, 1][..]), (" -O TempFail=69", &[1])] {
        let path = format!("{} -t -i{option}", place.program("sendmail").display());
        let mut php = place.command_at("php", gone.address());
        php.args(["-d", &format!("sendmail_path={path}"), "-r", script]);
        let (found, text) = feed(&mut php, b"");
        assert!(codes.contains(&found.unwrap()), "{option:?}: {found:?}: {text}");
        assert!(text.contains("mail was not taken"), "{text}");
    }
}

#[test]
fn s_nail_sends_through_it() {
    let place = Place::new();
    let mut nail = place.command("s-nail");
    nail.args([
        "-:/",
        "-Sv15-compat",
        // It gives the name `sendmail` by itself.
        &format!("-Smta=file://{}", binary().display()),
    ]);
    nail.args(["-Ssendwait", "-r", "erp@contoso.com", "-s", "from s-nail"]);
    nail.args(["ann@example.org", "bob@example.org"]);
    let (code, text) = feed(&mut nail, b"Hello.\n.\n");
    assert_eq!(code, Some(0), "{text}");
    let (to, mail) = place.arrived();
    assert_eq!(to, ["ann@example.org", "bob@example.org"], "{text}");
    assert!(mail.contains("\r\nSubject: from s-nail\r\n"), "{mail}");
    assert_eq!(place.sender(), "erp@contoso.com");
}

#[test]
fn smtp_is_spoken_on_standard_input_and_output() {
    let place = Place::new();
    let script = "
import smtplib, socket, subprocess, sys
ours, theirs = socket.socketpair()
child = subprocess.Popen([sys.argv[1], '-bs'], stdin=theirs, stdout=theirs)
theirs.close()
class Piped(smtplib.SMTP):
    def _get_socket(self, host, port, timeout):
        return ours
with Piped('localhost', 25, 'client', 60) as smtp:
    smtp.sendmail('erp@contoso.com', ['ann@example.org'], 'From: erp@contoso.com\\n\\n' + 'Hello.\\n' * 100000)
ours.close()
sys.exit(child.wait())
";
    let mut python = place.command("python3");
    python.args(["-c", script]).arg(place.program("sendmail"));
    assert_eq!(feed(&mut python, b""), (Some(0), String::new()));
    let (to, text) = place.arrived();
    assert_eq!(to, ["ann@example.org"]);
    assert_eq!(text.matches("Hello.\r\n").count(), 100_000);
}

#[test]
fn a_lone_dot_ends_the_message_unless_i_is_said() {
    let place = Place::new();
    let text = [MAIL, b".\nmore\n"].concat();
    assert_eq!(place.sendmail(&["ann@example.org"], &text).0, Some(0));
    assert!(place.arrived().1.ends_with("\r\n\r\nHello.\r\n"));
    assert_eq!(place.sendmail(&["-i", "ann@example.org"], &text).0, Some(0));
    let second = place.world.messages(2).pop().unwrap();
    assert!(second.raw.ends_with(b"\r\n\r\nHello.\r\n.\r\nmore\r\n"));
}

#[test]
fn twenty_five_megabytes_arrive_octet_by_octet() {
    let place = Place::new();
    let mail = mails::large("sendmail-large", 25_000_000);
    let (code, text) =
        place.sendmail(&["-i", "-v", "-f", "erp@contoso.com", "ann@example.org"], &mail);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("queued as"), "{text}");
    let arrived = place.world.messages(1).pop().unwrap();
    mails::assert_same(mails::without_our_received(&arrived.raw), &mail, "25 MB");
}

#[test]
fn many_recipients_go_in_several_mails() {
    let place = Place::with("max_recipients = 2");
    let to = ["a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org"];
    assert_eq!(place.sendmail(&[&["-i"], &to[..]].concat(), MAIL), (Some(0), String::new()));
    let mails = place.world.messages(3);
    let mut all: Vec<_> = mails
        .iter()
        .flat_map(|mail| mail.envelope.recipients.iter().map(|to| to.address.to_string()))
        .collect();
    all.sort();
    assert_eq!(all, to);
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let place = Place::with("max_message_size = \"64KB\"");
    let large = [MAIL, &b"a line of text\n".repeat(5_000)].concat();
    for (words, input, code, word) in [
        (&["-w", "ann@example.org"][..], MAIL, 64, "unknown option -w"),
        (&["-bd"], MAIL, 64, "submitd run"),
        (&[], MAIL, 64, "no recipients"),
        (&["-t"], b"Subject: x\n\ny\n", 65, "no recipients"),
        (&["-t"], b"To: Ann Smith\n\ny\n", 65, "Ann Smith"),
        (&["ann@example.org"], &large, 65, "5.3.4"),
        (&["-bi"], b"", 0, ""),
        (&["-q"], b"", 0, ""),
        (&["--help"], b"", 0, "usage: sendmail"),
    ] {
        let (found, text) = place.sendmail(words, input);
        assert_eq!(found, Some(code), "{words:?}: {text}");
        assert!(text.contains(word), "{words:?}: {text}");
    }
    // The daemon is away: to be tried again, and somebody who speaks SMTP is told in SMTP.
    let gone = Port::hold();
    let program = place.program("sendmail").display().to_string();
    let (code, text) =
        feed(place.command_at(&program, gone.address()).arg("ann@example.org"), MAIL);
    assert_eq!(code, Some(75), "{text}");
    assert!(
        text.contains("mail was not taken, the daemon does not answer at 127.0.0.1:"),
        "{text}"
    );
    let (code, text) = feed(place.command_at(&program, gone.address()).arg("-bs"), b"");
    assert_eq!(code, Some(75), "{text}");
    assert!(text.starts_with("421 "), "{text}");
    assert!(place.world.sandbox.messages().is_empty(), "nothing was sent");
}

#[test]
fn a_daemon_that_wants_a_login_is_no_permission() {
    let world = World::new();
    let user = "[[user]]\nname = \"scanner\"\npassword = \"s3cret word\"\n";
    let listener = World::listener("auth = \"required\"");
    let daemon = world.start(&world.config(&format!("{listener}{user}"))).run();
    let mut command = Command::new(binary());
    command
        .args(["sendmail", "-i", "ann@example.org"])
        .env("SUBMITD_SENDMAIL_ADDRESS", daemon.address().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (code, text) = feed(&mut command, MAIL);
    assert_eq!(code, Some(77), "{text}");
    assert!(text.contains("[[listener]]"), "{text}");
}

#[test]
fn the_configuration_names_the_daemon_s_address() {
    let world = World::new();
    let port = Port::hold();
    let config = world.config(&format!("[[listener]]\naddress = \"{port}\"\n"));
    let daemon = world.start(&config).run();
    // A secret that this user may not read is the daemon's business only.
    let unreadable = config.replace("client_secret = \"", "client_secret_file = \"/nowhere/");
    std::fs::write(world.path().join("submitd.toml"), unreadable).unwrap();
    let mut command = Command::new(binary());
    command
        .arg("--config")
        .arg(world.path().join("submitd.toml"))
        .args(["sendmail", "-ti", "-f", "erp@contoso.com"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    assert_eq!(feed(&mut command, MAIL), (Some(0), String::new()));
    assert_eq!(world.messages(1)[0].envelope.recipients[0].address.as_str(), "ann@example.org");
    drop(daemon);
}

#[test]
fn it_goes_over_a_unix_socket_too() {
    let world = World::new();
    let socket = format!("unix:{}", world.path().join("smtp.sock").display());
    let daemon =
        world.start(&world.config(&format!("[[listener]]\naddress = \"{socket}\"\n"))).run();
    for (number, words) in [&["sendmail", "-ti", "-f", "erp@contoso.com"][..], &["sendmail", "-bs"]]
        .into_iter()
        .enumerate()
    {
        let dialogue = "EHLO x\r\nMAIL FROM:<erp@contoso.com>\r\nRCPT TO:<ann@example.org>\r\n\
                        DATA\r\nFrom: erp@contoso.com\r\n\r\nx\r\n.\r\nQUIT\r\n";
        let input = if number == 0 { MAIL } else { dialogue.as_bytes() };
        let mut command = Command::new(binary());
        command
            .args(words)
            .env("SUBMITD_SENDMAIL_ADDRESS", &socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (code, text) = feed(&mut command, input);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(world.messages(number + 1).len(), number + 1);
    }
    drop(daemon);
}

#[test]
fn mailq_lists_what_waits() {
    let place = Place::new();
    let mailq = place.program("mailq").display().to_string();
    let (code, text) = feed(&mut place.command(&mailq), b"");
    assert_eq!((code, text.as_str()), (Some(0), "Mail queue is empty\n"));
    let (code, text) = feed(&mut place.command(place.program("newaliases").to_str().unwrap()), b"");
    assert_eq!((code, text.as_str()), (Some(0), ""));
    // Nothing gets out: what is sent now waits.
    let mut faults = submitd::sandbox::Faults::default();
    faults.set("smtp.replies.mail=451 4.7.500 Server busy").unwrap();
    place.world.sandbox.set_faults(faults);
    let (code, text) = place.sendmail(&["-v", "-f", "erp@contoso.com", "ann@example.org"], MAIL);
    assert_eq!(code, Some(0), "{text}");
    let id = text.trim().rsplit(' ').next().unwrap().to_owned();
    place.daemon.log.wait_for("4.7.500");
    let (code, text) = place.sendmail(&["-bp"], b"");
    assert_eq!(code, Some(0), "{text}");
    for part in [id.as_str(), "erp@contoso.com", "ann@example.org", "Kbytes in 1 Request."] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Only the owner may look.
    let other = place.world.path().join("nowhere.toml");
    std::fs::write(&other, "state_dir = \"/nowhere\"\n").unwrap();
    let mut command = place.command(&mailq);
    let (code, text) = feed(command.env("SUBMITD_CONFIG", other), b"");
    assert_eq!(code, Some(69), "{text}");
}
