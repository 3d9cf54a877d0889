//! A proxy, its workers and their clients in one process, on real sockets.

#![allow(dead_code, reason = "each test file uses a part of the world")]

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sockeye_edge::config::{Certificate, Endpoint, Group};
use sockeye_edge::{Config, Control, Proxy};
use sockeye_link::{Assign, Connection, Event, Listener, Parent, Ready, Report, Reporter};
use sockeye_proto::Tag;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::{Mutex, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::client::TlsStream;

/// A running proxy, and the directory in which its workers listen.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) control: Control,
    directory: TempDir,
    listener: Arc<Mutex<Listener>>,
    stop: Option<oneshot::Sender<()>>,
    run: JoinHandle<()>,
}

/// A worker that answers by its tag.
pub(crate) struct Worker {
    pub(crate) tag: Tag,
    pub(crate) counts: Arc<Counts>,
    http: JoinHandle<()>,
    link: Option<JoinHandle<()>>,
    pump: JoinHandle<()>,
}

/// What a worker saw.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    pub(crate) handovers: AtomicU64,
    pub(crate) sessions: AtomicU32,
    pub(crate) arrived: AtomicU64,
    /// Sessions it was asked to let go.
    pub(crate) shed: AtomicU64,
    /// Requests to `/hang` that are under way.
    pub(crate) hanging: AtomicU64,
}

impl World {
    /// A proxy at one free port, whatever the configuration says of listeners.
    pub(crate) fn start(config: Config) -> Self {
        Self::of(Config { listeners: Config::listen("127.0.0.1:0".parse().unwrap()).listeners, ..config })
    }

    /// A proxy as configured; `address` is that of its first TCP listener.
    pub(crate) fn of(config: Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener::bind(&directory.path().join("link")).unwrap();
        let proxy = Proxy::bind(config).unwrap();
        let (address, control) = (proxy.local_addr().unwrap(), proxy.control());
        let (stop, stopped) = oneshot::channel();
        let run = tokio::spawn(proxy.run(async {
            stopped.await.ok();
        }));
        let listener = Arc::new(Mutex::new(listener));
        Self { address, control, directory, listener, stop: Some(stop), run }
    }

    /// A proxy with this many ready workers.
    pub(crate) async fn with(workers: u32) -> (Self, Vec<Worker>) {
        let world = Self::start(Config::default());
        let mut all = Vec::new();
        for n in 0..workers {
            all.push(world.worker(n).await);
        }
        (world, all)
    }

    /// Starts a worker and makes it known.
    pub(crate) async fn worker(&self, n: u32) -> Worker {
        self.worker_that(n, true).await
    }

    /// Starts a worker that receipts no connection: it never asks for one.
    pub(crate) async fn deaf_worker(&self, n: u32) -> Worker {
        self.worker_that(n, false).await
    }

    async fn worker_that(&self, n: u32, hears: bool) -> Worker {
        let tag = Tag::from_bits(u64::from(n));
        let http_path = self.directory.path().join(tag.as_str());
        let counts = Arc::new(Counts::default());
        let listener = UnixListener::bind(&http_path).unwrap();
        let link_path = self.directory.path().join("link");
        let assigning = self.listener.lock().await;
        let connecting = tokio::spawn(async move { Parent::connect(&link_path, n).await.unwrap() });
        let arrival = assigning.accept().await.unwrap();
        let (handover, mut reports) = arrival.assign(assign(tag, http_path.clone()));
        let (parent, _) = connecting.await.unwrap();
        parent.reporter().ready(Ready { tag: tag.to_string(), http: http_path, port: None, asked: None });

        let control = self.control.clone();
        let (heard, ready) = oneshot::channel();
        let pump = tokio::spawn(async move {
            let mut heard = Some(heard);
            while let Some(report) = reports.next().await {
                match report {
                    Report::Ready(ready) => {
                        control.add(Group::WORKERS, tag, n, ready.http, handover.clone());
                        heard.take().unwrap().send(()).unwrap();
                    }
                    Report::Load(load) => control.load(tag, load.sessions, load.arrived),
                    Report::Draining => control.drain(tag),
                    Report::Returned(connection) => control.returned(connection),
                    Report::Bye => {}
                }
            }
            // A supervisor hears of the process's end after that of the link.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            control.remove(tag);
        });
        ready.await.unwrap();
        let reporter = parent.reporter();
        let http = tokio::spawn(serve_http(listener, tag, Arc::clone(&counts), reporter.clone()));
        let link = tokio::spawn(serve_link(parent, tag, Arc::clone(&counts), reporter, hears));
        Worker { tag, counts, http, link: Some(link), pump }
    }

