//! Entra's refusals: number, OAuth error, HTTP status and text, and the JSON around them.
//!
//! The texts are the ones observed at login.microsoftonline.com, with places for the names.

use super::random;
use serde_json::{Value, json};
use std::time::SystemTime;

/// A refusal, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// The number behind AADSTS.
    pub(super) code: u32,
    /// The HTTP status.
    pub(super) status: u16,
    /// RFC 6749 §5.2.
    pub(super) error: &'static str,
    suberror: Option<&'static str>,
    claims: Option<&'static str>,
    text: String,
}

/// One row: number, status, error, suberror, text. `{}` is filled by the caller.
type Row = (u32, u16, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    (50011, 400, "invalid_client", "", "The redirect URI specified in the request does not match the redirect URIs configured for the application."),
    (50020, 400, "invalid_grant", "", "User account '{}' from identity provider 'live.com' does not exist in tenant 'Contoso' and cannot access the application in that tenant. The account needs to be added as an external user in the tenant first. Sign out and sign in again with a different Azure Active Directory user account."),
    (50033, 503, "temporarily_unavailable", "", "A retryable error has occurred."),
    (50034, 400, "invalid_grant", "bad_token", "The user account {EUII Hidden} does not exist in the {EUII Hidden} directory. To sign into this application, the account must be added to the directory."),
    (50053, 400, "invalid_grant", "", "The account is locked, you've tried to sign in too many times with an incorrect user ID or password."),
    (50057, 400, "invalid_grant", "", "The user account is disabled."),
    (50059, 400, "invalid_request", "", "No tenant-identifying information found in either the request or implied by any provided credentials."),
    (50076, 400, "invalid_grant", "basic_action", "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access '00000002-0000-0ff1-ce00-000000000000'."),
    (50105, 400, "invalid_grant", "", "Your administrator has configured the application to block users unless they are specifically granted ('assigned') access to the application."),
    (50126, 400, "invalid_grant", "", "Error validating credentials due to invalid username or password."),
    (50173, 400, "invalid_grant", "bad_token", "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. The grant was issued on '2021-10-29T17:06:26.4084709Z' and the TokensValidFrom date (before which tokens are not valid) for this user is '2021-10-29T17:16:00.0000000Z'."),
    (50194, 400, "invalid_request", "", "Application is not configured as a multi-tenant application. Usage of the /common endpoint is not supported for such apps created after '10/15/2018'. Use a tenant-specific endpoint or configure the application to be multi-tenant."),
    (50196, 400, "invalid_grant", "", "The server terminated an operation because it encountered a loop while processing a request"),
    (53003, 400, "invalid_grant", "message_only", "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."),
    (54005, 400, "invalid_grant", "", "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token."),
    (65001, 400, "invalid_grant", "consent_required", "The user or administrator has not consented to use the application with ID '{}' named 'sandbox'. Send an interactive authorization request for this user and resource."),
    (70003, 400, "unsupported_grant_type", "", "The app requested an unsupported grant type '{}'."),
    (70008, 400, "invalid_grant", "", "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource."),
    (70011, 400, "invalid_scope", "", "The provided value for the input parameter 'scope' isn't valid. The scope {} isn't valid."),
    (70016, 400, "authorization_pending", "", "OAuth 2.0 device flow error. Authorization is pending. Continue polling."),
    (70018, 400, "bad_verification_code", "", "Invalid verification code due to User typing in wrong user code for device code flow."),
    (70019, 400, "expired_token", "", "Verification code expired. Have the user retry the sign-in."),
    (70043, 400, "invalid_grant", "token_expired", "The refresh token has expired or is invalid due to sign-in frequency checks by conditional access."),
    (90002, 400, "invalid_request", "", "Tenant '{}' not found. This may happen if there are no active subscriptions for the tenant. Check to make sure you have the correct tenant ID. Check with your subscription administrator."),
    (90033, 503, "temporarily_unavailable", "", "A transient error has occurred. Please try again."),
    (90055, 429, "invalid_request", "", "The tenant request was throttled due to too many incoming requests."),
    (500011, 400, "invalid_resource", "", "The resource principal named {} was not found in the tenant named {}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."),
    (500112, 400, "invalid_client", "", "The reply address '{}' does not match the reply address '{}' provided when requesting Authorization code."),
    (501481, 400, "invalid_grant", "", "The Code_Verifier does not match the code_challenge supplied in the authorization request."),
    (501491, 400, "invalid_request", "", "Invalid size of Code_Challenge parameter."),
    (700005, 400, "invalid_grant", "", "Provided Authorization Code is intended to use against other tenant, thus rejected. OAuth2 Authorization Code must be redeemed against same tenant it was acquired for."),
    (700016, 400, "unauthorized_client", "", "Application with identifier '{}' was not found in the directory '{}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."),
    (700021, 401, "invalid_client", "", "Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials ."),
    (700023, 401, "invalid_client", "", "Client assertion audience claim does not match Realm issuer. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials ."),
    (700024, 401, "invalid_client", "", "Client assertion is not within its valid time range."),
    (700025, 401, "invalid_client", "", "Client is public so neither 'client_assertion' nor 'client_secret' should be presented."),
    (700027, 401, "invalid_client", "", "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found.]"),
    (700054, 400, "unsupported_response_type", "", "response_type 'id_token' is not enabled for the application."),
    (700082, 400, "invalid_grant", "", "The refresh token has expired due to inactivity. The token was issued on 2024-07-31T08:00:26.4486159Z and was inactive for 90.00:00:00."),
    (700211, 401, "invalid_client", "", "No matching federated identity record found for presented assertion issuer '{}'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion."),
    (700212, 401, "invalid_client", "", "No matching federated identity record found for presented assertion audience '{}'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion."),
    (700213, 401, "invalid_client", "", "No matching federated identity record found for presented assertion subject '{}'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion."),
    (900023, 400, "invalid_request", "", "Specified tenant identifier '{}' is neither a valid DNS name, nor a valid external domain."),
    (900144, 400, "invalid_request", "", "The request body must contain the following parameter: '{}'."),
    (900561, 400, "invalid_request", "", "The endpoint only accepts POST requests. Received a {} request."),
    (1002012, 400, "invalid_scope", "", "The provided value for scope {} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."),
    (7000112, 400, "unauthorized_client", "", "Application '{}' is disabled."),
    (7000215, 401, "invalid_client", "", "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{}'."),
    (7000218, 401, "invalid_client", "", "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."),
    (7000222, 401, "invalid_client", "", "The provided client secret keys for app '{}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."),
    (7000229, 401, "invalid_client", "", "The client application {} is missing service principal in the tenant {}. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119"),
    (9001023, 400, "invalid_request", "", "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint."),
    (9002313, 400, "invalid_grant", "", "Invalid request. Request is malformed or invalid."),
    (9002332, 400, "invalid_request", "", "Application '{}'(sandbox) is configured for use by Azure Active Directory users only. Please do not use the /consumers endpoint to serve this request."),
];

