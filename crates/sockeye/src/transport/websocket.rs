//! A WebSocket on a socket: bytes in through the decoder, frames out through its [`Outlet`].
//!
//! Holds no read buffer while idle.

use super::deflate::Deflate;
use super::io::{Io, Reader};
use super::outlet::Outlet;
use super::with_scratch;
use crate::framing::Framing;
use bytes::{Buf, Bytes};
use sockeye_proto::ws::Decoder;
use sockeye_proto::ws::Opcode;
use sockeye_proto::ws::deflate::Answer;
use sockeye_proto::ws::encoder::frame;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;

/// How long a closing connection may take to end in order.
const FAREWELL: Duration = Duration::from_secs(5);

/// One WebSocket connection, server side.
pub(crate) struct WebSocket {
    reader: Reader,
    /// Bytes that were read from the socket and not decoded yet.
    read: Bytes,
    /// Makes messages of what was read.
    pub(crate) decoder: Decoder,
    /// The sending side.
    pub(crate) outlet: Arc<Outlet>,
}

impl WebSocket {
    /// Takes over a stream whose handshake is done; `read` was read after it.
    pub(crate) fn new(io: Io, read: Bytes, max_payload: u32, framing: Framing) -> Self {
        let (reader, writer) = io.split();
        let outlet = Arc::new(Outlet::new(writer, framing));
        Self { reader, read, decoder: Decoder::new(max_payload as usize), outlet }
    }

    /// Compresses from here on, as agreed upon, frames of `threshold` bytes and more.
    pub(crate) fn deflating(mut self, answer: Answer, threshold: usize) -> Self {
        self.decoder = self.decoder.with_deflate(&answer.agreement);
        self.outlet.deflate(Deflate::new(answer, threshold));
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
        ready!(self.reader.poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Gives bytes back that were read too far.
    pub(crate) fn unread(&mut self, rest: &[u8]) {
        self.read = Bytes::copy_from_slice(rest);
    }

    /// Writes what waits. Ready when all is out.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outlet.poll_flush(&mut self.reader, cx)
    }

    /// Sends what waits, ends the sending side and reads on until the client ends too, all within [`FAREWELL`]: closing a
    /// socket with unread bytes would cut off what was sent.
    pub(crate) async fn farewell(mut self) {
        // Without a code, as officially: the client's is 1005 then.
        self.outlet.finish(&frame(Opcode::Close, &[]));
        let end = async {
            poll_fn(|cx| self.poll_flush(cx)).await?;
            while poll_fn(|cx| with_scratch(|buffer| self.poll_read(cx, buffer))).await? > 0 {}
            io::Result::Ok(())
        };
        // Whatever happens, the connection ends here.
        drop(tokio::time::timeout(FAREWELL, end).await);
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("outlet", &self.outlet).finish_non_exhaustive()
    }
}
