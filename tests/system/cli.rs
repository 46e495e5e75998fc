//! The commands a person types, by what they print and their exit codes.

use crate::support::daemon::{PATIENCE, binary};
use crate::support::overheard::Heard;
use crate::support::port::Port;
use crate::support::world::World;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use submitd::sandbox::faults::{AuthRefusal, Fault, Faults};

/// Runs `submitd` with these words and the world's configuration file.
fn submitd(world: &World, words: &[&str]) -> (Output, String) {
    let mut command = Command::new(binary());
    command.args(words).arg("--config").arg(world.path().join("submitd.toml"));
    let output = command.heard();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output, text)
}

fn configure(world: &World, listener: &str) {
    std::fs::write(world.path().join("submitd.toml"), world.config(listener)).unwrap();
}

#[test]
fn check_walks_every_step_and_names_the_broken_one() {
    let world = World::new();
    configure(&world, &World::listener(""));
    let (output, text) = submitd(&world, &["check"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for step in ["configuration", "DNS", "TCP", "TLS", "token", "AUTH"] {
        assert!(text.contains(step), "{step}: {text}");
    }
    // SMTP AUTH switched off in the tenant: AUTH is named, with the remedy.
    let mut faults = Faults::default();
    faults.smtp.auth = Some(Fault::always(AuthRefusal::TenantDisabled));
    world.sandbox.set_faults(faults);
    let (output, text) = submitd(&world, &["check"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("5.7.139"), "{text}");
    assert!(text.contains("SmtpClientAuthenticationDisabled"), "{text}");
    // A wrong secret: the token is named.
    world.sandbox.set_faults(Faults::default());
    let file = world.path().join("submitd.toml");
    let wrong = std::fs::read_to_string(&file).unwrap();
    let wrong = wrong.replace("client_secret = \"", "client_secret = \"wrong");
    std::fs::write(&file, wrong).unwrap();
    let (output, text) = submitd(&world, &["check"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("AADSTS7000215"), "{text}");
}

#[test]
fn check_tells_every_mistake_of_the_configuration_and_exits_78() {
    let world = World::new();
    configure(
        &world,
        "[[listener]]\naddress = \"127.0.0.1:0\"\nmode = \"relay\"\nauht = \"none\"\n",
    );
    let (output, text) = submitd(&world, &["check"]);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("submitd.toml:5:"), "{text}");
    assert!(text.contains("auth"), "the nearest key is named: {text}");
    assert!(text.contains("\"relay\" is not known here"), "{text}");
    let (output, _) = submitd(&world, &["run"]);
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn send_and_health_need_a_daemon_and_say_so() {
    let world = World::new();
    let port = Port::hold();
    configure(&world, &format!("[[listener]]\naddress = \"{port}\"\n"));
    for words in [&["health"][..], &["send", "ann@example.org"]] {
        let (output, text) = submitd(&world, words);
        assert_eq!(output.status.code(), Some(69), "{text}");
    }
    let text = std::fs::read_to_string(world.path().join("submitd.toml")).unwrap();
    let mut daemon = world.start(&text).run();
    let (output, text) = submitd(&world, &["health"]);
    assert_eq!((output.status.code(), text.trim()), (Some(0), "ok"));
    let (output, text) = submitd(&world, &["send", "ann@example.org", "--subject", "Grüße"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("queued as"), "{text}");
    let mail = world.messages(1).pop().unwrap();
    assert_eq!(mail.envelope.sender.as_ref().unwrap().as_str(), "erp@contoso.com");
    assert!(daemon.stop().success());
}

#[test]
fn config_show_hides_secrets() {
    let world = World::new();
    configure(&world, &World::listener(""));
    for words in [&["config", "show"][..], &["config", "show", "--all"]] {
        let (output, text) = submitd(&world, words);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("mailbox = \"erp@contoso.com\""), "{text}");
        assert!(
            !text.contains(submitd::sandbox::Options::default().client_secret.expose()),
            "{text}"
        );
    }
}

#[test]
fn a_wrong_command_line_exits_64() {
    let output = Command::new(binary()).arg("frobnicate").heard();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn demo_once_shows_the_journey_and_exits_0() {
    let output = Command::new(binary()).args(["demo", "--once"]).heard();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for step in ["accepted", "queued as", "token", "delivered", "read it at"] {
        assert!(text.contains(step), "{step}: {text}");
    }
}

#[test]
fn demo_stays_up_and_its_swaks_and_curl_lines_work() {
    let mut demo = Command::new(binary()).arg("demo").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = Vec::new();
    let mut reader = BufReader::new(demo.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "ended early: {lines:?}");
        lines.push(line.trim_end().to_owned());
        if lines.last().is_some_and(|line| line.contains("Ctrl-C")) {
            break;
        }
    }
    let text = lines.join("\n");
    let pasted = |from: &str, count: usize| {
        let begin = lines.iter().position(|line| line.trim_start().starts_with(from)).unwrap();
        lines[begin..begin + count].join("\n")
    };
    for line in [pasted("swaks", 1), pasted("printf", 2)] {
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let read = pasted("curl -s ", 1);
    let ends = std::time::Instant::now() + PATIENCE;
    loop {
        let output = Command::new("sh").args(["-c", &read]).output().unwrap();
        if String::from_utf8_lossy(&output.stdout).matches("you@example.org").count() >= 2 {
            break;
        }
        assert!(std::time::Instant::now() < ends, "{text}");
    }
    let killed = Command::new("kill").arg(demo.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert!(demo.wait().unwrap().success());
}

#[test]
fn sandbox_prints_a_configuration_that_works() {
    let world = World::new();
    let mut sandbox = Command::new(binary())
        .args(["sandbox", "--smtp", "127.0.0.1:0", "--web", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(sandbox.stdout.take().unwrap());
    let mut toml = String::new();
    let mut inside = false;
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "ended early: {toml}");
        inside |= line.starts_with("[[account]]");
        if inside {
            toml.push_str(&line);
        }
        if line.starts_with("token_url") {
            break;
        }
    }
    std::fs::write(world.path().join("submitd.toml"), toml).unwrap();
    let (output, text) = submitd(&world, &["check"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let killed = Command::new("kill").arg(sandbox.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert!(sandbox.wait().unwrap().success());
}

#[test]
fn a_reader_that_leaves_early_is_no_fault_of_ours() {
    let line = format!("{} demo --once | head -n 1", binary().display());
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.is_empty(), "{text}");
}
