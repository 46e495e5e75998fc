//! Where people sign in: the pages of the authorize endpoint and of codes that are typed in.
//!
//! | route | what |
//! |---|---|
//! | `GET /{tenant}/oauth2/v2.0/authorize`, `POST` | choose who signs in, accept or cancel; then back to the application |
//! | `POST /{tenant}/oauth2/v2.0/devicecode` | a code to type in |
//! | `GET /devicelogin`, `POST` | where it is typed in |
//!
//! What is wrong with a request is shown to the person and never redirected: a page of another address must
//! not be sent anything. Pages hold strangers' text, escaped.

use super::aadsts::Refusal;
use super::consent::{self, Asked};
use super::entra::{self, Form};
use super::fault_value::Switch;
use super::page::escape;
use super::random;
use super::web::{form, json_answer};
use super::world::World;
use axum::Router;
use axum::body::Body;
use axum::extract::{Form as Posted, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

/// The routes.
pub(super) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/authorize", get(authorize).post(decided))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device_code))
        .route("/devicelogin", get(device_page).post(device_entered))
}

async fn authorize(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    Query(query): Query<Form>,
) -> Response {
    match consent::ask(&world, &tenant, &query) {
        Ok(asked) => page(200, &consent_page(&asked, &query, None)),
        Err(refusal) => page(400, &trouble(&refusal)),
    }
}

/// The person pressed a button; the request comes along in hidden fields and is judged again.
async fn decided(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    Posted(fields): Posted<Form>,
) -> Response {
    let asked = match consent::ask(&world, &tenant, &fields) {
        Ok(asked) => asked,
        Err(refusal) => return page(400, &trouble(&refusal)),
    };
    let faults = world.faults();
    if fields.get("decision").is_none_or(|decision| decision != "accept") {
        let usual = "AADSTS65004: User declined to consent to access the app.";
        let words = faults.sign_in.error_description.as_deref().unwrap_or(usual);
        let answer = [("error", "access_denied"), ("error_description", words)];
        return redirect(&asked, &answer, faults.sign_in.issuer.as_deref());
    }
    let chosen = fields.get("user").map(|user| user.trim()).unwrap_or_default();
    let user = consent::actual_user(&faults, chosen);
    if let Err(refusal) = consent::check_user(&world, &tenant, &user) {
        return page(200, &consent_page(&asked, &fields, Some(&refusal.page())));
    }
    let now = SystemTime::now();
    let code = world.codes().give(&asked, &tenant, &user, faults.sign_in.code_life, now);
    world.seen().add(&code);
    let session = random::guid();
    let answer = [("code", code.as_str()), ("session_state", &session)];
    redirect(&asked, &answer, faults.sign_in.issuer.as_deref())
}

/// Back to the application. An address without a path gets a slash, as the service has it.
pub(super) fn redirect(asked: &Asked, fields: &[(&str, &str)], issuer: Option<&str>) -> Response {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields);
    if !asked.state.is_empty() {
        query.append_pair("state", &asked.state);
    }
    if let Some(issuer) = issuer {
        query.append_pair("iss", issuer);
    }
    let has_path = asked.redirect.splitn(4, '/').count() == 4;
    let slash = if has_path { "" } else { "/" };
    let mark = match (asked.in_fragment, asked.redirect.contains('?')) {
        (true, _) => '#',
        (false, true) => '&',
        (false, false) => '?',
    };
    let target = format!("{}{slash}{mark}{}", asked.redirect, query.finish());
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::FOUND;
    if let Ok(target) = HeaderValue::from_str(&target) {
        answer.headers_mut().insert(header::LOCATION, target);
    }
    answer
}

