//! What the command line, the daemon and the keepers say to each other: one line of JSON asks, one answers, on a Unix socket that is the user's alone.
//!
//! Who connects must be the same user, by the kernel's word. Absent: what is asked and answered (`daemon::words`, `keeper::words`).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::geteuid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// The longest question or answer: environments of many apps fit. A longer one ends the connection.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// How long whoever connects may take to ask.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How many questions may be open at a time; one more waits to be accepted.
const OPEN_MAX: usize = 64;

/// Whoever was asked holds its socket and does not answer: it is busy beyond measure, or was stopped by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(crate) struct Late(Duration);

impl Late {
    /// Who does not answer within this time.
    #[cfg(test)]
    pub(crate) fn after(within: Duration) -> Self {
        Self(within)
    }
}

/// Whoever was asked ended before it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side ended without an answer")]
pub(crate) struct Unanswered;

/// Whether this error says so.
pub(crate) fn is_late(error: &anyhow::Error) -> bool {
    error.is::<Late>()
}

/// An answer: a value, or why not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer<T> {
    /// It was done.
    Ok(T),
    /// It was not.
    Error(String),
}

/// A question with the way to its answer.
#[derive(Debug)]
pub(crate) struct Asked<Q> {
    /// What is asked.
    pub(crate) question: Q,
    /// To whom the answer goes.
    pub(crate) reply: Reply,
}

/// The way to whoever asked. Dropping it is an answer too: that nobody answers.
#[derive(Debug)]
pub(crate) struct Reply(oneshot::Sender<Vec<u8>>);

impl Reply {
    /// Answers with a value.
    pub(crate) fn answer<T: Serialize>(self, value: &T) {
        self.say(&Answer::Ok(value));
    }

    /// Says why not.
    pub(crate) fn refuse(self, why: impl Into<String>) {
        self.say::<()>(&Answer::Error(why.into()));
    }

    fn say<T: Serialize>(self, answer: &Answer<T>) {
        let line = serde_json::to_vec(answer).expect("plain structs become JSON");
        // Whoever asked may be gone.
        let _ = self.0.send(line);
    }
}

/// Asks, and waits for the answer; `within` is how long it may take.
pub(crate) fn ask<Q: Serialize, T: DeserializeOwned>(
    path: &Path,
    question: &Q,
    within: Duration,
) -> anyhow::Result<T> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(within))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    (&stream).write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut answer).map_err(|error| {
        let late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        if late { anyhow!(Late(within)) } else { error.into() }
    })?;
    read(answer.as_bytes())
}

/// The same, for who has other things to do meanwhile.
pub(crate) async fn ask_async<Q: Serialize, T: DeserializeOwned>(
    path: &Path,
    question: &Q,
    within: Duration,
) -> anyhow::Result<T> {
    let exchange = async {
        let mut stream = tokio::net::UnixStream::connect(path).await?;
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        tokio::io::BufReader::new(stream.take(LINE_BYTES_MAX)).read_until(b'\n', &mut answer).await?;
        read(&answer)
    };
    tokio::time::timeout(within, exchange).await.map_err(|_| anyhow!(Late(within)))?
}

fn read<T: DeserializeOwned>(line: &[u8]) -> anyhow::Result<T> {
    if line.is_empty() {
        return Err(anyhow!(Unanswered));
    }
    match serde_json::from_slice(line).context("an answer is not understood")? {
        Answer::Ok(value) => Ok(value),
        Answer::Error(why) => Err(anyhow!(why)),
    }
}

/// Opens a socket in place of one whose owner is dead; the caller knows that it is.
pub(crate) fn listen(path: &Path) -> io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::remove_file(path);
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Takes questions until nobody hears them any more. Each connection is a task, which ends with this future.
pub(crate) async fn serve<Q: DeserializeOwned + Send + 'static>(
    listener: tokio::net::UnixListener,
    questions: mpsc::Sender<Asked<Q>>,
) {
    let mut open = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept(), if open.len() < OPEN_MAX => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept questions");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = open.join_next() => continue,
            () = questions.closed() => return,
        };
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw()) {
            warn!("another user asks: refused");
            continue;
        }
        let questions = questions.clone();
        open.spawn(async move {
            if let Err(error) = answer(stream, questions).await {
                debug!(%error, "a question was not answered");
            }
        });
    }
}

async fn answer<Q: DeserializeOwned>(
    stream: tokio::net::UnixStream,
    questions: mpsc::Sender<Asked<Q>>,
) -> anyhow::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut from = tokio::io::BufReader::new(from.take(LINE_BYTES_MAX));
    let mut line = Vec::new();
    tokio::time::timeout(ASK_TIMEOUT, from.read_until(b'\n', &mut line)).await??;
    let (sender, reply) = oneshot::channel();
    match serde_json::from_slice(&line) {
        Ok(question) => questions
            .send(Asked { question, reply: Reply(sender) })
            .await
            .map_err(|_| anyhow!("nobody hears"))?,
        Err(error) => Reply(sender).refuse(format!("expected a question of this version: {error}")),
    }
    let mut said = reply.await.context("nobody answers")?;
    said.push(b'\n');
    to.write_all(&said).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_refused_or_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (sender, mut asked) = mpsc::channel::<Asked<String>>(1);
        tokio::spawn(serve(listen(&path).unwrap(), sender));
        tokio::spawn(async move {
            while let Some(Asked { question, reply }) = asked.recv().await {
                match question.as_str() {
                    "no" => reply.refuse("because"),
                    "" => drop(reply),
                    _ => reply.answer(&question.len()),
                }
            }
        });
        let soon = Duration::from_secs(20);
        assert_eq!(ask_async::<_, usize>(&path, &"four", soon).await.unwrap(), 4);
        let error = ask_async::<_, usize>(&path, &"no", soon).await.unwrap_err();
        assert_eq!(error.to_string(), "because");
        let error = ask_async::<_, usize>(&path, &"", soon).await.unwrap_err();
        assert_eq!(error.to_string(), "the other side ended without an answer");
        let error = ask_async::<_, usize>(&path, &7, soon).await.unwrap_err().to_string();
        assert!(error.starts_with("expected a question of this version"), "{error}");
        let blocking = path.clone();
        let four = tokio::task::spawn_blocking(move || ask::<_, usize>(&blocking, &"four", soon).unwrap());
        assert_eq!(four.await.unwrap(), 4);
    }

    #[tokio::test]
    async fn who_holds_a_socket_and_does_not_answer_is_late() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = listen(&path).unwrap();
        let brief = Duration::from_millis(1);
        assert!(is_late(&ask_async::<_, ()>(&path, &"?", brief).await.unwrap_err()));
        assert!(is_late(&ask::<_, ()>(&path, &"?", brief).unwrap_err()));
        drop(listener);
        assert!(!is_late(&ask::<_, ()>(&path, &"?", brief).unwrap_err()), "nobody holds it");
    }
}
