//! The body of a relayed request or response, whatever it came from.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use parking_lot::Mutex;

/// Any error, as bodies report them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body on its way through: streamed, never collected.
///
/// The body of a relayed response drives the upstream's connection itself: dropping it half read closes that connection, and reading it
/// to the end puts the connection back among the idle ones.
pub struct Body(Kind);

enum Kind {
    Empty,
    Full(Bytes),
    Incoming(Incoming),
    /// The mutex makes a body `Sync`, as errors that hold one must be; nobody contends for it.
    Boxed(Mutex<UnsyncBoxBody<Bytes, BoxError>>),
}

impl Body {
    /// Wraps any body. An empty one, hyper's own and a `Body` cost no allocation.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut body = Some(body);
        let any: &mut dyn Any = &mut body;
        if let Some(ours) = any.downcast_mut::<Option<Self>>().and_then(Option::take) {
            return ours;
        }
        if let Some(incoming) = any.downcast_mut::<Option<Incoming>>().and_then(Option::take) {
            return Self::from(incoming);
        }
        match body {
            Some(body) if !body.is_end_stream() => {
                Self(Kind::Boxed(Mutex::new(body.map_err(Into::into).boxed_unsync())))
            }
            Some(_) | None => Self::empty(),
        }
    }

    /// A body without a byte.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A body that is all there.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Full(bytes)) }
    }

    /// Whether there is nothing to send, so that a request can be repeated.
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Kind::Boxed(body) => Pin::new(body.get_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Incoming(incoming) => incoming.is_end_stream(),
            Kind::Boxed(body) => body.lock().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Incoming(incoming) => incoming.size_hint(),
            Kind::Boxed(body) => body.lock().size_hint(),
        }
    }
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        if incoming.is_end_stream() { Self::empty() } else { Self(Kind::Incoming(incoming)) }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.size_hint()).finish()
    }
}
