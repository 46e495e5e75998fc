//! A connection of the web port that can be cut in the middle of a request.
//!
//! HTTP servers always answer; a network does not. Whoever holds the cord of a connection can make its
//! next read and write fail, upon which the server closes it without a word.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// What cuts one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Cord(Arc<AtomicBool>);

impl Cord {
    /// From now on nothing goes over the connection.
    pub(super) fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Connected<IncomingStream<'_, CordListener>> for Cord {
    fn connect_info(stream: IncomingStream<'_, CordListener>) -> Self {
        stream.io().cord.clone()
    }
}

/// Gives each connection its cord.
#[derive(Debug)]
pub(super) struct CordListener(pub(super) TcpListener);

impl Listener for CordListener {
    type Io = CordStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CordStream, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        (CordStream { stream, cord: Cord::default() }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection on its cord.
#[derive(Debug)]
pub(super) struct CordStream {
    stream: TcpStream,
    cord: Cord,
}

impl AsyncRead for CordStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cord.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CordStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cord.check()?;
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
