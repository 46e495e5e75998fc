//! What is to be set up at the provider for one account, ready to paste. Pure.
//!
//! It promises the least privilege that works, the account's own names in every line, and that a pasted
//! line means what it shows: whatever is not plain stands in PowerShell's single quotes. Where the token
//! told the object id of the application's service principal, that stands there too, and nobody can copy
//! the wrong one. It asks nobody.

use crate::config::{Account, Grant, Proof};
use crate::diagnosis::quoted;
use crate::oauth::claims::Claims;
use crate::oauth::request;

/// What is to be done for this account. `claims`: of a token that was had for it, if any.
pub fn text(account: &Account, claims: Option<&Claims>) -> String {
    let names = Names::of(account, claims);
    match &account.grant {
        Grant::ServiceAccount { .. } => google_domain(&names),
        _ if !names.is_entra => elsewhere(&names),
        Grant::ClientCredentials { application: asking } => {
            let proof = match asking.proof {
                Proof::Certificate(_) => certificate(&names),
                Proof::Federated { .. } => federated(&names),
                Proof::Secret(_) | Proof::None => secret(&names),
            };
            application(&names, &proof)
        }
        Grant::ManagedIdentity { .. } => application(&names, &managed(&names)),
        Grant::Password { .. } => person(&names, PASSWORD),
        Grant::TokenCommand { .. } | Grant::TokenFile { .. } => brokered(&names, claims),
        _ => person(&names, ""),
    }
}

/// The account's own names, as PowerShell takes them.
struct Names {
    account: String,
    mailbox: String,
    tenant: String,
    client_id: String,
    /// Of the application's service principal; an expression that finds it where it is not known.
    object_id: String,
    /// The token carries a permission that disturbs a role in Exchange.
    has_permission: bool,
    is_entra: bool,
    is_personal: bool,
}

impl Names {
    fn of(account: &Account, claims: Option<&Claims>) -> Self {
        let said = |pick: fn(&Claims) -> &Option<String>| claims.and_then(|c| pick(c).as_deref());
        let configured = request::client_id(&account.grant);
        let client_id = match said(|claims| &claims.application) {
            Some(id) => id,
            None if configured.contains(' ') => "<client id>",
            None => configured,
        };
        let asked = request::tenant(&account.oauth);
        let tenant = match asked.contains(' ') {
            true => said(|claims| &claims.tenant).unwrap_or("<tenant>"),
            false => asked,
        };
        let own = claims.filter(|claims| claims.is_of_application());
        Self {
            account: account.name.clone(),
            mailbox: quoted(account.mailbox.as_str()),
            tenant: quoted(tenant),
            client_id: quoted(client_id),
            object_id: match own.and_then(|claims| claims.object_id.as_deref()) {
                Some(id) => quoted(id),
                None => "$sp.Id".to_owned(),
            },
            has_permission: claims.is_some_and(|claims| !claims.roles.is_empty()),
            is_entra: account.oauth.token_url.path().contains("/oauth2/")
                || claims.is_some_and(|claims| claims.tenant.is_some())
                || account.upstream.host.ends_with("office365.com"),
            is_personal: asked == "consumers",
        }
    }
}

fn secret(names: &Names) -> String {
    format!(
        "Entra admin center > App registrations > {} > Certificates & secrets. Safest is a certificate, which never\n\
         leaves this machine:\n\n\
         \x20   openssl req -x509 -newkey rsa:3072 -noenc -days 730 -subj /CN=submitd \\\n\
         \x20     -keyout {account}.key -out {account}.crt && chmod 600 {account}.key\n\n\
         Upload {account}.crt under Certificates, then put certificate = \"{account}.crt\" and key = \"{account}.key\"\n\
         into account \"{account}\" instead of the secret. Or New client secret: copy its Value (not its Secret ID).",
        names.client_id,
        account = names.account,
    )
}

