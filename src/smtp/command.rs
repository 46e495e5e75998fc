//! A command line taken apart (RFC 5321 §4.1): the verb, its argument, the path of MAIL and RCPT.
//!
//! It takes the sloppy forms of real programs: lower case, blanks behind the colon, no angle brackets,
//! source routes. It promises that an address comes out byte for byte as it was written, and that none
//! comes out that could not stand in a command line again. Whether the command fits in the dialogue is
//! not its business.

use crate::mail::Address;
use crate::mail::address::AddressError;

/// A command. Arguments are without blanks around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// AUTH with its mechanism and the initial response.
    Auth(&'a str, Option<&'a str>),
    /// BDAT: octets, and whether it is the last chunk.
    Bdat(u64, bool),
    /// DATA.
    Data,
    /// EHLO with the client's name.
    Ehlo(&'a str),
    /// EXPN.
    Expn,
    /// HELO with the client's name.
    Helo(&'a str),
    /// HELP.
    Help,
    /// A request line of HTTP: a browser was led here by a hostile page.
    Http,
    /// MAIL with all that follows; for [`sender`].
    Mail(&'a str),
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// RCPT with all that follows; for [`recipient`].
    Rcpt(&'a str),
    /// RSET.
    Rset,
    /// STARTTLS; whether it has an argument, which it must not.
    StartTls(bool),
    /// VRFY.
    Vrfy,
}

/// What is wrong with a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No verb we know.
    #[error("unknown command")]
    Unknown,
    /// An argument that is missing, is one too many or cannot be read.
    #[error("syntax error")]
    Syntax,
    /// BDAT with a number no machine can hold: where the next command begins cannot be known.
    #[error("chunk too large")]
    ChunkSize,
    /// The path holds no address.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// Reads a line without its end.
///
/// # Errors
/// [`CommandError`], never `Address`.
pub fn parse(line: &str) -> Result<Command<'_>, CommandError> {
    let line = line.trim_matches(is_blank);
    let (verb, argument) = split(line);
    let mut name = [0; 8];
    let name = name.get_mut(..verb.len()).ok_or(CommandError::Unknown)?;
    name.copy_from_slice(verb.as_bytes());
    name.make_ascii_uppercase();
    match std::str::from_utf8(name).unwrap_or_default() {
        "MAIL" => Ok(Command::Mail(argument)),
        "RCPT" => Ok(Command::Rcpt(argument)),
        "EHLO" => some(argument).map(Command::Ehlo),
        "HELO" => some(argument).map(Command::Helo),
        "DATA" => none(argument, Command::Data),
        "RSET" => none(argument, Command::Rset),
        "QUIT" => none(argument, Command::Quit),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" => Ok(Command::Expn),
        "HELP" => Ok(Command::Help),
        "STARTTLS" => Ok(Command::StartTls(!argument.is_empty())),
        "BDAT" => bdat(argument),
        "AUTH" => auth(argument),
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "CONNECT" | "TRACE"
        | "PRI" => Ok(Command::Http),
        _ => Err(CommandError::Unknown),
    }
}

/// The address of MAIL and its parameters; no address is the null sender.
///
/// # Errors
/// `Syntax` where `FROM:` is missing or the path never ends, `Address` where it holds none.
pub fn sender(argument: &str) -> Result<(Option<Address>, &str), CommandError> {
    let (path, parameters) = path(argument, "FROM")?;
    if path.is_empty() {
        return Ok((None, parameters));
    }
    Ok((Some(Address::parse(path)?), parameters))
}

/// The address of RCPT and its parameters.
///
/// # Errors
/// As [`sender`]; the null path is an error too.
pub fn recipient(argument: &str) -> Result<(Address, &str), CommandError> {
    let (path, parameters) = path(argument, "TO")?;
    Ok((Address::parse(path)?, parameters))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

/// The text up to the first blank, and what follows the blanks.
fn split(text: &str) -> (&str, &str) {
    match text.split_once(is_blank) {
        Some((first, rest)) => (first, rest.trim_start_matches(is_blank)),
        None => (text, ""),
    }
}

fn some(argument: &str) -> Result<&str, CommandError> {
    if argument.is_empty() { Err(CommandError::Syntax) } else { Ok(argument) }
}

fn none<'a>(argument: &str, command: Command<'a>) -> Result<Command<'a>, CommandError> {
    if argument.is_empty() { Ok(command) } else { Err(CommandError::Syntax) }
}

fn auth(argument: &str) -> Result<Command<'_>, CommandError> {
    let (mechanism, initial) = split(some(argument)?);
    if initial.contains(is_blank) {
        return Err(CommandError::Syntax);
    }
    Ok(Command::Auth(mechanism, (!initial.is_empty()).then_some(initial)))
}

