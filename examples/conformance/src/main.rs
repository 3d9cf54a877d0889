//! The server that the official black-box suites run against: `--engine` for Engine.IO, without it Socket.IO. With `--control` a
//! client can drive it as a node of a cluster.

mod any;
mod control;
mod for_client;

use clap::Parser;
use sockeye::deflate::DeflateConfig;
use sockeye::{
    Args, Config, Cors, Definition, EmitError, Event, Recovery, Secret, Server, Socket, admin, engine,
};
use sockeye_adapters::Backplane;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The namespaces that are there from the beginning; any `/dynamic-*` begins with its first client.
const NAMESPACES: [&str; 2] = ["/", "/custom"];

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
    /// Serve the namespace `/control`, by which a client makes calls to the cluster; the timings are the official defaults.
    #[arg(long, conflicts_with = "engine")]
    control: bool,
    /// The backplane shared with other nodes: redis://, redis+sharded://, redis+streams://, postgres://, mongodb://,
    /// nats://, or mesh:DIR for nodes of one machine.
    #[arg(long, value_name = "URL", conflicts_with = "engine")]
    adapter: Option<Backplane>,
    /// Serve what the tests of our client ask for; the timings are the official defaults, but for `--ping`.
    #[arg(long, conflicts_with = "engine")]
    for_client: bool,
    /// With `--for-client`: ping every 300 ms, and wait 2 s for the answer.
    #[arg(long, requires = "for_client")]
    ping: bool,
    /// Ping as often as the suites want, and wait for answers as long as officially: a busy machine cuts nobody.
    #[arg(long)]
    patient: bool,
    /// Let clients whose connection broke go on where they were.
    #[arg(long)]
    recovery: bool,
    /// Set the official cookie `io`, for balancers that want one.
    #[arg(long)]
    cookie: bool,
    /// With `--control`: track who is in which room, and think of a silent server as gone after so many milliseconds.
    #[arg(long, value_name = "MILLISECONDS", requires = "control")]
    presence: Option<u64>,
    /// Where the admin API listens; its token is what SOCKEYE_ADMIN_TOKEN says.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "engine")]
    admin: Option<SocketAddr>,
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
    let mut flags = Flags::parse();
    let mut config = config(&flags);
    match flags.adapter.take() {
        Some(Backplane::Adapter(named)) => config.adapter = Some(named.into_adapter().await?),
        Some(Backplane::Mesh(directory)) => config.mesh_dir = Some(directory),
        None => {}
    }
    if let Some(listen) = flags.admin {
        let token = std::env::var("SOCKEYE_ADMIN_TOKEN").ok().map(Secret::new).transpose()?;
        config.admin = Some(Box::new(admin::Config { listen, token, ..admin::Config::default() }));
    }
    let server = if flags.engine { engine_server(config) } else { socket_server(config, &flags) };
    Ok(server.listen((flags.host, flags.port)).await?)
}

fn config(flags: &Flags) -> Config {
    let official = Config::default();
    let (ping_interval, ping_timeout, connect_timeout) = match (flags.control || flags.for_client, flags.ping)
    {
        (true, false) => (official.ping_interval, official.ping_timeout, official.connect_timeout),
        (true, true) => (Duration::from_millis(300), Duration::from_secs(2), official.connect_timeout),
        (false, _) if flags.patient => {
            (Duration::from_millis(300), official.ping_timeout, official.connect_timeout)
        }
        (false, _) => (Duration::from_millis(300), Duration::from_millis(200), Duration::from_secs(1)),
    };
    Config {
        ping_interval,
        ping_timeout,
        connect_timeout,
        max_payload: 1_000_000,
        cors: Some(Cors::any()),
        allow_eio3: flags.allow_eio3,
        per_message_deflate: flags
            .per_message_deflate
            .then(|| if flags.context_takeover { DeflateConfig::OFFICIAL } else { DeflateConfig::default() }),
        cookie: flags.cookie.then(sockeye::Cookie::default),
        connection_state_recovery: flags.recovery.then(Recovery::default),
        parser: if flags.msgpack { sockeye::Parser::Msgpack } else { sockeye::Parser::Text },
        ..official
    }
}

fn engine_server(config: Config) -> Server {
    let config = Config { path: "/engine.io/".to_owned(), ..config };
    Server::engine(config, |client: &engine::Client, message: engine::Message<'_>| client.send(message))
}

fn socket_server(config: Config, flags: &Flags) -> Server {
    let mut io = Server::new(config);
    for name in NAMESPACES {
        echo(io.namespace(name));
    }
    if flags.for_client {
        echo(for_client::add_guarded(&mut io));
        for name in ["/", "/custom", "/guarded"] {
            for_client::serve(io.namespace(name));
        }
    }
    let control = flags.control.then(|| control::add(&mut io, &NAMESPACES));
    if let (Some(control), Some(timeout)) = (&control, flags.presence) {
        for name in NAMESPACES {
            control::show_presence(io.namespace(name), control, Duration::from_millis(timeout));
        }
    }
    let dynamic = io.dynamic_namespace("/dynamic-*");
    echo(dynamic);
    if let Some(control) = control {
        control::show_server_events(dynamic, &control);
    }
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
