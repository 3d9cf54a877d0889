//! How NATS is used, and how that is written in a URL.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use async_nats::ServerAddr;
use thiserror::Error;

use crate::subject::PREFIX_BYTES_MAX;
use crate::url;

/// How NATS is used.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers; the others of their cluster are learned from them. At least one.
    pub servers: Vec<ServerAddr>,
    /// Who asks.
    pub credentials: Credentials,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// What subjects begin with. Default `sockeye`; the same on all nodes. `[A-Za-z0-9_-]`, at most [`PREFIX_BYTES_MAX`] bytes.
    pub prefix: String,
    /// How often a node that has nothing else to say says that it lives. Default 5 s.
    pub heartbeat_interval: Duration,
    /// How long a node that says nothing is thought to live. Default 10 s, and more than [`Config::heartbeat_interval`].
    pub heartbeat_timeout: Duration,
    /// How long a batch waits for a connection, and for the server to take it; then it counts as not published. Default 5 s.
    pub publish_timeout: Duration,
    /// How many messages of one subject may wait to be taken. Beyond, they are dropped, and the channel hears that some are lost. Default 16384;
    /// in the worst case they take as much memory as so many messages of each subject.
    pub waiting_max: NonZeroUsize,
    /// What clients that come back may have missed is kept, in JetStream. Default `None`: it is not. The same on all nodes.
    pub recovery: Option<Recovery>,
}

/// What is kept for clients that come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// How long events and sessions are kept. Default 10 min. A client whose last event is older begins anew, so it has to be several times what a
    /// client may be away (officially 2 min).
    pub kept: Duration,
    /// How many bytes of events are kept, at most. Default 256 MiB. What is older is forgotten first.
    pub bytes_max: u32,
    /// On how many servers of a NATS cluster events and sessions are kept, 1 to 5. Default 1.
    pub replicas: u8,
}

impl Default for Recovery {
    fn default() -> Self {
        Self { kept: Duration::from_secs(600), bytes_max: 256 << 20, replicas: 1 }
    }
}

/// Who asks. Its `Debug` shows no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// A user: `nats://name:password@…`.
    User {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// Whoever has this token: `nats://token@…`.
    Token(String),
    /// Whoever has the seed of this nkey (`SU…`): `?nkey=`.
    Nkey(String),
    /// A file with a JWT and a seed, as `nsc generate creds` writes it: `?creds=`.
    File(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::User { .. } => "User(…)",
            Self::Token(_) => "Token(…)",
            Self::Nkey(_) => "Nkey(…)",
            Self::File(_) => "File(…)",
        })
    }
}

/// How the connection is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether it has to be: `tls://…`. A server that demands it gets it anyway.
    pub required: bool,
    /// A file with the certificates (PEM) of authorities that may sign the server's, next to those of the system: `?ca=`.
    pub ca: Option<PathBuf>,
    /// Files with this node's certificate and key (PEM): `?cert=` and `?key=`.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// A URL that cannot be used. It never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// It is not `nats://…`, or its servers cannot be read.
    #[error("expected nats://user:password@host:port,host:port/?prefix=…, or tls://…: {0}")]
    Url(String),
    /// A parameter's value is none.
    #[error("parameter {name}={value}: expected {expected}")]
    Parameter {
        /// Which.
        name: String,
        /// What was given; of a secret, nothing.
        value: String,
        /// What would do.
        expected: &'static str,
    },
}

impl Config {
    /// Takes the defaults for these servers.
    pub fn new(servers: Vec<ServerAddr>) -> Self {
        Self {
            servers,
            credentials: Credentials::None,
            tls: Tls::default(),
            prefix: "sockeye".into(),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(5),
            waiting_max: NonZeroUsize::new(16_384).expect("it is not 0"),
            recovery: None,
        }
    }

