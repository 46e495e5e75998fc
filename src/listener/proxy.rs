//! The PROXY protocol, versions 1 and 2: a balancer tells whose connection it passes on. Pure.
//!
//! It promises that a header is read to its last octet and not one further (what follows is SMTP or TLS),
//! that its length is bounded, and that a header which is not understood is refused, never guessed at.
//! Whether a peer may send one is not decided here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest header of version 1, with its CRLF (§2.1 of the protocol's text).
const LONGEST_LINE: usize = 107;
/// Octets of a version 2 header behind its first sixteen: addresses have 216 at most, and what balancers
/// tell besides (certificates' names, ids of clouds) some hundreds.
const LONGEST_REST: usize = 4 * 1024;
/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Octets of a version 2 header before its variable part.
const FIXED: usize = 16;

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At least this many octets more belong to it.
    More(usize),
    /// It is whole: the client's address, or none where the balancer speaks for itself (version 1
    /// `UNKNOWN`, version 2 `LOCAL`, addresses that are not IP).
    Whole(Option<IpAddr>),
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It is something else, often SMTP or TLS.
    #[error("no PROXY header came")]
    Absent,
    /// It begins as one and goes on otherwise.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// It is longer than any that is meant well.
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Looks at what has come so far.
///
/// # Errors
/// [`ProxyError`] as soon as it cannot become a header any more.
pub fn parse(octets: &[u8]) -> Result<Progress, ProxyError> {
    let count = octets.len();
    let begins = |with: &[u8]| octets.iter().zip(with).all(|(is, must)| is == must);
    if begins(&SIGNATURE) && !octets.is_empty() {
        return if count < FIXED { Ok(Progress::More(FIXED - count)) } else { binary(octets) };
    }
    if !begins(b"PROXY ") {
        return Err(ProxyError::Absent);
    }
    match octets.iter().position(|octet| *octet == b'\n') {
        Some(end) if end + 1 == count && count <= LONGEST_LINE => line(octets),
        // What lies behind the line was not asked for.
        Some(_) => Err(ProxyError::Malformed),
        None if count >= LONGEST_LINE => Err(ProxyError::TooLong),
        None => Ok(Progress::More(shortest_rest(octets))),
    }
}

