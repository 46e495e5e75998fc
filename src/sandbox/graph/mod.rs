//! Microsoft Graph, as far as sending mail goes: `sendMail`, drafts, and uploads for large files.
//!
//! | route | what |
//! |---|---|
//! | `POST /v1.0/{me or users/x}/sendMail` | a mail, as base64 of a message or as JSON |
//! | `POST …/messages` | a draft, written in either way |
//! | `POST …/messages/{id}/attachments` | a small file for it |
//! | `POST …/messages/{id}/attachments/createUploadSession` | an address for a large one |
//! | `PUT /api/v2.0/…?authtoken=…` | a piece of it, in order; without a token |
//! | `POST …/messages/{id}/send`, `DELETE …/messages/{id}` | sends the draft; throws it away |
//!
//! It promises the order in which the real service was seen to judge, and that a mail reaches nobody but who
//! stands in To, Cc and Bcc. `owner` knows who may, `post` sends, `drafts` keeps, `compose` writes.

mod addresses;
mod compose;
mod drafts;
pub(super) mod faults;
mod owner;
mod post;
mod refusal;
mod upload;

pub(super) use drafts::Drafts;

use super::cord::Cord;
use super::fault_value::take_from;
use super::options::Limits;
use super::web::{bare, endpoint, insert, json_answer};
use super::world::World;
use axum::body::Body;
use axum::extract::State;
use axum::extract::connect_info::ConnectInfo;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use drafts::Attachment;
use faults::{GraphAnswer, GraphPoint, GraphStep};
use http_body::Body as _;
use owner::{Asked, Caller};
use refusal::Refusal;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The routes.
pub(super) fn routes() -> axum::Router<Arc<World>> {
    axum::Router::new().route("/v1.0/{*path}", any(request)).route("/api/v2.0/{*path}", any(upload))
}

/// A request but for its body.
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// What a request is to do once its body is there.
enum Work {
    /// Something with a mailbox.
    Mailbox(Asked, Caller),
    /// A piece of an upload.
    Upload,
}

async fn request(
    State(world): State<Arc<World>>,
    ConnectInfo(cord): ConnectInfo<Cord>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let path = uri.path().strip_prefix("/v1.0/").unwrap_or_default();
    let asked = Asked::read(&method, path);
    let step = asked.as_ref().ok().map(|asked| asked.step);
    let work = asked.and_then(|asked| {
        let caller = asked.permit(&world, &headers, SystemTime::now())?;
        Ok(Work::Mailbox(asked, caller))
    });
    serve(&world, &cord, Head { method, uri, headers }, body, step, work).await
}

async fn upload(
    State(world): State<Arc<World>>,
    ConnectInfo(cord): ConnectInfo<Cord>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let head = Head { method, uri, headers };
    serve(&world, &cord, head, body, Some(GraphStep::Upload), Ok(Work::Upload)).await
}

/// A request under way; counted until this is dropped.
struct UnderWay<'a>(&'a World);

impl<'a> UnderWay<'a> {
    fn count(world: &'a World) -> Self {
        world.count(|statistics| {
            statistics.graph_requests += 1;
            statistics.open_graph_requests += 1;
            let most = &mut statistics.max_open_graph_requests;
            *most = statistics.open_graph_requests.max(*most);
        });
        Self(world)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.count(|statistics| statistics.open_graph_requests -= 1);
    }
}

