//! One connection, to a server or to a cluster of them, and what may be sent over it.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, cmd};
use sockeye_cluster::adapter::AdapterError;

/// A connection; a clone is another handle to it, and the last one closes it.
#[derive(Clone)]
pub(crate) enum Connection {
    /// To one server.
    Server(MultiplexedConnection),
    /// To each server of a cluster.
    Cluster(ClusterConnection),
}

/// A command, with the name by which a cluster knows where it belongs: two with the same name stay in order.
pub(crate) struct Command<'a> {
    pub(crate) name: &'a str,
    pub(crate) cmd: Cmd,
}

impl Connection {
    /// Sends a command and waits for its answer.
    pub(crate) async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(connection) => cmd.query_async(connection).await,
            Self::Cluster(connection) => cmd.query_async(connection).await,
        }
    }

    /// Sends commands in one go; as many answers as commands.
    pub(crate) async fn send_all(&mut self, commands: Vec<Command<'_>>) -> Vec<RedisResult<Value>> {
        match self {
            Self::Server(connection) => {
                pipe(connection, commands.into_iter().map(|command| command.cmd)).await
            }
            Self::Cluster(connection) => {
                // A pipeline goes to one server, so each name has its own.
                let total = commands.len();
                let mut by_name: BTreeMap<_, (Vec<usize>, Vec<Cmd>)> = BTreeMap::new();
                for (index, command) in commands.into_iter().enumerate() {
                    let (indexes, cmds) = by_name.entry(command.name).or_default();
                    indexes.push(index);
                    cmds.push(command.cmd);
                }
                let parts = by_name.into_values().map(|(indexes, cmds)| {
                    let mut connection = connection.clone();
                    async move { (indexes, pipe(&mut connection, cmds.into_iter()).await) }
                });
                let mut results: Vec<_> = (0..total).map(|_| Ok(Value::Nil)).collect();
                for (indexes, part) in join_all(parts).await {
                    for (index, result) in indexes.into_iter().zip(part) {
                        results[index] = result;
                    }
                }
                results
            }
        }
    }

    /// Adds up how many subscribe to a channel, over all masters.
    pub(crate) async fn count(&mut self, word: &str, channel: &str) -> RedisResult<u64> {
        let mut ask = cmd("PUBSUB");
        ask.arg(word).arg(channel);
        match self {
            Self::Server(connection) => {
                ask.query_async::<Value>(connection).await.map(|value| number_in(&value))
            }
            Self::Cluster(connection) => {
                let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let value = connection.route_command(ask, masters).await?;
                // One entry a server: its address, and what it says.
                let Value::Map(entries) = value else { return Ok(number_in(&value)) };
                Ok(entries.iter().map(|(_, answer)| number_in(answer)).sum())
            }
        }
    }
}

/// The count in the answer of `PUBSUB NUMSUB <channel>`: a list or a map of names and counts.
fn number_in(value: &Value) -> u64 {
    if let Value::Int(number) = value {
        return u64::try_from(*number).unwrap_or(0);
    }
    if let Value::Array(items) = value {
        return items.iter().map(number_in).sum();
    }
    if let Value::Map(entries) = value {
        return entries.iter().map(|(_, value)| number_in(value)).sum();
    }
    0
}

async fn pipe(
    connection: &mut impl ConnectionLike,
    cmds: impl ExactSizeIterator<Item = Cmd>,
) -> Vec<RedisResult<Value>> {
    let count = cmds.len();
    let mut pipeline = Pipeline::with_capacity(count);
    for cmd in cmds {
        pipeline.add_command(cmd);
    }
    match connection.req_packed_commands(&pipeline, 0, count).await {
        Ok(values) => {
            let mut results: Vec<_> = values.into_iter().map(checked).collect();
            results.resize_with(count, || {
                Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)))
            });
            results
        }
        Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
    }
}

fn checked(value: Value) -> RedisResult<Value> {
    let Value::ServerError(error) = value else { return Ok(value) };
    Err(error.into())
}

/// What became of a command, in the words of the contract.
pub(crate) fn adapter_error(error: &RedisError) -> AdapterError {
    if is_lost(error) {
        AdapterError::Unreachable(error.to_string())
    } else {
        AdapterError::Refused(error.to_string())
    }
}

/// Whether the connection is of no use any more, or leads to a server that may not be written to: after a failover, say.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    let replaced = matches!(
        error.code(),
        Some("READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK")
    );
    replaced
        || error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
}
