//! What a program that only hands in mail needs to know of the configuration.
//!
//! It promises to read no secret and to judge nothing: a mistake elsewhere in the file, or a secret this
//! user may not read, is no reason why mail is not handed in. The daemon tells the mistakes. What it
//! gives must not be used to run anything.

use super::check;
use super::section::Walk;
use super::surroundings::{self, Machine, Unread};
use super::{Admin, Identity, Listener, USUAL_FILE, environment, file};
use crate::secret::Secret;
use std::path::{Path, PathBuf};

/// A look at the configuration.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Where programs hand in their mail.
    pub listeners: Vec<Listener>,
    /// Our name.
    pub hostname: String,
    /// Where the queue lives.
    pub state_dir: PathBuf,
    /// Where the daemon is steered.
    pub admin: Admin,
}

impl Glance {
    /// Looks at a file, [`USUAL_FILE`] where none is named, and the variables of the environment. A file
    /// that is not there or may not be read counts as empty: the defaults hold.
    pub fn take(path: Option<&Path>, variables: impl Iterator<Item = (String, String)>) -> Self {
        // The usual file is the machine's: its state is not to be looked for in the caller's home.
        let of_the_machine = path.is_none();
        let variables: Vec<(String, String)> =
            variables.filter(|(name, _)| !(of_the_machine && name == "HOME")).collect();
        let path = path.unwrap_or(Path::new(USUAL_FILE));
        let text = match surroundings::read_file(path) {
            Ok(text) => text,
            Err(Unread::Absent | Unread::Failed(_)) => String::new().into(),
        };
        let walk = Walk::default();
        let mut table = file::parse(&text, &mut walk.problems.borrow_mut());
        environment::overlay(&mut table, &variables, &mut walk.problems.borrow_mut());
        let machine = Machine::new(&path.display().to_string(), &variables);
        let config = machine.look(|around| {
            let unread = |certificate: &Path, key: &Path| {
                Ok(Identity::new((certificate, key), &around.base, None, 0))
            };
            let blind = check::Surroundings {
                read_secret: &|_| Ok(Secret::new(String::new())),
                readable: &|_| Ok(()),
                identity: &unread,
                ..around.clone()
            };
            check::check(&table, &blind, &walk)
        });
        Self {
            listeners: config.listeners,
            hostname: config.hostname,
            state_dir: config.state_dir,
            admin: config.admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(text: &str, variables: &[(&str, &str)]) -> Glance {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), text).expect("write");
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Glance::take(Some(file.path()), variables)
    }

    #[test]
    fn mistakes_and_secrets_elsewhere_do_not_matter() {
        let seen = glance(
            "hostname = \"relay.test\"\nstate_dir = \"/srv/submitd\"\nnonsense = 1\n\
             [[listener]]\naddress = \"127.0.0.1:2526\"\n\
             [[account]]\nname = \"erp\"\nclient_secret_file = \"/nowhere/secret\"\n",
            &[],
        );
        assert_eq!(seen.hostname, "relay.test");
        assert_eq!(seen.state_dir, Path::new("/srv/submitd"));
        assert_eq!(seen.listeners[0].addresses, ["127.0.0.1:2526".parse().expect("address")]);
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let variables = [("HOME".to_owned(), "/home/ann".to_owned())];
        let seen = Glance::take(Some(Path::new("/nowhere/submitd.toml")), variables.into_iter());
        assert_eq!(seen.listeners.len(), 1);
        assert!(seen.listeners[0].addresses.iter().all(|address| address.port() == 2525));
        assert!(seen.listeners[0].addresses.len() == 2);
    }

    #[test]
    fn the_environment_counts_and_its_own_variable_is_no_key() {
        let seen = glance(
            "[[listener]]\naddress = \"127.0.0.1:2526\"\n",
            &[
                ("SUBMITD_LISTENER__0__ADDRESS", "127.0.0.1:2527"),
                ("SUBMITD_SENDMAIL_ADDRESS", "127.0.0.1:1"),
                ("STATE_DIRECTORY", "/run/state"),
            ],
        );
        assert_eq!(seen.listeners[0].addresses, ["127.0.0.1:2527".parse().expect("address")]);
        assert_eq!(seen.state_dir, Path::new("/run/state"));
    }
}
