//! Where a sign-in goes: to the daemon, or into the state directory where none runs.

use crate::admin::lacks_graph;
use crate::admin::wire::{Lack, SignIn, SignInTaken};

use crate::cli::control::{Control, ControlError};
use crate::config::{Account, Audience, Config, Glance};
use crate::oauth::login::Signed;
use crate::oauth::{Keeper, TokenSource, request};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// What is known of where it goes.
pub(super) struct Keeping<'a> {
    pub config: &'a Config,
    pub account: &'a Arc<Account>,
    pub glance: &'a Glance,
}

impl Keeping<'_> {
    /// Has it kept; what to tell the person.
    pub async fn keep(&self, signed: Signed) -> Result<String, String> {
        let who = match signed.identity.names.first() {
            Some(name) => format!("signed in as {name}"),
            None => "signed in; who it was, this provider's tokens do not say: the first mail will tell \
                     whether it was the right one"
                .to_owned(),
        };
        let names: &[&str] = match self.account.transport.audience() {
            Audience::Smtp => &["SMTP.Send"],
            Audience::Graph => &["Mail.Send", "Mail.Send.Shared"],
        };
        let lacking = match signed.identity.lacks(names) {
            true => format!(
                "\nwarning: the token does not carry {name}: add the delegated permission {name} \
                 (Microsoft Graph) to the application, and sign in again",
                name = names[0]
            ),
            false => String::new(),
        };
        let kept = match Control::reach(self.glance).await {
            Ok(control) => self.hand_over(&control, &signed).await?,
            Err(ControlError::Absent(_) | ControlError::Off) => self.store(&signed).await?,
            Err(error) => return Err(error.to_string()),
        };
        Ok(format!("{who}{lacking}\n{kept}"))
    }

    async fn hand_over(&self, control: &Control, signed: &Signed) -> Result<String, String> {
        let order = SignIn {
            refresh_token: signed.refresh.expose().to_owned(),
            binding: request::binding(self.account).unwrap_or_default(),
        };
        let path = format!("/v1/accounts/{}/sign-in", self.account.name);
        let taken: SignInTaken =
            control.post(&path, &order).await.map_err(|error| error.to_string())?;
        let told = outcome("the daemon has stored it", taken.error, taken.remedy);
        Ok(told + &self.detour(taken.graph))
    }

    async fn store(&self, signed: &Signed) -> Result<String, String> {
        let keeper = local_keeper(self.config, self.account)?;
        keeper.adopt(&self.account.name, &signed.refresh).map_err(|error| error.to_string())?;
        // A refresh that works is the proof; the daemon will begin with what it brought.
        let token = keeper.access_token(&self.account.name).await;
        let (error, remedy) = match token {
            Ok(_) => (None, None),
            Err(error) => (Some(error.message), error.remedy),
        };
        let place = self.config.state_dir.join("tokens");
        let done = format!(
            "no daemon was reached, so it is stored in {}; one that runs all the same needs a reload",
            place.display()
        );
        let told = outcome(&done, error, remedy);
        Ok(told + &self.detour(lacks_graph(&keeper, self.account).await))
    }

    /// What is told of Graph, where it is the account's detour and gives no token.
    fn detour(&self, lack: Option<Lack>) -> String {
        let Some(Lack { error, remedy }) = lack else { return String::new() };
        let remedy = remedy.map(|remedy| format!("{remedy}; or ")).unwrap_or_default();
        format!(
            "\nwarning: for Graph, its detour while SMTP AUTH is off, there is no token: {error}\n\
             remedy: {remedy}sign in in a browser, which asks for both: submitd login {} --browser",
            self.account.name
        )
    }
}

fn outcome(done: &str, error: Option<String>, remedy: Option<String>) -> String {
    match error {
        None => format!("{done} and had a token with it: the account can send"),
        Some(error) => {
            let remedy = remedy.map(|remedy| format!("\nremedy: {remedy}")).unwrap_or_default();
            format!("{done}, but there is no token yet: {error}{remedy}")
        }
    }
}

/// A keeper of this account alone, for when no daemon runs.
///
/// # Errors
/// What to tell the person.
pub fn local_keeper(config: &Config, account: &Arc<Account>) -> Result<Keeper, String> {
    make_state_dir(&config.state_dir)?;
    let keeper = Keeper::open(std::slice::from_ref(account), &config.state_dir)
        .map_err(|error| error.to_string())?;
    if !keeper.is_sound() {
        return Err(format!(
            "{} holds tokens that our key does not open; the daemon's key may be a credential of systemd: \
             start the daemon and try again",
            config.state_dir.join("tokens").display()
        ));
    }
    Ok(keeper)
}

/// Before the daemon's first start. Where root makes it for a service, systemd gives it to the service's
/// user (StateDirectory=, systemd.exec(5)).
fn make_state_dir(dir: &Path) -> Result<(), String> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| format!("{}: {error}", dir.display()))
}
