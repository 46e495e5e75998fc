//! `submitd account revoke`: a sign-in is forgotten, by the daemon or without one.

use crate::admin::wire::Revocation;
use crate::cli::control::{Control, ControlError, surroundings};
use crate::cli::{exit, login, with_runtime};
use crate::config::{Account, Config, Grant};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// 0 where it is done, 1 where not, 64 for a name that is none, 78 for the configuration.
pub fn revoke(file: Option<&Path>, name: String) -> ExitCode {
    let config = match crate::cli::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let account = match login::find(&config, &name) {
        Ok(account) => account,
        Err(text) => return exit::fail(exit::USAGE, text),
    };
    let glance = match surroundings(file) {
        Ok(glance) => glance,
        Err(error) => return exit::fail(error.code(), error),
    };
    with_runtime(async move {
        let path = format!("/v1/accounts/{name}/revoke");
        let done = match Control::reach(&glance).await {
            Ok(control) => control.post(&path, &()).await.map_err(|error| error.to_string()),
            Err(ControlError::Absent(_) | ControlError::Off) => {
                revoke_here(&config, &account).await
            }
            Err(error) => return exit::fail(error.code(), error),
        };
        match done {
            Ok(revocation) => {
                println!("{}", tell(&revocation, &account));
                ExitCode::SUCCESS
            }
            Err(text) => exit::fail(exit::FAILED, text),
        }
    })
}

/// Without a daemon.
async fn revoke_here(config: &Config, account: &Arc<Account>) -> Result<Revocation, String> {
    let keeper = login::local_keeper(config, account)?;
    let forgotten = keeper.forget(&account.name).map_err(|error| error.to_string())?;
    let mut revocation = Revocation { account: account.name.clone(), ..Revocation::default() };
    if let Some(refresh) = forgotten {
        revocation.was_signed_in = true;
        match keeper.take_back(account, &refresh).await {
            Ok(is_told) => revocation.at_provider = is_told,
            Err(error) => revocation.error = Some(error.message),
        }
    }
    Ok(revocation)
}

/// Who had signed in.
fn person(account: &Account) -> &str {
    match &account.grant {
        Grant::SignIn(sign_in) => &sign_in.username,
        _ => account.mailbox.as_str(),
    }
}

fn tell(revocation: &Revocation, account: &Account) -> String {
    let Revocation { was_signed_in, at_provider, error, .. } = revocation;
    if !was_signed_in {
        return format!("nobody is signed in for account {:?}", account.name);
    }
    let here = format!("the sign-in of account {:?} is forgotten here", account.name);
    match (at_provider, error) {
        (true, _) => format!("{here} and taken back at the provider"),
        (false, Some(error)) => format!("{here}, but the provider did not take it back: {error}"),
        (false, None) => format!(
            "{here}. The provider cannot be told by a program; so that a copy of the token is worth nothing: \
             Entra admin center > Users > {person} > Revoke sessions, or Revoke-MgUserSignInSession -UserId \
             {person}; to take the consent back: Enterprise applications > the application > Permissions",
            person = person(account)
        ),
    }
}
