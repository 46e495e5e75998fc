//! What is local to this machine: its names, `default_domain` and `[aliases]`.
//!
//! It promises that a loop of aliases ends, and that an address of another machine is never touched.

use super::Address;
use std::collections::{HashMap, HashSet};

/// Aliases followed from one recipient, in all.
const MOST_STEPS: usize = 100;
/// Names every machine calls itself.
const EVERYWHERE: [&str; 2] = ["localhost", "localhost.localdomain"];

/// Our own names, and where mail for them goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// In small letters.
    names: HashSet<String>,
    default_domain: Option<String>,
    /// By local part in small letters.
    aliases: HashMap<String, Vec<Address>>,
}

impl Local {
    /// With these names of the machine; of each its first label counts, too.
    pub fn new(
        names: &[&str],
        default_domain: Option<String>,
        aliases: HashMap<String, Vec<Address>>,
    ) -> Self {
        let names = names.iter().flat_map(|name| [*name, name.split('.').next().unwrap_or(name)]);
        let names = names.chain(EVERYWHERE).map(str::to_lowercase).collect();
        let aliases = aliases.into_iter().map(|(name, to)| (name.to_lowercase(), to)).collect();
        Self { names, default_domain, aliases }
    }

    /// Whether an address has no domain, or one of ours.
    pub fn is_local(&self, address: &Address) -> bool {
        address
            .domain()
            .is_none_or(|domain| self.names.contains(&domain.trim_end_matches('.').to_lowercase()))
    }

    /// A local address with `default_domain`; none where the address is not local or there is none.
    pub fn complete(&self, address: &Address) -> Option<Address> {
        let domain = self.default_domain.as_ref().filter(|_| self.is_local(address))?;
        Address::parse(&format!("{}@{domain}", address.local())).ok()
    }

    /// Where mail for an address goes: the address itself where it is not local or nothing is known.
    pub fn recipients(&self, address: &Address) -> Vec<Address> {
        let mut found: Vec<Address> = Vec::new();
        let mut seen = HashSet::new();
        let mut open = vec![address.clone()];
        while let Some(next) = open.pop() {
            let local = next.local().to_lowercase();
            let aliases = self.aliases.get(&local).filter(|_| self.is_local(&next));
            match aliases {
                // An alias that leads back to itself (root: root, it@b) means the mailbox of that name.
                Some(aliases) if seen.len() < MOST_STEPS && seen.insert(local) => {
                    open.extend(aliases.iter().rev().cloned());
                }
                _ => {
                    let last = self.complete(&next).unwrap_or(next);
                    if !found.iter().any(|known| known.is_same_mailbox(&last)) {
                        found.push(last);
                    }
                }
            }
        }
        found
    }
}

/// What `/etc/aliases` holds, and the lines that were passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasFile {
    /// By name as written.
    pub aliases: HashMap<String, Vec<Address>>,
    /// Lines (from 1) with a pipe, a file, an include or no sense.
    pub passed_over: Vec<usize>,
}

/// Reads aliases in sendmail's format, `root: it@contoso.com, ann`. Commands, files and includes are
/// not followed: a line that has one is passed over whole.
pub fn read_aliases(text: &str) -> AliasFile {
    let mut file = AliasFile::default();
    let mut logical: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match logical.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some((_, whole)) => whole.push_str(line),
            None => logical.push((index + 1, line.to_owned())),
        }
    }
    for (number, line) in logical {
        match alias(&line) {
            Some((name, to)) => {
                file.aliases.insert(name, to);
            }
            None => file.passed_over.push(number),
        }
    }
    file
}

fn alias(line: &str) -> Option<(String, Vec<Address>)> {
    let (name, value) = line.split_once(':')?;
    let name = Address::parse(name.trim().trim_matches('"')).ok()?;
    let to: Option<Vec<Address>> =
        value.split(',').map(str::trim).filter(|one| !one.is_empty()).map(target).collect();
    let to = to.filter(|to| !to.is_empty() && name.domain().is_none())?;
    Some((name.as_str().to_owned(), to))
}

/// One goal of an alias; a backslash before a name (no further aliases) means nothing here.
fn target(text: &str) -> Option<Address> {
    let text = text.strip_prefix('\\').unwrap_or(text);
    let is_special = text.starts_with(['|', '/', ':']) || text.starts_with("\"|");
    if is_special { None } else { Address::parse(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    fn local(domain: Option<&str>, aliases: &[(&str, &[&str])]) -> Local {
        let aliases = aliases
            .iter()
            .map(|(name, to)| ((*name).to_owned(), to.iter().map(|text| address(text)).collect()));
        Local::new(&["web1.lan", "Relay"], domain.map(str::to_owned), aliases.collect())
    }

    #[test]
    fn knows_its_own_names() {
        let local = local(None, &[]);
        for (text, expected) in [
            ("root", true),
            ("root@web1", true),
            ("root@WEB1.lan", true),
            ("root@web1.lan.", true),
            ("root@relay", true),
            ("root@localhost", true),
            ("root@localhost.localdomain", true),
            ("root@lan", false),
            ("root@web1.lan.example", false),
            ("root@contoso.com", false),
            ("\"root@web1\"@contoso.com", false),
        ] {
            assert_eq!(local.is_local(&address(text)), expected, "{text}");
        }
    }

    #[test]
    fn recipients_follow_aliases_then_the_default_domain() {
        let aliases: &[(&str, &[&str])] = &[
            ("root", &["it@contoso.com"]),
            ("postmaster", &["root"]),
            ("team", &["ann", "root", "bob@example.org"]),
            ("a", &["b"]),
            ("b", &["a"]),
            ("self", &["self", "it@contoso.com"]),
        ];
        for (domain, text, expected) in [
            (None, "root", &["it@contoso.com"][..]),
            (None, "ROOT@web1", &["it@contoso.com"]),
            (None, "root@contoso.com", &["root@contoso.com"]),
            (None, "postmaster", &["it@contoso.com"]),
            (
                Some("contoso.com"),
                "team",
                &["ann@contoso.com", "it@contoso.com", "bob@example.org"],
            ),
            (Some("contoso.com"), "ann@localhost", &["ann@contoso.com"]),
            (None, "ann@localhost", &["ann@localhost"]),
            (Some("contoso.com"), "a", &["a@contoso.com"]),
            (Some("contoso.com"), "self", &["self@contoso.com", "it@contoso.com"]),
        ] {
            let found = local(domain, aliases).recipients(&address(text));
            let found: Vec<_> = found.iter().map(Address::as_str).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn aliases_that_multiply_end() {
        let names: Vec<String> = (0..200).map(|number| format!("n{number}")).collect();
        let aliases = names.iter().enumerate().map(|(number, name)| {
            let to = [number + 1, number + 2].map(|next| address(&format!("n{next}")));
            (name.clone(), to.to_vec())
        });
        let local = Local::new(&[], None, aliases.collect());
        assert!(local.recipients(&address("n0")).len() <= 2 * MOST_STEPS);
    }

    #[test]
    fn reads_sendmails_file_without_commands_files_and_includes() {
        let file = read_aliases(
            "# comment\nroot: it@contoso.com,\n  ann\n\npostmaster:root\nprog: \"|/bin/x\"\n\
             log: /var/log/x\nlist: :include:/x\nboth: ann, |/bin/y\n\\odd\nbob: \\bob\nempty:\n",
        );
        let mut names: Vec<_> = file.aliases.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["bob", "postmaster", "root"]);
        assert_eq!(file.aliases["root"], [address("it@contoso.com"), address("ann")]);
        assert_eq!(file.passed_over, [6, 7, 8, 9, 10, 12]);
    }
}
