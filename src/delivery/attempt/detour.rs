//! The detour by Graph of an account with transport = "auto": when it is taken, kept and left.

use super::Attempt;
use crate::config::Audience;
use crate::delivery::plan::{self, Answers};
use crate::delivery::verdict::{Verdict, is_smtp_off, judge};
use crate::delivery::words::clean;
use crate::oauth::TokenSource;
use crate::queue::Charge;
use crate::upstream::Courier;
use std::sync::atomic::AtomicBool;
use tracing::{info, warn};

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
        let (name, courier) = (self.member.account.name.as_str(), &self.member.courier);
        if audience == Audience::Graph {
            if works(answers) == Some(false) && courier.detoured(false) {
                self.shared.health.goes_by(name, "smtp");
            }
            return None;
        }
        let is_off = |(_, result): &plan::Heard| result.as_ref().is_err_and(is_smtp_off);
        if !answers.heard.iter().any(is_off) {
            if works(answers) == Some(true) && courier.back() {
                info!(account = name, "SMTP AUTH is switched on again; mail goes by SMTP");
                self.shared.health.goes_by(name, "smtp");
            }
            return None;
        }
        if !courier.detour() {
            return None;
        }
        let token = match self.shared.tokens.access_token_for(name, Audience::Graph).await {
            Ok(token) => token,
            Err(error) => {
                courier.detoured(false);
                warn!(account = name, %error, "SMTP AUTH is switched off, and there is no token for Graph");
                return None;
            }
        };
        let by_graph = self.deliver(open, (Audience::Graph, token), charge, charged).await;
        match works(&by_graph) {
            Some(false) => {
                courier.detoured(false);
                let words = by_graph.heard.iter().find_map(|(_, result)| result.as_ref().err());
                let words = words.map(|failure| clean(&failure.to_string())).unwrap_or_default();
                warn!(
                    account = name,
                    words, "SMTP AUTH is switched off, and Graph does not work either"
                );
                return None;
            }
            Some(true) if courier.detoured(true) => {
                warn!(
                    account = name,
                    "SMTP AUTH is switched off; mail goes by Graph, and SMTP is tried again now and then"
                );
                self.shared.health.goes_by(name, "graph");
            }
            _ => {}
        }
        Some(by_graph)
    }
}

/// Whether the way works for the account: the upstream took or judged the mail, or the account is broken
/// there; none where nothing of that was heard.
fn works(answers: &Answers) -> Option<bool> {
    answers.heard.iter().find_map(|(_, result)| match result.as_ref().map_err(judge) {
        Ok(_) | Err(Verdict::Bounce { .. }) => Some(true),
        Err(Verdict::RenewToken { .. } | Verdict::PauseAccount(_)) => Some(false),
        Err(_) => None,
    })
}
