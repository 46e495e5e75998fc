//! The four worlds: what vendors tell their customers to set up in Microsoft 365, put in as it stands.

use crate::support::browser::chromium;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, binary};
use crate::support::mails;
use crate::support::overheard::Heard;
use crate::support::sign_in::Login;
use crate::support::world::World;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use submitd::sandbox::faults::{Aadsts, Fault};
use submitd::sandbox::{Identities, Limits, Mailbox, Options};

const APP: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const PUBLIC: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const SECRET: &str = "Zk48Q~sandbox.only-not_a.real~secret-7dQ";
const ERP: &str = "erp@contoso.com";

/// A configuration of one account with these keys, and these in `[account.oauth]`; its file.
fn configure(world: &World, keys: &str, oauth: &str) -> (PathBuf, String) {
    let text = world.account(keys, oauth);
    let path = world.path().join("submitd.toml");
    std::fs::write(&path, &text).unwrap();
    (path, text)
}

fn tenant(world: &World) -> String {
    format!("token_url = \"{}\"", world.sandbox.token_url())
}

fn secret_file(world: &World, name: &str, text: &str) {
    let path = world.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn send(daemon: &Daemon, sender: &str, subject: &str) {
    let body = String::from_utf8(mails::plain(subject)).unwrap();
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.mail(sender, "ann@example.org", &body).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// A test mail by `submitd send`, as an administrator does it.
fn test_mail(world: &World, daemon: &Daemon, text: &str) {
    let here = text.replace("127.0.0.1:0", &daemon.address().to_string());
    let file = world.path().join("here.toml");
    std::fs::write(&file, here).unwrap();
    let sent =
        Command::new(binary()).args(["send", "ann@example.org", "--config"]).arg(file).heard();
    assert!(sent.status.success(), "{sent:?}");
}

fn says(text: &str, words: &[&str]) {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat.contains(word), "{word:?} is not in:\n{text}");
    }
}

fn check(file: &PathBuf) -> String {
    let output = Command::new(binary()).args(["check", "--config"]).arg(file).heard();
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}

/// Platform Web with a redirect URI and a client secret, delegated `SMTP.Send` and `offline_access`: three
/// fields, a sign-in with Microsoft, a test mail, and refresh for ever.
#[test]
fn lms_web_consent() {
    let world = World::new();
    secret_file(&world, "lms.secret", SECRET);
    let keys = format!(
        "mailbox = \"{ERP}\"\ngrant = \"authorization_code\"\ntenant = \"contoso.onmicrosoft.com\"\n\
         client_id = \"{APP}\"\nclient_secret_file = \"lms.secret\"\n\
         redirect_uri = \"http://localhost/submitd/callback\""
    );
    let (file, text) = configure(&world, &keys, &tenant(&world));
    let mut daemon = world.start(&text).run();
    let login = Login::start(&file, &["erp"]);
    let address = login.address();
    let seen = chromium(&[
        &["open", &address],
        &["fill", "user", ERP],
        &["press", "accept"],
        &["await", "You are signed in"],
    ]);
    assert!(seen.url.contains("/submitd/callback?code="), "{seen:?}");
    says(&seen.text, &["submitd can send as erp@contoso.com now"]);
    let said = login.good();
    says(&said, &["signed in as erp@contoso.com"]);
    test_mail(&world, &daemon, &text);
    assert_eq!(world.messages(1)[0].mailbox, ERP);
    // Every start refreshes with what came back last, for ever.
    let mut log = daemon.log.text();
    for count in 2..5 {
        assert!(daemon.stop().success());
        daemon = world.start(&text).run();
        send(&daemon, ERP, "later");
        assert_eq!(world.messages(count).len(), count);
        log.push_str(&daemon.log.text());
    }
    for token in world.sandbox.tokens() {
        assert!(!log.contains(token.expose()) && !said.contains(token.expose()));
    }
    assert!(!log.contains(SECRET) && !said.contains(SECRET));
    // The platform wants the secret; where it was forgotten the remedy says so.
    let (file, _) = configure(
        &world,
        &keys.replace("client_secret_file = \"lms.secret\"\n", ""),
        &tenant(&world),
    );
    let login = Login::start(&file, &["erp"]);
    let seen = chromium(&[
        &["open", &login.address()],
        &["press", "accept"],
        &["await", "It did not work"],
    ]);
    says(&seen.text, &["AADSTS7000218"]);
    assert!(!login.wait().0.success());
}

