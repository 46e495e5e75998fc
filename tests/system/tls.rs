//! Clients inside TLS: STARTTLS, from the first octet, and certificates that change while we run.

use crate::support::daemon::{Daemon, PATIENCE, Start, binary};
use crate::support::overheard::Heard;
use crate::support::port::Port;
use crate::support::programs::{PASSWORD, USER, run};
use crate::support::talk::{self, Pair, tls};
use crate::support::world::{RUNTIME, World};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

fn user() -> String {
    format!("[[user]]\nname = \"{USER}\"\npassword = \"{PASSWORD}\"\n")
}

fn received(world: &World, count: usize) -> String {
    let messages = world.messages(count);
    messages[count - 1].text().into_owned()
}

/// STARTTLS to the end of the handshake.
fn starttls(address: SocketAddr, pairs: &[&Pair]) -> talk::Talk<talk::Secure> {
    let mut client = talk::tcp(address);
    assert!(client.reply().unwrap().starts_with("220 "));
    assert!(client.say("EHLO client").contains("STARTTLS"));
    assert!(client.say("STARTTLS").starts_with("220 2.0.0 "));
    client.secured(pairs).unwrap()
}

#[test]
fn a03_a04_nothing_from_before_the_handshake_counts_after_it() {
    let world = World::new();
    let pair = Pair::new();
    pair.write(world.path());
    let listener = World::listener(&tls("starttls"));
    let daemon = world.start(&world.config(&format!("{listener}{}", user()))).run();
    let mut client = talk::tcp(daemon.address());
    client.reply().unwrap();
    assert!(client.say("STARTTLS now").starts_with("501"));
    assert!(client.say("EHLO before").contains("STARTTLS"));
    // On loopback a login in the clear is taken, and forgotten with everything else.
    assert!(client.say("AUTH PLAIN AHNjYW5uZXIAczNjcmV0IHdvcmQ=").starts_with("235"));
    assert!(client.say("MAIL FROM:<erp@contoso.com>").starts_with("250"));
    client.write(b"STARTTLS\r\nRCPT TO:<evil@example.org>\r\nNOOP\r\n");
    assert!(client.reply().unwrap().starts_with("220 2.0.0 "));
    let mut client = client.secured(&[&pair]).unwrap();
    assert!(client.say("RCPT TO:<ann@example.org>").starts_with("503"), "the sender is forgotten");
    assert!(!client.say("EHLO after").contains("STARTTLS"), "TLS stands");
    assert!(client.say("STARTTLS").starts_with("503"));
    client.mail("after");
    let text = received(&world, 1);
    assert!(text.contains("from client ([127.0.0.1])"), "{text}");
    assert!(text.contains(" with ESMTPS id "), "the login is forgotten: {text}");
}

#[test]
fn a22_a_listener_for_the_network_takes_logins_inside_tls_only() {
    let world = World::new();
    let pair = Pair::new();
    pair.write(world.path());
    let listener = |more: &str| {
        let keys = format!("[[listener]]\naddress = \"0.0.0.0:0\"\n{more}\n{}", user());
        world.config(&keys)
    };
    let refused = |config: &str, words: &str| {
        let start = world.start(config);
        let output = start.command().0.stderr(Stdio::piped()).heard();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains(words), "{text}");
    };
    let clients = "clients = \"127.0.0.0/8\"\n";
    refused(&listener(&format!("{clients}auth = \"required\"")), "is not loopback and has no TLS");
    refused(
        &listener(&format!("{clients}{}", tls("starttls"))),
        "is not loopback and needs no login",
    );
    refused(&listener(&format!("auth = \"required\"\n{}", tls("starttls"))), "clients: is missing");
    let open = listener(&format!("{clients}allow_insecure = true"));
    let mut daemon = world.start(&open).run();
    daemon.log.wait_for("cross the network unencrypted");
    assert!(daemon.stop().success());
    let safe = listener(&format!("{clients}auth = \"required\"\n{}", tls("starttls")));
    let daemon = world.start(&safe).run();
    assert!(!daemon.log.text().contains("allow_insecure"));
    let address = SocketAddr::from(([127, 0, 0, 1], daemon.port()));
    let mut client = talk::tcp(address);
    client.reply().unwrap();
    let offers = client.say("EHLO client");
    assert!(offers.contains("STARTTLS") && !offers.contains("AUTH"), "{offers}");
    assert!(client.say("AUTH PLAIN AHNjYW5uZXIAczNjcmV0IHdvcmQ=").starts_with("538"));
    assert!(client.say("MAIL FROM:<erp@contoso.com>").starts_with("530"));
    let mut client = starttls(address, &[&pair]);
    assert!(client.say("EHLO client").contains("AUTH PLAIN"));
    assert!(client.say("MAIL FROM:<erp@contoso.com>").starts_with("530"));
    assert!(client.say("AUTH PLAIN AHNjYW5uZXIAczNjcmV0IHdvcmQ=").starts_with("235"));
    client.mail("inside");
    assert!(received(&world, 1).contains(" with ESMTPSA id "));
}

