//! Pool, connect and drive against a small server with TLS whose every answer a test may choose.

use super::*;
use crate::config::{Limit, UpstreamTls};
use crate::mail::{Address, BodyKind, Envelope, Id, Recipient};
use crate::secret::Secret;
use crate::tls::client_config;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::io::Write;
use std::pin::Pin;
use std::sync::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What the server does about a line.
#[derive(Clone, Copy)]
enum Act {
    /// What a good server says.
    Usual,
    Say(&'static str),
    SayAndClose(&'static str),
    /// Says it and reads no more.
    SayAndStall(&'static str),
    Close,
    /// Says this when the commit is under way, closes, and notes `shut`.
    GiveUpInCommit(&'static str),
    /// Says nothing and reads no more.
    Stall,
    /// One octet now and then, without an end.
    Drip,
}

type Plan = dyn Fn(usize, &str) -> Act + Send + Sync;

#[derive(Default)]
struct Seen {
    lines: Mutex<Vec<(usize, String)>>,
    news: Notify,
}

impl Seen {
    fn note(&self, connection: usize, line: &str) {
        self.lines.lock().unwrap().push((connection, line.to_owned()));
        self.news.notify_one();
    }

    /// Lines of one connection that begin so.
    fn count(&self, start: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|(_, line)| line.starts_with(start)).count()
    }

    fn connections(&self) -> usize {
        self.count("connected")
    }

    async fn wait_for(&self, start: &str) {
        while self.count(start) == 0 {
            self.news.notified().await;
        }
    }
}

struct Server {
    port: u16,
    seen: Arc<Seen>,
    ca: tempfile::NamedTempFile,
}

#[derive(Clone, Copy, PartialEq)]
enum Certificate {
    Good,
    Expired,
    WrongName,
    UnknownCa,
}

trait Line: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// An acceptor with such a certificate, and the CA that is to be trusted.
fn certificates(kind: Certificate) -> (tokio_rustls::TlsAcceptor, String) {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    };
    let (trusted, pem) = authority("Trusted CA");
    let (foreign, _) = authority("Inspecting Proxy CA");
    let name = if kind == Certificate::WrongName { "other.example" } else { "localhost" };
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if kind == Certificate::Expired {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 3);
    }
    let key = KeyPair::generate().unwrap();
    let issuer = if kind == Certificate::UnknownCa { &foreign } else { &trusted };
    let leaf: CertificateDer = params.signed_by(&key, issuer).unwrap().into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    (Arc::new(config).into(), pem)
}

impl Server {
    async fn start(plan: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        Self::start_with(Certificate::Good, false, plan).await
    }

    async fn start_with(
        kind: Certificate,
        implicit: bool,
        plan: impl Fn(usize, &str) -> Act + Send + Sync + 'static,
    ) -> Self {
        let (acceptor, pem) = certificates(kind);
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(pem.as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let (shared, plan) = (seen.clone(), Arc::new(plan));
        tokio::spawn(async move {
            for connection in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                let peer = Peer { connection, seen: shared.clone(), plan: plan.clone() };
                peer.seen.note(connection, "connected");
                tokio::spawn(peer.serve(stream, acceptor.clone(), implicit));
            }
        });
        Self { port, seen, ca }
    }

    fn settings(&self) -> Upstream {
        Upstream {
            host: "localhost".into(),
            port: self.port,
            tls: UpstreamTls::StartTls,
            login: crate::config::Login::Token,
            sasl: crate::config::Sasl::Auto,
            proxy: None,
            ca_file: None,
            connections: Limit::Unlimited,
            messages_per_minute: Limit::Unlimited,
            recipients_per_day: Limit::Unlimited,
            max_recipients: Limit::Unlimited,
            max_message_size: 35 << 20,
            connect_timeout: Duration::from_secs(20),
            command_timeout: Duration::from_secs(20),
            data_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            binarymime: true,

            chunking: crate::config::Chunking::Auto,
        }
    }

    fn pool(&self) -> Pool {
        self.pool_with(self.settings())
    }

