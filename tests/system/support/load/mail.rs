//! Numbered mails: what mail 17 is follows from the 17, so that what arrives can be held against it.

use crate::support::mails;
use std::fmt::Write;

/// Every so many mails one has a body that lies in a file of its own.
const LARGE_EVERY: usize = 23;
const LARGE: usize = 300_000;
const SMALL: usize = 1_500;

/// Where mail `number` goes: to one, and every seventh to five, of whom one is sometimes busy.
pub fn recipients(number: usize) -> Vec<String> {
    let count = if number % 7 == 3 { 5 } else { 1 };
    let name = |at| if number % 21 == 3 && at == 2 { "busy" } else { "r" };
    (0..count).map(|at| format!("{}{number}-{at}@example.org", name(at))).collect()
}

/// Whether its body is larger than what the queue keeps in its rows.
pub fn is_large(number: usize) -> bool {
    number % LARGE_EVERY == 5
}

/// The whole mail; no line begins with a dot.
pub fn octets(number: usize) -> Vec<u8> {
    let mut text = format!(
        "From: ERP <erp@contoso.com>\r\nTo: all@example.org\r\nSubject: mail {number}\r\n\
         Date: Sat, 21 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{number}@contoso.com>\r\n\r\n"
    );
    let size = if is_large(number) { LARGE } else { SMALL };
    let mut line = 0_usize;
    while text.len() < size {
        let _ = write!(text, "{number:>10} {line:>10} {}\r\n", "abcdefghij".repeat(5));
        line += 1;
    }
    text.into_bytes()
}

/// Number and queue id of a mail that arrived.
pub fn read(arrived: &[u8]) -> Option<(usize, String)> {
    let head = String::from_utf8_lossy(&arrived[..arrived.len().min(1_500)]);
    let number = head.lines().find_map(|line| line.strip_prefix("Subject: mail "))?;
    let id = head.split_once(" id ")?.1.get(..16)?;
    Some((number.parse().ok()?, id.to_owned()))
}

/// What is not as it was handed in, if anything.
pub fn difference(number: usize, arrived: &[u8]) -> Option<String> {
    mails::difference(mails::without_our_received(arrived), &octets(number))
}
