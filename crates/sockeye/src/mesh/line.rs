//! What waits to be written to one member: frames, bounded in bytes.
//!
//! Whoever posts never waits; the task that writes takes all there is and gives it to the kernel in as few calls as it takes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;
use parking_lot::Mutex;
use sockeye_cluster::mesh::frame_header;
use tokio::net::UnixStream;
use tokio::sync::Notify;

/// Bytes that may wait for one member. A frame that would make it more cuts the member off; a single frame that is longer
/// than this passes when nothing waits before it.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;

/// Slices given to the kernel at once; Linux takes up to 1024. Two a frame.
const SLICES_MAX: usize = 512;

/// Frames whose place in the queue is kept while nothing waits.
const KEPT_MAX: usize = 64;

/// The frames for one member.
#[derive(Debug, Default)]
pub(super) struct Line {
    queue: Mutex<Queue>,
    bell: Notify,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// It will be written.
    Queued,
    /// It is longer than a frame may be, or the line has been closed.
    Dropped,
    /// Too much waits already: the line is to be given up.
    Overflow,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// Of the frames here and of those the writer has taken.
    bytes: usize,
    /// How many these are.
    unwritten: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// What waits is written, then the line ends.
    Finishing,
    /// Nothing more is written.
    Closed,
}

#[derive(Debug)]
struct Frame {
    header: [u8; 4],
    payload: Bytes,
}

impl Line {
    /// Adds a frame with this payload.
    pub(super) fn post(&self, payload: Bytes) -> Posted {
        let Ok(header) = frame_header(payload.len()) else { return Posted::Dropped };
        let frame = Frame { header, payload };
        let mut queue = self.queue.lock();
        if queue.state != State::Open {
            return Posted::Dropped;
        }
        if queue.bytes > 0 && queue.bytes + frame.len() > LINE_BYTES_MAX {
            return Posted::Overflow;
        }
        queue.bytes += frame.len();
        queue.unwritten += 1;
        queue.frames.push_back(frame);
        // The writer looks at the queue before it waits: only the first frame has to wake it.
        if queue.frames.len() == 1 {
            self.bell.notify_one();
        }
        Posted::Queued
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Ends the line once what waits is written.
    pub(super) fn finish(&self) {
        let mut queue = self.queue.lock();
        if queue.state == State::Open {
            queue.state = State::Finishing;
        }
        self.bell.notify_one();
    }

    /// Ends the line. How many frames were not written; told once.
    pub(super) fn close(&self) -> u64 {
        let mut queue = self.queue.lock();
        queue.state = State::Closed;
        queue.frames = VecDeque::new();
        self.bell.notify_one();
        std::mem::take(&mut queue.unwritten)
    }

    /// Writes what is posted until the line ends here, or the connection does. What the other side writes is not looked at.
    pub(super) async fn write_all(&self, stream: &UnixStream) -> io::Result<()> {
        let mut batch = Batch::default();
        while self.take(&mut batch) {
            if batch.frames.is_empty() {
                tokio::select! {
                    () = self.bell.notified() => {}
                    end = end_of(stream) => return end,
                }
            }
            while !batch.frames.is_empty() {
                match batch.write(stream) {
                    Ok((written, frames)) => {
                        let mut queue = self.queue.lock();
                        queue.bytes -= written;
                        queue.unwritten = queue.unwritten.saturating_sub(frames);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::select! {
                        ready = stream.writable() => ready?,
                        () = self.bell.notified() => if self.is_closed() { return Ok(()) },
                    },
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Moves what waits into an empty batch; `false`: the line ends.
    fn take(&self, batch: &mut Batch) -> bool {
        batch.frames.shrink_to(KEPT_MAX);
        let mut queue = self.queue.lock();
        std::mem::swap(&mut queue.frames, &mut batch.frames);
        match queue.state {
            State::Open => true,
            State::Finishing => !batch.frames.is_empty(),
            State::Closed => false,
        }
    }

    fn is_closed(&self) -> bool {
        self.queue.lock().state == State::Closed
    }
}

/// The frames that are being written.
#[derive(Debug, Default)]
struct Batch {
    frames: VecDeque<Frame>,
    /// How much of the first frame is written.
    written: usize,
}

impl Batch {
    /// Writes as much as the kernel takes in one call: so many bytes, and so many frames to their end.
    fn write(&mut self, stream: &UnixStream) -> io::Result<(usize, u64)> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut skip = self.written;
        for (pair, frame) in slices.chunks_exact_mut(2).zip(&self.frames) {
            let in_header = skip.min(frame.header.len());
            pair[0] = IoSlice::new(&frame.header[in_header..]);
            pair[1] = IoSlice::new(&frame.payload[skip - in_header..]);
            skip = 0;
        }
        let count = SLICES_MAX.min(self.frames.len() * 2);
        let written = stream.try_write_vectored(&slices[..count])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let frames = self.advance(written);
        Ok((written, frames))
    }

    fn advance(&mut self, written: usize) -> u64 {
        let mut frames = 0;
        self.written += written;
        while let Some(first) = self.frames.front()
            && self.written >= first.len()
        {
            self.written -= first.len();
            self.frames.pop_front();
            frames += 1;
        }
        frames
    }
}

impl Frame {
    fn len(&self) -> usize {
        self.header.len() + self.payload.len()
    }
}

/// Waits until the other side closes; bytes, which no member sends here, are thrown away.
async fn end_of(stream: &UnixStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match stream.try_read(&mut [0; 64]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}
