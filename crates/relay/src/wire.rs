//! One kept-alive connection to an upstream whose bytes the caller writes and reads itself.
//!
//! For who frames requests and answers without an HTTP library. It has no buffer and no task, and knows nothing of what is said on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::Socket;
use crate::tally::Open;

/// A connection to one upstream. Dropped it is closed; what may be used again is put to [`rest`](crate::Upstream::rest).
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    used: bool,
    _open: Open,
}

impl Wire {
    pub(crate) const fn new(socket: Socket, open: Open) -> Self {
        Self { socket, used: false, _open: open }
    }

    /// Whether it has carried a request before: one that ended meanwhile is no sign that its upstream is dead.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        self.used
    }

    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    pub(crate) const fn handle_rest(&mut self) {
        self.used = true;
    }

    /// Whether it is open and nothing was said on it unasked.
    pub(crate) fn is_idle(&mut self) -> bool {
        let mut byte = [0];
        let nothing =
            |read: io::Result<usize>| read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        match &mut self.socket {
            // Asked without a waker, which is most of the price of a poll.
            Socket::Tcp(stream) => nothing(stream.try_read(&mut byte)),
            #[cfg(unix)]
            Socket::Unix(stream) => nothing(stream.try_read(&mut byte)),
            Socket::Tls(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(&mut **stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
