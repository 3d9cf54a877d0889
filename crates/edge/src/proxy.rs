//! The public port: accepts, gives each connection its task, and ends in order.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sockeye_link::Connection;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, warn};

use crate::client::Client;
use crate::config::{BindError, Config, Endpoint, Listener};
use crate::control::Control;
use crate::shared::Shared;

/// The driver: an open port whose connections are not accepted yet, until [`Proxy::run`].
pub struct Proxy {
    listener: TcpListener,
    shared: Arc<Shared>,
    returns: (mpsc::Sender<Connection>, mpsc::Receiver<Connection>),
}

impl Proxy {
    /// Opens the public port.
    ///
    /// # Errors
    ///
    /// [`BindError`] says in one line what is wrong with the address.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let place = &config.listeners[0];
        let Endpoint::Tcp(address) = place.at else { panic!("a TCP address") };
        let failed = |source| BindError::new(address, source);
        let listener = listen(address, place).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let returns = mpsc::channel(config.limits.returned_max.get() as usize);
        Ok(Self { listener, shared: Arc::new(Shared::new(config, address)), returns })
    }

    /// The address that clients reach.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.address
    }

    /// The handle by which workers are made known.
    #[must_use]
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared), returns: self.returns.0.clone() }
    }

    /// Serves until `shutdown` is done, then takes no more connections, lets requests under way end within
    /// [`Limits::drain_time_max`](crate::Limits), and cuts the rest.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, shared, returns: (sender, mut returns) } = self;
        drop(sender);
        let (drain, draining) = watch::channel(false);
        let mut clients = Clients { shared: Arc::clone(&shared), draining, tasks: JoinSet::new() };
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => clients.accept(stream, peer),
                    Err(error) => pause_after(&error).await,
                },
                Some(connection) = returns.recv() => clients.take_back(connection),
                Some(ended) = clients.tasks.join_next(), if !clients.tasks.is_empty() => note(ended),
                () = &mut shutdown => break,
            }
        }
        drop((listener, returns));
        shared.begin_drain();
        drain.send_replace(true);
        let all_ended = async {
            while let Some(ended) = clients.tasks.join_next().await {
                note(ended);
            }
        };
        if tokio::time::timeout(shared.config.limits.drain_time_max, all_ended).await.is_err() {
            debug!(open = clients.tasks.len(), "requests cut at the end of the drain");
        }
        clients.tasks.shutdown().await;
        shared.relay.close_tunnels();
    }
}

/// The tasks of all connections: dropping them cuts the connections.
struct Clients {
    shared: Arc<Shared>,
    draining: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Clients {
    fn accept(&mut self, stream: TcpStream, peer: SocketAddr) {
        let counters = &self.shared.counters;
        counters.accepted.add();
        let open = self.tasks.len() as u64 + self.shared.relay.tunnels();
        if open >= u64::from(self.shared.config.limits.connections_max.get()) {
            counters.shed.add();
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "client gone before its first byte");
            return;
        }
        self.spawn(stream, peer, BytesMut::new(), false);
    }

    fn take_back(&mut self, connection: Connection) {
        let Connection { stream, peer, read } = connection;
        match TcpStream::from_std(stream) {
            Ok(stream) => self.spawn(stream, peer, into_mut(read), true),
            Err(error) => debug!(%peer, %error, "returned connection lost"),
        }
    }

    /// Gives a connection its task, which ends with it; panics are heard by `note`.
    fn spawn(&mut self, stream: TcpStream, peer: SocketAddr, read: BytesMut, returned: bool) {
        let client =
            Client { shared: Arc::clone(&self.shared), draining: self.draining.clone(), peer, returned };
        let open = Open::count(&self.shared);
        self.tasks.spawn(async move {
            client.serve(stream, read).await;
            drop(open);
        });
    }
}

/// Counts one connection for as long as it is open.
struct Open(Arc<Shared>);

impl Open {
    fn count(shared: &Arc<Shared>) -> Self {
        shared.counters.open.add();
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.open.remove();
    }
}

fn listen(address: SocketAddr, place: &Listener) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port whose last connections are in TIME_WAIT is free for a restart.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(place.backlog)
}

/// Rides out what a failed accept is about: mostly a lack of descriptors, which others must give back first.
async fn pause_after(error: &std::io::Error) {
    warn!(%error, "cannot accept");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn note(ended: Result<(), JoinError>) {
    if let Err(failed) = ended
        && failed.is_panic()
    {
        error!(%failed, "a connection's task panicked");
    }
}

fn into_mut(read: Bytes) -> BytesMut {
    read.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

/// How long accepting rests after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
