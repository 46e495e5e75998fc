//! Through a proxy: HTTP CONNECT (RFC 9110 §9.3.6) and SOCKS5 (RFC 1928, RFC 1929).
//!
//! It promises to read not one octet beyond the proxy's answer (the mail server speaks first), nothing
//! without a bound, and that no error shows the proxy's password. What goes through afterwards is TLS from
//! us to the upstream, verified as without a proxy. It waits as long as it takes: the time limit is the
//! caller's.

use crate::config::{Proxy, ProxyScheme};
use crate::secret::Secret;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// An answer of HTTP is not read beyond this.
const LONGEST_HEAD: usize = 16 * 1024;
/// A name, a user or a password of SOCKS.
const LONGEST_FIELD: usize = 255;

/// Where the proxy is to connect us to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// It looks the name up.
    Name(&'a str, u16),
    /// We did.
    Address(SocketAddr),
}

impl std::fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// Has the proxy at the other end of `stream` connect us; what comes then is the target's.
///
/// # Errors
/// What the proxy said, in words for people.
pub(super) async fn through<S>(
    stream: &mut S,
    proxy: &Proxy,
    target: Target<'_>,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match proxy.scheme {
        ProxyScheme::Http => connect(stream, proxy, target).await,
        ProxyScheme::Socks5 | ProxyScheme::Socks5h => socks(stream, proxy, target).await,
    }
}

async fn connect<S>(stream: &mut S, proxy: &Proxy, target: Target<'_>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = zeroize::Zeroizing::new(format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: submitd\r\n"
    ));
    if let Some((user, password)) = &proxy.login {
        let login = zeroize::Zeroizing::new(format!("{user}:{}", password.expose()));
        let login = zeroize::Zeroizing::new(STANDARD.encode(login.as_bytes()));
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&login);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    let mut head = Vec::new();
    // Octet by octet: the next one after the head is the mail server's.
    while !is_whole(&head) {
        if head.len() >= LONGEST_HEAD {
            return Err("its answer has no end".to_owned());
        }
        head.push(stream.read_u8().await.map_err(lost)?);
    }
    judge(&head, target)
}

/// Whether the empty line that ends a head has come (RFC 9112 §2.1, and bare LF as many take it).
fn is_whole(head: &[u8]) -> bool {
    head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n")
}

/// What the first line of the answer says.
fn judge(head: &[u8], target: Target<'_>) -> Result<(), String> {
    let line = head.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let line: String = line.trim_end().chars().take(200).collect();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match status.and_then(|status| status.parse::<u16>().ok()) {
        Some(200..=299) => Ok(()),
        // 401 is tinyproxy's answer to a wrong password.
        Some(401 | 407) => Err(format!(
            "{line:?}: it wants a user name and a password that it knows (proxy = \"http://user@…\" and \
             proxy_password_file)"
        )),
        Some(403 | 405) => Err(format!(
            "{line:?}: it does not allow CONNECT to {target}; allow that port there (squid: SSL_ports, tinyproxy: \
             ConnectPort)"
        )),
        Some(_) => Err(format!("{line:?} to CONNECT {target}")),
        None => Err(format!("{line:?} is no answer of an HTTP proxy")),
    }
}

async fn socks<S>(stream: &mut S, proxy: &Proxy, target: Target<'_>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello: &[u8] = if proxy.login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
    stream.write_all(hello).await.map_err(lost)?;
    let method: [u8; 2] = read(stream).await?;
    match (method, &proxy.login) {
        ([5, 0], _) => {}
        ([5, 2], Some((user, password))) => sign_in(stream, user, password).await?,
        ([5, _], Some(_)) => return Err("it takes no login by password".to_owned()),
        ([5, _], None) => {
            return Err(
                "it wants a login (proxy = \"socks5://user@…\" and proxy_password_file)".to_owned()
            );
        }
        ([version, _], _) => return Err(format!("no SOCKS5 proxy: it began with {version}")),
    }
    stream.write_all(&wanted(target)?).await.map_err(lost)?;
    let [version, status, _, kind]: [u8; 4] = read(stream).await?;
    if version != 5 {
        return Err(format!("no SOCKS5 proxy: it answered with {version}"));
    }
    // The address it calls from, of no use to us.
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(lost)?),
        // A refusal need not say more.
        _ if status != 0 => 0,
        _ => return Err(format!("an address of kind {kind} is not known")),
    };
    if status != 0 {
        return Err(format!("{} ({status}) to {target}", refusal(status)));
    }
    let mut address = vec![0; length + 2];
    stream.read_exact(&mut address).await.map_err(lost)?;
    Ok(())
}

