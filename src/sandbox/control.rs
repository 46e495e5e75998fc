//! The control beside the token endpoint: what came, what happened, what shall go wrong.
//!
//! | route | what |
//! |---|---|
//! | `GET /sandbox` | a page for people |
//! | `GET /sandbox/messages`, `DELETE` | the mails as JSON; forgets them |
//! | `GET /sandbox/messages/{n}` | one mail, octet for octet |
//! | `GET /sandbox/messages/{n}/envelope` | who sent it to whom |
//! | `GET /sandbox/statistics` | counters |
//! | `GET /sandbox/faults`, `PUT`, `DELETE` | what goes wrong; the whole document is replaced |
//! | `GET /sandbox/limits`, `PUT` | how far one may go |
//! | `DELETE /sandbox/access-tokens`, `DELETE /sandbox/refresh-tokens` | takes tokens back |
//! | `GET /sandbox/federated-token` | a token of the provider that the application trusts, for an hour |
//! | `GET /sandbox/ca.pem` | the authority to trust |

use super::faults::Faults;
use super::messages::Message;
use super::options::Limits;
use super::page;
use super::world::{Statistics, World};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

type Shared = State<Arc<World>>;

/// The routes.
pub(super) fn routes() -> axum::Router<Arc<World>> {
    axum::Router::new()
        .route("/sandbox", get(show_page))
        .route("/sandbox/messages", get(messages).delete(forget_messages))
        .route("/sandbox/messages/{number}", get(message))
        .route("/sandbox/messages/{number}/envelope", get(envelope))
        .route("/sandbox/statistics", get(statistics))
        .route("/sandbox/faults", get(faults).put(set_faults).delete(clear_faults))
        .route("/sandbox/limits", get(limits).put(set_limits))
        .route("/sandbox/access-tokens", delete(revoke_access))
        .route("/sandbox/refresh-tokens", delete(revoke_refresh))
        .route("/sandbox/federated-token", get(federated))
        .route("/sandbox/ca.pem", get(authority))
}

async fn show_page(State(world): Shared) -> Response {
    // Subjects are strangers' text. The page escapes them, and this forbids scripts besides.
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    let page = page::write(&world.messages.all(), &world.statistics());
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

async fn messages(State(world): Shared) -> Json<Vec<Message>> {
    let all = world.messages.all();
    Json(all.iter().map(|message| Message::clone(message)).collect())
}

async fn forget_messages(State(world): Shared) -> StatusCode {
    world.messages.clear();
    StatusCode::NO_CONTENT
}

async fn message(State(world): Shared, Path(number): Path<u64>) -> Response {
    match world.messages.get(number) {
        Some(message) => (
            // `nosniff`: a browser must not run what a stranger wrote.
            [(header::CONTENT_TYPE, "message/rfc822"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")],
            message.raw.clone(),
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn envelope(State(world): Shared, Path(number): Path<u64>) -> Response {
    match world.messages.get(number) {
        Some(message) => Json(Message::clone(&message)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn statistics(State(world): Shared) -> Json<Statistics> {
    Json(world.statistics())
}

async fn faults(State(world): Shared) -> Json<Faults> {
    Json(world.faults())
}

async fn set_faults(State(world): Shared, Json(faults): Json<Faults>) -> StatusCode {
    world.set_faults(faults);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(world): Shared) -> StatusCode {
    world.set_faults(Faults::default());
    StatusCode::NO_CONTENT
}

async fn limits(State(world): Shared) -> Json<Limits> {
    Json(world.limits())
}

async fn set_limits(State(world): Shared, Json(limits): Json<Limits>) -> StatusCode {
    world.set_limits(limits);
    StatusCode::NO_CONTENT
}

async fn revoke_access(State(world): Shared) -> StatusCode {
    world.tokens().revoke_access();
    StatusCode::NO_CONTENT
}

async fn revoke_refresh(State(world): Shared) -> StatusCode {
    world.tokens().revoke_refresh();
    StatusCode::NO_CONTENT
}

async fn federated(State(world): Shared) -> String {
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    let token = world.tokens().give_federated(&world.options.identities, now, hour);
    token.expose().to_owned()
}

async fn authority(State(world): Shared) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], world.certificates.authority.clone())
}
