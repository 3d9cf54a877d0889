//! The workers with our library, by their apps, and what they say of themselves when they are asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use sockeye_link::pages::Said;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tracing::debug;

/// How long a worker may take to say its numbers. All are asked at once.
const WORKER_TIME_MAX: Duration = Duration::from_secs(2);

/// The largest page of a worker: an ordinary one has a few KiB, and 100 bytes or so for each namespace.
const WORKER_BYTES_MAX: usize = 1 << 20;

/// Who tells a worker that the house asks: `sockeye_relay::RELAYED`. No request of a client bears it.
const ASKS: (&str, &str) = ("x-sockeye-relayed", "house");

/// The workers that once served, until they are replaced or their app is gone. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Workers(Arc<Mutex<Doors>>);

/// Where each worker takes requests, by its app and number; nowhere while it is dead.
type Doors = BTreeMap<(String, u32), Option<PathBuf>>;

impl Workers {
    /// A worker serves, and takes requests at this socket.
    pub(crate) fn serves(&self, app: &str, instance: u32, http: PathBuf) {
        self.all().insert((app.to_owned(), instance), Some(http));
    }

    /// A worker died. It may come back.
    pub(crate) fn died(&self, app: &str, instance: u32) {
        if let Some(http) = self.all().get_mut(&(app.to_owned(), instance)) {
            *http = None;
        }
    }

    /// A worker is gone for good.
    pub(crate) fn remove(&self, app: &str, instance: u32) {
        self.all().remove(&(app.to_owned(), instance));
    }

    /// An app is gone.
    pub(super) fn remove_app(&self, app: &str) {
        self.all().retain(|(of, _), _| of != app);
    }

    /// Asks all of them at once: in the order of apps and numbers, within [`WORKER_TIME_MAX`].
    pub(super) async fn ask(&self) -> Vec<Said> {
        let all = self.all().clone();
        let mut said: BTreeMap<(String, u32), Option<String>> = BTreeMap::new();
        // What is asked still ends with this future.
        let mut asked = JoinSet::new();
        for (whose, http) in all {
            said.insert(whose.clone(), None);
            if let Some(http) = http {
                asked.spawn(async move { (whose, page(&http).await) });
            }
        }
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((whose, Ok(page))) => {
                    said.insert(whose, Some(page));
                }
                Ok(((app, worker), Err(error))) => {
                    debug!(app, worker, %error, "a worker did not say its numbers")
                }
                Err(error) => debug!(%error, "a worker was not asked for its numbers"),
            }
        }
        said.into_iter().map(|((app, worker), page)| Said { app, worker, page }).collect()
    }

    /// Nothing under this lock panics halfway.
    fn all(&self) -> MutexGuard<'_, Doors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page of one worker.
async fn page(http: &Path) -> anyhow::Result<String> {
    let asked = tokio::time::timeout(WORKER_TIME_MAX, ask_at(http)).await;
    asked.map_err(|_| anyhow!("no answer within {WORKER_TIME_MAX:?}"))?
}

async fn ask_at(http: &Path) -> anyhow::Result<String> {
    let stream = UnixStream::connect(http).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .uri("/metrics")
        .header(header::HOST, "worker")
        .header(ASKS.0, ASKS.1)
        .body(Empty::<Bytes>::new())?;
    let mut answered = pin!(async {
        let answer = sender.send_request(request).await?;
        ensure!(answer.status() == StatusCode::OK, "it answered {}", answer.status());
        let body = Limited::new(answer.into_body(), WORKER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("at most {WORKER_BYTES_MAX} bytes are read: {error}"))?;
        Ok(String::from_utf8(body.to_bytes().into())?)
    });
    tokio::select! {
        answered = &mut answered => answered,
        // All that will come has come, or nothing will.
        _ = connection => answered.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn each_is_asked_and_none_holds_up_or_spoils_the_page() {
        let dir = tempfile::tempdir().unwrap();
        let workers = Workers::default();
        let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let answers = [
            Some(format!("{}# TYPE s gauge\ns 3\n", head(19))),
            // Silent.
            None,
            Some("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()),
            Some(String::new()),
            Some(format!("{}{}", head(WORKER_BYTES_MAX + 1), "x".repeat(WORKER_BYTES_MAX + 1))),
        ];
        let mut serving = JoinSet::new();
        for (instance, answer) in (0..).zip(answers) {
            let path = dir.path().join(format!("{instance}.sock"));
            let listener = UnixListener::bind(&path).unwrap();
            workers.serves("chat", instance, path);
            serving.spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut read = Vec::new();
                while !read.ends_with(b"\r\n\r\n") {
                    read.push(stream.read_u8().await.unwrap());
                }
                let asked = String::from_utf8(read).unwrap().to_ascii_lowercase();
                assert!(
                    asked.starts_with("get /metrics http/1.1\r\n")
                        && asked.contains("x-sockeye-relayed: house")
                );
                match answer {
                    Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
                    None => std::future::pending().await,
                }
            });
        }
        workers.serves("chat", 5, dir.path().join("nobody.sock"));
        workers.serves("chat", 6, dir.path().join("0.sock"));
        workers.died("chat", 6);
        workers.serves("chat", 7, dir.path().join("0.sock"));
        workers.remove("chat", 7);
        workers.serves("shop", 0, dir.path().join("0.sock"));
        workers.remove_app("shop");
        let said: Vec<_> = workers.ask().await.into_iter().map(|one| (one.worker, one.page)).collect();
        let mut expected = vec![(0, Some("# TYPE s gauge\ns 3\n".to_owned()))];
        expected.extend((1..=6).map(|worker| (worker, None)));
        assert_eq!(said, expected);
    }

    #[test]
    fn what_the_library_writes_is_taken_whole() {
        let page = sockeye::Server::new(sockeye::Config::default()).handle().metrics_text();
        let said = Said { app: "chat".to_owned(), worker: 7, page: Some(page.clone()) };
        let merged = sockeye_link::pages::merge(&[said]);
        assert!(merged.contains("\nsockeye_worker_up{app=\"chat\",worker=\"7\"} 1\n"), "{merged}");
        assert!(merged.contains("\nsockeye_sessions{app=\"chat\",worker=\"7\"} 0\n"), "{merged}");
        assert_eq!(merged.lines().count(), page.lines().count() + 3);
    }
}
