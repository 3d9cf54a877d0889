//! What the workers of this machine share with other machines: a backplane, and the way to each other's sessions.
//!
//! Settled by `up`, told to the workers by their environment (a command line can be read by others), and read there.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use sockeye::{Adapter, NodeLink, Secret};
use thiserror::Error;

use crate::backplane;

/// The address of the backplane.
pub(crate) const ADAPTER_VARIABLE: &str = "SOCKEYE_ADAPTER";

/// How an address begins that is a directory where workers of one machine meet, and no backplane.
pub(crate) const MESH: &str = "mesh:";

/// Where workers take requests that came to other machines.
const NODE_LINK_VARIABLE: &str = "SOCKEYE_NODE_LINK";

/// What all machines know.
const NODE_SECRET_VARIABLE: &str = "SOCKEYE_NODE_SECRET";

/// What workers share with other machines. Its `Debug` shows no password.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    adapter: Option<String>,
    node_link: Option<SocketAddr>,
}

/// What a cluster cannot be made of.
#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// The address names no backplane. It is not repeated: it may hold a password.
    #[error("{0}: {1:#}")]
    Adapter(&'static str, anyhow::Error),
    /// Workers share events by sockets already.
    #[error("{0}: expected a backplane: the workers of a machine are in one mesh without it")]
    Mesh(&'static str),
    /// Nodes find each other on a backplane.
    #[error("--node-link {0} needs --adapter: machines find each other on a backplane")]
    NoAdapter(SocketAddr),
    /// Others would not find it.
    #[error(
        "--node-link {0}: expected the address by which other machines reach this one, such as 10.0.0.7:4000"
    )]
    Unspecified(SocketAddr),
    /// There is no secret, or a short one.
    #[error("--node-link needs {NODE_SECRET_VARIABLE}, the same on all machines: {0}")]
    Secret(sockeye::NoSecret),
}

/// Whether the client of a backplane is asked for, by what was typed or else by the environment.
pub(crate) fn asks_for_backplane(adapter: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> bool {
    told(adapter, variable).1.is_some_and(|adapter| !adapter.starts_with(MESH))
}

/// Who tells of an adapter, and which.
fn told(adapter: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> (&'static str, Option<String>) {
    match adapter {
        Some(adapter) => ("--adapter", Some(adapter.to_owned())),
        None => (ADAPTER_VARIABLE, variable(ADAPTER_VARIABLE).filter(|address| !address.is_empty())),
    }
}

impl Cluster {
    /// Settles what was typed, and what the environment says where nothing was.
    pub(crate) fn settle(
        adapter: Option<&str>,
        node_link: Option<SocketAddr>,
        variable: impl Fn(&str) -> Option<String>,
        check: impl Fn(&str) -> anyhow::Result<()>,
    ) -> Result<Self, ClusterError> {
        let (source, adapter) = told(adapter, &variable);
        if let Some(address) = &adapter {
            if address.starts_with(MESH) {
                return Err(ClusterError::Mesh(source));
            }
            check(address).map_err(|error| ClusterError::Adapter(source, error))?;
        }
        if let Some(link) = node_link {
            if adapter.is_none() {
                return Err(ClusterError::NoAdapter(link));
            }
            if link.ip().is_unspecified() {
                return Err(ClusterError::Unspecified(link));
            }
            Secret::new(variable(NODE_SECRET_VARIABLE).unwrap_or_default()).map_err(ClusterError::Secret)?;
        }
        Ok(Self { adapter, node_link })
    }

    /// Whether other machines may have sessions.
    pub(crate) fn is_one(&self) -> bool {
        self.adapter.is_some()
    }

    /// What the workers are told, beside the secret, which they inherit.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let adapter = self.adapter.as_ref().map(|adapter| (ADAPTER_VARIABLE.into(), adapter.into()));
        let link = self.node_link.map(|link| (NODE_LINK_VARIABLE.into(), link.to_string().into()));
        adapter.into_iter().chain(link).collect()
    }
}

impl Cluster {
    /// The adapter, for what speaks to the workers' clients from here.
    pub(crate) async fn adapter(&self) -> anyhow::Result<Option<Arc<dyn Adapter>>> {
        let Some(address) = &self.adapter else { return Ok(None) };
        Ok(Some((backplane::at_hand()?.open)(address.clone()).await?))
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("is_one", &self.is_one()).field("node_link", &self.node_link).finish()
    }
}

/// What a worker's settings say of the cluster.
type OfWorker = (Option<Arc<dyn Adapter>>, Option<Box<NodeLink>>);

/// Reads what a worker was told.
pub(crate) async fn of_worker() -> anyhow::Result<OfWorker> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(address) = variable(ADAPTER_VARIABLE) else { return Ok((None, None)) };
    let link = variable(NODE_LINK_VARIABLE).map(|link| -> anyhow::Result<_> {
        let listen = link.parse().context(NODE_LINK_VARIABLE)?;
        let secret = Secret::new(variable(NODE_SECRET_VARIABLE).unwrap_or_default())?;
        Ok(Box::new(NodeLink { listen, advertise: None, secret }))
    });
    Ok((Some((backplane::at_hand()?.open)(address).await?), link.transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_a_backplane_and_perhaps_a_link_with_its_secret() {
        let link = |text: &str| Some(text.parse().unwrap());
        let secret = "a secret of some length";
        let check = |url: &str| match url.starts_with("kafka") {
            true => Err(anyhow::anyhow!("no such scheme")),
            false => Ok(()),
        };
        type Row<'a> = (Option<&'a str>, Option<SocketAddr>, &'a str, Result<usize, &'a str>);
        let rows: [Row<'_>; 8] = [
            (None, None, "", Ok(0)),
            (Some("redis://127.0.0.1"), None, "", Ok(1)),
            (Some("redis://127.0.0.1"), link("10.0.0.7:0"), secret, Ok(2)),
            (Some("kafka://:pw@x"), None, "", Err("--adapter: no such scheme")),
            (Some("mesh:/x"), None, "", Err("--adapter: expected a backplane")),
            (None, link("10.0.0.7:0"), secret, Err("--node-link 10.0.0.7:0 needs --adapter")),
            (Some("nats://127.0.0.1"), link("0.0.0.0:1"), secret, Err("by which other machines reach")),
            (Some("nats://127.0.0.1"), link("10.0.0.7:0"), "short", Err("needs SOCKEYE_NODE_SECRET")),
        ];
        for (adapter, link, secret, expected) in rows {
            let variable = |name: &str| (name == NODE_SECRET_VARIABLE).then(|| secret.to_owned());
            match (Cluster::settle(adapter, link, variable, check), expected) {
                (Ok(cluster), Ok(variables)) => assert_eq!(cluster.environment().len(), variables),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (got, expected) => panic!("expected {expected:?}, got {got:?}"),
            }
        }
        let of_environment =
            |name: &str| (name == ADAPTER_VARIABLE).then(|| "nats://:pw@127.0.0.1".to_owned());
        let cluster = Cluster::settle(None, None, of_environment, check).unwrap();
        assert!(cluster.is_one() && !format!("{cluster:?}").contains("pw"));
    }
}
