//! The ways in which a process that has no link says that it serves. Each is a future that ends when it has said so; the channel of Node.js and the
//! notification socket go on reading, so that nobody who says more is held up.
//!
//! Absent: which way counts (the configuration), what follows (the worker's machine).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{TcpStream, UnixDatagram};
use tokio::time::{sleep, timeout};

/// The pause between two questions to a port.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// How long one question may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest notification that is read; of a longer one the rest is dropped by the system.
const NOTIFICATION_BYTES_MAX: usize = 4096;

/// The longest message of a Node app that is looked at; longer ones are passed over.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Reads notifications, and tells of `READY=1`. Ends with the socket's owner.
pub(crate) async fn notify(socket: UnixDatagram, ready: impl AsyncFn()) {
    let mut buffer = vec![0; NOTIFICATION_BYTES_MAX];
    while let Ok(read) = socket.recv(&mut buffer).await {
        if buffer[..read].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            ready().await;
        }
    }
}

/// Reads what a Node app sends, and tells of `"ready"`. Ends with the process.
pub(crate) async fn channel(mut from: OwnedReadHalf, ready: impl AsyncFn()) {
    let mut messages = Messages::default();
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if messages.handle_bytes(&buffer[..read]) {
            ready().await;
        }
    }
}

/// Ends when a port of this machine takes connections.
pub(crate) async fn port(port: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    loop {
        if let Ok(Ok(_)) = timeout(PROBE_TIMEOUT, TcpStream::connect(address)).await {
            return;
        }
        sleep(PROBE_PAUSE).await;
    }
}

/// Ends when a path at a port of this machine is answered well.
pub(crate) async fn http(port: u16, path: &str) {
    loop {
        if let Ok(Ok(true)) = timeout(PROBE_TIMEOUT, ask(port, path)).await {
            return;
        }
        sleep(PROBE_PAUSE).await;
    }
}

async fn ask(port: u16, path: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    // `HTTP/1.1 200`
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(head.starts_with(b"HTTP/1.") && matches!(head[9], b'2' | b'3'))
}

/// Cuts what Node.js writes into lines of JSON, and knows the one that counts. Pure.
#[derive(Default)]
struct Messages {
    begun: Vec<u8>,
    too_long: bool,
}

impl Messages {
    /// Whether one of the messages that end here is `"ready"`.
    fn handle_bytes(&mut self, bytes: &[u8]) -> bool {
        let mut ready = false;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (line, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |line| (line, true));
            self.too_long |= self.begun.len() + line.len() > MESSAGE_BYTES_MAX;
            if !self.too_long {
                self.begun.extend_from_slice(line);
            }
            if ends {
                ready |= !self.too_long && self.begun == b"\"ready\"";
                self.begun.clear();
                self.too_long = false;
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_ready_counts() {
        check(&[b"\"ready\"\n"], true);
        check(&[b"\"re", b"ady\"", b"\n"], true);
        check(&[b"{\"type\":\"ready\"}\n\"ready\"\n"], true);
        check(&[b"\"ready\""], false);
        check(&[b"\"readyy\"\n", b"\n"], false);
        check(&[&[b'x'; 5000], b"\"ready\"\n"], false);
        check(&[&[b'x'; 5000], b"\n\"ready\"\n"], true);
    }

    #[track_caller]
    fn check(pieces: &[&[u8]], expected: bool) {
        let mut messages = Messages::default();
        let heard: Vec<_> = pieces.iter().map(|piece| messages.handle_bytes(piece)).collect();
        let ready = heard.contains(&true);
        assert_eq!(ready, expected);
    }
}
