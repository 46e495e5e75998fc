//! The certificate and the key that sign for an application.
//!
//! It promises that a key which does not belong to the certificate is told before anybody is asked, and
//! that no error shows a line of a key. It reads what is there now: both files are renewed by others.
//! Of a certificate it looks only at end and key; whether it is good is the provider's to judge.

use super::der::element;
use super::pkcs12::{self, Unread};
use super::response::Fault;
use crate::config::{self, Grant, Proof, SecretFile};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::error::KeyRejected;
use ring::rsa::KeyPair;
use ring::signature::KeyPair as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// What to do about a certificate or key.
const REMEDY: &str = "put the certificate that is uploaded for application {client_id} and its RSA key, PEM or PKCS#12, \
     into `certificate` and `key` of account \"{account}\"";

/// Until when the account's certificate is good; none where the grant has none or it cannot be read.
/// Blocks for the disk.
pub fn expires(grant: &Grant) -> Option<SystemTime> {
    let Proof::Certificate(files) = &grant.application()?.proof else { return None };
    if let Ok((own, _)) = pair(files) {
        return Some(own.ends);
    }
    let held = read(&files.file, files.password.as_ref()).ok()?;
    Some(own(&files.file, &held.certificates).ok()?.ends)
}

/// A certificate as far as it concerns us.
#[derive(Debug)]
pub(super) struct Certificate {
    /// base64url of the SHA-256 of the DER: `x5t#S256` (RFC 7515 §4.1.8).
    pub(super) thumbprint: String,
    /// `notAfter`.
    pub(super) ends: SystemTime,
    /// RSAPublicKey (RFC 8017 A.1.1).
    public_key: Vec<u8>,
}

/// Certificate and key, read anew and held against each other. Blocks for the disk.
pub(super) fn pair(files: &config::Certificate) -> Result<(Certificate, KeyPair), Fault> {
    let wrong = |what: String| Fault::local(what, REMEDY);
    let (file, key_file) = (files.file.path().display(), files.key.path().display());
    let mut held = read(&files.file, files.password.as_ref())?;
    if files.key != files.file {
        held.key = read(&files.key, files.password.as_ref())?.key;
    }
    let signing = match held.key {
        Key::Found(der) => key_pair(&der),
        Key::Pem(pem) => rsa_key(&pem),
    };
    let signing = signing.map_err(|what| wrong(format!("{key_file}: {what}")))?;
    let mut all = held.certificates.iter().filter_map(|der| parse(der));
    match all.find(|found| signing.public_key().as_ref() == found.public_key) {
        Some(own) => Ok((own, signing)),
        None => {
            own(&files.file, &held.certificates)?;
            let what =
                format!("the key in {key_file} does not belong to the certificate in {file}");
            Err(wrong(what))
        }
    }
}

/// What a file holds.
struct Held {
    certificates: Vec<Vec<u8>>,
    key: Key,
}

enum Key {
    /// PKCS#8.
    Found(Zeroizing<Vec<u8>>),
    /// It is still to be looked for.
    Pem(Zeroizing<Vec<u8>>),
}

fn read(file: &SecretFile, password: Option<&Secret>) -> Result<Held, Fault> {
    let wrong = |what: String| Fault::local(what, REMEDY);
    let octets = file.read().map_err(wrong)?;
    let shown = file.path().display();
    // The first octet of every DER sequence; PEM begins with a letter, a hyphen or a blank.
    if octets.first() != Some(&0x30) {
        let all = CertificateDer::pem_slice_iter(&octets).map_while(Result::ok);
        let certificates = all.map(|der| der.to_vec()).collect();
        return Ok(Held { certificates, key: Key::Pem(octets) });
    }
    let safe = pkcs12::open(&octets, password.map_or("", Secret::expose)).map_err(|why| {
        let what = match (why, password) {
            (Unread::Password, None) => "has a password: write `certificate_password_file`",
            (Unread::Password, Some(_)) => "does not open with `certificate_password`",
            (Unread::Form, _) => {
                "is neither PEM nor PKCS#12 in DER; `openssl pkcs12 -in FILE -nodes` may turn it into PEM"
            }
            (Unread::Unknown, _) => {
                "is encrypted in a way that is not known here; `openssl pkcs12 -in FILE -nodes` turns it into PEM"
            }
        };
        wrong(format!("{shown} {what}"))
    })?;
    let key = match safe.key {
        Some(key) => Key::Found(key),
        None => Key::Pem(Zeroizing::default()),
    };
    Ok(Held { certificates: safe.certificates, key })
}

/// The first certificate of a file.
fn own(file: &SecretFile, certificates: &[Vec<u8>]) -> Result<Certificate, Fault> {
    let wrong = |what: &str| Fault::local(format!("{}{what}", file.path().display()), REMEDY);
    let der = certificates.first().ok_or_else(|| wrong(" holds no certificate"))?;
    parse(der).ok_or_else(|| wrong(": the certificate is not one with an RSA key"))
}

