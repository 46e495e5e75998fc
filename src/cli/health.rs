//! `submitd health`: for HEALTHCHECK and monitoring. It needs no shell and no curl beside it.

use super::door::Door;
use super::exit;
use super::submit::Submission;
use crate::config::Listener;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What `health` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds each listener may take to answer.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

/// Exit 0 where every listener greets and answers EHLO, 69 where one does not, 78 for the configuration.
pub fn run(file: Option<&Path>, args: &Args) -> ExitCode {
    let config = match super::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let patience = Duration::from_secs(args.timeout);
    for listener in &config.listeners {
        if let Err(why) = answers(listener, patience) {
            return exit::fail(exit::UNAVAILABLE, why);
        }
    }
    println!("ok");
    ExitCode::SUCCESS
}

/// One of the addresses is enough: a machine without IPv6 has only the other.
fn answers(listener: &Listener, patience: Duration) -> Result<(), String> {
    let mut why = String::from("a listener without address");
    for door in Door::all(listener) {
        let opened = Submission::open(door, patience);
        match opened.and_then(Submission::close) {
            Ok(()) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}
