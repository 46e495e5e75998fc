//! How the upstream learns who we are: by the account's token, by a password, or not at all.
//!
//! It promises that a token never goes over a connection without TLS, and a password only to this machine
//! unless somebody insists. It must not put a secret's text anywhere but into a [`Secret`].

use super::UpstreamTls;
use super::grant::GrantWord;
use super::section::Section;
use super::value::words;
use crate::secret::Secret;
use std::net::IpAddr;

/// How the upstream learns who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// By the account's token.
    Token,
    /// By a name and a password of the smart host.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// It does not: the smart host knows us by our address.
    Nobody,
}

/// `sasl`: the mechanism of AUTH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sasl {
    /// XOAUTH2, else OAUTHBEARER; with a password PLAIN, else LOGIN.
    Auto,
    /// Google's XOAUTH2, which is Exchange's too.
    XOAuth2,
    /// OAUTHBEARER (RFC 7628).
    OAuthBearer,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN.
    Login,
}

words!(Sasl {
    "auto" => Auto, "xoauth2" => XOAuth2, "oauthbearer" => OAuthBearer, "plain" => Plain, "login" => Login,
} later {});

/// What the account says of its smart host.
pub(super) struct Written {
    /// `grant`.
    pub word: Option<GrantWord>,
    /// `username`.
    pub username: Option<String>,
    /// `password`, or what its file holds.
    pub password: Option<Secret>,
}

impl Written {
    /// Whether no token is used.
    pub fn is_tokenless(&self) -> bool {
        self.word == Some(GrantWord::Tokenless)
    }

    /// Whether a password is sent.
    pub fn has_password(&self, account: &Section<'_>) -> bool {
        let given = |key| account.is_given(key);
        self.is_tokenless() && (given("username") || given("password") || given("password_file"))
    }

    /// The login; none where a part of it is missing.
    pub fn login(&self, account: &Section<'_>) -> Option<Login> {
        if !self.is_tokenless() {
            return Some(Login::Token);
        }
        if !self.has_password(account) {
            return Some(Login::Nobody);
        }
        if !account.is_given("username") {
            account.wrong("username", "is missing", "write the name that belongs to the password");
        }
        if !account.is_given("password") && !account.is_given("password_file") {
            let remedy = "write password_file = \"…\", the name of a file that holds it";
            account.wrong("password", "is missing", remedy);
        }
        let (username, password) = (self.username.clone()?, self.password.clone()?);
        if username.is_empty() || username.chars().any(char::is_control) {
            account.wrong("username", "is empty or holds a control character", "write it anew");
        }
        Some(Login::Password { username, password })
    }
}

/// `sasl`; the mechanism must fit what is proved.
pub(super) fn sasl(section: &Section<'_>, written: &Written, has_password: bool) -> Sasl {
    let sasl = section.or("sasl", Sasl::Auto);
    let (fits, what, remedy) = match (written.is_tokenless(), has_password) {
        (false, _) => (
            matches!(sasl, Sasl::Auto | Sasl::XOAuth2 | Sasl::OAuthBearer),
            "carries a password, and this account has a token",
            "write \"xoauth2\" or \"oauthbearer\", or leave it out",
        ),
        (true, true) => (
            matches!(sasl, Sasl::Auto | Sasl::Plain | Sasl::Login),
            "carries a token, and this account has a password",
            "write \"plain\" or \"login\", or leave it out",
        ),
        (true, false) => (
            sasl == Sasl::Auto,
            "means nothing without username and password",
            "leave it out, or write username and password_file",
        ),
    };
    if !fits {
        section.wrong("sasl", what, remedy);
    }
    sasl
}

