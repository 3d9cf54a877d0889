//! The backplane that an address names, for programs whose user chooses it at run time. A program that knows its own takes the one crate
//! that it needs (`sockeye-redis`, `sockeye-nats`, `sockeye-postgres`, `sockeye-mongo`).
//!
//! ```
//! use sockeye_adapters::Backplane;
//!
//! assert!(matches!("mesh:/run/app/mesh".parse(), Ok(Backplane::Mesh(_))));
//! let error = "redis://127.0.0.1/?mode=static".parse::<Backplane>().unwrap_err();
//! assert!(error.to_string().contains("mode"));
//! let error = "kafka://127.0.0.1".parse::<Backplane>().unwrap_err();
//! assert!(error.to_string().contains("nats://"));
//! ```

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use sockeye_cluster::adapter::Adapter;
use sockeye_mongo::Mongo;
use sockeye_nats::Nats;
use sockeye_postgres::Postgres;
use thiserror::Error;

/// What the nodes of a cluster share.
#[derive(Clone, Debug)]
pub enum Backplane {
    /// A server that carries messages: [`Named::into_adapter`].
    Adapter(Named),
    /// Unix sockets in this directory, for nodes of one machine.
    Mesh(PathBuf),
}

/// An address whose adapter is made by [`Named::into_adapter`].
#[derive(Clone)]
pub struct Named(Kind);

#[derive(Clone)]
enum Kind {
    Redis(Box<sockeye_redis::Address>),
    Nats(Box<sockeye_nats::Config>),
    Postgres(Box<sockeye_postgres::Config>),
    /// As it was written: to understand it may take a look into DNS.
    Mongo(String),
}

/// An address that names no backplane. The text of the address is not in the message: it may hold a password.
#[derive(Debug, Error)]
pub enum NoBackplane {
    /// The scheme is of none.
    #[error(
        "the scheme is `{0}`: expected redis://, redis+sharded://, redis+streams:// (rediss… for TLS), postgres://, mongodb://, nats:// or mesh:DIR"
    )]
    Scheme(String),
    /// Something is wrong in an address of Redis.
    #[error(transparent)]
    Redis(#[from] sockeye_redis::AddressError),
    /// Something is wrong in an address of NATS.
    #[error(transparent)]
    Nats(#[from] sockeye_nats::ConfigError),
    /// Something is wrong in an address of PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] sockeye_postgres::ConfigError),
    /// Something is wrong in an address of MongoDB.
    #[error(transparent)]
    Mongo(#[from] sockeye_mongo::ConfigError),
}

impl Named {
    /// Makes the adapter; it connects when a namespace is opened.
    ///
    /// # Errors
    ///
    /// Fails where an address of MongoDB is not understood; all others are when they are parsed.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub async fn into_adapter(self) -> Result<Arc<dyn Adapter>, NoBackplane> {
        Ok(match self.0 {
            Kind::Redis(address) => address.into_adapter(),
            Kind::Nats(config) => Arc::new(Nats::new(*config)),
            Kind::Postgres(config) => Arc::new(Postgres::new(*config)),
            Kind::Mongo(address) => Arc::new(Mongo::new(sockeye_mongo::Config::from_url(&address).await?)),
        })
    }
}

impl FromStr for Backplane {
    type Err = NoBackplane;

    fn from_str(text: &str) -> Result<Self, NoBackplane> {
        if let Some(directory) = text.strip_prefix("mesh:") {
            return Ok(Self::Mesh(directory.into()));
        }
        let scheme = text.split(':').next().unwrap_or_default();
        let kind = match scheme.split('+').next().unwrap_or_default() {
            "redis" | "rediss" => Kind::Redis(Box::new(text.parse()?)),
            "nats" | "tls" => Kind::Nats(Box::new(sockeye_nats::Config::from_url(text)?)),
            "postgres" | "postgresql" => Kind::Postgres(Box::new(sockeye_postgres::Config::from_url(text)?)),
            "mongodb" => Kind::Mongo(text.to_owned()),
            _ => return Err(NoBackplane::Scheme(scheme.to_owned())),
        };
        Ok(Self::Adapter(Named(kind)))
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Redis(_) => "redis",
            Kind::Nats(_) => "nats",
            Kind::Postgres(_) => "postgres",
            Kind::Mongo(_) => "mongodb",
        })
    }
}
