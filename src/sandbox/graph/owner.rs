//! Who asks for what: the path of a request, and the token against it.

use super::faults::GraphStep;
use super::refusal::Refusal;
use crate::sandbox::options::Mailbox;
use crate::sandbox::token::{Grant, Owner, TokenFault};
use crate::sandbox::world::World;
use axum::http::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;
use std::time::SystemTime;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The user of `/users/{…}`; none is `/me`.
    user: Option<String>,
    pub(super) step: GraphStep,
    /// The draft, where the step is about one.
    pub(super) draft: String,
}

/// Somebody who may do what was asked.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) mailbox: Mailbox,
    pub(super) client_id: String,
}

impl Asked {
    /// Reads the path behind `/v1.0/`, not decoded yet.
    ///
    /// # Errors
    /// There is nothing of this name, or it knows no such verb.
    pub(super) fn read(method: &Method, path: &str) -> Result<Self, Refusal> {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let parts: Vec<String> = path.split('/').map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (user, rest) = match parts.as_slice() {
            ["me", rest @ ..] => (None, rest),
            ["users", user, rest @ ..] => (Some((*user).to_owned()), rest),
            other => return Err(unknown(other)),
        };
        let (step, draft) = match rest {
            ["sendMail"] => (GraphStep::SendMail, ""),
            ["messages"] => (GraphStep::Draft, ""),
            ["messages", draft] if method == Method::DELETE => (GraphStep::Delete, *draft),
            ["messages", draft, "send"] => (GraphStep::Send, *draft),
            ["messages", draft, "attachments"] => (GraphStep::Attachment, *draft),
            ["messages", draft, "attachments", "createUploadSession"] => {
                (GraphStep::Session, *draft)
            }
            other => return Err(unknown(other)),
        };
        if method != Method::POST && step != GraphStep::Delete {
            let message = "The OData request is not supported.";
            return Err(Refusal::new(405, "ErrorInvalidRequest", message));
        }
        Ok(Self { user, step, draft: draft.to_owned() })
    }

    /// Whether the token of the request may do this, and with which mailbox.
    ///
    /// # Errors
    /// Graph's refusal.
    pub(super) fn permit(
        &self,
        world: &World,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Caller, Refusal> {
        let grant = grant(world, headers, now)?;
        let user = match (&self.user, &grant.owner) {
            (Some(user), _) | (None, Owner::Mailbox(user)) => user,
            (None, Owner::Application) => {
                let message = "/me request is only valid with delegated authentication flow.";
                return Err(Refusal::bad("BadRequest", message));
            }
        };
        let options = &world.options;
        let is_user = |known: &String| known.eq_ignore_ascii_case(user);
        let Some(mailbox) = options.mailboxes.iter().find(|mailbox| is_user(&mailbox.address))
        else {
            let is_person = options.sign_ins.people.iter().any(is_user);
            return Err(if is_person { Refusal::no_mailbox() } else { Refusal::no_user(user) });
        };
        let holds = |name: &str| grant.permissions.iter().any(|held| held == name);
        let plain = if self.step.sends() { "Mail.Send" } else { "Mail.ReadWrite" };
        let is_permitted = match &grant.owner {
            Owner::Application => holds(plain),
            Owner::Mailbox(own) if is_user(own) => holds(plain),
            Owner::Mailbox(own) => {
                holds(&format!("{plain}.Shared")) && is_delegate(world, own, &mailbox.address)
            }
        };
        if !is_permitted {
            return Err(Refusal::denied());
        }
        let scope = &options.graph_mailboxes;
        if grant.owner == Owner::Application && !scope.is_empty() && !scope.iter().any(is_user) {
            return Err(Refusal::policy());
        }
        Ok(Caller { mailbox: mailbox.clone(), client_id: grant.client_id })
    }
}

fn unknown(parts: &[&str]) -> Refusal {
    let segment = parts.iter().find(|part| !part.is_empty()).copied().unwrap_or_default();
    let message = format!("Resource not found for the segment '{segment}'.");
    Refusal::bad("BadRequest", message)
}

fn is_delegate(world: &World, user: &str, mailbox: &str) -> bool {
    let is = |known: &str, name: &str| known.eq_ignore_ascii_case(name);
    let delegates = &world.options.sign_ins.delegates;
    delegates.iter().any(|(who, whose)| is(who, user) && is(whose, mailbox))
}

fn grant(world: &World, headers: &HeaderMap, now: SystemTime) -> Result<Grant, Refusal> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = shown.and_then(|shown| shown.strip_prefix("Bearer ")) else {
        return Err(Refusal::token("Access token is empty."));
    };
    world.seen().add(token);
    world.tokens().for_graph(token, now).map_err(|fault| {
        Refusal::token(match fault {
            TokenFault::Expired => "Lifetime validation failed, the token is expired.",
            TokenFault::Audience => "Access token validation failure. Invalid audience.",
            _ => "Access token validation failure. Invalid signature.",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_an_owner_and_a_step() {
        for (method, path, expected) in [
            ("POST", "me/sendMail", Some((None, GraphStep::SendMail, ""))),
            ("POST", "users/a%2Bb@x/messages", Some((Some("a+b@x"), GraphStep::Draft, ""))),
            ("DELETE", "me/messages/AAMk%3D", Some((None, GraphStep::Delete, "AAMk="))),
            ("POST", "me/messages/1/send", Some((None, GraphStep::Send, "1"))),
            ("POST", "me/messages/1/attachments", Some((None, GraphStep::Attachment, "1"))),
            (
                "POST",
                "users/x/messages/1/attachments/createUploadSession",
                Some((Some("x"), GraphStep::Session, "1")),
            ),
            ("GET", "me/sendMail", None),
            ("POST", "me", None),
            ("POST", "users", None),
            ("POST", "", None),
            ("POST", "me/sendMail/", None),
        ] {
            let asked = Asked::read(&method.parse().expect("method"), path).ok();
            let expected = expected.map(|(user, step, draft)| Asked {
                user: user.map(str::to_owned),
                step,
                draft: draft.to_owned(),
            });
            assert_eq!(asked, expected, "{method} {path}");
        }
    }
}
