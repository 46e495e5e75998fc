//! Signed proofs, verified: of the application by its certificate, of another provider, of a service
//! account. Signature, thumbprint, audience, issuer, subject, time and single use are looked at for real.

use super::aadsts::Refusal;
use super::identities::Identities;
use super::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
    UnparsedPublicKey,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// AlgorithmIdentifier of rsaEncryption, which stands before the key in a certificate.
const RSA: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// A JWT in parts.
struct Proof<'a> {
    header: Value,
    claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Proof<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: json(header)?,
            claims: json(claims)?,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    fn claim(&self, name: &str) -> &str {
        self.claims[name].as_str().unwrap_or_default()
    }

    fn time(&self, name: &str) -> Option<SystemTime> {
        Some(UNIX_EPOCH + Duration::from_secs(self.claims[name].as_u64()?.min(1 << 40)))
    }

    fn is_signed_by(&self, algorithm: &'static RsaParameters, key: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(algorithm, key);
        key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

/// Whether this proof stands for the application at this endpoint.
pub(super) fn of_application(
    world: &World,
    client_id: &str,
    text: &str,
    endpoint: &str,
    now: SystemTime,
) -> Result<(), Refusal> {
    let identities = &world.options.identities;
    let proof = Proof::read(text).ok_or_else(|| Refusal::new(700_027, &[]))?;
    if proof.claim("iss") != client_id && proof.header["x5t#S256"].is_null() {
        return federated(world, &proof, text, now);
    }
    check_signature(identities, &proof)?;
    if proof.claim("aud") != endpoint {
        return Err(Refusal::new(700_023, &[]));
    }
    if proof.claim("iss") != client_id || proof.claim("sub") != client_id {
        return Err(Refusal::new(700_021, &[]));
    }
    check_time(&proof, now)?;
    let id = proof.claim("jti");
    if id.is_empty() || !world.tokens().is_new_proof(id) {
        return Err(Refusal::new(700_027, &[]).saying(
            "Client assertion contains an invalid signature. [Reason - The assertion was used before.]",
        ));
    }
    Ok(())
}

fn check_signature(identities: &Identities, proof: &Proof<'_>) -> Result<(), Refusal> {
    let unknown = || Refusal::new(700_027, &[]);
    let algorithm = match proof.header["alg"].as_str() {
        Some("PS256") => &RSA_PSS_2048_8192_SHA256,
        Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
        _ => return Err(unknown()),
    };
    let print = |name: &str| proof.header[name].as_str().unwrap_or_default().to_owned();
    let (new, old) = (print("x5t#S256"), print("x5t"));
    let fits = |der: &CertificateDer<'_>| {
        let prints = [digest(&SHA256, der), digest(&SHA1_FOR_LEGACY_USE_ONLY, der)]
            .map(|print| URL_SAFE_NO_PAD.encode(print));
        new == prints[0] || new.is_empty() && old == prints[1]
    };
    let mut registered = identities
        .certificates
        .iter()
        .filter_map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok());
    let certificate = registered.find(fits).ok_or_else(unknown)?;
    let key = public_key(&certificate).ok_or_else(unknown)?;
    if !proof.is_signed_by(algorithm, key) {
        return Err(unknown().saying(
            "Client assertion contains an invalid signature. [Reason - The provided signature value did not \
             match the expected signature value.]",
        ));
    }
    Ok(())
}

/// RSAPublicKey behind its algorithm: a bit string of two octets of length.
fn public_key(der: &[u8]) -> Option<&[u8]> {
    let at = der.windows(RSA.len()).position(|octets| octets == RSA)? + RSA.len();
    match der.get(at..)? {
        [0x03, 0x82, high, low, 0, rest @ ..] => {
            rest.get(..usize::from(u16::from_be_bytes([*high, *low])) - 1)
        }
        _ => None,
    }
}

fn check_time(proof: &Proof<'_>, now: SystemTime) -> Result<(), Refusal> {
    let (from, to) = (proof.time("nbf").unwrap_or(UNIX_EPOCH), proof.time("exp"));
    match to {
        Some(to) if from <= now && now < to => Ok(()),
        _ => {
            let show = |time| humantime::format_rfc3339_millis(time).to_string();
            Err(Refusal::new(700_024, &[]).saying(&format!(
                "Client assertion is not within its valid time range. Current time: {}, assertion valid from \
                 {}, expiry time of assertion {}.",
                show(now),
                show(from),
                show(to.unwrap_or(UNIX_EPOCH)),
            )))
        }
    }
}

/// A token of another provider: it must be one the application trusts, and really that provider's.
fn federated(world: &World, proof: &Proof<'_>, text: &str, now: SystemTime) -> Result<(), Refusal> {
    let trusted = &world.options.identities;
    for (name, expected, code) in [
        ("iss", &trusted.federated_issuer, 700_211),
        ("sub", &trusted.federated_subject, 700_213),
        ("aud", &trusted.federated_audience, 700_212),
    ] {
        if proof.claim(name) != expected {
            return Err(Refusal::new(code, &[proof.claim(name)]));
        }
    }
    check_time(proof, now)?;
    match world.tokens().is_federated(text) {
        true => Ok(()),
        false => Err(Refusal::new(700_027, &[])),
    }
}

/// What Google says to a signed request; the mailbox it is for where all is well.
pub(super) fn of_service_account(
    world: &World,
    text: &str,
    endpoint: &str,
    now: SystemTime,
) -> Result<String, (u16, &'static str, &'static str)> {
    let identities = &world.options.identities;
    let refused = |words| Err((400, "invalid_grant", words));
    let Some(proof) = Proof::read(text) else { return refused("Bad Request") };
    if proof.claim("iss") != identities.service_account {
        return refused("Invalid grant: account not found");
    }
    let key = PrivateKeyDer::from_pem_slice(identities.service_account_key.expose().as_bytes());
    let key = key.ok().and_then(|key| ring::rsa::KeyPair::from_pkcs8(key.secret_der()).ok());
    let is_signed = key.is_some_and(|key| {
        proof.is_signed_by(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
    });
    if !is_signed || proof.header["alg"] != "RS256" {
        return refused("Invalid JWT Signature.");
    }
    let hour = Duration::from_secs(3600);
    let in_time = match (proof.time("iat"), proof.time("exp")) {
        (Some(from), Some(to)) => from <= now && now < to && to <= from + hour,
        _ => false,
    };
    if !in_time {
        return refused(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check \
             your iat and exp values in the JWT claim.",
        );
    }
    if proof.claim("aud") != endpoint {
        return refused("Invalid JWT: Failed audience check.");
    }
    if proof.claim("scope") != "https://mail.google.com/" {
        return Err((
            401,
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for \
             any of the scopes requested.",
        ));
    }
    let is_known =
        |mailbox: &&super::Mailbox| mailbox.address.eq_ignore_ascii_case(proof.claim("sub"));
    match world.options.mailboxes.iter().find(is_known) {
        Some(mailbox) => Ok(mailbox.address.clone()),
        None => refused("Invalid email or User ID"),
    }
}
