//! The sending side of a WebSocket: frames that wait, and the socket that takes them in one vectored write.
//!
//! Under a lock of its own, so that it can be written to without waking the connection's task: see `delivery::Carrier`. No buffer:
//! what waits are the shared frames themselves.

use super::deflate::Deflate;
use super::io::{Reader, Writer};
use crate::framing::Framing;
use crate::outgoing::Outgoing;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Frames of one vectored write; more than this many go out in several.
const SLICES_MAX: usize = 64;

/// The sending side of one WebSocket.
#[derive(Debug)]
pub(crate) struct Outlet(Mutex<Sending>);

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct Sending {
    outbox: Outbox,
    /// `None` where only the connection's task can write.
    writer: Option<Writer>,
    /// A stream without a writer of its own has to be flushed.
    dirty: bool,
    /// A write failed; the connection's task has to hear of it.
    failed: bool,
}

/// How writing without waiting came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All is out.
    Whole,
    /// The connection's task has to go on: the socket takes no more for now, or failed.
    Stuck,
}

/// Messages that wait to be written.
#[derive(Debug, Default)]
struct Outbox {
    waiting: SmallVec<[Arc<Outgoing>; 2]>,
    /// How many of their bytes are out.
    written: usize,
    end: End,
    /// How the client takes bytes.
    framing: Framing,
    /// How messages are compressed, if they are.
    deflate: Option<Box<Deflate>>,
}

/// How far the sending side has ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// After the last frame the sending side is shut down.
    Finishing,
    Shut,
}

impl Outlet {
    pub(super) fn new(writer: Option<Writer>, framing: Framing) -> Self {
        let outbox = Outbox { framing, ..Outbox::default() };
        Self(Mutex::new(Sending { outbox, writer, dirty: false, failed: false }))
    }

    pub(super) fn deflate(&self, deflate: Deflate) {
        self.lock().outbox.deflate = Some(Box::new(deflate));
    }

    /// Queues a message behind what waits; after [`Outlet::finish`] it is dropped.
    pub(crate) fn queue(&self, message: &Arc<Outgoing>) {
        self.lock().queue(Arc::clone(message));
    }

    /// Queues the close frame and lets the sending side end after it.
    pub(crate) fn finish(&self, close_frame: &[u8]) {
        let mut sending = self.lock();
        if sending.outbox.end == End::Open {
            sending.outbox.waiting.push(Outgoing::raw(close_frame).shared());
            sending.outbox.end = End::Finishing;
        }
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether it can be written to without the connection's task.
    pub(crate) fn is_direct(&self) -> bool {
        self.lock().writer.is_some()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Sending> {
        self.0.lock()
    }

    /// `None` while somebody else is at it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Sending>> {
        self.0.try_lock()
    }

    /// Writes what waits, to `reader` where that is the whole stream. Ready when all is out.
    pub(super) fn poll_flush(&self, reader: &mut Reader, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sending = self.lock();
        let Sending { outbox, writer, dirty, failed } = &mut *sending;
        if *failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        match (writer, reader) {
            (Some(writer), _) => {
                while !outbox.waiting.is_empty() {
                    let written = ready!(outbox.with_slices(|slices| writer.poll_write(cx, slices)))?;
                    outbox.advance(written)?;
                }
                if outbox.end == End::Finishing {
                    ready!(writer.poll_shutdown(cx))?;
                    outbox.end = End::Shut;
                }
            }
            (None, Reader::Boxed(stream)) => {
                *dirty = true;
                while !outbox.waiting.is_empty() {
                    let stream = stream.as_mut();
                    let written =
                        ready!(outbox.with_slices(|slices| stream.poll_write_vectored(cx, slices)))?;
                    outbox.advance(written)?;
                }
                ready!(stream.as_mut().poll_flush(cx))?;
                *dirty = false;
                if outbox.end == End::Finishing {
                    ready!(stream.as_mut().poll_shutdown(cx))?;
                    outbox.end = End::Shut;
                }
            }
            // A plain socket has its writer for as long as it has a reader.
            (None, _) => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl Sending {
    /// Queues a message behind what waits; after the close frame it is dropped.
    pub(crate) fn queue(&mut self, message: Arc<Outgoing>) {
        let outbox = &mut self.outbox;
        if outbox.end == End::Open {
            let message = message.framed(outbox.framing);
            outbox.waiting.push(match &mut outbox.deflate {
                None => message,
                Some(deflate) => deflate.compress(message),
            });
        }
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.outbox.waiting.is_empty()
    }

    /// Writes what the socket takes at once.
    pub(crate) fn try_flush(&mut self) -> Flushed {
        if self.failed || self.dirty || self.outbox.end != End::Open {
            return Flushed::Stuck;
        }
        let Some(writer) = &self.writer else {
            return if self.is_empty() { Flushed::Whole } else { Flushed::Stuck };
        };
        while !self.outbox.waiting.is_empty() {
            let written = self.outbox.with_slices(|slices| writer.try_write(slices));
            match written.and_then(|written| self.outbox.advance(written)) {
                Ok(()) => {}
                Err(error) => {
                    self.failed = error.kind() != io::ErrorKind::WouldBlock;
                    return Flushed::Stuck;
                }
            }
        }
        Flushed::Whole
    }
}

impl Outbox {
    /// Lays out what is not written yet, as far as there are slices.
    fn with_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        // Nearly always it is one frame: no table then.
        if let [message] = &self.waiting[..]
            && let Some(frame) = message.only_frame()
        {
            return write(&[IoSlice::new(&frame[self.written..])]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut skip = self.written;
        let mut count = 0;
        for frame in self.waiting.iter().flat_map(|message| message.frames()) {
            if skip >= frame.len() {
                skip -= frame.len();
                continue;
            }
            let Some(slice) = slices.get_mut(count) else { break };
            *slice = IoSlice::new(&frame[skip..]);
            skip = 0;
            count += 1;
        }
        write(&slices[..count])
    }

    /// Forgets messages that are out whole.
    fn advance(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written += written;
        let mut whole = 0;
        for message in &self.waiting {
            let length = message.len();
            if self.written < length {
                break;
            }
            self.written -= length;
            whole += 1;
        }
        if whole < self.waiting.len() {
            self.waiting.drain(..whole);
        } else if self.waiting.spilled() {
            self.waiting = SmallVec::new();
        } else {
            self.waiting.clear();
        }
        Ok(())
    }
}
