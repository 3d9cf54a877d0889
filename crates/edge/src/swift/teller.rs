//! Who a client is, as it is told to upstreams: made once a connection. Pure.

use std::net::SocketAddr;

use sockeye_proto::http::Head;
use sockeye_relay::Origin;

use crate::config::Cidr;
use crate::forwarded;

/// Tells who a client is.
pub(crate) struct Teller {
    peer: SocketAddr,
    /// Whether it is a proxy that is believed: then what it says of its clients goes on, with itself added.
    trusted: bool,
    scheme: &'static str,
    port: Option<u16>,
    /// What is said of one that is not believed.
    lines: Vec<u8>,
}

impl Teller {
    pub(crate) fn new(peer: SocketAddr, secure: bool, port: Option<u16>, trusted: bool) -> Self {
        let scheme = if secure { "https" } else { "http" };
        let mut origin = Origin::new(peer).relayed_by("edge").scheme(scheme).disbelieved();
        if let Some(port) = port {
            origin = origin.port(port);
        }
        let lines = if trusted { Vec::new() } else { origin.lines() };
        Self { peer, trusted, scheme, port, lines }
    }

    /// The client itself: of a request, since a proxy brings many.
    pub(crate) fn client(&self, trust: &[Cidr], head: &Head<'_>) -> SocketAddr {
        if self.trusted { forwarded::client_of(trust, self.peer, head) } else { self.peer }
    }

    pub(crate) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether a field that says who the client is goes on as it came.
    pub(super) fn keeps(&self, name: &str) -> bool {
        self.trusted && !name.eq_ignore_ascii_case(FOR)
    }

    /// Whether the host that a client asked for is named here.
    pub(super) fn names_host(&self, head: &Head<'_>) -> bool {
        !self.trusted || head.values(HOST).next().is_none()
    }

    /// Writes the lines that a request gets.
    pub(super) fn write(&self, head: &Head<'_>, trust: &[Cidr], bytes: &mut Vec<u8>) {
        if !self.trusted {
            return bytes.extend_from_slice(&self.lines);
        }
        let peer = self.peer.ip().to_canonical().to_string();
        let mut chain: Vec<&[u8]> = head.values(FOR).collect();
        chain.push(peer.as_bytes());
        line(bytes, FOR, &chain.join(&b", "[..]));
        if head.values(PROTO).next().is_none() {
            line(bytes, PROTO, self.scheme.as_bytes());
        }
        if let Some(port) = self.port
            && head.values(PORT).next().is_none()
        {
            line(bytes, PORT, port.to_string().as_bytes());
        }
        line(bytes, "X-Sockeye-Peer", self.client(trust, head).to_string().as_bytes());
        line(bytes, "X-Sockeye-Relayed", b"edge");
    }
}

/// Writes one field.
pub(super) fn line(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

const FOR: &str = "X-Forwarded-For";
const PROTO: &str = "X-Forwarded-Proto";
const PORT: &str = "X-Forwarded-Port";
const HOST: &str = "X-Forwarded-Host";
