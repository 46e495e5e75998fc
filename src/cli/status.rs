//! `submitd status`: how everything stands, for people, scripts and monitoring.

use super::control::{Control, surroundings};
use super::exit;
use crate::admin::wire::Status;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `status` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows it; 0 where everything is good, 2 where a person is needed, 69 where the daemon is not there.
pub async fn run(file: Option<PathBuf>, args: Args) -> ExitCode {
    let status: Result<Status, _> =
        async { Control::reach(&surroundings(file.as_deref())?).await?.get("/v1/status").await }
            .await;
    match status {
        Ok(status) => {
            if args.json {
                println!("{}", serde_json::to_string_pretty(&status).unwrap_or_default());
            } else {
                println!("submitd {} runs since {}", status.version, status.started);
            }
            ExitCode::SUCCESS
        }
        Err(error) => exit::fail(error.code(), error),
    }
}
