//! What Graph refuses, in its words and its JSON.

use crate::sandbox::random;
use crate::sandbox::web::{insert, json_answer};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;
use std::borrow::Cow;
use std::time::SystemTime;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: Cow<'static, str>,
    pub(super) message: Cow<'static, str>,
    pub(super) retry_after: Option<String>,
}

impl Refusal {
    pub(super) fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after: None }
    }

    /// 400, what most errors of a request are.
    pub(super) fn bad(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, code, message)
    }

    /// 401.
    pub(super) fn token(message: &'static str) -> Self {
        Self::new(401, "InvalidAuthenticationToken", message)
    }

    /// The token lacks a permission, or does not reach the mailbox.
    pub(super) fn denied() -> Self {
        let message = "Access is denied. Check credentials and try again.";
        Self::new(403, "ErrorAccessDenied", message)
    }

    /// An access policy keeps the application from the mailbox.
    pub(super) fn policy() -> Self {
        let message = "Access to OData is disabled: [RAOP] : Blocked by tenant configured AppOnly \
                       AccessPolicy settings.";
        Self::new(403, "ErrorAccessDenied", message)
    }

    /// From names somebody else.
    pub(super) fn send_as() -> Self {
        let message = "The user account which was used to submit this request does not have the right to \
                       send mail on behalf of the specified sending account. Cannot submit message.";
        Self::new(403, "ErrorSendAsDenied", message)
    }

    /// Nobody of this name.
    pub(super) fn no_user(name: &str) -> Self {
        Self::new(404, "ErrorInvalidUser", format!("The requested user '{name}' is invalid."))
    }

    /// A person without a mailbox in Exchange Online.
    pub(super) fn no_mailbox() -> Self {
        let message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise.";
        Self::new(404, "MailboxNotEnabledForRESTAPI", message)
    }

    /// No such draft, file or upload.
    pub(super) fn not_found() -> Self {
        let message = "The specified object was not found in the store.";
        Self::new(404, "ErrorItemNotFound", message)
    }

    /// Nobody to send it to.
    pub(super) fn no_recipients() -> Self {
        let message = "At least one recipient is not valid., A message can't be sent because it contains no \
                       recipients.";
        Self::bad("ErrorInvalidRecipients", message)
    }

    /// What is no address.
    pub(super) fn recipient(text: &str) -> Self {
        let message = format!(
            "At least one recipient is not valid., Recipient '{text}' isn't resolved. All recipients must be \
             resolved before a message can be submitted."
        );
        Self::bad("ErrorInvalidRecipients", message)
    }

    /// Larger than any request may be.
    pub(super) fn too_large() -> Self {
        let message = "The maximum request length supported is 4MB.";
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// Larger than the mailbox may send.
    pub(super) fn message_size() -> Self {
        let message = "The message exceeds the maximum supported size.";
        Self::bad("ErrorMessageSizeExceeded", message)
    }

    /// The fifth request at once.
    pub(super) fn throttled() -> Self {
        let message = "Application is over its MailboxConcurrency limit.";
        let retry_after = Some("1".to_owned());
        Self { retry_after, ..Self::new(429, "ApplicationThrottled", message) }
    }

    /// As it goes over the wire; `correlation`: the caller's own id.
    pub(super) fn answer(&self, correlation: Option<&str>, now: SystemTime) -> Response {
        let date = humantime::format_rfc3339_seconds(now).to_string();
        let request = random::guid();
        let mut inner = json!({"date": date.trim_end_matches('Z'), "request-id": request});
        inner["client-request-id"] = correlation.unwrap_or(&request).into();
        let body =
            json!({"error": {"code": self.code, "message": self.message, "innerError": inner}});
        let mut answer = json_answer(self.status, &body);
        let headers: &mut HeaderMap = answer.headers_mut();
        insert(headers, "content-type", "application/json");
        insert(headers, "request-id", &request);
        if let Some(retry_after) = &self.retry_after {
            insert(headers, "retry-after", retry_after);
        }
        if self.status == 401 {
            let realm = "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/\
                         oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\"";
            insert(headers, "www-authenticate", realm);
        }
        answer
    }
}
