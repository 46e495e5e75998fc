//! The HTTPS client towards token endpoints and Graph: how it is made, and its errors in words.
//!
//! It promises: TLS verified by the trust it is given; no redirect is followed, since secrets and tokens go
//! along; what is shown of a proxy holds no password. It knows no provider and judges no answer: what may go
//! over plain http is decided by whoever asks.

use crate::config::{HttpProxy, Proxy};
use rustls::ClientConfig;
use std::error::Error;
use std::time::Duration;

/// How requests go out.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// What verifies the server.
    pub trust: &'a ClientConfig,
    /// What is gone through.
    pub proxy: &'a HttpProxy,
    /// Without TLS, and only so.
    pub is_plain: bool,
    /// How long connecting may take, with TLS.
    pub connect_timeout: Duration,
    /// How long a connection is kept for the next request.
    pub idle_timeout: Duration,
}

/// A client that goes this way.
///
/// # Errors
/// What is wrong with the trust or the proxy, in words.
pub fn client(way: Way<'_>) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(way.trust.clone())
        .redirect(reqwest::redirect::Policy::none())
        .https_only(!way.is_plain)
        .connect_timeout(way.connect_timeout)
        .pool_idle_timeout(way.idle_timeout)
        .tcp_nodelay(true)
        .user_agent(concat!("submitd/", env!("CARGO_PKG_VERSION")));
    let builder = match way.proxy {
        HttpProxy::Environment => builder,
        HttpProxy::None => builder.no_proxy(),
        HttpProxy::By(proxy) => builder.no_proxy().proxy(by(proxy)?),
    };
    builder.build().map_err(|error| causes(&error))
}

fn by(proxy: &Proxy) -> Result<reqwest::Proxy, String> {
    let by = reqwest::Proxy::all(proxy.to_string());
    let by = by.map_err(|error| format!("{proxy}: {}", causes(&error)))?;
    Ok(match &proxy.login {
        Some((user, password)) => by.basic_auth(user, password.expose()),
        None => by,
    })
}

/// The causes in one line; the outermost alone says only "error sending request".
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Cause {
        words: &'static str,
        source: Option<Box<Cause>>,
    }

    #[test]
    fn causes_are_told_in_one_line_and_none_twice() {
        let cause = |words, source: Option<Cause>| Cause { words, source: source.map(Box::new) };
        let dns = cause("dns error: no such host", Some(cause("no such host", None)));
        let error = cause("error sending request", Some(cause("client error", Some(dns))));
        assert_eq!(causes(&error), "error sending request: client error: dns error: no such host");
        assert_eq!(causes(&cause("alone", None)), "alone");
    }
}