/// Refuses `tls = "none"` where something would be shown to the network.
pub(super) fn check_tls(
    section: &Section<'_>,
    tls: UpstreamTls,
    written: &Written,
    has_password: bool,
    host: &str,
) {
    let allow_insecure = section.or("allow_insecure", false);
    if tls != UpstreamTls::None {
        return;
    }
    if !written.is_tokenless() {
        let remedy = "write \"starttls\" or \"implicit\"";
        section.wrong("tls", "a token goes over this connection", remedy);
    } else if has_password && !is_this_machine(host) && !allow_insecure {
        let remedy =
            "write \"starttls\" or \"implicit\"; allow_insecure = true sends it all the same";
        section.wrong("tls", "the password would be shown to the network", remedy);
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Grant, Limit, Upstream};

    fn read(account: &str, upstream: &str) -> Result<Config, String> {
        let text = format!(
            "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n{account}\n[account.upstream]\n{upstream}\n"
        );
        Config::from_text("submitd.toml", &text, &[]).map_err(|all| all.to_string())
    }

    fn upstream(account: &str, upstream: &str) -> Upstream {
        read(account, upstream).unwrap().accounts[0].upstream.clone()
    }

    const OPEN: &str = "grant = \"none\"";
    const CLOSED: &str = "grant = \"none\"\nusername = \"u\"\npassword = \"hunter2\"";
    const TOKEN: &str =
        "preset = \"generic\"\ngrant = \"token_command\"\ntoken_command = [\"/bin/t\"]";

    #[test]
    fn a_smart_host_needs_a_host_and_nothing_else() {
        let config = read(OPEN, "host = \"mail.contoso.com\"").unwrap();
        let account = &config.accounts[0];
        assert_eq!((&account.grant, &account.upstream.login), (&Grant::Tokenless, &Login::Nobody));
        assert_eq!(account.upstream.tls, UpstreamTls::StartTls);
        assert_eq!(account.upstream.messages_per_minute, Limit::Unlimited);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert!(read(OPEN, "").unwrap_err().contains("upstream.host: is missing"));
        // What is shown can be read back.
        let again = Config::from_text("submitd.toml", &config.show(false), &[]).unwrap();
        assert_eq!(again.accounts, config.accounts);
    }

    #[test]
    fn a_password_belongs_to_a_name() {
        let found = upstream(CLOSED, "host = \"mail\"\nsasl = \"login\"");
        let password = Secret::new("hunter2");
        assert_eq!(found.login, Login::Password { username: "u".into(), password });
        assert_eq!(found.sasl, Sasl::Login);
        assert_eq!(upstream(TOKEN.trim(), "host = \"mail\"").login, Login::Token);
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_remedy() {
        let host = "host = \"mail\"\n";
        let plain = "host = \"mail\"\ntls = \"none\"\n";
        for (account, upstream, expected) in [
            ("grant = \"none\"\nusername = \"u\"", host, "password: is missing"),
            ("grant = \"none\"\npassword = \"p\"", host, "username: is missing"),
            (OPEN, "host = \"mail\"\nsasl = \"plain\"", "without username and password"),
            (CLOSED, "host = \"mail\"\nsasl = \"xoauth2\"", "carries a token"),
            (TOKEN, "host = \"mail\"\nsasl = \"plain\"", "carries a password"),
            (CLOSED, plain, "would be shown to the network"),
            (TOKEN, plain, "a token goes over this connection"),
            (
                TOKEN,
                "host = \"localhost\"\ntls = \"none\"\nallow_insecure = true",
                "a token goes over this connection",
            ),
            ("preset = \"gmail\"\ngrant = \"none\"", host, "does not work with preset"),
        ] {
            let found = read(account, upstream).unwrap_err();
            assert!(found.contains(expected), "{expected}: {found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }

    #[test]
    fn without_tls_only_what_nobody_may_read_is_refused() {
        for (account, settings) in [
            (OPEN, "host = \"mail\""),
            (CLOSED, "host = \"localhost\""),
            (CLOSED, "host = \"127.0.0.1\""),
            (CLOSED, "host = \"mail\"\nallow_insecure = true"),
        ] {
            let settings = format!("{settings}\ntls = \"none\"");
            assert_eq!(upstream(account, &settings).tls, UpstreamTls::None, "{settings}");
        }
    }
}
