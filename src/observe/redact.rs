//! What must not reach a log as it is. Pure.

/// A text of a peer in one harmless line: control characters escaped, cut to `most` characters.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most) + 4);
    for (count, c) in text.trim_end().chars().enumerate() {
        if count == most {
            line.push('…');
            break;
        }
        match c {
            '\r' => {}
            '\n' | '\t' => line.push(' '),
            c if c.is_control() || is_bidi(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    line
}

/// Runs of token characters as long as this are held to be tokens: host names and ids are shorter.
const TOKEN_RUN: usize = 64;

/// A peer's text without these secrets, should it repeat what it was told, and without anything that
/// looks like a token.
pub fn without_tokens(text: &str, secrets: &[&str]) -> String {
    let text = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, "(token)"));
    let is_token = |c: char| c.is_ascii_alphanumeric() || "+/=_.~-".contains(c);
    let mut clean = String::with_capacity(text.len());
    for part in text.split_inclusive(|c: char| !is_token(c)) {
        let run = part.trim_end_matches(|c: char| !is_token(c));
        if run.len() < TOKEN_RUN {
            clean.push_str(part);
        } else {
            clean.push_str("(token)");
            clean.push_str(&part[run.len()..]);
        }
    }
    clean
}

/// Characters that turn the reading direction of what follows.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_not_repeated() {
        let long = "eyJ0".repeat(20);
        for (text, expected) in [
            ("535 5.7.3 no".to_owned(), "535 5.7.3 no"),
            ("no tok-1, no".to_owned(), "no (token), no"),
            (format!("no {long}"), "no (token)"),
            (format!("{long}\n{long}: ü"), "(token)\n(token): ü"),
            (
                "[AM0PR01CA0116.eurprd01.prod.exchangelabs.com 2026-11-21T08:00:00.000Z 08DE]"
                    .to_owned(),
                "[AM0PR01CA0116.eurprd01.prod.exchangelabs.com 2026-11-21T08:00:00.000Z 08DE]",
            ),
            (String::new(), ""),
        ] {
            assert_eq!(without_tokens(&text, &["tok-1", ""]), expected);
        }
    }

    #[test]
    fn a17_control_characters_never_pass() {
        assert_eq!(
            one_line("a\r\nb\tc\u{1b}[31m\u{0}\u{202e}", 99),
            "a b c\\u{1b}[31m\\u{0}\\u{202e}"
        );
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("abc", 3), "abc");
    }
}