    fn pool_with(&self, settings: Upstream) -> Pool {
        Pool::new(settings, "me.example".into(), client_config(Some(self.ca.path())).unwrap())
    }
}

struct Peer {
    connection: usize,
    seen: Arc<Seen>,
    plan: Arc<Plan>,
}

impl Peer {
    async fn serve(self, stream: TcpStream, acceptor: tokio_rustls::TlsAcceptor, implicit: bool) {
        let mut stream: Box<dyn Line> = Box::new(stream);
        if implicit {
            let Ok(inside) = acceptor.accept(stream).await else { return };
            stream = Box::new(inside);
        }
        let mut stream = BufReader::new(stream);
        if self.react(&mut stream, "banner", "220 there ESMTP\r\n").await.is_none() {
            return;
        }
        let mut is_tls = implicit;
        while let Some(line) = read_line(&mut stream).await {
            let usual = match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" if is_tls => {
                    "250-there\r\n250-PIPELINING\r\n250-SIZE 99999999\r\n250 AUTH LOGIN XOAUTH2\r\n"
                }
                "EHLO" => "250-there\r\n250 STARTTLS\r\n",
                "STARTTLS" => "220 2.0.0 ready\r\n",
                "AUTH" => "334 \r\n",
                "MAIL" | "RCPT" | "RSET" => "250 2.1.0 ok\r\n",
                "DATA" => "354 go\r\n",
                "BDAT" => "250 2.0.0 OK <chunk>\r\n",
                "QUIT" => "221 2.0.0 bye\r\n",
                _ => "235 2.7.0 Authentication successful\r\n",
            };
            if let Some(count) = line.strip_prefix("BDAT ") {
                let count = count.trim_end_matches(" LAST").parse().unwrap();
                let mut octets = vec![0; count];
                if stream.read_exact(&mut octets).await.is_err() {
                    return;
                }
                self.seen.note(self.connection, &format!("chunk of {count}"));
            }
            let Some(said) = self.react(&mut stream, &line, usual).await else { return };
            if said.starts_with("220 2.0.0") {
                let Ok(inside) = acceptor.accept(stream.into_inner()).await else { return };
                is_tls = true;
                stream = BufReader::new(Box::new(inside));
            } else if said.starts_with("354") && self.take_body(&mut stream).await.is_none() {
                return;
            }
        }
        self.seen.note(self.connection, "closed");
    }

    async fn take_body(&self, stream: &mut BufReader<Box<dyn Line>>) -> Option<()> {
        let (mut octets, mut is_first) = (0, true);
        loop {
            let line = read_line(stream).await?;
            if line == "." {
                self.seen.note(self.connection, &format!("body of {octets}"));
                self.react(stream, ".", "250 2.0.0 OK <id> [Hostname=h]\r\n").await?;
                return Some(());
            }
            octets += line.strip_prefix('.').unwrap_or(&line).len() + 2;
            if std::mem::take(&mut is_first) {
                self.react(stream, "body", "").await?;
            }
        }
    }

    async fn react<'a>(
        &self,
        stream: &mut BufReader<Box<dyn Line>>,
        line: &str,
        usual: &'a str,
    ) -> Option<&'a str> {
        self.seen.note(self.connection, line);
        let (said, goes_on) = match (self.plan)(self.connection, line) {
            Act::Usual => (usual, true),
            Act::Say(words) => (words, true),
            Act::SayAndClose(words) => (words, false),
            Act::Close => ("", false),
            Act::GiveUpInCommit(words) => {
                self.seen.wait_for("commit").await;
                (words, false)
            }
            Act::Stall => std::future::pending().await,
            Act::SayAndStall(words) => {
                stream.get_mut().write_all(words.as_bytes()).await.ok()?;
                stream.get_mut().flush().await.ok()?;
                std::future::pending().await
            }
            Act::Drip => loop {
                stream.get_mut().write_all(b"2").await.ok()?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            },
        };
        stream.get_mut().write_all(said.as_bytes()).await.ok()?;
        stream.get_mut().flush().await.ok()?;
        if !goes_on {
            stream.get_mut().shutdown().await.ok()?;
            self.seen.note(self.connection, "shut");
        }
        goes_on.then_some(said)
    }
}

async fn read_line(stream: &mut BufReader<Box<dyn Line>>) -> Option<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.ok().filter(|count| *count > 0)?;
    line.ends_with(b"\r\n").then(|| String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
}

struct Text {
    chunk: &'static [u8],
    times: usize,
    fails: bool,
}

impl Body for Text {
    fn chunk(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, String>> + Send + '_>> {
        Box::pin(async {
            if self.fails && self.times == 1 {
                return Err("disk is gone".to_owned());
            }
            self.times = match self.times.checked_sub(1) {
                Some(left) => left,
                None => return Ok(None),
            };
            Ok(Some(Bytes::from_static(self.chunk)))
        })
    }

