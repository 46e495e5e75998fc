//! lettre, a Rust library, within this process.

use super::{Job, Login, Outcome, PASSWORD, SENDER, USER};
use lettre::address::Envelope;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};
use std::error::Error;

pub fn lettre(jobs: &[Job]) -> Vec<Outcome> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    jobs.iter().map(|job| send(job).map_err(|error| error.to_string())).collect()
}

fn send(job: &Job) -> Result<(), Box<dyn Error>> {
    let mut transport = SmtpTransport::builder_dangerous("127.0.0.1")
        .port(job.port)
        .pool_config(PoolConfig::new().max_size(1));
    if job.way.starttls {
        let authority = Certificate::from_pem(&std::fs::read(&job.authority)?)?;
        let parameters = TlsParameters::builder("127.0.0.1".into()).add_root_certificate(authority);
        transport = transport.tls(Tls::Required(parameters.build()?));
    }
    let mechanism = match job.way.login {
        Login::None => None,
        Login::Plain => Some(Mechanism::Plain),
        Login::Login => Some(Mechanism::Login),
    };
    if let Some(mechanism) = mechanism {
        transport = transport
            .credentials(Credentials::new(USER.into(), PASSWORD.into()))
            .authentication(vec![mechanism]);
    }
    let transport = transport.build();
    let recipients = job.recipients.iter().map(|address| address.parse());
    let envelope = Envelope::new(Some(SENDER.parse()?), recipients.collect::<Result<_, _>>()?)?;
    for file in &job.files {
        // It puts CRLF before the final dot whether the mail ends in one or not.
        let mail = std::fs::read(file)?;
        transport.send_raw(&envelope, mail.strip_suffix(b"\r\n").unwrap_or(&mail))?;
    }
    transport.shutdown();
    Ok(())
}

/// As Cargo.lock has it.
pub fn lettre_version() -> String {
    let lock = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
    let version = lock.split("name = \"lettre\"\nversion = \"").nth(1).unwrap_or("");
    format!("lettre {}", version.split('"').next().unwrap_or(""))
}
