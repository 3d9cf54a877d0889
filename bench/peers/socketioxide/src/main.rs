//! The benchmark contract, served by socketioxide as its documentation shows it, on axum, with mimalloc.

use std::net::{IpAddr, SocketAddr};

use axum::routing::get;
use axum::serve::ListenerExt as _;
use clap::Parser;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::layer::SocketIoLayer;
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The benchmark contract, served by socketioxide.
#[derive(Parser)]
struct Flags {
    /// Port to listen on.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Threads to serve with.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Redis, shared with other nodes.
    #[arg(long, value_name = "URL")]
    adapter: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let mut builder = match flags.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if flags.threads > 1 {
        builder.worker_threads(flags.threads);
    }
    builder.enable_all().build()?.block_on(run(flags))
}

async fn run(flags: Flags) -> anyhow::Result<()> {
    let address = SocketAddr::new(flags.host, flags.port);
    let Some(url) = flags.adapter else {
        let (layer, io) = SocketIo::new_layer();
        io.ns("/", connected);
        return serve(address, layer).await;
    };
    // As its documentation says: by RESP3.
    let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
    let adapter = RedisAdapterCtr::new_with_redis(&client).await?;
    let (layer, io) = SocketIo::builder().with_adapter::<RedisAdapter<_>>(adapter).build_layer();
    io.ns("/", connected).await?;
    serve(address, layer).await
}

async fn serve<A: Adapter>(address: SocketAddr, layer: SocketIoLayer<A>) -> anyhow::Result<()> {
    let app = axum::Router::new().route("/health", get(|| async { "ok" })).layer(layer);
    let listener = TcpListener::bind(address).await?.tap_io(|stream| {
        // Without it the second of two small frames waits for the first one's acknowledgement.
        let _ = stream.set_nodelay(true);
    });
    println!("socketioxide on {address}");
    axum::serve(listener, app).await?;
    Ok(())
}

async fn connected<A: Adapter>(socket: SocketRef<A>) {
    socket.on("echo", async |socket: SocketRef<A>, Data::<Value>(x)| {
        let _ = socket.emit("echo", &x);
    });
    socket.on("echo-ack", async |Data::<Value>(x), ack: AckSender<A>| {
        let _ = ack.send(&x);
    });
    socket.on("join", async |socket: SocketRef<A>, Data::<String>(room), ack: AckSender<A>| {
        socket.join(room);
        let _ = ack.send(&());
    });
    socket.on("room", async |io: SocketIo<A>, Data::<(String, Value)>((room, x))| {
        let _ = io.to(room).emit("room", &x).await;
    });
    socket.on("broadcast", async |io: SocketIo<A>, Data::<Value>(x)| {
        let _ = io.emit("broadcast", &x).await;
    });
}
