//! `submitd vault rotate`: another key for the stored refresh tokens.

use super::exit;
use crate::oauth::vault::{KeySource, rotate};
use crate::queue;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `vault` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Seal the stored refresh tokens with another key; the daemon must not run.
    ///
    /// A key in the state directory is made anew. One from elsewhere (a systemd credential,
    /// SUBMITD_VAULT_KEY, SUBMITD_VAULT_KEY_FILE) is exchanged there first, and the old one named here.
    Rotate {
        /// A file with the old key, where the new one comes from elsewhere.
        #[arg(long, value_name = "FILE")]
        old: Option<PathBuf>,
    },
}

/// 0 where it is done, 75 where the daemon runs, 1 where a token or a key cannot be read: nothing is changed
/// then.
pub fn run(file: Option<&Path>, verb: &Verb) -> ExitCode {
    let Verb::Rotate { old } = verb;
    let config = match super::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Some(holder) = queue::holder(&config.state_dir.join("queue")) {
        let why =
            format!("submitd runs (process {holder}): stop it, rotate the key, start it again");
        return exit::fail(exit::TEMPORARY, why);
    }
    let source = KeySource::find(&config.state_dir, |name| std::env::var_os(name));
    match rotate(&config.state_dir, &source, old.as_deref()) {
        Ok(count) => {
            println!("{count} stored refresh tokens are sealed with another key");
            ExitCode::SUCCESS
        }
        Err(error) => exit::fail(exit::FAILED, error),
    }
}
