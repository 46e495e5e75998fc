//! What is answered where nothing can be shown or done: a status of HTTP and one sentence for a person.

use super::wire;
use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// A refusal.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    words: String,
}

impl Refusal {
    /// What was asked for is not there.
    pub fn not_found(words: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, words: words.into() }
    }

    /// There is no account of this name.
    pub fn no_account(name: &str) -> Self {
        Self::not_found(format!("there is no account {name:?} in the configuration"))
    }

    /// It cannot be done as things stand.
    pub fn conflict(words: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, words: words.into() }
    }

    /// The question itself is wrong.
    pub fn bad_request(words: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, words: words.into() }
    }

    /// It failed here.
    pub fn failed(words: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, words: words.into() }
    }

    /// This user may not.
    pub fn not_permitted(user: Option<u32>) -> Self {
        let user = user.map_or_else(|| "this user".to_owned(), |user| format!("user {user}"));
        let words = format!(
            "{user} may not use this socket: only root and the daemon's own user; [admin] group lets others in"
        );
        Self { status: StatusCode::FORBIDDEN, words }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(wire::Refused { error: self.words })).into_response()
    }
}

/// No such path: an older daemon is asked by a newer command, mostly.
pub(super) async fn unknown(uri: Uri) -> Refusal {
    Refusal::not_found(format!(
        "this daemon (submitd {}) does not know {:?}",
        env!("CARGO_PKG_VERSION"),
        uri.path()
    ))
}

/// A path that takes another method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        words: format!("{:?} does not take {method}", uri.path()),
    }
}