    fn again(&mut self, _: u64) -> Result<(), String> {
        Err("SMTP reads a message once".to_owned())
    }
}

fn credential(token: &str, life: Duration) -> Credential {
    Credential {
        audience: crate::config::Audience::Smtp,
        mailbox: Address::parse("u@x").unwrap(),
        token: Secret::new(token),
        usable_until: std::time::Instant::now() + life,
    }
}

fn good() -> Credential {
    credential("tok", Duration::from_secs(3600))
}

struct Order {
    recipients: &'static [&'static str],
    text: Text,
    commit: Result<(), String>,
    /// The commit takes until the server noted this.
    commit_waits_for: &'static str,
}

impl Default for Order {
    fn default() -> Self {
        let text = Text { chunk: b"Subject: x\r\n\r\n.dot\r\n", times: 1, fails: false };
        Self { recipients: &["a@x", "b@x"], text, commit: Ok(()), commit_waits_for: "" }
    }
}

async fn send(pool: &Pool, credential: &Credential, seen: &Seen, mut order: Order) -> Vec<String> {
    let address = |text: &&str| Recipient::new(Address::parse(text).unwrap());
    let envelope = Envelope {
        sender: Some(Address::parse("s@x").unwrap()),
        body: BodyKind::Undeclared,
        smtputf8: false,
        ret: None,
        envid: None,
        recipients: order.recipients.iter().map(address).collect(),
    };
    let mut commit = std::pin::pin!(async {
        seen.note(0, "commit");
        seen.wait_for(order.commit_waits_for).await;
        // Lets the runtime see what the server did to the socket.
        tokio::task::yield_now().await;
        order.commit
    });
    let mail = Outgoing {
        id: Id::new(std::time::SystemTime::UNIX_EPOCH, 1),
        envelope: &envelope,
        everybody: &envelope.recipients,
        size: (order.text.chunk.len() * order.text.times) as u64,
        body: &mut order.text,
        commit: commit.as_mut(),
    };
    let outcome = pool.deliver(mail, credential).await;
    assert_eq!(outcome.recipients.len(), envelope.recipients.len());
    let words = |result: Result<Reply, Failure>| match result {
        Ok(reply) => reply.to_string(),
        Err(Failure { stage, fault }) => format!("{stage:?}: {fault}"),
    };
    outcome.recipients.into_iter().map(words).collect()
}

const TAKEN: &str = "250 2.0.0 OK <id> [Hostname=h]";

#[tokio::test]
async fn three_mails_go_over_one_connection() {
    for implicit in [false, true] {
        let server = Server::start_with(Certificate::Good, implicit, |_, _| Act::Usual).await;
        let mut settings = server.settings();
        settings.tls = if implicit { UpstreamTls::Implicit } else { UpstreamTls::StartTls };
        let pool = server.pool_with(settings);
        for _ in 0..3 {
            assert_eq!(send(&pool, &good(), &server.seen, Order::default()).await, [TAKEN; 2]);
        }
        assert_eq!(server.seen.connections(), 1);
        assert_eq!(server.seen.count("body of 20"), 3);
        let lines = server.seen.lines.lock().unwrap().clone();
        let place = |what: &str| lines.iter().position(|(_, line)| line == what).unwrap();
        assert!(place("commit") < place("."), "no dot before the commit");
        pool.close_idle().await;
        assert_eq!(server.seen.count("QUIT"), 1);
    }
}

#[tokio::test]
async fn b06_recipients_are_settled_each_on_its_own() {
    let server = Server::start(|_, line| match line {
        "RCPT TO:<b@x>" => Act::Say("550 5.1.1 no such user\r\n"),
        "RCPT TO:<c@x>" => Act::Say("451 4.7.500 Server busy\r\n"),
        _ => Act::Usual,
    })
    .await;
    let order = Order { recipients: &["a@x", "b@x", "c@x"], ..Order::default() };
    let results = send(&server.pool(), &good(), &server.seen, order).await;
    assert_eq!(results, [TAKEN, "Rcpt: 550 5.1.1 no such user", "Rcpt: 451 4.7.500 Server busy"]);
}

