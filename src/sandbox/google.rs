//! Google: where people consent, and its token endpoint for them and for service accounts.
//!
//! | route | what |
//! |---|---|
//! | `GET /google/o/oauth2/v2/auth`, `POST` | choose who signs in, accept or cancel; then back to the application |
//! | `POST /google/token` | tokens: for a code, for a refresh token, for a service account |
//! | `POST /google/revoke` | takes a refresh token back (RFC 7009) |
//!
//! The path is that of accounts.google.com behind `/google`. As there, a refresh token comes only where
//! `access_type=offline` was asked for, and for somebody who consented before only with `prompt=consent`; it
//! stays the same for ever, no answer to it brings another one. The faults of the token endpoint hold here too;
//! `token.error` is Entra's alone.

use super::aadsts::Refusal;
use super::consent::{self, Asked, Consented};
use super::cord::Cord;
use super::entra::Form;
use super::hosts::refused;
use super::page::escape;
use super::token::{Grant, Owner, RefreshState};
use super::web::{LIFE, endpoint, fault, form, gate, json_answer};
use super::world::World;
use super::{proof, random, sign_in};
use crate::secret::Secret;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Form as Posted, Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use url::Url;

/// The scope of mail and the audience of its tokens; the mail server takes them for its own.
pub(super) const GOOGLE: &str = "https://mail.google.com/";

/// In the place of Entra's tenant.
const REALM: &str = "google";

/// Why Google says no: status, name, words.
type No = (u16, &'static str, &'static str);

/// The routes.
pub(super) fn routes() -> axum::Router<Arc<World>> {
    axum::Router::new()
        .route("/google/o/oauth2/v2/auth", get(authorize).post(decided))
        .route("/google/token", post(token))
        .route("/google/revoke", post(revoke))
}

async fn authorize(State(world): State<Arc<World>>, Query(query): Query<Form>) -> Response {
    match ask(&world, &query) {
        Ok(asked) => sign_in::page(200, &sign_in::consent_page(&asked, &query, None)),
        Err(no) => blocked(no),
    }
}

/// The person pressed a button; the request comes along in hidden fields and is judged again.
async fn decided(State(world): State<Arc<World>>, Posted(fields): Posted<Form>) -> Response {
    let mut asked = match ask(&world, &fields) {
        Ok(asked) => asked,
        Err(no) => return blocked(no),
    };
    let faults = world.faults();
    let issuer = faults.sign_in.issuer.as_deref();
    if fields.get("decision").is_none_or(|decision| decision != "accept") {
        return sign_in::redirect(&asked, &[("error", "access_denied")], issuer);
    }
    let chosen = fields.get("user").map(|user| user.trim()).unwrap_or_default();
    let user = consent::actual_user(&faults, chosen);
    if consent::check_user(&world, "common", &user).is_err() {
        let words = "Couldn't find your Google Account";
        return sign_in::page(200, &sign_in::consent_page(&asked, &fields, Some(words)));
    }
    let is_asked_again = fields.get("prompt").is_some_and(|prompt| prompt.contains("consent"));
    let is_first = world.codes().is_first_consent(&user);
    asked.offline &= is_asked_again || is_first;
    let (now, life) = (SystemTime::now(), faults.sign_in.code_life);
    let code = world.codes().give(&asked, REALM, &user, life, now);
    world.seen().add(&code);
    let answer = [("code", code.as_str()), ("scope", &asked.scope), ("authuser", "0")];
    sign_in::redirect(&asked, &answer, issuer)
}

/// Judges a request; what is refused is shown to the person, nobody is redirected.
fn ask(world: &World, query: &Form) -> Result<Asked, No> {
    let field = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    if field("client_id") != world.options.identities.google_client_id {
        return Err((401, "invalid_client", "The OAuth client was not found."));
    }
    if field("response_type") != "code" {
        return Err((400, "unsupported_response_type", "Invalid response_type"));
    }
    if !is_loopback(field("redirect_uri")) {
        return Err((
            400,
            "redirect_uri_mismatch",
            "The redirect URI does not match the ones of the OAuth client.",
        ));
    }
    let known = [GOOGLE, "openid", "email", "profile"];
    let scope = field("scope");
    if scope.is_empty() || scope.split_whitespace().any(|word| !known.contains(&word)) {
        return Err((400, "invalid_scope", "Some requested scopes were invalid."));
    }
    let text = |name| field(name).to_owned();
    Ok(Asked {
        client_id: text("client_id"),
        redirect: text("redirect_uri"),
        state: text("state"),
        hint: text("login_hint"),
        scope: text("scope"),
        in_fragment: false,
        offline: field("access_type") == "offline",
        challenge: consent::challenge(query),
    })
}

/// Programs on a desktop come back to this machine, on any port.
fn is_loopback(redirect: &str) -> bool {
    let Ok(url) = Url::parse(redirect) else { return false };
    let host = url.host_str().unwrap_or_default();
    url.scheme() == "http" && ["localhost", "127.0.0.1", "[::1]"].contains(&host)
}

fn blocked((status, error, words): No) -> Response {
    let body = format!(
        "<h1>Access blocked: this app's request is invalid</h1><p>{}</p><p id=\"error\">Error {status}: {error}</p>",
        escape(words)
    );
    sign_in::page(status, &body)
}

