//! A connection in the clear or inside TLS, and the step from one to the other.
//!
//! It promises that after a handshake that failed nothing is read or written in the clear.

use super::Shared;
use super::tls::DoorTls;
use crate::observe::redact;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// A client's connection.
pub enum Wire<S> {
    /// As it came.
    Clear(S),
    /// Inside TLS; boxed, so that a plain session does not carry its room.
    Tls(Box<TlsStream<S>>),
    /// A handshake failed.
    Gone,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("no TLS handshake within {} s", .0.as_secs())]
    Slow(Duration),
    /// The client broke it off, or speaks no TLS that we accept.
    #[error(transparent)]
    Broken(#[from] std::io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Does the handshake, within `bound`.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is gone then.
    pub async fn secure(
        &mut self,
        tls: &Arc<DoorTls>,
        bound: Duration,
    ) -> Result<(), HandshakeError> {
        let Self::Clear(stream) = std::mem::replace(self, Self::Gone) else {
            return Err(std::io::Error::from(ErrorKind::NotConnected).into());
        };
        let handshake = async {
            let acceptor = tls.acceptor().await;
            acceptor.accept(stream).await
        };
        let secured = tokio::time::timeout(bound, handshake).await;
        *self = Self::Tls(Box::new(secured.map_err(|_| HandshakeError::Slow(bound))??));
        Ok(())
    }
}

/// How long a TLS handshake may take at most; it is a matter of a second.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Does the handshake of a session; false where it failed, or where we stop.
pub async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    tls: &Arc<DoorTls>,
    shared: &Shared,
    peer: Option<IpAddr>,
    stop: &CancellationToken,
) -> bool {
    let bound = shared.listener.command_timeout.min(HANDSHAKE_TIMEOUT);
    let secured = tokio::select! {
        () = stop.cancelled() => return false,
        // Boxed, so that an idle session does not carry its room.
        secured = Box::pin(wire.secure(tls, bound)) => secured,
    };
    if let Err(error) = &secured {
        let error = redact::one_line(&error.to_string(), 200);
        tracing::info!(?peer, %error, "TLS handshake of a client failed");
    }
    secured.is_ok()
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Gone => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Gone => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Gone => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}
