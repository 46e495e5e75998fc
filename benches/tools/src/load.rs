//! A number of clients that send as old programs do: one command, one answer.
//!
//! Plain to a proxy, or with STARTTLS and XOAUTH2 to the sink itself. It prints what became of it as
//! one line of JSON: how many were accepted in how many seconds, and how long one mail took its client.

use crate::line::Input;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// A mail that takes its client longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args, Clone)]
pub struct Args {
    /// The server, `127.0.0.1:2525`.
    #[arg(long)]
    to: SocketAddr,
    /// Begin with STARTTLS and XOAUTH2, trusting this authority.
    #[arg(long)]
    tls: Option<PathBuf>,
    /// AUTH PLAIN with this `user:password`, for those who ask for it.
    #[arg(long)]
    plain: Option<String>,
    /// Clients at once.
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// No mail is begun after so many seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Mails of all clients together.
    #[arg(long, default_value_t = usize::MAX)]
    messages: usize,
    /// Octets of a mail.
    #[arg(long, default_value_t = 10 * 1024)]
    size: usize,
    /// Recipients of a mail.
    #[arg(long, default_value_t = 1)]
    recipients: usize,
    /// A connection for every mail.
    #[arg(long)]
    one_shot: bool,
    /// MAIL, RCPT and DATA in one write, as few old programs do.
    #[arg(long)]
    pipelining: bool,
    /// Senders: `erp@…`, or `n0@…` to `n999@…` in turn.
    #[arg(long, default_value_t = 1)]
    senders: usize,
}

#[derive(clap::Args)]
pub struct IdleArgs {
    /// The server.
    #[arg(long)]
    to: SocketAddr,
    /// How many.
    #[arg(long)]
    clients: usize,
}

/// What all clients share.
struct Plan {
    args: Args,
    connector: Option<TlsConnector>,
    message: Vec<u8>,
    next: AtomicUsize,
    /// All connections stand and have carried a mail: from then on it counts.
    ready: Barrier,
    begin: OnceLock<Instant>,
}

pub async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let connector = args.tls.as_deref().map(trusting).transpose()?;
    let clients = args.clients;
    let message = message(args.size);
    let ready = Barrier::new(clients);
    let (next, begin) = (AtomicUsize::new(0), OnceLock::new());
    let plan = Arc::new(Plan { message, connector, args, next, ready, begin });
    let mut set = JoinSet::new();
    for _ in 0..clients {
        set.spawn(client(plan.clone()));
    }
    let (mut times, mut failed) = (Vec::new(), Vec::new());
    while let Some(done) = set.join_next().await {
        let (own, error) = done?;
        times.extend(own);
        failed.extend(error);
    }
    let seconds = plan.begin.get().map_or(0.0, |begin| begin.elapsed().as_secs_f64());
    let count = times.len();
    let (mut mails, mut ends): (Vec<Duration>, Vec<Duration>) = times.into_iter().unzip();
    mails.sort_unstable();
    ends.sort_unstable();
    let at = |times: &[Duration], share: f64| {
        let place = (count.saturating_sub(1)) as f64 * share;
        times.get(place as usize).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    println!(
        "{}",
        json!({
            "warm": clients, "accepted": count, "failed": failed.len(), "seconds": seconds,
            "rate": count as f64 / seconds,
            "us": {
                "p50": at(&mails, 0.5), "p90": at(&mails, 0.9), "p99": at(&mails, 0.99),
                "end": at(&ends, 0.5),
            },
            "error": failed.first(),
        })
    );
    Ok(())
}

fn trusting(file: &std::path::Path) -> Result<TlsConnector, Box<dyn std::error::Error>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file)?)?;
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A mail of so many octets, and the dot.
fn message(size: usize) -> Vec<u8> {
    let mut text = b"From: erp@contoso.com\r\nTo: ann@example.org\r\nSubject: invoice\r\n\
        Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <bench@contoso.com>\r\n\r\n"
        .to_vec();
    while text.len() + 78 < size {
        text.extend_from_slice(&[b'x'; 76]);
        text.extend_from_slice(b"\r\n");
    }
    text.resize(size.saturating_sub(2).max(text.len()), b'y');
    text.extend_from_slice(b"\r\n.\r\n");
    text
}

/// How long a mail took its client, and how much of that from its body to the 250.
type Times = (Duration, Duration);

/// Sends until all are sent; the times of each mail, and why it ended early if it did.
async fn client(plan: Arc<Plan>) -> (Vec<Times>, Option<String>) {
    let mut times = Vec::new();
    let error = mails(&plan, &mut times).await.err().map(|error| error.to_string());
    (times, error)
}

