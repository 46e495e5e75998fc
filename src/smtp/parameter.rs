//! The parameters of MAIL and RCPT (RFC 5321 §4.1.1.11): SIZE, BODY, SMTPUTF8, AUTH, RET, ENVID, NOTIFY,
//! ORCPT.
//!
//! It promises that only what was offered is taken, that nothing is decoded and so nothing must be
//! encoded again, and that what comes out may stand in a command line.

use super::extension::Extension;
use crate::mail::{BodyKind, Notify, Ret};

/// The longest ENVID (RFC 3461 §4.4).
const LONGEST_ENVID: usize = 100;
/// The longest ORCPT (RFC 3461 §4.2).
const LONGEST_ORCPT: usize = 500;

/// What is wrong with a parameter; each holds what is to be shown of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not known, or not offered.
    #[error("parameter {0} not recognized")]
    Unknown(String),
    /// A value that cannot be read, or the parameter twice.
    #[error("bad value of {0}")]
    Value(&'static str),
    /// More octets than can be counted.
    #[error("SIZE too large")]
    Size,
}

/// The parameters of MAIL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfMail {
    /// `SIZE=` (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152, RFC 3030).
    pub body: BodyKind,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `RET=` (RFC 3461).
    pub ret: Option<Ret>,
    /// `ENVID=` (RFC 3461), still in xtext.
    pub envid: Option<String>,
}

/// The parameters of RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfRcpt {
    /// `NOTIFY=` (RFC 3461).
    pub notify: Option<Notify>,
    /// `ORCPT=` (RFC 3461), as written.
    pub orcpt: Option<String>,
}

/// Reads the parameters of MAIL. `AUTH=` is taken and dropped, whatever is offered (RFC 4954 §5).
///
/// # Errors
/// [`ParameterError`] of the first that is wrong.
pub fn of_mail(text: &str, offered: &[Extension]) -> Result<OfMail, ParameterError> {
    let mut found = OfMail::default();
    let mut seen = Seen::default();
    for (keyword, value) in parameters(text) {
        match (known(keyword, offered)?, value) {
            (Keyword::Size, Some(value)) => {
                seen.once("SIZE")?;
                found.size = Some(size(value)?);
            }
            (Keyword::Body, Some(value)) => {
                seen.once("BODY")?;
                found.body = body(value, offered)?;
            }
            (Keyword::SmtpUtf8, None) => found.smtputf8 = true,
            (Keyword::Auth, Some(_)) => {}
            (Keyword::Ret, Some(value)) => {
                seen.once("RET")?;
                found.ret = Some(ret(value)?);
            }
            (Keyword::Envid, Some(value)) if is_xtext(value, LONGEST_ENVID) => {
                seen.once("ENVID")?;
                found.envid = Some(value.to_owned());
            }
            (Keyword::Notify | Keyword::Orcpt, _) => return Err(unknown(keyword)),
            (keyword, _) => return Err(ParameterError::Value(keyword.name())),
        }
    }
    Ok(found)
}

/// Reads the parameters of RCPT. `smtputf8`: whether MAIL had SMTPUTF8.
///
/// # Errors
/// [`ParameterError`] of the first that is wrong.
pub fn of_rcpt(
    text: &str,
    offered: &[Extension],
    smtputf8: bool,
) -> Result<OfRcpt, ParameterError> {
    let mut found = OfRcpt::default();
    let mut seen = Seen::default();
    for (keyword, value) in parameters(text) {
        match (known(keyword, offered)?, value) {
            (Keyword::Notify, Some(value)) => {
                seen.once("NOTIFY")?;
                found.notify = Some(notify(value)?);
            }
            (Keyword::Orcpt, Some(value)) if is_orcpt(value, smtputf8) => {
                seen.once("ORCPT")?;
                found.orcpt = Some(value.to_owned());
            }
            (name @ (Keyword::Notify | Keyword::Orcpt), _) => {
                return Err(ParameterError::Value(name.name()));
            }
            _ => return Err(unknown(keyword)),
        }
    }
    Ok(found)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyword {
    Auth,
    Body,
    Envid,
    Notify,
    Orcpt,
    Ret,
    Size,
    SmtpUtf8,
}

impl Keyword {
    const ALL: [(Self, Option<Extension>); 8] = [
        (Self::Auth, None),
        (Self::Body, Some(Extension::EightBitMime)),
        (Self::Envid, Some(Extension::Dsn)),
        (Self::Notify, Some(Extension::Dsn)),
        (Self::Orcpt, Some(Extension::Dsn)),
        (Self::Ret, Some(Extension::Dsn)),
        (Self::Size, Some(Extension::Size)),
        (Self::SmtpUtf8, Some(Extension::SmtpUtf8)),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Auth => "AUTH",
            Self::Body => "BODY",
            Self::Envid => "ENVID",
            Self::Notify => "NOTIFY",
            Self::Orcpt => "ORCPT",
            Self::Ret => "RET",
            Self::Size => "SIZE",
            Self::SmtpUtf8 => "SMTPUTF8",
        }
    }
}

