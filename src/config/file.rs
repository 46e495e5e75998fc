//! The TOML as it was written.
//!
//! It promises to report every fault of the syntax, not only the first, and to go on with what could
//! be read. It knows no key by name and reads no file.

use super::section::{Found, Seen};
use super::tree::{Entry, Node, Origin, Table, Value};
use toml::de::{DeTable, DeValue};

/// Parses a text; faults of the syntax go to `found`.
pub(super) fn parse(text: &str, found: &mut Vec<Found>) -> Table {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        found.push(Found {
            origin: Origin::File(error.span().unwrap_or(0..0)),
            // the place of a duplicate is its key; any other place may be inside a value
            seen: if error.message() == "duplicate key" { Seen::Place } else { Seen::Nothing },
            key: "syntax".to_owned(),
            what: one_line(error.message()),
            remedy: "see https://toml.io for how TOML is written".to_owned(),
        });
    }
    table(document.into_inner())
}

/// The parser's texts may span lines; a message is one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn table(map: DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = map
        .into_iter()
        .map(|(key, value)| Entry {
            place: Origin::File(key.span()),
            key: key.into_inner().into_owned(),
            node: Node { origin: Origin::File(value.span()), value: convert(value.into_inner()) },
        })
        .collect();
    entries.sort_by_key(|entry| match &entry.place {
        Origin::File(span) => span.start,
        Origin::Environment(_) => usize::MAX,
    });
    Table { entries }
}

fn convert(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Boolean(truth) => Value::Bool(truth),
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| Node {
                    origin: Origin::File(item.span()),
                    value: convert(item.into_inner()),
                })
                .collect(),
        ),
        DeValue::Table(map) => Value::Table(table(map)),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
    }
}
