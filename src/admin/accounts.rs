//! `GET /v1/accounts` and `GET /v1/accounts/NAME`: the accounts, their tokens and what stops them.

use super::answer::Refusal;
use super::desk::Desk;
use super::wire::{Account, Time, Token};
use crate::oauth::certificate;
use crate::oauth::ends::What;
use axum::Json;
use axum::extract::{Path, State};
use std::sync::Arc;
use std::time::SystemTime;

/// All of them.
pub(super) async fn list(State(desk): State<Arc<Desk>>) -> Json<Vec<Account>> {
    Json(all(&desk).await)
}

/// One of them.
pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
) -> Result<Json<Account>, Refusal> {
    let account = all(&desk).await.into_iter().find(|account| account.name == name);
    account.map(Json).ok_or_else(|| Refusal::no_account(&name))
}

/// How every account stands, in the order of the configuration.
pub(super) async fn all(desk: &Desk) -> Vec<Account> {
    let accounts = desk.scene.load().accounts.clone();
    let keeper = desk.keeper.clone();
    // Certificates and sign-ins are read from the disk.
    let described = move || {
        let describe = |account: &Arc<_>| {
            let ends = keeper.ends(account);
            let sign_in = ends.iter().find(|end| end.what == What::SignIn);
            Account { sign_in_expires: sign_in.map(|end| Time(end.at)), ..describe(account) }
        };
        accounts.iter().map(describe).collect::<Vec<_>>()
    };
    let mut all = tokio::task::spawn_blocking(described).await.unwrap_or_default();
    let now = SystemTime::now();
    let mut tokens = desk.keeper.status();
    let mut standings = desk.delivery.standings();
    for account in &mut all {
        account.take_round(desk.delivery.detour(&account.name));
        let token = tokens.iter().position(|status| status.account == account.name);
        account.token = token.map(|index| Token::new(tokens.swap_remove(index), now));
        let standing = standings.iter().position(|standing| standing.account == account.name);
        account.pause = standing.map(|index| standings.swap_remove(index).into());
    }
    all
}

/// What the configuration and its files say of an account. Blocks for the disk.
pub fn describe(account: &crate::config::Account) -> Account {
    Account::new(account, certificate::expires(&account.grant))
}
