//! The web port: the token endpoint under HTTP, its headers and its faults; Microsoft Graph and the control
//! are beside it.

use super::aadsts::Refusal;
use super::cord::{Cord, CordListener};
use super::entra::{self, Form, Given};
use super::fault_value::take;
use super::faults::{FaultBody, Faults};
use super::world::World;
use super::{control, google, graph, hosts, random, sign_in};
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Seconds that a token lives unless told otherwise.
pub(super) const LIFE: u64 = 3599;

/// What gateways answer when what is behind them does not.
const BROKEN_PAGE: &str = "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\r\n<HTML><HEAD>\
<TITLE>Service Unavailable</TITLE></HEAD>\r\n<BODY><h2>Service Unavailable</h2>\r\n<hr><p>HTTP Error 503. \
The service is unavailable.</p>\r\n</BODY></HTML>\r\n";

/// Serves the port until the task is ended.
pub(super) async fn serve(world: Arc<World>, listener: TcpListener, stop: CancellationToken) {
    let routes = axum::Router::new()
        .route("/{tenant}/oauth2/v2.0/token", any(token))
        .merge(sign_in::routes())
        .merge(hosts::routes())
        .merge(google::routes())
        .merge(graph::routes())
        .merge(control::routes())
        .with_state(world);
    let service = routes.into_make_service_with_connect_info::<Cord>();
    let serving = axum::serve(CordListener(listener), service);
    // Ended at once: requests that a fault holds back would keep a graceful end waiting.
    tokio::select! {
        () = stop.cancelled() => {}
        ended = serving.with_graceful_shutdown(stop.clone().cancelled_owned()) => if let Err(error) = ended {
            tracing::error!(%error, "sandbox: the web port failed");
        },
    }
}

async fn token(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    ConnectInfo(cord): ConnectInfo<Cord>,
    method: Method,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> Response {
    gate(&world, &cord, || answer(&world, &tenant, &method, &headers, &body)).await
}

/// Counts a request for a token and lets the faults of the connection have it.
pub(super) async fn gate(world: &World, cord: &Cord, judge: impl FnOnce() -> Response) -> Response {
    world.count(|statistics| statistics.token_requests += 1);
    let pause = world.faults().token.delay_ms;
    if pause > 0 {
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    world.wait_while(|faults| faults.token.hold).await;
    if world.fault(|faults| faults.token.drop.take()) {
        world.count(|statistics| statistics.token_refusals += 1);
        cord.cut();
        return Response::new(Body::empty());
    }
    let whole = world.fault(|faults| take(&mut faults.token.answer));
    let mut answer = match whole {
        Some(whole) => json_answer(whole.status, &whole.body),
        None => judge(),
    };
    if answer.status() == StatusCode::OK {
        world.count(|statistics| statistics.tokens += 1);
    } else {
        world.count(|statistics| statistics.token_refusals += 1);
    }
    decorate(answer.headers_mut());
    answer
}

/// The answer that the fault `status` asks for, if it is on.
pub(super) fn fault(world: &World) -> Option<Response> {
    let (status, retry_after, page) = world.fault(|Faults { token, .. }| {
        (take(&mut token.status), token.retry_after.clone(), token.body)
    });
    let mut answer = bare(status?, page);
    if let Some(retry_after) = retry_after {
        insert(answer.headers_mut(), "retry-after", &retry_after);
    }
    Some(answer)
}

/// The address under which the caller knows us: what a proof must be made for.
pub(super) fn endpoint(headers: &HeaderMap, path: &str) -> String {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    format!("http://{host}{path}")
}

fn answer(
    world: &World,
    tenant: &str,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let (status, retry_after, page, old) = world.fault(|faults| {
        let token = &mut faults.token;
        (take(&mut token.status), token.retry_after.clone(), token.body, token.old_descriptions)
    });
    let trace = random::guid();
    let refused = |refusal: &Refusal, status: Option<u16>| {
        let correlation = correlation(headers);
        let body = refusal.body(&trace, &correlation, SystemTime::now(), old);
        let mut answer = json_answer(status.unwrap_or(refusal.status), &body);
        insert(answer.headers_mut(), "x-ms-request-id", &trace);
        insert(answer.headers_mut(), "x-ms-clitelem", &refusal.telemetry());
        answer
    };
    let scripted = entra::scripted(world, tenant);
    if scripted.is_some() || status.is_some() {
        let mut answer = match scripted {
            Some(refusal) => refused(&refusal, status),
            None => bare(status.unwrap_or(503), page),
        };
        if let Some(retry_after) = retry_after {
            insert(answer.headers_mut(), "retry-after", &retry_after);
        }
        return answer;
    }
    if method != Method::POST {
        return refused(&Refusal::new(900_561, &[method.as_str()]), None);
    }
    let here = endpoint(headers, &format!("/{tenant}/oauth2/v2.0/token"));
    let form = form(headers, body);
    world.seen().add_form(&form);
    match entra::decide(world, tenant, &here, &form, SystemTime::now()) {
        Ok(given) => {
            for secret in given.secrets() {
                world.seen().add(secret.expose());
            }
            let as_text = world.faults().token.expires_in_as_text;
            let mut answer = json_answer(200, &success(&given, as_text));
            insert(answer.headers_mut(), "x-ms-request-id", &trace);
            answer
        }
        Err(refusal) => refused(&refusal, None),
    }
}

/// The body in the order of real answers.
fn success(given: &Given, as_text: bool) -> Value {
    let life = if as_text { json!(given.expires_in.to_string()) } else { json!(given.expires_in) };
    let mut body = json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life});
    if let Some(scope) = &given.scope {
        body["scope"] = scope.as_str().into();
    }
    body["access_token"] = given.access_token.expose().into();
    if let Some(refresh) = &given.refresh_token {
        body["refresh_token"] = refresh.expose().into();
    }
    if let Some(id_token) = &given.id_token {
        body["id_token"] = id_token.expose().into();
    }
    body
}

