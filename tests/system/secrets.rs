//! No secret is ever shown, whatever goes right or wrong, at the most talkative log level.
//!
//! Everything the programs print, every file of the state directory and the process list are searched for
//! every secret there was, in every form. `the_search_finds_what_was_planted` shows that it would find one.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, binary};
use crate::support::overheard::Heard;
use crate::support::witness::Witness;
use crate::support::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Command, Output};
use submitd::sandbox::Options;
use submitd::sandbox::faults::{
    Aadsts, AuthRefusal, Certificate, Fault, FaultBody, Faults, Point, ReplyText, Stage, Switch,
};

const PASSWORD: &str = "the scanner's pass~word";
const GUESS: &str = "a guess at the pass~word";
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$b3V0cHV0b3V0cHV0b3V0cHV0b3V0cHV0";
const SUBJECT: &str = "salaries of the board";
const BODY: &str = "for your eyes only, really";

/// The world's account by secret, one by refresh token, a user by password and one by hash, all at trace.
fn config(world: &World) -> String {
    let account = world.config(&format!(
        "{}[queue]\nschedule = [\"1s\"]\n[[user]]\nname = \"scanner\"\npassword = \"{PASSWORD}\"\naccount = \"erp\"\n\
         [[user]]\nname = \"hashed\"\npassword_hash = \"{HASH}\"\naccount = \"erp\"\n\
         [[user]]\nname = \"person\"\npassword = \"{PASSWORD}\"\naccount = \"signed-in\"\n",
        World::listener("account = \"erp\"")
    ));
    let options = Options::default();
    let second = account[account.find("[[account]]").unwrap()..]
        .replace("name = \"erp\"", "name = \"signed-in\"")
        .replace("\"client_credentials\"", "\"refresh_token\"")
        .replace(&options.client_id, &options.public_client_id)
        .replace("client_secret", "refresh_token")
        .replace(options.client_secret.expose(), options.refresh_token.expose());
    format!("{account}{second}").replace("level = \"debug\"", "level = \"trace\"")
}

