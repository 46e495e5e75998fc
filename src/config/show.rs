//! The effective configuration as TOML, and the list of all keys.
//!
//! It promises that what it shows can be read back as a configuration, and that a secret is only the
//! word `(secret)`.

use super::certificate::IdentityError;
use super::check::{Surroundings, check};
use super::section::{Found, Part, Seen, Stranger, Walk};
use super::tree::{Node, Origin, Table, Value};
use super::value::Wrong;
use super::{Config, SecretFile};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

/// Every key of one configuration with its effective value; secrets are not in it.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<Part>);

impl Settings {
    pub(super) fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }
}

impl Config {
    /// The effective configuration as TOML: what differs from the defaults, or `all`.
    pub fn show(&self, all: bool) -> String {
        let mut text = String::new();
        for part in &self.settings.0 {
            let differs =
                |value: &String, default: &Option<String>| all || default.as_ref() != Some(value);
            let lines: Vec<String> = part
                .keys
                .iter()
                .filter_map(|setting| {
                    let value = setting.value.as_ref()?;
                    differs(value, &setting.default).then(|| format!("{} = {value}\n", setting.key))
                })
                .collect();
            if lines.is_empty() && !(part.is_list && part.is_given) {
                continue;
            }
            let parting = if text.is_empty() { "" } else { "\n" };
            let written = match (part.path, part.is_list) {
                ("", _) => write!(text, "{parting}"),
                (path, true) => writeln!(text, "{parting}[[{path}]]"),
                (path, false) => writeln!(text, "{parting}[{path}]"),
            };
            debug_assert!(written.is_ok(), "writing to a String");
            text.push_str(&lines.concat());
        }
        text
    }
}

/// Every key there is, as a path without indices: `account.upstream.host`. Sorted.
pub fn keys() -> Vec<String> {
    let walk = Walk::default();
    let one = |key: &str| Node {
        value: Value::List(vec![Node {
            value: Value::Table(Table::default()),
            origin: Origin::File(0..0),
        }]),
        origin: Origin::Environment(key.to_owned()),
    };
    let mut table = Table::default();
    for key in ["listener", "user", "account"] {
        table.set(key, Origin::File(0..0), one(key));
    }
    let around = Surroundings {
        base: PathBuf::new(),
        now: std::time::SystemTime::UNIX_EPOCH,
        hostname: String::from("localhost"),
        state_dir: PathBuf::from("/var/lib/submitd"),
        runtime_dir: None,
        read_secret: &|_| Err(Wrong::new("", "")),
        find_file: &|path, _| (SecretFile::unguarded(path), None),
        variable: &|_| None,
        readable: &|_| Ok(()),
        read_text: &|_| Ok(String::new()),
        identity: &|_, _| {
            Err(IdentityError { key: "key", what: String::new(), remedy: String::new() })
        },
    };
    check(&table, &around, &walk);
    let mut keys = BTreeSet::new();
    for part in walk.parts.take() {
        let parting = if part.path.is_empty() { "" } else { "." };
        keys.extend(
            part.keys.iter().map(|setting| format!("{}{parting}{}", part.path, setting.key)),
        );
    }
    keys.into_iter().collect()
}

/// Turns keys nobody asked for into problems that name the key that may be meant.
pub(super) fn judge_strangers(walk: &Walk) {
    let strangers = walk.strangers.take();
    if strangers.is_empty() {
        return;
    }
    let known = keys();
    let judged = strangers.into_iter().map(|stranger| {
        let remedy = remedy(&stranger, &known);
        Found {
            origin: stranger.place,
            seen: Seen::Place,
            key: format!("{}{}", stranger.label, stranger.key.escape_debug()),
            what: "there is no such key".to_owned(),
            remedy,
        }
    });
    walk.problems.borrow_mut().extend(judged);
}

fn remedy(stranger: &Stranger, known: &[String]) -> String {
    let tables = ["listener", "user", "account", "queue", "notify", "headers", "admin", "log"];
    let here: Vec<&str> = known
        .iter()
        .map(String::as_str)
        .filter_map(|key| match key.rsplit_once('.') {
            Some((path, key)) => (path == stranger.path).then_some(key),
            None => stranger.path.is_empty().then_some(key),
        })
        .chain(if stranger.path.is_empty() { &tables[..] } else { &[] }.iter().copied())
        .chain(
            if stranger.path == "account" { &["upstream", "oauth"][..] } else { &[] }
                .iter()
                .copied(),
        )
        .collect();
    let spelt = |key: &str| match &stranger.place {
        Origin::File(_) => format!("\"{key}\""),
        Origin::Environment(variable) => {
            // The last level is cut off where it begins: it was escaped, so its length says nothing.
            let last = variable.rfind("__").map_or("SUBMITD_".len(), |at| at + 2);
            let stem = variable.get(..last).unwrap_or_default();
            format!("{stem}{}", key.to_uppercase())
        }
    };
    let written = stranger.key.to_lowercase().replace('-', "_");
    let near = here.iter().min_by_key(|key| strsim::osa_distance(&written, key));
    if let Some(near) = near
        && strsim::osa_distance(&written, near) <= 1.max(written.len() / 3)
    {
        return format!("did you mean {}?", spelt(near));
    }
    if tables.contains(&written.as_str()) {
        return format!("it is a table of its own: [{written}] or [[{written}]]");
    }
    let elsewhere = known.iter().find_map(|key| match key.rsplit_once('.') {
        Some((path, key)) if key == written => Some(path),
        None if *key == written => Some(""),
        _ => None,
    });
    match elsewhere {
        Some("") => "it belongs at the top, before the first [table]".to_owned(),
        Some(path @ ("listener" | "user" | "account")) => format!("it belongs into [[{path}]]"),
        Some(path) => format!("it belongs into [{path}]"),
        None => format!("known here: {}", here.join(", ")),
    }
}