/// RFC 1929.
async fn sign_in<S>(stream: &mut S, user: &str, password: &Secret) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut login = zeroize::Zeroizing::new(vec![1]);
    for field in [user, password.expose()] {
        login.push(length(field, "user name or password")?);
        login.extend_from_slice(field.as_bytes());
    }
    stream.write_all(&login).await.map_err(lost)?;
    match read(stream).await? {
        [_, 0] => Ok(()),
        [_, status] => Err(format!("it refused user name and password ({status})")),
    }
}

/// The request to connect (RFC 1928 §4).
fn wanted(target: Target<'_>) -> Result<Vec<u8>, String> {
    let target = match target {
        Target::Name(host, port) => match host.parse::<IpAddr>() {
            Ok(ip) => Target::Address(SocketAddr::new(ip, port)),
            Err(_) => target,
        },
        Target::Address(_) => target,
    };
    let mut request = vec![5, 1, 0];
    let port = match target {
        Target::Name(host, port) => {
            request.extend([3, length(host, "name")?]);
            request.extend_from_slice(host.as_bytes());
            port
        }
        Target::Address(address) => {
            match address.ip() {
                IpAddr::V4(ip) => {
                    request.push(1);
                    request.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    request.push(4);
                    request.extend(ip.octets());
                }
            }
            address.port()
        }
    };
    request.extend(port.to_be_bytes());
    Ok(request)
}

fn length(field: &str, what: &str) -> Result<u8, String> {
    u8::try_from(field.len())
        .map_err(|_| format!("SOCKS5 takes no {what} beyond {LONGEST_FIELD} octets"))
}

/// RFC 1928 §6.
fn refusal(status: u8) -> &'static str {
    match status {
        1 => "it failed",
        2 => "it does not allow the connection",
        3 => "it finds the network unreachable",
        4 => "it finds the host unreachable, or knows no such name",
        5 => "it finds the connection refused",
        6 => "it waited too long",
        7 => "it does not connect at all",
        8 => "it does not take this kind of address",
        _ => "it said no",
    }
}

