//! What was written, before anybody judges it: values, each with the place it came from.
//!
//! It promises that every value and every key knows its place in the file or its variable. It knows
//! no key by name, and it has no `Debug`: secrets are still plain text here.

use std::ops::Range;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Octets of the file.
    File(Range<usize>),
    /// A variable of the environment, by its full name.
    Environment(String),
}

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node {
    /// What was written.
    pub value: Value,
    /// Where.
    pub origin: Origin,
}

/// What was written.
#[derive(Clone)]
pub(super) enum Value {
    /// Text; from the environment everything is text.
    Text(String),
    /// A whole number, where it fits.
    Integer(Option<i128>),
    /// `true` or `false`.
    Bool(bool),
    /// `[a, b]` or `[[table]]`.
    List(Vec<Node>),
    /// `[table]`.
    Table(Table),
    /// A date or time, as written.
    Date(String),
    /// What no key takes: its name in words.
    Other(&'static str),
}

/// Keys in the order in which they were written.
#[derive(Clone, Default)]
pub(super) struct Table {
    /// The keys.
    pub entries: Vec<Entry>,
}

/// One key of a table.
#[derive(Clone)]
pub(super) struct Entry {
    /// The key.
    pub key: String,
    /// Where the key itself stands.
    pub place: Origin,
    /// Its value.
    pub node: Node,
}

impl Table {
    /// The entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Writes a value over what stands there.
    pub fn set(&mut self, key: &str, place: Origin, node: Node) {
        self.remove(key);
        self.entries.push(Entry { key: key.to_owned(), place, node });
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &str) {
        self.entries.retain(|entry| entry.key != key);
    }
}

impl Node {
    /// What this is, for "expected a number, found text".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "text",
            Value::Integer(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Date(_) => "a date or time",
            Value::Other(kind) => kind,
        }
    }

    /// Whether it came from the environment, where everything is text.
    pub fn is_from_environment(&self) -> bool {
        matches!(self.origin, Origin::Environment(_))
    }
}
