//! What is wrong with a configuration, said so that it can be mended.
//!
//! The first line of a [`Problem`] is a contract: `submitd.toml:12:3: account "erp": grant: what; remedy`,
//! or `SUBMITD_QUEUE__EXPIRE: queue.expire: what; remedy`. Below it, on a terminal, the line of the file
//! with a caret. It must not show a secret: of a line it shows the place itself and the key before it,
//! and where the place may hold a secret, nothing but the key.

use super::section::{Found, Seen, may_hold_secret};
use super::tree::Origin;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// One mistake (or, in [`crate::config::Config::warnings`], one doubt).
#[derive(Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// Which key, in the operator's words: `account "erp": grant`.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Where a problem stands.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    Line {
        /// The file, as it was named.
        file: String,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What may be shown of the line.
        excerpt: Option<Excerpt>,
    },
    /// In the file as a whole.
    File(String),
    /// In a variable of the environment, by name.
    Variable(String),
}

/// What may be shown of a line, and what of it is meant.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    marked: Range<usize>,
}

/// All problems of one configuration; never empty where it is an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line { file, line, column, .. } => write!(f, "{file}:{line}:{column}: ")?,
            Place::File(name) | Place::Variable(name) => write!(f, "{name}: ")?,
        }
        write!(f, "{}: {}; {}", self.key, self.what, self.remedy)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problems {}

impl Problem {
    /// The first line and, below it, the line of the file with a caret. `colour`: with the escapes of
    /// a terminal.
    pub fn render(&self, colour: bool) -> String {
        let Place::Line { line, excerpt: Some(excerpt), .. } = &self.place else {
            return self.to_string();
        };
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let snippet = Snippet::source(excerpt.text.as_str())
            .line_start(*line)
            .annotation(AnnotationKind::Primary.span(excerpt.marked.clone()));
        let report = [Group::with_level(Level::ERROR).element(snippet)];
        format!("{self}\n{}", renderer.render(&report))
    }
}

impl Problems {
    /// Where there is no file, no line of it can be named.
    pub(super) fn of_no_file(mut self) -> Self {
        for problem in &mut self.0 {
            if let Place::Line { file, .. } = &problem.place {
                problem.place = Place::File(format!("{file} (does not exist)"));
            }
        }
        self
    }

    /// Every problem as [`Problem::render`] shows it.
    pub fn render(&self, colour: bool) -> String {
        self.0.iter().map(|problem| problem.render(colour)).collect::<Vec<_>>().join("\n")
    }
}

/// Turns origins into lines and columns, in the order of the file, the environment's last.
pub(super) fn located(file: &str, text: &str, mut found: Vec<Found>) -> Vec<Problem> {
    found.sort_by_key(|found| match &found.origin {
        Origin::File(span) => (0, span.start, String::new()),
        Origin::Environment(variable) => (1, 0, variable.clone()),
    });
    // what the parser put in place of a value it could not read is no second mistake
    found.dedup_by(|next, last| match (&next.origin, &last.origin) {
        (Origin::File(next), Origin::File(unread)) => {
            last.seen == Seen::Nothing && next.start == unread.start
        }
        _ => false,
    });
    let place = |found: &Found| match &found.origin {
        Origin::File(span) => place(file, text, span.clone(), found.seen),
        Origin::Environment(variable) => Place::Variable(variable.clone()),
    };
    found
        .into_iter()
        .map(|found| Problem {
            place: place(&found),
            key: found.key,
            what: found.what,
            remedy: found.remedy,
        })
        .collect()
}

/// A place in a text.
fn place(file: &str, text: &str, span: Range<usize>, seen: Seen) -> Place {
    let start = floor(text, span.start);
    let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[begin..].find('\n').map_or(text.len(), |newline| begin + newline);
    let end = floor(text, span.end).clamp(start, line_end.max(start));
    let is_shown = seen != Seen::Nothing || is_harmless(&text[..begin], &text[begin..line_end]);
    let excerpt = || excerpt(&text[begin..start], &text[start..end], seen == Seen::Key);
    Place::Line {
        file: file.to_owned(),
        line: 1 + text[..begin].matches('\n').count(),
        column: 1 + text[begin..start].chars().count(),
        excerpt: is_shown.then(excerpt),
    }
}

fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// Whether a line that was not understood surely holds no secret: it is no part of a text of several
/// lines, and it is a table's head or begins with a key that holds none.
fn is_harmless(before: &str, line: &str) -> bool {
    if ["\"\"\"", "'''"].iter().any(|quotes| before.contains(quotes)) || line.contains(['{', '#']) {
        return false;
    }
    let is_known = |key: &str| {
        let known = super::keys();
        !may_hold_secret(key) && known.iter().any(|path| path.rsplit('.').next() == Some(key))
    };
    match line.split_once('=') {
        Some((key, _)) => is_known(key.trim()),
        None => line.trim_start().starts_with('['),
    }
}

/// The line up to the end of the place: what follows is another value or a comment. What stands before
/// it is shown only where it can be nothing but a key.
fn excerpt(before: &str, marked: &str, is_secret: bool) -> Excerpt {
    let is_key = |c: char| c.is_ascii_alphanumeric() || " \t_-.[".contains(c);
    let plain = before.trim_end().strip_suffix('=').unwrap_or(before);
    let mut text = if plain.chars().all(is_key) { before.to_owned() } else { "… ".to_owned() };
    let start = text.len();
    text.push_str(if is_secret { "…" } else { marked.trim_end_matches('\r') });
    if text.len() == start {
        text.push(' ');
    }
    Excerpt { marked: start..text.len(), text }
}
