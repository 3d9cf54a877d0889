//! A client's connection while its requests are carried swiftly: it holds no buffer but for bytes that nobody has taken.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A client's connection.
pub(super) struct Line<S> {
    socket: S,
    /// What was read and belongs to nobody yet.
    unread: BytesMut,
    /// Rings at some deadline, perhaps one that was lifted since: to set it anew for each request would cost more.
    timer: Pin<Box<Sleep>>,
    /// Whom the timer wakes.
    heard: Heard,
    deadline: Instant,
    /// The last look at the clock: one serves all that happens at once.
    now: Instant,
}

/// Who waits for something already: to wait for the same thing anew with each poll would cost more than the rest of it.
#[derive(Default)]
pub(super) struct Heard(Option<Waker>);

/// Why there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nothing {
    /// The client went away.
    Gone,
    /// It took too long.
    Late,
    /// It is too long.
    TooLong,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// A connection, and what was read from it; its first step may take so long.
    pub(super) fn new(socket: S, read: Bytes, time: Duration) -> Self {
        let now = Instant::now();
        let deadline = now + time;
        Self {
            socket,
            unread: BytesMut::from(read),
            timer: Box::pin(tokio::time::sleep_until(deadline)),
            heard: Heard::default(),
            deadline,
            now,
        }
    }

    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.socket, self.unread.freeze())
    }

    /// When the clock was looked at last.
    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// Looks at the clock.
    pub(super) fn look_at_clock(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// How long the next step may take, from the last look at the clock; it may be up to twice as long, where the timer was set for longer.
    pub(super) fn allow(&mut self, time: Duration) {
        self.deadline = self.now + time;
        if self.timer.deadline() > self.deadline + time {
            self.timer.as_mut().reset(self.deadline);
        }
    }

    /// Whether the time is over.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.timer.is_elapsed() && self.heard.is_by(cx) {
            return Poll::Pending;
        }
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                self.heard.note(cx);
                return Poll::Pending;
            }
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }

    /// Reads until `look` finds a whole head at the front, at some time; it tells how many bytes it took. `stop` ends the wait while nothing has come.
    pub(super) async fn head<T>(
        &mut self,
        max: usize,
        mut stop: impl FnMut(&mut Context<'_>) -> Poll<()>,
        mut look: impl FnMut(&[u8], Instant) -> Option<(T, usize)>,
    ) -> Result<T, Nothing> {
        if !self.unread.is_empty()
            && let Some((found, taken)) = look(&self.unread, self.now)
        {
            self.take(taken);
            return Ok(found);
        }
        loop {
            if self.unread.len() >= max {
                return Err(Nothing::TooLong);
            }
            let found = poll_fn(|cx| {
                let read = with_scratch(|scratch| {
                    let mut piece = ReadBuf::new(scratch);
                    if let Err(_gone) = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut piece)) {
                        return Poll::Ready(Err(Nothing::Gone));
                    }
                    let piece = piece.filled();
                    if piece.is_empty() {
                        return Poll::Ready(Err(Nothing::Gone));
                    }
                    self.now = Instant::now();
                    if self.unread.is_empty()
                        && let Some((found, taken)) = look(piece, self.now)
                    {
                        self.unread.extend_from_slice(&piece[taken..]);
                        return Poll::Ready(Ok(Some(found)));
                    }
                    self.unread.extend_from_slice(piece);
                    Poll::Ready(Ok(None))
                });
                match read {
                    Poll::Pending if self.unread.is_empty() && stop(cx).is_ready() => {
                        Poll::Ready(Err(Nothing::Gone))
                    }
                    Poll::Pending => self.poll_late(cx).map(|()| Err(Nothing::Late)),
                    Poll::Ready(found) => Poll::Ready(found),
                }
            })
            .await?;
            if let Some(found) = found {
                return Ok(found);
            }
            if let Some((found, taken)) = look(&self.unread, self.now) {
                self.take(taken);
                return Ok(found);
            }
        }
    }

    /// Some bytes of a body, at most so many.
    pub(super) async fn some(&mut self, most: usize) -> Result<BytesMut, Nothing> {
        if self.unread.is_empty() {
            self.more().await?;
        }
        let some = self.unread.split_to(most.min(self.unread.len()));
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
        Ok(some)
    }

    /// Whether the client went away; what it says meanwhile is kept, up to a bound.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.unread.len() < AHEAD_BYTES_MAX {
            if ready!(self.poll_more(cx)).is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await?;
        // A stream that encrypts may have taken what its socket has not; a socket has nothing to flush.
        self.socket.flush().await
    }

    async fn more(&mut self) -> Result<(), Nothing> {
        poll_fn(|cx| match self.poll_more(cx) {
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => self.poll_late(cx).map(|()| Err(Nothing::Late)),
        })
        .await
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Nothing>> {
        with_scratch(|scratch| {
            let room = scratch.len().min(AHEAD_BYTES_MAX);
            let mut piece = ReadBuf::new(&mut scratch[..room]);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut piece));
            if read.is_err() || piece.filled().is_empty() {
                return Poll::Ready(Err(Nothing::Gone));
            }
            self.unread.extend_from_slice(piece.filled());
            Poll::Ready(Ok(()))
        })
    }

    fn take(&mut self, length: usize) {
        self.unread.advance(length);
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
    }
}

impl Heard {
    /// Whether it is this task.
    pub(super) fn is_by(&self, cx: &Context<'_>) -> bool {
        self.0.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
    }

    /// This task waits from here on.
    pub(super) fn note(&mut self, cx: &Context<'_>) {
        if !self.is_by(cx) {
            self.0 = Some(cx.waker().clone());
        }
    }
}

/// The buffer that all reads of a thread share.
pub(super) fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| read(scratch))
}

/// What one read takes at most.
const SCRATCH_BYTES: usize = 64 * 1024;
/// What is kept of a client that speaks on while its answer is awaited; further bytes wait in the kernel.
const AHEAD_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}
