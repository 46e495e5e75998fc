//! Certificate and private key of a listener: where they lie, and whether they are good.
//!
//! It promises that a key others may read is refused, that the two belong together, and that no error
//! holds any of the key. The files are read anew as often as it is asked: they change while we run.

use super::secrets;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// More octets than any chain of certificates has.
const LONGEST: u64 = 1 << 20;

/// What a listener shows to its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    /// The user we run as; none where systemd guards the key.
    own: Option<u32>,
}

/// Why certificate and key are no good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}; {remedy}")]
pub struct IdentityError {
    /// `certificate` or `key`: which of the two is to be mended.
    pub key: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Identity {
    /// Files as they are written in a configuration: relative ones lie beside it, unless systemd has a
    /// credential of that name.
    pub(super) fn new(
        (certificate, key): (&Path, &Path),
        base: &Path,
        credentials: Option<&Path>,
        own: u32,
    ) -> Self {
        let credential = |path: &Path| secrets::credential(path, credentials);
        let guarded = credential(key);
        Self {
            certificate: credential(certificate).unwrap_or_else(|| base.join(certificate)),
            own: guarded.is_none().then_some(own),
            key: guarded.unwrap_or_else(|| base.join(key)),
        }
    }

    /// The two files, to see whether they changed.
    pub fn files(&self) -> [&Path; 2] {
        [&self.certificate, &self.key]
    }

    /// Reads both anew.
    ///
    /// # Errors
    /// [`IdentityError`] where one cannot be read or they do not belong together.
    pub fn read(&self) -> Result<CertifiedKey, IdentityError> {
        let chain = self.chain()?;
        let key = self.private_key()?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let what = format!("{} belongs to another certificate", self.key.display());
                wrong("key", what, "name the key the certificate was made for")
            }
            other => {
                let what = format!("{} cannot be used ({other})", self.key.display());
                wrong("key", what, "use an RSA, ECDSA (P-256, P-384) or Ed25519 key")
            }
        })
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        let shown = self.certificate.display();
        let text = content("certificate", &self.certificate, |_, _| Ok(()))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match chain {
            Ok(chain) if chain.is_empty() => Err(wrong(
                "certificate",
                format!("{shown} holds no certificate in PEM"),
                "name the file that begins with -----BEGIN CERTIFICATE-----",
            )),
            Ok(chain) => Ok(chain),
            Err(error) => Err(wrong(
                "certificate",
                format!("{shown} is not PEM ({error})"),
                "name a PEM file with the certificate and its chain",
            )),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, IdentityError> {
        let text = content("key", &self.key, |path, about| self.check_mode(path, about))?;
        let is_locked = memchr::memmem::find(&text, b"ENCRYPTED").is_some();
        PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
            let shown = self.key.display();
            let (what, remedy) = match is_locked {
                true => ("is locked with a password", "unlock it: openssl pkey -in OLD -out NEW"),
                false => (
                    "holds no private key in PEM",
                    "name the file that begins with -----BEGIN PRIVATE KEY-----",
                ),
            };
            wrong("key", format!("{shown} {what}"), remedy)
        })
    }

    fn check_mode(&self, path: &Path, about: &std::fs::Metadata) -> Result<(), IdentityError> {
        let mode = about.permissions().mode() & 0o777;
        match self.own {
            Some(own) if mode & secrets::forbidden(about.uid(), own) != 0 => {
                let what = format!(
                    "{} can be read or written by others (mode {mode:03o})",
                    path.display()
                );
                Err(wrong("key", what, format!("chmod 600 {}", path.display())))
            }
            _ => Ok(()),
        }
    }
}

fn wrong(key: &'static str, what: String, remedy: impl Into<String>) -> IdentityError {
    IdentityError { key, what, remedy: remedy.into() }
}

/// Reads a file that `check` finds no fault with.
fn content(
    key: &'static str,
    path: &Path,
    check: impl FnOnce(&Path, &std::fs::Metadata) -> Result<(), IdentityError>,
) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let unread = |error: std::io::Error| {
        let what = format!("{} cannot be read ({})", path.display(), error.kind());
        wrong(key, what, "name a PEM file that the user submitd runs as may read")
    };
    let file = std::fs::File::open(path).map_err(unread)?;
    let about = file.metadata().map_err(unread)?;
    if !about.is_file() {
        let what = format!("{} is no file", path.display());
        return Err(wrong(key, what, "name a PEM file"));
    }
    check(path, &about)?;
    // Room for all of it at once: a vector that grows leaves copies of a key behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(about.len().min(LONGEST) as usize + 1));
    file.take(LONGEST).read_to_end(&mut octets).map_err(unread)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Certificate and key in PEM.
    fn pair() -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("key");
        let params = rcgen::CertificateParams::new(vec!["relay.test".to_owned()]).expect("names");
        (params.self_signed(&key).expect("certificate").pem(), key.serialize_pem())
    }

    fn read(certificate: &str, key: &str, mode: u32) -> Result<CertifiedKey, IdentityError> {
        let directory = tempfile::tempdir().expect("directory");
        let [one, two] = ["relay.pem", "relay.key"].map(|name| directory.path().join(name));
        std::fs::write(&one, certificate).expect("write");
        std::fs::write(&two, key).expect("write");
        std::fs::set_permissions(&two, PermissionsExt::from_mode(mode)).expect("chmod");
        let own = std::fs::metadata(&two).expect("metadata").uid();
        let names = (Path::new("relay.pem"), Path::new("relay.key"));
        Identity::new(names, directory.path(), None, own).read()
    }

    #[test]
    fn a_good_pair_is_taken_and_a_bad_one_refused_with_a_remedy() {
        let (certificate, key) = pair();
        assert!(read(&certificate, &key, 0o600).is_ok());
        let locked =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (one, two, mode, which, what) in [
            (certificate.as_str(), key.as_str(), 0o644, "key", "by others (mode 644)"),
            (&certificate, &pair().1, 0o600, "key", "belongs to another certificate"),
            (&certificate, "", 0o600, "key", "holds no private key"),
            (&certificate, &certificate, 0o600, "key", "holds no private key"),
            (&certificate, locked, 0o600, "key", "is locked with a password"),
            ("", &key, 0o600, "certificate", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!\n", &key, 0o600, "certificate", "not PEM"),
        ] {
            let error = read(one, two, mode).expect_err(what);
            assert_eq!(error.key, which, "{error}");
            assert!(error.what.contains(what), "{error}");
            let secret = key.lines().nth(1).expect("a line of the key");
            assert!(!error.to_string().contains(secret), "{error}");
        }
        // Cut anywhere: an error or, where only the last newline is gone, the pair.
        for cut in 0..certificate.len() - 1 {
            assert!(read(&certificate[..cut], &key, 0o600).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_credential_comes_first_and_is_guarded_by_systemd() {
        let (certificate, key) = pair();
        let (base, credentials) =
            (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
        let path = credentials.path().join("relay.key");
        std::fs::write(&path, key).expect("write");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).expect("chmod");
        std::fs::write(base.path().join("relay.pem"), certificate).expect("write");
        let names = (Path::new("relay.pem"), Path::new("tls/relay.key"));
        let identity = Identity::new(names, base.path(), Some(credentials.path()), 0);
        assert_eq!(identity.files()[1], path);
        assert!(identity.read().is_ok());
    }
}
