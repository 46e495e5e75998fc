//! The stored tokens: their key is exchanged, their file is written at the worst moments and by two at once, and
//! nothing is lost.

use crate::support::browser::{decide, post, visit};
use crate::support::client::Client;
use crate::support::daemon::PATIENCE;
use crate::support::daemon::binary;
use crate::support::overheard::Heard;
use crate::support::sign_in::Login;
use crate::support::trap::{Trap, struck};
use crate::support::world::World;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;
use submitd::sandbox::Options;

const ERP: &str = "erp@contoso.com";
const PUBLIC: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

fn config(world: &World) -> String {
    let options = Options::default();
    let secret = format!("client_secret = \"{}\"", options.client_secret.expose());
    let token = format!("refresh_token = \"{}\"", options.refresh_token.expose());
    let config = world.config(&World::listener("")).replace(&secret, &token);
    config.replace("client_credentials", "refresh_token").replace(&options.client_id, PUBLIC)
}

fn rotate(world: &World, words: &[&str], key: Option<&str>) -> Output {
    let mut command = Command::new(binary());
    command.args(["vault", "rotate", "--config"]).arg(world.path().join("submitd.toml"));
    command.args(words).envs(key.map(|key| ("SUBMITD_VAULT_KEY", key)));
    command.heard()
}

#[test]
fn the_key_is_exchanged_while_the_daemon_rests_and_the_token_that_came_back_still_serves() {
    let world = World::new();
    let config = config(&world);
    let mut daemon = world.start(&config).run();
    daemon.log.wait_for("token obtained");
    let refused = rotate(&world, &[], None);
    assert_eq!(refused.status.code(), Some(75));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("submitd runs (process {})", daemon.child.id())), "{said}");
    assert!(daemon.stop().success());

    let file = |name: &str| std::fs::read(world.path().join("state").join(name)).unwrap();
    let (key, tokens) = (file("vault.key"), file("tokens"));
    let done = rotate(&world, &[], None);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(file("vault.key") != key && file("tokens") != tokens);
    // The first refresh token is taken back: only the stored one still serves.
    let first = Options::default().refresh_token;
    let url = format!("{}/google/revoke", world.sandbox.web_url());
    assert_eq!(post(&url, &[("token", first.expose())]).status, 200);
    let mut daemon = world.start(&config).run();
    daemon.log.wait_for("token obtained");
    assert!(!daemon.log.text().contains("cannot be read"), "{}", daemon.log.text());
    assert!(daemon.stop().success());

    // From the state directory to a key of the operator's.
    let own = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let old = world.path().join("state/vault.key");
    let done = rotate(&world, &["--old", &old.display().to_string()], Some(own));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let daemon = world.start(&config).with("SUBMITD_VAULT_KEY", own).run();
    daemon.log.wait_for("token obtained");
    assert!(!daemon.log.text().contains("cannot be read"), "{}", daemon.log.text());
}

/// Accounts of these names that one person signs in for; the first of them is every client's.
fn signed_in(world: &World, names: &[&str]) -> String {
    let account = |name: &&str| {
        format!(
            "[[account]]\nname = \"{name}\"\nmailbox = \"{ERP}\"\ngrant = \"authorization_code\"\n\
             tenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{PUBLIC}\"\n\
             [account.upstream]\nhost = \"localhost\"\nport = {port}\nca_file = \"{dir}/sandbox-ca.pem\"\n\
             [account.oauth]\ntoken_url = \"{url}\"\n",
            dir = world.path().display(),
            port = world.sandbox.smtp_addr().port(),
            url = world.sandbox.token_url(),
        )
    };
    let accounts: String = names.iter().map(account).collect();
    format!(
        "state_dir = \"{dir}/state\"\nhostname = \"relay.test\"\n[queue]\nschedule = [\"1s\"]\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\naccount = \"{first}\"\n[log]\nformat = \"json\"\n{accounts}",
        dir = world.path().display(),
        first = names[0],
    )
}

