//! The accounts as they stand: by the daemon, or by the configuration alone where none runs.

use crate::admin::{describe, wire::Account};
use crate::cli::control::{Control, ControlError, surroundings};
use crate::cli::shown::{safe, table, wait};
use crate::cli::{exit, status};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// One line an account.
pub async fn list(file: Option<PathBuf>, json: bool) -> ExitCode {
    let accounts = match accounts(file.as_deref()).await {
        Ok(accounts) => accounts,
        Err(code) => return code,
    };
    if json {
        accounts.iter().for_each(print_json);
    } else {
        print!("{}", lines(&accounts, SystemTime::now()));
    }
    ExitCode::SUCCESS
}

/// All about one account.
pub async fn show(file: Option<PathBuf>, name: String, json: bool) -> ExitCode {
    let accounts = match accounts(file.as_deref()).await {
        Ok(accounts) => accounts,
        Err(code) => return code,
    };
    let Some(account) = accounts.iter().find(|account| account.name == name) else {
        let names: Vec<_> = accounts.iter().map(|account| account.name.as_str()).collect();
        let why = format!("there is no account {name:?}; known: {}", names.join(", "));
        return exit::fail(exit::FAILED, why);
    };
    if json {
        print_json(account);
    } else {
        print!("{}", whole(account, SystemTime::now()));
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
            let config = crate::cli::load(file)?;
            eprintln!("submitd: {error}; this is what the configuration says");
            Ok(config.accounts.iter().map(|account| describe(account)).collect())
        }
        Err(error) => Err(exit::fail(error.code(), error)),
    }
}

fn print_json(account: &Account) {
    println!("{}", serde_json::to_string(account).unwrap_or_default());
}

fn lines(accounts: &[Account], now: SystemTime) -> String {
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

fn whole(account: &Account, now: SystemTime) -> String {
    let limit =
        |limit: Option<u32>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let list = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let mut rows = vec![
        ("account", account.name.clone()),
        ("mailbox", account.mailbox.clone()),
        ("grant", account.grant.clone()),
        ("transport", account.transport.clone()),
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
    if let Some(detour) = &account.detour {
        rows.push(("SMTP AUTH off since", detour.since.to_string()));
        rows.push(("SMTP tried again", wait(detour.again, now)));
    }
    let ends = [
        ("certificate ends", account.certificate_expires),
        ("client secret ends", account.client_secret_expires),
        ("sign-in ends", account.sign_in_expires),
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
            transport: "smtp".into(),
            upstream: "smtp.office365.com:587".into(),
            token_url: "https://x/token".into(),
            scope: "s".into(),
            connections: None,
            messages_per_minute: Some(30),
            senders: vec!["@contoso.com".into()],
            networks: Vec::new(),
            certificate_expires: Some(end(0)),
            client_secret_expires: None,
            sign_in_expires: None,
            detour: None,
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
        let text = whole(&account, UNIX_EPOCH);
        for line in [
            "connections:          unlimited",
            "networks:             none",
            "token:                none, failed 2 times",
            "state:                waits, tried again in 1m: no token",
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
