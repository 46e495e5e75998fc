//! What the endpoints of managed identities say when they give no token. Pure.
//!
//! They name few errors and their words differ by host; what is not known here is judged by its status.

use super::Class;
use super::entra::{Diagnosis, Row};

const fn row(meaning: &'static str, remedy: &'static str) -> Row {
    Row { codes: &[], class: Class::Administrator, meaning, remedy, pause: 0 }
}

/// Words of the error or its description, and what they mean.
pub static CAUSES: &[(&str, Row)] = &[
    (
        "Identity not found",
        row(
            "this machine has no such managed identity",
            "Azure portal > the machine > Security > Identity: turn System assigned on, or add the \
             user-assigned identity and set its client id as `client_id` of account \"{account}\"",
        ),
    ),
    (
        "Managed Identity found for specified",
        row(
            "this app has no such user-assigned identity",
            "Azure portal > the app > Settings > Identity > User assigned > Add; `client_id` of account \
             \"{account}\" is {client_id}",
        ),
    ),
    (
        "invalid_resource",
        row(
            "the tenant does not have the service that is asked for",
            "check `scope` in [account.oauth] and `cloud` of account \"{account}\"; for Exchange Online \
             leave scope out",
        ),
    ),
    (
        "bad_request_102",
        row(
            "the header Metadata did not arrive: something stands between us and the metadata service",
            "let this machine reach `token_url` of account \"{account}\" without a proxy",
        ),
    ),
    (
        "unknown_source",
        row(
            "the metadata service does not know this machine",
            "look at the machine's network settings: requests to 169.254.169.254 must come from its own \
             address",
        ),
    ),
];

/// 401 and 403 without a known word.
pub static HEADER: Row = row(
    "the host does not accept its own header",
    "restart the container of submitd: IDENTITY_HEADER has changed",
);
/// Anything else.
pub static OTHER: Row = row(
    "the host gives no token",
    "Azure portal > the machine or app > Identity; check `client_id` ({client_id}), `scope` and \
     `identity_host` of account \"{account}\"",
);

/// Judges a refusal that does not pass by itself.
pub fn classify(error: &str, description: &str, http_status: u16) -> Diagnosis {
    let known =
        CAUSES.iter().find(|(words, _)| error.contains(words) || description.contains(words));
    Diagnosis::from(match (known, http_status) {
        (Some((_, row)), _) => row,
        (None, 401 | 403) => &HEADER,
        (None, _) => &OTHER,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_error_and_description() {
        for (error, text, status, words) in [
            ("invalid_request", "Identity not found", 400, "no such managed identity"),
            ("invalid_resource", "", 400, "does not have the service"),
            ("bad_request_102", "Required metadata header not specified", 400, "Metadata"),
            ("", "", 401, "its own header"),
            ("x", "y", 400, "gives no token"),
        ] {
            let found = classify(error, text, status);
            assert!(found.meaning.contains(words), "{error} {text}: {}", found.meaning);
        }
    }
}
