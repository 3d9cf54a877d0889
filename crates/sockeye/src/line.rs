//! One connection that speaks HTTP/1.1: heads, bodies and answers on a socket. What they mean is decided elsewhere.
//!
//! Between requests, and while an answer is awaited, it holds no buffer unless bytes came that nobody has read yet.

use crate::http_answer::HttpAnswer;
use crate::transport::with_scratch;
use bytes::{Buf, Bytes, BytesMut};
use sockeye_proto::http::ends_head;
use sockeye_relay::Socket;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bodies up to this many bytes are copied behind their head, so that both leave in one plain write.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Bytes that are read ahead while an answer is awaited; further ones wait in the kernel.
const AHEAD_BYTES_MAX: usize = 16 << 10;

/// One connection that speaks HTTP/1.1.
pub(crate) struct Line {
    socket: Socket,
    /// What was read and belongs to nobody yet.
    unread: BytesMut,
    /// When what is awaited from the client is late.
    deadline: Option<Instant>,
    /// Rings at some deadline, perhaps at one that was lifted since: setting it anew for each request would cost more.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Why there is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHead {
    /// The client went away.
    Gone,
    /// It did not end in time.
    Late,
    /// Nothing came in time.
    Idle,
    /// It is too long.
    TooLong,
}

/// Why a body is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incomplete {
    /// There is more of it than may be.
    TooLarge,
    /// It did not end in time.
    TooSlow,
    /// The client went away.
    Aborted,
}

impl Line {
    /// Takes a socket over from which `read` was read before.
    pub(crate) fn new(socket: Socket, read: Bytes) -> Self {
        Self { socket, unread: BytesMut::from(read), deadline: None, timer: None }
    }

    /// Gives the socket back, with what was read and not used.
    pub(crate) fn into_parts(self) -> (Socket, Bytes) {
        (self.socket, self.unread.freeze())
    }

    /// Reads until `look` finds a whole head at the front, and perhaps what belongs to it; `look` tells how many bytes it took.
    pub(crate) async fn head<T>(
        &mut self,
        max: usize,
        within: Duration,
        mut look: impl FnMut(&[u8]) -> Option<(T, usize)>,
    ) -> Result<T, NoHead> {
        if !self.unread.is_empty()
            && let Some((seen, length)) = look(&self.unread)
        {
            self.take(length);
            return Ok(seen);
        }
        self.deadline = Some(Instant::now() + within);
        let seen = poll_fn(|cx| {
            loop {
                if let Poll::Ready(seen) = self.poll_head(cx, max, &mut look) {
                    match seen {
                        Ok(None) => continue,
                        Ok(Some(seen)) => return Poll::Ready(Ok(seen)),
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                return if self.is_late(cx) {
                    Poll::Ready(Err(if self.unread.is_empty() { NoHead::Idle } else { NoHead::Late }))
                } else {
                    Poll::Pending
                };
            }
        })
        .await;
        self.deadline = None;
        seen
    }

    /// Reads once. A head that is whole in one read, as nearly all are, is looked at where the thread has it.
    fn poll_head<T>(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        look: &mut impl FnMut(&[u8]) -> Option<(T, usize)>,
    ) -> Poll<Result<Option<T>, NoHead>> {
        let Self { socket, unread, .. } = self;
        with_scratch(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(socket).poll_read(cx, &mut buffer)).map(|()| buffer.filled());
            let Ok(bytes @ [_, ..]) = read else { return Poll::Ready(Err(NoHead::Gone)) };
            if unread.is_empty() {
                if let Some((seen, length)) = look(bytes) {
                    unread.extend_from_slice(&bytes[length..]);
                    return Poll::Ready(Ok(Some(seen)));
                }
                unread.extend_from_slice(bytes);
            } else {
                // Looked at again only when an empty line has come: a slow client costs no more than a fast one.
                let before = unread.len().saturating_sub(3);
                unread.extend_from_slice(bytes);
                if ends_head(&unread[before..])
                    && let Some((seen, length)) = look(unread)
                {
                    unread.advance(length);
                    return Poll::Ready(Ok(Some(seen)));
                }
            }
            Poll::Ready(if unread.len() > max { Err(NoHead::TooLong) } else { Ok(None) })
        })
    }

    /// Reads a body of so many bytes, which is not whole yet.
    pub(crate) async fn body(&mut self, length: usize, within: Duration) -> Result<Bytes, Incomplete> {
        self.deadline = Some(Instant::now() + within);
        let read = poll_fn(|cx| {
            while self.unread.len() < length {
                match self.poll_more(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(Err(Incomplete::Aborted)),
                    Poll::Pending if self.is_late(cx) => return Poll::Ready(Err(Incomplete::TooSlow)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        });
        read.await?;
        self.deadline = None;
        let body = Bytes::copy_from_slice(&self.unread[..length]);
        self.take(length);
        Ok(body)
    }

    /// Awaits `work` for as long as the client is there; `None` when it went away first.
    pub(crate) async fn watch<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            while self.unread.len() < AHEAD_BYTES_MAX {
                match self.poll_more(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(None),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Answers.
    pub(crate) async fn answer(&mut self, answer: &HttpAnswer, keeps_alive: bool) -> io::Result<()> {
        if answer.body.len() <= COPIED_BYTES_MAX {
            let mut bytes = answer.head(keeps_alive, answer.body.len());
            bytes.extend_from_slice(&answer.body);
            self.socket.write_all(&bytes).await?;
        } else {
            let mut both = Bytes::from(answer.head(keeps_alive, 0)).chain(answer.body.clone());
            self.socket.write_all_buf(&mut both).await?;
        }
        // What encrypts may have taken more than its socket.
        self.socket.flush().await
    }

    /// Says a last word, and ends the connection whether the client hears it or not.
    pub(crate) async fn end(mut self, bytes: &[u8]) {
        if self.socket.write_all(bytes).await.is_ok() {
            drop(self.socket.shutdown().await);
        }
    }

    /// Reads behind what was read; `false` at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Self { socket, unread, .. } = self;
        with_scratch(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            if ready!(Pin::new(socket).poll_read(cx, &mut buffer)).is_err() {
                return Poll::Ready(false);
            }
            unread.extend_from_slice(buffer.filled());
            Poll::Ready(!buffer.filled().is_empty())
        })
    }

    /// Whether the deadline is over; if not, whoever asks is woken then. The timer keeps this task's waker, so it is polled only after
    /// it was set.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let timer = match &mut self.timer {
            Some(timer) if timer.deadline() <= deadline && !timer.is_elapsed() => return false,
            Some(timer) => timer,
            none => none.insert(Box::pin(tokio::time::sleep_until(deadline))),
        };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).is_ready()
    }

    /// Takes bytes off, and lets go of the buffer with the last.
    fn take(&mut self, length: usize) {
        self.unread.advance(length);
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
    }
}
