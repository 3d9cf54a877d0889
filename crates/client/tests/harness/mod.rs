//! Servers that tests start, stop and cut off. Both kinds do what `tests/client-node.mjs` says.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Long enough for a busy machine; nothing waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How a server is to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// Whether it keeps what clients miss.
    pub(crate) recovery: bool,
    /// Whether it pings every 300 ms and waits 2 s.
    pub(crate) ping: bool,
}

/// Which software.
#[derive(Debug, Clone)]
pub(crate) enum Software {
    /// `tests/client-node.mjs`.
    Official,
    /// The binary of the example `conformance`.
    #[allow(dead_code, reason = "each test binary knows its own")]
    Ours(PathBuf),
}

/// A running server. It ends with its handle.
pub(crate) struct Server {
    software: Software,
    wishes: Wishes,
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts one; `None` where there is no Node.js.
    pub(crate) async fn start(software: &Software, wishes: Wishes) -> Option<Self> {
        let port = free_port();
        let child = spawn(software, &wishes, port, &[]).await?;
        Some(Self { software: software.clone(), wishes, child, port })
    }

    /// Starts the official one with options and variables of its own.
    #[allow(dead_code, reason = "each test binary knows its own")]
    pub(crate) async fn official(options: &str, variables: &[(&str, String)]) -> Option<Self> {
        let port = free_port();
        let child = node(options, port, variables).await?;
        Some(Self { software: Software::Official, wishes: Wishes::default(), child, port })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("a child of ours can be killed");
    }

    /// Starts it anew on the same port.
    pub(crate) async fn start_again(&mut self) {
        let child = spawn(&self.software, &self.wishes, self.port, &[]).await;
        self.child = child.expect("it was there before");
    }
}

async fn spawn(
    software: &Software,
    wishes: &Wishes,
    port: u16,
    variables: &[(&str, String)],
) -> Option<Child> {
    match software {
        Software::Official => {
            let ping = if wishes.ping { r#""pingInterval":300,"pingTimeout":2000,"# } else { "" };
            let recovery = if wishes.recovery { r#""connectionStateRecovery":{},"# } else { "" };
            node(&format!("{{{ping}{recovery}\"serveClient\":false}}"), port, variables).await
        }
        Software::Ours(binary) => {
            let mut command = Command::new(binary);
            command.args(["--for-client", "--port", &port.to_string()]);
            if wishes.recovery {
                command.arg("--recovery");
            }
            if wishes.ping {
                command.arg("--ping");
            }
            let child =
                command.stdin(Stdio::null()).kill_on_drop(true).spawn().expect("the example was built");
            let reached = async {
                while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(PATIENCE, reached).await.expect("the example listens");
            Some(child)
        }
    }
}

async fn node(options: &str, port: u16, variables: &[(&str, String)]) -> Option<Child> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|dir| dir.join("tests"));
    let tests =
        tests.into_iter().find(|dir| dir.join("client-node.mjs").exists()).expect("tests/client-node.mjs");
    if !tests.join("node_modules/socket.io").exists() {
        println!("skipped: no node_modules (npm ci in tests/)");
        return None;
    }
    let mut command = Command::new("node");
    command.arg(tests.join("client-node.mjs")).arg(options).arg(port.to_string());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let Ok(mut child) = spawned else {
        println!("skipped: no node");
        return None;
    };
    let stdout = child.stdout.take().expect("it is piped");
    let line = timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await;
    line.expect("node listens in time").expect("node's output can be read").expect("node says its port");
    Some(child)
}

/// A port that nobody listens on. Another process may take it in between, which no test has seen.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the loopback");
    listener.local_addr().expect("it is bound").port()
}

/// A wire between a client and a server that can be cut, and can go dead.
pub(crate) struct Wire {
    state: watch::Sender<State>,
    pub(crate) port: u16,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Cut,
    Dead,
}

impl Wire {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port of the loopback");
        let own = listener.local_addr().expect("it is bound").port();
        let state = watch::Sender::new(State::Whole);
        let seen = Arc::new(state.subscribe());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                streams.spawn(carry(stream, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (*seen).clone()));
            }
        });
        Self { state, port: own, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends all connections, and every one that comes.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets nothing through, without a word.
    pub(crate) fn go_dead(&self) {
        self.state.send_replace(State::Dead);
    }

    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn carry(mut client: TcpStream, to: SocketAddr, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let changed = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        changed = state.wait_for(|state| *state != State::Whole) => changed.map(|state| *state),
    };
    if matches!(changed, Ok(State::Dead)) {
        // Until the wire is mended, this connection neither carries nor ends.
        let _ = state.wait_for(|state| *state != State::Dead).await;
    }
}
