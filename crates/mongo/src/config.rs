//! How MongoDB is used, and how that is written in a URL.

use std::time::Duration;

use mongodb::options::ClientOptions;
use percent_encoding::percent_decode_str;
use thiserror::Error;

/// How MongoDB is used. What the official adapter has too has its name and default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server is and who asks. Its `Debug` shows no password.
    pub client: ClientOptions,
    /// The database. Default that of the URL, else `test`.
    pub database: String,
    /// The collection of all messages. Default `socket_io_events`; the same on all nodes.
    pub collection: String,
    /// How this node hears what is inserted. Default [`Mode::ChangeStream`]; nodes with one and nodes with the other hear each other.
    pub mode: Mode,
    /// Whether documents bear a time, so that they end. Default `true`; the same on all nodes (`addCreatedAtField`). `false`: the collection is capped, and the
    /// oldest documents make room; [`Mode::Tailable`] wants that.
    pub created_at: bool,
    /// How long documents are kept, where this adapter makes the index; one that is there stays. Default 1 h, at least a minute, and longer than clients may be away.
    pub kept: Duration,
    /// How large a capped collection is, where this adapter makes it; one that is there stays. Default 16 MiB, at least 1 MiB. It has to hold what is said while a
    /// connection is lost, or a client away; and where it is read again ([`Mode::Tailable`]) all of it is read.
    pub capped_bytes: u64,
    /// Whether clients that come back get what they missed. Default `false`.
    pub recovery: bool,
    /// How often a node that has nothing else to say says that it lives. Default 5 s.
    pub heartbeat_interval: Duration,
    /// How long a node that says nothing is thought to live. Default 10 s, and more than [`Config::heartbeat_interval`].
    pub heartbeat_timeout: Duration,
    /// How long one thing that is asked of the server may take; then it counts as not done. Default 5 s.
    pub timeout: Duration,
}

/// How a node hears what is inserted. The documents are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By a change stream, as the official adapter: it wants a replica set (of one server, if need be).
    ChangeStream,
    /// By a cursor at the end of a capped collection: any server has that, and no server of the official software hears by it.
    Tailable,
}

/// The smallest capped collection: an event may have a megabyte.
const CAPPED_BYTES_MIN: u64 = 1 << 20;

/// A URL that cannot be used. It never holds the password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// It is not `mongodb://…`, or the driver cannot read it.
    #[error("expected mongodb://user:password@host:port/database: {0}")]
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
    pub fn new(client: ClientOptions) -> Self {
        let database = client.default_database.clone().unwrap_or_else(|| "test".into());
        Self {
            client,
            database,
            collection: "socket_io_events".into(),
            mode: Mode::ChangeStream,
            created_at: true,
            kept: Duration::from_secs(3600),
            capped_bytes: 16 << 20,
            recovery: false,
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
        }
    }

    /// Reads `mongodb://user:password@host:port/database?…`, or `mongodb+srv://`. Parameters: `collection`, `created_at` (`true`, `false`), `recovery` (the same), `mode`
    /// (`change-stream`, or `tailable`, with which `created_at` is `false`), `capped_bytes`, and those of the driver (`tls`, `replicaSet`, `directConnection` …).
    ///
    /// # Errors
    ///
    /// Fails on what it does not know, and says what would do.
    pub async fn from_url(url: &str) -> Result<Self, ConfigError> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut collection, mut created_at, mut recovery) = (None, None, false);
        let (mut mode, mut capped_bytes) = (Mode::ChangeStream, None);
        let mut foreign = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "collection" => collection = Some(collection_name(value)?),
                "created_at" => created_at = Some(truth("created_at", value)?),
                "recovery" => recovery = truth("recovery", value)?,
                "mode" => mode = hearing(value)?,
                "capped_bytes" => capped_bytes = Some(size(value)?),
                _ => foreign.push(pair),
            }
        }
        if mode == Mode::Tailable && created_at == Some(true) {
            return Err(wrong(
                "created_at",
                "true",
                "expected false with mode=tailable: a capped collection has no index by which documents end",
            ));
        }
        let created_at = created_at.unwrap_or(mode == Mode::ChangeStream);
        if let Some(size) = capped_bytes.filter(|_| created_at) {
            let size = size.to_string();
            return Err(wrong("capped_bytes", &size, "expected created_at=false or mode=tailable with it"));
        }
        let mark = if foreign.is_empty() { "" } else { "?" };
        let options = ClientOptions::parse(format!("{place}{mark}{}", foreign.join("&"))).await;
        let mut config = Self::new(options.map_err(|error| ConfigError::Url(reason(&error, place)))?);
        config.collection = collection.unwrap_or(config.collection);
        config.mode = mode;
        config.created_at = created_at;
        config.capped_bytes = capped_bytes.unwrap_or(config.capped_bytes);
        config.recovery = recovery;
        if config.client.server_selection_timeout.is_none() {
            config.client.server_selection_timeout = Some(config.timeout);
        }
        Ok(config)
    }

    /// Where the server is, for people.
    pub(crate) fn place(&self) -> String {
        let hosts: Vec<_> = self.client.hosts.iter().map(ToString::to_string).collect();
        format!("MongoDB at {}, collection {}.{}", hosts.join(","), self.database, self.collection)
    }
}

