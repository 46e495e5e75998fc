//! Google's user consent: the preset as it stands, a sign-in in a browser, mail as that person for ever.

use crate::support::browser::{chromium, decide, visit};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::mails;
use crate::support::sign_in::Login;
use crate::support::world::World;
use std::path::PathBuf;
use submitd::sandbox::{Identities, Mailbox, Options};

const ANN: &str = "ann@example.com";
/// What the preset asks Google for; the sandbox has the same path behind `/google`.
const GOOGLE: &str = "https://accounts.google.com/";

fn world() -> World {
    let mailboxes = vec![Mailbox::new(ANN), Mailbox::new("bob@example.com")];
    World::with(Options { mailboxes, ..Options::default() })
}

/// An account with Google's preset; only the token endpoint is the sandbox's, and these keys of its own.
fn config(world: &World, redirect: &str, oauth: &str) -> String {
    let known = Identities::default();
    format!(
        "state_dir = \"{dir}/state\"\nhostname = \"relay.test\"\n[queue]\nschedule = [\"1s\"]\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nlevel = \"trace\"\n\
         [[account]]\nname = \"ann\"\nmailbox = \"{ANN}\"\npreset = \"gmail\"\ngrant = \"authorization_code\"\n\
         client_id = \"{id}\"\nclient_secret = \"{secret}\"\n{redirect}\n\
         [account.upstream]\nhost = \"localhost\"\nport = {port}\nca_file = \"{dir}/sandbox-ca.pem\"\n\
         [account.oauth]\ntoken_url = \"{web}/google/token\"\n{oauth}\n",
        dir = world.path().display(),
        id = known.google_client_id,
        secret = known.google_client_secret.expose(),
        port = world.sandbox.smtp_addr().port(),
        web = world.sandbox.web_url(),
    )
}

