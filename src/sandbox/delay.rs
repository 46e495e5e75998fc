//! A line that holds octets for a while, each way, as distance does.
//!
//! Octets leave in order, each a fixed time after it came; octets that came together leave together, so
//! that pipelined commands cost one delay and not one each.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep_until};

/// Octets on their way at once, each direction.
const CAPACITY: usize = 256 * 1024;

/// Puts a line of this one-way delay before the stream. The tasks end with either side.
pub(super) fn line<S>(stream: S, one_way: Duration) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (near, far) = tokio::io::duplex(CAPACITY);
    let (from_peer, to_peer) = tokio::io::split(stream);
    let (from_server, to_server) = tokio::io::split(far);
    tokio::spawn(carry(from_peer, to_server, one_way));
    tokio::spawn(carry(from_server, to_peer, one_way));
    near
}

/// Carries octets until one end closes; what is under way still arrives.
async fn carry<R, W>(mut from: R, mut to: W, delay: Duration)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut held = 0;
    let mut open = true;
    let mut chunk = vec![0; 64 * 1024];
    while open || !under_way.is_empty() {
        let next = under_way.front().map(|(due, _)| *due);
        tokio::select! {
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if let Some((_, octets)) = under_way.pop_front() {
                    held -= octets.len();
                    if to.write_all(&octets).await.is_err() {
                        return;
                    }
                }
            }
            read = from.read(&mut chunk), if open && held < CAPACITY => match read {
                Ok(0) | Err(_) => open = false,
                Ok(length) => {
                    held += length;
                    under_way.push_back((Instant::now() + delay, chunk[..length].to_vec()));
                }
            },
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn octets_wait_each_way_and_keep_their_order() {
        let (client, server) = tokio::io::duplex(1024);
        let mut near = line(server, Duration::from_millis(50));
        let (mut reader, mut writer) = tokio::io::split(client);
        let start = Instant::now();
        for text in [b"a", b"b", b"c"] {
            writer.write_all(text).await.expect("write");
        }
        let mut came = [0; 3];
        near.read_exact(&mut came).await.expect("there");
        near.write_all(&came).await.expect("back");
        reader.read_exact(&mut came).await.expect("back");
        assert_eq!(&came, b"abc");
        assert!(start.elapsed() >= Duration::from_millis(100), "half of it each way");
    }

    #[tokio::test]
    async fn the_end_comes_through() {
        let (client, server) = tokio::io::duplex(1024);
        let mut near = line(server, Duration::from_millis(50));
        drop(client);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.expect("end");
        assert!(rest.is_empty());
    }
}
