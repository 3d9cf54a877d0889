//! What the workers of this machine share with other machines: a backplane, and the way to each other's sessions.
//!
//! Settled by `up`, told to the workers by their environment (a command line can be read by others), and read there.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use sockeye::{Adapter, NodeLink, NodeTls, NodeTrust, Secret};
use thiserror::Error;

use crate::backplane;
use crate::flags::UpFlags;

/// The address of the backplane.
pub(crate) const ADAPTER_VARIABLE: &str = "SOCKEYE_ADAPTER";

/// How an address begins that is a directory where workers of one machine meet, and no backplane.
pub(crate) const MESH: &str = "mesh:";

/// Where workers take requests that came to other machines.
const NODE_LINK_VARIABLE: &str = "SOCKEYE_NODE_LINK";

/// What all machines know.
const NODE_SECRET_VARIABLE: &str = "SOCKEYE_NODE_SECRET";

/// The files by which machines know each other in place of a secret: a flag each, and a variable.
const CERTIFICATES: [(&str, &str); 3] = [
    ("--node-link-cert", "SOCKEYE_NODE_LINK_CERT"),
    ("--node-link-key", "SOCKEYE_NODE_LINK_KEY"),
    ("--node-link-ca", "SOCKEYE_NODE_LINK_CA"),
];

/// What was said of the cluster by flags, or by a file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) adapter: Option<&'a str>,
    pub(crate) node_link: Option<SocketAddr>,
    /// The certificate, its key, the authority.
    pub(crate) certificates: [Option<&'a Path>; 3],
}

impl<'a> Said<'a> {
    /// What was typed.
    pub(crate) fn of_flags(flags: &'a UpFlags) -> Self {
        Self {
            adapter: flags.adapter.as_deref(),
            node_link: flags.node_link,
            certificates: [&flags.node_link_cert, &flags.node_link_key, &flags.node_link_ca]
                .map(Option::as_deref),
        }
    }

    /// What a file says.
    pub(crate) fn of_file(cluster: &'a sockeye_settings::Cluster) -> Self {
        let files = cluster.node_link_files.as_ref();
        let certificates = files.map_or([None; 3], |files| {
            [&files.certificate, &files.key, &files.ca].map(|file| Some(file.as_path()))
        });
        Self { adapter: cluster.adapter.as_deref(), node_link: cluster.node_link, certificates }
    }
}

/// What workers share with other machines. Its `Debug` shows no password.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    adapter: Option<String>,
    node_link: Option<SocketAddr>,
    certificates: Option<[PathBuf; 3]>,
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
    #[error(
        "--node-link needs {NODE_SECRET_VARIABLE}, the same on all machines, or --node-link-cert, --node-link-key and --node-link-ca: {0}"
    )]
    Secret(sockeye::NoSecret),
    /// One of the three is there, another is not.
    #[error("{0} is missing: the certificate, its key and the authority belong together")]
    Incomplete(&'static str),
    /// They are for a link, and there is none.
    #[error("{0} needs --node-link: it is for what machines say to each other")]
    NoLink(&'static str),
    /// They cannot be used.
    #[error("--node-link-cert, --node-link-key, --node-link-ca: {0}")]
    Certificates(sockeye::NoTls),
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
    /// Settles what was said, and what the environment says where nothing was. `check` looks at the address of a backplane.
    pub(crate) fn settle(
        said: &Said<'_>,
        variable: impl Fn(&str) -> Option<String>,
        check: impl Fn(&str) -> anyhow::Result<()>,
    ) -> Result<Self, ClusterError> {
        let (source, adapter) = told(said.adapter, &variable);
        if let Some(address) = &adapter {
            if address.starts_with(MESH) {
                return Err(ClusterError::Mesh(source));
            }
            check(address).map_err(|error| ClusterError::Adapter(source, error))?;
        }
        let Some(link) = said.node_link else {
            let typed = CERTIFICATES.iter().zip(said.certificates).find(|(_, file)| file.is_some());
            return match typed {
                Some(((flag, _), _)) => Err(ClusterError::NoLink(flag)),
                None => Ok(Self { adapter, ..Self::default() }),
            };
        };
        if adapter.is_none() {
            return Err(ClusterError::NoAdapter(link));
        }
        if link.ip().is_unspecified() {
            return Err(ClusterError::Unspecified(link));
        }
        let certificates = files(said.certificates, &variable)?;
        // Read here as well, so that what is wrong is told before a worker starts.
        trust(certificates.as_ref(), &variable)?;
        Ok(Self { adapter, node_link: Some(link), certificates })
    }

    /// Whether other machines may have sessions.
    pub(crate) fn is_one(&self) -> bool {
        self.adapter.is_some()
    }

    /// What the workers are told, beside the secret, which they inherit.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let adapter = self.adapter.as_ref().map(|adapter| (ADAPTER_VARIABLE.into(), adapter.into()));
        let link = self.node_link.map(|link| (NODE_LINK_VARIABLE.into(), link.to_string().into()));
        let names = CERTIFICATES.map(|(_, variable)| OsString::from(variable));
        let files = self.certificates.iter().flatten().map(|file| file.clone().into_os_string());
        adapter.into_iter().chain(link).chain(names.into_iter().zip(files)).collect()
    }
}