#[tokio::test]
async fn b07_without_a_verified_certificate_no_token_is_sent() {
    let table = [
        (
            Certificate::Expired,
            "the certificate of localhost expired on Mon, 03 Feb 2020 00:00:00 GMT",
        ),
        (Certificate::WrongName, "the certificate is for other.example, not for localhost"),
        (Certificate::UnknownCa, "comes from \"Inspecting Proxy CA\", which is not trusted here"),
    ];
    for (kind, words) in table {
        for implicit in [false, true] {
            let server = Server::start_with(kind, implicit, |_, _| Act::Usual).await;
            let mut settings = server.settings();
            settings.tls = if implicit { UpstreamTls::Implicit } else { UpstreamTls::StartTls };
            let pool = server.pool_with(settings);
            let results = send(&pool, &good(), &server.seen, Order::default()).await;
            for text in results {
                assert!(text.starts_with("Tls: ") && text.contains(words), "{text}");
            }
            assert_eq!(server.seen.count("AUTH"), 0);
            assert_eq!(server.seen.count("commit"), 0);
        }
    }
}

#[tokio::test]
async fn b07_without_starttls_no_token_is_sent() {
    let table: [(&str, &str, &str); 3] = [
        ("EHLO me.example", "250-there\r\n250 AUTH XOAUTH2\r\n", "Tls: STARTTLS is not offered"),
        ("STARTTLS", "454 4.7.0 not now\r\n", "Tls: 454 4.7.0 not now"),
        (
            "STARTTLS",
            "220 2.0.0 ready\r\n250 AUTH XOAUTH2\r\n",
            "Tls: not SMTP: text after the 220",
        ),
    ];
    for (at, says, words) in table {
        let act = move |_, line: &str| if line == at { Act::Say(says) } else { Act::Usual };
        let server = Server::start(act).await;
        let results = send(&server.pool(), &good(), &server.seen, Order::default()).await;
        assert!(results.iter().all(|text| text.starts_with(words)), "{results:?}");
        assert_eq!(server.seen.count("AUTH"), 0);
    }
}

