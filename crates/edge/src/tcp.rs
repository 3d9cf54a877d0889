//! TCP mode: bytes carried to a server of a group and back, with the client's address said first where that is asked for.
//!
//! Absent: everything about what the bytes mean; whoever comes by TCP is one session, for as long as its connection lasts.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use sockeye_link::Connection;
use sockeye_proto::ProxyHeader;
use sockeye_relay::{End, is_nobody};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::debug;

use crate::config::ProxyVersion;
use crate::exchange::hints;
use crate::group::Group;
use crate::pool::Key;
use crate::servers::{Intent, Suggestion, TunnelOf};
use crate::shared::Shared;

/// A client of a listener in TCP mode.
pub(crate) struct Visitor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) group: Arc<Group>,
    pub(crate) peer: SocketAddr,
    /// The address that it reached, where it has one.
    pub(crate) target: Option<SocketAddr>,
    pub(crate) send_proxy: Option<ProxyVersion>,
}

impl Visitor {
    /// Passes the connection itself to a worker of this machine.
    pub(crate) async fn hand_over(self, stream: TcpStream, read: Bytes) {
        let mut connection = match Connection::from_tokio(stream, self.peer, read) {
            Ok(connection) => connection,
            Err(error) => return debug!(%error, "connection lost before its hand-over"),
        };
        let mut search = self.group.servers.search(self.intent(false));
        while let Some(door) = search.next().await {
            connection = match door.pass(connection) {
                Ok(()) => return self.shared.counters.handed_over.add(),
                Err(connection) => connection,
            };
            search.refused(&door);
        }
        self.shared.counters.unavailable.add();
    }

    /// Joins the connection to one of a server's. `read` is what was read of it so far.
    pub(crate) async fn carry(self, client: End, read: Bytes) {
        let servers = &self.group.servers;
        let mut search = servers.search(self.intent(true));
        while let Some(door) = search.next().await {
            let held = servers.tunnel(&door, TunnelOf::NewSession, None);
            let said = match door.upstream.dial().await {
                Ok(mut socket) => match self.introduce(&mut socket).await {
                    Ok(()) => Ok(socket),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            match said {
                Ok(socket) => {
                    door.upstream.join(client, read, socket, Some(Arc::clone(&held.cord)));
                    return held.opened();
                }
                Err(error) => {
                    debug!(server = door.name, %error, "server took no connection");
                    if is_nobody(&error) {
                        servers.handle_refused(door.id);
                    }
                }
            }
            search.refused(&door);
        }
        self.shared.counters.unavailable.add();
    }

    /// Says who the client is, if that is to be said.
    async fn introduce(&self, socket: &mut sockeye_relay::Socket) -> std::io::Result<()> {
        let Some(version) = self.send_proxy else { return Ok(()) };
        socket.write_all(&header(version, self.peer, self.target)).await
    }

    fn intent(&self, session: bool) -> Intent {
        let trust = &self.shared.layout().config.trust;
        let hints = hints(&self.group, trust, self.peer.ip(), &|_| Vec::new());
        Intent { hints: hints.into_iter().map(steady).collect(), ..Intent::anybody(session) }
    }
}

/// A polling client comes by several connections, and nothing tells which are one session: its address has to lead to one server always.
fn steady(hint: Suggestion) -> Suggestion {
    match hint {
        Suggestion::Key(Key::Hashed { key, .. }) => Suggestion::Key(Key::Hashed { key, bound_percent: 0 }),
        Suggestion::Key(Key::IpHash(_)) | Suggestion::Server(_) => hint,
    }
}

/// The PROXY header of a client; one of a Unix socket has no address to tell.
pub(crate) fn header(version: ProxyVersion, source: SocketAddr, target: Option<SocketAddr>) -> Vec<u8> {
    let header = target.map_or(ProxyHeader::Local, |target| ProxyHeader::Client { source, target });
    match version {
        ProxyVersion::V1 => header.to_text(),
        ProxyVersion::V2 => header.to_binary(),
    }
}
