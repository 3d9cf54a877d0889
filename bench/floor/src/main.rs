//! The floor of the benchmarks: the least work that moves the same bytes as a Socket.IO server.
//!
//! One thread, one epoll set, one read buffer. It answers the whole benchmark contract (`bench/README.md`) by
//! prefix matching on fixed byte patterns and knows nothing of Socket.IO beyond them: no JSON, no heartbeats, no
//! time-outs, no namespaces, no binary, no fragmented frames. It trusts its client and is no server to run anywhere.

mod ask;
mod door;
mod floor;
mod frame;
mod http;
mod poll;
mod relay;
mod relay_tls;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Parser;

use crate::floor::Floor;

/// A bare single-threaded epoll server that answers the benchmark contract.
#[derive(Parser)]
struct Flags {
    /// Port to listen on.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Threads to serve with; the floor has one.
    #[arg(long, default_value_t = 1)]
    threads: u16,
    /// Be the floor of a balancer instead: carry bytes to this port of the same host.
    #[arg(long)]
    relay_to: Option<u16>,
    /// Let the kernel move the bytes, through a pipe, as that floor.
    #[arg(long, requires = "relay_to")]
    splice: bool,
    /// End TLS with this certificate (PEM), as that floor.
    #[arg(long, requires = "relay_to", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long)]
    key: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    ensure!(flags.threads == 1, "the floor has one thread; --threads {} is not for it", flags.threads);
    let address = SocketAddr::new(flags.host, flags.port);
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    println!("floor on {}", listener.local_addr()?);
    if let (Some(port), Some(certificate), Some(key)) = (flags.relay_to, &flags.certificate, &flags.key) {
        return relay_tls::run(&listener, SocketAddr::new(flags.host, port), certificate, key);
    }
    if let Some(port) = flags.relay_to {
        return Ok(relay::run(&listener, SocketAddr::new(flags.host, port), flags.splice)?);
    }
    Floor::new(listener)?.run()?;
    Ok(())
}