async fn mails(plan: &Plan, times: &mut Vec<Times>) -> io::Result<()> {
    let mut open: Option<Connection> = None;
    let warm = tokio::time::timeout(PATIENCE, one(plan, &mut open, 0)).await;
    plan.ready.wait().await;
    let until = *plan.begin.get_or_init(Instant::now) + Duration::from_secs_f64(plan.args.seconds);
    warm??;
    loop {
        let number = plan.next.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        if number >= plan.args.messages || begin >= until {
            break;
        }
        // A client that waits for ever would make a subject that hangs look as if it were measured.
        let end = tokio::time::timeout(PATIENCE, one(plan, &mut open, number)).await??;
        times.push((begin.elapsed(), end));
    }
    match open {
        Some(connection) => connection.quit().await,
        None => Ok(()),
    }
}

async fn one(plan: &Plan, open: &mut Option<Connection>, number: usize) -> io::Result<Duration> {
    let connection = match open {
        Some(connection) => connection,
        None => open.insert(Connection::open(plan).await?),
    };
    let end = connection.send(plan, number).await?;
    if let Some(connection) = open.take_if(|_| plan.args.one_shot) {
        connection.quit().await?;
    }
    Ok(end)
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

struct Connection {
    stream: Box<dyn Stream>,
    input: Input,
}

impl Connection {
    async fn open(plan: &Plan) -> io::Result<Self> {
        let tcp = TcpStream::connect(plan.args.to).await?;
        tcp.set_nodelay(true)?;
        let mut connection = Self { stream: Box::new(tcp), input: Input::new() };
        connection.expect(220).await?;
        connection.say(b"EHLO bench\r\n", 250).await?;
        if let Some(connector) = &plan.connector {
            connection.say(b"STARTTLS\r\n", 220).await?;
            let name = "localhost".try_into().map_err(io::Error::other)?;
            let stream = connector.connect(name, connection.stream).await?;
            connection = Self { stream: Box::new(stream), input: Input::new() };
            connection.say(b"EHLO bench\r\n", 250).await?;
            connection.say(b"AUTH XOAUTH2\r\n", 334).await?;
            let token = "dXNlcj1lcnBAY29udG9zby5jb20BYXV0aD1CZWFyZXIg".repeat(52) + "\r\n";
            connection.say(token.as_bytes(), 235).await?;
        }
        if let Some(plain) = &plan.args.plain {
            connection.say(format!("AUTH PLAIN {plain}\r\n").as_bytes(), 235).await?;
        }
        Ok(connection)
    }

    async fn expect(&mut self, code: u16) -> io::Result<()> {
        match self.input.reply(&mut self.stream).await? {
            given if given == code => Ok(()),
            given => Err(io::Error::other(format!("{given} where {code} was expected"))),
        }
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }

    async fn say(&mut self, octets: &[u8], code: u16) -> io::Result<()> {
        self.write(octets).await?;
        self.expect(code).await
    }

    async fn send(&mut self, plan: &Plan, number: usize) -> io::Result<Duration> {
        let sender = match plan.args.senders {
            0 | 1 => "erp".to_owned(),
            count => format!("n{}", number % count),
        };
        let mut flight = vec![format!("MAIL FROM:<{sender}@contoso.com>\r\n")];
        for recipient in 0..plan.args.recipients {
            flight.push(format!("RCPT TO:<r{recipient}@example.org>\r\n"));
        }
        if plan.args.pipelining {
            let all = flight.concat() + "DATA\r\n";
            self.write(all.as_bytes()).await?;
            for _ in &flight {
                self.expect(250).await?;
            }
            self.expect(354).await?;
        } else {
            for command in flight {
                self.say(command.as_bytes(), 250).await?;
            }
            self.say(b"DATA\r\n", 354).await?;
        }
        let begin = Instant::now();
        self.say(&plan.message, 250).await?;
        Ok(begin.elapsed())
    }

    async fn quit(mut self) -> io::Result<()> {
        self.say(b"QUIT\r\n", 221).await
    }
}

/// Opens the connections, says so, and keeps them until standard input ends.
pub async fn idle(args: IdleArgs) -> Result<(), Box<dyn std::error::Error>> {
    let mut open = Vec::with_capacity(args.clients);
    for _ in 0..args.clients {
        let mut stream = TcpStream::connect(args.to).await?;
        let mut input = Input::new();
        input.reply(&mut stream).await?;
        stream.write_all(b"EHLO bench\r\n").await?;
        input.reply(&mut stream).await?;
        // Only the socket is kept: the buffer is ours, not the subject's.
        open.push(stream);
    }
    println!("{}", json!({ "open": open.len() }));
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut rest)?;
    let mut closed = 0;
    for stream in &mut open {
        let mut octet = [0];
        let look = tokio::time::timeout(Duration::ZERO, stream.read(&mut octet)).await;
        closed += usize::from(look.is_ok());
    }
    println!("{}", json!({ "closed": closed }));
    Ok(())
}
