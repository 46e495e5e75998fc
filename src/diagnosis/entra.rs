//! AADSTS codes of Entra ID: one row a cause, with who can mend it and the exact next step. Pure.
//!
//! [`classify`] follows the provider's own advice (branch on `error`) and lets the numbers refine it:
//! `invalid_grant` alone says too little, `AADSTS50196` comes under that name and passes by itself.
//! The texts of the provider are not repeated here; they change, the numbers seldom do.

use super::Class;
use std::time::Duration;

/// One cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The numbers after `AADSTS`.
    pub codes: &'static [u32],
    /// Who can mend it.
    pub class: Class,
    /// What it means, in one line.
    pub meaning: &'static str,
    /// The exact next step; placeholders as in [`super::fill`].
    pub remedy: &'static str,
    /// Seconds that must pass before the next try, whatever the back-off says; 0 = none.
    pub pause: u32,
}

/// What an answer of the token endpoint means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Who can mend it.
    pub class: Class,
    /// What it means, in one line.
    pub meaning: &'static str,
    /// The exact next step; placeholders as in [`super::fill`].
    pub remedy: &'static str,
    /// At least this long before the next try.
    pub pause: Duration,
}

/// The row of a code.
pub fn row(code: u32) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.codes.contains(&code))
}

/// Judges an error answer: `error` and `error_codes` of the body, and the HTTP status.
///
/// 408, 429, 5xx, `temporarily_unavailable` and `server_error` pass by themselves whatever else is
/// said; then any transient code; then the first known code; then the name of the error.
pub fn classify(error: &str, codes: &[u32], http_status: u16) -> Diagnosis {
    let known = || codes.iter().filter_map(|code| row(*code));
    let by_load = matches!(http_status, 408 | 429 | 500..=599);
    let by_name = matches!(error, "temporarily_unavailable" | "server_error");
    if let Some(row) = known().find(|row| row.class == Class::Transient) {
        return Diagnosis::from(row);
    }
    if by_load || by_name {
        return Diagnosis::from(if http_status == 429 { &THROTTLED } else { &TROUBLE });
    }
    if let Some(row) = known().next() {
        return Diagnosis::from(row);
    }
    Diagnosis::from(match error {
        "invalid_grant"
        | "interaction_required"
        | "consent_required"
        | "login_required"
        | "access_denied" => &SIGN_IN,
        "invalid_client" => &CLIENT,
        "unauthorized_client" => &UNAUTHORIZED,
        "invalid_scope" | "invalid_resource" | "invalid_target" => &SCOPE,
        _ => &REQUEST,
    })
}

impl From<&Row> for Diagnosis {
    fn from(row: &Row) -> Self {
        Self {
            class: row.class,
            meaning: row.meaning,
            remedy: row.remedy,
            pause: Duration::from_secs(u64::from(row.pause)),
        }
    }
}

const fn transient(codes: &'static [u32], meaning: &'static str, remedy: &'static str) -> Row {
    Row { codes, class: Class::Transient, meaning, remedy, pause: 0 }
}

const fn sign_in(codes: &'static [u32], meaning: &'static str, remedy: &'static str) -> Row {
    Row { codes, class: Class::SignIn, meaning, remedy, pause: 0 }
}

const fn admin(codes: &'static [u32], meaning: &'static str, remedy: &'static str) -> Row {
    Row { codes, class: Class::Administrator, meaning, remedy, pause: 0 }
}

const SIGN_IN_AGAIN: &str = "sign in again as {mailbox} with application {client_id}: {sign_in}";
const WAIT: &str = "nothing to do, submitd tries again; if it lasts, look at the service health \
     page of Microsoft 365";
const NEW_SECRET: &str = "Entra admin center > App registrations > {client_id} > Certificates & \
     secrets > New client secret; put its Value (not its Secret ID) into `client_secret` of \
     account \"{account}\"";
