//! TLS towards servers, of mail and of tokens: whom we trust, and what a failed handshake means in plain words.
//!
//! It promises that chain and host name are always verified; there is no switch to turn that off. Trusted
//! are the system's certificates, the operator's file besides them, and, where the system has none (an
//! empty container), the roots of Mozilla's list that are compiled in. The system's are read at the first
//! handshake, not at the start: three hundred files would be most of it.

mod certificate;

use certificate::Names;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Why there is nobody to trust. All of them are the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is no PEM.
    #[error("cannot read certificates from {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file holds no certificate: often it holds a key, or DER.
    #[error("{} holds no certificate in PEM", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// rustls refused what it was given.
    #[error("cannot set up TLS: {0}")]
    Setup(String),
}

/// TLS 1.2 and 1.3 with verification, for all connections to one server.
///
/// `ca_file` holds certificates trusted besides the system's, in PEM.
///
/// # Errors
/// [`TrustError`] where the file is no good.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let extra = ca_file.map(read_roots).transpose()?.unwrap_or_default();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let setup = |error: Error| TrustError::Setup(error.to_string());
    for root in &extra {
        RootCertStore::empty().add(root.clone()).map_err(setup)?;
    }
    let explaining = Explaining { provider: provider.clone(), extra, inner: OnceLock::new() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(explaining))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let wrong = |error: rustls::pki_types::pem::Error| TrustError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let roots: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(wrong)?
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    if roots.is_empty() { Err(TrustError::Empty { path: path.to_owned() }) } else { Ok(roots) }
}

fn verifier(
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    use rustls_platform_verifier::Verifier;
    match Verifier::new(provider.clone()) {
        Ok(system) if extra.is_empty() => Ok(Arc::new(system)),
        Ok(_) => Ok(Arc::new(Verifier::new_with_extra_roots(extra, provider.clone())?)),
        Err(error) => {
            tracing::info!(%error, "no certificates in the system's store: using the built-in list");
            bundled(extra, provider)
        }
    }
}

fn bundled(
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in extra {
        roots.add(root)?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
        .map_err(|error| Error::General(error.to_string()))
}

/// Verifies as `inner` does and puts its no into words while the certificate is at hand.
#[derive(Debug)]
struct Explaining {
    provider: Arc<CryptoProvider>,
    /// Trusted besides the system's.
    extra: Vec<CertificateDer<'static>>,
    /// Made when it is needed first.
    inner: OnceLock<Result<Arc<dyn ServerCertVerifier>, Error>>,
}

impl Explaining {
    fn inner(&self) -> Result<&Arc<dyn ServerCertVerifier>, Error> {
        let made = self.inner.get_or_init(|| verifier(self.extra.clone(), &self.provider));
        made.as_ref().map_err(Error::clone)
    }
}

/// A connection that did not become safe, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Distrust {
    /// What is wrong, with the names that the certificate shows.
    pub what: String,
    /// The next step.
    pub remedy: &'static str,
}

impl Distrust {
    /// Where nothing more is known.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: UNSAFE }
    }
}

/// For what is not known better.
const UNSAFE: &str = "no safe connection; no token was sent. Check host, port and tls of [account.upstream], and what \
                      stands between here and there";
const EXPIRED: &str = "the server's operator must renew it; no token was sent. If the date of this machine is wrong: \
                       timedatectl set-ntp true";
const CLOCK: &str = "set this machine's clock: timedatectl set-ntp true. No token was sent";
const NAME: &str = "set host to the server's own name (smtp.office365.com), never an address or an alias of yours; if it is \
                    right, somebody on the way answers in the server's place. No token was sent";
const ISSUER: &str = "if a firewall, proxy or virus scanner is meant to open TLS on the way, put the certificate of its CA \
                      (PEM) into ca_file; otherwise exempt this connection from inspection. No token was sent";
const PORT: &str = "587 goes with tls = \"starttls\", 465 with tls = \"implicit\": compare port and tls of \
                    [account.upstream]";
const VERSION: &str = "the server, or an inspecting firewall in between, must speak TLS 1.2 or 1.3";

impl ServerCertVerifier for Explaining {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner()?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| match error {
                Error::InvalidCertificate(error) => {
                    let chain_end = intermediates.last().unwrap_or(end_entity);
                    let words = distrust(&error, end_entity, chain_end, &server_name.to_str(), now);
                    let other = OtherError(Arc::new(words));
                    Error::InvalidCertificate(CertificateError::Other(other))
                }
                other => other,
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn distrust(
    error: &CertificateError,
    certificate: &[u8],
    chain_end: &[u8],
    host: &str,
    now: UnixTime,
) -> Distrust {
    let subject = Names::read(certificate).map_or_else(String::new, |names| names.subject);
    let (what, remedy) = match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            let (end, now) = (date(*not_after), date(now));
            (format!("the certificate of {host} expired on {end}, now is {now}"), EXPIRED)
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let (begin, now) = (date(*not_before), date(now));
            let what = format!(
                "the certificate of {host} is valid from {begin} on, but our clock says {now}"
            );
            (what, CLOCK)
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().take(5).map(|name| wire_name(name)).collect();
            let names = if names.is_empty() { subject } else { names.join(", ") };
            (format!("the certificate is for {names}, not for {host}"), NAME)
        }
        CertificateError::UnknownIssuer => {
            let issuer = Names::read(chain_end).map_or_else(String::new, |names| names.issuer);
            let what = format!(
                "the certificate of {host} (for {subject:?}) comes from {issuer:?}, which is not trusted here: perhaps \
                 a proxy on the way opens TLS"
            );
            (what, ISSUER)
        }
        other => (
            format!("the certificate of {host} (for {subject:?}) is not accepted: {other}"),
            UNSAFE,
        ),
    };
    Distrust { what, remedy }
}

