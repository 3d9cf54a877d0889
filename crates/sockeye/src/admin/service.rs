//! The admin API as a tower service, for a listener or a router of one's own.

use super::calls::Calls;
use super::config::Config;
use super::fields::{Disconnect, Emit, Sockets};
use super::problem::{Problem, json};
use super::voices::Voices;
use crate::handle::Handle;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use sockeye_relay::{Body, BoxError, NoSecret, Secret};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Answers `POST /emit`, `POST /disconnect` and `GET /sockets` through a server. Cheap to clone.
///
/// ```
/// use sockeye::{Config, Secret, Server, admin};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let io = Server::new(Config::default());
/// let token = Secret::new("0123456789abcdef")?;
/// let config = admin::Config { token: Some(token), ..admin::Config::default() };
/// let service = admin::Service::new(&io.handle(), &config)?; // axum: .nest_service("/admin", service)
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Service(Arc<Own>);

struct Own {
    handle: Handle,
    token: Secret,
    body_bytes_max: usize,
    body_timeout: Duration,
    voices: Voices,
}

impl Service {
    /// The paths that it answers.
    pub const PATHS: [&str; 3] = ["/emit", "/disconnect", "/sockets"];

    /// Makes the service of a server, or of a guest. The address in `config` is not used.
    ///
    /// # Errors
    /// There is no token.
    pub fn new(handle: &Handle, config: &Config) -> Result<Self, NoSecret> {
        let token = config.token.clone().map_or_else(|| Secret::new(""), Ok)?;
        let Config { body_bytes_max, body_timeout, .. } = *config;
        let voices = Voices::default();
        Ok(Self(Arc::new(Own { handle: handle.clone(), token, body_bytes_max, body_timeout, voices })))
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.0.answer(request).await {
            Ok(body) => json(StatusCode::OK, body),
            Err(problem) => problem.response(),
        }
    }
}

impl Own {
    async fn answer<B>(&self, request: Request<B>) -> Result<Vec<u8>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.admit(request.headers())?;
        let core = self.handle.core().ok_or_else(|| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server is not there",
                "try again when it listens",
            )
        })?;
        let calls = Calls { core: &core, voices: &self.voices };
        let (parts, body) = request.into_parts();
        match (&parts.method, parts.uri.path()) {
            (&Method::POST, "/emit") => calls.emit(Emit::parse(&self.read(body).await?)?).await,
            (&Method::POST, "/disconnect") => {
                calls.disconnect(Disconnect::parse(&self.read(body).await?)?).await
            }
            (&Method::GET, "/sockets") => {
                calls.sockets(Sockets::parse(parts.uri.query().unwrap_or_default())?).await
            }
            (method, path) => Err(unknown(method, path)),
        }
    }

    /// Checks the token.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let bearer = |value: &HeaderValue| {
            let value = value.as_bytes();
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii().to_vec())
        };
        let shown = headers.get(header::AUTHORIZATION).and_then(bearer);
        let error = match shown {
            Some(token) if self.token.is(&token) => return Ok(()),
            Some(_) => "this is not the token",
            None => "there is no token",
        };
        let fix = "send the header Authorization: Bearer TOKEN, with the token of the server's configuration";
        // What was shown is not repeated.
        Err(Problem::field("Authorization", None, error, fix).with_status(StatusCode::UNAUTHORIZED))
    }

    async fn read<B>(&self, body: B) -> Result<Bytes, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let max = self.body_bytes_max;
        let read = tokio::time::timeout(self.body_timeout, Limited::new(Body::new(body), max).collect());
        match read.await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                let fix = format!("send at most {max} bytes");
                Err(Problem::field("body", None, "the body is too long", fix)
                    .with_status(StatusCode::PAYLOAD_TOO_LARGE))
            }
            Ok(Err(error)) => {
                Err(Problem::field("body", None, format!("the body broke off: {error}"), "send it whole"))
            }
            Err(_) => {
                let fix = format!("send it within {:?}", self.body_timeout);
                Err(Problem::field("body", None, "the body took too long", fix)
                    .with_status(StatusCode::REQUEST_TIMEOUT))
            }
        }
    }
}

fn unknown(method: &Method, path: &str) -> Problem {
    let fix = "POST /emit, POST /disconnect or GET /sockets";
    if Service::PATHS.contains(&path) {
        return Problem::field(
            "method",
            Some(method.as_str()),
            format!("{path} is not asked like this"),
            fix,
        )
        .with_status(StatusCode::METHOD_NOT_ALLOWED);
    }
    Problem::field("path", Some(path), "there is nothing of that name", fix)
        .with_status(StatusCode::NOT_FOUND)
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("handle", &self.0.handle).finish_non_exhaustive()
    }
}
