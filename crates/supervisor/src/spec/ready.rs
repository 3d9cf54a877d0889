//! What says that a process serves.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// What says that a process serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyBy {
    /// Without instances: that it runs. With them, the first of: our link, the plain link, its `PORT` takes connections; where it has none, `ready_timeout` is nearly over.
    Auto,
    /// That it runs.
    Started,
    /// Its word over our link.
    Link,
    /// `READY=1` on `NOTIFY_SOCKET`, as for systemd.
    Notify,
    /// `process.send('ready')`, as for pm2.
    Ipc,
    /// A port of this machine takes connections: this one, or its `PORT`.
    Port(Option<u16>),
    /// `GET` of this path on its port is answered by 200 to 399.
    Http(String),
}

impl FromStr for ReadyBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "started" => Self::Started,
            "link" => Self::Link,
            "notify" => Self::Notify,
            "ipc" => Self::Ipc,
            "port" => Self::Port(None),
            _ => {
                let port =
                    text.strip_prefix("port:").and_then(|port| port.parse().ok()).filter(|port| *port != 0);
                let path = text
                    .strip_prefix("http:")
                    .filter(|path| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()));
                match (port, path) {
                    (Some(port), _) => Self::Port(Some(port)),
                    (None, Some(path)) => Self::Http(path.to_owned()),
                    (None, None) => {
                        return Err(format!(
                            "expected auto, started, link, notify, ipc, port, port:NUMBER or http:/PATH, got {text}"
                        ));
                    }
                }
            }
        })
    }
}

impl fmt::Display for ReadyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Started => f.write_str("started"),
            Self::Link => f.write_str("link"),
            Self::Notify => f.write_str("notify"),
            Self::Ipc => f.write_str("ipc"),
            Self::Port(None) => f.write_str("port"),
            Self::Port(Some(port)) => write!(f, "port:{port}"),
            Self::Http(path) => write!(f, "http:{path}"),
        }
    }
}

impl Serialize for ReadyBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReadyBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_a_word() {
        for said in ["auto", "started", "link", "notify", "ipc", "port", "port:8080", "http:/health?x=1"] {
            assert_eq!(said.parse::<ReadyBy>().unwrap().to_string(), said);
        }
        for wrong in ["", "port:0", "port:x", "http:", "http:health", "http:/a b", "ready"] {
            assert!(wrong.parse::<ReadyBy>().is_err(), "{wrong}");
        }
    }
}
