//! What a request means to the engine, as far as it is counted and noted.

use http::StatusCode;
use sockeye_proto::Tag;
use sockeye_proto::engine::query::Session;
use sockeye_proto::engine::{Query, Transport};

use crate::place::Terms;

/// A request of an engine's client, by its query alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// It is none.
    None,
    /// It opens a session.
    Handshake(Transport),
    /// It belongs to one; the tag where it is one of ours.
    Session(Option<Transport>, Option<Tag>),
}

impl Engine {
    pub(crate) fn of(method: &str, query: &str) -> Self {
        if !query.contains("transport=") {
            return Self::None;
        }
        let query = Query::parse(query);
        match (query.session, query.transport) {
            (Session::Named(sid), transport) => Self::Session(transport, Some(sid.tag())),
            (Session::Foreign, transport) => Self::Session(transport, None),
            (Session::None, Some(transport)) if method == "GET" => Self::Handshake(transport),
            (Session::None, _) => Self::None,
        }
    }

    /// Counts what an answer makes of it.
    pub(crate) fn count(self, terms: &Terms, status: StatusCode) {
        let counters = &terms.counters;
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        if switched {
            counters.upgrades_taken.add();
        }
        match self {
            Self::Handshake(Transport::Polling) if status == StatusCode::OK => {
                counters.polling_sessions.add();
            }
            Self::Session(Some(Transport::WebSocket), _) => {
                counters.asked_for_websocket(switched, &terms.listener);
            }
            Self::None | Self::Handshake(_) | Self::Session(..) => {}
        }
    }

    pub(crate) fn tag(self) -> Option<String> {
        match self {
            Self::Session(_, tag) => tag.map(|tag| tag.to_string()),
            Self::None | Self::Handshake(_) => None,
        }
    }

    pub(crate) fn transport(self) -> Option<&'static str> {
        match self {
            Self::Handshake(transport) | Self::Session(Some(transport), _) => Some(transport.name()),
            Self::None | Self::Session(None, _) => None,
        }
    }
}
