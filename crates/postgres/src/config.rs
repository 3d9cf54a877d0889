//! How PostgreSQL is used, and how that is written in a URL.

use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use tokio_postgres::config::SslMode;

use crate::table::Table;
use crate::tls::Verify;

/// How PostgreSQL is used. What the official adapter has too has its name and default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server is and who asks. Its `Debug` shows no password. One node keeps three connections.
    pub server: tokio_postgres::Config,
    /// Whether it is looked at whose server it is, where TLS is spoken: `sslmode` of [`Config::server`] says whether it is, by default where the
    /// server has it. Default [`Verify::Nothing`].
    pub verify: Verify,
    /// What channels' names begin with. Default `socket.io`; the same on all nodes.
    pub channel_prefix: String,
    /// Where binary and long messages are. Default `socket_io_attachments`; the same on all nodes. Made where it is absent.
    pub attachments: Table,
    /// From how many bytes on a message goes by the table. Default and most 8000, the server's own limit.
    pub payload_threshold: usize,
    /// How often what is old is deleted, and how old an attachment gets. Default 30 s. Shorter: a slow node may find one gone.
    pub cleanup_interval: Duration,
    /// How often a node that has nothing else to say says that it lives. Default 5 s.
    pub heartbeat_interval: Duration,
    /// How long a node that says nothing is thought to live. Default 10 s, and more than [`Config::heartbeat_interval`].
    pub heartbeat_timeout: Duration,
    /// How long one batch may take to be published, the wait for a connection included; then it counts as not published. Default 5 s.
    pub publish_timeout: Duration,
    /// What clients that come back may have missed is written down. Default `None`: it is not.
    pub recovery: Option<Recovery>,
}

/// What is written down for clients that come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Where events are. Default `socket_io_events`. Made where it is absent.
    pub events: Table,
    /// Where sessions are. Default `socket_io_sessions`. Made where it is absent.
    pub sessions: Table,
    /// How long an event is kept. Default 10 min. It has to be longer than a client may be away (officially 2 min), and the time in which a dead
    /// connection is noticed (45 s) on top; who comes back after older events were deleted begins anew.
    pub events_kept: Duration,
}

/// A URL that cannot be used. It never holds the password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// It is not `postgres://…`, or its server cannot be read.
    #[error("expected postgres://user:password@host:port/database: {0}")]
    Url(String),
    /// A parameter's value is none.
    #[error("parameter {name}={value:?}: {expected}")]
    Parameter {
        /// Which.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: String,
    },
}

impl Config {
    /// Takes the defaults for this server.
    pub fn new(server: tokio_postgres::Config) -> Self {
        Self {
            server,
            verify: Verify::default(),
            channel_prefix: "socket.io".into(),
            attachments: default_table("socket_io_attachments"),
            payload_threshold: PAYLOAD_THRESHOLD_MAX,
            cleanup_interval: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(5),
            recovery: None,
        }
    }

    /// Reads `postgres://user:password@host:port/database?…`. Parameters: `channel_prefix`, `table` (of attachments), `recovery` (`true`, `false`), `sslmode` (`disable`, `prefer`, `require`,
    /// `verify-full`), `sslrootcert` (a PEM file, for `verify-full`; without it the system's), and those of
    /// libpq that tokio-postgres knows (`host=/run/postgresql` for a Unix socket, `connect_timeout`, `application_name` …).
    ///
    /// # Errors
    ///
    /// Fails on what it does not know, and says what would do.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(ConfigError::Url("another scheme was given".into()));
        }
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut config = Self::new(tokio_postgres::Config::new());
        let mut foreign = Vec::new();
        let (mut mode, mut root_cert) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "channel_prefix" => config.channel_prefix = prefix(&text("channel_prefix", value)?)?,
                "table" => config.attachments = table(&text("table", value)?)?,
                "recovery" => config.recovery = recovery(value)?,
                "sslmode" => mode = Some(ssl_mode(value)?),
                "sslrootcert" => root_cert = Some(text("sslrootcert", value)?),
                _ => foreign.push(pair),
            }
        }
        let mark = if foreign.is_empty() { "" } else { "?" };
        // Its errors name what is wrong, and quote neither the URL nor a value.
        config.server = tokio_postgres::Config::from_str(&format!("{place}{mark}{}", foreign.join("&")))
            .map_err(|error| ConfigError::Url(error_text(&error)))?;
        match (mode, root_cert) {
            (Some((mode, true)), root_cert) => {
                config.server.ssl_mode(mode);
                config.verify = Verify::Full { root_cert: root_cert.map(Into::into) };
            }
            (_, Some(file)) => {
                return Err(ConfigError::Parameter {
                    name: "sslrootcert",
                    value: file,
                    expected: "expected sslmode=verify-full with it: otherwise nobody looks".into(),
                });
            }
            (Some((mode, false)), None) => {
                config.server.ssl_mode(mode);
            }
            (None, None) => {}
        }
        if config.server.get_connect_timeout().is_none() {
            config.server.connect_timeout(CONNECT_TIMEOUT);
        }
        Ok(config)
    }

    /// Where the server is, for people.
    pub(crate) fn place(&self) -> String {
        use tokio_postgres::config::Host;
        let hosts: Vec<_> = self
            .server
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let ports: Vec<_> = self.server.get_ports().iter().map(u16::to_string).collect();
        let database = self.server.get_dbname().or(self.server.get_user()).unwrap_or("?");
        format!(
            "PostgreSQL at {} port {}, database {database}",
            hosts.join(","),
            if ports.is_empty() { "5432".to_owned() } else { ports.join(",") }
        )
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            events: default_table("socket_io_events"),
            sessions: default_table("socket_io_sessions"),
            events_kept: Duration::from_secs(600),
        }
    }
}

