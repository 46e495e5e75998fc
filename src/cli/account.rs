//! `submitd account`: what concerns one account, one file a thing that is done.

mod show;

use std::path::PathBuf;
use std::process::ExitCode;

/// What can be done with accounts.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// One line an account.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// All about one account; its secrets are not shown.
    Show {
        /// Its name in the configuration.
        #[arg(value_name = "ACCOUNT")]
        account: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Does it.
pub fn run(file: Option<PathBuf>, verb: Verb) -> ExitCode {
    match verb {
        Verb::List { json } => super::with_runtime(show::list(file, json)),
        Verb::Show { account, json } => super::with_runtime(show::show(file, account, json)),
    }
}
