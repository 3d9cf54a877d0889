//! Reads one stream for all namespaces of an adapter that are in it: one connection, which blocks, and one task.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::cmd;
use sockeye_cluster::adapter::AdapterError;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::entry::{Entry, EntryId, Extent, entries_in_read};
use crate::connection::{Connection, adapter_error};
use crate::limits::{CONNECT_TIMEOUT, RECONNECT_MAX, RECONNECT_MIN, RESPONSE_TIMEOUT};
use crate::link::within;
use crate::server::{Push, Server};

/// How a stream is read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) server: Server,
    pub(crate) stream: String,
    pub(crate) count: u32,
    /// So many entries at once show that the reader may be further behind than the stream reaches.
    pub(crate) behind: usize,
    pub(crate) block: Duration,
}

/// Hears what is in a stream. Called from the reader's task: it does not block.
pub(crate) trait Follower: Send + Sync {
    fn entry(&self, entry: &Entry);
    fn lost(&self);
    fn resumed(&self, whole: bool);
}

/// The reader of a stream; it stops when it is dropped.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    state: Mutex<State>,
}

/// Who follows one namespace.
type Followers = Vec<(u64, Arc<dyn Follower>)>;

struct State {
    /// Up to where all followers have heard everything.
    at: EntryId,
    followers: HashMap<Arc<str>, Followers>,
    next_id: u64,
}

/// Somebody follows, until this is dropped.
pub(crate) struct Following {
    reader: Arc<Reader>,
    nsp: Arc<str>,
    id: u64,
    /// The place after which it hears everything.
    pub(crate) began: EntryId,
}

impl Reader {
    /// Connects, finds the end of the stream, and reads on from there.
    pub(crate) async fn start(reading: Reading) -> Result<Self, AdapterError> {
        let mut connection = connect(&reading).await?;
        let extent = extent(&mut connection, &reading.stream).await?;
        let state = State { at: extent.last, followers: HashMap::new(), next_id: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        // Ends when the reader is dropped. It does not panic: what followers do may not.
        let task = tokio::spawn(read(reading, Arc::clone(&shared), connection)).abort_handle();
        Ok(Self { shared, task })
    }

    /// Follows a namespace, from where the reader stands.
    pub(crate) fn follow(self: &Arc<Self>, nsp: &str, follower: Arc<dyn Follower>) -> Following {
        let mut state = self.shared.state.lock();
        state.next_id += 1;
        let (id, nsp) = (state.next_id, Arc::<str>::from(nsp));
        state.followers.entry(Arc::clone(&nsp)).or_default().push((id, follower));
        Following { reader: Arc::clone(self), nsp, id, began: state.at }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut state = self.reader.shared.state.lock();
        let Some(followers) = state.followers.get_mut(&self.nsp) else { return };
        followers.retain(|(id, _)| *id != self.id);
        if followers.is_empty() {
            state.followers.remove(&self.nsp);
        }
    }
}

impl Shared {
    /// Moves on to an entry, and has those hear it who are there by then.
    fn hear(&self, entry: &Entry) {
        let followers: Vec<_> = {
            let mut state = self.state.lock();
            state.at = entry.id;
            let followers = state.followers.get(&*entry.nsp);
            followers.into_iter().flatten().map(|(_, follower)| Arc::clone(follower)).collect()
        };
        followers.iter().for_each(|follower| follower.entry(entry));
    }

    fn tell_all(&self, tell: impl Fn(&dyn Follower)) {
        let followers: Vec<_> = {
            let state = self.state.lock();
            state.followers.values().flatten().map(|(_, follower)| Arc::clone(follower)).collect()
        };
        followers.iter().for_each(|follower| tell(&**follower));
    }
}

/// Reads for ever: over this connection, and over others when it breaks.
async fn read(reading: Reading, shared: Arc<Shared>, mut connection: Connection) {
    loop {
        let error = follow(&reading, &shared, &mut connection).await;
        warn!(stream = reading.stream, %error, "reading the stream was interrupted");
        shared.tell_all(|follower| follower.lost());
        let mut pause = RECONNECT_MIN;
        loop {
            // Some more or less, so that servers do not all come at once.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
            pause = (pause * 2).min(RECONNECT_MAX);
            match resume(&reading, &shared).await {
                Ok(fresh) => {
                    connection = fresh;
                    break;
                }
                Err(error) => warn!(stream = reading.stream, %error, "the stream cannot be read"),
            }
        }
    }
}

/// Reads until that fails.
async fn follow(reading: &Reading, shared: &Shared, connection: &mut Connection) -> AdapterError {
    loop {
        let at = shared.state.lock().at;
        let mut xread = cmd("XREAD");
        xread.arg("COUNT").arg(reading.count);
        xread.arg("BLOCK").arg(u64::try_from(reading.block.as_millis()).unwrap_or(u64::MAX));
        xread.arg("STREAMS").arg(&reading.stream).arg(at.to_string());
        match connection.send(&xread).await {
            Ok(value) => {
                let entries = entries_in_read(value);
                if entries.len() >= reading.behind {
                    match extent(connection, &reading.stream).await {
                        // A server that was frozen, say, while its connection lived: Redis tells nobody what it has cut off.
                        Ok(extent) if !extent.is_whole_after(at) => {
                            warn!(
                                stream = reading.stream,
                                "the stream was cut off before it was read: something is lost"
                            );
                            shared.tell_all(|follower| follower.resumed(false));
                        }
                        Ok(_) => {}
                        Err(error) => return error,
                    }
                }
                entries.iter().for_each(|entry| shared.hear(entry));
            }
            Err(error) => return adapter_error(&error),
        }
    }
}

/// Connects again, and tells whether what came meanwhile is still there.
async fn resume(reading: &Reading, shared: &Shared) -> Result<Connection, AdapterError> {
    let mut connection = connect(reading).await?;
    let extent = extent(&mut connection, &reading.stream).await?;
    let whole = {
        let mut state = shared.state.lock();
        let whole = extent.knows(state.at) && extent.is_whole_after(state.at);
        if extent.last < state.at {
            // It is another stream than before: all of it is unread.
            state.at = EntryId::ZERO;
        }
        whole
    };
    info!(stream = reading.stream, whole, "reading the stream again");
    shared.tell_all(|follower| follower.resumed(whole));
    Ok(connection)
}

async fn connect(reading: &Reading) -> Result<Connection, AdapterError> {
    let nothing = Push(Arc::new(|_| {}));
    let patience = reading.block + RESPONSE_TIMEOUT;
    within(CONNECT_TIMEOUT, Box::pin(reading.server.connect(true, nothing, patience))).await
}

async fn extent(connection: &mut Connection, stream: &str) -> Result<Extent, AdapterError> {
    let asked =
        tokio::time::timeout(RESPONSE_TIMEOUT, connection.send(cmd("XINFO").arg("STREAM").arg(stream))).await;
    match asked {
        Ok(Ok(value)) => Ok(Extent::of(value)),
        Ok(Err(error)) if is_no_such_key(&error) => Ok(Extent::empty()),
        Ok(Err(error)) => Err(adapter_error(&error)),
        Err(_) => Err(AdapterError::Unreachable(format!("no answer within {RESPONSE_TIMEOUT:?}"))),
    }
}

/// Whether Redis says that there is no such stream.
pub(crate) fn is_no_such_key(error: &redis::RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("no such key"))
}
