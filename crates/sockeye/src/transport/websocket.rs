//! A WebSocket on a socket: bytes in through the decoder, frames out in one vectored write.
//!
//! Holds no read buffer while idle, and none for writing: what waits are the shared frames themselves.

use super::deflate::Deflate;
use super::with_scratch;
use crate::framing::Framing;
use crate::outgoing::Outgoing;
use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use sockeye_proto::ws::Decoder;
use sockeye_proto::ws::deflate::Answer;
use sockeye_proto::ws::encoder::close;
use sockeye_relay::Socket;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames of one vectored write; more than this many go out in several.
const SLICES_MAX: usize = 64;

/// How long a closing connection may take to end in order.
const FAREWELL: Duration = Duration::from_secs(5);

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

/// One WebSocket connection, server side.
pub(crate) struct WebSocket {
    io: Io,
    /// Bytes that were read from the socket and not decoded yet.
    read: Bytes,
    /// Makes messages of what was read.
    pub(crate) decoder: Decoder,
    /// What waits to be written.
    pub(crate) outbox: Outbox,
}

/// Messages that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
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

impl Io {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Raw(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Boxed(stream) => stream.as_mut().poll_read(cx, buffer),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, slices) {
            (Self::Raw(socket), [one]) => Pin::new(socket).poll_write(cx, one),
            (Self::Raw(socket), many) => Pin::new(socket).poll_write_vectored(cx, many),
            (Self::Boxed(stream), many) => stream.as_mut().poll_write_vectored(cx, many),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Raw(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Boxed(stream) => stream.as_mut().poll_shutdown(cx),
        }
    }
}

impl WebSocket {
    /// Takes over a stream whose handshake is done; `read` was read after it.
    pub(crate) fn new(io: Io, read: Bytes, max_payload: u32, framing: Framing) -> Self {
        let outbox = Outbox { framing, ..Outbox::default() };
        Self { io, read, decoder: Decoder::new(max_payload as usize), outbox }
    }

    /// Compresses from here on, as agreed upon, frames of `threshold` bytes and more.
    pub(crate) fn deflating(mut self, answer: Answer, threshold: usize) -> Self {
        self.decoder = self.decoder.with_deflate(&answer.agreement);
        self.outbox.deflate = Some(Box::new(Deflate::new(answer, threshold)));
        self
    }

    /// Reads into `buffer`. `Ok(0)`: the client ended the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.read.is_empty() {
            let length = self.read.len().min(buffer.len());
            self.read.split_to(length).copy_to_slice(&mut buffer[..length]);
            if self.read.is_empty() {
                self.read = Bytes::new();
            }
            return Poll::Ready(Ok(length));
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(self.io.poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Gives bytes back that were read too far.
    pub(crate) fn unread(&mut self, rest: &[u8]) {
        self.read = Bytes::copy_from_slice(rest);
    }

    /// Writes what waits. Ready when all is out.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outbox = &mut self.outbox;
        while !outbox.waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = outbox.slices(&mut slices);
            let written = ready!(self.io.poll_write(cx, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            outbox.advance(written);
        }
        if let Io::Boxed(stream) = &mut self.io {
            ready!(stream.as_mut().poll_flush(cx))?;
        }
        if outbox.end == End::Finishing {
            ready!(self.io.poll_shutdown(cx))?;
            outbox.end = End::Shut;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits, ends the sending side and reads on until the client ends too, all within [`FAREWELL`]: closing a
    /// socket with unread bytes would cut off what was sent.
    pub(crate) async fn farewell(mut self) {
        self.outbox.finish(&close(1000, ""));
        let end = async {
            poll_fn(|cx| self.poll_flush(cx)).await?;
            while poll_fn(|cx| with_scratch(|buffer| self.poll_read(cx, buffer))).await? > 0 {}
            io::Result::Ok(())
        };
        // Whatever happens, the connection ends here.
        drop(tokio::time::timeout(FAREWELL, end).await);
    }
}

impl Outbox {
    /// Queues a message behind what waits; after [`Outbox::finish`] it is dropped.
    pub(crate) fn queue(&mut self, message: &Arc<Outgoing>) {
        if self.end == End::Open {
            let message = message.framed(self.framing);
            self.waiting.push(match &mut self.deflate {
                None => message,
                Some(deflate) => deflate.compress(message),
            });
        }
    }

    /// Queues the close frame and lets the sending side end after it.
    pub(crate) fn finish(&mut self, close_frame: &[u8]) {
        if self.end == End::Open {
            self.waiting.push(Outgoing::raw(close_frame).shared());
            self.end = End::Finishing;
        }
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lays out what is not written yet, as far as there are slices.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
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
        count
    }

    /// Forgets messages that are out whole.
    fn advance(&mut self, written: usize) {
        self.written += written;
        let mut whole = 0;
        for message in &self.waiting {
            let length = message.frames().map(<[u8]>::len).sum();
            if self.written < length {
                break;
            }
            self.written -= length;
            whole += 1;
        }
        if whole == self.waiting.len() {
            self.waiting = SmallVec::new();
        } else {
            self.waiting.drain(..whole);
        }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}