fn bdat(argument: &str) -> Result<Command<'_>, CommandError> {
    let (size, last) = split(argument);
    if size.is_empty() || !size.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(CommandError::Syntax);
    }
    let size = size.parse().map_err(|_| CommandError::ChunkSize)?;
    // Whatever stands in the place of LAST, the octets come: they must not be taken for commands.
    Ok(Command::Bdat(size, last.eq_ignore_ascii_case("LAST")))
}

/// What stands in the angle brackets, without a source route, and what follows them.
fn path<'a>(argument: &'a str, word: &str) -> Result<(&'a str, &'a str), CommandError> {
    let rest = match argument.get(..word.len()) {
        Some(head) if head.eq_ignore_ascii_case(word) => &argument[word.len()..],
        _ => return Err(CommandError::Syntax),
    };
    let rest = rest.trim_start_matches(is_blank).strip_prefix(':').ok_or(CommandError::Syntax)?;
    let rest = rest.trim_start_matches(is_blank);
    let (path, parameters) = match rest.strip_prefix('<') {
        Some(inner) => {
            let end = outside_quotes(inner, |c| c == '>').ok_or(CommandError::Syntax)?;
            (inner[..end].trim_matches(is_blank), &inner[end + 1..])
        }
        None => {
            let end = outside_quotes(rest, is_blank).unwrap_or(rest.len());
            if end == 0 {
                return Err(CommandError::Syntax);
            }
            rest.split_at(end)
        }
    };
    if !parameters.is_empty() && !parameters.starts_with(is_blank) {
        return Err(CommandError::Syntax);
    }
    Ok((without_route(path), parameters.trim_matches(is_blank)))
}

/// `@a.example,@b.example:user@c.example` is `user@c.example` (RFC 5321 §4.1.1.3, appendix C).
fn without_route(path: &str) -> &str {
    match path.split_once(':') {
        Some((_, address)) if path.starts_with('@') => address,
        _ => path,
    }
}

