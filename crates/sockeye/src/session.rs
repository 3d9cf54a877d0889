//! How a session begins, on either transport.

use crate::connection::Connection;
use crate::core::Core;
use crate::delivery::{Control, Mailbox};
use crate::framing::Framing;
use crate::handshake::Handshake;
use crate::outgoing::Outgoing;
use crate::redacted::Redacted;
use crate::seat::Seat;
use crate::transport::{Answer, Format, Io, WebSocket};
use bytes::Bytes;
use sockeye_proto::engine::{Open, Protocol, Query, Transport};
use sockeye_proto::sid::Sid;
use sockeye_proto::ws::Opcode;
use sockeye_proto::ws::encoder::frame;
use std::sync::Arc;
use tracing::{Instrument, Span, debug_span};

/// A session that is listed and waits for its task.
pub(crate) struct Opening {
    sid: Sid,
    mailbox: Arc<Mailbox>,
    seat: Seat,
}

impl Core {
    /// Lists a new session; `None` when the server is closing.
    pub(crate) fn open(&self, protocol: Protocol, transport: Transport, seat: Seat) -> Option<Opening> {
        let sid = self.new_sid();
        let mailbox = Mailbox::new(self.config.mailbox_bytes_max, protocol, transport);
        self.open_session(sid, &mailbox).then_some(Opening { sid, mailbox, seat })
    }

    /// The `open` packet: the body of the handshake's answer, or the first frame.
    pub(crate) fn open_packet(&self, opening: &Opening, transport: Transport) -> String {
        let upgrades: &[Transport] = match transport {
            Transport::Polling if self.config.allow_upgrades => &[Transport::WebSocket],
            Transport::Polling | Transport::WebSocket => &[],
        };
        let open = Open {
            sid: opening.sid,
            upgrades,
            ping_interval: self.config.ping_interval,
            ping_timeout: self.config.ping_timeout,
            max_payload: self.config.max_payload as usize,
        };
        format!("0{}", open.json())
    }
}

impl Opening {
    /// Starts the task of a polling session and answers its handshake. The task ends with the session, and a panic ends the
    /// session.
    pub(crate) fn start_polling(self, core: &Arc<Core>, query: &Query, handshake: Handshake) -> Answer {
        let format = Format::of(query);
        let answer = format.write(Some(&core.open_packet(&self, Transport::Polling)), &[]);
        let span = self.span();
        let connection = Connection::polling(core, self.sid, self.mailbox, handshake, self.seat, format);
        tokio::spawn(connection.instrument(span));
        answer
    }

    /// What a handler logs bears the session's id, as far as it may be shown.
    fn span(&self) -> Span {
        debug_span!("connection", sid = %Redacted(self.sid))
    }
}

/// Opens a session on a WebSocket and starts its task; `head` is what still has to be written before the first frame.
pub(crate) fn start_websocket(
    core: &Arc<Core>,
    io: Io,
    read: Bytes,
    head: Option<Vec<u8>>,
    query: &Query,
    handshake: Handshake,
    seat: Seat,
) {
    let mut websocket = WebSocket::new(io, read, core.config.max_payload, Framing::of(query));
    if let Some(head) = head {
        websocket.outbox.queue(&Outgoing::raw(head).shared());
    }
    let Some(opening) = core.open(query.protocol, Transport::WebSocket, seat) else {
        core.farewell(websocket);
        return;
    };
    let packet = core.open_packet(&opening, Transport::WebSocket);
    websocket.outbox.queue(&Outgoing::raw(frame(Opcode::Text, packet.as_bytes())).shared());
    let span = opening.span();
    let Opening { sid, mailbox, seat } = opening;
    let connection = Connection::websocket(core, sid, mailbox, handshake, seat, websocket);
    tokio::spawn(connection.instrument(span));
}

/// Hands a WebSocket to the session whose id it came with; where the session is gone it is closed.
pub(crate) fn start_probe(
    core: &Arc<Core>,
    mailbox: &Mailbox,
    io: Io,
    read: Bytes,
    head: Option<Vec<u8>>,
    query: &Query,
) {
    let mut websocket = WebSocket::new(io, read, core.config.max_payload, Framing::of(query));
    if let Some(head) = head {
        websocket.outbox.queue(&Outgoing::raw(head).shared());
    }
    if let Err(control) = mailbox.control(Control::Probe(websocket))
        && let Control::Probe(websocket) = *control
    {
        core.farewell(websocket);
    }
}
