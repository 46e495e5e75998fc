//! Who sends and who gets it: from the command line and from the header.
//!
//! It promises that an address that cannot be read stops the mail before anything is sent. It changes no
//! address but one: a sender without a domain gets this machine's, as sendmail does it. Pure.

use super::options::Options;
use super::{Failure, exit};
use crate::mail::recipients::{self, ListError};
use crate::mail::{Address, header};

/// The sender of the envelope; none is the null sender.
pub(super) fn sender(
    options: &Options,
    hostname: &str,
    own: &Address,
) -> Result<Option<Address>, Failure> {
    let text = match options.sender.as_deref().map(str::trim) {
        None => return Ok(Some(own.clone())),
        Some("" | "<>") => return Ok(None),
        Some(text) => text,
    };
    let wrong = |why: &dyn std::fmt::Display| Failure::new(exit::USAGE, format!("-f: {why}"));
    let mut found = recipients::list(text.as_bytes()).map_err(|error| wrong(&error))?;
    match (found.pop(), found.is_empty()) {
        (Some(address), true) if address.domain().is_none() => {
            let qualified = Address::parse(&format!("{address}@{hostname}"));
            qualified.map(Some).map_err(|error| wrong(&error))
        }
        (Some(address), true) => Ok(Some(address)),
        _ => Err(wrong(&"one address is wanted")),
    }
}

/// The recipients of the command line; each word may be a list.
pub(super) fn named(words: &[String]) -> Result<Vec<Address>, Failure> {
    let mut to = Vec::new();
    for word in words {
        let wrong = |error: ListError| Failure::new(exit::USAGE, error);
        let found = recipients::list(word.as_bytes()).map_err(wrong)?;
        // Nobody's address, but somebody's option that got among the recipients.
        if let Some(option) = found.iter().find(|address| address.as_str().starts_with('-')) {
            return Err(Failure::new(exit::USAGE, format!("{option} is no recipient")));
        }
        add_new(&mut to, found);
    }
    Ok(to)
}

/// Appends those that are not there yet.
pub(super) fn add_new(to: &mut Vec<Address>, found: Vec<Address>) {
    for address in found {
        if !to.contains(&address) {
            to.push(address);
        }
    }
}

/// The recipients that stand in the header. A mail that is sent again has its own fields for it
/// (RFC 5322 §3.6.6); who got it the first time does not get it twice.
pub(super) fn written(fields: &[u8]) -> Result<Vec<Address>, Failure> {
    const AGAIN: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];
    const FIRST: [&str; 3] = ["To", "Cc", "Bcc"];
    let is_again = header::fields(fields).any(|field| AGAIN.iter().any(|name| field.is(name)));
    let names = if is_again { AGAIN } else { FIRST };
    let mut to = Vec::new();
    for field in header::fields(fields).filter(|field| names.iter().any(|name| field.is(name))) {
        let wrong = |error| Failure::new(exit::DATA, format!("{}: {error}", field.name));
        add_new(&mut to, recipients::list(field.value()).map_err(wrong)?);
    }
    Ok(to)
}