fn certificate(names: &Names) -> String {
    format!(
        "Entra admin center > App registrations > {} > Certificates & secrets > Certificates: upload the file that\n\
         `certificate` of account \"{}\" names, never the key. A new one:\n\n\
         \x20   openssl req -x509 -newkey rsa:3072 -noenc -days 730 -subj /CN=submitd \\\n\
         \x20     -keyout {account}.key -out {account}.crt && chmod 600 {account}.key",
        names.client_id,
        names.account,
        account = names.account,
    )
}

fn federated(names: &Names) -> String {
    format!(
        "Entra admin center > App registrations > {} > Certificates & secrets > Federated credentials > Add\n\
         credential: issuer and subject exactly as the token file of account \"{}\" has them, audience\n\
         api://AzureADTokenExchange. No secret.",
        names.client_id, names.account,
    )
}

fn managed(names: &Names) -> String {
    format!(
        "Azure portal > the machine or app > Identity: System assigned = On, or add a user-assigned identity and put its\n\
         client id into account \"{}\". It is an enterprise application of its own; there is no secret.",
        names.account,
    )
}

/// RBAC for Applications: no permission in Entra, a role in Exchange for the members of one group.
fn application(names: &Names, proof: &str) -> String {
    let Names { account, mailbox, tenant, client_id, object_id, .. } = names;
    let find = match object_id.as_str() {
        "$sp.Id" => format!(
            "Install-Module Microsoft.Graph.Applications\n\
             Connect-MgGraph -TenantId {tenant} -Scopes Application.Read.All\n\
             $sp = Get-MgServicePrincipal -Filter \"appId eq '{}'\"\n",
            client_id.trim_matches('\'')
        ),
        _ => String::new(),
    };
    let permission = match names.has_permission {
        false => "Give it no API permission: with SMTP.SendAsApp granted, Exchange asks for FullAccess to the mailbox again."
            .to_owned(),
        true => format!(
            "It has an API permission now. Either take it away (API permissions > Remove permission) and assign the role\n\
             below, or keep SMTP.SendAsApp and give the application the whole mailbox instead of a role:\n\n    \
             Add-MailboxPermission -Identity {mailbox} -User {object_id} -AccessRights FullAccess"
        ),
    };
    format!(
        "1. The application proves itself\n\n{proof}\n\n{permission}\n\n\
         2. A role in Exchange, for this mailbox only (PowerShell, as an Exchange administrator)\n\n\
         {}\n\n\
         InScope must say True. A further mailbox is one more member of the group. It takes up to two hours.\n\n\
         3. Then\n\n    submitd check {account}\n",
        indented(&format!(
            "{find}\
             Install-Module ExchangeOnlineManagement\n\
             Connect-ExchangeOnline -Organization {tenant}\n\
             New-ServicePrincipal -AppId {client_id} -ObjectId {object_id} -DisplayName submitd-{account}\n\
             New-DistributionGroup -Name submitd-{account} -Type Security -Members {mailbox}\n\
             $group = (Get-DistributionGroup submitd-{account}).DistinguishedName\n\
             New-ManagementScope -Name submitd-{account} -RecipientRestrictionFilter \"MemberOfGroup -eq '$group'\"\n\
             New-ManagementRoleAssignment -Name submitd-{account} -App {client_id} -Role 'Application SMTP.SendAsApp' \
             -CustomResourceScope submitd-{account}\n\
             Set-CASMailbox -Identity {mailbox} -SmtpClientAuthenticationDisabled $false\n\
             Test-ServicePrincipalAuthorization -Identity submitd-{account} -Resource {mailbox} | Format-Table"
        )),
    )
}

const PASSWORD: &str = "\nWith grant = \"password\" multi-factor authentication must be off for this user (a Conditional Access policy that\n\
                        excludes it), and the user must live in Entra, not at a federated sign-in server. Better is\n\
                        grant = \"client_credentials\".\n";

