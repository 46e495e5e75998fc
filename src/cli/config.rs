//! `submitd config show`.

use std::path::Path;
use std::process::ExitCode;

/// What `config` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Print what differs from the defaults, as TOML; secrets are shown as `(secret)`.
    Show {
        /// Print every key, also those that have their default.
        #[arg(long)]
        all: bool,
    },
}

/// Prints it, or every mistake in it.
pub fn run(file: Option<&Path>, verb: &Verb) -> ExitCode {
    let Verb::Show { all } = verb;
    match super::load(file) {
        Ok(config) => {
            print!("{}", config.show(*all));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}
