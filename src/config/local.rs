//! `default_domain`, `aliases` and `aliases_file`: where mail for this machine's own names goes.
//!
//! It promises that an alias the operator wrote is taken or refused with its place, and that one of a
//! system's file is taken or named as passed over.

use super::address::Domain;
use super::check::Surroundings;
use super::section::Section;
use super::tree::{Node, Table, Value};
use super::value::{Written, Wrong, each, list, quote, text};
use crate::mail::local::read_aliases;
use crate::mail::{Address, Local};
use std::collections::HashMap;
use std::path::PathBuf;

/// What is local on this machine.
pub(super) fn local(top: &Section<'_>, around: &Surroundings<'_>, hostname: &str) -> Local {
    let default_domain = top.optional::<Domain>("default_domain");
    let mut aliases = file(top, around);
    aliases.extend(top.optional::<Aliases>("aliases").unwrap_or_default().0);
    Local::new(&[hostname, &around.hostname], default_domain.map(|domain| domain.0), aliases)
}

/// The aliases of `aliases_file`.
fn file(top: &Section<'_>, around: &Surroundings<'_>) -> HashMap<String, Vec<Address>> {
    let Some(path) = top.optional::<PathBuf>("aliases_file") else { return HashMap::new() };
    let path = around.base.join(path);
    let shown = path.display();
    match (around.read_text)(&path) {
        Ok(text) => {
            let file = read_aliases(&text);
            if !file.passed_over.is_empty() {
                let lines: Vec<String> = file.passed_over.iter().map(usize::to_string).collect();
                let what = format!(
                    "{shown}: passed over in line {}: commands, files and includes are not followed",
                    lines.join(", ")
                );
                top.doubt("aliases_file", what, "write these into aliases, as addresses");
            }
            file.aliases.into_iter().map(|(name, to)| (name.to_lowercase(), to)).collect()
        }
        Err(why) => {
            let what = format!("{shown} cannot be read ({why})");
            top.wrong("aliases_file", what, "name a file we may read, or write aliases");
            HashMap::new()
        }
    }
}

/// `{ root = "it@contoso.com", … }`, by name in small letters.
#[derive(Default)]
struct Aliases(HashMap<String, Vec<Address>>);

impl Written for Aliases {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let Value::Table(Table { entries }) = &node.value else {
            let what = format!("expected a table, found {}", node.kind());
            return Err(
                Wrong::new(what, "write [aliases] and below it root = \"it@contoso.com\"").into()
            );
        };
        let (mut good, mut bad) = (HashMap::new(), Vec::new());
        for entry in entries {
            if !Address::parse(&entry.key).is_ok_and(|name| name.domain().is_none()) {
                let what = format!("{:?} is no local name", entry.key);
                let remedy = "write what stands before the @, such as root";
                bad.push(Wrong { at: Some(entry.place.clone()), ..Wrong::new(what, remedy) });
            }
            match each(&entry.node, "an address or a list of addresses", goal) {
                Ok(to) if to.is_empty() => {
                    let wrong = Wrong::new("names nobody", "write an address");
                    bad.push(Wrong { at: Some(entry.place.clone()), ..wrong });
                }
                Ok(to) => {
                    good.insert(entry.key.to_lowercase(), to);
                }
                Err(wrongs) => bad.extend(wrongs),
            }
        }
        if bad.is_empty() { Ok(Self(good)) } else { Err(bad) }
    }
    fn write(&self) -> String {
        let mut entries: Vec<String> = self
            .0
            .iter()
            .map(|(name, to)| {
                let to = list(to.iter().map(|address| quote(address.as_str())));
                format!("{} = {to}", quote(name))
            })
            .collect();
        entries.sort_unstable();
        format!("{{ {} }}", entries.join(", "))
    }
}

/// An address, or a local name that may be an alias itself.
fn goal(node: &Node) -> Result<Address, Wrong> {
    let text = text(node)?;
    Address::parse(text).map_err(|error| {
        Wrong::new(format!("{text:?}: {error}"), "write user@domain, or another alias")
    })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::mail::Address;

    const ACCOUNT: &str = "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n\
        grant = \"client_credentials\"\ntenant = \"contoso.onmicrosoft.com\"\n\
        client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\nclient_secret = \"x\"\n";

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Config::from_text("submitd.toml", &format!("{text}\n{ACCOUNT}"), &variables)
            .map_err(|problems| problems.to_string())
    }

    fn goes_to(config: &Config, text: &str) -> Vec<String> {
        let address = Address::parse(text).expect(text);
        config.local.recipients(&address).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn aliases_are_read_from_table_variable_and_file() {
        let table = "default_domain = \"contoso.com\"\nhostname = \"web1.lan\"\n[aliases]\n\
                     Root = \"it@contoso.com\"\nops = [\"root\", \"ann\"]";
        let config = read(table, &[("SUBMITD_ALIASES__BOB", "bob@example.org, root")]);
        let config = config.expect("good");
        assert_eq!(goes_to(&config, "root@web1"), ["it@contoso.com"]);
        assert_eq!(goes_to(&config, "ops@localhost"), ["it@contoso.com", "ann@contoso.com"]);
        assert_eq!(goes_to(&config, "bob"), ["bob@example.org", "it@contoso.com"]);
        let shown = config.show(false);
        let expected = "aliases = { \"bob\" = [\"bob@example.org\", \"root\"], \
                        \"ops\" = [\"root\", \"ann\"], \"root\" = [\"it@contoso.com\"] }";
        assert!(shown.contains(expected), "{shown}");

        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "root: it@contoso.com\nx: |/bin/x\nann: a@b\n").expect("write");
        let text = format!(
            "aliases_file = {:?}\naliases = {{ root = \"mine@contoso.com\" }}",
            file.path().display().to_string()
        );
        let config = read(&text, &[]).expect("good");
        assert_eq!(goes_to(&config, "root"), ["mine@contoso.com"]);
        assert_eq!(goes_to(&config, "ann"), ["a@b"]);
        let warning = format!("{:?}", config.warnings);
        assert!(warning.contains("passed over in line 2"), "{warning}");
    }

    #[test]
    fn what_is_no_alias_or_domain_is_told_with_its_place() {
        for (text, expected) in [
            ("default_domain = \"a@b\"", "1:18: default_domain: \"a@b\" is no domain"),
            ("aliases = 5", "1:11: aliases: expected a table, found a number"),
            ("[aliases]\n\"a@b\" = \"c@d\"", "2:1: aliases: \"a@b\" is no local name"),
            ("[aliases]\nroot = \"a b\"", "2:8: aliases: \"a b\": character not allowed"),
            ("[aliases]\nroot = []", "2:1: aliases: names nobody"),
            (
                "aliases_file = \"/nowhere/aliases\"",
                "1:16: aliases_file: /nowhere/aliases cannot be read",
            ),
        ] {
            let problems = read(text, &[]).err().unwrap_or_default();
            assert!(problems.contains(expected), "{text}: {problems}");
        }
    }
}
