//! Error codes of Microsoft Graph at sendMail as rows of data. Pure.
//!
//! A row is that of `exchange`: `reply` is the status of HTTP, `text` is sought in code and message. An
//! answer that no row knows is judged by its status alone.

use super::Class;
use super::exchange::{Codes, Known, Treatment};
use Class::{Administrator, Transient};
use Treatment::{Account, Later, Quota, Refuse, Slower};

/// The first row that knows this answer.
pub fn find(status: u16, code: &str, text: &str) -> Option<&'static Known> {
    let said = format!("{code}: {text}").to_lowercase();
    ROWS.iter().find(|row| {
        (row.reply.is_empty() || row.reply.contains(&status))
            && row.text.iter().all(|fragment| said.contains(fragment))
    })
}

/// One row; the places of SMTP mean nothing here.
const fn row(
    name: &'static str,
    reply: &'static [u16],
    text: &'static [&'static str],
    (treatment, class): (Treatment, Class),
    meaning: &'static str,
    remedy: &'static str,
) -> Known {
    Known {
        name,
        reply,
        enhanced: Codes::Any,
        text,
        places: &[],
        treatment,
        class,
        meaning,
        remedy,
    }
}

const MAIL: (Treatment, Class) = (Refuse, Administrator);
const BROKEN: (Treatment, Class) = (Account, Administrator);
const CROWDED: (Treatment, Class) = (Slower, Transient);
const ANY: &[u16] = &[];

