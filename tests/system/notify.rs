//! What people are told, once each: by a command, and by a mail through an account that works.

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::mails;
use crate::support::world::World;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use submitd::sandbox::faults::{Aadsts, AuthRefusal, Fault, ReplyText};
use submitd::sandbox::{Limits, Mailbox, Options};

const QUICK: &str = "[queue]\nschedule = [\"1s\"]\n";

/// `[notify]` with a script for a command; `more` are further keys.
fn notify(world: &World, script: &str, more: &str) -> String {
    let path = world.path().join("hook.sh");
    std::fs::write(&path, script).unwrap();
    let listener = World::listener("");
    format!("{listener}{QUICK}[notify]\ncommand = [\"/bin/sh\", \"{}\"]\n{more}\n", path.display())
}

fn file(world: &World) -> PathBuf {
    world.path().join("told")
}

/// A script that keeps every event.
fn keeps(world: &World) -> String {
    format!("cat >> {}\necho noted", file(world).display())
}

/// The events so far, and that no secret stands in one.
fn told(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let options = Options::default();
    for secret in [&options.client_secret, &options.refresh_token] {
        assert!(!text.contains(secret.expose()), "a secret was told: {text}");
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(path: &Path) -> Vec<String> {
    told(path).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the command was told so many times by this daemon.
fn until_told(daemon: &Daemon, times: usize) {
    let count = |lines: &[String]| lines.iter().filter(|line| line.contains("was told")).count();
    let enough = daemon.log.wait_until(|lines| (count(lines) >= times).then_some(()));
    assert!(enough.is_some(), "not told {times} times:\n{}", daemon.log.text());
}

fn send(daemon: &Daemon, from: &str, subject: &str) {
    let body = String::from_utf8(mails::plain(subject)).unwrap().replace("erp@contoso.com", from);
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.mail(from, "ann@example.org", &body).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// The smallest configuration with two accounts: `erp` with a wrong secret, and `crm`.
fn two_accounts(world: &World, more: &str) -> String {
    let base = world.config(more);
    let (before, account) = base.split_once("[[account]]\n").unwrap();
    let wrong = account.replace(Options::default().client_secret.expose(), "wrong-secret");
    let right = account.replace("\"erp\"", "\"crm\"").replace("erp@", "crm@");
    format!("{before}[[account]]\n{wrong}[[account]]\n{right}")
}

fn world_of_two() -> World {
    let mailboxes = ["erp", "crm"].map(|name| Mailbox::new(format!("{name}@contoso.com"))).to_vec();
    World::with(Options { limits: Limits::NONE, mailboxes, ..Options::default() })
}

#[test]
fn an_account_is_told_once_when_it_fails_and_once_when_it_works_again_whatever_is_restarted() {
    let world = World::new();
    world.faults(|faults| faults.token.error = Some(Fault::always(Aadsts(7_000_222))));
    let config = world.config(&notify(&world, &keeps(&world), ""));
    let mut daemon = world.start(&config).run();
    until_told(&daemon, 1);
    send(&daemon, "erp@contoso.com", "waits");
    daemon.log.wait_for("account paused");
    assert!(daemon.stop().success());
    // Again nothing works, which is nothing new.
    let daemon = world.start(&config).run();
    daemon.log.wait_for("account paused");
    world.faults(|_| ());
    daemon.signal("HUP");
    assert_eq!(world.messages(1).len(), 1);
    until_told(&daemon, 1);
    assert_eq!(kinds(&file(&world)), ["account_failed", "account_recovered"]);
    let failed = &told(&file(&world))[0];
    assert_eq!((&failed["account"], &failed["class"]), (&"erp".into(), &"administrator".into()));
    assert!(failed["what"].as_str().unwrap().contains("AADSTS7000222"), "{failed}");
    assert!(failed["remedy"].as_str().unwrap().contains("New client secret"), "{failed}");
    assert_eq!(failed["hostname"], "relay.test");
    daemon.log.wait_for("\"output\":\"noted\"");
}

#[test]
fn a_refused_login_is_over_when_a_mail_went_out_and_not_before() {
    let world = World::new();
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::TenantDisabled)));
    let config = world.config(&notify(&world, &keeps(&world), ""));
    let mut daemon = world.start(&config).run();
    daemon.log.wait_for("token obtained");
    send(&daemon, "erp@contoso.com", "waits");
    until_told(&daemon, 1);
    assert!(daemon.stop().success());
    world.faults(|_| ());
    let daemon = world.start(&config).run();
    world.messages(1);
    until_told(&daemon, 1);
    assert_eq!(kinds(&file(&world)), ["account_failed", "account_recovered"]);
    let remedy = told(&file(&world))[0]["remedy"].to_string();
    assert!(remedy.contains("Set-TransportConfig"), "{remedy}");
}

#[test]
fn somebody_who_must_sign_in_is_told_before_any_mail_waits() {
    let world = World::new();
    world.faults(|faults| faults.token.error = Some(Fault::always(Aadsts(700_082))));
    let config = world.config(&notify(&world, &keeps(&world), ""));
    let secret = format!("client_secret = \"{}\"", Options::default().client_secret.expose());
    let config = config.replace("client_credentials", "refresh_token").replace(
        &secret,
        &format!("refresh_token = \"{}\"", Options::default().refresh_token.expose()),
    );
    let daemon = world.start(&config).run();
    until_told(&daemon, 1);
    let event = &told(&file(&world))[0];
    assert_eq!((&event["event"], &event["class"]), (&"account_failed".into(), &"sign-in".into()));
}

#[test]
fn a_mail_tells_of_one_account_through_the_other() {
    let world = world_of_two();
    let more = format!("{}{QUICK}[notify]\nmail_to = \"ops@contoso.com\"\n", World::listener(""));
    let mut daemon = world.start(&two_accounts(&world, &more)).run();
    let mail = world.messages(1).pop().unwrap();
    assert_eq!(mail.mailbox, "crm@contoso.com");
    assert_eq!(mail.envelope.recipients[0].address.as_str(), "ops@contoso.com");
    let text = mail.text().replace("=\r\n", "");
    for words in [
        "Subject: account \"erp\" sends nothing",
        "Auto-Submitted: auto-generated",
        "What to do: ",
        "AADSTS7000215",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("wrong-secret"), "{text}");
    // Not again after a restart: the next mail is this one.
    daemon.log.wait_for("no new token");
    assert!(daemon.stop().success());
    let daemon = world.start(&two_accounts(&world, &more)).run();
    daemon.log.wait_for("no new token");
    send(&daemon, "crm@contoso.com", "after the restart");
    let mail = world.messages(2).pop().unwrap();
    assert!(mail.text().contains("after the restart"), "{}", mail.text());
}

#[test]
fn a_command_that_is_missing_fails_or_hangs_harms_nothing() {
    for (script, more, said) in [
        ("exit 3", "", "ended with 3"),
        ("kill -9 $$", "", "was killed"),
        ("sleep 1000", "command_timeout = \"1s\"", "did not end within 1 s"),
    ] {
        let world = world_of_two();
        let daemon = world.start(&two_accounts(&world, &notify(&world, script, more))).run();
        // Before, while and after it runs.
        send(&daemon, "crm@contoso.com", "one");
        daemon.log.wait_for(said);
        send(&daemon, "crm@contoso.com", "two");
        assert_eq!(world.messages(2).len(), 2, "{script}");
    }
    let world = world_of_two();
    let more = format!("{}[notify]\ncommand = [\"/nonexistent/hook\"]\n", World::listener(""));
    let daemon = world.start(&two_accounts(&world, &more)).run();
    daemon.log.wait_for("cannot be started");
    daemon.log.wait_for("notify.command: /nonexistent/hook cannot be read");
    send(&daemon, "crm@contoso.com", "one");
    assert_eq!(world.messages(1).len(), 1);
}

#[test]
fn what_is_untold_when_the_daemon_ends_is_told_by_the_next() {
    let world = World::new();
    world.faults(|faults| faults.token.error = Some(Fault::always(Aadsts(7_000_222))));
    let config = world.config(&notify(&world, "touch $0.began; exec sleep 1000", ""));
    let mut daemon = world.start(&config).run();
    daemon.log.wait_for("sends nothing");
    daemon.signal("KILL");
    daemon.wait();
    let daemon = world.start(&world.config(&notify(&world, &keeps(&world), ""))).run();
    until_told(&daemon, 1);
    assert_eq!(kinds(&file(&world)), ["account_failed"]);
}

#[test]
fn mail_that_is_given_up_and_a_report_that_cannot_be_delivered_are_told() {
    let world = World::new();
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::TenantDisabled)));
    let brief = "[queue]\nschedule = [\"1s\"]\nexpire = \"2s\"\n";
    let more = notify(&world, &keeps(&world), "").replace(QUICK, brief);
    let daemon = world.start(&world.config(&more)).run();
    send(&daemon, "erp@contoso.com", "expires");
    until_told(&daemon, 2);
    let event = told(&file(&world)).pop().unwrap();
    assert_eq!((&event["event"], &event["mails"]), (&"mail_failed".into(), &1.into()));
    let line = daemon.log.wait_for("mail given up");
    let id = event["ids"][0].as_str().unwrap();
    assert!(line.contains(id), "{id}: {line}");

    let world = World::new();
    world.faults(|faults| {
        for recipient in ["ann@example.org", "erp@contoso.com"] {
            let no = ReplyText::new("550 5.1.1 nobody of this name").unwrap();
            faults.smtp.recipients.insert(recipient.to_owned(), Fault::always(no));
        }
    });
    let daemon = world.start(&world.config(&notify(&world, &keeps(&world), ""))).run();
    send(&daemon, "erp@contoso.com", "nowhere");
    until_told(&daemon, 1);
    let event = told(&file(&world)).pop().unwrap();
    assert_eq!((&event["event"], &event["mails"]), (&"report_failed".into(), &1.into()));
    assert!(event["what"].as_str().unwrap().contains("nobody of this name"), "{event}");
}

