//! What Microsoft Graph shall do wrong: `graph` of the faults.

use crate::sandbox::fault_value::{Fault, Switch};
use crate::sandbox::faults::FaultBody;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Faults of Microsoft Graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphFaults {
    /// Instead of an answer of our own, by step: `{"send_mail": 503}`.
    pub answers: BTreeMap<GraphStep, Fault<GraphAnswer>>,
    /// Where the connection is cut without a word.
    pub drop_at: BTreeMap<GraphPoint, Switch>,
    /// Milliseconds before an answer.
    pub delay_ms: u64,
    /// Nothing is answered to a whole request until this is switched off.
    pub hold: bool,
    /// A mail that is too large for `sendMail` is refused with 413; real servers answered 200 and did not send it.
    pub too_large_is_told: bool,
}

/// Where an answer can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphStep {
    /// `POST sendMail`.
    SendMail,
    /// `POST messages`.
    Draft,
    /// `POST messages/{id}/attachments`.
    Attachment,
    /// `POST messages/{id}/attachments/createUploadSession`.
    Session,
    /// A piece of an upload.
    Upload,
    /// `POST messages/{id}/send`.
    Send,
    /// `DELETE messages/{id}`.
    Delete,
}

impl GraphStep {
    /// Whether it sends a mail where all goes well.
    pub(super) fn sends(self) -> bool {
        matches!(self, Self::SendMail | Self::Send)
    }
}

/// Where the connection can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphPoint {
    /// When the head of a request has come.
    Head,
    /// When the first octets of its body have come.
    Body,
    /// After a whole request that sends a mail; the mail is lost.
    AfterBodyBeforeAccept,
    /// After a whole request that sends a mail; the mail is sent, but nobody tells the client.
    AfterBodyAfterAccept,
}

/// A whole answer: the status alone, or `{"status": 429, "code": "ApplicationThrottled", "retry_after": "7"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The error's code; none stands for an answer that is no JSON, as gateways send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error's text.
    pub message: String,
    /// `Retry-After`: seconds or an HTTP date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// The body where there is no code.
    pub body: FaultBody,
    /// What was asked is done all the same.
    pub done: bool,
}

impl GraphAnswer {
    /// Nothing but this status.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            code: None,
            message: String::new(),
            retry_after: None,
            body: FaultBody::Html,
            done: false,
        }
    }

    /// This error, as Graph writes it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self { code: Some(code.to_owned()), message: message.to_owned(), ..Self::status(status) }
    }
}

impl<'de> Deserialize<'de> for GraphAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            status: u16,
            code: Option<String>,
            #[serde(default)]
            message: String,
            retry_after: Option<String>,
            #[serde(default)]
            body: FaultBody,
            #[serde(default)]
            done: bool,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Status(u16),
            Whole(Whole),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Status(status) => Self::status(status),
            Written::Whole(Whole { status, code, message, retry_after, body, done }) => {
                Self { status, code, message, retry_after, body, done }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Faults;

    #[test]
    fn answers_are_written_short_or_whole() {
        let mut faults = Faults::default();
        for assignment in [
            "graph.answers.send_mail=504",
            r#"graph.answers.send={"what": {"status": 429, "code": "ApplicationThrottled", "retry_after": "7"}, "times": 2}"#,
            "graph.drop_at.after_body_after_accept=1",
            "graph.too_large_is_told=true",
        ] {
            faults.set(assignment).expect(assignment);
        }
        let answers = &faults.graph.answers;
        assert_eq!(answers[&GraphStep::SendMail], Fault::always(GraphAnswer::status(504)));
        let throttled = GraphAnswer {
            retry_after: Some("7".into()),
            ..GraphAnswer::error(429, "ApplicationThrottled", "")
        };
        assert_eq!(answers[&GraphStep::Send], Fault::times(throttled, 2));
        let again = serde_json::to_string(&faults).expect("json");
        assert_eq!(serde_json::from_str::<Faults>(&again).expect("again"), faults);
        for wrong in
            ["graph.answers.sendmail=504", r#"graph.answers.draft={"state": 1}"#, "graph.x=1"]
        {
            assert!(faults.set(wrong).is_err(), "{wrong}");
        }
    }
}