impl Cluster {
    /// The adapter, for what speaks to the workers' clients from here.
    pub(crate) async fn adapter(&self) -> anyhow::Result<Option<Arc<dyn Adapter>>> {
        let Some(address) = &self.adapter else { return Ok(None) };
        Ok(Some((backplane::at_hand()?.open)(address.clone()).await?))
    }
}

/// How machines know each other.
fn trust(
    certificates: Option<&[PathBuf; 3]>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<NodeTrust, ClusterError> {
    match certificates {
        Some([certificate, key, ca]) => {
            let tls = NodeTls::from_files(certificate, key, ca);
            tls.map(NodeTrust::from).map_err(ClusterError::Certificates)
        }
        None => {
            let secret = Secret::new(variable(NODE_SECRET_VARIABLE).unwrap_or_default());
            secret.map(NodeTrust::from).map_err(ClusterError::Secret)
        }
    }
}

/// How nodes of other machines are reached from here, where it is said.
pub(crate) fn trust_of(said: &Said<'_>) -> anyhow::Result<Option<NodeTrust>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let files = files(said.certificates, variable)?;
    if files.is_none() && variable(NODE_SECRET_VARIABLE).is_none() {
        return Ok(None);
    }
    Ok(Some(trust(files.as_ref(), variable)?))
}

/// The three files, absolute; `None` where there is none of them.
fn files(
    typed: [Option<&Path>; 3],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<[PathBuf; 3]>, ClusterError> {
    let mut found = Vec::with_capacity(CERTIFICATES.len());
    let mut missing = None;
    for ((flag, name), typed) in CERTIFICATES.into_iter().zip(typed) {
        let named = || variable(name).filter(|file| !file.is_empty());
        match typed.map(Path::to_owned).or_else(|| named().map(PathBuf::from)) {
            Some(file) => found.push(std::path::absolute(&file).unwrap_or(file)),
            None => missing = Some(flag),
        }
    }
    match (<[PathBuf; 3]>::try_from(found), missing) {
        (Ok(files), _) => Ok(Some(files)),
        (Err(found), Some(flag)) if !found.is_empty() => Err(ClusterError::Incomplete(flag)),
        (Err(_), _) => Ok(None),
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
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(address) = variable(ADAPTER_VARIABLE) else { return Ok((None, None)) };
    let link = variable(NODE_LINK_VARIABLE).map(|link| -> anyhow::Result<_> {
        let listen = link.parse().context(NODE_LINK_VARIABLE)?;
        let trust = trust(files([None; 3], variable)?.as_ref(), variable)?;
        Ok(Box::new(NodeLink { listen, advertise: None, trust }))
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
            let said = Said { adapter, node_link: link, ..Said::default() };
            match (Cluster::settle(&said, variable, check), expected) {
                (Ok(cluster), Ok(variables)) => assert_eq!(cluster.environment().len(), variables),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (got, expected) => panic!("expected {expected:?}, got {got:?}"),
            }
        }
        let of_environment =
            |name: &str| (name == ADAPTER_VARIABLE).then(|| "nats://:pw@127.0.0.1".to_owned());
        let cluster = Cluster::settle(&Said::default(), of_environment, check).unwrap();
        assert!(cluster.is_one() && !format!("{cluster:?}").contains("pw"));
    }

    #[test]
    fn certificates_are_three_files_for_a_link_and_take_the_place_of_the_secret() {
        let file = |name: &'static str| Some(Path::new(name));
        let link = Some("10.0.0.7:0".parse().unwrap());
        let rows = [
            (None, [file("/c"), file("/k"), file("/a")], "--node-link-cert needs --node-link"),
            (link, [file("/c"), None, file("/a")], "--node-link-key is missing"),
            (link, [None, None, file("/a")], "--node-link-key is missing"),
            (link, [file("/no/c"), file("/no/k"), file("/no/a")], "cannot read /no/c"),
        ];
        for (node_link, certificates, expected) in rows {
            let said = Said { adapter: Some("nats://127.0.0.1"), node_link, certificates };
            let error = Cluster::settle(&said, |_| None, |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let of_environment = |name: &str| (name == "SOCKEYE_NODE_LINK_CA").then(|| "/no/a".to_owned());
        let typed = [file("/no/c"), file("/no/k"), None];
        let all = files(typed, of_environment).unwrap().unwrap();
        assert_eq!(all, ["/no/c", "/no/k", "/no/a"].map(PathBuf::from));
        let certificates = Some(all);
        let cluster = Cluster { adapter: Some("nats://127.0.0.1".into()), node_link: link, certificates };
        assert_eq!(cluster.environment().len(), 5);
        // A worker is told by its environment alone.
        let variable = |name: &str| {
            let told = cluster.environment().into_iter().find(|(variable, _)| variable == name);
            told.and_then(|(_, value)| value.into_string().ok())
        };
        assert_eq!(files([None; 3], variable).unwrap(), cluster.certificates);
    }
}
