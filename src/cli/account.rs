//! `submitd account`: the accounts, by the daemon, or by the configuration alone where none runs.

use super::control::{Control, ControlError, surroundings};
use super::exit;
use super::shown::{safe, table, wait};
use super::status;
use crate::admin::{describe, wire::Account};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// What `account` can do.
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
        /// Its name.
        account: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Does it.
pub async fn run(file: Option<PathBuf>, verb: Verb) -> ExitCode {
    let accounts = match accounts(file.as_deref()).await {
        Ok(accounts) => accounts,
        Err(code) => return code,
    };
    let now = SystemTime::now();
    match verb {
        Verb::List { json: true } => accounts.iter().for_each(print_json),
        Verb::List { json: false } => print!("{}", list(&accounts, now)),
        Verb::Show { account, json } => {
            let Some(found) = accounts.iter().find(|one| one.name == account) else {
                let names: Vec<_> = accounts.iter().map(|one| one.name.as_str()).collect();
                let why = format!("there is no account {account:?}; known: {}", names.join(", "));
                return exit::fail(exit::FAILED, why);
            };
            if json { print_json(found) } else { print!("{}", show(found, now)) }
        }
    }
    ExitCode::SUCCESS
}

/// By the daemon; by the configuration where nobody is there to ask.
async fn accounts(file: Option<&Path>) -> Result<Vec<Account>, ExitCode> {
    let asked: Result<Vec<Account>, ControlError> =
        async { Control::reach(&surroundings(file)?).await?.get("/v1/accounts").await }.await;
    match asked {
        Ok(accounts) => Ok(accounts),
        Err(error @ (ControlError::Absent(_) | ControlError::Off)) => {
            let config = super::load(file)?;
            eprintln!("submitd: {error}; this is what the configuration says");
            Ok(config.accounts.iter().map(|account| describe(account)).collect())
        }
        Err(error) => Err(exit::fail(error.code(), error)),
    }
}

fn print_json(account: &Account) {
    println!("{}", serde_json::to_string(account).unwrap_or_default());
}

fn list(accounts: &[Account], now: SystemTime) -> String {
    let head = ["ACCOUNT", "MAILBOX", "GRANT", "UPSTREAM", "TOKEN", "STATE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for account in accounts {
        rows.push(vec![
            account.name.clone(),
            account.mailbox.clone(),
            account.grant.clone(),
            account.upstream.clone(),
            status::token(account, now),
            status::state(account, now),
        ]);
    }
    table(&rows)
}

fn show(account: &Account, now: SystemTime) -> String {
    let limit =
        |limit: Option<u32>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let list = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let mut rows = vec![
        ("account", account.name.clone()),
        ("mailbox", account.mailbox.clone()),
        ("grant", account.grant.clone()),
        ("upstream", account.upstream.clone()),
        ("connections", limit(account.connections)),
        ("messages a minute", limit(account.messages_per_minute)),
        ("token endpoint", account.token_url.clone()),
        ("scope", account.scope.clone()),
        ("senders", list(&account.senders)),
        ("networks", list(&account.networks)),
        ("token", status::token(account, now)),
        ("state", status::state(account, now)),
    ];
    let ends = [
        ("certificate ends", account.certificate_expires),
        ("client secret ends", account.client_secret_expires),
    ];
    rows.extend(ends.into_iter().filter_map(|(name, end)| Some((name, end?.to_string()))));
    if let Some(error) = account.token.as_ref().and_then(|token| token.error.as_ref()) {
        rows.push(("last error", safe(&error.message)));
        rows.extend(error.remedy.as_deref().map(|remedy| ("remedy", safe(remedy))));
        rows.extend(error.retry_at.map(|at| ("asked again", wait(at, now))));
    }
    if let Some(pause) = &account.pause {
        rows.push(("waits because", safe(&pause.meaning)));
        rows.push(("the other side said", safe(&pause.words)));
        if !pause.remedy.is_empty() {
            rows.push(("remedy", safe(&pause.remedy)));
        }
    }
    let rows: Vec<_> =
        rows.into_iter().map(|(name, value)| vec![format!("{name}:"), value]).collect();
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::wire::{Pause, Time, Token, TokenFault};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn all_about_an_account_that_waits_is_said_and_nothing_raw() {
        let end = |seconds| Time(UNIX_EPOCH + Duration::from_secs(seconds));
        let error = TokenFault {
            class: "administrator".into(),
            message: "AADSTS7000222\u{1b}[31m".into(),
            remedy: Some("make a new secret".into()),
            retry_at: Some(end(120)),
        };
        let account = Account {
            name: "erp".into(),
            mailbox: "erp@contoso.com".into(),
            grant: "client_credentials".into(),
            upstream: "smtp.office365.com:587".into(),
            token_url: "https://x/token".into(),
            scope: "s".into(),
            connections: None,
            messages_per_minute: Some(30),
            senders: vec!["@contoso.com".into()],
            networks: Vec::new(),
            certificate_expires: Some(end(0)),
            client_secret_expires: None,
            token: Some(Token {
                condition: "failed".into(),
                good_until: None,
                failures: 2,
                error: Some(error),
            }),
            pause: Some(Pause {
                class: "administrator".into(),
                meaning: "no token".into(),
                remedy: "make a new secret".into(),
                words: "no token: x".into(),
                until: end(60),
            }),
        };
        let text = show(&account, UNIX_EPOCH);
        for line in [
            "connections:          unlimited",
            "networks:             none",
            "token:                none, failed 2 times",
            "state:                waits, tried again in 1m",
            "certificate ends:     1970-01-01T00:00:00Z",
            "last error:           AADSTS7000222\\u{1b}[31m",
            "remedy:               make a new secret",
            "asked again:          in 2m",
            "the other side said:  no token: x",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
