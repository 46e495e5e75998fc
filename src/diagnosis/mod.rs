//! Every known error code and text as data: cause, class, remedy. Pure.
//!
//! Used by whoever has to judge or explain. Rows stand in `entra`, `exchange`, `google`
//! and `managed`.

pub mod entra;
pub mod exchange;
pub mod google;
pub mod managed;

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It passes by itself.
    Transient,
    /// The user must sign in again.
    SignIn,
    /// An administrator must change something.
    Administrator,
}

impl Class {
    /// The word for logs and `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::SignIn => "sign-in",
            Class::Administrator => "administrator",
        }
    }
}

/// What the placeholders of a remedy stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// `{account}`: the name in the configuration.
    pub account: &'a str,
    /// `{client_id}`: the application (client) id.
    pub client_id: &'a str,
    /// `{tenant}`: tenant id or domain.
    pub tenant: &'a str,
    /// `{mailbox}`: the address whose token it is.
    pub mailbox: &'a str,
}

/// Fills the placeholders of a remedy in one pass: what a value contains is never read again.
/// An unknown placeholder stays as it is.
pub fn fill(remedy: &str, place: &Place<'_>) -> String {
    let mut out = String::with_capacity(remedy.len() + 64);
    let mut rest = remedy;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(close) = rest.find('}') else { break };
        let name = &rest[..=close];
        out.push_str(match name {
            "{account}" => place.account,
            "{client_id}" => place.client_id,
            "{tenant}" => place.tenant,
            "{mailbox}" => place.mailbox,
            other => other,
        });
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_replaces_in_one_pass() {
        let place =
            Place { account: "{mailbox}", client_id: "c", tenant: "t", mailbox: "m@example.com" };
        for (template, expected) in [
            ("", ""),
            ("no place", "no place"),
            ("{account}:{client_id}:{tenant}:{mailbox}.", "{mailbox}:c:t:m@example.com."),
            ("{other} {account", "{other} {account"),
            ("a } b {tenant}", "a } b t"),
        ] {
            assert_eq!(fill(template, &place), expected);
        }
    }
}