/// The secrets of [`config`] and what a mail holds.
fn witness() -> Witness {
    let mut witness = Witness::default();
    let options = Options::default();
    witness.secret("client secret", options.client_secret.expose());
    witness.secret("first refresh token", options.refresh_token.expose());
    witness.secret("password", PASSWORD);
    witness.secret("wrong password", GUESS);
    witness.secret("hash", HASH);
    witness
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

fn message() -> String {
    format!("From: erp@contoso.com\r\nSubject: {SUBJECT}\r\n\r\n{BODY}\r\n")
}

/// Submits a mail in every way a client can log in, and in some that fail.
fn submit(address: SocketAddr) {
    let plain = |user: &str, password: &str| base64(&format!("\0{user}\0{password}"));
    let mut client = Client::hello(address).unwrap();
    for (line, code) in [
        (format!("AUTH PLAIN {}", plain("scanner", GUESS)), "535"),
        (format!("AUTH PLAIN {}", plain("hashed", GUESS)), "535"),
        // Malformed, out of step, or where no password belongs.
        (format!("AUTH PLAIN {}=!", plain("scanner", PASSWORD)), "501"),
        (base64(PASSWORD), "500"),
        (PASSWORD.to_owned(), "500"),
        (format!("AUTH {PASSWORD}"), "5"),
        (format!("AUTH PLAIN {}", plain("person", PASSWORD)), "235"),
    ] {
        let reply = client.say(&line).unwrap();
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    let reply = client.mail("erp@contoso.com", "ann@example.org", &message()).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let mut client = Client::hello(address).unwrap();
    for (line, code) in [
        ("AUTH LOGIN".to_owned(), "334"),
        (base64("scanner"), "334"),
        (base64(GUESS), "535"),
        (format!("AUTH LOGIN {}", base64("scanner")), "334"),
        (base64(PASSWORD), "235"),
    ] {
        let reply = client.say(&line).unwrap();
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    let reply = client.mail("erp@contoso.com", "ann@example.org", &message()).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    // Gone in the middle of a body.
    let mut client = Client::hello(address).unwrap();
    for line in ["MAIL FROM:<erp@contoso.com>", "RCPT TO:<ann@example.org>", "DATA"] {
        client.say(line).unwrap();
    }
    client.write(message().as_bytes()).unwrap();
}

/// Runs `submitd` with these words and keeps what it printed.
fn run(witness: &mut Witness, file: &Path, words: &[&str]) -> Output {
    let output = Command::new(binary()).args(words).arg("--config").arg(file).heard();
    let name = format!("submitd {}", words.join(" "));
    witness.output(&name, [&output.stdout[..], &output.stderr[..]].concat());
    output
}

/// Takes down what a daemon has written and shows to others, at its end.
fn take_down(witness: &mut Witness, world: &World, mut daemon: Daemon) {
    let words = std::fs::read(format!("/proc/{}/cmdline", daemon.child.id())).unwrap();
    witness.output("process list", words);
    witness.state(&world.path().join("state"));
    // A stop right after the 250 would come before delivery has said anything.
    let loud = |line: &String| ["TRACE", "DEBUG"].iter().any(|level| line.contains(level));
    daemon.log.wait_until(|lines| lines.iter().any(loud).then_some(()));
    daemon.stop();
    witness.state(&world.path().join("state"));
    for token in world.sandbox.tokens() {
        witness.secret("token", token.expose());
    }
    let log = daemon.log.text();
    assert!(log.contains("\"level\":\"TRACE\"") || log.contains("\"level\":\"DEBUG\""), "{log}");
    // The queue holds the mail, so only what is printed must not.
    let mut printed = Witness::default();
    printed.secret("subject", SUBJECT);
    printed.secret("body", BODY);
    printed.output("log", &log);
    printed.assert_clean();
    witness.output("log", log);
}

#[test]
fn the_search_finds_what_was_planted() {
    // A token as the sender's address: that is logged.
    let world = World::new();
    let daemon = world.start(&config(&world)).run();
    let mut witness = witness();
    let secret = Options::default().client_secret.expose().to_owned();
    let mut client = Client::hello(daemon.address()).unwrap();
    client.mail(&format!("{secret}@contoso.com"), "ann@example.org", &message()).unwrap();
    daemon.log.wait_for("accepted and queued");
    take_down(&mut witness, &world, daemon);
    let found = witness.found().join("\n");
    assert!(found.contains("client secret (as it is) in log"), "{found}");
    assert!(found.contains("queue.db"), "{found}");
    // Every form.
    let token = world.sandbox.tokens().pop().unwrap();
    for text in [
        token.expose().to_owned(),
        token.expose()[token.expose().len() / 2..].to_owned(),
        base64(&format!("user=erp@contoso.com\x01auth=Bearer {}\x01\x01", token.expose())),
        base64(&format!("user=ann@contoso.com\x01auth=Bearer {}\x01\x01", token.expose())),
        base64(&format!("user=cora@contoso.com\x01auth=Bearer {}\x01\x01", token.expose())),
    ] {
        let mut planted = Witness::default();
        planted.secret("token", token.expose());
        planted.output("nothing", "all is well");
        planted.assert_clean();
        planted.output("log", format!("535 5.7.3 {text}"));
        assert!(!planted.found().is_empty(), "{text}");
    }
    assert!(end_of(world).contains("the application's secret"), "and so does the end of the world");
}

/// What the end of a world complains of: that of every test goes the same way.
fn end_of(world: World) -> String {
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| drop(world)));
    ended
        .err()
        .and_then(|said| said.downcast::<String>().ok())
        .map_or_else(String::new, |said| *said)
}

#[test]
fn a_test_fails_at_its_end_where_a_secret_was_shown_whatever_it_looked_at() {
    let quiet = World::new();
    quiet.daemon();
    assert_eq!(end_of(quiet), "");

    // As the sender's address it is logged, and listed: what the configuration holds, and a piece of what the
    // sandbox gave out.
    for (plant, heard_in) in [(0, "the daemon's log"), (1, "the daemon's log"), (2, "queue list")] {
        let world = World::new();
        let daemon = world.daemon();
        let mut client = Client::hello(daemon.address()).unwrap();
        let mut send = |sender: &str| {
            let reply = client.mail(sender, "ann@example.org", &message()).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
        };
        send("erp@contoso.com");
        world.messages(1);
        // By whatever connection: it stays in the queue, where it is listed.
        world.faults(|faults| faults.set("smtp.replies.mail=451 4.3.0 later").unwrap());
        let token = world.sandbox.tokens().into_iter().find(|one| one.expose().starts_with("eyJ"));
        let token = token.unwrap().expose().to_owned();
        let (label, planted) = match plant {
            0 => (
                "the application's secret (as it is)",
                Options::default().client_secret.expose().to_owned(),
            ),
            _ => ("gave out or was shown (a piece)", token[token.len() / 2..][..40].to_owned()),
        };
        send(&format!("{planted}@contoso.com"));
        if plant == 2 {
            world.submitd(&["queue", "list"]).good();
        }
        drop(daemon);
        let said = end_of(world);
        let is_there = |line: &str| line.contains(label) && line.contains(heard_in);
        assert!(said.lines().any(is_there), "{label} in {heard_in}: {said}");
        assert!(!said.contains(&planted), "the complaint does not show it either");
    }
}

#[test]
fn daemons_and_the_libraries_under_them_tell_all_they_can() {
    let world = World::new();
    let mut daemon = world.daemon();
    let mut client = Client::hello(daemon.address()).unwrap();
    client.mail("erp@contoso.com", "ann@example.org", &message()).unwrap();
    world.messages(1);
    assert!(daemon.stop().success());
    let all = String::from_utf8(daemon.log.all()).unwrap();
    for library in ["rustls", "hyper_util", "reqwest"] {
        let is_loud = |line: &str| {
            line.contains("\"TRACE\"") && line.contains(&format!("\"target\":\"{library}"))
        };
        assert!(all.lines().any(is_loud), "{library} is not heard:\n{all}");
    }
    assert!(!daemon.log.text().contains("\"target\":\"rustls"), "no line to wait for");
}

/// What tests start by themselves, past the search: file, how often, why.
const UNHEARD: [(&str, usize, &str); 7] = [
    ("binary.rs", 2, "python, which sends"),
    (
        "cli.rs",
        5,
        "demo and sandbox, which show the sandbox's own set-up, and lines of theirs in sh",
    ),
    ("grants.rs", 2, "openssl, which makes a file, and curl, which asks for a token"),
    ("queue.rs", 1, "a listing of ten thousand mails, whose memory is measured"),
    ("notify.rs", 1, "openssl, which makes a certificate"),
    ("vault.rs", 1, "kill"),
    ("secrets.rs", 1, "a secret in a key that holds none, which is shown to be mended"),
];

#[test]
fn no_test_starts_a_program_of_ours_past_the_search() {
    let places = [".output()", ".spawn()", ".wait_with_output()"];
    let mut found = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        // Names of calls in quotes are the ones above.
        let is_call =
            |line: &&str| places.iter().any(|call| line.contains(call)) && !line.contains("\".");
        let count = text.lines().filter(is_call).count();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if count > 0 {
            found.push((name, count));
        }
    }
    let mut known: Vec<_> = UNHEARD.iter().map(|row| (row.0.to_owned(), row.1)).collect();
    found.sort();
    known.sort();
    assert_eq!(found, known, "use `heard` or `fed`, or say why not");
}

