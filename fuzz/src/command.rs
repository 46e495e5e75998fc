//! Command lines: what comes out may be written into a command line again, and it is what another
//! implementation (`smtp-proto`) reads, but for the differences that are listed with their reasons.

use smtp_proto::{
    MAIL_BODY_8BITMIME, MAIL_BODY_BINARYMIME, MAIL_SMTPUTF8, MailFrom, RcptTo, Request,
};
use std::borrow::Cow;
use submitd::mail::{Address, BodyKind};
use submitd::smtp::command::{self, Command, CommandError};
use submitd::smtp::extension::Extension;
use submitd::smtp::parameter;

const OFFERED: &[Extension] = &[
    Extension::Size,
    Extension::EightBitMime,
    Extension::SmtpUtf8,
    Extension::Dsn,
    Extension::Chunking,
    Extension::BinaryMime,
];

/// Where the other one reads otherwise: why, and whether this line is such a one.
type Difference = (&'static str, fn(&str) -> bool);

/// Differences that are no fault of ours. The line is in upper case.
const DIFFERENCES: &[Difference] = &[
    ("it takes quotes and backslashes out of local parts", |line| line.contains(['"', '\\'])),
    ("it drops CR and control characters where we refuse, and reads octets, not UTF-8", |line| {
        line.chars().any(|c| c.is_control() || !c.is_ascii())
    }),
    ("it stops at a single blank; old programs write more", |line| {
        line.contains("  ") || line.starts_with(' ') || line.ends_with(' ')
    }),
    ("it looks for no blank around FROM and TO", |line| {
        [": ", " :", "< ", " >"].iter().any(|sloppy| line.contains(sloppy))
    }),
    ("it takes parameters that follow the path without a blank", |line| {
        line.match_indices('>')
            .any(|(at, _)| !matches!(line[at + 1..].chars().next(), None | Some(' ')))
    }),
    ("it wants angle brackets and a dot in each domain, we take what old programs write", |line| {
        is_path(line) && !has_plain_path(line)
    }),
    ("it has rules of its own for the values of AUTH, ENVID and ORCPT, we pass them on", |line| {
        [" AUTH=", " ENVID=", " ORCPT="].iter().any(|keyword| line.contains(keyword))
    }),
    ("it takes an argument of DATA, RSET, QUIT and STARTTLS", |line| {
        ["DATA ", "RSET ", "QUIT ", "STARTTLS "].iter().any(|verb| line.starts_with(verb))
    }),
    ("it knows LHLO, ETRN, ATRN and BURL, which submission does not have", |line| {
        ["LHLO", "ETRN", "ATRN", "BURL"].iter().any(|verb| line.starts_with(verb))
    }),
    ("it wants an argument of VRFY and EXPN that is no longer than an address", |line| {
        ["VRFY", "EXPN"].iter().any(|verb| line.starts_with(verb))
    }),
    (
        "a name in EHLO ends at a blank there and is at most a domain; programs send what they like",
        |line| {
            let rest = line.strip_prefix("EHLO ").or_else(|| line.strip_prefix("HELO "));
            rest.is_some_and(|name| name.contains(' ') || name.len() > 200)
        },
    ),
    ("numbers wrap around there: SIZE=99999999999999999999 is 999", |line| {
        line.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 15)
    }),
    ("it does not know every word behind BDAT; the octets come whatever it is", |line| {
        line.starts_with("BDAT ")
    }),
    ("it wants a known mechanism in AUTH and takes blanks in the response", |line| {
        line.starts_with("AUTH")
    }),
    ("HTTP is known to us, to be cut off", |line| {
        matches!(command::parse(line), Ok(Command::Http))
    }),
];

/// One line without its end.
pub fn check(octets: &[u8]) {
    let line = String::from_utf8_lossy(octets).replace('\n', " ");
    let ours = command::parse(&line);
    match ours {
        Ok(Command::Mail(argument)) => {
            if let Ok((address, rest)) = command::sender(argument) {
                let _ = parameter::of_mail(rest, OFFERED).map(|found| {
                    assert!(found.envid.iter().all(|envid| is_value(envid)), "{found:?}");
                });
                address.iter().for_each(round);
            }
        }
        Ok(Command::Rcpt(argument)) => {
            if let Ok((address, rest)) = command::recipient(argument) {
                for smtputf8 in [false, true] {
                    let _ = parameter::of_rcpt(rest, OFFERED, smtputf8).map(|found| {
                        assert!(found.orcpt.iter().all(|orcpt| is_value(orcpt)), "{found:?}");
                    });
                }
                round(&address);
            }
        }
        _ => {}
    }
    if let Err(what) = compare(&line, ours) {
        let upper = line.to_ascii_uppercase();
        let known = DIFFERENCES.iter().any(|(_, is_such)| is_such(&upper));
        assert!(known, "{line:?}: {what}");
    }
}

