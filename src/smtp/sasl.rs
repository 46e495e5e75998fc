//! SASL: PLAIN and LOGIN decoded, XOAUTH2 and OAUTHBEARER encoded and decoded.

/// A mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// LOGIN (de facto; Exchange and old clients).
    Login,
    /// OAUTHBEARER (RFC 7628).
    OAuthBearer,
    /// PLAIN (RFC 4616).
    Plain,
    /// XOAUTH2 (Google's document; Exchange).
    XOAuth2,
}