/// The first RSA key of a PEM text, PKCS#8 or PKCS#1.
pub(super) fn rsa_key(pem: &[u8]) -> Result<KeyPair, String> {
    if memchr::memmem::find(pem, b"BEGIN ENCRYPTED PRIVATE KEY").is_some()
        || memchr::memmem::find(pem, b"Proc-Type: 4,ENCRYPTED").is_some()
    {
        return Err("the key is encrypted; openssl pkey -in FILE decrypts it".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key")?;
    match &key {
        PrivateKeyDer::Pkcs8(der) => key_pair(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => usable(KeyPair::from_der(der.secret_pkcs1_der())),
        _ => Err("not an RSA key, and no other kind is accepted".to_owned()),
    }
}

/// An RSA key of PKCS#8.
fn key_pair(der: &[u8]) -> Result<KeyPair, String> {
    usable(KeyPair::from_pkcs8(der))
}

fn usable(read: Result<KeyPair, KeyRejected>) -> Result<KeyPair, String> {
    read.map_err(|error| match error.to_string().as_str() {
        "WrongAlgorithm" => "not an RSA key, and no other kind is accepted".to_owned(),
        why => format!("the RSA key cannot be used ({why}); it needs 2048 bits or more"),
    })
}

/// Walks the DER (RFC 5280 §4.1): version, serial, algorithm, issuer, validity, subject, key.
fn parse(der: &[u8]) -> Option<Certificate> {
    let (_, whole, _) = element(der)?;
    let (_, mut rest, _) = element(whole)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2;
    }
    for _serial_algorithm_issuer in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, rest) = element(rest)?;
    let (tag, end, _) = element(element(validity)?.2)?;
    let (_, subject_key, _) = element(element(rest)?.2)?;
    let (_, algorithm, key) = element(subject_key)?;
    // rsaEncryption, RFC 8017 A.1
    let (_, oid, _) = element(algorithm)?;
    let is_rsa = oid == [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (_, bits, _) = element(key)?;
    Some(Certificate {
        thumbprint: URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, der)),
        ends: time(tag, end)?,
        public_key: bits.split_first().filter(|(unused, _)| is_rsa && **unused == 0)?.1.to_vec(),
    })
}

/// UTCTime `YYMMDDHHMMSSZ`, from 50 on of the last century, or GeneralizedTime (RFC 5280 §4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        0x17 if text.len() == 12 && text < "50" => format!("20{text}"),
        0x17 if text.len() == 12 => format!("19{text}"),
        0x18 if text.len() == 14 => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to);
    let date = format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let time = format!("{}:{}:{}", part(8, 10)?, part(10, 12)?, part(12, 14)?);
    humantime::parse_rfc3339(&format!("{date}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<u8> {
        let pem = include_bytes!("../sandbox/keys/application.crt");
        CertificateDer::from_pem_slice(pem).unwrap().to_vec()
    }

    #[test]
    fn end_and_key_are_found_and_belong_together() {
        let certificate = parse(&made()).unwrap();
        let key = rsa_key(include_bytes!("../sandbox/keys/application.key")).unwrap();
        assert_eq!(key.public_key().as_ref(), certificate.public_key);
        let end = humantime::format_rfc3339(certificate.ends).to_string();
        assert!(end.starts_with("2126-10-28T"), "{end}");
    }

    #[test]
    fn a_certificate_cut_anywhere_or_changed_never_panics() {
        let der = made();
        for end in 0..der.len() {
            assert!(parse(&der[..end]).is_none());
            let mut changed = der.clone();
            changed[end] ^= 0xff;
            let _ = parse(&changed);
        }
    }

    #[test]
    fn times_of_both_forms() {
        for (tag, text, expected) in [
            (0x17, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (0x17, "700102000000Z", Some("1970-01-02T00:00:00Z")),
            (0x18, "20500101000000Z", Some("2050-01-01T00:00:00Z")),
            (0x18, "491231235959Z", None),
            (0x17, "4912312359Z", None),
            (0x17, "491331235959Z", None),
            (0x17, "é91231235959Z", None),
            (0x04, "491231235959Z", None),
        ] {
            let found = time(tag, text.as_bytes());
            let found = found.map(|time| humantime::format_rfc3339(time).to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn keys_that_cannot_sign_are_told_without_their_text() {
        let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for (pem, words) in [
            (ec.as_str(), "not an RSA key"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n", "is encrypted"),
            ("hunter2", "no private key"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be used"),
        ] {
            let error = rsa_key(pem.as_bytes()).unwrap_err();
            assert!(error.contains(words) && !error.contains("AAAA"), "{error}");
        }
    }
}
