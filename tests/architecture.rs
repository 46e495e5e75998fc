//! The shape of the code: who may import whom, what is pure, how long a file may be, what it is called.
//!
//! It reads `src/**/*.rs` as text. The rules take text too, so the tables at the end plant a violation of
//! each of them and see it found. What it cannot see: names made by macros, and a path built from `self`.
//! It must stay independent of the library: a rule that needs the code to compile comes too late.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its subject has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may import whom. Mail goes `listener → session → queue → delivery → upstream`; in direct mode `session`
/// hands it to `delivery` without the queue. A new row or entry needs a paragraph in `docs/decisions.md`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("mail", &[]),
    ("secret", &[]),
    ("durable", &[]),
    ("observe", &[]),
    ("diagnosis", &[]),
    ("tls", &[]),
    ("unix_socket", &[]),
    // Who a proxy is.
    ("http", &["config"]),
    // AUTH carries passwords one way and tokens the other.
    ("smtp", &["mail", "secret"]),
    ("config", &["mail", "secret"]),
    ("queue", &["durable", "mail", "observe"]),
    ("accounts", &["config", "mail", "observe", "secret"]),
    ("oauth", &["config", "diagnosis", "durable", "http", "mail", "observe", "secret", "tls"]),
    ("upstream", &["config", "http", "mail", "observe", "secret", "smtp", "tls"]),
    ("delivery", &["config", "diagnosis", "mail", "oauth", "observe", "queue", "smtp", "upstream"]),
    // In direct mode a session asks delivery, in the words of a flight; it judges nothing.
    ("session", &["accounts", "config", "delivery", "mail", "observe", "queue", "smtp"]),
    ("check", &["config", "delivery", "diagnosis", "mail", "oauth", "smtp", "tls", "upstream"]),
    ("listener", &["config", "observe", "session", "unix_socket"]),
    ("notify", &["config", "durable", "mail", "observe", "queue"]),
    (
        "admin",
        &[
            "config",
            "delivery",
            "diagnosis",
            "mail",
            "oauth",
            "observe",
            "queue",
            "secret",
            "unix_socket",
        ],
    ),
    ("sandbox", &["mail", "secret", "smtp"]),
    (
        "app",
        &[
            "accounts",
            "admin",
            "check",
            "config",
            "delivery",
            "diagnosis",
            "durable",
            "listener",
            "mail",
            "notify",
            "oauth",
            "observe",
            "queue",
            "sandbox",
            "secret",
            "session",
            "smtp",
            "tls",
            "unix_socket",
            "upstream",
        ],
    ),
    (
        "cli",
        &[
            "accounts",
            "admin",
            "app",
            "check",
            "config",
            "diagnosis",
            "mail",
            "oauth",
            "observe",
            "queue",
            "sandbox",
            "secret",
            "smtp",
            "upstream",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// No async, files, sockets, clock or randomness: time is an argument. A folder stands for all in it.
const PURE: &[&str] = &[
    "mail/",
    "smtp/",
    "diagnosis/",
    "accounts/inspection.rs",
    "accounts/ladder.rs",
    "accounts/patience.rs",
    "accounts/permit.rs",
    "accounts/preflight.rs",
    "config/check.rs",
    "config/listener.rs",
    "config/problem.rs",
    "queue/entry.rs",
    "queue/retry.rs",
    "delivery/direct/judged.rs",
    "delivery/notice.rs",
    "delivery/verdict.rs",
    "delivery/limits.rs",
    "check/setup.rs",
    "check/token.rs",
    "oauth/claims.rs",
    "oauth/token.rs",
    "oauth/request.rs",
    "oauth/der.rs",
    "oauth/granted.rs",
    "oauth/pkcs12.rs",
    "oauth/response.rs",
    "oauth/login/attempt.rs",
    "oauth/login/awaited.rs",
    "oauth/login/device.rs",
    "oauth/login/identity.rs",
    "oauth/login/page.rs",
    "admin/status/needs.rs",
    "admin/wire/",
    "observe/redact.rs",
    "session/replies.rs",
    "upstream/graph/answer.rs",
    "upstream/graph/request.rs",
    "session/terms.rs",
    "session/patience.rs",
    "listener/proxy.rs",
    "notify/calendar.rs",
    "notify/event.rs",
    "notify/facts.rs",
    "notify/ledger.rs",
    "notify/letter.rs",
];

/// What a pure file must not say. Found as whole words.
const IMPURE: &[&str] = &[
    "tokio",
    "async",
    ".await",
    "std::fs",
    "std::io",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
    "Instant::now",
    "SystemTime::now",
    "thread::sleep",
    "std::env",
    "rand",
    "getrandom",
    "SystemRandom",
];

/// Lines of a file, its tests not counted. Nobody reads further.
const LONGEST_FILE: usize = 400;

/// Files that are tables of data; each with the reason why cutting it would not help a reader.
const TABLES: &[(&str, &str)] = &[
    (
        "diagnosis/",
        "every error code and text known of Entra ID and Exchange Online, looked up by code",
    ),
    ("sandbox/aadsts.rs", "the same codes as the simulated Entra ID answers them"),
];

/// Words that say nothing. Where one seems needed, the thing is not understood yet.
const EMPTY_WORDS: &[&str] = &[
    "Manager",
    "Handler",
    "Helper",
    "Util",
    "Common",
    "Data",
    "Info",
    "Service",
    "Processor",
    "Impl",
];

/// The standards' own words: DATA is a command of RFC 5321, and `http_body::Body` calls its octets so.
const WORDS_OF_STANDARDS: &[(&str, &str)] =
    &[("smtp/", "Data"), ("upstream/graph/flow.rs", "Data")];

/// A file of `src`, as the rules see it.
struct Source {
    /// Below `src`, with `/`: `queue/entry.rs`.
    path: String,
    /// As written.
    text: String,
    /// Without comments, the insides of literals, and what is compiled for tests only. Same lines.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let code = without_tests(&without_comments(text));
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// The first level: `queue` for `queue/entry.rs`, `accounts` for `accounts.rs`.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Whether `super` is the crate's root here.
    fn is_top(&self) -> bool {
        !self.path.contains('/') || self.path == format!("{}/mod.rs", self.module())
    }
}

/// One rule: what is wrong in a file, with the line.
type Rule = fn(&Source) -> Vec<(usize, String)>;

const RULES: &[(&str, Rule)] = &[
    ("imports", imports_follow_the_table),
    ("super", super_stays_in_its_module),
    ("purity", pure_files_do_nothing),
    ("length", files_stay_short),
    ("names", names_say_something),
    ("opening", files_say_what_they_are),
];

fn imports_follow_the_table(source: &Source) -> Vec<(usize, String)> {
    let module = source.module();
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
        return vec![(1, format!("module `{module}` is not in the table of imports"))];
    };
    imports(source)
        .into_iter()
        .filter(|(_, used)| used != module && !allowed.contains(&used.as_str()))
        .map(|(line, used)| (line, format!("`{module}` may not use `{used}`")))
        .collect()
}

/// The modules of ours that a file names, with the line: `crate::x`, `crate::{x, y::z}`, `submitd::x`.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate", "submitd"] {
        for at in words(&source.code, root) {
            let line = line_of(&source.code, at);
            let rest = source.code[at + root.len()..].trim_start();
            let Some(path) = rest.strip_prefix("::").map(str::trim_start) else {
                // `pub(crate)` and the program's own name are no imports; a new name for the root is.
                if rest.starts_with("as ") {
                    found.push((line, format!("{root} as …")));
                }
                continue;
            };
            if let Some(group) = path.strip_prefix('{') {
                found.extend(members(group).into_iter().map(|name| (line, name)));
            } else {
                found.push((line, first_word(path)));
            }
        }
    }
    found
}