#[test]
fn a_notice_that_cannot_be_delivered_begets_no_other() {
    let world = world_of_two();
    world.faults(|faults| {
        let no = ReplyText::new("550 5.1.1 nobody of this name").unwrap();
        faults.smtp.recipients.insert("ops@contoso.com".to_owned(), Fault::always(no));
    });
    let more = notify(&world, &keeps(&world), "mail_to = \"ops@contoso.com\"");
    let daemon = world.start(&two_accounts(&world, &more)).run();
    until_told(&daemon, 2);
    assert_eq!(kinds(&file(&world)), ["account_failed", "report_failed"]);
    let log = daemon.log.text();
    assert_eq!(log.matches("a notice is queued").count(), 1, "{log}");
}

/// The library that shows a program another time of day.
fn faketime() -> String {
    let of = |root: &Path| root.join("faketime/libfaketimeMT.so.1");
    let folders = std::fs::read_dir("/usr/lib").unwrap().map_while(Result::ok);
    let found = folders.map(|folder| of(&folder.path())).find(|path| path.exists());
    let found = found.expect("libfaketime is needed: scripts/install-test-tools");
    found.display().to_string()
}

/// Days from now as the configuration writes them.
fn day(days: u64) -> String {
    let time = SystemTime::now() + Duration::from_secs(days * 86_400);
    humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned()
}

