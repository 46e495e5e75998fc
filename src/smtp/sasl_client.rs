//! The client's side of SASL: XOAUTH2 and OAUTHBEARER (RFC 7628, Google's XOAUTH2 document), PLAIN (RFC 4616)
//! and LOGIN.
//!
//! It promises that no field can break out of its place: control characters, the separators 0x00 and 0x01
//! among them, are refused. What holds a token or a password is a [`Secret`].

use super::offer::Offer;
use super::sasl::Mechanism;
use crate::secret::Secret;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::collections::VecDeque;

/// Why no response can be made. Fit for a log: it shows no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// The user is empty or holds a control character.
    #[error("the user name is empty or holds a control character")]
    User,
    /// The token is empty or holds something other than visible ASCII (RFC 6750 §2.1).
    #[error("the access token is empty or holds a character that no token has")]
    Token,
    /// The password holds a NUL, which would end it.
    #[error("the password holds a NUL")]
    Password,
}

/// How we may prove who we are, the way we like best first. The default: not at all.
#[derive(Clone, Debug, Default)]
pub struct Login(Vec<Way>);

/// One mechanism, and what is said in it.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub mechanism: Mechanism,
    /// In base64, one for each challenge.
    pub responses: VecDeque<Secret>,
}

impl Way {
    fn new(mechanism: Mechanism, responses: impl IntoIterator<Item = Secret>) -> Self {
        Self { mechanism, responses: responses.into_iter().collect() }
    }

    /// What is said to the challenge in which a server explains why it takes no token, so that it ends
    /// the login with its reply: nothing, or the dummy of RFC 7628 §3.2.3 (0x01).
    pub fn dismissal(&self) -> Option<&'static str> {
        match self.mechanism {
            Mechanism::XOAuth2 => Some(""),
            Mechanism::OAuthBearer => Some("AQ=="),
            Mechanism::Login | Mechanism::Plain => None,
        }
    }
}

impl Login {
    /// By a token: XOAUTH2, else OAUTHBEARER, or only the one that is named.
    ///
    /// # Errors
    /// [`BearerError`] where a field cannot be written.
    pub fn bearer(
        user: &str,
        token: &Secret,
        (host, port): (&str, u16),
        only: Option<Mechanism>,
    ) -> Result<Self, BearerError> {
        let ways = [
            Way::new(Mechanism::XOAuth2, [xoauth2(user, token)?]),
            Way::new(Mechanism::OAuthBearer, [oauthbearer(user, token, host, port)?]),
        ];
        Ok(Self::among(ways, only))
    }

    /// By a password: PLAIN, else LOGIN, or only the one that is named.
    ///
    /// # Errors
    /// [`BearerError`] where a field cannot be written.
    pub fn password(
        user: &str,
        password: &Secret,
        only: Option<Mechanism>,
    ) -> Result<Self, BearerError> {
        if user.is_empty() || user.chars().any(char::is_control) {
            return Err(BearerError::User);
        }
        if password.expose().contains('\0') {
            return Err(BearerError::Password);
        }
        let plain = encode(format!("\0{user}\0{}", password.expose()));
        let each = [encode(user.to_owned()), encode(password.expose().to_owned())];
        let ways = [Way::new(Mechanism::Plain, [plain]), Way::new(Mechanism::Login, each)];
        Ok(Self::among(ways, only))
    }

    fn among(ways: [Way; 2], only: Option<Mechanism>) -> Self {
        let fits = |way: &Way| only.is_none_or(|only| only == way.mechanism);
        Self(ways.into_iter().filter(fits).collect())
    }

    /// Whether nothing is to be proved.
    pub fn is_needless(&self) -> bool {
        self.0.is_empty()
    }

