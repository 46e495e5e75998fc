//! `submitd config show`.

use std::path::Path;
use std::process::ExitCode;

/// What `config` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Print the configuration in force as TOML; secrets are left out.
    Show {
        /// Also what was not changed from its default.
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
