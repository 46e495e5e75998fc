//! How addresses, networks and URLs are written.
//!
//! It promises that a listener's address is never looked up in DNS, that a network has its host bits
//! zero, and that no URL sends a secret unencrypted past this machine.

use super::ListenAddress;
use super::tree::Node;
use super::value::{Written, Wrong, each, list, quote, text};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// An address range, `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address with its host bits zero.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

/// Addresses to bind.
impl Written for Vec<ListenAddress> {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let all = each(node, "an address or a list of addresses", listen_addresses)?.concat();
        if all.is_empty() {
            return Err(vec![Wrong::new("is empty", "write \"localhost:2525\"")]);
        }
        Ok(all)
    }
    fn write(&self) -> String {
        list(self.iter().map(|address| quote(&address.to_string())))
    }
}

fn listen_addresses(node: &Node) -> Result<Vec<ListenAddress>, Wrong> {
    let text = text(node)?;
    match text.strip_prefix("unix:") {
        Some(path) => Ok(vec![ListenAddress::Unix(unix_path(path)?)]),
        None => Ok(socket_addresses(text)?.into_iter().map(ListenAddress::Tcp).collect()),
    }
}

/// Octets of a Unix socket's path at most: sockaddr_un has 108 with its end, and the name a socket is
/// made under is a little longer.
const LONGEST_PATH: usize = 100;

fn unix_path(path: &str) -> Result<PathBuf, Wrong> {
    let remedy = "write it like \"unix:/run/submitd/smtp.sock\"";
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(Wrong::new(format!("{path:?} is not the absolute path of a socket"), remedy));
    }
    if path.len() > LONGEST_PATH {
        let what = format!("the path of a Unix socket has at most {LONGEST_PATH} octets");
        return Err(Wrong::new(what, "write a shorter one"));
    }
    Ok(PathBuf::from(path))
}

fn socket_addresses(text: &str) -> Result<Vec<SocketAddr>, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let wrong = |remedy: String| {
        Wrong::new(format!("{text:?} is not an address with a port"), format!("write {remedy}"))
    };
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(wrong(format!("\"{}\"", SocketAddr::new(ip, 2525))));
    }
    let Ok(port) = port.parse::<u16>() else {
        return Err(wrong(
            "it like \"localhost:2525\", \"127.0.0.1:2525\" or \"[::1]:2525\"".into(),
        ));
    };
    match host {
        "localhost" => Ok(vec![
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port),
        ]),
        "" | "*" => Err(wrong(format!("\"0.0.0.0:{port}\" or \"[::]:{port}\" for all interfaces"))),
        _ => Err(wrong(format!("an IP address or localhost before \":{port}\""))),
    }
}

/// Who may connect.
impl Written for Vec<Network> {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let all = each(node, "a list of networks", network)?;
        if all.is_empty() {
            return Err(vec![Wrong::new("nobody could connect", "write \"127.0.0.0/8\", \"::1\"")]);
        }
        Ok(all)
    }
    fn write(&self) -> String {
        list(self.iter().map(|network| quote(&network.to_string())))
    }
}

fn network(node: &Node) -> Result<Network, Wrong> {
    let text = text(node)?;
    let wrong = |remedy: String| Wrong::new(format!("{text:?} is not a network"), remedy);
    let example = || wrong("write it like \"10.0.0.0/8\", \"192.168.1.7\" or \"fd00::/8\"".into());
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address.parse().map_err(|_| example())?;
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix: u8 = prefix.map_or(Ok(bits), str::parse).map_err(|_| example())?;
    if prefix > bits {
        return Err(wrong(format!("write a prefix from 0 to {bits}")));
    }
    let network = Network { address: masked(address, prefix), prefix };
    if network.address != address {
        let remedy = format!("write \"{network}\" or \"{address}\"");
        return Err(Wrong::new(format!("{text:?} has bits behind its prefix"), remedy));
    }
    Ok(network)
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    }
}

impl Network {
    /// Whether an address lies in it; an IPv4 address that came over an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        match self.prefix == whole {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

/// The refusal of a token endpoint that anybody on the way could read.
pub(super) fn plain_http() -> Wrong {
    Wrong::new(
        "plain http would show secrets to the network",
        "write https://; http is for this machine only",
    )
}

/// Whether a token endpoint is https, or plain http that does not leave this machine. Link-local
/// addresses, which no router passes on, are those of a host's own identity: 169.254.169.254 on virtual
/// machines, 169.254.129.0/24 and its neighbours on App Service for Linux.
pub(super) fn is_safe(url: &url::Url, link_local: bool) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_this_machine(url, link_local)
}

/// Whether a URL names this machine; with `link_local` also what only this machine's host reaches.
pub fn is_this_machine(url: &url::Url, link_local: bool) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || link_local && ip.is_link_local(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The token endpoint: https, or plain http to this machine.
impl Written for url::Url {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let text = text(node)?;
        let url = Self::parse(text).map_err(|error| {
            Wrong::new(format!("not a URL ({error})"), "write https://host/path")
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(vec![Wrong::new("holds a user name or password", "write it without")]);
        }
        match url.scheme() {
            // whether link-local is right is the grant's to say
            _ if is_safe(&url, true) => Ok(url),
            "http" => Err(vec![plain_http()]),
            scheme => Err(vec![Wrong::new(
                format!("{scheme:?} is not a scheme for it"),
                "write https://",
            )]),
        }
    }
    fn write(&self) -> String {
        quote(self.as_str())
    }
}
