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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(upstream: &str, oauth: &str) -> Result<Config, String> {
        let text = format!(
            "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\ngrant = \"token_command\"\n\
             token_command = [\"/bin/t\"]\n[account.upstream]\n{upstream}\n[account.oauth]\n{oauth}\n"
        );
        Config::from_text("submitd.toml", &text, &[]).map_err(|all| all.render(false))
    }

    fn proxy(upstream: &str) -> Option<Proxy> {
        read(upstream, "").unwrap().accounts[0].upstream.proxy.clone()
    }

    #[test]
    fn every_way_of_writing_it() {
        for (text, place, login) in [
            ("http://proxy", "http://proxy:3128", None),
            ("http://proxy:80/", "http://proxy:80", None),
            ("http://proxy:8080", "http://proxy:8080", None),
            ("socks5://10.0.0.1", "socks5://10.0.0.1:1080", None),
            ("socks5h://[fd00::1]:9050", "socks5h://[fd00::1]:9050", None),
            ("http://me:pass%3Aword@proxy", "http://proxy:3128", Some(("me", "pass:word"))),
            ("socks5://me%40x:p%25@proxy:1", "socks5://proxy:1", Some(("me@x", "p%"))),
        ] {
            let found = proxy(&format!("proxy = \"{text}\"")).unwrap();
            assert_eq!(found.to_string(), place, "{text}");
            let login = login.map(|(user, password)| (user.to_owned(), Secret::new(password)));
            assert_eq!(found.login, login, "{text}");
        }
        assert_eq!(proxy("proxy = \"none\""), None);
        assert_eq!(proxy(""), None);
        let found = proxy("proxy = \"http://me@proxy\"\nproxy_password = \"hunter2\"").unwrap();
        assert_eq!(found.login, Some(("me".into(), Secret::new("hunter2"))));
    }

    #[test]
    fn the_token_endpoint_has_its_own() {
        for (text, expected) in [
            ("", HttpProxy::Environment),
            ("proxy = \"environment\"", HttpProxy::Environment),
            ("proxy = \"none\"", HttpProxy::None),
        ] {
            assert_eq!(read("", text).unwrap().accounts[0].oauth.proxy, expected);
        }
        let config = read("", "proxy = \"socks5h://proxy:1\"").unwrap();
        let HttpProxy::By(found) = &config.accounts[0].oauth.proxy else { panic!("none") };
        assert_eq!(found.to_string(), "socks5h://proxy:1");
        assert_eq!(config.accounts[0].upstream.proxy, None, "neither follows from the other");
    }

    #[test]
    fn a_password_is_neither_shown_nor_told() {
        let config = read("proxy = \"http://me:hunter2@proxy\"", "proxy = \"http://me:hunter2@p\"");
        let shown = config.unwrap().show(true);
        assert!(
            !shown.contains("hunter2") && shown.contains("http://me:(secret)@proxy:3128"),
            "{shown}"
        );
        for (text, expected) in [
            ("proxy = \"https://me:hunter2@proxy\"", "is not of a kind that is known here"),
            ("proxy = \"me:hunter2@proxy\"", "is not of a kind"),
            ("proxy = \"http://me:hunter2@proxy/x\"", "something behind the port"),
            ("proxy = \"http://me:hunter2@proxy:port\"", "is no URL"),
            ("proxy = \"hunter2\"", "is no URL"),
            ("proxy = \"environment\"", "is no URL"),
            (
                "proxy = \"http://me:hunter2@proxy\"\nproxy_password = \"hunter2\"",
                "a password beside proxy_password",
            ),
            ("proxy = \"http://proxy\"\nproxy_password = \"hunter2\"", "names no user"),
        ] {
            let told = read(text, "").unwrap_err();
            assert!(told.contains(expected) && !told.contains("hunter2"), "{text}: {told}");
        }
        let config = read("proxy_password = \"hunter2\"", "").unwrap();
        assert!(config.warnings[0].to_string().contains("means nothing without a proxy"));
    }
}
