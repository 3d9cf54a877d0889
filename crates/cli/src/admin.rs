//! The admin listener: metrics, status, and changes of what runs, for operators of this machine.
//!
//! Absent: what is shown (`view`, and what `workers` say), how (`metrics`, `page`), and what a file means.

mod answer;
mod members;
mod metrics;
mod office;
mod place;
mod view;
mod workers;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye::Secret;
use sockeye_edge::config::Endpoint;
use sockeye_settings as settings;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use self::office::Office;
use crate::standing::Standing;
use crate::token;

pub(crate) use office::{Clients, Ways};
pub(crate) use place::{Stream, connect, default_socket};

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take for a request head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a connection may last, so that idle ones do not hold a place.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// How long accepting rests after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An open admin listener.
pub(crate) struct Admin {
    place: place::Place,
    token: Option<Secret>,
}

/// Where a file's admin listener is.
pub(crate) fn address(file: &Path, told: &settings::Admin) -> Endpoint {
    told.address.clone().unwrap_or_else(|| Endpoint::Unix(default_socket(file)))
}

impl Admin {
    /// Opens it.
    pub(crate) fn open(file: &Path, told: &settings::Admin) -> anyhow::Result<Self> {
        let secret = |text: String| Secret::new(text).map_err(|error| anyhow!("admin.token: {error}"));
        let token = told.token.as_ref().map(|told| token::read(told).and_then(secret)).transpose()?;
        Ok(Self { place: place::Place::open(&address(file, told))?, token })
    }

    /// Where it is.
    pub(crate) fn at(&self) -> String {
        self.place.at()
    }
}

/// Serves for as long as it is polled; its connections end with it.
pub(crate) async fn serve(admin: Admin, standing: Arc<Standing>, ways: Ways) {
    let Admin { place, token } = admin;
    let office = Arc::new(Office { standing, token, since: Instant::now(), ways });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match place.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                warn!(%error, "cannot accept an operator");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let office = Arc::clone(&office);
        connections.spawn(async move {
            match stream {
                Stream::Tcp(stream) => talk(stream, office).await,
                Stream::Unix(stream) => talk(stream, office).await,
            }
            drop(permit);
        });
        while let Some(ended) = connections.try_join_next() {
            if let Err(error) = ended {
                warn!(%error, "a conversation with an operator failed");
            }
        }
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, office: Arc<Office>) {
    let service = service_fn(move |request| {
        let office = Arc::clone(&office);
        async move { Ok::<_, Infallible>(answer::answer(&office, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await {
        debug!(%error, "a conversation with an operator broke off");
    }
}
