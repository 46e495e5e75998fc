//! Through real proxies: HTTP CONNECT (tinyproxy) and SOCKS5 (microsocks, Dante), and what is told where
//! they refuse, are down or hang.

use crate::support::authority::Authority;
use crate::support::client::Client;
use crate::support::daemon::binary;
use crate::support::mails;
use crate::support::overheard::Heard;
use crate::support::port::Port;
use crate::support::servers::proxy::Proxy;
use crate::support::world::World;
use std::net::TcpListener;
use std::process::Command;

const PASSWORD: &str = "planted-proxy-password";

fn world() -> (World, u16) {
    let world = World::new();
    let port = world.sandbox.smtp_addr().port();
    (world, port)
}

/// The configuration with this proxy, tried again every second.
fn config(world: &World, proxy: &str) -> String {
    let more = format!("{}[queue]\nschedule = [\"1s\"]\n", World::listener(""));
    world.config_with(&more, &format!("proxy = \"{proxy}\"\nconnect_timeout = \"2s\"\n"))
}

/// What `check` and `config show` say.
fn said(world: &World, config: &str) -> String {
    let start = world.start(config);
    let ask = |words: &[&str]| {
        let output = Command::new(binary()).args(words).arg("--config").arg(&start.config).heard();
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let said = format!("{}{}", ask(&["check"]), ask(&["config", "show"]));
    assert!(!said.contains(PASSWORD), "the password is shown:\n{said}");
    said
}

fn arrives(world: &World, config: &str) {
    let before = world.sandbox.messages().len();
    let daemon = world.start(config).run();
    let body = String::from_utf8(mails::plain("through")).unwrap();
    let mut client = Client::hello(daemon.address()).unwrap();
    client.mail("erp@contoso.com", "ann@example.org", &body).unwrap();
    world.messages(before + 1);
    assert!(!daemon.log.text().contains(PASSWORD), "the password is in the log");
}

/// The mail stays in the queue, and the log says this of the proxy.
fn waits(world: &World, config: &str, words: &[&str]) {
    let line = waits_for(world, config, "the proxy ");
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line}");
    }
}

fn waits_for(world: &World, config: &str, what: &str) -> String {
    let daemon = world.start(config).run();
    let body = String::from_utf8(mails::plain("waits")).unwrap();
    let mut client = Client::hello(daemon.address()).unwrap();
    client.mail("erp@contoso.com", "ann@example.org", &body).unwrap();
    let line = daemon.log.wait_for(what);
    assert!(!daemon.log.text().contains(PASSWORD), "the password is in the log");
    assert_eq!(world.sandbox.messages().len(), 0);
    line
}

#[test]
fn tinyproxy_connects_us_with_a_login_and_check_walks_through_it() {
    let (world, port) = world();
    let proxy = Proxy::tinyproxy(Some(("me", PASSWORD)), port);
    let config = config(&world, &format!("http://me:{PASSWORD}@127.0.0.1:{}", proxy.port));
    let said = said(&world, &config);
    let through = format!("http://127.0.0.1:{} connects us to localhost:{port}", proxy.port);
    for words in [
        &*through,
        "leads to shows a good certificate for localhost",
        "logged in with XOAUTH2",
        "me:(secret)@",
    ] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
    arrives(&world, &config);
}

#[test]
fn tinyproxy_refuses_a_wrong_password_and_a_port_and_the_mail_waits() {
    let (world, port) = world();
    let proxy = Proxy::tinyproxy(Some(("me", "another")), port);
    let wrong = config(&world, &format!("http://me:{PASSWORD}@127.0.0.1:{}", proxy.port));
    assert!(said(&world, &wrong).contains("BROKEN  proxy"));
    waits(&world, &wrong, &["it wants a user name and a password that it knows"]);
    let proxy = Proxy::tinyproxy(None, 1);
    let port = config(&world, &format!("http://127.0.0.1:{}", proxy.port));
    waits(&world, &port, &["403", "it does not allow CONNECT to localhost:", "ConnectPort"]);
}

#[test]
fn microsocks_connects_us_with_a_login_by_address_and_by_name() {
    let (world, _) = world();
    let proxy = Proxy::microsocks("me", PASSWORD);
    for scheme in ["socks5", "socks5h"] {
        arrives(
            &world,
            &config(&world, &format!("{scheme}://me:{PASSWORD}@127.0.0.1:{}", proxy.port)),
        );
    }
    let wrong = config(&world, &format!("socks5h://me:wrong@127.0.0.1:{}", proxy.port));
    assert!(said(&world, &wrong).contains("it refused user name and password"));
    let without = config(&world, &format!("socks5://127.0.0.1:{}", proxy.port));
    assert!(said(&world, &without).contains("it wants a login"));
}

#[test]
fn dante_connects_us_and_refuses_what_its_rules_forbid() {
    let (world, port) = world();
    let proxy = Proxy::dante(port);
    arrives(&world, &config(&world, &format!("socks5h://127.0.0.1:{}", proxy.port)));
    let proxy = Proxy::dante(1);
    let refused = config(&world, &format!("socks5://127.0.0.1:{}", proxy.port));
    assert!(said(&world, &refused).contains("it does not allow the connection"));
}

#[test]
fn a_proxy_that_is_down_or_hangs_is_named_and_the_mail_waits() {
    let (world, _) = world();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for scheme in ["http", "socks5h"] {
        let hangs = config(&world, &format!("{scheme}://127.0.0.1:{port}"));
        waits(&world, &hangs, &[&format!("{scheme}://127.0.0.1:{port}"), "no answer in time"]);
    }
    let gone = Port::hold();
    let down = config(&world, &format!("http://{gone}"));
    waits(&world, &down, &["refused", &gone.to_string()]);
}

#[test]
fn behind_a_proxy_the_certificate_is_verified_all_the_same() {
    let (world, port) = world();
    let proxy = Proxy::tinyproxy(None, port);
    let config = config(&world, &format!("http://127.0.0.1:{}", proxy.port));
    let config = config.replace("sandbox-ca.pem", "another-ca.pem");
    let another = Authority::make(world.path());
    std::fs::copy(another.authority, world.path().join("another-ca.pem")).unwrap();
    let said = said(&world, &config);
    assert!(said.contains("BROKEN  TLS") && !said.contains("logged in"), "{said}");
    waits_for(&world, &config, "certificate");
}
