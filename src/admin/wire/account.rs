//! One account: what the configuration says of it, and how it stands. Pure.

use super::Time;
use crate::config::{self, Limit, Transport};
use crate::delivery::Standing;
use crate::oauth::AccountStatus;
use crate::oauth::token::Condition;
use crate::queue;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// One account. It holds no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The mailbox it sends through.
    pub mailbox: String,
    /// How a token is had: the word of the configuration.
    pub grant: String,
    /// Which way its mail goes: `smtp` or `graph`; with transport = "auto" the way it goes now.
    #[serde(default)]
    pub transport: String,
    /// The server that takes the mail, `smtp.office365.com:587` or `graph.microsoft.com`.
    pub upstream: String,
    /// The endpoint that gives tokens.
    pub token_url: String,
    /// What is asked for there.
    pub scope: String,
    /// Connections at once; null where there is no limit.
    pub connections: Option<u32>,
    /// Messages a minute; null where there is no limit.
    pub messages_per_minute: Option<u32>,
    /// Senders it is authorised for, besides the mailbox.
    pub senders: Vec<String>,
    /// Clients that send through it because of where they are.
    pub networks: Vec<String>,
    /// Until when its certificate is good; null where it has none.
    pub certificate_expires: Option<Time>,
    /// Until when its client secret is good, where the configuration says so.
    pub client_secret_expires: Option<Time>,
    /// Until when its sign-in is good unless it is used; null where none is stored or that is not known.
    #[serde(default)]
    pub sign_in_expires: Option<Time>,
    /// By Graph only because SMTP AUTH is switched off; null where mail goes its first way.
    #[serde(default)]
    pub detour: Option<Detour>,
    /// Its token; null where no daemon was asked.
    pub token: Option<Token>,
    /// Why it sends nothing now; null where it does.
    pub pause: Option<Pause>,
}

/// Mail of an account with transport = "auto" goes by Graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detour {
    /// Since when SMTP AUTH is known to be switched off.
    pub since: Time,
    /// When SMTP is tried again.
    pub again: Time,
}

/// The token of an account, never the token itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// `active`, `absent` (none was asked for yet), `refused` (by the upstream; another one is being had) or
    /// `failed`.
    pub condition: String,
    /// Until when the token at hand may be used; null where there is none.
    pub good_until: Option<Time>,
    /// Failures in a row.
    pub failures: u32,
    /// What went wrong last, if nothing went right since.
    pub error: Option<TokenFault>,
}

/// Why no newer token could be had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenFault {
    /// Who can mend it: `transient`, `sign-in` or `administrator`.
    pub class: String,
    /// What the provider said.
    pub message: String,
    /// The next step, where one is known.
    pub remedy: Option<String>,
    /// It is not asked for again before this.
    pub retry_at: Option<Time>,
}

/// Why an account sends nothing now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Who can mend it: `transient`, `sign-in` or `administrator`.
    pub class: String,
    /// What is wrong.
    pub meaning: String,
    /// What is to be done; empty where it passes by itself.
    pub remedy: String,
    /// The other side's words.
    pub words: String,
    /// When it is tried again.
    pub until: Time,
}

impl Account {
    /// As the configuration has it, with nothing known of how it stands.
    pub fn new(account: &config::Account, certificate_expires: Option<SystemTime>) -> Self {
        let limit = |limit| match limit {
            Limit::AtMost(number) => Some(number),
            Limit::Unlimited => None,
        };
        let upstream = &account.upstream;
        Self {
            name: account.name.clone(),
            mailbox: account.mailbox.to_string(),
            grant: account.grant.word().to_owned(),
            transport: match account.transport {
                Transport::Graph(_) => "graph".to_owned(),
                Transport::Smtp | Transport::Auto(_) => "smtp".to_owned(),
            },
            upstream: match account.transport {
                Transport::Graph(_) => account.server().to_owned(),
                _ => format!("{}:{}", upstream.host, upstream.port),
            },
            token_url: account.oauth.token_url.to_string(),
            scope: account.oauth.scope.clone(),
            connections: limit(upstream.connections),
            messages_per_minute: limit(upstream.messages_per_minute),
            senders: account.senders.iter().map(ToString::to_string).collect(),
            networks: account.networks.iter().map(ToString::to_string).collect(),
            certificate_expires: certificate_expires.map(Time),
            client_secret_expires: account.client_secret_expires.map(Time),
            sign_in_expires: None,
            detour: None,
            token: None,
            pause: None,
        }
    }
}

impl Account {
    /// As delivery knows its way.
    pub fn take_round(&mut self, detour: Option<queue::Detour>) {
        let Some(queue::Detour { since, again, .. }) = detour else { return };
        "graph".clone_into(&mut self.transport);
        self.detour = Some(Detour { since: Time(since), again: Time(again) });
    }
}

impl Token {
    /// As the keeper tells it at `now`.
    pub fn new(status: AccountStatus, now: SystemTime) -> Self {
        let condition = match status.condition {
            Condition::Absent => "absent",
            Condition::Active => "active",
            Condition::Refused => "refused",
            Condition::Failed => "failed",
        };
        Self {
            condition: condition.to_owned(),
            good_until: status.expires_in.map(|left| Time(now + left)),
            failures: status.failures,
            error: status.last_error.map(|error| TokenFault {
                class: error.class.as_str().to_owned(),
                message: error.message,
                remedy: error.remedy,
                retry_at: error.retry_after.map(|wait| Time(now + wait)),
            }),
        }
    }
}

impl From<Standing> for Pause {
    fn from(standing: Standing) -> Self {
        Self {
            class: standing.class.as_str().to_owned(),
            meaning: standing.meaning,
            remedy: standing.remedy,
            words: standing.words,
            until: Time(standing.until),
        }
    }
}
