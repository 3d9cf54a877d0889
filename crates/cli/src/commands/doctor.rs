//! `sockeye doctor`: what is wrong with a Socket.IO deployment, ours or not.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use sockeye_client::Tls;
use sockeye_doctor::live::{self, Broadcast, Options};
use sockeye_doctor::{Report, config};

use crate::{exit, log, runtime};

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The address that clients are given, such as `https://chat.example.com`
    #[arg(required_unless_present = "config")]
    url: Option<String>,
    /// Read this file instead: nginx, HAProxy, Apache, Traefik, Docker Compose, Kubernetes or JavaScript
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "event", "expect", "origin"])]
    config: Option<PathBuf>,
    /// The path that clients are given
    #[arg(long, default_value = "/socket.io/")]
    path: String,
    /// How many sessions to open, one after the other
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connects: u32,
    /// How long to hold idle connections; 0 for not at all
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    seconds: u64,
    /// Say this event from several clients, one after the other
    #[arg(long, value_name = "EVENT", requires = "expect")]
    event: Option<String>,
    /// And see whether all of them hear this one
    #[arg(long, value_name = "EVENT", requires = "event")]
    expect: Option<String>,
    /// What is said with the event, as JSON
    #[arg(long, value_name = "JSON", default_value = "\"sockeye doctor\"", value_parser = |text: &str| serde_json::from_str::<Value>(text))]
    data: Value,
    /// The origin of the page, where it is another one, such as `https://front.example.com`
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// The port that should send people to HTTPS
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    http_port: u16,
    /// Believe any certificate
    #[arg(long)]
    insecure: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What the help says beside the flags.
pub(crate) const HELP: &str = "\
Examples:
  sockeye doctor https://chat.example.com --event msg --expect msg
  sockeye doctor http://127.0.0.1:3000 --seconds 0 --json
  sockeye doctor --config /etc/haproxy/haproxy.cfg

Exit codes:
  0  nothing wrong was found (hints may be)
  1  a fault was found
  2  the command line makes no sense, nobody answers, or the file cannot be read";

/// Examines it.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    let examined = match (&flags.config, &flags.url) {
        (Some(file), _) => read(file),
        (None, url) => ask(flags, url.clone().unwrap_or_default()),
    };
    match examined {
        Ok(report) => {
            exit::say(if flags.json { report.json().to_string() } else { report.text() }.trim_end());
            ExitCode::from(if report.has_faults() { exit::FAILED } else { exit::OK })
        }
        Err(error) => exit::complain(exit::USAGE, &format!("{error:#}")),
    }
}

fn read(file: &PathBuf) -> anyhow::Result<Report> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(config::examine(&file.display().to_string(), &text)?)
}

fn ask(flags: &Flags, url: String) -> anyhow::Result<Report> {
    log::start(false)?;
    let broadcast = flags.event.clone().zip(flags.expect.clone());
    let options = Options {
        url,
        path: flags.path.clone(),
        connects: flags.connects,
        hold: Duration::from_secs(flags.seconds),
        broadcast: broadcast.map(|(event, expect)| Broadcast { event, expect, data: flags.data.clone() }),
        origin: flags.origin.clone(),
        http_port: flags.http_port,
        tls: if flags.insecure { Tls::Anyone } else { Tls::System },
    };
    let runtime = runtime::build(NonZeroUsize::MIN).context("cannot start")?;
    Ok(runtime.block_on(live::examine(&options))?)
}
