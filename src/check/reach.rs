//! The first steps: the server's addresses, and whether each of them answers.

use super::Trouble;
use crate::config::Account;
use crate::diagnosis::Class;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// All addresses of the server.
pub(super) async fn resolve(account: &Account) -> Result<Vec<SocketAddr>, Trouble> {
    let upstream = &account.upstream;
    let asked = tokio::net::lookup_host((upstream.host.as_str(), upstream.port));
    let what = match timeout(upstream.connect_timeout, asked).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            if !addresses.is_empty() {
                return Ok(addresses);
            }
            format!("{} has no address", upstream.host)
        }
        Ok(Err(error)) => format!("{}: {error}", upstream.host),
        Err(_) => format!("{}: no answer from the name server", upstream.host),
    };
    let remedy = format!(
        "compare `host` in [account.upstream] of account {:?} with the provider's; if it is right, look at this \
         machine's name servers: getent hosts {}; cat /etc/resolv.conf",
        account.name, upstream.host
    );
    Err(trouble(what, remedy))
}

/// The addresses in words.
pub(super) fn list(account: &Account, addresses: &[SocketAddr]) -> String {
    let list: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    format!("{} is {}", account.upstream.host, list.join(", "))
}

/// Connects to each address at once; one that answers is enough, the others are told.
pub(super) async fn reach(account: &Account, addresses: &[SocketAddr]) -> Result<String, Trouble> {
    let limit = account.upstream.connect_timeout;
    let mut tries = JoinSet::new();
    for (index, address) in addresses.iter().copied().enumerate() {
        tries.spawn(async move {
            let answer = match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(_)) => Ok(format!("{address} answers")),
                Ok(Err(error)) => Err(format!("{address}: {error}")),
                Err(_) => Err(format!("{address}: no answer; a firewall drops it")),
            };
            (index, answer)
        });
    }
    let mut answers = tries.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    let is_good = answers.iter().any(|(_, answer)| answer.is_ok());
    let texts = answers.into_iter().map(|(_, answer)| answer.unwrap_or_else(|failed| failed));
    let text = texts.collect::<Vec<_>>().join("; ");
    if is_good {
        return Ok(text);
    }
    let remedy = format!(
        "let this machine reach TCP port {} of {}; many networks block outgoing SMTP",
        account.upstream.port, account.upstream.host
    );
    Err(trouble(text, remedy))
}

/// Networks come back by themselves, as often as not.
fn trouble(what: String, remedy: String) -> Trouble {
    Trouble { what, remedy: Some(remedy), class: Class::Transient, needs_setup: false }
}