/// Reads the body, lets the faults have the request, and does what it asks.
async fn serve(
    world: &World,
    cord: &Cord,
    head: Head,
    body: Body,
    step: Option<GraphStep>,
    work: Result<Work, Refusal>,
) -> Response {
    let _under_way = UnderWay::count(world);
    let is_cut = |point: GraphPoint| {
        let drop = |faults: &mut super::Faults| {
            faults.graph.drop_at.get_mut(&point).map(super::faults::Switch::take)
        };
        let is_cut = world.fault(drop).unwrap_or_default();
        if is_cut {
            cord.cut();
        }
        is_cut
    };
    if is_cut(GraphPoint::Head) {
        return Response::default();
    }
    let limits = world.limits();
    let (work, _place) = place(world, work, &limits);
    // What is refused is read all the same: a client that still writes would not see the answer.
    let Ok(body) = read(body, limits.graph_request_size, || is_cut(GraphPoint::Body)).await else {
        return Response::default();
    };
    let pause = world.faults().graph.delay_ms;
    if pause > 0 {
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    world.wait_while(|faults| faults.graph.hold).await;
    let sends = step.is_some_and(GraphStep::sends);
    if sends && is_cut(GraphPoint::AfterBodyBeforeAccept) {
        return Response::default();
    }
    let scripted =
        step.and_then(|step| world.fault(|faults| take_from(&mut faults.graph.answers, &step)));
    let done = match (&scripted, work, body) {
        (Some(GraphAnswer { done: false, .. }), ..) => Ok(Response::default()),
        (_, Err(refusal), _) => Err(refusal),
        (_, Ok(_), None) => Err(Refusal::too_large()),
        (_, Ok(Work::Mailbox(asked, caller)), Some(body)) => {
            mailbox(world, &asked, &caller, &head, body).await
        }
        (_, Ok(Work::Upload), Some(body)) => upload::receive(world, &head, &body),
    };
    let correlation = head.headers.get("client-request-id").and_then(|id| id.to_str().ok());
    let told = |refusal: &Refusal| refusal.answer(correlation, SystemTime::now());
    match (scripted, done) {
        (_, Ok(answer))
            if sends && answer.status() == 202 && is_cut(GraphPoint::AfterBodyAfterAccept) =>
        {
            answer
        }
        (Some(scripted), _) => play(&scripted, told),
        (None, Ok(answer)) => answer,
        (None, Err(refusal)) => told(&refusal),
    }
}

/// A place among the requests at once, as long as what it is for goes on.
fn place(
    world: &World,
    work: Result<Work, Refusal>,
    limits: &Limits,
) -> (Result<Work, Refusal>, Option<super::mailbox::Slot>) {
    let Ok(Work::Mailbox(_, caller)) = &work else { return (work, None) };
    // A name of its own in the ledger: SMTP connections are counted apart.
    let name = format!("{} at Graph: {}", caller.client_id, caller.mailbox.address);
    let limits = Limits { connections: limits.graph_requests, ..*limits };
    match world.ledger.slot(&name, &limits) {
        Some(slot) => (work, Some(slot)),
        None => {
            world.count(|statistics| statistics.graph_throttled += 1);
            (Err(Refusal::throttled()), None)
        }
    }
}

/// The whole body; none where it is larger than that. Fails where the client has gone or was cut off.
async fn read(
    mut body: Body,
    most: u64,
    is_cut: impl FnOnce() -> bool,
) -> Result<Option<Bytes>, ()> {
    let (mut octets, mut size) = (Vec::new(), 0);
    let mut is_cut = Some(is_cut);
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        let Ok(piece) = frame.map_err(|_| ())?.into_data() else { continue };
        if is_cut.take().is_some_and(|is_cut| is_cut()) {
            return Err(());
        }
        size += piece.len() as u64;
        if size <= most {
            octets.extend_from_slice(&piece);
        }
    }
    Ok((size <= most).then(|| octets.into()))
}

/// The answer that a fault asks for.
fn play(scripted: &GraphAnswer, told: impl Fn(&Refusal) -> Response) -> Response {
    let mut answer = match &scripted.code {
        Some(code) => told(&Refusal::new(scripted.status, code.clone(), scripted.message.clone())),
        None => bare(scripted.status, scripted.body),
    };
    if let Some(retry_after) = &scripted.retry_after {
        insert(answer.headers_mut(), "retry-after", retry_after);
    }
    answer
}

