//! A session over a pipe, for what no real client of this machine can show: a peer elsewhere.

use super::{Shared, serve};
use crate::accounts::{Accounts, Proofs};
use crate::config::Config;
use crate::delivery::direct::Passages;
use crate::queue::{self, Queue};
use base64::Engine;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::sync::CancellationToken;

const CONFIG: &str = "[[user]]\nname = \"u\"\npassword = \"right\"\n\
    [[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\ngrant = \"client_credentials\"\n\
    tenant = \"contoso.com\"\nclient_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\n\
    client_secret = \"x\"\n";

fn shared(directory: &tempfile::TempDir) -> Arc<Shared> {
    let config = Config::from_text("submitd.toml", CONFIG, &[]).expect("sound");
    let settings = queue::Settings {
        dir: directory.path().join("queue"),
        max_size: config.queue.max_size,
        reserve: 0,
        history: config.queue.history,
        hold: Vec::new(),
    };
    let queue = Queue::open(settings).expect("queue");
    let accounts = Arc::new(Accounts::new(&config, Proofs::new().expect("randomness")));
    Arc::new(
        Shared::new(&config, &config.listeners[0], accounts, queue, Passages::default())
            .expect("no TLS"),
    )
}

/// What is answered to these lines by a session with that peer, up to its end.
async fn talk(shared: &Arc<Shared>, peer: [u8; 4], lines: &[String]) -> Vec<String> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all((lines.join("\r\n") + "\r\n").as_bytes()).await.expect("written");
    let peer = Some(IpAddr::from(peer));
    serve(server, peer, shared.clone(), CancellationToken::new()).await;
    let mut text = String::new();
    client.read_to_string(&mut text).await.expect("read");
    text.lines().map(str::to_owned).collect()
}

fn plain(password: &str) -> String {
    let octets = format!("\0u\0{password}");
    format!("AUTH PLAIN {}", base64::engine::general_purpose::STANDARD.encode(octets))
}

#[tokio::test(start_paused = true)]
async fn a13_an_address_that_guesses_is_turned_away_and_others_are_not() {
    let directory = tempfile::tempdir().expect("directory");
    let shared = shared(&directory);
    let mut lines = vec![plain("wrong"); 12];
    lines.push("QUIT".into());
    let replies = talk(&shared, [10, 0, 0, 1], &lines).await;
    assert_eq!(replies.len(), 1 + 10 + 1, "{replies:?}");
    assert!(replies[1..11].iter().all(|reply| reply.starts_with("535 5.7.8 ")), "{replies:?}");
    assert!(replies[11].starts_with("421 4.7.0 "), "{replies:?}");
    let good = [plain("right"), "QUIT".into()];
    let replies = talk(&shared, [10, 0, 0, 1], &good).await;
    assert!(replies[1].starts_with("421 4.7.0 "), "{replies:?}");
    let replies = talk(&shared, [10, 0, 0, 2], &good).await;
    assert!(replies[1].starts_with("235 2.7.0 "), "{replies:?}");
    // This machine: wrong ones wait, nobody is turned away.
    let replies = talk(&shared, [127, 0, 0, 1], &lines).await;
    assert_eq!(replies.iter().filter(|reply| reply.starts_with("535")).count(), 12, "{replies:?}");
}

/// A stream that remembers how much was in memory to be written at once.
struct Scale {
    stream: tokio::io::DuplexStream,
    heaviest: Arc<AtomicUsize>,
}

impl AsyncRead for Scale {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Scale {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.heaviest.fetch_max(octets.len(), Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[tokio::test]
async fn a18_a_segment_full_of_ehlos_does_not_fill_the_memory_with_replies() {
    let directory = tempfile::tempdir().expect("directory");
    let shared = shared(&directory);
    let (mut client, stream) = tokio::io::duplex(8 << 20);
    let heaviest = Arc::new(AtomicUsize::new(0));
    let scale = Scale { stream, heaviest: heaviest.clone() };
    let hellos = "EHLO a\r\n".repeat(8_000) + "QUIT\r\n";
    client.write_all(hellos.as_bytes()).await.expect("written");
    serve(scale, None, shared, CancellationToken::new()).await;
    let mut text = String::new();
    client.read_to_string(&mut text).await.expect("read");
    assert_eq!(text.matches("250-SIZE").count(), 8_000);
    let heaviest = heaviest.load(Ordering::Relaxed);
    assert!(heaviest < super::LARGEST_OUTPUT + 4_096, "{heaviest} octets at once");
}
