//! `Received:` and the queue id: whatever a client calls itself, the field stays one field.

use super::input::{Input, bit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};
use submitd::mail::{Id, header, received};

/// First octet: what is told; the next six: the time in seconds; then the client's name.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let switch = input.octet();
    let seconds = (0..6).fold(0, |time, _| time << 8 | u64::from(input.octet()));
    let name = String::from_utf8_lossy(input.rest());
    // httpdate goes as far as the year 9999, the id as far as its fifty bits of milliseconds.
    let date = UNIX_EPOCH + Duration::from_secs(seconds % 253_402_300_799);
    let id = Id::new(date, (octets.len() as u32).wrapping_mul(0x9e37_79b9));
    assert_eq!(id.as_str().parse(), Ok(id));
    let _ = name.parse::<Id>().map(|id| assert_eq!(id.as_str(), name));

    let address = match switch >> 1 & 3 {
        0 => None,
        1 => Some(IpAddr::V4(Ipv4Addr::from([127, 0, switch, 1]))),
        _ => Some(IpAddr::V6(Ipv6Addr::from(u128::from(switch) << 64 | 1))),
    };
    let client = bit(switch, 0).then_some((&*name, address));
    let hostname = "relay.example";
    let field = received::Received { client, hostname, protocol: "ESMTPA", id, date }.field();
    assert!(field.is_ascii() && field.ends_with("\r\n"));
    assert!(field.split("\r\n").all(|line| line.len() <= 998), "RFC 5322 §2.1.1");
    let fields: Vec<_> = header::fields(field.as_bytes()).collect();
    assert_eq!(fields.len(), 1, "{field:?}");
    assert!(fields[0].is("Received") && fields[0].raw == field.as_bytes());
    assert_eq!(field.matches(" (submitd) with ").count(), 1);

    let _ = received::is_loop(input.rest(), &name);
    assert!(!received::is_loop(field.repeat(5).as_bytes(), hostname));
    assert!(received::is_loop(field.repeat(6).as_bytes(), hostname));
}
