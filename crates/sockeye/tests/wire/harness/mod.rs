//! Servers on real sockets, and clients that see every byte.

mod client;
mod http;
mod log;
mod socket;

pub(crate) use client::Client;
pub(crate) use http::{Answer, POLLING, WEBSOCKET, handshake_head, read_head, read_to_end, sid_of};
pub(crate) use log::{Log, heard};
pub(crate) use socket::{Frame, Ws};

use sockeye::{Config, Handle, Server};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// How long anything may take; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a port of its own. It ends with the test's runtime.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) serving: JoinHandle<io::Result<()>>,
    path: &'static str,
}

impl Host {
    /// Serves Engine.IO that echoes every message.
    pub(crate) async fn echo(config: Config) -> Self {
        let config = Config { path: "/engine.io/".to_owned(), ..config };
        let server = Server::engine(config, |client, message| client.send(message));
        Self { path: "/engine.io/", ..Self::of(server).await }
    }

    /// Serves Socket.IO.
    #[expect(clippy::unused_async, reason = "it needs the runtime that whoever awaits has")]
    pub(crate) async fn of(server: Server) -> Self {
        // Many clients at once must not meet the kernel's retry of a second, as with `Server::listen`.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(4096).unwrap();
        let address = listener.local_addr().unwrap();
        let handle = server.handle();
        Self::at(address, handle, tokio::spawn(server.serve(listener)))
    }

    /// Takes a server that runs already.
    pub(crate) fn at(address: SocketAddr, handle: Handle, serving: JoinHandle<io::Result<()>>) -> Self {
        Self { address, handle, serving, path: "/socket.io/" }
    }

    /// The same on another path.
    pub(crate) fn on(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// Serves Socket.IO with handlers for `/` alone.
    pub(crate) async fn with(config: Config, define: impl FnOnce(&mut sockeye::Definition)) -> Self {
        let mut server = Server::new(config);
        define(server.namespace("/"));
        Self::of(server).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The target of a request with that query.
    pub(crate) fn target(&self, query: &str) -> String {
        format!("{}?{query}", self.path)
    }

    /// The target of a polling request of a session.
    pub(crate) fn poll_target(&self, sid: &str) -> String {
        self.target(&format!("{POLLING}&sid={sid}"))
    }

    /// Opens a session by polling and returns its id.
    pub(crate) async fn open_polling(&self) -> String {
        let answer = self.get(&self.target(POLLING)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        sid_of(&answer.body)
    }

    pub(crate) async fn poll(&self, sid: &str) -> Answer {
        self.get(&self.poll_target(sid)).await
    }

    pub(crate) async fn push(&self, sid: &str, body: impl AsRef<[u8]>) -> Answer {
        self.request("POST", &self.poll_target(sid), "Content-Type: text/plain;charset=UTF-8\r\n", body).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "", "").await
    }

    /// Sends one request on a connection of its own. `lines` are further header lines, each with its end.
    pub(crate) async fn request(
        &self,
        method: &str,
        target: &str,
        lines: &str,
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let mut stream = self.begin(method, target, lines, body).await;
        Answer::parse(&within(read_to_end(&mut stream)).await)
    }

    /// Sends one request and leaves the answer to be read.
    pub(crate) async fn begin(
        &self,
        method: &str,
        target: &str,
        lines: &str,
        body: impl AsRef<[u8]>,
    ) -> TcpStream {
        let mut stream = self.connect().await;
        let body = body.as_ref();
        let length =
            if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}{length}\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        stream
    }

    /// Begins a poll, and returns when the server has it.
    pub(crate) async fn begin_poll(&self, sid: &str) -> TcpStream {
        let stream = self.begin("GET", &self.poll_target(sid), "", "").await;
        self.settle().await;
        stream
    }

    /// Returns when the server has done what it was sent before: it serves connections in turn, on this very thread.
    pub(crate) async fn settle(&self) {
        for _ in 0..3 {
            assert_eq!(self.get("/health").await.status, 200);
        }
    }
}

/// Reads the answer to a request that was begun.
pub(crate) async fn answer(mut stream: TcpStream) -> Answer {
    Answer::parse(&within(read_to_end(&mut stream)).await)
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("what was waited for did not come")
}

/// Waits until something is so; other tasks run in between.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    within(async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// The timing of the official suites.
pub(crate) fn quick() -> Config {
    Config {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(1),
        ..Config::default()
    }
}