/// `DnsName("mail.example")` as the library writes it, to `mail.example`.
fn wire_name(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).replace(char::is_control, "?")
}

fn date(time: UnixTime) -> String {
    let since = std::time::Duration::from_secs(time.as_secs());
    // Later years than the calendar of the library knows would panic there.
    match SystemTime::UNIX_EPOCH.checked_add(since) {
        Some(at) if time.as_secs() < 253_402_300_800 => httpdate::fmt_http_date(at),
        _ => "a date beyond all years".to_owned(),
    }
}

/// A failed handshake in words.
pub fn explain(error: &std::io::Error, host: &str) -> Distrust {
    match refusal(error) {
        Some(refusal) => in_words(refusal, host),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Distrust::new(format!("{host} closed the connection during the TLS handshake"))
        }
        None => Distrust::new(format!("TLS with {host}: {error}")),
    }
}

/// What TLS itself said, however deep other layers have wrapped it.
pub fn refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref() {
            return Some(refusal);
        }
        next = match error.downcast_ref::<std::io::Error>() {
            // Its `source` leaves out the error that it wraps.
            Some(wrapping) => wrapping.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    None
}

/// What TLS said, in words for the operator.
pub fn in_words(refusal: &Error, host: &str) -> Distrust {
    let with = |what, remedy| Distrust { what, remedy };
    match refusal {
        Error::InvalidCertificate(CertificateError::Other(OtherError(words))) => {
            words.downcast_ref().cloned().unwrap_or_else(|| Distrust::new(words.to_string()))
        }
        Error::InvalidMessage(_) => with(format!("{host} does not speak TLS here"), PORT),
        Error::PeerIncompatible(why) => {
            with(format!("{host} offers no TLS that we accept (1.2 and 1.3): {why:?}"), VERSION)
        }
        Error::AlertReceived(alert) => Distrust::new(format!("{host} refused TLS: {alert:?}")),
        other => Distrust::new(format!("TLS with {host}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for text in ["", "no PEM at all", key.as_str()] {
            let file = file(text);
            let error = client_config(Some(file.path())).unwrap_err();
            assert!(matches!(error, TrustError::Empty { .. }), "{error}");
            assert!(error.to_string().contains(&file.path().display().to_string()));
        }
        let broken = file("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
        let error = client_config(Some(broken.path())).unwrap_err();
        assert!(matches!(error, TrustError::Read { .. }), "{error}");
        let error = client_config(Some(Path::new("/no/such/file.pem"))).unwrap_err();
        assert!(error.to_string().starts_with("cannot read certificates from /no/such/file.pem: "));
        let nonsense = file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(client_config(Some(nonsense.path())).is_err());
    }

    #[test]
    fn without_a_system_store_the_built_in_list_and_the_file_are_trusted() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        let leaf = rcgen::CertificateParams::new(vec!["mail.example".to_owned()]).unwrap();
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&leaf_key, &rcgen::Issuer::new(params, key)).unwrap();
        let name = ServerName::try_from("mail.example").unwrap();
        let verify = |extra| {
            let verifier = bundled(extra, &provider).unwrap();
            verifier.verify_server_cert(leaf.der(), &[], &name, &[], UnixTime::now()).map(|_| ())
        };
        assert_eq!(verify(vec![root]), Ok(()));
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(verify(Vec::new()), Err(unknown));
    }

    #[test]
    fn failed_handshakes_are_told_in_plain_words() {
        use rustls::{AlertDescription, InvalidMessage};
        let table = [
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "does not speak TLS here"),
            (
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                "refused TLS: ProtocolVersion",
            ),
            (Error::NoCertificatesPresented, "TLS with h: "),
        ];
        for (error, words) in table {
            let text = explain(&std::io::Error::other(error), "h").what;
            assert!(text.contains(words), "{text}");
        }
        let end = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        assert!(explain(&end, "h").what.contains("closed the connection during the TLS handshake"));
    }

    #[test]
    fn dates_of_any_certificate_can_be_written() {
        let at = |secs| date(UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs)));
        assert_eq!(at(1_580_688_000), "Mon, 03 Feb 2020 00:00:00 GMT");
        assert_eq!(at(253_402_300_799), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(at(u64::MAX), "a date beyond all years");
    }
}
