//! `/v1/queue`: mails that wait, those that left, what is in them, and what is ordered about them.
//!
//! It promises that an answer never holds more than a page, that a message streams, and that an order is
//! judged mail by mail: one that cannot be obeyed stops no other.

use super::answer::Refusal;
use super::desk::Desk;
use super::wire::{Done, Findings, Mail, MailPage, Order, Orders, Query};
use crate::mail::Id;
use crate::queue::{State as MailState, SteerError, StoreError};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query as Asked, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::failed(format!("the queue cannot be read: {error}"))
    }
}

/// One page of a list.
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Asked(query): Asked<Query>,
) -> Result<Json<MailPage>, Refusal> {
    let filter = query.filter().map_err(Refusal::bad_request)?;
    if query.delivered {
        let page = desk.queue.past(filter).await?;
        let mails = page.mails.iter().map(Mail::from).collect();
        return Ok(Json(MailPage { mails, next: page.next }));
    }
    let page = desk.queue.page(filter).await?;
    let hand: HashSet<Id> = desk.delivery.in_hand().into_iter().collect();
    let mail = |entry| Mail::queued(entry, hand.contains(&entry.id));
    Ok(Json(MailPage { mails: page.mails.iter().map(mail).collect(), next: page.next }))
}

/// One mail, also one that has left the queue.
pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
) -> Result<Json<Mail>, Refusal> {
    let id = parsed(&id)?;
    if let Some(entry) = desk.queue.show(id).await? {
        return Ok(Json(Mail::queued(&entry, desk.delivery.in_hand().contains(&id))));
    }
    let settled = desk.queue.settled(id).await?;
    settled.map(|settled| Json(Mail::from(&settled))).ok_or_else(|| unknown(id))
}

/// The message itself, as it comes from the disk. One that turns out damaged breaks off before its end.
pub(super) async fn message(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = parsed(&id)?;
    let Some(entry) = desk.queue.show(id).await? else {
        let left = desk.queue.settled(id).await?.is_some();
        return Err(match left {
            true => Refusal::not_found(format!("{id} has left the queue; its message is not kept")),
            false => unknown(id),
        });
    };
    let mut reader = desk.queue.body(&entry).await.map_err(|error| Refusal::conflict(error.0))?;
    let (chunks, incoming) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(chunk) = reader.chunk().await.map_err(io::Error::other).transpose() {
            let ends = chunk.is_err();
            // Nobody listens any more where this fails.
            if chunks.send(chunk).await.is_err() || ends {
                return;
            }
        }
    });
    let body = Body::from_stream(ReaderStream::new(Chunks { incoming, rest: Bytes::new() }));
    Ok(([(header::CONTENT_TYPE, "message/rfc822")], body).into_response())
}

/// What the check of the whole store finds; takes as long as reading it does.
pub(super) async fn check(State(desk): State<Arc<Desk>>) -> Result<Json<Findings>, Refusal> {
    Ok(Json(desk.queue.check().await?.into()))
}

/// Has every mail named do the same.
pub(super) async fn order(
    State(desk): State<Arc<Desk>>,
    Path(order): Path<Order>,
    Json(orders): Json<Orders>,
) -> Result<Json<Vec<Done>>, Refusal> {
    if orders.ids.len() > Query::MOST {
        return Err(Refusal::bad_request(format!("more than {} mails at once", Query::MOST)));
    }
    let accounts =
        if order == Order::Retry { accounts(&desk, &orders.ids).await? } else { BTreeSet::new() };
    // All at once, so that they share commits.
    let mut tasks = tokio::task::JoinSet::new();
    for id in orders.ids.iter().copied().collect::<HashSet<_>>() {
        let queue = desk.queue.clone();
        tasks.spawn(async move {
            let done = match order {
                Order::Hold => queue.hold(id).await,
                Order::Release => queue.release(id).await,
                Order::Retry => queue.retry(id).await,
                Order::Remove => queue.remove(id).await,
            };
            (id, done.err().map(|error| why_not(order, &error)))
        });
    }
    let mut outcomes: HashMap<Id, Option<String>> = HashMap::new();
    while let Some(done) = tasks.join_next().await {
        let (id, error) = done.map_err(|error| Refusal::failed(error.to_string()))?;
        outcomes.insert(id, error);
    }
    // Whoever wants a mail tried now means it, also where its account waits.
    accounts.iter().for_each(|account| desk.delivery.resume(account));
    let done = |id: &Id| Done { id: *id, error: outcomes.get(id).cloned().flatten() };
    Ok(Json(orders.ids.iter().map(done).collect()))
}

/// The accounts of these mails.
async fn accounts(desk: &Desk, ids: &[Id]) -> Result<BTreeSet<String>, StoreError> {
    let mut accounts = BTreeSet::new();
    for id in ids {
        accounts.extend(desk.queue.show(*id).await?.map(|entry| entry.account));
    }
    Ok(accounts)
}

/// What an order that was not obeyed is answered.
fn why_not(order: Order, error: &SteerError) -> String {
    let SteerError::State { state, .. } = error else { return error.to_string() };
    match (state, order) {
        (MailState::Attempting, _) => {
            "is being delivered at this moment; ask again when that has ended".to_owned()
        }
        (MailState::Failed, Order::Hold) => "has been given up already; it is not tried".to_owned(),
        (MailState::Damaged, Order::Hold) => "is damaged and not tried".to_owned(),
        (state, Order::Release) => format!("is not held but {state}; `retry` has it tried now"),
        (state, order) => format!("is {state}: cannot {} it", order.word()),
    }
}

fn parsed(id: &str) -> Result<Id, Refusal> {
    id.parse().map_err(|error| Refusal::bad_request(format!("{id:?} is {error}")))
}

fn unknown(id: Id) -> Refusal {
    Refusal::not_found(format!("{id} is neither in the queue nor in its history"))
}

/// Chunks as something to read from, so that an error between them reaches the caller.
struct Chunks {
    incoming: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl AsyncRead for Chunks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match std::task::ready!(self.incoming.poll_recv(context)) {
                Some(chunk) => self.rest = chunk?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}