/// The whole way of clients that are not ours.
#[test]
fn programs_that_speak_tls_are_served() {
    let world = World::new();
    let pair = Pair::new();
    pair.write(world.path());
    let ca = world.path().join("relay.pem");
    let second = "[[listener]]\naddress = \"127.0.0.2:0\"\n";
    let listeners = format!("{}{second}{}", World::listener(&tls("starttls")), tls("implicit"));
    let daemon = world.start(&world.config(&format!("{listeners}{}", user()))).run();
    let [starttls, implicit] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
    let python = "import smtplib, ssl, sys\n\
         c = ssl.create_default_context(cafile=sys.argv[1])\n\
         s = smtplib.SMTP('localhost', int(sys.argv[2]), timeout=60)\n\
         s.starttls(context=c)\n\
         s.login(sys.argv[3], sys.argv[4])\n\
         s.sendmail('erp@contoso.com', ['ann@example.org'], 'From: erp@contoso.com\\r\\n\\r\\npython\\r\\n')\n\
         s.quit()\n";
    let port = starttls.port().to_string();
    let python =
        run(Command::new("python3").args(["-c", python]).arg(&ca).args([&port, USER, PASSWORD]));
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    assert!(received(&world, 1).contains(" with ESMTPSA id "));
    let mail = world.path().join("mail");
    std::fs::write(&mail, "From: erp@contoso.com\r\n\r\ncurl\r\n").unwrap();
    let url = format!("smtps://localhost:{}", implicit.port());
    let resolve = format!("localhost:{}:127.0.0.2", implicit.port());
    let curl = run(Command::new("curl")
        .args(["--silent", "--show-error", "--url", &url, "--resolve", &resolve])
        .args(["--mail-from", "erp@contoso.com", "--mail-rcpt", "ann@example.org"])
        .arg("--cacert")
        .arg(&ca)
        .arg("--upload-file")
        .arg(&mail));
    assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    assert!(received(&world, 2).contains(" with ESMTPS id "));
    lettre(starttls.port(), pair.pem());
    assert!(received(&world, 3).contains(" with ESMTPSA id "));
    for version in ["-tls1_2", "-tls1_3"] {
        let connect = format!("127.0.0.1:{port}");
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &connect, "-starttls", "smtp", version, "-brief"]);
        let openssl = run(openssl.arg("-CAfile").arg(&ca).stdin(Stdio::null()));
        let text = String::from_utf8_lossy(&openssl.stderr).into_owned();
        assert!(text.contains("Verification: OK"), "{version}: {text}");
    }
}

