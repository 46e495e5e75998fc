//! Our own front door as our own commands reach it: TCP, a Unix socket, or TLS from the first octet.
//!
//! The certificate is not verified: the address is one of this machine, named in its configuration, and no
//! secret goes over it. It must never be used for anything but our own listeners.

use crate::config::{Auth, Config, ListenAddress, Listener, Mode, TlsStart};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the daemon may take for one answer. Durable storing is part of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same where it asks the mail server first, which may take ten minutes for the end of a mail
/// (RFC 5321 §4.5.3.2.6).
const DIRECT_PATIENCE: Duration = Duration::from_secs(11 * 60);

/// One address of a listener, and what it asks of a client.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where it is.
    pub address: ListenAddress,
    is_implicit: bool,
    /// We count among its balancers, so we have to introduce ourselves.
    is_balanced: bool,
    /// Mail passes through it: an answer may take as long as the mail server's.
    is_direct: bool,
    rank: u8,
}

impl From<SocketAddr> for Door {
    fn from(address: SocketAddr) -> Self {
        let address = ListenAddress::Tcp(reachable(address));
        Self { address, is_implicit: false, is_balanced: false, is_direct: false, rank: 0 }
    }
}

impl From<PathBuf> for Door {
    fn from(path: PathBuf) -> Self {
        let address = ListenAddress::Unix(path);
        Self { address, is_implicit: false, is_balanced: false, is_direct: false, rank: 0 }
    }
}

impl Door {
    /// Every address of a listener.
    pub fn all(listener: &Listener) -> Vec<Self> {
        let start = listener.tls.as_ref().map(|tls| tls.start);
        let is_implicit = start == Some(TlsStart::Implicit);
        let of = |address| {
            let address = match address {
                ListenAddress::Tcp(address) => ListenAddress::Tcp(reachable(address)),
                unix => unix,
            };
            let is_balanced = match &address {
                ListenAddress::Tcp(at) if at.ip().is_loopback() => {
                    listener.proxy_protocol.iter().any(|network| network.contains(at.ip()))
                }
                _ => false,
            };
            let rank = match (&address, start) {
                (ListenAddress::Tcp(_), None) => 0,
                (ListenAddress::Tcp(_), Some(TlsStart::StartTls)) => 1,
                (ListenAddress::Unix(_), None | Some(TlsStart::StartTls)) => 2,
                (_, Some(TlsStart::Implicit)) => 3,
            };
            let login = if listener.auth == Auth::Required { 10 } else { 0 };
            let is_direct = matches!(listener.mode, Mode::Direct(_));
            let wait = if is_direct { 5 } else { 0 };
            Self { address, is_implicit, is_balanced, is_direct, rank: rank + wait + login }
        };
        listener.doors().map(of).collect()
    }

    /// Those of all listeners, the one first that asks least of a client: no login, no waiting for the mail
    /// server, no TLS, TCP before Unix sockets. Ports that the system chooses are left out: nobody can know them.
    pub fn by_ease(listeners: &[Listener]) -> Vec<Self> {
        let is_known = |door: &Self| match &door.address {
            ListenAddress::Tcp(address) => address.port() != 0,
            ListenAddress::Unix(_) => true,
        };
        let mut doors: Vec<_> = listeners.iter().flat_map(Self::all).filter(is_known).collect();
        doors.sort_by_key(|door| door.rank);
        doors
    }

    /// The one that asks least of a client.
    pub fn easiest(config: &Config) -> Option<Self> {
        Self::by_ease(&config.listeners).into_iter().next()
    }

    /// How long one answer may take.
    pub fn patience(&self) -> Duration {
        if self.is_direct { DIRECT_PATIENCE } else { PATIENCE }
    }

    /// Goes in. `patience`: for connecting, and for each read and write.
    ///
    /// # Errors
    /// Nobody there, or no TLS.
    pub fn connect(&self, patience: Duration) -> std::io::Result<Stream> {
        match &self.address {
            ListenAddress::Tcp(address) => {
                let mut stream = TcpStream::connect_timeout(address, patience)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                if self.is_balanced {
                    stream.write_all(b"PROXY UNKNOWN\r\n")?;
                }
                self.enter(stream, address.ip())
            }
            ListenAddress::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                self.enter(stream, Ipv4Addr::LOCALHOST.into())
            }
        }
    }

    /// The bare socket, for a client that speaks for itself.
    ///
    /// # Errors
    /// Nobody there, or the listener begins with TLS.
    pub fn socket(&self, patience: Duration) -> std::io::Result<socket2::Socket> {
        if self.is_implicit {
            return Err(std::io::Error::other("this listener begins with TLS"));
        }
        let mut socket: socket2::Socket = match &self.address {
            ListenAddress::Tcp(address) => TcpStream::connect_timeout(address, patience)?.into(),
            ListenAddress::Unix(path) => UnixStream::connect(path)?.into(),
        };
        if self.is_balanced {
            socket.write_all(b"PROXY UNKNOWN\r\n")?;
        }
        Ok(socket)
    }

    fn enter<S: Read + Write + 'static>(&self, stream: S, name: IpAddr) -> std::io::Result<Stream> {
        if !self.is_implicit {
            return Ok(Stream(Box::new(stream)));
        }
        let client = ClientConnection::new(anybody()?, ServerName::IpAddress(name.into()));
        let client = client.map_err(std::io::Error::other)?;
        Ok(Stream(Box::new(StreamOwned::new(client, stream))))
    }
}

/// A listener on all addresses is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

trait Duplex: Read + Write {}
impl<S: Read + Write> Duplex for S {}

/// A connection to the daemon.
pub struct Stream(Box<dyn Duplex>);

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl Read for Stream {
    fn read(&mut self, octets: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(octets)
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.write(octets)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// TLS with whoever is there.
fn anybody() -> std::io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
