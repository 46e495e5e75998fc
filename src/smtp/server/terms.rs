//! What a server offers and how far it goes: the switches of the dialogue.

use super::Phrases;
use crate::smtp::extension::Extension;
use crate::smtp::sasl::Mechanism;

/// What this server offers and how far it goes. One for all sessions of a listener.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Our name: first word of the greeting and of the EHLO reply.
    pub hostname: String,
    /// What follows the name in the greeting, `ESMTP submitd`.
    pub greeting: String,
    /// What follows the name in the first line of the EHLO reply.
    pub hello: String,
    /// Offered extensions in the order of the EHLO reply. STARTTLS shows only before TLS, AUTH only where
    /// it may be used now.
    pub extensions: Vec<Extension>,
    /// SASL mechanisms offered and understood, in order.
    pub mechanisms: Vec<Mechanism>,
    /// EHLO or HELO before anything else; old programs come without.
    pub hello_required: bool,
    /// AUTH only inside TLS.
    pub auth_needs_tls: bool,
    /// MAIL only after AUTH.
    pub auth_required: bool,
    /// MAIL and AUTH only inside TLS.
    pub tls_required: bool,
    /// A refused Bearer login first gets this JSON as a `334` challenge (Gmail, RFC 7628 §3.2.2); none:
    /// the refusal comes at once (Exchange).
    pub bearer_refusal: Option<String>,
    /// Octets of one message.
    pub max_message_size: u64,
    /// RCPT TO of one mail.
    pub max_recipients: usize,
    /// Wrong commands until 421, counted anew after each mail that was taken.
    pub max_errors: usize,
    /// Octets of a reply line, CRLF included: [`crate::smtp::reply_write::LONGEST_LINE`], or more for the sandbox.
    pub max_reply_line: usize,
    /// Refuse a lone CR or LF in a body (550 5.6.11) instead of turning it into CRLF.
    pub reject_bare_newline: bool,
    /// The fixed replies.
    pub phrases: &'static Phrases,
}
