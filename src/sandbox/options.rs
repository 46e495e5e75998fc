//! How a sandbox is set up: where it listens, who lives in it, how far one may go.

use super::consent::SignIns;
use super::faults::Faults;
use super::identities::Identities;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How a sandbox is set up. The default listens on free ports of 127.0.0.1 and has one mailbox.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the mail server listens; port 0 takes a free one.
    pub smtp: SocketAddr,
    /// Where token endpoint and control listen; port 0 takes a free one.
    pub web: SocketAddr,
    /// A name for which the certificate is good too, besides `localhost`, 127.0.0.1 and ::1.
    pub host_name: String,
    /// The tenant's domain.
    pub tenant: String,
    /// The tenant's id, a GUID. Good wherever the domain is.
    pub tenant_id: String,
    /// The application that proves itself with a secret.
    pub client_id: String,
    /// Its secret (the value).
    pub client_secret: Secret,
    /// The secret's own id: sending it instead of the value is the most frequent mistake.
    pub client_secret_id: String,
    /// The object id of its enterprise application, which Exchange wants to know.
    pub object_id: String,
    /// Exchange has a role for the application and no permission on mailboxes: then a token must carry no permission
    /// of its own, or the missing one on the mailbox counts.
    pub exchange_role: bool,
    /// What the application may do at Microsoft Graph.
    pub graph_roles: Vec<String>,
    /// The mailboxes that it may do this with, as an access policy or a role with a scope in Exchange says; none
    /// named: all.
    pub graph_mailboxes: Vec<String>,
    /// An application without a secret, for refresh tokens.
    pub public_client_id: String,
    /// The refresh token somebody signed in for; it belongs to the first mailbox.
    pub refresh_token: Secret,
    /// Other proofs: passwords, certificates, identities of machines, Google.
    pub identities: Identities,
    /// Who signs in with a browser, and where they are sent back.
    pub sign_ins: SignIns,
    /// The mailboxes. Their passwords serve at Entra only: Exchange takes only tokens.
    pub mailboxes: Vec<Mailbox>,
    /// How far one may go.
    pub limits: Limits,
    /// What goes wrong from the start.
    pub faults: Faults,
    /// Where each mail is written to, as `000001.eml` and `000001.json`; nowhere by default.
    pub dir: Option<PathBuf>,
}

/// A mailbox that mail can be sent through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The primary address.
    pub address: String,
    /// Other addresses it may send as; `*` stands for any.
    pub send_as: Vec<String>,
}

impl Mailbox {
    /// A mailbox that may send as itself only.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), send_as: Vec::new() }
    }

    /// What Graph writes into From before the address, whatever stood there.
    pub fn name(&self) -> &str {
        self.address.split_once('@').map_or(self.address.as_str(), |(name, _)| name)
    }
}

/// Exchange Online's limits. Zero means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections that send, per mailbox.
    pub connections: u32,
    /// Mails a minute, per mailbox.
    pub messages_per_minute: u32,
    /// What becomes of a mail above that.
    pub excess: Excess,
    /// RCPT TO of one mail.
    pub recipients_per_message: u32,
    /// Recipients in all, per mailbox.
    pub recipients_per_day: u32,
    /// Octets of one mail that a mailbox may send. (SIZE in EHLO is the server's and larger.)
    pub message_size: u64,
    /// Requests at Microsoft Graph at once, of an application to a mailbox.
    pub graph_requests: u32,
    /// Octets of base64 that `sendMail` takes; what is larger is answered 200 and not sent.
    pub graph_mime_size: u64,
    /// Octets of any request at Microsoft Graph.
    pub graph_request_size: u64,
    /// Seconds of silence until the server hangs up.
    pub idle_seconds: u64,
    /// Wrong commands until the server hangs up.
    pub errors: u32,
    /// Mails kept; older ones are forgotten.
    pub kept_messages: u32,
    /// Octets of mails kept.
    pub kept_octets: u64,
}

/// What becomes of a mail above the rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Excess {
    /// The answer to its final dot is late.
    #[default]
    Delay,
    /// MAIL is refused.
    Refuse,
}

impl Limits {
    /// What the service has.
    pub const EXCHANGE: Limits = Limits {
        connections: 3,
        messages_per_minute: 30,
        excess: Excess::Delay,
        recipients_per_message: 500,
        recipients_per_day: 10_000,
        message_size: 35 * 1_048_576,
        graph_requests: 4,
        graph_mime_size: 3_000_000,
        graph_request_size: 4 * 1_048_576,
        idle_seconds: 300,
        errors: 10,
        kept_messages: 10_000,
        kept_octets: 512 * 1_048_576,
    };

    /// No limit on connections, rate and recipients a day: for loads.
    pub const NONE: Limits = Limits {
        connections: 0,
        messages_per_minute: 0,
        recipients_per_day: 0,
        graph_requests: 0,
        ..Self::EXCHANGE
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::EXCHANGE
    }
}

impl Default for Options {
    fn default() -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            smtp: loopback,
            web: loopback,
            host_name: "smtp.sandbox.example".into(),
            tenant: "contoso.onmicrosoft.com".into(),
            tenant_id: "5c3b1d6e-8f0a-4e52-9d37-2b6f1a40c9e8".into(),
            client_id: "0f8fad5b-d9cb-469f-a165-70867728950e".into(),
            // The shape of a real one: 40 characters with `~`, `.`, `_` and `-`.
            client_secret: Secret::new("Zk48Q~sandbox.only-not_a.real~secret-7dQ"),
            client_secret_id: "b7a1f5c2-3d84-4b0e-a6f9-91c0d2e7f6a3".into(),
            object_id: "a1d5e3c7-6b20-4f8e-9c14-d7f30b5e8a26".into(),
            exchange_role: false,
            graph_roles: vec!["Mail.Send".into(), "Mail.ReadWrite".into()],
            graph_mailboxes: Vec::new(),
            public_client_id: "7c9e6679-7425-40de-944b-e07fc1f90ae7".into(),
            refresh_token: Secret::new(format!(
                "0.AXoAbh07XAqPUk6dNytvGkDJ6{}",
                "sandbox".repeat(80)
            )),
            identities: Identities::default(),
            sign_ins: SignIns::default(),
            mailboxes: vec![Mailbox::new("erp@contoso.com")],
            limits: Limits::default(),
            faults: Faults::default(),
            dir: None,
        }
    }
}
