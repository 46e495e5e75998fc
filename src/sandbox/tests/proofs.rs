//! Signed proofs over HTTP, signed here by hand: each that is not wholly right is refused.

use crate::sandbox::{Options, Sandbox};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const APP: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn sign(pem: &str, encoding: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> String {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("pem");
    let key = RsaKeyPair::from_pkcs8(key.secret_der()).expect("rsa");
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("signed");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn post(url: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let client = reqwest::Client::builder().no_proxy().build().expect("client");
    let answer = client
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .expect("answer");
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.expect("text")).expect("json"))
}

async fn with_assertion(url: &str, assertion: &str) -> u64 {
    let (_, body) = post(
        url,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", APP),
            ("scope", "https://outlook.office365.com/.default"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ],
    )
    .await;
    body["error_codes"][0].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn an_assertion_is_verified_in_every_part() {
    let sandbox = Sandbox::start(Options::default()).await.expect("sandbox");
    let url = sandbox.token_url();
    let identities = &sandbox.options().identities;
    let der = CertificateDer::from_pem_slice(identities.certificates[0].as_bytes()).expect("pem");
    let print = URL_SAFE_NO_PAD.encode(digest(&SHA256, &der));
    let old_print = URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der));
    let new = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": print});
    let old = json!({"alg": "RS256", "typ": "JWT", "x5t": old_print});
    let claims = |jti: &str| json!({"aud": url, "iss": APP, "sub": APP, "jti": jti, "nbf": now() - 60, "exp": now() + 600});
    let with = |jti: &str, name: &str, value: Value| {
        let mut claims = claims(jti);
        claims[name] = value;
        claims
    };
    let (ours, foreign) = (identities.key.expose(), identities.service_account_key.expose());
    let ps: &'static dyn RsaEncoding = &RSA_PSS_SHA256;
    let rs: &'static dyn RsaEncoding = &RSA_PKCS1_SHA256;
    let elsewhere = "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token";
    for (name, key, encoding, header, claims, expected) in [
        ("PS256", ours, ps, &new, claims("1"), 0),
        ("replay", ours, ps, &new, claims("1"), 700_027),
        ("RS256 by SHA-1", ours, rs, &old, claims("2"), 0),
        ("foreign key", foreign, ps, &new, claims("3"), 700_027),
        ("PS256 claimed", ours, rs, &new, claims("4"), 700_027),
        ("no print", ours, ps, &json!({"alg": "PS256"}), claims("5"), 700_027),
        ("none", ours, ps, &json!({"alg": "none", "x5t#S256": print}), claims("6"), 700_027),
        ("audience", ours, ps, &new, with("7", "aud", elsewhere.into()), 700_023),
        ("subject", ours, ps, &new, with("8", "sub", "other".into()), 700_021),
        ("issuer", ours, ps, &new, with("9", "iss", "other".into()), 700_021),
        ("over", ours, ps, &new, with("10", "exp", (now() - 1).into()), 700_024),
        ("not yet", ours, ps, &new, with("11", "nbf", (now() + 60).into()), 700_024),
        ("no end", ours, ps, &new, with("12", "exp", Value::Null), 700_024),
        ("no id", ours, ps, &new, with("", "jti", "".into()), 700_027),
    ] {
        let assertion = sign(key, encoding, header, &claims);
        assert_eq!(with_assertion(&url, &assertion).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_federated_token_must_be_one_that_was_given() {
    let sandbox = Sandbox::start(Options::default()).await.expect("sandbox");
    let url = sandbox.token_url();
    let good = sandbox.federated_token(Duration::from_secs(600));
    assert_eq!(with_assertion(&url, good.expose()).await, 0);
    assert_eq!(with_assertion(&url, good.expose()).await, 0, "it may serve more than once");
    let forged = format!("{}AAAA", good.expose());
    assert_eq!(with_assertion(&url, &forged).await, 700_027);
    let over = sandbox.federated_token(Duration::ZERO);
    assert_eq!(with_assertion(&url, over.expose()).await, 700_024);
}

#[tokio::test]
async fn ten_wrong_passwords_lock_a_user_out() {
    let sandbox = Sandbox::start(Options::default()).await.expect("sandbox");
    let (url, public) = (sandbox.token_url(), sandbox.options().public_client_id.clone());
    let right = sandbox.options().identities.password.expose().to_owned();
    for (number, expected) in (0..12).zip([50126; 10].into_iter().chain([50053; 2])) {
        let password = if number < 10 { "wrong" } else { &right };
        let (status, body) = post(
            &url,
            &[
                ("grant_type", "password"),
                ("client_id", &public),
                ("username", "ERP@contoso.com"),
                ("password", password),
                ("scope", "https://outlook.office.com/SMTP.Send"),
            ],
        )
        .await;
        assert_eq!((status, &body["error_codes"][0]), (400, &json!(expected)), "{number}");
    }
}
