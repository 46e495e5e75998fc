//! A reply: code, enhanced code and text (RFC 5321 §4.2, RFC 2034, RFC 3463).

use std::borrow::Cow;

/// A reply of a server. Text of several lines holds `\n` between them.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The enhanced status code, where there is one. Not in greetings, EHLO and 3xx replies.
    pub enhanced: Option<Enhanced>,
    /// What a person reads, without the codes.
    pub text: Cow<'static, str>,
}

/// An enhanced status code, `class.subject.detail` (RFC 3463 §2). Exchange uses details of three digits
/// and more (`4.7.500`, `5.7.708`), so nothing is clamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl Reply {
    /// A reply with an enhanced code.
    pub const fn new(code: u16, enhanced: Enhanced, text: &'static str) -> Self {
        Self { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }

    /// A reply without one.
    pub const fn plain(code: u16, text: &'static str) -> Self {
        Self { code, enhanced: None, text: Cow::Borrowed(text) }
    }
}

impl std::fmt::Display for Enhanced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// One line for people: `550 5.1.1 no such user`.
impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for line in self.text.split('\n') {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({self})")
    }
}
