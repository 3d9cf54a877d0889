//! The limits that count how often they were met.

use std::fmt;

/// A limit with an outcome. Its name is the field of [`Config`](crate::Config) that sets it, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Limit {
    /// Mail for a client was too much: the connection was closed.
    MailboxBytesMax,
    /// More events waited than may while a handler awaited an ack: the connection was closed.
    EventsWaitingMax,
    /// A message or a POST was too large: close code 1009, or 413.
    MaxPayload,
    /// A request head was too large: 431.
    HeadBytesMax,
    /// A request head did not end in time: 408.
    HeadTimeout,
    /// [`Server::allow_request`](crate::Server::allow_request) said nothing in time: the request was refused as forbidden.
    AllowRequestTimeout,
    /// The body of a POST did not end in time: 408, and the session ended.
    BodyTimeout,
    /// A client entered no namespace in time: the connection was closed.
    ConnectTimeout,
    /// As many sessions lived as may: a handshake got 503.
    SessionsMax,
    /// As many sessions of one address lived as may: a handshake got 429.
    SessionsPerAddressMax,
    /// Handshakes came too fast: one got 429.
    HandshakesPerSecond,
    /// Handshakes of one address came too fast: one got 429.
    HandshakesPerSecondPerAddress,
    /// The table of addresses was full: a handshake went without the limits of its address.
    AddressesMax,
    /// As many HTTP connections were open as may: one was closed at once.
    ConnectionsMax,
    /// Events of one socket came too fast: reading paused, or the connection was closed.
    EventsPerSecond,
    /// More requests of one session waited than may: the session was closed. Not settable: 64.
    RequestsWaitingMax,
    /// A credential expired: the socket was disconnected. Set by [`Socket::expire_at`](crate::Socket::expire_at).
    ExpireAt,
    /// A client was silent for too long: the session ended.
    PingTimeout,
    /// A client did not complete its upgrade in time: the probing WebSocket was closed.
    UpgradeTimeout,
    /// A packet announced more attachments than one may have: the connection was closed.
    AttachmentsMax,
    /// A client did not answer in time what it was asked by itself: `AckError::TimedOut`.
    AckTimeout,
    /// More acks of one socket were awaited than may: it was not asked. Not settable: 1024.
    AcksPendingMax,
    /// As many namespaces were brought to life as may: a client heard `Invalid namespace`.
    ChildNamespacesMax,
    /// A client was in as many namespaces, or on its way in, as it may: it was refused one.
    NamespacesPerClientMax,
    /// As many functions were asked about names of namespaces as may at a time: a client was refused one.
    SearchesMax,
    /// Too much waited for the backplane: a message was delivered here only.
    BackplaneBytesMax,
}

impl Limit {
    /// Every limit, in the order of their discriminants.
    pub const ALL: [Self; 26] = [
        Self::MailboxBytesMax,
        Self::EventsWaitingMax,
        Self::MaxPayload,
        Self::HeadBytesMax,
        Self::HeadTimeout,
        Self::AllowRequestTimeout,
        Self::BodyTimeout,
        Self::ConnectTimeout,
        Self::SessionsMax,
        Self::SessionsPerAddressMax,
        Self::HandshakesPerSecond,
        Self::HandshakesPerSecondPerAddress,
        Self::AddressesMax,
        Self::ConnectionsMax,
        Self::EventsPerSecond,
        Self::RequestsWaitingMax,
        Self::ExpireAt,
        Self::PingTimeout,
        Self::UpgradeTimeout,
        Self::AttachmentsMax,
        Self::AckTimeout,
        Self::AcksPendingMax,
        Self::ChildNamespacesMax,
        Self::NamespacesPerClientMax,
        Self::SearchesMax,
        Self::BackplaneBytesMax,
    ];

    /// The name in counters, logs and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MailboxBytesMax => "mailbox_bytes_max",
            Self::EventsWaitingMax => "events_waiting_max",
            Self::MaxPayload => "max_payload",
            Self::HeadBytesMax => "head_bytes_max",
            Self::HeadTimeout => "head_timeout",
            Self::AllowRequestTimeout => "allow_request_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::SessionsMax => "sessions_max",
            Self::SessionsPerAddressMax => "sessions_per_address_max",
            Self::HandshakesPerSecond => "handshakes_per_second",
            Self::HandshakesPerSecondPerAddress => "handshakes_per_second_per_address",
            Self::AddressesMax => "addresses_max",
            Self::ConnectionsMax => "connections_max",
            Self::EventsPerSecond => "events_per_second",
            Self::RequestsWaitingMax => "requests_waiting_max",
            Self::ExpireAt => "expire_at",
            Self::PingTimeout => "ping_timeout",
            Self::UpgradeTimeout => "upgrade_timeout",
            Self::AttachmentsMax => "attachments_max",
            Self::AckTimeout => "ack_timeout",
            Self::AcksPendingMax => "acks_pending_max",
            Self::ChildNamespacesMax => "child_namespaces_max",
            Self::NamespacesPerClientMax => "namespaces_per_client_max",
            Self::SearchesMax => "searches_max",
            Self::BackplaneBytesMax => "backplane_bytes_max",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_stands_where_its_counter_is() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index, "{limit}");
        }
    }
}
