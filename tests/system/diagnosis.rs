//! Every known code and reply, and every mistake that `check` tells apart: it is made in the sandbox, and
//! what the administrator reads is compared with what stands here, written by hand.
//!
//! One sandbox, and a walk by the library for each row: HTTP, TLS and SMTP are real, only the process is
//! saved. A row of the data without a fixture here fails too.

use crate::support::walk::{
    APP, by_managed_identity, by_secret, by_service_account, remedy, says, trial, walk, world,
};
use crate::support::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use submitd::check::{Finding, Step, Trial};
use submitd::diagnosis::exchange::{self, Place};
use submitd::diagnosis::{Class, entra, google, managed};
use submitd::sandbox::faults::{Fault, ReplyText, Stage, TokenAnswer};

/// Who can mend it.
const A: Class = Class::Administrator;
const U: Class = Class::SignIn;
const T: Class = Class::Transient;

/// Walks with this answer of the token endpoint and looks at what is told.
fn refused(world: &World, text: &str, status: u16, body: &Value, class: Class, words: &[&str]) {
    let answer = TokenAnswer { status, body: body.clone() };
    world.faults(|faults| faults.token.answer = Some(Fault::always(answer)));
    let walk = walk(world, text, &Trial::default());
    let (step, trouble) = walk.broken();
    assert_eq!((step, trouble.class), (Step::Token, class), "{body}: {trouble:?}");
    says(remedy(trouble), words, &body.to_string());
    assert!(!remedy(trouble).contains(['{', '}']), "{}", remedy(trouble));
    let last = walk.steps.last().unwrap();
    assert_eq!(*last, (Step::Mail, Finding::NotReached));
}