    /// Reads `nats://user:password@host:port,host:port/?…`, also `tls://…`. Parameters: `prefix`, `recovery` (`true`, or how long events are
    /// kept: `90s`, `10m`, `1h`), `replicas`, `ca`, `cert`, `key`, `nkey`, `creds`.
    ///
    /// # Errors
    ///
    /// Fails on what it does not know, and says what would do.
    pub fn from_url(text: &str) -> Result<Self, ConfigError> {
        let parts = url::parts(text).map_err(|url::NoUrl(what)| ConfigError::Url(what))?;
        let scheme = if parts.tls { "tls" } else { "nats" };
        let servers = parts.servers.iter().map(|host| {
            ServerAddr::from_str(&format!("{scheme}://{host}"))
                .map_err(|error| ConfigError::Url(format!("{host:?}: {error}")))
        });
        let mut config = Self::new(servers.collect::<Result<_, _>>()?);
        config.tls.required = parts.tls;
        config.credentials = match (parts.user, parts.password) {
            (Some(name), Some(password)) => Credentials::User { name, password },
            (Some(token), None) => Credentials::Token(token),
            (None, _) => Credentials::None,
        };
        let (mut cert, mut key, mut replicas) = (None, None, None);
        for (name, value) in &parts.parameters {
            let wrong =
                |expected| ConfigError::Parameter { name: name.clone(), value: value.clone(), expected };
            match name.as_str() {
                "prefix" => config.prefix = prefix(value).ok_or_else(|| wrong("1 to 64 of [A-Za-z0-9_-]"))?,
                "recovery" => {
                    config.recovery = recovery(value)
                        .ok_or_else(|| wrong("true, false, or a time such as 90s, 10m, 1h"))?;
                }
                "replicas" => replicas = Some(count(value).ok_or_else(|| wrong("1 to 5"))?),
                "ca" => config.tls.ca = Some(file(value).ok_or_else(|| wrong("the path of a PEM file"))?),
                "cert" => cert = Some(file(value).ok_or_else(|| wrong("the path of a PEM file"))?),
                "key" => key = Some(file(value).ok_or_else(|| wrong("the path of a PEM file"))?),
                "creds" => {
                    config.credentials =
                        Credentials::File(file(value).ok_or_else(|| wrong("the path of a file"))?);
                }
                "nkey" if value.starts_with("SU") => config.credentials = Credentials::Nkey(value.clone()),
                "nkey" => {
                    return Err(ConfigError::Parameter {
                        name: name.clone(),
                        value: "…".into(),
                        expected: "the seed of a user, which begins with SU",
                    });
                }
                _ => {
                    return Err(ConfigError::Parameter {
                        name: name.clone(),
                        value: "…".into(),
                        expected: "one of prefix, recovery, replicas, ca, cert, key, nkey, creds",
                    });
                }
            }
        }
        config.tls.client = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(ConfigError::Url("cert= and key= are given together, or not at all".into()));
            }
        };
        if let (Some(recovery), Some(replicas)) = (&mut config.recovery, replicas) {
            recovery.replicas = replicas;
        }
        Ok(config)
    }

    /// Where NATS is, for people: without a login.
    pub(crate) fn place(&self) -> String {
        let scheme = if self.tls.required { "tls" } else { "nats" };
        let hosts: Vec<_> =
            self.servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        format!("{scheme}://{}", hosts.join(","))
    }
}

fn prefix(value: &str) -> Option<String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let good = (1..=PREFIX_BYTES_MAX).contains(&value.len()) && value.bytes().all(known);
    good.then(|| value.to_owned())
}

fn recovery(value: &str) -> Option<Option<Recovery>> {
    match value {
        "true" => return Some(Some(Recovery::default())),
        "false" => return Some(None),
        _ => {}
    }
    let (number, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let seconds = number.parse::<u32>().ok().filter(|number| *number > 0)?;
    Some(Some(Recovery { kept: Duration::from_secs(u64::from(seconds) * unit), ..Recovery::default() }))
}

fn count(value: &str) -> Option<u8> {
    value.parse().ok().filter(|count| (1..=5).contains(count))
}

fn file(value: &str) -> Option<PathBuf> {
    (!value.is_empty()).then(|| PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_servers_login_and_parameters() {
        let config =
            Config::from_url("tls://ann:p%40ss@a:4223,b/?prefix=chat&recovery=2m&replicas=3&ca=/x.pem")
                .unwrap();
        assert_eq!(config.place(), "tls://a:4223,b:4222");
        assert_eq!(config.credentials, Credentials::User { name: "ann".into(), password: "p@ss".into() });
        assert_eq!((config.prefix.as_str(), config.tls.required), ("chat", true));
        assert_eq!(config.tls.ca, Some("/x.pem".into()));
        let recovery = config.recovery.unwrap();
        assert_eq!((recovery.kept, recovery.replicas), (Duration::from_secs(120), 3));
        let plain = Config::from_url("nats://s3cret@localhost").unwrap();
        assert_eq!(plain.credentials, Credentials::Token("s3cret".into()));
        assert_eq!((plain.prefix.as_str(), plain.recovery), ("sockeye", None));
    }

    #[test]
    fn what_cannot_be_used_is_named_and_secrets_are_not() {
        for (url, expected) in [
            ("redis://h", "another scheme was given"),
            ("h:4222", "there is no ://"),
            ("nats://", "\"\" is no host:port"),
            ("nats://s3cret@a,,b", "\"\" is no host:port"),
            ("nats://s3cret%zz@a", "a % is not followed by two digits of hex"),
            ("nats://s3cret@a:port", "invalid port number"),
            ("nats://a?prefix=a.b", "parameter prefix=a.b: expected 1 to 64 of [A-Za-z0-9_-]"),
            (
                "nats://a?recovery=soon",
                "parameter recovery=soon: expected true, false, or a time such as 90s, 10m, 1h",
            ),
            ("nats://a?recovery=0s", "recovery=0s"),
            ("nats://a?recovery=", "recovery="),
            ("nats://a?replicas=9", "parameter replicas=9: expected 1 to 5"),
            ("nats://a?nkey=s3cret", "parameter nkey=…: expected the seed of a user, which begins with SU"),
            ("nats://a?cert=c", "cert= and key= are given together"),
            ("nats://a?pasword=s3cret", "expected one of prefix, recovery"),
        ] {
            let error = Config::from_url(url).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("s3cret"), "{url}: {error}");
        }
        let debug = format!("{:?}", Config::from_url("nats://ann:s3cret@a").unwrap());
        assert!(!debug.contains("s3cret"), "{debug}");
    }
}
