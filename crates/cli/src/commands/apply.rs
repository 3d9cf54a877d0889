//! `sockeye apply`: gives a changed file to the `up` that runs it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::admin::{self, Stream};
use crate::{exit, runtime, settings, token};

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The file that `sockeye up` was started with
    file: PathBuf,
}

/// How long the change may take: it may resolve names.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// The largest answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Checks the file here first, then has it applied.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    match apply(flags) {
        Ok(done) => {
            exit::say(&done);
            ExitCode::from(exit::OK)
        }
        Err(error) => exit::complain_lines(exit::FAILED, &format!("{error:#}")),
    }
}

fn apply(flags: &Flags) -> anyhow::Result<String> {
    let settled = settings::read(&flags.file, None)?;
    let at = admin::address(&flags.file, &settled.admin);
    let token = settled.admin.token.as_ref().map(token::read).transpose()?;
    let runtime = runtime::build(NonZeroUsize::MIN).context("cannot start threads")?;
    runtime.block_on(async {
        let asked = async {
            match admin::connect(&at).await? {
                Stream::Tcp(stream) => ask(stream, token.as_deref()).await,
                Stream::Unix(stream) => ask(stream, token.as_deref()).await,
            }
        };
        tokio::time::timeout(ANSWER_TIME_MAX, asked)
            .await
            .map_err(|_| anyhow!("no answer from {at} within {ANSWER_TIME_MAX:?}"))?
    })
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    token: Option<&str>,
) -> anyhow::Result<String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection, which ends with this command.
    tokio::spawn(connection);
    let mut request = Request::builder().method(Method::POST).uri("/apply").header(header::HOST, "sockeye");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let good = answer.status().is_success();
    let body =
        Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| anyhow!(error))?;
    let said: serde_json::Value =
        serde_json::from_slice(&body.to_bytes()).context("the answer is no JSON")?;
    let word = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    if good {
        return Ok(word("done"));
    }
    bail!("{}\n{}", word("error"), word("fix"))
}
