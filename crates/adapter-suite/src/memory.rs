//! A backplane in memory, for tests: an adapter to a [`Bus`], which can be cut.
//!
//! Messages are written and read as the official formats are ([`wire`]), so that nothing passes that could not go over a wire. The inbox is called
//! before a publish returns.

mod channel;
mod kind;
mod state;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sockeye_cluster::adapter::{Adapter, AdapterError, BoxFuture, Channel, Opening, Presence, Traits};
use sockeye_cluster::{Envelope, Nsp, Room, Uid, wire};

use self::channel::Seat;
pub use self::kind::Kind;
use self::state::State;

/// A bus. A clone is the same one.
#[derive(Clone)]
pub struct Bus {
    kind: Kind,
    state: Arc<Mutex<State>>,
}

impl Bus {
    /// Makes a bus that nobody is on.
    pub fn new(kind: Kind) -> Self {
        Self { kind, state: Arc::default() }
    }

    /// An adapter for one server.
    pub fn adapter(&self) -> Arc<dyn Adapter> {
        Arc::new(Memory(self.clone()))
    }

    /// Refuses or takes further channels.
    pub fn refuse(&self, refuse: bool) {
        self.state.lock().refuses = refuse;
    }

    /// Cuts every server off: nothing can be published.
    pub fn cut(&self) {
        self.state.lock().cut_all();
    }

    /// Cuts the server with this uid off: it cannot publish, and what others publish passes it by.
    pub fn cut_off(&self, uid: &Uid) {
        self.state.lock().cut_off(uid);
    }

    /// Ends every cut. A keeping bus hands out what was missed.
    pub fn heal(&self) {
        self.state.lock().heal(self.kind == Kind::Keeping);
    }

    /// Puts bytes that are no message where all servers of a namespace hear them.
    pub fn scribble(&self, nsp: &Nsp) {
        self.state.lock().scribble(nsp);
    }

    /// The uids of the servers of a namespace.
    pub fn uids(&self, nsp: &Nsp) -> Vec<Uid> {
        self.state.lock().uids(nsp)
    }

    /// Has an envelope heard that nobody on the bus has sent: an emitter's, say.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn say(&self, envelope: &Envelope) -> Result<(), AdapterError> {
        let frame = wire::encode(envelope).map_err(|error| AdapterError::Refused(error.to_string()))?;
        self.state.lock().carry(self.kind, envelope, None, &frame);
        Ok(())
    }

    /// The rooms that the server with this uid listens for.
    pub fn rooms(&self, uid: &Uid) -> Vec<Room> {
        self.state.lock().rooms(uid)
    }

    fn traits(&self) -> Traits {
        let presence = match self.kind {
            Kind::Plain => {
                Presence::Heartbeats { interval: Duration::from_secs(5), timeout: Duration::from_secs(10) }
            }
            Kind::Selecting | Kind::Keeping => Presence::Counted,
        };
        Traits { presence, offsets: self.kind == Kind::Keeping, selects_rooms: self.kind == Kind::Selecting }
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Memory(Bus);

impl Adapter for Memory {
    fn traits(&self) -> Traits {
        self.0.traits()
    }

    fn place(&self) -> String {
        "memory".into()
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>> {
        let seat = self.0.state.lock().open(&opening);
        let (kind, state) = (self.0.kind, Arc::clone(&self.0.state));
        Box::pin(async move {
            let (seat, began) = seat?;
            Ok(Arc::new(Seat::new(kind, state, seat, opening, began)) as Arc<dyn Channel>)
        })
    }
}
