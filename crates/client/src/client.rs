//! A client, as a program holds it.

use crate::address::Address;
use crate::auth::auth_json;
use crate::command::{Command, Line, Room, Seat};
use crate::config::Config;
use crate::driver;
use crate::error::{ConfigError, JoinError};
use crate::inbox::Inbox;
use crate::socket::Socket;
use crate::status::{Phase, Status};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// One client of one server: a connection at a time, and any number of namespaces on it. Clones are the same one.
///
/// A task of its own drives it, from [`Client::new`] until [`Client::close`], or until the last handle (this, and all its
/// [`Socket`]s) is dropped.
#[derive(Debug, Clone)]
pub struct Client {
    line: Arc<Line>,
    rooms: Arc<Mutex<BTreeMap<String, Arc<Room>>>>,
    status: watch::Receiver<Status>,
}

impl Client {
    /// Begins to connect to a server, such as `https://example.com:3000`. What the URL has as a query is sent with every request;
    /// its path is passed over: the server's is [`Config::path`], and namespaces are asked for by [`Client::socket`].
    ///
    /// # Errors
    /// [`ConfigError`]: the URL or a field makes no sense.
    ///
    /// # Panics
    /// Where no tokio runtime runs.
    pub fn new(url: &str, config: Config) -> Result<Self, ConfigError> {
        let address = Address::parse(url)?;
        let (commands, wishes) = mpsc::channel(config.limits.outgoing_max.max(1));
        let line = Arc::new(Line {
            commands,
            budget: Arc::default(),
            limits: config.limits,
            ack_timeout: config.ack_timeout,
        });
        let (tell, status) = watch::channel(Status::default());
        driver::start(address, config, wishes, Arc::clone(&line.budget), tell)?;
        Ok(Self { line, rooms: Arc::default(), status })
    }

    /// A namespace, such as `/` or `/admin`, without credentials. Asking twice gives the same one.
    ///
    /// # Errors
    /// [`JoinError`]: too many, or the client is closed.
    pub fn socket(&self, namespace: &str) -> Result<Socket, JoinError> {
        self.join(namespace, String::new())
    }

    /// A namespace with credentials: anything that serializes to a JSON object. They are sent each time that the client asks to be in.
    ///
    /// # Errors
    /// [`JoinError`]: the credentials are no object, too many namespaces, or the client is closed.
    pub fn socket_with(&self, namespace: &str, auth: impl Serialize) -> Result<Socket, JoinError> {
        self.join(namespace, auth_json(&auth)?)
    }

    fn join(&self, namespace: &str, auth: String) -> Result<Socket, JoinError> {
        let name = if namespace.starts_with('/') { namespace.to_owned() } else { format!("/{namespace}") };
        let mut rooms = self.rooms.lock();
        if let Some(room) = rooms.get(&name) {
            return Ok(Socket::new(Arc::clone(&self.line), Arc::clone(room)));
        }
        let max = self.line.limits.sockets_max;
        if rooms.len() >= max {
            return Err(JoinError::TooMany(max));
        }
        let room = Arc::new(Room {
            nsp: name.as_str().into(),
            inbox: Inbox::default(),
            seat: watch::Sender::new(Seat::Out),
            auth: Mutex::new(auth.clone()),
        });
        self.line.say(0, Command::Join { room: Arc::clone(&room), auth })?;
        rooms.insert(name, Arc::clone(&room));
        Ok(Socket::new(Arc::clone(&self.line), room))
    }

    /// How the connection stands.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until the connection stands in a way, or nothing will change any more, and gives how it stands then.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn wait(&self, mut until: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.status.clone();
        let settled = status.wait_for(|status| until(status) || status.phase == Phase::Over).await;
        settled.map(|status| status.clone()).unwrap_or_else(|_| self.status())
    }

    /// Leaves all namespaces, closes the connection in order, and waits for that: at most 2 s.
    ///
    /// # Cancel safety
    /// When dropped, the client closes nevertheless.
    pub async fn close(&self) {
        // Where there is no room for the wish, it waits; where the task is gone, there is nothing to close.
        if self.line.commands.send(Command::Close).await.is_ok() {
            self.wait(|_| false).await;
        }
    }
}