    /// Ends the proxy in order.
    pub(crate) async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).ok();
        (&mut self.run).await.unwrap();
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Where a listener is open.
    pub(crate) fn at(&self, name: &str) -> SocketAddr {
        let listeners = self.control.stats().listeners;
        match listeners.into_iter().find(|listener| listener.name == name).unwrap().at {
            Endpoint::Tcp(address) => address,
            Endpoint::Unix(_) => panic!("{name} is no TCP listener"),
        }
    }

    /// Sends one request on a connection of its own and returns everything that comes back.
    pub(crate) async fn say(&self, request: &str) -> String {
        say(self.connect().await, request).await
    }

    /// Sends one request that closes its connection after the answer.
    pub(crate) async fn get(&self, target: &str) -> String {
        self.say(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await
    }
}

impl Worker {
    /// Dies as a process does: everything it holds is closed at once.
    pub(crate) async fn kill(&mut self) {
        self.http.abort();
        (&mut self.http).await.ok();
        if let Some(link) = self.link.take() {
            link.abort();
            link.await.ok();
        }
    }

    /// Waits until the edge knows that the worker is gone.
    pub(crate) async fn forgotten(&mut self) {
        if !self.pump.is_finished() {
            (&mut self.pump).await.unwrap();
        }
    }
}

/// Sends one request and returns everything that comes back.
pub(crate) async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// A request that closes its connection after the answer.
pub(crate) fn get(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// Reads one response with a length from a kept-alive connection.
pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> (String, String) {
    let head = read_head(stream).await;
    let length = head
        .to_lowercase()
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| rest.split_once("\r\n").unwrap().0.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap_or_else(|error| {
            panic!("{error} after {:?}", String::from_utf8_lossy(&head));
        }));
    }
    String::from_utf8(head).unwrap()
}

pub(crate) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

pub(crate) fn sid(tag: Tag) -> String {
    format!("{tag}xxxxxxxxxxxxxx")
}

pub(crate) const POLL: &str = "/socket.io/?EIO=4&transport=polling";
pub(crate) const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

fn assign(tag: Tag, http_path: PathBuf) -> Assign {
    Assign {
        tag: tag.to_string(),
        mesh_dir: PathBuf::new(),
        http_path,
        host: None,
        port: None,
        threads: None,
    }
}

async fn serve_link(mut parent: Parent, tag: Tag, counts: Arc<Counts>, reporter: Reporter, hears: bool) {
    if !hears {
        std::future::pending::<()>().await;
    }
    let mut sockets = JoinSet::new();
    loop {
        match parent.next().await {
            Event::Connection(connection) => {
                counts.handovers.fetch_add(1, Ordering::Relaxed);
                counts.begin(&reporter);
                sockets.spawn(serve_socket(connection, tag));
            }
            Event::Drain(_) => reporter.draining(),
            Event::Shed(sessions) => {
                counts.shed.fetch_add(sessions, Ordering::Relaxed);
            }
            Event::Stop | Event::Gone => return,
        }
    }
}

impl Counts {
    fn begin(&self, reporter: &Reporter) {
        let sessions = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let arrived = self.arrived.fetch_add(1, Ordering::Relaxed) + 1;
        reporter.load(sessions, arrived);
    }
}

/// Answers `101`, its tag, to `X-Tell` whom it was told of, what was read ahead of it, then echoes.
async fn serve_socket(connection: Connection, tag: Tag) {
    let mut stream = TcpStream::from_std(connection.stream).unwrap();
    let mut head = connection.read.to_vec();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let end = head.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let peer = connection.peer;
    let says = |line: &&str| line.to_ascii_lowercase().contains("forwarded");
    let forwarded: Vec<&str> = std::str::from_utf8(&head).unwrap().lines().filter(says).collect();
    let forwarded = forwarded.join("; ");
    let told = if head.windows(6).any(|word| word == b"X-Tell") {
        format!("peer: {peer}\r\nsaid: {forwarded}\r\n")
    } else {
        String::new()
    };
    let answer = format!("HTTP/1.1 101 {tag}\r\n{told}\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.write_all(&head[end..]).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    tokio::io::copy(&mut reader, &mut writer).await.ok();
}

async fn serve_http(listener: UnixListener, tag: Tag, counts: Arc<Counts>, reporter: Reporter) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (counts, reporter) = (Arc::clone(&counts), reporter.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (counts, reporter) = (Arc::clone(&counts), reporter.clone());
                async move {
                    Ok::<_, std::convert::Infallible>(respond(request, tag, &counts, &reporter).await)
                }
            });
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(TokioIo::new(stream), service).with_upgrades().await.ok();
        });
    }
}

