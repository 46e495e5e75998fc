//! Sockets of the mail server: accept, read, write, TLS. It knows no SMTP beyond the word AUTH.

use super::delay;
use super::exchange::{Next, Submission};
use super::fault_value::{Switch, take};
use super::faults::Point;
use super::random;
use super::texts::{self, Session};
use super::world::World;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a closed connection is still read, so that unread octets do not reset it before the client has
/// seen our last reply.
const LINGER: Duration = Duration::from_secs(1);
/// Accepts connections until stopped.
pub(super) async fn serve(world: Arc<World>, listener: TcpListener, stop: CancellationToken) {
    let sessions = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (world, stop) = (Arc::clone(&world), stop.clone());
                sessions.spawn(async move {
                    let _open = Open::count(Arc::clone(&world));
                    tokio::select! {
                        () = stop.cancelled() => {}
                        ended = connection(world, stream, peer) => if let Err(error) = ended {
                            tracing::debug!(%error, %peer, "sandbox: connection ended");
                        },
                    }
                });
            }
            Err(error) => {
                // Out of descriptors: pause instead of turning in circles.
                tracing::warn!(%error, "sandbox: accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    sessions.close();
    sessions.wait().await;
}

/// Counts an open connection as long as it lives.
#[derive(Debug)]
struct Open(Arc<World>);

impl Open {
    fn count(world: Arc<World>) -> Self {
        world.count(|statistics| {
            statistics.connections += 1;
            statistics.open_connections += 1;
            statistics.max_open_connections =
                statistics.max_open_connections.max(statistics.open_connections);
        });
        Self(world)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count(|statistics| statistics.open_connections -= 1);
    }
}

async fn connection(world: Arc<World>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if world.fault(|faults| faults.smtp.drop_at.get_mut(&Point::Connect).is_some_and(Switch::take))
    {
        return Ok(());
    }
    let session = Session { id: random::hex::<8>(), begun: SystemTime::now(), peer: peer.ip() };
    let submission = Submission::new(Arc::clone(&world), session);
    match world.faults().smtp.delay_ms {
        0 => both_halves(world, submission, stream).await,
        delay => {
            let line = delay::line(stream, Duration::from_micros(delay * 500));
            both_halves(world, submission, line).await
        }
    }
}

/// The session in clear text and, after STARTTLS, inside TLS.
async fn both_halves<S>(
    world: Arc<World>,
    mut submission: Submission,
    mut stream: S,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut driver = Driver { world: Arc::clone(&world), clear: Some(CommandStart::default()) };
    if !driver.run(&mut submission, &mut stream).await? {
        return Ok(());
    }
    let certificate = world.fault(|faults| take(&mut faults.smtp.certificate)).unwrap_or_default();
    let acceptor = TlsAcceptor::from(world.certificates.config(certificate));
    let mut stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            world.count(|statistics| statistics.tls_failures += 1);
            return Err(error);
        }
    };
    world.count(|statistics| statistics.tls_handshakes += 1);
    submission.tls_started();
    driver.clear = None;
    driver.run(&mut submission, &mut stream).await.map(|_| ())
}

/// Moves octets between a stream and a session.
struct Driver {
    world: Arc<World>,
    /// Watches the clear text for AUTH; none inside TLS.
    clear: Option<CommandStart>,
}

impl Driver {
    /// Runs until the session ends (false) or a TLS handshake is due (true).
    async fn run<S>(&mut self, submission: &mut Submission, stream: &mut S) -> io::Result<bool>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            match submission.step().await {
                Next::Go => {}
                Next::Read => {
                    self.write(submission, stream).await?;
                    self.read(submission, stream).await?;
                }
                Next::Handshake => {
                    self.write(submission, stream).await?;
                    return Ok(true);
                }
                Next::Close => {
                    self.write(submission, stream).await?;
                    linger(stream).await;
                    return Ok(false);
                }
                Next::Cut => return Ok(false),
            }
        }
    }

    async fn write<S>(&self, submission: &mut Submission, stream: &mut S) -> io::Result<()>
    where
        S: AsyncWrite + Unpin,
    {
        let output = submission.output.split();
        let pause = self.world.faults().smtp.slow_octets_us;
        if pause == 0 {
            stream.write_all(&output).await?;
            return stream.flush().await;
        }
        for octet in output {
            stream.write_all(&[octet]).await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_micros(pause)).await;
        }
        Ok(())
    }

    async fn read<S>(&mut self, submission: &mut Submission, stream: &mut S) -> io::Result<()>
    where
        S: AsyncRead + Unpin,
    {
        let idle = match self.world.limits().idle_seconds {
            0 => Duration::from_secs(86_400),
            seconds => Duration::from_secs(seconds),
        };
        let mut chunk = [0; 16 * 1024];
        match tokio::time::timeout(idle, stream.read(&mut chunk)).await {
            Err(_) => submission.hang_up(&texts::IDLE),
            Ok(length) => match length? {
                0 => submission.feed_end(),
                length => {
                    let logins =
                        self.clear.as_mut().map_or(0, |clear| clear.count(&chunk[..length]));
                    if logins > 0 {
                        self.world.count(|statistics| statistics.auth_before_tls += logins);
                    }
                    submission.feed(&chunk[..length]);
                }
            },
        }
        Ok(())
    }
}

async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let _ = stream.shutdown().await;
    let mut chunk = [0; 4096];
    let rest = async { while matches!(stream.read(&mut chunk).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// The first four octets of the line under way.
#[derive(Debug, Default)]
struct CommandStart {
    octets: [u8; 4],
    length: usize,
}

impl CommandStart {
    /// Counts the lines that begin with AUTH, however they are cut.
    fn count(&mut self, octets: &[u8]) -> u64 {
        let mut found = 0;
        for octet in octets {
            if *octet == b'\n' {
                self.length = 0;
                continue;
            }
            if self.length < 4 {
                self.octets[self.length] = octet.to_ascii_uppercase();
                self.length += 1;
                found += u64::from(self.length == 4 && &self.octets == b"AUTH");
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_auth_wherever_the_octets_are_cut() {
        let text = b"EHLO auth\r\nauth LOGIN\r\nNOOP AUTH\r\nAUTH PLAIN x\r\n";
        for cut in 0..text.len() {
            let mut start = CommandStart::default();
            assert_eq!(start.count(&text[..cut]) + start.count(&text[cut..]), 2, "{cut}");
        }
    }
}
