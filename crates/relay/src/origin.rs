//! Where a relayed request came from, in the form in which it is told on.

use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderValue;

/// Tells the upstream who the client is: made once a connection, used for each of its requests.
#[derive(Clone, Debug)]
pub struct Origin {
    address: SocketAddr,
    pub(crate) ip: HeaderValue,
    pub(crate) peer: HeaderValue,
    pub(crate) scheme: HeaderValue,
    pub(crate) port: Option<HeaderValue>,
    pub(crate) relayed_by: Option<HeaderValue>,
    pub(crate) forwarded: bool,
    pub(crate) believed: bool,
    pub(crate) introduction: Option<Bytes>,
}

impl Origin {
    /// A client that connected from `peer`, over plain HTTP.
    ///
    /// # Panics
    ///
    /// Never: an address in text is a valid header value.
    #[must_use]
    pub fn new(peer: SocketAddr) -> Self {
        let value = |text: String| HeaderValue::try_from(text).expect("an address is visible ASCII");
        Self {
            address: peer,
            ip: value(peer.ip().to_canonical().to_string()),
            peer: value(peer.to_string()),
            scheme: HeaderValue::from_static("http"),
            port: None,
            relayed_by: None,
            forwarded: false,
            believed: true,
            introduction: None,
        }
    }

    /// The lines that tell an upstream of a client that is not believed, all but the one with the host that it asked for.
    #[must_use]
    pub fn lines(&self) -> Vec<u8> {
        let fields = [
            ("X-Forwarded-For", Some(&self.ip)),
            ("X-Forwarded-Proto", Some(&self.scheme)),
            ("X-Forwarded-Port", self.port.as_ref()),
            ("X-Sockeye-Peer", self.relayed_by.as_ref().map(|_| &self.peer)),
            ("X-Sockeye-Relayed", self.relayed_by.as_ref()),
        ];
        let mut lines = Vec::new();
        for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        lines
    }

    /// The client's end of the connection.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the client used `https`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.scheme == "https"
    }

    /// Names the scheme the client used, where it was not `http`.
    #[must_use]
    pub fn scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = HeaderValue::from_static(scheme);
        self
    }

    /// Names the port the client connected to, told on as `X-Forwarded-Port`.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(HeaderValue::from(port));
        self
    }

    /// Marks each request as relayed by `relayer` (`edge`, or a node's tag) and names the peer for nodes: sets `x-sockeye-relayed` and
    /// `x-sockeye-peer`. Without this call neither is sent.
    ///
    /// # Panics
    ///
    /// Panics if `relayer` is not visible ASCII; tags are.
    #[must_use]
    pub fn relayed_by(mut self, relayer: &str) -> Self {
        self.relayed_by = Some(HeaderValue::try_from(relayer).expect("a tag is visible ASCII"));
        self
    }

    /// Says that nothing the peer tells of other clients is believed: its `X-Forwarded-*` and `Forwarded` are replaced and not added to.
    #[must_use]
    pub const fn disbelieved(mut self) -> Self {
        self.believed = false;
        self
    }

    /// Names the client for whom the peer, a proxy, speaks: nodes are told this address as the client's.
    #[must_use]
    pub fn on_behalf_of(mut self, client: SocketAddr) -> Self {
        self.peer = HeaderValue::try_from(client.to_string()).unwrap_or(self.peer);
        self
    }

    /// Says these bytes first on each connection to the upstream, a PROXY header; such a connection carries one request alone.
    #[must_use]
    pub fn introduced(mut self, introduction: impl Into<Bytes>) -> Self {
        self.introduction = Some(introduction.into());
        self
    }

    /// Says that an earlier hop has written the `X-Forwarded-*` headers for this very peer, so that they are passed on as they are.
    #[must_use]
    pub const fn already_forwarded(mut self) -> Self {
        self.forwarded = true;
        self
    }
}
