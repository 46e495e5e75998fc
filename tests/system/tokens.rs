//! One token for all, renewed ahead, never over a connection that is not verified.

use crate::support::client::Client;
use crate::support::mails;
use crate::support::world::World;
use submitd::sandbox::faults::{Certificate, Fault, Faults, Switch};

#[test]
fn b14_200_clients_with_an_empty_cache_cause_one_token_request() {
    let world = World::new();
    let mut faults = Faults::default();
    faults.token.hold = true;
    world.sandbox.set_faults(faults);
    let daemon = world.daemon();
    std::thread::scope(|scope| {
        for number in 0..200 {
            let address = daemon.address();
            scope.spawn(move || {
                let body = String::from_utf8(mails::plain(&format!("m{number}"))).unwrap();
                let mut client = Client::hello(address).unwrap();
                let reply = client.mail("erp@contoso.com", "ann@example.org", &body).unwrap();
                assert!(reply.starts_with("250 2.0.0"), "{reply}");
            });
        }
    });
    world.sandbox.set_faults(Faults::default());
    assert_eq!(world.messages(200).len(), 200);
    assert_eq!(world.sandbox.statistics().token_requests, 1);
}

#[test]
fn a_token_is_renewed_ahead_of_its_end_and_mail_goes_on() {
    let world = World::new();
    let mut faults = Faults::default();
    faults.token.expires_in = Some(4);
    world.sandbox.set_faults(faults);
    let daemon = world.daemon();
    let mut client = Client::hello(daemon.address()).unwrap();
    let mut count = 0;
    // A mail after each renewal, until the first token is long dead.
    while world.sandbox.statistics().token_requests < 4 {
        let body = String::from_utf8(mails::plain(&format!("m{count}"))).unwrap();
        let reply = client.mail("erp@contoso.com", "ann@example.org", &body).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        count += 1;
        world.messages(count);
    }
    assert_eq!(world.sandbox.statistics().login_failures, 0, "an expired token was used");
}

/// B07: while `faults` hold, no AUTH is seen and the log says `word`; afterwards the mail arrives.
fn never_sees_a_token(faults: Faults, word: &str) {
    let world = World::new();
    world.sandbox.set_faults(faults);
    let config = world.config(&format!("{}[queue]\nschedule = [\"1s\"]\n", World::listener("")));
    let daemon = world.start(&config).run();
    let body = String::from_utf8(mails::plain("tls")).unwrap();
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.mail("erp@contoso.com", "ann@example.org", &body).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    daemon.log.wait_for(word);
    let seen = world.sandbox.statistics();
    assert_eq!(seen.logins + seen.login_failures + seen.auth_before_tls, 0, "a token was sent");
    assert!(world.sandbox.messages().is_empty());
    world.sandbox.set_faults(Faults::default());
    assert_eq!(world.messages(1).len(), 1, "it was retried");
}

#[test]
fn b07_an_expired_certificate_never_sees_a_token() {
    let mut faults = Faults::default();
    faults.smtp.certificate = Some(Fault::always(Certificate::Expired));
    never_sees_a_token(faults, "expired");
}

#[test]
fn b07_a_wrong_host_name_never_sees_a_token() {
    let mut faults = Faults::default();
    faults.smtp.certificate = Some(Fault::always(Certificate::WrongName));
    never_sees_a_token(faults, "certificate");
}

#[test]
fn b07_a_server_without_starttls_never_sees_a_token() {
    let mut faults = Faults::default();
    faults.smtp.no_starttls = Switch::On;
    never_sees_a_token(faults, "STARTTLS is not offered");
}

#[test]
fn b07_an_authority_nobody_knows_never_sees_a_token() {
    let mut faults = Faults::default();
    faults.smtp.certificate = Some(Fault::always(Certificate::UnknownAuthority));
    never_sees_a_token(faults, "certificate");
}

#[test]
fn b07_a_starttls_that_is_refused_never_sees_a_token() {
    let mut faults = Faults::default();
    faults.smtp.starttls_refused = Switch::On;
    never_sees_a_token(faults, "454");
}

#[test]
fn b08_text_injected_with_the_220_of_starttls_never_sees_a_token() {
    let mut faults = Faults::default();
    faults.smtp.starttls_injection = Switch::On;
    never_sees_a_token(faults, "STARTTLS");
}