impl Refusal {
    /// The refusal of this number with its places filled in turn. An unknown number becomes `invalid_request`.
    pub(super) fn new(code: u32, names: &[&str]) -> Self {
        let unknown = (code, 400, "invalid_request", "", "The request could not be processed.");
        let (_, status, error, suberror, text) =
            ROWS.iter().find(|row| row.0 == code).copied().unwrap_or(unknown);
        let mut text = text.to_owned();
        for name in names {
            text = text.replacen("{}", name, 1);
        }
        let claims = (code == 50076).then_some(
            r#"{"access_token":{"capolids":{"essential":true,"values":["5c3b1d6e-0000-4e52-9d37-2b6f1a40c9e8"]}}}"#,
        );
        let suberror = (!suberror.is_empty()).then_some(suberror);
        Self { code, status, error, suberror, claims, text }
    }

    /// The same with other words.
    pub(super) fn saying(mut self, words: &str) -> Self {
        words.clone_into(&mut self.text);
        self
    }

    /// The same under another name of RFC 8628.
    pub(super) fn called(mut self, error: &'static str) -> Self {
        self.error = error;
        self
    }

    /// As a page shows it.
    pub(super) fn page(&self) -> String {
        format!("AADSTS{}: {}", self.code, self.text)
    }

    /// The JSON body. `old` puts the trace behind line breaks, as recordings before 2023 show it.
    pub(super) fn body(&self, trace: &str, correlation: &str, now: SystemTime, old: bool) -> Value {
        let timestamp = humantime::format_rfc3339_seconds(now).to_string().replace('T', " ");
        let gap = if old { "\r\n" } else { " " };
        let mut body = json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {}{gap}Trace ID: {trace}{gap}Correlation ID: {correlation}{gap}Timestamp: {timestamp}",
                self.code, self.text,
            ),
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        });
        if let Some(suberror) = self.suberror {
            body["suberror"] = suberror.into();
        }
        if let Some(claims) = self.claims {
            body["claims"] = claims.into();
        }
        body
    }

    /// What `x-ms-clitelem` holds: version, error, an inner code, two times.
    pub(super) fn telemetry(&self) -> String {
        format!("1,{},0,{}.0128,", self.code, random::number() % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn numbers_are_sorted_and_places_can_be_filled() {
        assert!(ROWS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let refusal = Refusal::new(700016, &["app", "tenant"]);
        assert!(refusal.text.starts_with(
            "Application with identifier 'app' was not found in the directory 'tenant'. "
        ));
    }

    #[test]
    fn the_body_has_the_observed_shape() {
        let now = UNIX_EPOCH + Duration::from_secs(1_452_304_932);
        let refusal = Refusal::new(7000218, &[]);
        let text = "AADSTS7000218: The request body must contain the following parameter: \
                    'client_assertion' or 'client_secret'.";
        assert_eq!(
            refusal.body("t", "c", now, true),
            json!({
                "error": "invalid_client",
                "error_description":
                    format!("{text}\r\nTrace ID: t\r\nCorrelation ID: c\r\nTimestamp: 2016-01-09 02:02:12Z"),
                "error_codes": [7_000_218],
                "timestamp": "2016-01-09 02:02:12Z",
                "trace_id": "t",
                "correlation_id": "c",
                "error_uri": "https://login.microsoftonline.com/error?code=7000218",
            })
        );
        let new = refusal.body("t", "c", now, false);
        assert_eq!(
            new["error_description"],
            format!("{text} Trace ID: t Correlation ID: c Timestamp: 2016-01-09 02:02:12Z")
        );
        assert_eq!(Refusal::new(50173, &[]).body("t", "c", now, false)["suberror"], "bad_token");
        assert!(Refusal::new(50076, &[]).body("t", "c", now, false)["claims"].is_string());
    }
}
