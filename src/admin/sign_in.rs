//! `POST /v1/accounts/{name}/sign-in` and `/revoke`: a sign-in is taken over, or taken back.
//!
//! It promises that what came is on the disk before it is used and before the answer says so, that a
//! sign-in for another application, person or provider than the daemon's configuration names is refused,
//! and that mail which waited for it is tried at once. No token is ever in an answer or a log.

use super::answer::Refusal;
use super::desk::Desk;
use super::wire::{Lack, Revocation, SignIn, SignInTaken};
use crate::config::{Account, Audience, Transport};
use crate::oauth::{AdoptError, TokenSource, request};
use crate::secret::Secret;
use axum::Json;
use axum::extract::{Path, State};
use std::sync::Arc;
use std::time::Duration;

/// The command that signed in waits for the first token no longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes over what somebody's sign-in brought.
pub(super) async fn sign_in(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    Json(order): Json<SignIn>,
) -> Result<Json<SignInTaken>, Refusal> {
    let (account, _) = desk.keeper.signs_in(&name).map_err(refused)?;
    if request::binding(&account).as_deref() != Some(order.binding.as_str()) {
        return Err(Refusal::conflict(format!(
            "the daemon runs with another configuration of account {name:?}: reload it and sign in again"
        )));
    }
    let refresh = Secret::new(order.refresh_token);
    let (keeper, of) = (Arc::clone(&desk.keeper), name.clone());
    let adopted = tokio::task::spawn_blocking(move || keeper.adopt(&of, &refresh)).await;
    adopted.map_err(|_| Refusal::failed("storing the sign-in broke off"))?.map_err(refused)?;
    tracing::info!(account = %name, "somebody signed in");
    let token = tokio::time::timeout(PATIENCE, desk.keeper.access_token(&name)).await;
    let graph = tokio::time::timeout(PATIENCE, lacks_graph(&*desk.keeper, &account)).await;
    let graph = graph.ok().flatten();
    desk.delivery.resume(&name);
    let (error, remedy) = match token {
        Ok(Ok(_)) => (None, None),
        Ok(Err(error)) => (Some(error.message), error.remedy),
        Err(_) => (Some("the first token is not here yet".to_owned()), None),
    };
    Ok(Json(SignInTaken { account: name, error, remedy, graph }))
}

/// Whether the same sign-in serves for Graph, where that is the account's detour: seen at once, not on the
/// day on which SMTP AUTH is switched off.
pub async fn lacks_graph(tokens: &impl TokenSource, account: &Account) -> Option<Lack> {
    let Transport::Auto(_) = account.transport else { return None };
    let token = tokens.access_token_for(&account.name, Audience::Graph).await;
    token.err().map(|error| Lack { error: error.message, remedy: error.remedy })
}

/// Forgets a sign-in here, and at the provider where that can be asked for it.
pub(super) async fn revoke(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
) -> Result<Json<Revocation>, Refusal> {
    let (account, _) = desk.keeper.signs_in(&name).map_err(refused)?;
    let (keeper, of) = (Arc::clone(&desk.keeper), name.clone());
    let forgotten = tokio::task::spawn_blocking(move || keeper.forget(&of)).await;
    let forgotten = forgotten.map_err(|_| Refusal::failed("forgetting the sign-in broke off"))?;
    let refresh = forgotten.map_err(refused)?;
    desk.keeper.start();
    let Some(refresh) = refresh else {
        return Ok(Json(Revocation { account: name, ..Revocation::default() }));
    };
    tracing::info!(account = %name, "the sign-in was revoked");
    let taken_back = desk.keeper.take_back(&account, &refresh).await;
    let (at_provider, error) = match taken_back {
        Ok(is_told) => (is_told, None),
        Err(error) => (false, Some(error.message)),
    };
    Ok(Json(Revocation { account: name, was_signed_in: true, at_provider, error }))
}

fn refused(error: AdoptError) -> Refusal {
    match error {
        AdoptError::Unknown(_) => Refusal::not_found(error.to_string()),
        AdoptError::NoSignIn(_) => Refusal::conflict(error.to_string()),
        AdoptError::Vault(_) => Refusal::failed(error.to_string()),
    }
}
