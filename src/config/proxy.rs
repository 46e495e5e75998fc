//! Proxies on the way out: how they are written, and that their passwords are not shown.
//!
//! It promises that what is shown of a proxy never holds its password.

use super::account::secret;
use super::check::Surroundings;
use super::section::Section;
use super::tree::Node;
use super::value::{self, Wrong, quote};
use crate::secret::Secret;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt;
use url::Url;

/// A proxy that connects us to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken with.
    pub scheme: ProxyScheme,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are to it.
    pub login: Option<(String, Secret)>,
}

/// How a proxy is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyScheme {
    /// HTTP CONNECT (RFC 9110 §9.3.6); it looks the name up.
    Http,
    /// SOCKS5 (RFC 1928); we look the name up.
    Socks5,
    /// SOCKS5; it looks the name up.
    Socks5h,
}

/// The way of a request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpProxy {
    /// As HTTPS_PROXY, ALL_PROXY and NO_PROXY say.
    Environment,
    /// Past every proxy.
    None,
    /// By this one.
    By(Proxy),
}

impl ProxyScheme {
    const ALL: [Self; 3] = [Self::Http, Self::Socks5, Self::Socks5h];

    /// As it stands before `://`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 3128,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

/// Its place: what may be shown, without the login.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, port) = (self.scheme.word(), self.port);
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{port}", self.host),
            false => write!(f, "{scheme}://{}:{port}", self.host),
        }
    }
}

impl Proxy {
    /// As it is written, the password being a word only.
    fn shown(&self) -> String {
        let place = self.to_string();
        match (&self.login, place.split_once("://")) {
            (Some((user, _)), Some((scheme, place))) => {
                let user = utf8_percent_encode(user, NON_ALPHANUMERIC).to_string();
                format!("{scheme}://{user}:(secret)@{place}")
            }
            _ => place,
        }
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        // The text is not repeated: it may hold a password.
        let wrong = |what: &str| {
            Wrong::new(what, "write \"http://proxy.contoso.com:3128\" or socks5://, socks5h://")
        };
        let url = Url::parse(text).map_err(|_| wrong("is no URL"))?;
        let scheme = ProxyScheme::ALL.into_iter().find(|scheme| scheme.word() == url.scheme());
        let Some(scheme) = scheme else {
            return Err(wrong("is not of a kind that is known here"));
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let Some(host) = host else { return Err(wrong("names no host")) };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has something behind the port"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        // The port that belongs to http:// is left out by the parser.
        let usual = if text.trim_end_matches('/').ends_with(":80") { 80 } else { scheme.port() };
        let port = url.port().unwrap_or(usual);
        let decoded =
            |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let user = decoded(user).map_err(|_| wrong("holds a name that is not UTF-8"))?;
                let password = decoded(password.unwrap_or_default())
                    .map_err(|_| wrong("holds a password that is not UTF-8"))?;
                Some((user, Secret::new(password)))
            }
        };
        Ok(Self { scheme, host, port, login })
    }
}

/// `proxy` of the upstream; none = straight.
pub(super) fn upstream(section: &Section<'_>, around: &Surroundings<'_>) -> Option<Proxy> {
    read(section, around, "none", |_| None)
}

/// `proxy` of the token endpoint.
pub(super) fn oauth(section: &Section<'_>, around: &Surroundings<'_>) -> HttpProxy {
    let word = |word: &str| match word {
        "none" => HttpProxy::None,
        _ => HttpProxy::Environment,
    };
    let by = read(section, around, "environment", |word| {
        ["environment", "none"].contains(&word).then_some(())
    });
    let written = section.node("proxy").and_then(|node| value::text(node).ok());
    by.map_or_else(|| word(written.unwrap_or("environment")), HttpProxy::By)
}

fn read(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    default: &'static str,
    is_word: impl Fn(&str) -> Option<()>,
) -> Option<Proxy> {
    let read = |node: &Node| -> Result<Option<Proxy>, Wrong> {
        let text = value::text(node)?;
        match text == default || is_word(text).is_some() {
            true => Ok(None),
            false => Proxy::parse(text).map(Some),
        }
    };
    let found = section.node("proxy").map(read).transpose();
    let mut proxy = match found {
        Ok(proxy) => proxy.flatten(),
        Err(Wrong { what, remedy, .. }) => {
            section.wrong("proxy", what, remedy);
            None
        }
    };
    let word = section.node("proxy").and_then(|node| value::text(node).ok()).unwrap_or(default);
    let shown = proxy.as_ref().map_or_else(|| word.to_owned(), Proxy::shown);
    section.note("proxy", Some(quote(&shown)), Some(quote(default)));
    let password = secret(section, around, "proxy_password", "proxy_password_file");
    if let Some(password) = password {
        match proxy.as_mut().map(|proxy| &mut proxy.login) {
            Some(Some((_, own))) if own.expose().is_empty() => *own = password,
            Some(Some(_)) => section.wrong(
                "proxy",
                "holds a password beside proxy_password",
                "keep one of the two",
            ),
            Some(None) => section.wrong(
                "proxy",
                "names no user for proxy_password",
                "write http://user@host:port",
            ),
            None => {
                section.doubt("proxy_password", "means nothing without a proxy", "leave it out")
            }
        }
    }
    proxy
}
