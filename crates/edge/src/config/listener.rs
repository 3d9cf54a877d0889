//! One place where clients come in, and what is spoken there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::endpoint::{Cidr, Endpoint};

/// One open address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Names it in logs, metrics and the status page. Default `main`.
    pub name: String,
    /// Default `127.0.0.1:3000`; port 0 lets the kernel choose.
    pub at: Endpoint,
    /// Default: HTTP/1.1.
    pub serves: Serves,
    /// Ends TLS here. Default: none.
    pub tls: Option<Tls>,
    /// From these addresses each connection begins with a PROXY header, version 1 or 2, which is required and never guessed; from any other it
    /// is refused. Default empty: no connection begins with one.
    pub proxy_from: Vec<Cidr>,
    /// How many connections the kernel completes before they are accepted. Default 4096; with tokio's own 128 a burst of 500 clients loses
    /// seconds to repeated SYNs. Bounded by `net.core.somaxconn`.
    pub backlog: u32,
    /// Of 200 sessions that began by polling and then ask for a WebSocket at least this share is to get it, in percent; where fewer do a warning is logged, and
    /// `ListenerStats::few_upgrades` is set. Default 50; 0 turns it off. Clients that never ask do not count.
    pub upgrades_percent_min: u8,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: "main".to_owned(),
            at: Endpoint::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000)),
            serves: Serves::Http(Http::default()),
            tls: None,
            proxy_from: Vec::new(),
            backlog: 4096,
            upgrades_percent_min: 50,
        }
    }
}

/// What is spoken at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// HTTP, each request by its [`Site`](super::Site).
    Http(Http),
    /// Bytes, carried to a server of a group and back. `X-Forwarded-*` cannot be set here; the PROXY header can.
    Tcp {
        /// The group's name.
        group: String,
        /// Says the client's address to the server in a PROXY header first.
        send_proxy: Option<ProxyVersion>,
    },
}

/// How HTTP is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Offers HTTP/2, by ALPN where TLS ends here, by prior knowledge elsewhere. Default off.
    pub http2: bool,
    /// Takes a WebSocket over HTTP/2 (RFC 8441) and makes an HTTP/1.1 upgrade of it. Default off.
    pub websocket_over_http2: bool,
    /// Sends everybody elsewhere instead of serving. Default none.
    pub redirect: Option<Redirect>,
}

/// Where else a request is to be made; path and query are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Default 301.
    pub status: RedirectStatus,
    /// The scheme of the other address. Default `https`.
    pub scheme: String,
    /// The host; none: the request's own, which must be one of `server_names`.
    pub host: Option<String>,
    /// The hosts that a request may name and be sent to; for any other the first is taken, and with none the request gets a 400.
    pub server_names: Vec<String>,
    /// The port; none: the scheme's own, so that none is shown.
    pub port: Option<u16>,
}

/// How a client is told to go elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectStatus {
    /// 301, `Moved Permanently`: what old clients know.
    #[default]
    Moved,
    /// 308, `Permanent Redirect`: the method is kept.
    Permanent,
}

/// What proves that this is the server that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Chosen by the name that the client asks for (SNI); the first where none fits.
    pub certificates: Vec<Certificate>,
}

/// One certificate with its key, PEM files that are read anew when the configuration is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, with or without the chain behind it.
    pub certificate: PathBuf,
    /// The rest of the chain, where it is a file of its own.
    pub chain: Option<PathBuf>,
    /// The private key.
    pub key: PathBuf,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}
