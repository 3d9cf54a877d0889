//! A POST of a polling client, from its head to its answer.

use crate::core::Core;
use crate::delivery::{Control, Mailbox};
use crate::http_answer::HttpAnswer;
use crate::limit::Limit;
use crate::line::Incomplete;
use crate::transport::{Answer, PostRequest, Reply};
use bytes::Bytes;
use http::StatusCode;
use sockeye_proto::engine::Protocol;
use std::sync::Arc;

/// Engine.IO v4: the packet with which a client ends its session, as the whole body of a POST.
const CLOSE_PACKET: &[u8] = b"1";

/// The same in v3.
const CLOSE_PACKET_V3: &[u8] = b"1:1";

/// A POST that is being read or handled. However it ends, the next one may come; a client that went away in the middle ends
/// its session: it would never learn what was taken.
pub(crate) struct Posting {
    mailbox: Arc<Mailbox>,
    /// Whether its body says to be bytes.
    binary: bool,
    over: bool,
}

impl Posting {
    /// Begins one; `None` where the transport does not allow it, and then the session ends.
    pub(crate) fn begin(mailbox: Arc<Mailbox>, binary: bool) -> Option<Self> {
        if (binary && mailbox.protocol() == Protocol::V4) || !mailbox.begin_post() {
            // The session ends either way, so nobody waits for its answer.
            drop(mailbox.control(Control::BadRequest));
            return None;
        }
        Some(Self { mailbox, binary, over: false })
    }

    /// Hands the body to the session and waits for what it says; `None`: it ended without a word.
    ///
    /// # Errors
    /// The answer where there is no body to hand over.
    pub(crate) async fn hand_over(
        mut self,
        core: &Core,
        body: Result<Bytes, Incomplete>,
    ) -> Result<Option<Answer>, HttpAnswer> {
        let body = match body {
            Ok(body) => body,
            Err(Incomplete::TooSlow) => {
                core.counters.count_limit(Limit::BodyTimeout);
                return Err(HttpAnswer::status(StatusCode::REQUEST_TIMEOUT));
            }
            Err(Incomplete::TooLarge) => {
                self.over = true;
                core.counters.count_limit(Limit::MaxPayload);
                return Err(HttpAnswer::status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            Err(Incomplete::Aborted) => return Err(HttpAnswer::status(StatusCode::BAD_REQUEST)),
        };
        if *body == *CLOSE_PACKET || *body == *CLOSE_PACKET_V3 {
            // A poll that was sent before the farewell, on a connection of its own, is to be answered and not refused: it gets
            // one turn of the scheduler.
            tokio::task::yield_now().await;
        }
        let (reply, answer) = Reply::new();
        let request = PostRequest { body, binary: self.binary, reply };
        let answer = match self.mailbox.control(Control::Post(request)) {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        self.over = true;
        Ok(answer)
    }
}

impl Drop for Posting {
    fn drop(&mut self) {
        self.mailbox.end_post();
        if !self.over {
            // A session that is gone needs no end.
            drop(self.mailbox.control(Control::BadRequest));
        }
    }
}
