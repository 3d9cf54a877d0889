//! What programs that are no servers may do over HTTP: emit, disconnect, ask for sockets. For PHP, Python or curl.
//!
//! [`Config::admin`](crate::Config::admin) opens a listener of its own; [`Service`] is the same for a router of one's own, or for a
//! [`Guest`](crate::Guest). Requests and answers are JSON and stand in `docs/admin.md`; whoever asks shows a bearer token.
//!
//! ```no_run
//! use sockeye::{Config, Secret, Server, admin};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let token = Secret::new(std::env::var("ADMIN_TOKEN")?)?;
//! let admin = admin::Config { token: Some(token), ..admin::Config::default() };
//! let io = Server::new(Config { admin: Some(Box::new(admin)), ..Config::default() });
//! io.listen("0.0.0.0:3000").await?;
//! # Ok(())
//! # }
//! ```
//!
//! ```sh
//! curl -H "Authorization: Bearer $ADMIN_TOKEN" -d '{"event":"news","args":["it rains"]}' http://127.0.0.1:3900/emit
//! ```

mod calls;
mod config;
mod fields;
mod listener;
mod problem;
mod service;
mod voices;

pub use self::config::Config;
pub use self::service::Service;

pub(crate) use self::listener::Listener;