const CHECK_TENANT: &str = "compare `tenant` of account \"{account}\" ({tenant}) with Entra admin \
     center > Overview > Tenant ID; in a national cloud set `cloud` too";
const OWN_TENANT: &str = "set `tenant` of account \"{account}\" to the tenant id or a domain of \
     the tenant instead of {tenant}";
const LOOK_AT_POLICY: &str = "Entra admin center > Monitoring > Sign-in logs, the failed entry of \
     application {client_id}: tab Conditional Access names the policy; exclude the application or \
     allow this host's address, or use grant = \"client_credentials\"";

// By the name of the error, where no code is known.
static TROUBLE: Row = transient(&[], "the token endpoint is in trouble", WAIT);
static THROTTLED: Row = transient(&[], "the token endpoint throttles us", WAIT);
static SIGN_IN: Row =
    sign_in(&[], "the provider no longer accepts the stored sign-in", SIGN_IN_AGAIN);
static CLIENT: Row = admin(
    &[],
    "the provider does not accept the application's id and secret",
    "check `client_id` ({client_id}) and `client_secret` of account \"{account}\"; if in doubt \
     create a new client secret and use its Value",
);
static UNAUTHORIZED: Row = admin(
    &[],
    "the application may not ask for a token in this way",
    "check `client_id` ({client_id}), `tenant` ({tenant}) and `grant` of account \"{account}\", \
     and that the application is enabled in that tenant",
);
static SCOPE: Row = admin(
    &[],
    "the provider does not give a token for this scope",
    "check `scope` in [account.oauth] of account \"{account}\"; for Exchange Online leave it out",
);
static REQUEST: Row = admin(
    &[],
    "the provider refuses the request",
    "check `token_url`, `scope`, `client_id` and `grant` of account \"{account}\", then run \
     `submitd check`",
);