fn lettre(port: u16, ca: &str) {
    use lettre::transport::smtp::authentication::Credentials;
    use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
    use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
    // Its pool is a task of the runtime, from the first to the last.
    let _inside = RUNTIME.enter();
    let certificate = Certificate::from_pem(ca.as_bytes()).unwrap();
    let parameters = TlsParameters::builder("localhost".to_owned())
        .add_root_certificate(certificate)
        .build_rustls()
        .unwrap();
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("localhost")
        .port(port)
        .tls(Tls::Required(parameters))
        .credentials(Credentials::new(USER.to_owned(), PASSWORD.to_owned()))
        .build();
    let message = Message::builder()
        .from("erp@contoso.com".parse().unwrap())
        .to("ann@example.org".parse().unwrap())
        .body("lettre".to_owned())
        .unwrap();
    RUNTIME.block_on(transport.send(message)).unwrap();
}

#[test]
fn a_certificate_is_changed_while_running_and_a_broken_one_is_not_taken() {
    let world = World::new();
    let pairs = [Pair::new(), Pair::new(), Pair::new(), Pair::new()];
    let known: Vec<&Pair> = pairs.iter().collect();
    let [first, second, third, fourth] = &pairs;
    first.write(world.path());
    let config = world.config(&World::listener(&tls("implicit")));
    let mut daemon = world.start(&config).run();
    let shown = |daemon: &Daemon, pair: &Pair| {
        let mut client = talk::implicit(daemon.address(), &known).unwrap();
        assert!(client.reply().unwrap().starts_with("220 "));
        client.was_shown(pair)
    };
    let until = |daemon: &Daemon, done: &dyn Fn() -> bool| {
        let ends = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < ends, "{}", daemon.log.text());
        }
    };
    assert!(shown(&daemon, first));
    let mut old = talk::implicit(daemon.address(), &known).unwrap();
    old.reply().unwrap();
    // The files change: a handshake a second later has the new one.
    second.write(world.path());
    until(&daemon, &|| shown(&daemon, second));
    daemon.log.wait_for("certificate changed");
    old.mail("an open session stays");
    // A broken one: told once, the old one stays.
    std::fs::write(world.path().join("relay.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    until(&daemon, &|| {
        assert!(shown(&daemon, second));
        daemon.log.text().contains("new certificate refused, the old one stays")
    });
    daemon.signal("HUP");
    daemon.log.wait_for("reload refused, the old configuration stays");
    daemon.wait_state("READY=1");
    assert!(shown(&daemon, second));
    // SIGHUP takes it at once.
    third.write(world.path());
    daemon.signal("HUP");
    daemon.log.wait_for("configuration reloaded");
    daemon.wait_state("READY=1");
    assert!(shown(&daemon, third));
    // A key that does not fit, then the certificate to it.
    std::fs::write(world.path().join("relay.pem"), fourth.pem()).unwrap();
    until(&daemon, &|| {
        assert!(shown(&daemon, third));
        daemon.log.text().contains("belongs to another certificate")
    });
    fourth.write(world.path());
    until(&daemon, &|| shown(&daemon, fourth));
    assert!(daemon.stop().success());
}

#[test]
fn a_client_that_never_shakes_hands_is_let_go_and_plain_smtp_is_no_handshake() {
    let world = World::new();
    Pair::new().write(world.path());
    let keys = format!("command_timeout = \"1s\"\n{}", tls("implicit"));
    let daemon = world.start(&world.config(&World::listener(&keys))).run();
    let mut silent = talk::tcp(daemon.address());
    assert!(silent.reply().is_err(), "no greeting in the clear");
    daemon.log.wait_for("no TLS handshake within 1 s");
    let mut plain = talk::tcp(daemon.address());
    plain.write(b"EHLO client\r\n");
    while let Ok(reply) = plain.reply() {
        assert!(!reply.starts_with("220"), "{reply}");
    }
    daemon.log.wait_for("TLS handshake of a client failed");
}

