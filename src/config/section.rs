//! The walk over what was written: every key is asked for by name, type and default.
//!
//! It promises that a walk never stops at a mistake, that a key nobody asks for is refused with the
//! nearest known one, and that every key asked for is remembered with its value: this is what
//! `config show`, the full example and the manual are held against. It must not keep a secret's text.

use super::tree::{Node, Origin, Table, Value};
use super::value::{Written, Wrong};
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// A problem before its place is turned into line and column.
#[derive(Clone)]
pub(super) struct Found {
    /// Where.
    pub origin: Origin,
    /// What of the line may be shown.
    pub seen: Seen,
    /// The key in the operator's words.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// What of a line may be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The place and the key before it.
    Place,
    /// The key only: the place may hold a secret.
    Key,
    /// The line was not understood: only what surely holds no secret.
    Nothing,
}

/// A key nobody asked for; judged when all keys are known.
pub(super) struct Stranger {
    /// Where the key stands.
    pub place: Origin,
    /// The section's key path.
    pub path: &'static str,
    /// The section in the operator's words.
    pub label: String,
    /// The key as written.
    pub key: String,
}

/// One table as it was walked.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// `account.upstream`; empty for the top.
    pub path: &'static str,
    /// Whether it is one of several, `[[account]]`.
    pub is_list: bool,
    /// Whether it was written at all.
    pub is_given: bool,
    /// Its keys in the order in which they were asked for.
    pub keys: Vec<Setting>,
}

/// One key as it was walked.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The key.
    pub key: &'static str,
    /// The effective value in TOML; none = not set. A secret is only a word here.
    pub value: Option<String>,
    /// The default in TOML, where there is one.
    pub default: Option<String>,
}

/// Everything one walk gathers.
#[derive(Default)]
pub(super) struct Walk {
    /// What must be mended.
    pub problems: RefCell<Vec<Found>>,
    /// What may be meant so.
    pub warnings: RefCell<Vec<Found>>,
    /// Keys nobody asked for.
    pub strangers: RefCell<Vec<Stranger>>,
    /// What was asked for.
    pub parts: RefCell<Vec<Part>>,
}

/// One table on the walk.
pub(super) struct Section<'a> {
    walk: &'a Walk,
    table: &'a Table,
    origin: Origin,
    path: &'static str,
    label: String,
    part: usize,
}

/// What `config show` writes in place of a secret.
pub(super) const HIDDEN: &str = "\"(secret)\"";

static NOTHING: Table = Table { entries: Vec::new() };

impl<'a> Section<'a> {
    /// The whole configuration.
    pub fn top(walk: &'a Walk, table: &'a Table, origin: Origin) -> Self {
        Self::new(walk, table, origin, "", false, true)
    }

    fn new(
        walk: &'a Walk,
        table: &'a Table,
        origin: Origin,
        path: &'static str,
        is_list: bool,
        is_given: bool,
    ) -> Self {
        let mut parts = walk.parts.borrow_mut();
        parts.push(Part { path, is_list, is_given, keys: Vec::new() });
        let label = if path.is_empty() { String::new() } else { format!("{path}.") };
        Self { walk, table, origin, path, label, part: parts.len() - 1 }
    }

    /// Names it in problems: `account "erp": `.
    pub fn called(mut self, label: impl Display) -> Self {
        self.label = label.to_string();
        self
    }