fn parameters(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split([' ', '\t']).filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    })
}

fn known(keyword: &str, offered: &[Extension]) -> Result<Keyword, ParameterError> {
    Keyword::ALL
        .into_iter()
        .find(|(known, _)| known.name().eq_ignore_ascii_case(keyword))
        .filter(|(_, extension)| extension.is_none_or(|wanted| offered.contains(&wanted)))
        .map(|(known, _)| known)
        .ok_or_else(|| unknown(keyword))
}

fn unknown(keyword: &str) -> ParameterError {
    ParameterError::Unknown(keyword.chars().take(40).collect())
}

/// Which parameters were there already.
#[derive(Default)]
struct Seen(Vec<&'static str>);

impl Seen {
    fn once(&mut self, name: &'static str) -> Result<(), ParameterError> {
        if self.0.contains(&name) {
            return Err(ParameterError::Value(name));
        }
        self.0.push(name);
        Ok(())
    }
}

fn size(value: &str) -> Result<u64, ParameterError> {
    if value.is_empty() || !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(ParameterError::Value("SIZE"));
    }
    value.parse().map_err(|_| ParameterError::Size)
}

fn body(value: &str, offered: &[Extension]) -> Result<BodyKind, ParameterError> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyKind::SevenBit),
        "8BITMIME" => Ok(BodyKind::EightBitMime),
        "BINARYMIME" if offered.contains(&Extension::BinaryMime) => Ok(BodyKind::BinaryMime),
        "BINARYMIME" => Err(ParameterError::Unknown("BODY=BINARYMIME".to_owned())),
        _ => Err(ParameterError::Value("BODY")),
    }
}

fn ret(value: &str) -> Result<Ret, ParameterError> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Ret::Full),
        "HDRS" => Ok(Ret::Headers),
        _ => Err(ParameterError::Value("RET")),
    }
}

fn notify(value: &str) -> Result<Notify, ParameterError> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(Notify::NEVER);
    }
    let mut notify = Notify::NEVER;
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return Err(ParameterError::Value("NOTIFY")),
        }
    }
    Ok(notify)
}