    /// What must not be shown, should the server give it back.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter().flat_map(|way| &way.responses)
    }

    /// The first way that is offered; the others are forgotten.
    pub(super) fn choose(&mut self, offer: &Offer) -> Option<Way> {
        std::mem::take(&mut self.0)
            .into_iter()
            .find(|way| offer.has_mechanism(way.mechanism.name()))
    }

    /// What is missing where none is offered.
    pub(super) fn wanted(&self) -> &'static str {
        match self.0.as_slice() {
            [] => "AUTH",
            [way] => match way.mechanism {
                Mechanism::XOAuth2 => "AUTH XOAUTH2",
                Mechanism::OAuthBearer => "AUTH OAUTHBEARER",
                Mechanism::Plain => "AUTH PLAIN",
                Mechanism::Login => "AUTH LOGIN",
            },
            [way, ..] if way.mechanism == Mechanism::Plain => "AUTH PLAIN or LOGIN",
            _ => "AUTH XOAUTH2 or OAUTHBEARER",
        }
    }
}

/// The XOAUTH2 response in base64: `user=U^Aauth=Bearer T^A^A`.
///
/// # Errors
/// [`BearerError`] where a field cannot be written.
pub fn xoauth2(user: &str, token: &Secret) -> Result<Secret, BearerError> {
    check(user, token)?;
    let plain = format!("user={user}\x01auth=Bearer {}\x01\x01", token.expose());
    Ok(encode(plain))
}

/// The OAUTHBEARER response in base64: `n,a=U,^Ahost=H^Aport=P^Aauth=Bearer T^A^A` (RFC 7628 §3.1).
///
/// # Errors
/// [`BearerError`] where a field cannot be written.
pub fn oauthbearer(
    user: &str,
    token: &Secret,
    host: &str,
    port: u16,
) -> Result<Secret, BearerError> {
    check(user, token)?;
    if host.chars().any(char::is_control) {
        return Err(BearerError::User);
    }
    // A saslname writes comma and equals sign otherwise (RFC 5801 §4).
    let user = user.replace('=', "=3D").replace(',', "=2C");
    let token = token.expose();
    Ok(encode(format!("n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01")))
}

fn check(user: &str, token: &Secret) -> Result<(), BearerError> {
    if user.is_empty() || user.chars().any(char::is_control) {
        return Err(BearerError::User);
    }
    let token = token.expose();
    if token.is_empty() || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(BearerError::Token);
    }
    Ok(())
}

fn encode(plain: String) -> Secret {
    let plain = zeroize::Zeroizing::new(plain);
    Secret::new(STANDARD.encode(plain.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xoauth2_is_microsofts_worked_example() {
        let token = Secret::new("EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA");
        let response = xoauth2("test@contoso.onmicrosoft.com", &token).unwrap();
        assert_eq!(
            response.expose(),
            "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ=="
        );
    }

    #[test]
    fn oauthbearer_is_the_example_of_rfc_7628() {
        let token = Secret::new("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        let response = oauthbearer("user@example.com", &token, "server.example.com", 143).unwrap();
        // RFC 7628 §4.1.
        assert_eq!(
            response.expose(),
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        );
    }

    #[test]
    fn oauthbearer_escapes_the_user() {
        let response = oauthbearer("a,b=c@x", &Secret::new("t"), "h", 1).unwrap();
        let plain = STANDARD.decode(response.expose()).unwrap();
        assert!(plain.starts_with(b"n,a=a=2Cb=3Dc@x,\x01"), "{}", plain.escape_ascii());
    }

    #[test]
    fn nothing_breaks_out_of_its_field() {
        let good = Secret::new("abc");
        for user in ["", "a\x01auth=Bearer x", "a\r\nRSET", "a\0", "a\x7f"] {
            assert_eq!(xoauth2(user, &good), Err(BearerError::User), "{user:?}");
            assert_eq!(oauthbearer(user, &good, "h", 1), Err(BearerError::User), "{user:?}");
        }
        for token in ["", "a\x01", "a b", "a\r\n", "\u{e9}"] {
            let token = Secret::new(token);
            assert_eq!(xoauth2("a@b", &token), Err(BearerError::Token));
        }
        assert_eq!(oauthbearer("a@b", &good, "h\x01", 1), Err(BearerError::User));
    }
}
