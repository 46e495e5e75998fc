//! The wire to an upstream: TCP, TLS, time limits. The only place of the upstream side where octets are
//! read and written.
//!
//! It promises one write for what lies in the output, that it reads while it writes (a server that speaks
//! early is heard and nobody waits for the other for ever), and that no wait is without an end. It knows
//! nothing of SMTP.

use super::tunnel::{self, Target};
use crate::config::{Proxy, ProxyScheme, Upstream};
use crate::tls;
use crate::upstream::Fault;
use bytes::{Buf, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Replies are short; an idle connection holds no more than this of ours.
const READ_AT_ONCE: usize = 2 * 1024;

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What a turn waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Everything written and something read.
    Answer,
    /// Everything written; or something read before that.
    Flush,
    /// Nothing: only see whether something was read.
    Look,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything is written, nothing was read.
    Written,
    /// Octets lie in [`Wire::received`].
    Received,
    /// The peer has closed.
    Ended,
}

#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    inbox: Box<[u8]>,
    received: usize,
    /// Why writing failed, while what the peer said before is still being read.
    broken: Option<Fault>,
    /// The address at the other end.
    pub peer: SocketAddr,
}

impl Wire {
    /// Connects, by the proxy where there is one.
    pub async fn connect(settings: &Upstream) -> Result<Self, Fault> {
        let (host, port, limit) = (&*settings.host, settings.port, settings.connect_timeout);
        let (stream, peer) = match &settings.proxy {
            None => open(host, port, limit).await?,
            Some(proxy) => open_through(proxy, host, port, limit)
                .await
                .map_err(|fault| Fault::Proxy(format!("{proxy}: {fault}")))?,
        };
        let (inbox, received) = (vec![0; READ_AT_ONCE].into(), 0);
        Ok(Self { stream: Stream::Plain(stream), inbox, received, broken: None, peer })
    }

    /// The TLS handshake, with verification of chain and name.
    pub async fn start_tls(
        self,
        config: Arc<ClientConfig>,
        host: &str,
        limit: Duration,
    ) -> Result<Self, Fault> {
        let Stream::Plain(stream) = self.stream else {
            return Err(Fault::Tls(tls::Distrust::new("TLS inside TLS")));
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name a certificate could have"))
            .map_err(|what| Fault::Tls(tls::Distrust::new(what)))?;
        let handshake = TlsConnector::from(config).connect(name, stream);
        match timeout(limit, handshake).await {
            Ok(Ok(stream)) => Ok(Self { stream: Stream::Tls(Box::new(stream)), ..self }),
            Ok(Err(error)) => Err(Fault::Tls(tls::explain(&error, host))),
            Err(_) => Err(Fault::Timeout),
        }
    }

    /// The octets of the last turn that said [`Progress::Received`].
    pub fn received(&self) -> &[u8] {
        &self.inbox[..self.received]
    }

    /// Writes what lies in `output` and reads, until the goal is reached or the time is over.
    pub async fn turn(
        &mut self,
        output: &mut BytesMut,
        goal: Goal,
        deadline: Instant,
    ) -> Result<Progress, Fault> {
        self.received = 0;
        let turn = poll_fn(|cx| self.poll_turn(cx, output, goal));
        timeout_at(deadline, turn).await.unwrap_or(Err(Fault::Timeout))
    }

    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut BytesMut,
        goal: Goal,
    ) -> Poll<Result<Progress, Fault>> {
        // Reading goes first: a peer that gives up is heard before more is pushed at it.
        if let Poll::Ready(progress) = self.poll_read(cx) {
            return Poll::Ready(progress);
        }
        if goal == Goal::Look {
            return Poll::Ready(Ok(Progress::Written));
        }
        if self.broken.is_none() {
            match ready!(self.poll_write(cx, output)) {
                Ok(()) if goal == Goal::Flush => return Poll::Ready(Ok(Progress::Written)),
                Ok(()) => return Poll::Pending,
                // What it said before it went away may still lie in the socket: `421` and the like.
                Err(error) => self.broken = Some(network(&error)),
            }
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(progress @ Progress::Received)) => Poll::Ready(Ok(progress)),
            _ => Poll::Ready(Err(self.broken.clone().unwrap_or(Fault::Closed))),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, Fault>> {
        let mut buffer = ReadBuf::new(&mut self.inbox);
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut buffer),
        };
        self.received = buffer.filled().len();
        Poll::Ready(match ready!(result) {
            Ok(()) if self.received > 0 => Ok(Progress::Received),
            Ok(()) => Ok(Progress::Ended),
            // Exchange and many others close without TLS' close_notify; commands have their own ends.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Progress::Ended),
            Err(error) => Err(network(&error)),
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut BytesMut,
    ) -> Poll<Result<(), io::Error>> {
        while !output.is_empty() {
            let written = ready!(match &mut self.stream {
                Stream::Plain(stream) => Pin::new(stream).poll_write(cx, output),
                Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, output),
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
        }
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    /// Closes properly, with TLS' close_notify, if the peer lets us.
    pub async fn close(mut self, limit: Duration) {
        let closing = async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.shutdown().await,
                Stream::Tls(stream) => stream.shutdown().await,
            }
        };
        let _ = timeout(limit, closing).await;
    }
}

/// Resolves the name and tries its addresses one after the other.
async fn open(host: &str, port: u16, limit: Duration) -> Result<(TcpStream, SocketAddr), Fault> {
    reach(resolve(host, port, limit).await?, limit).await
}

/// The first of them that answers; each has its own limit.
async fn reach(
    addresses: Vec<SocketAddr>,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), Fault> {
    let mut problems: Vec<(SocketAddr, Fault)> = Vec::new();
    for address in addresses {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it a short write waits for the peer's delayed acknowledgement, 40 ms.
                stream.set_nodelay(true).map_err(|error| network(&error))?;
                return Ok((stream, address));
            }
            Ok(Err(error)) => problems.push((address, network(&error))),
            Err(_) => problems.push((address, Fault::Timeout)),
        }
    }
    if problems.iter().all(|(_, fault)| *fault == Fault::Timeout) {
        return Err(Fault::Timeout);
    }
    let texts = problems.iter().map(|(address, fault)| format!("{address}: {fault}"));
    Err(Fault::Network(texts.collect::<Vec<_>>().join("; ")))
}