pub(super) fn consent_page(asked: &Asked, fields: &Form, wrong: Option<&str>) -> String {
    let mut body = "<h1>Sign in</h1>".to_owned();
    if let Some(words) = wrong {
        let _ = write!(body, "<p id=\"error\">{}</p>", escape(words));
    }
    let _ = write!(
        body,
        "<p>Application {} asks for: {}</p><form method=\"post\">",
        escape(&asked.client_id),
        escape(&asked.scope)
    );
    for (name, value) in
        fields.iter().filter(|(name, _)| !["user", "decision"].contains(&name.as_str()))
    {
        let (name, value) = (escape(name), escape(value));
        let _ = write!(body, "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">");
    }
    let _ = write!(
        body,
        "<p><label>Sign in as <input id=\"user\" name=\"user\" size=\"40\" value=\"{}\"></label></p>\
         <p><button id=\"accept\" name=\"decision\" value=\"accept\">Accept</button> \
         <button id=\"cancel\" name=\"decision\" value=\"cancel\">Cancel</button></p></form>",
        escape(&asked.hint)
    );
    body
}

fn trouble(refusal: &Refusal) -> String {
    format!(
        "<h1>Sorry, but we're having trouble signing you in.</h1><p id=\"error\">{}</p>",
        escape(&refusal.page())
    )
}

pub(super) fn page(status: u16, body: &str) -> Response {
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Sign in to the sandbox</title></head>\
         <body>{body}</body></html>\n"
    );
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    answer
}

async fn device_code(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> Response {
    let form = form(&headers, &body);
    let judged = entra::check_tenant(&world.options, &tenant).and_then(|_| {
        let field = |name: &'static str| {
            let value = form.get(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| Refusal::new(900_144, &[name]))
        };
        Ok((field("client_id")?, field("scope")?))
    });
    let (client_id, scope) = match judged {
        Ok(asked) => asked,
        Err(refusal) => return refused(&refusal),
    };
    let options = &world.options;
    if ![&options.client_id, &options.public_client_id]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(client_id))
    {
        return refused(&Refusal::new(700_016, &[client_id, &tenant]));
    }
    let faults = world.faults().sign_in;
    let now = SystemTime::now();
    let (device_code, user_code, life) = world.codes().give_device(client_id, scope, &faults, now);
    world.seen().add(&device_code);
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let place = format!("http://{host}/devicelogin");
    let message = format!(
        "To sign in, use a web browser to open the page {place} and enter the code {user_code} to authenticate."
    );
    json_answer(
        200,
        &json!({
            "user_code": user_code, "device_code": device_code, "verification_uri": place,
            "expires_in": life, "interval": faults.device_interval.unwrap_or(5), "message": message,
        }),
    )
}

fn refused(refusal: &Refusal) -> Response {
    let [trace, correlation] = [random::guid(), random::guid()];
    json_answer(refusal.status, &refusal.body(&trace, &correlation, SystemTime::now(), false))
}

/// The refusal of a question that came too soon, if that is asked for.
pub(super) fn slow_down(world: &World) -> Option<Refusal> {
    let is_on = world.fault(|faults| Switch::take(&mut faults.sign_in.slow_down));
    is_on.then(|| Refusal::new(70016, &[]).called("slow_down"))
}

async fn device_page() -> Response {
    page(200, &device_form("", "Enter the code that the device shows."))
}

async fn device_entered(State(world): State<Arc<World>>, Posted(fields): Posted<Form>) -> Response {
    let field = |name: &str| fields.get(name).map(|text| text.trim()).unwrap_or_default();
    let code = field("code");
    if !world.codes().awaits(code, SystemTime::now()) {
        return page(
            200,
            &device_form(code, "That code didn't work. Check the code and try again."),
        );
    }
    if field("decision") != "accept" {
        world.codes().typed(code, None);
        return page(200, "<h1 id=\"done\">You have declined.</h1>");
    }
    let user = consent::actual_user(&world.faults(), field("user"));
    if let Err(refusal) = consent::check_user(&world, "common", &user) {
        return page(200, &device_form(code, &refusal.page()));
    }
    world.codes().typed(code, Some(&user));
    page(200, "<h1 id=\"done\">You have signed in. You may now close this window.</h1>")
}

fn device_form(code: &str, words: &str) -> String {
    format!(
        "<h1>Enter code</h1><p id=\"words\">{}</p><form method=\"post\">\
         <p><label>Code <input id=\"code\" name=\"code\" value=\"{}\"></label></p>\
         <p><label>Sign in as <input id=\"user\" name=\"user\" size=\"40\"></label></p>\
         <p><button id=\"accept\" name=\"decision\" value=\"accept\">Continue</button> \
         <button id=\"cancel\" name=\"decision\" value=\"cancel\">Cancel</button></p></form>",
        escape(words),
        escape(code)
    )
}
