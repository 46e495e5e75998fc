//! Variables of the environment laid over what was written in the file.
//!
//! `SUBMITD_` is the prefix, two underscores part levels: `SUBMITD_QUEUE__EXPIRE`. Accounts and users are
//! chosen by name (`SUBMITD_ACCOUNT__ERP__CLIENT_ID`), listeners by number (`SUBMITD_LISTENER__0__ADDRESS`).
//! It promises that the environment wins over the file and that no value is guessed: `007` stays text.

use super::section::{Found, Seen};
use super::tree::{Node, Origin, Table, Value};
use config::{Environment, Source, ValueKind};

/// Variables that are no keys: the command line reads them, and the log of a development build.
const NOT_KEYS: [&str; 6] =
    ["config", "log", "sendmail_address", "test_libraries", "vault_key", "vault_key_file"];

/// Keys of which one replaces the others: the environment's one must win over the file's other.
const ALTERNATIVES: [&[&str]; 3] = [
    &["client_secret", "client_secret_file"],
    &["refresh_token", "refresh_token_file"],
    &["password", "password_hash", "password_file"],
];

/// Lays the variables over the table; misfits go to `found`.
pub(super) fn overlay(table: &mut Table, variables: &[(String, String)], found: &mut Vec<Found>) {
    let source = Environment::with_prefix("SUBMITD")
        .prefix_separator("_")
        .separator("__")
        .try_parsing(false)
        .source(Some(variables.iter().cloned().collect()));
    let mut given: Vec<(String, String)> = match source.collect() {
        Ok(map) => map
            .into_iter()
            .filter_map(|(key, value)| match value.kind {
                ValueKind::String(text) => Some((key, text)),
                _ => None,
            })
            .collect(),
        Err(error) => {
            found.push(misfit("SUBMITD_", error.to_string(), "write the variable in UTF-8"));
            return;
        }
    };
    // in order: listener 2 before listener 10, a table before its keys
    given.sort_by_cached_key(|(key, _)| {
        let number = key.split('.').nth(1).and_then(|level| level.parse::<usize>().ok());
        (number, key.clone())
    });
    for (key, text) in given {
        if NOT_KEYS.contains(&key.as_str()) || is_kubernetes(&key) {
            continue;
        }
        let path: Vec<&str> = key.split('.').collect();
        let variable = format!("SUBMITD_{}", path.join("__").to_uppercase().escape_debug());
        if path.iter().any(|level| level.is_empty()) {
            let remedy = "part levels by exactly two underscores: SUBMITD_QUEUE__EXPIRE";
            found.push(misfit(&variable, "names no key".into(), remedy));
            continue;
        }
        place(table, &path, &variable, text, found);
    }
}

/// Kubernetes sets `SUBMITD_SERVICE_HOST`, `SUBMITD_PORT_2525_TCP` and the like in every pod where a
/// Service is called submitd; they are not ours and must not stop the start.
fn is_kubernetes(key: &str) -> bool {
    key == "port"
        || key == "service_host"
        || key.starts_with("service_port")
        || key
            .strip_prefix("port_")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn misfit(variable: &str, what: String, remedy: &str) -> Found {
    Found {
        origin: Origin::Environment(variable.to_owned()),
        seen: Seen::Nothing,
        key: "environment".to_owned(),
        what,
        remedy: remedy.to_owned(),
    }
}

fn place(table: &mut Table, path: &[&str], variable: &str, text: String, found: &mut Vec<Found>) {
    let origin = Origin::Environment(variable.to_owned());
    match path {
        [key] => {
            // a list such as `listener` cannot be given as one text; the walk says so
            for group in ALTERNATIVES.iter().filter(|group| group.contains(key)) {
                let from_file = |key: &&&str| {
                    table.entry(key).is_some_and(|entry| !entry.node.is_from_environment())
                };
                let replaced: Vec<&str> = group.iter().filter(from_file).copied().collect();
                replaced.iter().for_each(|key| table.remove(key));
            }
            table.set(key, origin.clone(), Node { value: Value::Text(text), origin });
        }
        [list @ ("account" | "user"), name, rest @ ..] if !rest.is_empty() => {
            if let Some(item) = named(table, list, name, variable, found) {
                place(item, rest, variable, text, found);
            }
        }
        ["listener", number, rest @ ..] if !rest.is_empty() => {
            if let Some(item) = numbered(table, number, variable, found) {
                place(item, rest, variable, text, found);
            }
        }
        [key, rest @ ..] => {
            let trunk = trunk(variable, rest.len());
            if let Some(inner) = sub_table(table, key, &trunk) {
                place(inner, rest, variable, text, found);
            } else {
                let what = format!("{key} was given as a plain value, too");
                found.push(misfit(variable, what, "give its keys one by one only"));
            }
        }
        [] => {}
    }
}

/// The variable without its last `levels` levels: the name of the table that holds it.
fn trunk(variable: &str, levels: usize) -> String {
    let parts: Vec<&str> = variable.split("__").collect();
    parts[..parts.len().saturating_sub(levels)].join("__")
}

fn sub_table<'t>(table: &'t mut Table, key: &str, trunk: &str) -> Option<&'t mut Table> {
    if table.entry(key).is_none() {
        let origin = Origin::Environment(trunk.to_owned());
        let node = Node { value: Value::Table(Table::default()), origin: origin.clone() };
        table.set(key, origin, node);
    }
    let entry = table.entries.iter_mut().find(|entry| entry.key == key)?;
    match &mut entry.node.value {
        Value::Table(inner) => Some(inner),
        _ => None,
    }
}