#[tokio::test]
async fn b04_an_end_at_each_stage_is_told_with_its_stage() {
    let table = [
        ("banner", "Greeting: connection closed"),
        ("EHLO me.example", "Hello: connection closed"),
        ("AUTH XOAUTH2", "Auth: connection closed"),
        ("MAIL FROM:<s@x> SIZE=20", "Mail: connection closed"),
        ("RCPT TO:<b@x>", "Rcpt: connection closed"),
        ("DATA", "Data: connection closed"),
        (".", "Dot: connection closed"),
    ];
    for (at, words) in table {
        let act = move |_, line: &str| if line == at { Act::Close } else { Act::Usual };
        let server = Server::start(act).await;
        let results = send(&server.pool(), &good(), &server.seen, Order::default()).await;
        assert_eq!(results, [words; 2]);
        assert_eq!(server.seen.connections(), 1, "a new connection is not tried twice");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let server = Server::start(|_, _| Act::Usual).await;
    let pool = server.pool_with(Upstream { port: closed, ..server.settings() });
    let results = send(&pool, &good(), &server.seen, Order::default()).await;
    assert!(results[0].starts_with("Connect: ") && results[0].contains("refused"), "{results:?}");
    let pool =
        server.pool_with(Upstream { host: "no.such.host.invalid".into(), ..server.settings() });
    let results = send(&pool, &good(), &server.seen, Order::default()).await;
    assert!(results[0].starts_with("Connect: cannot resolve"), "{results:?}");
}

#[tokio::test]
async fn b04_silence_and_dripping_end_in_time() {
    let mut cases = tokio::task::JoinSet::new();
    for (at, act, words) in [
        ("banner", Act::Stall, "Greeting: no answer in time"),
        ("banner", Act::Drip, "Greeting: no answer in time"),
        ("AUTH XOAUTH2", Act::Drip, "Auth: no answer in time"),
        ("RCPT TO:<b@x>", Act::Stall, "Rcpt: no answer in time"),
        (".", Act::Drip, "Dot: no answer in time"),
    ] {
        cases.spawn(async move {
            let plan = move |_, line: &str| if line == at { act } else { Act::Usual };
            let server = Server::start(plan).await;
            let (command_timeout, data_timeout) =
                (Duration::from_millis(1500), Duration::from_secs(1));
            let settings = Upstream { command_timeout, data_timeout, ..server.settings() };
            let pool = server.pool_with(settings);
            assert_eq!(send(&pool, &good(), &server.seen, Order::default()).await, [words; 2]);
        });
    }
    cases.join_all().await;
}

#[tokio::test]
async fn b05_a_refused_login_is_told_in_the_servers_words() {
    let server = Server::start(|_, line| match line.starts_with("dXNl") {
        true => Act::Say("535 5.7.3 Authentication unsuccessful [X]\r\n"),
        false => Act::Usual,
    })
    .await;
    let results = send(&server.pool(), &good(), &server.seen, Order::default()).await;
    assert_eq!(results, ["Auth: 535 5.7.3 Authentication unsuccessful [X]"; 2]);
    assert_eq!(server.seen.count("MAIL"), 0);
}

#[tokio::test]
async fn a_stale_connection_is_replaced_once() {
    let second = |act: Act| {
        move |connection, is_there| match is_there && connection == 1 {
            true => act,
            false => Act::Usual,
        }
    };
    for (act, at) in [
        (Act::SayAndClose("250 2.0.0 OK <id> [Hostname=h]\r\n"), "."),
        (Act::SayAndClose("250 2.0.0 OK <id> [Hostname=h]\r\n421 4.4.1 timed out\r\n"), "."),
        (Act::Close, "MAIL"),
        (Act::SayAndClose("421 4.4.1 Connection timed out\r\n"), "MAIL"),
    ] {
        let mails = std::sync::atomic::AtomicUsize::new(0);
        let act = second(act);
        let server = Server::start(move |connection, line| {
            let is_mail = line.starts_with("MAIL");
            let count = mails.fetch_add(is_mail.into(), std::sync::atomic::Ordering::SeqCst);
            act(connection, line.starts_with(at) && (at == "." || count == 1))
        })
        .await;
        let pool = server.pool();
        for _ in 0..2 {
            assert_eq!(send(&pool, &good(), &server.seen, Order::default()).await, [TAKEN; 2]);
        }
        assert_eq!(server.seen.connections(), 2);
        assert_eq!(server.seen.count("commit"), 2);
    }
}

#[tokio::test]
async fn another_token_or_an_old_one_takes_a_new_connection() {
    let server = Server::start(|_, _| Act::Usual).await;
    let pool = server.pool();
    send(&pool, &good(), &server.seen, Order::default()).await;
    let other = credential("other", Duration::from_secs(3600));
    send(&pool, &other, &server.seen, Order::default()).await;
    assert_eq!(server.seen.connections(), 2);
    server.seen.wait_for("QUIT").await;
    let old = credential("old", Duration::ZERO);
    for _ in 0..2 {
        assert_eq!(send(&pool, &old, &server.seen, Order::default()).await, [TAKEN; 2]);
    }
    assert_eq!(server.seen.connections(), 4);
}

#[tokio::test]
async fn an_idle_connection_says_goodbye_after_a_while() {
    let server = Server::start(|_, _| Act::Usual).await;
    let settings = Upstream { idle_timeout: Duration::from_millis(20), ..server.settings() };
    let pool = server.pool_with(settings);
    assert_eq!(send(&pool, &good(), &server.seen, Order::default()).await, [TAKEN; 2]);
    server.seen.wait_for("QUIT").await;
    server.seen.wait_for("closed").await;
}

#[tokio::test]
async fn without_commit_there_is_no_dot() {
    let server = Server::start(|_, _| Act::Usual).await;
    let pool = server.pool();
    let order = Order { commit: Err("store is gone".into()), ..Order::default() };
    let results = send(&pool, &good(), &server.seen, order).await;
    assert_eq!(results, ["Body: store is gone"; 2]);
    let text = Text { chunk: b"text\r\n", times: 3, fails: true };
    let order = Order { text, ..Order::default() };
    assert_eq!(send(&pool, &good(), &server.seen, order).await, ["Body: disk is gone"; 2]);
    // A small body is read before anybody is called.
    assert_eq!((server.seen.connections(), server.seen.count("body of")), (1, 0));
    assert_eq!(server.seen.count("commit"), 1);
}

const CHUNKING: &str = "250-there\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH XOAUTH2\r\n";

/// A server that offers CHUNKING inside TLS, and does as `plan` says.
async fn chunking_server(
    plan: impl Fn(usize, &str) -> Act + Send + Sync + 'static,
) -> (Server, Pool) {
    let ehlos = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |connection, line| {
        let is_ehlo = line.starts_with("EHLO");
        // Every second one of a connection is the one inside TLS.
        match is_ehlo && ehlos.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 2 == 1 {
            true => Act::Say(CHUNKING),
            false => plan(connection, line),
        }
    })
    .await;
    let pool = server.pool();
    (server, pool)
}

