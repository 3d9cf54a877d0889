//! A server that answers in bytes: each head it reads gets the next of them, and all that it read is kept.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;

use parking_lot::Mutex;
use sockeye_proto::http::{BodyLength, Head, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A running server.
pub(crate) struct Raw {
    pub(crate) at: String,
    seen: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Raw {
    /// One that gives each head this answer, and closes after an empty one or one that is not whole.
    pub(crate) async fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::answering_each(move |_| answer.clone()).await
    }

    /// The same, by the head.
    pub(crate) async fn answering_each(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (all, answer) = (Arc::clone(&seen), Arc::new(answer));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                connections.spawn(async move {
                    let mut head = Vec::new();
                    let mut piece = [0; 4096];
                    loop {
                        let Ok(1..) = stream.read(&mut piece[..1]).await else { return };
                        all.lock().push(piece[0]);
                        head.push(piece[0]);
                        if is_whole(&head) {
                            let said = answer(&String::from_utf8_lossy(&head));
                            stream.write_all(said.as_bytes()).await.ok();
                            if !said.contains("\r\n\r\n") {
                                return;
                            }
                            head.clear();
                        }
                    }
                });
            }
        });
        Self { at, seen, task }
    }

    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock()).into_owned()
    }

    /// Waits until what it saw is enough.
    pub(crate) async fn heard(&self, enough: impl Fn(&str) -> bool) -> String {
        loop {
            let seen = self.seen();
            if enough(&seen) {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Whether a request has come with its body.
fn is_whole(bytes: &[u8]) -> bool {
    let Ok(Status::Complete((head, length))) = Head::parse(bytes) else { return false };
    match head.body_length() {
        BodyLength::None => true,
        BodyLength::Known(body) => bytes.len() as u64 >= length as u64 + body,
        BodyLength::Unknown => bytes.ends_with(b"0\r\n\r\n"),
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}
