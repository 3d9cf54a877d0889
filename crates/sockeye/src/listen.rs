//! A server that listens: accepting clients, and closing in order.

use crate::accept::serve;
use crate::accepting::pause_after;
use crate::caller::{Caller, Way};
use crate::core::Application;
use crate::handle::Handle;
use crate::limit::Limit;
use crate::orders;
use crate::realms::Realms;
use crate::site::Site;
use bytes::Bytes;
use futures_util::future::join_all;
use sockeye_relay::Socket;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};
use tokio::task::JoinSet;

/// Connections that may wait to be accepted: a burst must not meet the kernel's SYN retry of one second.
pub(crate) const BACKLOG: u32 = 4096;

/// How long closing waits for connections to end in order, with their handlers.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// A server with everything settled.
#[derive(Clone)]
pub(crate) struct Listening {
    /// What it answers with.
    pub(crate) site: Arc<Site>,
    /// What closes it.
    pub(crate) handle: Handle,
}

impl Listening {
    /// Opens the namespaces on the backplane, all at once, and waits until they are open.
    ///
    /// # Errors
    /// It cannot be reached, or refuses.
    pub(crate) async fn open_backplane(&self) -> io::Result<()> {
        let Some(realms) = self.realms() else { return Ok(()) };
        let all: Vec<_> = realms
            .settled()
            .filter_map(|realm| Some((realm, orders::open(realm, realms.on_backplane(), true)?)))
            .collect();
        for (realm, opened) in all {
            // An error: its task has ended, so the runtime ends.
            let Ok(Err(error)) = opened.await else { continue };
            let place = realm.hub.branch().map(|branch| branch.place()).unwrap_or_default();
            return Err(io::Error::other(format!("cannot open {} on {place}: {error}", realm.hub.nsp())));
        }
        Ok(())
    }

    /// The same for a server that does not end by it: what cannot be opened is tried again until it can.
    pub(crate) async fn reach_backplane(&self) {
        let Some(realms) = self.realms() else { return };
        let all: Vec<_> =
            realms.settled().filter_map(|realm| orders::open(realm, realms.on_backplane(), false)).collect();
        for opened in join_all(all).await {
            if let Ok(Err(error)) = opened {
                tracing::error!(%error, "the backplane cannot be reached");
            }
        }
    }

    fn realms(&self) -> Option<&Arc<Realms>> {
        match &self.site.core.application {
            Application::SocketIo(realms) => Some(realms),
            Application::Engine(_) => None,
        }
    }

    /// Accepts clients until the server is to close, then closes it.
    pub(crate) async fn run(&self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        tokio::select! {
            () = self.accept_tcp(&listener, &mut connections) => {}
            () = self.handle.closed() => {}
        }
        drop(listener);
        self.close().await;
    }

    /// Accepts clients from a port that anybody may use. Its connections end with `connections`.
    ///
    /// # Cancel safety
    /// A connection that was accepted is served.
    pub(crate) async fn accept_tcp(&self, listener: &TcpListener, connections: &mut JoinSet<()>) {
        loop {
            let (stream, peer) = accept_one(listener, connections).await;
            while connections.try_join_next().is_some() {}
            let max = self.site.core.config.connections_max;
            if max.is_some_and(|max| connections.len() >= max.get()) {
                self.site.core.counters.count_limit(Limit::ConnectionsMax);
                continue;
            }
            // Fails only for a socket that is gone.
            drop(stream.set_nodelay(true));
            let caller = Caller { peer, way: Way::Public };
            connections.spawn(serve(Arc::clone(&self.site), stream.into(), Bytes::new(), caller));
        }
    }

    /// Serves one connection, in a task of its own.
    pub(crate) fn spawn(&self, connections: &mut JoinSet<()>, socket: Socket, read: Bytes, caller: Caller) {
        connections.spawn(serve(Arc::clone(&self.site), socket, read, caller));
    }

    /// Ends every session, waits for what its handlers still do, and leaves the mesh.
    pub(crate) async fn close(&self) {
        let core = &self.site.core;
        core.close_all();
        if tokio::time::timeout(CLOSE_WAIT, core.quiet()).await.is_err() {
            tracing::warn!("connections did not end in time");
        }
        if let Some(realms) = self.realms() {
            let realms = realms.all();
            join_all(realms.iter().map(|realm| realm.hub.flush_sessions())).await;
            realms.iter().for_each(|realm| realm.hub.end_presence());
            let branches = realms.iter().filter_map(|realm| realm.hub.branch());
            join_all(branches.map(|branch| branch.leave())).await;
        }
        if let Some(mesh) = core.mesh.get() {
            mesh.leave().await;
        }
        if let Some(nodes) = core.nodes.get() {
            nodes.leave().await;
        }
    }
}

/// Accepts one connection and reaps those that ended.
async fn accept_one(listener: &TcpListener, connections: &mut JoinSet<()>) -> (TcpStream, SocketAddr) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => return accepted,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => pause_after(error, "clients").await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Binds the first of the addresses that can be had.
pub(crate) async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut failure =
        io::Error::new(io::ErrorKind::InvalidInput, "expected an address to listen on, got none");
    for address in lookup_host(address).await? {
        match bind_one(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                failure = io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            }
        }
    }
    Err(failure)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
