//! Private sockets: where the edge and other nodes of the machine bring requests.

use crate::accepting::pause_after;
use crate::caller::{Caller, Way};
use crate::listen::{BACKLOG, Listening};
use bytes::Bytes;
use sockeye_relay::Socket;
use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::net::{UnixListener, UnixSocket};
use tokio::task::JoinSet;

/// Accepts the edge and other nodes. Who can open the socket's file is trusted: its directory is this user's alone.
pub(crate) async fn accept_private(
    listening: &Listening,
    private: &UnixListener,
    connections: &mut JoinSet<()>,
) {
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    loop {
        tokio::select! {
            accepted = private.accept() => match accepted {
                Ok((stream, _)) => {
                    let caller = Caller { peer: nobody, way: Way::Private };
                    listening.spawn(connections, Socket::Unix(stream), Bytes::new(), caller);
                }
                Err(error) => pause_after(error, "relayed requests").await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Binds the private socket, with room for a burst of requests.
pub(crate) fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Whoever can write to it is believed about the client's address.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)
}
