//! The page that the browser ends at, and its headers. Pure.
//!
//! Everything that came from elsewhere is escaped, and the headers forbid scripts, frames and copies
//! besides. The address that led here holds a code: it is passed on to nobody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const STYLE: &str =
    "body{font:17px/1.6 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}";

/// The page: a heading and a paragraph.
pub fn write(heading: &str, text: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>submitd</title>\
         <style>{STYLE}</style></head>\n<body><h1>{}</h1>\n<p>{}</p></body></html>\n",
        escape(heading),
        escape(text)
    )
}

/// The headers that go with it.
pub fn headers() -> Vec<(&'static str, String)> {
    let style = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        STANDARD.encode(style)
    );
    let fixed = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("connection", "close"),
    ];
    let fixed = fixed.map(|(name, value)| (name, value.to_owned()));
    fixed.into_iter().chain([("content-security-policy", policy)]).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a25_a_script_in_a_text_stays_text() {
        let page = write("<script>", "\"><script>alert('x')</script>&\u{1b}");
        assert!(!page.contains("<script"), "{page}");
        assert!(
            page.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;\u{fffd}")
        );
    }

    #[test]
    fn a25_headers_forbid_scripts_frames_and_copies() {
        let headers = headers();
        let value = |name: &str| {
            headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_str())
        };
        let policy = value("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("script-src"));
        assert_eq!(value("cache-control"), Some("no-store"));
        assert_eq!(value("x-frame-options"), Some("DENY"));
        assert_eq!(value("referrer-policy"), Some("no-referrer"));
    }
}
