//! The load generator of the benchmarks: one thread, one epoll set, frames built and masked beforehand.
//!
//! It must cost far less per message than a server, so it parses nothing it can compare: every answer is checked
//! against the bytes it has to be, and a wrong one fails the run. One JSON line comes out (`report.rs`). It is no
//! client library: it knows the benchmark contract (`bench/README.md`) and nothing else of Socket.IO.

mod asked;
mod connects;
mod cpu;
mod echo;
mod flags;
mod groups;
mod hist;
mod idle;
mod meter;
mod open;
mod polling;
mod report;
mod tls;
mod wire;

use anyhow::Context as _;
use clap::Parser as _;

use crate::flags::{Flags, Scenario};

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    raise_descriptor_limit();
    if flags.tls {
        tls::begin()?;
    }
    let report = match flags.scenario {
        Scenario::Echo | Scenario::Ack => echo::run(&flags),
        Scenario::Fanout | Scenario::Rooms => groups::run(&flags),
        Scenario::Polling => polling::run(&flags),
        Scenario::ConnectWs | Scenario::ConnectPollingUpgrade => connects::run(&flags),
        Scenario::Idle => idle::run(&flags),
        Scenario::Http | Scenario::UnknownSid | Scenario::NotFound => asked::run(&flags),
    };
    let report = report.with_context(|| format!("{} failed", flags.scenario.name()))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Lets this process open as many connections as the system grants it.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused, opening the connection that is one too many says so.
    let _ = setrlimit(Resource::Nofile, limit);
}
