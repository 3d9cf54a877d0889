//! Socket.IO beside the routes of an axum application, on one port.
//!
//! `cargo run -p sockeye --example axum`, then open `http://127.0.0.1:3000/hello` and connect a client to the same port.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use sockeye::{Config, Event, Server, Socket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut io = Server::new(Config::default());
    let everybody = io.namespace("/").handle();
    io.namespace("/")
        .on_connect(|socket: Socket| async move {
            socket.emit("info", format!("you come from {}", socket.handshake().address().ip()))
        })
        .on("msg", |event: Event| async move { event.namespace().emit("msg", event.args()) });

    let say_hello = move || async move {
        everybody.emit("msg", "hello from HTTP").map_err(|error| error.to_string())?;
        Ok::<_, String>(format!("told {} clients\n", everybody.local_len()))
    };
    let app = Router::new()
        .route("/hello", get(say_hello))
        .fallback_service(io.into_service())
        .layer(from_fn(tell_address))
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await
}

/// Sockeye takes the client's address from an extension of type `SocketAddr`.
async fn tell_address(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(peer);
    next.run(request).await
}
