//! A POST of a polling client while its packets are taken.

use crate::transport::Reply;
use bytes::Bytes;

/// A POST that is being taken.
pub(super) struct Post {
    /// What is to be read yet, `None` at the end: after the last separator comes a packet, if an empty one.
    pub(super) rest: Option<Bytes>,
    pub(super) reply: Reply,
}