async fn read<S: AsyncRead + Unpin, const N: usize>(stream: &mut S) -> Result<[u8; N], String> {
    let mut octets = [0; N];
    stream.read_exact(&mut octets).await.map_err(lost)?;
    Ok(octets)
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn lost(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    fn proxy(scheme: ProxyScheme, login: Option<(&str, &str)>) -> Proxy {
        let login = login.map(|(user, password)| (user.to_owned(), Secret::new(password)));
        Proxy { scheme, host: "proxy".into(), port: 1, login }
    }

    /// Plays the proxy's part, its octets in pieces of `piece`; what we said and what it came to. The octets
    /// behind its answer must stay unread.
    async fn play(
        proxy: &Proxy,
        target: Target<'_>,
        answers: &[&[u8]],
        piece: usize,
    ) -> (Vec<u8>, Result<(), String>) {
        let (mut ours, mut theirs) = duplex(64 * 1024);
        let all = answers.concat();
        let serve = async move {
            // Who was refused need not listen to the end.
            for octets in all.chunks(piece).chain([&b"220 mail"[..]]) {
                let _ = theirs.write_all(octets).await;
                tokio::task::yield_now().await;
            }
            let _ = theirs.shutdown().await;
            let mut said = Vec::new();
            theirs.read_to_end(&mut said).await.unwrap();
            said
        };
        let ask = async move {
            let result = through(&mut ours, proxy, target).await;
            if result.is_ok() {
                let mut rest = String::new();
                ours.read_to_string(&mut rest).await.unwrap();
                assert_eq!(rest, "220 mail");
            }
            result
        };
        tokio::join!(serve, ask)
    }

    const NAME: Target<'_> = Target::Name("smtp.example", 587);

    #[tokio::test]
    async fn connect_reads_its_answer_and_no_further() {
        let open = proxy(ProxyScheme::Http, None);
        let known = proxy(ProxyScheme::Http, Some(("me", "pass:word")));
        for piece in [1, 2, 3, 7, 1000] {
            for answer in [
                "HTTP/1.1 200 Connection established\r\n\r\n",
                "HTTP/1.0 200 OK\r\nVia: x\r\nX: y\r\n\r\n",
                "HTTP/1.1 200\n\n",
            ] {
                let (said, result) = play(&open, NAME, &[answer.as_bytes()], piece).await;
                assert_eq!(result, Ok(()), "{answer}");
                assert_eq!(
                    String::from_utf8(said).unwrap(),
                    "CONNECT smtp.example:587 HTTP/1.1\r\nHost: smtp.example:587\r\nUser-Agent: submitd\r\n\r\n"
                );
                let (said, _) = play(&known, NAME, &[answer.as_bytes()], piece).await;
                let said = String::from_utf8(said).unwrap();
                assert!(
                    said.contains("\r\nProxy-Authorization: Basic bWU6cGFzczp3b3Jk\r\n"),
                    "{said}"
                );
            }
        }
    }

    #[tokio::test]
    async fn connect_refusals_say_what_to_do() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000));
        for (answer, words) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxy_password_file"),
            ("HTTP/1.0 401 Unauthorized\r\n\r\n", "proxy_password_file"),
            ("HTTP/1.1 403 Access violation\r\n\r\n", "allow that port there"),
            ("HTTP/1.1 405 no\r\n\r\n", "allow that port there"),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "502 Bad Gateway\" to CONNECT smtp.example:587"),
            ("220 mail.example ESMTP\r\n\r\n", "is no answer of an HTTP proxy"),
            ("HTTP/1.1\r\n\r\n", "is no answer of an HTTP proxy"),
            ("\u{1b}[31m\r\n\r\n", "\\u{1b}"),
            (&endless, "no end"),
        ] {
            let known = proxy(ProxyScheme::Http, Some(("me", "hunter2")));
            let (_, result) = play(&known, NAME, &[answer.as_bytes()], 1000).await;
            let text = result.unwrap_err();
            assert!(text.contains(words) && !text.contains("hunter2"), "{text}");
        }
    }

    #[tokio::test]
    async fn socks_by_name_by_address_and_with_a_login() {
        let open = proxy(ProxyScheme::Socks5h, None);
        let known = proxy(ProxyScheme::Socks5, Some(("me", "pass")));
        let v4 = [5, 0, 0, 1, 10, 0, 0, 1, 2, 3];
        let name = [5, 0, 0, 3, 2, b'a', b'b', 2, 3];
        let v6: Vec<u8> = [5, 0, 0, 4].into_iter().chain([9; 18]).collect();
        let to_name = b"\x05\x01\x00\x03\x0csmtp.example\x02\x4b";
        let to_v4 = b"\x05\x01\x00\x01\x0a\x01\x02\x03\x02\x4b";
        for piece in [1, 2, 3, 1000] {
            for end in [&v4[..], &name, &v6] {
                let (said, result) = play(&open, NAME, &[&[5, 0], end], piece).await;
                assert_eq!(result, Ok(()));
                assert_eq!(said, [&[5, 1, 0][..], to_name].concat());
                let address = Target::Address("10.1.2.3:587".parse().unwrap());
                let (said, result) = play(&known, address, &[&[5, 2], &[1, 0], end], piece).await;
                assert_eq!(result, Ok(()));
                assert_eq!(said, [&[5, 2, 0, 2][..], b"\x01\x02me\x04pass", to_v4].concat());
            }
        }
        let (said, _) = play(&open, Target::Name("::1", 25), &[&[5, 0], &v4], 1).await;
        assert_eq!(said[..7], [5, 1, 0, 5, 1, 0, 4]);
    }

    #[tokio::test]
    async fn socks_refusals_say_what_to_do() {
        let long = "x".repeat(300);
        for (login, answers, words) in [
            (None, &[&[5, 0xff][..]][..], "it wants a login"),
            (Some(("me", "hunter2")), &[&[5, 0xff]], "takes no login by password"),
            (Some(("me", "hunter2")), &[&[5, 2], &[1, 1]], "refused user name and password"),
            (Some((&*long, "hunter2")), &[&[5, 2]], "beyond 255 octets"),
            (None, &[b"HT"], "no SOCKS5 proxy"),
            (None, &[&[5, 0], &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]], "does not allow"),
            (None, &[&[5, 0], &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]], "refused (5) to smtp.example:587"),
            (None, &[&[5, 0], &[5, 0, 0, 9]], "kind 9"),
            (None, &[&[5, 0], &[4, 0, 0, 1]], "no SOCKS5 proxy"),
        ] {
            let proxy = proxy(ProxyScheme::Socks5h, login);
            let text = play(&proxy, NAME, answers, 1000).await.1.unwrap_err();
            assert!(text.contains(words) && !text.contains("hunter2"), "{text}");
        }
    }
}
