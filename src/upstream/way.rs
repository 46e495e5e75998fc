//! The way an account's mail goes: SMTP, Graph, or SMTP with Graph as its detour.
//!
//! It promises that the detour is taken only after somebody said that SMTP AUTH is switched off, is kept
//! only once it was shown to work, and is left for SMTP now and then. Who says so is `delivery`.

use super::graph::Graph;
use super::smtp::{Pool, Transit};
use super::{Courier, Credential, Failure, Fault, Outcome, Outgoing, Stage};
use crate::config::{Account, Audience, Transport};
use rustls::ClientConfig;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// After so long SMTP is tried again: an administrator may have switched it on.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);

/// One of the ways.
#[derive(Debug)]
pub enum Way {
    /// SMTP with XOAUTH2.
    Smtp(Pool),
    /// Graph.
    Graph(Box<Graph>),
    /// SMTP while it goes.
    Auto(Box<Detour>),
}

/// SMTP with Graph beside it.
#[derive(Debug)]
pub struct Detour {
    smtp: Pool,
    graph: Graph,
    course: Mutex<Course>,
}

/// Where the next mail goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Course {
    /// By SMTP.
    #[default]
    Smtp,
    /// SMTP AUTH is off; whether Graph works is being tried.
    Trying,
    /// By Graph, until then; afterwards SMTP is asked again, and Graph is known to work.
    Graph { until: Instant },
}

impl Course {
    fn audience(self, now: Instant) -> Audience {
        match self {
            Self::Trying => Audience::Graph,
            Self::Graph { until } if now < until => Audience::Graph,
            Self::Graph { .. } | Self::Smtp => Audience::Smtp,
        }
    }
}

impl Way {
    /// The way of this account. `hostname` is our name in EHLO; `tls` verifies the server.
    pub fn new(account: &Account, hostname: String, tls: Arc<ClientConfig>) -> Self {
        let pool = |tls| Pool::new(account.upstream.clone(), hostname.clone(), tls);
        let by_graph = |graph: &crate::config::Graph| {
            Graph::new(graph.clone(), account.upstream.clone(), account.oauth.proxy.clone(), &tls)
        };
        match &account.transport {
            Transport::Smtp => Self::Smtp(pool(Arc::clone(&tls))),
            Transport::Graph(graph) => Self::Graph(Box::new(by_graph(graph))),
            Transport::Auto(graph) => Self::Auto(Box::new(Detour {
                graph: by_graph(graph),
                smtp: pool(Arc::clone(&tls)),
                course: Mutex::default(),
            })),
        }
    }

    /// Opens further connections under this name and with this trust.
    pub fn reroute(&self, hostname: String, tls: Arc<ClientConfig>) {
        match self {
            Self::Smtp(pool) => pool.reroute(hostname, tls),
            Self::Graph(graph) => graph.reroute(&tls),
            Self::Auto(detour) => {
                detour.graph.reroute(&tls);
                detour.smtp.reroute(hostname, tls);
            }
        }
    }
}

impl Detour {
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Courier for Way {
    /// By the way for which the token was made, which [`Courier::audience`] had said: between the two
    /// another mail may have changed the course.
    async fn deliver(&self, mail: Outgoing<'_>, credential: &Credential) -> Outcome {
        match self {
            Self::Smtp(pool) => pool.deliver(mail, credential).await,
            Self::Graph(graph) => graph.deliver(mail, credential).await,
            Self::Auto(detour) => match credential.audience {
                Audience::Smtp => detour.smtp.deliver(mail, credential).await,
                Audience::Graph => detour.graph.deliver(mail, credential).await,
            },
        }
    }

    async fn transit(&self, credential: &Credential, is_fresh: bool) -> Result<Transit, Failure> {
        match self {
            Self::Smtp(pool) => pool.transit(credential, is_fresh).await,
            Self::Auto(detour) if credential.audience == Audience::Smtp => {
                detour.smtp.transit(credential, is_fresh).await
            }
            Self::Graph(_) | Self::Auto(_) => {
                let text = "mail by Graph is taken only by a listener with mode = \"queue\"";
                let fault = Fault::Local(text.to_owned());
                Err(Failure { stage: Stage::Connect, fault })
            }
        }
    }

    fn audience(&self) -> Audience {
        match self {
            Self::Smtp(_) => Audience::Smtp,
            Self::Graph(_) => Audience::Graph,
            Self::Auto(detour) => detour.course().audience(Instant::now()),
        }
    }

    fn detour(&self) -> bool {
        let Self::Auto(detour) = self else { return false };
        let mut course = detour.course();
        if let Course::Smtp = *course {
            *course = Course::Trying;
        }
        true
    }

    fn detoured(&self, works: bool) -> bool {
        let Self::Auto(detour) = self else { return false };
        let mut course = detour.course();
        let before = std::mem::take(&mut *course);
        if works {
            *course = Course::Graph { until: Instant::now() + LOOK_AGAIN };
        }
        works && !matches!(before, Course::Graph { .. })
    }

    fn back(&self) -> bool {
        let Self::Auto(detour) = self else { return false };
        std::mem::take(&mut *detour.course()) != Course::Smtp
    }

    async fn close_idle(&self) {
        match self {
            Self::Smtp(pool) => pool.close_idle().await,
            Self::Graph(_) => {}
            Self::Auto(detour) => detour.smtp.close_idle().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b24_the_course_is_kept_for_an_hour_and_then_smtp_is_asked() {
        let now = Instant::now();
        for (course, expected) in [
            (Course::Smtp, Audience::Smtp),
            (Course::Trying, Audience::Graph),
            (Course::Graph { until: now + LOOK_AGAIN }, Audience::Graph),
            (Course::Graph { until: now }, Audience::Smtp),
        ] {
            assert_eq!(course.audience(now), expected, "{course:?}");
        }
    }
}
