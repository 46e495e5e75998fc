//! The upstream of the benches: STARTTLS, AUTH XOAUTH2 and PLAIN, every mail taken and forgotten.
//!
//! It also gives tokens, counts, and holds octets back where a distant server is wanted: half the
//! round trip each way, without holding up what comes behind (a line, not a queue of answers).

use crate::line::Input;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

#[derive(clap::Args)]
pub struct Args {
    /// Where its certificate's authority is written: DIR/ca.pem.
    #[arg(long)]
    dir: PathBuf,
    /// The round trip to it, milliseconds.
    #[arg(long, default_value_t = 0)]
    round_trip: u64,
    /// The offer after TLS, without the greeting's line; `none` in it leaves all out.
    #[arg(
        long,
        default_value = "SIZE 157286400,PIPELINING,DSN,ENHANCEDSTATUSCODES,8BITMIME,BINARYMIME,CHUNKING,SMTPUTF8"
    )]
    offer: String,
}

/// What was taken.
#[derive(Default)]
struct Count {
    messages: AtomicU64,
    recipients: AtomicU64,
    octets: AtomicU64,
    connections: AtomicU64,
    /// When the first and the last message came since the mark.
    span: Mutex<Option<(Instant, Instant)>>,
    changed: Notify,
}

impl Count {
    fn span(&self) -> MutexGuard<'_, Option<(Instant, Instant)>> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let acceptor = certificate(&args.dir)?;
    let count = Arc::new(Count::default());
    let smtp = TcpListener::bind("127.0.0.1:0").await?;
    let http = TcpListener::bind("127.0.0.1:0").await?;
    let (smtp_port, http_port) = (smtp.local_addr()?.port(), http.local_addr()?.port());
    println!("{}", json!({ "smtp": smtp_port, "http": http_port }));
    let routes = Router::new()
        .route("/token", post(token))
        .route("/count", get(total))
        .route("/mark", get(mark))
        .route("/wait", get(wait))
        .with_state(count.clone());
    tokio::spawn(async move { axum::serve(http, routes).await });
    let offer: Arc<str> = args
        .offer
        .split(',')
        .filter(|word| *word != "none")
        .fold(String::new(), |offer, word| offer + "250-" + word + "\r\n")
        .into();
    let half = Duration::from_millis(args.round_trip) / 2;
    loop {
        let (stream, _) = smtp.accept().await?;
        stream.set_nodelay(true)?;
        let session =
            Session { acceptor: acceptor.clone(), count: count.clone(), offer: offer.clone() };
        tokio::spawn(async move {
            if half.is_zero() {
                session.run(stream).await
            } else {
                let (near, far) = tokio::io::duplex(4 << 20);
                tokio::spawn(distance(stream, far, half));
                session.run(near).await
            }
        });
    }
}

fn certificate(dir: &std::path::Path) -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let key = rcgen::KeyPair::generate()?;
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "sink of the benches");
    let own = authority.self_signed(&key)?;
    std::fs::write(dir.join("ca.pem"), own.pem())?;
    let issuer = rcgen::Issuer::from_params(&authority, &key);
    let leaf_key = rcgen::KeyPair::generate()?;
    let mut leaf = rcgen::CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&leaf_key, &issuer)?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(leaf_key.serialize_der())?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn token() -> Json<Value> {
    Json(json!({
        "token_type": "Bearer",
        "expires_in": 3599,
        "access_token": "t".repeat(1700),
    }))
}

async fn total(State(count): State<Arc<Count>>) -> Json<Value> {
    let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
    Json(json!({
        "messages": of(&count.messages),
        "recipients": of(&count.recipients),
        "octets": of(&count.octets),
        "connections": of(&count.connections),
        "seconds": count.span().map_or(0.0, |(first, last)| (last - first).as_secs_f64()),
    }))
}

/// From now on `seconds` is the time from the next message to the last one.
async fn mark(State(count): State<Arc<Count>>) -> Json<Value> {
    *count.span() = None;
    total(State(count)).await
}

/// Answers when so many messages have come since the start.
async fn wait(
    State(count): State<Arc<Count>>,
    Query(query): Query<HashMap<String, u64>>,
) -> Json<Value> {
    let wanted = query.get("messages").copied().unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(query.get("seconds").copied().unwrap_or(600));
    loop {
        let changed = count.changed.notified();
        if count.messages.load(Ordering::Relaxed) >= wanted || Instant::now() >= until {
            return total(State(count.clone())).await;
        }
        let _ = tokio::time::timeout_at(until, changed).await;
    }
}

struct Session {
    acceptor: TlsAcceptor,
    count: Arc<Count>,
    offer: Arc<str>,
}