type Answer = UnsyncBoxBody<Bytes, std::io::Error>;

async fn respond(
    mut request: Request<Incoming>,
    tag: Tag,
    counts: &Arc<Counts>,
    reporter: &Reporter,
) -> Response<Answer> {
    counts.requests.fetch_add(1, Ordering::Relaxed);
    let header =
        |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    let target = request.uri().to_string();
    match request.uri().path() {
        "/headers" => full(format!(
            "{} {} {} {} {}",
            header("host"),
            header("x-sockeye-relayed"),
            header("x-sockeye-peer"),
            header("x-forwarded-for"),
            header("x-sockeye-forged")
        )),
        path if path.starts_with("/header/") => {
            let values = request.headers().get_all(&path["/header/".len()..]);
            let values: Vec<_> = values.iter().map(|value| value.to_str().unwrap()).collect();
            full(values.join(" | "))
        }
        "/hang" => {
            let _hanging = Hanging::count(counts);
            std::future::pending().await
        }
        "/nothing" | "/unchanged" => {
            let mut response = full(String::new());
            let unchanged = request.uri().path() == "/unchanged";
            *response.status_mut() =
                if unchanged { http::StatusCode::NOT_MODIFIED } else { http::StatusCode::NO_CONTENT };
            response
        }
        "/cut" => Response::new(Cut { piece: Some("half"), waited: false }.boxed_unsync()),
        "/count" => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            full(format!("{tag} {}", body.len()))
        }
        _ if request.headers().contains_key("upgrade") => {
            let protocol = header("upgrade");
            let key = request.headers().get("sec-websocket-key").map(|key| key.to_str().unwrap().to_owned());
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgraded.await.unwrap());
                stream.write_all(tag.as_str().as_bytes()).await.unwrap();
                let (mut reader, mut writer) = tokio::io::split(stream);
                tokio::io::copy(&mut reader, &mut writer).await.ok();
                writer.shutdown().await.ok();
            });
            let mut response = full(String::new());
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
            if let Some(key) = key {
                let accept = sockeye_proto::ws::handshake::accept_key(&key);
                response.headers_mut().insert("sec-websocket-accept", accept.parse().unwrap());
            }
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
            response.headers_mut().insert("upgrade", protocol.parse().unwrap());
            response
        }
        path => {
            if path == "/socket.io/" && !target.contains("sid=") {
                counts.begin(reporter);
            }
            full(format!("{tag} {} {target}", request.method()))
        }
    }
}

fn full(text: String) -> Response<Answer> {
    Response::new(http_body_util::Full::from(text).map_err(|never| match never {}).boxed_unsync())
}

struct Hanging(Arc<Counts>);

impl Hanging {
    fn count(counts: &Arc<Counts>) -> Self {
        counts.hanging.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that breaks off after its first piece, once that piece is on its way.
struct Cut {
    piece: Option<&'static str>,
    waited: bool,
}

impl hyper::body::Body for Cut {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))));
        }
        if !std::mem::replace(&mut self.waited, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(std::io::ErrorKind::Other.into())))
    }
}

/// Runs clients side by side and collects what they return.
pub(crate) async fn all<T: Send + 'static>(
    clients: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut set = JoinSet::new();
    for client in clients {
        set.spawn(client);
    }
    set.join_all().await
}

/// A client's trust in whoever answers.
#[derive(Debug)]
pub(crate) struct Anybody(pub(crate) Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Writes a certificate for these names, with its key.
pub(crate) fn certificate(directory: &std::path::Path, name: &str, names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Certificate { certificate, chain: None, key }
}

/// Connects by TLS, whoever answers, and offers these protocols.
pub(crate) async fn connect_tls(at: SocketAddr, name: &str, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    connector.connect(name, TcpStream::connect(at).await.unwrap()).await.unwrap()
}