/// PostgreSQL's limit of a notification: shorter than this.
pub(crate) const PAYLOAD_THRESHOLD_MAX: usize = 8000;

/// How long connecting may take, where the URL does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An error of tokio-postgres with what caused it: its own text names the kind only.
pub(crate) fn error_text(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) if !error.to_string().contains(&source.to_string()) => format!("{error}: {source}"),
        Some(_) | None => error.to_string(),
    }
}

fn default_table(name: &str) -> Table {
    name.parse().expect("the name of a default table is a word")
}

fn text(name: &'static str, value: &str) -> Result<String, ConfigError> {
    percent_decode_str(value).decode_utf8().map(Into::into).map_err(|_| ConfigError::Parameter {
        name,
        value: value.to_owned(),
        expected: "expected UTF-8".into(),
    })
}

fn prefix(value: &str) -> Result<String, ConfigError> {
    if value.is_empty() || value.len() > 40 || value.contains('\0') {
        return Err(ConfigError::Parameter {
            name: "channel_prefix",
            value: value.to_owned(),
            expected: "expected 1 to 40 bytes: a channel's name has 63, with # and the namespace".into(),
        });
    }
    Ok(value.to_owned())
}

fn table(value: &str) -> Result<Table, ConfigError> {
    value.parse().map_err(|error: crate::NoTable| ConfigError::Parameter {
        name: "table",
        value: value.to_owned(),
        expected: error.to_string(),
    })
}

/// The mode, and whether it is looked at whose server it is.
fn ssl_mode(value: &str) -> Result<(SslMode, bool), ConfigError> {
    match value {
        "disable" => Ok((SslMode::Disable, false)),
        "prefer" => Ok((SslMode::Prefer, false)),
        "require" => Ok((SslMode::Require, false)),
        "verify-full" => Ok((SslMode::Require, true)),
        _ => Err(ConfigError::Parameter {
            name: "sslmode",
            value: value.to_owned(),
            expected: "expected disable, prefer, require or verify-full".into(),
        }),
    }
}

fn recovery(value: &str) -> Result<Option<Recovery>, ConfigError> {
    match value {
        "true" => Ok(Some(Recovery::default())),
        "false" => Ok(None),
        _ => Err(ConfigError::Parameter {
            name: "recovery",
            value: value.to_owned(),
            expected: "expected true or false".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let config = Config::from_url(
            "postgres://app:s3cr3t@db.example:6432/chat?channel_prefix=my%20app&table=App.Big&recovery=true&application_name=x",
        )
        .unwrap();
        assert_eq!(config.place(), "PostgreSQL at db.example port 6432, database chat");
        assert_eq!(config.channel_prefix, "my app");
        assert_eq!(config.attachments.as_str(), "app.big");
        assert_eq!(config.recovery, Some(Recovery::default()));
        assert_eq!(config.server.get_application_name(), Some("x"));
        assert!(!format!("{config:?}").contains("s3cr3t"));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_told_why_and_never_its_password() {
        for (url, words) in [
            ("mysql://app:s3cr3t@db/chat", "expected postgres://"),
            ("postgres://app:s3cr3t@db:port/chat", "port"),
            ("postgres://app:s3cr3t@db/chat?chanel_prefix=x", "chanel_prefix"),
            ("postgres://app:s3cr3t@db/chat?recovery=yes", "recovery=\"yes\": expected true or false"),
            ("postgres://app:s3cr3t@db/chat?table=a-b", "table=\"a-b\": expected a table's name"),
            ("postgres://app:s3cr3t@db/chat?channel_prefix=", "channel_prefix=\"\": expected 1 to 40 bytes"),
            ("postgres://app:s3cr3t@db/chat?channel_prefix=%ff", "expected UTF-8"),
            ("postgres://app:s3cr3t@db/chat?sslmode=verify-ca", "sslmode=\"verify-ca\": expected disable"),
            ("postgres://app:s3cr3t@db/chat?sslmode=require&sslrootcert=x", "expected sslmode=verify-full"),
        ] {
            let error = Config::from_url(url).unwrap_err().to_string();
            assert!(error.contains(words), "{url}: {error}");
            assert!(!error.contains("s3cr3t"), "{url}: {error}");
        }
    }
}
