//! The manual says what the code does: keys and defaults of the example files and of the manual are
//! those the code asks for.

#[path = "manual/page.rs"]
mod page;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use submitd::config::{Config, keys};

const FULL: &str = include_str!("../config/submitd.full.toml");
const SMALLEST: &str = include_str!("../config/submitd.toml");
const MANUAL: &str = include_str!("../docs/configuration.md");

/// A directory as the example files expect it.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("directory");
    for (name, text) in [
        ("submitd.full.toml", FULL),
        ("submitd.toml", SMALLEST),
        ("erp.secret", "hunter2"),
        ("scanner.password", "hunter3"),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect(name);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect(name);
    }
    directory
}

fn load(directory: &Path, name: &str) -> Config {
    let variables = [("STATE_DIRECTORY".to_owned(), "/var/lib/submitd".to_owned())];
    let config = Config::load(Some(&directory.join(name)), variables.into_iter());
    config.unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

/// Key and value of every line `key = value  # comment`; `#key` stands for a key that is commented out.
fn written_keys(text: &str) -> BTreeMap<String, String> {
    let mut path = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if line.starts_with('[') {
            path = format!("{}.", line.trim_matches(['[', ']']));
        }
        let is_off = line.starts_with('#');
        let line = line.trim_start_matches('#');
        let Some((key, rest)) = line.split_once(" = ") else { continue };
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            continue;
        }
        let table: toml::Table = toml::from_str(line).expect(line);
        let value = if is_off { "off".to_owned() } else { table[key].to_string() };
        assert!(rest.contains(" # "), "no comment: {line}");
        assert!(found.insert(format!("{path}{key}"), value).is_none(), "twice: {path}{key}");
    }
    found
}

/// Key and default of every row of the manual's tables below a heading that names a table.
fn manual_keys() -> BTreeMap<String, String> {
    let mut path = None;
    let mut found = BTreeMap::new();
    for line in MANUAL.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let name = heading.trim_matches(['#', ' ', '`']);
            path = match name {
                "Top level" => Some(String::new()),
                _ if name.starts_with('[') => Some(format!("{}.", name.trim_matches(['[', ']']))),
                _ => None,
            };
        }
        let (Some(path), Some(row)) = (&path, line.strip_prefix("| `")) else { continue };
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [key, meaning, range, default] = cells[..] else { panic!("four columns: {line}") };
        assert!(![meaning, range, default].contains(&""), "{line}");
        found.insert(format!("{path}{}", key.trim_matches('`')), default.to_owned());
    }
    found
}

#[test]
fn the_smallest_file_works_and_listens_on_both_loopbacks() {
    let directory = directory();
    let config = load(directory.path(), "submitd.toml");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let addresses = config.listeners[0].addresses.iter().map(ToString::to_string);
    assert_eq!(addresses.collect::<Vec<_>>(), ["127.0.0.1:2525", "[::1]:2525"]);
    assert_eq!(config.state_dir, PathBuf::from("/var/lib/submitd"));
}

#[test]
fn the_full_file_the_manual_and_the_code_know_the_same_keys() {
    let code = keys();
    assert_eq!(written_keys(FULL).into_keys().collect::<Vec<_>>(), code);
    assert_eq!(manual_keys().into_keys().collect::<Vec<_>>(), code);
}

/// `show(false)` leaves out what equals its default, so only keys without one may remain.
#[test]
fn the_full_file_states_the_defaults_of_the_code() {
    let directory = directory();
    let config = load(directory.path(), "submitd.full.toml");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let expected = r#"[[listener]]

[[user]]
name = "scanner"
password_file = "scanner.password"

[[account]]
name = "erp"
mailbox = "erp@contoso.com"
grant = "client_credentials"
tenant = "contoso.onmicrosoft.com"
client_id = "0f8fad5b-d9cb-469f-a165-70867728950e"
client_secret_file = "erp.secret"
"#;
    let normal = |text: &str| {
        let mut parts: Vec<String> =
            text.split("\n\n").map(|part| part.trim().to_owned()).collect();
        parts.sort();
        parts
    };
    assert_eq!(normal(&config.show(false)), normal(expected));
}

#[test]
fn the_manual_states_the_defaults_of_the_full_file() {
    let full = written_keys(FULL);
    let mut compared = 0;
    for (key, default) in manual_keys() {
        let Some(stated) = default.strip_prefix('`').and_then(|rest| rest.split('`').next()) else {
            let is_free = ["none", "must be", "the "].iter().any(|word| default.starts_with(word));
            assert!(is_free, "{key}: {default}");
            continue;
        };
        if full[&key] != "off" {
            let table: toml::Table = toml::from_str(&format!("key = {stated}")).expect(stated);
            assert_eq!(table["key"].to_string(), full[&key], "{key}");
            compared += 1;
        }
    }
    assert!(compared > 40, "only {compared} defaults were compared");
}

/// Compares a document with what it must say; `BLESS=1` writes it.
fn holds(path: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, wanted).expect("write");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    assert!(
        found == wanted,
        "{} is not what the code says (from line {:?}); BLESS=1 cargo test --test manual writes it",
        path.display(),
        differs.map(|line| line + 1)
    );
}

#[test]
fn the_man_pages_are_those_of_the_code() {
    let command = page::command();
    for verb in submitd::cli::grammar().get_subcommands() {
        assert!(command.contains(&format!(".SS submitd {}", verb.get_name())), "{verb}");
    }
    holds("docs/man/submitd.1", &command);
    let configuration = page::configuration(MANUAL);
    for key in keys() {
        let key = key.rsplit('.').next().unwrap_or_default();
        assert!(configuration.contains(&format!(".TP\n\\fB{key}\\fR\n")), "{key}");
    }
    holds("docs/man/submitd.toml.5", &configuration);
}

#[test]
fn troubleshooting_knows_every_reply_and_number_of_the_code() {
    const PATH: &str = "docs/troubleshooting.md";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    let text = std::fs::read_to_string(path).expect(PATH);
    let wanted = page::replaced(&text, "replies", &page::replies());
    let wanted = page::replaced(&wanted, "numbers", &page::numbers());
    holds(PATH, &page::replaced(&wanted, "tokens", &page::tokens()));
}

#[test]
fn the_set_up_in_the_manual_is_the_one_that_check_prints() {
    const PATH: &str = "docs/office365.md";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    let text = std::fs::read_to_string(path).expect(PATH);
    let directory = directory();
    for name in ["erp.crt", "erp.key"] {
        let path = directory.path().join(name);
        std::fs::write(&path, "x").expect(name);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect(name);
    }
    let keys = "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\ngrant = \"client_credentials\"\n\
                tenant = \"contoso.onmicrosoft.com\"\nclient_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\n\
                certificate = \"erp.crt\"\nkey = \"erp.key\"\n";
    std::fs::write(directory.path().join("setup.toml"), keys).expect("setup.toml");
    let config = load(directory.path(), "setup.toml");
    holds(PATH, &page::replaced(&text, "setup", &page::setup(&config.accounts[0])));
}
