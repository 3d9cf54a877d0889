//! Where a request for Engine.IO belongs: the checks of the official server, in its order, and the owner of a session.

use crate::caller::Way;
use crate::core::Core;
use crate::delivery::Mailbox;
use crate::stranger::Cause;
use sockeye_proto::engine::query::{Protocol, Query, Session};
use sockeye_proto::engine::{Refusal, Transport};
use sockeye_relay::Address;
use std::sync::Arc;
use std::time::Instant;

/// What a request is.
#[derive(Debug)]
pub(crate) enum Route {
    /// It opens a session.
    Open(Transport, Query),
    /// It belongs to a session of this node.
    Session(Arc<Mailbox>, Query),
    /// It belongs to a session of another node.
    Elsewhere(Address),
    /// It is refused, in the official words.
    Refused(Refusal),
}

/// What of a request decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// The query, without `?`.
    pub(crate) query: &'a str,
    /// Whether it is a WebSocket handshake.
    pub(crate) upgrade: bool,
    /// Whether another node sent it here; such a request is never sent on.
    pub(crate) relayed: bool,
}

impl Core {
    /// Finds where a request belongs. As engine.io, `Server.verify`.
    pub(crate) fn route(&self, ask: Ask<'_>) -> Route {
        let query = Query::parse(ask.query);
        let Some(transport) = query.transport else { return Route::Refused(Refusal::UnknownTransport) };
        if !self.config.transports.contains(&transport) {
            return Route::Refused(Refusal::UnknownTransport);
        }
        match query.session {
            Session::None => self.route_handshake(ask, query, transport),
            Session::Foreign => self.unknown(Cause::Foreign),
            Session::Named(sid) if sid.tag() != self.tag => {
                let owner = self.owner(sid.tag());
                match owner {
                    Some(owner) if !ask.relayed => Route::Elsewhere(owner),
                    Some(_) | None => self.unknown(Cause::NoOwner),
                }
            }
            Session::Named(sid) => match self.session(sid) {
                None => self.unknown(Cause::Ended),
                Some(mailbox) => {
                    let current =
                        if mailbox.is_polling() { Transport::Polling } else { Transport::WebSocket };
                    let fits = ask.upgrade || current == transport;
                    // engine.io 6.6.10 calls another version a `PROTOCOL_MISMATCH`.
                    if fits && query.protocol == mailbox.protocol() {
                        Route::Session(mailbox, query)
                    } else {
                        Route::Refused(Refusal::BadRequest)
                    }
                }
            },
        }
    }

    /// Counts a handshake that an edge sent here, whatever becomes of it: the edge counted it, too.
    pub(crate) fn count_arrival_of(&self, ask: Ask<'_>, way: Way) {
        if way != Way::Edge || ask.method != "GET" {
            return;
        }
        let query = Query::parse(ask.query);
        if query.transport.is_some() && query.session == Session::None {
            self.count_arrival();
        }
    }

    /// Whether clients of that version are served; looked at when a program was asked whether they may come.
    pub(crate) fn serves(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::V3 => self.config.allow_eio3,
            Protocol::V4 => true,
        }
    }

    fn unknown(&self, cause: Cause) -> Route {
        self.strangers.note(cause, Instant::now());
        Route::Refused(Refusal::UnknownSid)
    }

    fn route_handshake(&self, ask: Ask<'_>, query: Query, transport: Transport) -> Route {
        if ask.method != "GET" {
            return Route::Refused(Refusal::BadHandshakeMethod);
        }
        // A WebSocket for `transport=polling` is opened, and closed at once: as engine.io, `onWebSocket`.
        if transport == Transport::WebSocket && !ask.upgrade {
            return Route::Refused(Refusal::BadRequest);
        }
        Route::Open(transport, query)
    }
}
