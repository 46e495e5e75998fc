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

/// Fills the placeholders (`{mailbox}`) in one pass: what a value contains is never read again. Of `{'mailbox'}`
/// comes what PowerShell takes for one word. An unknown placeholder stays as it is.
pub fn fill(text: &str, names: &Names<'_>) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(close) = rest.find('}') else { break };
        let asked = &rest[1..close];
        let word = asked.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        match names.iter().find(|(name, _)| *name == word.unwrap_or(asked)) {
            Some((_, value)) if word.is_some() => out.push_str(&quoted(value)),
            Some((_, value)) => out.push_str(value),
            None => out.push_str(&rest[..=close]),
        }
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    out
}

/// A word that PowerShell takes as it is: single quotes are doubled inside single quotes.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._-".contains(c);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain);
    // A placeholder for the reader stays one.
    if is_word || text.starts_with('<') && text.ends_with('>') {
        return text.to_owned();
    }
    let mut out = String::from("'");
    for c in text.chars() {
        out.push(c);
        // What a word processor makes of a quote ends the text for PowerShell, too.
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            out.push(c);
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_word_means_what_it_shows() {
        for (text, wanted) in [
            ("erp@contoso.com", "erp@contoso.com"),
            ("o'brien@contoso.com", "'o''brien@contoso.com'"),
            ("o\u{2019}brien@contoso.com", "'o\u{2019}\u{2019}brien@contoso.com'"),
            ("a;Remove-Mailbox x@y", "'a;Remove-Mailbox x@y'"),
            ("$(x)@y", "'$(x)@y'"),
            ("-x@y", "'-x@y'"),
            ("", "''"),
            ("<tenant>", "<tenant>"),
        ] {
            assert_eq!(quoted(text), wanted);
            let filled = fill("-Identity {'mailbox'} of {mailbox}", &[("mailbox", text)]);
            assert_eq!(filled, format!("-Identity {wanted} of {text}"));
        }
        assert_eq!(fill("{'other'} {''}", &[("mailbox", "x")]), "{'other'} {''}");
    }

    /// A command that is pasted must not run a second one that hides in a name.
    #[test]
    fn no_remedy_hands_a_name_to_powershell_unquoted() {
        let rows = exchange::ROWS.iter().chain(graph::ROWS).map(|row| row.remedy);
        let rows = rows.chain(token::ROWS.iter().map(|row| row.remedy));
        let rows = rows.chain(entra::ROWS.iter().map(|row| row.remedy));
        let (mut seen, names) = (0, ["mailbox", "user", "object_id", "client_id", "tenant"]);
        for remedy in rows {
            let words: Vec<&str> = remedy.split_whitespace().collect();
            for pair in words.windows(2) {
                let is_option =
                    pair[0].strip_prefix('-').is_some_and(|o| o.starts_with(char::is_uppercase));
                let is_command =
                    ["Set-", "Add-", "Get-", "New-"].iter().any(|c| pair[0].starts_with(c));
                let is_name = |name: &&str| pair[1].starts_with(&format!("{{{name}}}"));
                let is_bare = names.iter().any(is_name);
                assert!(!((is_option || is_command) && is_bare), "{remedy}");
                seen += usize::from(pair[1].starts_with("{'"));
            }
        }
        assert!(seen > 20, "{seen}: the rows were not looked at");
    }

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
