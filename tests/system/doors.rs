//! Doors: Unix sockets, systemd's sockets, balancers, and how many come through.

use crate::support::activated::Activated;
use crate::support::daemon::PATIENCE;
use crate::support::overheard::Heard;
use crate::support::talk::{self, Talk};
use crate::support::world::World;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

#[test]
fn a_unix_socket_is_made_replaced_after_a_crash_and_taken_away() {
    let world = World::new();
    let path = world.path().join("smtp.sock");
    let keys =
        format!("[[listener]]\naddress = \"unix:{}\"\nunix_mode = \"0622\"\n", path.display());
    let config = world.config(&keys);
    let mut daemon = world.start(&config).run();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o622);
    let mut client = talk::unix(&path);
    client.reply().unwrap();
    client.mail("over a Unix socket");
    let text = world.messages(1)[0].text().into_owned();
    assert!(text.contains("Received: from client by relay.test (submitd) with ESMTP id"), "{text}");
    // A second one does not take it away from the first.
    let other = world.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let dir = world.path().display().to_string();
    let config_of_other = config.replace(&format!("{dir}/state"), &format!("{dir}/other/state"));
    let second = crate::support::daemon::Start::new(&other, &config_of_other);
    let output = second.command().0.heard();
    assert_eq!(output.status.code(), Some(75));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the socket is taken"));
    client.mail("the first goes on");
    // A reload changes the mode.
    std::fs::write(world.path().join("submitd.toml"), config.replace("0622", "0600")).unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("configuration reloaded");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // What a crash leaves behind is replaced; a clean stop leaves nothing.
    daemon.signal("KILL");
    daemon.wait();
    assert!(path.exists());
    let mut daemon = world.start(&config).run();
    let mut client = talk::unix(&path);
    client.reply().unwrap();
    client.mail("after the crash");
    assert!(daemon.stop().success());
    assert!(!path.exists());
}

#[test]
fn socket_activation_takes_a_unix_socket_too_and_leaves_it_to_systemd() {
    let world = World::new();
    let path = world.path().join("smtp.sock");
    let keys = format!("[[listener]]\naddress = \"unix:{}\"\n", path.display());
    let activated = Activated::start(&world, path.to_str().unwrap(), &world.config(&keys));
    let ends = Instant::now() + PATIENCE;
    while UnixStream::connect(&path).is_err() {
        assert!(Instant::now() < ends);
        std::thread::yield_now();
    }
    let mut client = talk::unix(&path);
    assert!(client.reply().unwrap().starts_with("220 "));
    client.mail("over systemd's socket");
    assert_eq!(world.messages(1).len(), 1);
    activated.stop();
    assert!(path.exists(), "the socket is systemd's");
}

#[test]
fn ipv6_is_served_beside_ipv4_and_each_is_told_by_its_address() {
    let world = World::new();
    let both = "[[listener]]\naddress = [\"127.0.0.1:0\", \"[::1]:0\"]\n";
    let daemon = world.start(&world.config(both)).run();
    let [four, six] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
    assert!(six.is_ipv6(), "{six}");
    for (count, address, told) in [(1, four, "[127.0.0.1]"), (2, six, "[IPv6:::1]")] {
        let mut client = talk::tcp(address);
        client.reply().unwrap();
        client.mail("by either");
        let text = world.messages(count)[count - 1].text().into_owned();
        assert!(text.contains(&format!("Received: from client ({told})")), "{text}");
    }
}