fn write(world: &World, text: &str) -> PathBuf {
    let path = world.path().join("submitd.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Where the person goes, with the sandbox in Google's place.
fn address(world: &World, login: &Login) -> String {
    let address = login.address();
    assert!(address.starts_with(&format!("{GOOGLE}o/oauth2/v2/auth?")), "{address}");
    address.replace(GOOGLE, &format!("{}/google/", world.sandbox.web_url()))
}

fn send(daemon: &Daemon, subject: &str) {
    let body = String::from_utf8(mails::plain(subject)).unwrap();
    let body = body.replace("erp@contoso.com", ANN);
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.mail(ANN, "bob@example.org", &body).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// The refresh tokens that were given out.
fn refresh_tokens(world: &World) -> usize {
    let secrets = world.sandbox.secrets();
    secrets.iter().filter(|secret| secret.expose().starts_with("1//")).count()
}

fn says(text: &str, words: &[&str]) {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat.contains(word), "{word:?} is not in:\n{text}");
    }
}

#[test]
fn consent_in_a_browser_sends_mail_as_that_person_and_one_refresh_token_serves_for_ever() {
    let world = world();
    let text = config(&world, "", "");
    let mut daemon = world.start(&text).run();
    send(&daemon, "waits");
    daemon.log.wait_for("nobody has signed in for this account yet");
    let login = Login::start(&write(&world, &text), &["ann"]);
    let address = address(&world, &login);
    let asked = url::Url::parse(&address).unwrap();
    let asked: Vec<(String, String)> = asked.query_pairs().into_owned().collect();
    for (name, value) in [
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("response_type", "code"),
        ("scope", "https://mail.google.com/ openid email"),
        ("code_challenge_method", "S256"),
        ("login_hint", ANN),
        ("client_id", &Identities::default().google_client_id),
    ] {
        assert!(asked.contains(&(name.into(), value.into())), "{name}: {asked:?}");
    }
    assert!(login.redirect().starts_with("http://127.0.0.1:"), "{}", login.redirect());
    let seen =
        chromium(&[&["open", &address], &["press", "accept"], &["await", "You are signed in"]]);
    says(&seen.text, &["submitd can send as ann@example.com now"]);
    let (status, said) = login.wait();
    assert!(status.success(), "{said}");
    says(&said, &["signed in as ann@example.com", "the account can send"]);
    assert_eq!(world.messages(1)[0].mailbox, ANN);
    // No answer brings another refresh token: the first one is kept, over every start.
    for count in 2..5 {
        assert!(daemon.stop().success());
        daemon = world.start(&text).run();
        send(&daemon, "later");
        assert_eq!(world.messages(count).len(), count);
    }
    assert_eq!(refresh_tokens(&world), 1);
    assert_eq!(world.sandbox.statistics().token_requests, 5, "the code, then one a start");
}

#[test]
fn consent_that_is_taken_back_is_told_and_given_again() {
    let world = world();
    let text = config(&world, "", "");
    let file = write(&world, &text);
    let sign_in = || {
        let login = Login::start(&file, &["ann"]);
        visit(&decide(&address(&world, &login), ANN, "accept").location());
        let (status, said) = login.wait();
        assert!(status.success(), "{said}");
    };
    sign_in();
    world.sandbox.revoke_refresh_tokens();
    let daemon = world.start(&text).run();
    send(&daemon, "waits");
    let told = daemon.log.wait_for("Token has been expired or revoked");
    says(&told, &["submitd login ann", "in Testing a token lasts seven days"]);
    sign_in();
    assert_eq!(world.messages(1)[0].mailbox, ANN);
    assert_eq!(refresh_tokens(&world), 2, "prompt=consent brings one again");
}

#[test]
fn without_prompt_consent_the_second_sign_in_brings_no_refresh_token_and_that_is_told() {
    let world = world();
    let page = format!("{}/google/o/oauth2/v2/auth", world.sandbox.web_url());
    let plain = |query: &str| config(&world, "", &format!("authorize_url = \"{page}{query}\""));
    for (query, works) in [
        ("?access_type=offline", true),
        ("?access_type=offline", false),
        ("?prompt=consent", false),
        ("?access_type=offline&prompt=consent", true),
    ] {
        let login = Login::start(&write(&world, &plain(query)), &["ann"]);
        let shown = visit(&decide(&login.address(), ANN, "accept").location());
        let (status, said) = login.wait();
        assert_eq!(status.success(), works, "{query}: {said}");
        if !works {
            assert_eq!(shown.status, 400);
            says(&said, &["gave no refresh token", "?access_type=offline&prompt=consent"]);
        }
    }
}

#[test]
fn somebody_else_a_refusal_and_a_wrong_secret_leave_nothing_behind() {
    let world = world();
    let text = config(&world, "", "");
    let file = write(&world, &text);
    for (user, decision, words) in [
        ("bob@example.com", "accept", "bob@example.com signed in, and not ann@example.com"),
        (ANN, "cancel", "access_denied"),
    ] {
        let login = Login::start(&file, &["ann"]);
        let shown = visit(&decide(&address(&world, &login), user, decision).location());
        assert_eq!(shown.status, 400);
        let (status, said) = login.wait();
        assert_eq!(status.code(), Some(1), "{said}");
        says(&said, &[words]);
    }
    let secret = Identities::default().google_client_secret;
    let line = format!("client_secret = \"{}\"", secret.expose());
    for (other, words) in [
        ("", "client_secret is missing"),
        ("client_secret = \"GOCSPX-of-another-one\"", "invalid_client"),
    ] {
        let login = Login::start(&write(&world, &text.replace(&line, other)), &["ann"]);
        visit(&decide(&address(&world, &login), ANN, "accept").location());
        let (status, said) = login.wait();
        assert_eq!(status.code(), Some(1), "{said}");
        says(&said, &[words]);
    }
    assert!(!world.path().join("state/tokens").exists(), "nothing was kept");
}

#[test]
fn the_browser_comes_back_over_ipv6_too_and_what_is_pasted_counts() {
    for (redirect, paste) in [("http://[::1]", false), ("http://127.0.0.1", true)] {
        let world = world();
        let text = config(&world, &format!("redirect_uri = \"{redirect}\""), "");
        let daemon = world.start(&text).run();
        let words: &[&str] = if paste { &["ann", "--paste"] } else { &["ann"] };
        let mut login = Login::start(&write(&world, &text), words);
        let back = decide(&address(&world, &login), ANN, "accept").location();
        assert!(back.starts_with(&format!("{redirect}:")), "{back}");
        if paste {
            login.paste(&back);
        } else {
            assert_eq!(visit(&back).status, 200);
        }
        let (status, said) = login.wait();
        assert!(status.success(), "{said}");
        send(&daemon, "one");
        assert_eq!(world.messages(1).len(), 1);
    }
}
