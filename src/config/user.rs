//! `[[user]]`, and the accounts that users and listeners name.

use super::account::secret;
use super::check::Surroundings;
use super::section::{HIDDEN, Section};
use super::value::{self, Wrong};
use super::{Password, User};
use crate::secret::Secret;

/// The `account` a listener or a user names: one of `names`.
pub(super) fn reference(section: &Section<'_>, names: &[String]) -> Option<String> {
    let account = section.optional::<String>("account")?;
    check_reference(section, "account", &account, names);
    Some(account)
}

fn check_reference(section: &Section<'_>, key: &str, account: &String, names: &[String]) {
    if !names.is_empty() && !names.contains(account) {
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let remedy = value::unknown_word(account, &known).remedy;
        section.wrong(key, format!("there is no account {account:?}"), remedy);
    }
}

/// `account` or `accounts` of a user.
fn references(section: &Section<'_>, names: &[String]) -> Vec<String> {
    let one = reference(section, names);
    let several = section.optional::<Vec<String>>("accounts").unwrap_or_default();
    for account in &several {
        check_reference(section, "accounts", account, names);
    }
    if section.is_given("account") && section.is_given("accounts") {
        section.wrong("accounts", "stands beside account", "keep one of the two");
    }
    one.into_iter().chain(several).collect()
}

/// One `[[user]]`.
pub(super) fn user(
    section: Section<'_>,
    around: &Surroundings<'_>,
    accounts: &[String],
) -> Option<User> {
    let name = section.required::<String>("name", "write the name the program logs in with");
    let clear = secret(&section, around, "password", "password_file");
    let hash = section.node("password_hash").and_then(|node| match value::text(node) {
        Ok(text) if argon2::PasswordHash::new(text).is_ok_and(|_| text.starts_with("$argon2")) => {
            Some(Secret::new(text))
        }
        Ok(_) => {
            section.wrong(
                "password_hash",
                "is not an argon2 hash",
                "make one with `submitd user hash`; it begins with $argon2id$",
            );
            None
        }
        Err(Wrong { what, remedy, .. }) => {
            section.wrong("password_hash", what, remedy);
            None
        }
    });
    section.note("password_hash", hash.as_ref().map(|_| HIDDEN.to_owned()), None);
    let accounts = references(&section, accounts);
    let senders = section.optional("senders").unwrap_or_default();
    let recipients = section.optional("recipients").unwrap_or_default();
    let plain = section.is_given("password") || section.is_given("password_file");
    match (plain, section.is_given("password_hash")) {
        (true, true) => {
            section.wrong("password_hash", "stands beside a password", "keep one of the two")
        }
        (false, false) => {
            section.wrong(
                "password",
                "is missing",
                "write password_hash, password_file or password",
            );
        }
        _ => {}
    }
    section.finish(&[]);
    let password = clear.map(Password::Clear).or(hash.map(Password::Hash));
    Some(User { name: name?, password: password?, accounts, senders, recipients })
}
