//! A client that says and expects over any kind of stream: Unix sockets, TLS, TCP behind a balancer.

use super::daemon::PATIENCE;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

/// One connection.
pub struct Talk<S> {
    reader: BufReader<S>,
}

/// Inside TLS.
pub type Secure = StreamOwned<ClientConnection, TcpStream>;

/// Connects over TCP; nothing is read yet.
pub fn tcp(address: SocketAddr) -> Talk<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Talk { reader: BufReader::new(stream) }
}

/// Connects to a Unix socket; nothing is read yet.
pub fn unix(path: &Path) -> Talk<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Talk { reader: BufReader::new(stream) }
}

/// TLS from the first octet, trusting `pairs` and nobody else.
pub fn implicit(address: SocketAddr, pairs: &[&Pair]) -> std::io::Result<Talk<Secure>> {
    tcp(address).secured(pairs)
}

impl<S: Read + Write> Talk<S> {
    /// Writes octets as they are.
    pub fn write(&mut self, octets: &[u8]) {
        self.reader.get_mut().write_all(octets).unwrap();
    }

    /// One whole reply, lines joined by `\n`; an end of the stream is an error.
    pub fn reply(&mut self) -> std::io::Result<String> {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            reply.push_str(line.trim_end());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(reply);
            }
            reply.push('\n');
        }
    }

    /// A command and its reply.
    pub fn say(&mut self, command: &str) -> String {
        self.write(format!("{command}\r\n").as_bytes());
        self.reply().unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// A small mail from EHLO on; it must be taken.
    pub fn mail(&mut self, subject: &str) {
        assert!(self.say("EHLO client").starts_with("250"));
        assert!(self.say("MAIL FROM:<erp@contoso.com>").starts_with("250"));
        assert!(self.say("RCPT TO:<ann@example.org>").starts_with("250"));
        assert!(self.say("DATA").starts_with("354"));
        let reply = self.say(&format!("From: erp@contoso.com\r\nSubject: {subject}\r\n\r\nx\r\n."));
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }

    /// The stream itself.
    pub fn stream(&self) -> &S {
        self.reader.get_ref()
    }
}

impl Talk<TcpStream> {
    /// The handshake, to its end.
    pub fn secured(self, pairs: &[&Pair]) -> std::io::Result<Talk<Secure>> {
        assert!(self.reader.buffer().is_empty(), "something came before the handshake");
        let mut roots = RootCertStore::empty();
        for pair in pairs {
            roots.add(pair.der.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = self.reader.into_inner();
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        Ok(Talk { reader: BufReader::new(StreamOwned::new(client, stream)) })
    }
}

impl Talk<Secure> {
    /// Whether this pair's certificate was shown.
    pub fn was_shown(&self, pair: &Pair) -> bool {
        self.stream().conn.peer_certificates().is_some_and(|chain| chain[0] == pair.der)
    }
}

/// A certificate for localhost and its key.
pub struct Pair {
    pub der: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Pair {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Self { der: certificate.der().clone(), pem: certificate.pem(), key: key.serialize_pem() }
    }

    /// As `relay.pem` and `relay.key`.
    pub fn write(&self, dir: &Path) {
        let key = dir.join("relay.key");
        std::fs::write(&key, &self.key).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(dir.join("relay.pem"), &self.pem).unwrap();
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// The keys of a listener that shows what [`Pair::write`] wrote.
pub fn tls(start: &str) -> String {
    format!("tls = \"{start}\"\ncertificate = \"relay.pem\"\nkey = \"relay.key\"\n")
}