fn outside_quotes(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && wanted(c) => return Some(index),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn verbs_and_their_arguments() {
        for (line, command) in [
            ("EHLO a.example", Ok(Command::Ehlo("a.example"))),
            ("ehlo  [127.0.0.1] ", Ok(Command::Ehlo("[127.0.0.1]"))),
            ("HELO my pc", Ok(Command::Helo("my pc"))),
            ("EHLO", Err(CommandError::Syntax)),
            ("Data", Ok(Command::Data)),
            ("DATA x", Err(CommandError::Syntax)),
            ("RSET\t", Ok(Command::Rset)),
            ("NOOP whatever", Ok(Command::Noop)),
            ("STARTTLS", Ok(Command::StartTls(false))),
            ("STARTTLS now", Ok(Command::StartTls(true))),
            ("auth login", Ok(Command::Auth("login", None))),
            ("AUTH PLAIN =", Ok(Command::Auth("PLAIN", Some("=")))),
            ("AUTH PLAIN a b", Err(CommandError::Syntax)),
            ("AUTH", Err(CommandError::Syntax)),
            ("BDAT 12", Ok(Command::Bdat(12, false))),
            ("BDAT 0 last", Ok(Command::Bdat(0, true))),
            ("BDAT -1", Err(CommandError::Syntax)),
            ("BDAT", Err(CommandError::Syntax)),
            ("BDAT 99999999999999999999", Err(CommandError::ChunkSize)),
            ("", Err(CommandError::Unknown)),
            ("XYZZY", Err(CommandError::Unknown)),
            ("MAILFROM:<a@b>", Err(CommandError::Unknown)),
            ("ÄÖÜß", Err(CommandError::Unknown)),
        ] {
            assert_eq!(parse(line), command, "{line:?}");
        }
    }

    #[test]
    fn a24_http_is_known() {
        for line in
            ["POST / HTTP/1.1", "GET /", "put /x HTTP/1.0", "PRI * HTTP/2.0", "CONNECT a:25"]
        {
            assert_eq!(parse(line), Ok(Command::Http), "{line}");
        }
    }

    #[test]
    fn a11_sloppy_paths_are_taken_and_kept_byte_for_byte() {
        for (argument, address, parameters) in [
            ("FROM:<a@b>", "a@b", ""),
            ("FROM: <a@b>", "a@b", ""),
            ("from:<a@b> size=1  BODY=7BIT", "a@b", "size=1  BODY=7BIT"),
            ("FROM :< a@b >", "a@b", ""),
            ("FROM:a@b SIZE=1", "a@b", "SIZE=1"),
            ("FROM:<root>", "root", ""),
            ("FROM:<@x,@y:a@b>", "a@b", ""),
            ("FROM:<\"a b\"@c.example>", "\"a b\"@c.example", ""),
            ("FROM:<\"a>\\\"b\"@c.example> SIZE=2", "\"a>\\\"b\"@c.example", "SIZE=2"),
            ("FROM:\"a b\"@c.example", "\"a b\"@c.example", ""),
            ("FROM:<a@[127.0.0.1]>", "a@[127.0.0.1]", ""),
            ("FROM:<a@[IPv6:::1]>", "a@[IPv6:::1]", ""),
            ("FROM:<a@under_score>", "a@under_score", ""),
            ("FROM:<A@B.Example>", "A@B.Example", ""),
            ("FROM:<grün@bäcker.example>", "grün@bäcker.example", ""),
        ] {
            let (found, rest) = sender(argument).expect(argument);
            assert_eq!(found.as_ref().map(Address::as_str), Some(address), "{argument}");
            assert_eq!(rest, parameters, "{argument}");
        }
        assert_eq!(sender("FROM:<>"), Ok((None, "")));
        assert_eq!(sender("FROM:< > SIZE=1"), Ok((None, "SIZE=1")));
        let long = format!("TO:<{}@b.example>", "a".repeat(70));
        assert_eq!(recipient(&long).expect("long").0.local().len(), 70);
    }

    #[test]
    fn a11_a17_bad_paths_are_refused() {
        use AddressError::{BadCharacter, Empty, Parts};
        for (argument, error) in [
            ("", CommandError::Syntax),
            ("TO", CommandError::Syntax),
            ("TO:", CommandError::Syntax),
            ("FROM:<a@b>", CommandError::Syntax),
            ("TO:<a@b", CommandError::Syntax),
            ("TO:<\"a@b>", CommandError::Syntax),
            ("TO:<a@b>x", CommandError::Syntax),
            ("TO:a@b>", CommandError::Address(BadCharacter)),
            ("TO:<>", CommandError::Address(Empty)),
            ("TO:<@a,@b:>", CommandError::Address(Empty)),
            ("TO:<a b@c>", CommandError::Address(BadCharacter)),
            ("TO:<a\0b@c>", CommandError::Address(BadCharacter)),
            ("TO:<a\rb@c>", CommandError::Address(BadCharacter)),
            ("TO:<a@>", CommandError::Address(Parts)),
            ("TÖ:<a@b>", CommandError::Syntax),
        ] {
            assert_eq!(recipient(argument).map(|(a, _)| a), Err(error), "{argument:?}");
        }
    }

    #[test]
    fn smtp_proto_reads_the_same() {
        use smtp_proto::Request;
        for line in [
            "EHLO a.example",
            "HELO a",
            "MAIL FROM:<a@b.example> SIZE=12",
            "MAIL FROM:<>",
            "RCPT TO:<a+b@c.example>",
            "mail from:<a@b.example>",
            "RCPT TO:<o'brien@c.example> NOTIFY=NEVER",
            "DATA",
            "RSET",
            "NOOP",
            "QUIT",
            "STARTTLS",
            "VRFY a",
            "EXPN a",
            "HELP",
            "BDAT 10",
            "BDAT 0 LAST",
            "AUTH PLAIN AGEAYg==",
            "XYZZY",
            "MAIL FROM:<a@b",
            "RCPT TO:",
        ] {
            let wire = format!("{line}\r\n");
            let theirs = Request::parse(&mut wire.as_bytes().iter());
            match (parse(line), theirs) {
                (Ok(Command::Mail(argument)), Ok(Request::Mail { from })) => {
                    let (address, _) = sender(argument).expect(line);
                    assert_eq!(
                        address.as_ref().map_or("", Address::as_str),
                        from.address,
                        "{line}"
                    );
                }
                (Ok(Command::Rcpt(argument)), Ok(Request::Rcpt { to })) => {
                    assert_eq!(recipient(argument).expect(line).0.as_str(), to.address, "{line}");
                }
                (Ok(Command::Mail(argument)), Err(_)) => {
                    assert!(sender(argument).is_err(), "{line}")
                }
                (Ok(Command::Rcpt(argument)), Err(_)) => {
                    assert!(recipient(argument).is_err(), "{line}")
                }
                (Ok(Command::Bdat(size, last)), Ok(Request::Bdat { chunk_size, is_last })) => {
                    assert_eq!((size, last), (chunk_size as u64, is_last), "{line}");
                }
                (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
                (ours, theirs) => panic!("{line}: {ours:?}, {theirs:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn plain_addresses_are_read_as_smtp_proto_reads_them(
            local in "[a-z0-9]{1,8}([.+=_-][a-z0-9]{1,4}){0,3}",
            domain in "[a-z][a-z0-9-]{0,6}[a-z](\\.[a-z]{2,5}){1,3}",
        ) {
            let line = format!("RCPT TO:<{local}@{domain}>\r\n");
            let Ok(smtp_proto::Request::Rcpt { to }) = smtp_proto::Request::parse(&mut line.as_bytes().iter()) else {
                return Err(TestCaseError::reject("theirs is no RCPT"));
            };
            let Ok(Command::Rcpt(argument)) = parse(&line) else {
                return Err(TestCaseError::fail("no RCPT"));
            };
            let (address, _) = recipient(argument).expect("address");
            prop_assert_eq!(address.as_str(), &*to.address);
        }

        #[test]
        fn nothing_that_could_harm_comes_out(line in "\\PC{0,60}|(MAIL FROM:|RCPT TO:)[<>@:\"\\\\ a-c\\x00-\\x1f]{0,24}") {
            let found = match parse(&line) {
                Ok(Command::Mail(argument)) => sender(argument).ok().and_then(|(address, _)| address),
                Ok(Command::Rcpt(argument)) => recipient(argument).ok().map(|(address, _)| address),
                _ => None,
            };
            if let Some(address) = found {
                let again = format!("TO:<{address}> SIZE=1");
                prop_assert!(!address.as_str().chars().any(char::is_control));
                prop_assert_eq!(recipient(&again), Ok((address, "SIZE=1")));
            }
        }
    }
}