/// AADSTS number, HTTP status, `error`, class, words of the remedy, description.
type Number = (u32, u16, &'static str, Class, &'static [&'static str], &'static str);

#[rustfmt::skip]
const NUMBERS: &[Number] = &[
    (7000215, 401, "invalid_client", A, &["New client secret", "Value (not its Secret ID)", "account \"erp\""], "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '0f8fad5b-d9cb-469f-a165-70867728950e'."),
    (7000222, 401, "invalid_client", A, &["New client secret"], "The provided client secret keys for app '0f8fad5b-d9cb-469f-a165-70867728950e' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."),
    (7000218, 401, "invalid_client", A, &["client_secret", "Allow public client flows = Yes"], "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."),
    (7000216, 401, "invalid_client", A, &["client_secret", "certificate"], "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."),
    (700025, 401, "invalid_client", A, &["remove `client_secret`"], "Client is public so neither 'client_assertion' nor 'client_secret' should be presented."),
    (700027, 401, "invalid_client", A, &["upload the certificate"], "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found.]"),
    (50012, 401, "invalid_client", A, &["upload the certificate"], "Client assertion contains an invalid signature."),
    (700030, 401, "invalid_client", A, &["Certificates"], "Invalid certificate - subject name in certificate isn't authorized."),
    (700024, 401, "invalid_client", A, &["timedatectl", "token file"], "Client assertion is not within its valid time range. Current time: 2026-11-21T10:00:00Z, assertion valid from 2026-11-21T09:00:00Z, expiry time of assertion 2026-11-21T09:10:00Z."),
    (700021, 401, "invalid_client", A, &["`client_id`", APP, "Application (client) ID"], "Client assertion application identifier doesn't match 'client_id' parameter."),
    (700023, 401, "invalid_client", A, &["`scope`", "`token_url`"], "Client assertion audience claim does not match Realm issuer."),
    (50013, 401, "invalid_client", A, &["timedatectl", "certificate"], "Assertion failed signature validation."),
    (500131, 401, "invalid_client", A, &["certificate, key or federated token file"], "Assertion audience does not match the Client app presenting the assertion."),
    (500133, 401, "invalid_client", A, &["timedatectl"], "Assertion is not within its valid time range. Ensure that the access token is not expired before using it for user assertion, or request a new token."),
    (50027, 401, "invalid_client", A, &["timedatectl"], "Invalid JWT token. AADSTS50027: token format not valid."),
    (7000110, 400, "invalid_request", A, &["`client_id`"], "Request is ambiguous, multiple application identifiers found."),
    (70021, 400, "invalid_client", A, &["issuer, subject and audience"], "No matching federated identity record found for presented assertion."),
    (700211, 401, "invalid_client", A, &["Federated credentials"], "No matching federated identity record found for presented assertion issuer 'https://x'."),
    (700212, 401, "invalid_client", A, &["Federated credentials"], "No matching federated identity record found for presented assertion audience 'api://x'."),
    (700213, 401, "invalid_client", A, &["Federated credentials"], "No matching federated identity record found for presented assertion subject 'x'."),
    (700016, 400, "unauthorized_client", A, &["Application (client) ID, not Object ID", "submitd check --setup erp"], "Application with identifier '0f8fad5b-d9cb-469f-a165-70867728950e' was not found in the directory 'Contoso'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."),
    (7000229, 401, "invalid_client", A, &["New-MgServicePrincipal -AppId 0f8fad5b-d9cb-469f-a165-70867728950e"], "The client application 0f8fad5b-d9cb-469f-a165-70867728950e is missing service principal in the tenant 5c3b1d6e-8f0a-4e52-9d37-2b6f1a40c9e8. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119"),
    (7000112, 400, "unauthorized_client", A, &["Enabled for users to sign-in"], "Application '0f8fad5b-d9cb-469f-a165-70867728950e'(erp) is disabled."),
    (70001, 400, "unauthorized_client", A, &["Enabled for users to sign-in"], "Application is disabled."),
    (90002, 400, "invalid_request", A, &["contoso.onmicrosoft.com", "Tenant ID", "`cloud`"], "Tenant 'contoso.example' not found. This may happen if there are no active subscriptions for the tenant. Check to make sure you have the correct tenant ID. Check with your subscription administrator."),
    (900023, 400, "invalid_request", A, &["Tenant ID"], "Specified tenant identifier 'x' is neither a valid DNS name, nor a valid external domain."),
    (50059, 400, "invalid_request", A, &["a domain of the tenant"], "No tenant-identifying information found in either the request or implied by any provided credentials."),
    (50128, 400, "invalid_request", A, &["a domain of the tenant"], "Invalid domain name - No tenant-identifying information found in either the request or implied by any provided credentials."),
    (90019, 400, "invalid_request", A, &["a domain of the tenant"], "No tenant-identifying information found in either the request or implied by any provided credentials."),
    (50194, 400, "invalid_request", A, &["a domain of the tenant"], "Application '0f8f'(erp) is not configured as a multi-tenant application. Usage of the /common endpoint is not supported for such apps created after '10/15/2018'."),
    (90130, 400, "invalid_request", A, &["set `tenant`"], "Application '0f8f'(erp) is not supported over the /common or /consumers endpoints."),
    (90124, 400, "invalid_request", A, &["set `tenant`"], "The resource is not supported over the /common or /consumers endpoints. Use the /organizations or tenant-specific endpoint."),
    (9002332, 400, "invalid_request", A, &["set `tenant`"], "Application '0f8f'(erp) is configured for use by Azure Active Directory users only. Please do not use the /consumers endpoint to serve this request."),
    (90133, 400, "invalid_request", A, &["set `tenant`"], "Device Code flow is not supported under /common or /consumers endpoint."),
    (9001023, 400, "invalid_request", A, &["set `tenant`"], "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint."),
    (90038, 400, "invalid_request", A, &["set `cloud`"], "The specified tenant belongs to the National Cloud 'microsoftonline.us'."),
    (900382, 400, "invalid_client", A, &["set `cloud`"], "Confidential Client is not supported in Cross Cloud request."),
    (900432, 400, "invalid_client", A, &["set `cloud`"], "Confidential Client is not supported in Cross Cloud request."),
    (900439, 400, "invalid_request", A, &["set `cloud`"], "USGClientNotSupportedOnPublicEndpoint."),
    (90051, 400, "invalid_request", A, &["set `cloud`"], "The national cloud identifier contains an invalid cloud identifier."),
    (500021, 400, "access_denied", A, &["Restrict-Access-To-Tenants"], "Access to 'Contoso' tenant is denied."),
    (500022, 400, "access_denied", A, &["Restrict-Access-To-Tenants"], "Access to 'Contoso' tenant is denied."),
    (50002, 400, "invalid_request", A, &["Restrict-Access-To-Tenants"], "Sign-in failed because of a restricted proxy access on the tenant."),
    (500212, 400, "access_denied", A, &["Cross-tenant access settings"], "The user's administrator has set an outbound access policy that doesn't allow access to the resource tenant."),
    (500213, 400, "access_denied", A, &["Cross-tenant access settings"], "The resource tenant's cross-tenant access policy doesn't allow this user to access this tenant."),
    (501051, 400, "invalid_grant", A, &["Assignment required", "SMTP.SendAsApp"], "Application '0f8f'(erp) is not assigned to a role for the application '00000002-0000-0ff1-ce00-000000000000'(Office 365 Exchange Online)."),
    (50020, 400, "invalid_grant", U, &["sign in as erp@contoso.com"], "User account 'x' from identity provider 'live.com' does not exist in tenant 'Contoso' and cannot access the application."),
    (500208, 400, "invalid_grant", U, &["sign in as erp@contoso.com"], "The domain is not a valid login domain for the account type."),
    (50014, 400, "invalid_grant", U, &["sign in as erp@contoso.com"], "The user's redemption is in a pending state."),
    (90072, 400, "invalid_grant", U, &["sign in as erp@contoso.com"], "User account 'x' from identity provider 'y' does not exist in tenant 'Contoso'."),
    (51004, 400, "invalid_grant", U, &["sign in as erp@contoso.com"], "The user account x does not exist in the directory. To sign into this application, the account must be added to the directory."),
    (16000, 400, "interaction_required", U, &["sign in as erp@contoso.com"], "User account 'x' from identity provider 'y' does not exist in tenant 'Contoso' and can't access the application."),
    (16003, 400, "invalid_grant", U, &["sign in as erp@contoso.com"], "SsoUserAccountNotFoundInResourceTenant."),
    (50034, 400, "invalid_grant", A, &["User principal name"], "The user account {EUII Hidden} does not exist in the {EUII Hidden} directory. To sign into this application, the account must be added to the directory."),
    (500341, 400, "invalid_grant", A, &["User principal name"], "The user account {EUII Hidden} has been deleted from the {EUII Hidden} directory."),
    (50126, 400, "invalid_grant", U, &["password of erp@contoso.com"], "Error validating credentials due to invalid username or password."),
    (50053, 400, "invalid_grant", T, &["a quarter of an hour"], "The account is locked, you've tried to sign in too many times with an incorrect user ID or password."),
    (50055, 400, "invalid_grant", U, &["change the password"], "The password is expired."),
    (50144, 400, "invalid_grant", U, &["change the password"], "The user's Active Directory password is expired."),
    (50056, 400, "invalid_grant", A, &["unblock sign-in"], "Invalid or null password: password does not exist in the directory for this user."),
    (50057, 400, "invalid_grant", A, &["unblock sign-in"], "The user account is disabled."),
    (500571, 400, "invalid_grant", A, &["unblock sign-in"], "The guest user account is disabled."),
    (50076, 400, "invalid_grant", U, &["interactively", "client_credentials"], "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access '00000002-0000-0ff1-ce00-000000000000'."),
    (50079, 400, "invalid_grant", U, &["mysignins.microsoft.com"], "Due to a configuration change made by your administrator, or because you moved to a new location, you must enroll in multi-factor authentication to access '00000002-0000-0ff1-ce00-000000000000'."),
    (50072, 400, "invalid_grant", U, &["mysignins.microsoft.com"], "Due to a configuration change made by your administrator, you must enroll in multi-factor authentication."),
    (50074, 400, "invalid_grant", U, &["mysignins.microsoft.com"], "Strong Authentication is required."),
    (50078, 400, "invalid_grant", U, &["mysignins.microsoft.com"], "Presented multi-factor authentication has expired due to policies configured by your administrator."),
    (50158, 400, "interaction_required", U, &["mysignins.microsoft.com"], "External security challenge not satisfied."),
    (53003, 400, "invalid_grant", A, &["Sign-in logs", "Conditional Access names the policy"], "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."),
    (53000, 400, "invalid_grant", A, &["Sign-in logs"], "Your device is required to be compliant to access this resource."),
    (53001, 400, "invalid_grant", A, &["Sign-in logs"], "Device is not domain joined."),
    (53002, 400, "invalid_grant", A, &["Sign-in logs"], "The app used is not an approved app for Conditional Access."),
    (53004, 400, "invalid_grant", A, &["Sign-in logs"], "The user needs to complete the multi-factor authentication registration process before accessing this content."),
    (53009, 400, "invalid_grant", A, &["Sign-in logs"], "Application needs to enforce Intune protection policies."),
    (53010, 400, "invalid_grant", A, &["Sign-in logs"], "Cannot configure multi-factor authentication methods because the organization requires this information to be set from specific locations or devices."),
    (53011, 400, "invalid_grant", A, &["Sign-in logs"], "User blocked due to risk on home tenant."),
    (50005, 400, "invalid_grant", A, &["Sign-in logs"], "User tried to log in to a device from a platform that's currently not supported through Conditional Access policy."),
    (50097, 400, "invalid_grant", A, &["Sign-in logs"], "Device authentication is required."),
    (50129, 400, "invalid_grant", A, &["Sign-in logs"], "Device is not workplace joined."),
    (50131, 400, "invalid_grant", A, &["Sign-in logs"], "Device is not in the required state, or suspicious activity was found."),
    (530002, 400, "invalid_grant", A, &["Sign-in logs"], "Your device is required to be compliant to access this resource."),
    (530003, 400, "invalid_grant", A, &["Sign-in logs"], "Your device is required to be managed to access this resource."),
    (530032, 400, "invalid_grant", A, &["Sign-in logs"], "Blocked by security policy."),
    (530034, 400, "invalid_grant", A, &["Sign-in logs"], "A delegated administrator was blocked from accessing the tenant due to account risk in their home tenant."),
    (530035, 400, "invalid_grant", A, &["Sign-in logs"], "Access has been blocked by security defaults. The request is deemed unsafe by security defaults policies."),
    (50177, 400, "invalid_grant", A, &["member account"], "External challenge isn't supported for passthrough users."),
    (50178, 400, "invalid_grant", A, &["member account"], "Session control isn't supported for passthrough users."),
    (700003, 400, "invalid_grant", A, &["Devices"], "Your organization has deleted this device."),
    (135011, 400, "invalid_grant", A, &["Devices"], "Device used during the authentication is disabled."),
    (65001, 400, "invalid_grant", U, &["SMTP.Send", "Grant admin consent"], "The user or administrator has not consented to use the application with ID '0f8fad5b-d9cb-469f-a165-70867728950e' named 'erp'. Send an interactive authorization request for this user and resource."),
    (65004, 400, "access_denied", U, &["accept"], "User declined to consent to access the app."),
    (50058, 400, "interaction_required", U, &["sign in again"], "A silent sign-in request was sent but no user is signed in."),
    (50127, 400, "interaction_required", U, &["sign in again"], "User needs to install a broker app to gain access to this content."),
    (50140, 400, "interaction_required", U, &["sign in again"], "This error occurred due to 'Keep me signed in' interrupt when the user was signing in."),
    (50143, 400, "invalid_grant", U, &["sign in again"], "Session mismatch - session is invalid because user tenant does not match the domain hint."),
    (16001, 400, "interaction_required", U, &["sign in again"], "User account selection is invalid."),
    (16002, 400, "interaction_required", U, &["sign in again"], "The application requested a session which is not available."),
    (90094, 400, "access_denied", A, &["Grant admin consent"], "Admin consent is required for the permissions requested by this application."),
    (90095, 400, "access_denied", A, &["Grant admin consent"], "Admin consent is required for the permissions requested by this application. An admin consent request may be sent to the admin."),
    (90093, 400, "access_denied", A, &["Grant admin consent"], "This operation can only be performed by an administrator."),
    (65002, 400, "invalid_request", A, &["application of your own"], "Consent between first party application 'x' and first party resource 'y' must be configured via preauthorization."),
    (65005, 400, "invalid_resource", A, &["SMTP.SendAsApp", "SMTP.Send"], "The application requested permissions to access a resource that has been removed or is no longer available."),
    (650052, 400, "invalid_request", A, &["needs Exchange Online"], "The app is trying to access a service '00000002-0000-0ff1-ce00-000000000000' that your organization 'Contoso' lacks a service principal for."),
    (650054, 400, "invalid_request", A, &["needs Exchange Online"], "The application 'erp' asked for permissions to access a resource that has been removed or is no longer available."),
    (650056, 400, "invalid_request", A, &["API permissions"], "Misconfigured application. The client has not listed any permissions for 'AAD Graph' in the requested permissions in the client's application registration."),
    (650057, 400, "invalid_resource", A, &["API permissions"], "Invalid resource. The client has requested access to a resource which is not listed in the requested permissions in the client's application registration."),
    (500011, 400, "invalid_resource", A, &["has Exchange Online"], "The resource principal named https://outlook.office365.com was not found in the tenant named Contoso."),
    (50001, 400, "invalid_resource", A, &["has Exchange Online"], "The resource is disabled or the resource named https://outlook.office365.com was not found."),
    (50105, 400, "invalid_grant", A, &["Users and groups"], "Your administrator has configured the application erp to block users unless they are specifically granted ('assigned') access to the application."),
    (70003, 400, "unsupported_grant_type", A, &["/oauth2/v2.0/token"], "The app requested an unsupported grant type 'client_credentials'."),
    (700005, 400, "invalid_grant", A, &["tenant id"], "The provided Authorization Code is intended to use against other tenant, thus rejected."),
    (501481, 400, "invalid_grant", U, &["anew"], "The Code_Verifier does not match the code_challenge supplied in the authorization request."),
    (50148, 400, "invalid_grant", U, &["anew"], "The code_verifier does not match the code_challenge supplied in the authorization request for PKCE."),
    (50147, 400, "invalid_grant", U, &["anew"], "Invalid size of Code_Challenge parameter."),
    (501491, 400, "invalid_grant", U, &["anew"], "Invalid size of Code_Verifier parameter."),
    (9002326, 400, "invalid_request", A, &["Mobile and desktop applications"], "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type."),
    (9002327, 400, "invalid_request", A, &["Mobile and desktop applications"], "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests."),
    (900971, 400, "invalid_request", A, &["http://localhost"], "No reply address provided."),
    (700051, 400, "unsupported_response_type", A, &["Mobile and desktop applications"], "response_type 'token' isn't enabled for the application."),
    (700054, 400, "unsupported_response_type", A, &["Mobile and desktop applications"], "response_type 'id_token' is not enabled for the application."),
    (70011, 400, "invalid_scope", A, &["check `scope`"], "The provided value for the input parameter 'scope' isn't valid. The scope https://outlook.office.com/SMTP.SendAsApp isn't valid."),
    (28002, 400, "invalid_scope", A, &["check `scope`"], "Provided value for the input parameter scope 'x' is not valid when requesting an access token. Please specify a valid scope."),
    (28003, 400, "invalid_scope", A, &["check `scope`"], "Provided value for the input parameter scope can't be empty when requesting an access token using the provided authorization code."),
    (1002012, 400, "invalid_scope", A, &["https://outlook.office365.com/.default"], "The provided value for scope https://outlook.office.com/SMTP.Send is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."),
    (700022, 400, "invalid_scope", A, &["leave in `scope`"], "The provided value for the input parameter 'scope' is not valid because it contains more than one resource."),
    (901002, 400, "invalid_request", A, &["not resource"], "The 'resource' request parameter is not supported."),
    (900144, 400, "invalid_request", A, &["are not empty"], "The request body must contain the following parameter: 'scope'."),
    (90014, 400, "invalid_request", A, &["are not empty"], "The required field 'scope' is missing from the credential."),
    (9002313, 400, "invalid_grant", U, &["copied whole"], "Invalid request. Request is malformed or invalid."),
    (900561, 400, "invalid_request", A, &["set `token_url`", "/oauth2/v2.0/token"], "The endpoint only accepts POST requests. Received a GET request."),
    (50011, 400, "invalid_client", A, &["redirect URI"], "The redirect URI 'http://localhost:1' specified in the request does not match the redirect URIs configured for the application."),
    (500112, 400, "invalid_client", A, &["redirect URI"], "The reply address 'http://localhost:1' does not match the reply address 'http://localhost:2' provided when requesting Authorization code."),
    (700084, 400, "invalid_grant", A, &["Mobile and desktop"], "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime of 1.00:00:00, which can't be extended."),
    (70016, 400, "authorization_pending", T, &["type the code"], "OAuth 2.0 device flow error. Authorization is pending. Continue polling."),
    (70018, 400, "bad_verification_code", U, &["anew"], "Invalid verification code due to User typing in wrong user code for device code flow."),
    (70019, 400, "expired_token", U, &["anew"], "Verification code expired."),
    (70020, 400, "expired_token", U, &["anew"], "The provided value for the input parameter 'device_code' is not valid. This device code has expired."),
    (54005, 400, "invalid_grant", U, &["erp@contoso.com"], "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token."),
    (70008, 400, "invalid_grant", U, &["erp@contoso.com"], "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource."),
    (700082, 400, "invalid_grant", U, &["erp@contoso.com"], "The refresh token has expired due to inactivity. The token was issued on 2024-07-31T08:00:26.4486159Z and was inactive for 90.00:00:00."),
    (70043, 400, "invalid_grant", U, &["sign-in frequency"], "The refresh token has expired or is invalid due to sign-in frequency checks by conditional access."),
    (50173, 400, "invalid_grant", U, &["erp@contoso.com"], "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password."),
    (70000, 400, "invalid_grant", U, &["erp@contoso.com"], "Provided grant is invalid or malformed."),
    (50089, 400, "invalid_grant", U, &["erp@contoso.com"], "Authentication failed due to flow token expired."),
    (50132, 400, "invalid_grant", U, &["erp@contoso.com"], "The session is not valid due to password expiration or recent password change."),
    (50133, 400, "invalid_grant", U, &["erp@contoso.com"], "Session is invalid due to expiration or recent password change."),
    (50085, 400, "invalid_grant", U, &["erp@contoso.com"], "Refresh token needs social IDP login. Have user try signing-in again with username - password."),
    (50139, 400, "invalid_grant", U, &["erp@contoso.com"], "Session is invalid due to missing an external refresh token."),
    (50196, 400, "invalid_grant", T, &["submitd waits"], "The server terminated an operation because it encountered a loop while processing a request"),
    (90055, 429, "invalid_request", T, &["nothing to do"], "The tenant request was throttled due to too many incoming requests."),
    (50033, 503, "temporarily_unavailable", T, &["nothing to do"], "A retryable error has occurred."),
    (50087, 400, "invalid_grant", T, &["nothing to do"], "A transient error has occurred. Please try again."),
    (50088, 400, "invalid_grant", T, &["nothing to do"], "Limit on telecom MFA calls reached. Please try again in a few minutes."),
    (70012, 400, "invalid_grant", T, &["nothing to do"], "A server error occurred while authenticating an MSA (consumer) user."),
    (90006, 400, "server_error", T, &["nothing to do"], "The service is temporarily unavailable. Please retry later."),
    (90012, 400, "invalid_request", T, &["nothing to do"], "Request timed out."),
    (90024, 400, "invalid_request", T, &["nothing to do"], "The request budget was exceeded. A transient error has occurred. Please try again."),
    (90033, 503, "temporarily_unavailable", T, &["nothing to do"], "A transient error has occurred. Please try again."),
    (90090, 400, "invalid_request", T, &["nothing to do"], "GraphRetryableError."),
    (80001, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent unable to connect to Active Directory."),
    (80002, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent's password validation request timed out."),
    (80003, 400, "invalid_grant", T, &["Pass-through authentication"], "Invalid response received by Authentication Agent."),
    (80004, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent: incorrect User Principal Name (UPN) used in sign-in request."),
    (80005, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent: an unpredictable web exception."),
    (80006, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent: on-premises error."),
    (80007, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent unable to validate the user's password."),
    (80008, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent unable to decrypt password."),
    (80009, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent: on-premises password encryption failed."),
    (80010, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent unable to decrypt password."),
    (80011, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent unable to retrieve decryption key."),
    (80012, 400, "invalid_grant", T, &["Pass-through authentication"], "The users attempted to log on outside of the allowed hours (this is specified in AD)."),
    (80013, 400, "invalid_grant", T, &["Pass-through authentication"], "The authentication attempt couldn't be completed due to time skew between the machine running the authentication agent and AD."),
    (80014, 400, "invalid_grant", T, &["Pass-through authentication"], "Authentication Agent timed out: validation request responded after maximum elapsed time exceeded."),
    (20001, 400, "invalid_grant", A, &["AD FS"], "There's an issue with your federated Identity Provider. Contact your IDP to resolve this issue."),
    (20012, 400, "invalid_grant", A, &["AD FS"], "There's an issue with your federated Identity Provider."),
    (20033, 400, "invalid_grant", A, &["AD FS"], "There's an issue with your federated Identity Provider."),
    (40008, 400, "invalid_grant", A, &["AD FS"], "There's an issue with your federated Identity Provider."),
    (40009, 400, "invalid_grant", A, &["AD FS"], "There's an issue with your federated Identity Provider."),
    (40010, 400, "invalid_grant", T, &["AD FS"], "There's an issue with your federated Identity Provider."),
    (40015, 400, "invalid_grant", A, &["AD FS"], "There's an issue with your federated Identity Provider."),
    (50000, 500, "server_error", T, &["nothing to do"], "There was an error issuing a token or an issue with our sign-in service."),
    (90036, 400, "server_error", T, &["nothing to do"], "An unexpected, non-retryable error stemming from the directory service has occurred."),
];

/// A refusal as Entra writes it.
fn refusal(code: u32, error: &str, text: &str) -> Value {
    let trace = "0000aaaa-11bb-cccc-dd33-eeeeee333333";
    json!({
        "error": error,
        "error_description": format!(
            "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {trace} Timestamp: 2026-11-21 10:00:00Z"
        ),
        "error_codes": [code],
        "timestamp": "2026-11-21 10:00:00Z",
        "trace_id": trace,
        "correlation_id": trace,
    })
}

#[test]
fn b12_every_number_of_entra_is_told_with_its_remedy() {
    let written: BTreeSet<u32> = NUMBERS.iter().map(|row| row.0).collect();
    assert_eq!(written.len(), NUMBERS.len(), "a number stands twice");
    let known = entra::ROWS.iter().flat_map(|row| row.codes).copied();
    let missing: Vec<u32> = known.filter(|code| !written.contains(code)).collect();
    assert!(missing.is_empty(), "no fixture for {missing:?}");
    let world = world(|_| {});
    let config = by_secret(&world);
    for (code, status, error, class, words, text) in NUMBERS {
        refused(&world, &config, *status, &refusal(*code, error, text), *class, words);
    }
}

#[test]
fn b12_refusals_without_a_known_number_are_told_by_their_name() {
    let world = world(|_| {});
    let config = by_secret(&world);
    for (status, error, class, words) in [
        (400, "invalid_grant", U, &["sign in again as erp@contoso.com"][..]),
        (400, "interaction_required", U, &["sign in again"]),
        (401, "invalid_client", A, &["`client_secret`"]),
        (400, "unauthorized_client", A, &["`grant`"]),
        (400, "invalid_scope", A, &["`scope`"]),
        (400, "something_new", A, &["`token_url`"]),
        (400, "temporarily_unavailable", T, &["nothing to do"]),
        (503, "invalid_client", T, &["nothing to do"]),
        (429, "invalid_request", T, &["nothing to do"]),
    ] {
        let body = json!({"error": error, "error_description": "AADSTS4000000: new."});
        refused(&world, &config, status, &body, class, words);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn b12_every_word_of_google_and_of_managed_identities_is_told_with_its_remedy() {
    let world = world(|_| {});
    let config = by_service_account(&world);
    let mut said = String::new();
    for (status, error, text, class, words) in [
        (
            401,
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of \
             the scopes requested.",
            A,
            &["Domain-wide delegation", "https://mail.google.com/"][..],
        ),
        (400, "invalid_grant", "Invalid JWT Signature.", A, &["Keys > Add key", "account \"erp\""]),
        (400, "invalid_grant", "Invalid email or User ID", A, &["erp@contoso.com must be a user"]),
        (400, "invalid_grant", "Invalid grant: account not found", A, &["service_account_file"]),
        (
            400,
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat \
             and exp values in the JWT claim.",
            A,
            &["timedatectl"],
        ),
        (
            400,
            "invalid_grant",
            "Token has been expired or revoked.",
            U,
            &["sign in again as erp@contoso.com", "seven days"],
        ),
        (401, "invalid_client", "The OAuth client was not found.", A, &["Credentials"]),
    ] {
        let body = json!({"error": error, "error_description": text});
        refused(&world, &config, status, &body, class, words);
        said.push_str(text);
    }
    let unsaid: Vec<_> = google::CAUSES.iter().filter(|cause| !said.contains(cause.1)).collect();
    assert!(unsaid.is_empty(), "no fixture for {unsaid:?}");

    let config = by_managed_identity(&world);
    let mut said = String::new();
    for (status, error, text, words) in [
        (400, "invalid_request", "Identity not found", &["Azure portal", "Identity"][..]),
        (
            400,
            "invalid_request",
            "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
            &["User assigned > Add"],
        ),
        (400, "invalid_resource", "AADSTS500011: not found", &["`scope`", "`cloud`"]),
        (400, "bad_request_102", "Required metadata header not specified", &["without a proxy"]),
        (401, "unknown_source", "The source is unknown", &["169.254.169.254"]),
        (403, "", "", &["IDENTITY_HEADER"]),
        (400, "something_new", "new", &["`identity_host`"]),
    ] {
        let body = json!({"error": error, "error_description": text});
        refused(&world, &config, status, &body, A, words);
        said.push_str(error);
        said.push_str(text);
    }
    let unsaid: Vec<_> = managed::CAUSES.iter().filter(|cause| !said.contains(cause.0)).collect();
    assert!(unsaid.is_empty(), "no fixture for {unsaid:?}");
}

/// Name of the row, stage, the reply as on the wire, class, words of the remedy.
type Said = (&'static str, Stage, &'static str, Class, &'static [&'static str]);

const TRAILER: &str =
    "[SN2PR00CA0018.namprd00.prod.outlook.com 2026-11-21T10:00:00.000Z 08DCE9686F3D146F]";

#[rustfmt::skip]
const REPLIES: &[Said] = &[
    ("smtp-auth-off-tenant", Stage::Auth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.", A, &["Set-CASMailbox -Identity erp@contoso.com -SmtpClientAuthenticationDisabled $false", "Set-TransportConfig"]),
    ("smtp-auth-off-tenant", Stage::Mail, "530 5.7.57 Client not authenticated to send mail. Error: 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.", A, &["Set-CASMailbox -Identity erp@contoso.com"]),
    ("smtp-auth-off-mailbox", Stage::Auth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.", A, &["Set-CASMailbox -Identity erp@contoso.com", "Manage email apps"]),
    ("security-defaults", Stage::Auth, "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator.", A, &["security defaults", "client_credentials"]),
    ("conditional-access", Stage::Auth, "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator.", A, &["sign-in log of erp@contoso.com"]),
    ("account-blocked", Stage::Auth, "535 5.7.139 Authentication unsuccessful, account has an issue. Contact your administrator.", A, &["Exchange licence"]),
    ("basic-auth-off", Stage::Auth, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", A, &["AUTH XOAUTH2"]),
    ("basic-auth-off", Stage::Auth, "550 5.7.30 Basic authentication is not supported for Client Submission.", A, &["AUTH XOAUTH2"]),
    ("bad-credentials", Stage::Auth, "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", A, &["AUTH XOAUTH2"]),
    ("federation-down", Stage::Auth, "535 5.7.139 Authentication unsuccessful, federated STS service was unreachable.", T, &["AD FS"]),
    ("federation-without-tls", Stage::Auth, "535 5.7.139 Authentication unsuccessful, the federated STS URL does not support HTTPS.", A, &["AD FS"]),
    ("token-about-to-expire", Stage::Auth, "501 5.5.127 Invalid XOAUTH2 auth data - Token will expire soon error", T, &["clock"]),
    ("malformed-token", Stage::Auth, "501 5.5.124 Invalid XOAUTH2 auth data", A, &["scope"]),
    ("google-bad-credentials", Stage::Auth, "535 5.7.8 Username and Password not accepted. For more information, go to https://support.google.com/mail/?p=BadCredentials x - gsmtp", U, &["https://mail.google.com/"]),
    ("google-application-password", Stage::Auth, "534 5.7.9 Application-specific password required.", U, &["sign in again"]),
    ("google-too-many-logins", Stage::Auth, "454 4.7.0 Too many login attempts, please try again later.", T, &["connections of account erp"]),
    ("google-later", Stage::Greeting, "421 4.7.0 Try again later, closing connection.", T, &["by itself"]),
    // The token of this account is good in its own words, so the remedy is that of a good token.
    ("token-refused", Stage::Auth, "535 5.7.3 Authentication unsuccessful", A, &["New-ServicePrincipal -AppId 0f8fad5b-d9cb-469f-a165-70867728950e -ObjectId a1d5e3c7-6b20-4f8e-9c14-d7f30b5e8a26", "Add-MailboxPermission -Identity erp@contoso.com"]),
    ("authentication-trouble", Stage::Auth, "454 4.7.0 Temporary authentication failure", T, &["tried again"]),
    ("mechanism-refused", Stage::Auth, "504 5.7.4 Unrecognized authentication type", A, &["smtp.office365.com:587"]),
    ("not-authenticated", Stage::Mail, "530 5.7.57 Client not authenticated to send mail.", A, &["Set-CASMailbox -Identity erp@contoso.com"]),
    ("not-authenticated", Stage::Mail, "550 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM", A, &["Set-CASMailbox -Identity erp@contoso.com"]),
    ("starttls-required", Stage::Mail, "530 5.7.0 Must issue a STARTTLS command first", A, &["inspection"]),
    ("authentication-required", Stage::Rcpt, "530 5.7.0 Authentication required", A, &["host, port and tls"]),
    ("restricted-sender", Stage::Dot, "550 5.1.8 Access denied, bad outbound sender", A, &["Restricted entities"]),
    ("restricted-sender", Stage::Dot, "550 5.7.1 Service unavailable, AS(42004)", A, &["Restricted entities"]),
    ("banned-sender", Stage::Dot, "550 5.7.501 Access denied, spam abuse detected", A, &["Microsoft support"]),
    ("banned-sender", Stage::Rcpt, "550 5.7.511 Access denied, banned sender", A, &["delist@microsoft.com"]),
    ("tenant-threshold", Stage::Dot, "550 5.7.705 Access denied, tenant has exceeded threshold", A, &["compromised accounts"]),
    ("address-not-trusted", Stage::Dot, "550 5.7.708 Access denied, traffic not accepted from this IP", A, &["Microsoft support"]),
    ("unregistered-domain", Stage::Dot, "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains", A, &["Settings, Domains"]),
    ("recipients-a-day", Stage::Dot, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException.MapiExceptionSubmissionQuotaExceeded; Failed to process message due to a permanent exception", T, &["several mailboxes"]),
    ("recipients-a-day", Stage::Rcpt, "550 5.2.2 Submission quota exceeded", T, &["several mailboxes"]),
    ("tenant-external-recipients", Stage::Dot, "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email to external recipients (tenant external recipient rate limit)", T, &["licences"]),
    ("onmicrosoft-recipients", Stage::Dot, "550 5.7.236 Message from the *.onmicrosoft.com domain exceeds the limit", T, &["primary address"]),
    ("google-daily-limit", Stage::Dot, "550 5.4.5 Daily user sending limit exceeded.", T, &["several mailboxes"]),
    ("mailbox-full", Stage::Dot, "554 5.2.2 mailbox full; STOREDRV.Submission", A, &["Sent Items", "-MessageCopyForSMTPClientSubmissionEnabled $false"]),
    ("mailbox-full", Stage::Dot, "554 5.2.0 STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded; Failed to process message due to a permanent exception", A, &["Sent Items"]),
    ("too-many-connections", Stage::Mail, "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.", T, &["connections of account erp"]),
    ("too-many-connections", Stage::Greeting, "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel", T, &["connections of account erp"]),
    ("too-fast", Stage::Mail, "421 4.4.2 Message submission rate for this client has exceeded the configured limit", T, &["messages_per_minute"]),
    ("server-busy", Stage::Greeting, "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)", T, &["minutes or hours"]),
    ("connections-refused", Stage::Auth, "421 4.7.0 Too many errors on this connection, closing transmission channel", T, &["log"]),
    ("surplus-recipients", Stage::Rcpt, "452 4.5.3 Too many recipients", T, &["another one"]),
    ("surplus-recipients", Stage::Rcpt, "552 Too many recipients", T, &["another one"]),
    ("proxy-trouble", Stage::Auth, "451 4.7.0 Temporary server error. Please try again later. PRX4 [SN2PR00CA0018.namprd00.prod.outlook.com]", T, &["Microsoft support"]),
    ("mailbox-logon", Stage::Dot, "430 4.2.0 STOREDRV; mailbox logon failure", T, &["erp@contoso.com"]),
    ("service-not-active", Stage::Auth, "421 4.3.2 Service not active [SN2PR00CA0018]", T, &["service health"]),
    ("service-not-active", Stage::Greeting, "421 4.3.2 Service not available, closing transmission channel", T, &["service health"]),
    ("mailbox-server-trouble", Stage::Dot, "451 4.3.111 Temporary server error. Please try again later MRH1 [Hostname=SYBP282MB2635.AUSP282.PROD.OUTLOOK.COM]", T, &["erp@contoso.com"]),
    ("connection-timed-out", Stage::Mail, "421 4.4.1 Connection timed out", T, &["tried again"]),
    ("connection-timed-out", Stage::Dot, "421 4.4.2 Connection dropped due to TimeOut", T, &["tried again"]),
    ("connection-timed-out", Stage::Data, "451 4.7.0 Timeout waiting for client input", T, &["tried again"]),
    ("server-out-of-resources", Stage::Mail, "452 4.3.1 Insufficient system resources", T, &["tried again"]),
    ("submission-trouble", Stage::Dot, "432 4.2.0 STOREDRV.Submission; Failed to process message due to a transient exception", T, &["tried again"]),
    ("send-as-denied", Stage::Dot, "554 5.2.252 SendAsDenied; erp@contoso.com not allowed to send as x@contoso.com; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception with message [BeginDiagnosticData]Cannot submit message. 1.84300:0A000000[EndDiagnosticData] [Hostname=x]", A, &["Add-RecipientPermission", "-Trustee erp@contoso.com"]),
    ("send-as-denied", Stage::Mail, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", A, &["Add-RecipientPermission"]),
    ("send-on-behalf-denied", Stage::Dot, "550 5.7.1 Client does not have permissions to send on behalf of the from address", A, &["-GrantSendOnBehalfTo erp@contoso.com"]),
    ("google-unauthenticated-sender", Stage::Dot, "550 5.7.26 This mail has been blocked because the sender is unauthenticated.", A, &["SPF and DKIM"]),
    ("transport-rule", Stage::Dot, "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy", A, &["Mail flow, Rules"]),
    ("no-from-header", Stage::Dot, "550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant", A, &["one From header"]),
    ("message-too-large", Stage::Dot, "550 5.2.3 RESOLVER.RST.SendSizeLimit.Sender; message too large for this sender", A, &["Set-Mailbox erp@contoso.com -MaxSendSize"]),
    ("message-too-large", Stage::Mail, "552 5.3.4 Message size exceeds fixed maximum size", A, &["-MaxSendSize"]),
    ("bare-newlines", Stage::Dot, "554 5.6.0 Invalid message content, contains bare linefeeds", A, &["bare_newline"]),
    ("bare-newlines", Stage::Dot, "550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains a bare line feed", A, &["bare_newline"]),
    ("malformed-address", Stage::Rcpt, "501 5.1.3 Invalid address", A, &["check the address"]),
    ("malformed-address", Stage::Mail, "501 5.1.7 Invalid address", A, &["MAIL FROM"]),
    ("utf8-address", Stage::Rcpt, "501 5.1.6 SMTPUTF8 argument required.", A, &["SMTPUTF8"]),
    ("utf8-address", Stage::Rcpt, "501 5.1.9 UTF-8 addresses not supported", A, &["xn--"]),
    ("utf8-address", Stage::Rcpt, "553 5.6.7 internationalised address not taken", A, &["xn--"]),
    ("unknown-recipient", Stage::Rcpt, "550 5.1.1 User unknown", A, &["check the address"]),
    ("unknown-recipient", Stage::Rcpt, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", A, &["check the address"]),
    ("recipient-refused", Stage::Rcpt, "550 5.4.1 Recipient address rejected: Access denied.", A, &["check the address"]),
    ("recipient-refused", Stage::Rcpt, "550 5.7.504 Recipient access denied", A, &["check the address"]),
    ("mail-loop", Stage::Dot, "554 5.4.6 Hop count exceeded - possible mail loop", A, &["forwarding"]),
    ("mail-loop", Stage::Dot, "554 5.4.14 Hop count exceeded - possible mail loop ATTR34", A, &["forwarding"]),
    ("server-name-refused", Stage::Ehlo, "501 5.5.4 Invalid domain name", A, &["set hostname"]),
    ("server-name-refused", Stage::Mail, "550 5.7.506 Access Denied, Bad HELO", A, &["set hostname"]),
    ("submission-refused", Stage::Dot, "554 5.2.0 STOREDRV.Submission.Exception:InvalidRecipientsException; Failed to process message due to a permanent exception with message", A, &["licence"]),
    // What nobody knows is judged by its code.
    ("", Stage::Dot, "550 5.9.9 something new", A, &["its own words"]),
    ("", Stage::Mail, "451 4.9.9 something new", T, &["by itself"]),
];

/// The step at which a reply of this stage is told.
fn step_of(stage: Stage) -> Step {
    match stage {
        Stage::Greeting | Stage::Ehlo | Stage::Starttls => Step::Smtp,
        Stage::Auth => Step::Auth,
        Stage::Mail => Step::Mail,
        _ => Step::Send,
    }
}

/// The row of the data that a reply as on the wire belongs to: only to see that each has one here.
fn row_of(stage: Stage, line: &str) -> Option<&'static exchange::Known> {
    let (code, text) = line.split_at(3);
    let text = text.trim_start();
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let numbers: Vec<u16> = first.split('.').filter_map(|number| number.parse().ok()).collect();
    let (enhanced, text) = match numbers[..] {
        [class, subject, detail] => (Some((class as u8, subject, detail)), rest),
        _ => (None, text),
    };
    let place = match stage {
        Stage::Greeting | Stage::Ehlo | Stage::Starttls => Place::Connection,
        Stage::Auth => Place::SignIn,
        Stage::Mail => Place::Sender,
        Stage::Rcpt => Place::Recipient,
        _ => Place::Message,
    };
    exchange::find(code.parse().unwrap(), enhanced, text, place)
}

#[test]
fn b05_every_reply_of_exchange_is_told_with_its_remedy() {
    let is_here = |row: &&exchange::Known| {
        let mut rows = REPLIES.iter().filter_map(|(_, stage, line, ..)| row_of(*stage, line));
        rows.any(|found| std::ptr::eq(found, *row))
    };
    let missing: Vec<_> = exchange::ROWS.iter().filter(|row| !is_here(row)).collect();
    assert!(missing.is_empty(), "no fixture for {missing:?}");
    let world = world(|_| {});
    let config = by_secret(&world);
    let trial = trial(None, Some("ann@example.org"));
    for (name, stage, line, class, words) in REPLIES {
        let found = row_of(*stage, line).map_or("", |row| row.name);
        assert_eq!(found, *name, "{line}");
        let wire = match stage {
            Stage::Auth => format!("{line} {TRAILER}"),
            _ => (*line).to_owned(),
        };
        let reply = ReplyText::new(wire).unwrap();
        world.faults(|faults| {
            faults.smtp.replies.insert(*stage, Fault::always(reply));
        });
        let walk = walk(&world, &config, &trial);
        let (step, trouble) = walk.broken();
        assert_eq!((step, trouble.class), (step_of(*stage), *class), "{line}: {trouble:?}");
        assert!(trouble.what.contains(&line[..9]), "{line}: {trouble:?}");
        says(remedy(trouble), words, line);
        assert!(!remedy(trouble).contains(['{', '}']), "{trouble:?}");
        assert!(!trouble.what.contains("DiagnosticData"), "{trouble:?}");
    }
    assert_eq!(world.sandbox.statistics().messages, 0, "nothing was sent");
}
