//! The client's side of SASL: XOAUTH2 and OAUTHBEARER responses (RFC 7628, Google's XOAUTH2 document).
//!
//! It promises that neither user nor token can break out of its field: control characters, the 0x01
//! separator among them, are refused. The result holds the token, so it is a [`Secret`].

use crate::secret::Secret;
use base64::{Engine, engine::general_purpose::STANDARD};

/// Why no response can be made. Fit for a log: it shows neither field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// The user is empty or holds a control character.
    #[error("the user name is empty or holds a control character")]
    User,
    /// The token is empty or holds something other than visible ASCII (RFC 6750 §2.1).
    #[error("the access token is empty or holds a character that no token has")]
    Token,
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