/// The fields of the body, and of HTTP Basic where the body has no client. A body of another type has none.
pub(super) fn form(headers: &HeaderMap, body: &[u8]) -> Form {
    let is_form =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(
            |value| value.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"),
        );
    let mut form = if is_form {
        url::form_urlencoded::parse(body).into_owned().collect()
    } else {
        Form::new()
    };
    if let Some((id, secret)) = basic(headers) {
        form.entry("client_id".into()).or_insert(id);
        form.entry("client_secret".into()).or_insert(secret);
    }
    form
}

/// RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |text: &str| {
        url::form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned())
    };
    Some((decode(id)?, decode(secret).unwrap_or_default()))
}

/// The caller's own request id, if it sent one, else a new one.
fn correlation(headers: &HeaderMap) -> String {
    headers
        .get("client-request-id")
        .and_then(|value| value.to_str().ok())
        .filter(|value| random::is_guid(value))
        .map_or_else(random::guid, str::to_owned)
}

pub(super) fn json_answer(status: u16, body: &Value) -> Response {
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    insert(answer.headers_mut(), "content-type", "application/json; charset=utf-8");
    answer
}

pub(super) fn bare(status: u16, page: FaultBody) -> Response {
    let text = match page {
        FaultBody::Html => BROKEN_PAGE,
        FaultBody::Empty => "",
    };
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    insert(answer.headers_mut(), "content-type", "text/html; charset=us-ascii");
    answer
}

/// The headers that every answer of the service has.
fn decorate(headers: &mut HeaderMap) {
    for (name, value) in [
        ("cache-control", "no-store, no-cache"),
        ("pragma", "no-cache"),
        ("expires", "-1"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("p3p", "CP=\"DSP CUR OTPi IND OTRi ONL FIN\""),
        ("x-ms-ests-server", "2.1.22388.2 - SANDBOX ProdSlices"),
        ("x-xss-protection", "0"),
    ] {
        insert(headers, name, value);
    }
}

pub(super) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // A value that is none can only come from `retry_after` of a fault; it is left out then.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
