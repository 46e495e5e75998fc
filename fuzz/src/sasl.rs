//! Answers of AUTH: whatever comes, a name is fit for a log, and what was read is written to the same.

use super::input::{Input, bit};
use submitd::secret::Secret;
use submitd::smtp::{sasl, sasl_client};

/// First octet: as base64 or as its octets; then the answer.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let switch = input.octet();
    if !bit(switch, 0) {
        if let Ok(answer) = std::str::from_utf8(input.rest()) {
            base64(answer);
            let _ = sasl::Mechanism::parse(answer)
                .map(|found| assert!(found.name().eq_ignore_ascii_case(answer)));
        }
        return;
    }
    answer(input.rest());
}

fn base64(text: &str) {
    let Some(octets) = sasl::decode(text) else {
        return;
    };
    answer(&octets);
    // No two texts may mean the same but for the padding: else a name has two faces.
    if let Ok(plain) = std::str::from_utf8(&octets) {
        assert_eq!(sasl::encode(plain).trim_end_matches('='), text.trim_end_matches('='));
    }
}

fn answer(octets: &[u8]) {
    let named = |user: &str| assert!(!user.chars().any(char::is_control), "{user:?}");
    if let Some(user) = sasl::user(octets) {
        named(&user);
    }
    let _ = sasl::password(octets);
    if let Some((user, password)) = sasl::plain(octets) {
        named(&user);
        let again = format!("\0{user}\0{}", password.expose());
        assert_eq!(sasl::plain(again.as_bytes()), Some((user, password)));
    }
    if let Some((user, token)) = sasl::xoauth2(octets) {
        named(&user);
        written(&user, &token, sasl_client::xoauth2(&user, &token).ok(), sasl::xoauth2);
    }
    if let Some((user, token)) = sasl::oauthbearer(octets) {
        named(&user);
        let response = sasl_client::oauthbearer(&user, &token, "h.example", 587).ok();
        written(&user, &token, response, sasl::oauthbearer);
    }
}

/// What the client half writes for it is read to the same.
fn written(
    user: &str,
    token: &Secret,
    response: Option<Secret>,
    read: fn(&[u8]) -> Option<(String, Secret)>,
) {
    let Some(response) = response else {
        return;
    };
    let octets = sasl::decode(response.expose()).expect("base64 of our own");
    let (again, secret) = read(&octets).expect("an answer of our own");
    assert_eq!(again, user);
    assert!(secret.matches(token.expose()));
}
