//! The detour by Graph of an account with transport = "auto": taken within the try in which SMTP said that AUTH
//! is switched off.

use super::Attempt;
use crate::config::{Audience, Transport};
use crate::delivery::course::works;
use crate::delivery::plan::{self, Answers};
use crate::delivery::verdict::is_smtp_off;
use crate::delivery::words::clean;
use crate::diagnosis::Class;
use crate::oauth::TokenSource;
use crate::queue::Charge;
use crate::upstream::Courier;
use std::sync::atomic::AtomicBool;
use tracing::warn;

impl<T: TokenSource, C: Courier + 'static> Attempt<T, C> {
    /// Where SMTP AUTH is switched off and there is another way: the mail by that, with a token for it.
    /// None where it was not turned, or the other way does not work either: what SMTP said then counts.
    pub(super) async fn turned(
        &self,
        audience: Audience,
        answers: &Answers,
        open: &[usize],
        charge: Option<&Charge>,
        charged: &AtomicBool,
    ) -> Option<Answers> {
        let (account, courses) = (&self.member.account, &self.shared.courses);
        let name = account.name.as_str();
        if audience == Audience::Graph {
            courses.graph_works(account, shown(answers)).await;
            return None;
        }
        if !self.is_off(audience, answers) {
            if shown(answers) == Some(true) {
                courses.smtp_works(name).await;
            }
            return None;
        }
        courses.smtp_is_off(account);
        let token = self.shared.tokens.access_token_for(name, Audience::Graph).await;
        let by_graph = match token {
            Ok(token) => self.go(open, (Audience::Graph, token), charge, charged).await,
            Err(error) => Err(error),
        };
        let by_graph = match by_graph {
            Ok(by_graph) => by_graph,
            Err(error) => {
                let is_passing = error.class == Class::Transient;
                courses.graph_works(account, (!is_passing).then_some(false)).await;
                warn!(account = name, %error, "SMTP AUTH is switched off, and there is no token for Graph");
                return None;
            }
        };
        let works = shown(&by_graph);
        courses.graph_works(account, works).await;
        if works != Some(false) {
            return Some(by_graph);
        }
        let words = by_graph.heard.iter().find_map(|(_, result)| result.as_ref().err());
        let words = words.map(|failure| clean(&failure.to_string())).unwrap_or_default();
        warn!(account = name, words, "SMTP AUTH is switched off, and Graph does not work either");
        None
    }

    /// Whether SMTP said that AUTH is switched off, and there is another way.
    pub(super) fn is_off(&self, audience: Audience, answers: &Answers) -> bool {
        let is_auto = matches!(self.member.account.transport, Transport::Auto(_));
        let is_off = |(_, result): &plan::Heard| result.as_ref().is_err_and(is_smtp_off);
        is_auto && audience == Audience::Smtp && answers.heard.iter().any(is_off)
    }
}

/// What the answers show of their way.
pub(super) fn shown(answers: &Answers) -> Option<bool> {
    answers.heard.iter().find_map(|(_, result)| works(result))
}
