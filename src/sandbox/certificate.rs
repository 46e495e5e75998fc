//! A throw-away authority and the certificates of the mail server, the right one and three wrong ones.
//!
//! Everything is made anew at each start; no key ever touches a disk.

use super::faults::Certificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

/// The certificates, ready for handshakes.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The authority, PEM: what a client has to trust.
    pub(super) authority: String,
    good: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    wrong_name: Arc<ServerConfig>,
    unknown_authority: Arc<ServerConfig>,
}

/// Making certificates failed. Nobody's fault; the message says where.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The key or the certificate.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// TLS does not take it.
    #[error("cannot use the certificate: {0}")]
    Use(#[from] rustls::Error),
}

impl Certificates {
    /// Makes an authority and certificates for `localhost`, 127.0.0.1, ::1 and this name.
    pub(super) fn make(host_name: &str) -> Result<Self, CertificateError> {
        let (pem, issuer) = authority("submitd sandbox (throw-away)")?;
        let (_, stranger) = authority("nobody knows me")?;
        let ours = ["localhost", "127.0.0.1", "::1", host_name];
        Ok(Self {
            authority: pem,
            good: server(&issuer, &ours, false)?,
            expired: server(&issuer, &ours, true)?,
            wrong_name: server(&issuer, &["mail.elsewhere.example"], false)?,
            unknown_authority: server(&stranger, &ours, false)?,
        })
    }

    /// The configuration of a handshake that shows this certificate.
    pub(super) fn config(&self, certificate: Certificate) -> Arc<ServerConfig> {
        Arc::clone(match certificate {
            Certificate::Good => &self.good,
            Certificate::Expired => &self.expired,
            Certificate::WrongName => &self.wrong_name,
            Certificate::UnknownAuthority => &self.unknown_authority,
        })
    }
}

/// A self-signed authority: its certificate in PEM, and what signs with it.
fn authority(name: &str) -> Result<(String, Issuer<'static, KeyPair>), CertificateError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), Issuer::new(params, key)))
}

fn server(
    issuer: &Issuer<'static, KeyPair>,
    names: &[&str],
    expired: bool,
) -> Result<Arc<ServerConfig>, CertificateError> {
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, names[0]);
    if expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok(Arc::new(config))
}
