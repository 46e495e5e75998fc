//! What a listener offers its clients. Pure.
//!
//! It promises that nothing is offered which the way of the mail could not keep.

use crate::config::{Auth, BareNewline, Config, Listener};
use crate::smtp::extension::Extension;
use crate::smtp::reply_write::LONGEST_LINE;
use crate::smtp::sasl::Mechanism;
use crate::smtp::server::{Phrases, Terms};

/// What a listener offers: before the account is known, so only what always holds.
pub fn terms(config: &Config, listener: &Listener) -> Terms {
    let mut extensions = vec![
        Extension::Size,
        Extension::Pipelining,
        Extension::EightBitMime,
        Extension::SmtpUtf8,
        Extension::Dsn,
        Extension::EnhancedStatusCodes,
        Extension::Chunking,
    ];
    // It cannot be turned into anything else on the way (RFC 3030 §3): what one account's server lacks
    // is not offered at all.
    if config.accounts.iter().all(|account| account.upstream.binarymime) {
        extensions.push(Extension::BinaryMime);
    }
    if listener.tls.is_some() {
        extensions.push(Extension::StartTls);
    }
    if listener.auth != Auth::None {
        extensions.push(Extension::Auth);
    }
    let is_local = listener.doors().all(|door| door.is_local());
    Terms {
        hostname: config.hostname.clone(),
        greeting: "ESMTP submitd".into(),
        hello: "at your service".into(),
        extensions,
        mechanisms: vec![Mechanism::Plain, Mechanism::Login],
        hello_required: false,
        // Where there is TLS, no password crosses a network without it.
        auth_needs_tls: listener.tls.is_some() && !is_local,
        auth_required: listener.auth == Auth::Required,
        tls_required: false,
        bearer_refusal: None,
        max_message_size: listener.max_message_size,
        max_recipients: listener.max_recipients,
        max_errors: listener.max_errors,
        max_reply_line: LONGEST_LINE,
        reject_bare_newline: listener.bare_newline == BareNewline::Reject,
        phrases: Phrases::OURS,
    }
}
