//! `transport` and `[account.graph]`: mail by Microsoft Graph instead of SMTP.
//!
//! It promises that Graph is used only with accounts whose provider has it, and that no token goes over
//! plain http beyond this machine.

use super::endpoint::Asked;
use super::grant::GrantWord;
use super::network::{is_safe, plain_http};
use super::preset::Preset;
use super::section::Section;
use super::value::{Size, Written, words};
use super::{Audience, Grant, Upstream};
use crate::mail::Address;
use crate::mail::addressed::Strangers;
use url::Url;

/// Which way the mail of an account goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// SMTP with XOAUTH2.
    Smtp,
    /// Graph's sendMail.
    Graph(Graph),
    /// SMTP; Graph while the provider says that SMTP AUTH is switched off.
    Auto(Graph),
}

/// `[account.graph]`, filled from cloud and grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// The root, `https://graph.microsoft.com/v1.0`; plain http only to loopback.
    pub url: Url,
    /// What a token for Graph is asked with.
    pub scope: String,
    /// What happens to a message whose header names others than RCPT TO.
    pub recipients: Strangers,
    /// What happens to a message that is too large for one request.
    pub upload: Upload,
    /// Octets of a message that goes in one request.
    pub max_size: u64,
    /// The token is that of the person who owns the mailbox: `/me`; else `/users/{mailbox}`.
    pub is_me: bool,
}

/// What happens to a message that is too large for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// It is refused.
    Off,
    /// It becomes a draft, and its large parts are uploaded; needs Mail.ReadWrite.
    On,
}

/// `transport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransportWord {
    Smtp,
    Graph,
    Auto,
}

words!(TransportWord { "smtp" => Smtp, "graph" => Graph, "auto" => Auto } later {});
words!(Strangers { "refuse" => Refuse, "rewrite" => Rewrite } later {});
words!(Upload { "off" => Off, "on" => On } later {});

impl Graph {
    /// Octets of a message that surely goes in one request, which takes 4 MB with the message as base64 in it.
    /// Field reports found the end at 2,240 KB: larger ones were answered 200 and not sent.
    pub const ONE_REQUEST: u64 = 2_200_000;
}

impl Transport {
    /// What is known of Graph, where the account may use it.
    pub fn graph(&self) -> Option<&Graph> {
        match self {
            Self::Smtp => None,
            Self::Graph(graph) | Self::Auto(graph) => Some(graph),
        }
    }

    /// The word of the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Graph(_) => "graph",
            Self::Auto(_) => "auto",
        }
    }

    /// For which service the account's own token is made.
    pub fn audience(&self) -> Audience {
        match self {
            Self::Graph(_) => Audience::Graph,
            Self::Smtp | Self::Auto(_) => Audience::Smtp,
        }
    }
}

impl super::Account {
    /// Octets of one message that its server takes, by Graph or by SMTP.
    pub fn max_message_size(&self, by_graph: bool) -> u64 {
        let Upstream { max_message_size, .. } = self.upstream;
        match self.transport.graph().filter(|_| by_graph) {
            Some(graph) if graph.upload == Upload::Off => max_message_size.min(graph.max_size),
            _ => max_message_size,
        }
    }

    /// The name of the server that takes its mail.
    pub fn server(&self) -> &str {
        match &self.transport {
            Transport::Graph(graph) => graph.url.host_str().unwrap_or_default(),
            Transport::Smtp | Transport::Auto(_) => &self.upstream.host,
        }
    }
}

/// What a token for Graph is asked with, where nobody writes it.
fn usual_scope(asked: &Asked, root: &str, upload: Upload) -> String {
    match asked.word {
        Some(GrantWord::RefreshToken | GrantWord::AuthorizationCode | GrantWord::DeviceCode) => {
            let drafts = match upload {
                Upload::Off => String::new(),
                Upload::On => format!(" {root}/Mail.ReadWrite"),
            };
            format!("{root}/Mail.Send{drafts} offline_access")
        }
        Some(GrantWord::Password) => format!("{root}/Mail.Send"),
        _ => format!("{root}/.default"),
    }
}

/// Whether the person that signs in owns the mailbox, as far as it is told.
fn is_me(grant: Option<&Grant>, mailbox: Option<&Address>) -> bool {
    let is_own =
        |name: &str| mailbox.is_some_and(|mailbox| mailbox.as_str().eq_ignore_ascii_case(name));
    match grant {
        Some(Grant::SignIn(sign_in)) => is_own(&sign_in.username),
        Some(Grant::Password { username, .. }) => is_own(username),
        // Whose it is, is not told; mostly the mailbox's own.
        Some(Grant::RefreshToken { .. }) => true,
        _ => false,
    }
}

