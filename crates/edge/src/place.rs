//! One open address: its socket, and what is spoken there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use rustix::net::sockopt::set_socket_reuseport;
use rustix::net::{SocketFlags, accept_with};
use rustls::ServerConfig;
use sockeye_relay::Socket;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket};

use crate::config::{BindError, ConfigError, Endpoint, Http, Listener, Serves};
use crate::stats::{ListenerCounters, ListenerStats};
use crate::tls;

/// An open address. Its socket closes when the last handle is dropped; connections hold its [`Terms`] only.
pub(crate) struct Place {
    socket: Listening,
    /// Where it listens: the port is the kernel's where 0 was asked for.
    pub(crate) at: Endpoint,
    /// Whether it was opened beside the configuration, by `Control::listen`, and so stays when another one comes.
    pub(crate) beside: bool,
    terms: ArcSwap<Terms>,
}

/// What is spoken at a place. A connection keeps those that were there when it came.
pub(crate) struct Terms {
    pub(crate) listener: Listener,
    /// Ends TLS, where it does.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) counters: Arc<ListenerCounters>,
}

enum Listening {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _removal: Removal },
}

/// Removes the path of a Unix socket when the socket closes.
struct Removal(PathBuf);

impl Place {
    /// Opens an address.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn open(listener: Listener, beside: bool) -> Result<Self, ConfigError> {
        Self::open_next_to(listener, beside, &[])
    }

    /// Opens an address while others are open that may have its port, at other hosts, and are about to close.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn open_next_to(
        listener: Listener,
        beside: bool,
        leaving: &[Arc<Self>],
    ) -> Result<Self, ConfigError> {
        let failed = |source| BindError::new(&listener.at, source);
        let (socket, at) = match &listener.at {
            Endpoint::Tcp(address) => {
                let socket = listen_next_to(*address, listener.backlog, leaving).map_err(failed)?;
                let address = socket.local_addr().map_err(failed)?;
                (Listening::Tcp(socket), Endpoint::Tcp(address))
            }
            Endpoint::Unix(path) => {
                let socket = listen_unix(path, listener.backlog).map_err(failed)?;
                (Listening::Unix { listener: socket, _removal: Removal(path.clone()) }, listener.at.clone())
            }
        };
        let terms = Terms::new(listener, Arc::default())?;
        Ok(Self { socket, at, beside, terms: ArcSwap::from_pointee(terms) })
    }

    /// Whether this is the address that a listener asks for. Where the kernel chose the port, the name tells.
    pub(crate) fn is_for(&self, listener: &Listener) -> bool {
        let old = &self.terms.load().listener;
        let any_port = matches!(&listener.at, Endpoint::Tcp(address) if address.port() == 0);
        (self.at == listener.at || old.at == listener.at) && (!any_port || old.name == listener.name)
    }

    /// Other terms for this place, certificates read anew.
    pub(crate) fn draft(&self, listener: Listener) -> Result<Terms, ConfigError> {
        Terms::new(listener, Arc::clone(&self.terms.load().counters))
    }

    /// From here on connections come under these terms.
    pub(crate) fn settle(&self, terms: Terms) {
        self.terms.store(Arc::new(terms));
    }

    pub(crate) fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    pub(crate) fn name(&self) -> String {
        self.terms.load().listener.name.clone()
    }

    /// Its socket, if that has this port.
    fn has_port(&self, port: u16) -> Option<&TcpListener> {
        match (&self.socket, &self.at) {
            (Listening::Tcp(listener), Endpoint::Tcp(address)) if address.port() == port => Some(listener),
            (Listening::Tcp(_) | Listening::Unix { .. }, Endpoint::Tcp(_) | Endpoint::Unix(_)) => None,
        }
    }

    /// Whether a connection with this local address came in here.
    pub(crate) fn took(&self, local: SocketAddr) -> bool {
        let Endpoint::Tcp(address) = &self.at else { return false };
        address.port() == local.port() && (address.ip().is_unspecified() || address.ip() == local.ip())
    }

    /// A connection that came before this address closes, asked of the system itself: the runtime may not have heard of it.
    pub(crate) fn accept_late(&self) -> Option<(Socket, SocketAddr)> {
        let Listening::Tcp(listener) = &self.socket else { return None };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let stream = std::net::TcpStream::from(accept_with(listener, flags).ok()?);
        let peer = stream.peer_addr().ok()?;
        Some((Socket::Tcp(TcpStream::from_std(stream).ok()?), peer))
    }

    /// The next connection and its client; a client by a Unix socket counts as one of this machine, without a port.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        match &self.socket {
            Listening::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Socket::Tcp(stream), peer))
            }
            Listening::Unix { listener, .. } => {
                let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
                listener.poll_accept(cx).map_ok(|(stream, _)| (Socket::Unix(stream), here))
            }
        }
    }
}

impl Terms {
    fn new(listener: Listener, counters: Arc<ListenerCounters>) -> Result<Self, ConfigError> {
        let protocols: &[&[u8]] = match &listener.serves {
            Serves::Http(http) if http.http2 => &[b"h2", b"http/1.1"],
            Serves::Http(_) => &[b"http/1.1"],
            Serves::Tcp { .. } => &[],
        };
        let tls = listener.tls.as_ref().map(|tls| tls::config(tls, protocols)).transpose();
        let tls = tls.map_err(|source| ConfigError::Tls { listener: listener.name.clone(), source })?;
        Ok(Self { listener, tls, counters })
    }

    /// How HTTP is spoken, if it is.
    pub(crate) const fn http(&self) -> Option<&Http> {
        match &self.listener.serves {
            Serves::Http(http) => Some(http),
            Serves::Tcp { .. } => None,
        }
    }

    pub(crate) fn stats(&self, at: &Endpoint) -> ListenerStats {
        self.counters.view(&self.listener, at.clone())
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens; where one of those that leave has the port at another host, both share it until that one is closed, so that nobody is refused between.
fn listen_next_to(address: SocketAddr, backlog: u32, leaving: &[Arc<Place>]) -> io::Result<TcpListener> {
    let outcome = listen(address, backlog, false);
    let taken = outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    let others: Vec<&TcpListener> =
        leaving.iter().filter_map(|place| place.has_port(address.port())).collect();
    if !taken || others.is_empty() {
        return outcome;
    }
    // Only while both are there, and only for sockets of this user: at any other time a port that is taken is told.
    let share = |shared| others.iter().try_for_each(|other| Ok(set_socket_reuseport(other, shared)?));
    share(true).and_then(|()| {
        let opened = listen(address, backlog, true);
        share(false)?;
        let opened = opened?;
        set_socket_reuseport(&opened, false)?;
        Ok(opened)
    })
}

fn listen(address: SocketAddr, backlog: u32, shared: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port whose last connections are in TIME_WAIT is free for a restart.
    socket.set_reuseaddr(true)?;
    if shared {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(backlog)
}

/// Listens at a path; a socket that a killed program left there, and at which nobody listens, gives way.
fn listen_unix(path: &Path, backlog: u32) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Ok(_) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    socket.listen(backlog)
}