/// Order counts: the more exact row stands before the general one.
pub static ROWS: &[Known] = &[
    // ---- the sender
    row(
        "graph-send-as-denied",
        ANY,
        &["errorsendasdenied"],
        MAIL,
        "{mailbox} may not send with the From address of this mail",
        "let the program write {mailbox} into From, or allow the other address: Add-RecipientPermission <address> \
         -AccessRights SendAs -Trustee {'mailbox'}",
    ),
    row(
        "graph-send-on-behalf-denied",
        ANY,
        &["errorsendonbehalf"],
        MAIL,
        "{mailbox} may not send on behalf of the From address of this mail",
        "let the program write {mailbox} into From, or allow it: Set-Mailbox <address> -GrantSendOnBehalfTo {'mailbox'}",
    ),
    row(
        "graph-cannot-submit",
        ANY,
        &["errormessagesubmissionblocked"],
        BROKEN,
        "Microsoft has blocked {mailbox} from sending",
        "look into the Microsoft Defender portal, Restricted entities, and unblock {mailbox} there",
    ),
    // ---- the message
    row(
        "graph-no-recipients",
        &[400],
        &["errorinvalidrecipients"],
        MAIL,
        "Graph finds a recipient that is no address, or none at all",
        "look at To, Cc and the addresses the program gives: one bad address fails the whole mail by Graph",
    ),
    row(
        "graph-not-base64",
        &[400],
        &["errormimecontentinvalidbase64string"],
        MAIL,
        "Graph could not read the message",
        "report this as a defect of submitd",
    ),
    row(
        "graph-mime-invalid",
        &[400],
        &["errormimecontentinvalid"],
        MAIL,
        "Graph cannot make sense of this message's parts",
        "look at what the program sends; transport = \"smtp\" takes it as it is",
    ),
    row(
        "graph-message-too-large",
        ANY,
        &["errormessagesizeexceeded"],
        MAIL,
        "the message is larger than {mailbox} may send",
        "raise it: Set-Mailbox {'mailbox'} -MaxSendSize 35MB, or send less",
    ),
    row(
        "graph-request-too-large",
        &[400, 413],
        &["maximum request length"],
        MAIL,
        "the message is larger than Graph takes in one request",
        "lower max_size in [account.graph] of account {account}, write upload = \"on\" there (needs Mail.ReadWrite), or use \
         transport = \"smtp\"",
    ),
    row(
        "graph-request-too-large",
        &[413],
        &[],
        MAIL,
        "the message is larger than Graph takes in one request",
        "lower max_size in [account.graph] of account {account}, write upload = \"on\" there (needs Mail.ReadWrite), or use \
         transport = \"smtp\"",
    ),
    // Seen with messages beyond 2,240 KB.
    row(
        "graph-not-sent",
        &[200],
        &[],
        (Later, Administrator),
        "Graph answered 200 and not 202: nothing was sent",
        "messages near the largest size are answered so: lower max_size in [account.graph] of account {account}; otherwise \
         something on the way answers in Graph's place",
    ),
    // ---- quotas and crowds
    row(
        "graph-quota",
        ANY,
        &["errorexceededmessagelimit"],
        (Quota, Transient),
        "{mailbox} has sent as much as it may in a day",
        "wait, or spread the mail over more mailboxes",
    ),
    row(
        "graph-quota",
        ANY,
        &["errorsubmissionquotaexceeded"],
        (Quota, Transient),
        "{mailbox} has sent as much as it may in a day",
        "wait, or spread the mail over more mailboxes",
    ),
    row(
        "graph-mailbox-full",
        ANY,
        &["errorquotaexceeded"],
        BROKEN,
        "{mailbox} is full: Graph keeps every mail in its Sent Items",
        "empty {mailbox}, give it an archive, or use transport = \"smtp\"",
    ),
    row(
        "graph-mailbox-full",
        &[507],
        &[],
        BROKEN,
        "{mailbox} is full: Graph keeps every mail in its Sent Items",
        "empty {mailbox}, give it an archive, or use transport = \"smtp\"",
    ),
    row(
        "graph-throttled",
        &[429],
        &[],
        CROWDED,
        "Graph takes no more requests for the moment",
        "nothing: it is tried again when Graph wants it",
    ),
    row(
        "graph-busy",
        &[503],
        &[],
        CROWDED,
        "Graph is not available for the moment",
        "nothing: it is tried again when Graph wants it",
    ),
    // ---- the account
    row(
        "graph-token-refused",
        &[401],
        &[],
        BROKEN,
        "Graph does not take this token",
        "the token must be made for Graph: leave `scope` of account {account} out; then check client_id, tenant and this \
         machine's clock. `submitd check {account}` reads the token and says which it is",
    ),
    row(
        "graph-access-denied",
        &[403],
        &["erroraccessdenied"],
        BROKEN,
        "the application may not send from {mailbox} by Graph",
        "Entra admin center > App registrations > API permissions: add Microsoft Graph > Mail.Send (application, or \
         delegated where a person signs in; Mail.Send.Shared where the mailbox is not that person's, also in `scope` of \
         [account.graph]), then Grant admin consent. Where it is there: an application access policy or \
         RBAC scope shuts {mailbox} out (Test-ServicePrincipalAuthorization, Test-ApplicationAccessPolicy)",
    ),
    row(
        "graph-access-denied",
        &[403],
        &["authorization_requestdenied"],
        BROKEN,
        "the application lacks the permission to send by Graph",
        "Entra admin center > App registrations > API permissions: add Microsoft Graph > Mail.Send, then Grant admin consent",
    ),
    row(
        "graph-no-mailbox",
        ANY,
        &["mailboxnotenabledforrestapi"],
        BROKEN,
        "{mailbox} is no mailbox of Exchange Online: it has no licence, lies in the own data centre, or was deleted",
        "give {mailbox} an Exchange Online licence, or name another mailbox for account {account}",
    ),
    row(
        "graph-unknown-user",
        &[404],
        &["errorinvaliduser"],
        BROKEN,
        "the tenant knows no {mailbox}",
        "write the user principal name or a real mailbox address into `mailbox` of account {account}",
    ),
    row(
        "graph-unknown-user",
        &[404],
        &["resourcenotfound"],
        BROKEN,
        "the tenant knows no {mailbox}",
        "write the user principal name or a real mailbox address into `mailbox` of account {account}",
    ),
    row(
        "graph-forbidden",
        &[403],
        &[],
        BROKEN,
        "Graph does not let account {account} send from {mailbox}",
        "its own words say the reason; compare Mail.Send among the API permissions of the application, and `mailbox`",
    ),
    row(
        "graph-not-found",
        &[404],
        &[],
        BROKEN,
        "Graph does not know this mailbox or this address",
        "check `mailbox` of account {account}, and url in [account.graph]",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn b24_rows_are_found_by_code_and_status() {
        let mut seen = Vec::new();
        for (status, code, text, expected) in [
            (
                403,
                "ErrorSendAsDenied",
                "The user account which was used",
                Some("graph-send-as-denied"),
            ),
            (403, "ErrorSendOnBehalfOf", "", Some("graph-send-on-behalf-denied")),
            (403, "ErrorMessageSubmissionBlocked", "", Some("graph-cannot-submit")),
            (400, "ErrorInvalidRecipients", "At least one", Some("graph-no-recipients")),
            (400, "ErrorMimeContentInvalid", "", Some("graph-mime-invalid")),
            (400, "ErrorMessageSizeExceeded", "", Some("graph-message-too-large")),
            (400, "ErrorMimeContentInvalidBase64String", "", Some("graph-not-base64")),
            (
                400,
                "BadRequest",
                "The maximum request length supported is 4MB.",
                Some("graph-request-too-large"),
            ),
            (413, "RequestEntityTooLarge", "", Some("graph-request-too-large")),
            (200, "", "", Some("graph-not-sent")),
            (
                429,
                "ApplicationThrottled",
                "Application is over its MailboxConcurrency limit.",
                Some("graph-throttled"),
            ),
            (429, "ErrorExceededMessageLimit", "", Some("graph-quota")),
            (403, "ErrorSubmissionQuotaExceeded", "", Some("graph-quota")),
            (403, "ErrorQuotaExceeded", "", Some("graph-mailbox-full")),
            (401, "InvalidAuthenticationToken", "", Some("graph-token-refused")),
            (403, "ErrorAccessDenied", "Access is denied.", Some("graph-access-denied")),
            (403, "Authorization_RequestDenied", "", Some("graph-access-denied")),
            (403, "", "", Some("graph-forbidden")),
            (404, "ErrorInvalidUser", "", Some("graph-unknown-user")),
            (404, "ResourceNotFound", "", Some("graph-unknown-user")),
            (404, "ErrorItemNotFound", "", Some("graph-not-found")),
            (404, "MailboxNotEnabledForRESTAPI", "", Some("graph-no-mailbox")),
            (507, "", "", Some("graph-mailbox-full")),
            (503, "serviceNotAvailable", "", Some("graph-busy")),
            (400, "BadRequest", "else", None),
            (500, "ErrorInternalServerError", "", None),
        ] {
            let found = find(status, code, text);
            assert_eq!(found.map(|row| row.name), expected, "{status} {code} {text}");
            seen.extend(found);
        }
        for row in ROWS {
            let is_row = |found: &&Known| std::ptr::eq(*found, row);
            assert!(seen.iter().any(is_row), "{} {:?} is never found", row.name, row.text);
        }
    }

    #[test]
    fn every_row_says_what_to_do() {
        for row in ROWS {
            assert!(!row.meaning.is_empty() && !row.remedy.is_empty(), "{}", row.name);
            let is_lower = |text: &&str| **text == text.to_lowercase();
            assert!(row.text.iter().all(is_lower), "{}", row.name);
        }
    }
}
