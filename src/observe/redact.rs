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

/// Characters that turn the reading direction of what follows.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

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
