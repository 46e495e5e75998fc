//! Token endpoints of the machines that have an identity.
//!
//! | route | what |
//! |---|---|
//! | `GET /metadata/identity/oauth2/token` | the metadata service; with the version of Azure Arc, that |
//! | `GET /msi/token` | App Service and Container Apps |
//!
//! The faults of the token endpoint hold here too; `token.error` is Entra's alone.

use super::cord::Cord;
use super::token::{GRAPH, Grant, Owner, is_outlook};
use super::web::{LIFE, fault, gate, json_answer};
use super::world::World;
use super::{entra, random};
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

type Asked = Query<HashMap<String, String>>;

/// The routes.
pub(super) fn routes() -> axum::Router<Arc<World>> {
    axum::Router::new()
        .route("/metadata/identity/oauth2/token", get(metadata))
        .route("/msi/token", get(app_service))
}

/// Answers so, unless a fault was asked for.
async fn unless_broken(world: &World, cord: &Cord, answer: impl FnOnce() -> Response) -> Response {
    gate(world, cord, || fault(world).unwrap_or_else(answer)).await
}

async fn metadata(
    State(world): State<Arc<World>>,
    ConnectInfo(cord): ConnectInfo<Cord>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Response {
    unless_broken(&world, &cord, || {
        if headers.get("metadata").is_none_or(|value| value != "true") {
            return refused(400, "bad_request_102", "Required metadata header not specified");
        }
        if asked.get("api-version").is_some_and(|version| version == "2020-06-01") {
            return arc(&world, &asked, &headers);
        }
        identity(&world, &asked, true)
    })
    .await
}

async fn app_service(
    State(world): State<Arc<World>>,
    ConnectInfo(cord): ConnectInfo<Cord>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Response {
    unless_broken(&world, &cord, || {
        let shown = headers.get("x-identity-header").and_then(|value| value.to_str().ok());
        if !shown.is_some_and(|shown| world.options.identities.identity_header.matches(shown)) {
            return json_answer(401, &json!({"statusCode": 401, "message": "Unauthorized"}));
        }
        identity(&world, &asked, false)
    })
    .await
}

/// The first request is answered with the name of a file; who can read it belongs to the machine.
fn arc(world: &World, asked: &HashMap<String, String>, headers: &HeaderMap) -> Response {
    let Some(dir) = &world.options.identities.arc_key_dir else {
        return json_answer(404, &json!({}));
    };
    let shown = headers.get("authorization").and_then(|value| value.to_str().ok());
    if let Some(shown) = shown.and_then(|shown| shown.strip_prefix("Basic ")) {
        // A statement of its own: the tokens are locked only for it.
        let met = world.tokens().take_challenge(shown);
        return match met {
            Some(file) => {
                let _ = std::fs::remove_file(file);
                identity(world, asked, true)
            }
            None => refused(401, "unauthorized", "The challenge does not fit"),
        };
    }
    let (file, text) = (dir.join(format!("{}.key", random::guid())), random::base64url::<96>());
    if std::fs::write(&file, &text).is_err() {
        return json_answer(500, &json!({}));
    }
    let realm = format!("Basic realm={}", file.display());
    world.seen().add(&text);
    world.tokens().challenge(text, file);
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = axum::http::StatusCode::UNAUTHORIZED;
    if let Ok(realm) = HeaderValue::from_str(&realm) {
        answer.headers_mut().insert("www-authenticate", realm);
    }
    answer
}

/// A token of the machine's identity. App Service leaves out how long it lives.
fn identity(world: &World, asked: &HashMap<String, String>, is_machine: bool) -> Response {
    let resource = asked.get("resource").map(String::as_str).unwrap_or_default();
    let known = &world.options.identities.managed_client_id;
    let is_known = asked.get("client_id").is_none_or(|id| id.eq_ignore_ascii_case(known));
    if !is_known && is_machine {
        return refused(400, "invalid_request", "Identity not found");
    }
    if !is_known {
        let words = "No User Assigned or Delegated Managed Identity found for specified \
                     ClientId/ResourceId/PrincipalId.";
        return json_answer(400, &json!({"statusCode": 400, "message": words}));
    }
    if !is_outlook(resource) && resource != GRAPH {
        let words = format!(
            "AADSTS500011: The resource principal named {resource} was not found in the tenant named {}.",
            world.options.tenant
        );
        return refused(400, "invalid_resource", &words);
    }
    let now = SystemTime::now();
    let grant = |life| Grant {
        owner: Owner::Application,
        client_id: known.clone(),
        audience: resource.to_owned(),
        permissions: entra::roles(&world.options, resource),
        expires_in: life,
    };
    let life = world.faults().token.expires_in.unwrap_or(LIFE);
    let faults = world.faults().token;
    let token = world.tokens().give(&world.options, grant(life), &faults, now);
    world.seen().add(token.expose());
    let begins = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let mut body = json!({
        "access_token": token.expose(),
        "client_id": known,
        "expires_on": begins.saturating_add(life).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    if is_machine {
        body["expires_in"] = life.to_string().into();
        body["ext_expires_in"] = life.to_string().into();
        body["not_before"] = begins.to_string().into();
        body["refresh_token"] = "".into();
    }
    json_answer(200, &body)
}

/// A refusal as RFC 6749 §5.2 has it.
pub(super) fn refused(status: u16, error: &str, words: &str) -> Response {
    json_answer(status, &json!({"error": error, "error_description": words}))
}
