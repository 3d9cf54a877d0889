//! How a session begins, on either transport.

use crate::connection::Connection;
use crate::core::Core;
use crate::delivery::{Control, Mailbox};
use crate::framing::Framing;
use crate::handshake::Handshake;
use crate::outgoing::Outgoing;
use crate::redacted::Redacted;
use crate::seat::Seat;
use crate::transport::{self, Format, Io, WebSocket};
use bytes::Bytes;
use sockeye_proto::engine::{Open, Protocol, Query, Transport};
use sockeye_proto::sid::Sid;
use sockeye_proto::ws::Opcode;
use sockeye_proto::ws::deflate::Answer;
use sockeye_proto::ws::encoder::frame;
use std::sync::Arc;
use tracing::{Span, debug_span};

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
        let mailbox =
            Mailbox::new(self.config.mailbox_bytes_max, self.config.mailbox_excess, protocol, transport);
        self.open_session(sid, &mailbox).then_some(Opening { sid, mailbox, seat })
    }

    /// The `open` packet: the body of the handshake's answer, or the first frame.
    pub(crate) fn open_packet(&self, opening: &Opening, transport: Transport) -> String {
        let offers = self.config.allow_upgrades && self.config.transports.contains(&Transport::WebSocket);
        let upgrades: &[Transport] = match transport {
            Transport::Polling if offers => &[Transport::WebSocket],
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

/// A WebSocket whose handshake was just answered.
pub(crate) struct Arrival {
    /// The stream.
    pub(crate) io: Io,
    /// What was read of it behind the handshake.
    pub(crate) read: Bytes,
    /// What still has to be written before the first frame.
    pub(crate) head: Option<Vec<u8>>,
    /// What was agreed upon about compression.
    pub(crate) deflate: Option<Answer>,
}

impl Arrival {
    /// Takes it over, as its query and the settings say.
    pub(crate) fn websocket(self, core: &Core, query: &Query) -> WebSocket {
        let mut websocket = WebSocket::new(self.io, self.read, core.config.max_payload, Framing::of(query));
        if let (Some(answer), Some(config)) = (self.deflate, &core.config.per_message_deflate) {
            websocket = websocket.deflating(answer, config.threshold);
        }
        if let Some(head) = self.head {
            websocket.outlet.queue(&Outgoing::raw(head).shared());
        }
        websocket
    }
}

impl Opening {
    /// The session's id.
    pub(crate) fn sid(&self) -> Sid {
        self.sid
    }

    /// Starts the task of a polling session and answers its handshake. The task ends with the session, and a panic ends the
    /// session.
    pub(crate) fn start_polling(
        self,
        core: &Arc<Core>,
        query: &Query,
        handshake: Handshake,
    ) -> transport::Answer {
        let format = Format::of(query);
        let answer = format.write(Some(&core.open_packet(&self, Transport::Polling)), &[]);
        let span = self.span();
        let connection = Connection::polling(core, self.sid, self.mailbox, handshake, self.seat, format);
        tokio::spawn(connection.within(span));
        answer
    }

    /// What a handler logs bears the session's id, as far as it may be shown.
    fn span(&self) -> Span {
        debug_span!("connection", sid = %Redacted(self.sid))
    }
}

/// Opens a session on a WebSocket and starts its task.
pub(crate) fn start_websocket(
    core: &Arc<Core>,
    websocket: WebSocket,
    query: &Query,
    handshake: Handshake,
    seat: Seat,
) {
    let Some(opening) = core.open(query.protocol, Transport::WebSocket, seat) else {
        core.farewell(websocket);
        return;
    };
    let packet = core.open_packet(&opening, Transport::WebSocket);
    websocket.outlet.queue(&Outgoing::raw(frame(Opcode::Text, packet.as_bytes())).shared());
    let span = opening.span();
    let Opening { sid, mailbox, seat } = opening;
    let connection = Connection::websocket(core, sid, mailbox, handshake, seat, websocket);
    tokio::spawn(connection.within(span));
}

/// Hands a WebSocket to the session whose id it came with; where the session is gone it is closed.
pub(crate) fn start_probe(core: &Arc<Core>, mailbox: &Mailbox, websocket: WebSocket) {
    if let Err(control) = mailbox.control(Control::Probe(websocket))
        && let Control::Probe(websocket) = *control
    {
        core.farewell(websocket);
    }
}
