//! Reads what one member sends, in its order; between frames it holds no buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use sockeye_cluster::mesh::{Conn, FrameDecoder, Spoken, WORD_TYPES};
use sockeye_cluster::wire::{self, Malformed};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::UnixStream;

use super::shared::Shared;
use super::turn::Decoded;

/// Bytes read at once, of the buffer that the readers of a thread share.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Reads an accepted connection to its end, which it reports however it comes.
pub(super) async fn run(shared: Arc<Shared>, conn: Conn, mut stream: UnixStream) {
    let connection = Connection { shared, conn };
    let mut decoder = FrameDecoder::default();
    loop {
        match poll_fn(|cx| poll_frames(&mut stream, &mut decoder, cx)).await {
            Ok(Some(frames)) => connection.take(frames),
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "a mesh connection broke");
                return;
            }
        }
    }
}

/// An accepted connection, whose end is reported by its drop.
struct Connection {
    shared: Arc<Shared>,
    conn: Conn,
}

impl Connection {
    /// Decoding and delivering happen outside the lock: others publish meanwhile.
    fn take(&self, frames: Vec<Bytes>) {
        let ((), turn) = self.shared.turn(|machines| machines.arrived(self.conn, frames));
        if turn.received.is_empty() {
            return;
        }
        let mut malformed = 0;
        let mut decoded = Vec::with_capacity(turn.received.len());
        for frame in &turn.received {
            match decode(frame) {
                Ok(frame) => decoded.push(frame),
                Err(error) => {
                    malformed += 1;
                    tracing::debug!(%error, "a mesh frame is no message");
                }
            }
        }
        let ((), turn) = self.shared.turn(|machines| machines.decoded(decoded, malformed));
        self.shared.deliver(turn.deliveries);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.turn(|machines| machines.incoming_lost(self.conn));
    }
}

fn decode(frame: &Bytes) -> Result<Decoded, Malformed> {
    match wire::decode(frame) {
        Ok(envelope) => Ok(Decoded::Message(envelope)),
        Err(Malformed::Type(number)) if WORD_TYPES.contains(&number) => {
            Spoken::decode(frame).map(Decoded::Word)
        }
        Err(error) => Err(error),
    }
}

/// The frames that one read completes; `None`: the end.
fn poll_frames(
    stream: &mut UnixStream,
    decoder: &mut FrameDecoder,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Option<Vec<Bytes>>>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let mut input = buffer.filled();
        if input.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let mut frames = Vec::new();
        while let Some(frame) = decoder.decode(&mut input).map_err(io::Error::other)? {
            frames.push(frame);
        }
        Poll::Ready(Ok(Some(frames)))
    })
}
