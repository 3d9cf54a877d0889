//! Everything a server answers over HTTP, beside Engine.IO: the browser client, static files, and the relay to other nodes.

use crate::client_bundle::ClientBundle;
use crate::compression::Press;
use crate::core::Core;
use crate::doors::Doors;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use sockeye_files::Files;
use sockeye_relay::{Body, Relay};
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
        let relay = Relay::new(sockeye_relay::Config::default());
        let press = Press::new(core.config.http_compression);
        Arc::new(Self { core, relay, doors, press, bundle, files })
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