/// The driver's words, unless they quote the part of the URL that holds the password.
fn reason(error: &mongodb::error::Error, place: &str) -> String {
    let text = error.kind.to_string();
    let secret = place.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
    let password = secret.and_then(|user| user.split_once(':')).map(|(_, password)| password);
    match password {
        Some(password) if !password.is_empty() && text.contains(password) => "it cannot be read".into(),
        Some(_) | None => text,
    }
}

fn collection_name(value: &str) -> Result<String, ConfigError> {
    let name = percent_decode_str(value).decode_utf8().unwrap_or_default();
    // MongoDB, "Naming Restrictions".
    let good =
        !name.is_empty() && !name.contains(['$', '\0']) && !name.starts_with("system.") && name.len() <= 200;
    if good {
        Ok(name.into())
    } else {
        Err(wrong("collection", value, "expected 1 to 200 bytes, no $, no NUL, and not system."))
    }
}

fn hearing(value: &str) -> Result<Mode, ConfigError> {
    match value {
        "change-stream" => Ok(Mode::ChangeStream),
        "tailable" => Ok(Mode::Tailable),
        _ => Err(wrong("mode", value, "expected change-stream or tailable")),
    }
}

fn size(value: &str) -> Result<u64, ConfigError> {
    let size = value.parse().ok().filter(|size| *size >= CAPPED_BYTES_MIN);
    size.ok_or_else(|| wrong("capped_bytes", value, "expected a number of bytes, at least 1048576"))
}

fn truth(name: &'static str, value: &str) -> Result<bool, ConfigError> {
    value.parse().map_err(|_| wrong(name, value, "expected true or false"))
}

fn wrong(name: &'static str, value: &str, expected: &str) -> ConfigError {
    ConfigError::Parameter { name, value: value.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_says_where_and_how() {
        let url = "mongodb://app:s3cr3t@db.example:27018/chat?collection=my_events&recovery=true&directConnection=true";
        let config = Config::from_url(url).await.unwrap();
        assert_eq!(config.place(), "MongoDB at db.example:27018, collection chat.my_events");
        assert!(config.recovery && config.created_at);
        assert_eq!(config.client.direct_connection, Some(true));
        assert!(!format!("{config:?}").contains("s3cr3t"));
        assert_eq!((config.mode, config.capped_bytes), (Mode::ChangeStream, 16 << 20));
        let config = Config::from_url("mongodb://db/chat?mode=tailable&recovery=true&capped_bytes=2000000")
            .await
            .unwrap();
        assert_eq!(
            (config.mode, config.created_at, config.recovery, config.capped_bytes),
            (Mode::Tailable, false, true, 2_000_000)
        );
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_used_is_told_why_and_never_its_password() {
        for (url, words) in [
            ("mysql://app:s3cr3t@db/chat", "expected mongodb://"),
            ("mongodb://app:s3cr3t@db:port/chat", "port"),
            ("mongodb://app:s3cr3t@db/chat?colection=x", "colection"),
            ("mongodb://app:s3cr3t@db/chat?collection=a$b", "collection=\"a$b\": expected 1 to 200"),
            ("mongodb://app:s3cr3t@db/chat?recovery=yes", "recovery=\"yes\": expected true or false"),
            ("mongodb://app:s3cr3t@db/chat?mode=poll", "mode=\"poll\": expected change-stream or tailable"),
            (
                "mongodb://app:s3cr3t@db/chat?mode=tailable&created_at=true",
                "expected false with mode=tailable",
            ),
            (
                "mongodb://app:s3cr3t@db/chat?mode=tailable&capped_bytes=99",
                "capped_bytes=\"99\": expected a number",
            ),
            (
                "mongodb://app:s3cr3t@db/chat?capped_bytes=2000000",
                "expected created_at=false or mode=tailable",
            ),
        ] {
            let error = Config::from_url(url).await.unwrap_err().to_string();
            assert!(error.contains(words), "{url}: {error}");
            assert!(!error.contains("s3cr3t"), "{url}: {error}");
        }
    }
}
