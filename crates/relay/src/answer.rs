//! The body of an upstream's response, with the connection that it comes from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::idle::Slot;
use crate::lane::Lane;

/// The rest of a response. It drives its lane: dropped half read it closes the lane, read to the end it puts the lane to rest.
pub(crate) struct Answer {
    incoming: Incoming,
    /// Whence it comes, and where that rests; absent once it has come to its end.
    lane: Option<(Box<Lane>, Arc<Slot>)>,
    /// Why it broke off, told at the next poll: what came before is on its way by then.
    broken: Option<hyper::Error>,
}

impl Answer {
    /// The body of a response that came by `lane`, which is to rest in `slot`.
    pub(crate) const fn new(incoming: Incoming, lane: Box<Lane>, slot: Arc<Slot>) -> Self {
        Self { incoming, lane: Some((lane, slot)), broken: None }
    }

    fn release(&mut self) {
        if let Some((lane, slot)) = self.lane.take() {
            slot.rest(lane);
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    /// Reads on; where nothing is there yet, drives the connection and looks once more.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        let mut polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if polled.is_pending()
            && let Some((lane, _)) = &mut self.lane
        {
            lane.drive(cx);
            polled = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        match polled {
            Poll::Ready(Some(Err(broken))) => {
                // A server that hears of the end drops what it has not flushed: it flushes while it waits.
                self.lane = None;
                self.broken = Some(broken);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(None) => self.release(),
            Poll::Ready(Some(Ok(_))) if self.incoming.is_end_stream() => self.release(),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
