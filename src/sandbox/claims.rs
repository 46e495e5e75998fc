//! What stands in the sandbox's tokens: the claims that Entra writes, as many and as long.
//!
//! Signatures are random; nothing here is remembered or checked.

use super::identities::Identities;
use super::options::Options;
use super::random;
use super::token::{Grant, LONGEST_LIFE, Owner};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What says who signed in (OpenID Connect Core §2).
pub(super) fn identity(options: &Options, client_id: &str, user: &str, now: SystemTime) -> Secret {
    let issued = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let tenant = &options.tenant_id;
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": random::base64url::<20>()});
    let claims = json!({
        "ver": "2.0", "iss": format!("https://login.microsoftonline.com/{tenant}/v2.0"),
        "aud": client_id, "iat": issued, "nbf": issued, "exp": issued + 3600,
        "sub": random::base64url::<32>(), "oid": random::guid(), "tid": tenant,
        "name": "A person of the sandbox", "preferred_username": user, "email": user,
    });
    Secret::new(sign(&header, &claims))
}

/// As personal accounts have it.
pub(super) fn opaque() -> String {
    format!("EwB{}", random::base64url::<1200>())
}

/// Header, claims and a random signature.
fn sign(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}.{}", random::base64url::<256>())
}

/// An access token with these claims.
pub(super) fn access(claims: &Value) -> String {
    let key = random::base64url::<20>();
    let nonce = random::base64url::<32>();
    sign(&json!({"typ": "JWT", "nonce": nonce, "alg": "RS256", "x5t": key, "kid": key}), claims)
}

/// What another provider says of a workload, as Kubernetes lays it into a file.
pub(super) fn federated(identities: &Identities, now: SystemTime, life: Duration) -> String {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let claims = json!({
        "aud": identities.federated_audience, "iss": identities.federated_issuer,
        "sub": identities.federated_subject, "iat": now, "nbf": now,
        "exp": now + life.as_secs().min(LONGEST_LIFE),
    });
    sign(&json!({"alg": "RS256", "kid": random::base64url::<32>()}), &claims)
}

/// What an access token says of itself.
pub(super) fn claims(options: &Options, grant: &Grant, now: SystemTime) -> Value {
    let issued = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let tenant = &options.tenant_id;
    let mut claims = json!({
        "aud": grant.audience,
        "iss": format!("https://sts.windows.net/{tenant}/"),
        "iat": issued, "nbf": issued, "exp": issued.saturating_add(grant.expires_in),
        "aio": random::base64url::<120>(),
        "app_displayname": "sandbox",
        "appid": grant.client_id, "appidacr": "1",
        "idp": format!("https://sts.windows.net/{tenant}/"),
        "oid": match &grant.owner {
            Owner::Application => options.object_id.clone(),
            Owner::Mailbox(_) => random::guid(),
        },
        "rh": format!("1.AXoA{}.", random::base64url::<48>()),
        "sid": random::guid(),
        "sub": random::guid(),
        "tid": tenant,
        "uti": random::base64url::<16>(),
        "ver": "1.0",
        "wids": [random::guid(), random::guid()],
        "xms_ftd": random::base64url::<64>(),
        "xms_idrel": "7 20",
        // Real tokens differ in length from one to the next.
        "xms_rd": "r".repeat(64 + (random::number() % 400) as usize),
        "xms_tdbr": "EU",
    });
    if let Owner::Mailbox(mailbox) = &grant.owner {
        claims["upn"] = mailbox.as_str().into();
        claims["unique_name"] = mailbox.as_str().into();
    }
    if !grant.permissions.is_empty() {
        match &grant.owner {
            Owner::Application => claims["roles"] = json!(grant.permissions),
            Owner::Mailbox(_) => claims["scp"] = grant.permissions.join(" ").into(),
        }
    }
    claims
}