impl Session {
    async fn run(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        self.count.connections.fetch_add(1, Ordering::Relaxed);
        let mut input = Input::new();
        stream.write_all(b"220 localhost sink\r\n").await?;
        loop {
            let line = input.line(&mut stream).await?;
            if is(line, b"EHLO") || is(line, b"HELO") {
                stream.write_all(b"250-localhost\r\n250 STARTTLS\r\n").await?;
            } else if is(line, b"STARTTLS") {
                stream.write_all(b"220 go\r\n").await?;
                break;
            } else {
                return stream.write_all(b"530 5.7.0 STARTTLS first\r\n").await;
            }
        }
        let stream = self.acceptor.accept(stream).await?;
        self.serve(stream).await
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut input = Input::new();
        let mut output = Vec::with_capacity(1024);
        let (mut recipients, mut octets) = (0_u64, 0_u64);
        loop {
            if input.is_empty() && !output.is_empty() {
                stream.write_all(&output).await?;
                stream.flush().await?;
                output.clear();
            }
            let line = input.line(&mut stream).await?;
            if is(line, b"MAIL") {
                output.extend_from_slice(b"250 2.1.0 ok\r\n");
            } else if is(line, b"RCPT") {
                recipients += 1;
                output.extend_from_slice(b"250 2.1.5 ok\r\n");
            } else if is(line, b"DATA") {
                output.extend_from_slice(b"354 go\r\n");
                stream.write_all(&output).await?;
                stream.flush().await?;
                output.clear();
                octets += input.message(&mut stream).await?;
                self.taken(&mut recipients, &mut octets);
                output.extend_from_slice(b"250 2.0.0 taken\r\n");
            } else if is(line, b"BDAT") {
                let mut words = line.split(|octet| *octet == b' ').skip(1);
                let count =
                    words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
                let count: usize = count.unwrap_or(0);
                let is_last = words.next().is_some();
                input.skip(&mut stream, count).await?;
                octets += count as u64;
                if is_last {
                    self.taken(&mut recipients, &mut octets);
                }
                output.extend_from_slice(b"250 2.0.0 taken\r\n");
            } else if is(line, b"EHLO") {
                output.extend_from_slice(b"250-localhost\r\n");
                output.extend_from_slice(self.offer.as_bytes());
                output.extend_from_slice(b"250 AUTH LOGIN PLAIN XOAUTH2\r\n");
            } else if is(line, b"AUTH") {
                // The second word is the mechanism, a third the answer itself.
                if line.split(|octet| *octet == b' ').count() < 3 {
                    stream.write_all(b"334 \r\n").await?;
                    stream.flush().await?;
                    input.line(&mut stream).await?;
                }
                output.extend_from_slice(b"235 2.7.0 ok\r\n");
            } else if is(line, b"RSET") || is(line, b"NOOP") {
                (recipients, octets) = (0, 0);
                output.extend_from_slice(b"250 2.0.0 ok\r\n");
            } else if is(line, b"QUIT") {
                stream.write_all(b"221 2.0.0 bye\r\n").await?;
                return stream.shutdown().await;
            } else {
                output.extend_from_slice(b"500 5.5.1 what\r\n");
            }
        }
    }

    fn taken(&self, recipients: &mut u64, octets: &mut u64) {
        self.count.recipients.fetch_add(std::mem::take(recipients), Ordering::Relaxed);
        self.count.octets.fetch_add(std::mem::take(octets), Ordering::Relaxed);
        self.count.messages.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        self.count.span().get_or_insert((now, now)).1 = now;
        self.count.changed.notify_waiters();
    }
}

fn is(line: &[u8], verb: &[u8]) -> bool {
    line.len() >= verb.len() && line[..verb.len()].eq_ignore_ascii_case(verb)
}

/// A long way between the two: what goes in comes out so much later, in order.
async fn distance(near: TcpStream, far: tokio::io::DuplexStream, half: Duration) {
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = tokio::io::split(far);
    tokio::join!(hold(near_read, far_write, half), hold(far_read, near_write, half));
}

async fn hold(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send,
    half: Duration,
) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reading = async move {
        loop {
            let mut piece = Vec::with_capacity(64 * 1024);
            match from.read_buf(&mut piece).await {
                Ok(count) if count > 0 => {
                    let _ = sender.send((Instant::now() + half, piece));
                }
                _ => return,
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = receiver.recv().await {
            // The timer of tokio has steps of a millisecond, which of ten is much.
            let wait = due.saturating_duration_since(Instant::now());
            let _ = tokio::task::spawn_blocking(move || std::thread::sleep(wait)).await;
            if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
