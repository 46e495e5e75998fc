//! `submitd check`: configuration, then each account step by step.

use super::exit;
use crate::check::{self, Step};
use crate::config::Config;
use crate::oauth::Keeper;
use std::path::Path;
use std::process::ExitCode;

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these accounts [default: all].
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<String>,
}

/// 0 where every step of every account went well, 1 where one broke, 78 for the configuration.
pub fn run(file: Option<&Path>, args: &Args) -> ExitCode {
    let config = match super::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    for warning in &config.warnings {
        println!("warning {warning}");
    }
    println!("ok      configuration");
    if let Some(unknown) =
        args.accounts.iter().find(|name| !config.accounts.iter().any(|known| known.name == **name))
    {
        let names: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
        let text = format!("there is no account {unknown:?}; there is {}", names.join(", "));
        return exit::fail(exit::USAGE, text);
    }
    super::with_runtime(walk(config, &args.accounts))
}

async fn walk(config: Config, wanted: &[String]) -> ExitCode {
    let keeper = match Keeper::open(&config.accounts, &config.state_dir) {
        Ok(keeper) => keeper,
        Err(error) => return exit::fail(exit::TEMPORARY, error),
    };
    let mut good = true;
    for account in &config.accounts {
        if !wanted.is_empty() && !wanted.contains(&account.name) {
            continue;
        }
        println!("account {:?}", account.name);
        good &= check::walk(account, &config.hostname, &keeper, show).await;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) }
}

fn show(step: Step) {
    match step.result {
        Ok(seen) => println!("ok      {:<6} {seen}", step.name),
        Err(broken) => {
            println!("BROKEN  {:<6} {}", step.name, broken.what);
            if let Some(remedy) = broken.remedy {
                println!("        remedy {remedy}");
            }
        }
    }
}
