//! Somebody signs in, in every way, with a daemon running and without; and somebody else tries to.

use crate::support::browser::{chromium, decide, post, visit, visit_as};
use crate::support::client::Client;
use crate::support::daemon::{Daemon, binary};
use crate::support::mails;
use crate::support::overheard::Heard;
use crate::support::servers::Oidc;
use crate::support::sign_in::Login;
use crate::support::witness::Witness;
use crate::support::world::World;
use std::path::PathBuf;
use std::process::{Command, Output};
use submitd::sandbox::faults::Switch;
use submitd::sandbox::{Limits, Options, SignIns};

const PUBLIC: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const ERP: &str = "erp@contoso.com";

/// An account of the public application with this grant and these further keys.
fn config(world: &World, grant: &str, keys: &str) -> String {
    let keys = format!(
        "mailbox = \"{ERP}\"\ngrant = \"{grant}\"\n\
         tenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{PUBLIC}\"\n{keys}"
    );
    world.account(&keys, &format!("token_url = \"{}\"", world.sandbox.token_url()))
}

fn world_of(change: impl FnOnce(&mut SignIns)) -> World {
    let mut options = Options { limits: Limits::NONE, ..Options::default() };
    change(&mut options.sign_ins);
    World::with(options)
}

/// Writes the configuration for commands.
fn write(world: &World, text: &str) -> PathBuf {
    let path = world.path().join("submitd.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn send(daemon: &Daemon, subject: &str) {
    let body = String::from_utf8(mails::plain(subject)).unwrap();
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.mail(ERP, "ann@example.org", &body).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn submitd(world: &World, words: &[&str]) -> Output {
    let config = world.path().join("submitd.toml");
    Command::new(binary()).arg("--config").arg(config).args(words).heard()
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}

/// Long lines are broken for the terminal.
fn says(text: &str, words: &[&str]) {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat.contains(word), "{word:?} is not in:\n{text}");
    }
}

/// The person of this name signs in; where the browser ends.
fn come_back(login: &Login, user: &str) -> String {
    decide(&login.address(), user, "accept").location()
}

/// The port of an address.
fn port(address: &str) -> u16 {
    url::Url::parse(address).unwrap().port().unwrap()
}

/// Nothing of what was given out stands in what was printed or, unsealed, in the state directory.
fn nothing_was_shown(world: &World, outputs: &[(&str, &str)]) {
    let mut witness = Witness::default();
    for token in world.sandbox.tokens() {
        witness.secret("token", token.expose());
    }
    for (name, said) in outputs {
        witness.output(name, said);
    }
    witness.state(&world.path().join("state"));
    witness.assert_clean();
}

#[test]
fn browser_while_the_daemon_runs_and_its_mail_waits() {
    let world = World::new();
    let text = config(&world, "authorization_code", "");
    let daemon = world.start(&text).run();
    daemon.log.wait_for("nobody has signed in for this account yet");
    send(&daemon, "waits");
    let told = daemon.log.wait_for("account paused, its mail is kept");
    assert!(told.contains("submitd login erp"), "{told}");
    assert_eq!(world.sandbox.statistics().token_requests, 0, "nothing to ask with");

    let login = Login::start(&write(&world, &text), &["erp"]);
    let back = come_back(&login, ERP);
    assert!(back.starts_with(&format!("{}/?code=", login.redirect())), "a slash, as Entra has it");
    let page = visit(&back);
    assert_eq!(page.status, 200);
    says(&page.body, &["You are signed in", "submitd can send as erp@contoso.com now"]);
    let said = login.good();
    says(&said, &["signed in as erp@contoso.com", "the account can send"]);
    assert_eq!(world.messages(1)[0].mailbox, ERP);
    // The answer is used up and the door is closed.
    let port = port(&back);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    send(&daemon, "goes at once");
    assert_eq!(world.messages(2).len(), 2);
    let log = daemon.log.text();
    let complaints = log.matches("no new token: nobody has signed in").count();
    assert_eq!(complaints, 1, "told once");
    nothing_was_shown(&world, &[("log", &log), ("login", &said)]);
}

