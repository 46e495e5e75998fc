//! What Google's token endpoint says: it has no numbers, so the words of its descriptions decide. Pure.
//!
//! Words that are not known are judged by the name of the error, as everybody's.

use super::Class;
use super::entra::Row;

/// One cause: the name of the error, words of the description, the row.
pub type Cause = (&'static str, &'static str, Row);

const fn row(class: Class, meaning: &'static str, remedy: &'static str) -> Row {
    Row { codes: &[], class, meaning, remedy, pause: 0 }
}

/// All that is known.
pub static CAUSES: &[Cause] = &[
    (
        "unauthorized_client",
        "Client is unauthorized to retrieve access tokens",
        row(
            Class::Administrator,
            "the service account may not act for this domain's mailboxes",
            "admin.google.com > Security > Access and data control > API controls > Domain-wide \
             delegation > Add new: the number `client_id` of the key file of account \"{account}\", \
             scope https://mail.google.com/",
        ),
    ),
    (
        "invalid_grant",
        "Invalid JWT Signature",
        row(
            Class::Administrator,
            "Google does not know the key that signs: it was deleted, or belongs to another account",
            "Google Cloud console > IAM & Admin > Service Accounts > the account > Keys > Add key; \
             put the new file into `service_account_file` of account \"{account}\"",
        ),
    ),
    (
        "invalid_grant",
        "Invalid email or User ID",
        row(
            Class::Administrator,
            "the domain has no such user",
            "check `mailbox` of account \"{account}\": {mailbox} must be a user of the Google \
             Workspace domain, not a group or an alias",
        ),
    ),
    (
        "invalid_grant",
        "account not found",
        row(
            Class::Administrator,
            "the service account does not exist any more",
            "Google Cloud console > IAM & Admin > Service Accounts: create one, and put its key file \
             into `service_account_file` of account \"{account}\"",
        ),
    ),
    (
        "invalid_grant",
        "short-lived token",
        row(
            Class::Administrator,
            "the signed request is not valid at this time: a clock is wrong",
            "check that this host's clock is synchronised (`timedatectl`)",
        ),
    ),
    (
        "invalid_grant",
        "expired or revoked",
        row(
            Class::SignIn,
            "the refresh token has expired or was revoked",
            "sign in again as {mailbox}: {sign_in}; while the consent screen is in Testing a token lasts seven days",
        ),
    ),
    (
        "invalid_client",
        "OAuth client was not found",
        row(
            Class::Administrator,
            "Google does not know this application",
            "compare `client_id` ({client_id}) of account \"{account}\" with Google Cloud console > \
             APIs & Services > Credentials",
        ),
    ),
];

/// The row of an error with this description.
pub fn row_of(error: &str, description: &str) -> Option<&'static Row> {
    CAUSES
        .iter()
        .find(|(name, words, _)| *name == error && description.contains(words))
        .map(|(_, _, row)| row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_words_must_both_fit() {
        let class = |error, text| row_of(error, text).map(|row| row.class);
        assert_eq!(
            class("invalid_grant", "Token has been expired or revoked."),
            Some(Class::SignIn)
        );
        assert_eq!(class("invalid_grant", "Invalid JWT Signature."), Some(Class::Administrator));
        assert_eq!(class("invalid_client", "Invalid JWT Signature."), None);
        assert_eq!(class("invalid_grant", "Bad Request"), None);
    }
}
