//! What servers of a cluster say to each other: the messages of the official ClusterAdapter, as values.
//!
//! User data stays raw ([`Packet`]): what one node encoded, another sends on without a look inside. How a
//! message lies in bytes is [`wire`](crate::wire)'s business.

use bytes::Bytes;

use crate::name::{Nsp, RequestId, Room, Uid};
use crate::selector::{Flags, Selector};

/// A message with its sender and its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The server that sent it; emitters, which are no servers, say `emitter`.
    pub uid: Uid,
    /// The namespace that it concerns.
    pub nsp: Nsp,
    /// What it says.
    pub message: Message,
}

/// A JSON value of the user, kept as text, with its binary parts beside it.
///
/// The k-th attachment stands in the text as `{"_placeholder":true,"num":k}`, exactly as in a Socket.IO packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// JSON text; of an event, the array `["name",arg,…]`. Whoever builds a packet vouches for it; what
    /// [`wire::decode`](crate::wire::decode) returns has been checked.
    pub data: Bytes,
    /// The binary parts, in the order of their placeholders.
    pub attachments: Vec<Bytes>,
}

impl Packet {
    /// Makes a packet of JSON text that has no binary part.
    pub fn text(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), attachments: Vec::new() }
    }

    /// Makes a packet of JSON text and the parts that its placeholders stand for.
    pub fn binary(data: impl Into<Bytes>, attachments: Vec<Bytes>) -> Self {
        Self { data: data.into(), attachments }
    }

    /// How many bytes of the user it holds.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// What one server says to others. The names and numbers are the official ones (`MessageType`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// 1: a server has come and asks who else is there; each answers with a heartbeat.
    InitialHeartbeat,
    /// 2: a server is alive.
    Heartbeat,
    /// 3: an event for the selected sockets.
    Broadcast {
        /// The sockets it is for.
        selector: Selector,
        /// How to treat it.
        flags: Flags,
        /// The event, an array.
        packet: Packet,
        /// Present when the sender wants the clients' acks.
        request_id: Option<RequestId>,
    },
    /// 4: the selected sockets shall join rooms.
    SocketsJoin {
        /// The sockets it is for.
        selector: Selector,
        /// The rooms to join.
        rooms: Vec<Room>,
    },
    /// 5: the selected sockets shall leave rooms.
    SocketsLeave {
        /// The sockets it is for.
        selector: Selector,
        /// The rooms to leave.
        rooms: Vec<Room>,
    },
    /// 6: the selected sockets shall be disconnected.
    DisconnectSockets {
        /// The sockets it is for.
        selector: Selector,
        /// Whether the connection below is closed too.
        close: bool,
    },
    /// 7: who is selected? Each server answers.
    FetchSockets {
        /// The sockets it asks for.
        selector: Selector,
        /// How to treat it; the timeout matters.
        flags: Flags,
        /// What the answers must name.
        request_id: RequestId,
    },
    /// 8: the answer to 7.
    FetchSocketsResponse {
        /// The request it answers.
        request_id: RequestId,
        /// An array of remote sockets: id, handshake, rooms, data.
        sockets: Packet,
    },
    /// 9: an event for the servers themselves.
    ServerSideEmit {
        /// The event, an array.
        packet: Packet,
        /// Present when the sender wants an ack from each server.
        request_id: Option<RequestId>,
    },
    /// 10: the answer to 9, one value.
    ServerSideEmitResponse {
        /// The request it answers.
        request_id: RequestId,
        /// The value.
        packet: Packet,
    },
    /// 11: the first answer to 3: how many clients will ack.
    BroadcastClientCount {
        /// The request it answers.
        request_id: RequestId,
        /// How many clients were reached.
        client_count: u64,
    },
    /// 12: one client's ack of 3.
    BroadcastAck {
        /// The request it answers.
        request_id: RequestId,
        /// What the client acked with.
        packet: Packet,
    },
    /// 13: a server leaves.
    AdapterClose,
}

impl Message {
    /// The official number of the message's kind.
    pub const fn number(&self) -> u8 {
        match self {
            Self::InitialHeartbeat => 1,
            Self::Heartbeat => 2,
            Self::Broadcast { .. } => 3,
            Self::SocketsJoin { .. } => 4,
            Self::SocketsLeave { .. } => 5,
            Self::DisconnectSockets { .. } => 6,
            Self::FetchSockets { .. } => 7,
            Self::FetchSocketsResponse { .. } => 8,
            Self::ServerSideEmit { .. } => 9,
            Self::ServerSideEmitResponse { .. } => 10,
            Self::BroadcastClientCount { .. } => 11,
            Self::BroadcastAck { .. } => 12,
            Self::AdapterClose => 13,
        }
    }

    /// Whether it answers a request.
    pub const fn is_reply(&self) -> bool {
        matches!(
            self,
            Self::FetchSocketsResponse { .. }
                | Self::ServerSideEmitResponse { .. }
                | Self::BroadcastClientCount { .. }
                | Self::BroadcastAck { .. }
        )
    }

    /// The id of the request that the message is, if it wants replies.
    pub const fn asks(&self) -> Option<&RequestId> {
        match self {
            Self::Broadcast { request_id, .. } | Self::ServerSideEmit { request_id, .. } => {
                request_id.as_ref()
            }
            Self::FetchSockets { request_id, .. } => Some(request_id),
            Self::InitialHeartbeat
            | Self::Heartbeat
            | Self::SocketsJoin { .. }
            | Self::SocketsLeave { .. }
            | Self::DisconnectSockets { .. }
            | Self::FetchSocketsResponse { .. }
            | Self::ServerSideEmitResponse { .. }
            | Self::BroadcastClientCount { .. }
            | Self::BroadcastAck { .. }
            | Self::AdapterClose => None,
        }
    }

    /// The binary parts of the message; where there are any, JSON cannot carry it.
    pub fn attachments(&self) -> &[Bytes] {
        match self {
            Self::Broadcast { packet, .. }
            | Self::ServerSideEmit { packet, .. }
            | Self::ServerSideEmitResponse { packet, .. }
            | Self::BroadcastAck { packet, .. }
            | Self::FetchSocketsResponse { sockets: packet, .. } => &packet.attachments,
            Self::InitialHeartbeat
            | Self::Heartbeat
            | Self::SocketsJoin { .. }
            | Self::SocketsLeave { .. }
            | Self::DisconnectSockets { .. }
            | Self::FetchSockets { .. }
            | Self::BroadcastClientCount { .. }
            | Self::AdapterClose => &[],
        }
    }
}