#[test]
fn the_browser_may_come_back_over_either_loopback_address() {
    // What `localhost` means is for the browser to choose.
    for host in ["127.0.0.1", "[::1]"] {
        let world = World::new();
        let text = config(&world, "authorization_code", "");
        let login = Login::start(&write(&world, &text), &["erp"]);
        let back = come_back(&login, ERP);
        assert!(back.starts_with("http://localhost:"), "{back}");
        assert_eq!(visit(&back.replacen("localhost", host, 1)).status, 200, "{host}");
        let (status, said) = login.wait();
        assert!(status.success(), "{said}");
    }
}

#[test]
fn what_must_be_set_up_is_printed_and_a_registration_that_does_not_fit_leads_there() {
    let world = World::new();
    let text = config(&world, "authorization_code", "");
    write(&world, &text);
    let shown = submitd(&world, &["login", "erp", "--setup"]);
    assert!(shown.status.success());
    let printed = self::text(&shown);
    says(&printed, &[PUBLIC, "Set-CASMailbox", ERP, "SmtpClientAuthenticationDisabled $false"]);
    assert_eq!(world.sandbox.statistics().token_requests, 0, "nobody was asked");
    let keys = format!("client_secret = \"{}\"", Options::default().client_secret.expose());
    let text = config(&world, "authorization_code", &keys);
    let login = Login::start(&write(&world, &text), &["erp"]);
    visit(&come_back(&login, ERP));
    let (status, said) = login.wait();
    assert_eq!(status.code(), Some(1));
    says(&said, &["AADSTS700025", "submitd login erp --setup"]);
}

#[test]
fn browser_without_a_daemon_serves_the_next_start() {
    let world = World::new();
    let text = config(&world, "authorization_code", "");
    let login = Login::start(&write(&world, &text), &["erp"]);
    visit(&come_back(&login, ERP));
    let said = login.good();
    says(&said, &["no daemon was reached, so it is stored in"]);
    let daemon = world.start(&text).run();
    send(&daemon, "one");
    assert_eq!(world.messages(1).len(), 1);
    nothing_was_shown(&world, &[("log", &daemon.log.text()), ("login", &said)]);
}

#[test]
fn device_code_while_the_daemon_runs() {
    let world = World::new();
    world.faults(|faults| {
        faults.sign_in.device_interval = Some(1);
        faults.sign_in.slow_down = Switch::Times(1);
    });
    let text = config(&world, "device_code", "");
    let daemon = world.start(&text).run();
    send(&daemon, "waits");
    let login = Login::start(&write(&world, &text), &["erp"]);
    let (place, code) = login.code();
    let fields = [("code", code.as_str()), ("user", ERP), ("decision", "accept")];
    says(&post(&place, &fields).body, &["You have signed in"]);
    let said = login.good();
    assert_eq!(world.messages(1).len(), 1);
    nothing_was_shown(&world, &[("log", &daemon.log.text()), ("login", &said)]);
}

#[test]
fn device_code_without_a_daemon_and_refusals_that_say_what_to_do() {
    let world = World::new();
    world.faults(|faults| faults.sign_in.device_interval = Some(1));
    let text = config(&world, "device_code", "");
    let file = write(&world, &text);
    let declined = Login::start(&file, &["erp"]);
    let (place, code) = declined.code();
    post(&place, &[("code", &code), ("user", ERP), ("decision", "cancel")]);
    let said = declined.failed();
    says(&said, &["declined", "accept what application", "submitd login erp"]);

    let login = Login::start(&file, &["erp"]);
    let (place, code) = login.code();
    let wrong = post(&place, &[("code", "WRONG"), ("user", ERP), ("decision", "accept")]);
    says(&wrong.body, &["Check the code and try again"]);
    post(&place, &[("code", &code), ("user", ERP), ("decision", "accept")]);
    login.good();
    let daemon = world.start(&text).run();
    send(&daemon, "one");
    assert_eq!(world.messages(1).len(), 1);

    world.faults(|faults| {
        faults.sign_in.device_interval = Some(1);
        faults.sign_in.device_life = Some(0);
    });
    let said = Login::start(&file, &["erp"]).failed();
    says(&said, &["the code was not entered in time", "begin again: submitd login erp"]);
}