/// An address that came out is read to itself, with anything behind it.
fn round(address: &Address) {
    assert!(!address.as_str().contains(char::is_control));
    for line in [format!("TO:<{address}> SIZE=1"), format!("to: {address} SIZE=1")] {
        assert_eq!(command::recipient(&line), Ok((address.clone(), "SIZE=1")), "{line:?}");
    }
}

/// Whether it stays one value of one parameter of one line.
fn is_value(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || matches!(c, ' ' | '='))
}

fn compare(line: &str, ours: Result<Command<'_>, CommandError>) -> Result<(), String> {
    let wire = format!("{line}\r\n");
    let theirs = Request::parse(&mut wire.as_bytes().iter());
    let same = match (&ours, &theirs) {
        (Ok(Command::Mail(argument)), Ok(Request::Mail { from })) => return mail(argument, from),
        (Ok(Command::Rcpt(argument)), Ok(Request::Rcpt { to })) => return rcpt(argument, to),
        // They read path and parameters at once.
        (Ok(Command::Mail(argument)), Err(_)) => command::sender(argument)
            .map_or(true, |(_, rest)| parameter::of_mail(rest, OFFERED).is_err()),
        (Ok(Command::Rcpt(argument)), Err(_)) => command::recipient(argument)
            .map_or(true, |(_, rest)| parameter::of_rcpt(rest, OFFERED, false).is_err()),
        (Ok(Command::Bdat(size, last)), Ok(Request::Bdat { chunk_size, is_last })) => {
            (*size, *last) == (*chunk_size as u64, *is_last)
        }
        (Ok(Command::Ehlo(name)), Ok(Request::Ehlo { host })) => name == host,
        (Ok(Command::Helo(name)), Ok(Request::Helo { host })) => name == host,
        (Ok(Command::Auth(..)), Ok(Request::Auth { .. }))
        | (Ok(Command::Data), Ok(Request::Data))
        | (Ok(Command::Expn), Ok(Request::Expn { .. }))
        | (Ok(Command::Help), Ok(Request::Help { .. }))
        | (Ok(Command::Noop), Ok(Request::Noop { .. }))
        | (Ok(Command::Quit), Ok(Request::Quit))
        | (Ok(Command::Rset), Ok(Request::Rset))
        | (Ok(Command::StartTls(_)), Ok(Request::StartTls))
        | (Ok(Command::Vrfy), Ok(Request::Vrfy { .. }))
        | (Err(_), Err(_)) => true,
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("we read {ours:?}, they {theirs:?}")) }
}

fn mail(argument: &str, theirs: &MailFrom<Cow<'_, str>>) -> Result<(), String> {
    let (address, rest) = command::sender(argument).map_err(|error| error.to_string())?;
    let ours = address.as_ref().map_or("", Address::as_str);
    if ours != theirs.address {
        return Err(format!("we read {ours:?}, they {:?}", theirs.address));
    }
    // They take what we do not offer, and what comes twice.
    let Ok(found) = parameter::of_mail(rest, OFFERED) else {
        return Ok(());
    };
    let flag = |flag| theirs.flags & flag != 0;
    let same = found.size.unwrap_or(0) == theirs.size as u64
        && found.smtputf8 == flag(MAIL_SMTPUTF8)
        && (found.body == BodyKind::EightBitMime) == flag(MAIL_BODY_8BITMIME)
        && (found.body == BodyKind::BinaryMime) == flag(MAIL_BODY_BINARYMIME);
    if same { Ok(()) } else { Err(format!("we read {found:?}, they {theirs:?}")) }
}

fn rcpt(argument: &str, theirs: &RcptTo<Cow<'_, str>>) -> Result<(), String> {
    let (address, _) = command::recipient(argument).map_err(|error| error.to_string())?;
    // Theirs loses the type of ORCPT, so of the parameters nothing is compared.
    let same = address.as_str() == theirs.address;
    if same { Ok(()) } else { Err(format!("we read {address}, they {:?}", theirs.address)) }
}

fn is_path(line: &str) -> bool {
    line.starts_with("MAIL") || line.starts_with("RCPT")
}

/// `MAIL FROM:<local@domain>` as RFC 5321 §4.1.2 has it, the local part no quoted string.
fn has_plain_path(line: &str) -> bool {
    let rest = line.strip_prefix("MAIL FROM:<").or_else(|| line.strip_prefix("RCPT TO:<"));
    let Some((path, behind)) = rest.and_then(|rest| rest.split_once('>')) else {
        return false;
    };
    let Some((local, domain)) = path.split_once('@') else {
        return path.is_empty() && line.starts_with("MAIL");
    };
    let is_atom = |atom: &str| {
        let is_text = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        !atom.is_empty() && atom.chars().all(is_text)
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() < 64
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    local.len() <= 64
        && local.split('.').all(is_atom)
        && domain.len() <= 200
        && domain.contains('.')
        && domain.split('.').all(is_label)
        && (behind.is_empty() || behind.starts_with(' '))
}
