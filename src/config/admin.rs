//! `[admin]`: where the daemon is watched and steered. Pure.

use super::check::Surroundings;
use super::section::Section;
use super::tree::Node;
use super::value::{Written, Wrong, quote, text};
use std::path::{Path, PathBuf};

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket; none = the word `off`.
    pub socket: Option<PathBuf>,
    /// Who may use it besides root and our own user.
    pub group: Option<Group>,
    /// Where a command may find it besides.
    pub others: Vec<PathBuf>,
}

/// A group of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// By its name in /etc/group.
    Name(String),
    /// By its number.
    Number(u32),
}

/// The socket's name in the directory it stands in.
const NAME: &str = "admin.sock";
/// Where the unit file's `RuntimeDirectory=submitd` and `StateDirectory=submitd` lie.
const UNIT: [&str; 2] = ["/run/submitd", "/var/lib/submitd"];
/// The longest path the kernel takes, with room for the name it is bound under at first.
const LONGEST: usize = 103;

/// A path, or the word `off`.
#[derive(Clone, PartialEq, Eq)]
enum Socket {
    Off,
    At(PathBuf),
}

impl Written for Socket {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        Ok(match text(node)? {
            "off" => Self::Off,
            path => Self::At(path.into()),
        })
    }
    fn write(&self) -> String {
        match self {
            Self::Off => quote("off"),
            Self::At(path) => quote(&path.to_string_lossy()),
        }
    }
}

impl Written for Group {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let text = text(node)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) if text.chars().all(is_name) => Ok(Self::Name(text.to_owned())),
            Err(_) => Err(Wrong::new(
                format!("{text:?} is no group"),
                "write the name of a group of this machine, or its number in quotes",
            )
            .into()),
        }
    }
    fn write(&self) -> String {
        quote(&self.to_string())
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// Reads `[admin]`.
pub(super) fn admin(section: Section<'_>, around: &Surroundings<'_>, state_dir: &Path) -> Admin {
    let usual = around.runtime_dir.as_deref().unwrap_or(state_dir).join(NAME);
    let is_given = section.is_given("socket");
    let socket = match section.or("socket", Socket::At(usual)) {
        Socket::Off => None,
        Socket::At(path) => Some(around.base.join(path)),
    };
    let length = socket.as_ref().map_or(0, |path| path.as_os_str().len());
    if length > LONGEST {
        let what = format!("the path has {length} octets, a socket's may have {LONGEST}");
        let remedy = "write a shorter one, such as \"/run/submitd/admin.sock\", or \"off\"";
        match is_given {
            true => section.wrong("socket", what, remedy),
            // Nobody asked for it: mail goes on, and only steering is not to be had.
            false => section.doubt("socket", what, remedy),
        }
    }
    let group = section.optional("group");
    section.finish(&[]);
    let socket = socket.filter(|_| length <= LONGEST);
    Admin { others: others(socket.as_deref(), is_given, state_dir), socket, group }
}

/// Where else the daemon of this configuration may have it: systemd names it a runtime directory, which a
/// command on a terminal does not see.
fn others(socket: Option<&Path>, is_given: bool, state_dir: &Path) -> Vec<PathBuf> {
    let [runtime, state] = UNIT.map(Path::new);
    let other = if is_given || state_dir != state { None } else { Some(runtime.join(NAME)) };
    other.filter(|other| socket.is_some_and(|socket| socket != other)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Glance};

    const ACCOUNT: &str = "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n\
        grant = \"client_credentials\"\ntenant = \"contoso.onmicrosoft.com\"\n\
        client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\nclient_secret = \"hunter2\"\n";

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let text = format!("{ACCOUNT}{text}");
        Config::from_text("/etc/submitd/submitd.toml", &text, &variables)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_socket_lies_where_systemd_says_or_beside_the_state() {
        let unit = [("STATE_DIRECTORY", "/var/lib/submitd"), ("RUNTIME_DIRECTORY", "/run/submitd")];
        for (text, variables, socket, others) in [
            ("state_dir = \"/srv/s\"", &[][..], Some("/srv/s/admin.sock"), &[][..]),
            ("", &unit[..1], Some("/var/lib/submitd/admin.sock"), &["/run/submitd/admin.sock"]),
            ("", &unit, Some("/run/submitd/admin.sock"), &[]),
            ("[admin]\nsocket = \"/run/x.sock\"", &unit, Some("/run/x.sock"), &[]),
            ("[admin]\nsocket = \"x.sock\"", &unit, Some("/etc/submitd/x.sock"), &[]),
            ("[admin]\nsocket = \"off\"", &unit, None, &[]),
        ] {
            let text = match text.starts_with("state_dir") {
                true => Config::from_text(
                    "/etc/submitd/submitd.toml",
                    &format!("{text}\n{ACCOUNT}"),
                    &[],
                )
                .expect(text),
                false => read(text, variables).expect(text),
            };
            assert_eq!(text.admin.socket.as_deref(), socket.map(Path::new));
            let expected: Vec<_> = others.iter().map(PathBuf::from).collect();
            assert_eq!(text.admin.others, expected);
        }
    }

    #[test]
    fn a_path_that_is_too_long_stops_only_where_it_was_written() {
        let long = format!("/{}", "x".repeat(103));
        let refused = read(&format!("[admin]\nsocket = \"{long}\""), &[]).unwrap_err();
        assert!(refused.contains("admin.socket: the path has 104 octets"), "{refused}");
        let config = read("", &[("STATE_DIRECTORY", &long)]).expect("a start");
        assert_eq!(config.admin.socket, None);
        assert!(config.warnings.iter().any(|doubt| doubt.key == "admin.socket"));
    }

    #[test]
    fn a_group_is_a_name_or_a_number() {
        for (text, group) in [
            ("\"mail-admins\"", Group::Name("mail-admins".into())),
            ("\"1001\"", Group::Number(1001)),
        ] {
            let config = read(&format!("[admin]\ngroup = {text}"), &[]).expect(text);
            assert_eq!(config.admin.group, Some(group));
        }
        let refused = read("[admin]\ngroup = \"a b\"", &[]).unwrap_err();
        assert!(refused.contains("admin.group: \"a b\" is no group; write"), "{refused}");
    }

    #[test]
    fn a_glance_finds_the_same_socket() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "[admin]\nsocket = \"/run/x.sock\"\n[[account]]\n")
            .expect("write");
        let seen = Glance::take(Some(file.path()), std::iter::empty());
        assert_eq!(seen.admin.socket.as_deref(), Some(Path::new("/run/x.sock")));
    }
}