#[test]
fn paste_of_a_page_that_did_not_load_and_of_the_code_alone() {
    for whole in [true, false] {
        let world = World::new();
        let text = config(&world, "authorization_code", "");
        let daemon = whole.then(|| world.start(&text).run());
        let mut login = Login::start(&write(&world, &text), &["erp", "--paste"]);
        let address = login.address();
        login.paste(&address);
        login.log.wait_for("not the address that the browser ends at");
        login.paste("http://localhost:1/?code=c&state=wrong");
        let back = come_back(&login, ERP);
        let port = port(&back);
        assert!(port >= 49152, "whoever listens on a usual port must not get the code");
        login.paste(&back.replace("state=", "state=x"));
        login.log.wait_for("state is not ours");
        let code = url::Url::parse(&back).unwrap();
        let code = code.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        login.paste(if whole { &back } else { &code });
        let said = login.good();
        let daemon = daemon.unwrap_or_else(|| world.start(&text).run());
        send(&daemon, "one");
        assert_eq!(world.messages(1).len(), 1);
        nothing_was_shown(&world, &[("log", &daemon.log.text()), ("login", &said)]);
    }
}

#[test]
fn a25_answers_that_are_not_ours_change_nothing_and_the_right_one_still_counts() {
    let world = World::new();
    let text = config(&world, "authorization_code", "");
    let login = Login::start(&write(&world, &text), &["erp"]);
    let back = come_back(&login, ERP);
    let port = port(&back);
    // Wrong state: of another sign-in, none, cut.
    for query in ["code=stolen&state=guess", "code=stolen", "state=guess", ""] {
        let page = visit(&format!("http://localhost:{port}/?{query}"));
        assert_eq!(page.status, 400, "{query}");
        says(&page.body, &["Nothing was changed"]);
    }
    // Mix-up: another provider's name in an answer with our state.
    let page = visit(&format!("{back}&iss=https%3A%2F%2Fevil.example"));
    assert_eq!(page.status, 400);
    says(&page.body, &["another provider"]);
    // GET only, on this path only, under our own name only (DNS rebinding).
    assert_eq!(visit_as("POST", &back, None).status, 405);
    assert_eq!(visit_as("PUT", &back, None).status, 405);
    assert_eq!(visit_as("GET", &back, Some("evil.example")).status, 421);
    assert_eq!(visit_as("GET", &back, Some(&format!("evil.example:{port}"))).status, 421);
    assert_eq!(visit(&back.replace("/?", "/other?")).status, 404);
    let before = world.sandbox.statistics().token_requests;
    assert_eq!(before, 0, "no code of theirs was redeemed");
    let page = visit(&back);
    assert_eq!(page.status, 200, "{}", page.body);
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(page.headers[name], value);
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    login.good();
}

#[test]
fn a25_a_code_serves_once() {
    let world = World::new();
    let text = config(&world, "authorization_code", "");
    let file = write(&world, &text);
    let first = Login::start(&file, &["erp"]);
    let back = come_back(&first, ERP);
    visit(&back);
    assert!(first.wait().0.success());
    let sealed = std::fs::read(world.path().join("state/tokens")).unwrap();
    // The code of the first sign-in, pasted into a second one.
    let code = url::Url::parse(&back).unwrap();
    let code = code.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let mut second = Login::start(&file, &["erp", "--paste"]);
    second.address();
    second.paste(&code);
    let said = second.failed();
    says(&said, &["AADSTS54005"]);
    assert!(!said.contains(&code), "{said}");
    assert_eq!(std::fs::read(world.path().join("state/tokens")).unwrap(), sealed, "kept");
}

#[test]
fn a25_a_code_of_another_attempt_fails_at_the_verifier() {
    let world = World::new();
    let text = config(&world, "authorization_code", "");
    let file = write(&world, &text);
    let victim = Login::start(&file, &["erp", "--paste"]);
    let back = come_back(&victim, ERP);
    let code = url::Url::parse(&back).unwrap();
    let code = code.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let mut other = Login::start(&file, &["erp", "--paste"]);
    other.address();
    other.paste(&code);
    other.failed();
    assert!(!world.path().join("state/tokens").exists(), "nothing was kept");
}