/// Every cause that is known.
pub static ROWS: &[Row] = &[
    // The application's own proof.
    admin(
        &[7000215],
        "the client secret is wrong: often the secret's id was copied instead of its value",
        NEW_SECRET,
    ),
    admin(&[7000222], "the client secret has expired", NEW_SECRET),
    admin(
        &[7000218],
        "the application is confidential and no client secret was sent",
        "set `client_secret` of account \"{account}\", or for an application without a secret: \
         Entra admin center > App registrations > {client_id} > Authentication > Allow public \
         client flows = Yes",
    ),
    admin(
        &[700025],
        "the application is public and must not send a client secret",
        "remove `client_secret` from account \"{account}\", or register the application under the \
         platform Web",
    ),
    admin(
        &[700027, 50012],
        "the certificate that signs for the application is unknown or has expired",
        "Entra admin center > App registrations > {client_id} > Certificates & secrets > \
         Certificates: upload the certificate that belongs to the key of account \"{account}\"",
    ),
    admin(
        &[700024],
        "the signed proof is not valid at this time: a clock is wrong or the token file is stale",
        "check that this host's clock is synchronised (`timedatectl`) and that the federated token \
         file of account \"{account}\" is being renewed",
    ),
    admin(
        &[70021, 700211, 700212, 700213],
        "no federated credential of the application fits the proof that was sent",
        "Entra admin center > App registrations > {client_id} > Certificates & secrets > Federated \
         credentials: issuer, subject and audience must be exactly those of the token",
    ),
    admin(
        &[700021],
        "the signed proof names another application than `client_id`",
        "set `client_id` of account \"{account}\" ({client_id}) to the Application (client) ID for which the proof is \
         made, everywhere the same",
    ),
    admin(
        &[700030],
        "the subject of the certificate is not allowed for this application",
        "Entra admin center > App registrations > {client_id} > Certificates & secrets > Certificates: upload the \
         certificate of account \"{account}\" itself",
    ),
    admin(
        &[50013, 500131, 500133, 50027],
        "the signed proof cannot be read, has ended, or is made for somebody else",
        "check the clock (`timedatectl`), and that certificate, key or federated token file of account \"{account}\" \
         are those of application {client_id}",
    ),
    admin(
        &[7000216],
        "neither secret nor certificate was sent",
        "set `client_secret`, or `certificate` and `key`, of account \"{account}\"",
    ),
    admin(
        &[7000110],
        "the request names two applications",
        "check that `client_id` of account \"{account}\" ({client_id}) is the one for which certificate or token file \
         are made",
    ),
    // The application and the tenant.
    admin(
        &[700016],
        "the tenant does not know this application",
        "compare `client_id` ({client_id}) with Application (client) ID, not Object ID, on the \
         application's page, and `tenant` ({tenant}) with the tenant in which it was consented to",
    ),
    admin(
        &[7000229],
        "the application has no service principal in this tenant",
        "an administrator of {tenant} runs: New-MgServicePrincipal -AppId {'client_id'}",
    ),
    admin(
        &[7000112, 70001],
        "the application is disabled in this tenant",
        "Entra admin center > Enterprise applications > {client_id} > Properties > Enabled for \
         users to sign-in = Yes",
    ),
    admin(&[90002], "there is no such tenant in this cloud", CHECK_TENANT),
    admin(&[900023], "the tenant is neither an id nor a domain name", CHECK_TENANT),
    admin(&[50059, 50128, 90019], "the request names no tenant", OWN_TENANT),
    admin(
        &[50194],
        "the application belongs to one tenant and cannot be used through the endpoint common",
        OWN_TENANT,
    ),
    admin(
        &[90130, 90124, 9002332, 90133],
        "the application cannot be used through this endpoint",
        OWN_TENANT,
    ),
    admin(
        &[9001023],
        "this grant does not work through the endpoints common and consumers",
        OWN_TENANT,
    ),
    admin(
        &[90038, 900382, 900432, 900439, 90051],
        "the tenant lives in another national cloud",
        "set `cloud` of account \"{account}\" to the cloud of tenant {tenant}",
    ),
    admin(
        &[500021, 500022, 50002, 500212, 500213],
        "a restriction on tenants, put on by a proxy on the way or by the tenant, denies access",
        "let requests for tenant {tenant} pass: the proxy that adds the header Restrict-Access-To-Tenants, or Entra \
         admin center > External Identities > Cross-tenant access settings",
    ),
    admin(
        &[501051],
        "the application or managed identity is not assigned to what it asks for",
        "Entra admin center > Enterprise applications > Office 365 Exchange Online > Properties > Assignment required = \
         No, or grant {client_id} the permission SMTP.SendAsApp",
    ),
    // The user.
    sign_in(
        &[50020, 500208, 50014, 90072, 51004, 16000, 16003],
        "the account that signed in does not belong to this tenant or is of the wrong kind",
        "sign in as {mailbox} itself, an account of tenant {tenant}: {sign_in}",
    ),
    admin(
        &[50034, 500341],
        "the tenant has no such user: the sign-in name may differ from the mail address",
        "compare the sign-in name of {mailbox} with Entra admin center > Users > User principal \
         name, and `tenant` ({tenant})",
    ),
    sign_in(
        &[50126],
        "user name or password is wrong",
        "set the right password of {mailbox} in account \"{account}\"",
    ),
    Row {
        codes: &[50053],
        class: Class::Transient,
        meaning: "the user is locked out for a while, or this address is held to be malicious",
        remedy: "wait a quarter of an hour, then look at the sign-in logs of {mailbox} for wrong \
                 passwords from elsewhere",
        // Every try in between prolongs the lockout.
        pause: 15 * 60,
    },
    sign_in(
        &[50055, 50144],
        "the user's password has expired",
        "change the password of {mailbox}, then sign in again for account \"{account}\"",
    ),
    admin(
        &[50056, 50057, 500571],
        "the user is disabled or has no password",
        "Microsoft 365 admin center > Users > {mailbox}: unblock sign-in",
    ),
    sign_in(
        &[50076],
        "the tenant asks for multi-factor authentication",
        "sign in again interactively as {mailbox}: {sign_in}; for unattended use take grant = \
         \"client_credentials\"",
    ),
    sign_in(
        &[50079, 50072, 50074, 50078, 50158],
        "the user must register for, or repeat, multi-factor authentication",
        "sign in to https://mysignins.microsoft.com as {mailbox}, then sign in again for account \
         \"{account}\"",
    ),
    // Conditional Access.
    admin(&[53003], "a Conditional Access policy blocks the token", LOOK_AT_POLICY),
    admin(
        &[
            53000, 53001, 53002, 53004, 53009, 53010, 53011, 50005, 50097, 50129, 50131, 530002,
            530003, 530032, 530034, 530035,
        ],
        "a policy on devices, risk or security defaults blocks the token",
        LOOK_AT_POLICY,
    ),
    admin(
        &[50177, 50178],
        "a guest cannot fulfil the tenant's policy",
        "use a member account of tenant {tenant} for account \"{account}\", or exclude the guest \
         from the policy",
    ),
    admin(
        &[700003, 135011],
        "the device of the sign-in is unknown or disabled",
        "Entra admin center > Devices: enable the device on which {mailbox} signed in, or sign in \
         again from another one",
    ),
    // Consent and permissions.
    sign_in(
        &[65001],
        "nobody has consented that the application may send as this user",
        "sign in again as {mailbox} and consent to SMTP.Send ({sign_in}), or as an administrator: Entra admin \
         center > App registrations > {client_id} > API permissions > Grant admin consent",
    ),
    sign_in(
        &[50058, 50127, 50140, 50143, 16001, 16002],
        "the sign-in was interrupted and needs somebody at a browser",
        "sign in again as {mailbox} for account \"{account}\"",
    ),
    sign_in(
        &[65004],
        "the user declined to consent",
        "sign in again as {mailbox} and accept what application {client_id} asks for: {sign_in}",
    ),
    admin(
        &[90094, 90095, 90093],
        "an administrator must consent for the user",
        "Entra admin center > App registrations > {client_id} > API permissions > Grant admin \
         consent",
    ),
    admin(
        &[65002],
        "this application belongs to Microsoft and is not allowed to ask for this permission",
        "register an application of your own and set `client_id` of account \"{account}\"",
    ),
    admin(
        &[65005, 650052, 650054, 650056, 650057],
        "the application's registration lacks the permission, or the tenant lacks the service",
        "Entra admin center > App registrations > {client_id} > API permissions: add Office 365 \
         Exchange Online > SMTP.SendAsApp (application) or SMTP.Send (delegated), then Grant admin \
         consent; the tenant needs Exchange Online",
    ),
    admin(
        &[500011, 50001],
        "the tenant does not have the service that the scope names",
        "check `scope` in [account.oauth] and `cloud` of account \"{account}\", and that tenant \
         {tenant} has Exchange Online",
    ),
    admin(
        &[50105],
        "the user is not assigned to the application",
        "Entra admin center > Enterprise applications > {client_id} > Users and groups: add \
         {mailbox}",
    ),
    // The request.
    admin(
        &[70003],
        "the provider does not know this grant at this endpoint",
        "check `grant` and `token_url` of account \"{account}\": the address ends in /oauth2/v2.0/token",
    ),
    admin(
        &[700005],
        "the code was given for another tenant than the one that redeems it",
        "set `tenant` of account \"{account}\" ({tenant}) to the tenant id, and sign in again",
    ),
    sign_in(
        &[501481, 50148, 50147, 501491],
        "the answer of the browser does not belong to this sign-in (PKCE)",
        "begin the sign-in of account \"{account}\" anew, and finish it in the same run",
    ),
    admin(
        &[9002326, 9002327],
        "the redirect address is registered for a single-page application",
        "Entra admin center > App registrations > {client_id} > Authentication: move the redirect URI to the platform \
         Mobile and desktop applications, or Web",
    ),
    admin(
        &[900971],
        "the application has no redirect address",
        "Entra admin center > App registrations > {client_id} > Authentication > Add a platform > Mobile and desktop \
         applications > http://localhost",
    ),
    admin(
        &[700051, 700054],
        "the application is not allowed the answer that was asked for",
        "Entra admin center > App registrations > {client_id} > Authentication: register the redirect URI under Mobile \
         and desktop applications, or Web",
    ),
    admin(
        &[70011, 28002, 28003],
        "the scope is empty or misspelt",
        "check `scope` in [account.oauth] of account \"{account}\"; for Exchange Online leave it \
         out",
    ),
    admin(
        &[1002012],
        "an application's own token needs a scope that ends in /.default",
        "set `scope` in [account.oauth] of account \"{account}\" to \
         https://outlook.office365.com/.default",
    ),
    admin(
        &[700022],
        "the scope names more than one service",
        "leave in `scope` of account \"{account}\" only what belongs to Exchange Online",
    ),
    admin(
        &[700023],
        "the scope names no service, or the signed proof is made for another tenant or endpoint",
        "check `scope` and `token_url` in [account.oauth] of account \"{account}\"",
    ),
    admin(
        &[901002],
        "the endpoint does not know the parameter resource",
        "use `scope`, not resource, and a `token_url` that ends in /oauth2/v2.0/token, in account \
         \"{account}\"",
    ),
    admin(
        &[900144, 90014],
        "the request lacks a parameter",
        "check that `client_id`, `scope` and the secret of account \"{account}\" are not empty; if \
         they are not, report a defect of submitd",
    ),
    sign_in(
        &[9002313],
        "the request is malformed: usually the refresh token was cut or damaged in copying",
        "check that a refresh token in the configuration was copied whole, on one line; otherwise \
         sign in again as {mailbox}: {sign_in}",
    ),
    admin(
        &[900561],
        "the endpoint is not a token endpoint",
        "set `token_url` of account \"{account}\" to \
         https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
    ),
    admin(
        &[50011, 500112],
        "the redirect address is not registered",
        "Entra admin center > App registrations > {client_id} > Authentication: add exactly the \
         redirect URI that was used to sign in",
    ),
    admin(
        &[700084],
        "the refresh token was given to a single-page application and lasts one day only",
        "Entra admin center > App registrations > {client_id} > Authentication: use the platform \
         Mobile and desktop applications or Web, then sign in again as {mailbox}",
    ),
    // The device code.
    transient(
        &[70016],
        "nobody has finished the sign-in yet",
        "open the page that was shown and type the code; submitd asks again by itself",
    ),
    sign_in(
        &[70018, 70019, 70020],
        "the code on the screen is unknown or has ended",
        "begin the sign-in of account \"{account}\" anew; a code lasts a quarter of an hour",
    ),
    // The refresh token.
    sign_in(&[54005], "the code of this sign-in was already used", SIGN_IN_AGAIN),
    sign_in(&[70008], "the sign-in has expired", SIGN_IN_AGAIN),
    sign_in(
        &[700082],
        "the refresh token was not used for too long (90 days) and has expired",
        SIGN_IN_AGAIN,
    ),
    sign_in(
        &[70043],
        "the tenant's sign-in frequency has ended the sign-in",
        "sign in again as {mailbox}: {sign_in}; to make it last, exempt application {client_id} from the sign-in frequency \
         policy",
    ),
    sign_in(
        &[50173],
        "the sign-in was revoked, usually because the password was changed",
        SIGN_IN_AGAIN,
    ),
    sign_in(
        &[70000, 50089, 50132, 50133, 50085, 50139],
        "the refresh token or its session is no longer valid",
        SIGN_IN_AGAIN,
    ),
    // What passes by itself.
    Row {
        codes: &[50196],
        class: Class::Transient,
        meaning: "the provider sees too many equal requests and stops answering for a while",
        remedy: "nothing to do, submitd waits; if it comes back, look for another program that \
                 uses application {client_id} for {mailbox}",
        pause: 60,
    },
    transient(&[90055], "the tenant is throttled", WAIT),
    transient(
        &[50033, 50087, 50088, 70012, 90006, 90012, 90024, 90033, 90090],
        "the provider is in trouble",
        WAIT,
    ),
    transient(
        &[
            80001, 80002, 80003, 80004, 80005, 80006, 80007, 80008, 80009, 80010, 80011, 80012,
            80013, 80014,
        ],
        "the pass-through authentication agent of the tenant does not answer",
        "if it lasts: Entra admin center > Entra Connect > Pass-through authentication shows which \
         agent is down",
    ),
    admin(
        &[20001, 20012, 20033, 40008, 40009, 40015],
        "the organisation's own sign-in server refuses or fails",
        "look at the federated sign-in server (AD FS or other) of the domain of {mailbox}; it gives no more words",
    ),
    transient(
        &[40010],
        "the organisation's own sign-in server fails for a moment",
        "if it lasts, look at the federated sign-in server (AD FS or other) of the domain of {mailbox}",
    ),
    transient(&[50000, 90036], "the provider failed to issue the token", WAIT),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Names, fill};
    use Class::{Administrator as A, SignIn as U, Transient as T};

    /// Code, error, status as seen; class and a word of the remedy, written by hand.
    const EXPECTED: &[(u32, &str, u16, Class, &str)] = &[
        (7000215, "invalid_client", 401, A, "Value (not its Secret ID)"),
        (7000222, "invalid_client", 401, A, "New client secret"),
        (7000218, "invalid_client", 401, A, "Allow public client flows"),
        (700025, "invalid_client", 401, A, "remove `client_secret`"),
        (700027, "invalid_client", 401, A, "upload the certificate"),
        (700024, "invalid_client", 401, A, "timedatectl"),
        (700016, "unauthorized_client", 400, A, "Application (client) ID, not Object ID"),
        (7000229, "invalid_client", 401, A, "New-MgServicePrincipal -AppId 0f8fad5b"),
        (7000112, "unauthorized_client", 400, A, "Enabled for users to sign-in"),
        (90002, "invalid_request", 400, A, "Tenant ID"),
        (900023, "invalid_request", 400, A, "contoso.onmicrosoft.com"),
        (50059, "invalid_request", 400, A, "a domain of the tenant"),
        (50194, "invalid_request", 400, A, "a domain of the tenant"),
        (50020, "invalid_grant", 400, U, "as erp@contoso.com"),
        (50034, "invalid_grant", 400, A, "User principal name"),
        (50126, "invalid_grant", 400, U, "password of erp@contoso.com"),
        (50053, "invalid_grant", 400, T, "quarter of an hour"),
        (50055, "invalid_grant", 400, U, "change the password"),
        (50057, "invalid_grant", 400, A, "unblock sign-in"),
        (50076, "invalid_grant", 400, U, "interactively"),
        (50079, "invalid_grant", 400, U, "mysignins.microsoft.com"),
        (53003, "invalid_grant", 400, A, "Conditional Access names the policy"),
        (53000, "interaction_required", 400, A, "Sign-in logs"),
        (65001, "invalid_grant", 400, U, "Grant admin consent"),
        (90094, "access_denied", 400, A, "Grant admin consent"),
        (65005, "invalid_resource", 400, A, "SMTP.SendAsApp"),
        (500011, "invalid_resource", 400, A, "has Exchange Online"),
        (50105, "invalid_grant", 400, A, "Users and groups"),
        (70011, "invalid_scope", 400, A, "check `scope`"),
        (1002012, "invalid_scope", 400, A, "https://outlook.office365.com/.default"),
        (9002313, "invalid_request", 400, U, "copied whole"),
        (70008, "invalid_grant", 400, U, "sign in again"),
        (700082, "invalid_grant", 400, U, "sign in again"),
        (700084, "invalid_grant", 400, A, "Mobile and desktop"),
        (70043, "invalid_grant", 400, U, "sign-in frequency"),
        (50173, "invalid_grant", 400, U, "submitd login erp"),
        (70000, "invalid_grant", 400, U, "sign in again"),
        (50196, "invalid_grant", 400, T, "submitd waits"),
        (90055, "invalid_request", 400, T, "nothing to do"),
        (90033, "invalid_grant", 400, T, "nothing to do"),
        (80002, "invalid_grant", 400, T, "Pass-through"),
        (50000, "server_error", 500, T, "nothing to do"),
    ];

    const NAMES: &Names<'static> = &[
        ("account", "erp"),
        ("client_id", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("tenant", "contoso.onmicrosoft.com"),
        ("mailbox", "erp@contoso.com"),
        ("sign_in", "submitd login erp"),
    ];

    #[test]
    fn b12_codes_have_the_expected_class_and_remedy() {
        for (code, error, status, class, words) in EXPECTED {
            let found = classify(error, &[*code], *status);
            assert_eq!(found.class, *class, "{code}");
            let remedy = fill(found.remedy, NAMES);
            assert!(remedy.contains(words), "{code}: {remedy}");
        }
    }

    #[test]
    fn b12_names_of_errors_without_a_known_code() {
        for (error, status, class) in [
            ("invalid_grant", 400, U),
            ("interaction_required", 400, U),
            ("consent_required", 400, U),
            ("login_required", 400, U),
            ("access_denied", 400, U),
            ("invalid_client", 401, A),
            ("unauthorized_client", 400, A),
            ("invalid_request", 400, A),
            ("invalid_scope", 400, A),
            ("invalid_resource", 400, A),
            ("unsupported_grant_type", 400, A),
            ("what_is_this", 400, A),
            ("temporarily_unavailable", 400, T),
            ("server_error", 400, T),
            ("invalid_grant", 429, T),
            ("invalid_client", 503, T),
            ("invalid_grant", 408, T),
        ] {
            assert_eq!(classify(error, &[], status).class, class, "{error} {status}");
            assert_eq!(classify(error, &[4_000_000_000], status).class, class, "{error} {status}");
        }
    }

    #[test]
    fn b12_a_transient_code_wins_and_load_wins_over_any_other() {
        assert_eq!(classify("invalid_grant", &[50173, 50196], 400).class, T);
        assert_eq!(classify("invalid_client", &[7000215], 503).class, T);
        assert_eq!(
            classify("invalid_client", &[1, 7000222], 401).meaning,
            "the client secret has expired"
        );
    }

    #[test]
    fn b12_loop_and_lockout_have_a_pause() {
        assert_eq!(classify("invalid_grant", &[50196], 400).pause, Duration::from_secs(60));
        assert_eq!(classify("invalid_grant", &[50053], 400).pause, Duration::from_secs(900));
        assert_eq!(classify("invalid_grant", &[90055], 400).pause, Duration::ZERO);
    }

    #[test]
    fn rows_are_whole_and_no_code_stands_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for row in ROWS {
            assert!(!row.codes.is_empty());
            assert!(!row.meaning.is_empty() && !row.remedy.is_empty(), "{:?}", row.codes);
            let filled = fill(row.remedy, NAMES);
            assert!(!filled.contains(['{', '}', '\n']) && !filled.contains("  "), "{filled}");
            assert!(!row.meaning.contains('{'), "{}", row.meaning);
            for code in row.codes {
                assert!(seen.insert(*code), "{code} stands twice");
            }
        }
        for row in [&TROUBLE, &THROTTLED, &SIGN_IN, &CLIENT, &UNAUTHORIZED, &SCOPE, &REQUEST] {
            assert!(!fill(row.remedy, NAMES).contains(['{', '\n']));
        }
    }
}
