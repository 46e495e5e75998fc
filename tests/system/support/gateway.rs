//! A firewall that opens TLS: it stands before a sandbox with a certificate of an authority of its own,
//! reads along, and goes on in TLS of its own behind.

use super::world::{RUNTIME, World};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A running one; it ends with the process.
pub struct Gateway {
    port: u16,
    authority: String,
}

impl Gateway {
    /// Before the mail server, at STARTTLS.
    pub fn before_smtp(world: &World) -> Self {
        let (server, authority) = certificate();
        let trusted = CertificateDer::from_pem_slice(world.sandbox.ca_pem().as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(trusted).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let (acceptor, connector) =
            (TlsAcceptor::from(server), TlsConnector::from(Arc::new(client)));
        let behind = world.sandbox.smtp_addr();
        let port = listen(move |outer| {
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            async move {
                let (outer, inner) = until_starttls(outer, behind).await?;
                let name = ServerName::try_from("localhost").unwrap();
                let mut inner = connector.connect(name, inner).await.ok()?;
                let mut outer = acceptor.accept(outer).await.ok()?;
                tokio::io::copy_bidirectional(&mut outer, &mut inner).await.ok().map(drop)
            }
        });
        Self { port, authority }
    }

    /// Before the token endpoint, which speaks plain HTTP behind it.
    pub fn before_web(world: &World) -> Self {
        let (server, authority) = certificate();
        let acceptor = TlsAcceptor::from(server);
        let behind: SocketAddr =
            world.sandbox.web_url().trim_start_matches("http://").parse().unwrap();
        let port = listen(move |outer| {
            let acceptor = acceptor.clone();
            async move {
                let mut outer = acceptor.accept(outer).await.ok()?;
                let mut inner = TcpStream::connect(behind).await.ok()?;
                tokio::io::copy_bidirectional(&mut outer, &mut inner).await.ok().map(drop)
            }
        });
        Self { port, authority }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of its authority, PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

/// Serves each connection by `serve`.
fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    RUNTIME.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((outer, _)) = listener.accept().await {
                tokio::spawn(serve(outer));
            }
        });
        port
    })
}

/// Passes lines on both ways until the 220 that answers STARTTLS.
async fn until_starttls(outer: TcpStream, behind: SocketAddr) -> Option<(TcpStream, TcpStream)> {
    let (mut outer, inner) = (BufReader::new(outer), TcpStream::connect(behind).await.ok()?);
    let mut inner = BufReader::new(inner);
    let mut command = String::new();
    loop {
        loop {
            let mut line = String::new();
            inner.read_line(&mut line).await.ok().filter(|count| *count > 0)?;
            outer.write_all(line.as_bytes()).await.ok()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        if command.starts_with("STARTTLS") {
            return Some((outer.into_inner(), inner.into_inner()));
        }
        command.clear();
        outer.read_line(&mut command).await.ok().filter(|count| *count > 0)?;
        inner.write_all(command.as_bytes()).await.ok()?;
    }
}

/// A certificate for localhost, of an authority whose certificate is given too.
fn certificate() -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Contoso Inspection CA");
    params.distinguished_name.push(DnType::OrganizationName, "Contoso AG");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.distinguished_name.push(DnType::OrganizationName, "Contoso Web Gateway");
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    (Arc::new(config.with_single_cert(vec![leaf], key.into()).unwrap()), authority)
}