#[test]
fn a25_the_wrong_user_is_refused_and_a_shared_mailbox_names_who_signs_in() {
    let world = world_of(|sign_ins| {
        sign_ins.people.push("ann@contoso.com".into());
        sign_ins.delegates.push(("ann@contoso.com".into(), ERP.into()));
    });
    world.faults(|faults| faults.sign_in.user = Some("ann@contoso.com".into()));
    let text = config(&world, "authorization_code", "");
    let login = Login::start(&write(&world, &text), &["erp"]);
    let page = visit(&come_back(&login, ERP));
    assert_eq!(page.status, 400);
    says(&page.body, &["ann@contoso.com signed in, and not erp@contoso.com"]);
    let said = login.failed();
    says(&said, &["username =", "private window"]);
    assert!(!world.path().join("state/tokens").exists(), "nothing was kept");

    let text = config(&world, "authorization_code", "username = \"Ann@contoso.com\"");
    let login = Login::start(&write(&world, &text), &["erp"]);
    assert!(login.address().contains("login_hint=Ann%40contoso.com"));
    visit(&come_back(&login, "ann@contoso.com"));
    login.good();
    let daemon = world.start(&text).run();
    send(&daemon, "from the shared mailbox");
    assert_eq!(world.messages(1)[0].mailbox, ERP);
}

#[test]
fn a25_a_script_in_a_refusal_stays_text() {
    let world = World::new();
    let script = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>";
    world.faults(|faults| faults.sign_in.error_description = Some(script.into()));
    let text = config(&world, "authorization_code", "");
    let login = Login::start(&write(&world, &text), &["erp"]);
    let page = visit(&decide(&login.address(), ERP, "cancel").location());
    assert_eq!(page.status, 400);
    assert!(!page.body.contains("<script") && !page.body.contains("<img"), "{}", page.body);
    says(&page.body, &["It did not work", "&lt;script&gt;"]);
    login.failed();
}

#[test]
fn a_failed_sign_in_keeps_the_old_one_and_a_good_one_replaces_it() {
    let world = World::new();
    let text = config(&world, "authorization_code", "");
    let file = write(&world, &text);
    let first = Login::start(&file, &["erp"]);
    visit(&come_back(&first, ERP));
    assert!(first.wait().0.success());
    let mut daemon = world.start(&text).run();
    send(&daemon, "one");
    assert_eq!(world.messages(1).len(), 1);
    let again = Login::start(&file, &["erp"]);
    visit(&decide(&again.address(), ERP, "cancel").location());
    let said = again.failed();
    says(&said, &["AADSTS65004", "submitd login erp"]);
    send(&daemon, "two");
    assert_eq!(world.messages(2).len(), 2);
    // Revoked at the provider: mail waits until somebody signs in again.
    world.sandbox.revoke_refresh_tokens();
    assert!(daemon.stop().success());
    let daemon = world.start(&text).run();
    send(&daemon, "three");
    let told = daemon.log.wait_for("AADSTS50173");
    assert!(told.contains("submitd login erp"), "{told}");
    let login = Login::start(&file, &["erp"]);
    visit(&come_back(&login, ERP));
    login.good();
    assert_eq!(world.messages(3).len(), 3);
}

#[test]
fn a_sign_in_that_never_comes_back_ends_with_a_hint() {
    let world = World::new();
    let keys = "redirect_uri = \"http://localhost/not-registered\"";
    let text = config(&world, "authorization_code", keys);
    let login = Login::start(&write(&world, &text), &["erp", "--wait", "1s"]);
    let page = visit(&login.address());
    assert_eq!(page.status, 400, "shown to the person, never redirected");
    says(&page.body, &["AADSTS50011"]);
    let said = login.failed();
    says(&said, &["nobody came back", "AADSTS50011 means that the redirect URI is not registered"]);
    let strange = config(&world, "authorization_code", "")
        .replace(PUBLIC, "00000000-0000-0000-0000-000000000000");
    let login = Login::start(&write(&world, &strange), &["erp", "--wait", "1s"]);
    let page = visit(&login.address());
    assert_eq!(page.status, 400);
    says(&page.body, &["AADSTS700016"]);
}

#[test]
fn what_cannot_be_signed_in_for_is_said() {
    let world = World::new();
    let file = write(&world, &world.config(&World::listener("")));
    let (status, said) = Login::start(&file, &["erp"]).wait();
    assert_eq!(status.code(), Some(64));
    says(&said, &["nobody signs in for account \"erp\""]);
    let (status, said) = Login::start(&file, &["crm"]).wait();
    assert_eq!(status.code(), Some(64));
    says(&said, &["there is no account \"crm\"; there is erp"]);
}

