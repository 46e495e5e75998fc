//! SASL as a server sees it: the mechanisms, and what their answers say.
//!
//! It promises to take what real programs send (no base64 padding, Latin-1 passwords) and that decoded
//! secrets are wiped. It judges nobody.

use crate::secret::Secret;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// A mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// LOGIN (de facto; Exchange and old clients).
    Login,
    /// OAUTHBEARER (RFC 7628).
    OAuthBearer,
    /// PLAIN (RFC 4616).
    Plain,
    /// XOAUTH2 (Google's document; Exchange).
    XOAuth2,
}

/// The challenge `Username:` of LOGIN. Other prompts make some printers give up.
pub const LOGIN_USER: &str = "VXNlcm5hbWU6";
/// The challenge `Password:` of LOGIN.
pub const LOGIN_PASSWORD: &str = "UGFzc3dvcmQ6";

/// Devices that leave the padding out are taken as they are.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Mechanism {
    /// The name as it stands behind AUTH.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "LOGIN",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::Plain => "PLAIN",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    /// The mechanism of this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Login, Self::OAuthBearer, Self::Plain, Self::XOAuth2]
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

/// The octets of an answer; `=` is the empty one (RFC 4954 §4). None where it is no base64.
pub fn decode(answer: &str) -> Option<Zeroizing<Vec<u8>>> {
    match answer {
        "=" => Some(Zeroizing::default()),
        _ => LENIENT.decode(answer).ok().map(Zeroizing::new),
    }
}

/// The base64 of a challenge.
pub fn encode(challenge: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(challenge)
}

/// A name: no control characters, since it goes into logs and replies.
pub fn user(octets: &[u8]) -> Option<String> {
    let user = text(octets);
    (!user.chars().any(char::is_control)).then_some(user)
}

/// A password: anything.
pub fn password(octets: &[u8]) -> Secret {
    Secret::new(text(octets))
}

/// Old programs send Latin-1, where each octet is the character of that number.
fn text(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().map(|&octet| char::from(octet)).collect(),
    }
}

/// Name and password of a PLAIN answer (RFC 4616 §2). Whom the client wants to act for is ignored: the
/// rights are those of the name that was proved.
pub fn plain(answer: &[u8]) -> Option<(String, Secret)> {
    let mut parts = answer.split(|&octet| octet == 0);
    let (_acts_for, name, word) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    Some((user(name)?, password(word)))
}

/// Mailbox and token of an XOAUTH2 answer: `user=…^Aauth=Bearer …^A^A`.
pub fn xoauth2(answer: &[u8]) -> Option<(String, Secret)> {
    let mut name = None;
    let mut token = None;
    for (key, value) in pairs(answer.strip_suffix(b"\x01\x01")?)? {
        match key {
            "user" => name = Some(value),
            "auth" => token = bearer(value),
            _ => {}
        }
    }
    Some((user(name?.as_bytes())?, token?))
}

/// Mailbox and token of an OAUTHBEARER answer: `n,a=…,^Ahost=…^Aport=…^Aauth=Bearer …^A^A`
/// (RFC 7628 §3.1). The mailbox is empty where none is named.
pub fn oauthbearer(answer: &[u8]) -> Option<(String, Secret)> {
    let answer = answer.strip_suffix(b"\x01\x01")?;
    let end = answer.iter().position(|&octet| octet == 1)?;
    let header = std::str::from_utf8(&answer[..end]).ok()?;
    let mut fields = header.split(',');
    let (binding, name) = (fields.next()?, fields.next()?);
    if !matches!(binding, "n" | "y") || fields.next() != Some("") || fields.next().is_some() {
        return None;
    }
    let name = match name {
        "" => String::new(),
        _ => name.strip_prefix("a=")?.replace("=2C", ",").replace("=3D", "="),
    };
    let token = pairs(&answer[end + 1..])?.find(|(key, _)| *key == "auth").map(|(_, v)| v)?;
    Some((user(name.as_bytes())?, bearer(token)?))
}

fn pairs(text: &[u8]) -> Option<impl Iterator<Item = (&str, &str)>> {
    let text = std::str::from_utf8(text).ok()?;
    Some(text.split('\x01').filter_map(|pair| pair.split_once('=')))
}

/// Exchange takes `bearer` in any case.
fn bearer(value: &str) -> Option<Secret> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(login: Option<(String, Secret)>) -> Option<(String, String)> {
        login.map(|(user, secret)| (user, secret.expose().to_owned()))
    }

    fn pair(a: &str, b: &str) -> Option<(String, String)> {
        Some((a.to_owned(), b.to_owned()))
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!(Mechanism::parse("xoauth2"), Some(Mechanism::XOAuth2));
        assert_eq!(Mechanism::parse("Plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::parse("CRAM-MD5"), None);
    }

    #[test]
    fn a13_base64_is_taken_without_padding_and_nothing_else() {
        for (text, octets) in [
            ("", Some(&b""[..])),
            ("=", Some(b"")),
            ("YQ==", Some(b"a")),
            ("YQ", Some(b"a")),
            ("YQ=", Some(b"a")),
            ("YQ==YQ==", None),
            ("Y Q", None),
            ("Y", None),
            ("é", None),
            ("_-_-", None),
        ] {
            assert_eq!(decode(text).as_deref().map(Vec::as_slice), octets, "{text}");
        }
    }

    #[test]
    fn a13_plain() {
        for (answer, expected) in [
            (&b"\0u\0p"[..], pair("u", "p")),
            (b"u\0u\0p", pair("u", "p")),
            (b"\0u\0", pair("u", "")),
            (b"\0u\0p\xfc", pair("u", "pü")),
            ("\0ü\0ä".as_bytes(), pair("ü", "ä")),
            (b"\0u\0p\0x", None),
            (b"u\0p", None),
            (b"", None),
            (b"\0u\r\nx\0p", None),
        ] {
            assert_eq!(shown(plain(answer)), expected, "{answer:?}");
        }
    }

    #[test]
    fn xoauth2_as_microsoft_documents_it() {
        let worked_example = "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==";
        let answer = decode(worked_example).expect("base64");
        assert_eq!(
            shown(xoauth2(&answer)),
            pair("test@contoso.onmicrosoft.com", "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA")
        );
        for (answer, expected) in [
            (&b"user=a@b\x01auth=bearer t\x01\x01"[..], pair("a@b", "t")),
            (b"user=a@b\x01auth=Bearer t\x01", None),
            (b"user=a@b\x01auth=Basic t\x01\x01", None),
            (b"user=a@b\x01auth=Bearer \x01\x01", None),
            (b"auth=Bearer t\x01\x01", None),
            (b"", None),
        ] {
            assert_eq!(shown(xoauth2(answer)), expected, "{answer:?}");
        }
    }

    #[test]
    fn oauthbearer_as_the_rfc_has_it() {
        for (answer, expected) in [
            (
                &b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer t==\x01\x01"[..],
                pair("user@example.com", "t=="),
            ),
            (b"n,,\x01auth=Bearer t\x01\x01", pair("", "t")),
            (b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01", pair("a,b=c", "t")),
            (b"p=x,,\x01auth=Bearer t\x01\x01", None),
            (b"n,,\x01host=x\x01\x01", None),
            (b"\x01", None),
        ] {
            assert_eq!(shown(oauthbearer(answer)), expected, "{answer:?}");
        }
    }
}
