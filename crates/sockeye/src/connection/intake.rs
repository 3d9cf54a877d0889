//! What comes from the client: bytes of a WebSocket and bodies of POSTs, message by message, as far as there is room.

use super::post::Post;
use super::upper::Fault;
use super::{Connection, ROUNDS_MAX, Wire};
use crate::delivery::Mail;
use crate::limit::Limit;
use crate::outgoing::Outgoing;
use crate::transport::{Format, Outlet, Polling, PostRequest, WebSocket, with_scratch};
use sockeye_proto::engine::session::Leg;
use sockeye_proto::engine::{Packet, PacketError, Protocol, Transport, v3};
use sockeye_proto::socket::DisconnectReason;
use sockeye_proto::ws::encoder::{close, close_payload, frame};
use sockeye_proto::ws::{Decoder, Message, Opcode, ProtocolError};
use std::task::{Context, Poll};
use std::time::Instant;

impl Connection {
    pub(super) fn take_post(&mut self, request: PostRequest, now: Instant, cx: &mut Context<'_>) {
        // An earlier POST cannot wait: one at a time is read.
        self.mailbox.tally().count_bytes_in(request.body.len());
        let format = match &self.wire {
            Wire::Polling(polling) => polling.format,
            Wire::WebSocket(_) | Wire::Gone => Format::plain(self.session.protocol()),
        };
        self.post = Some(Box::new(Post::new(&format, request)));
        self.read_post(now, cx);
    }

    /// Takes the packets of a POST one by one, as long as their events find room.
    pub(super) fn read_post(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Some(mut post) = self.post.take() else { return };
        let limit = self.core.config.events_waiting_max.get();
        while !self.session.is_closed()
            && !self.upper.is_congested(limit)
            && post.next(|packet| self.take_packet(packet, now, cx))
        {}
        self.post = Some(post);
    }