/// The same through a proxy. Where we look the name up, its addresses are asked for one after the other.
async fn open_through(
    proxy: &Proxy,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), Fault> {
    let addresses = match proxy.scheme {
        ProxyScheme::Socks5 => resolve(host, port, limit).await?,
        ProxyScheme::Http | ProxyScheme::Socks5h => Vec::new(),
    };
    let mut targets: Vec<Target<'_>> = addresses.into_iter().map(Target::Address).collect();
    if targets.is_empty() {
        targets.push(Target::Name(host, port));
    }
    let mut problems = Vec::new();
    for target in targets {
        let (mut stream, peer) = open(&proxy.host, proxy.port, limit).await?;
        match timeout(limit, tunnel::through(&mut stream, proxy, target)).await {
            Ok(Ok(())) => return Ok((stream, peer)),
            Ok(Err(text)) => problems.push(text),
            Err(_) => problems.push(format!("no answer in time to {target}")),
        }
    }
    Err(Fault::Network(problems.join("; ")))
}

/// All addresses of the name, the two families by turns so that a dead one costs one wait only.
async fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Fault> {
    let found = match timeout(limit, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(Fault::Dns(format!("cannot resolve {host}: {error}"))),
        Err(_) => return Err(Fault::Dns(format!("cannot resolve {host}: no answer in time"))),
    };
    let addresses = by_turns(found.collect());
    if addresses.is_empty() {
        return Err(Fault::Dns(format!("{host} has no address")));
    }
    Ok(addresses)
}

fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut turns = Vec::new();
    for address in first {
        turns.push(address);
        turns.extend(second.next());
    }
    turns.extend(second);
    turns
}

fn network(error: &io::Error) -> Fault {
    Fault::Network(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn b04_the_first_address_that_answers_is_taken_and_all_that_do_not_are_named() {
        let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = refused.local_addr().unwrap();
        drop(refused);
        let first = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let second = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (live, other) = (first.local_addr().unwrap(), second.local_addr().unwrap());
        let limit = Duration::from_secs(30);
        let (_, taken) = reach(vec![dead, live, other], limit).await.unwrap();
        assert_eq!(taken, live);
        let Err(Fault::Network(text)) = reach(vec![dead, dead], limit).await else { panic!() };
        assert_eq!(text.matches(&dead.to_string()).count(), 2, "{text}");
    }

    #[test]
    fn families_take_turns() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let found = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"]);
        assert_eq!(by_turns(found), parse(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]));
        let found = parse(&["10.0.0.1:1", "[::1]:1", "[::2]:1"]);
        assert_eq!(by_turns(found), parse(&["10.0.0.1:1", "[::1]:1", "[::2]:1"]));
        assert_eq!(by_turns(Vec::new()), []);
    }
}