/// xtext (RFC 3461 §4): printable ASCII but `=`, where `+` begins two hexadecimal digits.
fn is_xtext(value: &str, longest: usize) -> bool {
    !value.is_empty()
        && value.len() <= longest
        && value.bytes().all(|octet| matches!(octet, b'!'..=b'~') && octet != b'=')
        && value.split('+').skip(1).all(|rest| {
            rest.get(..2).is_some_and(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
        })
}

/// `rfc822;` and xtext; with SMTPUTF8 `utf-8;` and UTF-8 as it is (RFC 6533 §3).
fn is_orcpt(value: &str, smtputf8: bool) -> bool {
    let Some((kind, address)) = value.split_once(';') else {
        return false;
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if value.len() > LONGEST_ORCPT || kind.is_empty() || !kind.chars().all(is_name) {
        return false;
    }
    if smtputf8 && kind.eq_ignore_ascii_case("utf-8") {
        // `=` cannot stand in a value (RFC 5321 §4.1.2) but encoded.
        return !address.is_empty()
            && !address.chars().any(|c| c.is_control() || matches!(c, ' ' | '='));
    }
    is_xtext(address, LONGEST_ORCPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Extension] = &[
        Extension::Size,
        Extension::EightBitMime,
        Extension::SmtpUtf8,
        Extension::Dsn,
        Extension::Chunking,
        Extension::BinaryMime,
    ];

    #[test]
    fn a12_the_known_ones_are_kept_as_written() {
        let text = "size=12 BODY=8bitmime  SMTPUTF8 RET=hdrs ENVID=QQ+2B314 AUTH=<>";
        let expected = OfMail {
            size: Some(12),
            body: BodyKind::EightBitMime,
            smtputf8: true,
            ret: Some(Ret::Headers),
            envid: Some("QQ+2B314".to_owned()),
        };
        assert_eq!(of_mail(text, ALL), Ok(expected));
        let found = of_rcpt("NOTIFY=SUCCESS,delay ORCPT=rfc822;a+40b@c", ALL, false).expect("good");
        assert_eq!(found.notify, Some(Notify { success: true, failure: false, delay: true }));
        assert_eq!(found.orcpt.as_deref(), Some("rfc822;a+40b@c"));
        let never = of_rcpt("notify=never", ALL, false).expect("good");
        assert_eq!(never.notify, Some(Notify::NEVER));
        assert!(of_rcpt("ORCPT=utf-8;grün@c", ALL, true).is_ok());
        assert_eq!(of_mail("BODY=BINARYMIME", ALL).map(|m| m.body), Ok(BodyKind::BinaryMime));
    }

    #[test]
    fn a12_what_is_unknown_or_not_offered_is_refused() {
        for (text, offered) in [
            ("FOO=1", ALL),
            ("FOO", ALL),
            ("=1", ALL),
            ("NOTIFY=NEVER", ALL),
            ("SIZE=1", &[]),
            ("BODY=8BITMIME", &[]),
            ("SMTPUTF8", &[]),
            ("RET=FULL", &[]),
            ("ENVID=a", &[Extension::Size]),
            ("BODY=BINARYMIME", &[Extension::EightBitMime]),
        ] {
            let found = of_mail(text, offered);
            assert!(matches!(found, Err(ParameterError::Unknown(_))), "{text}: {found:?}");
        }
        for (text, offered) in [("SIZE=1", ALL), ("AUTH=<>", ALL), ("ORCPT=rfc822;a@b", &[])] {
            let found = of_rcpt(text, offered, false);
            assert!(matches!(found, Err(ParameterError::Unknown(_))), "{text}: {found:?}");
        }
    }

    #[test]
    fn a08_a12_bad_values_are_refused() {
        for (text, name) in [
            ("SIZE=abc", "SIZE"),
            ("SIZE=", "SIZE"),
            ("SIZE", "SIZE"),
            ("SIZE=-1", "SIZE"),
            ("SIZE=+1", "SIZE"),
            ("SIZE=1 SIZE=2", "SIZE"),
            ("BODY=9BIT", "BODY"),
            ("SMTPUTF8=yes", "SMTPUTF8"),
            ("RET=SOME", "RET"),
            ("ENVID=a+4", "ENVID"),
            ("ENVID=a=b", "ENVID"),
            ("ENVID=", "ENVID"),
            ("ENVID=é", "ENVID"),
            ("AUTH", "AUTH"),
        ] {
            assert_eq!(of_mail(text, ALL), Err(ParameterError::Value(name)), "{text}");
        }
        assert_eq!(of_mail("SIZE=99999999999999999999", ALL), Err(ParameterError::Size));
        let long = format!("ENVID={}", "a".repeat(101));
        assert_eq!(of_mail(&long, ALL), Err(ParameterError::Value("ENVID")));
        for text in ["NOTIFY=", "NOTIFY=NEVER,SUCCESS", "NOTIFY=x", "NOTIFY"] {
            assert_eq!(of_rcpt(text, ALL, false), Err(ParameterError::Value("NOTIFY")), "{text}");
        }
        let equals = of_rcpt("ORCPT=utf-8;ü=x@c", ALL, true);
        assert_eq!(equals, Err(ParameterError::Value("ORCPT")));
        for text in
            ["ORCPT=a@b", "ORCPT=;a@b", "ORCPT=rfc822;", "ORCPT=utf-8;ü@c", "ORCPT=rfc822;a+zz"]
        {
            assert_eq!(of_rcpt(text, ALL, false), Err(ParameterError::Value("ORCPT")), "{text}");
        }
    }
}
