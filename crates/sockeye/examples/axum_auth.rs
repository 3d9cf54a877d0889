//! An axum application whose sessions open its sockets: `POST /login` gives a token, which a guard checks, which ends, and which
//! can be replaced while connected.
//!
//! `cargo run -p sockeye --example axum_auth`. A token is good for [`LIFE`]; the client hears `expiring` before it ends.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use sockeye::{Args, Config, Event, Refusal, Server, Socket};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a token is good: short, for one to see it end.
const LIFE: Duration = Duration::from_secs(3);

/// How long before its end the client hears of it.
const NOTICE: Duration = Duration::from_secs(1);

/// How many tokens may be good at a time; a login beyond is told to come again.
const TOKENS_MAX: usize = 10_000;

/// Who holds which token, until when. A real one would be signed, or kept in a database.
#[derive(Clone, Default)]
struct Tokens(Arc<Mutex<HashMap<String, (String, Instant)>>>);

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

#[derive(Deserialize)]
struct Auth {
    token: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000u16);
    let tokens = Tokens::default();
    let (at_door, anew) = (tokens.clone(), tokens.clone());
    let mut io = Server::new(Config { expiry_notice: NOTICE, ..Config::default() });
    io.namespace("/")
        .guard(move |socket: Socket| {
            let tokens = at_door.clone();
            async move {
                let Auth { token } = socket.handshake().auth()?;
                let (name, left) = tokens.check(&token)?;
                socket.set_data(name)?;
                socket.expire_in(left);
                Ok(())
            }
        })
        .on_expiring(|socket: Socket| async move { socket.emit("expiring", ()) })
        .on_reauth(move |socket: Socket, args: Args| {
            let tokens = anew.clone();
            async move {
                let (name, left) = tokens.check(&args.data::<String>()?)?;
                socket.set_data(name)?;
                socket.expire_in(left);
                Ok(())
            }
        })
        .on("whoami", async |event: Event| -> sockeye::Result {
            event.ack(event.socket().data::<String>()?)?;
            Ok(())
        });

    let app =
        Router::new().route("/login", post(login)).with_state(tokens).fallback_service(io.into_service());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app).await
}

async fn login(State(tokens): State<Tokens>, Json(login): Json<Login>) -> Result<String, StatusCode> {
    if login.password != "sesame" {
        return Err(StatusCode::UNAUTHORIZED);
    }
    tokens.issue(login.name).ok_or(StatusCode::TOO_MANY_REQUESTS)
}

impl Tokens {
    fn issue(&self, name: String) -> Option<String> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, (_, until)| *until > Instant::now());
        if tokens.len() >= TOKENS_MAX {
            return None;
        }
        let token = format!("{:032x}", rand::random::<u128>());
        tokens.insert(token.clone(), (name, Instant::now() + LIFE));
        Some(token)
    }

    /// Whose token it is, and for how long.
    fn check(&self, token: &str) -> Result<(String, Duration), Refusal> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match tokens.get(token) {
            Some((name, until)) if *until > now => Ok((name.clone(), *until - now)),
            Some(_) | None => Err(Refusal::new("log in first")),
        }
    }
}
