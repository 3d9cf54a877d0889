//! A way to a server that can be cut and healed.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The way. While it is cut, connections end at once.
pub(crate) struct Proxy {
    port: u16,
    open: Arc<watch::Sender<bool>>,
    tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let open = Arc::new(watch::Sender::new(true));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, to, Arc::clone(&open)));
        Self { port, open, tasks }
    }

    /// Ends all connections; returns when they have ended.
    pub(crate) async fn cut(&self) {
        assert!(!self.tasks.is_empty());
        self.open.send_replace(false);
        // Each connection holds a receiver.
        while self.open.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn heal(&self) {
        self.open.send_replace(true);
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        format!("nats://127.0.0.1:{}/{rest}", self.port)
    }
}

async fn accept(listener: TcpListener, to: u16, open: Arc<watch::Sender<bool>>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("it listens");
        if *open.borrow() {
            connections.spawn(carry(client, to, open.subscribe()));
        }
    }
}

async fn carry(mut client: TcpStream, to: u16, mut open: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
