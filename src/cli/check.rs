//! `submitd check`: configuration, then each account step by step.

use super::{exit, send};
use crate::check::{self, Finding, Outcome, Step, Trial, Trouble, setup};
use crate::config::{Account, Config, Problem, Problems};
use crate::diagnosis::Class;
use crate::mail::Address;
use crate::oauth::Keeper;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these accounts [default: all].
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// Print one JSON document instead of text.
    #[arg(long)]
    json: bool,
    /// Print what is to be set up at the provider, ready to paste, and ask nobody.
    #[arg(long)]
    setup: bool,
    /// Send a test mail to this address straight through each account, past the queue, and print the reply.
    #[arg(long, value_name = "ADDRESS")]
    send: Option<Address>,
    /// Sender to ask about and to send from [default: the account's mailbox].
    #[arg(long, value_name = "ADDRESS")]
    from: Option<Address>,
}

/// 0 where every step of every account went well, 1 where one broke, 75 where only what passes by itself
/// broke, 64 for an unknown account, 78 for the configuration.
pub fn run(file: Option<&Path>, args: &Args) -> ExitCode {
    let config = match super::read(file) {
        Ok(config) => config,
        Err(problems) if args.json => return print(&refused(&problems), exit::CONFIG),
        Err(problems) => return super::tell(&problems),
    };
    if let Some(unknown) =
        args.accounts.iter().find(|name| !config.accounts.iter().any(|known| known.name == **name))
    {
        let names: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
        let text = format!("there is no account {unknown:?}; there is {}", names.join(", "));
        return exit::fail(exit::USAGE, text);
    }
    let is_wanted =
        |account: &&Arc<Account>| args.accounts.is_empty() || args.accounts.contains(&account.name);
    let accounts: Vec<_> = config.accounts.iter().filter(is_wanted).cloned().collect();
    if args.setup {
        return show_setup(&accounts, args.json);
    }
    super::with_runtime(walk(config, accounts, args))
}

fn show_setup(accounts: &[Arc<Account>], as_json: bool) -> ExitCode {
    if as_json {
        let all = accounts
            .iter()
            .map(|account| json!({"account": account.name, "setup": setup::text(account, None)}));
        return print(&json!({"accounts": all.collect::<Vec<_>>()}), exit::OK);
    }
    for account in accounts {
        println!("account {:?}: what to set up at the provider\n", account.name);
        println!("{}", setup::text(account, None));
    }
    ExitCode::SUCCESS
}

async fn walk(config: Config, accounts: Vec<Arc<Account>>, args: &Args) -> ExitCode {
    if !args.json {
        for warning in &config.warnings {
            println!("warning {warning}");
        }
        println!("ok      configuration");
    }
    let keeper = match Keeper::open(&config.accounts, &config.state_dir) {
        Ok(keeper) => keeper,
        Err(error) if args.json => {
            let problems = [json!({"text": error.to_string()})];
            return print(&failed(&problems), exit::TEMPORARY);
        }
        Err(error) => return exit::fail(exit::TEMPORARY, error),
    };
    let mut classes = Vec::new();
    let mut told = Vec::new();
    for account in &accounts {
        let trial = match trial(account, args) {
            Ok(trial) => trial,
            Err(error) => {
                return exit::fail(exit::USAGE, format!("cannot compose the mail: {error}"));
            }
        };
        let mut steps = Vec::new();
        if !args.json {
            println!("account {:?}", account.name);
        }
        let tell = |step, finding: Finding| match args.json {
            true => steps.push(as_json(step, &finding)),
            false => show(step, &finding),
        };
        let outcome = check::walk(account, &config.hostname, &keeper, &trial, tell).await;
        classes.extend(outcome.broken.as_ref().map(|broken| broken.class));
        let hint = hint(account, &outcome);
        if args.json {
            told.push(json!({
                "account": account.name, "ok": outcome.broken.is_none(), "steps": steps, "setup": hint,
            }));
        } else if let Some(hint) = hint {
            println!("\n{hint}");
        }
    }
    let code = match classes.iter().max() {
        None => exit::OK,
        Some(Class::Transient) => exit::TEMPORARY,
        Some(_) => exit::FAILED,
    };
    if args.json {
        let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
        let document =
            json!({"ok": code == exit::OK, "problems": [], "warnings": warnings, "accounts": told});
        return print(&document, code);
    }
    ExitCode::from(code)
}

fn trial(account: &Account, args: &Args) -> Result<Trial, Box<dyn std::error::Error>> {
    let from = args.from.as_ref().unwrap_or(&account.mailbox);
    let mail = match &args.send {
        Some(to) => {
            let text = format!("This mail came straight through account {:?}.", account.name);
            let to_all = std::slice::from_ref(to);
            let message = send::compose(from, to_all, "Test mail from submitd check", &text)?;
            Some((to.clone(), message.into()))
        }
        None => None,
    };
    Ok(Trial { from: args.from.clone(), mail })
}

/// The set-up, where what broke lies there.
fn hint(account: &Account, outcome: &Outcome) -> Option<String> {
    outcome.broken.as_ref().filter(|broken| broken.needs_setup)?;
    let text = setup::text(account, outcome.claims.as_ref());
    Some(format!("What account {:?} needs at the provider:\n\n{text}", account.name))
}

fn show(step: Step, finding: &Finding) {
    let (word, trouble) = match finding {
        Finding::Good(seen) => return println!("ok      {:<6} {seen}", step.name()),
        Finding::NotReached => return println!("-       {:<6} not reached", step.name()),
        Finding::Doubt(trouble) => ("doubt", trouble),
        Finding::Broken(trouble) => ("BROKEN", trouble),
    };
    println!("{word:<7} {:<6} {}", step.name(), trouble.what);
    if let Some(remedy) = &trouble.remedy {
        println!("        remedy {remedy}");
    }
}

fn as_json(step: Step, finding: &Finding) -> Value {
    let trouble = |state, Trouble { what, remedy, class, .. }: &Trouble| {
        json!({
            "step": step.name(), "state": state, "text": what, "remedy": remedy, "class": class.as_str(),
        })
    };
    match finding {
        Finding::Good(seen) => json!({"step": step.name(), "state": "ok", "text": seen}),
        Finding::Doubt(doubt) => trouble("doubt", doubt),
        Finding::Broken(broken) => trouble("broken", broken),
        Finding::NotReached => json!({"step": step.name(), "state": "not_reached"}),
    }
}

fn refused(problems: &Problems) -> Value {
    let problem = |problem: &Problem| {
        let Problem { key, what, remedy, .. } = problem;
        json!({"text": problem.to_string(), "key": key, "what": what, "remedy": remedy})
    };
    failed(&problems.0.iter().map(problem).collect::<Vec<_>>())
}

/// Nothing was walked.
fn failed(problems: &[Value]) -> Value {
    json!({"ok": false, "problems": problems, "warnings": [], "accounts": []})
}

fn print(document: &Value, code: u8) -> ExitCode {
    println!("{document:#}");
    ExitCode::from(code)
}