fn items<'t>(table: &'t mut Table, list: &str, variable: &str) -> Option<&'t mut Vec<Node>> {
    if table.entry(list).is_none() {
        let origin = Origin::Environment(variable.to_owned());
        let node = Node { value: Value::List(Vec::new()), origin: origin.clone() };
        table.set(list, origin, node);
    }
    let entry = table.entries.iter_mut().find(|entry| entry.key == list)?;
    match &mut entry.node.value {
        Value::List(items) => Some(items),
        _ => None,
    }
}

/// A name as it can stand in a variable.
fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// The item of that name; it is created where there is none.
fn named<'t>(
    table: &'t mut Table,
    list: &str,
    name: &str,
    variable: &str,
    found: &mut Vec<Found>,
) -> Option<&'t mut Table> {
    let trunk = variable.split("__").take(2).collect::<Vec<_>>().join("__");
    let items = items(table, list, &trunk)?;
    let is_it = |node: &Node| match &node.value {
        Value::Table(item) => matches!(
            item.entry("name").map(|entry| &entry.node.value),
            Some(Value::Text(text)) if folded(text) == folded(name)
        ),
        _ => false,
    };
    if items.iter().filter(|node| is_it(node)).count() > 1 {
        let what = format!("several {list}s have a name that reads {name:?} in a variable");
        found.push(misfit(variable, what, "write this key into the file"));
        return None;
    }
    let index = items.iter().position(is_it).unwrap_or_else(|| {
        let origin = Origin::Environment(trunk);
        let mut item = Table::default();
        let text = Node { value: Value::Text(name.to_owned()), origin: origin.clone() };
        item.set("name", origin.clone(), text);
        items.push(Node { value: Value::Table(item), origin });
        items.len() - 1
    });
    table_of(items, index)
}

fn numbered<'t>(
    table: &'t mut Table,
    number: &str,
    variable: &str,
    found: &mut Vec<Found>,
) -> Option<&'t mut Table> {
    let trunk = variable.split("__").take(2).collect::<Vec<_>>().join("__");
    let next = match table.entry("listener").map(|entry| &entry.node.value) {
        Some(Value::List(items)) => items.len(),
        _ => 0,
    };
    let Some(index) = number.parse().ok().filter(|index| *index <= next) else {
        let remedy = format!("number listeners from 0 without gaps; {next} comes next");
        found.push(misfit(variable, format!("{number:?} is no listener"), &remedy));
        return None;
    };
    let items = items(table, "listener", &trunk)?;
    if index == items.len() {
        let origin = Origin::Environment(trunk);
        items.push(Node { value: Value::Table(Table::default()), origin });
    }
    table_of(items, index)
}

fn table_of(items: &mut [Node], index: usize) -> Option<&mut Table> {
    match items.get_mut(index).map(|node| &mut node.value) {
        Some(Value::Table(table)) => Some(table),
        _ => None,
    }
}
