//! Mail servers and an identity provider that are not ours, for what the sandbox and the daemon could both have wrong.

mod aiosmtpd;
mod oidc;
pub mod postfix;
pub mod proxy;

pub use aiosmtpd::Aiosmtpd;
pub use oidc::Oidc;
pub use postfix::Postfix;

use std::path::Path;

/// The configuration of a daemon that sends through such a server.
pub fn config(dir: &Path, authority: &Path, port: u16, token_url: &str) -> String {
    format!(
        "state_dir = \"{dir}/state\"\nhostname = \"relay.test\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n\
         [queue]\nschedule = [\"1s\"]\n[log]\nformat = \"json\"\nlevel = \"debug\"\n\
         [[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\npreset = \"generic\"\n\
         grant = \"client_credentials\"\nclient_id = \"submitd\"\nclient_secret = \"hunter2\"\n\
         [account.upstream]\nhost = \"localhost\"\nport = {port}\nca_file = \"{ca}\"\n\
         connections = \"unlimited\"\nmessages_per_minute = \"unlimited\"\nrecipients_per_day = \"unlimited\"\n\
         [account.oauth]\ntoken_url = \"{token_url}\"\nscope = \"mail\"\n",
        dir = dir.display(),
        ca = authority.display(),
    )
}
