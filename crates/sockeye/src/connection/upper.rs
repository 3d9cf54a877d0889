//! What lies above the engine session: Socket.IO, or messages alone.

use super::slot::Ground;
use super::slots::{Slots, Taken};
use crate::core::{Application, Core, OnMessage};
use crate::delivery::Mailbox;
use crate::engine;
use crate::handshake::Handshake;
use crate::limit::Limit;
use crate::realms::Realm;
use bytes::Bytes;
use sockeye_cluster::Nsp;
use sockeye_proto::engine::Content;
use sockeye_proto::sid::Sid;
use sockeye_proto::socket::client::{Action, Client, Limits, Misbehaved};
use sockeye_proto::socket::{Dialect, DisconnectReason};
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

/// The layer above one session.
pub(super) enum Upper {
    SocketIo(Box<SocketIo>),
    Engine(engine::Client, OnMessage),
}

/// One client's Socket.IO.
pub(super) struct SocketIo {
    core: Arc<Core>,
    mailbox: Arc<Mailbox>,
    handshake: Handshake,
    client: Client,
    slots: Slots,
}

// The allocator's next larger size is 224.
const _: () = assert!(size_of::<SocketIo>() <= 192);

/// Why a message ends its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was no packet: the official server closes the engine (`forced close`).
    Malformed,
    /// It announced more attachments than a packet may have; it closes as if it were no packet.
    TooManyAttachments,
    /// It was not allowed: `forced server close`.
    Misbehaved,
    /// More events came than this limit allows.
    Excess(Limit),
}

impl Upper {
    pub(super) fn new(
        core: &Arc<Core>,
        mailbox: &Arc<Mailbox>,
        handshake: Handshake,
        limits: Limits,
        now: Instant,
    ) -> Self {
        let dialect = Dialect { protocol: mailbox.protocol(), parser: core.config.parser };
        match &core.application {
            Application::SocketIo(_) => Self::SocketIo(Box::new(SocketIo {
                core: Arc::clone(core),
                mailbox: Arc::clone(mailbox),
                handshake,
                client: Client::with_dialect(limits, dialect, now),
                slots: Slots::default(),
            })),
            Application::Engine(on_message) => {
                Self::Engine(engine::Client::new(Arc::clone(mailbox)), Arc::clone(on_message))
            }
        }
    }

    /// Does what the client wants without having said so: in v3 to be in `/`, where its socket bears the session's id.
    pub(super) fn begin(&mut self, sid: Sid, cx: &mut Context<'_>) {
        match self {
            Self::SocketIo(socket_io) => {
                let Some(Action::Connect { nsp, auth }) = socket_io.client.poll_action() else { return };
                let (mut ground, slots) = socket_io.parts();
                slots.connect(&mut ground, sid, nsp, auth, cx);
            }
            Self::Engine(..) => {}
        }
    }

    /// Takes a message of the client.
    pub(super) fn message(&mut self, content: Content<'_>, cx: &mut Context<'_>) -> Result<(), Fault> {
        match self {
            Self::SocketIo(socket_io) => socket_io.message(content, cx),
            Self::Engine(client, on_message) => {
                match &content {
                    Content::Text(text) => on_message(client, engine::Message::Text(text)),
                    Content::Binary(bytes) => on_message(client, engine::Message::Binary(bytes)),
                }
                Ok(())
            }
        }
    }

