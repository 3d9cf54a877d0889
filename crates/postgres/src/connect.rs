//! One connection to PostgreSQL, and the task that reads it.

use std::future::poll_fn;
use std::ops::Deref;

use sockeye_cluster::adapter::AdapterError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_postgres::{AsyncMessage, Client, Connection, Notification};

use crate::config::Config;
use crate::failure;
use crate::tls;

/// A connection. When it is dropped it is cut, whatever is under way.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    reader: AbortHandle,
}

impl Link {
    /// Connects. Notifications go to `heard`; where it is full the connection waits, and then the server. When the connection has ended, `heard` is dropped.
    pub(crate) async fn open(
        config: &Config,
        heard: Option<mpsc::Sender<Notification>>,
    ) -> Result<Self, AdapterError> {
        let tls = tls::connector(&config.verify).map_err(AdapterError::Refused)?;
        // Boxed: it is large, and rare.
        let connected = Box::pin(config.server.connect(tls)).await;
        let (client, connection) = connected.map_err(|error| failure::sorted(config, &error))?;
        // It ends with the connection, or with this value.
        let reader = tokio::spawn(read(connection, heard)).abort_handle();
        Ok(Self { client, reader })
    }
}

impl Deref for Link {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read<S, T>(mut connection: Connection<S, T>, heard: Option<mpsc::Sender<Notification>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            Ok(AsyncMessage::Notification(notification)) => {
                let Some(heard) = &heard else { continue };
                if heard.send(notification).await.is_err() {
                    return;
                }
            }
            Ok(AsyncMessage::Notice(notice)) => {
                tracing::debug!(message = notice.message(), "PostgreSQL notices");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection to PostgreSQL broke");
                return;
            }
        }
    }
}
