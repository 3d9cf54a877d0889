//! The access log: a line for each request that was answered, and for each connection that was handed over.
//!
//! Whoever answers a request leaves an entry and goes on; a thread writes. Where it cannot keep up, entries are dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sockeye_proto::Tag;
use sockeye_relay::{Body, BoxError};
use tracing::warn;

use crate::access_line::Line;
use crate::config::{AccessLog, ConfigError, LogFormat};
use crate::stats::Counter;

/// The way to the writer, which ends when this is dropped and it has written what was left.
pub(crate) struct Log {
    queue: SyncSender<(Line, SystemTime)>,
    dropped: Arc<Counter>,
}

/// One request under way.
pub(crate) struct Entry {
    log: Arc<Log>,
    line: Line,
    since: Instant,
}

impl Log {
    /// Opens the file, to append to it, and starts its writer. `dropped` counts what the writer could not take.
    pub(crate) fn open(config: &AccessLog, dropped: &Arc<Counter>) -> Result<Arc<Self>, ConfigError> {
        let failed = |source| ConfigError::AccessLog {
            path: config.path.clone().unwrap_or_else(|| "standard output".into()),
            source,
        };
        let target = match &config.path {
            Some(path) => {
                Target::File(OpenOptions::new().create(true).append(true).open(path).map_err(failed)?)
            }
            None => Target::Out,
        };
        let (queue, lines) = sync_channel(QUEUE_LINES_MAX);
        let format = config.format;
        // Ends with the queue: nobody waits for it, and a panic of its own ends the log alone.
        let writer = std::thread::Builder::new().name("access-log".to_owned());
        writer.spawn(move || write(&lines, target, format)).map_err(failed)?;
        Ok(Arc::new(Self { queue, dropped: Arc::clone(dropped) }))
    }

    /// Begins an entry, whose time is counted from here.
    pub(crate) fn begin(self: &Arc<Self>, line: Line) -> Entry {
        Entry { log: Arc::clone(self), line, since: Instant::now() }
    }
}

impl Entry {
    /// Says who answered, and with what.
    pub(crate) fn answered(&mut self, status: u16, upstream: Option<&str>) {
        self.line.status = status;
        self.line.upstream = upstream.map(str::to_owned);
    }

    /// The request began a session; the line has its tag, as those of its later requests.
    pub(crate) fn began(&mut self, tag: Option<Tag>) {
        if self.line.tag.is_none() {
            self.line.tag = tag.map(|tag| tag.to_string());
        }
    }

    /// Writes the line once the answer's body has gone, or broken off.
    pub(crate) fn with(self, body: Body) -> Body {
        Body::new(Counted { body, entry: Some(self), bytes: 0 })
    }

    /// Writes the line.
    pub(crate) fn end(mut self, bytes: u64) {
        self.line.bytes = bytes;
        self.line.time = self.since.elapsed();
        match self.log.queue.try_send((self.line, SystemTime::now())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.log.dropped.add(),
        }
    }
}

/// A body on its way, counted.
struct Counted {
    body: Body,
    entry: Option<Entry>,
    bytes: u64,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry.end(self.bytes);
        }
    }
}

enum Target {
    File(File),
    Out,
}

/// The writer's thread: lines are gathered while there are any, and written when there are none for a moment.
fn write(lines: &Receiver<(Line, SystemTime)>, mut target: Target, format: LogFormat) {
    let mut text = String::new();
    let mut well = true;
    loop {
        let ended = match lines.recv_timeout(if text.is_empty() { REST } else { Duration::ZERO }) {
            Ok((line, at)) => {
                match format {
                    LogFormat::Combined => line.combined(at, &mut text),
                    LogFormat::Json => line.json(at, &mut text),
                }
                if text.len() < BATCH_BYTES {
                    continue;
                }
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let written = match &mut target {
            Target::File(file) => file.write_all(text.as_bytes()),
            Target::Out => io::stdout().lock().write_all(text.as_bytes()),
        };
        if let Err(error) = &written
            && well
        {
            warn!(%error, "cannot write the access log");
        }
        well = written.is_ok();
        text.clear();
        if ended {
            return;
        }
    }
}

/// How many lines may wait for the writer; one more is dropped. About 1 KiB each.
const QUEUE_LINES_MAX: usize = 4096;
/// How much is written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// How long the writer sleeps at most; a line wakes it.
const REST: Duration = Duration::from_secs(60);
