//! The keys that say which application asks for tokens, and what it proves itself with.
//!
//! It promises one reading for every grant in which an application asks: whoever can send a secret can send
//! a certificate's proof. It must not say which grant that is.

use super::account::{is_guid, secret};
use super::check::Surroundings;
use super::grant::{file, text_or};
use super::secrets::Secrecy;
use super::section::Section;
use super::{Application, Certificate, Proof, SecretFile};
use crate::secret::Secret;

/// The keys of an application.
pub(super) const APPLICATION: [&str; 7] = [
    "client_id",
    "client_secret",
    "client_secret_file",
    "certificate",
    "key",
    "certificate_password",
    "certificate_password_file",
];

const CLIENT_ID_REMEDY: &str =
    "write the application (client) id shown on the app registration's overview page";

/// What was written of it.
pub(super) struct Written {
    pub client_id: Option<String>,
    client_secret: Option<Secret>,
    certificate: Option<SecretFile>,
    key: Option<SecretFile>,
    certificate_password: Option<Secret>,
}

/// Reads all keys, whatever the grant. `offered`: the id that the host names, or nothing.
pub(super) fn read(section: &Section<'_>, around: &Surroundings<'_>, offered: String) -> Written {
    // Without a key of its own the certificate's file holds it, and must be guarded like one.
    let secrecy = if section.is_given("key") { Secrecy::Public } else { Secrecy::Private };
    Written {
        client_id: text_or(section, "client_id", offered),
        client_secret: secret(section, around, "client_secret", "client_secret_file"),
        certificate: file(section, around, "certificate", None, secrecy),
        key: file(section, around, "key", None, Secrecy::Private),
        certificate_password: secret(
            section,
            around,
            "certificate_password",
            "certificate_password_file",
        ),
    }
}

impl Written {
    /// Whether a certificate is meant, be it sound or not.
    pub fn has_certificate(&self, section: &Section<'_>) -> bool {
        section.is_given("certificate") || section.is_given("key")
    }

    /// The id, which must be there.
    pub fn client_id(&self, section: &Section<'_>) -> Option<String> {
        if self.client_id.is_none() && !section.is_given("client_id") {
            section.wrong("client_id", "is missing", CLIENT_ID_REMEDY);
        }
        self.client_id.clone()
    }

    /// The application; without secret and certificate a public one.
    pub fn build(self, section: &Section<'_>) -> Option<Application> {
        let client_id = self.client_id(section);
        let proof = if self.has_certificate(section) {
            self.certificate(section).map(Proof::Certificate)
        } else {
            for key in ["certificate_password", "certificate_password_file"] {
                if section.is_given(key) {
                    section.doubt(key, "means nothing without a certificate", "leave it out");
                }
            }
            let is_given = ["client_secret", "client_secret_file"].map(|key| section.is_given(key));
            match self.client_secret {
                Some(secret) => Some(Proof::Secret(secret)),
                // One that cannot be read was told; it is no public client for that.
                None => (is_given == [false, false]).then_some(Proof::None),
            }
        };
        Some(Application { client_id: client_id?, proof: proof? })
    }

    fn certificate(self, section: &Section<'_>) -> Option<Certificate> {
        for key in ["client_secret", "client_secret_file"] {
            if section.is_given(key) {
                section.wrong(key, "stands beside a certificate", "keep one of the two");
            }
        }
        if !section.is_given("certificate") {
            let remedy = "write the file with the certificate, PEM or PKCS#12";
            section.wrong("certificate", "is missing", remedy);
        }
        let file = self.certificate?;
        let key = if section.is_given("key") { self.key? } else { file.clone() };
        Some(Certificate { file, key, password: self.certificate_password })
    }

    /// What people mix up in the portal.
    pub fn check_entra(&self, section: &Section<'_>) {
        if self.client_id.as_deref().is_some_and(|id| !is_guid(id)) {
            section.doubt(
                "client_id",
                "is not a GUID as Entra's are",
                "compare it with the portal",
            );
        }
        if self.client_secret.as_ref().is_some_and(|secret| is_guid(secret.expose())) {
            let written = ["client_secret", "client_secret_file"];
            let key = written.into_iter().find(|key| section.is_given(key)).unwrap_or(written[0]);
            section.doubt(
                key,
                "looks like the id of the secret, not like its value",
                "copy the column \"Value\"; the portal shows it only once, so make a new secret if it is gone",
            );
        }
    }
}