/// Octets that are missing at least: `PROXY UNKNOWN\r\n` is the shortest line.
fn shortest_rest(line: &[u8]) -> usize {
    const SHORTEST: usize = b"PROXY UNKNOWN\r\n".len();
    SHORTEST.saturating_sub(line.len()).max(1)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 25\r\n`
fn line(line: &[u8]) -> Result<Progress, ProxyError> {
    let text = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let mut words = text.ok_or(ProxyError::Malformed)?.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Progress::Whole(None));
    }
    let words: Vec<&str> = words.collect();
    let [from, to, from_port, to_port] = words[..] else { return Err(ProxyError::Malformed) };
    let is_port = |word: &str| {
        word.chars().all(|c| c.is_ascii_digit())
            && (word == "0" || !word.starts_with('0'))
            && word.parse::<u16>().is_ok()
    };
    let client = match family {
        Some("TCP4") => both::<Ipv4Addr>(from, to).map(IpAddr::V4),
        Some("TCP6") => both::<Ipv6Addr>(from, to).map(IpAddr::V6),
        _ => None,
    };
    match client {
        Some(client) if is_port(from_port) && is_port(to_port) => Ok(told(client)),
        _ => Err(ProxyError::Malformed),
    }
}

/// The first of two addresses of one family.
fn both<A: std::str::FromStr>(from: &str, to: &str) -> Option<A> {
    to.parse::<A>().ok()?;
    from.parse().ok()
}

fn told(client: IpAddr) -> Progress {
    Progress::Whole(Some(client.to_canonical()))
}

/// Version 2: the signature, version and command, family, length, addresses, and more that we skip.
fn binary(octets: &[u8]) -> Result<Progress, ProxyError> {
    let (fixed, rest) = octets.split_at_checked(FIXED).ok_or(ProxyError::Malformed)?;
    let [version, family, high, low] = fixed[SIGNATURE.len()..] else {
        return Err(ProxyError::Malformed);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version >> 4 != 2 {
        return Err(ProxyError::Malformed);
    }
    if length > LONGEST_REST {
        return Err(ProxyError::TooLong);
    }
    match length.checked_sub(rest.len()) {
        Some(0) => {}
        Some(missing) => return Ok(Progress::More(missing)),
        None => return Err(ProxyError::Malformed),
    }
    match (version & 0x0f, family) {
        (0x0, _) => Ok(Progress::Whole(None)),
        (0x1, 0x11) => match (rest.first_chunk::<12>(), rest.first_chunk::<4>()) {
            (Some(_), Some(client)) => Ok(told(Ipv4Addr::from(*client).into())),
            _ => Err(ProxyError::Malformed),
        },
        (0x1, 0x21) => match (rest.first_chunk::<36>(), rest.first_chunk::<16>()) {
            (Some(_), Some(client)) => Ok(told(Ipv6Addr::from(*client).into())),
            _ => Err(ProxyError::Malformed),
        },
        // AF_UNSPEC, AF_UNIX, datagrams: nobody we could name.
        (0x1, _) => Ok(Progress::Whole(None)),
        _ => Err(ProxyError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 2 with this command, family and rest.
    fn two(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut octets = SIGNATURE.to_vec();
        octets.extend([command, family]);
        octets.extend(u16::try_from(rest.len()).expect("length").to_be_bytes());
        octets.extend(rest);
        octets
    }

    /// Reads as the door does, only as much as is asked for; `behind` must stay unread.
    fn read(header: &[u8], behind: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
        let wire = [header, behind].concat();
        let mut taken = 0;
        loop {
            match parse(&wire[..taken])? {
                Progress::Whole(client) => {
                    assert_eq!(taken, header.len(), "read too far or not far enough");
                    return Ok(client);
                }
                Progress::More(count) => {
                    assert!(count > 0);
                    taken += count;
                    assert!(taken <= wire.len(), "asked for more than there is");
                }
            }
        }
    }

    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let tcp4 = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 4, 0, 25];
        let mut tcp6 = Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]).octets().to_vec();
        tcp6.extend([0; 16]);
        tcp6.extend([0xdc, 4, 0, 25]);
        let extended = [&tcp4[..], &[4, 0, 3, 1, 2, 3]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 25\r\n".to_vec(), Some("192.0.2.1")),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n".to_vec(), Some("1.1.1.1")),
            (b"PROXY TCP6 2001:db8::1 ::1 65535 25\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 25\r\n".to_vec(), Some("192.0.2.1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (two(0x21, 0x11, &tcp4), Some("192.0.2.1")),
            (two(0x21, 0x11, &extended), Some("192.0.2.1")),
            (two(0x21, 0x21, &tcp6), Some("2001:db8::1")),
            (two(0x20, 0x00, b""), None),
            (two(0x20, 0x11, &tcp4), None),
            (two(0x21, 0x00, b""), None),
            (two(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn good_headers_are_read_to_their_last_octet_and_no_further() {
        for (header, client) in good() {
            let client = client.map(|client| client.parse().expect(client));
            for behind in [&b""[..], b"EHLO x\r\n", b"\x16\x03\x01\x02\x00"] {
                let shown = String::from_utf8_lossy(&header);
                assert_eq!(read(&header, behind), Ok(client), "{shown:?}");
            }
        }
    }

    #[test]
    fn a_header_cut_at_every_octet_asks_for_more_and_never_for_too_much() {
        for (header, _) in good() {
            for cut in 0..header.len() {
                match parse(&header[..cut]) {
                    Ok(Progress::More(count)) => assert!(cut + count <= header.len(), "{cut}"),
                    other => panic!("{cut} of {:?}: {other:?}", String::from_utf8_lossy(&header)),
                }
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(100));
        for (octets, error) in [
            (&b"EHLO x\r\n"[..], ProxyError::Absent),
            (b"\x16\x03\x01", ProxyError::Absent),
            (b"\n", ProxyError::Absent),
            (b"PROXYTCP4", ProxyError::Absent),
            (b"proxy TCP4 ", ProxyError::Absent),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n", ProxyError::Malformed),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n", ProxyError::Malformed),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n", ProxyError::Malformed),
            (b"PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n", ProxyError::Malformed),
            (b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n", ProxyError::Malformed),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", ProxyError::Malformed),
            (b"PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n", ProxyError::Malformed),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n", ProxyError::Malformed),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n", ProxyError::Malformed),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n", ProxyError::Malformed),
            (b"PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n", ProxyError::Malformed),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\nEHLO", ProxyError::Malformed),
            (b"PROXY \xff\r\n", ProxyError::Malformed),
            (long.as_bytes(), ProxyError::TooLong),
            (&two(0x11, 0x11, &[0; 12]), ProxyError::Malformed),
            (&two(0x22, 0x11, &[0; 12]), ProxyError::Malformed),
            (&two(0x21, 0x11, &[0; 11]), ProxyError::Malformed),
            (&two(0x21, 0x21, &[0; 35]), ProxyError::Malformed),
            (&two(0x21, 0x11, &vec![0; LONGEST_REST + 1]), ProxyError::TooLong),
            (&two(0x20, 0x00, &vec![0; 0xffff])[..16], ProxyError::TooLong),
        ] {
            assert_eq!(parse(octets), Err(error), "{:?}", String::from_utf8_lossy(octets));
        }
    }

    #[test]
    fn no_octets_make_it_panic_or_ask_without_bound() {
        let mut state = 1_u32;
        for (header, _) in good() {
            for _ in 0..2_000 {
                let mut octets = header.clone();
                for _ in 0..3 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let at = (state >> 8) as usize % octets.len();
                    octets[at] = (state >> 24) as u8;
                }
                octets.truncate((state >> 4) as usize % (octets.len() + 1));
                if let Ok(Progress::More(count)) = parse(&octets) {
                    assert!(count > 0 && octets.len() + count <= FIXED + LONGEST_REST);
                }
            }
        }
    }
}
