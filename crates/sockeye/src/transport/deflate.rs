//! What a WebSocket does to messages on their way out where compression is agreed upon.

use crate::outgoing::Outgoing;
use sockeye_proto::ws::deflate::{Answer, Compressor, Deflater, Lease, Window};
use std::cell::RefCell;
use std::sync::Arc;

/// Bytes of the longest frame that is compressed; a longer one goes out as it is: compressing holds up whoever shares the thread, for
/// 1.7 ms (JSON) to 3.6 ms (noise) at this length.
const DEFLATE_BYTES_MAX: usize = 256 << 10;

thread_local! {
    /// Empty until the thread compresses for the first time.
    static COMPRESSOR: RefCell<Compressor> = const { RefCell::new(Compressor::new()) };
}

/// The compressing side of one connection.
#[derive(Debug)]
pub(crate) struct Deflate {
    threshold: usize,
    context: Context,
    /// What the connection keeps between messages; given back with it.
    _lease: Option<Lease>,
}

/// What a message may refer to.
#[derive(Debug)]
enum Context {
    /// Itself: the frame is the same for every client with this window.
    Message(Window),
    /// Earlier messages of the connection.
    Connection(Deflater),
}

impl Deflate {
    /// Does as agreed upon.
    pub(crate) fn new(answer: Answer, threshold: usize) -> Self {
        let context = match answer.agreement.shared_window() {
            Some(window) => Context::Message(window),
            None => Context::Connection(Deflater::new(answer.agreement.server_max_window_bits)),
        };
        Self { threshold, context, _lease: answer.lease }
    }

    /// The message as it goes out: itself where it is not to be compressed.
    pub(crate) fn compress(&mut self, message: Arc<Outgoing>) -> Arc<Outgoing> {
        let sizes = self.threshold..=DEFLATE_BYTES_MAX;
        if !message.is_worth_deflating(&sizes) {
            return message;
        }
        match &mut self.context {
            Context::Message(window) => message.deflated_for_all(*window, &sizes, |payload, out| {
                COMPRESSOR.with_borrow_mut(|compressor| compressor.deflate(payload, *window, out));
            }),
            Context::Connection(deflater) => {
                message.deflated(&sizes, |payload, out| deflater.deflate(payload, out)).shared()
            }
        }
    }
}