fn write(world: &World, text: &str) -> PathBuf {
    let path = world.path().join("submitd.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Somebody signs in, with no daemon there.
fn sign_in(file: &Path, account: &str) {
    let login = Login::start(file, &[account]);
    visit(&decide(&login.address(), ERP, "accept").location());
    let (status, said) = login.wait();
    assert!(status.success(), "{said}");
}

/// A daemon starts and a mail goes out, with nobody signing in and nothing of the vault lost.
fn sends(world: &World, text: &str, subject: &str) {
    let before = world.sandbox.messages().len();
    let mut daemon = world.start(text).run();
    let reply = Client::submit(daemon.address(), &["ann@example.org"], subject);
    assert!(reply.starts_with("250"), "{reply}");
    assert!(world.messages(before + 1).len() > before);
    assert!(daemon.stop().success());
    let log = daemon.log.text();
    assert!(!log.contains("cannot be read") && !log.contains("nobody has signed in"), "{log}");
    assert!(!world.path().join("state/tokens.bad").exists());
}

/// The refresh tokens that sign-ins and renewals brought, oldest first.
fn brought(world: &World) -> Vec<String> {
    let known: Vec<String> =
        world.sandbox.tokens().iter().map(|token| token.expose().to_owned()).collect();
    let given = world.sandbox.secrets().into_iter().map(|secret| secret.expose().to_owned());
    given.filter(|text| text.starts_with("0.AXoA") && known.contains(text)).collect()
}

/// The steps of the vault's write, with the file that is looked at: the draft, the directory, or none. Killed
/// there, the token before it counts, or the one that has just come.
const STEPS: [(&str, &str, &str, bool); 6] = [
    ("before the draft is made", "openat", "draft", false),
    ("before it is filled", "write", "draft", false),
    ("before it is synced", "fdatasync", "draft", false),
    ("before it takes its place", "rename,renameat,renameat2", "draft", false),
    ("before its name is synced", "fsync", "state", true),
    ("before the token is used", "connect", "", true),
];

#[test]
fn b15_killed_at_each_step_of_the_vault_s_write_the_token_that_is_stored_serves_without_a_sign_in()
{
    for (moment, calls, file, is_new) in STEPS {
        let world = World::new();
        let text = signed_in(&world, &["erp"]);
        sign_in(&write(&world, &text), "erp");
        let state = world.path().join("state");
        let before = std::fs::read(state.join("tokens")).unwrap();
        let already = world.sandbox.statistics();
        world.faults(|faults| faults.token.hold = true);
        let mut daemon = world.start(&text).run();
        let reply = Client::submit(daemon.address(), &["ann@example.org"], "rotated");
        assert!(reply.starts_with("250"), "{reply}");
        world.until("no token was asked for", |seen| seen.token_requests > already.token_requests);
        let path = match file {
            "draft" => Some(state.join(format!("tokens.{}.new", daemon.child.id()))),
            "state" => Some(state.clone()),
            _ => None,
        };
        let trap = Trap::lay(&daemon, path.as_deref(), calls, "signal=SIGKILL:when=1");
        world.faults(|_| {});
        daemon.wait();
        drop(trap);
        let seen = world.sandbox.statistics();
        assert_eq!(seen.tokens, already.tokens + 1, "{moment}: given out");
        assert_eq!(seen.logins, 0, "{moment}: and not yet used");
        let is_stored = std::fs::read(state.join("tokens")).unwrap() != before;
        assert_eq!(is_stored, is_new, "{moment}");
        // The sandbox forgives the use of an old one, as Entra does for a while. Here only the one that must be
        // stored is good any more.
        let mut others = brought(&world);
        let newest = others.len() - 1;
        others.remove(if is_new { newest } else { newest - 1 });
        let url = format!("{}/google/revoke", world.sandbox.web_url());
        for other in others {
            assert_eq!(post(&url, &[("token", &other)]).status, 200);
        }
        sends(&world, &text, moment);
        assert_eq!(world.messages(2).len(), 2, "{moment}: the one that waited went out too");
    }
}

/// What makes a write durable, each to be the last that a process does: strace counts them one by one.
const WRITES: [&str; 4] = ["fdatasync", "rename", "fsync", "unlink"];

/// Has `attempt` killed at each of its writes, in turn, until it comes to its end; how often it was killed.
fn kill_at_each_write(mut attempt: impl FnMut(&str, &str) -> bool) -> usize {
    let mut kills = 0;
    for call in WRITES {
        let mut numbers = 1..;
        while numbers
            .next()
            .is_some_and(|number| !attempt(call, &format!("signal=SIGKILL:when={number}")))
        {
            kills += 1;
        }
    }
    kills
}

#[test]
fn b15_killed_at_each_write_of_a_first_sign_in_the_next_one_finds_a_sound_vault() {
    let kills = kill_at_each_write(|call, kill| {
        let world = World::new();
        let text = signed_in(&world, &["erp"]);
        let file = write(&world, &text);
        let login = Login::struck(&file, &["erp"], call, kill);
        let back = decide(&login.address(), ERP, "accept").location();
        // Killed before it answers the browser.
        let _ = std::panic::catch_unwind(|| visit(&back));
        let is_done = login.wait().0.success();
        if !is_done {
            sign_in(&file, "erp");
        }
        sends(&world, &text, call);
        is_done
    });
    // The key and the tokens: each is synced, takes its place, and its name is synced.
    assert!(kills >= 6, "{kills}");
}

#[test]
fn b15_killed_at_each_write_of_an_exchange_of_keys_the_next_start_needs_no_sign_in() {
    let world = World::new();
    let text = signed_in(&world, &["erp"]);
    let file = write(&world, &text);
    sign_in(&file, "erp");
    let key = || std::fs::read(world.path().join("state/vault.key")).unwrap();
    let kills = kill_at_each_write(|call, kill| {
        let before = key();
        let mut rotate = struck(call, kill);
        let is_done =
            rotate.args(["vault", "rotate", "--config"]).arg(&file).heard().status.success();
        assert!(!is_done || key() != before);
        sends(&world, &text, call);
        is_done
    });
    // The new key beside the old one, the tokens, the new key in its place, and its other name gone.
    assert!(kills >= 10, "{kills}");
}

#[test]
fn two_processes_that_write_at_once_lose_nothing_of_each_other() {
    let world = World::new();
    let names = ["erp", "crm", "hr"];
    let text = signed_in(&world, &names);
    let file = write(&world, &text);
    sign_in(&file, "erp");
    // The first has read what is there and has not yet put its own in place; it stands still.
    let slow = Login::struck(&file, &["crm"], "fdatasync", "signal=SIGSTOP:when=1");
    let (back, pid) = (decide(&slow.address(), ERP, "accept").location(), slow.traced());
    let quick = Login::start(&file, &["hr"]);
    let also = decide(&quick.address(), ERP, "accept").location();
    // What is seen is judged when both are at their end: a process that stands still would hold the test.
    let is_seen = std::thread::scope(|scope| {
        let first = scope.spawn(|| visit(&back));
        let draft = world.path().join(format!("state/tokens.{pid}.new"));
        let is_begun = comes(|| draft.exists());
        scope.spawn(|| visit(&also));
        // proc_locks(5): who waits for a lock stands behind an arrow.
        let is_waiting = comes(|| {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            let waits =
                |line: &str| line.contains("->") && line.contains(&format!(" {} ", quick.id()));
            locks.lines().any(waits)
        });
        // Each of its threads is stopped at its first one.
        let goes_on = comes(|| {
            let _ = Command::new("kill").args(["-s", "CONT", &pid.to_string()]).output();
            first.is_finished()
        });
        (is_begun, is_waiting, goes_on)
    });
    assert_eq!(is_seen, (true, true, true), "the draft, one that waits for the lock, the end");
    for login in [slow, quick] {
        let (status, said) = login.wait();
        assert!(status.success(), "{said}");
    }
    for name in names {
        sends(
            &world,
            &text.replacen("account = \"erp\"", &format!("account = \"{name}\""), 1),
            name,
        );
    }
}

/// Waits until it is so; whether it came to that.
fn comes(so: impl Fn() -> bool) -> bool {
    let ends = Instant::now() + PATIENCE;
    while !so() && Instant::now() < ends {
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    so()
}
