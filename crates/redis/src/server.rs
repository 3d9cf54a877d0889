//! Where Redis is and how to get in: one server, a cluster of them, or one that sentinels name.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, SendError};
use redis::cluster::ClusterClientBuilder;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisConnectionInfo, RedisResult, TlsCertificates, TlsMode,
};

use crate::connection::Connection;
use crate::limits::CONNECT_TIMEOUT;

/// Where Redis is and how to get in. It is never printed with its password.
#[derive(Clone)]
pub struct Server {
    /// Addresses to try, host and port: of the server, of some servers of the cluster, or of the sentinels.
    pub addresses: Vec<(String, u16)>,
    /// What stands at these addresses.
    pub kind: Kind,
    /// The user of an access list; none: the default user.
    pub username: Option<String>,
    /// The password. Sentinels get the same one.
    pub password: Option<String>,
    /// The database; publish and subscribe know none, streams and sessions do. A cluster has only 0.
    pub db: i64,
    /// Whether to speak TLS.
    pub tls: Option<Tls>,
}

/// What stands at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A server, or one of several that are tried in turn.
    Single,
    /// Servers of a Redis Cluster; the others are found by them.
    Cluster,
    /// Sentinels, which say who is the master. After a failover they are asked again.
    Sentinel {
        /// The name of the master among the sentinels.
        service: String,
    },
}

/// How to speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates (PEM) of the authorities that are trusted; none: those of the system.
    pub ca: Option<Vec<u8>>,
}

impl Server {
    /// Names one server at an address, without password and TLS.
    pub fn single(host: impl Into<String>, port: u16) -> Self {
        Self {
            addresses: vec![(host.into(), port)],
            kind: Kind::Single,
            username: None,
            password: None,
            db: 0,
            tls: None,
        }
    }

    /// Connects. Of a cluster, `whole` wants each server of it, else any will do. An answer that takes longer than `patience` does not come.
    pub(crate) async fn connect(
        &self,
        whole: bool,
        push: Push,
        patience: Duration,
    ) -> RedisResult<Connection> {
        if self.tls.is_some() {
            // Whoever came first has chosen; the client has to have any.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        match &self.kind {
            Kind::Cluster if whole => self.cluster(push, patience).await,
            Kind::Single | Kind::Cluster => {
                let mut last = None;
                for address in &self.addresses {
                    match connect_to(self.client(address)?, push.clone(), patience).await {
                        Ok(connection) => return Ok(connection),
                        Err(error) => last = Some(error),
                    }
                }
                Err(last.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound).into()))
            }
            Kind::Sentinel { service } => {
                let mut sentinels = self.sentinels(service)?.build()?;
                connect_to(sentinels.async_get_client().await?, push, patience).await
            }
        }
    }

    /// Whether there are several servers that are one.
    pub(crate) fn is_cluster(&self) -> bool {
        self.kind == Kind::Cluster
    }

    fn client(&self, address: &(String, u16)) -> RedisResult<Client> {
        let info = self.info(address)?;
        match self.certificates() {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        }
    }

    async fn cluster(&self, push: Push, patience: Duration) -> RedisResult<Connection> {
        let infos =
            self.addresses.iter().map(|address| self.info(address)).collect::<RedisResult<Vec<_>>>()?;
        let mut builder = ClusterClientBuilder::new(infos)
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(patience)
            .overall_response_timeout(Some(patience))
            .retries(2)
            .push_sender(push);
        if let Some(username) = &self.username {
            builder = builder.username(username);
        }
        if let Some(password) = &self.password {
            builder = builder.password(password);
        }
        if self.tls.is_some() {
            builder = builder.tls(TlsMode::Secure);
        }
        if let Some(certificates) = self.certificates() {
            builder = builder.certs(certificates);
        }
        builder.build()?.get_async_connection().await.map(Connection::Cluster)
    }

    fn sentinels(&self, service: &str) -> RedisResult<SentinelClientBuilder> {
        let addresses = self.addresses.iter().map(|address| self.address(address));
        let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_db(self.db);
        if let Some(username) = &self.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &self.password {
            builder =
                builder.set_client_to_redis_password(password).set_client_to_sentinel_password(password);
        }
        if self.tls.is_some() {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = self.certificates() {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
        Ok(builder)
    }

    fn info(&self, address: &(String, u16)) -> RedisResult<ConnectionInfo> {
        let mut settings =
            RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(self.db);
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        Ok(self.address(address).into_connection_info()?.set_redis_settings(settings))
    }

    fn address(&self, (host, port): &(String, u16)) -> ConnectionAddr {
        if self.tls.is_none() {
            return ConnectionAddr::Tcp(host.clone(), *port);
        }
        ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let ca = self.tls.as_ref()?.ca.clone()?;
        Some(TlsCertificates { client_tls: None, root_cert: Some(ca) })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("kind", &self.kind)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("db", &self.db)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

/// Hears what a server says unasked. Called from the connection's task.
#[derive(Clone)]
pub(crate) struct Push(pub(crate) Arc<dyn Fn(PushInfo) + Send + Sync>);

impl AsyncPushSender for Push {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        (self.0)(info);
        Ok(())
    }
}

async fn connect_to(client: Client, push: Push, patience: Duration) -> RedisResult<Connection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(patience))
        .set_push_sender(push);
    client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Server)
}
