//! The stream below a WebSocket: a socket in halves, so that whoever has mail may write while its task reads, or anything else.

use sockeye_relay::Socket;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp;
#[cfg(unix)]
use tokio::net::unix;

/// The stream below a WebSocket.
pub(crate) enum Io {
    /// A plain socket.
    Raw(Socket),
    /// Anything else that hyper carried: TLS, another framework's stream.
    Boxed(Pin<Box<dyn Stream>>),
}

/// A stream in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// Where bytes come from.
pub(super) enum Reader {
    Tcp(tcp::OwnedReadHalf),
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
    /// It writes, too.
    Boxed(Pin<Box<dyn Stream>>),
}

/// Where bytes of a plain socket go to.
#[derive(Debug)]
pub(super) enum Writer {
    Tcp(tcp::OwnedWriteHalf),
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
}

impl Io {
    /// Takes a plain socket apart; anything else has no writer of its own.
    pub(super) fn split(self) -> (Reader, Option<Writer>) {
        match self {
            Self::Raw(Socket::Tcp(stream)) => {
                let (reader, writer) = stream.into_split();
                (Reader::Tcp(reader), Some(Writer::Tcp(writer)))
            }
            #[cfg(unix)]
            Self::Raw(Socket::Unix(stream)) => {
                let (reader, writer) = stream.into_split();
                (Reader::Unix(reader), Some(Writer::Unix(writer)))
            }
            Self::Raw(Socket::Tls(stream)) => (Reader::Boxed(Box::into_pin(stream as Box<dyn Stream>)), None),
            Self::Boxed(stream) => (Reader::Boxed(stream), None),
        }
    }
}

impl Reader {
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buffer),
            #[cfg(unix)]
            Self::Unix(half) => Pin::new(half).poll_read(cx, buffer),
            Self::Boxed(stream) => stream.as_mut().poll_read(cx, buffer),
        }
    }
}

impl Writer {
    /// Writes what the socket takes at once; `WouldBlock` where that is nothing.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(half), [one]) => half.try_write(one),
            (Self::Tcp(half), many) => half.try_write_vectored(many),
            #[cfg(unix)]
            (Self::Unix(half), [one]) => half.try_write(one),
            #[cfg(unix)]
            (Self::Unix(half), many) => half.try_write_vectored(many),
        }
    }

    /// As [`Writer::try_write`], but leaves word to be woken.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self, slices) {
            (Self::Tcp(half), [one]) => Pin::new(half).poll_write(cx, one),
            (Self::Tcp(half), many) => Pin::new(half).poll_write_vectored(cx, many),
            #[cfg(unix)]
            (Self::Unix(half), [one]) => Pin::new(half).poll_write(cx, one),
            #[cfg(unix)]
            (Self::Unix(half), many) => Pin::new(half).poll_write_vectored(cx, many),
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}