/// `[account.graph]` under this `transport`; none where a problem was found that leaves none to build.
pub(super) fn transport(
    account: &Section<'_>,
    word: TransportWord,
    asked: &Asked,
    grant: Option<&Grant>,
    mailbox: Option<&Address>,
) -> Option<Transport> {
    let section = account.section("graph", "account.graph");
    let root = asked.cloud.endpoints().graph;
    let url = Url::parse(&format!("{root}/v1.0")).ok();
    let url = match url {
        Some(usual) => Some(section.or("url", usual)),
        None => section.optional("url"),
    };
    let recipients = section.or("recipients", Strangers::Refuse);
    let upload = section.or("upload", Upload::Off);
    let scope = section.or("scope", usual_scope(asked, root, upload));
    let max_size =
        section.within("max_size", Size(Graph::ONE_REQUEST), Size(64 << 10)..=Size(150 << 20));
    if url.as_ref().is_some_and(|url| !is_safe(url, false)) {
        let wrong = plain_http();
        section.wrong("url", wrong.what, wrong.remedy);
    }
    if word == TransportWord::Smtp {
        for key in ["url", "recipients", "upload", "scope", "max_size"] {
            if section.is_given(key) {
                let remedy = "leave it out, or write transport = \"graph\" or \"auto\"";
                section.doubt(key, "means nothing with transport = \"smtp\"", remedy);
            }
        }
        section.finish(&[]);
        return Some(Transport::Smtp);
    }
    section.finish(&[]);
    if !matches!(asked.preset, Preset::Office365 | Preset::Outlook) {
        let what = format!("{} has no Microsoft Graph", asked.preset.write());
        account.wrong("transport", what, "leave it out: mail goes by SMTP");
    }
    let brokered = asked.word.is_some_and(GrantWord::is_brokered);
    if word == TransportWord::Auto && brokered {
        let what = "needs tokens for two services, and this grant gives one";
        account.wrong(
            "transport",
            what,
            "write \"smtp\" or \"graph\", for which the token is made",
        );
    }
    let is_me = is_me(grant, mailbox);
    let graph = Graph { url: url?, scope, recipients, upload, max_size: max_size.0, is_me };
    Some(match word {
        TransportWord::Auto => Transport::Auto(graph),
        _ => Transport::Graph(graph),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Account, Config, Limit};

    fn read(keys: &str, graph: &str) -> Result<Config, String> {
        let text = format!(
            "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\ntenant = \"contoso.com\"\n\
             client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\n{keys}\n[account.graph]\n{graph}\n"
        );
        Config::from_text("submitd.toml", &text, &[]).map_err(|problems| problems.to_string())
    }

    fn account(keys: &str, graph: &str) -> Account {
        let config = read(keys, graph).unwrap_or_else(|problems| panic!("{problems}"));
        Account::clone(&config.accounts[0])
    }

    const APP: &str = "grant = \"client_credentials\"\nclient_secret = \"x\"\n";

    #[test]
    fn b24_root_and_scope_follow_cloud_and_grant() {
        for (cloud, root) in [
            ("global", "https://graph.microsoft.com"),
            ("gcc-high", "https://graph.microsoft.us"),
            ("dod", "https://dod-graph.microsoft.us"),
            ("china", "https://microsoftgraph.chinacloudapi.cn"),
        ] {
            let app = account(&format!("{APP}transport = \"graph\"\ncloud = \"{cloud}\""), "");
            let graph = app.transport.graph().expect("graph");
            assert_eq!(graph.url.as_str(), format!("{root}/v1.0"));
            assert_eq!(app.oauth.scope, format!("{root}/.default"));
            assert!(!graph.is_me);
            assert_eq!(app.upstream.connections, Limit::AtMost(4));
            assert!(!app.upstream.binarymime, "nothing says what Graph does with it");
            assert_eq!(app.max_message_size(true), Graph::ONE_REQUEST);
        }
        let person = "grant = \"device_code\"\ntransport = \"graph\"";
        let own = account(person, "upload = \"on\"");
        assert!(own.transport.graph().expect("graph").is_me);
        assert_eq!(
            own.oauth.scope,
            "https://graph.microsoft.com/Mail.Send https://graph.microsoft.com/Mail.ReadWrite offline_access"
        );
        assert_eq!(own.max_message_size(true), 35 << 20);
        let shared = account(&format!("{person}\nusername = \"ann@contoso.com\""), "");
        assert!(!shared.transport.graph().expect("graph").is_me);
    }

    #[test]
    fn auto_asks_for_both_and_keeps_smtps_limits() {
        let auto = account(&format!("{APP}transport = \"auto\""), "");
        assert_eq!(auto.oauth.scope, "https://outlook.office365.com/.default");
        assert_eq!(
            auto.transport.graph().expect("graph").scope,
            "https://graph.microsoft.com/.default"
        );
        assert_eq!(auto.upstream.connections, Limit::AtMost(3));
        assert_eq!(auto.transport.audience(), Audience::Smtp);
        assert_eq!(auto.max_message_size(false), 35 << 20);
        assert_eq!(auto.max_message_size(true), Graph::ONE_REQUEST);
    }

    #[test]
    fn what_cannot_work_is_told() {
        for (keys, graph, expected) in [
            ("transport = \"graph\"", "url = \"http://graph.example/v1.0\"", "plain http"),
            ("transport = \"graph\"", "recipients = \"guess\"", "not known here"),
            ("transport = \"graph\"\npreset = \"hve\"", "", "has no Microsoft Graph"),
            ("transport = \"grahp\"", "", "did you mean \"graph\""),
            ("transport = \"graph\"", "max_size = \"1 GB\"", "out of range"),
        ] {
            let problems = read(&format!("{APP}{keys}"), graph).expect_err(keys);
            assert!(problems.contains(expected), "{keys}: {problems}");
        }
        let file = "grant = \"token_file\"\ntoken_file = \"/nowhere\"\ntransport = \"auto\"";
        assert!(read(file, "").is_err_and(|problems| problems.contains("two services")));
        let idle = read(APP, "recipients = \"rewrite\"").expect("valid");
        assert!(idle.warnings.iter().any(|one| one.to_string().contains("means nothing")));
        assert!(
            read(&format!("{APP}transport = \"graph\""), "url = \"http://127.0.0.1:8/v1.0\"")
                .is_ok()
        );
    }
}
