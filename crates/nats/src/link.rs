//! The connection to NATS that all channels of a server share: whether it is up, which one it is, and whether what was asked has reached the server.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt;
use sockeye_cluster::adapter::AdapterError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{Config, Credentials};
use crate::failure::{connecting, unreachable};

/// How long a connection, with TLS and the login, may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is asked whether it lives; two that go unanswered end it.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The pause before the first try to connect again; it doubles up to [`RECONNECT_PAUSE_MAX`].
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause before a try to connect again.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// How often one looks whether the connection is back, while somebody waits for it. The client offers nothing to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    turns: watch::Receiver<Turns>,
}

/// What has happened to the connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// How often it was made.
    pub(crate) connects: u64,
    /// How often messages were dropped, because a subscription was full.
    pub(crate) losses: u64,
}

/// Which connection of which server it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    server: String,
    client: u64,
}

impl Link {
    /// Connects, and goes on connecting whenever the connection is lost.
    pub(crate) async fn connect(config: &Config) -> Result<Self, AdapterError> {
        let (told, turns) = watch::channel(Turns::default());
        let options = options(config).await?.event_callback(move |event| {
            note(&told, &event);
            std::future::ready(())
        });
        let connecting_now = Box::pin(options.connect(&config.servers[..]));
        match tokio::time::timeout(CONNECT_TIMEOUT * 2, connecting_now).await {
            Ok(Ok(client)) => Ok(Self { client, turns }),
            Ok(Err(error)) => Err(connecting(&error, &config.place())),
            Err(_) => Err(unreachable(format!("{} gave no answer", config.place()))),
        }
    }

    /// Hears what happens to the connection.
    pub(crate) fn turns(&self) -> watch::Receiver<Turns> {
        self.turns.clone()
    }

    /// Which connection it is.
    pub(crate) fn identity(&self) -> Identity {
        let info = self.client.server_info();
        Identity { server: info.server_id, client: info.client_id }
    }

    /// Waits until there is a connection, but no longer than this.
    pub(crate) async fn up(&self, patience: Duration) -> Result<(), AdapterError> {
        let until = Instant::now() + patience;
        while self.client.connection_state() != State::Connected {
            if Instant::now() >= until {
                return Err(unreachable(format!("no connection within {patience:?}")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Ends when the server has taken everything that was sent on this connection before: what one says to oneself has come back.
    pub(crate) async fn round_trip(&self, patience: Duration) -> Result<(), AdapterError> {
        let loops = async {
            let inbox = self.client.new_inbox();
            let mut echo = self.client.subscribe(inbox.clone()).await.map_err(unreachable)?;
            self.client.publish(inbox, bytes::Bytes::new()).await.map_err(unreachable)?;
            echo.next().await.map(drop).ok_or_else(|| unreachable("the client has ended"))
        };
        let looped = async {
            self.up(patience).await?;
            loops.await
        };
        match tokio::time::timeout(patience, looped).await {
            Ok(result) => result,
            Err(_) => Err(unreachable(format!("no answer within {patience:?}"))),
        }
    }

    /// Sends what waits to be sent.
    pub(crate) async fn flush(&self, patience: Duration) -> Result<(), AdapterError> {
        match tokio::time::timeout(patience, self.client.flush()).await {
            Ok(flushed) => flushed.map_err(unreachable),
            Err(_) => Err(unreachable(format!("nothing could be sent within {patience:?}"))),
        }
    }
}

async fn options(config: &Config) -> Result<ConnectOptions, AdapterError> {
    let mut options = ConnectOptions::new()
        .name("sockeye")
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(config.waiting_max.get())
        .reconnect_delay_callback(pause)
        .require_tls(config.tls.required);
    if let Some(ca) = &config.tls.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((cert, key)) = &config.tls.client {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(match &config.credentials {
        Credentials::None => options,
        Credentials::User { name, password } => options.user_and_password(name.clone(), password.clone()),
        Credentials::Token(token) => options.token(token.clone()),
        Credentials::Nkey(seed) => options.nkey(seed.clone()),
        Credentials::File(path) => options.credentials_file(path).await.map_err(|error| {
            AdapterError::Refused(format!(
                "creds={}: {error}: expected a file as `nsc generate creds` writes it",
                path.display()
            ))
        })?,
    })
}

/// The pause before a try, counted from 0: servers that lost the same connection do not all come back at once.
fn pause(tries: usize) -> Duration {
    let doublings = u32::try_from(tries).unwrap_or(u32::MAX).min(8);
    let pause = (RECONNECT_PAUSE_MIN * 2u32.pow(doublings)).min(RECONNECT_PAUSE_MAX);
    // Time is random enough to spread them.
    let spread = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    pause / 2 + pause.mul_f64(f64::from(spread.subsec_micros() % 1000) / 2000.0)
}

fn note(told: &watch::Sender<Turns>, event: &Event) {
    match event {
        Event::Connected => {
            tracing::debug!("connected to NATS");
            told.send_modify(|turns| turns.connects += 1);
        }
        Event::Disconnected => tracing::warn!("the connection to NATS is lost"),
        Event::SlowConsumer(subscription) => {
            tracing::warn!(
                subscription,
                "messages of NATS were dropped: they came faster than they were taken"
            );
            told.send_modify(|turns| turns.losses += 1);
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => tracing::info!(%event, "NATS"),
        Event::ServerError(error) => tracing::warn!(%error, "NATS"),
        Event::ClientError(error) => tracing::debug!(%error, "NATS"),
    }
}
