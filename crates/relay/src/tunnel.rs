//! Two connections joined after a 101: bytes go both ways until both ends are done.
//!
//! A tunnel holds no buffer while nothing moves: reads go into a scratch area that all tunnels of a thread share, and only what the other side
//! does not take at once is kept, at most 64 KiB a direction, during which that direction reads no more.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tracing::debug;

use crate::cord::{Cord, Moment};
use crate::socket::{Rewind, Socket};

/// A client's end of a tunnel that no upgrade began.
pub enum End {
    /// A socket.
    Socket(Socket),
    /// Anything else, such as TLS on one.
    Other(Box<dyn Stream>),
}

/// What bytes can be read from and written to, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The tunnels of one relay. Dropping it ends them.
#[derive(Default)]
pub(crate) struct Tunnels {
    tasks: Arc<Mutex<JoinSet<()>>>,
    open: Arc<AtomicU64>,
}

impl Tunnels {
    /// Joins the two sides once both have switched, in a task that ends when both are done, or the cord is pulled.
    pub(crate) fn open(&self, client: OnUpgrade, upstream: OnUpgrade, cord: Option<Arc<Cord>>) {
        let open = Open::count(&self.open, cord);
        let tasks = Arc::downgrade(&self.tasks);
        let mut set = self.tasks.lock();
        while set.try_join_next().is_some() {}
        set.spawn(async move {
            let (client, upstream) = match (upstream.await, client.await) {
                (Ok(upstream), Ok(client)) => (client, upstream),
                (Err(error), _) | (_, Err(error)) => {
                    debug!(%error, "upgrade abandoned");
                    return;
                }
            };
            let tunnel = Tunnel::new(client, upstream, open);
            // A task of its own, so that the larger one that waited for the upgrades is freed.
            if let Some(tasks) = tasks.upgrade() {
                tasks.lock().spawn(tunnel);
            }
        });
    }

    /// Joins two connections: the client's with what was read from it before, the server's with what the client is to read first.
    pub(crate) fn join(&self, client: (End, Bytes), server: (Socket, Bytes), cord: Option<Arc<Cord>>) {
        let open = Open::count(&self.open, cord);
        let (up, down) = (Flow::new(client.1), Flow::new(server.1));
        let client = match client.0 {
            End::Socket(socket) => Side::Socket(socket),
            End::Other(stream) => Side::Other(stream),
        };
        let upstream = Side::Socket(server.0);
        let mut set = self.tasks.lock();
        while set.try_join_next().is_some() {}
        set.spawn(Tunnel { client, upstream, up, down, open });
    }

    pub(crate) fn close(&self) {
        self.tasks.lock().abort_all();
    }

    pub(crate) fn count(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        self.close();
    }
}

/// Both directions between two sides.
struct Tunnel {
    client: Side,
    upstream: Side,
    up: Flow,
    down: Flow,
    open: Open,
}

/// One direction.
struct Flow {
    /// Read, but not yet taken by the other side.
    rest: Bytes,
    state: FlowState,
}

enum FlowState {
    Flowing,
    /// The source has ended; the target is told once it has taken the rest.
    Ending,
    Ended,
}

enum Side {
    Socket(Socket),
    /// A stream that cannot be taken out of hyper: TLS, or somebody else's.
    Other(Box<dyn Stream>),
}

/// Counts one tunnel for as long as it lives, and tells whoever holds its cord.
struct Open {
    count: Arc<AtomicU64>,
    cord: Option<Arc<Cord>>,
}

impl Tunnel {
    fn new(client: Upgraded, upstream: Upgraded, open: Open) -> Self {
        let (client, from_client) = Side::take(client);
        let (upstream, from_upstream) = Side::take(upstream);
        Self { client, upstream, up: Flow::new(from_client), down: Flow::new(from_upstream), open }
    }
}

impl Future for Tunnel {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { client, upstream, up, down, open } = &mut *self;
        if let Some(cord) = &open.cord {
            if cord.poll_pulled(cx) {
                return Poll::Ready(());
            }
            cord.touch();
        }
        let ended = [up.poll(client, upstream, cx), down.poll(upstream, client, cx)];
        match ended {
            [Poll::Ready(Ok(())), Poll::Ready(Ok(()))] => Poll::Ready(()),
            [Poll::Ready(Err(error)), _] | [_, Poll::Ready(Err(error))] => {
                debug!(%error, "tunnel broke");
                Poll::Ready(())
            }
            [Poll::Pending, _] | [_, Poll::Pending] => Poll::Pending,
        }
    }
}