const IN_CHUNKS: &str = "250 2.0.0 OK <chunk>";

#[tokio::test]
async fn a_small_mail_goes_in_one_flight_after_its_commit() {
    let (server, pool) = chunking_server(|_, _| Act::Usual).await;
    for _ in 0..2 {
        let order = Order::default();
        assert_eq!(send(&pool, &good(), &server.seen, order).await, [IN_CHUNKS; 2]);
    }
    assert_eq!((server.seen.connections(), server.seen.count("BDAT 20 LAST")), (1, 2));
    assert_eq!(server.seen.count("DATA"), 0);
    let lines = server.seen.lines.lock().unwrap();
    let at = |start: &str| lines.iter().position(|(_, line)| line.starts_with(start)).unwrap();
    assert!(at("commit") < at("MAIL"), "nothing is said before the commit");
}

#[tokio::test]
async fn a_large_mail_and_one_that_may_not_go_by_data() {
    let (server, pool) = chunking_server(|_, _| Act::Usual).await;
    let text = Text { chunk: &LINES, times: 2, fails: false };
    let order = Order { text, ..Order::default() };
    assert_eq!(send(&pool, &good(), &server.seen, order).await, [TAKEN; 2]);
    let settings = Upstream { chunking: crate::config::Chunking::Off, ..server.settings() };
    let pool = server.pool_with(settings);
    assert_eq!(send(&pool, &good(), &server.seen, Order::default()).await, [TAKEN; 2]);
    assert_eq!((server.seen.count("DATA"), server.seen.count("BDAT")), (2, 0));
}

