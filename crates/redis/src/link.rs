//! The connection over which commands go: made when it is first needed, and again when it was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use redis::{Cmd, PushKind, RedisResult, Value};
use sockeye_cluster::adapter::AdapterError;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use crate::connection::{Command, Connection, adapter_error, is_lost};
use crate::limits::{CONNECT_TIMEOUT, RECONNECT_MIN, RESPONSE_TIMEOUT};
use crate::server::{Push, Server};

/// The connection over which commands go.
pub(crate) struct Link {
    server: Server,
    whole: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    /// When the last attempt failed, and why.
    failed: Option<(Instant, AdapterError)>,
}

struct Live {
    connection: Connection,
    lost: Arc<AtomicBool>,
}

impl Link {
    /// Makes no connection yet. Of a cluster, `whole` wants each server of it, else any will do.
    pub(crate) fn new(server: Server, whole: bool) -> Self {
        Self { server, whole, state: Mutex::default() }
    }

    /// Sends commands in one go; as many answers as commands. Nothing is sent twice.
    pub(crate) async fn send_all(&self, commands: Vec<Command<'_>>) -> Vec<Result<Value, AdapterError>> {
        if commands.is_empty() {
            return Vec::new();
        }
        let count = commands.len();
        let (mut connection, lost) = match self.connection().await {
            Ok(live) => live,
            Err(error) => return vec![Err(error); count],
        };
        let results = connection.send_all(commands).await;
        results.into_iter().map(|result| judged(result, &lost)).collect()
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn send(&self, cmd: &Cmd) -> Result<Value, AdapterError> {
        let (mut connection, lost) = self.connection().await?;
        judged(connection.send(cmd).await, &lost)
    }

    /// Adds up how many subscribe to a channel.
    pub(crate) async fn count(&self, word: &str, channel: &str) -> Result<u64, AdapterError> {
        let (mut connection, lost) = self.connection().await?;
        judged(connection.count(word, channel).await, &lost)
    }

    /// The connection that lives, or one that is made; whoever comes meanwhile waits for the same one.
    async fn connection(&self) -> Result<(Connection, Arc<AtomicBool>), AdapterError> {
        let mut state = self.state.lock().await;
        if let Some(live) = state.live.as_ref().filter(|live| !live.lost.load(Relaxed)) {
            return Ok((live.connection.clone(), Arc::clone(&live.lost)));
        }
        state.live = None;
        if let Some((at, error)) = &state.failed
            && at.elapsed() < RECONNECT_MIN
        {
            return Err(error.clone());
        }
        let lost = Arc::<AtomicBool>::default();
        let gone = Arc::clone(&lost);
        let push = Push(Arc::new(move |info| {
            if info.kind == PushKind::Disconnection {
                gone.store(true, Relaxed);
            }
        }));
        match within(CONNECT_TIMEOUT, Box::pin(self.server.connect(self.whole, push, RESPONSE_TIMEOUT))).await
        {
            Ok(connection) => {
                state.failed = None;
                state.live = Some(Live { connection: connection.clone(), lost: Arc::clone(&lost) });
                Ok((connection, lost))
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

/// What connecting has come to; nobody waits longer than the limit, however many addresses there are.
pub(crate) async fn within(
    limit: Duration,
    connecting: impl Future<Output = RedisResult<Connection>>,
) -> Result<Connection, AdapterError> {
    match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected.map_err(|error| adapter_error(&error)),
        Err(_) => Err(AdapterError::Unreachable(format!("no connection within {limit:?}"))),
    }
}

fn judged<T>(result: RedisResult<T>, lost: &AtomicBool) -> Result<T, AdapterError> {
    result.map_err(|error| {
        if is_lost(&error) {
            lost.store(true, Relaxed);
        }
        adapter_error(&error)
    })
}
