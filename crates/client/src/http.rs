//! HTTP/1.1 as the client speaks it: one request, one reply, over a few kept-alive connections; and the upgrade to a WebSocket.
//!
//! Public, since whoever examines a server wants to see the replies that a Socket.IO client keeps to itself. Absent: redirects,
//! proxies, compression, HTTP/2.

use crate::address::Address;
use crate::error::ConfigError;
use crate::tls::Tls;
use bytes::Bytes;
use http::header::{
    ACCEPT, CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use sockeye_proto::ws::handshake::accept_key;
use std::io;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Fields; `Host` and `Accept` are added where they are missing.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A GET without further fields.
    #[must_use]
    pub fn get(target: impl Into<String>) -> Self {
        Self { method: Method::GET, target: target.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// What it says, in a line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line: String =
            text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SUMMARY_CHARS).collect();
        if line.is_empty() { self.status.to_string() } else { format!("{}: {line}", self.status) }
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect to {to}: {error}")]
    Connect {
        /// Host and port.
        to: String,
        /// What the system says.
        error: io::Error,
    },
    /// The request makes no sense.
    #[error("expected a target, a name and values that fit a request: {0}")]
    Request(#[from] http::Error),
    /// The connection broke, or what came is no HTTP.
    #[error("no answer: {0}")]
    Broken(#[from] hyper::Error),
    /// The body is longer than allowed.
    #[error("expected an answer of at most {max} bytes: {error}")]
    Body {
        /// The limit.
        max: usize,
        /// What is wrong.
        error: String,
    },
}

impl HttpError {
    /// Why the server's certificate is not trusted, if that is why there is no connection.
    #[must_use]
    pub fn distrust(&self) -> Option<String> {
        let Self::Connect { error, .. } = self else { return None };
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        let rustls::Error::InvalidCertificate(why) = error else { return None };
        use CertificateError as E;
        Some(if matches!(why, E::Expired | E::ExpiredContext { .. }) {
            "it has expired".to_owned()
        } else if matches!(why, E::NotValidYet | E::NotValidYetContext { .. }) {
            "it is not valid yet".to_owned()
        } else if matches!(why, E::NotValidForName | E::NotValidForNameContext { .. }) {
            "it is for another name".to_owned()
        // A certificate that signed itself may have a key of another kind than the authority of the same name.
        } else if matches!(
            why,
            E::UnknownIssuer | E::BadSignature | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        ) {
            "nobody who is trusted signed it".to_owned()
        } else if let E::Other(why) = why {
            format!("no authority gave it to a server ({why})")
        } else {
            why.to_string()
        })
    }
}

/// A server, and the connections to it that wait for further requests.
pub struct Http {
    address: Address,
    tls: Option<TlsConnector>,
    body_max: usize,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    since: Instant,
    sender: SendRequest<Full<Bytes>>,
}

/// What came of the wish for a WebSocket.
pub enum Upgrade {
    /// The connection, and the head of the reply.
    Switched(TokioIo<Upgraded>, HeaderMap),
    /// A reply instead.
    Refused(Reply),
}

impl Http {
    /// Connects to nothing yet. Bodies may have `body_max` bytes.
    ///
    /// # Errors
    /// [`ConfigError`]: TLS cannot be set up.
    pub fn new(address: Address, tls: &Tls, body_max: usize) -> Result<Self, ConfigError> {
        let tls = if address.tls { Some(TlsConnector::from(tls.config()?)) } else { None };
        Ok(Self { address, tls, body_max, idle: Mutex::default() })
    }

    /// Whom it speaks to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request and reads the whole reply.
    ///
    /// # Errors
    /// [`HttpError`]: there is none.
    ///
    /// # Cancel safety
    /// When dropped, the connection is closed; the server may have got the request.
    pub async fn request(&self, request: Request) -> Result<Reply, HttpError> {
        let request = self.complete(request)?;
        // The server may close a kept-alive connection while it waits: then hyper gives the request back.
        let (mut sender, response) = match self.take_idle() {
            Some(mut sender) => match sender.try_send_request(request).await {
                Ok(response) => (sender, response),
                Err(mut error) => match error.take_message() {
                    Some(request) => self.send_fresh(request).await?,
                    None => return Err(error.into_error().into()),
                },
            },
            None => self.send_fresh(request).await?,
        };
        let reply = self.read(response).await?;
        if sender.ready().await.is_ok() {
            let mut idle = self.idle.lock();
            if idle.len() < IDLE_MAX {
                idle.push(Idle { since: Instant::now(), sender });
            }
        }
        Ok(reply)
    }

    /// Asks for a WebSocket. `key` is 16 random bytes in base64.
    ///
    /// # Errors
    /// [`HttpError`]: no reply.
    ///
    /// # Cancel safety
    /// When dropped, the connection is closed.
    pub async fn upgrade(&self, target: String, headers: HeaderMap, key: &str) -> Result<Upgrade, HttpError> {
        let mut request = Request { headers, ..Request::get(target) };
        let key_value = HeaderValue::from_str(key).map_err(http::Error::from)?;
        for (name, value) in [
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (SEC_WEBSOCKET_KEY, key_value),
        ] {
            request.headers.insert(name, value);
        }
        let (_sender, response) = self.send_fresh(self.complete(request)?).await?;
        let accepted =
            response.headers().get(SEC_WEBSOCKET_ACCEPT).is_some_and(|value| *value == accept_key(key));
        if response.status() != StatusCode::SWITCHING_PROTOCOLS || !accepted {
            return Ok(Upgrade::Refused(self.read(response).await?));
        }
        let headers = response.headers().clone();
        Ok(Upgrade::Switched(TokioIo::new(hyper::upgrade::on(response).await?), headers))
    }

    /// Forgets the connections that wait.
    pub(crate) fn drop_idle(&self) {
        self.idle.lock().clear();
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock();
        idle.retain(|idle| idle.since.elapsed() < IDLE_TIME_MAX && idle.sender.is_ready());
        idle.pop().map(|idle| idle.sender)
    }

    fn complete(&self, request: Request) -> Result<http::Request<Full<Bytes>>, HttpError> {
        let Request { method, target, headers, body } = request;
        let mut complete = http::Request::builder().method(method).uri(target).body(Full::new(body))?;
        *complete.headers_mut() = headers;
        let host = HeaderValue::from_str(&self.address.authority()).map_err(http::Error::from)?;
        complete.headers_mut().entry(HOST).or_insert(host);
        complete.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        Ok(complete)
    }

    async fn send_fresh(
        &self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<(SendRequest<Full<Bytes>>, http::Response<Incoming>), HttpError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = Builder::new().handshake(TokioIo::new(stream)).await?;
        // Ends with the connection, which ends when its sender is dropped; what goes wrong on it the sender hears.
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(request).await?;
        Ok((sender, response))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, HttpError> {
        let Address { host, port, .. } = &self.address;
        let failed = |error| HttpError::Connect { to: self.address.authority(), error };
        let socket = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(host.clone())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        Ok(Box::new(tls.connect(name, socket).await.map_err(failed)?))
    }

    async fn read(&self, response: http::Response<Incoming>) -> Result<Reply, HttpError> {
        let (head, body) = response.into_parts();
        // A 101 that is not believed has no body of its own.
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Reply { status: head.status, headers: head.headers, body: Bytes::new() });
        }
        let body = Limited::new(body, self.body_max).collect().await;
        let body = body.map_err(|error| HttpError::Body { max: self.body_max, error: error.to_string() })?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A connection, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connections that wait: one for polls, one for posts, one to spare.
const IDLE_MAX: usize = 3;
/// Node.js closes a connection after five idle seconds, and a request that crosses with that is lost.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4);
/// Characters of a body that a person is shown.
const SUMMARY_CHARS: usize = 120;