impl Flow {
    fn new(rest: Bytes) -> Self {
        // An empty slice would hold the whole buffer that hyper read into.
        let rest = if rest.is_empty() { Bytes::new() } else { rest };
        Self { rest, state: FlowState::Flowing }
    }

    /// Moves what can be moved. Ready once the source has ended and the target knows it.
    fn poll(&mut self, source: &mut Side, target: &mut Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_rest(target, cx))?;
            match self.state {
                FlowState::Flowing => {
                    if let Poll::Ready(moved) = self.poll_piece(source, target, cx) {
                        moved?;
                    } else {
                        // A stream that encrypts may have taken what its socket has not; a socket has nothing to flush.
                        ready!(target.poll_flush_rest(cx))?;
                        return Poll::Pending;
                    }
                }
                FlowState::Ending => {
                    ready!(Pin::new(&mut *target).poll_shutdown(cx))?;
                    self.state = FlowState::Ended;
                }
                FlowState::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_rest(&mut self, target: &mut Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut *target).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(written);
            if self.rest.is_empty() {
                self.rest = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads one piece into the scratch and writes it; keeps what the target does not take.
    fn poll_piece(
        &mut self,
        source: &mut Side,
        target: &mut Side,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut piece = ReadBuf::new(scratch);
            ready!(Pin::new(source).poll_read(cx, &mut piece))?;
            let piece = piece.filled();
            if piece.is_empty() {
                self.state = FlowState::Ending;
                return Poll::Ready(Ok(()));
            }
            let taken = match Pin::new(target).poll_write(cx, piece) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            if taken < piece.len() {
                self.rest = Bytes::copy_from_slice(&piece[taken..]);
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl Side {
    /// Takes the raw socket out of hyper, with the bytes that hyper had read beyond the head.
    fn take(upgraded: Upgraded) -> (Self, Bytes) {
        let upgraded = match upgraded.downcast::<TokioIo<Rewind<TcpStream>>>() {
            Ok(parts) => return Self::rewound(parts),
            Err(upgraded) => upgraded,
        };
        let upgraded = match upgraded.downcast::<TokioIo<Rewind<Socket>>>() {
            Ok(parts) => return Self::rewound(parts),
            Err(upgraded) => upgraded,
        };
        let upgraded = match upgraded.downcast::<TokioIo<Socket>>() {
            Ok(Parts { io, read_buf, .. }) => return (Self::Socket(io.into_inner()), read_buf),
            Err(upgraded) => upgraded,
        };
        let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(Parts { io, read_buf, .. }) => return (Self::Socket(io.into_inner().into()), read_buf),
            Err(upgraded) => upgraded,
        };
        #[cfg(unix)]
        let upgraded = match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(Parts { io, read_buf, .. }) => return (Self::Socket(io.into_inner().into()), read_buf),
            Err(upgraded) => upgraded,
        };
        (Self::Other(Box::new(TokioIo::new(upgraded))), Bytes::new())
    }

    /// Writes what a stream that encrypts holds back.
    fn poll_flush_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Socket(socket) => Pin::new(socket).poll_flush(cx),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn rewound<S: Into<Socket>>(parts: Parts<TokioIo<Rewind<S>>>) -> (Self, Bytes) {
        let (ahead, socket) = parts.io.into_inner().into_parts();
        let read = if ahead.is_empty() {
            parts.read_buf
        } else {
            // What hyper holds came first; what still stands in front of the socket comes after it.
            [parts.read_buf, ahead].concat().into()
        };
        (Self::Socket(socket.into()), read)
    }
}

impl AsyncRead for Side {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Side {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_flush(cx),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Open {
    fn count(open: &Arc<AtomicU64>, cord: Option<Arc<Cord>>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        if let Some(cord) = &cord {
            cord.tell(Moment::Opened);
        }
        Self { count: Arc::clone(open), cord }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(cord) = &self.cord {
            cord.tell(Moment::Ended);
        }
    }
}

/// The most that one read takes, and so the most that a direction keeps.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}
