//! Every known error code and text as data: cause, class, remedy. Pure.
//!
//! Used by whoever has to judge or explain. Rows stand in `entra`, `exchange`, `google`,
//! `graph`, `managed` and `token`.

pub mod entra;
pub mod exchange;
pub mod google;
pub mod graph;
pub mod managed;
pub mod token;

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

/// What the placeholders of a text stand for, by name: `("mailbox", "erp@contoso.com")`. Rows of `entra` may
/// use `account`, `client_id`, `tenant`, `mailbox` and `sign_in` (how somebody signs in again), rows of `exchange` only `account` and `mailbox`.
pub type Names<'a> = [(&'static str, &'a str)];

/// Fills the placeholders (`{mailbox}`) in one pass: what a value contains is never read again.
/// An unknown placeholder stays as it is.
pub fn fill(text: &str, names: &Names<'_>) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(close) = rest.find('}') else { break };
        let known = names.iter().find(|(name, _)| *name == &rest[1..close]);
        out.push_str(known.map_or(&rest[..=close], |(_, value)| value));
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
        let names = [
            ("account", "{mailbox}"),
            ("client_id", "c"),
            ("tenant", "t"),
            ("mailbox", "m@example.com"),
        ];
        for (template, expected) in [
            ("", ""),
            ("no place", "no place"),
            ("{account}:{client_id}:{tenant}:{mailbox}.", "{mailbox}:c:t:m@example.com."),
            ("{other} {account", "{other} {account"),
            ("a } b {tenant}", "a } b t"),
        ] {
            assert_eq!(fill(template, &names), expected);
        }
    }
}