#[test]
fn no_secret_is_shown_while_all_goes_well() {
    let world = World::new();
    let mut witness = witness();
    let daemon = world.start(&config(&world)).run();
    submit(daemon.address());
    world.messages(2);
    let file = world.path().join("here.toml");
    let here = config(&world).replace("127.0.0.1:0", &daemon.address().to_string());
    std::fs::write(&file, here).unwrap();
    for words in [
        &["check"][..],
        &["config", "show"],
        &["config", "show", "--all"],
        &["health"],
        &["send", "ann@example.org"],
    ] {
        let output = run(&mut witness, &file, words);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    world.messages(3);
    daemon.signal("HUP");
    daemon.log.wait_for("configuration reloaded");
    take_down(&mut witness, &world, daemon);
    run(&mut witness, &file, &["health"]);
    run(&mut witness, &file, &["demo", "--once", "--verbose"]);
    witness.assert_clean();
}

/// Ways the sandbox can fail.
fn failures() -> Vec<Faults> {
    let of = |change: &dyn Fn(&mut Faults)| {
        let mut faults = Faults::default();
        change(&mut faults);
        faults
    };
    let mut all = vec![
        of(&|faults| faults.token.error = Some(Fault::always(Aadsts(7_000_215)))),
        of(&|faults| faults.token.error = Some(Fault::always(Aadsts(50_173)))),
        of(&|faults| faults.token.error = Some(Fault::always(Aadsts(50_196)))),
        of(&|faults| faults.token.status = Some(Fault::always(503))),
        of(&|faults| {
            faults.token.status = Some(Fault::always(200));
            faults.token.body = FaultBody::Empty;
        }),
        of(&|faults| faults.token.drop = Switch::On),
        of(&|faults| faults.token.wrong_audience = Switch::On),
        of(&|faults| faults.token.no_permission = Switch::On),
        of(&|faults| faults.smtp.no_starttls = Switch::On),
        of(&|faults| faults.smtp.starttls_injection = Switch::On),
        of(&|faults| faults.smtp.certificate = Some(Fault::always(Certificate::Expired))),
        of(&|faults| {
            faults.smtp.drop_at.insert(Point::Auth, Switch::On);
        }),
        of(&|faults| {
            faults.smtp.drop_at.insert(Point::Body, Switch::On);
        }),
    ];
    for refusal in [
        AuthRefusal::Rejected,
        AuthRefusal::TenantDisabled,
        AuthRefusal::Temporary,
        AuthRefusal::GmailChallenge,
    ] {
        all.push(of(&|faults| faults.smtp.auth = Some(Fault::always(refusal))));
    }
    all
}

#[test]
fn no_secret_is_shown_while_everything_fails() {
    let world = World::new();
    let mut witness = witness();
    let daemon = world.start(&config(&world)).run();
    submit(daemon.address());
    world.messages(2);
    let file = world.path().join("here.toml");
    std::fs::write(&file, config(&world)).unwrap();
    for faults in failures() {
        world.sandbox.set_faults(faults.clone());
        for token in world.sandbox.tokens() {
            witness.secret("token", token.expose());
        }
        world.sandbox.revoke_access_tokens();
        let mut client = Client::hello(daemon.address()).unwrap();
        let reply = client.mail("erp@contoso.com", "ann@example.org", &message()).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        let output = run(&mut witness, &file, &["check"]);
        let is_broken = !faults.smtp.drop_at.contains_key(&Point::Body);
        assert_eq!(output.status.success(), !is_broken, "{faults:?}: {output:?}");
    }
    take_down(&mut witness, &world, daemon);
    witness.assert_clean();
}

/// A mail server that gives back what it was told at AUTH.
#[test]
fn a_token_that_the_mail_server_repeats_is_not_shown() {
    for text in ["535 5.7.3 unsuccessful:", "454 4.7.0 later:", "334", "220"] {
        let world = World::new();
        let mut witness = witness();
        let keys = format!("{}[queue]\nschedule = [\"1s\"]\n", World::listener(""));
        let config = world.config_with(&keys, "idle_timeout = 0\n").replace("debug", "trace");
        let daemon = world.start(&config).run();
        let send = || {
            let mut client = Client::hello(daemon.address()).unwrap();
            client.mail("erp@contoso.com", "ann@example.org", &message()).unwrap();
        };
        send();
        world.messages(1);
        let tokens = world.sandbox.tokens();
        // Refresh tokens, which no mail server hears, look otherwise.
        let token = tokens.iter().find(|token| token.expose().starts_with("eyJ")).unwrap().expose();
        let blob = base64(&format!("user=erp@contoso.com\x01auth=Bearer {token}\x01\x01"));
        let mut faults = Faults::default();
        let echo = ReplyText::new(format!("{text} {blob} {token}")).unwrap();
        faults.smtp.replies.insert(Stage::Auth, Fault::times(echo, 1));
        world.sandbox.set_faults(faults);
        send();
        world.messages(2);
        assert!(world.sandbox.faults().smtp.replies.is_empty(), "{text}: never said");
        take_down(&mut witness, &world, daemon);
        witness.assert_clean();
    }
}

/// A token endpoint that answers each request with the next of these answers, again and again.
fn endpoint(answers: Vec<(String, String)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (head, body) in answers.iter().cycle() {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let _ = reader.take(length).read_to_end(&mut Vec::new());
            let _ = write!(
                stream,
                "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

#[test]
fn answers_of_the_token_endpoint_are_not_repeated() {
    let world = World::new();
    let mut witness = witness();
    let options = Options::default();
    let secret = options.client_secret.expose();
    let coded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let access = format!("eyJ0eXAiOiJKV1Qi.{}.{}", "Ab3".repeat(200), "Xy9_-".repeat(60));
    let refresh = format!("0.AXoA{}", "q7Rt".repeat(150));
    let short = "opaque-EwB4-short";
    for (label, text) in [("access", access.as_str()), ("refresh", &refresh), ("short", short)] {
        witness.secret(label, text);
    }
    let mut answers = Vec::new();
    for token in [access.as_str(), short, secret, &coded, &base64(secret)] {
        let pair = format!("\"access_token\":\"{token}\",\"refresh_token\":\"{refresh}\"");
        let told = format!("AADSTS70000: {token} and {refresh} are no good\\r\\nTrace ID: {token}");
        for (head, body) in [
            ("200 OK", format!("{{{pair},\"token_type\":\"mac\"}}")),
            ("200 OK", format!("{{{pair}")),
            ("200 OK", format!("{{{pair},\"expires_in\":\"{token}\"}}")),
            ("200 OK", format!("{{\"access_token\":[\"{token}\"]}}")),
            ("200 OK", format!("{{\"access_token\":\"{token}\\u0001\"}}")),
            ("200 OK", format!("<html>{token} {refresh}</html>")),
            ("200 OK", format!("{{\"error\":\"{token}\",\"error_description\":\"{told}\"}}")),
            ("400 Bad", format!("{{\"error\":\"{token}\",\"error_description\":\"{told}\"}}")),
            (
                "401 Bad",
                format!(
                    "{{\"error\":\"invalid_client\",\"error_description\":\"{told}\",\"error_codes\":[7000215],\
                     \"trace_id\":\"{token}\",\"correlation_id\":\"{token}\",\"suberror\":\"{token}\",\
                     \"claims\":\"{token}\",\"error_uri\":\"https://x.example/?{token}\"}}"
                ),
            ),
            ("503 Busy", format!("{token} {refresh}")),
        ] {
            // A token that nobody could know to be one, in the provider's own words to people, is none.
            if token != short || head == "200 OK" && !body.contains("\"error\"") {
                answers.push((head.to_owned(), body));
            }
        }
        answers.push((format!("302 Found\r\nLocation: https://x.example/?{token}"), String::new()));
        answers.push((format!("429 {token}\r\nRetry-After: {token}"), String::new()));
    }
    let count = answers.len();
    let address = endpoint(answers);
    let config =
        config(&world).replace(&world.sandbox.token_url(), &format!("http://{address}/token"));
    let daemon = world.start(&config).run();
    let mut client = Client::hello(daemon.address()).unwrap();
    client.mail("erp@contoso.com", "ann@example.org", &message()).unwrap();
    daemon.log.wait_for("no new token");
    let file = world.path().join("here.toml");
    std::fs::write(&file, config).unwrap();
    for _ in 0..count / 2 + 2 {
        // Both accounts: each asks once.
        run(&mut witness, &file, &["check"]);
    }
    take_down(&mut witness, &world, daemon);
    witness.assert_clean();
}

#[test]
fn mistakes_on_the_line_of_a_secret_do_not_show_it() {
    let world = World::new();
    let secret = Options::default().client_secret.expose().to_owned();
    let good = config(&world);
    let line = format!("client_secret = \"{secret}\"");
    let file = world.path().join("submitd.toml");
    for (number, mistake) in [
        format!("client_secret = \"{secret}"),
        format!("client_secret = {secret}"),
        format!("client_secret = \"{secret}\" x"),
        format!("client_secret = [\"{secret}\"]"),
        format!("client_secret = {{ value = \"{secret}\" }}"),
        format!("client_secret = \"\"\"\n{secret}\n\"\"\""),
        format!("client_secret = \"{secret}\\q\""),
        format!("client_secrets = \"{secret}\""),
        format!("secret = \"{secret}\""),
        format!("client_secret_file = \"{secret}\""),
        format!("client_secret_file = \"/{secret}/{secret}\""),
        format!("{line}\n{line}"),
        format!("{line}\nclient_secret_file = \"x\""),
        format!("{line}\npasswords = \"{PASSWORD}\""),
        format!("{line}\n{secret}"),
        format!("{line}\nrefresh_token = {HASH}"),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(&file, good.replace(&line, &mistake)).unwrap();
        for words in [&["check"][..], &["run"], &["config", "show", "--all"]] {
            let mut seen = Witness::default();
            seen.secret("client secret", &secret);
            seen.secret("password", PASSWORD);
            seen.secret("hash", HASH);
            let output = run(&mut seen, &file, words);
            assert_eq!(output.status.code(), Some(78), "{mistake}: {output:?}");
            let found = seen.found();
            assert!(found.is_empty(), "{number} {mistake}\n{}", found.join("\n"));
        }
    }
    for variable in
        ["SUBMITD_ACCOUNT__ERP__CLIENT_SECRETS", "SUBMITD_CLIENT_SECRET", "SUBMITD_QUEUE__EXPIRE"]
    {
        std::fs::write(&file, &good).unwrap();
        let mut check = Command::new(binary());
        check.args(["check", "--config"]).arg(&file).env(variable, &secret);
        let output = match variable {
            // What stands in a key that holds no secret is none, and is shown to be mended.
            "SUBMITD_QUEUE__EXPIRE" => check.output().unwrap(),
            _ => check.heard(),
        };
        assert_eq!(output.status.code(), Some(78), "{variable}");
    }
}