/// Does what was asked of a mailbox.
async fn mailbox(
    world: &World,
    asked: &Asked,
    caller: &Caller,
    head: &Head,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (mailbox, draft) = (caller.mailbox.address.as_str(), asked.draft.as_str());
    match asked.step {
        GraphStep::SendMail => {
            let Some(written) = written(world, head, &body, caller, true)? else {
                world.count(|statistics| statistics.graph_swallowed += 1);
                return Ok(Response::default());
            };
            let (raw, attachments) = written;
            post::send(world, caller, head, compose::attach(&raw, &attachments)).await?;
            Ok(empty(StatusCode::ACCEPTED))
        }
        GraphStep::Draft => {
            let Some((raw, attachments)) = written(world, head, &body, caller, false)? else {
                return Err(Refusal::too_large());
            };
            let id = world.drafts().make(mailbox, raw, attachments);
            world.count(|statistics| {
                statistics.drafts += 1;
                statistics.open_drafts += 1;
            });
            Ok(json_answer(201, &json!({"id": id, "isDraft": true})))
        }
        GraphStep::Attachment => {
            let attachment = Attachment::read(&json_body(head, &body)?)?;
            let (name, size) = (attachment.name.clone(), attachment.content.len());
            let id = world.drafts().attach(mailbox, draft, attachment)?;
            let kind = "#microsoft.graph.fileAttachment";
            Ok(json_answer(
                201,
                &json!({"@odata.type": kind, "id": id, "name": name, "size": size}),
            ))
        }
        GraphStep::Session => {
            let asked = json_body(head, &body)?;
            let opened = world.drafts().open(mailbox, draft, &asked["AttachmentItem"])?;
            world.seen().add(&opened);
            let place =
                format!("/api/v2.0/Users('{mailbox}')/AttachmentSessions('1')?authtoken={opened}");
            let mut answer = upload::progress(0);
            answer["uploadUrl"] = endpoint(&head.headers, &place).into();
            Ok(json_answer(201, &answer))
        }
        GraphStep::Send => {
            let raw = world.drafts().whole(mailbox, draft)?;
            post::send(world, caller, head, raw).await?;
            forget(world, mailbox, draft)?;
            Ok(empty(StatusCode::ACCEPTED))
        }
        GraphStep::Delete => {
            forget(world, mailbox, draft)?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        GraphStep::Upload => Err(Refusal::not_found()),
    }
}

fn forget(world: &World, mailbox: &str, draft: &str) -> Result<(), Refusal> {
    world.drafts().delete(mailbox, draft)?;
    world.count(|statistics| statistics.open_drafts -= 1);
    Ok(())
}

fn empty(status: StatusCode) -> Response {
    let mut answer = Response::default();
    *answer.status_mut() = status;
    answer
}

/// A message and the files that go with it.
type Written = (Vec<u8>, Vec<Attachment>);

/// The message in a body, in base64 or as JSON. None where it is one that the service does not send and does
/// not refuse either.
fn written(
    world: &World,
    head: &Head,
    body: &[u8],
    caller: &Caller,
    is_mail: bool,
) -> Result<Option<Written>, Refusal> {
    if is_json(head)? {
        let asked = json_body(head, body)?;
        let message = if is_mail { &asked["message"] } else { &asked };
        return compose::message(message, &caller.mailbox).map(Some);
    }
    if body.len() as u64 > world.limits().graph_mime_size {
        return match world.faults().graph.too_large_is_told {
            true => Err(Refusal::too_large()),
            false => Ok(None),
        };
    }
    let code: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    let raw = STANDARD.decode(code).ok().filter(|raw| !raw.is_empty());
    let raw = raw.ok_or_else(|| {
        Refusal::bad(
            "ErrorMimeContentInvalidBase64String",
            "Invalid base64 string for MIME content.",
        )
    })?;
    Ok(Some((raw, Vec::new())))
}

/// Whether the body says it is JSON; else it is a message in base64.
fn is_json(head: &Head) -> Result<bool, Refusal> {
    let Some(kind) = head.headers.get(header::CONTENT_TYPE) else {
        let message =
            "Write requests (excluding DELETE) must contain the Content-Type header declaration.";
        return Err(Refusal::bad("BadRequest", message));
    };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/json" => Ok(true),
        "text/plain" => Ok(false),
        other => Err(Refusal::new(
            415,
            "RequestBodyRead",
            format!(
                "A supported MIME type could not be found that matches the content type of the response. None \
                 of the supported type(s) 'application/json, text/plain' matches the content type '{other}'."
            ),
        )),
    }
}

fn json_body(head: &Head, body: &[u8]) -> Result<Value, Refusal> {
    let read = || serde_json::from_slice(body).ok();
    is_json(head)?.then(read).flatten().ok_or_else(|| {
        Refusal::bad(
            "RequestBodyRead",
            "The request body could not be read as JSON of this request.",
        )
    })
}
