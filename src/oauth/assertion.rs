//! Signed proofs: for an application, and for a service account that stands for a mailbox.
//!
//! It promises a fresh id in each proof, a life of ten minutes, and a minute of grace for clocks that
//! are behind. The key never leaves the function that signs. Google's key file is read here too; its
//! `token_uri` is not followed: where a proof goes is the configuration's to say.

use super::certificate::{self, rsa_key};
use super::response::Fault;
use crate::config::{Certificate, SecretFile};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds that a proof may be used.
const LIFE: u64 = 600;
/// Seconds that our clock may be ahead of the provider's.
const GRACE: u64 = 60;

const KEY_FILE_REMEDY: &str = "put the key file, JSON, that Google Cloud console > Service Accounts > Keys \
     gives into `service_account_file` of account \"{account}\"";

/// The proof of an application (RFC 7523 §2.2), PS256 with the thumbprint by SHA-256, as Entra ID asks
/// for it now. Blocks for the disk.
pub(super) fn application(
    certificate: &Certificate,
    client_id: &str,
    audience: &str,
    now: SystemTime,
) -> Result<Secret, Fault> {
    let (certificate, key) = certificate::pair(certificate)?;
    let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": certificate.thumbprint});
    let now = seconds(now);
    let claims = json!({
        "aud": audience, "iss": client_id, "sub": client_id, "jti": id()?,
        "nbf": now - GRACE, "iat": now - GRACE, "exp": now + LIFE,
    });
    sign(&key, &RSA_PSS_SHA256, &header, &claims)
}

const FEDERATED_REMEDY: &str = "`federated_token_file` of account \"{account}\" must hold the other \
     provider's token; in Kubernetes the pod needs the label azure.workload.identity/use: \"true\"";

/// The proof that another provider signed (RFC 7523 §2.2): read at every request, for it is renewed all
/// the time. Blocks for the disk.
pub(super) fn federated(file: &SecretFile) -> Result<Secret, Fault> {
    let text = file.read().map_err(|what| Fault::passing(what, FEDERATED_REMEDY))?;
    let text = std::str::from_utf8(&text).unwrap_or_default().trim();
    if text.split('.').count() != 3 || !text.bytes().all(|octet| octet.is_ascii_graphic()) {
        let what = format!("{} holds no signed token", file.path().display());
        return Err(Fault::passing(what, FEDERATED_REMEDY));
    }
    Ok(Secret::new(text))
}

/// What stands in a key file of Google's that concerns us.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
}

/// The proof of a service account that stands for `subject` (RFC 7523 §2.1), RS256. Blocks for the disk.
pub(super) fn service_account(
    file: &SecretFile,
    subject: &str,
    scope: &str,
    audience: &str,
    now: SystemTime,
) -> Result<Secret, Fault> {
    let wrong = |what: String| Fault::local(what, KEY_FILE_REMEDY);
    let shown = file.path().display();
    let text = file.read().map_err(wrong)?;
    // The error of the parser would quote the text.
    let read: KeyFile = serde_json::from_slice(&text)
        .map_err(|_| wrong(format!("{shown} is not a key file of a service account")))?;
    let pem = zeroize::Zeroizing::new(read.private_key);
    let key =
        rsa_key(pem.as_bytes()).map_err(|what| wrong(format!("{shown}: private_key: {what}")))?;
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": read.private_key_id});
    let now = seconds(now);
    let claims = json!({
        "iss": read.client_email, "sub": subject, "scope": scope, "aud": audience,
        "iat": now - GRACE, "exp": now + LIFE,
    });
    sign(&key, &RSA_PKCS1_SHA256, &header, &claims)
}

fn sign(
    key: &KeyPair,
    encoding: &'static dyn RsaEncoding,
    header: &Value,
    claims: &Value,
) -> Result<Secret, Fault> {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let mut text = format!("{header}.{claims}");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| Fault::GivenUp)?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(Secret::new(text))
}

/// 128 random bits: a proof that is used twice is refused.
fn id() -> Result<String, Fault> {
    let mut octets = [0; 16];
    SystemRandom::new().fill(&mut octets).map_err(|_| Fault::GivenUp)?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}

/// A machine whose clock stands before 1970 has other troubles.
fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().max(GRACE)
}
