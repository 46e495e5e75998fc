//! Reply texts of Exchange Online (and the few of other providers that matter) as rows of data. Pure.
//!
//! A row says how a reply is recognised, what it means in our words, who can mend it, how, and what
//! the judge makes of it. A reply that no row knows is judged by its code and place alone; so a row
//! may only stand here where that general judgement would be wrong or its explanation poor.
//!
//! It must not judge a delivery itself: that is `delivery::verdict`'s business.

use super::Class;

/// What was being said when the reply came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Greeting, EHLO, STARTTLS.
    Connection,
    /// AUTH.
    SignIn,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA, body or the final dot.
    Message,
}

/// What is made of a known reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The mail (or this recipient) cannot be delivered; the sender is told.
    Refuse,
    /// Later, by the mail's own schedule.
    Later,
    /// The upstream is crowded: fewer connections, again within seconds.
    Slower,
    /// Too many recipients at once: the rest goes in a second transaction.
    Surplus,
    /// A quota is used up: the account waits, no mail is failed.
    Quota,
    /// The account is broken: it waits for somebody, no mail is failed.
    Account,
}

/// Which enhanced codes a row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// Any, also none.
    Any,
    /// Exactly this.
    Is(u8, u16, u16),
    /// This class and subject, the detail within the two, both included.
    Within(u8, u16, u16, u16),
}

/// One known reply.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// A short name, for logs and tests.
    pub name: &'static str,
    /// The reply codes it comes with; none = any.
    pub reply: &'static [u16],
    /// The enhanced codes it comes with.
    pub enhanced: Codes,
    /// Lower-case fragments of the text that all must be there.
    pub text: &'static [&'static str],
    /// Where it counts; none = anywhere.
    pub places: &'static [Place],
    /// What is made of it.
    pub treatment: Treatment,
    /// Who can mend it.
    pub class: Class,
    /// What it means, in our words. Placeholders `{mailbox}` and `{account}`.
    pub meaning: &'static str,
    /// What is to be done. Placeholders as in `meaning`.
    pub remedy: &'static str,
}

impl Known {
    fn matches(&self, reply: u16, enhanced: Option<(u8, u16, u16)>, text: &str, at: Place) -> bool {
        (self.reply.is_empty() || self.reply.contains(&reply))
            && (self.places.is_empty() || self.places.contains(&at))
            && match (self.enhanced, enhanced) {
                (Codes::Any, _) => true,
                (_, None) => false,
                (Codes::Is(a, b, c), Some(found)) => found == (a, b, c),
                (Codes::Within(a, b, low, high), Some((x, y, z))) => {
                    (a, b) == (x, y) && (low..=high).contains(&z)
                }
            }
            && self.text.iter().all(|fragment| text.contains(fragment))
    }
}

/// The first row that knows this reply. `text` without the codes, as it came.
pub fn find(
    reply: u16,
    enhanced: Option<(u8, u16, u16)>,
    text: &str,
    at: Place,
) -> Option<&'static Known> {
    let text = text.to_lowercase().replace(['\r', '\n'], " ");
    ROWS.iter().find(|row| row.matches(reply, enhanced, &text, at))
}

use Class::{Administrator, SignIn, Transient};
use Place::{Connection, Message, Recipient, Sender};
use Treatment::{Account, Later, Quota, Refuse, Slower, Surplus};

const ANY: &[u16] = &[];
const AT_AUTH: &[Place] = &[Place::SignIn];
/// `530 5.7.57` at MAIL repeats the 535 of a failed AUTH.
const SIGN_IN: &[Place] = &[Place::SignIn, Sender];
const ANYWHERE: &[Place] = &[];
const OWN_MAILBOX: &[Place] = &[Sender, Message];

