//! Everything a server answers over HTTP, beside Engine.IO: the browser client, static files, and the relay to other nodes.

use crate::client_bundle::ClientBundle;
use crate::compression::Press;
use crate::core::Core;
use crate::doors::Doors;
use crate::handshake::Handshake;
use crate::limit::Limit;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use sockeye_files::Files;
use sockeye_proto::engine::Refusal;
use sockeye_relay::{Body, Relay};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// One server as its listeners see it.
pub(crate) struct Site {
    /// Engine.IO and what lies above.
    pub(crate) core: Arc<Core>,
    /// The way to other nodes.
    pub(crate) relay: Relay,
    /// What makes answers of polling small.
    pub(crate) press: Press,
    /// The hooks of the engine.
    pub(crate) doors: Doors,
    bundle: Option<ClientBundle>,
    files: Option<Files>,
}

impl Site {
    pub(crate) fn new(core: Arc<Core>, files: Option<Files>, doors: Doors) -> Arc<Self> {
        let bundle = core.config.serve_client.then(|| ClientBundle::find(core.config.client_dir.clone()));
        let node_trust = core.config.node_link.as_ref().map(|link| link.trust.clone());
        let relay = Relay::new(sockeye_relay::Config { node_trust, ..sockeye_relay::Config::default() });
        let press = Press::new(core.config.http_compression);
        Arc::new(Self { core, relay, doors, press, bundle, files })
    }

    /// Asks the program whether a request may open a session.
    ///
    /// # Errors
    /// The message that the client gets: the program's own where it gave one. A program that panics or takes too long has not said yes.
    pub(crate) async fn allows(&self, handshake: &Handshake) -> Result<(), String> {
        let Some(allow) = &self.doors.allow else { return Ok(()) };
        let official = || Refusal::Forbidden.message().to_owned();
        let asked = AssertUnwindSafe(async { allow(handshake.clone()).await }).catch_unwind();
        match tokio::time::timeout(self.core.config.allow_request_timeout, asked).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(refusal))) if refusal.message().is_empty() => Err(official()),
            Ok(Ok(Err(refusal))) => Err(refusal.message().to_owned()),
            Ok(Err(_)) => {
                tracing::error!("allow_request panicked; the request was refused");
                Err(official())
            }
            Err(_) => {
                self.core.counters.count_limit(Limit::AllowRequestTimeout);
                Err(official())
            }
        }
    }

    /// Answers a request for a file of the browser client; `None` when it is not one.
    pub(crate) fn client<B>(&self, file: &str, request: &Request<B>) -> Option<Response<Body>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        self.bundle.as_ref()?.respond(file, request.headers(), *request.method() == Method::HEAD)
    }

    /// Answers a request that is not for Socket.IO.
    pub(crate) async fn page<B>(&self, request: &Request<B>) -> Response<Body> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if is_read && request.uri().path() == "/health" {
            return plain(StatusCode::OK, "ok");
        }
        match &self.files {
            Some(files) => files.serve(request).await.map(Body::new),
            None => plain(StatusCode::NOT_FOUND, "not found"),
        }
    }
}

/// A short answer in plain text.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
