//! Who is in which room, on all servers: how that is tracked, and what is known of it.

use serde::de::DeserializeOwned;
use serde_json::Value;
use sockeye_cluster::Room;
pub use sockeye_cluster::roster::Stats as PresenceStats;
use sockeye_cluster::roster::{Change, Config, Event};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which rooms are tracked.
type Likes = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What is shown of a socket with such data.
type Show = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

/// How it is tracked who is in which room ([`Definition::track_presence`](crate::Definition::track_presence)). The same on all servers.
///
/// Each server keeps the whole list, about 200 bytes and what is shown for each stay, and tells the others of its own sockets; a server that
/// comes gets all lists.
#[derive(Clone)]
pub struct Presence {
    /// How often a server says to the others that it is there. Default 3 s.
    pub interval: Duration,
    /// How long what a server said holds: when it dies without a word its sockets have left by then, on every other server. Default 10 s. Where
    /// servers know of each other's end (the mesh, at once; Postgres, MongoDB, by heartbeats) they leave then.
    pub timeout: Duration,
    /// How many stays (a socket in a room) of one server are tracked; more are not, and counted
    /// ([`Namespace::presence_stats`](crate::Namespace::presence_stats)). Default 100,000.
    pub members_max: usize,
    /// Bytes of what is shown of a socket; of more nothing is shown but its id. Default 4096.
    pub data_bytes_max: usize,
    rooms: Option<Likes>,
    shown: Option<Show>,
}

impl Presence {
    /// Tracks only rooms that the function likes. Default: all, but for those of sockets' ids.
    #[must_use]
    pub fn of_rooms(mut self, likes: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.rooms = Some(Arc::new(likes));
        self
    }

    /// Sets what others see of a socket, made of its data ([`Socket::set_data`](crate::Socket::set_data); null where there are none). It is looked at again
    /// whenever the data change. Default: the data.
    #[must_use]
    pub fn showing(mut self, show: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        self.shown = Some(Arc::new(show));
        self
    }

    /// Sets how long what a server said holds, and lets it be said again four times as often.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        (self.timeout, self.interval) = (timeout, timeout / 4);
        self
    }

    pub(crate) fn tracks(&self, room: &str) -> bool {
        self.rooms.as_ref().is_none_or(|likes| likes(room))
    }

    /// What is shown of a socket with such data.
    pub(crate) fn show(&self, data: Option<&str>) -> Option<Arc<str>> {
        let Some(show) = &self.shown else { return data.map(Into::into) };
        let data = data.map_or(Value::Null, |data| serde_json::from_str(data).unwrap_or_default());
        let shown = show(&data);
        (!shown.is_null()).then(|| shown.to_string().into())
    }

    pub(crate) fn config(&self) -> Config {
        let Self { interval, timeout, members_max, data_bytes_max, rooms: _, shown: _ } = *self;
        Config { interval, timeout, members_max, data_bytes_max }
    }
}

impl Default for Presence {
    fn default() -> Self {
        let Config { interval, timeout, members_max, data_bytes_max } = Config::default();
        Self { interval, timeout, members_max, data_bytes_max, rooms: None, shown: None }
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config().fmt(f)
    }
}

/// A socket in a room, on whichever server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    id: Arc<str>,
    data: Option<Arc<str>>,
}

impl Present {
    pub(crate) fn new(id: Arc<str>, data: Option<Arc<str>>) -> Self {
        Self { id, data }
    }

    /// The socket's id, which is also the name of a room that it is alone in.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reads what is shown of it; `None` where that is nothing.
    ///
    /// # Errors
    /// It is not of that type.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.data.as_deref().map(serde_json::from_str).transpose()
    }
}

/// Something that has changed in a room, on whichever server. What happens again before it is told is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// A socket joined.
    Joined {
        /// The room.
        room: Room,
        /// The socket.
        who: Present,
    },
    /// A socket left, or its server is gone.
    Left {
        /// The room.
        room: Room,
        /// The socket, and what was shown of it.
        who: Present,
    },
    /// Something else is shown of a socket.
    Changed {
        /// The room.
        room: Room,
        /// The socket.
        who: Present,
    },
}

impl From<Event> for PresenceEvent {
    fn from(event: Event) -> Self {
        let Event { room, id, data, change } = event;
        let who = Present::new(id, data);
        match change {
            Change::Joined => Self::Joined { room, who },
            Change::Left => Self::Left { room, who },
            Change::Shown => Self::Changed { room, who },
        }
    }
}