#[test]
fn the_end_of_a_client_secret_is_told_by_the_calendar_and_never_twice() {
    let world = World::new();
    let config = world.config(&notify(&world, &keeps(&world), ""));
    let ends = format!("client_secret_expires = {}\n[account.upstream]", day(10));
    let config = config.replace("[account.upstream]", &ends);
    let mut seen = 0;
    for (clock, new) in
        [(None, 1), (None, 0), (Some("+8d"), 1), (Some("+12d"), 1), (Some("-300d"), 0)]
    {
        let mut start = world.start(&config);
        if let Some(clock) = clock {
            start = start.with("LD_PRELOAD", &faketime()).with("FAKETIME", clock);
            start = start.with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut daemon = start.run();
        daemon.log.wait_for("looked at the accounts");
        seen += new;
        until_told(&daemon, new);
        assert!(daemon.stop().success());
        let ends = kinds(&file(&world)).iter().filter(|kind| kind.starts_with("end")).count();
        assert_eq!(ends, seen, "{clock:?}: {:?}", told(&file(&world)));
    }
    let all = told(&file(&world));
    let all: Vec<_> = all.iter().filter(|event| event["of"] == "client_secret").collect();
    assert_eq!(all.len(), 3);
    assert!(all[0]["what"].as_str().unwrap().contains("ends in 9 days"), "{}", all[0]);
    assert_eq!(all[2]["event"], "ended");
    assert_eq!(all[2]["ends"].as_str().unwrap()[..10], day(10));
}

#[test]
fn the_end_of_a_certificate_is_told_by_its_own_date() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("erp.crt"), dir.path().join("erp.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=erp", "-days", "10"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .expect("openssl(1) is needed: scripts/install-test-tools");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut options = Options { limits: Limits::NONE, ..Options::default() };
    options.identities.certificates = vec![std::fs::read_to_string(&certificate).unwrap()];
    let world = World::with(options);
    let secret = format!("client_secret = \"{}\"", Options::default().client_secret.expose());
    let proof = format!("certificate = \"{}\"\nkey = \"{}\"", certificate.display(), key.display());
    let config = world.config(&notify(&world, &keeps(&world), "")).replace(&secret, &proof);
    for new in [1, 0] {
        let mut daemon = world.start(&config).run();
        daemon.log.wait_for("token obtained");
        daemon.log.wait_for("looked at the accounts");
        until_told(&daemon, new);
        let status = world.submitd(&["status"]);
        assert_eq!(status.code, Some(2), "a person is needed: {status:?}");
        assert!(status.out.contains("account erp: its certificate ends at"), "{status:?}");
        assert!(daemon.stop().success());
    }
    let all = told(&file(&world));
    let [event] = &all[..] else { panic!("told once, over a restart: {all:?}") };
    assert_eq!((&event["event"], &event["of"]), (&"ends_soon".into(), &"certificate".into()));
    let (what, remedy) = (event["what"].as_str().unwrap(), event["remedy"].as_str().unwrap());
    assert!(what.contains("ends in 9 days") && remedy.contains("upload it"), "{event}");
}

#[test]
fn a_reload_brings_another_command() {
    let world = World::new();
    let config = world.config(&World::listener(""));
    let daemon = world.start(&config).run();
    daemon.log.wait_for("looked at the accounts");
    let config = world.config(&notify(&world, &keeps(&world), ""));
    let ends = format!("client_secret_expires = \"{}\"\n[account.upstream]", day(2));
    let config = config.replace("[account.upstream]", &ends);
    std::fs::write(world.path().join("submitd.toml"), config).unwrap();
    daemon.signal("HUP");
    until_told(&daemon, 1);
    assert_eq!(kinds(&file(&world)), ["ends_soon"]);
}
