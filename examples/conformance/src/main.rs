//! The server that the official black-box suites run against: `--engine` for Engine.IO, without it Socket.IO.

use clap::Parser;
use sockeye::deflate::DeflateConfig;
use sockeye::{Args, Config, Cors, Definition, EmitError, Event, Server, Socket, engine};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Runs the server of the official conformance suites.
#[derive(Parser)]
struct Flags {
    /// Serve bare Engine.IO on /engine.io/, echoing every message.
    #[arg(long)]
    engine: bool,
    /// Serve clients of Engine.IO v3 as well.
    #[arg(long)]
    allow_eio3: bool,
    /// Compress messages on WebSockets, each on its own.
    #[arg(long)]
    per_message_deflate: bool,
    /// With `--per-message-deflate`: let messages refer to earlier ones, as the official server does.
    #[arg(long)]
    context_takeover: bool,
    /// Write packets as socket.io-msgpack-parser does.
    #[arg(long)]
    msgpack: bool,
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The port to listen on.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

// One thread: the suites send two requests at once and mean the first to be first.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let server = if flags.engine { engine_server(config(&flags)) } else { socket_server(config(&flags)) };
    Ok(server.listen((flags.host, flags.port)).await?)
}

fn config(flags: &Flags) -> Config {
    Config {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        max_payload: 1_000_000,
        cors: Some(Cors::any()),
        allow_eio3: flags.allow_eio3,
        per_message_deflate: flags
            .per_message_deflate
            .then(|| if flags.context_takeover { DeflateConfig::OFFICIAL } else { DeflateConfig::default() }),
        parser: if flags.msgpack { sockeye::Parser::Msgpack } else { sockeye::Parser::Text },
        ..Config::default()
    }
}

fn engine_server(config: Config) -> Server {
    let config = Config { path: "/engine.io/".to_owned(), ..config };
    Server::engine(config, |client: &engine::Client, message: engine::Message<'_>| client.send(message))
}

fn socket_server(config: Config) -> Server {
    let mut io = Server::new(Config { connect_timeout: Duration::from_secs(1), ..config });
    echo(io.namespace("/"));
    echo(io.namespace("/custom"));
    io
}

fn echo(namespace: &mut Definition) {
    namespace
        .on_connect(|socket: Socket| async move { greet(&socket) })
        .on("message", |event: Event| async move { event.socket().emit("message-back", same(&event)) })
        .on("message-with-ack", |event: Event| async move { event.ack(same(&event)) });
}

fn greet(socket: &Socket) -> Result<(), EmitError> {
    let auth: serde_json::Value = socket.handshake().auth()?;
    socket.emit("auth", auth)
}

fn same(event: &Event) -> Args {
    event.args().clone()
}