async fn token(
    State(world): State<Arc<World>>,
    ConnectInfo(cord): ConnectInfo<Cord>,
    uri: Uri,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> Response {
    gate(&world, &cord, || {
        if let Some(broken) = fault(&world) {
            return broken;
        }
        let form = form(&headers, &body);
        world.seen().add_form(&form);
        let here = endpoint(&headers, uri.path());
        match grant(&world, &form, &here, SystemTime::now()) {
            Ok(answer) => json_answer(200, &answer),
            Err((status, error, words)) => refused(status, error, words),
        }
    })
    .await
}

fn grant(world: &World, form: &Form, here: &str, now: SystemTime) -> Result<Value, No> {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    match field("grant_type") {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            let mailbox = proof::of_service_account(world, field("assertion"), here, now)?;
            let client = &world.options.identities.service_account;
            Ok(mail_token(world, client, mailbox, GOOGLE, now))
        }
        "authorization_code" => {
            check_client(world, form)?;
            // A statement of its own: the codes are locked only for it.
            let redeemed = world.codes().redeem(REALM, field("client_id"), form, now);
            Ok(person(world, &redeemed.map_err(|refusal| no(&refusal))?, now))
        }
        "refresh_token" => {
            check_client(world, form)?;
            let state = world.tokens().refresh_state(field("refresh_token"));
            let user = match state {
                RefreshState::Good(user) => user,
                RefreshState::Revoked => {
                    return Err((400, "invalid_grant", "Token has been expired or revoked."));
                }
                RefreshState::Unknown => return Err((400, "invalid_grant", "Bad Request")),
            };
            let mut answer = mail_token(world, field("client_id"), user, GOOGLE, now);
            answer["scope"] = GOOGLE.into();
            Ok(answer)
        }
        _ => Err((400, "unsupported_grant_type", "Invalid grant_type")),
    }
}

/// Programs on a desktop have a secret too, which is none, and must show it.
fn check_client(world: &World, form: &Form) -> Result<(), No> {
    let known = &world.options.identities;
    if form.get("client_id") != Some(&known.google_client_id) {
        return Err((401, "invalid_client", "The OAuth client was not found."));
    }
    match form.get("client_secret").filter(|secret| !secret.is_empty()) {
        Some(secret) if known.google_client_secret.matches(secret) => Ok(()),
        Some(_) => Err((401, "invalid_client", "Unauthorized")),
        None => Err((400, "invalid_request", "client_secret is missing.")),
    }
}

/// What Google says where Entra has a number.
fn no(refusal: &Refusal) -> No {
    match refusal.code {
        500_112 => (400, "redirect_uri_mismatch", "Bad Request"),
        501_481 => (400, "invalid_grant", "Invalid code verifier."),
        900_144 => (400, "invalid_request", "Missing required parameter: code"),
        9_002_313 => (400, "invalid_grant", "Malformed auth code."),
        _ => (400, "invalid_grant", "Bad Request"),
    }
}

/// What somebody who consented gets.
fn person(world: &World, consented: &Consented, now: SystemTime) -> Value {
    let Consented { user, scope, offline } = consented;
    let client = &world.options.identities.google_client_id;
    let mut answer = mail_token(world, client, user.clone(), scope, now);
    answer["scope"] = scope.as_str().into();
    if *offline {
        let refresh = world.tokens().give_google_refresh(user);
        world.seen().add(refresh.expose());
        answer["refresh_token"] = refresh.expose().into();
    }
    if scope.split_whitespace().any(|word| word == "openid") {
        let id = identity(client, user, now);
        world.seen().add(id.expose());
        answer["id_token"] = id.expose().into();
    }
    answer
}

/// A token with this scope: without that of mail the mail server does not take it.
fn mail_token(world: &World, client: &str, user: String, scope: &str, now: SystemTime) -> Value {
    let may_send = scope.split_whitespace().any(|word| word == GOOGLE);
    let faults = world.faults().token;
    let life = faults.expires_in.unwrap_or(LIFE);
    let grant = Grant {
        owner: Owner::Mailbox(user),
        client_id: client.to_owned(),
        audience: GOOGLE.to_owned(),
        permissions: may_send.then(|| "SMTP.Send".to_owned()).into_iter().collect(),
        expires_in: life,
    };
    let token = world.tokens().give(&world.options, grant, &faults, now);
    world.seen().add(token.expose());
    json!({"access_token": token.expose(), "expires_in": life, "token_type": "Bearer"})
}

/// Says who signed in (OpenID Connect Core §2), in Google's words.
fn identity(client: &str, user: &str, now: SystemTime) -> Secret {
    let issued = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let header = json!({"alg": "RS256", "kid": random::base64url::<20>(), "typ": "JWT"});
    let claims = json!({
        "iss": "https://accounts.google.com", "azp": client, "aud": client,
        "sub": random::number().to_string(), "email": user, "email_verified": true,
        "at_hash": random::base64url::<16>(), "iat": issued, "exp": issued + 3600,
    });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    Secret::new(format!("{header}.{claims}.{}", random::base64url::<256>()))
}

async fn revoke(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> Response {
    let form = form(&headers, &body);
    world.seen().add_form(&form);
    let token = form.get("token").map(String::as_str).unwrap_or_default();
    match world.tokens().revoke_one(token) {
        true => json_answer(200, &json!({})),
        false => refused(400, "invalid_token", "Token expired or revoked"),
    }
}
