//! Who calls: the user's name and how it stands in `From:`.
//!
//! It promises that the name is one field of printable ASCII, whatever stands in the password file or
//! behind `-F`. The password file is read as text: a static program has no other way to ask.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::os::unix::fs::MetadataExt;

/// Octets of text in one encoded word: with 75 characters at most in all (RFC 2047 §2), base64.
const WORD: usize = 42;

/// The user who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The login name.
    pub login: String,
    /// The full name, where one is known.
    pub name: Option<String>,
}

impl Caller {
    /// The user this process belongs to. One that is in no `/etc/passwd` is known by `$LOGNAME`.
    pub fn find() -> Self {
        let user = std::fs::metadata("/proc/self").map_or(0, |about| about.uid());
        let known = std::fs::read("/etc/passwd").unwrap_or_default();
        of_user(&String::from_utf8_lossy(&known), user).unwrap_or_else(|| Self {
            login: ["LOGNAME", "USER"]
                .into_iter()
                .filter_map(|name| std::env::var(name).ok())
                .find(|login| is_login(login))
                .unwrap_or_else(|| format!("uid{user}")),
            name: None,
        })
    }
}

/// Whether a text may stand before an `@` as it is.
fn is_login(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    !text.is_empty() && text.len() <= 64 && text.chars().all(fits) && !text.starts_with('-')
}

/// Looks a user up in the lines of a password file.
fn of_user(passwd: &str, user: u32) -> Option<Caller> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let login = fields.next().filter(|login| is_login(login))?;
        let is_it = fields.nth(1)?.parse() == Ok(user);
        let gecos = fields.nth(1).unwrap_or_default();
        // Behind commas stand room and telephone; `&` is the login name with a capital.
        let name = gecos.split(',').next().unwrap_or_default().trim();
        let name = name.replace('&', &capital(login));
        is_it
            .then(|| Caller { login: login.to_owned(), name: Some(name).filter(|n| !n.is_empty()) })
    })
}

fn capital(login: &str) -> String {
    let mut letters = login.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// A whole `From:` field with its CRLF.
pub fn from_field(name: Option<&str>, address: &str) -> String {
    match name.map(phrase).filter(|phrase| !phrase.is_empty()) {
        Some(phrase) => format!("From: {phrase} <{address}>\r\n"),
        None => format!("From: {address}\r\n"),
    }
}

/// A name as RFC 5322 §3.2.5 wants it: words, a quoted string, or the encoded words of RFC 2047.
fn phrase(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let name = name.trim();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c);
    if !name.is_ascii() || name.contains("=?") {
        return encoded(name);
    }
    if name.chars().all(is_word) {
        return name.to_owned();
    }
    let escaped: String = name
        .chars()
        .flat_map(|c| ['\\'].into_iter().filter(move |_| "\"\\".contains(c)).chain([c]))
        .collect();
    format!("\"{escaped}\"")
}

fn encoded(name: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in name.chars() {
        if word.len() + c.len_utf8() > WORD {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let words: Vec<String> =
        words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_file_is_read() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n+::::::\nbroken\n\
                      ann:x:1000:1000:Ann Müller,Room 1,,:/home/ann:/bin/sh\n\
                      bob:x:1001:1001:& Smith:/home/bob:/bin/sh\nsrv:x:1002:1002::/:/bin/false\n";
        for (user, login, name) in [
            (0, "root", Some("root")),
            (1000, "ann", Some("Ann Müller")),
            (1001, "bob", Some("Bob Smith")),
            (1002, "srv", None),
        ] {
            let expected = Caller { login: login.into(), name: name.map(Into::into) };
            assert_eq!(of_user(passwd, user), Some(expected));
        }
        assert_eq!(of_user(passwd, 7), None);
        assert!(is_login(&Caller::find().login));
    }

    #[test]
    fn names_are_quoted_or_encoded_and_never_break_out() {
        for (name, expected) in [
            ("CronDaemon", "From: CronDaemon <a@x>\r\n"),
            ("Ann Smith", "From: Ann Smith <a@x>\r\n"),
            ("Smith, \"A\" \\", "From: \"Smith, \\\"A\\\" \\\\\" <a@x>\r\n"),
            ("root@host (Cron)", "From: \"root@host (Cron)\" <a@x>\r\n"),
            ("Jörg", "From: =?utf-8?B?SsO2cmc=?= <a@x>\r\n"),
            ("=?utf-8?Q?x?=", "From: =?utf-8?B?PT91dGYtOD9RP3g/PQ==?= <a@x>\r\n"),
            ("x\r\nBcc: y@z", "From: \"x  Bcc: y@z\" <a@x>\r\n"),
            (" \n ", "From: a@x\r\n"),
        ] {
            assert_eq!(from_field(Some(name), "a@x"), expected, "{name:?}");
        }
        assert_eq!(from_field(None, "a@x"), "From: a@x\r\n");
        let long = from_field(Some(&"ü".repeat(100)), "a@x");
        assert!(long.lines().all(|line| line.len() <= 85), "{long}");
        assert_eq!(long.matches("=?utf-8?B?").count(), 5);
    }
}
