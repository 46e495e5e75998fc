//! `submitd queue`: mails that wait and those that left, one file a thing that is done with them.
//!
//! What only reads works without a daemon too, straight on the store, and says so; what steers is the
//! daemon's to do. It promises that it never holds more than a page of mails, however long the queue is,
//! and that nothing of a mail reaches a terminal as a command.

mod choice;
mod export;
mod show;
mod source;
mod steer;

use super::exit;
use crate::admin::wire::Order;
use crate::mail::Id;
use choice::{Choice, Which};
use source::{Source, SourceError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `queue` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// One or two lines a mail, the oldest first.
    List {
        #[command(flatten)]
        which: Which,
        /// Mails that left the queue, the latest first: delivered, bounced, removed.
        #[arg(long, conflicts_with = "state")]
        delivered: bool,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// All about single mails, also those that left the queue: who, when, what the server said.
    Show {
        /// The queue ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<Id>,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Print a message as it is queued.
    Cat {
        /// The queue id.
        #[arg(value_name = "ID")]
        id: Id,
    },
    /// Have queued mails wait until they are released.
    Hold(Choice),
    /// Let held mails go.
    Release(Choice),
    /// Try mails now, whatever the schedule says; also those that were given up.
    Retry(Choice),
    /// Take mails out of the queue unsent. Nobody is told.
    Remove(Choice),
    /// Write mails into a directory: ID.eml, and ID.json with envelope and state.
    Export {
        /// The directory; made where it does not exist.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        #[command(flatten)]
        choice: Choice,
    },
    /// Compare every page, row and body with its checksum; exit 1 where something is wrong.
    Check {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Does it.
pub async fn run(file: Option<PathBuf>, verb: Verb) -> ExitCode {
    let done = perform(file.as_deref(), verb).await;
    done.unwrap_or_else(|error| exit::fail(error.code(), error))
}

async fn perform(file: Option<&Path>, verb: Verb) -> Result<ExitCode, SourceError> {
    let (order, choice) = match verb {
        Verb::Hold(choice) => (Order::Hold, choice),
        Verb::Release(choice) => (Order::Release, choice),
        Verb::Retry(choice) => (Order::Retry, choice),
        Verb::Remove(choice) => (Order::Remove, choice),
        verb => return look(&Source::open(file).await?, verb).await,
    };
    steer::steer(file, order, &choice).await
}

/// What changes nothing.
async fn look(source: &Source, verb: Verb) -> Result<ExitCode, SourceError> {
    match verb {
        Verb::List { which, delivered, json } => show::list(source, &which, delivered, json).await,
        Verb::Show { ids, json } => show::show(source, &ids, json).await,
        Verb::Cat { id } => show::cat(source, id).await,
        Verb::Export { to, choice } => export::export(source, &to, &choice).await,
        Verb::Check { json } => show::check(source, json).await,
        Verb::Hold(_) | Verb::Release(_) | Verb::Retry(_) | Verb::Remove(_) => {
            Ok(ExitCode::SUCCESS)
        }
    }
}