    /// Runs handlers on; `true` when something moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::SocketIo(socket_io) => {
                let (mut ground, slots) = socket_io.parts();
                slots.poll(&mut ground, cx)
            }
            Self::Engine(..) => false,
        }
    }

    /// The server takes the client out of a namespace. `false` when it is not in it.
    pub(super) fn disconnect(&mut self, nsp: &str) -> bool {
        match self {
            Self::SocketIo(socket_io) => {
                socket_io.client.refuse(nsp);
                socket_io.slots.leave(
                    &socket_io.core.counters,
                    nsp,
                    DisconnectReason::ServerNamespaceDisconnect,
                )
            }
            Self::Engine(..) => false,
        }
    }

    /// The namespaces that the client is in.
    pub(super) fn entered(&self) -> Vec<Arc<Realm>> {
        match self {
            Self::SocketIo(socket_io) => socket_io.slots.realms_entered().collect(),
            Self::Engine(..) => Vec::new(),
        }
    }

    /// The session is over for all of its sockets.
    pub(super) fn leave_all(&mut self, reason: DisconnectReason) {
        match self {
            Self::SocketIo(socket_io) => socket_io.slots.leave_all(&socket_io.core.counters, reason),
            Self::Engine(..) => {}
        }
    }

    /// Whether the client must wait before it is read on.
    pub(super) fn is_congested(&self, limit: usize) -> bool {
        match self {
            Self::SocketIo(socket_io) => socket_io.slots.is_congested(limit),
            Self::Engine(..) => false,
        }
    }

    /// Whether no handler runs or waits.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::SocketIo(socket_io) => socket_io.slots.is_quiet(),
            Self::Engine(..) => true,
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::SocketIo(socket_io) => {
                [socket_io.client.poll_timeout(), socket_io.slots.poll_timeout()].into_iter().flatten().min()
            }
            Self::Engine(..) => None,
        }
    }

    /// Does what is due by `now`, and names the namespaces that the client may be in no longer.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Nsp> {
        match self {
            Self::SocketIo(socket_io) => {
                socket_io.slots.handle_timeout(now, socket_io.core.config.expiry_notice)
            }
            Self::Engine(..) => Vec::new(),
        }
    }

    /// The credential of a socket ends at another time.
    pub(super) fn expire(&mut self, id: Sid, at: Option<Instant>) {
        match self {
            Self::SocketIo(socket_io) => {
                socket_io.slots.expire(id, at, socket_io.core.config.expiry_notice);
            }
            Self::Engine(..) => {}
        }
    }

    /// By when the client must have entered a namespace.
    pub(super) fn connect_by(&self) -> Option<Instant> {
        match self {
            Self::SocketIo(socket_io) => socket_io.client.poll_timeout(),
            Self::Engine(..) => None,
        }
    }
}

impl SocketIo {
    fn message(&mut self, content: Content<'_>, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Self { core, mailbox, client, slots, .. } = self;
        let action = match &content {
            Content::Text(text) => client.handle_text(text),
            Content::Binary(bytes) => client.handle_binary(Bytes::copy_from_slice(bytes)),
        };
        let outcome = match action? {
            Action::Pending => return Ok(()),
            Action::Event(message) => {
                if let Some(rate) = core.config.events_per_second
                    && !slots.meter(message.nsp, rate, core)
                {
                    return Err(Fault::Excess(Limit::EventsPerSecond));
                }
                let taken = slots.event(message, core.config.events_waiting_max.get());
                mailbox.tally().count_event(taken != Taken::Ignored);
                let (mut ground, slots) = self.parts();
                slots.poll(&mut ground, cx);
                match taken {
                    Taken::Yes | Taken::Ignored => Ok(()),
                    Taken::Excess => Err(Fault::Excess(Limit::EventsWaitingMax)),
                }
            }
            Action::Ack(message) => {
                slots.ack(message);
                Ok(())
            }
            Action::Connect { nsp, auth } => {
                let (nsp, auth, id) = (nsp.to_owned(), auth.to_owned(), core.new_sid());
                let (mut ground, slots) = self.parts();
                slots.connect(&mut ground, id, &nsp, &auth, cx);
                Ok(())
            }
            Action::Disconnect { nsp } => {
                slots.leave(&core.counters, nsp, DisconnectReason::ClientNamespaceDisconnect);
                Ok(())
            }
        };
        self.client.release();
        outcome
    }

    fn parts(&mut self) -> (Ground<'_>, &mut Slots) {
        let Self { core, mailbox, handshake, client, slots } = self;
        (Ground { core, mailbox, handshake, client }, slots)
    }
}

impl From<Misbehaved> for Fault {
    fn from(misbehaved: Misbehaved) -> Self {
        match misbehaved {
            Misbehaved::InvalidState => Self::Misbehaved,
            Misbehaved::Malformed(error) if error.is_too_many_attachments() => Self::TooManyAttachments,
            Misbehaved::Malformed(_)
            | Misbehaved::Placeholder(_)
            | Misbehaved::TextBetweenAttachments
            | Misbehaved::UnexpectedBinary => Self::Malformed,
        }
    }
}