#[test]
fn a18_the_surplus_hears_421_inside_tls_too_and_strangers_get_no_handshake() {
    let world = World::new();
    let pair = Pair::new();
    pair.write(world.path());
    let full = format!("max_connections = 1\n{}", tls("implicit"));
    let strange = format!(
        "[[listener]]\naddress = \"127.0.0.2:0\"\nclients = \"192.0.2.0/24\"\n{}",
        tls("implicit")
    );
    let config = world.config(&format!("{}{strange}", World::listener(&full)));
    let daemon = world.start(&config).run();
    let [full, strange] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
    let mut first = talk::implicit(full, &[&pair]).unwrap();
    assert!(first.reply().unwrap().starts_with("220 "));
    // Those that never shake hands take no turn for good: their number is bounded and so is their time.
    let silent: Vec<_> = (0..20).map(|_| talk::tcp(full)).collect();
    for mut silent in silent {
        assert!(silent.reply().is_err(), "not a word in the clear");
    }
    let mut surplus = talk::implicit(full, &[&pair]).unwrap();
    let reply = surplus.reply().unwrap();
    assert!(reply.starts_with("421 4.7.0 too many connections"), "{reply}");
    assert!(surplus.reply().is_err(), "and closed");
    assert!(talk::implicit(strange, &[&pair]).is_err());
    first.mail("undisturbed");
    world.messages(1);
}

#[test]
fn a_balancers_header_comes_before_tls_and_older_versions_can_be_shut_out() {
    let world = World::new();
    let pair = Pair::new();
    pair.write(world.path());
    let balanced =
        format!("proxy_protocol = \"127.0.0.1\"\nclients = \"192.0.2.0/24\"\n{}", tls("implicit"));
    let strict = format!(
        "[[listener]]\naddress = \"127.0.0.2:0\"\ntls_min_version = \"1.3\"\n{}",
        tls("starttls")
    );
    let config = world.config(&format!("{}{strict}", World::listener(&balanced)));
    let daemon = world.start(&config).run();
    let [balanced, strict] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
    let mut client = talk::tcp(balanced);
    client.write(b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 465\r\n");
    let mut client = client.secured(&[&pair]).unwrap();
    assert!(client.reply().unwrap().starts_with("220 "));
    client.mail("through a balancer");
    assert!(received(&world, 1).contains("from client ([192.0.2.1])"));
    let connect = strict.to_string();
    for (version, is_spoken) in [("-tls1_2", false), ("-tls1_3", true)] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &connect, "-starttls", "smtp", version]);
        let output = run(openssl.stdin(Stdio::null()));
        assert_eq!(output.status.success(), is_spoken, "{version}");
    }
}

#[test]
fn health_and_send_go_through_every_kind_of_door() {
    let world = World::new();
    Pair::new().write(world.path());
    let socket = world.path().join("smtp.sock");
    let [first, second, third] = [(); 3].map(|()| Port::hold());
    let doors = [
        format!("address = \"{first}\"\n{}", tls("implicit")),
        format!("address = \"{second}\"\n{}", tls("starttls")),
        format!("address = \"unix:{}\"\n", socket.display()),
        format!("address = \"{third}\"\nproxy_protocol = \"127.0.0.0/8\"\n"),
    ];
    for (count, door) in doors.iter().enumerate() {
        let config = world.config(&format!("[[listener]]\n{door}"));
        let mut daemon = world.start(&config).run();
        let file = world.path().join("submitd.toml");
        for words in [&["health"][..], &["send", "ann@example.org"]] {
            let output = Command::new(binary()).args(words).arg("--config").arg(&file).heard();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{words:?} {door}: {text}");
        }
        world.messages(count + 1);
        assert!(daemon.stop().success());
        let health = Command::new(binary()).arg("health").arg("--config").arg(&file).heard();
        assert_eq!(health.status.code(), Some(69), "nobody is there: {door}");
    }
    assert!(!socket.exists());
}

#[test]
fn a_key_that_others_may_read_keeps_it_from_starting() {
    let world = World::new();
    Pair::new().write(world.path());
    let key = world.path().join("relay.key");
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, readable).unwrap();
    let start: Start<'_> = world.start(&world.config(&World::listener(&tls("starttls"))));
    let output = start.command().0.heard();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("relay.key can be read or written by others (mode 644); chmod 600"));
}
