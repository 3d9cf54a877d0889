//! The benchmark contract, served by socketioxide as its documentation shows it, on axum, with mimalloc.

use std::net::{IpAddr, SocketAddr};

use axum::routing::get;
use axum::serve::ListenerExt as _;
use clap::Parser;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
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
    builder.enable_all().build()?.block_on(serve(SocketAddr::new(flags.host, flags.port)))
}

async fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", connected);
    let app = axum::Router::new().route("/health", get(|| async { "ok" })).layer(layer);
    let listener = TcpListener::bind(address).await?.tap_io(|stream| {
        // Without it the second of two small frames waits for the first one's acknowledgement.
        let _ = stream.set_nodelay(true);
    });
    println!("socketioxide on {address}");
    axum::serve(listener, app).await?;
    Ok(())
}

async fn connected(socket: SocketRef) {
    socket.on("echo", async |socket: SocketRef, Data::<Value>(x)| {
        let _ = socket.emit("echo", &x);
    });
    socket.on("echo-ack", async |Data::<Value>(x), ack: AckSender| {
        let _ = ack.send(&x);
    });
    socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.join(room);
        let _ = ack.send(&());
    });
    socket.on("room", async |io: SocketIo, Data::<(String, Value)>((room, x))| {
        let _ = io.to(room).emit("room", &x).await;
    });
    socket.on("broadcast", async |io: SocketIo, Data::<Value>(x)| {
        let _ = io.emit("broadcast", &x).await;
    });
}