/// A version 2 header for this client.
fn version_2(client: [u16; 8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    header.extend(client.iter().flat_map(|part| part.to_be_bytes()));
    header.extend([0; 16]);
    header.extend([0x12, 0x34, 0, 25]);
    header
}

/// A connection that begins with this header.
fn through(address: SocketAddr, header: &[u8]) -> Talk<TcpStream> {
    let mut client = talk::tcp(address);
    client.write(header);
    client
}

#[test]
fn a_named_balancer_tells_the_clients_address_and_nobody_else_can() {
    let world = World::new();
    let clients =
        "clients = [\"192.0.2.0/24\", \"2001:db8::/32\"]\nmax_connections_per_client = 1\n";
    let behind = format!("proxy_protocol = \"127.0.0.1\"\n{clients}");
    let direct = "[[listener]]\naddress = \"127.0.0.2:0\"\n";
    let config = world.config(&format!("{}{direct}", World::listener(&behind)));
    let daemon = world.start(&config).run();
    let [balanced, direct] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
    // It says nothing: it is let go within the five seconds of the header, while others are served.
    let mut silent = talk::tcp(balanced);
    let one = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 25\r\n";
    let mut client = talk::tcp(balanced);
    for octet in one {
        client.write(&[*octet]);
    }
    assert!(client.reply().unwrap().starts_with("220 "));
    client.mail("version 1");
    assert!(world.messages(1)[0].text().contains("from client ([192.0.2.1])"));
    // Its address counts for the limits.
    let reply = through(balanced, one).reply().unwrap();
    assert!(reply.starts_with("421 4.7.0 too many connections from your address"), "{reply}");
    let mut second = through(balanced, &version_2([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
    second.reply().unwrap();
    second.mail("version 2");
    assert!(world.messages(2)[1].text().contains("from client ([IPv6:2001:db8::1])"));
    assert!(client.say("QUIT").starts_with("221"));
    // The place is free as soon as the session has ended.
    let ends = Instant::now() + PATIENCE;
    while !through(balanced, one).reply().unwrap().starts_with("220") {
        assert!(Instant::now() < ends);
    }
    // And for `clients`; the balancer itself is none of them.
    for header in [&b"PROXY TCP4 198.51.100.1 10.0.0.1 1 25\r\n"[..], b"PROXY UNKNOWN\r\n"] {
        assert!(through(balanced, header).reply().unwrap().starts_with("554 5.7.1"));
    }
    // Without a header there is no session, and not a word.
    for octets in [&b"EHLO client\r\n"[..], b"PROXY TCP4 nonsense\r\n"] {
        assert!(through(balanced, octets).reply().is_err());
    }
    daemon.log.wait_for("no PROXY header came");
    assert!(silent.reply().is_err());
    daemon.log.wait_for("no PROXY header within 5 s");
    // Who is no balancer cannot tell another address.
    let mut liar = through(direct, one);
    assert!(liar.reply().unwrap().starts_with("220 "));
    assert!(liar.reply().unwrap().starts_with("500 "));
    liar.mail("from here");
    assert!(world.messages(3)[2].text().contains("from client ([127.0.0.1])"));
}

#[test]
fn a18_the_surplus_gets_421_and_places_come_free() {
    let world = World::new();
    let second = "address = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\nmax_connections = 2\n";
    let daemon = world.start(&world.config(&format!("[[listener]]\n{second}"))).run();
    let [one, two] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
    let mut first = talk::tcp(one);
    first.reply().unwrap();
    let mut other = talk::tcp(two);
    other.reply().unwrap();
    // The addresses of one listener count together.
    for address in [one, two] {
        let mut surplus = talk::tcp(address);
        assert!(surplus.reply().unwrap().starts_with("421 4.7.0 too many connections"));
        assert_eq!(surplus.reply().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
    drop(first);
    let ends = Instant::now() + PATIENCE;
    while !talk::tcp(one).reply().unwrap().starts_with("220") {
        assert!(Instant::now() < ends);
    }
}

/// Writes one octet, waits for an answer, writes the next; gives what came at last.
fn drip(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let ends = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    loop {
        let mut octets = [0; 512];
        match stream.read(&mut octets) {
            Ok(0) => return String::from_utf8_lossy(&answer).into_owned(),
            Ok(count) => answer.extend_from_slice(&octets[..count]),
            Err(_) if answer.is_empty() => drop(stream.write_all(b"x")),
            Err(_) => return String::from_utf8_lossy(&answer).into_owned(),
        }
        assert!(Instant::now() < ends, "it is still let in");
    }
}

#[test]
fn a18_single_octets_buy_no_time_and_others_are_served_meanwhile() {
    let world = World::new();
    let keys = "command_timeout = \"1s\"\nsession_timeout = \"1h\"\n";
    let daemon = world.start(&world.config(&World::listener(keys))).run();
    let address = daemon.address();
    let in_a_command = std::thread::spawn(move || {
        let mut client = talk::tcp(address);
        client.reply().unwrap();
        client.write(b"NOOP ");
        drip(client.stream().try_clone().unwrap())
    });
    let in_a_body = std::thread::spawn(move || {
        let mut client = talk::tcp(address);
        client.reply().unwrap();
        for command in
            ["EHLO c", "MAIL FROM:<erp@contoso.com>", "RCPT TO:<ann@example.org>", "DATA"]
        {
            assert!(client.say(command).starts_with(['2', '3']));
        }
        drip(client.stream().try_clone().unwrap())
    });
    let mut client = talk::tcp(address);
    client.reply().unwrap();
    client.mail("meanwhile");
    world.messages(1);
    for slow in [in_a_command, in_a_body] {
        let answer = slow.join().unwrap();
        assert!(answer.starts_with("421 4.4.2 timeout"), "{answer}");
    }
    // A slow link that brings its piece in time goes on.
    let keys = "command_timeout = \"1s\"\nsession_timeout = \"3s\"\n";
    let second = World::new();
    let daemon = second.start(&second.config(&World::listener(keys))).run();
    let mut client = talk::tcp(daemon.address());
    client.reply().unwrap();
    let begin = Instant::now();
    let mut last = String::new();
    while !last.starts_with("421") {
        last = client.say("NOOP");
        assert!(begin.elapsed() < PATIENCE, "a session has an end");
    }
    assert!(begin.elapsed() > Duration::from_secs(2), "answers buy time: {last}");
}

#[test]
fn a19_out_of_file_descriptors_it_waits_says_so_and_recovers() {
    let world = World::new();
    let mut start = world.start(&world.config(&World::listener("")));
    let shell = "ulimit -n 64; exec \"$0\" \"$@\"";
    start.wrapper = ["sh", "-c", shell].map(str::to_owned).to_vec();
    let mut daemon = start.run();
    // The kernel takes them all in; the daemon has no descriptor for the last ones.
    let mut crowd: Vec<_> = (0..64).map(|_| talk::tcp(daemon.address())).collect();
    daemon.log.wait_for("cannot accept connections, waiting");
    assert!(crowd[0].reply().unwrap().starts_with("220 "), "who is in is served");
    assert!(crowd[0].say("EHLO client").starts_with("250"));
    let mut last = crowd.pop().unwrap();
    drop(crowd);
    assert!(last.reply().unwrap().starts_with("220 "), "who waited gets in");
    daemon.log.wait_for("connections are accepted again");
    last.mail("after it is over");
    world.messages(1);
    let complaints = daemon.log.text().matches("cannot accept connections").count();
    assert!(complaints < 5, "{complaints} lines for one trouble");
    assert!(daemon.stop().success());
}