/// Delegated: somebody has signed in.
fn person(names: &Names, more: &str) -> String {
    let Names { account, mailbox, client_id, tenant, is_personal, .. } = names;
    let registration = format!(
        "1. The application (Entra admin center > App registrations > {client_id})\n\n\
         * Authentication > Add a platform > Mobile and desktop applications > http://localhost\n\
         * Authentication > Allow public client flows = Yes (not needed where a client secret is configured)\n\
         * API permissions > Add a permission > Microsoft Graph > Delegated permissions > SMTP.Send, offline_access;\n\
         \x20 then Grant admin consent. Nothing else: with User.Read the token may come out for Graph\n{more}\n"
    );
    if *is_personal {
        return format!(
            "{registration}2. The mailbox: Outlook.com > Settings > Mail > Forwarding and IMAP: switch the access of \
             programs on.\n   {mailbox} must be the account's main alias.\n\n3. Then\n\n    submitd check {account}\n"
        );
    }
    format!(
        "{registration}2. Authenticated SMTP for the mailbox (PowerShell, as an Exchange administrator)\n\n{}\n\n\
         Where {mailbox} is a shared mailbox, also for the person who signs in:\n\n{}\n\n\
         3. Then\n\n    submitd check {account}\n",
        indented(&format!(
            "Install-Module ExchangeOnlineManagement\n\
             Connect-ExchangeOnline -Organization {tenant}\n\
             Set-CASMailbox -Identity {mailbox} -SmtpClientAuthenticationDisabled $false"
        )),
        indented(&format!(
            "Add-MailboxPermission -Identity {mailbox} -User <person> -AccessRights FullAccess\n\
             Add-RecipientPermission -Identity {mailbox} -Trustee <person> -AccessRights SendAs"
        )),
    )
}

/// Somebody else asks for the token: who, its claims say.
fn brokered(names: &Names, claims: Option<&Claims>) -> String {
    let proof = "Whoever brings the token must ask for https://outlook.office365.com/.default.";
    match claims {
        Some(claims) if !claims.is_of_application() => person(names, ""),
        _ => application(names, proof),
    }
}

fn google_domain(names: &Names) -> String {
    format!(
        "1. Google Cloud console > IAM & Admin > Service Accounts > the account > Keys > Add key > JSON; the file goes\n\
         \x20  into `service_account_file` of account \"{account}\".\n\
         2. admin.google.com > Security > Access and data control > API controls > Domain-wide delegation > Add new:\n\
         \x20  the number `client_id` of that file, scope https://mail.google.com/\n\
         3. Then\n\n    submitd check {account}\n",
        account = names.account,
    )
}

