//! A listener that serves the admin API and nothing else.

use super::config::Config;
use super::service::Service;
use crate::accepting::pause_after;
use crate::handle::Handle;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;

/// How long a head may take, and a connection without a request stay.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The listener, before the server runs.
pub(crate) struct Listener {
    listener: TcpListener,
    config: Config,
}

impl Listener {
    /// Binds it.
    ///
    /// # Errors
    /// There is no token, or the address cannot be had: nobody is to believe in an API that is not there.
    pub(crate) async fn bind(config: &Config) -> io::Result<Self> {
        if config.token.is_none() {
            let text = "admin.token: expected a token of at least 16 characters, got none: `openssl rand -hex 32` makes one";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if !config.listen.ip().is_loopback() {
            tracing::warn!(listen = %config.listen, "the admin API can be reached from other machines, and is not encrypted");
        }
        let listener = TcpListener::bind(config.listen).await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot serve the admin API on {}: {error}", config.listen))
        })?;
        Ok(Self { listener, config: config.clone() })
    }

    /// Serves for as long as the future is polled.
    pub(crate) async fn serve(self, handle: &Handle) {
        // Its token was looked for.
        let Ok(service) = Service::new(handle, &self.config) else { return };
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // They end with this future.
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(error, "the admin API").await;
                    continue;
                }
            };
            let service = service.clone();
            let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(service.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                // Who stays without a word would keep others out.
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer);
            connections.spawn(async move {
                // Its failures are the asker's.
                drop(connection.await);
                drop(place);
            });
        }
    }
}
