//! What an access token's own words give away, as rows of data: why a server that refuses it without a
//! reason may have had one. Pure.
//!
//! Exchange answers `535 5.7.3 Authentication unsuccessful` to ten different mistakes. The claims of a
//! readable token part them. Nothing here decides: a token is sent whatever its claims say.

use super::Class;
use Class::{Administrator, SignIn, Transient};

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// A short name, for tests and JSON.
    pub name: &'static str,
    /// Who can mend it.
    pub class: Class,
    /// What it means, in one line; placeholders as in `remedy`.
    pub meaning: &'static str,
    /// The next step. Placeholders of [`super::fill`], and of the token `audience`, `roles`, `user`,
    /// `object_id` and `token_tenant`.
    pub remedy: &'static str,
}

const fn row(name: &'static str, class: Class, meaning: &'static str, remedy: &'static str) -> Row {
    Row { name, class, meaning, remedy }
}

/// Made for Graph: a Graph scope was asked for, alone or before Exchange's.
pub static GRAPH: Row = row(
    "graph-audience",
    Administrator,
    "the token is made for Microsoft Graph, not for Exchange: every login with it ends in 535 5.7.3",
    "leave `scope` out of [account.oauth] of account \"{account}\" (an application's is \
     https://outlook.office365.com/.default, a person's https://outlook.office.com/SMTP.Send \
     offline_access); one Graph scope such as User.Read before it makes the whole token Graph's",
);
/// Made for something else.
pub static AUDIENCE: Row = row(
    "other-audience",
    Administrator,
    "the token is made for {audience}, not for Exchange",
    "leave `scope` out of [account.oauth] of account \"{account}\", or set it to \
     https://outlook.office365.com/.default; a program or file that brings the token must ask for the same",
);
/// Made for Exchange in another national cloud.
pub static CLOUD: Row = row(
    "other-cloud",
    Administrator,
    "the token is made for Exchange in another national cloud ({audience})",
    "set `cloud` of account \"{account}\" to the cloud of the tenant (global, gcc-high, dod, china), and leave \
     `scope`, `token_url` and `host` out",
);
/// Only the permission for Exchange Web Services.
pub static EWS: Row = row(
    "ews-only",
    Administrator,
    "the application has only full_access_as_app, which is for Exchange Web Services and serves no SMTP; Microsoft \
     switches these services off on 2027-04-01",
    "grant the other permission: Entra admin center > App registrations > {client_id} > API permissions > Add a \
     permission > APIs my organization uses > Office 365 Exchange Online > Application permissions > SMTP.SendAsApp, \
     then Grant admin consent; take full_access_as_app away",
);
/// Roles, but not the one.
pub static ROLES: Row = row(
    "other-roles",
    Administrator,
    "the application's permissions ({roles}) do not hold SMTP.SendAsApp",
    "Entra admin center > App registrations > {client_id} > API permissions > Add a permission > APIs my organization \
     uses > Office 365 Exchange Online > Application permissions > SMTP.SendAsApp, then Grant admin consent",
);
/// No role at all. With a role in Exchange itself that is how it must be.
pub static NO_ROLE: Row = row(
    "no-role",
    Administrator,
    "the token carries no permission, so only a role in Exchange could let it in, and none does for this mailbox",
    "in Exchange Online PowerShell: Test-ServicePrincipalAuthorization -Identity {'object_id'} -Resource {'mailbox'} must \
     show Application SMTP.SendAsApp with InScope True; if it does not, submitd check --setup {account} prints the \
     role to assign. New roles may take two hours",
);
/// A person's token that may not send.
pub static NO_SCOPE: Row = row(
    "no-scope",
    SignIn,
    "nobody has allowed the application to send: SMTP.Send is not among the token's scopes",
    "Entra admin center > App registrations > {client_id} > API permissions > Add a permission > Microsoft Graph > \
     Delegated permissions > SMTP.Send, Grant admin consent, then sign in again for account \"{account}\"",
);
/// A person, but another one.
pub static USER: Row = row(
    "other-user",
    Administrator,
    "the token belongs to {user}, not to {mailbox}",
    "sign in as {mailbox}, or set `mailbox` of account \"{account}\" to {user}, unless that is only the sign-in name of \
     the same mailbox; where {mailbox} is a shared mailbox: \
     Add-MailboxPermission -Identity {'mailbox'} -User {'user'} -AccessRights FullAccess, and \
     Add-RecipientPermission -Identity {'mailbox'} -Trustee {'user'} -AccessRights SendAs",
);
/// Of another directory than the one asked.
pub static TENANT: Row = row(
    "other-tenant",
    Administrator,
    "the token was issued by tenant {token_tenant}, not by {tenant}",
    "set `tenant` of account \"{account}\" to the tenant that holds {mailbox} (Entra admin center > Overview > Tenant \
     ID), and register or consent to the application there",
);
/// Its end has passed by our clock.
pub static ENDED: Row = row(
    "ended",
    Transient,
    "by this host's clock the token has ended already",
    "check that this host's clock is synchronised (`timedatectl`)",
);
/// Role and audience are right, and yet it is refused.
pub static APPLICATION: Row = row(
    "application-unknown",
    Administrator,
    "the token is right (audience, permission), so Exchange does not know the application by this object id, or the \
     application has no permission on {mailbox}, or there is no such mailbox, or what was changed is not in force yet",
    "in Exchange Online PowerShell: Get-ServicePrincipal | Format-List AppId,ObjectId must show {client_id} with \
     {object_id} (the enterprise application's; that of the app registration is a frequent mistake). If not: \
     Remove-ServicePrincipal -Identity <the ObjectId shown>; New-ServicePrincipal -AppId {'client_id'} -ObjectId \
     {'object_id'} -DisplayName submitd. Then Add-MailboxPermission -Identity {'mailbox'} -User {'object_id'} -AccessRights \
     FullAccess (where the application has a role in Exchange instead, take SMTP.SendAsApp away from its API \
     permissions), and wait: up to two hours",
);
/// Scope, audience and user are right, and yet it is refused.
pub static PERSON: Row = row(
    "person-refused",
    Administrator,
    "the token is right (audience, scope, user), so {mailbox} has no mailbox, no licence, or no authenticated SMTP",
    "in Exchange Online PowerShell: Get-CASMailbox -Identity {'mailbox'} | Format-List SmtpClientAuthenticationDisabled; \
     Set-CASMailbox -Identity {'mailbox'} -SmtpClientAuthenticationDisabled $false; check the licence in Microsoft 365 \
     admin center > Users > {mailbox}",
);