fn elsewhere(names: &Names) -> String {
    format!(
        "Register an application with the provider, allow it the scope for SMTP (Gmail: https://mail.google.com/,\n\
         consent screen in production: in Testing a sign-in lasts seven days), and sign in as {}. Then\n\n    \
         submitd check {}\n",
        names.mailbox, names.account,
    )
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::os::unix::fs::PermissionsExt;

    const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    /// The account of a configuration with these keys.
    fn account(keys: &str) -> std::sync::Arc<Account> {
        let directory = tempfile::tempdir().unwrap();
        for name in ["erp.crt", "erp.key", "token"] {
            let path = directory.path().join(name);
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        }
        let path = directory.path().join("submitd.toml");
        let text = format!("state_dir = \"/tmp\"\n[[account]]\nname = \"erp\"\n{keys}\n");
        std::fs::write(&path, text).unwrap();
        let config = Config::load(Some(&path), std::iter::empty());
        let config = config.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        config.accounts[0].clone()
    }

    fn keys(grant: &str) -> String {
        format!(
            "mailbox = \"erp@contoso.com\"\ntenant = \"contoso.com\"\nclient_id = \"{ID}\"\n{grant}"
        )
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn each_grant_gets_its_own_lines_with_the_accounts_names() {
        let mailbox = "mailbox = \"erp@contoso.com\"\n";
        for (keys, words) in [
            (
                keys("grant = \"client_credentials\"\nclient_secret = \"s\""),
                &["Secret ID", "openssl req -x509", "$sp.Id", "Application SMTP.SendAsApp"][..],
            ),
            (
                keys(
                    "grant = \"client_credentials\"\ncertificate = \"erp.crt\"\nkey = \"erp.key\"",
                ),
                &[
                    "upload the file",
                    "-Members erp@contoso.com",
                    "-CustomResourceScope submitd-erp",
                ],
            ),
            (
                keys("grant = \"workload_identity\"\nfederated_token_file = \"token\""),
                &["Federated credentials", "api://AzureADTokenExchange", "New-ManagementScope"],
            ),
            (
                format!("{mailbox}grant = \"managed_identity\""),
                &[
                    "Azure portal",
                    "-AppId <client id>",
                    "Connect-ExchangeOnline -Organization <tenant>",
                ],
            ),
            (
                keys("grant = \"password\"\npassword = \"p\""),
                &[
                    "multi-factor",
                    "Allow public client flows",
                    "Set-CASMailbox -Identity erp@contoso.com",
                ],
            ),
            (
                keys("grant = \"refresh_token\"\nrefresh_token = \"r\""),
                &[
                    "Delegated permissions > SMTP.Send",
                    "Add-RecipientPermission -Identity erp@contoso.com",
                ],
            ),
            (
                format!(
                    "{mailbox}preset = \"outlook\"\nclient_id = \"{ID}\"\ngrant = \"refresh_token\"\nrefresh_token = \"r\""
                ),
                &["Outlook.com > Settings", "main alias"],
            ),
            (
                format!(
                    "{mailbox}preset = \"gmail\"\nclient_id = \"x\"\ngrant = \"refresh_token\"\nrefresh_token = \"r\""
                ),
                &["https://mail.google.com/", "in production"],
            ),
            (
                format!("{mailbox}grant = \"token_command\"\ntoken_command = [\"/bin/true\"]"),
                &["must ask for https://outlook.office365.com/.default", "New-ServicePrincipal"],
            ),
        ] {
            let text = text(&account(&keys), None);
            for word in words.iter().chain(&["submitd check erp\n"]) {
                assert!(text.contains(word), "{word:?} is not in:\n{text}");
            }
            assert!(
                !text.contains('{') && text.lines().all(|line| line == line.trim_end()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_token_fills_in_the_object_id_and_its_permission() {
        let account = account(&keys("grant = \"client_credentials\"\nclient_secret = \"s\""));
        let claims = Claims {
            object_id: Some("a1d5e3c7-6b20-4f8e-9c14-d7f30b5e8a26".to_owned()),
            ..Claims::default()
        };
        let role = text(&account, Some(&claims));
        let line = format!(
            "New-ServicePrincipal -AppId {ID} -ObjectId a1d5e3c7-6b20-4f8e-9c14-d7f30b5e8a26 "
        );
        assert!(role.contains(&line) && !role.contains("$sp"), "{role}");
        assert!(
            role.contains("no API permission") && !role.contains("Add-MailboxPermission"),
            "{role}"
        );
        let permitted = Claims { roles: vec!["SMTP.SendAsApp".to_owned()], ..claims };
        let both = text(&account, Some(&permitted));
        assert!(
            both.contains("Add-MailboxPermission -Identity erp@contoso.com -User a1d5e3c7"),
            "{both}"
        );
        assert!(both.contains("Remove permission"), "{both}");
    }

    #[test]
    fn a_pasted_line_means_what_it_shows() {
        let keys = keys("grant = \"client_credentials\"\nclient_secret = \"s\"");
        let account = account(&keys.replace("erp@contoso", "o'brien@contoso"));
        let text = text(&account, None);
        assert!(text.contains("-Members 'o''brien@contoso.com'"), "{text}");
    }
}