/// The first word of each member of a `{…}` group whose opening brace is already gone.
fn members(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let member = group[start..at].trim();
                if !member.is_empty() {
                    names.push(first_word(member));
                }
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> String {
    let raw = text.trim_start_matches("r#");
    let end = raw.find(|c: char| !is_word(c)).unwrap_or(raw.len());
    // A glob (`crate::*`) takes in everything: it has no word and is in no row.
    if end == 0 { text.chars().take(1).collect() } else { raw[..end].to_owned() }
}

fn super_stays_in_its_module(source: &Source) -> Vec<(usize, String)> {
    let mut found: Vec<_> = words(&source.code, "super")
        .into_iter()
        .filter(|at| {
            source.code[at + "super".len()..]
                .replace(char::is_whitespace, "")
                .starts_with("::super")
        })
        .map(|at| {
            (line_of(&source.code, at), "`super::super`: write the path from the crate".to_owned())
        })
        .collect();
    if source.is_top() {
        let message = "`super` is the crate's root here: write `crate::`";
        found.extend(
            words(&source.code, "super")
                .into_iter()
                .filter(|at| depth_at(&source.code, *at) == 0)
                // `pub(super)` gives, it does not take.
                .filter(|at| source.code[at + "super".len()..].trim_start().starts_with("::"))
                .map(|at| (line_of(&source.code, at), message.to_owned())),
        );
    }
    found
}

fn pure_files_do_nothing(source: &Source) -> Vec<(usize, String)> {
    if !covers(PURE, &source.path) {
        return Vec::new();
    }
    // `use std::{fs, io}` says the same as `std::fs` and `std::io`.
    let grouped = words(&source.code, "std").into_iter().filter_map(|at| {
        let group = source.code[at + "std".len()..].trim_start().strip_prefix("::")?.trim_start();
        let names = members(group.strip_prefix('{')?);
        let bad = names.into_iter().find(|name| ["fs", "io", "env"].contains(&name.as_str()))?;
        Some((line_of(&source.code, at), format!("`std::{bad}` in a pure file")))
    });
    IMPURE
        .iter()
        .flat_map(|word| words(&source.code, word).into_iter().map(move |at| (at, word)))
        .map(|(at, word)| (line_of(&source.code, at), format!("`{word}` in a pure file")))
        .chain(grouped)
        .collect()
}

fn files_stay_short(source: &Source) -> Vec<(usize, String)> {
    if TABLES.iter().any(|(path, _)| covers(&[*path], &source.path)) {
        return Vec::new();
    }
    let lines = lines_without_tests(source);
    if lines <= LONGEST_FILE {
        return Vec::new();
    }
    vec![(lines, format!("{lines} lines without tests; at most {LONGEST_FILE}: split it"))]
}

/// Lines up to the last one that is not compiled for tests only.
fn lines_without_tests(source: &Source) -> usize {
    let attributes = words(&without_comments(&source.text), "cfg(test)");
    let tests = attributes.first().map(|at| line_of(&source.text, *at));
    let code_ends = source.code.trim_end().lines().count();
    match tests {
        // Tests stand last: their comments count as little as they do.
        Some(line) if line > code_ends => line - 1,
        _ => source.text.lines().count().min(code_ends.max(1)),
    }
}

fn names_say_something(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    let file = source.path.as_str();
    if let Some(word) = stem.split('_').find_map(|part| empty_word(part, file)) {
        found.push((1, format!("a file called after `{word}`")));
    }
    for keyword in ["struct", "enum", "trait", "type", "union", "mod"] {
        for at in words(&source.code, keyword) {
            let name = first_word(source.code[at + keyword.len()..].trim_start());
            let parts = parts_of(&name);
            if let Some(word) = parts.iter().find_map(|part| empty_word(part, file)) {
                found.push((line_of(&source.code, at), format!("`{name}`: `{word}` says nothing")));
            }
        }
    }
    found
}

/// `TokenDataHandler` → `Token`, `Data`, `Handler`; `data_helpers` → `data`, `helpers`.
fn parts_of(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for character in name.chars() {
        if character.is_uppercase() || character == '_' {
            parts.push(String::new());
        }
        if let (Some(part), true) = (parts.last_mut(), character != '_') {
            part.push(character);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn empty_word(part: &str, path: &str) -> Option<&'static str> {
    let part = part.to_lowercase();
    EMPTY_WORDS.iter().copied().find(|word| {
        let lower = word.to_lowercase();
        let is_standard =
            WORDS_OF_STANDARDS.iter().any(|(place, own)| own == word && covers(&[*place], path));
        !is_standard && (part == lower || part == format!("{lower}s"))
    })
}

fn files_say_what_they_are(source: &Source) -> Vec<(usize, String)> {
    let first = source.text.lines().next().unwrap_or_default();
    match first.strip_prefix("//!").map(str::trim) {
        Some("") | None => vec![(1, "no `//!` on the first line: what is this file?".to_owned())],
        Some("(being written)") => vec![(1, "still to be written".to_owned())],
        Some(_) => Vec::new(),
    }
}

/// A list of files and folders (`mail/`) covers this path.
fn covers(list: &[&str], path: &str) -> bool {
    list.iter()
        .any(|entry| if entry.ends_with('/') { path.starts_with(entry) } else { path == *entry })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where `word` stands in `code`, not as part of a longer word.
fn words(code: &str, word: &str) -> Vec<usize> {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| !word.starts_with(is_word) || !code[..*at].ends_with(is_word))
        .filter(|at| !word.ends_with(is_word) || !code[at + word.len()..].starts_with(is_word))
        .collect()
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn depth_at(code: &str, at: usize) -> usize {
    let opened = code[..at].matches('{').count();
    opened.saturating_sub(code[..at].matches('}').count())
}

/// The code with comments and the insides of literals blanked; every newline stays.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let length = blank_length(rest, code.chars().last());
        if length == 0 {
            code.push(character);
            rest = &rest[character.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// Octets of the comment or literal that begins here; 0 where none does.
fn blank_length(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if !before.is_some_and(is_word) {
        let raw = rest.trim_start_matches(['b', 'c']);
        let hashes =
            raw.strip_prefix('r').map(|after| after.len() - after.trim_start_matches('#').len());
        if let Some(hashes) = hashes
            && raw[1 + hashes..].starts_with('"')
        {
            let end = format!("\"{}", "#".repeat(hashes));
            let opening = rest.len() - raw.len() + 2 + hashes;
            return rest[opening..].find(&end).map_or(rest.len(), |at| opening + at + end.len());
        }
    }
    // A character, not a lifetime: `'a'`, `'\n'`, `'{'`.
    let mut inside = rest.strip_prefix('\'').unwrap_or_default().chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(character), Some('\'')) => 2 + character.len_utf8(),
        _ => 0,
    }
}

/// Octets of a literal between two `quote`s, `\` escapes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// Octets of a `/* … */`; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    for (at, _) in rest.char_indices() {
        if rest[at..].starts_with("/*") {
            depth += 1;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    rest.len()
}

/// The code with every item behind `#[cfg(test)]` blanked.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    while let Some(start) = kept.find("#[cfg(test)]") {
        let mut depth = 0_usize;
        let mut end = kept.len();
        for (at, character) in kept[start..].char_indices().skip("#[cfg(test)]".len()) {
            match character {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(character, '}' | ';') {
                end = start + at + 1;
                break;
            }
        }
        let blank: String =
            kept[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        kept.replace_range(start..end, &blank);
    }
    kept
}

/// All of `src`, except files that a `#[cfg(test)] mod name;` takes in.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = BTreeMap::new();
    read(&root, &root, &mut texts);
    let tests: BTreeSet<String> =
        texts.iter().flat_map(|(path, text)| test_files(path, text)).collect();
    texts
        .iter()
        .filter(|(path, _)| !tests.iter().any(|test| path.starts_with(test.as_str())))
        .map(|(path, text)| Source::new(path, text))
        .collect()
}

fn read(root: &Path, folder: &Path, texts: &mut BTreeMap<String, String>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read(root, &path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            texts.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The beginnings of the paths of modules that a file declares for tests only.
fn test_files(path: &str, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let folder = match path.rsplit_once('/') {
        _ if ["lib.rs", "main.rs"].contains(&path) => String::new(),
        Some((folder, "mod.rs")) => format!("{folder}/"),
        _ => format!("{}/", path.trim_end_matches(".rs")),
    };
    code.match_indices("#[cfg(test)]")
        .filter_map(|(at, attribute)| {
            let item = code[at + attribute.len()..].trim_start();
            let name = item.trim_start_matches("pub(crate) ").strip_prefix("mod ")?;
            let name = &name[..name.find(';')?];
            name.chars().all(is_word).then(|| name.to_owned())
        })
        .flat_map(|name| [format!("{folder}{name}.rs"), format!("{folder}{name}/")])
        .collect()
}

#[test]
fn the_code_keeps_the_rules() {
    let sources = sources();
    assert!(sources.len() > 20, "only {} files were read", sources.len());
    let mut found = Vec::new();
    for source in &sources {
        for (name, rule) in RULES {
            for (line, what) in rule(source) {
                found.push(format!("src/{}:{line}: {name}: {what}", source.path));
            }
        }
    }
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_table_has_no_circle() {
    assert_eq!(circle(MAY_IMPORT), None);
}

#[test]
fn the_lists_name_files_that_exist() {
    // A file that was renamed would leave its rule behind, unnoticed.
    let sources = sources();
    let modules: BTreeSet<&str> = sources.iter().map(Source::module).collect();
    for (module, allowed) in MAY_IMPORT {
        for name in allowed.iter().chain([module]) {
            assert!(modules.contains(name), "`{name}` is in the table and not in src/");
        }
    }
    for entry in PURE.iter().chain(TABLES.iter().map(|(path, _)| path)) {
        let exists = sources.iter().any(|source| covers(&[*entry], &source.path));
        assert!(exists, "`{entry}` is in a list and not in src/");
    }
}

/// A circle in the table, as a path; modules that are not in it are reported as one too.
fn circle(table: &[(&str, &[&str])]) -> Option<String> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> =
        table.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    // Takes away what needs nothing any more, level by level; what remains is tied in a knot.
    loop {
        let free: Vec<&str> =
            left.iter().filter(|(_, uses)| uses.is_empty()).map(|(name, _)| *name).collect();
        if free.is_empty() {
            break;
        }
        left.retain(|name, _| !free.contains(name));
        left.values_mut().for_each(|uses| uses.retain(|name| !free.contains(name)));
    }
    let knot: Vec<&str> = left.keys().copied().collect();
    (!knot.is_empty()).then(|| knot.join(" ⇄ "))
}

#[test]
fn a_circle_is_found() {
    assert_eq!(circle(&[("a", &["b"]), ("b", &[])]), None);
    assert_eq!(circle(&[("a", &["a"])]), Some("a".to_owned()));
    assert_eq!(
        circle(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &[])]).as_deref(),
        Some("a ⇄ b ⇄ c")
    );
    assert_eq!(circle(&[("a", &["unknown"])]).as_deref(), Some("a"));
}

/// A rule, a path, a text, and the line where it is broken; 0 = it is kept.
const PLANTED: &[(&str, &str, &str, usize)] = &[
    // who may import whom
    ("imports", "smtp/server.rs", "//! x\nuse crate::upstream::Fault;", 2),
    ("imports", "smtp/server.rs", "//! x\nuse crate::mail::Address;", 0),
    ("imports", "smtp/server.rs", "//! x\nuse crate::smtp::line::Lines;", 0),
    ("imports", "smtp/server.rs", "//! x\nfn f() { crate::queue::wake(); }", 2),
    ("imports", "smtp/server.rs", "//! x\nuse crate::{mail::Address, queue};", 2),
    ("imports", "smtp/server.rs", "//! x\nuse crate::{mail::{Address, Path}, smtp::Reply};", 0),
    ("imports", "smtp/server.rs", "//! x\nuse crate::{mail::{Address, Path}, config::Tls};", 2),
    ("imports", "smtp/server.rs", "//! x\nuse crate::*;", 2),
    ("imports", "smtp/server.rs", "//! x\nuse crate as ours;", 2),
    (
        "imports",
        "smtp/server.rs",
        "//! see [`crate::queue`]\n// crate::queue\n/* crate::queue */",
        0,
    ),
    ("imports", "smtp/server.rs", "//! x\nconst T: &str = \"crate::queue\";", 0),
    ("imports", "smtp/server.rs", "//! x\nconst T: &str = r#\"a \" crate::queue\"#;", 0),
    ("imports", "smtp/server.rs", "//! x\n#[cfg(test)]\nmod tests { use crate::queue; }", 0),
    (
        "imports",
        "smtp/server.rs",
        "//! x\n#[cfg(test)]\nmod tests { const B: char = '{'; }\nuse crate::queue;",
        4,
    ),
    ("imports", "smtp/server.rs", "//! x\npub(crate) fn f<'a>(x: &'a str) {}", 0),
    ("imports", "session/mod.rs", "//! x\nuse crate::oauth::Token;", 2),
    ("imports", "upstream/smtp/drive.rs", "//! x\nuse crate::oauth::Token;", 2),
    ("imports", "novelty/mod.rs", "//! x", 1),
    ("imports", "main.rs", "//! x\nfn main() { submitd::app::run() }", 2),
    ("imports", "main.rs", "//! x\nfn main() { submitd::cli::main() }", 0),
    // super
    ("super", "upstream/smtp/pool.rs", "//! x\nuse super::super::Fault;", 2),
    ("super", "upstream/smtp/pool.rs", "//! x\nuse super :: super::Fault;", 2),
    ("super", "upstream/smtp/pool.rs", "//! x\nuse super::Fault;", 0),
    ("super", "accounts.rs", "//! x\nuse super::app::App;", 2),
    ("super", "queue/mod.rs", "//! x\nuse super::delivery;", 2),
    ("super", "queue/mod.rs", "//! x\n#[cfg(test)]\nmod tests { use super::*; }", 0),
    // purity
    ("purity", "mail/id.rs", "//! x\nuse std::time::Instant;\nfn f() { Instant::now(); }", 3),
    ("purity", "mail/id.rs", "//! x\nuse std::time::{Duration, Instant, SystemTime};", 0),
    ("purity", "delivery/verdict.rs", "//! x\nuse std::fs;", 2),
    ("purity", "delivery/verdict.rs", "//! x\nuse std::{collections::BTreeMap, io::Read};", 2),
    ("purity", "smtp/client.rs", "//! x\nuse tokio::time;", 2),
    ("purity", "smtp/client.rs", "//! x\npub async fn f() {}", 2),
    ("purity", "smtp/client.rs", "//! x\nfn f() { g().await }", 2),
    ("purity", "queue/retry.rs", "//! x\nfn f() { rand::random() }", 2),
    ("purity", "queue/retry.rs", "//! x\nfn f(operand: u8, random: u64) {}", 0),
    ("purity", "queue/retry.rs", "//! x\nuse std::net::TcpStream;", 2),
    ("purity", "config/check.rs", "//! x\nuse std::net::IpAddr;", 0),
    (
        "purity",
        "oauth/token.rs",
        "//! x\nuse std::time::SystemTime;\nfn f() { SystemTime::now() }",
        3,
    ),
    ("purity", "queue/store.rs", "//! x\nuse std::fs; use tokio::time;", 0),
    ("purity", "mail/id.rs", "//! x\n#[cfg(test)]\nmod tests { use std::fs; }", 0),
    // names
    ("names", "queue/mod.rs", "//! x\npub struct QueueManager;", 2),
    ("names", "queue/mod.rs", "//! x\nenum DataKind {}", 2),
    ("names", "queue/mod.rs", "//! x\ntrait Helpers {}", 2),
    ("names", "queue/mod.rs", "//! x\ntype Utils = ();", 2),
    ("names", "queue/mod.rs", "//! x\nmod common;", 2),
    ("names", "queue/mod.rs", "//! x\nstruct Metadatabase; struct Informed; // struct Manager", 0),
    ("names", "queue/util.rs", "//! x", 1),
    ("names", "smtp/data.rs", "//! x\nstruct DataReader;", 0),
    ("names", "smtp/data.rs", "//! x\nstruct LineHandler;", 2),
    // the opening
    ("opening", "queue/mod.rs", "use std::fs;", 1),
    ("opening", "queue/mod.rs", "//!\nuse std::fs;", 1),
    ("opening", "queue/mod.rs", "// not this\n//! x", 1),
    ("opening", "queue/mod.rs", "//! (being written)", 1),
    ("opening", "queue/mod.rs", "//! The queue.", 0),
];

#[test]
fn each_rule_finds_what_is_planted() {
    for (name, path, text, line) in PLANTED {
        let (_, rule) = RULES.iter().find(|(rule, _)| rule == name).unwrap();
        let found = rule(&Source::new(path, text));
        let first = found.first().map_or(0, |(line, _)| *line);
        assert_eq!(first, *line, "{name}: {path}: {text:?}: {found:?}");
    }
}

#[test]
fn length_counts_all_but_tests() {
    let tests =
        format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    // x\n    fn f() {}\n".repeat(300));
    for (lines, tail, path, is_kept) in [
        (400, "", "queue/mod.rs", true),
        (401, "", "queue/mod.rs", false),
        (400, tests.as_str(), "queue/mod.rs", true),
        (401, tests.as_str(), "queue/mod.rs", false),
        (900, "", "diagnosis/entra.rs", true),
    ] {
        let text = format!("//! x\n{}{tail}", "fn f() {}\n".repeat(lines - 1));
        let found = files_stay_short(&Source::new(path, &text));
        assert_eq!(found.is_empty(), is_kept, "{path} with {lines} lines: {found:?}");
    }
    // Code that follows the tests counts, and so do comments without code.
    let after = format!("//! x\n{tests}{}", "fn f() {}\n".repeat(500));
    assert!(!files_stay_short(&Source::new("queue/mod.rs", &after)).is_empty());
    let comments = format!("//! x\n{}fn f() {{}}\n", "// why\n".repeat(400));
    assert!(!files_stay_short(&Source::new("queue/mod.rs", &comments)).is_empty());
}

#[test]
fn modules_for_tests_are_left_out() {
    let files = test_files("smtp/mod.rs", "//! x\n#[cfg(test)]\nmod pair;\nmod line;");
    assert_eq!(files, ["smtp/pair.rs", "smtp/pair/"]);
    assert_eq!(test_files("accounts.rs", "#[cfg(test)]\nmod tests {}"), [""; 0]);
}