/// Order counts: the more exact row stands before the general one.
pub static ROWS: &[Known] = &[
    // ---- the sign-in: 535 and its kin. The first fragments also occur in `530 5.7.57 ... Error: 535 ...`.
    Known {
        name: "smtp-auth-off-tenant",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["smtpclientauthentication is disabled for the tenant"],
        places: SIGN_IN,
        treatment: Account,
        class: Administrator,
        meaning: "authenticated SMTP is switched off for the whole tenant; the switch applies to OAuth2 too",
        remedy: "allow it for this mailbox: Set-CASMailbox -Identity {'mailbox'} -SmtpClientAuthenticationDisabled $false \
                 (or for all: Set-TransportConfig -SmtpClientAuthenticationDisabled $false); it takes some minutes",
    },
    Known {
        name: "smtp-auth-off-mailbox",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["smtpclientauthentication is disabled for the mailbox"],
        places: SIGN_IN,
        treatment: Account,
        class: Administrator,
        meaning: "authenticated SMTP is switched off for this mailbox",
        remedy: "Set-CASMailbox -Identity {'mailbox'} -SmtpClientAuthenticationDisabled $false (admin centre: Users, \
                 {mailbox}, Mail, Manage email apps, Authenticated SMTP); it takes some minutes",
    },
    Known {
        name: "security-defaults",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["security defaults policy"],
        places: SIGN_IN,
        treatment: Account,
        class: Administrator,
        meaning: "the organisation's security defaults lock this user out of SMTP",
        remedy: "in the Entra admin centre replace security defaults by Conditional Access (Properties, Manage security \
                 defaults), or use grant = \"client_credentials\" for account {account}",
    },
    Known {
        name: "conditional-access",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["did not meet the criteria to be authenticated"],
        places: SIGN_IN,
        treatment: Account,
        class: Administrator,
        meaning: "a Conditional Access or authentication policy refuses this sign-in",
        remedy: "look at the sign-in log of {mailbox} in the Entra admin centre and exclude it, or this server's address, \
                 from the policy named there",
    },
    Known {
        name: "account-blocked",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["account has an issue"],
        places: SIGN_IN,
        treatment: Account,
        class: Administrator,
        meaning: "the user is blocked, disabled or without a licence",
        remedy: "check in the Microsoft 365 admin centre that {mailbox} may sign in and holds an Exchange licence",
    },
    Known {
        name: "basic-auth-off",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["basic authentication is"],
        places: SIGN_IN,
        treatment: Account,
        class: Administrator,
        meaning: "the server saw a password where a token was meant",
        remedy: "check host and port of [account.upstream] of account {account}: the server must offer AUTH XOAUTH2",
    },
    Known {
        name: "bad-credentials",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["user credentials were incorrect"],
        places: SIGN_IN,
        treatment: Account,
        class: Administrator,
        meaning: "the server saw a wrong password where a token was meant",
        remedy: "check host and port of [account.upstream] of account {account}: the server must offer AUTH XOAUTH2",
    },
    Known {
        name: "federation-without-tls",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["federated sts url does not support https"],
        places: SIGN_IN,
        treatment: Account,
        class: Administrator,
        meaning: "the organisation's own sign-in server (AD FS) is registered with an address without https, and only passwords go there",
        remedy: "check host and port of [account.upstream] of account {account}: the server must offer AUTH XOAUTH2; mend the AD FS address: Get-MgDomainFederationConfiguration -DomainId <domain of {mailbox}>",
    },
    Known {
        name: "federation-down",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["federated sts"],
        places: SIGN_IN,
        treatment: Account,
        class: Transient,
        meaning: "the organisation's own sign-in server (AD FS) could not be reached by Microsoft",
        remedy: "it is tried again by itself; if it lasts, look at the AD FS farm",
    },
    Known {
        name: "token-about-to-expire",
        reply: &[501],
        enhanced: Codes::Any,
        text: &["token will expire soon"],
        places: AT_AUTH,
        treatment: Account,
        class: Transient,
        meaning: "the token has too little life left for this server",
        remedy: "it is renewed by itself; if it lasts, check this machine's clock",
    },
    Known {
        name: "malformed-token",
        reply: &[501],
        enhanced: Codes::Any,
        text: &["invalid xoauth2 auth data"],
        places: AT_AUTH,
        treatment: Account,
        class: Administrator,
        meaning: "the server could not read the token",
        remedy: "the token must be made for Exchange: check scope and token_url of [account.oauth] of account {account}",
    },
    Known {
        name: "google-bad-credentials",
        reply: &[535],
        enhanced: Codes::Is(5, 7, 8),
        text: &["gsmtp"],
        places: AT_AUTH,
        treatment: Account,
        class: SignIn,
        meaning: "Google does not take this token",
        remedy: "sign in again for account {account} as {mailbox} with the scope https://mail.google.com/",
    },
    Known {
        name: "google-application-password",
        reply: &[534],
        enhanced: Codes::Is(5, 7, 9),
        text: &[],
        places: AT_AUTH,
        treatment: Account,
        class: SignIn,
        meaning: "Google wants another way to sign in",
        remedy: "sign in again for account {account} as {mailbox} with the scope https://mail.google.com/",
    },
    Known {
        name: "token-refused",
        reply: &[535],
        enhanced: Codes::Any,
        text: &[],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "the server does not take this token for this mailbox, without saying why",
        remedy: "check in this order: {mailbox} exists and is the mailbox meant; the token is for Exchange (scope \
                 https://outlook.office365.com/.default or SMTP.Send, never Graph); for an application \
                 New-ServicePrincipal was given the object id of the enterprise application, not of the registration; \
                 Add-MailboxPermission -Identity {'mailbox'} -User <service principal> -AccessRights FullAccess. New \
                 permissions may take two hours. `submitd check {account}` reads the token and says which it is",
    },
    Known {
        name: "authentication-trouble",
        reply: &[454],
        enhanced: Codes::Is(4, 7, 0),
        text: &["temporary authentication failure"],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "Exchange Online could not check the token just now",
        remedy: "nothing to do, it is tried again; if it lasts, look at the service health page of Microsoft 365",
    },
    Known {
        name: "mechanism-refused",
        reply: &[504],
        enhanced: Codes::Any,
        text: &[],
        places: AT_AUTH,
        treatment: Later,
        class: Administrator,
        meaning: "the server does not know AUTH XOAUTH2",
        remedy: "check host and port of [account.upstream] of account {account}: smtp.office365.com:587 for Exchange Online, and no relay or firewall in between",
    },
    // ---- the account, met later than at AUTH
    Known {
        name: "not-authenticated",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 57),
        text: &[],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "the server does not count this connection as signed in",
        remedy: "check host and port of [account.upstream] of account {account} (smtp.office365.com:587) and that \
                 authenticated SMTP is on: Set-CASMailbox -Identity {'mailbox'} -SmtpClientAuthenticationDisabled $false",
    },
    Known {
        name: "starttls-required",
        reply: &[530],
        enhanced: Codes::Any,
        text: &["starttls"],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "the server wants TLS, and the connection it saw had none: somebody on the way takes TLS away",
        remedy: "exempt the connection to port 587 from the firewall's SMTP inspection, and check tls of [account.upstream] of account {account}",
    },
    Known {
        name: "authentication-required",
        reply: &[530],
        enhanced: Codes::Any,
        text: &[],
        places: &[Sender, Recipient, Message],
        treatment: Account,
        class: Administrator,
        meaning: "the server wants a sign-in that it did not count",
        remedy: "check host, port and tls of [account.upstream] of account {account}",
    },
    Known {
        name: "restricted-sender",
        reply: ANY,
        enhanced: Codes::Is(5, 1, 8),
        text: &["bad outbound sender"],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "Microsoft blocks {mailbox} as a sender of spam; the account may be compromised",
        remedy: "change the secrets of {mailbox}, then release it: Microsoft Defender portal, Email & collaboration, Review, \
                 Restricted entities (https://security.microsoft.com/restrictedentities)",
    },
    Known {
        name: "restricted-sender",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["as(42004)"],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "Microsoft blocks {mailbox} as a sender of spam; the account may be compromised",
        remedy: "change the secrets of {mailbox}, then release it: Microsoft Defender portal, Email & collaboration, Review, \
                 Restricted entities (https://security.microsoft.com/restrictedentities)",
    },
    Known {
        name: "banned-sender",
        reply: ANY,
        enhanced: Codes::Within(5, 7, 501, 503),
        text: &[],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "Microsoft has banned this sender",
        remedy: "find out why {mailbox} was taken for a spammer, then ask Microsoft support for its release",
    },
    Known {
        name: "banned-sender",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 511),
        text: &[],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "Microsoft has banned this sender",
        remedy: "forward the refusal to delist@microsoft.com, or ask Microsoft support for the release of {mailbox}",
    },
    Known {
        name: "tenant-threshold",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 705),
        text: &[],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "the tenant is blocked: too much suspicious mail, or a trial tenant that sends too much",
        remedy: "clean compromised accounts, then ask Microsoft support to lift the block",
    },
    Known {
        name: "address-not-trusted",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 708),
        text: &[],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "Microsoft takes no mail of this tenant from this address (new or trial tenants)",
        remedy: "ask Microsoft support, with the full text, to allow the tenant to send",
    },
    Known {
        name: "unregistered-domain",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 750),
        text: &[],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "too much mail from domains that the tenant does not own",
        remedy: "add the sender's domain to the tenant (admin centre, Settings, Domains), then ask Microsoft support",
    },
    // ---- quotas: 5xx in form, passing in truth
    Known {
        name: "recipients-a-day",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["submissionquotaexceeded"],
        places: ANYWHERE,
        treatment: Quota,
        class: Transient,
        meaning: "the mailbox has reached its recipients for 24 hours (10,000 at Exchange Online)",
        remedy: "mail goes on by itself as the hours pass; spread the load over several mailboxes",
    },
    Known {
        name: "recipients-a-day",
        reply: ANY,
        enhanced: Codes::Is(5, 2, 2),
        text: &["submission quota"],
        places: ANYWHERE,
        treatment: Quota,
        class: Transient,
        meaning: "the mailbox has reached its recipients for 24 hours (10,000 at Exchange Online)",
        remedy: "mail goes on by itself as the hours pass; spread the load over several mailboxes",
    },
    Known {
        name: "tenant-external-recipients",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 233),
        text: &[],
        places: ANYWHERE,
        treatment: Quota,
        class: Transient,
        meaning: "the tenant has reached its external recipients for 24 hours",
        remedy: "mail goes on by itself as the hours pass; more licences raise the limit",
    },
    Known {
        name: "onmicrosoft-recipients",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 236),
        text: &[],
        places: ANYWHERE,
        treatment: Quota,
        class: Transient,
        meaning: "a sender of an onmicrosoft.com domain may reach only 100 external recipients in 24 hours",
        remedy: "send from a domain of your own: give {mailbox} a primary address in it",
    },
    Known {
        name: "google-daily-limit",
        reply: ANY,
        enhanced: Codes::Is(5, 4, 5),
        text: &[],
        places: ANYWHERE,
        treatment: Quota,
        class: Transient,
        meaning: "the account has reached its messages for 24 hours",
        remedy: "mail goes on by itself as the hours pass; spread the load over several mailboxes",
    },
    // ---- our own mailbox is full (at RCPT the same code speaks of the recipient's mailbox)
    Known {
        name: "mailbox-full",
        reply: ANY,
        enhanced: Codes::Is(5, 2, 2),
        text: &["mailbox full"],
        places: OWN_MAILBOX,
        treatment: Account,
        class: Administrator,
        meaning: "the sending mailbox {mailbox} is full: every mail sent leaves a copy in Sent Items",
        remedy: "empty Sent Items of {mailbox}, and keep no copies: Set-Mailbox {'mailbox'} \
                 -MessageCopyForSMTPClientSubmissionEnabled $false",
    },
    Known {
        name: "mailbox-full",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["storedrv.submission.exception:quotaexceeded"],
        places: ANYWHERE,
        treatment: Account,
        class: Administrator,
        meaning: "the sending mailbox {mailbox} is full: every mail sent leaves a copy in Sent Items",
        remedy: "empty Sent Items of {mailbox}, and keep no copies: Set-Mailbox {'mailbox'} \
                 -MessageCopyForSMTPClientSubmissionEnabled $false",
    },
    // ---- crowded: fewer connections
    Known {
        name: "too-many-connections",
        reply: &[432],
        enhanced: Codes::Is(4, 3, 2),
        text: &[],
        places: ANYWHERE,
        treatment: Slower,
        class: Transient,
        meaning: "more connections at once than the mailbox may have (3 at Exchange Online)",
        remedy: "fewer are used by itself; if it lasts, another program sends as {mailbox} too: lower connections of \
                 account {account}",
    },
    Known {
        name: "too-many-connections",
        reply: &[421],
        enhanced: Codes::Any,
        text: &["concurrent", "exceeded"],
        places: ANYWHERE,
        treatment: Slower,
        class: Transient,
        meaning: "more connections at once than the server takes",
        remedy: "fewer are used by itself; if it lasts, lower connections of account {account}",
    },
    Known {
        name: "too-fast",
        reply: &[421],
        enhanced: Codes::Any,
        text: &["submission rate"],
        places: ANYWHERE,
        treatment: Slower,
        class: Transient,
        meaning: "more messages a minute than the server takes",
        remedy: "if it lasts, lower messages_per_minute of account {account}",
    },
    Known {
        name: "server-busy",
        reply: ANY,
        enhanced: Codes::Within(4, 7, 500, 699),
        text: &[],
        places: ANYWHERE,
        treatment: Slower,
        class: Transient,
        meaning: "Exchange Online holds this address back for a while",
        remedy: "it passes by itself within minutes or hours",
    },
    Known {
        name: "connections-refused",
        reply: &[421],
        enhanced: Codes::Is(4, 7, 0),
        text: &["too many errors"],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "the server hung up after several wrong commands or logins",
        remedy: "nothing to do for this one; the log shows the refusals that came before it",
    },
    Known {
        name: "google-too-many-logins",
        reply: &[454],
        enhanced: Codes::Is(4, 7, 0),
        text: &["too many login attempts"],
        places: ANYWHERE,
        treatment: Slower,
        class: Transient,
        meaning: "Google takes no more logins for a while",
        remedy: "it passes by itself; if it lasts, lower connections of account {account}",
    },
    Known {
        name: "google-later",
        reply: &[421],
        enhanced: Codes::Is(4, 7, 0),
        text: &["try again later"],
        places: ANYWHERE,
        treatment: Slower,
        class: Transient,
        meaning: "Google holds this address back for a while",
        remedy: "it passes by itself within minutes or hours",
    },
    // ---- too many recipients in one transaction (552 in old servers: RFC 5321 §4.5.3.1.10)
    Known {
        name: "surplus-recipients",
        reply: &[452],
        enhanced: Codes::Is(4, 5, 3),
        text: &[],
        places: &[Recipient],
        treatment: Surplus,
        class: Transient,
        meaning: "more recipients than fit into one transaction",
        remedy: "the rest goes in another one by itself",
    },
    Known {
        name: "surplus-recipients",
        reply: &[452, 552],
        enhanced: Codes::Any,
        text: &["too many recipients"],
        places: &[Recipient],
        treatment: Surplus,
        class: Transient,
        meaning: "more recipients than fit into one transaction",
        remedy: "the rest goes in another one by itself",
    },
    // ---- temporary, but worth a word when it lasts
    Known {
        name: "proxy-trouble",
        reply: &[451],
        enhanced: Codes::Is(4, 7, 0),
        text: &["prx"],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "trouble inside Exchange Online",
        remedy: "it passes by itself; if it lasts for days for {mailbox} alone, ask Microsoft support with the full text",
    },
    Known {
        name: "mailbox-logon",
        reply: &[430],
        enhanced: Codes::Any,
        text: &[],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "Exchange could not open the mailbox {mailbox}",
        remedy: "it mostly passes by itself; if it lasts, check the permissions on {mailbox}",
    },
    Known {
        name: "service-not-active",
        reply: &[421],
        enhanced: Codes::Is(4, 3, 2),
        text: &["service not a"],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "this server of Exchange Online takes no mail just now",
        remedy: "nothing to do, another one is tried; if it lasts, look at the service health page of Microsoft 365",
    },
    Known {
        name: "mailbox-server-trouble",
        reply: &[451],
        enhanced: Codes::Is(4, 3, 111),
        text: &[],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "trouble inside Exchange Online with the mailbox {mailbox}",
        remedy: "it passes by itself; if it lasts for days for {mailbox} alone, ask Microsoft support with the full text",
    },
    Known {
        name: "connection-timed-out",
        reply: &[421, 451],
        enhanced: Codes::Within(4, 4, 1, 2),
        text: &[],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "the server closed the connection: too long a silence, or trouble on the way",
        remedy: "nothing to do, it is tried again; if it lasts, a firewall holds the connection back",
    },
    Known {
        name: "connection-timed-out",
        reply: &[451],
        enhanced: Codes::Is(4, 7, 0),
        text: &["timeout waiting for client input"],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "the server closed the connection: too long a silence, or trouble on the way",
        remedy: "nothing to do, it is tried again; if it lasts, a firewall holds the connection back",
    },
    Known {
        name: "server-out-of-resources",
        reply: &[452],
        enhanced: Codes::Is(4, 3, 1),
        text: &["insufficient system resources"],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "this server of Exchange Online is out of room",
        remedy: "nothing to do, it is tried again",
    },
    Known {
        name: "submission-trouble",
        reply: &[421, 432, 450, 451, 452],
        enhanced: Codes::Any,
        text: &["transient exception"],
        places: ANYWHERE,
        treatment: Later,
        class: Transient,
        meaning: "Exchange Online could not put the mail into the mailbox {mailbox} just now",
        remedy: "nothing to do, it is tried again; if it lasts for days, ask Microsoft support with the full text",
    },
    // ---- the mail itself
    Known {
        name: "send-as-denied",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["sendasdenied"],
        places: OWN_MAILBOX,
        treatment: Refuse,
        class: Administrator,
        meaning: "{mailbox} may not send with the From address of this mail",
        remedy: "let the program write {mailbox} into From, or allow the other address: Add-RecipientPermission <address> \
                 -AccessRights SendAs -Trustee {'mailbox'}",
    },
    Known {
        name: "send-as-denied",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 60),
        text: &[],
        places: OWN_MAILBOX,
        treatment: Refuse,
        class: Administrator,
        meaning: "{mailbox} may not send with the sender address of this mail",
        remedy: "let the program send as {mailbox}, or allow the other address: Add-RecipientPermission <address> \
                 -AccessRights SendAs -Trustee {'mailbox'}",
    },
    Known {
        name: "send-on-behalf-denied",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 1),
        text: &["send on behalf of"],
        places: OWN_MAILBOX,
        treatment: Refuse,
        class: Administrator,
        meaning: "{mailbox} may not send on behalf of the From address of this mail",
        remedy: "let the program write {mailbox} into From, or allow it: Set-Mailbox <address> -GrantSendOnBehalfTo \
                 {'mailbox'}",
    },
    Known {
        name: "google-unauthenticated-sender",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 26),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the domain of the From address has neither SPF nor DKIM for this way",
        remedy: "send as {mailbox}, or publish SPF and DKIM for the domain of the From address",
    },
    Known {
        name: "transport-rule",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["transport.rules.rejectmessage"],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "a mail flow rule of the organisation refuses this mail",
        remedy: "look through the rules in the Exchange admin centre: Mail flow, Rules",
    },
    Known {
        name: "no-from-header",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 512),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the From header is missing or malformed",
        remedy: "the program must write one From header; a display name that holds an @ must stand in quotes and the \
                 address in <>",
    },
    Known {
        name: "message-too-large",
        reply: ANY,
        enhanced: Codes::Is(5, 2, 3),
        text: &[],
        places: OWN_MAILBOX,
        treatment: Refuse,
        class: Administrator,
        meaning: "the mail is larger than {mailbox} may send",
        remedy: "send less, or raise the limit: Set-Mailbox {'mailbox'} -MaxSendSize 150MB (attachments grow by a third on \
                 the way)",
    },
    Known {
        name: "message-too-large",
        reply: ANY,
        enhanced: Codes::Is(5, 3, 4),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the mail, or its header, is larger than the server takes",
        remedy: "send less, or raise the limit: Set-Mailbox {'mailbox'} -MaxSendSize 150MB (attachments grow by a third on \
                 the way)",
    },
    Known {
        name: "bare-newlines",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["bare linefeeds"],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the mail holds a lone line feed or carriage return",
        remedy: "set bare_newline = \"normalise\" in [[listener]] (it is the default) and send the mail anew",
    },
    Known {
        name: "bare-newlines",
        reply: ANY,
        enhanced: Codes::Is(5, 6, 11),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the mail holds a lone line feed or carriage return",
        remedy: "set bare_newline = \"normalise\" in [[listener]] (it is the default) and send the mail anew",
    },
    Known {
        name: "malformed-address",
        reply: &[501],
        enhanced: Codes::Is(5, 1, 3),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the server takes this recipient's address for none",
        remedy: "check the address",
    },
    Known {
        name: "malformed-address",
        reply: &[501],
        enhanced: Codes::Is(5, 1, 7),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the server takes this sender's address for none",
        remedy: "check the address in MAIL FROM",
    },
    Known {
        name: "utf8-address",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["smtputf8"],
        places: &[Sender, Recipient],
        treatment: Refuse,
        class: Administrator,
        meaning: "an address holds characters beyond ASCII, which the server takes only with SMTPUTF8",
        remedy: "write the address in ASCII (the domain in its xn-- form), or let the program ask for SMTPUTF8",
    },
    Known {
        name: "utf8-address",
        reply: ANY,
        enhanced: Codes::Any,
        text: &["utf-8 addresses not supported"],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "an address holds characters beyond ASCII, which the server does not take",
        remedy: "write the address in ASCII (the domain in its xn-- form)",
    },
    Known {
        name: "utf8-address",
        reply: ANY,
        enhanced: Codes::Is(5, 6, 7),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "an address holds characters beyond ASCII, which the server does not take",
        remedy: "write the address in ASCII (the domain in its xn-- form)",
    },
    Known {
        name: "unknown-recipient",
        reply: ANY,
        enhanced: Codes::Within(5, 1, 1, 1),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "there is no such recipient",
        remedy: "check the address",
    },
    Known {
        name: "unknown-recipient",
        reply: ANY,
        enhanced: Codes::Is(5, 1, 10),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "there is no such recipient",
        remedy: "check the address",
    },
    Known {
        name: "recipient-refused",
        reply: ANY,
        enhanced: Codes::Is(5, 4, 1),
        text: &["recipient address rejected"],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the recipient's organisation does not know this address or takes no mail for it",
        remedy: "check the address",
    },
    Known {
        name: "recipient-refused",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 504),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the recipient's organisation does not know this address or takes no mail for it",
        remedy: "check the address",
    },
    Known {
        name: "mail-loop",
        reply: ANY,
        enhanced: Codes::Is(5, 4, 6),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the mail goes in a circle",
        remedy: "look at the forwarding of the recipient and at connectors that lead back here",
    },
    Known {
        name: "mail-loop",
        reply: ANY,
        enhanced: Codes::Is(5, 4, 14),
        text: &[],
        places: ANYWHERE,
        treatment: Refuse,
        class: Administrator,
        meaning: "the mail goes in a circle",
        remedy: "look at the forwarding of the recipient and at connectors that lead back here",
    },
    Known {
        name: "server-name-refused",
        reply: &[501],
        enhanced: Codes::Any,
        text: &["invalid domain name"],
        places: &[Connection, Sender],
        treatment: Account,
        class: Administrator,
        meaning: "the server does not take our name in EHLO",
        remedy: "set hostname to this machine's own full name",
    },
    Known {
        name: "server-name-refused",
        reply: ANY,
        enhanced: Codes::Is(5, 7, 506),
        text: &[],
        places: &[Connection, Sender],
        treatment: Account,
        class: Administrator,
        meaning: "the server does not take our name in EHLO",
        remedy: "set hostname to this machine's own full name",
    },
    Known {
        name: "submission-refused",
        reply: ANY,
        enhanced: Codes::Is(5, 2, 0),
        text: &["storedrv.submission.exception"],
        places: OWN_MAILBOX,
        treatment: Refuse,
        class: Administrator,
        meaning: "Exchange Online does not put this mail into the mailbox {mailbox}; the reason is the word after Submission.Exception",
        remedy: "look up that word at https://learn.microsoft.com; often the mail is malformed, or {mailbox} lacks a licence",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::fill;

    #[test]
    fn every_row_can_be_reached_by_what_it_asks_for() {
        for (index, row) in ROWS.iter().enumerate() {
            let reply = row.reply.first().copied().unwrap_or(599);
            let enhanced = match row.enhanced {
                Codes::Any => None,
                Codes::Is(a, b, c) | Codes::Within(a, b, c, _) => Some((a, b, c)),
            };
            let at = row.places.first().copied().unwrap_or(Place::Message);
            let text = row.text.join(" and ");
            let found = find(reply, enhanced, &text, at).expect(row.name);
            assert!(
                std::ptr::eq(found, row),
                "row {index} {} is hidden by {}",
                row.name,
                found.name
            );
        }
    }

    #[test]
    fn rows_speak_whole_sentences_and_match_in_lower_case() {
        for row in ROWS {
            assert!(!row.meaning.is_empty() && !row.remedy.is_empty(), "{}", row.name);
            for text in [row.meaning, row.remedy] {
                assert!(!text.contains("  ") && !text.ends_with('.'), "{}: {text}", row.name);
            }
            for fragment in row.text {
                assert_eq!(*fragment, fragment.to_lowercase(), "{}", row.name);
            }
        }
    }

    #[test]
    fn the_remedy_names_mailbox_and_account() {
        let row = find(
            535,
            Some((5, 7, 139)),
            "SmtpClientAuthentication is disabled for the Mailbox.",
            Place::SignIn,
        )
        .expect("row");
        let names = [("account", "erp"), ("mailbox", "erp@contoso.com")];
        let remedy = fill(row.remedy, &names);
        assert!(
            remedy.starts_with(
                "Set-CASMailbox -Identity erp@contoso.com -SmtpClientAuthenticationDisabled $false"
            ),
            "{remedy}"
        );
        for row in ROWS {
            let filled = [row.meaning, row.remedy].map(|text| fill(text, &names));
            assert!(!filled.concat().contains('{'), "{}: {filled:?}", row.name);
        }
    }

    #[test]
    fn text_over_several_lines_is_found_and_other_text_is_not() {
        let text = "Authentication unsuccessful, user is locked by your organization's security\ndefaults policy.";
        let row = find(535, Some((5, 7, 139)), text, Place::SignIn).expect("row");
        assert_eq!(row.name, "security-defaults");
        assert!(find(550, Some((5, 9, 9)), "something new", Place::Message).is_none());
        assert!(find(250, Some((2, 0, 0)), "OK", Place::Message).is_none());
    }
}