#[test]
fn registrations_that_do_not_fit_name_what_to_change() {
    let options = Options::default();
    let secret = format!("client_secret = \"{}\"", options.client_secret.expose());
    let web = "redirect_uri = \"http://localhost/submitd/callback\"";
    for (keys, id, code) in [
        (secret.clone(), PUBLIC, "AADSTS700025"),
        (web.to_owned(), options.client_id.as_str(), "AADSTS7000218"),
    ] {
        let world = World::new();
        let text = config(&world, "authorization_code", &keys).replace(PUBLIC, id);
        let login = Login::start(&write(&world, &text), &["erp"]);
        visit(&come_back(&login, ERP));
        let said = login.failed();
        says(&said, &[code, "remedy:"]);
        assert!(!said.contains(options.client_secret.expose()));
    }
}

#[test]
fn b15_killed_between_receipt_and_store_the_old_sign_in_still_works() {
    let world = World::new();
    let text = config(&world, "authorization_code", "");
    let file = write(&world, &text);
    let first = Login::start(&file, &["erp"]);
    visit(&come_back(&first, ERP));
    assert!(first.wait().0.success());
    let before = std::fs::read(world.path().join("state/tokens")).unwrap();
    // The second sign-in is killed when it writes: what it got is lost, what was there is whole.
    let killed = Login::killed_at_rename(&file, &["erp"]);
    let back = come_back(&killed, ERP);
    let _ = std::panic::catch_unwind(|| visit(&back));
    let (status, _) = killed.wait();
    assert!(!status.success());
    assert_eq!(std::fs::read(world.path().join("state/tokens")).unwrap(), before);
    let daemon = world.start(&text).run();
    send(&daemon, "one");
    assert_eq!(world.messages(1).len(), 1);
}

#[test]
fn revoke_forgets_here_and_there() {
    let world = World::new();
    let url = format!("{}/google/revoke", world.sandbox.web_url());
    let text = config(&world, "authorization_code", "") + &format!("revoke_url = \"{url}\"\n");
    let file = write(&world, &text);
    for with_daemon in [false, true] {
        let login = Login::start(&file, &["erp"]);
        visit(&come_back(&login, ERP));
        assert!(login.wait().0.success());
        let daemon = with_daemon.then(|| world.start(&text).run());
        let revoked = submitd(&world, &["account", "revoke", "erp"]);
        assert!(revoked.status.success(), "{}", self::text(&revoked));
        says(&self::text(&revoked), &["is forgotten here and taken back at the provider"]);
        if let Some(daemon) = &daemon {
            send(daemon, "waits");
            daemon.log.wait_for("account paused, its mail is kept");
        }
        let again = submitd(&world, &["account", "revoke", "erp"]);
        says(&self::text(&again), &["nobody is signed in for account \"erp\""]);
    }
    assert!(world.sandbox.messages().is_empty());
    // Entra has no such endpoint: what an administrator does is said.
    let text = config(&world, "authorization_code", "");
    let login = Login::start(&write(&world, &text), &["erp"]);
    visit(&come_back(&login, ERP));
    assert!(login.wait().0.success());
    let revoked = submitd(&world, &["account", "revoke", "erp"]);
    says(&self::text(&revoked), &["Revoke sessions", "Revoke-MgUserSignInSession"]);
}

#[test]
fn a_daemon_with_another_configuration_refuses_what_is_not_for_it() {
    let world = World::new();
    let text = config(&world, "authorization_code", "");
    let daemon = world.start(&text).run();
    let other = text.replace("[account.up", "username = \"other@contoso.com\"\n[account.up");
    let login = Login::start(&write(&world, &other), &["erp"]);
    world.faults(|faults| faults.sign_in.user = Some(ERP.into()));
    let (status, said) = {
        visit(&come_back(&login, ERP));
        login.wait()
    };
    assert_eq!(status.code(), Some(1), "{said}");
    says(&said, &["erp@contoso.com signed in, and not other@contoso.com"]);
    drop(daemon);
}

#[test]
fn a_socket_that_is_off_needs_a_reload() {
    let world = World::new();
    let text = config(&world, "authorization_code", "").replacen(
        "[queue]",
        "[admin]\nsocket = \"off\"\n[queue]",
        1,
    );
    let daemon = world.start(&text).run();
    send(&daemon, "waits");
    let login = Login::start(&write(&world, &text), &["erp"]);
    visit(&come_back(&login, ERP));
    let said = login.good();
    says(&said, &["one that runs all the same needs a reload"]);
    daemon.signal("HUP");
    assert_eq!(world.messages(1).len(), 1);
}

