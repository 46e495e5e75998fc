//! A bare SMTP client for the tests: it writes what it is told and reads lines, nothing more.

use crate::sandbox::{Limits, Options, Sandbox};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Far more than any answer takes; only a fault of the server reaches it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for S {}

/// A connection.
pub(super) struct Client {
    stream: BufReader<Box<dyn Stream>>,
}

impl Client {
    /// Connects; the greeting is not read.
    pub(super) async fn connect(sandbox: &Sandbox) -> Self {
        let stream = TcpStream::connect(sandbox.smtp_addr()).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        Self { stream: BufReader::new(Box::new(stream)) }
    }

    /// Connected, inside TLS and after the second EHLO.
    pub(super) async fn inside_tls(sandbox: &Sandbox) -> Self {
        let mut client = Self::connect(sandbox).await;
        client.reply().await;
        client.ask("EHLO client").await;
        assert_eq!(client.ask("STARTTLS").await, "220 2.0.0 SMTP server ready\r\n");
        let mut client = client.handshake(sandbox, "localhost").await.expect("TLS");
        client.ask("EHLO client").await;
        client
    }

    /// Logged in with a token that the application got.
    pub(super) async fn logged_in(sandbox: &Sandbox) -> Self {
        let mut client = Self::inside_tls(sandbox).await;
        let answer = client.log_in("erp@contoso.com", &app_token(sandbox)).await;
        assert_eq!(answer, "235 2.7.0 Authentication successful\r\n");
        client
    }

    /// TLS for this name; trusts the sandbox's authority only.
    pub(super) async fn handshake(self, sandbox: &Sandbox, name: &str) -> io::Result<Self> {
        assert!(self.stream.buffer().is_empty(), "clear text before TLS");
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(sandbox.ca_pem().as_bytes()).expect("PEM"))
            .expect("root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("name");
        let stream =
            TlsConnector::from(Arc::new(config)).connect(name, self.stream.into_inner()).await?;
        Ok(Self { stream: BufReader::new(Box::new(stream)) })
    }

    /// Writes octets as they are.
    pub(super) async fn write(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.expect("write");
        self.stream.flush().await.expect("flush");
    }

    /// One whole reply, all its lines; empty at the end of the connection. A server that stays silent
    /// fails the test instead of hanging it.
    pub(super) async fn reply(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.lines()).await.expect("the server says something")
    }

    async fn lines(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            match self.stream.read_line(&mut reply).await {
                Ok(0) | Err(_) => return reply,
                Ok(_) if reply.as_bytes().get(start + 3) == Some(&b'-') => {}
                Ok(_) => return reply,
            }
        }
    }

    /// Writes a command, reads its reply.
    pub(super) async fn ask(&mut self, command: &str) -> String {
        self.write(format!("{command}\r\n")).await;
        self.reply().await
    }

    /// AUTH XOAUTH2 in two steps.
    pub(super) async fn log_in(&mut self, user: &str, token: &Secret) -> String {
        assert_eq!(self.ask("AUTH XOAUTH2").await, "334 \r\n");
        self.ask(&xoauth2(user, token)).await
    }

    /// MAIL, RCPT, DATA and this body; the reply to the dot.
    pub(super) async fn send(&mut self, body: &str) -> String {
        assert_eq!(self.ask("MAIL FROM:<erp@contoso.com>").await, "250 2.1.0 Sender OK\r\n");
        assert_eq!(self.ask("RCPT TO:<a@x.example>").await, "250 2.1.5 Recipient OK\r\n");
        assert_eq!(self.ask("DATA").await, "354 Start mail input; end with <CRLF>.<CRLF>\r\n");
        self.write(body).await;
        self.ask(".").await
    }

    /// Whether the server has closed, with or without a word of TLS.
    pub(super) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        closed.is_ok() && rest.is_empty()
    }
}

/// The mail most tests send.
pub(super) const MAIL: &str =
    "From: erp@contoso.com\r\nMessage-ID: <1@erp.example>\r\n\r\nHello\r\n";
/// The acceptance of [`MAIL`].
pub(super) const ACCEPTED: &str =
    "250 2.0.0 OK <1@erp.example> [Hostname=SBX1P282MB2635.SBXP282.PROD.OUTLOOK.COM]\r\n";

/// The client's answer, base 64.
pub(super) fn xoauth2(user: &str, token: &Secret) -> String {
    STANDARD.encode(format!("user={user}\x01auth=Bearer {}\x01\x01", token.expose()))
}

/// A token of the application, as the token endpoint gives it.
pub(super) fn app_token(sandbox: &Sandbox) -> Secret {
    use crate::sandbox::token::{Grant, Owner};
    let grant = Grant {
        owner: Owner::Application,
        client_id: sandbox.options().client_id.clone(),
        audience: "https://outlook.office365.com".into(),
        permissions: vec!["SMTP.SendAsApp".into()],
        expires_in: 3599,
    };
    let faults = sandbox.faults().token;
    let now = std::time::SystemTime::now();
    sandbox.world.tokens().give(sandbox.options(), grant, &faults, now)
}

/// A sandbox with these limits.
pub(super) async fn sandbox(limits: Limits) -> Sandbox {
    Sandbox::start(Options { limits, ..Options::default() }).await.expect("sandbox")
}