/// Made for Exchange, and the mail goes by Graph.
pub static NOT_GRAPH: Row = row(
    "not-graph",
    Administrator,
    "the token is made for {audience}, not for Microsoft Graph: Graph answers 401",
    "leave `scope` out of [account.oauth] of account \"{account}\" (an application's is \
     https://graph.microsoft.com/.default, a person's https://graph.microsoft.com/Mail.Send offline_access)",
);
/// Roles at Graph, but not the one.
pub static GRAPH_ROLES: Row = row(
    "no-mail-send",
    Administrator,
    "the application's permissions ({roles}) do not hold Mail.Send: only a role in Exchange could let it in",
    "Entra admin center > App registrations > {client_id} > API permissions > Add a permission > Microsoft Graph > \
     Application permissions > Mail.Send, then Grant admin consent; or in Exchange Online PowerShell assign the role \
     Application Mail.Send for {mailbox}",
);
/// A person's token that may not send by Graph.
pub static GRAPH_NO_SCOPE: Row = row(
    "no-mail-send-scope",
    SignIn,
    "nobody has allowed the application to send by Graph: Mail.Send is not among the token's scopes",
    "Entra admin center > App registrations > {client_id} > API permissions > Add a permission > Microsoft Graph > \
     Delegated permissions > Mail.Send, Grant admin consent, then sign in again for account \"{account}\"",
);

/// Every row.
pub static ROWS: [&Row; 15] = [
    &NOT_GRAPH,
    &GRAPH_ROLES,
    &GRAPH_NO_SCOPE,
    &GRAPH,
    &AUDIENCE,
    &CLOUD,
    &EWS,
    &ROLES,
    &NO_ROLE,
    &NO_SCOPE,
    &USER,
    &TENANT,
    &ENDED,
    &APPLICATION,
    &PERSON,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::fill;

    #[test]
    fn rows_are_whole() {
        let names = [
            "account",
            "client_id",
            "tenant",
            "mailbox",
            "audience",
            "roles",
            "user",
            "object_id",
            "token_tenant",
        ]
        .map(|name| (name, "x"));
        for row in ROWS {
            for text in [row.meaning, row.remedy] {
                let filled = fill(text, &names);
                assert!(!filled.contains(['{', '}', '\n']) && !filled.contains("  "), "{filled}");
                assert!(!filled.is_empty() && !filled.ends_with('.'), "{filled}");
            }
        }
    }
}
