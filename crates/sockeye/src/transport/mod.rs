//! The two ways on which a session's bytes travel: requests that poll, and a WebSocket.
//!
//! Nothing here decides: sessions and packets are `sockeye_proto`'s business.

mod deflate;
mod io;
mod outlet;
mod polling;
mod scratch;
mod websocket;

pub(crate) use io::Io;
pub(crate) use outlet::{Flushed, Outlet};
pub(crate) use polling::{Answer, Format, PollRequest, Polling, PostRequest, Reply};
pub(crate) use scratch::with_scratch;
pub(crate) use websocket::WebSocket;