    fn take_packet(&mut self, packet: Result<Packet<'_>, PacketError>, now: Instant, cx: &mut Context<'_>) {
        match packet {
            Ok(packet) => {
                self.mailbox.tally().count_packet_in();
                if let Some(content) = self.session.handle_packet(Leg::Current, packet, now) {
                    let taken = self.upper.message(content, cx);
                    self.judge(taken, now);
                }
            }
            Err(_) => self.session.handle_malformed(Leg::Current),
        }
    }

    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if let Some(mut probe) = self.probe.take() {
            moved |= self.read_websocket(&mut probe, cx);
            if self.session.is_upgrading() || self.session.transport() == Transport::WebSocket {
                self.probe = Some(probe);
            } else {
                // It ended: kept, it would be read for ever.
                self.core.farewell(*probe);
            }
        }
        match std::mem::replace(&mut self.wire, Wire::Gone) {
            Wire::WebSocket(mut websocket) => {
                moved |= self.read_websocket(&mut websocket, cx);
                self.wire = Wire::WebSocket(websocket);
            }
            Wire::Polling(Polling { waiting: Some(mut reply), format }) => {
                let gone = reply.poll_gone(cx).is_ready();
                if gone {
                    self.session.handle_poll_aborted();
                    moved = true;
                }
                self.wire = Wire::Polling(Polling { waiting: (!gone).then_some(reply), format });
            }
            wire @ (Wire::Polling(Polling { waiting: None, .. }) | Wire::Gone) => self.wire = wire,
        }
        moved
    }

    /// Reads and takes every message of it. `true` when there may be more, or when it ended.
    fn read_websocket(&mut self, websocket: &mut WebSocket, cx: &mut Context<'_>) -> bool {
        if self.paused || self.session.is_closed() {
            return false;
        }
        with_scratch(|buffer| {
            // What was read is answered before much more is read. Yet after a short read the next attempt is no system call but leaves word
            // to be woken, and saves a round.
            for _ in 0..2 {
                match websocket.poll_read(cx, buffer) {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(length)) if length > 0 => {
                        self.mailbox.tally().count_bytes_in(length);
                        let congested = self.take_bytes(websocket, &mut buffer[..length], cx);
                        if congested || length == buffer.len() || self.session.is_closed() {
                            return true;
                        }
                    }
                    Poll::Ready(end) => {
                        // 0 is an end; the official server calls it `transport close` whether or not a close frame came first.
                        self.session.handle_websocket_ended(self.leg(), end.is_ok());
                        return true;
                    }
                }
            }
            true
        })
    }

    /// Takes messages until no handler is free to take more; `true`: that is so.
    fn take_bytes(&mut self, websocket: &mut WebSocket, mut input: &mut [u8], cx: &mut Context<'_>) -> bool {
        let mut congested = false;
        let now = Instant::now();
        let limit = self.core.config.events_waiting_max.get();
        // Taken out so that a message may borrow from it while the session works.
        let mut decoder = std::mem::replace(&mut websocket.decoder, Decoder::new(0));
        loop {
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(message)) => self.take_message(message, &websocket.outlet, now, cx),
                Err(error) => {
                    let too_big = matches!(error, ProtocolError::TooBig { .. });
                    self.cause = Some(if too_big { self.limited(Limit::MaxPayload) } else { "broken frame" });
                    websocket.outlet.finish(&close(error.close_code(), ""));
                    self.session.handle_websocket_ended(self.leg(), false);
                    break;
                }
            }
            congested = self.upper.is_congested(limit);
            if congested {
                websocket.unread(input);
                break;
            }
        }
        websocket.decoder = decoder;
        congested
    }

    fn take_message(&mut self, message: Message<'_>, outlet: &Outlet, now: Instant, cx: &mut Context<'_>) {
        let leg = self.leg();
        let packet = match message {
            Message::Text(text) => match self.session.protocol() {
                Protocol::V4 => Packet::decode_text(text),
                Protocol::V3 => v3::packet::decode_text(text),
            },
            Message::Binary(bytes) => match self.session.protocol() {
                Protocol::V4 => Ok(Packet::decode_binary(bytes)),
                Protocol::V3 => v3::packet::decode_binary(bytes),
            },
            Message::Ping(payload) => {
                return outlet.queue(&Outgoing::raw(frame(Opcode::Pong, payload)).shared());
            }
            Message::Pong(_) => return,
            Message::Close(reason) => {
                if leg == Leg::Current {
                    self.say_last_words(outlet, cx);
                }
                // As `ws`: whatever the client said comes back.
                let said = reason.map_or_else(Vec::new, |(code, text)| close_payload(code, text));
                outlet.finish(&frame(Opcode::Close, &said));
                return self.session.handle_websocket_ended(leg, true);
            }
        };
        match packet {
            Ok(packet) => {
                self.mailbox.tally().count_packet_in();
                if let Some(content) = self.session.handle_packet(leg, packet, now) {
                    let taken = self.upper.message(content, cx);
                    self.judge(taken, now);
                } else if leg == Leg::Probe && self.leg() == Leg::Current {
                    // The next message of this very read may ask which transport it came by.
                    self.mailbox.leave_polling();
                }
            }
            Err(_) => self.session.handle_malformed(leg),
        }
    }

    /// What is said at once to what came before a close frame goes out before its answer, as officially: a client may say goodbye in the
    /// very segment of its last message.
    fn say_last_words(&mut self, outlet: &Outlet, cx: &mut Context<'_>) {
        for _ in 0..ROUNDS_MAX {
            if self.upper.is_quiet() || !self.upper.poll(cx) {
                break;
            }
        }
        // Too much mail closes the connection, which closes anyway.
        for mail in self.mailbox.take(false).unwrap_or_default() {
            match mail {
                Mail::Packet(packet) => {
                    self.mailbox.tally().count_packet_out(packet.len());
                    outlet.queue(&packet);
                }
                Mail::Control(control) => self.control(*control, cx),
            }
        }
    }

    fn judge(&mut self, taken: Result<(), Fault>, now: Instant) {
        match taken {
            Ok(()) => {}
            Err(Fault::Malformed) => {
                self.cause = Some("broken packet");
                self.session.close(now);
            }
            Err(Fault::TooManyAttachments) => {
                self.cause = Some(self.limited(Limit::AttachmentsMax));
                self.session.close(now);
            }
            Err(Fault::Misbehaved) => {
                self.cause = Some("packet out of place");
                self.session.close(now);
                // As the official server: `forced close` where the session could end at once.
                if !self.session.is_closed() {
                    self.upper.leave_all(DisconnectReason::ForcedServerClose);
                }
            }
            Err(Fault::Excess(limit)) => {
                self.cause = Some(self.limited(limit));
                self.upper.leave_all(DisconnectReason::ForcedServerClose);
                self.session.close(now);
            }
        }
    }

    /// Where bytes of a WebSocket belong: to the session once it carries it, to the probe before.
    pub(super) fn leg(&self) -> Leg {
        match self.session.transport() {
            Transport::WebSocket => Leg::Current,
            Transport::Polling => Leg::Probe,
        }
    }
}