/// Client id, tenant, secret, a user's name and password; its registration checked with the device code
/// flow; and application permissions.
#[test]
fn integration_ropc_device() {
    let world = World::new();
    let base = format!(
        "mailbox = \"{ERP}\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{APP}\"\n\
         client_secret = \"{SECRET}\"\n"
    );
    // The password, and what becomes of it with multi-factor authentication.
    let password = Identities::default().password.expose().to_owned();
    let keys = format!("{base}grant = \"password\"\npassword = \"{password}\"");
    let (file, text) = configure(&world, &keys, &tenant(&world));
    let mut daemon = world.start(&text).run();
    send(&daemon, ERP, "by password");
    assert_eq!(world.messages(1).len(), 1);
    assert!(daemon.stop().success());
    world.faults(|faults| faults.token.error = Some(Fault::always(Aadsts(50076))));
    says(&check(&file), &["AADSTS50076", "multi-factor authentication", "client_credentials"]);
    // The device code, entered in a browser.
    world.faults(|faults| faults.sign_in.device_interval = Some(1));
    let keys = base.replace(APP, PUBLIC).replace(&format!("client_secret = \"{SECRET}\"\n"), "");
    let (file, text) =
        configure(&world, &format!("{keys}grant = \"device_code\""), &tenant(&world));
    let mut daemon = world.start(&text).run();
    let login = Login::start(&file, &["erp"]);
    let (place, code) = login.code();
    chromium(&[
        &["open", &place],
        &["fill", "code", &code],
        &["fill", "user", ERP],
        &["press", "accept"],
        &["await", "You have signed in"],
    ]);
    login.good();
    send(&daemon, ERP, "by device code");
    assert_eq!(world.messages(2).len(), 2);
    assert!(daemon.stop().success());
    // Application permissions and a service principal.
    let keys = format!("{base}grant = \"client_credentials\"");
    let (_, text) = configure(&world, &keys, &tenant(&world));
    let mut daemon = world.start(&text).run();
    send(&daemon, ERP, "app-only");
    assert_eq!(world.messages(3).len(), 3);
    assert!(daemon.stop().success());
}

/// No user at all, by secret and by certificate; and where there is one: the public redirect
/// `…/oauth2/nativeclient` whose address is pasted back, and a personal account.
#[test]
fn monitoring_app_only() {
    let personal = "monitoring.contoso@outlook.com";
    let mut options = Options { limits: Limits::NONE, ..Options::default() };
    options.mailboxes.push(Mailbox::new(personal));
    options.sign_ins.personal.push(personal.to_owned());
    let world = World::with(options);
    let identities = Identities::default();
    secret_file(&world, "erp.crt", &identities.certificates[0]);
    secret_file(&world, "erp.key", identities.key.expose());
    let base = format!(
        "mailbox = \"{ERP}\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{APP}\"\n\
         grant = \"client_credentials\"\n"
    );
    let mut sent = 0;
    for proof in [
        format!("client_secret = \"{SECRET}\""),
        "certificate = \"erp.crt\"\nkey = \"erp.key\"".to_owned(),
    ] {
        let (_, text) = configure(&world, &format!("{base}{proof}"), &tenant(&world));
        let mut daemon = world.start(&text).run();
        sent += 1;
        send(&daemon, ERP, "app-only");
        assert_eq!(world.messages(sent).len(), sent);
        assert!(daemon.stop().success());
    }
    // Made for Exchange Web Services: the token serves no SMTP, and the permission that does is named.
    world.faults(|faults| {
        faults.token.claims.insert("roles".into(), serde_json::json!(["full_access_as_app"]));
    });
    let keys = format!("{base}client_secret = \"{SECRET}\"");
    let (file, _) = configure(&world, &keys, &tenant(&world));
    says(&check(&file), &["full_access_as_app", "SMTP.SendAsApp"]);
    world.faults(|_| {});
    pasted_address(&world, sent + 1);
    personal_account(&world, personal, sent + 2);
}

/// The browser ends at an address that nobody here listens on; a person pastes it. The mail is the `count`th.
fn pasted_address(world: &World, count: usize) {
    let native = "redirect_uri = \"https://login.microsoftonline.com/common/oauth2/nativeclient\"";
    let base = format!(
        "mailbox = \"{ERP}\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{PUBLIC}\"\n\
         grant = \"authorization_code\"\n{native}\n"
    );
    let (file, text) = configure(world, &base, &tenant(world));
    let mut daemon = world.start(&text).run();
    let mut login = Login::start(&file, &["erp"]);
    let seen = chromium(&[
        &["open", &login.address()],
        &["fill", "user", ERP],
        &["press", "accept"],
        &["end", "/common/oauth2/nativeclient"],
    ]);
    assert!(seen.url.contains("/common/oauth2/nativeclient?code="), "{seen:?}");
    login.paste(&seen.url);
    login.good();
    send(&daemon, ERP, "pasted");
    assert_eq!(world.messages(count).len(), count);
    assert!(daemon.stop().success());
}

/// Its tokens cannot be read, only the id token says who it was.
fn personal_account(world: &World, personal: &str, count: usize) {
    let consumers = world.sandbox.token_url().replace("contoso.onmicrosoft.com", "consumers");
    let keys = format!(
        "preset = \"outlook\"\nmailbox = \"{personal}\"\nclient_id = \"{PUBLIC}\"\n\
         grant = \"authorization_code\""
    );
    let (file, text) = configure(world, &keys, &format!("token_url = \"{consumers}\""));
    let mut daemon = world.start(&text).run();
    let login = Login::start(&file, &["erp"]);
    let seen = chromium(&[
        &["open", &login.address()],
        &["press", "accept"],
        &["await", "You are signed in"],
    ]);
    says(&seen.text, &[personal]);
    let said = login.good();
    says(&said, &[&format!("signed in as {personal}")]);
    send(&daemon, personal, "personal");
    assert_eq!(world.messages(count)[count - 1].mailbox, personal);
    assert!(daemon.stop().success());
}
