//! Programs that are not ours, as the edge sees them: each answers handshakes with a sid of its own making, and knows its sessions alone.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{JoinHandle, JoinSet};

/// A running program.
pub(crate) struct Program {
    pub(crate) at: String,
    pub(crate) seen: Arc<Seen>,
    task: JoinHandle<()>,
}

/// What a program saw, and whether it says that it is well.
pub(crate) struct Seen {
    name: String,
    sessions: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) sick: AtomicBool,
}

impl Program {
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(name: &str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let seen = Seen::new(name);
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { at, seen, task }
    }

    pub(crate) fn start_unix(name: &str, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let seen = Seen::new(name);
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { at: format!("unix:{}", path.display()), seen, task }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// Everything it holds is closed at once.
    pub(crate) async fn kill(&mut self) {
        self.task.abort();
        (&mut self.task).await.ok();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            sessions: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            sick: AtomicBool::new(false),
        })
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Seen>) {
    let service = service_fn(move |request| {
        let seen = Arc::clone(&seen);
        async move { Ok::<_, Infallible>(respond(request, &seen)) }
    });
    let server = hyper::server::conn::http1::Builder::new();
    server.serve_connection(TokioIo::new(stream), service).with_upgrades().await.ok();
}

fn respond(mut request: Request<Incoming>, seen: &Seen) -> Response<Full<Bytes>> {
    if request.uri().path() == "/health" {
        let mut answer = full("");
        if seen.sick.load(Ordering::Relaxed) {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        return answer;
    }
    seen.requests.fetch_add(1, Ordering::Relaxed);
    if request.headers().contains_key("upgrade") {
        let key = request.headers().get("sec-websocket-key").map_or("", |key| key.to_str().unwrap());
        let accept = sockeye_proto::ws::handshake::accept_key(key);
        let upgraded = hyper::upgrade::on(&mut request);
        let name = seen.name.clone();
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.unwrap());
            stream.write_all(name.as_bytes()).await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(stream);
            tokio::io::copy(&mut reader, &mut writer).await.ok();
        });
        let mut answer = full("");
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().insert("connection", "upgrade".parse().unwrap());
        answer.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        answer.headers_mut().insert("sec-websocket-accept", accept.parse().unwrap());
        return answer;
    }
    if request.uri().path() != "/socket.io/" {
        return full(&seen.name);
    }
    let query = request.uri().query().unwrap_or("");
    match query.split_once("sid=") {
        None => {
            let n = seen.sessions.fetch_add(1, Ordering::Relaxed);
            full(&format!(
                r#"0{{"sid":"{}-{n:0>12}","upgrades":[],"pingInterval":25000,"pingTimeout":20000}}"#,
                seen.name
            ))
        }
        Some((_, sid)) if sid.starts_with(&format!("{}-", seen.name)) => full(&format!("6{}", seen.name)),
        Some(_) => {
            let mut answer = full(r#"{"code":1,"message":"Session ID unknown"}"#);
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            answer
        }
    }
}

fn full(text: &str) -> Response<Full<Bytes>> {
    Response::new(Full::from(text.to_owned()))
}
