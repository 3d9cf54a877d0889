//! The open addresses: accepts, gives each connection its task, and ends in order.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sockeye_link::Connection;
use sockeye_relay::Socket;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, warn};

use crate::client::Client;
use crate::config::{Config, ConfigError, Endpoint};
use crate::control::Control;
use crate::file_limit;
use crate::place::{Place, Terms};
use crate::shared::Shared;
use crate::stats::Open;

/// The driver: open addresses whose connections are not accepted yet, until [`Proxy::run`].
pub struct Proxy {
    shared: Arc<Shared>,
    returns: (mpsc::Sender<Connection>, mpsc::Receiver<Connection>),
}

impl Proxy {
    /// Opens the addresses, and raises the limit of open files as far as the system lets it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says in one line what is wrong.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn bind(config: Config) -> Result<Self, ConfigError> {
        file_limit::raise();
        let returns = mpsc::channel(config.limits.returned_max.get() as usize);
        Ok(Self { shared: Arc::new(Shared::open(config)?), returns })
    }

    /// The first TCP address that clients reach.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses().into_iter().find_map(|(_, at)| match at {
            Endpoint::Tcp(address) => Some(address),
            Endpoint::Unix(_) => None,
        })
    }

    /// The addresses that clients reach, with the names of their listeners.
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, Endpoint)> {
        self.shared.places.all().iter().map(|place| (place.name(), place.at.clone())).collect()
    }

    /// The handle by which workers and other configurations are made known.
    #[must_use]
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared), returns: self.returns.0.clone() }
    }

    /// Serves until `shutdown` is done, then takes no more connections, lets requests under way end within
    /// [`Limits::drain_time_max`](crate::Limits), and cuts the rest.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { shared, returns: (sender, mut returns) } = self;
        drop(sender);
        let (drain, draining) = watch::channel(false);
        let mut clients = Clients { shared: Arc::clone(&shared), draining, tasks: JoinSet::new() };
        let mut shutdown = pin!(shutdown);
        let mut doors = Doors { places: shared.places.all(), turn: 0 };
        loop {
            tokio::select! {
                (place, accepted) = doors.accept() => match accepted {
                    Ok((socket, peer)) => clients.accept(socket, peer, place.terms()),
                    Err(error) => pause_after(&error).await,
                },
                () = shared.places.changed() => {
                    for (place, socket, peer) in doors.change(shared.places.all()) {
                        clients.accept(socket, peer, place.terms());
                    }
                }
                Some(connection) = returns.recv() => clients.take_back(connection),
                Some(ended) = clients.tasks.join_next(), if !clients.tasks.is_empty() => note(ended),
                () = &mut shutdown => break,
            }
        }
        drop((doors, returns));
        shared.places.clear();
        shared.begin_drain();
        drain.send_replace(true);
        let all_ended = async {
            while let Some(ended) = clients.tasks.join_next().await {
                note(ended);
            }
        };
        let drain_time_max = shared.layout().config.limits.drain_time_max;
        if tokio::time::timeout(drain_time_max, all_ended).await.is_err() {
            debug!(open = clients.tasks.len(), "requests cut at the end of the drain");
        }
        clients.tasks.shutdown().await;
        shared.relay.close_tunnels();
    }
}

/// The open addresses as the driver waits at them.
struct Doors {
    places: Vec<Arc<Place>>,
    /// Where the next look begins, so that none is starved.
    turn: usize,
}

impl Doors {
    /// Others are open from here on. Who came to those that close and was not accepted yet is not to be refused.
    fn change(&mut self, places: Vec<Arc<Place>>) -> Vec<(Arc<Place>, Socket, SocketAddr)> {
        let mut late = Vec::new();
        for place in self.places.iter().filter(|old| !places.iter().any(|place| Arc::ptr_eq(old, place))) {
            while let Some((socket, peer)) = place.accept_late() {
                late.push((Arc::clone(place), socket, peer));
            }
        }
        self.places = places;
        late
    }

    /// The next connection at any of them.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: a connection is accepted in the poll that returns it.
    async fn accept(&mut self) -> (Arc<Place>, io::Result<(Socket, SocketAddr)>) {
        poll_fn(|cx| {
            let (before, after) = self.places.split_at(self.turn.min(self.places.len()));
            let mut all = after.iter().chain(before);
            let found = all.find_map(|place| match place.poll_accept(cx) {
                Poll::Ready(accepted) => Some((Arc::clone(place), accepted)),
                Poll::Pending => None,
            });
            self.turn = if self.turn >= self.places.len() { 0 } else { self.turn + 1 };
            found.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The tasks of all connections: dropping them cuts the connections.
struct Clients {
    shared: Arc<Shared>,
    draining: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Clients {
    fn accept(&mut self, socket: Socket, peer: SocketAddr, terms: Arc<Terms>) {
        let counters = &self.shared.counters;
        counters.accepted.add();
        terms.counters.accepted.add();
        let open = self.tasks.len() as u64 + self.shared.relay.tunnels();
        if open >= u64::from(self.shared.layout().config.limits.connections_max.get()) {
            counters.shed.add();
            return;
        }
        if let Socket::Tcp(stream) = &socket
            && let Err(error) = stream.set_nodelay(true)
        {
            debug!(%peer, %error, "client gone before its first byte");
            return;
        }
        self.spawn(socket, peer, BytesMut::new(), terms, false);
    }

    fn take_back(&mut self, connection: Connection) {
        let Connection { stream, peer, read } = connection;
        let places = self.shared.places.all();
        let at = stream.local_addr().ok();
        let place =
            places.iter().find(|place| at.is_some_and(|at| place.took(at))).or_else(|| places.first());
        let Some(terms) = place.map(|place| place.terms()) else { return };
        match TcpStream::from_std(stream) {
            Ok(stream) => self.spawn(stream.into(), peer, into_mut(read), terms, true),
            Err(error) => debug!(%peer, %error, "returned connection lost"),
        }
    }

    /// Gives a connection its task, which ends with it; panics are heard by `note`.
    fn spawn(&mut self, socket: Socket, peer: SocketAddr, read: BytesMut, terms: Arc<Terms>, returned: bool) {
        let open = (Open::count(&self.shared.counters.open), Open::count(&terms.counters.open));
        let client = Client {
            shared: Arc::clone(&self.shared),
            draining: self.draining.clone(),
            target: None,
            terms,
            peer,
            returned,
        };
        self.tasks.spawn(async move {
            client.serve(socket, read).await;
            drop(open);
        });
    }
}

/// Rides out what a failed accept is about: mostly a lack of descriptors, which others must give back first.
async fn pause_after(error: &io::Error) {
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
