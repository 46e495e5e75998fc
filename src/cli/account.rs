//! `submitd account`: what concerns one account, one file a thing that is done.

mod revoke;
mod show;

use std::path::Path;
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
    /// Forget the sign-in of an account, here and, where the provider can be told, there.
    Revoke {
        /// The account, by its name in the configuration.
        #[arg(value_name = "ACCOUNT")]
        account: String,
    },
}

/// Does it.
pub fn run(file: Option<&Path>, verb: Verb) -> ExitCode {
    let owned = file.map(Path::to_owned);
    match verb {
        Verb::List { json } => super::with_runtime(show::list(owned, json)),
        Verb::Show { account, json } => super::with_runtime(show::show(owned, account, json)),
        Verb::Revoke { account } => revoke::revoke(file, account),
    }
}