    /// `[key]` inside this one; empty where it is not written.
    pub fn section(&self, key: &'static str, path: &'static str) -> Section<'a> {
        let (table, origin) = match self.table.entry(key).map(|entry| &entry.node) {
            Some(Node { value: Value::Table(table), origin }) => (table, origin.clone()),
            Some(_) => {
                self.wrong(key, "expected a table", format!("write [{path}] and its keys below"));
                (&NOTHING, self.origin.clone())
            }
            None => (&NOTHING, self.origin_of_missing(key)),
        };
        let label = format!("{}{key}.", self.label);
        Self::new(self.walk, table, origin, path, false, self.is_given(key)).called(label)
    }

    /// Every `[[key]]`, labelled with its name where it has one.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(entry) = self.table.entry(key) else { return Vec::new() };
        let mut sections = Vec::new();
        let items = match &entry.node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.node),
        };
        for item in items {
            let (Value::Table(table), Value::List(_)) = (&item.value, &entry.node.value) else {
                let remedy = format!("write [[{key}]] with double brackets, and its keys below");
                self.push(item.origin.clone(), key, "expected a list of tables".into(), remedy);
                continue;
            };
            let name = table.entry("name").map(|entry| &entry.node.value);
            let label = match name {
                Some(Value::Text(name)) => format!("{key} {name:?}: "),
                _ => format!("{key}: "),
            };
            let section = Self::new(self.walk, table, item.origin.clone(), key, true, true);
            sections.push(section.called(label));
        }
        sections
    }

    /// A table of the list that nobody wrote.
    pub fn implied(&self, path: &'static str) -> Section<'a> {
        let origin = self.origin_of_missing(path);
        Self::new(self.walk, &NOTHING, origin, path, true, false).called(format!("{path}: "))
    }

    /// Whether a key was written.
    pub fn is_given(&self, key: &str) -> bool {
        self.table.entry(key).is_some()
    }

    /// What was written for a key, unread.
    pub fn node(&self, key: &str) -> Option<&'a Node> {
        self.table.entry(key).map(|entry| &entry.node)
    }

    /// Remembers that a key was asked for, and its values in TOML.
    pub fn note(&self, key: &'static str, value: Option<String>, default: Option<String>) {
        let mut parts = self.walk.parts.borrow_mut();
        parts[self.part].keys.push(Setting { key, value, default });
    }

    fn read<T: Written>(&self, key: &'static str) -> Option<T> {
        let node = self.node(key)?;
        match T::read(node) {
            Ok(value) => Some(value),
            Err(wrongs) => {
                for Wrong { at, what, remedy } in wrongs {
                    self.push(at.unwrap_or_else(|| node.origin.clone()), key, what, remedy);
                }
                None
            }
        }
    }

    /// A key without a default.
    pub fn optional<T: Written>(&self, key: &'static str) -> Option<T> {
        let value = self.read::<T>(key);
        self.note(key, value.as_ref().map(Written::write), None);
        value
    }

    /// A key that must be written; `remedy` says what.
    pub fn required<T: Written>(&self, key: &'static str, remedy: &str) -> Option<T> {
        if !self.is_given(key) {
            self.wrong(key, "is missing", remedy);
        }
        self.optional(key)
    }

    /// A key with a default.
    pub fn or<T: Written>(&self, key: &'static str, default: T) -> T {
        let written = default.write();
        let value = self.read::<T>(key).unwrap_or(default);
        self.note(key, Some(value.write()), Some(written));
        value
    }

    /// A key with a default and a range.
    pub fn within<T: Written + PartialOrd>(
        &self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        let value = self.or(key, default);
        if !range.contains(&value) {
            let bounds = format!("from {} to {}", range.start().write(), range.end().write());
            self.wrong(
                key,
                format!("{} is out of range", value.write()),
                format!("write {bounds}"),
            );
        }
        value
    }

    /// A problem of a key, at its value or where it should stand.
    pub fn wrong(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(self.origin_of(key), key, what.into(), remedy.into());
    }

    /// A doubt about a key; the configuration is valid all the same.
    pub fn doubt(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let found = self.found(self.origin_of(key), key, what.into(), remedy.into());
        self.walk.warnings.borrow_mut().push(found);
    }

    fn push(&self, origin: Origin, key: &str, what: String, remedy: String) {
        let found = self.found(origin, key, what, remedy);
        self.walk.problems.borrow_mut().push(found);
    }

    fn found(&self, origin: Origin, key: &str, what: String, remedy: String) -> Found {
        let is_secret = self.is_given(key) && may_hold_secret(key);
        let seen = if is_secret { Seen::Key } else { Seen::Place };
        Found { origin, seen, key: format!("{}{key}", self.label), what, remedy }
    }

    fn origin_of(&self, key: &str) -> Origin {
        self.node(key).map_or_else(|| self.origin_of_missing(key), |node| node.origin.clone())
    }

    /// In the environment a missing key is named by the variable that would set it.
    fn origin_of_missing(&self, key: &str) -> Origin {
        match &self.origin {
            Origin::Environment(variable) => {
                let parting = if self.path.is_empty() { "" } else { "__" };
                Origin::Environment(format!("{variable}{parting}{}", key.to_uppercase()))
            }
            file => file.clone(),
        }
    }

    /// Refuses what nobody asked for. `known`: tables.
    pub fn finish(self, known: &[&[(&'static str, &str)]]) {
        let parts = self.walk.parts.borrow();
        let asked = |key: &str| parts[self.part].keys.iter().any(|setting| setting.key == key);
        let named = |key: &str| known.iter().any(|list| list.iter().any(|(name, _)| *name == key));
        for entry in &self.table.entries {
            if !asked(&entry.key) && !named(&entry.key) {
                self.walk.strangers.borrow_mut().push(Stranger {
                    place: entry.place.clone(),
                    path: self.path,
                    label: self.label.clone(),
                    key: entry.key.clone(),
                });
            }
        }
    }
}

/// Whether the value of a key must not be shown. Files of secrets are names only, yet people paste the
/// secret itself there; the URL of a proxy holds one.
pub(super) fn may_hold_secret(key: &str) -> bool {
    key == "proxy"
        || ["secret", "password", "token"].iter().any(|word| key.contains(word))
            && key != "token_url"
}