/// An account at a provider that is not ours.
fn elsewhere(world: &World, oidc: &Oidc, grant: &str, keys: &str) -> String {
    let issuer = &oidc.issuer;
    format!(
        "state_dir = \"{dir}/state\"\nhostname = \"relay.test\"\n[queue]\nschedule = [\"1s\"]\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nlevel = \"debug\"\n\
         [[account]]\nname = \"erp\"\nmailbox = \"{ERP}\"\npreset = \"generic\"\ngrant = \"{grant}\"\n{keys}\n\
         [account.upstream]\nhost = \"localhost\"\nport = {port}\n\
         [account.oauth]\ntoken_url = \"{issuer}/token\"\n",
        dir = world.path().display(),
        port = world.sandbox.smtp_addr().port(),
    )
}

/// The same for somebody who signs in.
fn person_elsewhere(world: &World, oidc: &Oidc, grant: &str) -> String {
    let issuer = &oidc.issuer;
    let keys = "client_id = \"desktop\"\nredirect_uri = \"http://127.0.0.1/back\"";
    elsewhere(world, oidc, grant, keys)
        + &format!(
            "scope = \"openid email offline_access\"\nissuer = \"{issuer}\"\n\
             authorize_url = \"{issuer}/auth?prompt=consent\"\ndevice_url = \"{issuer}/device/auth\"\n\
             revoke_url = \"{issuer}/token/revocation\"\n"
        )
}

/// Each start takes a refresh token that came back before: one that is used twice ends the whole grant.
fn rotates(world: &World, oidc: &Oidc, text: &str) {
    for _ in 0..3 {
        let mut daemon = world.start(text).run();
        daemon.log.wait_for("token obtained");
        assert!(daemon.stop().success());
    }
    assert!(!oidc.log.text().contains("grant.revoked"), "{}", oidc.log.text());
}

#[test]
fn another_provider_takes_our_code_with_pkce_and_rotates_our_tokens() {
    let (world, oidc) = (World::new(), Oidc::start());
    let text = person_elsewhere(&world, &oidc, "authorization_code");
    let daemon = world.start(&text).run();
    let login = Login::start(&write(&world, &text), &["erp"]);
    let seen = chromium(&[
        &["open", &login.address()],
        &["fill", "login", ERP],
        &["fill", "password", "any"],
        &["press", "login-submit"],
        &["await", "Authorize"],
        &["press", "login-submit"],
        &["await", "You are signed in"],
    ]);
    assert!(seen.url.contains("iss="), "RFC 9207: {seen:?}");
    let said = login.good();
    says(&said, &["signed in as erp@contoso.com", "the account can send"]);
    drop(daemon);
    rotates(&world, &oidc, &text);
    let revoked = submitd(&world, &["account", "revoke", "erp"]);
    says(&self::text(&revoked), &["taken back at the provider"]);
}

#[test]
fn another_provider_takes_our_device_code() {
    let (world, oidc) = (World::new(), Oidc::start());
    let text = person_elsewhere(&world, &oidc, "device_code");
    let login = Login::start(&write(&world, &text), &["erp"]);
    let (place, code) = login.code();
    chromium(&[
        &["open", &place],
        &["fill", "user_code", &code],
        &["submit"],
        &["await", "device"],
        &["submit"],
        &["fill", "login", ERP],
        &["fill", "password", "any"],
        &["press", "login-submit"],
        &["await", "Authorize"],
        &["press", "login-submit"],
        &["await", "Success"],
    ]);
    login.good();
    rotates(&world, &oidc, &text);
}

#[test]
fn another_provider_takes_our_client_credentials() {
    let (world, oidc) = (World::new(), Oidc::start());
    let keys = "client_id = \"server\"\nclient_secret = \"a secret that only we know\"";
    let text = elsewhere(&world, &oidc, "client_credentials", keys) + "scope = \"openid\"\n";
    let daemon = world.start(&text).run();
    daemon.log.wait_for("token obtained");
    oidc.log.wait_for("grant.success client_credentials");
}
