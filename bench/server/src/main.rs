//! The benchmark contract, served by sockeye. See `bench/README.md`.

use clap::Parser;
use sockeye::{Config, Event, Recovery, Server};
use sockeye_adapters::Backplane;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the benchmark contract.
#[derive(Parser)]
struct Flags {
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The port to listen on.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// How many threads run the server.
    #[arg(long, default_value_t = NonZeroUsize::MIN)]
    threads: NonZeroUsize,
    /// The backplane shared with other nodes: redis://, redis+sharded://, redis+streams://, postgres://, mongodb://,
    /// nats://, or mesh:DIR for nodes of one machine.
    #[arg(long, value_name = "URL")]
    adapter: Option<Backplane>,
    /// Let clients whose connection broke go on where they were.
    #[arg(long)]
    recovery: bool,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let mut runtime = if flags.threads == NonZeroUsize::MIN {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = runtime.worker_threads(flags.threads.get()).enable_all().build()?;
    runtime.block_on(listen(flags))
}

async fn listen(flags: Flags) -> anyhow::Result<()> {
    let recovery = flags.recovery.then(Recovery::default);
    let mut config =
        Config { threads: flags.threads, connection_state_recovery: recovery, ..Config::default() };
    match flags.adapter {
        Some(Backplane::Adapter(named)) => config.adapter = Some(named.into_adapter().await?),
        Some(Backplane::Mesh(directory)) => config.mesh_dir = Some(directory),
        None => {}
    }
    Ok(server(config).listen((flags.host, flags.port)).await?)
}

fn server(config: Config) -> Server {
    let mut io = Server::new(config);
    io.namespace("/")
        .on("echo", |event: Event| async move { event.socket().emit("echo", event.args()) })
        .on("echo-ack", |event: Event| async move { event.ack(event.args()) })
        .on("join", |event: Event| async move {
            let room: String = event.data()?;
            event.socket().join([room]);
            event.ack(())
        })
        .on("room", |event: Event| async move {
            let room: String = event.data()?;
            event.namespace().to(room).emit("room", event.args().skip(1))
        })
        .on("broadcast", |event: Event| async move { event.namespace().emit("broadcast", event.args()) });
    io
}
