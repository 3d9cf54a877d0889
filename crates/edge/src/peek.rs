//! A look at the front of an answer's body, which goes on to the client whole.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use sockeye_relay::{Body, BoxError};

/// Reads the front of a body, at most [`PEEKED_BYTES_MAX`] bytes and what came with them, and puts it back.
pub(crate) async fn front(response: Response<Body>) -> (Response<Body>, Vec<u8>) {
    let (parts, mut body) = response.into_parts();
    let mut frames = VecDeque::new();
    let mut seen = Vec::new();
    while seen.len() < PEEKED_BYTES_MAX && !body.is_end_stream() {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    seen.extend_from_slice(&data[..data.len().min(PEEKED_BYTES_MAX - seen.len())]);
                }
                frames.push_back(Ok(frame));
            }
            Some(Err(error)) => {
                frames.push_back(Err(error));
                break;
            }
            None => break,
        }
    }
    let body = match (frames.len(), body.is_end_stream()) {
        (0, true) => body,
        // All of it, in one piece, as it mostly is.
        (1, true) if matches!(&frames[0], Ok(frame) if frame.is_data()) => {
            let whole = frames.pop_front().and_then(Result::ok).and_then(|frame| frame.into_data().ok());
            Body::full(whole.unwrap_or_default())
        }
        _ => Body::new(Peeked { frames, rest: body }),
    };
    (Response::from_parts(parts, body), seen)
}

/// Tells whether a refusal is the official one of a session that its server does not have.
pub(crate) async fn is_unknown_sid(response: Response<Body>) -> (Response<Body>, bool) {
    let (response, seen) = front(response).await;
    let unknown = memchr::memmem::find(&seen, b"Session ID unknown").is_some();
    (response, unknown)
}

/// A body whose front was read.
struct Peeked {
    frames: VecDeque<Result<Frame<Bytes>, BoxError>>,
    rest: Body,
}

impl http_body::Body for Peeked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let peeked: usize = self.frames.iter().flatten().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let mut hint = self.rest.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + peeked as u64);
        }
        hint.set_lower(hint.lower() + peeked as u64);
        hint
    }
}

/// A handshake's answer is smaller, and so is a refusal.
const PEEKED_BYTES_MAX: usize = 2048;
