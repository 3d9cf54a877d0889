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
    /// Whether documents bear a time, so that they end. Default `true`; the same on all nodes (`addCreatedAtField`). `false` for a collection that is capped.
    pub created_at: bool,
    /// How long documents are kept, where this adapter makes the index; one that is there stays. Default 1 h, at least a minute, and longer than clients may be away.
    pub kept: Duration,
    /// Whether clients that come back get what they missed. Default `false`. It wants [`Config::created_at`].
    pub recovery: bool,
    /// How often a node that has nothing else to say says that it lives. Default 5 s.
    pub heartbeat_interval: Duration,
    /// How long a node that says nothing is thought to live. Default 10 s, and more than [`Config::heartbeat_interval`].
    pub heartbeat_timeout: Duration,
    /// How long one thing that is asked of the server may take; then it counts as not done. Default 5 s.
    pub timeout: Duration,
}

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
            created_at: true,
            kept: Duration::from_secs(3600),
            recovery: false,
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
        }
    }

    /// Reads `mongodb://user:password@host:port/database?…`, or `mongodb+srv://`. Parameters: `collection`, `created_at` (`true`, `false`), `recovery` (the same), `mode`
    /// (`change-stream`, the one there is), and those of the driver (`tls`, `replicaSet`, `directConnection` …).
    ///
    /// # Errors
    ///
    /// Fails on what it does not know, and says what would do.
    pub async fn from_url(url: &str) -> Result<Self, ConfigError> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut collection, mut created_at, mut recovery) = (None, true, false);
        let mut foreign = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "collection" => collection = Some(collection_name(value)?),
                "created_at" => created_at = truth("created_at", value)?,
                "recovery" => recovery = truth("recovery", value)?,
                "mode" if value == "change-stream" => {}
                "mode" => {
                    return Err(wrong(
                        "mode",
                        value,
                        "expected change-stream: tailable cursors are not there yet",
                    ));
                }
                _ => foreign.push(pair),
            }
        }
        if recovery && !created_at {
            return Err(wrong(
                "recovery",
                "true",
                "expected created_at=true with it: a capped collection gives no session away",
            ));
        }
        let mark = if foreign.is_empty() { "" } else { "?" };
        let options = ClientOptions::parse(format!("{place}{mark}{}", foreign.join("&"))).await;
        let mut config = Self::new(options.map_err(|error| ConfigError::Url(reason(&error, place)))?);
        config.collection = collection.unwrap_or(config.collection);
        config.created_at = created_at;
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
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_used_is_told_why_and_never_its_password() {
        for (url, words) in [
            ("mysql://app:s3cr3t@db/chat", "expected mongodb://"),
            ("mongodb://app:s3cr3t@db:port/chat", "port"),
            ("mongodb://app:s3cr3t@db/chat?colection=x", "colection"),
            ("mongodb://app:s3cr3t@db/chat?collection=a$b", "collection=\"a$b\": expected 1 to 200"),
            ("mongodb://app:s3cr3t@db/chat?recovery=yes", "recovery=\"yes\": expected true or false"),
            ("mongodb://app:s3cr3t@db/chat?mode=tailable", "mode=\"tailable\": expected change-stream"),
            ("mongodb://app:s3cr3t@db/chat?recovery=true&created_at=false", "expected created_at=true"),
        ] {
            let error = Config::from_url(url).await.unwrap_err().to_string();
            assert!(error.contains(words), "{url}: {error}");
            assert!(!error.contains("s3cr3t"), "{url}: {error}");
        }
    }
}