#[tokio::test]
async fn a_flight_without_an_answer_is_of_unknown_fate_and_not_said_again() {
    let (server, pool) = chunking_server(|connection, line| {
        if connection == 1 && line.starts_with("MAIL") { Act::Close } else { Act::Usual }
    })
    .await;
    let results = send(&pool, &good(), &server.seen, Order::default()).await;
    assert_eq!(results, ["Dot: connection closed"; 2]);
    assert_eq!(server.seen.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_bids_farewell_is_replaced_and_the_commit_asked_once() {
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (server, pool) = chunking_server(move |connection, line| {
        let is_second = line.starts_with("MAIL")
            && connection == 1
            && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1;
        if is_second { Act::SayAndClose("421 4.4.1 timed out\r\n") } else { Act::Usual }
    })
    .await;
    for _ in 0..2 {
        let order = Order::default();
        assert_eq!(send(&pool, &good(), &server.seen, order).await, [IN_CHUNKS; 2]);
    }
    assert_eq!((server.seen.connections(), server.seen.count("commit")), (2, 2));
}

#[tokio::test]
async fn where_bdat_is_offered_and_not_known_the_mail_goes_by_data() {
    let (server, pool) = chunking_server(|_, line| {
        if line.starts_with("BDAT") { Act::Say("502 5.5.1 what\r\n") } else { Act::Usual }
    })
    .await;
    for _ in 0..2 {
        let order = Order::default();
        assert_eq!(send(&pool, &good(), &server.seen, order).await, [TAKEN; 2]);
    }
    // What it may have taken for commands stays on a connection of its own.
    assert_eq!((server.seen.connections(), server.seen.count("commit")), (2, 2));
    assert_eq!((server.seen.count("BDAT"), server.seen.count("DATA")), (1, 2));
}

static LINES: [u8; 64 * 1024] = {
    let mut lines = [b'.'; 64 * 1024];
    let mut at = 62;
    while at < lines.len() {
        lines[at] = b'\r';
        lines[at + 1] = b'\n';
        at += 64;
    }
    lines
};

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let server = Server::start(|_, _| Act::Usual).await;
    let text = Text { chunk: &LINES, times: 128, fails: false };
    let order = Order { text, ..Order::default() };
    assert_eq!(send(&server.pool(), &good(), &server.seen, order).await, [TAKEN; 2]);
    assert_eq!(server.seen.count("body of 8388608"), 1);
}

#[tokio::test]
async fn b04_a_server_that_gives_up_in_the_body_is_heard() {
    // Where it reads no more, who only writes would wait for ever.
    let table = [
        (Act::SayAndClose("552 5.3.4 too big\r\n"), "Body: 552 5.3.4 too big"),
        (Act::SayAndStall("552 5.3.4 too big\r\n"), "Body: 552 5.3.4 too big"),
        (Act::Stall, "Body: no answer in time"),
    ];
    for (act, words) in table {
        let plan = move |_, line: &str| if line == "body" { act } else { Act::Usual };
        let server = Server::start(plan).await;
        let text = Text { chunk: &LINES, times: 400, fails: false };
        let limit = Duration::from_millis(1500);
        let pool = server.pool_with(Upstream { command_timeout: limit, ..server.settings() });
        let results = send(&pool, &good(), &server.seen, Order { text, ..Order::default() }).await;
        assert_eq!(results, [words; 2]);
        assert_eq!(server.seen.count("commit"), 0);
    }
}

#[tokio::test]
async fn b04_an_end_while_the_commit_is_under_way_leaves_no_doubt() {
    for (words, result) in [
        ("", "Body: connection closed"),
        ("421 4.3.2 Service not active\r\n", "Body: 421 4.3.2 Service not active"),
    ] {
        let server = Server::start(move |_, line| match line {
            "body" => Act::GiveUpInCommit(words),
            _ => Act::Usual,
        })
        .await;
        let order = Order { commit_waits_for: "shut", ..Order::default() };
        assert_eq!(send(&server.pool(), &good(), &server.seen, order).await, [result; 2]);
    }
}

#[tokio::test]
async fn a_token_that_grew_old_on_the_shelf_is_not_used() {
    let server = Server::start(|_, _| Act::Usual).await;
    let pool = server.pool();
    let short = credential("tok", Duration::from_millis(300));
    send(&pool, &short, &server.seen, Order::default()).await;
    tokio::time::sleep_until(short.usable_until.into()).await;
    assert_eq!(send(&pool, &good(), &server.seen, Order::default()).await, [TAKEN; 2]);
    assert_eq!(server.seen.connections(), 2);
}

async fn look(server: &Server) -> Probe {
    let tls = client_config(Some(server.ca.path())).unwrap();
    let envelope = Envelope {
        sender: Some(Address::parse("s@x").unwrap()),
        body: BodyKind::Undeclared,
        smtputf8: false,
        ret: None,
        envid: None,
        recipients: Vec::new(),
    };
    probe(server.settings(), "me.example".into(), tls, &good(), &envelope).await
}

#[tokio::test]
async fn a_probe_asks_about_the_sender_and_leaves() {
    let server = Server::start(|_, _| Act::Usual).await;
    let seen = look(&server).await;
    assert_eq!(seen.offer.mechanisms, ["LOGIN", "XOAUTH2"]);
    assert_eq!(seen.sender.unwrap().code, 250);
    server.seen.wait_for("QUIT").await;
    assert_eq!((server.seen.count("MAIL"), server.seen.count("RSET")), (1, 1));
    assert_eq!((server.seen.count("RCPT"), server.seen.count("DATA")), (0, 0));
}

#[tokio::test]
async fn a_probe_says_where_it_ended_and_what_it_had_seen() {
    for (line, act, stage, offers) in [
        ("EHLO", Act::SayAndClose("421 4.3.2 no\r\n"), Stage::Hello, false),
        ("AUTH", Act::Say("504 5.7.4 Unrecognized authentication type\r\n"), Stage::Auth, true),
        ("MAIL", Act::Say("550 5.1.8 Access denied\r\n"), Stage::Mail, true),
        ("MAIL", Act::Close, Stage::Mail, true),
    ] {
        let server = Server::start(move |_, said| match said.starts_with(line) {
            true => act,
            false => Act::Usual,
        })
        .await;
        let seen = look(&server).await;
        assert_eq!(seen.sender.unwrap_err().stage, stage, "{line}");
        assert_eq!(!seen.offer.extensions.is_empty(), offers, "{line}");
    }
}

#[tokio::test]
async fn a_probe_of_tls_says_no_more_than_it_takes() {
    let server = Server::start(|_, _| Act::Usual).await;
    let tls = client_config(Some(server.ca.path())).unwrap();
    let peer = probe_tls(server.settings(), "me.example".into(), tls).await.unwrap();
    assert_eq!(peer.port(), server.port);
    assert_eq!(server.seen.count("AUTH"), 0);
    let distrusting = client_config(None).unwrap();
    let refused = probe_tls(server.settings(), "me.example".into(), distrusting).await;
    assert_eq!(refused.unwrap_err().stage, Stage::Tls);
}
